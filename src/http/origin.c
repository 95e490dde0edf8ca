
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "http/http.h"
#include "http/headers.h"
#include "http/origin.h"


#define FANOUT_ORIGIN_LOG      1000             /* ms between two lines */
#define FANOUT_ORIGIN_TEXT     200              /* bytes of a value in the
                                                   log */
#define FANOUT_ORIGIN_HEADERS  2048             /* bytes of requested header
                                                   names */


typedef enum {
    VERDICT_NONE = 0,           /* there is no Origin */
    VERDICT_LISTED,
    VERDICT_ANY,                /* by "*" alone */
    VERDICT_REFUSED
} verdict_e;


static verdict_e judge(ngx_http_request_t *r, fanout_origins_t *allowed,
    ngx_str_t *text);
static verdict_e origin_find(ngx_http_request_t *r, fanout_origins_t *allowed,
    fanout_origin_t *o);
static ngx_uint_t is_below(ngx_str_t *host, ngx_str_t *domain);
static ngx_uint_t same_host(ngx_http_request_t *r, fanout_origin_t *o);
static ngx_uint_t same_scheme(ngx_http_request_t *r,
    fanout_origins_t *allowed, ngx_str_t *scheme);
static ngx_uint_t own_host(ngx_http_request_t *r, fanout_origins_t *allowed);
static ngx_uint_t embedded(ngx_http_request_t *r);
static ngx_uint_t own_header(ngx_http_request_t *r);
static ngx_uint_t referred(ngx_http_request_t *r, fanout_origins_t *allowed);
static ngx_uint_t allows_any(fanout_origins_t *allowed);
static ngx_int_t split_host(u_char *p, u_char *last, ngx_str_t *host,
    ngx_uint_t *port);
static ngx_uint_t default_port(ngx_str_t *scheme);
static ngx_uint_t equal(ngx_str_t *a, ngx_str_t *b);
static ngx_uint_t origin_is(ngx_str_t *s, const char *text);


/* origins as text */

ngx_int_t
fanout_origin_parse(ngx_str_t *text, fanout_origin_t *o)
{
    u_char  *p, *last;

    ngx_memzero(o, sizeof(fanout_origin_t));

    if (text->len == 4 && ngx_strncmp(text->data, "null", 4) == 0) {
        o->kind = FANOUT_ORIGIN_NULL;
        return NGX_OK;
    }

    last = text->data + text->len;

    for (p = text->data; p < last && *p != ':'; p++) {

        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (p > text->data
                  && ((*p >= '0' && *p <= '9') || *p == '+' || *p == '-'
                      || *p == '.'))))
        {
            return NGX_DECLINED;
        }
    }

    if (p == text->data || last - p < 3 || p[1] != '/' || p[2] != '/') {
        return NGX_DECLINED;
    }

    o->scheme.data = text->data;
    o->scheme.len = p - text->data;
    o->port = default_port(&o->scheme);

    p += 3;

    if (p == last) {
        o->host.data = p;
        return o->port ? NGX_DECLINED : NGX_OK;
    }

    return split_host(p, last, &o->host, &o->port);
}


/* host[:port], with a port of 1 to 65535; port stays as it is if there is
 * none */

static ngx_int_t
split_host(u_char *p, u_char *last, ngx_str_t *host, ngx_uint_t *port)
{
    ngx_int_t  n;

    host->data = p;

    if (*p == '[') {
        p = ngx_strlchr(p, last, ']');

        if (p == NULL) {
            return NGX_DECLINED;
        }

        p++;

    } else {
        while (p < last && *p != ':') {

            if (*p <= ' ' || *p == 0x7f || strchr("/*?#@$\\\"<>", *p)) {
                return NGX_DECLINED;
            }

            p++;
        }
    }

    host->len = p - host->data;

    if (host->len == 0 || (p < last && *p != ':')) {
        return NGX_DECLINED;
    }

    if (p == last) {
        return NGX_OK;
    }

    n = ngx_atoi(p + 1, last - p - 1);

    if (n < 1 || n > 65535) {
        return NGX_DECLINED;
    }

    *port = n;

    return NGX_OK;
}


