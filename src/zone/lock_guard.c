
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks of records and of their fields, as a change of a record meets them.
 */


#include "zone/lock_block.h"
#include "zone/lock_guard.h"


typedef enum {
    FANOUT_GUARD_FREE = 0,
    FANOUT_GUARD_SHOWN,                 /* by its token */
    FANOUT_GUARD_OWN,
    FANOUT_GUARD_OTHER
} fanout_guard_e;

/* what was met */

typedef struct {
    fanout_ref_t               channel;
    const fanout_zone_set_t   *set;
    fanout_zone_set_result_t  *r;
    unsigned                   record;  /* its lock is SHOWN */
    unsigned                   fields;  /* that were looked at */
    unsigned                   shown;   /* of them */
    unsigned                   other;   /* locks that somebody else has */
} guard_t;


static fanout_guard_e guard_state(fanout_zone_t *z, guard_t *g,
    const fanout_zstr_t *name);
static void guard_name(fanout_zone_t *z, guard_t *g, const uint8_t *field,
    size_t len);
static void guard_rest(fanout_zone_t *z, guard_t *g, fanout_ref_t record);


static uint8_t  guard_locked[FANOUT_ZONE_LOCK_BUF];
                                        /* what r->lock_name points into */


int
fanout_lock_guard(fanout_zone_t *z, fanout_ref_t channel, fanout_ref_t record,
    const fanout_zone_policy_t *policy, const fanout_zone_set_t *set, int all,
    fanout_zone_set_result_t *r)
{
    int             guard;
    guard_t         g;
    unsigned        i;
    fanout_guard_e  state;

    memset(&g, 0, sizeof(guard_t));
    g.channel = channel;
    g.set = set;
    g.r = r;

    if (set->release.len) {
        state = guard_state(z, &g, &set->release);

        if (state != FANOUT_GUARD_SHOWN
            && (set->token || state != FANOUT_GUARD_OWN))
        {
            return FANOUT_ZONE_NOTHOLDER;
        }
    }

    guard = policy && policy->guard && !set->guard_off;

    if (!guard && (set->token == 0 || set->release.len)) {
        return FANOUT_ZONE_OK;
    }

    g.other = 0;
    g.record = guard_state(z, &g, &set->id) == FANOUT_GUARD_SHOWN;

    for (i = 0; i < set->n; i++) {
        guard_name(z, &g, set->changes[i].name.data, set->changes[i].name.len);
    }

    if (all) {
        guard_rest(z, &g, record);
    }

    if (set->token && set->release.len == 0 && !g.record
        && (g.fields == 0 || g.shown < g.fields))
    {
        return FANOUT_ZONE_NOTHOLDER;
    }

    if (guard && g.other) {
        fanout_set(z, z->shm->lock_conflicts, z->shm->lock_conflicts + 1);
        return FANOUT_ZONE_LOCKED;
    }

    return FANOUT_ZONE_OK;
}


/* Of the locks that somebody else has, the first is described in the result. A
 * token says which grant it was, not whose: it has the time in it, which all
 * are told. */

static fanout_guard_e
guard_state(fanout_zone_t *z, guard_t *g, const fanout_zstr_t *name)
{
    unsigned              own;
    uint64_t              client;
    fanout_ref_t          ref, seat;
    fanout_lock_t         locked;
    fanout_lock_block_t  *lock;

    ref = g->channel ? fanout_lock_find(z, g->channel, name) : 0;
    lock = ref ? fanout_lock(z, ref) : NULL;

    z->heap.work++;

    if (lock == NULL || lock->holder == 0 || fanout_lock_over(z, lock)) {
        return FANOUT_GUARD_FREE;
    }

    seat = fanout_claim(z, lock->holder)->seat;
    client = seat ? fanout_seat(z, seat)->client : 0;
    own = client && client == g->set->client;

    if (g->set->token && lock->token == g->set->token
        && (own || g->set->backend))
    {
        return FANOUT_GUARD_SHOWN;
    }

    if (own) {
        return FANOUT_GUARD_OWN;
    }

    if (g->other++ == 0) {
        fanout_lock_fill(z, ref, &locked, guard_locked);
        g->r->lock_client = locked.client;
        g->r->lock_name = locked.name;
        g->r->lock_user = locked.user;
    }

    return FANOUT_GUARD_OTHER;
}


/* Looks at the lock of a field, "id.field": if that is no name for a lock,
 * nobody has it. */

static void
guard_name(fanout_zone_t *z, guard_t *g, const uint8_t *field, size_t len)
{
    uint8_t        buf[255];
    fanout_zstr_t  name;

    g->fields++;

    name.data = buf;
    name.len = g->set->id.len + 1 + len;

    if (name.len > sizeof(buf)) {
        return;
    }

    memcpy(buf, g->set->id.data, g->set->id.len);
    buf[g->set->id.len] = '.';
    memcpy(buf + g->set->id.len + 1, field, len);

    g->shown += guard_state(z, g, &name) == FANOUT_GUARD_SHOWN;
}


/* the fields that the record has */

static void
guard_rest(fanout_zone_t *z, guard_t *g, fanout_ref_t record)
{
    uint8_t               name[255];
    unsigned              i;
    fanout_field_index_t  ix;

    fanout_field_load(z, record, &ix);

    for (i = 0; i < ix.n; i++) {
        if (ix.refs[i] && fanout_field(z, ix.refs[i])->size) {
            fanout_field_name(z, ix.refs[i], name);
            guard_name(z, g, name, fanout_field(z, ix.refs[i])->name);
        }
    }
}


void
fanout_lock_release(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zstr_t *name)
{
    fanout_ref_t  ref;

    ref = name->len && channel ? fanout_lock_find(z, channel, name) : 0;

    if (ref && fanout_lock(z, ref)->holder) {
        fanout_lock_end(z, ref, FANOUT_LOCK_RELEASED);
    }
}
