
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A set of a record: the record changes, and the entry about it is appended, in
 * one transaction.
 */


#include "zone/publish.h"
#include "zone/record_log.h"
#include "zone/share.h"


#define FANOUT_SET_ROUNDS  16           /* in which others took what was
                                           ensured */


static int valid(const fanout_zone_channel_t *c, const fanout_zone_set_t *set);
static int set_locked(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_records_t *to, fanout_zone_set_result_t *r);
static int set_decide(fanout_zone_t *z, fanout_zone_channel_t *c,
    fanout_records_t *to, fanout_zone_set_result_t *r);
static void set_apply(fanout_zone_t *z, fanout_zone_channel_t *c);
static int32_t apply_steps(fanout_zone_t *z, int placed);
static int32_t apply_step(fanout_zone_t *z, unsigned i);
static int32_t apply_gone(fanout_zone_t *z, unsigned place);
static void record_count(fanout_zone_t *z, unsigned blocks);


static fanout_plan_t  plan;             /* of the set in work */


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

    (void) fanout_enter(z);

    fanout_record_room(z, c, set->opts, FANOUT_FEW);
    rc = set_locked(z, c, to, r);

    fanout_leave(z);
    fanout_held_trim(z);

    return rc;
}


static int
valid(const fanout_zone_channel_t *c, const fanout_zone_set_t *set)
{
    size_t    size;
    unsigned  i;

    if (c->name.len > 255 || set->id.len == 0 || set->id.len > 255
        || set->user.len > 255 || set->n > FANOUT_ZONE_FIELDS)
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
set_locked(fanout_zone_t *z, fanout_zone_channel_t *c, fanout_records_t *to,
    fanout_zone_set_result_t *r)
{
    int                    rc;
    unsigned               round;
    fanout_zone_message_t  m;

    for (round = 0; round < FANOUT_SET_ROUNDS; round++) {
        rc = set_decide(z, c, to, r);

        if (rc != FANOUT_ZONE_OK) {
            return rc == FANOUT_ZONE_AGAIN ? FANOUT_ZONE_OK : rc;
        }

        fanout_plan_message(z, &plan, &m);
        rc = fanout_record_ensure(z, c,
                                  plan.blocks + fanout_message_blocks(&m));

        if (rc == FANOUT_ZONE_OK) {
            break;
        }

        if (rc != FANOUT_ZONE_AGAIN) {
            return rc;
        }
    }

    if (round == FANOUT_SET_ROUNDS) {
        z->full = FANOUT_FULL_ZONE;
        return FANOUT_ZONE_FULL;
    }

    rc = fanout_record_claim(z, c, &plan);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    set_apply(z, c);

    fanout_record_append(z, plan.channel, &m, r);
    fanout_record_changed(z, plan.record, plan.version, r->log.offset,
                          c->policy ? c->policy->records_ttl : 0);

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
set_decide(fanout_zone_t *z, fanout_zone_channel_t *c, fanout_records_t *to,
    fanout_zone_set_result_t *r)
{
    int  rc;

    plan.channel = fanout_channel_find(z, c);
    to->n = 0;
    to->used = 0;

    rc = fanout_record_key(z, c, plan.channel, plan.set->opts, r);

    if (rc != FANOUT_ZONE_OK || r->log.duplicate) {
        return rc == FANOUT_ZONE_OK ? FANOUT_ZONE_AGAIN : rc;
    }

    fanout_record_position(z, plan.channel, &r->log);

    plan.shelf = plan.channel ? fanout_shelf_of(z, plan.channel) : 0;
    plan.record = plan.shelf ? fanout_record_find(z, plan.channel,
                                                  &plan.set->id)
                             : 0;
    plan.version = 1 + (plan.record ? fanout_record(z, plan.record)->version
                        : plan.shelf ? fanout_shelf(z, plan.shelf)->floor
                        : z->shm->records_floor);

    rc = fanout_plan_make(z, &plan, to, r);

    r->unchanged = rc == FANOUT_ZONE_AGAIN;
    r->created = rc == FANOUT_ZONE_OK && plan.record == 0;

    if (rc == FANOUT_ZONE_CONFLICT) {
        fanout_set(z, z->shm->conflicts, z->shm->conflicts + 1);
        fanout_set(z, z->shm->rejected, z->shm->rejected + plan.conflicts);
    }

    return rc;
}


static void
set_apply(fanout_zone_t *z, fanout_zone_channel_t *c)
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
        plan.record = fanout_record_make(z, plan.shelf, &plan.set->id);
    }

    plan.unset = 0;
    n = 0;

    for (i = 0; i < plan.ngone; i++) {
        n += apply_gone(z, plan.gone[i]);
    }

    n += apply_steps(z, 1);
    n += fanout_field_forget(z, plan.record, &plan.index, plan.unset);
    n += apply_steps(z, 0);

    record_count(z, n);
}


/* What has a place changes first: then the index has room for what is new.
 * Returns the blocks that the record got more. */

static int32_t
apply_steps(fanout_zone_t *z, int placed)
{
    int32_t              n;
    unsigned             i;
    fanout_plan_step_t  *s;

    n = 0;

    for (i = 0; i < plan.set->n; i++) {
        s = &plan.steps[i];

        if (s->step == FANOUT_STEP_APPLY && (s->field != 0) == placed) {
            n += apply_step(z, i);
        }
    }

    return n;
}


/* Returns the blocks that the record got more. */

static int32_t
apply_step(fanout_zone_t *z, unsigned i)
{
    int                          was_unset;
    int32_t                      n;
    fanout_ref_t                 field, now;
    fanout_plan_step_t          *s;
    fanout_field_text_t          text;
    const fanout_zone_change_t  *c;

    s = &plan.steps[i];
    c = &plan.set->changes[i];

    memset(&text, 0, sizeof(fanout_field_text_t));
    text.name = c->name;
    text.value = c->value;
    text.user = plan.set->user;
    text.version = plan.version;
    text.brackets = c->op == FANOUT_FIELD_APPEND;
    text.unset = c->op == FANOUT_FIELD_UNSET;

    field = s->field;

    if (s->in_place) {
        return fanout_field_append(z, field, &text);
    }

    was_unset = field && fanout_field(z, field)->unset;

    now = fanout_field_write(z, &text);
    n = fanout_field_blocks(c->name.len, fanout_field(z, now)->size,
                            text.user.len);
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
