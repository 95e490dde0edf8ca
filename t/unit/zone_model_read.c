/*
 * The model of channels: drains, history, joins.
 */


#include "zone_model_parts.h"


int
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


int
m_seek(model_t *m)
{
    int           rc;
    uint32_t      at, n;
    uint64_t      before, after;
    unsigned      h, i, k;
    join_t        j;
    m_channel_t  *ch;

    h = draw(m, M_HANDLES);
    i = draw(m, M_CHANNELS);
    ch = &m->ch[i];

    rc = m_sync(m, h, i);

    if (rc) {
        return rc == 1 ? 0 : rc;
    }

    before = draw(m, 3) ? draw(m, ch->offset + 2) : 0;
    n = draw(m, 50);
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


int
m_join(model_t *m)
{
    int           rc, since;
    uint32_t      at, k;
    uint64_t      offset, bytes;
    unsigned      h, i;
    join_t        j;
    m_channel_t  *ch;

    h = draw(m, M_HANDLES - 1);
    i = draw(m, M_CHANNELS);
    ch = &m->ch[i];

    if (m->c[h][i].ref == 0) {
        return 0;
    }

    pass(m_sync(m, h, i));

    since = draw(m, 3) != 0;
    offset = draw(m, ch->offset + 2);

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
