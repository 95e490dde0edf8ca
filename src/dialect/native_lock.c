
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The commands "lock" and "unlock" of the native protocol.
 */


#include "hub/locks.h"
#include "session/members.h"
#include "dialect/native.h"
#include "session/transport.h"


static fanout_error_e native_lock(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e native_unlock(fanout_session_t *s,
    fanout_command_t *cmd);
static void lock_told(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e lock_check(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e lock_seated(fanout_session_t *s, fanout_command_t *cmd);
static fanout_error_e lock_refused(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc, fanout_locked_t *to);
static fanout_error_e lock_ttl(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static fanout_error_e lock_wait(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);
static fanout_error_e lock_ms(fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base,
    int64_t min, int64_t max, const char *why);
static fanout_error_e lock_data(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base);


static const fanout_native_limit_t  lock_size = {
    .name = "lock",
    .directive = "bytes of \"data\" of a lock",
    .max = FANOUT_ZONE_LOCK_DATA
};


#define FANOUT_NATIVE_LOCK_NAME                                               \
    { fanout_native_field("name", fanout_native_read_lock,                    \
                          fanout_command_t, u.lock.name), .required = 1 }


static const fanout_native_member_t  lock_members[] = {
    FANOUT_NATIVE_CHANNEL,
    FANOUT_NATIVE_LOCK_NAME,

    { fanout_native_field("ttl", lock_ttl,
                          fanout_command_t, u.lock.ttl) },

    { fanout_native_field("wait", lock_wait,
                          fanout_command_t, u.lock.wait) },

    { fanout_native_field("data", lock_data,
                          fanout_command_t, u.lock.data),
      .limit = &lock_size }
};

const fanout_native_op_t  fanout_native_op_lock = {
    .name = ngx_string("lock"),
    .run = native_lock,
    .members = lock_members,
    .n = fanout_nelts(lock_members),
    .size = sizeof(fanout_lock_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_LOCK,
    .needs = FANOUT_NATIVE_PROVED|FANOUT_NATIVE_WRITES
};


static const fanout_native_member_t  unlock_members[] = {
    FANOUT_NATIVE_CHANNEL,
    FANOUT_NATIVE_LOCK_NAME,

    { fanout_native_field("token", fanout_native_read_token,
                          fanout_command_t, u.lock.token) }
};

const fanout_native_op_t  fanout_native_op_unlock = {
    .name = ngx_string("unlock"),
    .run = native_unlock,
    .members = unlock_members,
    .n = fanout_nelts(unlock_members),
    .size = sizeof(fanout_lock_cmd_t),
    .cost = FANOUT_COST,
    .may = FANOUT_MAY_LOCK,
    .needs = FANOUT_NATIVE_PROVED|FANOUT_NATIVE_WRITES
};


/* decoding */

fanout_error_e
fanout_native_read_lock(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    ngx_str_t       text;
    fanout_json_t   raw;
    fanout_zstr_t  *name;

    if (fanout_json_text(value, (u_char *) value->data, FANOUT_NAME, &raw)
        == FANOUT_JSON_OK)
    {
        text.data = (u_char *) raw.data;
        text.len = raw.len;

        if (fanout_label_check(&text, FANOUT_NAME) == NGX_OK) {
            name = fanout_native_dst(base, m);
            name->data = text.data;
            name->len = text.len;

            return FANOUT_E_NONE;
        }
    }

    return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
               "\"%s\" is the name of a lock: a string of 1 to 255 bytes of "
               "UTF-8 without control characters", m->field.name);
}


fanout_error_e
fanout_native_read_token(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int64_t  n;

    if (fanout_json_int(value, &n) != FANOUT_JSON_OK || n < 1) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"token\" is a number that a lock had");
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = n;

    return FANOUT_E_NONE;
}


static fanout_error_e
lock_ttl(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int64_t  max;

    max = fanout_locks_served(s->hub, &cmd->channel);

    if (max == 0) {
        /* refused later, and for that */
        max = FANOUT_ZONE_LOCK_TIME;
    }

    return lock_ms(cmd, m, value, base, 1, max,
                   ": \"fanout_channel locks=\"");
}


static fanout_error_e
lock_wait(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    return lock_ms(cmd, m, value, base, 0, FANOUT_NATIVE_LOCK_WAIT, "");
}


static fanout_error_e
lock_ms(fanout_command_t *cmd, const fanout_native_member_t *m,
    fanout_json_t *value, void *base, int64_t min, int64_t max,
    const char *why)
{
    int64_t  n;

    if (fanout_json_int(value, &n) != FANOUT_JSON_OK || n < min || n > max) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is a number of ms from %L to %L%s",
                                  m->field.name, min, max, why);
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = n;

    return FANOUT_E_NONE;
}


/* null is none, and not the same as a renewal that leaves what there is */

static fanout_error_e
lock_data(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    fanout_error_e  rc;

    rc = fanout_native_read_json(s, cmd, m, value, base);

    if (rc == FANOUT_E_NONE && fanout_json_type(value) == FANOUT_JSON_NULL) {
        ((fanout_zstr_t *) fanout_native_dst(base, m))->len = 0;
    }

    return rc;
}


/* the commands */

static fanout_error_e
native_lock(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e      rc;
    fanout_locked_t     to;
    fanout_lock_cmd_t  *c;
    fanout_zone_lock_t  req;

    c = &cmd->u.lock;

    if ((rc = lock_check(s, cmd))
        || (c->wait && (rc = fanout_native_may_wait(s, cmd))))
    {
        return rc;
    }

    ngx_memzero(&req, sizeof(fanout_zone_lock_t));

    req.name = c->name;
    req.data = c->data;
    req.client = s->identity.client;
    req.address = s->meter.address;
    req.ttl = c->ttl ? c->ttl : fanout_locks_ttl(s->hub, &cmd->channel);
    req.wait = c->wait;

    if (!fanout_session_anonymous(s, &cmd->channel)) {
        req.user.data = s->user.data;
        req.user.len = s->user.len;
    }

    rc = fanout_locks_take(s->hub, &cmd->channel, s->identity_ref,
                           &s->identity, &req, 0, &to);

    if (rc == FANOUT_E_LOCKED && to.waits && c->wait) {
        return fanout_native_wait(s, cmd);
    }

    if (rc != FANOUT_E_NONE) {
        return lock_refused(s, cmd, rc, &to);
    }

    lock_told(s, cmd);
    fanout_native_locked(s, &cmd->id, &to);

    return FANOUT_E_NONE;
}


/* Charges for the subscribers of this worker that are told of the lock. */

static void
lock_told(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_channel_t  *ch;

    ch = fanout_hub_find(s->hub, &cmd->channel);

    fanout_meter_audience(s, 1, ch ? ch->nsubs : 0);
}


static fanout_error_e
native_unlock(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_uint_t      waited;
    fanout_error_e  rc, none;

    rc = lock_seated(s, cmd);
    waited = 0;

    if (rc == FANOUT_E_NONE) {
        waited = !cmd->u.lock.token && fanout_native_unwait(s, cmd);

        if (s->state != FANOUT_OPEN) {
            return FANOUT_E_NONE;
        }

        rc = fanout_locks_drop(s->hub, &cmd->channel, s->identity_ref,
                               &s->identity, &cmd->u.lock.name,
                               cmd->u.lock.token);
    }

    if (rc == FANOUT_E_NONE) {
        lock_told(s, cmd);

    } else if (!waited) {
        /* what was locked before "locks=off" can be unlocked */
        none = fanout_native_lockable(s, cmd);
        return none ? none : rc;
    }

    fanout_native_ok(s, cmd);

    return FANOUT_E_NONE;
}


static fanout_error_e
lock_check(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e  rc;

    rc = fanout_native_lockable(s, cmd);

    return rc == FANOUT_E_NONE ? lock_seated(s, cmd) : rc;
}


/* A POST is checked by the zone, which knows where its client is. */

static fanout_error_e
lock_seated(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_subscription_t  *sub;

    if (s->transport->commands) {
        return FANOUT_E_NONE;
    }

    sub = fanout_session_sub(s, &cmd->channel);

    return sub && sub->seat ? FANOUT_E_NONE : FANOUT_E_NOT_JOINED;
}


static fanout_error_e
lock_refused(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc,
    fanout_locked_t *to)
{
    fanout_records_limit_t  limit;

    switch (rc) {

    case FANOUT_E_LOCKED:
        fanout_session_log_conflict(s, "lock", &cmd->channel,
                                    &cmd->u.lock.name, "locked");
        fanout_native_hide(s, &cmd->channel, &to->lock);
        fanout_native_unlucky(s, &cmd->id, &cmd->op, cmd->at, to);
        return FANOUT_E_NONE;

    case FANOUT_E_TOO_MANY:
        fanout_locks_limit(s->hub, &cmd->channel, to->limit, &limit);
        return fanout_native_fail_limit(cmd, rc, limit.name, limit.max,
                                        limit.directive);

    case FANOUT_E_ADDRESS_FULL:
        return fanout_native_fail_member(s, cmd, rc);

    default:
        return rc;
    }
}
