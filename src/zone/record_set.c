
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A set of a record: the record changes, and the entry about it is appended, in
 * one transaction.
 */


#include "zone/lock_block.h"
#include "zone/lock_guard.h"
#include "zone/record_change.h"
#include "zone/share.h"


static int valid(const fanout_zone_channel_t *c, const fanout_zone_set_t *set);
static int set_decide(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static unsigned set_holder(fanout_zone_t *z);
static int set_find(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static int is_large(const fanout_zone_set_t *set);
static int set_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_record_stage_t *staged,
    fanout_zone_set_result_t *r);
static void set_apply(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_record_stage_t *staged);
static int32_t apply_steps(fanout_zone_t *z, int placed,
    fanout_record_stage_t *staged);
static int32_t apply_step(fanout_zone_t *z, unsigned i,
    fanout_record_stage_t *staged);
static int32_t apply_gone(fanout_zone_t *z, unsigned place);
static void record_count(fanout_zone_t *z, unsigned blocks);


static fanout_plan_t  plan;             /* of the set in work */

static const fanout_change_t  set_change = {
    set_decide,
    set_find,
    fanout_plan_message,
    set_link,
    FANOUT_FEW
};


int
fanout_record_set(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_set_t *set, fanout_records_t *to,
    fanout_zone_set_result_t *r)
{
    int  rc;

    memset(r, 0, sizeof(fanout_zone_set_result_t));

    if (!valid(c, set)) {
        return FANOUT_ZONE_LARGE;
    }

    plan.set = set;
    plan.policy = c->policy;
    plan.to = to;

    rc = fanout_record_change(z, c, &plan, &set_change, is_large(set), r);

    if (r->log.duplicate) {
        to->n = 0;
        to->used = 0;
        r->created = 0;
    }

    return rc;
}


/* whether fields and entry may be more than a section should write */

static int
is_large(const fanout_zone_set_t *set)
{
    size_t    size;
    unsigned  i;

    size = set->n * (set->user.len + FANOUT_BLOCK);

    for (i = 0; i < set->n; i++) {
        size += 2 * (set->changes[i].name.len + set->changes[i].value.len);
    }

    return size > FANOUT_SLICE * FANOUT_PAYLOAD;
}


static int
valid(const fanout_zone_channel_t *c, const fanout_zone_set_t *set)
{
    size_t    size;
    unsigned  i;

    if (c->name.len > 255 || set->id.len == 0 || set->id.len > 255
        || set->user.len > 255 || set->release.len > 255
        || set->n > FANOUT_ZONE_FIELDS)
    {
        return 0;
    }

    size = 0;

    for (i = 0; i < set->n; i++) {
        size += set->changes[i].value.len;

        if (set->changes[i].name.len == 0 || set->changes[i].name.len > 255
            || size > FANOUT_ZONE_RECORD)
        {
            return 0;
        }
    }

    return 1;
}


static int
set_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_record_stage_t *staged,
    fanout_zone_set_result_t *r)
{
    int  rc;

    rc = fanout_record_claim(z, c, &plan);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    set_apply(z, c, staged);

    if (staged) {
        fanout_record_unlist(z, staged);
    }

    fanout_record_append(z, plan.channel, m,
                         staged ? &staged->drafts[FANOUT_STAGED_ENTRY] : NULL,
                         r);
    fanout_record_changed(z, plan.record, plan.version, r->log.offset,
                          c->policy ? c->policy->records_ttl : 0);

    fanout_lock_release(z, plan.channel, &plan.set->release);

    r->version = plan.version;
    r->partial = plan.conflicts != 0;

    fanout_set(z, z->shm->sets, z->shm->sets + 1);

    if (plan.conflicts) {
        fanout_set(z, z->shm->rejected, z->shm->rejected + plan.conflicts);
    }

    fanout_record_keep_key(z, plan.channel, plan.set->opts, r);
    fanout_channel_free_unused(z, plan.channel);

    return FANOUT_ZONE_OK;
}


/* AGAIN if there is nothing to do, because it was done before or the record is
 * like that already. */

static int
set_decide(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r)
{
    int  rc;

    plan.to->n = 0;
    plan.to->used = 0;
    plan.holder = set_holder(z);

    rc = set_find(z, c, r);

    if (rc != FANOUT_ZONE_OK || r->log.duplicate) {
        return rc == FANOUT_ZONE_OK ? FANOUT_ZONE_AGAIN : rc;
    }

    rc = fanout_plan_make(z, &plan, plan.to, r);

    r->unchanged = rc == FANOUT_ZONE_AGAIN;

    if (r->unchanged && plan.set->release.len) {
        fanout_lock_room(z, 1);
        fanout_lock_release(z, plan.channel, &plan.set->release);
    }

    r->created = rc == FANOUT_ZONE_OK && plan.record == 0;

    if (rc == FANOUT_ZONE_CONFLICT) {
        fanout_set(z, z->shm->conflicts, z->shm->conflicts + 1);
        fanout_set(z, z->shm->rejected, z->shm->rejected + plan.conflicts);
    }

    return rc;
}


