
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The live status: a client that upgrades at a location with "fanout_status"
 * gets it as JSON each second, and the last hour with the first message.  The
 * connection is a normal session, of a dialect that no client speaks.
 *
 * Its data exists only while there are watchers, or for a while after a poll.
 */


#include "status/status.h"
#include "dialect/dialect.h"
#include "transport/transport.h"
#include "transport/websocket.h"


#define FANOUT_WATCH_TICK   1000
#define FANOUT_WATCH_POLL   30000               /* ms kept after a poll */
#define FANOUT_WATCH_SIZE   16384


/* of a worker and a zone */

typedef struct {
    ngx_event_t        timer;
    fanout_hub_t      *hub;
    ngx_queue_t        watchers;
    ngx_msec_t         until;               /* the end after the last poll */
    fanout_busiest_t  *busiest;
} watch_t;


/* the dialect's part of a session */

typedef struct {
    ngx_queue_t        queue;
    fanout_session_t  *session;             /* NULL: it is not in the queue */
} watcher_t;


static const char *watch_accept(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_uint_t *status);
static void watch_open(fanout_session_t *s, ngx_http_request_t *r);
static void watch_receive(fanout_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len);
static ngx_uint_t watch_match(fanout_subscription_t *sub, fanout_entry_t *e);
static void watch_free(fanout_session_t *s);
static void watch_closing(fanout_session_t *s, ngx_uint_t code,
    ngx_msec_t after);

static watch_t *watch(fanout_hub_t *hub);
static void tick(ngx_event_t *ev);
static void watch_send(watch_t *watch);
static fanout_outbuf_t *watch_message(fanout_hub_t *hub,
    const fanout_framing_t *framing, ngx_uint_t with);


/* without subscriptions, no entries are delivered to it */

static const fanout_dialect_t  dialect = {
    .name = ngx_string("status"),
    .format = FANOUT_RAW_WS,
    .closes = 1,
    .part = sizeof(watcher_t),
    .accept = watch_accept,
    .open = watch_open,
    .receive = watch_receive,
    .match = watch_match,
    .free = watch_free,
    .closing = watch_closing
};


char *
fanout_watch_configure(ngx_conf_t *cf, fanout_loc_conf_t *conf)
{
    fanout_loc_conf_t  *copy;

    copy = ngx_palloc(cf->pool, sizeof(fanout_loc_conf_t));
    if (copy == NULL) {
        return NGX_CONF_ERROR;
    }

    *copy = *conf;

    copy->app = conf->status;
    copy->dialect = &dialect;
    copy->user = NULL;
    copy->jwt = NULL;
    copy->session_max = 0;
    copy->permits = NULL;
    copy->message_size = 1024;
    copy->rate = 0;
    copy->sessions = 0;
    copy->per_address = 0;
    ngx_memzero(copy->limits, sizeof(copy->limits));

    fanout_websocket_configure(copy);

    conf->watch = copy;

    return NGX_CONF_OK;
}


/* the dialect */

static const char *
watch_accept(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    return NULL;
}


static void
watch_open(fanout_session_t *s, ngx_http_request_t *r)
{
    watch_t          *w;
    watcher_t        *watcher;
    fanout_outbuf_t  *f;

    w = watch(s->hub);
    f = w ? watch_message(s->hub, s->transport->framing,
                          FANOUT_STATUS_HISTORY|FANOUT_STATUS_BUSIEST)
          : NULL;

    if (f == NULL) {
        fanout_session_end(s, FANOUT_END_CLEAN);
        return;
    }

    watcher = s->dialect_part;
    watcher->session = s;
    ngx_queue_insert_tail(&w->watchers, &watcher->queue);

    s->hub->vitals.watchers++;

    fanout_session_push(s, f, 0, f->used);
    fanout_outbuf_release(s->hub, f);
}


/* there is nothing to say */

static void
watch_receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    fanout_session_close(s, 1008, "the status takes no messages");
}


