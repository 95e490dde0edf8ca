
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Subscription tokens: see the header.
 */


#include "transport/ticket.h"
#include "base/name.h"
#include "hub/permit_list.h"
#include "transport/bearer.h"


static const char *ticket_verify(fanout_loc_conf_t *conf, ngx_str_t *token,
    u_char *buf, ngx_str_t *user, fanout_ticket_t *ticket, fanout_error_e *rc,
    ngx_uint_t *forged);
static const char *ticket_fill(fanout_loc_conf_t *conf,
    const fanout_jwt_t *jwt, fanout_ticket_t *ticket);
static const char *ticket_ops(const fanout_jwt_t *jwt,
    fanout_ticket_t *ticket);
static ngx_uint_t ticket_is_of(const fanout_jwt_t *jwt, ngx_str_t *user);


const char *
fanout_ticket_read(fanout_loc_conf_t *conf, ngx_str_t *token,
    ngx_str_t *user, fanout_ticket_t *ticket, fanout_error_e *rc,
    ngx_uint_t *forged)
{
    u_char      *buf;
    const char  *why;

    *forged = 0;

    if (token->len > conf->jwt->size) {
        *rc = FANOUT_E_TOO_LARGE;
        return "the token is too large: fanout_jwt size=";
    }

    buf = ngx_alloc(token->len + 1, ngx_cycle->log);

    if (buf == NULL) {
        *rc = FANOUT_E_INTERNAL;
        return "out of memory";
    }

    why = ticket_verify(conf, token, buf, user, ticket, rc, forged);

    ngx_explicit_memzero(buf, token->len);
    ngx_free(buf);

    return why;
}


static const char *
ticket_verify(fanout_loc_conf_t *conf, ngx_str_t *token, u_char *buf,
    ngx_str_t *user, fanout_ticket_t *ticket, fanout_error_e *rc,
    ngx_uint_t *forged)
{
    const char          *why;
    fanout_jwt_e         e;
    fanout_jwt_t         jwt;
    fanout_jwt_rules_t   rules;

    *rc = FANOUT_E_UNAUTHORIZED;

    rules = conf->jwt->rules;
    rules.channels = 1;

    fanout_sources_refresh(&conf->jwt->sources, ngx_cycle->log);

    e = fanout_jwt_verify(&conf->jwt->sources.keys, &rules, token->data,
                          token->len, ngx_time(), buf, &jwt);

    fanout_bearer_count(conf, e);

    if (e != FANOUT_JWT_OK) {
        *rc = e == FANOUT_JWT_NO_MEMORY ? FANOUT_E_INTERNAL : *rc;
        *forged = (e == FANOUT_JWT_SIGNATURE);
        return fanout_jwt_strerror(e);
    }

    if (!ticket_is_of(&jwt, user)) {
        *rc = FANOUT_E_FORBIDDEN;
        return "the token is of another user: fanout_jwt channel=";
    }

    why = ticket_fill(conf, &jwt, ticket);

    if (why == NULL && fanout_ticket_denied(conf->app->hub, user, ticket)) {
        why = "the token was revoked";
    }

    return why;
}


static const char *
ticket_fill(fanout_loc_conf_t *conf, const fanout_jwt_t *jwt,
    fanout_ticket_t *ticket)
{
    ngx_memzero(ticket, offsetof(fanout_ticket_t, name));

    ticket->channel.data = ticket->name;

    if (fanout_json_string(&jwt->channel, ticket->name, FANOUT_NAME,
                           &ticket->channel.len)
        != FANOUT_JSON_OK
        || fanout_name_check(&ticket->channel) != NGX_OK)
    {
        return "the token's channel is no name of a channel";
    }

    if (jwt->expires) {
        ticket->until = (jwt->expires + conf->jwt->rules.leeway) * 1000;
    }

    ticket->token = fanout_bearer_id(conf, jwt);
    ticket->issued = jwt->issued > 0
                     ? ngx_min(jwt->issued, (int64_t) UINT32_MAX) : 0;

    return ticket_ops(jwt, ticket);
}


static const char *
ticket_ops(const fanout_jwt_t *jwt, fanout_ticket_t *ticket)
{
    ngx_int_t      ops;
    fanout_json_t  claim;

    static const fanout_json_t  name = { (u_char *) "ops", 3 };

    ticket->ops = FANOUT_MAY_JOIN;

    if (!fanout_jwt_claim(&jwt->claims, &name, 1, &claim)) {
        return NULL;
    }

    ops = fanout_permit_ops(&claim);

    if (ops == NGX_ERROR) {
        return "\"ops\" of the token is not an array of operations";
    }

    ticket->ops = ops;

    return NULL;
}


/* Also the other way round: the token of nobody is for clients without a
 * user. */

static ngx_uint_t
ticket_is_of(const fanout_jwt_t *jwt, ngx_str_t *user)
{
    u_char         buf[FANOUT_NAME];
    fanout_json_t  text;

    if (jwt->subject.len == 0) {
        return user->len == 0;
    }

    return fanout_json_text(&jwt->subject, buf, sizeof(buf), &text)
           == FANOUT_JSON_OK
           && text.len == user->len
           && (text.len == 0
               || ngx_memcmp(text.data, user->data, text.len) == 0);
}
