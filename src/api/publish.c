
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Messages and signals that a request publishes on a channel.
 *
 *   publish  {"epoch","offset","time","delivered"?,"pending"?,"duplicate"?}
 *   signal   {}
 */


#include "api/api.h"


static fanout_error_e check_publish(fanout_api_t *api, fanout_api_op_t *op);
static void fill_message(fanout_api_op_t *op, fanout_zone_message_t *m,
    fanout_zone_publish_t *opts);
static fanout_error_e publish_address(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_message_t *m);
static fanout_error_e publish_done(fanout_api_t *api,
    fanout_zone_message_t *m, fanout_zone_result_t *r);
static fanout_error_e publish_mismatch(fanout_api_t *api,
    fanout_zone_result_t *r);


#define set_zstr(z, s)                                                        \
    (z)->data = (s)->data;                                                    \
    (z)->len = (s)->len


fanout_error_e
fanout_api_publish(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e         error;
    fanout_zone_result_t   r;
    fanout_zone_message_t  m;
    fanout_zone_publish_t  opts;

    error = check_publish(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    fill_message(op, &m, &opts);

    error = publish_address(api, op, &m);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    error = fanout_hub_publish(api->hub, &op->channel, &m, 1, &opts, &r);
    switch (error) {

    case FANOUT_E_NONE:
        return publish_done(api, &m, &r);

    case FANOUT_E_CONFLICT:
        return publish_mismatch(api, &r);

    case FANOUT_E_TOO_LARGE:
        return fanout_api_fail(api, error,
                               "a message of %uz bytes is too large "
                               "for the zone", op->data.len);

    case FANOUT_E_TOO_MANY:
        return fanout_api_exceed(api, error, "mail",
                                 FANOUT_ZONE_MAIL);

    default:
        return error;
    }
}


fanout_error_e
fanout_api_signal(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e         error;
    fanout_zone_message_t  m;
    fanout_zone_publish_t  opts;

    if ((error = check_publish(api, op))
        || (error = fanout_api_label(api, "tag", &op->tag, FANOUT_KEY)))
    {
        return error;
    }

    if (op->event.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "a signal has an \"event\"");
    }

    op->key = op->tag;
    op->meta.len = 0;
    fill_message(op, &m, &opts);

    error = publish_address(api, op, &m);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    error = fanout_hub_signal(api->hub, &op->channel, &m);

    if (error == FANOUT_E_TOO_LARGE) {
        return fanout_api_exceed(api, error, "signal", 16384);
    }

    if (error != FANOUT_E_NONE) {
        return error;
    }

    return fanout_api_done(
               fanout_outbuf_literal(api->hub, api->out, "{}"));
}


/* An id that no client of this zone can have is an offline recipient. */

static fanout_error_e
publish_address(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_message_t *m)
{
    if (op->to_client.len && op->to_user.len) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "to a client or to a user, not both");
    }

    if (op->to_user.len) {
        m->to_user = fanout_zone_hash(&api->hub->zone, op->to_user.data,
                                      op->to_user.len);

    } else if (op->to_client.len
               && (fanout_client_parse(&op->to_client,
                                       &m->to_client)
                   != NGX_OK
                   || m->to_client == 0))
    {
        fanout_count(api->hub, direct_offline);
        return FANOUT_E_RECIPIENT_OFFLINE;

    } else if (op->to_client.len == 0 && op->live) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"live\" needs \"to\"");
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
check_publish(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e  error;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = fanout_api_label(api, "event", &op->event, FANOUT_KEY))
        || (error = fanout_api_label(api, "key", &op->key, FANOUT_KEY))
        || (error = fanout_api_label(api, "user", &op->user, FANOUT_NAME)))
    {
        return error;
    }

    if (op->meta.len > FANOUT_META) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE,
                                 "meta", FANOUT_META);
    }

    if (op->data.len > api->conf->message_size) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE,
                                 "message",
                                 api->conf->message_size);
    }

    return FANOUT_E_NONE;
}


static void
fill_message(fanout_api_op_t *op, fanout_zone_message_t *m,
    fanout_zone_publish_t *opts)
{
    ngx_memzero(m, sizeof(fanout_zone_message_t));
    ngx_memzero(opts, sizeof(fanout_zone_publish_t));

    set_zstr(&m->event, &op->event);
    set_zstr(&m->key, &op->key);
    set_zstr(&m->user, &op->user);
    set_zstr(&m->meta, &op->meta);
    set_zstr(&m->data, &op->data);

    m->kind = op->kind;
    m->flags = op->transient ? FANOUT_TRANSIENT : 0;

    set_zstr(&opts->key, &op->key);
    set_zstr(&opts->scope, &op->user);

    opts->live = op->live;
    opts->if_set = op->positioned;
    opts->if_epoch = op->epoch;
    opts->if_offset = op->offset;

    if (op->epoch == 0) {
        /* the zone takes 0 for any epoch, but this one holds nowhere */
        opts->if_offset = UINT64_MAX;
    }
}


static fanout_error_e
publish_done(fanout_api_t *api, fanout_zone_message_t *m,
    fanout_zone_result_t *r)
{
    ngx_int_t  rc;

    if (r->duplicate) {
        fanout_count(api->hub, duplicates);

    } else {
        fanout_count(api->hub, api_published);
        api->status = NGX_HTTP_CREATED;
    }

    rc = fanout_outbuf_printf(api->hub, api->out, 128,
                              "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                              "\"time\":%uL",
                              r->epoch, r->offset, r->time);

    if (rc == NGX_OK && (m->to_client || m->to_user)) {
        rc = fanout_outbuf_printf(api->hub, api->out, 64,
                                  ",\"delivered\":%uD,"
                                  "\"pending\":%uD",
                                  r->delivered, r->pending);
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_printf(api->hub, api->out, 32, "%s}",
                                  r->duplicate ? ",\"duplicate\":true"
                                               : "");
    }

    return fanout_api_done(rc);
}


/* The condition "if" did not hold: the error has the channel's position. */

static fanout_error_e
publish_mismatch(fanout_api_t *api, fanout_zone_result_t *r)
{
    u_char          *p;
    fanout_error_e   error;

    error = fanout_api_fail(api, FANOUT_E_CONFLICT,
                            "the channel is at %016xL:%uL",
                            r->epoch, r->offset);

    p = ngx_pnalloc(api->request->pool, 128);
    if (p == NULL) {
        return error;
    }

    api->data.data = p;
    api->data.len = ngx_sprintf(p, "{\"epoch\":\"%016xL\",\"offset\":%uL}",
                                r->epoch, r->offset)
                    - p;

    return error;
}
