
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A plan decides for each field of a set, see docs/protocol.md: a field that
 * was changed since the base is in conflict, unless it already has the new
 * value.
 */


#include "zone/record_plan.h"


static int conditions(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_set_result_t *r);
static void decide(fanout_zone_t *z, fanout_plan_t *plan, unsigned i);
static int changed_since(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_ref_t field);
static void own(fanout_plan_t *plan, const fanout_field_block_t *f, size_t name,
    size_t size);
static void decide_rest(fanout_zone_t *z, fanout_plan_t *plan);
static void count(fanout_zone_t *z, fanout_plan_t *plan, unsigned i);
static int limits(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_set_result_t *r);
static void describe_conflicts(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_records_t *to);


int
fanout_plan_make(fanout_zone_t *z, fanout_plan_t *plan, fanout_records_t *to,
    fanout_zone_set_result_t *r)
{
    int                       rc;
    unsigned                  i;
    const fanout_zone_set_t  *set;

    set = plan->set;
    r->version = plan->record ? fanout_record(z, plan->record)->version : 0;

    plan->applied = plan->conflicts = plan->ngone = 0;
    plan->size = plan->fields = 0;
    plan->blocks = 1;
    plan->own = 0;

    rc = conditions(z, plan, r);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    if (plan->record == 0) {
        plan->blocks += 1 + fanout_record_blocks(set->id.len);
        plan->own += fanout_record_own(set->id.len);
    }

    fanout_field_load(z, plan->record, &plan->index);

    for (i = 0; i < set->n; i++) {
        decide(z, plan, i);
        count(z, plan, i);
    }

    if (set->whole) {
        decide_rest(z, plan);
    }

    plan->blocks += (set->n + FANOUT_FIELDS_REFS - 1) / FANOUT_FIELDS_REFS;

    describe_conflicts(z, plan, to);

    if (plan->conflicts
        && (set->mode == FANOUT_REJECT || plan->applied == 0))
    {
        return FANOUT_ZONE_CONFLICT;
    }

    if (plan->applied == 0 && (plan->record || set->n)) {
        return FANOUT_ZONE_AGAIN;
    }

    return limits(z, plan, r);
}


/* what concerns the record as a whole */

static int
conditions(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_set_result_t *r)
{
    int                       based;
    const fanout_zone_set_t  *set;

    set = plan->set;
    based = set->mode != FANOUT_OVERWRITE || set->exact;

    if (plan->record == 0) {
        if (set->exist) {
            return FANOUT_ZONE_NOTFOUND;
        }

        r->deleted = based && set->base;

        return r->deleted ? FANOUT_ZONE_CONFLICT : FANOUT_ZONE_OK;
    }

    r->unknown = based && set->base > r->version;

    return set->create || r->unknown
           || (set->exact && set->base != r->version)
           ? FANOUT_ZONE_CONFLICT : FANOUT_ZONE_OK;
}


static void
decide(fanout_zone_t *z, fanout_plan_t *plan, unsigned i)
{
    int                          there, empty;
    fanout_ref_t                 field;
    fanout_plan_step_t          *s;
    const fanout_zone_change_t  *c;

    s = &plan->steps[i];
    c = &plan->set->changes[i];

    memset(s, 0, sizeof(fanout_plan_step_t));

    s->hash = fanout_field_hash(z, &c->name);
    s->place = fanout_field_find(z, &plan->index, &c->name, s->hash);
    s->field = s->place < plan->index.n ? plan->index.refs[s->place] : 0;
    s->step = FANOUT_STEP_APPLY;

    field = s->field;
    there = field && fanout_field(z, field)->size;

    if (c->op == FANOUT_FIELD_APPEND) {
        s->in_place = there && fanout_field_array(z, field, &empty);

        if (there && !s->in_place) {
            s->step = FANOUT_STEP_CONFLICT;
            s->flags = FANOUT_FIELD_NO_ARRAY;
        }

    } else if (c->op == FANOUT_FIELD_UNSET
               ? !there : there && fanout_field_equals(z, field, &c->value))
    {
        s->step = FANOUT_STEP_NOTHING;

    } else if (changed_since(z, plan, field)) {
        s->step = FANOUT_STEP_CONFLICT;
    }

    plan->applied += s->step == FANOUT_STEP_APPLY;
    plan->conflicts += s->step == FANOUT_STEP_CONFLICT;
}


/* A field that is not there may have been forgotten.  Base 0 knows nothing of
 * the record: then only what was forgotten in its own time counts, not what was
 * deleted before. */

static int
changed_since(fanout_zone_t *z, const fanout_plan_t *plan, fanout_ref_t field)
{
    uint64_t                base;
    fanout_record_block_t  *rec;

    base = plan->set->base;

    if (plan->set->mode == FANOUT_OVERWRITE || plan->record == 0) {
        return 0;
    }

    if (field) {
        return fanout_field(z, field)->version > base;
    }

    rec = fanout_record(z, plan->record);

    return base < rec->floor && (base || rec->unset & FANOUT_RECORD_FORGOT);
}


