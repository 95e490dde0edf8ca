
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks as JSON.
 */


#include "hub/lock_json.h"
#include "base/id.h"


static ngx_int_t lock_person(fanout_hub_t *hub, fanout_lock_t *lock,
    fanout_outbuf_t *f);
static ngx_int_t lock_name(fanout_hub_t *hub, const char *open,
    fanout_zstr_t *name, fanout_outbuf_t *f);
static const char *lock_reason(ngx_uint_t reason);


ngx_int_t
fanout_lock_entry_json(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f)
{
    ngx_int_t      rc;
    fanout_lock_t  lock;

    if (fanout_lock_parse(&e->data, &lock) != 1) {
        return NGX_OK;
    }

    if (e->flags & FANOUT_ANONYMOUS) {
        lock.user.len = 0;
    }

    if (lock_name(hub, "\"lock\":{\"name\":", &lock.name, f) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lock.held) {
        rc = lock_person(hub, &lock, f);

        if (rc == NGX_OK) {
            rc = fanout_outbuf_printf(hub, f, 64, ",\"expires\":%uL",
                                      lock.expires);
        }

    } else {
        rc = fanout_outbuf_literal(hub, f, ",\"holder\":null");
    }

    if (rc == NGX_OK && lock.reason) {
        rc = fanout_outbuf_printf(hub, f, 64, ",\"reason\":\"%s\"",
                                  lock_reason(lock.reason));
    }

    return rc == NGX_OK ? fanout_outbuf_literal(hub, f, "}") : rc;
}


ngx_int_t
fanout_lock_holder_json(fanout_hub_t *hub, fanout_lock_t *lock,
    fanout_outbuf_t *f)
{
    u_char    *p;
    uint32_t   start;

    start = f->used;

    if (lock_person(hub, lock, f) != NGX_OK
        || fanout_outbuf_printf(hub, f, 96,
                                ",\"expires\":%uL,\"waiting\":%uD",
                                lock->expires, lock->waiting)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* without the first comma */

    p = f->data + start;
    ngx_memmove(p, p + 1, f->used - start - 1);
    f->used--;

    return NGX_OK;
}


ngx_int_t
fanout_lock_json(fanout_hub_t *hub, fanout_lock_t *lock, uint64_t mine,
    fanout_outbuf_t *f)
{
    ngx_int_t   rc;
    ngx_uint_t  own;

    own = (mine && mine == lock->client);

    if (lock_name(hub, "{\"name\":", &lock->name, f) != NGX_OK
        || lock_person(hub, lock, f) != NGX_OK
        || fanout_outbuf_printf(hub, f, 64, ",\"expires\":%uL",
                                lock->expires)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (mine == UINT64_MAX) {
        rc = fanout_outbuf_printf(hub, f, 96,
                                  ",\"token\":%uL,\"waiting\":%uD",
                                  lock->token, lock->waiting);

    } else if (own) {
        rc = fanout_outbuf_printf(hub, f, 96, ",\"mine\":true,\"token\":%uL",
                                  lock->token);
    }

    return rc == NGX_OK ? fanout_outbuf_literal(hub, f, "}") : rc;
}


/* ,"holder":{…} */

static ngx_int_t
lock_person(fanout_hub_t *hub, fanout_lock_t *lock, fanout_outbuf_t *f)
{
    u_char       id[FANOUT_CLIENT_LEN];
    const char  *comma;

    if (fanout_outbuf_literal(hub, f, ",\"holder\":{") != NGX_OK) {
        return NGX_ERROR;
    }

    comma = "";

    if (lock->client) {
        (void) fanout_client_format(id, lock->client);

        if (fanout_outbuf_printf(hub, f, 64, "\"client\":\"%*s\"",
                                 sizeof(id), id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        comma = ",";
    }

    if (lock->user.len) {
        if (fanout_outbuf_printf(hub, f, 64, "%s\"user\":", comma) != NGX_OK
            || fanout_outbuf_string(hub, f, lock->user.data, lock->user.len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        comma = ",";
    }

    if (lock->data.len
        && (fanout_outbuf_printf(hub, f, 64, "%s\"data\":", comma) != NGX_OK
            || fanout_outbuf_append(hub, f, lock->data.data, lock->data.len)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return fanout_outbuf_literal(hub, f, "}");
}


static ngx_int_t
lock_name(fanout_hub_t *hub, const char *open, fanout_zstr_t *name,
    fanout_outbuf_t *f)
{
    return fanout_outbuf_append(hub, f, open, ngx_strlen(open)) == NGX_OK
           ? fanout_outbuf_string(hub, f, name->data, name->len) : NGX_ERROR;
}


static const char *
lock_reason(ngx_uint_t reason)
{
    switch (reason) {

    case FANOUT_LOCK_UNLOCKED:
        return "unlocked";

    case FANOUT_LOCK_RELEASED:
        return "released";

    case FANOUT_LOCK_LEFT:
        return "left";

    case FANOUT_LOCK_EXPIRED:
        return "expired";

    case FANOUT_LOCK_KICKED:
        return "kicked";

    default:
        return "broken";
    }
}
