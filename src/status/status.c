
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The status of a zone, as "?format=" or "Accept" ask for it: numbers as
 * JSON or for Prometheus, a page for people, or one line that says whether
 * this worker serves.  Who asks for an upgrade watches it live.
 */


#include "status/status.h"
#include "http/headers.h"
#include "status/page.h"
#include "transport/websocket.h"


#define FANOUT_STATUS_SIZE  16384
#define FANOUT_STATUS_LINE  512                 /* of health */


typedef struct {
    ngx_str_t    name;
    ngx_str_t    accept;        /* the media type that asks for it */
    ngx_str_t    type;          /* and the one of the answer */
    ngx_int_t  (*respond)(ngx_http_request_t *r,
                   fanout_hub_t *hub, ngx_str_t *type);
} fanout_status_format_t;


static ngx_int_t find_format(ngx_http_request_t *r,
    fanout_status_format_t **format);
static fanout_status_format_t *accepted(ngx_str_t *accept);
static ngx_uint_t quality(ngx_str_t *range);
static ngx_int_t respond_json(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type);
static ngx_int_t respond_prometheus(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type);
static ngx_int_t respond_openmetrics(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type);
static ngx_int_t respond_numbers(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type, void (*write)(fanout_writer_t *w, ngx_uint_t arg),
    ngx_uint_t arg);
static ngx_int_t respond_page(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type);
static ngx_int_t respond_health(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type);
static ngx_uint_t status_wants(ngx_http_request_t *r, const char *name);


static fanout_status_format_t  formats[] = {

    { ngx_string("json"), ngx_string("application/json"),
      ngx_string("application/json"), respond_json },

    { ngx_string("html"), ngx_string("text/html"),
      ngx_string("text/html; charset=utf-8"), respond_page },

    { ngx_string("prometheus"), ngx_string("text/plain"),
      ngx_string("text/plain; version=0.0.4; charset=utf-8"),
      respond_prometheus },

    { ngx_string("openmetrics"), ngx_string("application/openmetrics-text"),
      ngx_string("application/openmetrics-text; version=1.0.0; "
                 "charset=utf-8"),
      respond_openmetrics },

    { ngx_string("health"), ngx_null_string, ngx_string("text/plain"),
      respond_health }
};

#define NFORMATS  (sizeof(formats) / sizeof(formats[0]))


ngx_int_t
fanout_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_str_t                none, allow, host, name;
    ngx_uint_t               allowed;
    fanout_loc_conf_t       *conf;
    fanout_status_format_t  *format;

    static ngx_str_t  code = ngx_string("bad_request");
    static ngx_str_t  message = ngx_string("there is no such format");
    static ngx_str_t  args = ngx_string("there are the arguments format, "
                                        "history and busiest, each once");
    static ngx_str_t  forbidden = ngx_string("forbidden");
    static ngx_str_t  stranger = ngx_string("this host is not allowed: "
                                            "server_name, or \"host=\" of "
                                            "fanout_status");
    static ngx_str_t  fresh = ngx_string("no-store");
    static ngx_str_t  accept = ngx_string("Accept");

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    allowed = fanout_host_allowed(r, conf->hosts, conf->names, &host);

    if (allowed && r == r->main
        && fanout_has_token(r, "upgrade", "websocket"))
    {
        return fanout_websocket_upgrade(r, conf->watch);
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_null(&none);

    if (!allowed) {
        fanout_origin_log(r, "fanout_status", "host", &host);

        return fanout_http_send_error(r, NGX_HTTP_FORBIDDEN, &forbidden,
                                      &stranger, &none);
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        ngx_str_set(&allow, "GET, HEAD");
        return fanout_http_send_not_allowed(r, &allow);
    }

    rc = find_format(r, &format);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED
        || fanout_http_check_args(r, "format history busiest", &name)
           != NGX_OK)
    {
        return fanout_http_send_error(r, NGX_HTTP_BAD_REQUEST, &code,
                                       rc == NGX_DECLINED ? &message : &args,
                                       &none);
    }

    if (fanout_http_add(r, "Cache-Control", &fresh) != NGX_OK
        || fanout_http_add(r, "Vary", &accept) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return format->respond(r, conf->status->hub, &format->type);
}


/* which format */

static ngx_int_t
find_format(ngx_http_request_t *r, fanout_status_format_t **format)
{
    ngx_int_t   rc;
    ngx_str_t   name, accept;
    ngx_uint_t  i;

    rc = fanout_http_arg(r, "format", &name);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        accept = fanout_http_header(r, "accept");
        *format = accepted(&accept);
        return NGX_OK;
    }

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


/* RFC 9110, section 12.5.1, of those that are named: the best, the first of
 * several.  JSON is for all who name none. */

static fanout_status_format_t *
accepted(ngx_str_t *accept)
{
    ngx_str_t                list, range;
    ngx_uint_t               i, q, best;
    fanout_status_format_t  *format;

    format = &formats[0];
    list = *accept;
    best = 0;

    while (fanout_next_token(&list, &range)) {
        q = quality(&range);

        for (i = 0; i < NFORMATS && q > best; i++) {
            if (range.len && formats[i].accept.len == range.len
                && ngx_strncasecmp(formats[i].accept.data, range.data,
                                   range.len)
                   == 0)
            {
                format = &formats[i];
                best = q;
            }
        }
    }

    return format;
}


