
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The command "publish" of the native protocol: at once, or when the backend
 * has been asked.
 */


#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_native.h"
#include "ngx_http_fanout_hook.h"


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
    ngx_uint_t                      n;
    ngx_http_fanout_zone_publish_t  opts;
    uint8_t                         flags;
    fanout_native_to_t              to;
    u_char                          key[NGX_HTTP_FANOUT_KEY];
    u_char                         *pool;
    size_t                          used;
} draft_t;


static ngx_uint_t publish_options(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, draft_t *d);
static void publish_now(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    draft_t *d);
static void publish_ask(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    draft_t *d);
static void refused(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_error_e rc, ngx_http_fanout_zone_result_t *r);
static void conflict(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_zone_result_t *r);
static ngx_uint_t publish_messages(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, draft_t *d);
static ngx_uint_t publish_items(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, draft_t *d);
static ngx_uint_t publish_item(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, item_t *item, draft_t *d,
    ngx_http_fanout_zone_message_t *m);
static ngx_uint_t publish_data(ngx_http_fanout_session_t *s,
    fanout_command_t *cmd, item_t *item, draft_t *d,
    ngx_http_fanout_zone_message_t *m);
static void published(ngx_http_fanout_session_t *s,
    ngx_http_fanout_json_t *id, ngx_uint_t direct,
    ngx_http_fanout_zone_result_t *r);


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
    static draft_t  d;

    if (!fanout_native_channel(s, cmd, NGX_HTTP_FANOUT_MAY_PUBLISH)) {
        return;
    }

    if (!fanout_native_writes(s, cmd)) {
        return;
    }

    if (!ngx_http_fanout_hub_may_publish(s, &cmd->name)) {
        ngx_http_fanout_count(s->hub, forbidden);
        ngx_http_fanout_eventlog_forbidden(s, "publish", &cmd->name,
                                           "fanout_channel publish=members");
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_FORBIDDEN,
               "only members publish here: \"fanout_channel publish=members\"");
        return;
    }

    d.pool = NULL;

    if (publish_options(s, cmd, &d) && publish_messages(s, cmd, &d)) {

        if (ngx_http_fanout_asks(s->hub, &cmd->name)) {
            publish_ask(s, cmd, &d);

        } else {
            publish_now(s, cmd, &d);
        }
    }

    if (d.pool) {
        ngx_free(d.pool);
    }
}


static ngx_uint_t
publish_options(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    draft_t *d)
{
    int                              echo, store, live;
    ngx_http_fanout_zone_publish_t  *opts;

    echo = 1;
    store = 1;
    live = 0;
    opts = &d->opts;

    ngx_memzero(opts, sizeof(ngx_http_fanout_zone_publish_t));

    if (!fanout_native_flag(s, cmd, &cmd->echo, "echo", &echo)
        || !fanout_native_flag(s, cmd, &cmd->store, "store", &store)
        || !fanout_native_flag(s, cmd, &cmd->live, "live", &live)
        || !fanout_native_label(s, cmd, &cmd->key, "key", d->key, &opts->key))
    {
        return 0;
    }

    if (cmd->condition.len) {
        opts->if_set = 1;

        /* the reply tells how far the channel is */

        if (!fanout_native_may(s, cmd, NGX_HTTP_FANOUT_MAY_JOIN
                                       |NGX_HTTP_FANOUT_MAY_HISTORY))
        {
            return 0;
        }

        if (!fanout_native_position(s, cmd, &cmd->condition, "if",
                                    &opts->if_epoch, &opts->if_offset))
        {
            return 0;
        }

        if (opts->if_epoch == 0) {
            /* not one of ours: it can't be the channel's */
            opts->if_offset = UINT64_MAX;
        }
    }

    opts->live = live;
    opts->scope.data = s->user.data;
    opts->scope.len = s->user.len;
    ngx_http_fanout_meter_sender(s, opts);

    d->flags = (echo ? 0 : NGX_HTTP_FANOUT_NOECHO)
               | (store ? 0 : NGX_HTTP_FANOUT_TRANSIENT);

    return 1;
}


static void
publish_now(ngx_http_fanout_session_t *s, fanout_command_t *cmd, draft_t *d)
{
    ngx_http_fanout_error_e        rc;
    ngx_http_fanout_zone_result_t  r;

    rc = ngx_http_fanout_hub_publish(s->hub, &cmd->name, d->m, d->n, &d->opts,
                                     &r);

    if (rc == NGX_HTTP_FANOUT_E_NONE) {
        ngx_http_fanout_meter_audience(s, d->n, r.subscribers);

        if (r.duplicate) {
            ngx_http_fanout_count(s->hub, duplicates);
        } else {
            ngx_http_fanout_add(s->hub, published, d->n);
        }

        published(s, &cmd->id, cmd->to.len, &r);

    } else {
        refused(s, cmd, rc, &r);
    }
}


static void
refused(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_error_e rc, ngx_http_fanout_zone_result_t *r)
{
    ngx_http_fanout_limited_t  limited;

    switch (rc) {

    case NGX_HTTP_FANOUT_E_CONFLICT:
        conflict(s, cmd, r);
        break;

    case NGX_HTTP_FANOUT_E_RATE_LIMITED:
        ngx_http_fanout_meter_keys(s, r, &limited);
        fanout_native_limited(s, cmd, &limited);
        break;

    case NGX_HTTP_FANOUT_E_ADDRESS_FULL:
        fanout_native_refuse_member(s, cmd, rc);
        break;

    default:
        fanout_native_unreached(s, cmd, rc);
    }
}


/* The reply, and commands behind it, wait for what the backend says. */

