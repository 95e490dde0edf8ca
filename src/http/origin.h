
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The page that a request comes from, and whether it is allowed: origins (RFC
 * 6454), fetch metadata, the name of the host, CORS (the Fetch standard).
 */


#ifndef FANOUT_HTTP_ORIGIN_H
#define FANOUT_HTTP_ORIGIN_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef enum {
    FANOUT_ORIGIN_NAMED = 0,
    FANOUT_ORIGIN_BELOW,                    /* hosts that end in the text */
    FANOUT_ORIGIN_SAME,
    FANOUT_ORIGIN_NULL,                     /* "null": sandboxes, files */
    FANOUT_ORIGIN_ANY
} fanout_origin_e;


/* an origin: from a page, or from the configuration */

typedef struct {
    fanout_origin_e  kind;
    ngx_str_t        scheme;
    ngx_str_t        host;                  /* "[::1]" with brackets;
                                               ".example.com" of BELOW */
    ngx_uint_t       port;                  /* the scheme's default if the text
                                               has none; 0: the scheme has no
                                               default */
} fanout_origin_t;


/* the origins that a location allows */

typedef struct {
    ngx_array_t               *origins;     /* origin_t, NULL: same */
    ngx_http_complex_value_t  *scheme;      /* of pages of the same origin,
                                               NULL: the connection's */
    const char                *directive;   /* named in the log */
    const char                *refused;     /* error for the client */
} fanout_origins_t;


/*
 * Parses "null" or scheme://host[:port]; schemes other than "http" and "https"
 * may have no host.  The strings point into text.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t fanout_origin_parse(ngx_str_t *text, fanout_origin_t *o);

/* Finds the name of the host that a request is for, and its port; port stays as
 * it is if the request has none.  NGX_OK or NGX_DECLINED. */
ngx_int_t fanout_origin_host(ngx_http_request_t *r, ngx_str_t *host,
    ngx_uint_t *port);

/*
 * Checks the page that sends the request, if there is one.  Returns NULL if it
 * is allowed; otherwise the error, and writes a line at the level "notice" to
 * the log.  The check uses the header Origin, and without it Sec-Fetch-Site:
 * "same-origin" is allowed if the host's own origin is, "none" and no header
 * are always allowed.
 */
const char *fanout_origin_check(ngx_http_request_t *r,
    fanout_origins_t *allowed);

/* Logs which value of which header was refused, and the directive that does not
 * allow it.  Any page can cause this as often as it likes, so there is at most
 * one line a second, which counts the others. */
void fanout_origin_log(ngx_http_request_t *r, const char *directive,
    const char *what, ngx_str_t *value);

/*
 * Returns 1 if the browser certainly sends this GET, which was checked, for a
 * script of a page whose origin is allowed, else 0.  An image on any page sends
 * the cookies, but neither Origin nor a custom header; an image that a user has
 * put into a page of the site has another Sec-Fetch-Dest.
 */
ngx_uint_t fanout_origin_proved(ngx_http_request_t *r,
    fanout_origins_t *allowed);

/*
 * Adds the headers that let a page of an allowed origin read the response,
 * whatever it will be; call it before the response is known.  NGX_OK; NGX_ERROR
 * without memory.
 */
ngx_int_t fanout_origin_cors(ngx_http_request_t *r,
    fanout_origins_t *allowed);

/*
 * Answers the preflight of a browser for a request that a page can't send by
 * itself.  methods is a list; headers are those that are allowed if the request
 * names none.  Returns a result of a content handler.
 */
ngx_int_t fanout_origin_preflight(ngx_http_request_t *r, ngx_str_t *methods,
    ngx_str_t *headers);


#endif /* FANOUT_HTTP_ORIGIN_H */