static ngx_uint_t
default_port(ngx_str_t *scheme)
{
    return origin_is(scheme, "https") ? 443
           : origin_is(scheme, "http") ? 80 : 0;
}


static ngx_uint_t
equal(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len && ngx_strncasecmp(a->data, b->data, a->len) == 0;
}


static ngx_uint_t
origin_is(ngx_str_t *s, const char *text)
{
    ngx_str_t  t;

    t.data = (u_char *) text;
    t.len = ngx_strlen(text);

    return equal(s, &t);
}


/* allowed origins */

const char *
fanout_origin_check(ngx_http_request_t *r, fanout_origins_t *allowed)
{
    ngx_str_t  text;

    switch (judge(r, allowed, &text)) {

    case VERDICT_NONE:
        break;

    case VERDICT_REFUSED:
        fanout_origin_log(r, allowed->directive, "origin", &text);
        return allowed->refused;

    default:
        return NULL;
    }

    text = fanout_http_header(r, "sec-fetch-site");

    if (text.len == 0 || origin_is(&text, "none") || allows_any(allowed)
        || (origin_is(&text, "same-origin") && own_host(r, allowed)))
    {
        return NULL;
    }

    fanout_origin_log(r, allowed->directive, "Sec-Fetch-Site", &text);

    return allowed->refused;
}


ngx_uint_t
fanout_origin_proved(ngx_http_request_t *r, fanout_origins_t *allowed)
{
    ngx_str_t  text;

    if (allows_any(allowed)) {
        return 1;
    }

    if (embedded(r)) {
        return 0;
    }

    if (judge(r, allowed, &text) == VERDICT_LISTED) {
        return 1;
    }

    text = fanout_http_header(r, "sec-fetch-site");

    return origin_is(&text, "same-origin") || own_header(r)
           || referred(r, allowed);
}


static verdict_e
judge(ngx_http_request_t *r, fanout_origins_t *allowed, ngx_str_t *text)
{
    fanout_origin_t   o;
    fanout_headers_t  h;
    ngx_str_t         other;

    ngx_memzero(&h, sizeof(fanout_headers_t));
    ngx_str_null(text);

    if (!fanout_next_header(r, "origin", &h, text)) {
        return VERDICT_NONE;
    }

    if (fanout_next_header(r, "origin", &h, &other)
        || fanout_origin_parse(text, &o) != NGX_OK)
    {
        return VERDICT_REFUSED;
    }

    return origin_find(r, allowed, &o);
}


static verdict_e
origin_find(ngx_http_request_t *r, fanout_origins_t *allowed,
    fanout_origin_t *o)
{
    verdict_e         verdict;
    ngx_uint_t        i, n;
    fanout_origin_t  *a;

    static fanout_origin_t  same = {
        FANOUT_ORIGIN_SAME, ngx_null_string, ngx_null_string, 0
    };

    a = allowed->origins ? allowed->origins->elts : &same;
    n = allowed->origins ? allowed->origins->nelts : 1;
    verdict = VERDICT_REFUSED;

    for (i = 0; i < n; i++) {

        switch (a[i].kind) {

        case FANOUT_ORIGIN_ANY:
            verdict = VERDICT_ANY;
            continue;

        case FANOUT_ORIGIN_NULL:
            if (o->kind == FANOUT_ORIGIN_NULL) {
                return VERDICT_LISTED;
            }

            continue;

        case FANOUT_ORIGIN_SAME:
            if (o->kind == FANOUT_ORIGIN_NAMED && same_host(r, o)
                && same_scheme(r, allowed, &o->scheme))
            {
                return VERDICT_LISTED;
            }

            continue;

        default:
            if (o->kind == FANOUT_ORIGIN_NAMED
                && o->port == a[i].port && equal(&o->scheme, &a[i].scheme)
                && (a[i].kind == FANOUT_ORIGIN_BELOW
                    ? is_below(&o->host, &a[i].host)
                    : equal(&o->host, &a[i].host)))
            {
                return VERDICT_LISTED;
            }
        }
    }

    return verdict;
}


/* domain begins with a dot.  Labels before it must not be empty. */

