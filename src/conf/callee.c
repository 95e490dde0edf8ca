
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locations that are called: by fanout_hook, by fanout_authorize.
 */


#include "conf/conf.h"


char *
fanout_conf_callee(ngx_conf_t *cf, const char *directive, ngx_str_t *text,
    fanout_callee_t *callee)
{
    u_char                    *p;
    size_t                     len;
    ngx_http_core_srv_conf_t  *cscf;

    if (text->len == 0 || text->data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URI \"%V\" of \"%s\", it begins with "
                           "\"/\" and names a location of this server", text,
                           directive);
        return NGX_CONF_ERROR;
    }

    if (ngx_strlchr(text->data, text->data + text->len, '$')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URI \"%V\" of \"%s\", it takes no "
                           "variables", text, directive);
        return NGX_CONF_ERROR;
    }

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    callee->ctx = cscf->ctx;
    callee->uri = *text;

    p = ngx_strlchr(text->data, text->data + text->len, '?');

    if (p) {
        callee->uri.len = p - text->data;
        callee->args.data = p + 1;
        callee->args.len = text->data + text->len - (p + 1);
    }

    len = ngx_strlen(directive) + sizeof(" \"\"") - 1 + text->len;

    callee->what.data = ngx_pnalloc(cf->pool, len);
    if (callee->what.data == NULL) {
        return NGX_CONF_ERROR;
    }

    callee->what.len = ngx_sprintf(callee->what.data, "%s \"%V\"", directive,
                                   text)
                       - callee->what.data;

    return NGX_CONF_OK;
}
