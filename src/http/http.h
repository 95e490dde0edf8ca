
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Reading requests and writing responses, for the API and the status.
 */


#ifndef FANOUT_HTTP_HTTP_H
#define FANOUT_HTTP_HTTP_H


#include "hub/hub.h"


extern ngx_str_t  fanout_type_json;
extern ngx_str_t  fanout_type_text;


/*
 * Checks that each argument of the query is one of names (words separated by a
 * space), or is used by the configuration, such as a token by $arg_token.
 * NGX_OK; NGX_DECLINED if an argument is neither, NGX_BUSY if one of names is
 * repeated: name is that argument then, as it was sent.
 */
ngx_int_t fanout_http_check_args(ngx_http_request_t *r, const char *names,
    ngx_str_t *name);

/*
 * Decodes an argument of the query, "+" as a space, into the request's pool.
 * NGX_OK; NGX_DECLINED if it is missing or empty, value then has len 0;
 * NGX_ERROR without memory.
 */
ngx_int_t fanout_http_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* Decodes the value of an argument likewise: NGX_OK, NGX_ERROR. */
ngx_int_t fanout_http_decode(ngx_http_request_t *r, ngx_str_t *raw,
    ngx_str_t *value);

/* Whether the query has an argument of this name, with a value or without. */
ngx_uint_t fanout_http_arg_named(ngx_http_request_t *r, const char *name);

/* Returns a header of the request by its name in lower case; len 0 if it is
 * missing. */
ngx_str_t fanout_http_header(ngx_http_request_t *r, const char *name);

/*
 * Returns in body the bytes that ngx_http_read_client_request_body() has read,
 * into memory or a file.  They are read-only: other modules, such as "mirror",
 * send the same bytes.  NGX_OK; NGX_ERROR without memory or on a read error.
 */
ngx_int_t fanout_http_body(ngx_http_request_t *r, ngx_str_t *body);

/* Returns the size of that body in bytes. */
off_t fanout_http_body_size(ngx_http_request_t *r);

/* Returns the kind of a body by its media type: JSON, TEXT or BINARY, or GUESS
 * if the type does not show it. */
#define FANOUT_GUESS  255

ngx_uint_t fanout_http_kind(ngx_str_t *type);

/* Adds a header to the response; value must live as long as the request.
 * NGX_OK, NGX_ERROR. */
ngx_int_t fanout_http_add(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* Returns 1 if the API or the status may be called by the host that the request
 * names, else 0; *host is that host.  Allowed are an address, localhost, one of
 * hosts (ngx_str_t, or NULL), a name of the server (ngx_http_server_name_t),
 * and a request without a host, because browsers always send one. */
ngx_uint_t fanout_host_allowed(ngx_http_request_t *r, ngx_array_t *hosts,
    ngx_array_t *names, ngx_str_t *host);

/* Sends a whole response; data must live as long as the request.  Returns a
 * result for ngx_http_finalize_request(). */
ngx_int_t fanout_http_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, u_char *data, size_t len);

/* The same with an outbuf, whose reference it takes over in any case. */
ngx_int_t fanout_http_send_outbuf(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_uint_t status, ngx_str_t *type, fanout_outbuf_t *f);

/* Writes {"code":,"message":,"data":} into the request's pool; data is raw JSON
 * or has len 0.  NGX_OK; NGX_ERROR without memory. */
ngx_int_t fanout_http_error_text(ngx_http_request_t *r, ngx_str_t *code,
    ngx_str_t *message, ngx_str_t *data, ngx_str_t *text);

/* Sends {"error":…} with that text. */
ngx_int_t fanout_http_send_error(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *code, ngx_str_t *message, ngx_str_t *data);

/* Refuses the method of a request: 405 with "Allow". */
ngx_int_t fanout_http_send_not_allowed(ngx_http_request_t *r,
    ngx_str_t *allow);

/* Refuses a request because this worker has no zone: 503. */
ngx_int_t fanout_http_send_unavailable(ngx_http_request_t *r);


#endif /* FANOUT_HTTP_HTTP_H */
