/*
 * The model of channels: what is kept of them, who has them open, identities.
 */


#include "zone_model_parts.h"


/* After a policy has shrunk a publish lets go of so many, the next of more. */

#define M_STEP  128


static void
m_policy(model_t *m, policy_t *p)
{
    static const uint32_t  history[] = { 0, 1, 10, 12, 40, 100, 100, 64 };
    static const uint32_t  bytes[] = { 0, 0, 0, 3000 };
    static const uint32_t  ttl[] = { 0, 0, 5, 60, 2000 };

    p->history = history[draw(m, 8)];
    p->bytes = bytes[draw(m, 4)];
    p->ttl = ttl[draw(m, 5)];
    p->account = draw(m, 3);
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


int
m_opened(model_t *m, unsigned i)
{
    unsigned  h, n;

    for (n = 0, h = 0; h < M_HANDLES; h++) {
        n += m->c[h][i].ref != 0;
    }

    return n;
}


/* the strings beside the data follow from the seed as well */

void
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

void
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


uint32_t
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


void
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


void
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


m_rec_t *
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

int
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
    return steps_check(&m->s, &m->z[0]);
}


/* compares an entry with what was appended */

int
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


static int
m_open(model_t *m)
{
    int           rc;
    info_t        info;
    unsigned      h, i;
    m_channel_t  *ch;

    h = draw(m, M_HANDLES - 1);
    i = draw(m, M_CHANNELS);
    ch = &m->ch[i];

    if (m->c[h][i].ref && draw(m, 4)) {
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
        m->subscribers[h][i] = 1 + draw(m, 9);
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

    h = draw(m, M_HANDLES - 1);
    i = draw(m, M_CHANNELS);

    fanout_channel_close(&m->z[h], &m->c[h][i]);
    m_signals_forget(m, h, i);
    m->subscribers[h][i] = 0;

    return 0;
}


static int
m_purge(model_t *m)
{
    int           rc;
    m_rec_t      *r;
    unsigned      h, i;
    result_t      res;
    m_channel_t  *ch;

    h = draw(m, M_HANDLES);
    i = draw(m, M_CHANNELS);
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

    e = &m->id[draw(m, M_IDENTITIES)];
    h = draw(m, M_HANDLES - 1);

    if (e->expires == 0 && e->handle == 0) {

        /* not known: e->handle is the handle + 1 */

        e->id.client = ++m->clients * 0x10001;
        e->id.user = draw(m, 100);
        e->id.address = m->clients & 7;
        data_fill(e->id.secret, m->clients, 16);

        rc = util_add(&m->z[h], &e->id, &e->ref);
        want(m, rc == OK || (rc == FULL && m->pressure), "add: %d", rc);
        e->handle = rc == OK ? (int) h + 1 : 0;
        return 0;
    }

    if (e->handle && draw(m, 2)) {
        linger = draw(m, 3) * 10000;
        fanout_identity_end(&m->z[e->handle - 1], e->ref, &e->id,
                            linger,
                            1, FANOUT_LEFT_INTENTIONAL);
        e->handle = 0;
        e->expires = linger ? fanout_test_seconds + linger / 1000 : 0;
        return 0;
    }

    id = e->id;
    id.address++;
    wrong = draw(m, 3);

    if (wrong == 1) {
        id.secret[draw(m, 16)] ^= 1;

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

    h = draw(m, M_HANDLES);
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

    h = draw(m, M_HANDLES - 1);

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

    m->s.n++;
    op = draw(m, 100);

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
        return m_publish(m, 1 + draw(m, FANOUT_ZONE_BATCH));
    }

    if (op < 60) {
        return m_drain(m, draw(m, M_HANDLES));
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
        i = draw(m, 30);
        fanout_test_seconds += i < 20 ? i / 4 : i < 28 ? i : 1500;
        return 0;
    }

    if (op < 98) {
        return m_identity(m);
    }

    if (op < 99) {
        return m_replaced(m);
    }

    if (draw(m, 3)) {
        return 0;
    }

    rc = m_restart(m);

    return rc;
}


int
m_empty(model_t *m, uint64_t start)
{
    unsigned  i;

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

    pass(steps_free(&m->s, &m->z[0], start));

    return m_check(m);
}
