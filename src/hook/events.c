
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The delivery of events.  The worker that leads sends the oldest of the queue,
 * one call at a time.  The zone frees events that the backend took; others are
 * sent again.  Another worker that takes the lead begins with the oldest in the
 * queue: so each event is delivered at least once, and in order.
 */


#include "hook/body.h"
#include "hook/hook.h"
#include "hub/entry_json.h"


#define FANOUT_EVENTS_LEAD   1000           /* ms, see events_lead() */
#define FANOUT_EVENTS_FIRST  1000           /* ms to the first repetition */
#define FANOUT_EVENTS_BYTES  16384          /* of strings in a call */


typedef struct {
    fanout_hub_t   *hub;
    fanout_hook_t  *hook;
    fanout_call_t  *call;                   /* in flight */
    ngx_event_t     work;                   /* posted */
    ngx_event_t     lead;                   /* timer */
    ngx_event_t     again;                  /* timer, set: it failed */
    ngx_msec_t      wait;                   /* to the next repetition */
    uint64_t        incarnation;            /* whose queue is filtered */
    uint64_t        epoch;                  /* of what is in flight */
    uint64_t        offset;                 /* the last of it */
    ngx_uint_t      n;                      /* events in it */
    unsigned        leads:1;
    unsigned        filtered:1;

    fanout_event_t  events[FANOUT_ZONE_EVENTS];
    u_char          strings[FANOUT_EVENTS_BYTES];
} dispatcher_t;


static void lead_handler(ngx_event_t *ev);
static void events_work_handler(ngx_event_t *ev);
static void filter_events(dispatcher_t *t);
static void yield(dispatcher_t *t);
static void events_send(dispatcher_t *t);
static ngx_int_t events_compose(dispatcher_t *t, ngx_uint_t n, uint64_t lost,
    ngx_str_t *body);
static ngx_int_t compose_event(dispatcher_t *t, fanout_event_t *e,
    fanout_outbuf_t *f);
static void events_sent(void *data, ngx_uint_t status, ngx_str_t *body);


static const struct {
    ngx_uint_t   bit;
    const char  *name;
} names[] = {
    /* in the order of time */
    { FANOUT_EVENT_OCCUPIED, "occupied" },
    { FANOUT_EVENT_FIRST_IN, "first-in" },
    { FANOUT_EVENT_CONNECT, "connect" },
    { FANOUT_EVENT_JOIN, "join" },
    { FANOUT_EVENT_LEAVE, "leave" },
    { FANOUT_EVENT_LAST_OUT, "last-out" },
    { FANOUT_EVENT_VACATED, "vacated" },
    { FANOUT_EVENT_DISCONNECT, "disconnect" },
    { 0, NULL }
};


ngx_int_t
fanout_hook_events_init(fanout_hub_t *hub, ngx_cycle_t *cycle)
{
    dispatcher_t  *t;

    if (hub->app->events_hook == NULL) {
        /* an earlier configuration may have set a filter */
        fanout_hook_queue_filter(&hub->zone, 0, 0);
        return NGX_OK;
    }

    t = ngx_calloc(sizeof(dispatcher_t), cycle->log);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->hub = hub;
    t->hook = hub->app->events_hook;

    t->work.handler = events_work_handler;
    t->work.data = t;
    t->work.log = cycle->log;

    t->lead.handler = lead_handler;
    t->lead.data = t;
    t->lead.log = cycle->log;
    t->lead.cancelable = 1;

    t->again = t->lead;
    t->again.handler = events_work_handler;

    hub->dispatcher = t;
    hub->after = &t->work;

    filter_events(t);
    lead_handler(&t->lead);

    return NGX_OK;
}


void
fanout_hook_events_exit(fanout_hub_t *hub)
{
    dispatcher_t  *t = hub->dispatcher;

    if (t) {
        yield(t);
    }
}


static void
filter_events(dispatcher_t *t)
{
    fanout_hub_t  *hub;

    hub = t->hub;

    if (t->filtered && t->incarnation == hub->zone.heap.incarnation) {
        return;
    }

    fanout_hook_queue_filter(&hub->zone, t->hook->mask & 0xff, t->hook->events);

    t->filtered = 1;
    t->incarnation = hub->zone.heap.incarnation;
}


/* An exiting worker gives up the lead, but only after the answers to the calls
 * that it has sent. */

static void
lead_handler(ngx_event_t *ev)
{
    dispatcher_t  *t;
    fanout_hub_t  *hub;

    t = ev->data;
    hub = t->hub;

    if (!ngx_exiting) {
        filter_events(t);
        t->leads = fanout_hook_queue_lead(&hub->zone);

    } else if (t->call == NULL) {
        yield(t);
    }

    events_send(t);

    ngx_add_timer(ev, FANOUT_EVENTS_LEAD);
}


/* A worker that gives up the lead, or is reaped, has woken the others if events
 * are left to deliver. */

static void
events_work_handler(ngx_event_t *ev)
{
    dispatcher_t  *t;
    fanout_hub_t  *hub;

    t = ev->data;
    hub = t->hub;

    if (!t->leads && !ngx_exiting
        && fanout_hook_queue_any(&hub->zone)
        && !fanout_hook_queue_led(&hub->zone))
    {
        t->leads = fanout_hook_queue_lead(&hub->zone);
    }

    events_send(t);
}


static void
yield(dispatcher_t *t)
{
    if (t->leads) {
        fanout_hook_queue_yield(&t->hub->zone);
        t->leads = 0;
    }
}


