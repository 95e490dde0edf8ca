/*
 * The model of channels: publishes, signals, direct messages.
 */


#include "zone_model_parts.h"


static uint32_t
m_length(model_t *m)
{
    uint32_t  n;

    n = draw(m, 100);

    return n < 70 ? draw(m, 300)
           : n < 95 ? draw(m, 4000)
           : n < 98 ? draw(m, 20000)
           : draw(m, m->max_len);
}


int
m_publish(model_t *m, unsigned n)
{
    int           rc, k, conflict;
    uint8_t      *bufs[FANOUT_ZONE_BATCH], flags;
    uint32_t      seeds[FANOUT_ZONE_BATCH];
    unsigned      h, i, j;
    m_rec_t      *r;
    message_t     msgs[FANOUT_ZONE_BATCH];
    result_t      res;
    publish_t     opts;
    char          key[8];
    m_channel_t  *ch;

    h = draw(m, M_HANDLES);
    i = draw(m, M_CHANNELS);
    ch = &m->ch[i];

    memset(&opts, 0, sizeof(opts));
    k = -1;
    conflict = 0;

    if (draw(m, 8) == 0) {
        k = draw(m, M_KEYS);
        snprintf(key, sizeof(key), "k%d", k);
        opts.key = zstr(key, strlen(key));
        opts.scope = zstr("user", k & 1 ? 4 : 0);
        opts.address = k % 3;
        opts.sender = k % 5;

    } else if (draw(m, 8) == 0 && ch->exists
               && (m_opened(m, i) || m->p[h][i].history == 0))
    {
        conflict = m_opened(m, i) ? draw(m, 2) : 0;
        opts.if_set = m_opened(m, i) != 0;
        opts.if_epoch = draw(m, 2) ? ch->epoch : 0;
        opts.if_offset = ch->offset + conflict;
    }

    for (j = 0; j < n; j++) {
        seeds[j] = ++m->seeds * 2654435761U;
        r = NULL;
        msgs[j].data.len = m_length(m);
        bufs[j] = malloc(msgs[j].data.len + 4096);
        m_compose(&msgs[j], bufs[j], seeds[j], msgs[j].data.len);
        flags = draw(m, 6) == 0 ? FANOUT_TRANSIENT : 0;
        flags |= draw(m, 6) == 0 ? FANOUT_NOECHO : 0;
        flags |= draw(m, 6) == 0 ? FANOUT_ANONYMOUS : 0;
        msgs[j].flags = flags;
    }

    memset(&res, 0, sizeof(res));
    rc = fanout_log_publish(&m->z[h], &m->c[h][i], msgs, n, &opts, &res);

    for (j = 0; j < n; j++) {
        free(bufs[j]);
    }

    if (rc == FULL || rc == LARGE) {
        want(m, m->pressure, "publish: %d", rc);
        m->fulls++;
        return 0;
    }

    if (conflict) {
        want(m, rc == CONFLICT, "conflict: %d", rc);
        want(m, res.epoch == ch->epoch && res.offset == ch->offset,
             "what a conflict tells");
        return 0;
    }

    want(m, rc == OK, "publish: %d", rc);
    pass(m_renew(m, i, res.epoch, h));

    if (k != -1 && ch->key_expires[k] >= fanout_test_seconds) {
        want(m, res.duplicate && res.offset == ch->key_offset[k]
                && res.time == ch->key_time[k], "duplicate of key %d", k);
        return 0;
    }

    want(m, !res.duplicate, "no duplicate");
    want(m, res.offset == ch->offset + n, "offset %llu after %llu + %u",
         (unsigned long long) res.offset, (unsigned long long) ch->offset, n);

    for (j = 0; j < n; j++) {
        r = m_push(ch);
        r->epoch = ch->epoch;
        r->offset = ++ch->offset;
        r->time = res.time;
        r->seed = seeds[j];
        r->len = msgs[j].data.len;
        r->flags = msgs[j].flags;
        r->type = FANOUT_MESSAGE;
        r->mono = fanout_test_seconds;

        if ((r->flags & FANOUT_TRANSIENT) == 0) {
            r->kept = ch->policy.history != 0;

            if (!r->kept) {
                ch->lost = r->offset;
            }
        }
    }

    m_limit(ch);

    if (k != -1) {
        ch->key_expires[k] = fanout_test_seconds + m->dedupe;
        ch->key_offset[k] = res.offset;
        ch->key_time[k] = res.time;
    }

    return 0;
}


int
m_skip(model_t *m, m_channel_t *ch, uint32_t *pos, entry_t *e)
{
    uint32_t  from;
    m_rec_t  *r;

    want(m, m->pressure, "a gap in a zone with room");

    from = *pos;

    while (*pos < ch->n) {
        r = &ch->recs[*pos];

        if (r->epoch == e->epoch && r->offset > e->offset) {
            break;
        }

        (*pos)++;
    }

    want(m, *pos > from, "a gap of nothing");
    want(m, ch->recs[*pos - 1].epoch == e->epoch
            && ch->recs[*pos - 1].offset == e->offset,
         "a gap up to %llu", (unsigned long long) e->offset);
    m->gaps++;

    return 0;
}


/* Signals: what is told is the latest of its tag, once; only a zone under
 * pressure and one that nobody reads for a minute let go of it. */

