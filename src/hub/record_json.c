
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records as JSON.
 */


#include "base/id.h"
#include "hub/record_json.h"


/* a list of fields being written: a comma and the name come before each */

typedef struct {
    fanout_hub_t     *hub;
    fanout_outbuf_t  *f;
    ngx_uint_t        n;
    ngx_int_t         rc;
} list_t;


static void list_begin(list_t *l, fanout_hub_t *hub, fanout_outbuf_t *f);
static void text(list_t *l, const void *data, size_t len);
static void string(list_t *l, const fanout_zstr_t *s);
static void list_number(list_t *l, uint64_t n);
static void field(list_t *l, const char *open, fanout_field_t *field);
static void list_close(list_t *l, const char *end);
static void changes(list_t *l, fanout_record_t *r, uint8_t op,
    const char *name);
static void olds(list_t *l, fanout_record_t *r);
static void whole(list_t *l, fanout_record_t *r);
static void rejected(list_t *l, fanout_records_t *conflicts);


#define literal(l, s)  text(l, s, sizeof(s) - 1)


static void
list_begin(list_t *l, fanout_hub_t *hub, fanout_outbuf_t *f)
{
    l->hub = hub;
    l->f = f;
    l->n = 0;
    l->rc = NGX_OK;
}


static void
text(list_t *l, const void *data, size_t len)
{
    if (l->rc == NGX_OK) {
        l->rc = fanout_outbuf_append(l->hub, l->f, data, len);
    }
}


static void
string(list_t *l, const fanout_zstr_t *s)
{
    if (l->rc == NGX_OK) {
        l->rc = fanout_outbuf_string(l->hub, l->f, s->data, s->len);
    }
}


static void
list_number(list_t *l, uint64_t n)
{
    if (l->rc == NGX_OK) {
        l->rc = fanout_outbuf_count(l->hub, l->f, n);
    }
}


/* Writes what opens the list before its first field, and the name. */

static void
field(list_t *l, const char *open, fanout_field_t *field)
{
    if (l->n++) {
        literal(l, ",");

    } else {
        text(l, open, ngx_strlen(open));
    }

    string(l, &field->name);
}


static void
list_close(list_t *l, const char *end)
{
    if (l->n) {
        text(l, end, ngx_strlen(end));
    }

    l->n = 0;
}


ngx_int_t
fanout_record_entry_json(fanout_hub_t *hub, fanout_zstr_t *data,
    fanout_outbuf_t *f)
{
    list_t            l;
    const uint8_t    *p;
    fanout_record_t   r;

    list_begin(&l, hub, f);

    p = data->data;

    if (fanout_record_next(&p, p + data->len, &r) != 1) {
        return NGX_OK;
    }

    literal(&l, "\"record\":");
    string(&l, &r.id);
    literal(&l, ",\"version\":");
    list_number(&l, r.version);

    if (r.flags & FANOUT_RECORD_CREATED) {
        literal(&l, ",\"created\":true");
    }

    if (r.flags & FANOUT_RECORD_DELETED) {
        literal(&l, ",\"deleted\":true");

        if (r.flags & FANOUT_RECORD_EXPIRED) {
            literal(&l, ",\"expired\":true");
        }

    } else {
        changes(&l, &r, FANOUT_FIELD_SET, ",\"set\":{");
        changes(&l, &r, FANOUT_FIELD_UNSET, ",\"unset\":[");
        changes(&l, &r, FANOUT_FIELD_APPEND, ",\"append\":{");
    }

    if (r.flags & FANOUT_RECORD_OLD) {
        olds(&l, &r);
    }

    if (r.flags & FANOUT_RECORD_WHOLE) {
        whole(&l, &r);
    }

    return l.rc;
}


/* the changes of one kind */

static void
changes(list_t *l, fanout_record_t *r, uint8_t op, const char *name)
{
    uint32_t         i;
    const uint8_t   *p;
    fanout_field_t   f;

    p = r->items;

    for (i = 0; i < r->n && fanout_field_next(&p, r, &f) == 1; i++) {

        if (f.op != op) {
            continue;
        }

        field(l, name, &f);

        if (op == FANOUT_FIELD_SET) {
            literal(l, ":");
            text(l, f.value.data, f.value.len);

        } else if (op == FANOUT_FIELD_APPEND) {
            literal(l, ":[");
            text(l, f.value.data, f.value.len);
            literal(l, "]");
        }
    }

    list_close(l, op == FANOUT_FIELD_UNSET ? "]" : "}");
}


static void
olds(list_t *l, fanout_record_t *r)
{
    uint32_t         i;
    const uint8_t   *p;
    fanout_field_t   f;

    p = r->items;

    for (i = 0; i < r->n && fanout_field_next(&p, r, &f) == 1; i++) {

        if (f.flags & FANOUT_FIELD_WAS) {
            field(l, ",\"old\":{", &f);
            literal(l, ":");
            text(l, f.old.data, f.old.len);
        }
    }

    list_close(l, "}");
}


/* the record as the change leaves it */

static void
whole(list_t *l, fanout_record_t *r)
{
    uint32_t         i;
    const uint8_t   *p;
    fanout_field_t   f;

    p = r->items;
    literal(l, ",\"full\":{");

    for (i = 0; fanout_field_next(&p, r, &f) == 1; i++) {

        if (i >= r->n) {
            field(l, "", &f);
            literal(l, ":");
            text(l, f.value.data, f.value.len);
        }
    }

    l->n = 0;
    literal(l, "}");
}