/* Takes the parameters off a media range; its q in thousandths. */

static ngx_uint_t
quality(ngx_str_t *range)
{
    u_char     *p, *last;
    ngx_int_t   q;

    last = range->data + range->len;
    p = ngx_strlchr(range->data, last, ';');

    if (p == NULL) {
        return 1000;
    }

    range->len = p - range->data;

    while (range->len && (p[-1] == ' ' || p[-1] == '\t')) {
        range->len--;
        p--;
    }

    while (p && p < last) {
        while (p < last && (*p == ';' || *p == ' ' || *p == '\t')) {
            p++;
        }

        if (last - p > 2 && (p[0] | 0x20) == 'q' && p[1] == '=') {
            p += 2;
            last = ngx_strlchr(p, last, ';') ? ngx_strlchr(p, last, ';')
                                             : last;
            q = ngx_atofp(p, last - p, 3);
            return q == NGX_ERROR ? 0 : ngx_min((ngx_uint_t) q, 1000);
        }

        p = ngx_strlchr(p, last, ';');
    }

    return 1000;
}


/* health */

static ngx_int_t
respond_health(ngx_http_request_t *r, fanout_hub_t *hub, ngx_str_t *type)
{
    u_char              *p, *last;
    ngx_uint_t           status;
    const char          *reason;
    fanout_zone_stat_t   st;

    reason = "this worker has no zone";

    if (hub) {
        fanout_zone_stat(&hub->zone, &st);
        reason = fanout_health_unfit(hub, &st);
    }

    status = reason ? NGX_HTTP_SERVICE_UNAVAILABLE : NGX_HTTP_OK;

    p = ngx_pnalloc(r->pool, FANOUT_STATUS_LINE);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = p + FANOUT_STATUS_LINE - 1;

    last = reason ? ngx_slprintf(p, last, "%s", reason)
                  : fanout_health_line(hub, &st, p, last);

    *last++ = LF;

    return fanout_http_send(r, status, type, p, last - p);
}


/* numbers */

static ngx_int_t
respond_json(ngx_http_request_t *r, fanout_hub_t *hub, ngx_str_t *type)
{
    ngx_uint_t  with;

    with = 0;

    if (status_wants(r, "history")) {
        with |= FANOUT_STATUS_HISTORY;
    }

    if (status_wants(r, "busiest")) {
        with |= FANOUT_STATUS_BUSIEST;

        if (hub) {
            fanout_watch_poll(hub);
        }
    }

    return respond_numbers(r, hub, type, fanout_status_json, with);
}


static ngx_int_t
respond_prometheus(ngx_http_request_t *r, fanout_hub_t *hub, ngx_str_t *type)
{
    return respond_numbers(r, hub, type, fanout_status_metrics, 0);
}


static ngx_int_t
respond_openmetrics(ngx_http_request_t *r, fanout_hub_t *hub, ngx_str_t *type)
{
    return respond_numbers(r, hub, type, fanout_status_metrics, 1);
}


static ngx_int_t
respond_numbers(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *type, void (*write)(fanout_writer_t *w,
    ngx_uint_t arg), ngx_uint_t arg)
{
    fanout_outbuf_t  *f;

    if (hub == NULL) {
        return fanout_http_send_unavailable(r);
    }

    f = fanout_outbuf_create(hub, FANOUT_STATUS_SIZE);

    if (f == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (fanout_status_write(hub, fanout_watch_busiest(hub), f, write, arg)
        != NGX_OK)
    {
        fanout_outbuf_release(hub, f);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return fanout_http_send_outbuf(r, hub, NGX_HTTP_OK, type, f);
}


static ngx_uint_t
status_wants(ngx_http_request_t *r, const char *name)
{
    ngx_str_t  value;

    return fanout_http_arg(r, name, &value) == NGX_OK
           && value.len == 1 && value.data[0] == '1';
}


/* the page */

static ngx_int_t
respond_page(ngx_http_request_t *r, fanout_hub_t *hub, ngx_str_t *type)
{
    ngx_uint_t  i;

    static struct {
        const char  *name;
        ngx_str_t    value;
    } headers[] = {
        { "Content-Security-Policy",
          ngx_string("default-src 'none'; connect-src 'self'; "
                     "img-src data:; "
                     "script-src '" FANOUT_PAGE_SCRIPT "'; "
                     "style-src '" FANOUT_PAGE_STYLE "'; "
                     "base-uri 'none'; form-action 'none'; "
                     "frame-ancestors 'self'") },
        { "X-Content-Type-Options", ngx_string("nosniff") },
        { "Referrer-Policy", ngx_string("no-referrer") }
    };

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (fanout_http_add(r, headers[i].name, &headers[i].value)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return fanout_http_send(r, NGX_HTTP_OK, type,
                                   (u_char *) fanout_page,
                                   sizeof(fanout_page));
}
