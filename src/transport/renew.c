
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The renewal of a session's credential: see the header.
 */


#include "transport/renew.h"
#include "session/connect.h"
#include "http/http.h"
#include "session/dialect.h"
#include "transport/bearer.h"
#include "transport/kept_handshake.h"
#include "transport/transport.h"


static ngx_int_t renew_connect(ngx_connection_t *c, void *data);
static ngx_int_t renew_request(ngx_http_request_t *r, void *data);
static ngx_int_t renew_uri(ngx_http_request_t *r, u_char *uri, size_t len);
static ngx_int_t renew_token(ngx_http_request_t *r, fanout_renewal_t *renewal);
static void renew_decided(ngx_connection_t *c, void *data);
static void renew_done(void *data, ngx_uint_t status, ngx_str_t *body);
static void renew_refused(fanout_renewal_t *renewal, ngx_uint_t status);
static void renew_evaluate(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_renewal_t *renewal);
static ngx_int_t renew_copy(ngx_str_t *to, ngx_str_t *from);
static void renew_free(fanout_renewal_t *renewal);


static const fanout_caller_t  renewer = {
    renew_connect,
    renew_request,
    renew_decided
};


fanout_renewal_t *
fanout_renew(fanout_session_t *s, ngx_str_t *token)
{
    fanout_renewal_t  *renewal;

    if (!s->renews) {
        return NULL;
    }

    renewal = ngx_calloc(sizeof(fanout_renewal_t) + token->len, ngx_cycle->log);
    if (renewal == NULL) {
        return NULL;
    }

    renewal->session = s;
    renewal->token.data = (u_char *) (renewal + 1);
    renewal->token.len = token->len;
    ngx_memcpy(renewal->token.data, token->data, token->len);

    renewal->callee.ctx = s->handshake->ctx;
    renewal->callee.timeout = s->conf->timeout;
    ngx_str_set(&renewal->callee.what, "a renewal");

    if (fanout_call(&renewal->callee, &renewer, renewal, renew_done, renewal)
        == NULL)
    {
        renew_free(renewal);
        return NULL;
    }

    return renewal;
}


void
fanout_renew_release(fanout_renewal_t *renewal)
{
    renewal->session = NULL;

    if (renewal->connection) {
        renew_decided(renewal->connection, renewal);
    }

    if (renewal->answered) {
        renew_free(renewal);
    }
}


/* The request comes from the client: by its addresses and its TLS, to the same
 * servers. */

static ngx_int_t
renew_connect(ngx_connection_t *c, void *data)
{
    fanout_renewal_t  *renewal = data;

    ngx_connection_t       *from;
    fanout_kept_address_t   where;
    ngx_http_connection_t  *hc;

    from = renewal->session->connection;

    hc = c->data;
    hc->addr_conf = renewal->session->handshake->address;

    if (fanout_kept_address(from, &where) != NGX_OK
        || fanout_kept_connect(c, &where) != NGX_OK)
    {
        return NGX_ERROR;
    }

    c->proxy_protocol = from->proxy_protocol;
    c->log->action = "renewing a session";

#if (NGX_SSL)
    c->ssl = from->ssl;
#endif

    renewal->connection = c;

    return NGX_OK;
}


