
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records as bytes, in the byte order of the processor, because they never
 * leave the machine: the data of entries, and what readers of records get.
 */


#include "zone/shelf.h"


/* the id and the items follow */

typedef struct {
    uint64_t             version;
    uint64_t             prev;
    uint32_t             size;          /* bytes, with this head */
    uint16_t             n;
    uint16_t             nwhole;
    uint8_t              id;
    uint8_t              flags;
    uint8_t              unused[6];
} head_t;

/* name, user, value and old follow */

typedef struct {
    uint64_t             version;
    uint32_t             value;
    uint32_t             old;
    uint8_t              name;
    uint8_t              user;
    uint8_t              op;
    uint8_t              flags;
    uint8_t              unused[4];
} item_t;

_Static_assert(FANOUT_ZONE_RECORD_SIZE
               >= FANOUT_ZONE_RECORD + sizeof(head_t) + 255
                  + FANOUT_ZONE_FIELDS * (sizeof(item_t) + 255),
               "bytes of a record");

_Static_assert(FANOUT_RECORD_HEAD == sizeof(head_t), "head of a record");


void
fanout_record_begin(fanout_record_pen_t *pen, fanout_records_t *to,
    const uint8_t *id, size_t id_len)
{
    head_t  head;

    pen->to = to;
    pen->head = to->used;
    pen->n = 0;

    memset(&head, 0, sizeof(head_t));
    head.id = id_len;

    memcpy(to->bytes + to->used, &head, sizeof(head_t));
    memcpy(to->bytes + to->used + sizeof(head_t), id, id_len);
    to->used += sizeof(head_t) + id_len;
}


uint8_t *
fanout_record_item(fanout_record_pen_t *pen, const fanout_field_t *f)
{
    item_t             item;
    uint8_t           *p;
    fanout_records_t  *to;

    to = pen->to;
    p = to->bytes + to->used;

    memset(&item, 0, sizeof(item_t));
    item.version = f->version;
    item.value = f->value.len;
    item.old = f->old.len;
    item.name = f->name.len;
    item.user = f->user.len;
    item.op = f->op;
    item.flags = f->flags;

    memcpy(p, &item, sizeof(item_t));
    p += sizeof(item_t);

    if (f->name.data) {
        memcpy(p, f->name.data, f->name.len);
    }

    p += f->name.len;

    if (f->user.data) {
        memcpy(p, f->user.data, f->user.len);
    }

    p += f->user.len;

    if (f->value.data) {
        memcpy(p, f->value.data, f->value.len);
    }

    to->used = p + f->value.len + f->old.len - to->bytes;
    pen->n++;

    return p;
}


void
fanout_record_field(fanout_zone_t *z, fanout_record_pen_t *pen,
    fanout_ref_t field, uint8_t flags)
{
    uint8_t               *p;
    fanout_field_t         item;
    fanout_field_block_t  *f;

    f = fanout_field(z, field);

    memset(&item, 0, sizeof(fanout_field_t));
    item.name.len = f->name;
    item.user.len = f->user;
    item.value.len = f->size;
    item.version = f->version;
    item.op = f->size ? FANOUT_FIELD_SET : FANOUT_FIELD_UNSET;
    item.flags = flags | (f->size ? 0 : FANOUT_FIELD_ABSENT);

    p = fanout_record_item(pen, &item) - f->user - f->name;

    fanout_field_name(z, field, p);
    fanout_field_user(z, field, p + f->name);
    fanout_field_value(z, field, p + f->name + f->user);
}


void
fanout_record_end(fanout_record_pen_t *pen, uint64_t version, uint64_t prev,
    uint32_t nwhole, uint8_t flags)
{
    head_t             head;
    fanout_records_t  *to;

    to = pen->to;

    memcpy(&head, to->bytes + pen->head, sizeof(head_t));

    head.version = version;
    head.prev = prev;
    head.size = to->used - pen->head;
    head.n = pen->n - nwhole;
    head.nwhole = nwhole;
    head.flags = flags;

    memcpy(to->bytes + pen->head, &head, sizeof(head_t));
    to->n++;
}


size_t
fanout_record_head(const uint8_t *bytes, uint64_t *prev)
{
    head_t  head;

    memcpy(&head, bytes, sizeof(head_t));
    *prev = head.prev;

    return head.id;
}


int
fanout_record_next(const uint8_t **p, const uint8_t *last, fanout_record_t *r)
{
    size_t  left;
    head_t  head;

    left = last - *p;

    if (left == 0) {
        return 0;
    }

    if (left < sizeof(head_t)) {
        return -1;
    }

    memcpy(&head, *p, sizeof(head_t));

    if (head.size > left || head.size < sizeof(head_t) + head.id) {
        return -1;
    }

    r->id.data = *p + sizeof(head_t);
    r->id.len = head.id;
    r->version = head.version;
    r->prev = head.prev;
    r->items = r->id.data + head.id;
    r->last = *p + head.size;
    r->n = head.n;
    r->nwhole = head.nwhole;
    r->flags = head.flags;

    *p = r->last;

    return 1;
}


int
fanout_field_next(const uint8_t **p, const fanout_record_t *r,
    fanout_field_t *f)
{
    size_t  left;
    item_t  item;

    left = r->last - *p;

    if (left == 0) {
        return 0;
    }

    if (left < sizeof(item_t)) {
        return -1;
    }

    memcpy(&item, *p, sizeof(item_t));
    left -= sizeof(item_t);

    if ((uint64_t) item.name + item.user + item.value + item.old > left) {
        return -1;
    }

    f->name.data = *p + sizeof(item_t);
    f->name.len = item.name;
    f->user.data = f->name.data + item.name;
    f->user.len = item.user;
    f->value.data = f->user.data + item.user;
    f->value.len = item.value;
    f->old.data = f->value.data + item.value;
    f->old.len = item.old;
    f->version = item.version;
    f->op = item.op;
    f->flags = item.flags;

    *p = f->old.data + item.old;

    return 1;
}
