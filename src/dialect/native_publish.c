
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The command "publish" of the native protocol: at once, or when the backend
 * has been asked.
 */


#include "base/base64.h"
#include "base/id.h"
#include "hub/entry_json.h"
#include "session/members.h"
#include "dialect/native.h"
#include "hook/hook.h"


/* a publish that the backend is asked about */

typedef struct {
    fanout_native_ask_t    ask;
    fanout_approval_t     *approval;
} approval_job_t;


static fanout_error_e native_publish(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e publish_options(fanout_session_t *s,
    fanout_command_t *cmd, fanout_zone_publish_t *opts);
static fanout_error_e publish_messages(fanout_session_t *s,
    fanout_command_t *cmd, fanout_zone_publish_t *opts, ngx_uint_t *n);
static fanout_error_e publish_one(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e publish_several(fanout_session_t *s,
    fanout_command_t *cmd, ngx_uint_t *n);
static fanout_error_e publish_enc(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static fanout_error_e publish_data(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static ngx_int_t publish_base64(fanout_json_t *value, fanout_zstr_t *data);
static fanout_error_e publish_now(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_publish_t *opts, ngx_uint_t n);
static fanout_error_e publish_ask(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_publish_t *opts, ngx_uint_t n);
static ngx_int_t approval_step(fanout_session_t *s);
static void approval_free(fanout_job_t *job);
static fanout_error_e publish_refused(fanout_session_t *s,
    fanout_command_t *cmd, fanout_error_e rc, fanout_zone_result_t *r);
static void publish_logged(fanout_session_t *s, ngx_str_t *channel,
    fanout_zone_result_t *r);
static void publish_reply(fanout_session_t *s, fanout_json_t *id,
    ngx_uint_t direct, fanout_zone_result_t *r);


static const fanout_native_limit_t  message_size = {
    .name = "message",
    .directive = "fanout_message_size",
    .conf = offsetof(fanout_loc_conf_t, message_size)
};

static const fanout_native_limit_t  meta_size = {
    .name = "meta",
    .directive = "1024 bytes",
    .max = FANOUT_META
};

static const fanout_native_member_t  publish_members[] = {
    FANOUT_NATIVE_CHANNEL,

    { fanout_native_field("echo", fanout_native_read_flag,
                          fanout_command_t, u.publish.echo),
      .absent = 1 },

    { fanout_native_field("store", fanout_native_read_flag,
                          fanout_command_t, u.publish.store),
      .absent = 1 },

    { fanout_native_field("live", fanout_native_read_flag,
                          fanout_command_t, u.publish.live) },

    { fanout_native_field("key", fanout_native_read_label,
                          fanout_command_t, u.publish.key) },

    { fanout_native_field("if", fanout_native_read_position,
                          fanout_command_t, u.publish.condition) },

    { fanout_native_field("to", fanout_native_read_to,
                          fanout_command_t, u.publish.to) },

    { fanout_native_field("messages", fanout_native_read_raw,
                          fanout_command_t, u.publish.messages),
      .levels = 2 },

    { fanout_native_field("event", fanout_native_read_raw, fanout_command_t,
                          u.publish.message[FANOUT_MESSAGE_EVENT]) },

    { fanout_native_field("meta", fanout_native_read_raw, fanout_command_t,
                          u.publish.message[FANOUT_MESSAGE_META]) },

    { fanout_native_field("enc", fanout_native_read_raw, fanout_command_t,
                          u.publish.message[FANOUT_MESSAGE_ENC]) },

    { fanout_native_field("data", fanout_native_read_raw, fanout_command_t,
                          u.publish.message[FANOUT_MESSAGE_DATA]) }
};

const fanout_native_op_t  fanout_native_op_publish = {
    .name = ngx_string("publish"),
    .run = native_publish,
    .members = publish_members,
    .n = fanout_nelts(publish_members),
    .size = sizeof(fanout_publish_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_PUBLISH,
    .needs = FANOUT_NATIVE_WRITES
};


/* the members of a message; what "enc" says is needed for the data */

static const fanout_native_member_t  message_members[] = {

    { fanout_native_field("event", fanout_native_read_label,
                          fanout_zone_message_t, event) },

    { fanout_native_field("key", fanout_native_read_label,
                          fanout_zone_message_t, key) },

    { fanout_native_field("meta", fanout_native_read_json,
                          fanout_zone_message_t, meta), .limit = &meta_size },

    { fanout_native_field("enc", publish_enc,
                          fanout_zone_message_t, kind) },

    { fanout_native_field("data", publish_data,
                          fanout_zone_message_t, data), .limit = &message_size,
      .required = 1 }
};


static const fanout_job_ops_t  approval_ops = {
    approval_step,
    approval_free
};


/* messages of the current command */

static fanout_zone_message_t  messages[FANOUT_ZONE_BATCH];


static fanout_error_e
native_publish(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t             n;
    fanout_error_e         rc;
    fanout_zone_publish_t  opts;

    if (!fanout_session_may_publish(s, &cmd->channel)) {
        fanout_count(s->hub, forbidden);
        fanout_session_log_forbidden(s, "publish", &cmd->channel,
                                     "fanout_channel publish=members");
        return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "only members publish here: \"fanout_channel publish=members\"");
    }

    if ((rc = publish_options(s, cmd, &opts))
        || (rc = publish_messages(s, cmd, &opts, &n)))
    {
        return rc;
    }

    return fanout_approval_needed(s->hub, &cmd->channel)
           ? publish_ask(s, cmd, &opts, n) : publish_now(s, cmd, &opts, n);
}


static fanout_error_e
publish_options(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_publish_t *opts)
{
    fanout_publish_cmd_t  *c;

    c = &cmd->u.publish;

    ngx_memzero(opts, sizeof(fanout_zone_publish_t));

    opts->key = c->key;
    opts->live = c->live;
    opts->scope.data = s->user.data;
    opts->scope.len = s->user.len;
    fanout_meter_sender(s, opts);

    if (!c->condition.set) {
        return FANOUT_E_NONE;
    }

    opts->if_set = 1;
    opts->if_epoch = c->condition.epoch;
    opts->if_offset = opts->if_epoch ? c->condition.offset
                                     : UINT64_MAX;  /* it can't be there */

    /* the reply tells how far the channel is */

    return fanout_native_may(s, cmd, FANOUT_MAY_JOIN|FANOUT_MAY_HISTORY);
}


/* Decodes all messages, and sets what they have in common. */

static fanout_error_e
publish_messages(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_publish_t *opts, ngx_uint_t *n)
{
    uint8_t                flags;
    ngx_uint_t             i;
    fanout_error_e         rc;
    fanout_publish_cmd_t  *c;

    c = &cmd->u.publish;
    *n = 1;

    rc = c->messages.len ? publish_several(s, cmd, n) : publish_one(s, cmd);

    flags = (c->echo ? 0 : FANOUT_NOECHO) | (c->store ? 0 : FANOUT_TRANSIENT)
            | (fanout_session_anonymous(s, &cmd->channel) ? FANOUT_ANONYMOUS
                                                          : 0);

    for (i = 0; i < *n && rc == FANOUT_E_NONE; i++) {
        messages[i].client = s->identity.client;
        messages[i].user = opts->scope;
        messages[i].flags = flags;
    }

    if (rc == FANOUT_E_NONE && (c->to.client.len || c->to.user.len)) {
        rc = *n > 1
             ? fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "with \"to\" one message can be sent, as \"data\"")
             : fanout_native_address(s, cmd, &c->to, messages);

    } else if (rc == FANOUT_E_NONE && c->live) {
        rc = fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                "\"live\" needs \"to\"");
    }

    return rc;
}


static fanout_error_e
publish_one(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e         rc;
    fanout_publish_cmd_t  *c;

    c = &cmd->u.publish;

    ngx_memzero(messages, sizeof(fanout_zone_message_t));

    rc = fanout_native_read(s, cmd, message_members, FANOUT_MESSAGE_MEMBERS,
                            c->message, messages);

    messages[0].key = c->key;

    return rc;
}


static fanout_error_e
publish_several(fanout_session_t *s, fanout_command_t *cmd, ngx_uint_t *n)
{
    int                    type;
    size_t                 i, count;
    fanout_json_t          items[FANOUT_ZONE_BATCH];
    fanout_json_t          spans[FANOUT_MESSAGE_MEMBERS];
    fanout_error_e         rc;
    fanout_publish_cmd_t  *c;

    c = &cmd->u.publish;

    type = fanout_json_array(&c->messages, items, s->conf->batch, &count);

    if (type == FANOUT_JSON_TOO_MANY) {
        return fanout_native_fail_limit(cmd, FANOUT_E_TOO_MANY, "batch",
                                        s->conf->batch, "fanout_batch");
    }

    if (type != FANOUT_JSON_OK || count == 0
        || c->message[FANOUT_MESSAGE_DATA].len)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"messages\" is an array with at least one message, "
                   "instead of \"data\"");
    }

    *n = count;
    rc = FANOUT_E_NONE;

    for (i = 0; i < count && rc == FANOUT_E_NONE; i++) {
        ngx_memzero(&messages[i], sizeof(fanout_zone_message_t));

        rc = fanout_native_find(message_members, FANOUT_MESSAGE_MEMBERS,
                                &items[i], spans)
             ? fanout_native_read(s, cmd, message_members,
                                  FANOUT_MESSAGE_MEMBERS, spans, &messages[i])
             : fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"messages\" holds an element that is not a message");
    }

    return rc;
}


