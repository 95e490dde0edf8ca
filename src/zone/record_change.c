
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A change of a record, in one section of the lock or in several.
 */


#include "zone/lock_block.h"
#include "zone/record_change.h"
#include "zone/share.h"


#define FANOUT_CHANGE_ROUNDS  16        /* in which others took what was
                                           ensured */
#define FANOUT_STAGE_ROUNDS   4         /* in which others changed the record
                                           meanwhile */
#define FANOUT_CHANGE_LARGE   2         /* nothing is done: the entry is too
                                           long for one section */

#define release_blocks(plan)                                                  \
    ((plan)->set->release.len ? FANOUT_LOCK_ROOM : 0)


static int change_section(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change, size_t most,
    fanout_zone_set_result_t *r);
static int change_prepare(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change, size_t most,
    fanout_zone_message_t *m, fanout_zone_set_result_t *r);
static int change_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change,
    fanout_zone_set_result_t *r);
static int change_staged(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change,
    fanout_zone_set_result_t *r, int *done);
static int change_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change,
    const fanout_zone_message_t *m, fanout_zone_set_result_t *r, int *done);


static fanout_record_stage_t  stage;    /* of the change in work */


int
fanout_record_change(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change, int large,
    fanout_zone_set_result_t *r)
{
    int  rc;

    /* an entry can also be large by what was before, or by the whole record */

    rc = large ? FANOUT_CHANGE_LARGE
               : change_section(z, c, plan, change,
                                FANOUT_SLICE * FANOUT_PAYLOAD, r);

    if (rc == FANOUT_CHANGE_LARGE) {
        rc = change_large(z, c, plan, change, r);
    }

    fanout_held_trim(z);

    return rc;
}


/* most: bytes of the entry, 0: any; LARGE if it has more, and nothing is
 * done. */

static int
change_section(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change, size_t most,
    fanout_zone_set_result_t *r)
{
    int                    rc;
    fanout_zone_message_t  m;

    (void) fanout_enter(z);

    fanout_record_room(z, c, plan->set->opts, change->few);
    rc = change_prepare(z, c, plan, change, most, &m, r);

    if (rc == FANOUT_ZONE_OK) {
        rc = change->link(z, c, &m, NULL, r);

    } else if (rc == FANOUT_ZONE_AGAIN) {
        rc = FANOUT_ZONE_OK;
    }

    fanout_leave(z);

    return rc;
}


/* Decides, makes the message, and ensures the blocks; decides again if
 * something was evicted for them.  May commit. */

static int
change_prepare(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change, size_t most,
    fanout_zone_message_t *m, fanout_zone_set_result_t *r)
{
    int       rc;
    unsigned  round;

    for (round = 0; round < FANOUT_CHANGE_ROUNDS; round++) {
        rc = change->decide(z, c, r);

        if (rc != FANOUT_ZONE_OK) {
            return rc;
        }

        change->message(z, plan, m);

        if (most && m->data.len > most) {
            return FANOUT_CHANGE_LARGE;
        }

        rc = fanout_record_ensure(z, c,
                                  plan->blocks + fanout_message_blocks(m)
                                  + release_blocks(plan));

        if (rc != FANOUT_ZONE_AGAIN) {
            return rc;
        }
    }

    z->full = FANOUT_FULL_ZONE;

    return FANOUT_ZONE_FULL;
}


/* Plans in a section, stages what is new in others, and links it in one if the
 * plan still holds; if others are too fast, all is done in one section. */

static int
change_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change,
    fanout_zone_set_result_t *r)
{
    int       rc, done;
    unsigned  round;

    done = 0;
    rc = FANOUT_ZONE_OK;
    stage.slot = fanout_staging_take(z);

    for (round = 0; round < FANOUT_STAGE_ROUNDS && !done; round++) {
        rc = change_staged(z, c, plan, change, r, &done);
    }

    fanout_staging_return(z, stage.slot);

    return done ? rc : change_section(z, c, plan, change, 0, r);
}


static int
change_staged(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change,
    fanout_zone_set_result_t *r, int *done)
{
    int                    rc;
    fanout_zone_message_t  m;

    (void) fanout_enter(z);

    fanout_record_room(z, c, plan->set->opts, change->few);
    rc = change->decide(z, c, r);
    *done = rc != FANOUT_ZONE_OK;

    if (rc == FANOUT_ZONE_OK) {
        change->message(z, plan, &m);
        fanout_record_based(z, plan, &stage);
    }

    fanout_leave(z);

    if (rc != FANOUT_ZONE_OK) {
        return rc == FANOUT_ZONE_AGAIN ? FANOUT_ZONE_OK : rc;
    }

    rc = fanout_record_stage(z, c->policy ? c->policy->account : 0, plan, &m,
                             &stage);

    if (rc != FANOUT_ZONE_OK) {
        *done = 1;
        return rc;
    }

    (void) fanout_enter(z);
    rc = change_link(z, c, plan, change, &m, r, done);
    fanout_leave(z);

    return rc;
}


static int
change_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_plan_t *plan, const fanout_change_t *change,
    const fanout_zone_message_t *m, fanout_zone_set_result_t *r, int *done)
{
    int  rc;

    *done = 1;

    if (stage.slot->nstaged != stage.parts) {
        /* the zone was rebuilt in between */
        fanout_unstage(z, stage.slot);
        return FANOUT_ZONE_STALE;
    }

    fanout_record_room(z, c, plan->set->opts, change->few);

    do {
        rc = change->find(z, c, r);

        if (rc == FANOUT_ZONE_OK && !r->log.duplicate
            && !fanout_record_same(z, plan, &stage))
        {
            fanout_unstage(z, stage.slot);
            *done = 0;
            return FANOUT_ZONE_OK;
        }

        if (rc == FANOUT_ZONE_OK && !r->log.duplicate) {
            rc = fanout_record_ensure(z, c, plan->blocks
                         - stage.drafts[FANOUT_STAGED_FIELDS].blocks
                         + release_blocks(plan));
        }

    } while (rc == FANOUT_ZONE_AGAIN);

    if (rc == FANOUT_ZONE_OK && !r->log.duplicate) {
        rc = change->link(z, c, m, &stage, r);

        if (rc == FANOUT_ZONE_OK) {
            return FANOUT_ZONE_OK;
        }
    }

    fanout_unstage(z, stage.slot);

    return rc;
}
