
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A set of a record: the record changes, and the entry about it is appended, in
 * one transaction.
 */


#include "zone/lock_block.h"
#include "zone/lock_guard.h"
#include "zone/record_log.h"
#include "zone/record_stage.h"
#include "zone/share.h"


#define FANOUT_STAGE_ROUNDS  4          /* in which others changed the record
                                           meanwhile */


static int valid(const fanout_zone_channel_t *c, const fanout_zone_set_t *set);
static int set_section(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_change_t *change, fanout_zone_set_result_t *r);
static int set_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_change_t *change, fanout_zone_set_result_t *r);
static int set_decide(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static unsigned set_holder(fanout_zone_t *z);
static int set_find(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static int is_large(const fanout_zone_set_t *set);
static int set_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r);
static int set_staged(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r, int *done);
static int set_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_zone_set_result_t *r, int *done);
static void set_done(fanout_zone_t *z, fanout_zone_channel_t *c,
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


static fanout_plan_t          plan;     /* of the set in work */
static fanout_record_stage_t  stage;    /* what is staged for it */

/* a set whose entry one section can write, and any */

static const fanout_change_t  set_small = {
    set_decide,
    fanout_plan_message,
    FANOUT_SLICE * FANOUT_PAYLOAD
};

static const fanout_change_t  set_any = {
    set_decide,
    fanout_plan_message,
    0
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

    /* an entry can also be large by what was before, or by the whole record */

    rc = is_large(set) ? FANOUT_CHANGE_LARGE
                       : set_section(z, c, &set_small, r);

    if (rc == FANOUT_CHANGE_LARGE) {
        rc = set_large(z, c, r);
    }

    fanout_held_trim(z);

    return rc;
}


static int
set_section(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_change_t *change, fanout_zone_set_result_t *r)
{
    int  rc;

    (void) fanout_enter(z);
    fanout_record_room(z, c, plan.set->opts, FANOUT_FEW);
    rc = set_locked(z, c, change, r);
    fanout_leave(z);

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


/* Plans in a section, stages what is new in others, and links it in one if the
 * plan still holds; if others are too fast, all is done in one section. */

static int
set_large(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r)
{
    int       rc, done;
    unsigned  round;

    done = 0;
    rc = FANOUT_ZONE_OK;
    stage.slot = fanout_staging_take(z);

    for (round = 0; round < FANOUT_STAGE_ROUNDS && !done; round++) {
        rc = set_staged(z, c, r, &done);
    }

    fanout_staging_return(z, stage.slot);

    return done ? rc : set_section(z, c, &set_any, r);
}


static int
set_staged(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_zone_set_result_t *r, int *done)
{
    int                    rc;
    fanout_zone_message_t  m;

    (void) fanout_enter(z);

    fanout_record_room(z, c, plan.set->opts, FANOUT_FEW);
    rc = set_decide(z, c, r);
    *done = rc != FANOUT_ZONE_OK;

    if (rc == FANOUT_ZONE_OK) {
        fanout_plan_message(z, &plan, &m);
        fanout_record_based(z, &plan, &stage);
    }

    fanout_leave(z);

    if (rc != FANOUT_ZONE_OK) {
        return rc == FANOUT_ZONE_AGAIN ? FANOUT_ZONE_OK : rc;
    }

    rc = fanout_record_stage(z, c->policy ? c->policy->account : 0, &plan, &m,
                             &stage);

    if (rc != FANOUT_ZONE_OK) {
        *done = 1;
        return rc;
    }

    (void) fanout_enter(z);
    rc = set_link(z, c, &m, r, done);
    fanout_leave(z);

    if (r->log.duplicate) {
        plan.to->n = 0;
        plan.to->used = 0;
        r->created = 0;
    }

    return rc;
}


static int
set_link(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_zone_set_result_t *r, int *done)
{
    int  rc;

    *done = 1;

    if (stage.slot->nstaged != stage.parts) {
        /* the zone was rebuilt in between */
        fanout_unstage(z, stage.slot);
        return FANOUT_ZONE_STALE;
    }

    fanout_record_room(z, c, plan.set->opts, FANOUT_FEW);

    do {
        rc = set_find(z, c, r);

        if (rc == FANOUT_ZONE_OK && !r->log.duplicate
            && !fanout_record_same(z, &plan, &stage))
        {
            fanout_unstage(z, stage.slot);
            *done = 0;
            return FANOUT_ZONE_OK;
        }

        if (rc == FANOUT_ZONE_OK && !r->log.duplicate) {
            rc = fanout_record_ensure(z, c, plan.blocks
                         - stage.drafts[FANOUT_STAGED_FIELDS].blocks
                         + (plan.set->release.len ? FANOUT_LOCK_ROOM : 0));
        }

    } while (rc == FANOUT_ZONE_AGAIN);

    if (rc == FANOUT_ZONE_OK && !r->log.duplicate) {
        rc = fanout_record_claim(z, c, &plan);
    }

    if (rc != FANOUT_ZONE_OK || r->log.duplicate) {
        fanout_unstage(z, stage.slot);
        return rc;
    }

    set_done(z, c, m, &stage, r);

    return FANOUT_ZONE_OK;
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
set_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_change_t *change, fanout_zone_set_result_t *r)
{
    int                    rc;
    fanout_zone_message_t  m;

    rc = fanout_record_prepare(z, c, &plan, change, &m, r);

    if (rc != FANOUT_ZONE_OK) {
        return rc == FANOUT_ZONE_AGAIN ? FANOUT_ZONE_OK : rc;
    }

    rc = fanout_record_claim(z, c, &plan);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    set_done(z, c, &m, NULL, r);

    return FANOUT_ZONE_OK;
}


/* Does what is planned, with what is staged, or without (NULL). */

static void
set_done(fanout_zone_t *z, fanout_zone_channel_t *c,
    const fanout_zone_message_t *m, fanout_record_stage_t *staged,
    fanout_zone_set_result_t *r)
{
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