static fanout_error_e
publish_enc(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    u_char         buf[16];
    fanout_json_t  enc;

    if (fanout_json_text(value, buf, sizeof(buf), &enc) != FANOUT_JSON_OK
        || enc.len != 6 || ngx_memcmp(enc.data, "base64", 6) != 0)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"enc\" can be \"base64\" only");
    }

    ((fanout_zone_message_t *) base)->kind = FANOUT_BINARY;

    return FANOUT_E_NONE;
}


static fanout_error_e
publish_data(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    fanout_zone_message_t  *message;

    message = base;

    if (value->len == 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"data\" is missing");
    }

    if (message->kind == FANOUT_BINARY) {

        if (publish_base64(value, &message->data) != NGX_OK) {
            return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                      "\"data\" is not a string of base64");
        }

    } else {
        message->kind = FANOUT_JSON;
        message->data.data = value->data;
        message->data.len = fanout_json_minify((u_char *) value->data,
                                               value->data, value->len);
    }

    return fanout_native_within(s, cmd, m->limit, message->data.len);
}


/* Decodes base64 in place. */

static ngx_int_t
publish_base64(fanout_json_t *value, fanout_zstr_t *data)
{
    ngx_str_t  src, dst;

    src.data = (u_char *) value->data;
    dst.data = src.data;

    if (fanout_json_string(value, src.data, value->len, &src.len)
        != FANOUT_JSON_OK
        || fanout_base64_decode(&dst, &src) != NGX_OK)
    {
        return NGX_ERROR;
    }

    data->data = dst.data;
    data->len = dst.len;

    return NGX_OK;
}


