/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_record.c */
/* sources: t/unit/zone_record_model.c t/unit/zone_record_fold.c */
/* sources: t/unit/zone_record_draw.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, a set changes what it should not, refuses what nobody else
 * changed, a version is used twice, or who follows the entries knows another
 * state than who reads the records, after some order of sets, appends, deletes,
 * clears, purges and expiries by two workers.
 *
 * ZONE_SEED replays what failed; ZONE_HISTORIES (30) says how many are tried,
 * ZONE_STEPS (3000) how long each is.
 */


#include "tap.h"
#include "zone_record_model.h"


#define HANDLES  2
#define BYTES    (3 * FANOUT_ZONE_RECORD_SIZE)


static void       *mem;
static zone_t      zones[HANDLES];      /* the second one reads, too */
static channel_t   channels[HANDLES][M_CHANNELS];
static arena_t     arena;
static m_t         model, *m = &model;
static uint8_t     bytes[BYTES];
static uint64_t    seed;
static uint64_t    fill_floor;          /* of the channel that fills */
static unsigned    filled;              /* its records */

static struct {
    uint32_t       steps, sets, conflicts, partial, unchanged, refused, full,
                   deletes, duplicates, folded, entries, olds, gaps, expired;
} total;


/* keys: the one with a number that was used in the zone's epoch */

static m_key_t *
key_of(unsigned channel, const char *key, uint64_t epoch)
{
    unsigned  i;
    m_key_t  *k;

    for (i = 0; i < M_KEYS; i++) {
        k = &m->keys[i];

        if (k->epoch == epoch && k->channel == channel && *k->key
            && strcmp(k->key, key) == 0)
        {
            return k;
        }
    }

    return NULL;
}


static void
keep_key(const m_set_t *s, const char *key,
    const fanout_zone_set_result_t *r)
{
    m_key_t  *k;

    k = key_of(s->channel, key, r->log.epoch);
    k = k ? k : &m->keys[m->nkeys++ % M_KEYS];

    strcpy(k->key, key);
    k->channel = s->channel;
    k->epoch = r->log.epoch;
    k->version = r->version;
    k->offset = r->log.offset;
    k->partial = r->partial;
    k->expires = fanout_test_seconds + 20;
}


/* Whether the answer is that of a key: 1, 0, -1. */

static int
repeated(const m_set_t *s, const char *key,
    const fanout_zone_set_result_t *r)
{
    m_key_t  *k;

    k = key_of(s->channel, key, r->log.epoch);

    if (!r->log.duplicate) {
        return k && *key && fanout_test_seconds < k->expires && !m->pressure
               ? m_fail(m, "a key is not known any more") : 0;
    }

    total.duplicates++;

    return k && k->version == r->version && k->offset == r->log.offset
           && k->partial == r->partial && !r->created && !r->unchanged
           ? 1 : m_fail(m, "another result of a key");
}


/* One answer, compared with what is expected: 0, 1: nothing was done, -1. */

static int
answered(m_set_t *s, int rc, const fanout_zone_set_result_t *r,
    const m_result_t *want)
{
    if (rc == FULL && want->rc == OK && !want->unchanged && m->pressure) {
        total.full++;
        return 1;
    }

    if (rc != want->rc) {
        return m_fail(m, "result %d, expected %d", rc, want->rc);
    }

    if (rc == LARGE || rc == MANY) {
        total.refused++;
        return r->limit == want->limit ? 1 : m_fail(m, "another limit");
    }

    if (r->version != want->version || r->deleted != want->deleted
        || r->unknown != want->unknown)
    {
        return m_fail(m, "version %d for %d, deleted %d for %d, unknown %d "
                      "for %d", (int) r->version, (int) want->version,
                      r->deleted, want->deleted, r->unknown, want->unknown);
    }

    if (rc != OK) {
        total.conflicts++;
        return 1;
    }

    if (r->unchanged != want->unchanged || r->created != want->created
        || (!want->unchanged && r->partial != want->partial))
    {
        return m_fail(m, "unchanged %d for %d, created %d for %d, partial %d "
                      "for %d", r->unchanged, want->unchanged, r->created,
                      want->created, r->partial, want->partial);
    }

    total.unchanged += r->unchanged;

    return r->unchanged;
}


static int
grown(m_set_t *s, const fanout_zone_set_result_t *r)
{
    m_record_t  *rec;

    rec = &m->channels[s->channel].records[s->record];

    if (r->version <= rec->most) {
        return m_fail(m, "version %d is used again", (int) r->version);
    }

    rec->most = r->version;

    return 0;
}


