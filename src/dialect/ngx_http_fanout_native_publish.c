
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The command "publish" of the native protocol.
 */


#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_native.h"


typedef struct {
    ngx_http_fanout_json_t  event;
    ngx_http_fanout_json_t  data;
    ngx_http_fanout_json_t  key;
    ngx_http_fanout_json_t  enc;
    ngx_http_fanout_json_t  meta;
} item_t;


/* what a publish decodes into, for all its messages */

typedef struct {
    ngx_http_fanout_zone_message_t  m[NGX_HTTP_FANOUT_ZONE_BATCH];
    u_char                         *pool;
    size_t                          used;
} draft_t;


static ngx_uint_t publish_messages(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, draft_t *d, ngx_uint_t *n);
static ngx_uint_t publish_item(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, item_t *item, draft_t *d,
    ngx_http_fanout_zone_message_t *m);
static ngx_uint_t publish_data(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, item_t *item, draft_t *d,
    ngx_http_fanout_zone_message_t *m);
static void published(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t n, ngx_http_fanout_zone_result_t *r);


static const ngx_http_fanout_json_field_t  item_fields[] = {
    ngx_http_fanout_json_field("event", item_t, event),
    ngx_http_fanout_json_field("data", item_t, data),
    ngx_http_fanout_json_field("key", item_t, key),
    ngx_http_fanout_json_field("enc", item_t, enc),
    ngx_http_fanout_json_field("meta", item_t, meta)
};


/* publish */

void
fanout_native_publish(ngx_http_fanout_session_t *s, fanout_command_t *cmd)
{
    int                              echo, store, live;
    u_char                           key[NGX_HTTP_FANOUT_KEY];
    u_char                           data[96], epoch[16];
    ngx_str_t                        text, more;
    ngx_uint_t                       i, n;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_zone_result_t    r;
    ngx_http_fanout_zone_publish_t   opts;
    static draft_t                   d;

    echo = 1;
    store = 1;
    live = 0;
    ngx_memzero(&opts, sizeof(ngx_http_fanout_zone_publish_t));

    if (!fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PUBLISH)) {
        return;
    }

    if (!ngx_http_fanout_hub_may_publish(s, &cmd->name)) {
        ngx_http_fanout_count(s->hub, forbidden);
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_FORBIDDEN,
               "only members publish here: \"fanout_channel publish=members\"");
        return;
    }

    if (!fanout_native_flag(s, cmd, &cmd->echo, "echo", &echo)
        || !fanout_native_flag(s, cmd, &cmd->store, "store", &store)
        || !fanout_native_flag(s, cmd, &cmd->live, "live", &live)
        || !fanout_native_label(s, cmd, &cmd->key, "key", key, &opts.key))
    {
        return;
    }

    if (cmd->condition.len) {
        opts.if_set = 1;

        if (!fanout_native_position(s, cmd, &cmd->condition, "if",
                                    &opts.if_epoch, &opts.if_offset)) {
            return;
        }

        if (opts.if_epoch == 0) {
            /* not one of ours: it can't be the channel's */
            opts.if_offset = UINT64_MAX;
        }
    }

    opts.live = live;
    opts.scope.data = s->user.data;
    opts.scope.len = s->user.len;

    d.pool = NULL;

    if (!publish_messages(s, cmd, &d, &n)) {
        goto done;
    }

    for (i = 0; i < n; i++) {
        d.m[i].client = s->identity.client;
        d.m[i].user = opts.scope;
        d.m[i].flags = (echo ? 0 : NGX_HTTP_FANOUT_NOECHO)
                       | (store ? 0 : NGX_HTTP_FANOUT_TRANSIENT);
    }

    if (cmd->to.len) {
        if (n > 1) {
            fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "with \"to\" one message can be sent, as \"data\"");
            goto done;
        }

        if (!fanout_native_to(s, cmd, &d.m[0])) {
            goto done;
        }
    }

    rc = ngx_http_fanout_hub_publish(s->hub, &cmd->name, d.m, n, &opts, &r);

    if (rc == NGX_HTTP_FANOUT_E_NONE) {
        published(s, cmd, n, &r);

    } else if (rc == NGX_HTTP_FANOUT_E_CONFLICT) {
        (void) ngx_http_fanout_epoch_format(epoch, r.epoch);

        ngx_str_set(&text, "the channel is not where \"if\" says");
        more.data = data;
        more.len = ngx_sprintf(data, "{\"epoch\":\"%*s\",\"offset\":%uL}",
                               sizeof(epoch), epoch, r.offset)
                   - data;

        ngx_http_fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, rc,
                                     &text, &more);

    } else {
        fanout_native_unreached(s, cmd, rc);
    }

done:

    if (d.pool) {
        ngx_free(d.pool);
    }
}


