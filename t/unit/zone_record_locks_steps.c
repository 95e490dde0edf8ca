/*
 * Random operations on the locks of records.
 */


#include "zone_record_steps.h"


#define LIST  (M_LOCKED * (M_LOCKED + 1) + 1)


static m_t  *const  m = &run.m;


typedef struct {
    ask_t        ask;
    unsigned     channel;
    int          rc;
} lock_act_t;


static int
all_locks(unsigned channel, lock_t *locks, unsigned *n)
{
    int        rc;
    uint64_t   cursor;
    result_t   r;

    static uint8_t  buf[LIST * FANOUT_ZONE_LOCK_BUF];

    cursor = 0;
    *n = 0;
    rc = fanout_lock_list(&run.z[0], &run.channels[0][channel], &cursor, locks,
                          LIST, buf, sizeof(buf), n, &r);

    return rc == NOTFOUND || (rc == OK && cursor == 0)
           ? 0 : m_fail(m, "the locks of %u are not read", channel);
}


int
records_lock_find(unsigned channel, const char *name, lock_t *lock)
{
    lock_t    locks[LIST];
    unsigned  i, n;

    if (all_locks(channel, locks, &n) != 0) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (locks[i].held && locks[i].name.len == strlen(name)
            && memcmp(locks[i].name.data, name, locks[i].name.len) == 0)
        {
            *lock = locks[i];
            return 1;
        }
    }

    return 0;
}


static void
act_take(zone_t *z, void *data)
{
    channel_t    c;
    lock_act_t  *a;

    a = data;
    c = records_view(z, a->channel);
    a->rc = lock_take(z, &c, &a->ask);
}


static void
act_drop(zone_t *z, void *data)
{
    channel_t    c;
    lock_act_t  *a;

    a = data;
    c = records_view(z, a->channel);
    a->rc = lock_drop(z, &c, NULL, a->ask.name, 0);
}


static int
may_die(int who)
{
    return run.kills && who == M_API && m_rnd(m, 2);
}


static int
granted(m_locked_t *lock, const ask_t *ask, int who, uint64_t token)
{
    if (token <= m->token) {
        return m_fail(m, "a token is not above all before");
    }

    m->token = lock->token = token;
    lock->holder = who;
    lock->ends = fanout_test_seconds * 1000ULL + fanout_test_msec + ask->ttl;
    met.grants++;

    return 0;
}


static int
step_take(unsigned h, m_locked_t *lock, int who, lock_act_t *a)
{
    int     rc, want;
    lock_t  l;

    a->ask.user = m_rnd(m, 2) ? "ann" : "";
    a->ask.data = m_rnd(m, 3) ? NULL : "[1]";
    a->ask.ttl = 1 + m_rnd(m, m_rnd(m, 2) ? 3000 : 60000);
    a->ask.token = m_rnd(m, 2) ? lock->token : 77;
    a->ask.address = m_rnd(m, 4);
    a->ask.anywhere = h == 0;
    a->ask.who = who == M_API ? NULL : &run.clients[who];

    if (may_die(who) && !m_held(lock)) {
        if (records_die(act_take, a)) {
            return records_lock_find(a->channel, a->ask.name, &l)
                   && l.token != lock->token
                   ? granted(lock, &a->ask, who, l.token) : 0;
        }

        rc = a->rc;

    } else {
        rc = lock_take(&run.z[h], &run.channels[h][a->channel], &a->ask);
    }

    want = !m_held(lock) ? OK
           : lock->holder == who
             && (who != M_API || a->ask.token == lock->token) ? OK : LOCKED;

    if (rc == FULL && m->pressure && want == OK) {
        met.full++;
        return 0;
    }

    if (rc != want) {
        return m_fail(m, "take: %d, expected %d", rc, want);
    }

    if (rc != OK) {
        return lock_was.token ? m_fail(m, "a token is told") : 0;
    }

    if (lock_renewed != (unsigned) m_held(lock)) {
        return m_fail(m, "renewed: %u", lock_renewed);
    }

    if (!lock_renewed) {
        return granted(lock, &a->ask, who, lock_was.token);
    }

    lock->ends = fanout_test_seconds * 1000ULL + fanout_test_msec
                 + a->ask.ttl;

    return lock_was.token == lock->token ? 0 : m_fail(m, "another token");
}


/* A lock that is over may be there until the sweep. */

static int
step_drop(unsigned h, m_locked_t *lock, int who, lock_act_t *a)
{
    int     rc, want;
    lock_t  l;

    if (may_die(who)) {
        if (records_die(act_drop, a)) {
            if (!records_lock_find(a->channel, a->ask.name, &l)) {
                lock->ends = 0;
            }

            return 0;
        }

        rc = a->rc;

    } else {
        rc = lock_drop(&run.z[h], &run.channels[h][a->channel],
                       who == M_API ? NULL : &run.clients[who], a->ask.name,
                       0);
    }

    want = who == M_API ? (m_held(lock) ? OK : NOTFOUND)
           : m_held(lock) && lock->holder == who ? OK : CONFLICT;

    if (rc != want && (rc != OK || m_held(lock) || lock->ends == 0)) {
        return m_fail(m, "drop: %d, expected %d", rc, want);
    }

    if (rc == OK) {
        lock->ends = 0;
    }

    return 0;
}


/* Clients are the second worker's, where the channels are open. */

int
records_lock_step(unsigned h)
{
    int          who;
    unsigned     record, field;
    lock_act_t   a;
    m_locked_t  *lock;

    memset(&a, 0, sizeof(lock_act_t));
    a.channel = m_rnd(m, M_CHANNELS);
    who = a.channel < M_READ ? m_rnd(m, M_CLIENTS + 1) : M_API;
    record = m_rnd(m, M_LOCKED);
    field = m_rnd(m, M_LOCKED + 1);
    a.ask.name = m_lock_name(m, record, field);
    lock = m_lock_of(m, a.channel, record, field);
    h = who == M_API ? h : 1;

    return m_rnd(m, 3) ? step_take(h, lock, who, &a)
                       : step_drop(h, lock, who, &a);
}


int
records_locks_same(void)
{
    lock_t       l;
    unsigned     i, k, f;
    m_locked_t  *lock;

    for (i = 0; i < M_CHANNELS; i++) {
        for (k = 0; k < M_LOCKED; k++) {
            for (f = 0; f <= M_LOCKED; f++) {
                lock = m_lock_of(m, i, k, f);

                if (!m_held(lock)) {
                    continue;
                }

                if (!records_lock_find(i, m_lock_name(m, k, f), &l)
                    || l.token != lock->token
                    || (int) l.client != lock->holder)
                {
                    return m_fail(m, "the lock %s of %u is not held by %d",
                                  m_lock_name(m, k, f), i, lock->holder);
                }
            }
        }
    }

    return 0;
}
