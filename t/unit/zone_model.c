/*
 * The model of channels, and its random operations.
 */


#include <stdarg.h>

#include "zone_model.h"


#define want(m, cond, ...)                                                    \
    if (!(cond)) {                                                            \
        m_fail(m, __LINE__, #cond, __VA_ARGS__);                              \
        return -1;                                                            \
    }

#define pass(call)                                                            \
    if (call) {                                                               \
        return -1;                                                            \
    }


/* After a policy has shrunk a publish lets go of so many, the next of more. */

#define M_STEP  128


__attribute__((format(printf, 4, 5)))
static void
m_fail(model_t *m, int line, const char *cond, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    n = snprintf(m->error, sizeof(m->error), "step %u, line %d: %s: ",
                 m->steps, line, cond);
    va_start(ap, fmt);
    vsnprintf(m->error + n, sizeof(m->error) - n, fmt, ap);
    va_end(ap);
}


static uint32_t
m_draw(model_t *m, uint32_t n)
{
    return m->next(m->data) % n;
}


static void
m_policy(model_t *m, policy_t *p)
{
    static const uint32_t  history[] = { 0, 1, 10, 12, 40, 100, 100, 64 };
    static const uint32_t  bytes[] = { 0, 0, 0, 3000 };
    static const uint32_t  ttl[] = { 0, 0, 5, 60, 2000 };

    p->history = history[m_draw(m, 8)];
    p->bytes = bytes[m_draw(m, 4)];
    p->ttl = ttl[m_draw(m, 5)];
    p->class = m_draw(m, 3);
}


void
m_init(model_t *m, void *mem, size_t size, uint32_t dedupe)
{
    unsigned  h, i;

    for (i = 0; i < M_CHANNELS; i++) {
        snprintf(m->ch[i].name, sizeof(m->ch[i].name), "room:%u", i);

        if (i >= 7) {
            memset(m->ch[i].name + 6, 'x', i == 7 ? 46 : i == 8 ? 47 : 249);
        }
    }

    for (h = 0; h < M_HANDLES; h++) {
        (void) fanout_zone_attach(&m->z[h], mem, size);

        if (h != M_HANDLES - 1) {
            (void) fanout_slot_claim(&m->z[h], h + 1);
        }

        for (i = 0; i < M_CHANNELS; i++) {
            m->p[h][i].history = 10;
            m->c[h][i] = view(&m->z[h], m->ch[i].name, &m->p[h][i]);
            m->c[h][i].address = (i + h) % 3;
        }
    }

    m->dedupe = dedupe;
    m->max_len = 100000;
    arena_init(&m->a);
    fanout_test_seconds = 10;
}


void
m_done(model_t *m)
{
    unsigned  h, i;

    for (h = 0; h < M_HANDLES; h++) {
        fanout_slot_release(&m->z[h]);
    }

    for (i = 0; i < M_CHANNELS; i++) {
        free(m->ch[i].recs);
    }

    arena_done(&m->a);
}


static int
m_opened(model_t *m, unsigned i)
{
    unsigned  h, n;

    for (n = 0, h = 0; h < M_HANDLES; h++) {
        n += m->c[h][i].ref != 0;
    }

    return n;
}


/* the strings beside the data follow from the seed as well */

static void
m_compose(message_t *msg, uint8_t *buf, uint32_t seed, uint32_t len)
{
    memset(msg, 0, sizeof(*msg));

    data_fill(buf, seed, len);
    data_fill(buf + len, ~seed, 4096);

    msg->data = zstr(buf, len);
    msg->event = zstr(buf + len, seed & 1 ? seed % 37 : 0);
    msg->key = zstr(buf + len + 1, seed & 2 ? seed % 256 : 0);
    msg->user = zstr(buf + len + 2, seed & 4 ? seed % 11 : 0);
    msg->meta = zstr(buf + len + 3, seed & 8 ? seed % 701 : 0);
    msg->client = seed & 16 ? seed * 7ULL + 1 : 0;
    msg->kind = seed % 3;
}


/* what the policy lets go of */

static void
m_drop(m_channel_t *ch)
{
    while (ch->first < ch->n) {
        if (ch->recs[ch->first].kept) {
            ch->recs[ch->first].kept = 0;

            if (ch->lost < ch->recs[ch->first].offset) {
                ch->lost = ch->recs[ch->first].offset;
            }

            ch->first++;
            return;
        }

        ch->first++;
    }
}


static uint32_t
m_kept(m_channel_t *ch, uint64_t *bytes)
{
    uint32_t  i, n;

    *bytes = 0;

    for (n = 0, i = ch->first; i < ch->n; i++) {
        if (ch->recs[i].kept) {
            *bytes += ch->recs[i].len;
            n++;
        }
    }

    return n;
}


static void
m_expire(m_channel_t *ch)
{
    if (ch->policy.ttl == 0) {
        return;
    }

    while (ch->first < ch->n
           && (!ch->recs[ch->first].kept
               || fanout_test_seconds - ch->recs[ch->first].mono
                  > ch->policy.ttl))
    {
        if (ch->recs[ch->first].kept) {
            m_drop(ch);

        } else {
            ch->first++;
        }
    }
}


static void
m_limit(m_channel_t *ch)
{
    uint32_t  i, n;
    uint64_t  bytes;

    n = m_kept(ch, &bytes);

    for (i = 0; i < M_STEP && n > ch->policy.history; i++, n--) {
        m_drop(ch);
    }

    n = m_kept(ch, &bytes);

    for (i = 0; i < M_STEP && ch->policy.bytes && n
                && bytes > ch->policy.bytes; i++)
    {
        m_drop(ch);
        n = m_kept(ch, &bytes);
    }

    m_expire(ch);
}


/* A sweep and an open drop a step of what is too old; what they left counts
 * when a policy that shrank is applied to more than it drops at once. */

static int
m_expired(model_t *m, unsigned h, unsigned i)
{
    info_t        info;
    uint64_t      bytes;
    m_channel_t  *ch;

    ch = &m->ch[i];

    if (m->pressure || !ch->exists
        || fanout_channel_info(&m->z[h], &m->c[h][i], &info) != OK
        || info.epoch != ch->epoch)
    {
        return 0;
    }

    while (m_kept(ch, &bytes) > info.messages) {

        while (!ch->recs[ch->first].kept) {
            ch->first++;
        }

        want(m, ch->policy.ttl
                && fanout_test_seconds - ch->recs[ch->first].mono
                   > ch->policy.ttl,
             "offset %llu of channel %u went before its time",
             (unsigned long long) ch->recs[ch->first].offset, i);
        m_drop(ch);
    }

    return 0;
}


static m_rec_t *
m_push(m_channel_t *ch)
{
    if (ch->n == ch->max) {
        ch->max = ch->max ? ch->max * 2 : 64;
        ch->recs = realloc(ch->recs, ch->max * sizeof(m_rec_t));
    }

    memset(&ch->recs[ch->n], 0, sizeof(m_rec_t));

    return &ch->recs[ch->n++];
}


/* The zone's channel is another than the model's: it went as idle. */

static int
m_renew(model_t *m, unsigned i, uint64_t epoch, unsigned h)
{
    uint64_t      bytes;
    unsigned      k;
    m_channel_t  *ch;

    ch = &m->ch[i];

    if (ch->exists && ch->epoch == epoch) {
        return 0;
    }

    if (ch->exists) {
        m_expire(ch);
        want(m, !m_opened(m, i), "channel %u went while open", i);
        want(m, m->pressure || m_kept(ch, &bytes) == 0,
             "channel %u went with history", i);

        for (k = 0; k < M_KEYS; k++) {
            want(m, ch->key_expires[k] < fanout_test_seconds,
                 "channel %u went with a key", i);
        }
    }

    ch->exists = 1;
    ch->epoch = epoch;
    ch->offset = 0;
    ch->lost = 0;
    ch->first = ch->n = 0;
    memset(ch->key_expires, 0, sizeof(ch->key_expires));
    ch->policy = m->p[h][i];

    return 0;
}


int
m_check(model_t *m)
{
    char  text[256];
    int   rc;

    rc = fanout_zone_verify(&m->z[0], text, sizeof(text));
    want(m, rc == 0, "%s", text);

    return 0;
}


/* compares an entry with what was appended */

static int
m_compare(model_t *m, entry_t *e, m_rec_t *r, uint64_t epoch)
{
    int        same;
    uint8_t   *buf;
    message_t  msg;

    want(m, e->type == r->type, "type %u, not %u", e->type, r->type);
    want(m, e->offset == r->offset, "offset %llu, not %llu",
         (unsigned long long) e->offset, (unsigned long long) r->offset);
    want(m, e->epoch == epoch, "epoch at offset %llu",
         (unsigned long long) r->offset);

    if (r->type == FANOUT_RESET) {
        want(m, e->data.len == 4 && memcmp(e->data.data, "gone", 4) == 0,
             "reason");
        return 0;
    }

    want(m, e->to_client == r->to_client && e->to_user == 0, "for whom");
    want(m, e->time == r->time, "time");
    want(m, e->data.len == r->len, "length %u, not %u", e->data.len, r->len);

    buf = malloc(r->len + 4096);
    m_compose(&msg, buf, r->seed, r->len);

    same = memcmp(e->data.data, msg.data.data, r->len) == 0
           && e->event.len == msg.event.len && e->key.len == msg.key.len
           && e->user.len == msg.user.len && e->meta.len == msg.meta.len
           && memcmp(e->event.data, msg.event.data, msg.event.len) == 0
           && memcmp(e->key.data, msg.key.data, msg.key.len) == 0
           && memcmp(e->user.data, msg.user.data, msg.user.len) == 0
           && memcmp(e->meta.data, msg.meta.data, msg.meta.len) == 0
           && e->client == msg.client && e->kind == msg.kind
           && e->flags == r->flags;
    free(buf);

    want(m, same, "content at offset %llu", (unsigned long long) r->offset);

    return 0;
}


static uint32_t
m_length(model_t *m)
{
    uint32_t  n;

    n = m_draw(m, 100);

    return n < 70 ? m_draw(m, 300)
           : n < 95 ? m_draw(m, 4000)
           : n < 98 ? m_draw(m, 20000)
           : m_draw(m, m->max_len);
}


static int
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

    h = m_draw(m, M_HANDLES);
    i = m_draw(m, M_CHANNELS);
    ch = &m->ch[i];

    memset(&opts, 0, sizeof(opts));
    k = -1;
    conflict = 0;

    if (m_draw(m, 8) == 0) {
        k = m_draw(m, M_KEYS);
        snprintf(key, sizeof(key), "k%d", k);
        opts.key = zstr(key, strlen(key));
        opts.scope = zstr("user", k & 1 ? 4 : 0);
        opts.address = k % 3;
        opts.sender = k % 5;

    } else if (m_draw(m, 8) == 0 && ch->exists
               && (m_opened(m, i) || m->p[h][i].history == 0))
    {
        conflict = m_opened(m, i) ? m_draw(m, 2) : 0;
        opts.if_set = m_opened(m, i) != 0;
        opts.if_epoch = m_draw(m, 2) ? ch->epoch : 0;
        opts.if_offset = ch->offset + conflict;
    }

    for (j = 0; j < n; j++) {
        seeds[j] = ++m->seeds * 2654435761U;
        r = NULL;
        msgs[j].data.len = m_length(m);
        bufs[j] = malloc(msgs[j].data.len + 4096);
        m_compose(&msgs[j], bufs[j], seeds[j], msgs[j].data.len);
        flags = m_draw(m, 6) == 0 ? FANOUT_TRANSIENT : 0;
        flags |= m_draw(m, 6) == 0 ? FANOUT_NOECHO : 0;
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


static int
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

static int
m_signal(model_t *m)
{
    int           rc;
    char          tag[8];
    uint8_t      *buf;
    uint32_t      seed, len;
    unsigned      h, i, t, k;
    message_t     msg;
    m_signal_t   *sg;

    h = m_draw(m, M_HANDLES);
    i = m_draw(m, M_CHANNELS);
    t = m_draw(m, M_TAGS);
    len = 8 + m_draw(m, m_draw(m, 8) ? 200 : 16000);
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

static void
m_signals_forget(model_t *m, unsigned h, unsigned i)
{
    unsigned  t;

    for (t = 0; t < M_TAGS; t++) {
        m->ch[i].signals[t].due[h] = 0;
    }
}


static int
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


static int
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

static int
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

    e = &m->id[m_draw(m, M_IDENTITIES)];
    i = m_draw(m, M_CHANNELS);
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


static int
m_drain(model_t *m, unsigned h)
{
    int           rc, turns;
    uint64_t      used;
    uint32_t      j, *pos;
    entry_t      *e;
    unsigned      i;
    m_channel_t  *ch;

    turns = 0;

    do {
        arena_reset(&m->a);
        rc = fanout_log_drain(&m->z[h], &m->a);
        want(m, rc == OK || rc == AGAIN, "drain: %d", rc);
        want(m, ++turns < 100000, "an endless drain");
        want(m, m->a.n <= FANOUT_ZONE_ENTRIES, "a long section");

        used = 0;

        for (j = 0; j < m->a.n; j++) {
            e = &m->a.entries[j];
            i = e->local;
            want(m, i < M_CHANNELS && m->c[h][i].ref, "local %u", i);

            ch = &m->ch[i];
            pos = &m->pos[h][i];

            if (e->type == FANOUT_SIGNAL) {
                pass(m_signal_told(m, h, e));
                continue;
            }

            if (e->type == FANOUT_GAP) {
                pass(m_skip(m, ch, pos, e));
                continue;
            }

            want(m, *pos < ch->n, "an entry too many on %u", i);
            /* what was lost before a reset is not told of */

            while (m->pressure && e->type == FANOUT_RESET
                   && *pos + 1 < ch->n && ch->recs[*pos].epoch != e->epoch)
            {
                (*pos)++;
            }

            pass(m_compare(m, e, &ch->recs[*pos], ch->recs[*pos].epoch));
            (*pos)++;
            used += e->data.len;
        }

        want(m, m->a.n == 1 || used <= 2 * FANOUT_ZONE_COPY + 4096,
             "%llu bytes in a section", (unsigned long long) used);

    } while (rc == AGAIN);

    for (i = 0; i < M_CHANNELS; i++) {
        want(m, !m->c[h][i].ref || m->pos[h][i] == m->ch[i].n,
             "channel %u not drained: %u of %u", i, m->pos[h][i],
             m->ch[i].n);
        pass(m_signals_told(m, h, i));
    }

    return 0;
}


static int
m_open(model_t *m)
{
    int           rc;
    unsigned      h, i;
    info_t        info;
    m_channel_t  *ch;

    h = m_draw(m, M_HANDLES - 1);
    i = m_draw(m, M_CHANNELS);
    ch = &m->ch[i];

    if (m->c[h][i].ref && m_draw(m, 4)) {
        return 0;
    }

    /* what is too old by the policy of before */
    rc = m_sync(m, h, i);

    if (rc == -1) {
        return -1;
    }

    m_policy(m, &m->p[h][i]);

    if (m->c[h][i].ref == 0) {
        m->subscribers[h][i] = 0;
    }

    rc = fanout_channel_open(&m->z[h], &m->c[h][i], i);

    if (rc == FULL) {
        want(m, m->pressure, "open: full");
        want(m, m->c[h][i].ref == 0, "open: full but open");
        m->p[h][i] = ch->policy;
        m->fulls++;
        return 0;
    }

    want(m, rc == OK && m->c[h][i].ref, "open: %d", rc);

    rc = fanout_channel_info(&m->z[h], &m->c[h][i], &info);
    want(m, rc == OK, "info: %d", rc);

    /* before m_renew(), or it were open in the model */
    if (ch->exists && ch->epoch == info.epoch) {
        ch->policy = m->p[h][i];

    } else {
        rc = m->c[h][i].ref;
        m->c[h][i].ref = 0;
        pass(m_renew(m, i, info.epoch, h));
        m->c[h][i].ref = rc;
    }

    pass(m_expired(m, h, i));

    if (m->subscribers[h][i] == 0) {
        m->subscribers[h][i] = 1 + m_draw(m, 9);
        m->pos[h][i] = ch->n;
        fanout_channel_subscribers(&m->z[h], &m->c[h][i],
                                   m->subscribers[h][i]);
    }

    return 0;
}


static int
m_close(model_t *m)
{
    unsigned  h, i;

    h = m_draw(m, M_HANDLES - 1);
    i = m_draw(m, M_CHANNELS);

    fanout_channel_close(&m->z[h], &m->c[h][i]);
    m_signals_forget(m, h, i);
    m->subscribers[h][i] = 0;

    return 0;
}


static int
m_purge(model_t *m)
{
    int           rc;
    unsigned      h, i;
    m_rec_t      *r;
    result_t      res;
    m_channel_t  *ch;

    h = m_draw(m, M_HANDLES);
    i = m_draw(m, M_CHANNELS);
    ch = &m->ch[i];

    rc = fanout_channel_purge(&m->z[h], &m->c[h][i],
                              (uint8_t *) "gone", 4, &res);

    if (rc == FULL) {
        want(m, m->pressure, "purge: full");
        return 0;
    }

    if (rc == NOTFOUND) {
        want(m, !m_opened(m, i), "purge: not found");
        return 0;
    }

    want(m, rc == OK, "purge: %d", rc);
    want(m, res.epoch != ch->epoch, "the same epoch");

    while (ch->first < ch->n) {
        m_drop(ch);
    }

    memset(ch->key_expires, 0, sizeof(ch->key_expires));
    ch->epoch = res.epoch;
    ch->offset = 0;
    ch->lost = 0;

    if (m_opened(m, i)) {
        r = m_push(ch);
        r->type = FANOUT_RESET;
        r->epoch = res.epoch;
    }

    return 0;
}


/* Reads all that is kept, which must be the newest of what the model says
 * is, or all of it. */

static int
m_history(model_t *m, unsigned h, unsigned i, uint64_t after, int exact)
{
    int           rc, turns;
    uint32_t      j, at;
    uint64_t      lost;
    m_channel_t  *ch;

    ch = &m->ch[i];
    at = ch->first;
    turns = 0;

    do {
        arena_reset(&m->a);
        rc = fanout_log_read(&m->z[h], &m->c[h][i], ch->epoch,
                             after, UINT64_MAX, &m->a, &lost);
        want(m, rc == OK || rc == AGAIN, "read: %d", rc);
        want(m, ++turns < 100000, "an endless read");

        for (j = 0; j < m->a.n; j++) {
            while (at < ch->n
                   && (!ch->recs[at].kept || ch->recs[at].offset <= after
                       || (!exact
                           && ch->recs[at].offset
                              < m->a.entries[j].offset)))
            {
                if (ch->recs[at].kept && ch->recs[at].offset > after) {
                    /* evicted */
                    want(m, m->pressure, "history lost at %u", at);
                    m_drop(ch);
                }

                at++;
            }

            want(m, at < ch->n, "an entry too many in the history");
            pass(m_compare(m, &m->a.entries[j], &ch->recs[at], ch->epoch));

            after = m->a.entries[j].offset;
            exact = 1;
            at++;
        }

    } while (rc == AGAIN);

    if (lost > ch->lost) {
        want(m, m->pressure, "lost %llu, not %llu",
             (unsigned long long) lost, (unsigned long long) ch->lost);
    }

    want(m, lost >= ch->lost, "lost %llu, not %llu",
         (unsigned long long) lost, (unsigned long long) ch->lost);
    ch->lost = lost;

    for ( /* void */ ; at < ch->n; at++) {
        if (!ch->recs[at].kept || ch->recs[at].offset <= after) {
            continue;
        }

        want(m, m->pressure && !exact, "history ends early: %u of %u", at,
             ch->n);
        m_drop(ch);
    }

    return 0;
}


int
m_sync(model_t *m, unsigned h, unsigned i)
{
    int           rc;
    uint64_t      bytes;
    uint32_t      n;
    join_t        j;
    info_t        info;
    m_channel_t  *ch;

    ch = &m->ch[i];
    m_expire(ch);

    rc = fanout_log_seek(&m->z[h], &m->c[h][i], 0, UINT32_MAX, &j);

    if (rc == NOTFOUND) {
        if (ch->exists) {
            pass(m_renew(m, i, 0, h));
            ch->exists = 0;
        }

        return 1;
    }

    want(m, rc == OK, "seek: %d", rc);
    want(m, ch->exists && j.epoch == ch->epoch, "seek: epoch");
    want(m, j.offset == ch->offset, "seek: offset");

    pass(m_history(m, h, i, 0, !m->pressure));

    n = m_kept(ch, &bytes);
    want(m, j.missed == n, "seek: %llu of %u", (unsigned long long) j.missed,
         n);

    rc = fanout_channel_info(&m->z[h], &m->c[h][i], &info);
    want(m, rc == OK, "info: %d", rc);
    want(m, info.messages == n && info.bytes == bytes
            && info.epoch == ch->epoch && info.offset == ch->offset
            && info.len == strlen(ch->name)
            && memcmp(info.name, ch->name, info.len) == 0, "info");

    return 0;
}


static int
m_seek(model_t *m)
{
    int           rc;
    uint32_t      at, n;
    uint64_t      before, after;
    unsigned      h, i, k;
    join_t        j;
    m_channel_t  *ch;

    h = m_draw(m, M_HANDLES);
    i = m_draw(m, M_CHANNELS);
    ch = &m->ch[i];

    rc = m_sync(m, h, i);

    if (rc) {
        return rc == 1 ? 0 : rc;
    }

    before = m_draw(m, 3) ? m_draw(m, ch->offset + 2) : 0;
    n = m_draw(m, 50);
    after = ch->offset;
    k = 0;

    for (at = ch->n; at > ch->first && k < n; at--) {
        if (ch->recs[at - 1].kept
            && (before == 0 || ch->recs[at - 1].offset < before))
        {
            after = ch->recs[at - 1].offset - 1;
            k++;
        }
    }

    rc = fanout_log_seek(&m->z[h], &m->c[h][i], before, n, &j);
    want(m, rc == OK && j.missed == k && j.after == after,
         "seek: after %llu with %llu, not %llu with %u",
         (unsigned long long) j.after, (unsigned long long) j.missed,
         (unsigned long long) after, k);

    return 0;
}


static int
m_join(model_t *m)
{
    int           rc, since;
    uint32_t      at, k;
    uint64_t      offset, bytes;
    unsigned      h, i;
    join_t        j;
    m_channel_t  *ch;

    h = m_draw(m, M_HANDLES - 1);
    i = m_draw(m, M_CHANNELS);
    ch = &m->ch[i];

    if (m->c[h][i].ref == 0) {
        return 0;
    }

    pass(m_sync(m, h, i));

    since = m_draw(m, 3) != 0;
    offset = m_draw(m, ch->offset + 2);

    rc = fanout_log_join(&m->z[h], &m->c[h][i], since, ch->epoch, offset,
                         offset, &j);
    want(m, rc == OK, "join: %d", rc);
    want(m, j.epoch == ch->epoch && j.offset == ch->offset, "join: where");

    k = 0;

    if (since) {
        want(m, j.recovered == (offset <= ch->offset && offset >= ch->lost),
             "recovered %u: offset %llu, lost %llu, last %llu", j.recovered,
             (unsigned long long) offset, (unsigned long long) ch->lost,
             (unsigned long long) ch->offset);

        if (j.recovered) {
            for (at = ch->first; at < ch->n; at++) {
                k += ch->recs[at].kept && ch->recs[at].offset > offset;
            }

            want(m, j.after == offset, "join: after");
        }

    } else {
        k = m_kept(ch, &bytes);
        k = k < offset ? k : offset;
    }

    want(m, j.missed == k, "join: %llu of %u", (unsigned long long) j.missed,
         k);

    return m_history(m, h, i, j.after, 1);
}


static int
m_list(model_t *m)
{
    int       n, j;
    info_t    infos[4];
    uint64_t  cursor, seen;
    unsigned  i, rounds;

    cursor = seen = 0;
    rounds = 0;

    do {
        n = fanout_channel_list(&m->z[0], &cursor, infos, 4);
        want(m, n >= 0 && n <= 4 && ++rounds < 10000, "list: %d", n);

        for (j = 0; j < n; j++) {
            i = infos[j].name[5] - '0';
            want(m, i < M_CHANNELS && !(seen & 1U << i), "list: twice");
            want(m, infos[j].len == strlen(m->ch[i].name), "list: name");
            want(m, infos[j].workers == (uint32_t) m_opened(m, i),
                 "list: workers");
            seen |= 1U << i;
        }

    } while (cursor);

    for (i = 0; i < M_CHANNELS; i++) {
        want(m, !m_opened(m, i) || (seen & 1U << i), "list: %u missing", i);
    }

    return 0;
}


static int
m_identity(model_t *m)
{
    int            rc, wrong;
    uint8_t        next[16];
    unsigned       h;
    uint32_t       ref, linger;
    identity_t     id;
    m_identity_t  *e;

    e = &m->id[m_draw(m, M_IDENTITIES)];
    h = m_draw(m, M_HANDLES - 1);

    if (e->expires == 0 && e->handle == 0) {

        /* not known: e->handle is the handle + 1 */

        e->id.client = ++m->clients * 0x10001;
        e->id.user = m_draw(m, 100);
        e->id.address = m->clients & 7;
        data_fill(e->id.secret, m->clients, 16);

        rc = util_add(&m->z[h], &e->id, &e->ref);
        want(m, rc == OK || (rc == FULL && m->pressure), "add: %d", rc);
        e->handle = rc == OK ? (int) h + 1 : 0;
        return 0;
    }

    if (e->handle && m_draw(m, 2)) {
        linger = m_draw(m, 3) * 10000;
        fanout_identity_end(&m->z[e->handle - 1], e->ref, &e->id,
                            linger,
                            1, FANOUT_LEFT_INTENTIONAL);
        e->handle = 0;
        e->expires = linger ? fanout_test_seconds + linger / 1000 : 0;
        return 0;
    }

    id = e->id;
    id.address++;
    wrong = m_draw(m, 3);

    if (wrong == 1) {
        id.secret[m_draw(m, 16)] ^= 1;

    } else if (wrong == 2) {
        id.user++;
    }

    rc = fanout_identity_resume(&m->z[h], &id, 0, next, &ref);

    if (wrong || (e->handle == 0 && e->expires < fanout_test_seconds)) {
        want(m, rc == NOTFOUND || (rc == FULL && m->pressure),
             "resume: %d though it must not", rc);

        if (e->handle == 0 && e->expires < fanout_test_seconds) {
            e->expires = 0;
        }

        return 0;
    }

    if (rc != OK) {
        want(m, m->pressure, "resume: %d", rc);

        if (rc == NOTFOUND) {
            want(m, e->handle == 0, "a live identity is gone");
            e->expires = 0;
        }

        return 0;
    }

    if (e->handle) {
        want(m, m->nreplaced[e->handle - 1] < 64, "too many replaced");
        m->replaced[e->handle - 1][m->nreplaced[e->handle - 1]++]
            = e->id.client;
    }

    e->handle = h + 1;
    e->expires = 0;
    e->ref = ref;
    memcpy(e->id.secret, next, 16);

    return 0;
}


static int
m_replaced(model_t *m)
{
    uint64_t  clients[64];
    unsigned  h, i, j, n;

    for (h = 0; h < M_HANDLES; h++) {
        n = util_orders(&m->z[h], clients, 64);
        want(m, n == m->nreplaced[h] || (m->pressure && n < m->nreplaced[h]),
             "%u replaced, not %u", n,
             m->nreplaced[h]);

        for (i = 0; i < n; i++) {
            for (j = 0; j < n && m->replaced[h][j] != clients[i]; j++) {
                /* void */
            }

            want(m, j < n, "an unknown client replaced");
        }

        m->nreplaced[h] = 0;
    }

    return 0;
}


static int
m_sweep(model_t *m)
{
    unsigned  h, i;

    h = m_draw(m, M_HANDLES);
    (void) fanout_zone_sweep(&m->z[h]);

    for (i = 0; i < M_CHANNELS; i++) {
        pass(m_expired(m, h, i));
    }

    return 0;
}


/* a worker leaves and another comes */

static int
m_restart(model_t *m)
{
    int       rc;
    unsigned  h, i;

    h = m_draw(m, M_HANDLES - 1);

    fanout_slot_release(&m->z[h]);
    rc = fanout_slot_claim(&m->z[h], 100 + h);
    want(m, rc == OK, "claim: %d", rc);

    for (i = 0; i < M_CHANNELS; i++) {
        m->c[h][i].ref = 0;
        m->subscribers[h][i] = 0;
        m_signals_forget(m, h, i);
    }

    for (i = 0; i < M_IDENTITIES; i++) {
        if (m->id[i].handle == (int) h + 1) {
            m->id[i].handle = 0;
            m->id[i].expires = 0;
        }
    }

    m->nreplaced[h] = 0;

    return 0;
}


int
m_step(model_t *m)
{
    int       rc;
    unsigned  op, i;

    m->steps++;
    op = m_draw(m, 100);

    if (op < 34) {
        return m_publish(m, 1);
    }

    if (op < 38) {
        return m_direct(m);
    }

    if (op < 42) {
        return m_signal(m);
    }

    if (op < 46) {
        return m_publish(m, 1 + m_draw(m, FANOUT_ZONE_BATCH));
    }

    if (op < 60) {
        return m_drain(m, m_draw(m, M_HANDLES));
    }

    if (op < 67) {
        return m_open(m);
    }

    if (op < 71) {
        return m_close(m);
    }

    if (op < 73) {
        return m_purge(m);
    }

    if (op < 79) {
        return m_join(m);
    }

    if (op < 85) {
        return m_seek(m);
    }

    if (op < 87) {
        return m_list(m);
    }

    if (op < 90) {
        return m_sweep(m);
    }

    if (op < 92) {
        i = m_draw(m, 30);
        fanout_test_seconds += i < 20 ? i / 4 : i < 28 ? i : 1500;
        return 0;
    }

    if (op < 98) {
        return m_identity(m);
    }

    if (op < 99) {
        return m_replaced(m);
    }

    if (m_draw(m, 3)) {
        return 0;
    }

    rc = m_restart(m);

    return rc;
}


int
m_empty(model_t *m, uint64_t start)
{
    unsigned  i;
    uint64_t  n;

    for (i = 0; i < M_HANDLES - 1; i++) {
        fanout_slot_release(&m->z[i]);
    }

    memset(m->c, 0, sizeof(m->c));

    for (i = 0; i < M_CHANNELS; i++) {
        result_t   res;
        channel_t  c;

        c = view(&m->z[0], m->ch[i].name, NULL);
        (void) fanout_channel_purge(&m->z[0], &c, NULL, 0, &res);
    }

    fanout_test_seconds += 100000;
    want(m, sweep_all(&m->z[0]) != -1, "an endless sweep");
    fanout_test_seconds += 100000;
    want(m, sweep_all(&m->z[0]) != -1, "an endless sweep");

    n = free_blocks(&m->z[0]);
    want(m, n == start, "%llu blocks free, not %llu", (unsigned long long) n,
         (unsigned long long) start);

    return m_check(m);
}