ngx_int_t
fanout_record_json(fanout_hub_t *hub, fanout_record_t *r, ngx_uint_t versions,
    fanout_outbuf_t *f)
{
    if (fanout_outbuf_literal(hub, f, "{") != NGX_OK
        || fanout_record_members_json(hub, r, versions, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return fanout_outbuf_literal(hub, f, "}");
}


ngx_int_t
fanout_record_members_json(fanout_hub_t *hub, fanout_record_t *r,
    ngx_uint_t versions, fanout_outbuf_t *f)
{
    list_t           l;
    const uint8_t   *p;
    fanout_field_t   item;

    list_begin(&l, hub, f);

    literal(&l, "\"version\":");
    list_number(&l, r->version);
    literal(&l, ",\"fields\":{");

    for (p = r->items; fanout_field_next(&p, r, &item) == 1; /* void */ ) {
        field(&l, "", &item);
        literal(&l, ":");
        text(&l, item.value.data, item.value.len);
    }

    literal(&l, "}");
    l.n = 0;

    if (versions) {
        literal(&l, ",\"versions\":{");

        for (p = r->items; fanout_field_next(&p, r, &item) == 1; /* void */ ) {
            field(&l, "", &item);
            literal(&l, ":");
            list_number(&l, item.version);
        }

        literal(&l, "}");
    }

    return l.rc;
}


ngx_int_t
fanout_records_json(fanout_hub_t *hub, fanout_records_t *records,
    ngx_uint_t versions, fanout_outbuf_t *f)
{
    ngx_uint_t        n;
    const uint8_t    *p, *last;
    fanout_record_t   r;

    p = records->bytes;
    last = p + records->used;

    for (n = 0; fanout_record_next(&p, last, &r) == 1; n++) {

        if ((n && fanout_outbuf_literal(hub, f, ",") != NGX_OK)
            || fanout_outbuf_string(hub, f, r.id.data, r.id.len) != NGX_OK
            || fanout_outbuf_literal(hub, f, ":") != NGX_OK
            || fanout_record_json(hub, &r, versions, f) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
fanout_record_conflicts_json(fanout_hub_t *hub, fanout_record_t *r,
    ngx_uint_t unnamed, fanout_outbuf_t *f)
{
    list_t           l;
    const uint8_t   *p;
    fanout_field_t   item;

    list_begin(&l, hub, f);

    literal(&l, "{");

    for (p = r->items; fanout_field_next(&p, r, &item) == 1; /* void */ ) {
        field(&l, "", &item);
        literal(&l, ":{");

        if (!(item.flags & FANOUT_FIELD_ABSENT)) {
            literal(&l, "\"value\":");
            text(&l, item.value.data, item.value.len);
            literal(&l, ",");
        }

        literal(&l, "\"version\":");
        list_number(&l, item.version);

        if (item.user.len && !unnamed) {
            literal(&l, ",\"user\":");
            string(&l, &item.user);
        }

        if (item.flags & FANOUT_FIELD_NO_ARRAY) {
            literal(&l, ",\"reason\":\"not_array\"");
        }

        literal(&l, "}");
    }

    literal(&l, "}");

    return l.rc;
}


ngx_int_t
fanout_record_result_json(fanout_hub_t *hub, const fanout_zone_set_result_t *r,
    fanout_records_t *conflicts, fanout_outbuf_t *f)
{
    list_t  l;
    u_char  epoch[FANOUT_EPOCH_LEN];

    (void) fanout_epoch_format(epoch, r->log.epoch);

    list_begin(&l, hub, f);
    literal(&l, "\"version\":");
    list_number(&l, r->version);
    literal(&l, ",\"epoch\":\"");
    text(&l, epoch, sizeof(epoch));
    literal(&l, "\",\"offset\":");
    list_number(&l, r->log.offset);

    if (r->unchanged) {
        literal(&l, ",\"unchanged\":true");
    }

    if (r->log.duplicate) {
        literal(&l, ",\"duplicate\":true");
    }

    if (r->partial) {
        literal(&l, ",\"partial\":true");
    }

    rejected(&l, conflicts);

    return l.rc;
}


ngx_int_t
fanout_record_refusal_json(fanout_hub_t *hub,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts,
    fanout_outbuf_t *f)
{
    list_t  l;

    list_begin(&l, hub, f);
    l.rc = fanout_outbuf_printf(hub, f, 96, "\"version\":%uL%s%s", r->version,
                                r->deleted ? ",\"deleted\":true" : "",
                                r->unknown ? ",\"unknown\":true" : "");
    rejected(&l, conflicts);

    return l.rc;
}


ngx_int_t
fanout_record_locked_json(fanout_hub_t *hub, const fanout_zone_set_result_t *r,
    ngx_uint_t unnamed, fanout_outbuf_t *f)
{
    list_t  l;
    u_char  id[FANOUT_CLIENT_LEN];

    list_begin(&l, hub, f);

    literal(&l, "{\"lock\":");
    string(&l, &r->lock_name);
    literal(&l, ",\"holder\":{");

    if (r->lock_client) {
        (void) fanout_client_format(id, r->lock_client);

        literal(&l, "\"client\":\"");
        text(&l, id, sizeof(id));
        literal(&l, "\"");
    }

    if (r->lock_user.len && !unnamed) {
        if (r->lock_client) {
            literal(&l, ",");
        }

        literal(&l, "\"user\":");
        string(&l, &r->lock_user);
    }

    literal(&l, "}}");

    return l.rc;
}


static void
rejected(list_t *l, fanout_records_t *conflicts)
{
    const uint8_t    *p;
    fanout_record_t   r;

    p = conflicts ? conflicts->bytes : NULL;

    if (p && conflicts->n
        && fanout_record_next(&p, p + conflicts->used, &r) == 1)
    {
        literal(l, ",\"rejected\":");

        if (l->rc == NGX_OK) {
            l->rc = fanout_record_conflicts_json(l->hub, &r,
                                                 conflicts->unnamed, l->f);
        }
    }
}