static fanout_error_e
publish_now(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_publish_t *opts, ngx_uint_t n)
{
    fanout_error_e        rc;
    fanout_zone_result_t  r;

    rc = fanout_hub_publish(s->hub, &cmd->channel, messages, n, opts, &r);

    if (rc != FANOUT_E_NONE) {
        return publish_refused(s, cmd, rc, &r);
    }

    fanout_meter_audience(s, n, r.subscribers);

    if (r.duplicate) {
        fanout_count(s->hub, duplicates);
    } else {
        fanout_add(s->hub, published, n);
    }

    publish_logged(s, &cmd->channel, &r);

    publish_reply(s, &cmd->id, messages[0].to_client || messages[0].to_user,
                  &r);

    return FANOUT_E_NONE;
}


static fanout_error_e
publish_refused(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc,
    fanout_zone_result_t *r)
{
    u_char            epoch[FANOUT_EPOCH_LEN];
    fanout_limited_t  limited;

    switch (rc) {

    case FANOUT_E_CONFLICT:
        fanout_session_log_conflict(s, "publish", &cmd->channel, NULL,
                                    "conflict");
        (void) fanout_epoch_format(epoch, r->epoch);

        cmd->data.data = cmd->data_buf;
        cmd->data.len = ngx_sprintf(cmd->data_buf,
                                    "{\"epoch\":\"%*s\",\"offset\":%uL}",
                                    sizeof(epoch), epoch, r->offset)
                        - cmd->data_buf;

        return fanout_native_fail(cmd, rc,
                                  "the channel is not where \"if\" says");

    case FANOUT_E_RATE_LIMITED:
        fanout_meter_keys(s, r, &limited);
        return fanout_native_limited(s, cmd, &limited);

    case FANOUT_E_ADDRESS_FULL:
        return fanout_native_fail_member(s, cmd, rc);

    default:
        return fanout_native_fail_direct(cmd, rc);
    }
}


