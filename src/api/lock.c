
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks: a list, and a backend that takes, renews and breaks them.
 *
 *   list    {"epoch","offset","locks":[{"name","holder","expires","token",
 *            "waiting"}…],"cursor"?}
 *   lock    {"token","expires","renewed"?}
 *   unlock  {}
 *
 * The backend has no seat: a lock of its own ends by its ttl, or by unlock.
 * Whoever has its token renews it.  Unlock breaks the lock of a client.
 *
 * Locks that a channel has left after "locks=off" can be read and broken.
 */


#include "api/api.h"
#include "hub/lock_json.h"
#include "hub/locks.h"


/* of a page: also locks that nobody holds are looked at */
#define LOCKS_SECTIONS  32


static fanout_error_e take_check(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e take_refused(fanout_api_t *api, fanout_api_op_t *op,
    fanout_error_e error, fanout_locked_t *to);
static fanout_error_e take_holder(fanout_api_t *api, fanout_locked_t *to);
static ngx_int_t locks_page(fanout_api_t *api, fanout_api_op_t *op,
    fanout_lock_list_t *list, ngx_uint_t *n);


/* reading */

fanout_error_e
fanout_api_locks_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    ngx_uint_t           n, limit, sections;
    fanout_error_e       error;
    fanout_api_op_t     *op;
    fanout_lock_list_t  *list;

    op = &args->op;
    limit = ngx_max(1, ngx_min(args->limit, FANOUT_API_CHANNELS));
    n = 0;
    sections = 0;

    error = fanout_api_channel(api, &op->channel);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    do {
        list = fanout_locks_list(api->hub, &op->channel, &op->cursor,
                                 limit - n);

        if (locks_page(api, op, list, &n) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

    } while (op->cursor && n < limit && ++sections < LOCKS_SECTIONS
             && api->out->used < FANOUT_API_PAGE);

    if (n == 0 && !fanout_locks_served(api->hub, &op->channel)) {
        return fanout_api_no_locks(api);
    }

    return fanout_api_done(op->cursor
                           ? fanout_outbuf_printf(api->hub, api->out, 64,
                                                  "],\"cursor\":\"%uL\"}",
                                                  op->cursor)
                           : fanout_outbuf_literal(api->hub, api->out, "]}"));
}


/* The position is that of the first section. */

static ngx_int_t
locks_page(fanout_api_t *api, fanout_api_op_t *op, fanout_lock_list_t *list,
    ngx_uint_t *n)
{
    ngx_uint_t        i;
    fanout_outbuf_t  *out;

    out = api->out;

    if (out->used == 0
        && fanout_outbuf_printf(api->hub, out, 96,
                                "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                                "\"locks\":[", list->epoch, list->offset)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < list->n; i++) {
        if (((*n)++ && fanout_outbuf_literal(api->hub, out, ",") != NGX_OK)
            || fanout_lock_json(api->hub, &list->locks[i], UINT64_MAX, out)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


fanout_error_e
fanout_api_no_locks(fanout_api_t *api)
{
    return fanout_api_fail(api, FANOUT_E_FORBIDDEN,
                           "this channel has no locks: \"fanout_channel "
                           "locks=\"");
}


/* taking */

static fanout_error_e
take_check(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e  error;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = fanout_api_label(api, "user", &op->user, FANOUT_NAME)))
    {
        return error;
    }

    return fanout_label_check(&op->lock, FANOUT_NAME) == NGX_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "the name of a lock has 1 to %d bytes of UTF-8 "
                             "without control characters", FANOUT_NAME);
}


fanout_error_e
fanout_api_lock(fanout_api_t *api, fanout_api_op_t *op)
{
    uint32_t            most;
    fanout_error_e      error;
    fanout_locked_t     to;
    fanout_zone_lock_t  req;

    error = take_check(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    most = fanout_locks_served(api->hub, &op->channel);

    if (most == 0) {
        return fanout_api_no_locks(api);
    }

    if (op->timed && (op->ttl == 0 || op->ttl > most)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"ttl\" is a number of ms from 1 to %uD: "
                               "\"fanout_channel locks=\"", most);
    }

    if (op->data.len > FANOUT_ZONE_LOCK_DATA) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE, "lock",
                                 FANOUT_ZONE_LOCK_DATA);
    }

    ngx_memzero(&req, sizeof(fanout_zone_lock_t));

    req.name.data = op->lock.data;
    req.name.len = op->lock.len;
    req.user.data = op->user.data;
    req.user.len = op->user.len;
    req.data.data = op->data.data;
    req.data.len = op->data.len;
    req.ttl = op->timed ? op->ttl
                        : fanout_locks_ttl(api->hub, &op->channel);

    error = fanout_locks_take(api->hub, &op->channel, 0, NULL, &req,
                              op->token, &to);

    if (error != FANOUT_E_NONE) {
        return take_refused(api, op, error, &to);
    }

    if (!to.renewed) {
        api->status = NGX_HTTP_CREATED;
    }

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 128,
                                    "{\"token\":%uL,\"expires\":%uL%s}",
                                    to.lock.token, to.lock.expires,
                                    to.renewed ? ",\"renewed\":true" : ""));
}


static fanout_error_e
take_refused(fanout_api_t *api, fanout_api_op_t *op, fanout_error_e error,
    fanout_locked_t *to)
{
    fanout_records_limit_t  limit;

    switch (error) {

    case FANOUT_E_LOCKED:
        return take_holder(api, to);

    case FANOUT_E_TOO_MANY:
        fanout_locks_limit(api->hub, &op->channel, to->limit, &limit);
        return fanout_api_exceed(api, error, limit.name, limit.max);

    default:
        return error;
    }
}


static fanout_error_e
take_holder(fanout_api_t *api, fanout_locked_t *to)
{
    fanout_error_e    error;
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(api->hub, 256);
    if (f == NULL) {
        return FANOUT_E_INTERNAL;
    }

    error = FANOUT_E_INTERNAL;

    if (fanout_outbuf_literal(api->hub, f, "{") == NGX_OK
        && fanout_lock_holder_json(api->hub, &to->lock, f) == NGX_OK
        && fanout_outbuf_literal(api->hub, f, "}") == NGX_OK)
    {
        error = fanout_api_data(api, FANOUT_E_LOCKED, f->data, f->used);
    }

    fanout_outbuf_release(api->hub, f);

    return error;
}


/* Without a token, whichever the lock has. */

fanout_error_e
fanout_api_unlock(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_zstr_t   name;
    fanout_error_e  error;

    error = take_check(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    name.data = op->lock.data;
    name.len = op->lock.len;

    error = fanout_locks_drop(api->hub, &op->channel, 0, NULL, &name,
                              op->token);

    switch (error) {

    case FANOUT_E_NONE:
        return fanout_api_done(fanout_outbuf_literal(api->hub, api->out,
                                                     "{}"));

    case FANOUT_E_NOT_FOUND:
        return fanout_api_fail(api, error, "nobody holds the lock \"%V\"",
                               &op->lock);

    case FANOUT_E_NOT_HOLDER:
        return fanout_api_fail(api, error, "the lock \"%V\" has another token",
                               &op->lock);

    default:
        return error;
    }
}
