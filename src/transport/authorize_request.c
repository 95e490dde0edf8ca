
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Requests that wait for answers of the backend before their session begins:
 * whether they may connect and, of event streams and polls, for their
 * channels.
 */


#include "session/connect.h"
#include "transport/authorize.h"
#include "transport/bearer.h"
#include "transport/ticket.h"
#include "transport/transport.h"


/* an answer that the request waits for */

typedef struct {
    fanout_asker_t        asker;
    struct request_s     *request;
} wait_t;

/* of the request's pool */

typedef struct request_s {
    ngx_http_request_t   *request;
    fanout_loc_conf_t    *conf;
    ngx_http_handler_pt   handler;
    fanout_handshake_t   *handshake;        /* of ngx_alloc(), or NULL */
    fanout_question_t     question;
    fanout_permissions_t *permissions;      /* or NULL */
    wait_t               *waits;
    fanout_grant_t      **grants;           /* of these */
    ngx_uint_t            n;                /* questions */
    ngx_uint_t            open;             /* of them */
    unsigned              connects:1;       /* it was asked whether it may */
    unsigned              joins:1;          /* and for its channels */
} request_t;


static request_t *request_create(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_http_handler_pt handler);
static ngx_int_t request_go(request_t *q);
static ngx_int_t request_ask(request_t *q, fanout_error_e (*ask)(request_t *q));
static ngx_int_t request_connects(request_t *q);
static ngx_int_t request_room(request_t *q, ngx_uint_t n);
static fanout_error_e request_question(request_t *q);
static fanout_error_e ask_connect(request_t *q);
static fanout_error_e ask_channels(request_t *q);
static fanout_error_e ask_joins(request_t *q);
static fanout_error_e ask_ops(request_t *q, ngx_str_t *channel,
    ngx_uint_t ops);
static fanout_error_e ask_op(request_t *q, ngx_uint_t op);
static ngx_uint_t join_has(ngx_str_t *join, const char *name);
static void request_answered(fanout_asker_t *asker);
static ngx_int_t request_run(request_t *q);
static void request_release(request_t *q);
static void request_free(void *data);


ngx_int_t
fanout_authorize_request(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_http_handler_pt handler)
{
    ngx_int_t   rc;
    request_t  *q;

    q = request_create(r, conf, handler);

    if (q == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = request_go(q);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    fanout_meter_worked(r, conf);
    r->main->count++;

    return NGX_DONE;
}


static request_t *
request_create(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_http_handler_pt handler)
{
    request_t           *q;
    ngx_uint_t           t;
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, sizeof(request_t));
    if (cln == NULL) {
        return NULL;
    }

    q = cln->data;
    ngx_memzero(q, sizeof(request_t));
    cln->handler = request_free;

    t = fanout_transport_of(r, conf);

    q->request = r;
    q->conf = conf;
    q->handler = handler;
    /* with a token as its first command, it connects when that has come */
    q->connects = !(conf->asks & FANOUT_ASK_CONNECT)
                  || fanout_bearer_awaited(r, conf);
    q->joins = !(conf->asks & FANOUT_MAY_ALL)
               || !(t & (FANOUT_SSE|FANOUT_POLL));

    return q;
}


/* NGX_AGAIN: it waits for answers; else it is done, as a content handler is. */

