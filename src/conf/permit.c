
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_permit, fanout_autojoin, fanout_user_info: what a session may do, is
 * joined to and is known as, with variables in it.
 */


#include "conf/conf.h"
#include "hub/hub.h"


static ngx_uint_t is_list(fanout_permit_t *permit);
static char *check_permit(ngx_conf_t *cf, ngx_str_t *pattern,
    ngx_uint_t alone);
static char *permit_pattern(ngx_conf_t *cf, ngx_str_t *value,
    fanout_permit_t *permit);
static ngx_uint_t has_channel(ngx_array_t *channels, ngx_str_t *text);
static ngx_uint_t has_profile(ngx_array_t *info, u_char *name, size_t len);
static ngx_uint_t profile_name(u_char *p, u_char *last);


char *
fanout_set_permit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ngx_str_t        *value, s;
    ngx_uint_t        i, n, ops, separators;
    fanout_permit_t  *permit;

    value = cf->args->elts;

    ops = fanout_conf_operations(&value[1], &s);

    if (ops == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown operation \"%V\" in \"%V\": there are "
                           "join, publish, history, presence, profile, "
                           "signal, record, lock and all", &s, &value[1]);
        return NGX_CONF_ERROR;
    }

    n = cf->args->nelts;
    separators = 0;

    if (fanout_conf_parameter(&value[n - 1], "separators", &s)) {

        if (ngx_strcmp(s.data, "refuse") != 0
            && ngx_strcmp(s.data, "allow") != 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": \"separators=\" is "
                               "\"refuse\" or \"allow\"", &value[n - 1]);
            return NGX_CONF_ERROR;
        }

        separators = (s.data[0] == 'a');
        n--;

        if (n == 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"fanout_permit\" has no channel pattern");
            return NGX_CONF_ERROR;
        }
    }

    if (flcf->permits == NGX_CONF_UNSET_PTR) {
        flcf->permits = ngx_array_create(cf->pool, 4,
                                         sizeof(fanout_permit_t));
        if (flcf->permits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 2; i < n; i++) {

        if (check_permit(cf, &value[i], n == 3) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        permit = ngx_array_push(flcf->permits);
        if (permit == NULL) {
            return NGX_CONF_ERROR;
        }

        permit->ops = ops;
        permit->text = value[i];
        permit->separators = separators;

        if (permit_pattern(cf, &value[i], permit) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        permit->list = is_list(permit);

        if (permit->list && n < cf->args->nelts) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"separators=\" is not for the list \"%V\": "
                               "its patterns are taken as they are",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* "list:$variable" and nothing else */

static ngx_uint_t
is_list(fanout_permit_t *permit)
{
    fanout_part_t  *part;

    part = permit->parts->elts;

    return permit->parts->nelts == 2
           && part[0].variable == -1 && part[1].variable != -1
           && part[0].text.len == 5
           && ngx_strncmp(part[0].text.data, "list:", 5) == 0;
}


ngx_uint_t
fanout_conf_operations(ngx_str_t *value, ngx_str_t *unknown)
{
    u_char      *p, *last, *comma;
    ngx_uint_t   op, ops;

    ops = 0;
    last = value->data + value->len;

    for (p = value->data; p <= last; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');

        if (comma == NULL) {
            comma = last;
        }

        unknown->data = p;
        unknown->len = comma - p;

        op = fanout_permission(p, unknown->len);

        if (op == 0) {
            return 0;
        }

        ops |= op;
    }

    return ops;
}


/* Likely mistakes: an operation, a parameter or a regular expression in place
 * of a pattern. */

static char *
check_permit(ngx_conf_t *cf, ngx_str_t *pattern, ngx_uint_t alone)
{
    ngx_str_t  s;

    if (fanout_conf_parameter(pattern, "separators", &s)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be the last parameter of "
                           "\"fanout_permit\"", pattern);
        return NGX_CONF_ERROR;
    }

    if (fanout_conf_operations(pattern, &s) == 0) {
        fanout_conf_check_pattern(cf, pattern);
        return NGX_CONF_OK;
    }

    if (alone) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"%V\" is the name of a channel here: "
                           "\"fanout_permit\" takes operations with commas "
                           "between, and then patterns", pattern);
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" is an operation, and no channel pattern: "
                       "\"fanout_permit\" takes operations with commas "
                       "between (a channel of this name needs a "
                       "\"fanout_permit\" of its own)", pattern);

    return NGX_CONF_ERROR;
}


/* splits "user:$fanout_user:*" into text and variables */

static char *
permit_pattern(ngx_conf_t *cf, ngx_str_t *value, fanout_permit_t *permit)
{
    u_char         *p, *last, *start;
    ngx_str_t       name;
    ngx_uint_t      bracket;
    fanout_part_t  *part;

    permit->parts = ngx_array_create(cf->pool, 4, sizeof(fanout_part_t));
    if (permit->parts == NULL) {
        return NGX_CONF_ERROR;
    }

    last = value->data + value->len;

    for (p = value->data; p < last; /* void */ ) {

        part = ngx_array_push(permit->parts);
        if (part == NULL) {
            return NGX_CONF_ERROR;
        }

        part->variable = -1;
        start = p;

        if (*p != '$') {
            while (p < last && *p != '$') {
                if (*p < 0x20 || *p == 0x7f) {
                    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                       "control character in channel pattern "
                                       "\"%V\"", value);
                    return NGX_CONF_ERROR;
                }

                p++;
            }

            part->text.data = start;
            part->text.len = p - start;
            continue;
        }

        p++;
        bracket = (p < last && *p == '{');
        p += bracket;
        name.data = p;

        while (p < last
               && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                   || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            p++;
        }

        name.len = p - name.data;

        if (name.len == 0 || (bracket && (p == last || *p != '}'))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid variable in channel pattern \"%V\"",
                               value);
            return NGX_CONF_ERROR;
        }

        p += bracket;

        part->variable = ngx_http_get_variable_index(cf, &name);

        if (part->variable == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }
    }

    if (permit->parts->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "empty channel pattern");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