static void
events_send(dispatcher_t *t)
{
    unsigned       n;
    uint64_t       lost;
    ngx_str_t      body;
    fanout_hub_t  *hub;

    hub = t->hub;

    if (!t->leads || t->call || t->again.timer_set
        || !fanout_hook_queue_any(&hub->zone))
    {
        return;
    }

    if (ngx_exiting) {
        yield(t);
        return;
    }

    (void) fanout_hook_queue_read(&hub->zone, t->events,
                                  t->hook->batch, t->strings,
                                  sizeof(t->strings), &n, &t->epoch,
                                  &lost);

    if (n == 0) {
        return;
    }

    t->n = n;
    t->offset = t->events[n - 1].offset;

    hub->calls++;

    if (events_compose(t, n, lost, &body) == NGX_OK) {
        t->call = fanout_call_post(&t->hook->callee, &body, events_sent, t);
    }

    fanout_count(hub, hook_calls);

    if (t->call == NULL) {
        ngx_str_set(&body, "out of memory or connections");
        events_sent(t, 0, &body);
    }
}


static ngx_int_t
events_compose(dispatcher_t *t, ngx_uint_t n, uint64_t lost, ngx_str_t *body)
{
    u_char            epoch[FANOUT_EPOCH_LEN];
    ngx_int_t         rc;
    ngx_uint_t        i;
    fanout_hub_t     *hub;
    fanout_outbuf_t  *f;

    hub = t->hub;

    f = fanout_outbuf_create(hub, 256 + n * 256);
    if (f == NULL) {
        return NGX_ERROR;
    }

    (void) fanout_epoch_format(epoch, t->epoch);

    rc = NGX_ERROR;

    if (fanout_outbuf_literal(hub, f, "{\"zone\":") != NGX_OK
        || fanout_outbuf_string(hub, f, hub->app->name.data,
                                hub->app->name.len)
           != NGX_OK
        || fanout_outbuf_printf(hub, f, 128,
                                 ",\"epoch\":\"%*s\",\"lost\":%uL,\"events\":[",
                                 sizeof(epoch), epoch, lost)
           != NGX_OK)
    {
        goto done;
    }

    for (i = 0; i < n; i++) {
        if (compose_event(t, &t->events[i], f) != NGX_OK) {
            goto done;
        }
    }

    rc = fanout_body_end(hub, f, body);

done:

    fanout_outbuf_release(hub, f);

    return rc;
}


/* one event for each of its names */

static ngx_int_t
compose_event(dispatcher_t *t, fanout_event_t *e, fanout_outbuf_t *f)
{
    u_char         epoch[FANOUT_EPOCH_LEN];
    u_char         client[FANOUT_CLIENT_LEN];
    ngx_uint_t     i;
    fanout_hub_t  *hub;

    hub = t->hub;

    (void) fanout_epoch_format(epoch, t->epoch);
    (void) fanout_client_format(client, e->client);

    for (i = 0; names[i].bit; i++) {

        if (!(e->events & names[i].bit)) {
            continue;
        }

        if (fanout_outbuf_printf(hub, f, 256,
                        "{\"id\":\"%*s:%uL:%s\",\"event\":\"%s\","
                        "\"time\":%uL,\"client\":\"%*s\"",
                        sizeof(epoch), epoch, e->offset, names[i].name,
                        names[i].name, e->time, sizeof(client), client)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (e->user.len
            && (fanout_outbuf_literal(hub, f, ",\"user\":") != NGX_OK
                || fanout_outbuf_string(hub, f, e->user.data, e->user.len)
                   != NGX_OK))
        {
            return NGX_ERROR;
        }

        if (e->channel.len
            && (fanout_outbuf_literal(hub, f, ",\"channel\":")
                != NGX_OK
                || fanout_outbuf_string(hub, f, e->channel.data,
                                        e->channel.len)
                   != NGX_OK))
        {
            return NGX_ERROR;
        }

        if (e->reason
            && fanout_outbuf_printf(hub, f, 64, ",\"reason\":\"%s\"",
                                     fanout_left_reason(e->reason))
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (e->resumed
            && fanout_outbuf_literal(hub, f, ",\"resumed\":true")
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (fanout_outbuf_literal(hub, f, "},") != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
events_sent(void *data, ngx_uint_t status, ngx_str_t *body)
{
    dispatcher_t  *t;
    fanout_hub_t  *hub;

    t = data;
    hub = t->hub;
    t->call = NULL;
    hub->calls--;

    if (status >= 200 && status < 300) {
        fanout_hook_queue_done(&hub->zone, t->epoch, t->offset);
        fanout_add(hub, hook_events, t->n);

        if (t->wait) {
            t->wait = 0;
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "%V takes events of zone \"%V\" again",
                          &t->hook->callee.what, &hub->app->name);
        }

        events_send(t);
        return;
    }

    fanout_count(hub, hook_failures);

    t->wait = t->wait ? 2 * t->wait : FANOUT_EVENTS_FIRST;
    t->wait = ngx_min(t->wait, t->hook->retry);

    if (status) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "%V answered %ui to %ui events of zone \"%V\", which "
                      "will be sent again in %M ms", &t->hook->callee.what,
                      status, t->n, &hub->app->name, t->wait);

    } else {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "%V did not answer to %ui events of zone \"%V\", which "
                      "will be sent again in %M ms: %V",
                      &t->hook->callee.what, t->n, &hub->app->name, t->wait,
                      body);
    }

    if (ngx_exiting) {
        yield(t);
        return;
    }

    ngx_add_timer(&t->again, t->wait);
}