static ngx_int_t
request_go(request_t *q)
{
    ngx_int_t  rc;

    if (!q->connects) {

        if (q->n == 0) {
            rc = request_ask(q, ask_connect);

            if (rc != NGX_DECLINED) {
                return rc;
            }
        }

        rc = q->n ? request_connects(q) : NGX_DECLINED;

        if (rc != NGX_DECLINED) {
            return rc;
        }

        q->connects = 1;
        request_release(q);
    }

    if (!q->joins) {
        q->joins = 1;
        rc = request_ask(q, ask_channels);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return request_run(q);
}


/* NGX_DECLINED: there is nothing to wait for. */

static ngx_int_t
request_ask(request_t *q, fanout_error_e (*ask)(request_t *q))
{
    fanout_error_e       rc;
    ngx_http_request_t  *r;

    r = q->request;
    rc = request_question(q);

    if (rc == FANOUT_E_NONE) {
        rc = ask(q);
    }

    if (rc != FANOUT_E_NONE) {
        /* none of its questions leads back here */
        request_release(q);
    }

    switch (rc) {

    case FANOUT_E_NONE:
        break;

    case FANOUT_E_BAD_REQUEST:
        /* refused by the handler */
        return NGX_DECLINED;

    case FANOUT_E_TOO_LARGE:
        return fanout_refuse(r, NGX_HTTP_BAD_REQUEST,
                             "the request has more headers than "
                             "fanout_authorize headers=");

    case FANOUT_E_UNAVAILABLE:
        return fanout_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                             "too many questions wait for the backend: "
                             "fanout_authorize queue=");

    case FANOUT_E_RATE_LIMITED:
        return fanout_refuse(r, NGX_HTTP_TOO_MANY_REQUESTS,
                             "too many sessions: fanout_budget address");

    default:
        return fanout_refuse_error(r, rc);
    }

    if (q->open == 0) {
        return NGX_DECLINED;
    }

    /* notices a client that goes away */
    r->read_event_handler = ngx_http_test_reading;

    return NGX_AGAIN;
}


/* NGX_DECLINED: it may; or it was refused. */

