/*
 * What happens around the changes of records: time, another configuration, a
 * purge, a full zone.
 */


#include "zone_record_steps.h"


static m_t  *const  m = &run.m;


static void
act_clear(zone_t *z, void *data)
{
    channel_t  c;

    c = records_view(z, *(unsigned *) data);

    while (fanout_record_clear(z, &c) == AGAIN) { /* void */ }
}


static void
act_purge(zone_t *z, void *data)
{
    result_t   r;
    channel_t  c;

    c = records_view(z, *(unsigned *) data);
    (void) fanout_channel_purge(z, &c, NULL, 0, &r);
}


static void
act_sweep(zone_t *z, void *data)
{
    *(int *) data = sweep_all(z);
}


/* What is done in steps is begun by a worker that dies, and ended by another
 * one. */

static void
act_twice(unsigned h, void (*op)(zone_t *z, void *data), void *data)
{
    if (run.kills && m_rnd(m, 3) == 0) {
        (void) records_die(op, data);
    }

    op(&run.z[h], data);
}


static int
step_clear(unsigned h)
{
    int       rc;
    unsigned  i;
    result_t  r;

    i = m_rnd(m, M_CHANNELS);
    act_twice(h, act_clear, &i);
    m_clear(m, i);
    rc = fanout_channel_purge(&run.z[h], &run.channels[h][i], NULL, 0, &r);

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
    unsigned  i;

    i = m_rnd(m, M_CHANNELS);
    act_twice(h, act_purge, &i);

    return 0;
}


static int
step_publish(unsigned h)
{
    result_t  r;

    (void) put(&run.z[h], &run.channels[h][m_rnd(m, M_CHANNELS)],
               m_rnd(m, 1000), m_rnd(m, 3000), 0, NULL, &r);
    return 0;
}


static int
fill_one(unsigned h, channel_t *c, fanout_zone_set_t *set)
{
    int                        rc;
    char                       id[16];
    fanout_records_t           to;
    fanout_zone_set_result_t   r;

    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = record_bytes;
    to.size = M_BYTES;

    set->id = zstr(id, sprintf(id, "f%u", run.filled));
    rc = fanout_record_set(&run.z[h], c, set, &to, &r);

    if (rc == OK && run.filled++ == 0) {
        run.fill_floor = m->floor;
    }

    return rc;
}


/* Records of another channel fill the zone, or go. */

static int
step_fill(unsigned h)
{
    int                   rc;
    channel_t             c;
    fanout_zone_set_t     set;
    fanout_zone_change_t  change;

    static policy_t  policy = { .records = FANOUT_RECORDS_ON };
    static uint8_t   zeros[FANOUT_ZONE_RECORD];

    c = view(&run.z[h], "fill", &policy);
    memset(&set, 0, sizeof(fanout_zone_set_t));
    memset(&change, 0, sizeof(fanout_zone_change_t));

    change.name = m->names[0];
    change.value = zstr(zeros, m_rnd(m, FANOUT_ZONE_RECORD - 10) + 1);
    change.op = FANOUT_FIELD_SET;
    set.changes = &change;
    set.n = 1;

    do {
        rc = fill_one(h, &c, &set);
    } while (rc == OK && run.filled < 100 && m_rnd(m, 20));

    if (m_rnd(m, 3) == 0 && run.filled) {
        while (fanout_record_clear(&run.z[h], &c) == AGAIN) { /* void */ }

        run.filled = 0;
        m->floor = m->floor > run.fill_floor ? m->floor : run.fill_floor + 1;
    }

    return rc == OK || rc == FULL ? 0 : m_fail(m, "fill: %d", rc);
}


static int
step_time(unsigned h)
{
    int       n;
    unsigned  k;

    k = m_rnd(m, 20);
    fanout_test_msec = m_rnd(m, 1000);
    fanout_test_seconds += k == 0 ? 1 + m_rnd(m, 40000)
                           : 1 + m_rnd(m, k < 4 ? 60 : 3);

    if (m_rnd(m, 2)) {
        return 0;
    }

    act_twice(h, act_sweep, &n);

    if (n == -1) {
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
    m->policy.guard = m_rnd(m, 2);

    return 0;
}


int
records_around_step(unsigned h, unsigned k)
{
    return k < 8 ? step_clear(h)
           : k < 20 ? step_purge(h)
           : k < 40 ? step_policy(h)
           : k < 70 ? step_time(h)
           : k < 160 ? step_publish(h) : step_fill(h);
}
