
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks of records and of their fields, as a change of a record meets them.
 * The lock of the zone must be held for all functions.
 */


#ifndef FANOUT_ZONE_LOCK_GUARD_H
#define FANOUT_ZONE_LOCK_GUARD_H


#include "zone/record.h"


/* Checks token, release and guard= of a change of a record (0: there is none),
 * on a channel (0: there is none); with all, of all fields of it.  OK; LOCKED,
 * with r->lock_name, .lock_user and .lock_client; NOTHOLDER. */
int fanout_lock_guard(fanout_zone_t *z, fanout_ref_t channel,
    fanout_ref_t record, const fanout_zone_policy_t *policy,
    const fanout_zone_set_t *set, int all, fanout_zone_set_result_t *r);

/* Ends the lock of that name, if the length is not 0, for a change that was
 * checked. */
void fanout_lock_release(fanout_zone_t *z, fanout_ref_t channel,
    const fanout_zstr_t *name);


#endif /* FANOUT_ZONE_LOCK_GUARD_H */