static void
publish_ask(ngx_http_fanout_session_t *s, fanout_command_t *cmd, draft_t *d)
{
    ngx_http_fanout_job_t          *job;
    ngx_http_fanout_error_e         rc;
    ngx_http_fanout_limited_t       limited;
    ngx_http_fanout_zone_result_t   r;

    rc = ngx_http_fanout_hub_key(s->hub, &cmd->name, &d->opts, &r);

    if (rc != NGX_HTTP_FANOUT_E_NONE) {
        refused(s, cmd, rc, &r);
        return;
    }

    job = fanout_native_job(s, cmd);

    if (job == NULL) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_INTERNAL,
                             "out of memory");
        return;
    }

    job->ask = ngx_http_fanout_ask(s, &cmd->name, d->m, d->n,
                                   cmd->to.len ? &d->to.name : NULL, &d->opts,
                                   &limited, &rc);

    if (job->ask == NULL) {
        ngx_free(job);

        if (rc == NGX_HTTP_FANOUT_E_RATE_LIMITED) {
            fanout_native_limited(s, cmd, &limited);
            return;
        }

        fanout_native_refuse(s, cmd, rc, "%V",
                             &ngx_http_fanout_errors[rc].text);
        return;
    }

    job->at = cmd->at;
    job->waits = 1;
    s->job = job;
}


ngx_int_t
fanout_native_answered(ngx_http_fanout_session_t *s,
    ngx_http_fanout_job_t *job)
{
    fanout_command_t        cmd;
    ngx_http_fanout_ask_t  *ask;

    ask = job->ask;

    if (!ask->answered) {
        return NGX_AGAIN;
    }

    ngx_memzero(&cmd, offsetof(fanout_command_t, buf));

    cmd.at = job->at;
    cmd.id.data = job->id.data;
    cmd.id.len = job->id.len;
    cmd.op.data = (u_char *) "\"publish\"";
    cmd.op.len = sizeof("\"publish\"") - 1;

    switch (ask->rc) {

    case NGX_HTTP_FANOUT_E_NONE:
        published(s, &cmd.id,
                  ask->messages[0].to_client || ask->messages[0].to_user,
                  &ask->result);
        break;

    case NGX_HTTP_FANOUT_E_REFUSED:
        ngx_http_fanout_native_error(s, &cmd.id, &cmd.op, cmd.at, ask->rc,
                                     ask->text.len ? &ask->text : NULL,
                                     ask->details.len ? &ask->details : NULL);
        break;

    default:
        refused(s, &cmd, ask->rc, &ask->result);
    }

    ngx_http_fanout_session_job_done(s);

    if (s->batch == NULL) {
        ngx_http_fanout_session_settle(s);
    }

    return NGX_OK;
}


static void
conflict(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    ngx_http_fanout_zone_result_t *r)
{
    u_char     data[96], epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    ngx_str_t  text, more;

    (void) ngx_http_fanout_epoch_format(epoch, r->epoch);

    ngx_str_set(&text, "the channel is not where \"if\" says");
    more.data = data;
    more.len = ngx_sprintf(data, "{\"epoch\":\"%*s\",\"offset\":%uL}",
                           sizeof(epoch), epoch, r->offset)
               - data;

    ngx_http_fanout_native_error(s, &cmd->id, &cmd->op, cmd->at,
                                 NGX_HTTP_FANOUT_E_CONFLICT, &text, &more);
}


/* All messages, with what is the same for each. */

static ngx_uint_t
publish_messages(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    draft_t *d)
{
    ngx_uint_t  i;

    if (!publish_items(s, cmd, d)) {
        return 0;
    }

    for (i = 0; i < d->n; i++) {
        d->m[i].client = s->identity.client;
        d->m[i].user = d->opts.scope;
        d->m[i].flags = d->flags;
    }

    if (cmd->to.len == 0) {
        return 1;
    }

    if (d->n > 1) {
        fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
               "with \"to\" one message can be sent, as \"data\"");
        return 0;
    }

    d->to.name.len = 0;

    return fanout_native_to(s, cmd, &d->m[0], &d->to);
}


static ngx_uint_t
publish_items(ngx_http_fanout_session_t *s, fanout_command_t *cmd,
    draft_t *d)
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
        d->n = 1;

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
    d->n = count;

    for (i = 0; i < count; i++) {

        if (ngx_http_fanout_json_members(
                &items[i], item_fields, fanout_nelts(item_fields), &item, &err)
            != NGX_HTTP_FANOUT_JSON_OK) {
            fanout_native_refuse(s, cmd, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                   "\"messages\" holds an element that is not a message");
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
published(ngx_http_fanout_session_t *s, ngx_http_fanout_json_t *id,
    ngx_uint_t direct, ngx_http_fanout_zone_result_t *r)
{
    u_char          epoch[NGX_HTTP_FANOUT_EPOCH_LEN];
    fanout_reply_t  rp;

    if (id->len == 0) {
        return;
    }

    (void) ngx_http_fanout_epoch_format(epoch, r->epoch);

    fanout_native_open(&rp, s, (u_char *) id->data, id->len);
    fanout_native_printf(
        &rp,
        "\"ok\":{\"epoch\":\"%*s\",\"offset\":%uL,\"time\":%uL",
        sizeof(epoch), epoch, r->offset, r->time);

    if (direct) {
        fanout_native_printf(&rp, ",\"delivered\":%uD,\"pending\":%uD",
                             r->delivered, r->pending);
    }

    fanout_native_printf(&rp, "%s}",
                         r->duplicate ? ",\"duplicate\":true" : "");
    fanout_native_end(&rp);
}