static unsigned
set_holder(fanout_zone_t *z)
{
    const fanout_zone_set_t  *set;

    set = plan.set;

    return set->opts && !set->guard_off
           ? fanout_holder(z, set->opts->address) : 0;
}


/* Looks up the key, the channel, the record and its locks. */

static int
set_find(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r)
{
    int  rc;

    plan.channel = fanout_channel_find(z, c);

    rc = fanout_record_key(z, c, plan.channel, plan.set->opts, r);

    if (rc != FANOUT_ZONE_OK || r->log.duplicate) {
        return rc;
    }

    fanout_record_position(z, plan.channel, &r->log);

    plan.shelf = plan.channel ? fanout_shelf_of(z, plan.channel) : 0;
    plan.record = plan.shelf ? fanout_record_find(z, plan.channel,
                                                  &plan.set->id)
                             : 0;

    if (plan.record) {
        fanout_shelf_fetch(z, plan.shelf, fanout_record(z, plan.record)->slot);
    }

    plan.version = 1 + (plan.record ? fanout_record(z, plan.record)->version
                        : plan.shelf ? fanout_shelf(z, plan.shelf)->floor
                        : z->shm->records_floor);

    return fanout_lock_guard(z, plan.channel, plan.record, plan.policy,
                             plan.set, plan.set->whole, r);
}


static void
set_apply(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_record_stage_t *staged)
{
    int32_t                       n;
    unsigned                      i;
    const fanout_zone_publish_t  *opts;

    opts = plan.set->opts;

    if (plan.channel == 0) {
        plan.channel = fanout_channel_make(z, c);
    }

    fanout_channel_renew(z, plan.channel, c);
    fanout_channel_use(z, plan.channel,
                       fanout_holder(z, opts ? opts->address : 0));

    plan.shelf = fanout_shelf_make(z, plan.channel);

    if (plan.record == 0) {
        plan.record = fanout_record_make(z, plan.shelf, &plan.set->id,
                                         plan.holder);
    }

    plan.unset = 0;
    n = 0;

    for (i = 0; i < plan.ngone; i++) {
        n += apply_gone(z, plan.gone[i]);
    }

    n += apply_steps(z, 1, staged);
    n += fanout_field_forget(z, plan.record, &plan.index, plan.unset);
    n += apply_steps(z, 0, staged);

    record_count(z, n);
}


/* What has a place changes first: then the index has room for what is new.
 * Returns the blocks that the record got more. */

static int32_t
apply_steps(fanout_zone_t *z, int placed,
    fanout_record_stage_t *staged)
{
    int32_t              n;
    unsigned             i;
    fanout_plan_step_t  *s;

    n = 0;

    for (i = 0; i < plan.set->n; i++) {
        s = &plan.steps[i];

        if (s->step == FANOUT_STEP_APPLY && (s->field != 0) == placed) {
            n += apply_step(z, i, staged);
        }
    }

    return n;
}


/* Returns the blocks that the record got more. */

static int32_t
apply_step(fanout_zone_t *z, unsigned i, fanout_record_stage_t *staged)
{
    int                  was_unset;
    int32_t              n;
    fanout_ref_t         field, now;
    fanout_plan_step_t  *s;
    fanout_field_text_t  text;

    s = &plan.steps[i];

    fanout_plan_text(&plan, i, &text);

    field = s->field;

    if (s->in_place) {
        return fanout_field_append(z, field, &text);
    }

    was_unset = field && fanout_field(z, field)->size == 0;

    now = staged ? fanout_record_staged(z, staged, i)
                 : fanout_field_write(z, &text);
    n = fanout_text_blocks(&text);
    n += fanout_field_put(z, plan.record, &plan.index,
                          field ? s->place : plan.index.n, now, s->hash);

    plan.unset += (int) text.unset - was_unset;

    return n;
}


/* The same for a field that a set of the whole record does not name. */

static int32_t
apply_gone(fanout_zone_t *z, unsigned place)
{
    int32_t              n;
    uint8_t              name[255];
    fanout_ref_t         field, now;
    fanout_field_text_t  text;

    field = plan.index.refs[place];

    fanout_field_name(z, field, name);

    memset(&text, 0, sizeof(fanout_field_text_t));
    text.name.data = name;
    text.name.len = fanout_field(z, field)->name;
    text.user = plan.set->user;
    text.version = plan.version;
    text.holder = plan.holder;
    text.unset = 1;

    now = fanout_field_write(z, &text);
    n = fanout_field_blocks(text.name.len, 0, text.user.len);
    n += fanout_field_put(z, plan.record, &plan.index, place, now,
                          plan.index.hash[place]);

    plan.unset++;

    return n;
}


static void
record_count(fanout_zone_t *z, unsigned blocks)
{
    fanout_shelf_t         *shelf;
    fanout_record_block_t  *rec;

    rec = fanout_record(z, plan.record);
    shelf = fanout_shelf(z, plan.shelf);

    fanout_shelf_add(z, plan.shelf, blocks);

    fanout_set(z, rec->size, rec->size + plan.size);
    fanout_set(z, rec->fields, rec->fields + plan.fields);
    fanout_set(z, shelf->bytes, shelf->bytes + plan.size);
    fanout_set(z, z->shm->record_bytes, z->shm->record_bytes + plan.size);
}