static int
get(unsigned h, unsigned channel, unsigned record)
{
    int                rc;
    const uint8_t     *p;
    fanout_record_t    r;
    fanout_records_t   to;

    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = bytes;
    to.size = sizeof(bytes);

    rc = fanout_record_get(&zones[h], &channels[h][channel],
                           &m->ids[record], &to);

    if (rc == NOTFOUND) {
        return m->channels[channel].records[record].there
               ? m_fail(m, "record %u of %u is gone", record, channel) : 0;
    }

    p = bytes;

    if (rc != OK || fanout_record_next(&p, p + to.used, &r) != 1
        || m_id(m, &r.id) != (int) record)
    {
        return m_fail(m, "no record is read");
    }

    return m_same(m, channel, record, &r);
}


static const char *
random_key(publish_t *opts)
{
    static char  key[8];

    key[0] = '\0';

    if (m_rnd(m, 4) == 0) {
        sprintf(key, "k%u", m_rnd(m, 6));
    }

    memset(opts, 0, sizeof(publish_t));
    opts->key = zstr(key, strlen(key));
    opts->record = 1;
    opts->address = m_rnd(m, 4);

    return key;
}


static int
step_set(unsigned h)
{
    int                        rc, done;
    m_result_t                 want;
    publish_t                  opts;
    const char                *key;
    fanout_records_t           to;
    fanout_zone_set_result_t   r;

    static m_set_t  s;

    m_draw(m, &s);
    key = random_key(&opts);
    s.set.opts = m_rnd(m, 3) || *key ? &opts : NULL;

    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = bytes;
    to.size = FANOUT_ZONE_RECORD_SIZE;
    bytes[FANOUT_ZONE_RECORD_SIZE] = 0x5a;

    rc = fanout_record_set(&zones[h], &channels[h][s.channel], &s.set, &to,
                           &r);
    total.sets++;
    m_decide(m, &s, &want);

    if (bytes[FANOUT_ZONE_RECORD_SIZE] != 0x5a) {
        return m_fail(m, "more bytes than promised");
    }

    done = rc == LARGE && want.rc == LARGE ? 0 : repeated(&s, key, &r);

    if (done != 0) {
        return done == 1 ? 0 : -1;
    }

    done = answered(&s, rc, &r, &want);

    if (done == 0) {
        total.partial += want.partial;

        if (grown(&s, &r) != 0
            || (want.partial && m_conflicts(m, &s, &to) != 0))
        {
            return -1;
        }

        m_apply(m, &s, &want);
        m->channels[s.channel].records[s.record].offset = r.log.offset;

        if (*key) {
            keep_key(&s, key, &r);
        }

    } else if (done == 1 && rc == CONFLICT && want.partial) {
        done = m_conflicts(m, &s, &to);
    }

    return done < 0 ? -1 : get(h, s.channel, s.record);
}


static int
step_delete(unsigned h)
{
    int                        rc, done;
    m_set_t                    s;
    m_result_t                 want;
    publish_t                  opts;
    const char                *key;
    fanout_zone_set_result_t   r;

    memset(&s, 0, sizeof(m_set_t));
    s.channel = m_rnd(m, M_CHANNELS);
    s.record = m_rnd(m, M_RECORDS);
    s.set.id = m->ids[s.record];
    s.set.user = m->users[m_rnd(m, M_USERS)];
    s.set.mode = m_rnd(m, 3);
    s.set.base = m_base(m, &m->channels[s.channel].records[s.record]);
    key = random_key(&opts);
    s.set.opts = &opts;

    rc = fanout_record_delete(&zones[h], &channels[h][s.channel], &s.set, &r);
    total.deletes++;
    m_delete_decide(m, &s, &want);
    done = repeated(&s, key, &r);

    if (done != 0) {
        return done == 1 ? 0 : -1;
    }

    done = answered(&s, rc, &r, &want);

    if (done == 0) {
        if (grown(&s, &r) != 0) {
            return -1;
        }

        m_delete(m, s.channel, s.record, want.version);

        if (*key) {
            keep_key(&s, key, &r);
        }
    }

    return done < 0 ? -1 : get(h, s.channel, s.record);
}


static int
step_clear(unsigned h)
{
    int       rc;
    unsigned  i;
    result_t  r;

    i = m_rnd(m, M_CHANNELS);

    do {
        rc = fanout_record_clear(&zones[h], &channels[h][i]);
    } while (rc == AGAIN);

    m_clear(m, i);
    rc = fanout_channel_purge(&zones[h], &channels[h][i], NULL, 0, &r);

    /* without a block for the entry, who follows reads again */

    if (rc == FULL && m->pressure) {
        m->folds[i < M_READ ? i : 0].lost = 1;
        return 0;
    }

    return rc == OK || rc == NOTFOUND ? 0 : m_fail(m, "purge: %d", rc);
}


