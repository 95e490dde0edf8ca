/*
 * Random operations on records, and what the model says to their results.
 */


#include "zone_record_steps.h"


records_run_t   run;
records_met_t   met;
uint8_t         record_bytes[M_BYTES];

static m_t  *const  m = &run.m;


/* an operation that a worker may die in */

typedef struct {
    m_set_t                   *s;
    fanout_records_t           to;
    fanout_zone_set_result_t   r;
    int                        rc;
} act_t;


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
keep_key(const m_set_t *s, const char *key, const fanout_zone_set_result_t *r)
{
    m_key_t  *k;

    if (*key == '\0') {
        return;
    }

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

    met.duplicates++;

    return k && k->version == r->version
           && (k->offset == r->log.offset || k->offset == 0)
           && k->partial == r->partial && !r->created && !r->unchanged
           ? 1 : m_fail(m, "another result of a key");
}


/* One answer, compared with what is expected: 0, 1: nothing was done, -1. */

static int
answered(m_set_t *s, int rc, const fanout_zone_set_result_t *r,
    const m_result_t *want)
{
    if (rc == FULL && want->rc == OK && !want->unchanged && m->pressure) {
        met.full++;
        return 1;
    }

    if (rc != want->rc) {
        return m_fail(m, "result %d, expected %d", rc, want->rc);
    }

    if (rc == LARGE || rc == MANY) {
        met.refused++;
        return r->limit == want->limit ? 1 : m_fail(m, "another limit");
    }

    if (rc == LOCKED || rc == NOTHOLDER) {
        met.locked++;
        return rc == NOTHOLDER || r->lock_name.len
               ? 1 : m_fail(m, "a lock without a name");
    }

    if (r->version != want->version || r->deleted != want->deleted
        || r->unknown != want->unknown)
    {
        return m_fail(m, "version %d for %d, deleted %d for %d, unknown %d "
                      "for %d", (int) r->version, (int) want->version,
                      r->deleted, want->deleted, r->unknown, want->unknown);
    }

    if (rc != OK) {
        met.conflicts++;
        return 1;
    }

    if (r->unchanged != want->unchanged || r->created != want->created
        || (!want->unchanged && r->partial != want->partial))
    {
        return m_fail(m, "unchanged %d for %d, created %d for %d, partial %d "
                      "for %d", r->unchanged, want->unchanged, r->created,
                      want->created, r->partial, want->partial);
    }

    met.unchanged += r->unchanged;

    return r->unchanged;
}


