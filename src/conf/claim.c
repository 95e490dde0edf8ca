
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Claims of tokens as variables: $fanout_claim_NAME, and fanout_jwt_claim for
 * those that such a name can't say.
 */


#include "conf/conf.h"
#include "transport/bearer.h"


/* a claim within others, from the outside in */

typedef struct {
    fanout_json_t  *names;
    ngx_uint_t      n;
} claim_t;


static ngx_int_t claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t claim_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, const fanout_json_t *names, ngx_uint_t n);


char *
fanout_set_jwt_claim(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    claim_t              *claim;
    ngx_str_t            *value, name;
    ngx_uint_t            i;
    ngx_http_variable_t  *v;

    value = cf->args->elts;

    if (value[1].len < 2 || value[1].data[0] != '$') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid variable \"%V\": it begins with \"$\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    claim = ngx_palloc(cf->pool, sizeof(claim_t));
    if (claim == NULL) {
        return NGX_CONF_ERROR;
    }

    claim->n = cf->args->nelts - 2;
    claim->names = ngx_palloc(cf->pool, claim->n * sizeof(fanout_json_t));

    if (claim->names == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < claim->n; i++) {
        claim->names[i].data = value[i + 2].data;
        claim->names[i].len = value[i + 2].len;
    }

    name.data = value[1].data + 1;
    name.len = value[1].len - 1;

    v = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (v == NULL) {
        return NGX_CONF_ERROR;
    }

    v->get_handler = claim_variable;
    v->data = (uintptr_t) claim;

    return NGX_CONF_OK;
}


static ngx_int_t
claim_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    claim_t  *claim = (claim_t *) data;

    return claim_value(r, v, claim->names, claim->n);
}


static ngx_int_t
claim_value(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    const fanout_json_t *names, ngx_uint_t n)
{
    ngx_int_t           rc;
    ngx_str_t           value;
    fanout_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);
    rc = fanout_bearer_claim(r, conf, names, n, &value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* $fanout_claim_NAME; data is the name of the variable */

ngx_int_t
fanout_claim_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t  *name = (ngx_str_t *) data;

    fanout_json_t  claim;

    claim.data = name->data + sizeof("fanout_claim_") - 1;
    claim.len = name->len - (sizeof("fanout_claim_") - 1);

    return claim_value(r, v, &claim, 1);
}
