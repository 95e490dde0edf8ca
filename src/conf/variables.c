
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The variables.
 */


#include "conf/conf.h"
#include "base/id.h"
#include "transport/transport.h"


static ngx_int_t client_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t user_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  variables[] = {

    { ngx_string("fanout_user"), NULL, user_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fanout_client"), NULL, client_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fanout_claim_"), NULL, fanout_claim_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


ngx_int_t
fanout_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* known once the handshake is accepted, so in the access log */

static ngx_int_t
client_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char             *p;
    fanout_session_t   *s;
    fanout_loc_conf_t  *conf;

    /* the context of an API request is another */

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);
    s = conf->app ? ngx_http_get_module_ctx(r, ngx_http_fanout_module) : NULL;

    if (s == NULL || s->identity.client == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, FANOUT_CLIENT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) fanout_client_format(p, s->identity.client);

    v->data = p;
    v->len = FANOUT_CLIENT_LEN;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
user_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t           user;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (conf->user == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, conf->user, &user) != NGX_OK) {
        return NGX_ERROR;
    }

    v->data = user.data;
    v->len = user.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