int
m_signal(model_t *m)
{
    int           rc;
    char          tag[8];
    uint8_t      *buf;
    uint32_t      seed, len;
    unsigned      h, i, t, k;
    message_t     msg;
    m_signal_t   *sg;

    h = draw(m, M_HANDLES);
    i = draw(m, M_CHANNELS);
    t = draw(m, M_TAGS);
    len = 8 + draw(m, draw(m, 8) ? 200 : 16000);
    seed = ++m->seeds;
    sg = &m->ch[i].signals[t];

    memset(&msg, 0, sizeof(msg));
    snprintf(tag, sizeof(tag), "t%u", t);
    buf = malloc(len);
    data_fill(buf, seed, len);
    msg.event = zstr("cursor", 6);
    msg.key = zstr(tag, strlen(tag));
    msg.data = zstr(buf, len);
    msg.client = 5;

    rc = fanout_signal_put(&m->z[h], &m->c[h][i], &msg);
    free(buf);

    if (rc == FULL) {
        want(m, m->pressure, "signal: %d", rc);
        return 0;
    }

    want(m, rc == OK, "signal: %d", rc);

    sg->seed = seed;
    sg->len = len;
    sg->at = fanout_test_seconds;

    for (k = 0; k < M_HANDLES; k++) {
        sg->due[k] = m->c[k][i].ref != 0;
    }

    return 0;
}


/* Who opens a channel is told of none before. */

void
m_signals_forget(model_t *m, unsigned h, unsigned i)
{
    unsigned  t;

    for (t = 0; t < M_TAGS; t++) {
        m->ch[i].signals[t].due[h] = 0;
    }
}


int
m_signal_told(model_t *m, unsigned h, entry_t *e)
{
    unsigned     t;
    m_signal_t  *sg;

    want(m, e->key.len == 2 && e->key.data[0] == 't', "a tag");
    t = e->key.data[1] - '0';
    want(m, t < M_TAGS, "tag %u", t);

    sg = &m->ch[e->local].signals[t];

    want(m, sg->due[h], "a signal twice, or of before");
    want(m, data_is(e->data.data, e->data.len, sg->seed, sg->len),
         "not the latest");

    sg->due[h] = 0;

    return 0;
}


int
m_signals_told(model_t *m, unsigned h, unsigned i)
{
    unsigned     t;
    m_signal_t  *sg;

    for (t = 0; t < M_TAGS; t++) {
        sg = &m->ch[i].signals[t];

        want(m, !sg->due[h] || !m->c[h][i].ref || m->pressure
                || fanout_test_seconds - sg->at > 60,
             "signal %u of channel %u was not told", t, i);
        sg->due[h] = 0;
    }

    return 0;
}


/* A direct message to a client that is there; it is in the stream of all, and
 * in its mailbox unless there is too much. */

int
m_direct(model_t *m)
{
    int            rc;
    uint8_t       *buf;
    uint32_t       seed;
    uint64_t       lost;
    unsigned       h, i;
    m_rec_t       *r;
    message_t      msg;
    publish_t      opts;
    result_t       res;
    m_channel_t   *ch;
    m_identity_t  *e;

    e = &m->id[draw(m, M_IDENTITIES)];
    i = draw(m, M_CHANNELS);
    ch = &m->ch[i];

    if (e->handle == 0) {
        return 0;
    }

    h = e->handle - 1;

    if (m->c[h][i].ref == 0) {
        return 0;
    }

    rc = fanout_seat_open(&m->z[h], &m->c[h][i], e->ref, &e->id);

    if (rc == FULL && m->pressure) {
        return 0;
    }

    want(m, rc == OK, "seat: %d", rc);

    seed = ++m->seeds * 2654435761U;
    msg.data.len = m_length(m);
    buf = malloc(msg.data.len + 4096);
    m_compose(&msg, buf, seed, msg.data.len);
    msg.to_client = e->id.client;
    memset(&res, 0, sizeof(res));
    memset(&opts, 0, sizeof(opts));
    opts.sender = m->seeds % 4;

    rc = fanout_log_publish(&m->z[h], &m->c[h][i], &msg, 1, &opts, &res);
    free(buf);

    if (rc == FULL || rc == LARGE) {
        want(m, m->pressure, "direct: %d", rc);
        m->fulls++;
        return 0;
    }

    want(m, rc == OK, "direct: %d", rc);
    want(m, res.delivered == 1 && res.pending == 0, "delivered %u",
         res.delivered);
    want(m, res.offset == ch->offset + 1 && res.epoch == ch->epoch,
         "where it is");

    r = m_push(ch);
    r->epoch = ch->epoch;
    r->offset = ++ch->offset;
    r->time = res.time;
    r->seed = seed;
    r->len = msg.data.len;
    r->type = FANOUT_MESSAGE;
    r->mono = fanout_test_seconds;
    r->to_client = e->id.client;
    m_limit(ch);

    arena_reset(&m->a);
    rc = fanout_mail_read(&m->z[h], &m->c[h][i], &e->id, r->offset - 1,
                          UINT64_MAX, &m->a, &lost);
    want(m, rc == OK || rc == AGAIN, "mail: %d", rc);

    if (lost >= r->offset) {
        want(m, m->pressure, "mail lost");
        return 0;
    }

    want(m, m->a.n == 1, "%u pieces of mail", m->a.n);

    return m_compare(m, &m->a.entries[0], r, ch->epoch);
}
