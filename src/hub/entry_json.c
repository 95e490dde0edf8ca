
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Messages, records and locks of a log as members of a JSON object.
 */


#include "hub/entry_json.h"
#include "base/json.h"
#include "hub/lock_json.h"
#include "hub/record_json.h"


/* bytes of offset and time at most */
#define FANOUT_PLACE                                                          \
    (sizeof("\"offset\":,\"time\":") + 2 * NGX_INT64_LEN)

/* bytes of "from" at most, but for the user */
#define FANOUT_FROM                                                           \
    (sizeof(",\"from\":{\"client\":\"\",\"user\":,\"anonymous\":true}")       \
     + FANOUT_CLIENT_LEN)


static ngx_int_t entry_record(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);
static ngx_int_t entry_lock(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);
static ngx_int_t entry_place(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);
static u_char *put_place(u_char *p, fanout_entry_t *e);
static size_t entry_message_size(fanout_entry_t *e);
static u_char *put_message(u_char *p, fanout_entry_t *e);
static size_t data_size(fanout_entry_t *e);
static u_char *put_data(u_char *p, fanout_entry_t *e);
static u_char *put_from(u_char *p, fanout_entry_t *e);
static u_char *put_person(u_char *p, const char *name, uint64_t client,
    fanout_zstr_t *user);
static u_char *put_who(u_char *p, fanout_member_t *m, ngx_uint_t left);
static u_char *put_to(u_char *p, fanout_entry_t *e);
static u_char *put_string(u_char *p, fanout_zstr_t *s);
static size_t string_size(fanout_zstr_t *s);


/* Reserves all memory at once: this runs for every entry and format. */

ngx_int_t
fanout_entry_json(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    size_t   size;
    u_char  *p;

    if (e->type == FANOUT_RECORD) {
        return entry_record(hub, e, f);
    }

    if (e->type == FANOUT_LOCK) {
        return entry_lock(hub, e, f);
    }

    size = FANOUT_PLACE + entry_message_size(e);

    if (fanout_outbuf_reserve(hub, f, size) != NGX_OK) {
        return NGX_ERROR;
    }

    p = put_place(f->data + f->used, e);
    f->used = put_message(p, e) - f->data;

    return NGX_OK;
}


