/*
 * Reading records in random parts, which is compared with the model.
 */


#include "zone_record_steps.h"


static m_t  *const  m = &run.m;


/* A list that is read in parts while records change: a record that is there
 * all the while is in it once. */

typedef struct {
    uint64_t             cursor;
    unsigned             open;
    unsigned             channel;
    unsigned             prefix;
    uint32_t             lives[M_RECORDS];  /* 0: is not there all the while */
    unsigned             seen[M_RECORDS];
} list_t;


static list_t  list;

static const char  *const  prefixes[] = { "", "r", "s", "s0" };


int
records_get(unsigned h, unsigned channel, unsigned record)
{
    int                rc;
    const uint8_t     *p;
    fanout_record_t    r;
    fanout_records_t   to;

    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = record_bytes;
    to.size = M_BYTES;

    rc = fanout_record_get(&run.z[h], &run.channels[h][channel],
                           &m->ids[record], &to);

    if (rc == NOTFOUND) {
        return m->channels[channel].records[record].there
               ? m_fail(m, "record %u of %u is gone", record, channel) : 0;
    }

    p = record_bytes;

    if (rc != OK || fanout_record_next(&p, p + to.used, &r) != 1
        || m_id(m, &r.id) != (int) record)
    {
        return m_fail(m, "no record is read");
    }

    return m_same(m, channel, record, &r);
}


int
records_listed(unsigned h, unsigned channel)
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
        rc = fanout_record_list(&run.z[h], &run.channels[h][channel], &all,
                                &cursor, 0, to.n + 1 + m_rnd(m, 9), &to);
    } while (rc == AGAIN);

    return m_fold_listed(m, channel, &to);
}


static int
is_listed(const list_t *l, unsigned record)
{
    size_t  len;

    len = strlen(prefixes[l->prefix]);

    return m->ids[record].len >= len
           && memcmp(m->ids[record].data, prefixes[l->prefix], len) == 0;
}


static void
list_begin(void)
{
    unsigned           i;
    const m_record_t  *rec;

    memset(&list, 0, sizeof(list_t));
    list.open = 1;
    list.channel = m_rnd(m, M_CHANNELS);
    list.prefix = m_rnd(m, sizeof(prefixes) / sizeof(prefixes[0]));

    for (i = 0; i < M_RECORDS; i++) {
        rec = &m->channels[list.channel].records[i];
        list.lives[i] = rec->there ? rec->lives : 0;
    }
}


static int
list_end(void)
{
    unsigned           i;
    const m_record_t  *rec;

    list.open = 0;
    met.lists++;

    for (i = 0; i < M_RECORDS; i++) {
        rec = &m->channels[list.channel].records[i];

        if (rec->there && list.lives[i] == rec->lives
            && list.seen[i] != (unsigned) is_listed(&list, i))
        {
            return m_fail(m, "record %u is listed %u times", i, list.seen[i]);
        }
    }

    return 0;
}


int
records_list_step(unsigned h)
{
    int                rc, id;
    fanout_zstr_t      prefix;
    const uint8_t     *p;
    fanout_record_t    r;
    fanout_records_t   to;

    if (!list.open) {
        list_begin();
    }

    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = record_bytes;
    to.size = M_BYTES;
    prefix = zstr(prefixes[list.prefix], strlen(prefixes[list.prefix]));
    rc = fanout_record_list(&run.z[h], &run.channels[h][list.channel], &prefix,
                            &list.cursor, 0, 1 + m_rnd(m, 3), &to);

    for (p = record_bytes;
         fanout_record_next(&p, record_bytes + to.used, &r) == 1;
         /* void */)
    {
        id = m_id(m, &r.id);

        if (id == -1 || !is_listed(&list, id)) {
            return m_fail(m, "a list with another record");
        }

        list.seen[id]++;

        if (m_same(m, list.channel, id, &r) != 0) {
            return -1;
        }
    }

    return rc == AGAIN ? 0
           : rc == OK ? list_end() : m_fail(m, "a list: %d", rc);
}


void
records_lists_end(void)
{
    list.open = 0;
}


/* The kept changes of a record, by the whole history, newest last. */

static unsigned
kept(unsigned h, unsigned channel, unsigned record, join_t *j,
    uint64_t *offsets, unsigned max)
{
    int               rc;
    uint32_t          i;
    uint64_t          after, lost;
    unsigned          n;
    const uint8_t    *p;
    fanout_record_t   r;

    after = n = 0;

    do {
        arena_reset(&run.arena);
        rc = fanout_log_read(&run.z[h], &run.channels[h][channel], j->epoch,
                             after, j->offset, &run.arena, &lost);

        for (i = 0; i < run.arena.n; i++) {
            after = run.arena.entries[i].offset;
            p = run.arena.entries[i].data.data;

            if (run.arena.entries[i].type == FANOUT_RECORD && n < max
                && fanout_record_next(&p, p + run.arena.entries[i].data.len,
                                      &r)
                   == 1
                && m_id(m, &r.id) == (int) record)
            {
                offsets[n++] = after;
            }
        }

    } while (rc == AGAIN);

    return n;
}


/* The changes of a record below an offset are those that the history has. */

int
records_history_step(unsigned h)
{
    int       rc;
    join_t    j;
    uint32_t  i, seen;
    uint64_t  before;
    unsigned  n, channel, record;

    static uint64_t  offsets[1024];

    channel = m_rnd(m, M_CHANNELS);
    record = m_rnd(m, M_RECORDS);

    if (fanout_log_seek(&run.z[h], &run.channels[h][channel], 0, 0, &j) != OK) {
        return 0;
    }

    before = m_rnd(m, 2) ? 0 : 1 + m_rnd(m, j.offset + 2);
    n = kept(h, channel, record, &j, offsets, 1024);
    met.histories++;

    while (before && n && offsets[n - 1] >= before) {
        n--;
    }

    do {
        arena_reset(&run.arena);
        rc = fanout_record_history(&run.z[h], &run.channels[h][channel],
                                   &m->ids[record], j.epoch, &before,
                                   1 + m_rnd(m, 9), &run.arena, &seen);

        for (i = 0; i < run.arena.n; i++) {
            if (n == 0 || run.arena.entries[i].offset != offsets[--n]) {
                return m_fail(m, "the history of record %u has %d", record,
                              (int) run.arena.entries[i].offset);
            }
        }

    } while (rc == AGAIN);

    return n == 0 || rc == NOTFOUND
           ? 0 : m_fail(m, "%u changes of record %u are missing", n, record);
}


int
records_drain(void)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&run.arena);
        rc = fanout_log_drain(&run.z[1], &run.arena);

        for (i = 0; i < run.arena.n; i++) {
            if (m_fold_entry(m, &run.arena.entries[i]) != 0) {
                return -1;
            }
        }

    } while (rc == AGAIN);

    return 0;
}


/* All is read, and compared: by the reader, and record by record. */

int
records_check(void)
{
    unsigned  i, k;

    if (records_drain() != 0 || records_locks_same() != 0) {
        return -1;
    }

    for (i = 0; i < M_CHANNELS; i++) {

        if (i < M_READ) {
            if (m->folds[i].lost && records_listed(1, i) != 0) {
                return -1;
            }

            if (m_fold_same(m, i) != 0
                || (m_rnd(m, 4) == 0
                    && (records_listed(0, i) != 0 || m_fold_same(m, i) != 0)))
            {
                return -1;
            }

            met.folded++;
        }

        for (k = 0; k < M_RECORDS; k++) {
            if (records_get(k & 1, i, k) != 0) {
                return -1;
            }
        }
    }

    return 0;
}
