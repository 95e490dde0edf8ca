
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Which page a request comes from, and whether it may: origins (RFC 6454),
 * fetch metadata, the name of the host, CORS (the Fetch standard).
 */


#ifndef FANOUT_HTTP_ORIGIN_H
#define FANOUT_HTTP_ORIGIN_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef enum {
    FANOUT_ORIGIN_NAMED = 0,
    FANOUT_ORIGIN_SAME,
    FANOUT_ORIGIN_NULL,                     /* "null": sandboxes, files */
    FANOUT_ORIGIN_ANY
} fanout_origin_e;


/* an origin: as a page sends it, or of the configuration */

typedef struct {
    fanout_origin_e  kind;
    ngx_str_t        scheme;
    ngx_str_t        host;                  /* "[::1]" with brackets */
    ngx_uint_t       port;                  /* of the scheme if none was said;
                                               0: the scheme has none */
} fanout_origin_t;


/* what a location lets in */

typedef struct {
    ngx_array_t               *origins;     /* origin_t, NULL: same */
    ngx_http_complex_value_t  *scheme;      /* of pages of the same origin,
                                               NULL: the connection's */
    const char                *directive;   /* that is to be changed */
    const char                *refused;     /* what a client is told */
} fanout_origins_t;


/*
 * Reads "null" or scheme://host[:port], of which everything but "http" and
 * "https" may be without a host.  The strings point into text.  NGX_OK or
 * NGX_DECLINED.
 */
ngx_int_t fanout_origin_parse(ngx_str_t *text, fanout_origin_t *o);

/* The name of the host that a request is for, and its port, which stays as it
 * is if none was said: NGX_OK or NGX_DECLINED. */
ngx_int_t fanout_origin_host(ngx_http_request_t *r, ngx_str_t *host,
    ngx_uint_t *port);

/*
 * NULL if the page that sends the request, if there is one, may; otherwise
 * why not, and the log has a line at the level "notice".  By the header
 * Origin; without one by Sec-Fetch-Site, where "same-origin" is right if the
 * host's own origin is let in, and "none" and no header are.
 */
const char *fanout_origin_check(ngx_http_request_t *r,
    fanout_origins_t *allowed);

/* The line in the log: which value of which header, and the directive that
 * doesn't allow it.  Any page can cause it as often as it likes, so there is
 * one line a second at most, which counts the others. */
void fanout_origin_log(ngx_http_request_t *r, const char *directive,
    const char *what, ngx_str_t *value);

/*
 * Whether it is known that the browser sends this GET, which was checked, for
 * a script of a page whose origin is let in: 1 or 0.  An image on any page
 * sends the cookies, but neither Origin nor a header of one's own; an image
 * that a user has put into a page of the site has another Sec-Fetch-Dest.
 */
ngx_uint_t fanout_origin_proved(ngx_http_request_t *r,
    fanout_origins_t *allowed);

/*
 * Adds what lets a page of an origin that is let in read the response,
 * whatever it will be; before it is known.  NGX_ERROR on lack of memory.
 */
ngx_int_t fanout_origin_cors(ngx_http_request_t *r,
    fanout_origins_t *allowed);

/*
 * Answers what a browser asks before it sends a request that a page could not
 * send by itself.  methods is a list, headers those that are let through if
 * the request doesn't say.  What a content handler returns.
 */
ngx_int_t fanout_origin_preflight(ngx_http_request_t *r, ngx_str_t *methods,
    ngx_str_t *headers);


#endif /* FANOUT_HTTP_ORIGIN_H */
