
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Staging of large sets, see zone/publish_stage.c.  The new fields are one
 * chain in the slot, which is cut when they are linked.
 */


#include "zone/record_stage.h"


static int fields_fill(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_stage_t *s);


void
fanout_plan_text(const fanout_plan_t *plan, unsigned i,
    fanout_field_text_t *text)
{
    const fanout_zone_change_t  *c;

    c = &plan->set->changes[i];

    memset(text, 0, sizeof(fanout_field_text_t));
    text->name = c->name;
    text->value = c->value;
    text->user = plan->set->user;
    text->version = plan->version;
    text->holder = plan->holder;
    text->brackets = c->op == FANOUT_FIELD_APPEND;
    text->unset = c->op == FANOUT_FIELD_UNSET;
}


uint32_t
fanout_plan_new(const fanout_plan_t *plan)
{
    uint32_t             n;
    unsigned             i;
    fanout_field_text_t  text;

    for (i = 0, n = 0; i < plan->set->n; i++) {
        if (fanout_plan_makes(plan, i)) {
            fanout_plan_text(plan, i, &text);
            n += fanout_text_blocks(&text);
        }
    }

    return n;
}


int
fanout_record_stage(fanout_zone_t *z, uint32_t account,
    const fanout_plan_t *plan, const fanout_zone_message_t *m,
    fanout_record_stage_t *s)
{
    int              rc;
    fanout_draft_t  *entry, *fields;

    entry = &s->drafts[FANOUT_STAGED_ENTRY];
    fields = &s->drafts[FANOUT_STAGED_FIELDS];

    entry->blocks = fanout_message_blocks(m);
    fields->blocks = fanout_plan_new(plan);
    s->parts = fields->blocks ? FANOUT_STAGED_PARTS : 1;

    rc = fanout_stage(z, s->slot, account, m, 1, s->drafts,
                      entry->blocks + fields->blocks);

    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    fields->staged = 1;
    fields->first = fields->last = 0;

    rc = fanout_stage_blocks(z, s->slot, account, s->drafts,
                             FANOUT_STAGED_FIELDS, fields->blocks);

    if (rc == FANOUT_ZONE_OK) {
        rc = fields_fill(z, plan, s);
    }

    if (rc != FANOUT_ZONE_OK) {
        (void) fanout_enter(z);
        fanout_unstage(z, s->slot);
        fanout_leave(z);
    }

    return rc;
}


/* Each field in a section of its own: at most 64 KB are copied. */

static int
fields_fill(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_stage_t *s)
{
    uint32_t             n;
    unsigned             i;
    uint64_t             incarnation;
    fanout_ref_t         ref;
    fanout_field_text_t  text;

    incarnation = z->heap.incarnation;
    ref = s->drafts[FANOUT_STAGED_FIELDS].first;

    for (i = 0; i < plan->set->n; i++) {

        if (!fanout_plan_makes(plan, i)) {
            continue;
        }

        (void) fanout_enter(z);

        if (incarnation != z->heap.incarnation) {
            fanout_leave(z);
            return FANOUT_ZONE_STALE;
        }

        fanout_plan_text(plan, i, &text);
        fanout_field_fill(z, ref, &text);
        s->first[i] = ref;

        for (n = fanout_text_blocks(&text); n > 1; n--) {
            ref = fanout_block(z, ref)->next;
        }

        s->last[i] = ref;
        ref = fanout_block(z, ref)->next;

        fanout_leave(z);
    }

    return FANOUT_ZONE_OK;
}


void
fanout_record_based(fanout_zone_t *z, const fanout_plan_t *plan,
    fanout_record_stage_t *s)
{
    s->record = plan->record;
    s->version = plan->version;
    s->records = plan->shelf ? fanout_shelf(z, plan->shelf)->records : 0;
}


int
fanout_record_same(fanout_zone_t *z, const fanout_plan_t *plan,
    const fanout_record_stage_t *s)
{
    return s->record == plan->record && s->version == plan->version
           && (plan->record
               || s->records == (plan->shelf
                                 ? fanout_shelf(z, plan->shelf)->records
                                 : 0));
}


fanout_ref_t
fanout_record_staged(fanout_zone_t *z, fanout_record_stage_t *s, unsigned i)
{
    if (fanout_block(z, s->last[i])->next) {
        fanout_set(z, fanout_block(z, s->last[i])->next, 0);
    }

    return s->first[i];
}


void
fanout_record_unlist(fanout_zone_t *z, fanout_record_stage_t *s)
{
    uint32_t  n;

    n = s->drafts[FANOUT_STAGED_FIELDS].blocks;

    fanout_set(z, z->shm->heap.used[FANOUT_STAGED],
               z->shm->heap.used[FANOUT_STAGED] - n);
    fanout_set(z, z->shm->heap.used[FANOUT_RECORDS],
               z->shm->heap.used[FANOUT_RECORDS] + n);
    fanout_set(z, s->slot->nstaged, 0);
}