static ngx_int_t
renew_request(ngx_http_request_t *r, void *data)
{
    fanout_renewal_t  *renewal = data;

    u_char                    *p, *last;
    ngx_int_t                  rc;
    ngx_str_t                  name, value;
    fanout_handshake_t        *kept;
    ngx_http_core_srv_conf_t  *cscf;

    kept = renewal->session->handshake;

    /* the request may outlive the session */

    p = ngx_pnalloc(r->pool, kept->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, kept->text, kept->len);
    last = p + kept->len;

    rc = renew_uri(r, p, ngx_strlen(p));

    for (p += ngx_strlen(p) + 1; p < last && rc == NGX_OK; /* void */ ) {
        name.data = p;
        name.len = ngx_strlen(p);
        p += name.len + 1;

        value.data = p;
        value.len = ngx_strlen(p);
        p += value.len + 1;

        rc = fanout_kept_header(r, &name, &value);
    }

    if (rc == NGX_OK) {
        rc = renew_token(r, renewal);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_in.connection_type = NGX_HTTP_CONNECTION_CLOSE;

    if (ngx_http_process_request_header(r) != NGX_OK) {
        return NGX_DONE;
    }

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    return cscf->ctx == kept->ctx ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
renew_uri(ngx_http_request_t *r, u_char *uri, size_t len)
{
    u_char  *p;

    static ngx_str_t  method = ngx_string("GET");

    r->method = NGX_HTTP_GET;
    r->method_name = method;

    r->request_line.len = method.len + 1 + len + 1 + r->http_protocol.len;

    p = ngx_pnalloc(r->pool, r->request_line.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->request_line.data = p;
    (void) ngx_sprintf(p, "%V %*s %V", &method, len, uri, &r->http_protocol);

    r->uri_start = uri;
    r->uri_end = uri + len;

    if (ngx_http_parse_uri(r) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_process_request_uri(r) == NGX_OK ? NGX_OK : NGX_DONE;
}


/* The location gets the token as such; modules and backends that read it from
 * the header that had it find it there. */

static ngx_int_t
renew_token(ngx_http_request_t *r, fanout_renewal_t *renewal)
{
    u_char             *p;
    ngx_str_t           name, value;
    fanout_jwt_conf_t  *jwt;

    static const char  bearer[] = "Bearer ";

    jwt = renewal->session->conf->jwt;
    name = renewal->session->handshake->header;

    if (fanout_bearer_give(r, jwt, &renewal->token) != NGX_OK) {
        return NGX_ERROR;
    }

    if (name.len == 0) {
        return NGX_OK;
    }

    value.len = sizeof(bearer) - 1 + renewal->token.len;

    p = ngx_pnalloc(r->pool, value.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    p = ngx_cpymem(p, bearer, sizeof(bearer) - 1);
    p = ngx_cpymem(p, renewal->token.data, renewal->token.len);
    *p = '\0';

    return fanout_kept_header(r, &name, &value);
}


/* What is the client's is not closed with the request. */

static void
renew_decided(ngx_connection_t *c, void *data)
{
    fanout_renewal_t  *renewal = data;

    c->proxy_protocol = NULL;

#if (NGX_SSL)
    c->ssl = NULL;
#endif

    renewal->connection = NULL;
}


static void
renew_done(void *data, ngx_uint_t status, ngx_str_t *body)
{
    fanout_renewal_t  *renewal = data;

    renewal->answered = 1;

    if (renewal->session == NULL) {
        renew_free(renewal);
        return;
    }

    if (!renewal->reached) {
        renew_refused(renewal, status);
    }

    fanout_session_answered(renewal->session);
}


/* Others have answered in place of the location. */

static void
renew_refused(fanout_renewal_t *renewal, ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_UNAUTHORIZED:
    case NGX_HTTP_FORBIDDEN:
        renewal->rc = FANOUT_E_UNAUTHORIZED;
        renewal->why = "an access rule of the location refuses it";
        return;

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        renewal->rc = FANOUT_E_UNAVAILABLE;
        renewal->why = "a limit of the location refuses it";
        return;

    default:
        renewal->rc = status >= 200 && status < 500
                      ? FANOUT_E_UNAUTHORIZED : FANOUT_E_UNAVAILABLE;
        renewal->why = status >= 200 && status < 500
                       ? "the handshake leads elsewhere now"
                       : "what allows it gives no answer";
    }
}


/* the answer */

fanout_renewal_t *
fanout_renewal_of(ngx_http_request_t *r)
{
    return r == r->main ? fanout_call_data(r, &renewer) : NULL;
}


ngx_int_t
fanout_renew_handler(ngx_http_request_t *r, fanout_renewal_t *renewal)
{
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (renewal->session && renewal->session->conf == conf) {
        renewal->reached = 1;
        renew_evaluate(r, conf, renewal);
    }

    /* only calls of renewals get here: nobody reads it */

    r->header_only = 1;
    r->headers_out.status = NGX_HTTP_NO_CONTENT;

    return ngx_http_send_header(r);
}


static void
renew_evaluate(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_renewal_t *renewal)
{
    ngx_int_t                rc;
    ngx_str_t                user, info;
    ngx_uint_t               status;
    const char              *why;
    const fanout_dialect_t  *dialect;

    dialect = renewal->session->dialect;
    why = fanout_credential_check(r, conf, &user, &status);

    if (why == NULL) {
        why = fanout_connect_check(r, conf, &status);
    }

    if (why) {
        renewal->rc = status < 500 && status != NGX_HTTP_TOO_MANY_REQUESTS
                      ? FANOUT_E_UNAUTHORIZED : FANOUT_E_UNAVAILABLE;
        renewal->why = why;
        return;
    }

    ngx_str_null(&info);

    rc = dialect->info ? dialect->info(r, conf, &info) : NGX_OK;

    if (rc == NGX_DECLINED) {
        renewal->rc = FANOUT_E_TOO_LARGE;
        renewal->why = "the profile has more than 4096 bytes: fanout_user_info";
        return;
    }

    if (rc != NGX_OK
        || fanout_subject(r, conf, &user, &renewal->who) != NGX_OK
        || renew_copy(&renewal->user, &user) != NGX_OK
        || renew_copy(&renewal->info, &info) != NGX_OK)
    {
        renewal->rc = FANOUT_E_INTERNAL;
        return;
    }

    renewal->left = fanout_connect_left(r, conf, fanout_bearer_left(r, conf));
    renewal->permissions = fanout_connect_permissions(r, conf);

    if (renewal->permissions == NULL) {
        renewal->rc = FANOUT_E_INTERNAL;
    }
}


static ngx_int_t
renew_copy(ngx_str_t *to, ngx_str_t *from)
{
    if (from->len == 0) {
        return NGX_OK;
    }

    to->data = ngx_alloc(from->len, ngx_cycle->log);
    if (to->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(to->data, from->data, from->len);
    to->len = from->len;

    return NGX_OK;
}


static void
renew_free(fanout_renewal_t *renewal)
{
    if (renewal->permissions) {
        fanout_permissions_release(renewal->permissions);
    }

    if (renewal->user.data) {
        ngx_free(renewal->user.data);
    }

    if (renewal->info.data) {
        ngx_free(renewal->info.data);
    }

    ngx_explicit_memzero(renewal->token.data, renewal->token.len);
    ngx_free(renewal);
}