static ngx_int_t
request_connects(request_t *q)
{
    fanout_grant_t  *grant;

    grant = q->grants[0];

    if (grant->rc == FANOUT_E_NONE) {
        return fanout_connect_set(q->request, grant) == NGX_OK
               ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fanout_count(q->conf->app->hub, forbidden);

    return grant->rc == FANOUT_E_FORBIDDEN
           ? fanout_refuse(q->request, NGX_HTTP_FORBIDDEN,
                           "the backend does not let it in: fanout_authorize")
           : fanout_refuse(q->request, NGX_HTTP_SERVICE_UNAVAILABLE,
                           "the backend gives no valid answer: "
                           "fanout_authorize");
}


static ngx_int_t
request_room(request_t *q, ngx_uint_t n)
{
    q->waits = ngx_pcalloc(q->request->pool, n * sizeof(wait_t));
    q->grants = ngx_palloc(q->request->pool, n * sizeof(fanout_grant_t *));

    return q->waits && q->grants ? NGX_OK : NGX_ERROR;
}


/* What all questions of the request have in common.  BAD_REQUEST: the handler
 * refuses it. */

static fanout_error_e
request_question(request_t *q)
{
    ngx_str_t            user;
    ngx_uint_t           status;
    fanout_hub_t        *hub;
    fanout_question_t   *question;
    ngx_http_request_t  *r;

    r = q->request;
    hub = q->conf->app->hub;
    question = &q->question;

    if (fanout_handshake_first(r, q->conf, &user, &status) != NULL
        || hub == NULL)
    {
        return FANOUT_E_BAD_REQUEST;
    }

    if (fanout_meter_tried(r, q->conf)) {
        return FANOUT_E_RATE_LIMITED;
    }

    switch (fanout_keep(r, q->conf, q->conf->headers, &q->handshake)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return FANOUT_E_TOO_LARGE;

    default:
        return FANOUT_E_INTERNAL;
    }

    question->conf = q->conf;
    question->connection = r->connection;
    question->handshake = q->handshake;
    question->transport = *fanout_transport_name(r, q->conf);

    question->who.user = user;
    question->who.place = q->conf->app;
    question->who.connection = r->connection;
    question->who.holder = user.len
                           ? fanout_zone_hash(&hub->zone, user.data, user.len)
                           : fanout_meter_address(r, hub);

    if (question->who.holder == 0) {
        question->who.holder = 1;
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
ask_connect(request_t *q)
{
    if (request_room(q, 1) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    ngx_str_null(&q->question.channel);
    q->question.who.place = q->conf;

    return ask_op(q, FANOUT_ASK_CONNECT);
}


static fanout_error_e
ask_channels(request_t *q)
{
    ngx_uint_t      i, ops, status;
    fanout_error_e  rc;
    fanout_query_t  query;

    if (fanout_query_read(q->request, q->conf, &query, &status) != NULL
        || query.n > query.max)
    {
        return FANOUT_E_BAD_REQUEST;
    }

    q->permissions = fanout_connect_permissions(q->request, q->conf);

    if (q->permissions == NULL
        || request_room(q, FANOUT_MAY_N
                           * (query.n + fanout_connect_njoins(q->request,
                                                              q->conf)))
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    for (i = 0; i < query.n; i++) {
        ops = FANOUT_MAY_JOIN|FANOUT_MAY_PROFILE;

        if ((query.history && query.position == NULL)
            || join_has(&query.joins[i], "\"history\""))
        {
            ops |= FANOUT_MAY_HISTORY;
        }

        if (query.joins[i].len) {
            ops |= FANOUT_MAY_PRESENCE;
        }

        rc = ask_ops(q, &query.channels[i], ops);

        if (rc != FANOUT_E_NONE) {
            return rc;
        }
    }

    return ask_joins(q);
}


static fanout_error_e
ask_joins(request_t *q)
{
    ngx_uint_t          i, n;
    fanout_error_e      rc;
    fanout_autojoin_t  *joins;

    if (fanout_connect_joins(q->request, q->conf, &joins, &n) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    for (i = 0; i < n; i++) {

        rc = joins[i].channel.len
             ? ask_ops(q, &joins[i].channel,
                       FANOUT_MAY_JOIN|FANOUT_MAY_PRESENCE|FANOUT_MAY_PROFILE)
             : FANOUT_E_NONE;

        if (rc != FANOUT_E_NONE) {
            return rc;
        }
    }

    return FANOUT_E_NONE;
}


/* Asks for those of the ops that are to be asked for, and not permitted. */

static fanout_error_e
ask_ops(request_t *q, ngx_str_t *channel, ngx_uint_t ops)
{
    ngx_uint_t      op;
    fanout_error_e  rc;

    q->question.channel = *channel;

    for (ops &= q->conf->asks; ops; ops &= ops - 1) {
        op = ops & -ops;

        if (fanout_permissions_match(q->permissions, op, channel)
            || (fanout_tickets_ops(q->request, channel) & op))
        {
            continue;
        }

        rc = ask_op(q, op);

        if (rc != FANOUT_E_NONE) {
            return rc;
        }
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
ask_op(request_t *q, ngx_uint_t op)
{
    wait_t          *w;
    fanout_error_e   rc;

    w = &q->waits[q->n];
    w->request = q;
    w->asker.answered = request_answered;

    q->question.op = op;

    rc = fanout_authorize(&w->asker, &q->question);

    if (rc == FANOUT_E_NONE) {
        q->grants[q->n++] = w->asker.grant;
        q->open += !w->asker.grant->answered;
    }

    return rc;
}


static ngx_uint_t
join_has(ngx_str_t *join, const char *name)
{
    return join->len
           && ngx_strlcasestrn(join->data, join->data + join->len,
                               (u_char *) name, ngx_strlen(name) - 1)
              != NULL;
}


static void
request_answered(fanout_asker_t *asker)
{
    wait_t              *w;
    ngx_int_t            rc;
    request_t           *q;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    w = ngx_queue_data(asker, wait_t, asker);
    q = w->request;

    if (--q->open) {
        return;
    }

    r = q->request;
    c = r->connection;
    rc = request_go(q);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(c);
    }
}


/* A grant that is held is valid for this request, however short it is kept for
 * others. */

static ngx_int_t
request_run(request_t *q)
{
    ngx_int_t  rc;

    q->request->read_event_handler = ngx_http_block_reading;

    fanout_grants_take(q->request->connection, q->grants, q->n);
    rc = q->handler(q->request);
    fanout_grants_put();

    request_release(q);

    return rc;
}


/* A stream may go on for long. */

static void
request_release(request_t *q)
{
    while (q->n) {
        fanout_authorize_forget(&q->waits[--q->n].asker);
    }

    q->open = 0;

    if (q->handshake) {
        ngx_free(q->handshake);
        q->handshake = NULL;
    }
}


static void
request_free(void *data)
{
    request_t  *q = data;

    request_release(q);

    if (q->permissions) {
        fanout_permissions_release(q->permissions);
    }
}
