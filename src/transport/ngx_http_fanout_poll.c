
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Long polls: a stream of events that is cut as soon as there is one, and
 * answered as an array.  Between polls nothing is kept: where a client is, it
 * says itself.
 */


#include "ngx_http_fanout_dialect.h"
#include "ngx_http_fanout_http.h"
#include "ngx_http_fanout_position.h"
#include "ngx_http_fanout_transport.h"


static ngx_int_t poll_begin(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_frame_t *f, uint32_t *start);
static ngx_int_t poll_end(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_frame_t *f, uint32_t start, ngx_uint_t opcode);
static void poll_input(ngx_http_fanout_session_t *s, u_char *data,
    size_t len);
static void poll_close(ngx_http_fanout_session_t *s, ngx_uint_t code,
    const char *reason);
static ssize_t poll_send(ngx_http_fanout_session_t *s);
static ngx_int_t gather(ngx_http_fanout_session_t *s, ngx_http_request_t *r,
    ngx_str_t *body, ngx_str_t *position);
static u_char *to_array(u_char *p, u_char *last);


const ngx_http_fanout_transport_t  ngx_http_fanout_poll = {
    ngx_string("poll"),
    NGX_HTTP_FANOUT_POLL,
    0,
    poll_begin,
    poll_end,
    poll_input,
    poll_close,
    NULL,
    poll_send,
    NULL,
    NULL
};


ngx_int_t
ngx_http_fanout_poll_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_fanout_session_t   *s;
    ngx_http_fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    rc = ngx_http_fanout_attached_begin(r, conf->dialect->poll,
                                        &ngx_http_fanout_poll, &s);
    if (s == NULL) {
        return rc;
    }

    r->main->count++;

    ngx_http_fanout_session_attach(s);

    return NGX_DONE;
}


/* as of events */

static ngx_int_t
poll_begin(ngx_http_fanout_hub_t *hub, ngx_http_fanout_frame_t *f,
    uint32_t *start)
{
    return ngx_http_fanout_sse.begin(hub, f, start);
}


static ngx_int_t
poll_end(ngx_http_fanout_hub_t *hub, ngx_http_fanout_frame_t *f,
    uint32_t start, ngx_uint_t opcode)
{
    return ngx_http_fanout_sse.end(hub, f, start, opcode);
}


static void
poll_input(ngx_http_fanout_session_t *s, u_char *data, size_t len)
{
    /* void */
}


static void
poll_close(ngx_http_fanout_session_t *s, ngx_uint_t code, const char *reason)
{
    (void) poll_send(s);
}


/* Answers with all there is, and is gone. */

static ssize_t
poll_send(ngx_http_fanout_session_t *s)
{
    ngx_int_t            rc;
    ngx_str_t            body, position;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = s->request;
    c = s->connection;

    if (s->behind || s->job) {
        ngx_http_fanout_session_catch_up(s);

        if (s->dead) {
            return NGX_ERROR;
        }
    }

    if (s->job && s->state == NGX_HTTP_FANOUT_OPEN && !s->draining) {

        if (s->job->waits || s->pending < s->conf->buffer / 2) {
            /* it is queued when there are members to tell */
            return NGX_DECLINED;
        }

        ngx_http_fanout_session_part(s);

        ngx_http_finalize_request(r, ngx_http_fanout_refuse(r,
                                      NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                      "the members are more than "
                                      "fanout_buffer: ask for them by POST, "
                                      "channel by channel"));
        ngx_http_run_posted_requests(c);

        return 0;
    }

    if (gather(s, r, &body, &position) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_fanout_add(s->hub, sent_bytes, body.len);
    ngx_http_fanout_count(s->hub, sends);
    ngx_http_fanout_eventlog_add(s, bytes_out, body.len);

    ngx_http_fanout_session_part(s);

    if (ngx_exiting || ngx_terminate) {
        r->keepalive = 0;
    }

    if (ngx_http_fanout_answer_headers(r) != NGX_OK
        || ngx_http_fanout_http_add(r, "Fanout-Position", &position)
           != NGX_OK)
    {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;

    } else {
        rc = ngx_http_fanout_http_send(r, NGX_HTTP_OK,
                                       &ngx_http_fanout_type_json, body.data,
                                       body.len);
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);

    return 0;
}


static ngx_int_t
gather(ngx_http_fanout_session_t *s, ngx_http_request_t *r, ngx_str_t *body,
    ngx_str_t *position)
{
    u_char  *p;

    position->data = ngx_pnalloc(r->pool, NGX_HTTP_FANOUT_POSITION_LEN);
    body->data = ngx_pnalloc(r->pool, s->pending + sizeof("[]\n"));

    if (position->data == NULL || body->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_fanout_position_write(s, position->data);
    position->len = p - position->data;

    /* an array is shorter than its events */

    p = body->data + sizeof("[]\n");
    p = to_array(body->data,
                 p + ngx_http_fanout_outbox_copy(s, p, s->pending));
    body->len = p - body->data;

    return NGX_OK;
}


/* In place: the events begin behind the room for brackets. */

static u_char *
to_array(u_char *start, u_char *last)
{
    u_char  *p, *src, *end;

    p = start;
    *p++ = '[';

    for (src = start + sizeof("[]\n"); src < last; src = end + 1) {

        end = ngx_strlchr(src, last, '\n');

        if (end == NULL) {
            break;
        }

        if (end - src > 6 && ngx_strncmp(src, "data: ", 6) == 0) {

            if (p - start > 1) {
                *p++ = ',';
            }

            ngx_memmove(p, src + 6, end - src - 6);
            p += end - src - 6;
        }
    }

    *p++ = ']';
    *p++ = '\n';

    return p;
}
