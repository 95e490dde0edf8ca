
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Event streams and polls whose channels have to be asked for: the request
 * waits for the answers before its session begins.
 */


#include "transport/authorize.h"
#include "transport/transport.h"


/* an answer that the request waits for */

typedef struct {
    fanout_asker_t        asker;
    struct request_s     *request;
} wait_t;

/* of the request's pool; waits and grants have room for max */

typedef struct request_s {
    ngx_http_request_t   *request;
    fanout_loc_conf_t    *conf;
    ngx_http_handler_pt   handler;
    fanout_handshake_t   *handshake;        /* of ngx_alloc(), or NULL */
    fanout_question_t     question;
    fanout_permissions_t *permissions;
    wait_t               *waits;
    fanout_grant_t      **grants;           /* those that are answered */
    ngx_uint_t            max;
    ngx_uint_t            n;                /* questions */
    ngx_uint_t            open;             /* of them */
} request_t;


static request_t *request_create(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_http_handler_pt handler, ngx_uint_t n);
static fanout_error_e request_question(request_t *q, ngx_str_t *user);
static fanout_error_e ask_channels(request_t *q, fanout_query_t *query);
static fanout_error_e ask_autojoin(request_t *q);
static fanout_error_e ask_ops(request_t *q, ngx_str_t *channel,
    ngx_uint_t ops);
static ngx_uint_t join_has(ngx_str_t *join, const char *name);
static void request_answered(fanout_asker_t *asker);
static ngx_int_t request_run(request_t *q);
static void request_release(request_t *q);
static void request_free(void *data);


ngx_int_t
fanout_authorize_request(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_http_handler_pt handler)
{
    ngx_str_t        user;
    request_t       *q;
    ngx_uint_t       n, status;
    fanout_query_t   query;
    fanout_error_e   rc;

    /* what is wrong anyway is refused by the handler */

    if (fanout_handshake_check(r, conf, &user, &status) != NULL
        || fanout_query_read(r, conf, &query, &status) != NULL
        || query.n > query.max
        || fanout_meter_tried(r, conf))
    {
        return handler(r);
    }

    n = query.n + (conf->autojoin ? conf->autojoin->nelts : 0);
    q = request_create(r, conf, handler, n);

    if (q == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = request_question(q, &user);

    if (rc == FANOUT_E_NONE) {
        rc = ask_channels(q, &query);
    }

    if (rc == FANOUT_E_NONE && conf->autojoin) {
        rc = ask_autojoin(q);
    }

    if (rc == FANOUT_E_TOO_LARGE) {
        return fanout_refuse(r, NGX_HTTP_BAD_REQUEST,
                             "the request has more headers than "
                             "fanout_authorize headers=");
    }

    if (rc != FANOUT_E_NONE) {
        return fanout_refuse_error(r, rc);
    }

    if (q->open == 0) {
        return request_run(q);
    }

    fanout_meter_asked(r, conf);

    /* notices a client that goes away */
    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


static request_t *
request_create(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_http_handler_pt handler, ngx_uint_t n)
{
    request_t           *q;
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, sizeof(request_t));
    if (cln == NULL) {
        return NULL;
    }

    q = cln->data;
    ngx_memzero(q, sizeof(request_t));
    cln->handler = request_free;

    q->request = r;
    q->conf = conf;
    q->handler = handler;
    q->max = n * FANOUT_MAY_N;
    q->waits = ngx_pcalloc(r->pool, q->max * sizeof(wait_t));
    q->grants = ngx_palloc(r->pool, q->max * sizeof(fanout_grant_t *));
    q->permissions = fanout_permissions_create(r, conf->permits);

    return q->waits && q->grants && q->permissions ? q : NULL;
}


/* What all questions of the request have in common. */

static fanout_error_e
request_question(request_t *q, ngx_str_t *user)
{
    fanout_hub_t        *hub;
    fanout_question_t   *question;
    ngx_http_request_t  *r;

    r = q->request;
    hub = q->conf->app->hub;
    question = &q->question;

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

    question->who.user = *user;
    question->who.holder = user->len
                           ? fanout_zone_hash(&hub->zone, user->data,
                                              user->len)
                           : fanout_meter_address(r, hub);
    question->who.holder |= !question->who.holder;

    return FANOUT_E_NONE;
}


static fanout_error_e
ask_channels(request_t *q, fanout_query_t *query)
{
    ngx_uint_t      i, ops;
    fanout_error_e  rc;

    for (i = 0; i < query->n; i++) {
        ops = FANOUT_MAY_JOIN;

        if ((query->history && query->position == NULL)
            || join_has(&query->joins[i], "\"history\""))
        {
            ops |= FANOUT_MAY_HISTORY;
        }

        if (query->joins[i].len) {
            ops |= FANOUT_MAY_PRESENCE;
        }

        rc = ask_ops(q, &query->channels[i], ops);

        if (rc != FANOUT_E_NONE) {
            return rc;
        }
    }

    return FANOUT_E_NONE;
}


static ngx_uint_t
join_has(ngx_str_t *join, const char *name)
{
    return join->len
           && ngx_strlcasestrn(join->data, join->data + join->len,
                               (u_char *) name, ngx_strlen(name) - 1)
              != NULL;
}


static fanout_error_e
ask_autojoin(request_t *q)
{
    ngx_str_t         name;
    ngx_uint_t        i;
    fanout_error_e    rc;
    fanout_permit_t  *channel;

    channel = q->conf->autojoin->elts;

    for (i = 0; i < q->conf->autojoin->nelts; i++) {

        if (fanout_permissions_name(q->request, &channel[i], &name) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

        if (name.len == 0) {
            continue;
        }

        rc = ask_ops(q, &name, FANOUT_MAY_JOIN|FANOUT_MAY_PRESENCE);

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
    wait_t          *w;
    ngx_uint_t       op;
    fanout_error_e   rc;

    for (ops &= q->conf->asks; ops; ops &= ops - 1) {
        op = ops & -ops;

        if (fanout_permissions_check(q->permissions, op, channel)) {
            continue;
        }

        w = &q->waits[q->n];
        w->request = q;
        w->asker.answered = request_answered;

        q->question.op = op;
        q->question.channel = *channel;

        rc = fanout_authorize(&w->asker, &q->question);

        if (rc != FANOUT_E_NONE) {
            return rc;
        }

        q->grants[q->n++] = w->asker.grant;
        q->open += !w->asker.grant->answered;
    }

    return FANOUT_E_NONE;
}


static void
request_answered(fanout_asker_t *asker)
{
    wait_t              *w;
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

    ngx_http_finalize_request(r, request_run(q));
    ngx_http_run_posted_requests(c);
}


/* A grant that is held is valid for this request, however short it is kept for
 * others. */

static ngx_int_t
request_run(request_t *q)
{
    ngx_int_t  rc;

    q->request->read_event_handler = ngx_http_block_reading;

    fanout_grants_take(q->grants, q->n);
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
