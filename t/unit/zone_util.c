/*
 * What the tests of the zone share.
 */


#include "zone_util.h"


#if (FANOUT_TEST)
uint32_t  fanout_test_seconds;
uint32_t  fanout_test_msec;
uint32_t  fanout_test_journal;
uint32_t  fanout_test_work;
#endif


int
util_add(zone_t *z, const identity_t *id, uint32_t *ref)
{
    fanout_zstr_t  user, info;

    info.data = user.data = (const uint8_t *) &id->user;
    info.len = 0;
    user.len = id->user ? sizeof(id->user) : 0;

    return fanout_identity_add(z, id, &user, &info, 0, ref);
}


unsigned
util_orders(zone_t *z, uint64_t *clients, unsigned max)
{
    unsigned        i, k, n;
    fanout_order_t  orders[64];

    n = fanout_slot_orders(z, orders, max < 64 ? max : 64);

    for (i = 0, k = 0; i < n; i++) {
        if (orders[i].op != FANOUT_ORDER_LOOK) {
            clients[k++] = orders[i].client;
        }
    }

    return k;
}


void *
map(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }

    return p;
}


void *
zone_make(size_t size, uint32_t idle, uint32_t dedupe)
{
    void   *mem;
    conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.slots = 16;
    conf.idle = idle;
    conf.dedupe = dedupe;

    mem = map(size);

    if (fanout_zone_create(mem, size, &conf, NULL) != OK) {
        fprintf(stderr, "zone_create failed\n");
        exit(2);
    }

    return mem;
}


void
zone_shares(zone_t *z)
{
    fanout_zone_shares_t  s;

    static const fanout_zone_share_t  kinds[] = {
        { 500, 6000 }, { 200, 1000 }, { 500, 6000 }, { 1000, 6000 },
        { 100, 2500 }, { 100, 500 }, { 100, 2500 }
    };

    memset(&s, 0, sizeof(s));
    memcpy(s.kinds, kinds, sizeof(kinds));

    s.accounts[0].min = 2500;
    s.accounts[0].max = FANOUT_ZONE_WHOLE;

    fanout_zone_bound(z, &s);
}


fanout_zstr_t
zstr(const void *data, size_t len)
{
    fanout_zstr_t  s;

    s.data = data;
    s.len = len;

    return s;
}


channel_t
view(zone_t *z, const char *name, policy_t *policy)
{
    channel_t  c;

    memset(&c, 0, sizeof(c));
    c.name = zstr(name, strlen(name));
    c.policy = policy;
    c.hash = fanout_zone_hash(z, name, strlen(name));

    return c;
}


int
arena_grow(arena_t *a, size_t n)
{
    uint8_t  *p;

    p = realloc(a->bytes, n);

    if (p == NULL) {
        return -1;
    }

    a->bytes = p;
    a->size = n;

    return 0;
}


void
arena_init(arena_t *a)
{
    memset(a, 0, sizeof(*a));
    a->entries = calloc(ARENA_N, sizeof(entry_t));
    a->max = ARENA_N;
    a->size = 16384;
    a->bytes = malloc(a->size);
    a->grow = arena_grow;
}


void
arena_reset(arena_t *a)
{
    a->n = 0;
    a->used = 0;
}


void
arena_done(arena_t *a)
{
    free(a->entries);
    free(a->bytes);
}


void
data_fill(uint8_t *p, uint32_t seed, uint32_t len)
{
    uint32_t  i, x;

    x = seed * 2654435761U ^ len;

    for (i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = x >> 24;
    }

    if (len >= 8) {
        memcpy(p, &seed, 4);
        memcpy(p + 4, &len, 4);
    }
}


int
data_is(const uint8_t *p, uint32_t got, uint32_t seed, uint32_t len)
{
    int       rc;
    uint8_t  *q;

    if (got != len) {
        return 0;
    }

    q = malloc(len + 1);
    data_fill(q, seed, len);
    rc = memcmp(p, q, len) == 0;
    free(q);

    return rc;
}


int
data_whole(const uint8_t *p, uint32_t got)
{
    uint32_t  seed, len;

    if (got < 8) {
        return 0;
    }

    memcpy(&seed, p, 4);
    memcpy(&len, p + 4, 4);

    return data_is(p, got, seed, len);
}


int
put(zone_t *z, channel_t *c, uint32_t seed, uint32_t len, uint8_t flags,
    const publish_t *opts, result_t *r)
{
    int        rc;
    uint8_t   *p;
    message_t  m;

    p = malloc(len + 1);
    data_fill(p, seed, len);

    memset(&m, 0, sizeof(m));
    m.data = zstr(p, len);
    m.flags = flags;
    m.kind = FANOUT_BINARY;

    rc = fanout_log_publish(z, c, &m, 1, opts, r);

    free(p);

    return rc;
}


int
sweep_all(zone_t *z)
{
    int  n, rc;

    for (n = 0; n < 1000000; n++) {
        rc = fanout_zone_sweep(z);
        if (rc == OK) {
            return n;
        }
    }

    return -1;
}


uint64_t
free_blocks(zone_t *z)
{
    stat_t  st;

    fanout_zone_stat(z, &st);

    return st.free;
}