static ngx_int_t
entry_record(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    u_char  *p;

    if (entry_place(hub, e, f) != NGX_OK
        || fanout_record_entry_json(hub, &e->data, f) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (fanout_outbuf_reserve(hub, f, FANOUT_FROM + string_size(&e->user))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = put_from(f->data + f->used, e);
    f->used = p - f->data;

    return NGX_OK;
}


static ngx_int_t
entry_lock(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    return entry_place(hub, e, f) == NGX_OK
           ? fanout_lock_entry_json(hub, e, f) : NGX_ERROR;
}


static ngx_int_t
entry_place(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    u_char  *p;

    if (fanout_outbuf_reserve(hub, f, FANOUT_PLACE + 1) != NGX_OK) {
        return NGX_ERROR;
    }

    p = put_place(f->data + f->used, e);
    *p++ = ',';
    f->used = p - f->data;

    return NGX_OK;
}


static u_char *
put_place(u_char *p, fanout_entry_t *e)
{
    p = ngx_cpymem(p, "\"offset\":", sizeof("\"offset\":") - 1);
    p = fanout_count_format(p, e->offset);
    p = ngx_cpymem(p, ",\"time\":", sizeof(",\"time\":") - 1);

    return fanout_count_format(p, e->time);
}


ngx_int_t
fanout_message_json(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    u_char  *p, *last;

    if (fanout_outbuf_reserve(hub, f, entry_message_size(e)) != NGX_OK) {
        return NGX_ERROR;
    }

    p = f->data + f->used;
    last = put_message(p, e);

    /* without the first comma */
    ngx_memmove(p, p + 1, last - (p + 1));
    f->used = last - 1 - f->data;

    return NGX_OK;
}


static size_t
entry_message_size(fanout_entry_t *e)
{
    return sizeof(",\"event\":,\"data\":,\"enc\":\"base64\",\"key\":,\"meta\":,"
                  "\"to\":{\"client\":\"\",\"user\":}")
           + FANOUT_FROM + FANOUT_CLIENT_LEN
           + string_size(&e->to) + string_size(&e->event) + data_size(e)
           + string_size(&e->key) + e->meta.len + string_size(&e->user);
}


/* each with a comma before it */

static u_char *
put_message(u_char *p, fanout_entry_t *e)
{
    if (e->event.len) {
        p = ngx_cpymem(p, ",\"event\":", sizeof(",\"event\":") - 1);
        p = put_string(p, &e->event);
    }

    p = put_data(p, e);

    if (e->key.len) {
        p = ngx_cpymem(p, ",\"key\":", sizeof(",\"key\":") - 1);
        p = put_string(p, &e->key);
    }

    if (e->meta.len) {
        p = ngx_cpymem(p, ",\"meta\":", sizeof(",\"meta\":") - 1);
        p = ngx_cpymem(p, e->meta.data, e->meta.len);
    }

    p = put_from(p, e);

    return put_to(p, e);
}


ngx_int_t
fanout_signal_json(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    size_t   size;
    u_char  *p;

    size = sizeof("\"signal\":,\"tag\":,\"data\":,\"enc\":\"base64\","
                  "\"to\":{\"client\":\"\",\"user\":}")
           + FANOUT_FROM + FANOUT_CLIENT_LEN + string_size(&e->event)
           + string_size(&e->key) + data_size(e) + string_size(&e->user)
           + string_size(&e->to);

    if (fanout_outbuf_reserve(hub, f, size) != NGX_OK) {
        return NGX_ERROR;
    }

    p = f->data + f->used;

    p = ngx_cpymem(p, "\"signal\":", sizeof("\"signal\":") - 1);
    p = put_string(p, &e->event);

    if (e->key.len) {
        p = ngx_cpymem(p, ",\"tag\":", sizeof(",\"tag\":") - 1);
        p = put_string(p, &e->key);
    }

    p = put_data(p, e);

    p = put_from(p, e);
    p = put_to(p, e);

    f->used = p - f->data;

    return NGX_OK;
}


/* by "to" the recipient sees that the message is direct */

static u_char *
put_to(u_char *p, fanout_entry_t *e)
{
    fanout_zstr_t  nobody;

    if (e->to_client) {
        nobody.len = 0;
        return put_person(p, ",\"to\":{", e->to_client, &nobody);
    }

    if (e->to_user) {
        return put_person(p, ",\"to\":{", 0, &e->to);
    }

    return p;
}


static size_t
data_size(fanout_entry_t *e)
{
    switch (e->kind) {

    case FANOUT_TEXT:
        return string_size(&e->data);

    case FANOUT_BINARY:
        return ngx_base64_encoded_length(e->data.len) + 2;

    default:
        return e->data.len;
    }
}


static u_char *
put_data(u_char *p, fanout_entry_t *e)
{
    ngx_str_t  src, dst;

    p = ngx_cpymem(p, ",\"data\":", sizeof(",\"data\":") - 1);

    switch (e->kind) {

    case FANOUT_TEXT:
        return put_string(p, &e->data);

    case FANOUT_BINARY:
        src.data = (u_char *) e->data.data;
        src.len = e->data.len;

        *p++ = '"';
        dst.data = p;
        ngx_encode_base64(&dst, &src);

        return ngx_cpymem(p + dst.len, "\",\"enc\":\"base64\"",
                          sizeof("\",\"enc\":\"base64\"") - 1);

    default:
        return ngx_cpymem(p, e->data.data, e->data.len);
    }
}


/* nothing of a sender without client and user */

static u_char *
put_from(u_char *p, fanout_entry_t *e)
{
    if (e->client == 0 && e->user.len == 0) {
        return p;
    }

    p = put_person(p, ",\"from\":{", e->client, &e->user);

    if ((e->flags & FANOUT_ANONYMOUS) && e->user.len) {
        p = ngx_cpymem(p - 1, ",\"anonymous\":true}",
                       sizeof(",\"anonymous\":true}") - 1);
    }

    return p;
}


static u_char *
put_person(u_char *p, const char *name, uint64_t client, fanout_zstr_t *user)
{
    p = ngx_cpymem(p, name, ngx_strlen(name));

    if (client) {
        p = ngx_cpymem(p, "\"client\":\"", sizeof("\"client\":\"") - 1);
        p = fanout_client_format(p, client);
        *p++ = '"';

        if (user->len) {
            *p++ = ',';
        }
    }

    if (user->len) {
        p = ngx_cpymem(p, "\"user\":", sizeof("\"user\":") - 1);
        p = put_string(p, user);
    }

    *p++ = '}';

    return p;
}


static u_char *
put_string(u_char *p, fanout_zstr_t *s)
{
    *p++ = '"';

    if (s->len) {
        p = fanout_json_escape(p, s->data, s->len);
    }

    *p++ = '"';

    return p;
}


static size_t
string_size(fanout_zstr_t *s)
{
    return s->len ? fanout_json_escape_len(s->data, s->len) + 2 : 2;
}


/* Reserves all memory at once, as above. */

ngx_int_t
fanout_member_json(fanout_hub_t *hub, fanout_member_t *m, ngx_uint_t left,
    fanout_outbuf_t *f, fanout_member_parts_t *parts)
{
    size_t   size;
    u_char  *p, *start;

    size = sizeof("{\"client\":\"\",\"key\":,\"user\":,\"info\":,\"data\":,"
                  "\"state\":\"active\",\"joined_at\":,\"seen\":,\"slot\":,"
                  "\"reason\":\"intentional\"}")
           + 2 * NGX_INT64_LEN + NGX_INT32_LEN + FANOUT_CLIENT_LEN
           + string_size(&m->key) + string_size(&m->user) + m->info.len
           + m->data.len;

    if (fanout_outbuf_reserve(hub, f, size) != NGX_OK) {
        return NGX_ERROR;
    }

    start = f->data + f->used;

    p = ngx_cpymem(start, "{\"client\":\"", sizeof("{\"client\":\"") - 1);
    p = fanout_client_format(p, m->client);
    *p++ = '"';

    if (m->key.len) {
        p = ngx_cpymem(p, ",\"key\":", sizeof(",\"key\":") - 1);
        p = put_string(p, &m->key);
    }

    parts->who = p - start;
    p = put_who(p, m, left);
    parts->who_len = p - start - parts->who;
    parts->data = 0;

    if (m->data.len) {
        p = ngx_cpymem(p, ",\"data\":", sizeof(",\"data\":") - 1);
        parts->data = p - start;
        p = ngx_cpymem(p, m->data.data, m->data.len);
    }

    if (left) {
        p = ngx_sprintf(p, ",\"reason\":\"%s\"}",
                        fanout_left_reason(m->reason));

    } else {
        p = ngx_sprintf(p, ",\"state\":\"%s\",\"joined_at\":%uL,"
                        "\"seen\":%uL,\"slot\":%uD}",
                        m->idle ? "idle" : "active", m->joined_at, m->seen,
                        m->slot);
    }

    f->used = p - f->data;

    return NGX_OK;
}


static u_char *
put_who(u_char *p, fanout_member_t *m, ngx_uint_t left)
{
    if (m->user.len) {
        p = ngx_cpymem(p, ",\"user\":", sizeof(",\"user\":") - 1);
        p = put_string(p, &m->user);
    }

    if (m->info.len && !left) {
        p = ngx_cpymem(p, ",\"info\":", sizeof(",\"info\":") - 1);
        p = ngx_cpymem(p, m->info.data, m->info.len);
    }

    return p;
}


ngx_int_t
fanout_changes_json(fanout_hub_t *hub, fanout_entry_t *e, fanout_outbuf_t *f)
{
    ngx_uint_t              i, n, lists;
    const uint8_t          *p;
    fanout_member_t         m;
    fanout_member_parts_t   parts;

    static const struct {
        uint8_t      change;
        const char  *name;
    } kinds[] = {
        { FANOUT_JOINED, "joined" },
        { FANOUT_UPDATED, "updated" },
        { FANOUT_LEFT, "left" }
    };

    lists = 0;

    for (i = 0; i < 3; i++) {
        p = e->data.data;
        n = 0;

        while (fanout_change_next(&p, e->data.data + e->data.len, &m) == 1)
        {
            if (m.change == FANOUT_COUNTED) {
                return fanout_outbuf_printf(hub, f, 64,
                                 "\"summary\":{\"members\":%uD}", m.count);
            }

            if (m.change != kinds[i].change) {
                continue;
            }

            if (e->flags & FANOUT_ANONYMOUS) {
                m.user.len = 0;
                m.info.len = 0;
            }

            if ((n == 0
                 && fanout_outbuf_printf(hub, f, 16, "%s\"%s\":[",
                                         lists++ ? "," : "",
                                         kinds[i].name)
                    != NGX_OK)
                || (n && fanout_outbuf_literal(hub, f, ",") != NGX_OK)
                || fanout_member_json(hub, &m,
                                       m.change == FANOUT_LEFT, f,
                                       &parts)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            n++;
        }

        if (n && fanout_outbuf_literal(hub, f, "]") != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


const char *
fanout_left_reason(ngx_uint_t reason)
{
    switch (reason) {

    case FANOUT_LEFT_INTENTIONAL:
        return "intentional";

    case FANOUT_LEFT_TIMEOUT:
        return "timeout";

    case FANOUT_LEFT_KICKED:
        return "kicked";

    case FANOUT_LEFT_EXPIRED:
        return "expired";

    case FANOUT_LEFT_REPLACED:
        return "replaced";

    case FANOUT_LEFT_FORBIDDEN:
        return "forbidden";

    default:
        return "network";
    }
}