/* the fields that a set of the whole record does not name */

static void
decide_rest(fanout_zone_t *z, fanout_plan_t *plan)
{
    uint8_t                named[FANOUT_FIELDS_MOST + FANOUT_FIELDS_REFS];
    unsigned               i, place;
    fanout_field_block_t  *f;

    memset(named, 0, sizeof(named));

    for (i = 0; i < plan->set->n; i++) {
        if (plan->steps[i].field) {
            named[plan->steps[i].place] = 1;
        }
    }

    for (place = 0; place < plan->index.n; place++) {

        if (plan->index.refs[place] == 0 || named[place]) {
            continue;
        }

        f = fanout_field(z, plan->index.refs[place]);

        if (f->size == 0) {
            continue;
        }

        plan->gone[plan->ngone++] = place;
        plan->applied++;
        plan->fields--;
        plan->size -= f->name + f->size;
        plan->blocks += fanout_field_blocks(f->name, 0,
                                            plan->set->user.len);
        own(plan, f, f->name, 0);
    }
}


/* Counts for the holder what a field is after the change, and no more what it
 * was. */

static void
own(fanout_plan_t *plan, const fanout_field_block_t *f, size_t name,
    size_t size)
{
    plan->own += fanout_field_blocks(name, size, plan->set->user.len);

    if (f && f->holder == plan->holder) {
        plan->own -= fanout_field_size(f);
    }
}


/* Adds up what a change that is applied takes. */

static void
count(fanout_zone_t *z, fanout_plan_t *plan, unsigned i)
{
    int                          there;
    int32_t                      before, after;
    fanout_ref_t                 field;
    fanout_field_block_t        *f;
    const fanout_zone_change_t  *c;

    if (plan->steps[i].step != FANOUT_STEP_APPLY) {
        return;
    }

    c = &plan->set->changes[i];
    field = plan->steps[i].field;
    f = field ? fanout_field(z, field) : NULL;
    there = f && f->size;

    before = there ? (int32_t) (f->name + f->size) : 0;
    after = c->op == FANOUT_FIELD_UNSET ? 0 : c->name.len + c->value.len;

    if (c->op == FANOUT_FIELD_APPEND) {
        after += plan->steps[i].in_place ? f->size - (f->size == 2) + 1 : 2;
    }

    plan->size += after - before;
    plan->fields += (c->op != FANOUT_FIELD_UNSET) - there;
    plan->blocks += fanout_field_blocks(c->name.len, c->value.len + 2,
                                        plan->set->user.len) + 1;
    own(plan, f, c->name.len, after ? after - c->name.len : 0);
}


static int
limits(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_set_result_t *r)
{
    int32_t                      size, fields;
    uint32_t                     most;
    fanout_record_block_t       *rec;
    const fanout_zone_policy_t  *policy;

    policy = plan->policy;
    size = fields = 0;

    if (plan->record) {
        rec = fanout_record(z, plan->record);
        size = rec->size;
        fields = rec->fields;

    } else if (policy && policy->records_max && plan->shelf
               && fanout_shelf(z, plan->shelf)->records
                  >= policy->records_max)
    {
        r->limit = FANOUT_SET_RECORDS;
        return FANOUT_ZONE_MANY;
    }

    most = policy && policy->fields ? policy->fields : FANOUT_ZONE_FIELDS;

    if (plan->fields > 0 && fields + plan->fields > (int32_t) most) {
        r->limit = FANOUT_SET_FIELDS;
        return FANOUT_ZONE_MANY;
    }

    most = policy && policy->record ? policy->record : FANOUT_ZONE_RECORD;

    if (plan->size > 0 && size + plan->size > (int32_t) most) {
        return FANOUT_ZONE_LARGE;
    }

    return FANOUT_ZONE_OK;
}


/* Describes the fields in conflict as they are. */

static void
describe_conflicts(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_records_t *to)
{
    unsigned                     i;
    fanout_ref_t                 field;
    fanout_field_t               item;
    fanout_record_pen_t          pen;
    const fanout_zone_change_t  *c;

    to->n = 0;
    to->used = 0;

    if (plan->conflicts == 0) {
        return;
    }

    fanout_record_begin(&pen, to, plan->set->id.data, plan->set->id.len);

    for (i = 0; i < plan->set->n; i++) {

        if (plan->steps[i].step != FANOUT_STEP_CONFLICT) {
            continue;
        }

        field = plan->steps[i].field;

        if (field) {
            fanout_record_field(z, &pen, field, plan->steps[i].flags);
            continue;
        }

        c = &plan->set->changes[i];
        memset(&item, 0, sizeof(fanout_field_t));
        item.name = c->name;
        item.version = fanout_record(z, plan->record)->floor;
        item.op = FANOUT_FIELD_UNSET;
        item.flags = FANOUT_FIELD_ABSENT;
        (void) fanout_record_item(&pen, &item);
    }

    fanout_record_end(&pen, fanout_record(z, plan->record)->version, 0, 0, 0);
}
