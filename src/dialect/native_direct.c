
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol: whom a command addresses, and the command "signal".
 */


#include "base/id.h"
#include "session/members.h"
#include "dialect/native.h"


#define FANOUT_SIGNAL_SIZE  16384


typedef struct {
    fanout_json_t  client;
    fanout_json_t  user;
} to_t;


static fanout_error_e native_signal(fanout_session_t *s,
    fanout_command_t *cmd);


static const fanout_json_field_t  to_fields[] = {
    fanout_json_field("client", to_t, client),
    fanout_json_field("user", to_t, user)
};

static const fanout_native_limit_t  signal_size = {
    .name = "signal",
    .directive = "fanout_message_size, and 16384 at most",
    .conf = offsetof(fanout_loc_conf_t, message_size),
    .max = FANOUT_SIGNAL_SIZE
};

static const fanout_native_member_t  signal_members[] = {
    FANOUT_NATIVE_CHANNEL,

    { fanout_native_field("event", fanout_native_read_label,
                          fanout_command_t, u.signal.event),
      .required = 1 },

    { fanout_native_field("tag", fanout_native_read_label,
                          fanout_command_t, u.signal.tag) },

    { fanout_native_field("data", fanout_native_read_json,
                          fanout_command_t, u.signal.data),
      .limit = &signal_size },

    { fanout_native_field("to", fanout_native_read_to,
                          fanout_command_t, u.signal.to) }
};

const fanout_native_op_t  fanout_native_op_signal = {
    .name = ngx_string("signal"),
    .run = native_signal,
    .members = signal_members,
    .n = fanout_nelts(signal_members),
    .size = sizeof(fanout_signal_cmd_t),
    .cost = FANOUT_COST_SIGNAL,
    .may = FANOUT_MAY_SIGNAL,
    .needs = FANOUT_NATIVE_WRITES
};


fanout_error_e
fanout_native_read_to(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    to_t                 to;
    fanout_json_t        text, *name;
    fanout_zstr_t       *dst;
    fanout_native_to_t  *whom;

    if (fanout_json_members(value, to_fields, fanout_nelts(to_fields), &to,
                            NULL)
        != FANOUT_JSON_OK
        || (to.client.len != 0) == (to.user.len != 0))
    {
        goto invalid;
    }

    name = to.client.len ? &to.client : &to.user;

    if (fanout_json_text(name, (u_char *) name->data, FANOUT_NAME, &text)
        != FANOUT_JSON_OK
        || text.len == 0)
    {
        goto invalid;
    }

    whom = fanout_native_dst(base, m);
    dst = to.client.len ? &whom->client : &whom->user;
    dst->data = text.data;
    dst->len = text.len;

    return FANOUT_E_NONE;

invalid:

    return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
               "\"to\" is {\"client\":string} or {\"user\":string}");
}


/* An id that no client of this zone can have is an offline recipient. */

fanout_error_e
fanout_native_address(fanout_session_t *s, fanout_command_t *cmd,
    fanout_native_to_t *to, fanout_zone_message_t *m)
{
    ngx_str_t       client;
    fanout_error_e  rc;

    /* the reply shows whether a client is online, and which user is */

    rc = fanout_native_may(s, cmd, FANOUT_MAY_PRESENCE);

    if (rc == FANOUT_E_NONE && to->user.len) {
        rc = fanout_native_may(s, cmd, FANOUT_MAY_PROFILE);
    }

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    if (to->user.len) {
        m->to_user = fanout_zone_hash(&s->hub->zone, to->user.data,
                                      to->user.len);
        return FANOUT_E_NONE;
    }

    client.data = (u_char *) to->client.data;
    client.len = to->client.len;

    if (fanout_client_parse(&client, &m->to_client) == NGX_OK
        && m->to_client != 0)
    {
        return FANOUT_E_NONE;
    }

    fanout_count(s->hub, direct_offline);

    return FANOUT_E_RECIPIENT_OFFLINE;
}


fanout_error_e
fanout_native_fail_direct(fanout_command_t *cmd, fanout_error_e rc)
{
    return rc == FANOUT_E_TOO_MANY
           ? fanout_native_fail_limit(cmd, rc, "mail", FANOUT_ZONE_MAIL,
                                      "messages wait for the recipient")
           : rc;
}


static fanout_error_e
native_signal(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_error_e          rc;
    fanout_channel_t       *ch;
    fanout_signal_cmd_t    *c;
    fanout_zone_message_t   m;

    c = &cmd->u.signal;

    ngx_memzero(&m, sizeof(fanout_zone_message_t));

    m.client = s->identity.client;
    m.user.data = s->user.data;
    m.user.len = s->user.len;
    m.event = c->event;
    m.key = c->tag;
    m.kind = FANOUT_JSON;
    m.data = c->data;
    m.flags = fanout_session_anonymous(s, &cmd->channel) ? FANOUT_ANONYMOUS
                                                         : 0;

    if (m.data.len == 0) {
        /* a signal without data */
        m.data.data = (u_char *) "null";
        m.data.len = 4;
    }

    rc = FANOUT_E_NONE;

    if (c->to.client.len || c->to.user.len) {
        rc = fanout_native_address(s, cmd, &c->to, &m);
    }

    if (rc == FANOUT_E_NONE) {
        rc = fanout_hub_signal(s->hub, &cmd->channel, &m);
    }

    if (rc != FANOUT_E_NONE) {
        return fanout_native_fail_direct(cmd, rc);
    }

    ch = fanout_hub_find(s->hub, &cmd->channel);
    fanout_meter_audience(s, 1, ch ? ch->nsubs : 0);

    fanout_native_ok(s, cmd);

    return FANOUT_E_NONE;
}
