
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands "set", "delete" and "get" of the native protocol.
 */


#include "base/id.h"
#include "hub/record_decode.h"
#include "hub/record_json.h"
#include "hub/records.h"
#include "session/members.h"
#include "session/forbid.h"
#include "dialect/native.h"


static fanout_error_e native_set(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e native_delete(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e native_get(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e get_all(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e record_changes(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);
static fanout_error_e record_mode(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static fanout_error_e record_cursor(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base);
static fanout_error_e record_writable(fanout_session_t *s,
    fanout_command_t *cmd);
static fanout_error_e record_request(fanout_session_t *s,
    fanout_command_t *cmd, fanout_zone_set_t *set,
    fanout_zone_publish_t *opts);
static const char *record_op(fanout_command_t *cmd);
static fanout_error_e record_refused(fanout_session_t *s,
    fanout_command_t *cmd, fanout_error_e rc,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts);
static fanout_error_e record_locked(fanout_session_t *s,
    fanout_command_t *cmd, const fanout_zone_set_result_t *r);
static void record_conflict(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts);
static void set_reply(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts);


#define FANOUT_NATIVE_RECORD                                                  \
    { fanout_native_field("record", fanout_native_read_label,                 \
                          fanout_command_t, u.record.id), .required = 1 }

#define FANOUT_NATIVE_BASE                                                    \
    { fanout_native_field("base", fanout_native_read_count,                   \
                          fanout_command_t, u.record.base), .absent = -1 }

#define FANOUT_NATIVE_RECORD_KEY                                              \
    { fanout_native_field("key", fanout_native_read_label,                    \
                          fanout_command_t, u.record.key) }

#define FANOUT_NATIVE_RECORD_TOKEN                                            \
    { fanout_native_field("token", fanout_native_read_token,                  \
                          fanout_command_t, u.record.token) }


static const fanout_native_member_t  set_members[] = {
    FANOUT_NATIVE_CHANNEL,
    FANOUT_NATIVE_RECORD,
    FANOUT_NATIVE_BASE,
    FANOUT_NATIVE_RECORD_KEY,
    FANOUT_NATIVE_RECORD_TOKEN,

    { fanout_native_field("release", fanout_native_read_lock,
                          fanout_command_t, u.record.release) },

    { fanout_native_field("mode", record_mode,
                          fanout_command_t, u.record.mode) },

    { fanout_native_field("create", fanout_native_read_flag,
                          fanout_command_t, u.record.create) },

    { fanout_native_field("set", record_changes,
                          fanout_command_t, u.record),
      .levels = 1 },

    { fanout_native_field("unset", record_changes,
                          fanout_command_t, u.record) },

    { fanout_native_field("append", record_changes,
                          fanout_command_t, u.record),
      .levels = 1 }
};

const fanout_native_op_t  fanout_native_op_set = {
    .name = ngx_string("set"),
    .run = native_set,
    .members = set_members,
    .n = fanout_nelts(set_members),
    .size = sizeof(fanout_record_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_RECORD,
    .needs = FANOUT_NATIVE_WRITES
};


static const fanout_native_member_t  delete_members[] = {
    FANOUT_NATIVE_CHANNEL,
    FANOUT_NATIVE_RECORD,
    FANOUT_NATIVE_BASE,
    FANOUT_NATIVE_RECORD_KEY,
    FANOUT_NATIVE_RECORD_TOKEN
};

const fanout_native_op_t  fanout_native_op_delete = {
    .name = ngx_string("delete"),
    .run = native_delete,
    .members = delete_members,
    .n = fanout_nelts(delete_members),
    .size = sizeof(fanout_record_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_RECORD,
    .needs = FANOUT_NATIVE_WRITES
};


static const fanout_native_member_t  get_members[] = {
    FANOUT_NATIVE_CHANNEL,

    { fanout_native_field("record", fanout_native_read_label,
                          fanout_command_t, u.get.id) },

    { fanout_native_field("prefix", fanout_native_read_label,
                          fanout_command_t, u.get.prefix) },

    { fanout_native_field("cursor", record_cursor,
                          fanout_command_t, u.get.cursor) },

    { fanout_native_field("versions", fanout_native_read_flag,
                          fanout_command_t, u.get.versions) },

    { fanout_native_field("all", fanout_native_read_flag,
                          fanout_command_t, u.get.all) },

    { fanout_native_field("locks", fanout_native_read_flag,
                          fanout_command_t, u.get.locks) }
};

const fanout_native_op_t  fanout_native_op_get = {
    .name = ngx_string("get"),
    .run = native_get,
    .members = get_members,
    .n = fanout_nelts(get_members),
    .size = sizeof(fanout_get_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_JOIN,
    .needs = FANOUT_NATIVE_ANSWERS
};


/* of the current command */

static fanout_zone_change_t  changes[FANOUT_ZONE_FIELDS];


/* decoding */

/* The fields of "set", "unset" or "append". */

static fanout_error_e
record_changes(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    uint8_t         op;
    ngx_str_t       why;
    fanout_error_e  rc;

    op = m->field.len == sizeof("append") - 1 ? FANOUT_FIELD_APPEND
         : m->field.len == sizeof("unset") - 1 ? FANOUT_FIELD_UNSET
         : FANOUT_FIELD_SET;

    rc = fanout_record_decode(changes, &cmd->u.record.n, op, value, &why);

    if (rc == FANOUT_E_TOO_MANY) {
        return fanout_native_fail_limit(cmd, rc, "fields", FANOUT_ZONE_FIELDS,
                                        "fields in a command");
    }

    return rc == FANOUT_E_NONE ? rc : fanout_native_fail(cmd, rc, "%V", &why);
}


static fanout_error_e
record_mode(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    u_char          buf[16];
    ngx_str_t       name, why;
    ngx_uint_t      mode;
    fanout_json_t   text;
    fanout_error_e  rc;

    ngx_str_null(&name);

    if (fanout_json_text(value, buf, sizeof(buf), &text) == FANOUT_JSON_OK) {
        name.data = (u_char *) text.data;
        name.len = text.len;
    }

    rc = fanout_record_mode(&name, &mode, &why);

    if (rc != FANOUT_E_NONE) {
        return fanout_native_fail(cmd, rc, "%V", &why);
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = mode + 1;

    return FANOUT_E_NONE;
}


static fanout_error_e
record_cursor(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    u_char         buf[16];
    ngx_int_t      n;
    fanout_json_t  text;

    n = NGX_ERROR;

    if (fanout_json_text(value, buf, sizeof(buf), &text) == FANOUT_JSON_OK
        && text.len && text.len < 10)
    {
        n = ngx_atoi((u_char *) text.data, text.len);
    }

    if (n == NGX_ERROR) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"cursor\" is the string that a reply had");
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = n;

    return FANOUT_E_NONE;
}


/* changing */

static fanout_error_e
native_set(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_str_t                  why;
    fanout_error_e             rc;
    fanout_records_t          *conflicts;
    fanout_zone_set_t          set;
    fanout_record_cmd_t       *c;
    fanout_zone_publish_t      opts;
    fanout_zone_set_result_t   r;

    c = &cmd->u.record;

    if ((rc = record_writable(s, cmd))) {
        return rc;
    }

    if ((rc = fanout_record_once(changes, c->n, &why))) {
        return fanout_native_fail(cmd, rc, "%V", &why);
    }

    if ((rc = record_request(s, cmd, &set, &opts))) {
        return rc;
    }

    set.changes = changes;
    set.n = c->n;
    set.create = c->create;

    rc = fanout_records_set(s->hub, &cmd->channel, &set, &r, &conflicts);

    if (!fanout_session_may(s, FANOUT_MAY_JOIN|FANOUT_MAY_HISTORY,
                            &cmd->channel))
    {
        conflicts = NULL;

    } else {
        conflicts->unnamed = fanout_native_unnamed(s, &cmd->channel);
    }

    if (rc != FANOUT_E_NONE) {
        return record_refused(s, cmd, rc, &r, conflicts);
    }

    if (!r.unchanged && !r.log.duplicate) {
        fanout_meter_audience(s, 1, r.log.subscribers);
        fanout_session_log_done(s, "set", &cmd->channel, &c->id, r.log.offset);
    }

    set_reply(s, cmd, &r, conflicts);

    return FANOUT_E_NONE;
}


static fanout_error_e
native_delete(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e             rc;
    fanout_zone_set_t          set;
    fanout_zone_publish_t      opts;
    fanout_zone_set_result_t   r;

    if ((rc = record_writable(s, cmd))
        || (rc = record_request(s, cmd, &set, &opts)))
    {
        return rc;
    }

    rc = fanout_records_delete(s->hub, &cmd->channel, &set, &r);

    if (rc != FANOUT_E_NONE) {
        return record_refused(s, cmd, rc, &r, NULL);
    }

    if (!r.log.duplicate) {
        fanout_meter_audience(s, 1, r.log.subscribers);
        fanout_session_log_done(s, "delete", &cmd->channel, &cmd->u.record.id,
                                r.log.offset);
    }

    set_reply(s, cmd, &r, NULL);

    return FANOUT_E_NONE;
}


static fanout_error_e
record_writable(fanout_session_t *s, fanout_command_t *cmd)
{
    if (fanout_session_may_publish(s, &cmd->channel)) {
        return fanout_native_recorded(s, cmd);
    }

    fanout_count(s->hub, forbidden);
    fanout_session_log_forbidden(s, "record", &cmd->channel,
                                 "fanout_channel publish=members");

    return fanout_native_fail(cmd, FANOUT_E_FORBIDDEN,
               "only members change records here: \"fanout_channel "
               "publish=members\"");
}


/* what a set and a delete have in common */

static fanout_error_e
record_request(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_set_t *set, fanout_zone_publish_t *opts)
{
    uint64_t              base;
    ngx_str_t             why;
    ngx_uint_t            mode;
    fanout_error_e        rc;
    fanout_record_cmd_t  *c;

    c = &cmd->u.record;

    ngx_memzero(opts, sizeof(fanout_zone_publish_t));
    ngx_memzero(set, sizeof(fanout_zone_set_t));

    opts->key = c->key;
    opts->record = 1;
    opts->scope.data = s->user.data;
    opts->scope.len = s->user.len;
    fanout_meter_sender(s, opts);

    set->id = c->id;
    set->client = s->identity.client;
    set->opts = opts;
    set->token = c->token;
    set->release = c->release;

    if (!fanout_session_anonymous(s, &cmd->channel)) {
        set->user = opts->scope;
    }

    if (c->base >= 0
        && ((rc = fanout_native_may(s, cmd, FANOUT_MAY_JOIN
                                            |FANOUT_MAY_HISTORY))
            || (rc = fanout_native_answers(s, cmd))))
    {
        /* the reply tells what others have set, and may be long */
        return rc;
    }

    base = c->base;
    mode = c->mode - 1;

    rc = fanout_record_base(set, c->base >= 0 ? &base : NULL,
                            c->mode ? &mode : NULL, &why);

    return rc == FANOUT_E_NONE ? rc : fanout_native_fail(cmd, rc, "%V", &why);
}


static const char *
record_op(fanout_command_t *cmd)
{
    /* in quotes */
    return cmd->op.len > 1 && cmd->op.data[1] == 'd' ? "delete" : "set";
}


static fanout_error_e
record_refused(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts)
{
    fanout_limited_t        limited;
    fanout_records_limit_t  limit;

    switch (rc) {

    case FANOUT_E_CONFLICT:
        fanout_session_log_conflict(s, record_op(cmd), &cmd->channel,
                                    &cmd->u.record.id, "conflict");
        record_conflict(s, cmd, r, conflicts);
        return FANOUT_E_NONE;

    case FANOUT_E_LOCKED:
        fanout_session_log_conflict(s, record_op(cmd), &cmd->channel,
                                    &cmd->u.record.id, "locked");
        return record_locked(s, cmd, r);

    case FANOUT_E_NOT_FOUND:
        return fanout_native_fail(cmd, rc, "there is no such record");

    case FANOUT_E_TOO_LARGE:
    case FANOUT_E_TOO_MANY:
        fanout_records_limit(s->hub, &cmd->channel, rc, r, &limit);
        return fanout_native_fail_limit(cmd, rc, limit.name, limit.max,
                                        limit.directive);

    case FANOUT_E_ADDRESS_FULL:
        return fanout_native_fail_member(s, cmd, rc);

    case FANOUT_E_RATE_LIMITED:
        fanout_meter_keys(s, &r->log, &limited);
        return fanout_native_limited(s, cmd, &limited);

    default:
        return rc;
    }
}


/* Who holds the lock is told to those who may see it elsewhere. */

static fanout_error_e
record_locked(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_zone_set_result_t *r)
{
    ngx_str_t         data;
    fanout_outbuf_t  *f;

    if (!fanout_session_may(s, FANOUT_MAY_JOIN|FANOUT_MAY_HISTORY,
                            &cmd->channel))
    {
        return FANOUT_E_LOCKED;
    }

    f = fanout_outbuf_create(s->hub, 256);

    if (f == NULL
        || fanout_record_locked_json(s->hub, r,
                                     fanout_native_unnamed(s, &cmd->channel),
                                     f)
           != NGX_OK)
    {
        goto failed;
    }

    data.data = f->data;
    data.len = f->used;

    fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, FANOUT_E_LOCKED, NULL,
                        &data);
    fanout_outbuf_release(s->hub, f);

    return FANOUT_E_NONE;

failed:

    if (f) {
        fanout_outbuf_release(s->hub, f);
    }

    fanout_session_end(s, FANOUT_END_CUT);

    return FANOUT_E_NONE;
}


/* An error, whose data has what the record is now. */

static void
record_conflict(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts)
{
    ngx_str_t         data;
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(s->hub, 256);

    if (f == NULL
        || fanout_outbuf_literal(s->hub, f, "{") != NGX_OK
        || fanout_record_refusal_json(s->hub, r, conflicts, f) != NGX_OK
        || fanout_outbuf_literal(s->hub, f, "}") != NGX_OK)
    {
        goto failed;
    }

    data.data = f->data;
    data.len = f->used;

    fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, FANOUT_E_CONFLICT,
                        NULL, &data);
    fanout_outbuf_release(s->hub, f);

    return;

failed:

    if (f) {
        fanout_outbuf_release(s->hub, f);
    }

    fanout_session_end(s, FANOUT_END_CUT);
}


static void
set_reply(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts)
{
    fanout_reply_t  rp;

    if (cmd->id.len == 0) {
        return;
    }

    fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
    fanout_native_literal(&rp, "\"ok\":{");

    if (rp.rc == NGX_OK) {
        rp.rc = fanout_record_result_json(s->hub, r, conflicts, rp.f);
    }

    fanout_native_literal(&rp, "}");
    fanout_native_end(&rp);
}


/* reading */

/* Tells all records, or locks, in parts, as a join does. */

static fanout_error_e
get_all(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_zone_join_t      j;
    fanout_native_job_t    *job;
    fanout_zone_channel_t   zc;

    job = fanout_native_job(s, cmd);

    if (job == NULL) {
        return fanout_native_fail(cmd, FANOUT_E_INTERNAL, "out of memory");
    }

    fanout_hub_view(s->hub, &job->channel, &zc);
    (void) fanout_log_seek(&s->hub->zone, &zc, 0, 0, &j);

    job->epoch = j.epoch;
    job->offset = j.offset;
    job->records = cmd->u.get.all;
    job->locks = cmd->u.get.locks;

    fanout_native_run(s, job);

    return FANOUT_E_NONE;
}


static fanout_error_e
native_get(fanout_session_t *s, fanout_command_t *cmd)
{
    u_char             epoch[FANOUT_EPOCH_LEN];
    uint64_t           cursor;
    fanout_reply_t     rp;
    fanout_error_e     rc;
    fanout_records_t  *to;
    fanout_get_cmd_t  *c;

    c = &cmd->u.get;
    cursor = c->cursor;

    if ((c->locks && (rc = fanout_native_lockable(s, cmd)))
        || ((c->all || !c->locks) && (rc = fanout_native_recorded(s, cmd))))
    {
        return rc;
    }

    if ((c->id.len != 0) + (c->all || c->locks)
        + (c->prefix.len || c->cursor) > 1
        || ((c->all || c->locks) && c->versions))
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"record\" excludes \"prefix\" and \"cursor\", "
                   "\"all\" and \"locks\" exclude all others");
    }

    if (c->all || c->locks) {
        return get_all(s, cmd);
    }

    if (c->id.len) {
        (void) fanout_records_get(s->hub, &cmd->channel, &c->id, &to);

    } else {
        fanout_records_list(s->hub, &cmd->channel, &c->prefix, &cursor, 0,
                            FANOUT_ZONE_ENTRIES, &to);
    }

    (void) fanout_epoch_format(epoch, to->epoch);

    fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
    fanout_native_literal(&rp, "\"ok\":{\"channel\":");
    fanout_native_string(&rp, cmd->channel.data, cmd->channel.len);
    fanout_native_printf(&rp, ",\"epoch\":\"%*s\",\"offset\":%uL",
                         sizeof(epoch), epoch, to->offset);
    fanout_native_literal(&rp, ",\"records\":{");

    if (rp.rc == NGX_OK) {
        rp.rc = fanout_records_json(s->hub, to, c->versions, rp.f);
    }

    fanout_native_literal(&rp, "}");

    if (cursor) {
        fanout_native_printf(&rp, ",\"cursor\":\"%uL\"", cursor);
    }

    fanout_native_literal(&rp, "}");
    fanout_native_end(&rp);

    return FANOUT_E_NONE;
}
