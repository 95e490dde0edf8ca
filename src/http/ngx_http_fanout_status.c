
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The status of a zone, as "?format=" or "Accept" ask for it: numbers as
 * JSON, or one line that says whether this worker serves.
 */


#include "ngx_http_fanout_http.h"
#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_roster.h"

#include <nginx.h>


#define NGX_HTTP_FANOUT_STATUS_SIZE  16384


typedef struct {
    ngx_str_t    name;
    ngx_str_t    accept;        /* the media type that asks for it */
    ngx_int_t  (*respond)(ngx_http_request_t *r, ngx_http_fanout_app_t *app);
} ngx_http_fanout_status_format_t;


/* what is appended to, and whether that has failed */

typedef struct {
    ngx_http_fanout_hub_t     *hub;
    ngx_http_fanout_frame_t   *out;
    ngx_uint_t                 failed;
} writer_t;


static ngx_int_t find_format(ngx_http_request_t *r,
    const ngx_http_fanout_status_format_t **format);
static ngx_int_t respond_json(ngx_http_request_t *r,
    ngx_http_fanout_app_t *app);
static ngx_int_t respond_health(ngx_http_request_t *r,
    ngx_http_fanout_app_t *app);
static const char *health(ngx_http_fanout_hub_t *hub);

static void write_status(writer_t *w);
static void write_zone(writer_t *w, ngx_http_fanout_zone_stat_t *st);
static void write_limits(writer_t *w, ngx_http_fanout_zone_stat_t *st);
static void write_worker(writer_t *w);
static void write_workers(writer_t *w, ngx_uint_t slots, uint64_t *sums);
static void write_counters(writer_t *w, uint64_t *counters);
static void write_classes(writer_t *w);
static void put(writer_t *w, const char *fmt, ...);
static void put_string(writer_t *w, const void *data, size_t len);
static void put_number(writer_t *w, const char *name, uint64_t n);


static const ngx_http_fanout_status_format_t  formats[] = {
    { ngx_string("json"), ngx_string("application/json"), respond_json },
    { ngx_string("health"), ngx_null_string, respond_health }
};

#define NFORMATS  (sizeof(formats) / sizeof(formats[0]))


static const char *const  counter_names[] = {
#define NGX_HTTP_FANOUT_COUNTER(name, text)  #name,
    NGX_HTTP_FANOUT_COUNTERS(NGX_HTTP_FANOUT_COUNTER)
#undef NGX_HTTP_FANOUT_COUNTER
};


ngx_int_t
ngx_http_fanout_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                               rc;
    ngx_str_t                               none, allow;
    ngx_http_fanout_loc_conf_t             *conf;
    const ngx_http_fanout_status_format_t  *format;

    static ngx_str_t  code = ngx_string("bad_request");
    static ngx_str_t  message = ngx_string("there is no such format");

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        ngx_str_set(&allow, "GET, HEAD");
        return ngx_http_fanout_http_send_not_allowed(r, &allow);
    }

    rc = find_format(r, &format);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_str_null(&none);
        return ngx_http_fanout_http_send_error(r, NGX_HTTP_BAD_REQUEST, &code,
                                               &message, &none);
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    return format->respond(r, conf->status);
}


/* The first is for all who don't say what they want. */

static ngx_int_t
find_format(ngx_http_request_t *r,
    const ngx_http_fanout_status_format_t **format)
{
    ngx_int_t   rc;
    ngx_str_t   name, accept;
    ngx_uint_t  i;

    *format = &formats[0];

    rc = ngx_http_fanout_http_arg(r, "format", &name);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {
        for (i = 0; i < NFORMATS; i++) {
            if (formats[i].name.len == name.len
                && ngx_memcmp(formats[i].name.data, name.data, name.len) == 0)
            {
                *format = &formats[i];
                return NGX_OK;
            }
        }

        return NGX_DECLINED;
    }

    accept = ngx_http_fanout_http_header(r, "accept");

    for (i = 0; i < NFORMATS && accept.len; i++) {
        if (formats[i].accept.len
            && ngx_strlcasestrn(accept.data, accept.data + accept.len,
                                formats[i].accept.data,
                                formats[i].accept.len - 1))
        {
            *format = &formats[i];
            break;
        }
    }

    return NGX_OK;
}


/* health */