static int
step_purge(unsigned h)
{
    result_t  r;

    (void) fanout_channel_purge(&zones[h], &channels[h][m_rnd(m, M_CHANNELS)],
                                NULL, 0, &r);
    return 0;
}


static int
step_publish(unsigned h)
{
    result_t  r;

    (void) put(&zones[h], &channels[h][m_rnd(m, M_CHANNELS)], m_rnd(m, 1000),
               m_rnd(m, 3000), 0, NULL, &r);
    return 0;
}


/* Records of another channel fill the zone, or go. */

static int
step_fill(unsigned h)
{
    int                        rc;
    char                       id[16];
    channel_t                  c;
    fanout_records_t           to;
    fanout_zone_set_t          set;
    fanout_zone_change_t       change;
    fanout_zone_set_result_t   r;

    static policy_t  policy = { .records = FANOUT_RECORDS_ON };
    static uint8_t   zeros[FANOUT_ZONE_RECORD];

    c = view(&zones[h], "fill", &policy);
    memset(&to, 0, sizeof(fanout_records_t));
    memset(&set, 0, sizeof(fanout_zone_set_t));
    memset(&change, 0, sizeof(fanout_zone_change_t));

    to.bytes = bytes;
    to.size = sizeof(bytes);
    change.name = m->names[0];
    change.value = zstr(zeros, m_rnd(m, FANOUT_ZONE_RECORD - 10) + 1);
    change.op = FANOUT_FIELD_SET;
    set.changes = &change;
    set.n = 1;

    do {
        set.id = zstr(id, sprintf(id, "f%u", filled));
        rc = fanout_record_set(&zones[h], &c, &set, &to, &r);

        if (rc == OK && filled++ == 0) {
            fill_floor = m->floor;
        }

    } while (rc == OK && m_rnd(m, 20));

    if (m_rnd(m, 3) == 0 && filled) {
        while (fanout_record_clear(&zones[h], &c) == AGAIN) {
            /* void */
        }

        filled = 0;
        m->floor = m->floor > fill_floor ? m->floor : fill_floor + 1;
    }

    return rc == OK || rc == FULL ? 0 : m_fail(m, "fill: %d", rc);
}


static int
step_time(unsigned h)
{
    unsigned  k;

    k = m_rnd(m, 20);
    fanout_test_seconds += k == 0 ? 1 + m_rnd(m, 40000)
                           : k < 4 ? m_rnd(m, 60) : m_rnd(m, 3);

    if (m_rnd(m, 2)) {
        return 0;
    }

    if (sweep_all(&zones[h]) == -1) {
        return m_fail(m, "an endless sweep");
    }

    m_expire(m);

    return 0;
}


/* Workers apply a new configuration. */

static int
step_policy(unsigned h)
{
    static const uint32_t  ttls[] = { 0, 0, 1, 7, 255, 256, 257, 600, 3000 };

    m->policy.history = m_rnd(m, 3) ? 1000 : m_rnd(m, 4);
    m->policy.records = FANOUT_RECORDS_ON
                        | (m_rnd(m, 3) ? 0 : FANOUT_RECORDS_OLD)
                        | (m_rnd(m, 3) ? 0 : FANOUT_RECORDS_WHOLE);
    m->policy.fields = m_rnd(m, 3) ? 0 : 1 + m_rnd(m, 20);
    m->policy.record = m_rnd(m, 3) ? 0 : 1 + m_rnd(m, 4000);
    m->policy.records_max = m_rnd(m, 3) ? 0 : 1 + m_rnd(m, M_RECORDS);
    m->policy.records_ttl = ttls[m_rnd(m, sizeof(ttls) / sizeof(ttls[0]))];

    return 0;
}


/* the reader */

static int
listed(unsigned h, unsigned channel)
{
    int                rc;
    uint64_t           cursor;
    fanout_zstr_t      all;
    fanout_records_t   to;

    static uint8_t  page[(M_RECORDS + 1) * FANOUT_ZONE_RECORD_SIZE];

    cursor = 0;
    all = zstr("", 0);
    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = page;
    to.size = sizeof(page);

    do {
        rc = fanout_record_list(&zones[h], &channels[h][channel], &all,
                                &cursor, 0, to.n + 1 + m_rnd(m, 9), &to);
    } while (rc == AGAIN);

    return m_fold_listed(m, channel, &to);
}


static int
drain(void)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&zones[1], &arena);

        for (i = 0; i < arena.n; i++) {
            if (m_fold_entry(m, &arena.entries[i]) != 0) {
                return -1;
            }
        }

    } while (rc == AGAIN);

    return 0;
}


/* All is read, and compared: by the reader, and record by record. */

