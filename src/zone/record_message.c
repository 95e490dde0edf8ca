
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A change of a record as a message for the log.
 */


#include "zone/record_plan.h"


static void add_change(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen, unsigned i);
static void add_old(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen, fanout_ref_t field, fanout_field_t *item);
static uint32_t add_whole(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen);
static void add_appended(fanout_zone_t *z, fanout_record_pen_t *pen,
    const fanout_zone_change_t *c, fanout_ref_t field);
static void message_begin(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen, fanout_zone_message_t *m);
static void message_end(fanout_record_pen_t *pen, fanout_zone_message_t *m);


/* the changes, what was before, and the whole record */

static uint8_t  bytes[3 * FANOUT_ZONE_RECORD_SIZE];


void
fanout_plan_message(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_message_t *m)
{
    uint8_t              flags;
    uint64_t             prev;
    uint32_t             nwhole;
    unsigned             i, policy;
    fanout_field_t       item;
    fanout_records_t     to;
    fanout_record_pen_t  pen;

    policy = plan->policy ? plan->policy->records : 0;
    flags = plan->record ? 0 : FANOUT_RECORD_CREATED;
    flags |= policy & FANOUT_RECORDS_OLD ? FANOUT_RECORD_OLD : 0;
    prev = plan->record ? fanout_record(z, plan->record)->offset : 0;
    nwhole = 0;

    pen.to = &to;
    message_begin(z, plan, &pen, m);

    for (i = 0; i < plan->set->n; i++) {
        if (plan->steps[i].step == FANOUT_STEP_APPLY) {
            add_change(z, plan, &pen, i);
        }
    }

    for (i = 0; i < plan->ngone; i++) {
        memset(&item, 0, sizeof(fanout_field_t));
        item.op = FANOUT_FIELD_UNSET;
        add_old(z, plan, &pen, plan->index.refs[plan->gone[i]], &item);
    }

    if (policy & FANOUT_RECORDS_WHOLE) {
        flags |= FANOUT_RECORD_WHOLE;
        nwhole = add_whole(z, plan, &pen);
    }

    fanout_record_end(&pen, plan->version, prev, nwhole, flags);
    message_end(&pen, m);
}


void
fanout_plan_deleted(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_zone_message_t *m)
{
    uint8_t                 flags;
    unsigned                i;
    fanout_field_t          item;
    fanout_records_t        to;
    fanout_record_pen_t     pen;
    fanout_record_block_t  *rec;

    rec = fanout_record(z, plan->record);
    flags = FANOUT_RECORD_DELETED;
    flags |= plan->set->expired ? FANOUT_RECORD_EXPIRED : 0;

    pen.to = &to;
    message_begin(z, plan, &pen, m);

    if (plan->policy && plan->policy->records & FANOUT_RECORDS_OLD) {
        flags |= FANOUT_RECORD_OLD;

        for (i = 0; i < plan->index.n; i++) {
            if (plan->index.refs[i]
                && fanout_field(z, plan->index.refs[i])->size)
            {
                memset(&item, 0, sizeof(fanout_field_t));
                item.op = FANOUT_FIELD_UNSET;
                add_old(z, plan, &pen, plan->index.refs[i], &item);
            }
        }
    }

    fanout_record_end(&pen, plan->version, rec->offset, 0, flags);
    message_end(&pen, m);
}


static void
message_begin(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen, fanout_zone_message_t *m)
{
    fanout_records_t  *to;

    to = pen->to;

    memset(to, 0, sizeof(fanout_records_t));
    to->bytes = bytes;
    to->size = sizeof(bytes);

    fanout_record_begin(pen, to, plan->set->id.data, plan->set->id.len);

    memset(m, 0, sizeof(fanout_zone_message_t));
    m->client = plan->set->client;
    m->user = plan->set->user;
    m->kind = FANOUT_BINARY;
}


static void
message_end(fanout_record_pen_t *pen, fanout_zone_message_t *m)
{
    m->data.data = bytes;
    m->data.len = pen->to->used;
}


