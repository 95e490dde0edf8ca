
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
static char *permit_separators(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_permit_t *permit);
static char *permit_add(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    fanout_permit_t *of, ngx_str_t *pattern);
static char *permit_text(ngx_conf_t *cf, ngx_str_t *value, u_char **pos,
    ngx_str_t *text);
static char *permit_variable(ngx_conf_t *cf, ngx_str_t *value, u_char **pos,
    ngx_int_t *index);
static ngx_uint_t permit_is_name(u_char c);
static char *profile_add(ngx_conf_t *cf, fanout_loc_conf_t *flcf,
    ngx_str_t *value);
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
    ngx_uint_t        i, n;
    fanout_permit_t   permit;

    value = cf->args->elts;
    n = cf->args->nelts;

    ngx_memzero(&permit, sizeof(fanout_permit_t));

    permit.ops = fanout_conf_operations(&value[1], &s);

    if (permit.ops == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown operation \"%V\" in \"%V\": there are "
                           "join, publish, history, presence, profile, "
                           "signal, record, lock and all", &s, &value[1]);
        return NGX_CONF_ERROR;
    }

    if (fanout_conf_parameter(&value[n - 1], "separators", &s)) {
        if (permit_separators(cf, &value[n - 1], &s, &permit) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }

        n--;
    }

    for (i = 2; i < n; i++) {
        if (check_permit(cf, &value[i], n == 3) != NGX_CONF_OK
            || permit_add(cf, flcf, &permit, &value[i]) != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
permit_separators(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    fanout_permit_t *permit)
{
    if (ngx_strcmp(s->data, "refuse") != 0
        && ngx_strcmp(s->data, "allow") != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": \"separators=\" is \"refuse\" or "
                           "\"allow\"", value);
        return NGX_CONF_ERROR;
    }

    permit->separators = (s->data[0] == 'a');

    if (cf->args->nelts == 3) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_permit\" has no channel pattern");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* of: the operations and separators */

static char *
permit_add(ngx_conf_t *cf, fanout_loc_conf_t *flcf, fanout_permit_t *of,
    ngx_str_t *pattern)
{
    ngx_str_t        *value, s;
    fanout_permit_t  *permit;

    permit = fanout_conf_push(cf, &flcf->permits, sizeof(fanout_permit_t));
    if (permit == NULL) {
        return NGX_CONF_ERROR;
    }

    *permit = *of;
    permit->text = *pattern;

    if (permit_pattern(cf, pattern, permit) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    permit->list = is_list(permit);
    value = cf->args->elts;

    if (permit->list
        && fanout_conf_parameter(&value[cf->args->nelts - 1], "separators", &s))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"separators=\" is not for the list \"%V\": its "
                           "patterns are taken as they are", pattern);
        return NGX_CONF_ERROR;
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
    char           *rv;
    u_char         *p;
    fanout_part_t  *part;

    permit->parts = ngx_array_create(cf->pool, 4, sizeof(fanout_part_t));
    if (permit->parts == NULL) {
        return NGX_CONF_ERROR;
    }

    if (fanout_conf_check_claims(cf, value) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (p = value->data; p < value->data + value->len; /* void */ ) {

        part = ngx_array_push(permit->parts);
        if (part == NULL) {
            return NGX_CONF_ERROR;
        }

        part->variable = -1;

        rv = *p == '$' ? permit_variable(cf, value, &p, &part->variable)
                       : permit_text(cf, value, &p, &part->text);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (permit->parts->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "empty channel pattern");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
permit_text(ngx_conf_t *cf, ngx_str_t *value, u_char **pos, ngx_str_t *text)
{
    u_char  *p;

    for (p = *pos; p < value->data + value->len && *p != '$'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "control character in channel pattern \"%V\"",
                               value);
            return NGX_CONF_ERROR;
        }
    }

    text->data = *pos;
    text->len = p - *pos;
    *pos = p;

    return NGX_CONF_OK;
}


static char *
permit_variable(ngx_conf_t *cf, ngx_str_t *value, u_char **pos,
    ngx_int_t *index)
{
    u_char      *p, *last;
    ngx_str_t    name;
    ngx_uint_t   bracket;

    last = value->data + value->len;
    p = *pos + 1;
    bracket = (p < last && *p == '{');
    p += bracket;
    name.data = p;

    while (p < last && permit_is_name(*p)) {
        p++;
    }

    name.len = p - name.data;

    if (name.len == 0 || (bracket && (p == last || *p != '}'))) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid variable in channel pattern \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    *pos = p + bracket;
    *index = ngx_http_get_variable_index(cf, &name);

    return *index == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
}


static ngx_uint_t
permit_is_name(u_char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_';
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
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (profile_add(cf, conf, &value[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
profile_add(ngx_conf_t *cf, fanout_loc_conf_t *flcf, ngx_str_t *value)
{
    u_char            *p, *last;
    ngx_str_t          text;
    fanout_profile_t  *profile;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, '=');

    if (p == NULL || !profile_name(value->data, p)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": NAME=VALUE is needed, the name of "
                           "letters, digits and \"_\"", value);
        return NGX_CONF_ERROR;
    }

    if (has_profile(flcf->user_info, value->data, p - value->data)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate name in \"%V\"",
                           value);
        return NGX_CONF_ERROR;
    }

    profile = fanout_conf_push(cf, &flcf->user_info, sizeof(fanout_profile_t));
    if (profile == NULL) {
        return NGX_CONF_ERROR;
    }

    profile->name.data = value->data;
    profile->name.len = p - value->data;

    text.data = p + 1;
    text.len = last - text.data;

    return fanout_conf_compile(cf, &text, &profile->value);
}


static ngx_uint_t
has_profile(ngx_array_t *info, u_char *name, size_t len)
{
    ngx_uint_t         i;
    fanout_profile_t  *profile;

    if (info == NGX_CONF_UNSET_PTR) {
        return 0;
    }

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
