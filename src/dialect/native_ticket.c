
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Tokens in commands: that of "auth", and the subscription token of a join.
 *
 * A join with a token is verified also if the rules of the location permit it:
 * the token may grant more, and one that is wrong is not to go unnoticed.
 */


#include "dialect/native.h"
#include "transport/bearer.h"
#include "transport/ticket.h"


static fanout_error_e ticket_refuse(fanout_session_t *s,
    fanout_command_t *cmd, fanout_error_e rc, const char *why,
    ngx_uint_t forged);


/* the join that is being run uses it */

static fanout_ticket_t  ticket_in_hand;


fanout_error_e
fanout_native_token(fanout_session_t *s, fanout_command_t *cmd,
    fanout_json_t *value, ngx_str_t *token)
{
    fanout_json_t  text;

    switch (fanout_json_text(value, (u_char *) value->data,
                             s->conf->jwt->size, &text))
    {
    case FANOUT_JSON_OK:
        break;

    case FANOUT_JSON_TOO_LONG:
        return fanout_native_fail_limit(cmd, FANOUT_E_TOO_LARGE, "token",
                                        s->conf->jwt->size,
                                        "fanout_jwt size=");

    default:
        text.len = 0;
    }

    if (text.len == 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"token\" is a string that is not empty");
    }

    token->data = (u_char *) text.data;
    token->len = text.len;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_ticket(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_str_t         token, *channel;
    ngx_uint_t        forged;
    const char       *why;
    fanout_error_e    rc;
    fanout_limited_t  limited;

    if (cmd->u.join.token.len == 0) {
        return FANOUT_E_NONE;
    }

    if (!s->conf->tickets) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "no tokens of channels are read here: \"fanout_jwt "
                   "channel=\"");
    }

    rc = fanout_native_token(s, cmd, &cmd->u.join.token, &token);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    /* the second also in a dry run, which refuses nobody */

    if (!fanout_meter_take(s, FANOUT_COST_TICKET, &limited)
        || fanout_meter_session_tried(s, &limited))
    {
        return fanout_native_limited(s, cmd, &limited);
    }

    fanout_spend(s->hub, FANOUT_WORK_TOKEN);

    why = fanout_ticket_read(s->conf, &token, &s->user, &ticket_in_hand, &rc,
                             &forged);

    ngx_explicit_memzero(token.data, token.len);

    if (why) {
        return ticket_refuse(s, cmd, rc, why, forged);
    }

    channel = &ticket_in_hand.channel;

    if (channel->len != cmd->channel.len
        || ngx_memcmp(channel->data, cmd->channel.data, channel->len) != 0)
    {
        return ticket_refuse(s, cmd, FANOUT_E_FORBIDDEN,
                   "the token is for another channel: fanout_jwt channel=",
                   0);
    }

    s->tickets = &ticket_in_hand;
    s->ntickets = 1;

    return FANOUT_E_NONE;
}


void
fanout_native_ticket_end(fanout_session_t *s)
{
    s->tickets = NULL;
    s->ntickets = 0;
}


/* Verifying a forged token costs more than making it up. */

static fanout_error_e
ticket_refuse(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc,
    const char *why, ngx_uint_t forged)
{
    fanout_meter_session_wrong(s, forged);
    fanout_meter_charge(s, FANOUT_COST_FORGED - FANOUT_COST_TICKET);
    fanout_count(s->hub, forbidden);
    fanout_session_log_ticket(s, &cmd->channel, fanout_errors[rc].status, why);

    return fanout_native_fail(cmd, rc, "%s", why);
}