static void
add_change(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen, unsigned i)
{
    fanout_ref_t                 field;
    fanout_field_t               item;
    const fanout_zone_change_t  *c;

    c = &plan->set->changes[i];
    field = plan->steps[i].field;

    memset(&item, 0, sizeof(fanout_field_t));
    item.name = c->name;
    item.value = c->value;
    item.op = c->op;

    if (field == 0 || c->op == FANOUT_FIELD_APPEND
        || fanout_field(z, field)->size == 0)
    {
        (void) fanout_record_item(pen, &item);
        return;
    }

    add_old(z, plan, pen, field, &item);
}


/* Adds an item about a field, with the name that the field has, and with the
 * value that it had if entries tell this. */

static void
add_old(fanout_zone_t *z, const fanout_plan_t *plan, fanout_record_pen_t *pen,
    fanout_ref_t field, fanout_field_t *item)
{
    uint8_t               *p, name[255];
    fanout_field_block_t  *f;

    f = fanout_field(z, field);

    fanout_field_name(z, field, name);
    item->name.data = name;
    item->name.len = f->name;

    if (plan->policy == NULL
        || (plan->policy->records & FANOUT_RECORDS_OLD) == 0)
    {
        (void) fanout_record_item(pen, item);
        return;
    }

    item->flags |= FANOUT_FIELD_WAS;
    item->old.len = f->size;

    p = fanout_record_item(pen, item);
    fanout_field_value(z, field, p + item->value.len);
}


/* Adds the fields of the record as the change leaves them.  Returns their
 * number. */

static uint32_t
add_whole(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_pen_t *pen)
{
    uint8_t                      done[FANOUT_FIELDS_MOST + FANOUT_FIELDS_REFS];
    uint32_t                     start;
    unsigned                     i;
    fanout_field_t               item;
    const fanout_zone_change_t  *c;

    start = pen->n;
    memset(done, 0, sizeof(done));

    for (i = 0; i < plan->ngone; i++) {
        done[plan->gone[i]] = 1;
    }

    for (i = 0; i < plan->set->n; i++) {

        if (plan->steps[i].step != FANOUT_STEP_APPLY) {
            continue;
        }

        c = &plan->set->changes[i];

        if (plan->steps[i].field) {
            done[plan->steps[i].place] = 1;
        }

        if (c->op == FANOUT_FIELD_APPEND) {
            add_appended(z, pen, c, plan->steps[i].in_place
                                    ? plan->steps[i].field : 0);

        } else if (c->op == FANOUT_FIELD_SET) {
            memset(&item, 0, sizeof(fanout_field_t));
            item.name = c->name;
            item.value = c->value;
            item.op = FANOUT_FIELD_SET;
            (void) fanout_record_item(pen, &item);
        }
    }

    for (i = 0; i < plan->index.n; i++) {
        if (plan->index.refs[i] && !done[i]
            && fanout_field(z, plan->index.refs[i])->size)
        {
            fanout_record_field(z, pen, plan->index.refs[i], 0);
        }
    }

    return pen->n - start;
}


/* Adds an array with the elements that are appended. */

static void
add_appended(fanout_zone_t *z, fanout_record_pen_t *pen,
    const fanout_zone_change_t *c, fanout_ref_t field)
{
    size_t          before;
    uint8_t        *p;
    fanout_field_t  item;

    before = field ? fanout_field(z, field)->size - 1 : 1;

    memset(&item, 0, sizeof(fanout_field_t));
    item.name = c->name;
    item.value.len = before + (before > 1) + c->value.len + 1;
    item.op = FANOUT_FIELD_SET;

    p = fanout_record_item(pen, &item);

    if (field) {
        fanout_field_value(z, field, p);
    }

    p[0] = '[';
    p += before;

    if (before > 1) {
        *p++ = ',';
    }

    memcpy(p, c->value.data, c->value.len);
    p[c->value.len] = ']';
}