static ngx_uint_t
is_below(ngx_str_t *host, ngx_str_t *domain)
{
    size_t  i, labels;

    if (host->len <= domain->len) {
        return 0;
    }

    labels = host->len - domain->len;

    if (ngx_strncasecmp(host->data + labels, domain->data, domain->len) != 0) {
        return 0;
    }

    for (i = 0; i < labels; i++) {
        if (host->data[i] == '.' && (i == 0 || host->data[i - 1] == '.')) {
            return 0;
        }
    }

    return host->data[labels - 1] != '.';
}


/* A Host without a port means the default port of the page's scheme. */

static ngx_uint_t
same_host(ngx_http_request_t *r, fanout_origin_t *o)
{
    ngx_str_t   host;
    ngx_uint_t  port;

    port = default_port(&o->scheme);

    return port && fanout_origin_host(r, &host, &port) == NGX_OK
           && port == o->port && equal(&host, &o->host);
}


ngx_int_t
fanout_origin_host(ngx_http_request_t *r, ngx_str_t *host, ngx_uint_t *port)
{
    u_char     *p, *last;
    ngx_str_t  *value;

    if (r->headers_in.host) {
        value = &r->headers_in.host->value;
        p = value->data;
        last = p + value->len;

    } else if (r->host_start) {
        p = r->host_start;
        last = r->host_end;

    } else {
        return NGX_DECLINED;
    }

    return p < last ? split_host(p, last, host, port) : NGX_DECLINED;
}


/*
 * A page that was loaded without TLS may have been modified on the way, so it
 * does not have the same origin as a connection with TLS.  If TLS ends in front
 * of NGINX, the connection does not show this, so both schemes are allowed
 * unless the configuration has the scheme.
 */

static ngx_uint_t
same_scheme(ngx_http_request_t *r, fanout_origins_t *allowed,
    ngx_str_t *scheme)
{
    ngx_str_t  value;

    if (allowed->scheme) {
        if (ngx_http_complex_value(r, allowed->scheme, &value) != NGX_OK) {
            return 0;
        }

        if (value.len) {
            return equal(&value, scheme);
        }
    }

#if (NGX_SSL || NGX_COMPAT)
    return r->connection->ssl == NULL || origin_is(scheme, "https");
#else
    return 1;
#endif
}


/* a page of the host that the request is for is allowed */

static ngx_uint_t
own_host(ngx_http_request_t *r, fanout_origins_t *allowed)
{
    ngx_uint_t       i;
    fanout_origin_t  o;

    static ngx_str_t  schemes[] = {
        ngx_string("https"),
        ngx_string("http")
    };

    for (i = 0; i < 2; i++) {
        o.kind = FANOUT_ORIGIN_NAMED;
        o.scheme = schemes[i];
        o.port = default_port(&schemes[i]);

        if (same_scheme(r, allowed, &o.scheme)
            && fanout_origin_host(r, &o.host, &o.port) == NGX_OK
            && origin_find(r, allowed, &o) != VERDICT_REFUSED)
        {
            return 1;
        }
    }

    return 0;
}


/* Returns 1 if an element of the page, such as an image, makes this request:
 * users of the site may have put it there.  Scripts have the destination
 * "empty". */

static ngx_uint_t
embedded(ngx_http_request_t *r)
{
    ngx_str_t  text;

    text = fanout_http_header(r, "sec-fetch-dest");

    return text.len && !origin_is(&text, "empty")
           && !origin_is(&text, "websocket");
}


/* A page can add these headers only if a preflight allows them, or to a request
 * to its own origin. */

static ngx_uint_t
own_header(ngx_http_request_t *r)
{
    return fanout_http_header(r, "x-requested-with").len
           || fanout_http_header(r, "fanout-client").len
           || fanout_http_header(r, "fanout-resume").len;
}


/* A page can hide the Referer, but not choose it. */

