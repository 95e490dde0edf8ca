
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The native protocol: whom a command addresses, and the command "signal".
 */


#include "base/id.h"
#include "dialect/native.h"


#define FANOUT_SIGNAL_SIZE  16384
#define FANOUT_EVERY        10000           /* ms */


typedef struct {
    fanout_json_t  client;
    fanout_json_t  user;
} to_t;

/* what a signal decodes into */

typedef struct {
    u_char                  event[FANOUT_KEY];
    u_char                  tag[FANOUT_KEY];
    u_char                  data[FANOUT_SIGNAL_SIZE];
} signal_t;


static ngx_uint_t signal_data(fanout_session_t *s, fanout_command_t *cmd,
    signal_t *sg, fanout_zone_message_t *m);


static const fanout_json_field_t  to_fields[] = {
    fanout_json_field("client", to_t, client),
    fanout_json_field("user", to_t, user)
};


/* A client that can't be one of ours is one that is not there. */

ngx_uint_t
fanout_native_to(fanout_session_t *s, fanout_command_t *cmd,
    fanout_zone_message_t *m, fanout_native_to_t *name)
{
    to_t            to;
    u_char          buf[FANOUT_NAME];
    ngx_str_t       str;
    fanout_json_t   text;

    /* the reply tells who is there */

    if (!fanout_native_may(s, cmd, FANOUT_MAY_PRESENCE)) {
        return 0;
    }

    if (fanout_json_members(&cmd->to, to_fields,
                            fanout_nelts(to_fields), &to, NULL)
        != FANOUT_JSON_OK
        || (to.client.len != 0) == (to.user.len != 0)
        || fanout_json_text(to.client.len ? &to.client : &to.user, buf,
                            sizeof(buf), &text)
           != FANOUT_JSON_OK
        || text.len == 0)
    {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"to\" is {\"client\":string} or {\"user\":string}");
        return 0;
    }

    str.data = (u_char *) text.data;
    str.len = text.len;

    if (to.user.len) {
        m->to_user = fanout_zone_hash(&s->hub->zone, str.data, str.len);

        if (name) {
            ngx_memcpy(name->buf, str.data, str.len);
            name->name.data = name->buf;
            name->name.len = str.len;
        }

        return 1;
    }

    if (fanout_client_parse(&str, &m->to_client) != NGX_OK
        || m->to_client == 0)
    {
        fanout_count(s->hub, direct_offline);
        fanout_native_unreached(s, cmd, FANOUT_E_RECIPIENT_OFFLINE);
        return 0;
    }

    return 1;
}


/* how often it wants to hear signals */

ngx_uint_t
fanout_native_every(fanout_session_t *s, fanout_command_t *cmd,
    ngx_uint_t *every)
{
    int64_t  n;

    if (cmd->every.len == 0) {
        return 1;
    }

    if (fanout_json_int(&cmd->every, &n) != FANOUT_JSON_OK
        || n < 0 || n > FANOUT_EVERY)
    {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"every\" is a number of ms from 0 to 10000");
        return 0;
    }

    *every = n;

    return 1;
}


void
fanout_native_unreached(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc)
{
    if (rc == FANOUT_E_TOO_MANY) {
        fanout_native_refuse_limit(s, cmd, rc, "mail",
                                   FANOUT_ZONE_MAIL,
                                   "messages wait for the recipient");
        return;
    }

    fanout_native_refuse(s, cmd, rc, "%V", &fanout_errors[rc].text);
}


void
fanout_native_signal(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t          rp;
    fanout_error_e          rc;
    fanout_channel_t       *ch;
    fanout_zone_message_t   m;

    static signal_t         sg;

    ngx_memzero(&m, sizeof(fanout_zone_message_t));

    if (!fanout_native_channel(s, cmd, FANOUT_MAY_SIGNAL)
        || !fanout_native_writes(s, cmd))
    {
        return;
    }

    if (cmd->event.len == 0) {
        fanout_native_refuse(s, cmd, FANOUT_E_BAD_REQUEST,
               "\"event\" is missing");
        return;
    }

    if (!fanout_native_label(s, cmd, &cmd->event, "event", sg.event,
                             &m.event)
        || !fanout_native_label(s, cmd, &cmd->tag, "tag", sg.tag, &m.key)
        || !signal_data(s, cmd, &sg, &m)
        || (cmd->to.len && !fanout_native_to(s, cmd, &m, NULL)))
    {
        return;
    }

    m.client = s->identity.client;
    m.user.data = s->user.data;
    m.user.len = s->user.len;
    m.kind = FANOUT_JSON;

    rc = fanout_hub_signal(s->hub, &cmd->name, &m);

    if (rc != FANOUT_E_NONE) {
        fanout_native_unreached(s, cmd, rc);
        return;
    }

    ch = fanout_hub_find(s->hub, &cmd->name);
    fanout_meter_audience(s, 1, ch ? ch->nsubs : 0);

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_literal(&rp, "\"ok\":{}");
        fanout_native_end(&rp);
    }
}


/* It may say nothing: that it happened is all. */

static ngx_uint_t
signal_data(fanout_session_t *s, fanout_command_t *cmd,
    signal_t *sg, fanout_zone_message_t *m)
{
    size_t  max;

    max = ngx_min(s->conf->message_size, FANOUT_SIGNAL_SIZE);

    if (cmd->data.len == 0) {
        m->data.data = (u_char *) "null";
        m->data.len = 4;
        return 1;
    }

    /* without what a minified one has not: blanks do not count much here */

    if (cmd->data.len > max) {
        fanout_native_refuse_limit(s, cmd, FANOUT_E_TOO_LARGE,
                                   "signal", max, "fanout_message_size, and "
                                   "16384 at most");
        return 0;
    }

    m->data.data = sg->data;
    m->data.len = fanout_json_minify(sg->data, cmd->data.data, cmd->data.len);

    return 1;
}