/* The reply, and commands behind it, wait for the backend's answer. */

static fanout_error_e
publish_ask(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_publish_t *opts, ngx_uint_t n)
{
    fanout_zstr_t        *user;
    approval_job_t       *job;
    fanout_error_e        rc;
    fanout_limited_t      limited;
    fanout_zone_result_t  r;

    rc = fanout_hub_key(s->hub, &cmd->channel, opts, &r);

    if (rc != FANOUT_E_NONE) {
        return publish_refused(s, cmd, rc, &r);
    }

    job = fanout_native_ask(s, cmd, &approval_ops, sizeof(approval_job_t));

    if (job == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    user = &cmd->u.publish.to.user;

    job->approval = fanout_approval_begin(s, &cmd->channel, messages, n,
                                          user->len ? user : NULL, opts,
                                          &limited, &rc);

    if (job->approval == NULL) {
        ngx_free(job);

        return rc == FANOUT_E_RATE_LIMITED
               ? fanout_native_limited(s, cmd, &limited) : rc;
    }

    job->ask.base.asks = 1;
    s->job = &job->ask.base;

    return FANOUT_E_NONE;
}


static void
approval_free(fanout_job_t *job)
{
    fanout_approval_release(((approval_job_t *) job)->approval);
    ngx_free(job);
}


/* Replies, or returns AGAIN if there is no answer yet. */

static ngx_int_t
approval_step(fanout_session_t *s)
{
    approval_job_t     *job;
    fanout_error_e      rc;
    fanout_command_t    cmd;
    fanout_approval_t  *approval;

    job = (approval_job_t *) s->job;
    approval = job->approval;
    rc = approval->rc;

    if (!approval->answered) {
        return NGX_AGAIN;
    }

    fanout_native_asked(&job->ask, &cmd, "\"publish\"");
    cmd.channel = approval->channel;

    switch (rc) {

    case FANOUT_E_NONE:
        publish_logged(s, &approval->channel, &approval->result);
        publish_reply(s, &cmd.id,
                      approval->messages[0].to_client
                      || approval->messages[0].to_user,
                      &approval->result);
        break;

    case FANOUT_E_REFUSED:
        cmd.text = approval->text;
        cmd.data = approval->details;
        break;

    default:
        rc = publish_refused(s, &cmd, rc, &approval->result);
    }

    fanout_native_answered(s, &cmd, rc);

    return NGX_OK;
}


static void
publish_logged(fanout_session_t *s, ngx_str_t *channel,
    fanout_zone_result_t *r)
{
    if (!r->duplicate) {
        fanout_session_log_done(s, "publish", channel, NULL, r->offset);
    }
}


static void
publish_reply(fanout_session_t *s, fanout_json_t *id, ngx_uint_t direct,
    fanout_zone_result_t *r)
{
    u_char          epoch[FANOUT_EPOCH_LEN];
    fanout_reply_t  rp;

    if (id->len == 0) {
        return;
    }

    (void) fanout_epoch_format(epoch, r->epoch);

    fanout_native_open(&rp, s, (u_char *) id->data, id->len);
    fanout_native_literal(&rp, "\"ok\":{\"epoch\":\"");
    fanout_native_text(&rp, epoch, sizeof(epoch));
    fanout_native_literal(&rp, "\",\"offset\":");
    fanout_native_count(&rp, r->offset);
    fanout_native_literal(&rp, ",\"time\":");
    fanout_native_count(&rp, r->time);

    if (direct) {
        fanout_native_printf(&rp, ",\"delivered\":%uD,\"pending\":%uD",
                             r->delivered, r->pending);
    }

    if (r->duplicate) {
        fanout_native_literal(&rp, ",\"duplicate\":true");
    }

    fanout_native_literal(&rp, "}");
    fanout_native_end(&rp);
}