static ngx_uint_t
publish_messages(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    draft_t *d, ngx_uint_t *n)
{
    size_t                         i, count, size;
    item_t                         item;
    ngx_http_fanout_json_t items[NGX_HTTP_FANOUT_ZONE_BATCH];
    ngx_http_fanout_json_error_t   err;

    if (cmd->messages.len == 0) {
        item.event = cmd->event;
        item.data = cmd->data;
        item.key = cmd->key;
        item.enc = cmd->enc;
        item.meta = cmd->meta;

        d->pool = ngx_alloc(item.data.len + item.meta.len
                            + 3 * NGX_HTTP_FANOUT_KEY, ngx_cycle->log);
        d->used = 0;
        *n = 1;

        return publish_item(s, cmd, &item, d, &d->m[0]);
    }

    switch (ngx_http_fanout_json_array(&cmd->messages, items, s->conf->batch,
                                       &count))
    {
    case NGX_HTTP_FANOUT_JSON_OK:
        break;

    case NGX_HTTP_FANOUT_JSON_TOO_MANY:
        fanout_native_refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_MANY, "batch",
                     s->conf->batch, "fanout_batch");
        return 0;

    default:
        count = 0;
    }

    if (count == 0 || cmd->data.len) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "\"messages\" is an array with at least one message, instead "
               "of \"data\"");
        return 0;
    }

    size = cmd->messages.len + count * 3 * NGX_HTTP_FANOUT_KEY;
    d->pool = ngx_alloc(size, ngx_cycle->log);
    d->used = 0;
    *n = count;

    for (i = 0; i < count; i++) {

        if (ngx_http_fanout_json_members(
                &items[i], item_fields, fanout_nelts(item_fields), &item, &err)
            != NGX_HTTP_FANOUT_JSON_OK) {
            fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"messages\" holds something that is no message");
            return 0;
        }

        if (!publish_item(s, cmd, &item, d, &d->m[i])) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
publish_item(ngx_http_fanout_session_t *s, fanout_command_t *cmd, item_t *item,
    draft_t *d, ngx_http_fanout_zone_message_t *m)
{
    ngx_memzero(m, sizeof(ngx_http_fanout_zone_message_t));

    if (d->pool == NULL) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL,
                             "out of memory");
        return 0;
    }

    if (!fanout_native_label(s, cmd, &item->event, "event", d->pool + d->used,
                    &m->event)
        || !fanout_native_label(s, cmd, &item->key, "key",
                       d->pool + d->used + NGX_HTTP_FANOUT_KEY, &m->key))
    {
        return 0;
    }

    d->used += 2 * NGX_HTTP_FANOUT_KEY;

    if (item->meta.len) {
        if (item->meta.len > NGX_HTTP_FANOUT_META) {
            fanout_native_refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE,
                                       "meta", NGX_HTTP_FANOUT_META,
                                       "1024 bytes");
            return 0;
        }

        m->meta.data = d->pool + d->used;
        m->meta.len = ngx_http_fanout_json_minify(d->pool + d->used,
                                                  item->meta.data,
                                                  item->meta.len);
        d->used += m->meta.len;
    }

    return publish_data(s, cmd, item, d, m);
}


static ngx_uint_t
publish_data(ngx_http_fanout_session_t *s, fanout_command_t *cmd, item_t *item,
    draft_t *d, ngx_http_fanout_zone_message_t *m)
{
    u_char     *p, buf[16];
    ngx_http_fanout_json_t      enc;
    ngx_str_t   src, dst;

    if (item->data.len == 0) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                             "\"data\" is missing");
        return 0;
    }

    p = d->pool + d->used;

    if (item->enc.len == 0) {
        m->kind = NGX_HTTP_FANOUT_JSON;
        m->data.data = p;
        m->data.len = ngx_http_fanout_json_minify(p, item->data.data,
                                                  item->data.len);

    } else {
        if (ngx_http_fanout_json_text(&item->enc, buf, sizeof(buf), &enc)
            != NGX_HTTP_FANOUT_JSON_OK
            || enc.len != 6 || ngx_memcmp(enc.data, "base64", 6) != 0)
        {
            fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"enc\" can be \"base64\" only");
            return 0;
        }

        src.data = p;

        if (ngx_http_fanout_json_string(&item->data, p, item->data.len,
                                        &src.len)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            goto invalid;
        }

        dst.data = p;

        if (ngx_http_fanout_base64_decode(&dst, &src) != NGX_OK) {
            goto invalid;
        }

        m->kind = NGX_HTTP_FANOUT_BINARY;
        m->data.data = p;
        m->data.len = dst.len;
    }

    if (m->data.len > s->conf->message_size) {
        fanout_native_refuse_limit(s, cmd, NGX_HTTP_FANOUT_E_TOO_LARGE,
                                   "message", s->conf->message_size,
                                   "fanout_message_size");
        return 0;
    }

    d->used += m->data.len;

    return 1;

invalid:

    fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
           "\"data\" is not a string of base64");

    return 0;
}


static void
published(ngx_http_fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t n,
    ngx_http_fanout_zone_result_t *r)
{
    u_char   epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    fanout_reply_t  rp;

    if (r->duplicate) {
        ngx_http_fanout_count(s->hub, duplicates);
    } else {
        ngx_http_fanout_add(s->hub, published, n);
    }

    if (cmd->id.len == 0) {
        return;
    }

    (void) ngx_http_fanout_epoch_format(epoch, r->epoch);

    fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
    fanout_native_printf(
        &rp,
        "\"ok\":{\"epoch\":\"%*s\",\"offset\":%uL,\"time\":%uL",
        sizeof(epoch), epoch, r->offset, r->time);

    if (cmd->to.len) {
        fanout_native_printf(&rp, ",\"delivered\":%uD,\"pending\":%uD",
                             r->delivered, r->pending);
    }

    fanout_native_printf(&rp, "%s}",
                         r->duplicate ? ",\"duplicate\":true" : "");
    fanout_native_end(&rp);
}
