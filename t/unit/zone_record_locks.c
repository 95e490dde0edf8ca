/*
 * The locks of records and of their fields, for a model of records.
 */


#include "zone_record_model.h"


/* what a change meets */

typedef struct {
    unsigned  fields;
    unsigned  shown;                    /* their locks, by the token */
    unsigned  other;                    /* locks that somebody else has */
} met_t;


static uint64_t
now(void)
{
    return fanout_test_seconds * 1000ULL + fanout_test_msec;
}


m_locked_t *
m_lock_of(m_t *m, unsigned channel, unsigned record, int field)
{
    return record < M_LOCKED && field >= 0 && field <= M_LOCKED
           ? &m->channels[channel].locks[record][field] : NULL;
}


const char *
m_lock_name(m_t *m, unsigned record, unsigned field)
{
    static char  name[512];

    const fanout_zstr_t  *id, *f;

    id = &m->ids[record];
    f = &m->names[field];

    if (field == M_LOCKED) {
        (void) snprintf(name, sizeof(name), "%.*s", (int) id->len, id->data);

    } else {
        (void) snprintf(name, sizeof(name), "%.*s.%.*s", (int) id->len,
                        id->data, (int) f->len, f->data);
    }

    return name;
}


int
m_held(const m_locked_t *lock)
{
    return lock && lock->holder != M_NOBODY && lock->ends > now();
}


void
m_draw_locks(m_t *m, m_set_t *s)
{
    m_locked_t  *lock;

    static char  name[512];

    s->set.client = m_rnd(m, 3);
    s->set.backend = s->set.client == 0 && m_rnd(m, 2);
    s->set.guard_off = m_rnd(m, 20) == 0;

    if (m_rnd(m, 8)) {
        return;
    }

    lock = m_lock_of(m, s->channel, s->record, m_rnd(m, M_LOCKED + 1));

    if (lock == NULL) {
        return;
    }

    s->set.token = m_rnd(m, 6) == 0 ? 77 : m_rnd(m, 3) ? lock->token : 0;

    if (m_rnd(m, 2)) {
        s->release = lock;
        (void) strcpy(name, m_lock_name(m, s->record,
                      lock - m->channels[s->channel].locks[s->record]));
        s->set.release = zstr(name, strlen(name));
    }
}


static int
is_own(const m_locked_t *lock, const m_set_t *s)
{
    return lock->holder > M_API && lock->holder == (int) s->set.client;
}


static int
is_shown(const m_locked_t *lock, const m_set_t *s)
{
    return m_held(lock) && s->set.token && lock->token == s->set.token
           && (is_own(lock, s) || s->set.backend);
}


static int
is_other(const m_locked_t *lock, const m_set_t *s)
{
    return m_held(lock) && !is_own(lock, s) && !is_shown(lock, s);
}


static void
meet(m_t *m, const m_set_t *s, int field, met_t *met)
{
    m_locked_t  *lock;

    lock = m_lock_of(m, s->channel, s->record, field);
    met->fields++;

    if (lock) {
        met->shown += is_shown(lock, s);
        met->other += is_other(lock, s);
    }
}


int
m_guard(m_t *m, const m_set_t *s, int all)
{
    met_t              met;
    unsigned           i;
    m_locked_t        *whole;
    const m_record_t  *rec;

    memset(&met, 0, sizeof(met_t));
    rec = &m->channels[s->channel].records[s->record];
    whole = m_lock_of(m, s->channel, s->record, M_LOCKED);

    if (s->release && !is_shown(s->release, s)
        && (s->set.token || !m_held(s->release) || !is_own(s->release, s)))
    {
        return NOTHOLDER;
    }

    for (i = 0; i < s->n; i++) {
        meet(m, s, s->changes[i].name, &met);
    }

    for (i = 0; all && i < M_PLACES; i++) {
        if (rec->places[i].name != -1 && rec->places[i].data) {
            meet(m, s, rec->places[i].name, &met);
        }
    }

    if (s->set.token && !s->release && !is_shown(whole, s)
        && (met.fields == 0 || met.shown < met.fields))
    {
        return NOTHOLDER;
    }

    met.other += whole && is_other(whole, s);

    return m->policy.guard && !s->set.guard_off && met.other ? LOCKED : OK;
}


void
m_shelf(m_t *m, unsigned channel, unsigned there)
{
    m_channel_t  *c;

    c = &m->channels[channel];

    if (there && !c->shelf) {
        c->floor = m->floor;

    } else if (!there && c->shelf && c->floor > m->floor) {
        m->floor = c->floor;
    }

    c->shelf = there;
}
