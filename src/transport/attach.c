
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How event streams and polls begin: as sessions attached to a request.
 */


#include "session/connect.h"
#include "session/dialect.h"
#include "http/http.h"
#include "transport/bearer.h"
#include "transport/ticket.h"
#include "transport/transport.h"


static ngx_int_t come_back(ngx_http_request_t *r, fanout_loc_conf_t *conf);


ngx_int_t
fanout_attached_begin(ngx_http_request_t *r, const fanout_dialect_t *dialect,
    const fanout_transport_t *transport, fanout_session_t **sp)
{
    ngx_str_t           user;
    ngx_uint_t          status;
    const char         *why;
    fanout_meter_t      meter;
    fanout_refusal_t    refusal;
    fanout_session_t   *s;
    fanout_loc_conf_t  *conf;

    *sp = NULL;
    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    why = fanout_handshake_check(r, conf, &user, &status);

    if (why) {
        return fanout_refuse(r, status, why);
    }

    if (ngx_exiting && transport->bit == FANOUT_SSE) {
        return come_back(r, conf);
    }

    if (ngx_exiting && !fanout_hub_slot(conf->app->hub)) {
        return fanout_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                             "this worker is shutting down, try again");
    }

    if (fanout_admit(r, conf, transport->bit, &user, &meter,
                     &refusal)
        != NGX_OK)
    {
        return fanout_refuse_admission(r, conf, &user, &refusal);
    }

    why = dialect->accept(r, conf, &status);

    if (why) {
        fanout_meter_undo(conf->app->hub, &meter);
        return fanout_refuse(r, status, why);
    }

    s = fanout_session_create(r, conf->app->hub, conf, dialect, transport,
                              &user, &meter);
    if (s == NULL) {
        fanout_meter_undo(conf->app->hub, &meter);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, s, ngx_http_fanout_module);
    fanout_session_expire(s, fanout_connect_left(r, conf,
                                      fanout_bearer_left(r, conf)));

    if (fanout_subject(r, conf, &user, &s->who) != NGX_OK) {
        fanout_session_return_request(s);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fanout_tickets_give(r, s);
    fanout_session_begin(s);
    s->ntickets = 0;

    if (s->state != FANOUT_OPEN) {
        return fanout_refuse_error(r, s->refused);
    }

    *sp = s;

    return NGX_OK;
}


/* In a worker that is shutting down, an event stream ends at once: an
 * EventSource reconnects after an end, but not after an error. */

static ngx_int_t
come_back(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    u_char  *p;
    size_t   len;

    static ngx_str_t  type = ngx_string("text/event-stream");

    p = ngx_pnalloc(r->pool, sizeof("retry: \n") + NGX_INT64_LEN);

    if (p == NULL || fanout_stream_headers(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_sprintf(p, "retry: %M\n", conf->retry) - p;
    r->keepalive = 0;

    return fanout_http_send(r, NGX_HTTP_OK, &type, p, len);
}


ngx_int_t
fanout_flush_header(ngx_http_request_t *r)
{
    ngx_event_t       *wev;
    ngx_connection_t  *c;

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return NGX_ERROR;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_ERROR;
    }

    if (r->out || c->buffered) {

        if (fanout_await_header(r) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return NGX_ERROR;
        }

        return NGX_AGAIN;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    return NGX_OK;
}


ngx_int_t
fanout_await_header(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->read_event_handler = ngx_http_test_reading;

    ngx_add_timer(wev, clcf->send_timeout);

    return ngx_handle_write_event(wev, clcf->send_lowat);
}
