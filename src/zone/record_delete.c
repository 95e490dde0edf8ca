
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records go: one by one, or all that are due, or all of a channel.
 */


#include "zone/lock_guard.h"
#include "zone/pressure.h"
#include "zone/record_change.h"
#include "zone/record_sweep.h"
#include "zone/share.h"


static int delete_decide(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static int delete_find(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static int delete_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_record_stage_t *staged,
    fanout_zone_set_result_t *r);
static void record_expire(fanout_zone_t *z, fanout_ref_t ref);
static void record_end(fanout_zone_t *z);
static void record_stamp(fanout_zone_t *z, uint32_t slot, uint64_t offset);


static fanout_plan_t  plan;             /* of the delete in work */

static const fanout_change_t  delete_change = {
    delete_decide,
    delete_find,
    fanout_plan_deleted,
    delete_link,
    0
};


int
fanout_record_delete(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_set_t *set, fanout_zone_set_result_t *r)
{
    memset(r, 0, sizeof(fanout_zone_set_result_t));

    if (c->name.len > 255 || set->id.len == 0 || set->id.len > 255
        || set->user.len > 255)
    {
        return FANOUT_ZONE_LARGE;
    }

    plan.set = set;
    plan.policy = c->policy;
    plan.blocks = 0;

    return fanout_record_change(z, c, &plan, &delete_change, 0, r);
}


static int
delete_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_record_stage_t *staged,
    fanout_zone_set_result_t *r)
{
    uint32_t  slot;

    fanout_channel_renew(z, plan.channel, c);
    slot = fanout_record(z, plan.record)->slot;
    record_end(z);

    if (staged) {
        fanout_record_unlist(z, staged);
    }

    fanout_record_append(z, plan.channel, m,
                         staged ? &staged->drafts[FANOUT_STAGED_ENTRY] : NULL,
                         r);
    record_stamp(z, slot, r->log.offset);

    r->version = plan.version;

    fanout_set(z, z->shm->sets, z->shm->sets + 1);
    fanout_record_keep_key(z, plan.channel, plan.set->opts, r);
    fanout_channel_free_unused(z, plan.channel);

    return FANOUT_ZONE_OK;
}


/* AGAIN if it was done before. */

static int
delete_decide(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r)
{
    int  rc;

    plan.channel = fanout_channel_find(z, c);

    rc = fanout_record_key(z, c, plan.channel, plan.set->opts, r);

    if (rc != FANOUT_ZONE_OK || r->log.duplicate) {
        return rc == FANOUT_ZONE_OK ? FANOUT_ZONE_AGAIN : rc;
    }

    fanout_record_position(z, plan.channel, &r->log);

    plan.record = plan.channel ? fanout_record_find(z, plan.channel,
                                                    &plan.set->id)
                               : 0;

    if (plan.record == 0) {
        r->deleted = 1;
        return FANOUT_ZONE_NOTFOUND;
    }

    r->version = fanout_record(z, plan.record)->version;
    plan.version = r->version + 1;

    rc = fanout_lock_guard(z, plan.channel, plan.record, plan.policy,
                           plan.set, 1, r);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    if (plan.set->mode != FANOUT_OVERWRITE && plan.set->base != r->version) {
        r->unknown = plan.set->base > r->version;
        fanout_set(z, z->shm->conflicts, z->shm->conflicts + 1);
        return FANOUT_ZONE_CONFLICT;
    }

    fanout_field_load(z, plan.record, &plan.index);

    return FANOUT_ZONE_OK;
}


static int
delete_find(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r)
{
    int  rc;

    rc = delete_decide(z, c, r);

    return rc == FANOUT_ZONE_AGAIN ? FANOUT_ZONE_OK : rc;
}


/* The version of the delete is used, too. */

static void
record_end(fanout_zone_t *z)
{
    fanout_shm_t  *shm;

    shm = z->shm;

    fanout_set(z, fanout_record(z, plan.record)->version, plan.version);

    if (plan.version > shm->version_max) {
        fanout_set(z, shm->version_max, plan.version);
    }

    fanout_record_free(z, plan.record);
}


/* The table without the record is another one. */

static void
record_stamp(fanout_zone_t *z, uint32_t slot, uint64_t offset)
{
    fanout_ref_t  shelf;

    shelf = fanout_shelf_of(z, plan.channel);

    if (shelf) {
        fanout_shelf_stamp(z, shelf, slot, offset);
    }
}


int
fanout_record_sweep(fanout_zone_t *z)
{
    unsigned      n;
    fanout_ref_t  ref;

    for (n = 0; (ref = fanout_record_over(z)) != 0; n++) {

        if (n && (!fanout_journal_room(z) || !fanout_section_room(z))) {
            return FANOUT_ZONE_AGAIN;
        }

        if (fanout_record(z, ref)->due > z->shm->records_at + 1) {
            fanout_record_due(z, ref, fanout_record(z, ref)->due);

        } else {
            record_expire(z, ref);
        }
    }

    return FANOUT_ZONE_OK;
}


/* Deletes a record in transactions of its own.  Without a block for the entry,
 * subscribers are told that one is lost. */

static void
record_expire(fanout_zone_t *z, fanout_ref_t ref)
{
    uint8_t                   id[255];
    uint32_t                  slot;
    fanout_zone_set_t         set;
    fanout_zone_policy_t      policy;
    fanout_zone_message_t     m;
    fanout_zone_set_result_t  r;

    fanout_commit(z);

    memset(&set, 0, sizeof(fanout_zone_set_t));
    memset(&policy, 0, sizeof(fanout_zone_policy_t));

    set.id.data = id;
    set.id.len = fanout_record_id(z, fanout_record(z, ref), id);
    set.expired = 1;

    plan.set = &set;
    plan.policy = &policy;
    plan.record = ref;
    plan.channel = fanout_shelf(z, fanout_record(z, ref)->shelf)->channel;
    plan.version = fanout_record(z, ref)->version + 1;

    slot = fanout_record(z, ref)->slot;
    fanout_plan_deleted(z, &plan, &m);

    if (fanout_ensure_spare(z, fanout_message_blocks(&m) + 1)) {
        record_end(z);
        fanout_record_append(z, plan.channel, &m, NULL, &r);

    } else {
        record_end(z);
        fanout_unread_lose(z, plan.channel);
    }

    record_stamp(z, slot, fanout_channel(z, plan.channel)->offset);

    fanout_set(z, z->shm->records_expired, z->shm->records_expired + 1);
    fanout_channel_free_unused(z, plan.channel);
    fanout_commit(z);
}


int
fanout_record_clear(fanout_zone_t *z, fanout_zone_channel_t *c)
{
    uint32_t         slot;
    unsigned         n;
    fanout_ref_t     channel, shelf, record;
    fanout_shelf_t  *s;

    (void) fanout_enter(z);

    channel = fanout_channel_find(z, c);
    shelf = channel ? fanout_shelf_of(z, channel) : 0;

    for (n = 0; shelf && fanout_shelf(z, shelf)->records; n++) {

        if (n && (!fanout_journal_room(z) || !fanout_section_room(z))) {
            fanout_leave(z);
            return FANOUT_ZONE_AGAIN;
        }

        s = fanout_shelf(z, shelf);
        slot = 0;
        record = fanout_tree_next(z, s->root, s->depth, &slot, NULL);

        fanout_record_free(z, record);
        shelf = fanout_shelf_of(z, channel);
    }

    if (channel) {
        fanout_channel_free_unused(z, channel);
    }

    fanout_leave(z);

    return FANOUT_ZONE_OK;
}
