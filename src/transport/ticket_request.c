
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The subscription tokens of a request: in "Fanout-Join-Token", a list, and in
 * arguments "join_token".
 */


#include "transport/ticket.h"
#include "auth/members.h"
#include "http/headers.h"
#include "http/http.h"
#include "transport/bearer.h"
#include "transport/transport.h"


/* of the request's pool */

typedef struct {
    ngx_str_t          tokens[FANOUT_TICKETS];      /* copies */
    ngx_uint_t         n;
    fanout_ticket_t   *tickets;                     /* verified */
    ngx_uint_t         ntickets;
    const char        *why;                         /* they are refused */
    ngx_uint_t         status;
    unsigned           many:1;
    unsigned           in_join:1;                   /* of the query */
    unsigned           checked:1;
} tickets_t;


static tickets_t *tickets_find(ngx_http_request_t *r);
static tickets_t *tickets_add(ngx_http_request_t *r);
static ngx_int_t tickets_push(ngx_http_request_t *r, tickets_t *t,
    ngx_str_t *token);
static ngx_int_t tickets_of_header(ngx_http_request_t *r, tickets_t *t);
static ngx_int_t tickets_of_query(ngx_http_request_t *r, tickets_t *t);
static ngx_int_t tickets_in_joins(ngx_http_request_t *r, ngx_uint_t *found);
static ngx_uint_t tickets_named(ngx_str_t *join);
static ngx_uint_t tickets_any(ngx_http_request_t *r);
static void tickets_verify(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, tickets_t *t);
static const char *tickets_misplaced(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, tickets_t *t);
static void tickets_cleanup(void *data);


static const char  tickets_header[] = "fanout-join-token";
static ngx_str_t   tickets_argument = ngx_string("join_token");
static ngx_str_t   tickets_join = ngx_string("join");


ngx_int_t
fanout_tickets_take(ngx_http_request_t *r)
{
    tickets_t   *t;
    ngx_uint_t   in_join;

    if (tickets_find(r)) {
        return NGX_OK;
    }

    if (tickets_in_joins(r, &in_join) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!in_join && !tickets_any(r)) {
        return NGX_OK;
    }

    t = tickets_add(r);

    if (t) {
        t->in_join = in_join;
    }

    if (t == NULL
        || tickets_of_header(r, t) != NGX_OK
        || tickets_of_query(r, t) != NGX_OK)
    {
        return NGX_ERROR;
    }

    fanout_bearer_hide(r, &tickets_argument);

    return NGX_OK;
}


/* A request with a token in the wrong place is refused, and logged as well. */

static ngx_int_t
tickets_in_joins(ngx_http_request_t *r, ngx_uint_t *found)
{
    u_char     *pos;
    ngx_str_t   value, join;

    pos = r->args.data;
    *found = 0;

    while (!*found
           && fanout_bearer_argument(&pos, r->args.data + r->args.len,
                                     &tickets_join, &value))
    {
        if (fanout_http_decode(r, &value, &join) != NGX_OK) {
            return NGX_ERROR;
        }

        *found = tickets_named(&join);
    }

    if (*found) {
        fanout_bearer_hide(r, &tickets_join);
    }

    return NGX_OK;
}


/* Whether a join has the member "token"; or, if it is no JSON, something like a
 * token. */

