
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What the API and the status share: reading requests, writing responses.
 */


#ifndef FANOUT_HTTP_HTTP_H
#define FANOUT_HTTP_HTTP_H


#include "hub/hub.h"


extern ngx_str_t  fanout_type_json;
extern ngx_str_t  fanout_type_text;


/*
 * Whether each argument of the query is one of names, which are words with a
 * space between, or is read by the configuration, such as a token by
 * $arg_token.  NGX_OK; NGX_DECLINED if one is not, NGX_BUSY if one of names is
 * there twice: name is that one then, as it was sent.
 */
ngx_int_t fanout_http_check_args(ngx_http_request_t *r, const char *names,
    ngx_str_t *name);

/*
 * An argument of the query, decoded, "+" as a space.  NGX_OK; NGX_DECLINED if
 * it is not there or empty, value then has len 0; NGX_ERROR on lack of
 * memory.  From the request's pool.
 */
ngx_int_t fanout_http_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* A header of the request by its name in lower case; len 0 if it is not
 * there. */
ngx_str_t fanout_http_header(ngx_http_request_t *r, const char *name);

/*
 * The body that ngx_http_read_client_request_body() has read, in memory or in
 * a file.  Only to be read: others, as "mirror", send the same bytes.
 * NGX_ERROR on lack of memory or a read error.
 */
ngx_int_t fanout_http_body(ngx_http_request_t *r, ngx_str_t *body);

/* Size of that body in bytes. */
off_t fanout_http_body_size(ngx_http_request_t *r);

/* The kind of a body by its media type: JSON, TEXT or BINARY, or GUESS when
 * that says nothing. */
#define FANOUT_GUESS  255

ngx_uint_t fanout_http_kind(ngx_str_t *type);

/* Adds a header to the response; value must last as long as the request. */
ngx_int_t fanout_http_add(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* Whether the API or the status may be called by the host that the request
 * names, which is stored: 1 or 0.  An address, localhost, one of hosts
 * (ngx_str_t, or NULL), a name of the server (ngx_http_server_name_t); or there
 * is none, as no browser leaves it out. */
ngx_uint_t fanout_host_allowed(ngx_http_request_t *r, ngx_array_t *hosts,
    ngx_array_t *names, ngx_str_t *host);

/* Sends a whole response; data must last as long as the request.  Returns
 * what ngx_http_finalize_request() takes. */
ngx_int_t fanout_http_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, u_char *data, size_t len);

/* The same with a frame, whose reference it takes over in any case. */
ngx_int_t fanout_http_send_outbuf(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_uint_t status, ngx_str_t *type, fanout_outbuf_t *f);

/* Writes {"code":,"message":,"data":} to the request's pool; data is raw
 * JSON or has len 0.  NGX_ERROR on lack of memory. */
ngx_int_t fanout_http_error_text(ngx_http_request_t *r, ngx_str_t *code,
    ngx_str_t *message, ngx_str_t *data, ngx_str_t *text);

/* Sends {"error":…} with that. */
ngx_int_t fanout_http_send_error(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *code, ngx_str_t *message, ngx_str_t *data);

/* Refuses a request for its method: 405 with "Allow". */
ngx_int_t fanout_http_send_not_allowed(ngx_http_request_t *r,
    ngx_str_t *allow);

/* Refuses a request because this worker has no zone: 503. */
ngx_int_t fanout_http_send_unavailable(ngx_http_request_t *r);


#endif /* FANOUT_HTTP_HTTP_H */