static ngx_int_t
respond_health(ngx_http_request_t *r, ngx_http_fanout_app_t *app)
{
    u_char      *p;
    ngx_uint_t   status;
    const char  *reason;

    reason = health(app->hub);
    status = reason ? NGX_HTTP_SERVICE_UNAVAILABLE : NGX_HTTP_OK;

    p = ngx_pnalloc(r->pool, 128);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fanout_http_send(r, status, &ngx_http_fanout_type_text, p,
                                     ngx_snprintf(p, 128, "%s\n",
                                                  reason ? reason : "ok")
                                     - p);
}


/* Why this worker should get no more clients.  A full zone is no reason:
 * readers are served as well as ever. */

static const char *
health(ngx_http_fanout_hub_t *hub)
{
    ngx_http_fanout_zone_stat_t  st;

    if (hub == NULL) {
        return "this worker has no zone";
    }

    if (hub->draining || ngx_exiting || ngx_terminate) {
        return "this worker is shutting down";
    }

    if (hub->zone.slot < 0) {
        return "this worker found no free slot in the zone";
    }

    ngx_http_fanout_zone_stat(&hub->zone, &st);

    if (st.overflows) {
        return "a transaction did not fit into the journal";
    }

    return NULL;
}


/* JSON */

static ngx_int_t
respond_json(ngx_http_request_t *r, ngx_http_fanout_app_t *app)
{
    writer_t  w;

    if (app->hub == NULL) {
        return ngx_http_fanout_http_send_unavailable(r);
    }

    w.hub = app->hub;
    w.failed = 0;
    w.out = ngx_http_fanout_frame_create(w.hub, NGX_HTTP_FANOUT_STATUS_SIZE);

    if (w.out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    write_status(&w);

    if (w.failed) {
        ngx_http_fanout_frame_release(w.hub, w.out);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fanout_http_send_frame(r, w.hub, NGX_HTTP_OK,
                                           &ngx_http_fanout_type_json, w.out);
}


static void
write_status(writer_t *w)
{
    uint64_t                     sums[NGX_HTTP_FANOUT_NCOUNTERS];
    ngx_http_fanout_zone_stat_t  st;

    ngx_http_fanout_zone_stat(&w->hub->zone, &st);
    ngx_memcpy(sums, st.retired, sizeof(sums));

    put(w, "{\"version\":\"%s\",\"nginx\":\"%s\",\"pid\":%P",
        NGX_HTTP_FANOUT_VERSION, NGINX_VERSION, ngx_pid);

    put(w, ",\"zone\":{\"name\":");
    put_string(w, w->hub->app->name.data, w->hub->app->name.len);
    put_number(w, "size", w->hub->app->shm_zone->shm.size);
    write_zone(w, &st);
    write_limits(w, &st);

    put(w, "},\"workers\":[");
    write_workers(w, st.slots, sums);

    put(w, "],\"counters\":");
    write_counters(w, sums);

    put(w, ",\"classes\":[");
    write_classes(w);

    put(w, "],\"worker\":");
    write_worker(w);

    put(w, "}\n");
}


static void
write_zone(writer_t *w, ngx_http_fanout_zone_stat_t *st)
{
    put_number(w, "block_size", st->block_size);
    put_number(w, "blocks", st->blocks);
    put_number(w, "free", st->free);

    put(w, ",\"used\":{\"messages\":%uL,\"index\":%uL,\"channels\":%uL,"
        "\"interests\":%uL,\"keys\":%uL,\"identities\":%uL,\"staged\":%uL",
        st->messages, st->index, st->channels, st->interests, st->keys,
        st->identities, st->staged);
    put(w, ",\"rooms\":%uL,\"seats\":%uL,\"members\":%uL}",
        st->rooms, st->seats, st->members);

    put_number(w, "channels", st->nchannels);
    put_number(w, "keys", st->nkeys);
    put_number(w, "identities", st->nidentities);
    put_number(w, "lingering", st->lingering);
    put_number(w, "users", st->nusers);
    put_number(w, "seats", st->nseats);
    put_number(w, "seats_lingering", st->seats_lingering);
    put_number(w, "members", st->nmembers);
    put_number(w, "deltas", st->deltas);
    put_number(w, "changes", st->changes);
    put_number(w, "cancelled", st->cancelled);
    put_number(w, "mail", st->mail);
    put_number(w, "mail_dropped", st->mail_dropped);
    put_number(w, "signals", st->signals);
    put_number(w, "conflated", st->conflated);
    put_number(w, "signals_dropped", st->signals_dropped);
    put_number(w, "held", st->held);
    put_number(w, "held_max", st->held_max);
    put_number(w, "seq", st->seq);
    put_number(w, "incarnation", st->incarnation);
    put_number(w, "evicted", st->evicted);
    put_number(w, "expired", st->expired);
    put_number(w, "dropped", st->dropped);
    put_number(w, "full", st->full);
    put_number(w, "rollbacks", st->rollbacks);
    put_number(w, "reaped", st->reaped);
    put_number(w, "overflows", st->overflows);
}


static void
write_limits(writer_t *w, ngx_http_fanout_zone_stat_t *st)
{
    ngx_http_fanout_zone_conf_t  *conf;

    conf = &w->hub->app->conf;

    put(w, ",\"limits\":{\"slots\":%uD,\"workers\":%uD,\"idle\":%uD,"
        "\"dedupe\":%uD}",
        st->slots, st->live, conf->idle ? conf->idle : 300,
        conf->dedupe ? conf->dedupe : 120);
}


/* what only the worker that answers knows */

static void
write_worker(writer_t *w)
{
    size_t                  bytes;
    ngx_uint_t              rosters;
    ngx_http_fanout_hub_t  *hub;

    hub = w->hub;
    rosters = ngx_http_fanout_roster_sizes(hub, &bytes);

    put(w, "{\"pid\":%P,\"slot\":%d,\"sessions\":%ui,\"channels\":%uD,"
        "\"frames\":%uz,\"rosters\":%ui,\"roster_bytes\":%uz,"
        "\"draining\":%s}",
        ngx_pid, hub->zone.slot, hub->nsessions, hub->used, hub->frames,
        rosters, bytes, hub->draining ? "true" : "false");
}


/* Adds the counters of the living to the sums. */

static void
write_workers(writer_t *w, ngx_uint_t slots, uint64_t *sums)
{
    ngx_uint_t                     i, k, n;
    ngx_http_fanout_zone_worker_t  worker;

    n = 0;

    for (i = 0; i < slots; i++) {

        if (ngx_http_fanout_slot_get(&w->hub->zone, i, &worker)
            != NGX_HTTP_FANOUT_ZONE_OK)
        {
            break;
        }

        if (worker.state == 0) {
            continue;
        }

        put(w, "%s{\"slot\":%ui,\"pid\":%uD,\"state\":\"%s\","
            "\"sessions\":%uL,\"channels\":%uL,\"counters\":",
            n++ ? "," : "", i, worker.pid,
            worker.state == 1 ? "live" : "dead", worker.sessions,
            worker.interests);

        write_counters(w, worker.counters);
        put(w, "}");

        for (k = 0; k < NGX_HTTP_FANOUT_NCOUNTERS; k++) {
            sums[k] += worker.counters[k];
        }
    }
}


static void
write_counters(writer_t *w, uint64_t *counters)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FANOUT_NCOUNTERS; i++) {
        put(w, "%s\"%s\":%uL", i ? "," : "{", counter_names[i], counters[i]);
    }

    put(w, "}");
}