static ngx_uint_t
tickets_named(ngx_str_t *join)
{
    fanout_json_t       object, key, item;
    fanout_json_iter_t  it;

    static const fanout_json_t  name = { (u_char *) "token", 5 };

    if (fanout_json_check(join->data, join->len, FANOUT_AUTH_DEPTH, &object,
                          NULL)
        < 0)
    {
        return ngx_strlcasestrn(join->data, join->data + join->len,
                                (u_char *) "eyj", 3 - 1)
               != NULL;
    }

    if (fanout_json_type(&object) != FANOUT_JSON_OBJECT
        || fanout_json_iter(&it, &object) != FANOUT_JSON_OK)
    {
        return 0;
    }

    while (fanout_json_next(&it, &key, &item) == 1) {
        if (fanout_auth_equals(&key, &name)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
tickets_any(ngx_http_request_t *r)
{
    u_char     *pos;
    ngx_str_t   value;

    pos = r->args.data;

    return fanout_header(r, tickets_header, &value)
           || fanout_bearer_argument(&pos, r->args.data + r->args.len,
                                     &tickets_argument, &value);
}


static ngx_int_t
tickets_of_header(ngx_http_request_t *r, tickets_t *t)
{
    ngx_str_t         list, token;
    fanout_headers_t  h;

    ngx_memzero(&h, sizeof(fanout_headers_t));

    while (fanout_next_header(r, tickets_header, &h, &list)) {
        while (fanout_next_token(&list, &token)) {
            if (tickets_push(r, t, &token) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
tickets_of_query(ngx_http_request_t *r, tickets_t *t)
{
    u_char     *pos;
    ngx_str_t   token;

    pos = r->args.data;

    while (fanout_bearer_argument(&pos, r->args.data + r->args.len,
                                  &tickets_argument, &token))
    {
        if (tickets_push(r, t, &token) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
tickets_push(ngx_http_request_t *r, tickets_t *t, ngx_str_t *token)
{
    u_char  *p;

    if (t->n == FANOUT_TICKETS) {
        t->many = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, token->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (token->len) {
        ngx_memcpy(p, token->data, token->len);
    }

    t->tokens[t->n].data = p;
    t->tokens[t->n++].len = token->len;

    return NGX_OK;
}


/* The context of the request is the session, so a cleanup keeps it. */

static tickets_t *
tickets_add(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(tickets_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = tickets_cleanup;
    ngx_memzero(cln->data, sizeof(tickets_t));

    return cln->data;
}


static tickets_t *
tickets_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == tickets_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
tickets_cleanup(void *data)
{
    /* it only marks the place */
}


const char *
fanout_tickets_check(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, ngx_uint_t *status)
{
    tickets_t   *t;
    ngx_uint_t   i;
    const char  *why;

    t = tickets_find(r);

    if (t == NULL) {
        return NULL;
    }

    *status = NGX_HTTP_BAD_REQUEST;
    why = tickets_misplaced(r, conf, t);

    if (why) {
        return why;
    }

    if (!t->checked) {
        t->checked = 1;
        tickets_verify(r, conf, user, t);
    }

    *status = t->status;

    if (t->why) {
        return t->why;
    }

    /* reading a body may have taken long */

    for (i = 0; i < t->ntickets; i++) {
        if (fanout_ticket_denied(conf->app->hub, user, &t->tickets[i])) {
            *status = NGX_HTTP_UNAUTHORIZED;
            return "the token was revoked";
        }
    }

    return NULL;
}


static const char *
tickets_misplaced(ngx_http_request_t *r, fanout_loc_conf_t *conf, tickets_t *t)
{
    if (!conf->tickets) {
        return "no tokens of channels are read here: fanout_jwt channel=";
    }

    if (fanout_transport_of(r, conf) == FANOUT_WEBSOCKET) {
        return "a WebSocket brings the token of a channel in its join";
    }

    if (t->in_join) {
        return "a token is a secret: it goes into the header "
               "Fanout-Join-Token, or into the argument \"join_token\", "
               "which no log has";
    }

    return t->many ? "a request has at most 32 tokens of channels" : NULL;
}


static void
tickets_verify(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_str_t *user, tickets_t *t)
{
    ngx_uint_t      i, forged;
    fanout_error_e  rc;

    t->tickets = ngx_palloc(r->pool, t->n * sizeof(fanout_ticket_t));

    if (t->tickets == NULL) {
        t->status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        t->why = "out of memory";
        return;
    }

    for (i = 0; i < t->n; i++) {

        if (fanout_meter_tried(r, conf)) {
            t->status = NGX_HTTP_TOO_MANY_REQUESTS;
            t->why = "too many tokens of this address that are not valid: "
                     "fanout_budget address sessions=";
            return;
        }

        fanout_meter_worked(r, conf);

        t->why = fanout_ticket_read(conf, &t->tokens[i], user, &t->tickets[i],
                                    &rc, &forged);
        if (t->why) {
            t->status = fanout_errors[rc].status;
            fanout_count(conf->app->hub, forbidden);
            fanout_meter_wrong(r, conf, forged);
            return;
        }

        t->tickets[i].channel.data = t->tickets[i].name;
        t->ntickets++;
    }
}


ngx_uint_t
fanout_tickets_ops(ngx_http_request_t *r, ngx_str_t *channel)
{
    tickets_t  *t;

    t = tickets_find(r);

    return t ? fanout_ticket_ops(t->tickets, t->ntickets, channel) : 0;
}


void
fanout_tickets_give(ngx_http_request_t *r, fanout_session_t *s)
{
    tickets_t  *t;

    t = tickets_find(r);

    if (t) {
        s->tickets = t->tickets;
        s->ntickets = t->ntickets;
        s->ticketed = 1;
        fanout_meter_charge(s, s->ntickets * FANOUT_COST_TICKET);
    }
}
