
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The names of a query's arguments: an argument that nothing reads is a mistake
 * in the request.
 */


#include "http/http.h"


static ngx_uint_t args_is_repeated(ngx_str_t *args, u_char *p, ngx_str_t *name);
static ngx_uint_t args_is_variable(ngx_http_request_t *r, ngx_str_t *name);
static ngx_uint_t is_word_of(ngx_str_t *word, const char *words);


ngx_int_t
fanout_http_check_args(ngx_http_request_t *r, const char *names,
    ngx_str_t *name)
{
    u_char      *p, *last, *end;
    ngx_uint_t   word;

    last = r->args.data + r->args.len;

    for (p = r->args.data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        end = end ? end : last;

        name->data = p;
        name->len = end - p;

        p = ngx_strlchr(name->data, end, '=');

        if (p) {
            name->len = p - name->data;
        }

        if (end == name->data) {
            continue;
        }

        word = is_word_of(name, names);

        if (!word && !args_is_variable(r, name)) {
            return NGX_DECLINED;
        }

        if (word && args_is_repeated(&r->args, end, name)) {
            return NGX_BUSY;
        }
    }

    return NGX_OK;
}


ngx_uint_t
fanout_http_arg_named(ngx_http_request_t *r, const char *name)
{
    size_t   len;
    u_char  *p, *last;

    p = r->args.data;
    last = p + r->args.len;
    len = ngx_strlen(name);

    while ((size_t) (last - p) >= len) {

        if (ngx_strncasecmp(p, (u_char *) name, len) == 0
            && (p + len == last || p[len] == '=' || p[len] == '&'))
        {
            return 1;
        }

        p = ngx_strlchr(p, last, '&');

        if (p == NULL) {
            break;
        }

        p++;
    }

    return 0;
}


/* returns 1 if the argument is repeated behind p */

static ngx_uint_t
args_is_repeated(ngx_str_t *args, u_char *p, ngx_str_t *name)
{
    u_char  *last;

    last = args->data + args->len;

    for ( /* void */ ; p && p < last; p = ngx_strlchr(p, last, '&')) {
        p++;

        if ((size_t) (last - p) >= name->len
            && ngx_strncasecmp(p, name->data, name->len) == 0
            && (p + name->len == last || p[name->len] == '='
                || p[name->len] == '&'))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
args_is_variable(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (v[i].name.len == name->len + 4
            && ngx_strncmp(v[i].name.data, "arg_", 4) == 0
            && ngx_strncasecmp(v[i].name.data + 4, name->data, name->len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
is_word_of(ngx_str_t *word, const char *words)
{
    size_t  n;

    for ( /* void */ ; *words; words += n + (words[n] == ' ')) {

        n = strcspn(words, " ");

        if (n == word->len && ngx_strncmp(words, word->data, n) == 0) {
            return 1;
        }
    }

    return 0;
}