static int
check(void)
{
    unsigned  i, k;

    if (drain() != 0) {
        return -1;
    }

    for (i = 0; i < M_CHANNELS; i++) {

        if (i < M_READ) {
            if (m->folds[i].lost && listed(1, i) != 0) {
                return -1;
            }

            if (m_fold_same(m, i) != 0
                || (m_rnd(m, 4) == 0
                    && (listed(0, i) != 0 || m_fold_same(m, i) != 0)))
            {
                return -1;
            }

            total.folded++;
        }

        for (k = 0; k < M_RECORDS; k++) {
            if (get(k & 1, i, k) != 0) {
                return -1;
            }
        }
    }

    return 0;
}


static int
step(void)
{
    unsigned  h, k;

    h = m_rnd(m, HANDLES);
    k = m_rnd(m, 1000);

    return k < 700 ? step_set(h)
           : k < 800 ? step_delete(h)
           : k < 808 ? step_clear(h)
           : k < 820 ? step_purge(h)
           : k < 840 ? step_policy(h)
           : k < 870 ? step_time(h)
           : k < 890 ? drain()
           : !m->pressure ? drain()
           : k < 960 ? step_publish(h) : step_fill(h);
}


static int
verified(void)
{
    char    why[256];
    stat_t  st;

    if (fanout_zone_verify(&zones[0], why, sizeof(why)) != 0) {
        return m_fail(m, "%s", why);
    }

    fanout_zone_stat(&zones[0], &st);

    return st.overflows ? m_fail(m, "the journal is too short") : 0;
}


static void
begin(size_t size, int pressure, uint64_t own)
{
    char      name[8];
    unsigned  h, i;

    m_init(m, own);
    m->pressure = pressure;
    filled = 0;
    m->policy.history = 1000;
    m->policy.records = FANOUT_RECORDS_ON;

    fanout_test_seconds = 100;
    fanout_test_msec = 0;
    mem = zone_make(size, 300, 20);

    for (h = 0; h < HANDLES; h++) {
        memset(&zones[h], 0, sizeof(zone_t));
        (void) fanout_zone_attach(&zones[h], mem, size);
        (void) fanout_slot_claim(&zones[h], h + 1);

        for (i = 0; i < M_CHANNELS; i++) {
            sprintf(name, "c%u", i);
            channels[h][i] = view(&zones[h], strdup(name), &m->policy);
        }
    }

    for (i = 0; i < M_READ; i++) {
        (void) fanout_channel_open(&zones[1], &channels[1][i], i);
    }
}


static void
end(size_t size)
{
    unsigned  h, i;

    for (h = 0; h < HANDLES; h++) {
        fanout_slot_release(&zones[h]);

        for (i = 0; i < M_CHANNELS; i++) {
            free((void *) channels[h][i].name.data);
        }
    }

    total.entries += m->entries;
    total.olds += m->olds;
    total.gaps += m->gaps;

    m_done(m);
    munmap(mem, size);
}


static void
history(unsigned n, unsigned steps)
{
    int       rc;
    size_t    size;
    unsigned  i;

    size = n & 1 ? MB : 32 * MB;
    begin(size, n & 1, seed + n * 1000003ULL);
    rc = 0;

    for (i = 1; i <= steps && rc == 0; i++) {
        rc = step();

        if (rc == 0 && i % 64 == 0) {
            rc = verified();
        }

        if (rc == 0 && i % 1000 == 0) {
            rc = check();
        }
    }

    total.steps += i - 1;

    if (rc) {
        ok(0, "history %u, step %u: %s", n, i - 1, m->error);
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) seed, n);
    }

    end(size);
}


int
main(void)
{
    char      *s;
    unsigned   i, n, steps;

    seed = seed_of_run();
    s = getenv("ZONE_HISTORIES");
    n = s ? atoi(s) : SLOW ? 6 : 30;
    s = getenv("ZONE_STEPS");
    steps = s ? atoi(s) : 3000;
    arena_init(&arena);

    for (i = 0; i < n && !tap_failed; i++) {
        history(i, steps);
    }

    ok(!tap_failed, "%u random operations: %u sets, %u in conflict, %u "
       "partial, %u of no change, %u refused, %u deletes, %u repeated",
       total.steps, total.sets, total.conflicts, total.partial,
       total.unchanged, total.refused, total.deletes, total.duplicates);
    ok(total.conflicts && total.partial && total.unchanged && total.refused
       && total.duplicates, "all of it was met");
    ok(total.entries && total.olds && total.gaps && total.full, "%u entries "
       "read, %u old values, %u gaps, a full zone %u times, %u times the "
       "state was the same", total.entries, total.olds, total.gaps,
       total.full, total.folded);

    arena_done(&arena);

    return done_testing();
}