fanout_set_autojoin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    ngx_str_t        *value;
    ngx_uint_t        i;
    fanout_permit_t  *channel;

    if (flcf->autojoin == NGX_CONF_UNSET_PTR) {
        flcf->autojoin = ngx_array_create(cf->pool, 4,
                                          sizeof(fanout_permit_t));
        if (flcf->autojoin == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '*')) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid channel \"%V\": \"fanout_autojoin\" "
                               "takes no wildcards", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (has_channel(flcf->autojoin, &value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate channel \"%V\" in "
                               "\"fanout_autojoin\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        fanout_conf_check_pattern(cf, &value[i]);

        channel = ngx_array_push(flcf->autojoin);
        if (channel == NULL) {
            return NGX_CONF_ERROR;
        }

        channel->ops = 0;
        channel->text = value[i];
        channel->separators = 1;
        channel->list = 0;

        if (permit_pattern(cf, &value[i], channel) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* NAME=VALUE...: the members of a user's profile */

static ngx_uint_t
has_channel(ngx_array_t *channels, ngx_str_t *text)
{
    ngx_uint_t        i;
    fanout_permit_t  *channel;

    channel = channels->elts;

    for (i = 0; i < channels->nelts; i++) {
        if (channel[i].text.len == text->len
            && ngx_memcmp(channel[i].text.data, text->data, text->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


char *
fanout_set_user_info(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    u_char                            *p;
    ngx_str_t                         *value, s;
    ngx_uint_t                         i;
    fanout_profile_t                  *profile;
    ngx_http_compile_complex_value_t   ccv;

    if (flcf->user_info == NGX_CONF_UNSET_PTR) {
        flcf->user_info = ngx_array_create(cf->pool, 4,
                                           sizeof(fanout_profile_t));
        if (flcf->user_info == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (p == NULL || !profile_name(value[i].data, p)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": NAME=VALUE is needed, the name "
                               "of letters, digits and \"_\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (has_profile(flcf->user_info, value[i].data, p - value[i].data)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate name in \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        profile = ngx_array_push(flcf->user_info);
        if (profile == NULL) {
            return NGX_CONF_ERROR;
        }

        profile->name.data = value[i].data;
        profile->name.len = p - value[i].data;

        s.data = p + 1;
        s.len = value[i].data + value[i].len - s.data;

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &s;
        ccv.complex_value = &profile->value;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
has_profile(ngx_array_t *info, u_char *name, size_t len)
{
    ngx_uint_t         i;
    fanout_profile_t  *profile;

    profile = info->elts;

    for (i = 0; i < info->nelts; i++) {
        if (profile[i].name.len == len
            && ngx_memcmp(profile[i].name.data, name, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
profile_name(u_char *p, u_char *last)
{
    if (p == last) {
        return 0;
    }

    for ( /* void */ ; p < last; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            return 0;
        }
    }

    return 1;
}