static ngx_uint_t
referred(ngx_http_request_t *r, fanout_origins_t *allowed)
{
    u_char           *p, *last;
    ngx_str_t         text;
    fanout_origin_t   o;

    text = fanout_http_header(r, "referer");
    last = text.data + text.len;

    p = ngx_strnstr(text.data, "://", text.len);

    if (p == NULL) {
        return 0;
    }

    for (p += 3; p < last && *p != '/' && *p != '?' && *p != '#'; p++) {
        /* void */
    }

    text.len = p - text.data;

    return fanout_origin_parse(&text, &o) == NGX_OK
           && origin_find(r, allowed, &o) != VERDICT_REFUSED;
}


static ngx_uint_t
allows_any(fanout_origins_t *allowed)
{
    ngx_uint_t        i;
    fanout_origin_t  *a;

    if (allowed->origins == NULL) {
        return 0;
    }

    a = allowed->origins->elts;

    for (i = 0; i < allowed->origins->nelts; i++) {
        if (a[i].kind == FANOUT_ORIGIN_ANY) {
            return 1;
        }
    }

    return 0;
}


void
fanout_origin_log(ngx_http_request_t *r, const char *directive,
    const char *what, ngx_str_t *value)
{
    size_t  len;

    static ngx_msec_t  next;
    static ngx_uint_t  more, said;

    if (said && (ngx_msec_int_t) (ngx_current_msec - next) < 0) {
        more++;
        return;
    }

    len = ngx_min(value->len, FANOUT_ORIGIN_TEXT);

    if (more) {
        ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                      "fanout refused a page, and %ui before that had no line "
                      "of their own: %s \"%*s\" is not allowed by \"%s\"",
                      more, what, len, value->data, directive);

    } else {
        ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                      "fanout refused a page: %s \"%*s\" is not allowed by "
                      "\"%s\"", what, len, value->data, directive);
    }

    said = 1;
    more = 0;
    next = ngx_current_msec + FANOUT_ORIGIN_LOG;
}


/* CORS */

ngx_int_t
fanout_origin_cors(ngx_http_request_t *r, fanout_origins_t *allowed)
{
    ngx_str_t  text, *origin;
    verdict_e  verdict;

    static ngx_str_t  any = ngx_string("*");
    static ngx_str_t  yes = ngx_string("true");
    static ngx_str_t  expose = ngx_string("Fanout-Position, Retry-After");
    static ngx_str_t  vary = ngx_string("Origin");

    if (fanout_http_add(r, "Vary", &vary) != NGX_OK) {
        return NGX_ERROR;
    }

    verdict = judge(r, allowed, &text);

    if (verdict != VERDICT_LISTED && verdict != VERDICT_ANY) {
        return NGX_OK;
    }

    /* a response to any page has nothing that depends on the user */

    origin = verdict == VERDICT_ANY ? &any : &text;

    if (fanout_http_add(r, "Access-Control-Allow-Origin", origin)
        != NGX_OK
        || fanout_http_add(r, "Access-Control-Expose-Headers",
                           &expose) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return verdict == VERDICT_ANY
           ? NGX_OK
           : fanout_http_add(r, "Access-Control-Allow-Credentials",
                             &yes);
}


ngx_int_t
fanout_origin_preflight(ngx_http_request_t *r, ngx_str_t *methods,
    ngx_str_t *headers)
{
    size_t      i;
    ngx_int_t   rc;
    ngx_str_t   asked;

    static ngx_str_t  age = ngx_string("600");
    static char       tokens[] = "!#$%&'*+-.^_`|~, \t";

    asked = fanout_http_header(r, "access-control-request-headers");

    for (i = 0; i < asked.len; i++) {
        if (!((asked.data[i] | 0x20) >= 'a' && (asked.data[i] | 0x20) <= 'z')
            && !(asked.data[i] >= '0' && asked.data[i] <= '9')
            && ngx_strlchr((u_char *) tokens,
                           (u_char *) tokens + sizeof(tokens) - 1,
                           asked.data[i]) == NULL)
        {
            break;
        }
    }

    if (asked.len == 0 || i < asked.len
        || asked.len > FANOUT_ORIGIN_HEADERS)
    {
        asked = *headers;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (fanout_http_add(r, "Access-Control-Allow-Methods", methods)
        != NGX_OK
        || fanout_http_add(r, "Access-Control-Allow-Headers", &asked)
           != NGX_OK
        || fanout_http_add(r, "Access-Control-Max-Age", &age)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}