static void
write_classes(writer_t *w)
{
    ngx_uint_t                    i;
    ngx_http_fanout_zone_class_t  class;

    for (i = 0; i < NGX_HTTP_FANOUT_ZONE_CLASSES; i++) {

        if (ngx_http_fanout_zone_get_class(&w->hub->zone, i, &class)
            != NGX_HTTP_FANOUT_ZONE_OK)
        {
            break;
        }

        put(w, "%s{\"pattern\":", i ? "," : "");
        put_string(w, class.pattern, class.len);
        put_number(w, "channels", class.channels);
        put_number(w, "messages", class.messages);
        put_number(w, "bytes", class.bytes);
        put(w, "}");
    }
}


/* Short things: names and numbers. */

static void
put(writer_t *w, const char *fmt, ...)
{
    u_char   *last, text[512];
    va_list   args;

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    if (ngx_http_fanout_frame_append(w->hub, w->out, text, last - text)
        != NGX_OK)
    {
        w->failed = 1;
    }
}


static void
put_string(writer_t *w, const void *data, size_t len)
{
    if (ngx_http_fanout_frame_string(w->hub, w->out, data, len) != NGX_OK) {
        w->failed = 1;
    }
}


static void
put_number(writer_t *w, const char *name, uint64_t n)
{
    put(w, ",\"%s\":%uL", name, n);
}
