
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on a channel as a whole, and the list of all channels.
 *
 *   info     {"name","epoch","offset","first","messages","bytes",
 *             "subscribers","workers"}
 *   purge    {"epoch","offset","time"}
 *   list     {"channels":[info…],"cursor"?}
 */


#include "api/api.h"


static ngx_int_t write_info(fanout_api_t *api, fanout_zone_info_t *info);
static ngx_int_t list_some(fanout_api_t *api, fanout_pattern_t *pattern,
    fanout_zone_info_t *infos, ngx_uint_t n, ngx_uint_t *written);


/*
 * The zone lists a bucket of its table as a whole or cuts it, so an array must
 * have space for the fullest one.  A page may exceed its limit by this number.
 */
#define FANOUT_API_SECTION  32

/* sections of the lock that one list may take */
#define FANOUT_API_SECTIONS  128


fanout_error_e
fanout_api_channel(fanout_api_t *api, ngx_str_t *name)
{
    if (fanout_name_check(name) == NGX_OK) {
        return FANOUT_E_NONE;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "a channel's name has 1 to %d bytes of "
                           "UTF-8 without control characters and "
                           "\"*\"", FANOUT_NAME);
}


fanout_error_e
fanout_api_label(fanout_api_t *api, const char *what, ngx_str_t *label,
    size_t max)
{
    if (label->len == 0
        || fanout_label_check(label, max) == NGX_OK)
    {
        return FANOUT_E_NONE;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "\"%s\" has at most %uz bytes of UTF-8 "
                           "without control characters", what, max);
}


fanout_error_e
fanout_api_zone_error(fanout_api_t *api, ngx_str_t *channel, int rc)
{
    switch (rc) {

    case FANOUT_ZONE_NOTFOUND:
        return fanout_api_absent(api, channel);

    case FANOUT_ZONE_FULL:
        return FANOUT_E_ZONE_FULL;

    default:
        return FANOUT_E_INTERNAL;
    }
}


/* If the channel was created meanwhile, its start is a position as well. */

fanout_error_e
fanout_api_absent(fanout_api_t *api, ngx_str_t *channel)
{
    u_char                 *p;
    fanout_error_e          error;
    fanout_zone_join_t      j;
    fanout_zone_channel_t   zc;

    error = fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                            "there is no channel \"%V\"", channel);

    p = ngx_pnalloc(api->request->pool, 64);
    if (p == NULL) {
        return error;
    }

    fanout_hub_view(api->hub, channel, &zc);
    (void) fanout_log_seek(&api->hub->zone, &zc, 0, 0, &j);

    api->data.data = p;
    api->data.len = ngx_sprintf(p, "{\"epoch\":\"%016xL\",\"offset\":0}",
                                j.epoch)
                    - p;

    return error;
}


/* info and purge */

fanout_error_e
fanout_api_info(fanout_api_t *api, fanout_api_op_t *op)
{
    int                    rc;
    fanout_error_e         error;
    fanout_zone_info_t     info;
    fanout_zone_channel_t  zc;

    error = fanout_api_channel(api, &op->channel);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    fanout_hub_view(api->hub, &op->channel, &zc);

    rc = fanout_channel_info(&api->hub->zone, &zc, &info);

    if (rc != FANOUT_ZONE_OK) {
        return fanout_api_zone_error(api, &op->channel, rc);
    }

    return fanout_api_done(write_info(api, &info));
}


fanout_error_e
fanout_api_purge_check(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e  error;

    error = fanout_api_channel(api, &op->channel);

    return error != FANOUT_E_NONE
           ? error
           : fanout_api_label(api, "reason", &op->reason, FANOUT_KEY);
}


fanout_error_e
fanout_api_purge(fanout_api_t *api, fanout_api_op_t *op)
{
    int                    rc;
    ngx_str_t              reason;
    fanout_error_e         error;
    fanout_zone_result_t   r;
    fanout_zone_channel_t  zc;

    error = fanout_api_purge_check(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    ngx_str_set(&reason, "purged");

    if (op->close) {
        ngx_str_set(&reason, "closed");
    }

    if (op->reason.len) {
        reason = op->reason;
    }

    fanout_hub_view(api->hub, &op->channel, &zc);

    rc = op->close
         ? fanout_channel_end(&api->hub->zone, &zc, reason.data, reason.len,
                              &r)
         : fanout_channel_purge(&api->hub->zone, &zc, reason.data, reason.len,
                                &r);

    fanout_hub_kick(api->hub);

    if (rc == FANOUT_ZONE_NOTFOUND) {
        return fanout_api_absent(api, &op->channel);
    }

    if (rc != FANOUT_ZONE_OK) {
        return fanout_error_of(api->hub, rc);
    }

    rc = fanout_outbuf_printf(api->hub, api->out, 128,
                              "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                              "\"time\":%uL}",
                              r.epoch, r.offset, r.time);

    return fanout_api_done(rc);
}


static ngx_int_t
write_info(fanout_api_t *api, fanout_zone_info_t *info)
{
    fanout_outbuf_t  *out;

    out = api->out;

    if (fanout_outbuf_literal(api->hub, out, "{\"name\":") != NGX_OK
        || fanout_outbuf_string(api->hub, out, info->name, info->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return fanout_outbuf_printf(api->hub, out, 320,
                                ",\"epoch\":\"%016xL\",\"offset\":%uL"
                                ",\"first\":%uL,\"messages\":%uD"
                                ",\"bytes\":%uL,\"subscribers\":%uD"
                                ",\"workers\":%uD}",
                                info->epoch, info->offset,
                                info->first, info->messages,
                                info->bytes, info->subscribers,
                                info->workers);
}


/* list */

fanout_error_e
fanout_api_list_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    uint64_t             cursor, limit;
    ngx_uint_t           i, n, room, written;
    fanout_zone_info_t  *infos;

    cursor = args->cursor;
    limit = ngx_min(args->limit, FANOUT_API_CHANNELS);

    infos = ngx_palloc(api->request->pool,
                       FANOUT_ZONE_ENTRIES
                       * sizeof(fanout_zone_info_t));
    if (infos == NULL
        || fanout_outbuf_literal(api->hub, api->out,
                                 "{\"channels\":[")
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    written = 0;

    for (i = 0; i < FANOUT_API_SECTIONS; i++) {

        room = limit - written;
        room = ngx_max(room, FANOUT_API_SECTION);
        room = ngx_min(room, FANOUT_ZONE_ENTRIES);

        n = fanout_channel_list(&api->hub->zone, &cursor, infos, room);

        if (list_some(api, &args->pattern, infos, n, &written) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

        if (cursor == 0 || written >= limit) {
            break;
        }
    }

    if (cursor == 0) {
        return fanout_api_done(
                   fanout_outbuf_literal(api->hub, api->out, "]}"));
    }

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 64,
                                    "],\"cursor\":\"%uL\"}", cursor));
}


static ngx_int_t
list_some(fanout_api_t *api, fanout_pattern_t *pattern,
    fanout_zone_info_t *infos, ngx_uint_t n, ngx_uint_t *written)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        if (pattern->len
            && !fanout_pattern_match(pattern->data, pattern->len,
                                     infos[i].name, infos[i].len))
        {
            continue;
        }

        if (*written
            && fanout_outbuf_append(api->hub, api->out, ",", 1)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (write_info(api, &infos[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        (*written)++;
    }

    return NGX_OK;
}