static int
grown(const m_set_t *s, uint64_t version)
{
    m_record_t  *rec;

    rec = &m->channels[s->channel].records[s->record];

    if (version <= rec->most) {
        return m_fail(m, "version %d is used again", (int) version);
    }

    rec->most = version;

    return 0;
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


channel_t
records_view(zone_t *z, unsigned channel)
{
    unsigned   i;
    channel_t  c;

    for (i = 0; i < M_WORKERS; i++) {
        if (z == &run.z[i]) {
            return run.channels[i][channel];
        }
    }

    c = view(z, (const char *) run.channels[0][channel].name.data, &m->policy);

    return c;
}


static void
act_set(zone_t *z, void *data)
{
    act_t      *a;
    channel_t   c;

    a = data;
    c = records_view(z, a->s->channel);
    a->rc = fanout_record_set(z, &c, &a->s->set, &a->to, &a->r);
}


static void
act_delete(zone_t *z, void *data)
{
    act_t      *a;
    channel_t   c;

    a = data;
    c = records_view(z, a->s->channel);
    a->rc = fanout_record_delete(z, &c, &a->s->set, &a->r);
}


int
records_die(void (*op)(zone_t *z, void *data), void *data)
{
    int  died;

    died = killed_at(&run.z[0], run.mem, run.size,
                     1 + m_rnd(m, m_rnd(m, 4) ? 200 : 3000), op, data);

    met.died += died;

    return died;
}


/* 0: it was done, and answered; 1: its worker died in it; -1 */

static int
act(unsigned h, act_t *a, void (*op)(zone_t *z, void *data))
{
    int  died;

    memset(&a->to, 0, sizeof(fanout_records_t));
    a->to.bytes = record_bytes;
    a->to.size = FANOUT_ZONE_RECORD_SIZE;
    record_bytes[FANOUT_ZONE_RECORD_SIZE] = 0x5a;
    died = 0;

    if (run.kills && m_rnd(m, 4) == 0) {
        died = records_die(op, a);

    } else {
        op(&run.z[h], a);
    }

    return record_bytes[FANOUT_ZONE_RECORD_SIZE] == 0x5a
           ? died : m_fail(m, "more bytes than promised");
}


/* What the dead worker left is all of the change, or nothing: 1, 0. */

static int
left_by(act_t *a, const m_result_t *want)
{
    int                rc;
    const uint8_t     *p;
    fanout_record_t    r;

    memset(&a->to, 0, sizeof(fanout_records_t));
    a->to.bytes = record_bytes;
    a->to.size = FANOUT_ZONE_RECORD_SIZE;
    p = record_bytes;

    rc = fanout_record_get(&run.z[0], &run.channels[0][a->s->channel],
                           &a->s->set.id, &a->to);

    memset(&a->r, 0, sizeof(fanout_zone_set_result_t));
    memset(&r, 0, sizeof(fanout_record_t));

    if (rc == OK) {
        (void) fanout_record_next(&p, p + a->to.used, &r);
    }

    a->r.version = want->version;
    a->r.partial = want->partial;
    a->r.log.epoch = a->to.epoch;
    a->r.log.offset = r.prev;

    if (want->rc != OK || want->unchanged
        || (rc == OK && r.version != want->version))
    {
        return 0;
    }

    met.survived++;

    return 1;
}


/* Of a set that was killed, a lock may have ended although there was nothing
 * to change. */

static void
released(const m_set_t *s, int died)
{
    lock_t  l;

    if (s->release == NULL) {
        return;
    }

    if (!died || !records_lock_find(s->channel,
                                    (const char *) s->set.release.data, &l))
    {
        s->release->ends = 0;
    }
}


static int
applied(act_t *a, const m_result_t *want, const char *key)
{
    met.partial += want->partial;

    if (grown(a->s, want->version) != 0) {
        return -1;
    }

    m_apply(m, a->s, want);
    m->channels[a->s->channel].records[a->s->record].offset = a->r.log.offset;
    keep_key(a->s, key, &a->r);

    return 0;
}


static int
killed_set(act_t *a, const char *key)
{
    int                done;
    m_result_t         want;
    const m_record_t  *rec;

    rec = &m->channels[a->s->channel].records[a->s->record];
    m_decide(m, a->s, &want);
    done = left_by(a, &want) && a->r.log.offset != rec->offset
           && a->r.log.offset;

    if (want.rc == OK) {
        released(a->s, 1);
    }

    if (done && applied(a, &want, key) != 0) {
        return -1;
    }

    return records_get(0, a->s->channel, a->s->record);
}


static int
step_set(unsigned h)
{
    int          died, done;
    act_t        a;
    m_result_t   want;
    publish_t    opts;
    const char  *key;

    static m_set_t  s;

    m_draw(m, &s);
    key = random_key(&opts);
    s.set.opts = m_rnd(m, 3) || *key ? &opts : NULL;
    a.s = &s;
    met.sets++;
    died = act(h, &a, act_set);

    if (died) {
        return died == 1 ? killed_set(&a, key) : -1;
    }

    m_decide(m, &s, &want);
    done = a.rc == LARGE && want.rc == LARGE ? 0 : repeated(&s, key, &a.r);

    if (done != 0) {
        return done == 1 ? 0 : -1;
    }

    done = answered(&s, a.rc, &a.r, &want);

    if (a.rc == OK) {
        released(&s, 0);
    }

    if (done >= 0 && want.partial && (a.rc == OK || a.rc == CONFLICT)
        && m_conflicts(m, &s, &a.to) != 0)
    {
        return -1;
    }

    if (done < 0 || (done == 0 && applied(&a, &want, key) != 0)) {
        return -1;
    }

    return records_get(h, s.channel, s.record);
}


static int
deleted(act_t *a, const m_result_t *want, const char *key)
{
    if (grown(a->s, want->version) != 0) {
        return -1;
    }

    m_delete(m, a->s->channel, a->s->record, want->version);
    keep_key(a->s, key, &a->r);

    return 0;
}


static int
step_delete(unsigned h)
{
    int          died, done;
    act_t        a;
    m_set_t      s;
    m_result_t   want;
    publish_t    opts;
    const char  *key;

    memset(&s, 0, sizeof(m_set_t));
    s.channel = m_rnd(m, M_CHANNELS);
    s.record = m_rnd(m, M_RECORDS);
    s.set.id = m->ids[s.record];
    s.set.user = m->users[m_rnd(m, M_USERS)];
    s.set.mode = m_rnd(m, 3);
    s.set.base = m_base(m, &m->channels[s.channel].records[s.record]);
    m_draw_locks(m, &s);
    s.release = NULL;
    s.set.release.len = 0;
    key = random_key(&opts);
    s.set.opts = &opts;
    a.s = &s;

    died = act(h, &a, act_delete);
    met.deletes++;
    m_delete_decide(m, &s, &want);

    if (died) {
        done = died == 1 ? !left_by(&a, &want) || a.to.n : -1;

    } else {
        done = repeated(&s, key, &a.r);

        if (done != 0) {
            return done == 1 ? 0 : -1;
        }

        done = answered(&s, a.rc, &a.r, &want);
    }

    if (done < 0 || (done == 0 && deleted(&a, &want, key) != 0)) {
        return -1;
    }

    return records_get(h, s.channel, s.record);
}


/* Where there are records or locks, there is a shelf, which knows the
 * versions. */

static void
shelves(void)
{
    unsigned      i, round, there;
    fanout_ref_t  ref;

    for (round = 0; round < 2; round++) {
        for (i = 0; i < M_CHANNELS; i++) {
            ref = fanout_channel_find(&run.z[0], &run.channels[0][i]);
            there = ref && fanout_shelf_of(&run.z[0], ref);

            if (there == round) {
                m_shelf(m, i, there);
            }
        }
    }
}


static int
step(unsigned h, unsigned k)
{
    return k < 600 ? step_set(h)
           : k < 690 ? step_delete(h)
           : k < 770 ? records_lock_step(h)
           : k < 790 ? records_list_step(h)
           : k < 800 ? records_history_step(h)
           : k < 870 ? records_around_step(h, k - 800)
           : k < 890 || !m->pressure ? records_drain()
           : records_around_step(h, k - 800);
}


int
records_step(void)
{
    int       rc;
    unsigned  h;

    m->s.n++;
    h = m_rnd(m, M_WORKERS);
    rc = step(h, m_rnd(m, 1000));
    shelves();

    return rc;
}


int
records_sound(void)
{
    stat_t  st;

    if (steps_check(&m->s, &run.z[0]) != 0) {
        return -1;
    }

    fanout_zone_stat(&run.z[0], &st);

    return st.overflows ? m_fail(m, "the journal is too short") : 0;
}


void
records_begin(void *mem, size_t size, int pressure, int kills,
    uint32_t (*next)(void *data), void *data)
{
    char      name[8];
    unsigned  h, i;

    m_init(m, next, data);
    m->pressure = pressure;
    m->policy.history = 1000;
    m->policy.records = FANOUT_RECORDS_ON;
    m->policy.locks = FANOUT_ZONE_LOCK_TIME;
    m->policy.linger = 5;
    run.filled = 0;
    run.kills = kills;
    run.mem = mem;
    run.size = size;

    fanout_test_seconds = 100;
    fanout_test_msec = 0;

    if (run.arena.bytes == NULL) {
        arena_init(&run.arena);
    }

    for (h = 0; h < M_WORKERS; h++) {
        memset(&run.z[h], 0, sizeof(zone_t));
        (void) fanout_zone_attach(&run.z[h], mem, size);
        (void) fanout_slot_claim(&run.z[h], h + 1);

        for (i = 0; i < M_CHANNELS; i++) {
            sprintf(name, "c%u", i);
            run.channels[h][i] = view(&run.z[h], strdup(name), &m->policy);
        }
    }

    for (i = 0; i < M_READ; i++) {
        (void) fanout_channel_open(&run.z[1], &run.channels[1][i], i);
    }

    for (i = 1; i <= M_CLIENTS; i++) {
        (void) person_add(&run.z[1], &run.clients[i], i, "ann", "", 0);

        for (h = 0; h < M_READ; h++) {
            (void) person_sit(&run.z[1], &run.channels[1][h], &run.clients[i]);
        }
    }
}


void
records_end(void)
{
    unsigned  h, i;

    for (h = 0; h < M_WORKERS; h++) {
        fanout_slot_release(&run.z[h]);

        for (i = 0; i < M_CHANNELS; i++) {
            free((void *) run.channels[h][i].name.data);
        }
    }

    met.entries += m->entries;
    met.olds += m->olds;
    met.gaps += m->gaps;

    records_lists_end();
    m_done(m);
}