static ngx_uint_t
watch_match(fanout_subscription_t *sub, fanout_entry_t *e)
{
    return 0;
}


static void
watch_free(fanout_session_t *s)
{
    watcher_t  *watcher;

    watcher = s->dialect_part;

    if (watcher->session) {
        ngx_queue_remove(&watcher->queue);
        s->hub->vitals.watchers--;
    }
}


static void
watch_closing(fanout_session_t *s, ngx_uint_t code, ngx_msec_t after)
{
    /* void */
}


/* while somebody watches */

static watch_t *
watch(fanout_hub_t *hub)
{
    watch_t  *w;

    if (hub->watch) {
        return hub->watch;
    }

    w = ngx_calloc(sizeof(watch_t), ngx_cycle->log);
    if (w == NULL) {
        return NULL;
    }

    w->busiest = fanout_busiest_create();

    if (w->busiest == NULL) {
        ngx_free(w);
        return NULL;
    }

    w->hub = hub;
    w->until = ngx_current_msec;
    ngx_queue_init(&w->watchers);

    w->timer.handler = tick;
    w->timer.data = w;
    w->timer.log = ngx_cycle->log;
    w->timer.cancelable = 1;

    ngx_add_timer(&w->timer, FANOUT_WATCH_TICK);

    hub->watch = w;

    fanout_busiest_walk(w->busiest, hub);

    return w;
}


void
fanout_watch_poll(fanout_hub_t *hub)
{
    watch_t  *w;

    w = watch(hub);

    if (w) {
        w->until = ngx_current_msec + FANOUT_WATCH_POLL;
    }
}


fanout_busiest_t *
fanout_watch_busiest(fanout_hub_t *hub)
{
    watch_t  *w;

    w = hub->watch;

    return w ? w->busiest : NULL;
}


static void
tick(ngx_event_t *ev)
{
    watch_t  *w;

    w = ev->data;

    if (ngx_queue_empty(&w->watchers)
        && (ngx_msec_int_t) (ngx_current_msec - w->until) >= 0)
    {
        w->hub->watch = NULL;
        fanout_busiest_free(w->busiest);
        ngx_free(w);
        return;
    }

    fanout_busiest_walk(w->busiest, w->hub);

    if (!ngx_queue_empty(&w->watchers)) {
        watch_send(w);
    }

    ngx_add_timer(ev, FANOUT_WATCH_TICK);
}


/* Sessions that have not taken the last message skip this one. */

static void
watch_send(watch_t *w)
{
    watcher_t        *watcher;
    ngx_queue_t      *q;
    fanout_outbuf_t  *f;

    f = watch_message(w->hub, &fanout_framing_websocket, FANOUT_STATUS_BUSIEST);
    if (f == NULL) {
        return;
    }

    for (q = ngx_queue_head(&w->watchers);
         q != ngx_queue_sentinel(&w->watchers);
         q = ngx_queue_next(q))
    {
        watcher = ngx_queue_data(q, watcher_t, queue);

        if (watcher->session->state == FANOUT_OPEN
            && watcher->session->pending == 0)
        {
            fanout_session_push(watcher->session, f, 0, f->used);
        }
    }

    fanout_outbuf_release(w->hub, f);
}


static fanout_outbuf_t *
watch_message(fanout_hub_t *hub, const fanout_framing_t *framing,
    ngx_uint_t with)
{
    uint32_t          start;
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(hub, FANOUT_WATCH_SIZE);
    if (f == NULL) {
        return NULL;
    }

    if (framing->begin(hub, f, &start) != NGX_OK
        || fanout_status_write(hub, fanout_watch_busiest(hub), f,
                               fanout_status_json, with)
           != NGX_OK
        || framing->end(hub, f, start, FANOUT_WS_TEXT) != NGX_OK)
    {
        fanout_outbuf_release(hub, f);
        return NULL;
    }

    return f;
}
