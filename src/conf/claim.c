
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Claims of tokens as variables: $fanout_claim_NAME, and fanout_jwt_claim for
 * those that such a name can't say; what compiles texts with variables.
 */


#include "conf/conf.h"
#include "transport/bearer.h"


/* a claim within others, from the outside in */

typedef struct {
    fanout_json_t  *names;
    ngx_uint_t      n;
} claim_t;


static ngx_uint_t claim_has_capital(u_char *p, u_char *last, ngx_str_t *name);
static ngx_uint_t claim_is_declared(ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t claim_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, const fanout_json_t *names, ngx_uint_t n);


char *
fanout_set_user(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return fanout_conf_check_claims(cf, &value[1]) == NGX_CONF_OK
           ? ngx_http_set_complex_value_slot(cf, cmd, conf) : NGX_CONF_ERROR;
}


char *
fanout_conf_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_complex_value_t *cv)
{
    ngx_http_compile_complex_value_t  ccv;

    if (fanout_conf_check_claims(cf, text) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = cv;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


char *
fanout_conf_check_claims(ngx_conf_t *cf, ngx_str_t *text)
{
    u_char     *p, *last;
    ngx_str_t   name;

    last = text->data + text->len;

    for (p = text->data; p < last; p++) {

        if (*p != '$' || !claim_has_capital(p + 1, last, &name)
            || claim_is_declared(cf, &name))
        {
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"$%V\" names no claim: NGINX makes the names of "
                           "variables lower, so a claim with capitals needs "
                           "\"fanout_jwt_claim $variable %*s\"", &name,
                           name.len - (sizeof("fanout_claim_") - 1),
                           name.data + sizeof("fanout_claim_") - 1);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Of the variable that begins behind a "$": whether its claim has one. */

static ngx_uint_t
claim_has_capital(u_char *p, u_char *last, ngx_str_t *name)
{
    size_t      prefix;
    ngx_uint_t  capital;

    prefix = sizeof("fanout_claim_") - 1;
    p += (p < last && *p == '{');
    name->data = p;
    capital = 0;

    for ( /* void */ ; p < last && (isalnum(*p) || *p == '_'); p++) {
        capital |= (p >= name->data + prefix && isupper(*p));
    }

    name->len = p - name->data;

    return capital
           && ngx_strncasecmp(name->data, (u_char *) "fanout_claim_", prefix)
              == 0;
}


/* A variable of fanout_jwt_claim may have such a name. */

static ngx_uint_t
claim_is_declared(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_hash_key_t             *key;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    key = cmcf->variables_keys->keys.elts;

    for (i = 0; i < cmcf->variables_keys->keys.nelts; i++) {
        if (key[i].key.len == name->len
            && ngx_strncasecmp(key[i].key.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


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
