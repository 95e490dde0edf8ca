
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The directive fanout_broadcast:
 *
 *   fanout_broadcast ZONE [CHANNEL] [methods=] [status=] [body=] [event=]
 *                    [user=] [client=] [key=] [record=] [headers=] [meta=];
 *   fanout_broadcast off;
 */


#include "broadcast/broadcast.h"
#include "conf/conf.h"
#include "base/id.h"


typedef char *(*parameter_pt)(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s);


static char *set_methods(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s);
static char *set_status(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s);
static char *broadcast_set_body(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);
static char *set_event(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);
static char *set_user(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);
static char *set_client(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s);
static char *set_key(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);
static char *broadcast_set_record(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);
static char *broadcast_set_headers(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);
static char *set_meta(ngx_conf_t *cf,
    fanout_broadcast_rule_t *rule, ngx_str_t *arg, ngx_str_t *s);

static fanout_broadcast_rule_t *create_rule(ngx_conf_t *cf,
    fanout_loc_conf_t *flcf);
static char *set_text(ngx_conf_t *cf, ngx_array_t *rules,
    fanout_broadcast_rule_t *rule);
static ngx_int_t finish_rule(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_uint_t set);
static ngx_int_t finish_record(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_uint_t set);
static ngx_uint_t statuses_of_success(ngx_array_t *statuses);
static ngx_uint_t find_parameter(ngx_str_t *arg, ngx_str_t *s);
static char *set_channel(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *text);
static char *set_label(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *s,
    size_t max, ngx_http_complex_value_t **cvp);
static ngx_http_complex_value_t *compile(ngx_conf_t *cf, ngx_str_t *text);
static ngx_int_t next_item(ngx_str_t *list, ngx_str_t *item);
static ngx_int_t parse_status(ngx_str_t *item, fanout_statuses_t *range);
static ngx_int_t parse_switch(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *s);
static ngx_uint_t broadcast_is(ngx_str_t *s, const char *text);


static const struct {
    const char    *name;
    parameter_pt   set;
} parameters[] = {
    { "methods", set_methods },
    { "status", set_status },
    { "body", broadcast_set_body },
    { "event", set_event },
    { "user", set_user },
    { "client", set_client },
    { "key", set_key },
    { "headers", broadcast_set_headers },
    { "meta", set_meta },
    { "record", broadcast_set_record }
};

#define NPARAMETERS  (sizeof(parameters) / sizeof(parameters[0]))

#define METHODS  0
#define STATUS   1
#define EVENT    3
#define META     8

/* those that change a record */
#define WRITES   (NGX_HTTP_POST|NGX_HTTP_PUT|NGX_HTTP_PATCH|NGX_HTTP_DELETE)


static const struct {
    const char    *name;
    ngx_uint_t     method;
} methods[] = {
    { "GET", NGX_HTTP_GET },
    { "HEAD", NGX_HTTP_HEAD },
    { "POST", NGX_HTTP_POST },
    { "PUT", NGX_HTTP_PUT },
    { "DELETE", NGX_HTTP_DELETE },
    { "MKCOL", NGX_HTTP_MKCOL },
    { "COPY", NGX_HTTP_COPY },
    { "MOVE", NGX_HTTP_MOVE },
    { "OPTIONS", NGX_HTTP_OPTIONS },
    { "PROPFIND", NGX_HTTP_PROPFIND },
    { "PROPPATCH", NGX_HTTP_PROPPATCH },
    { "LOCK", NGX_HTTP_LOCK },
    { "UNLOCK", NGX_HTTP_UNLOCK },
    { "PATCH", NGX_HTTP_PATCH },
    { NULL, 0 }
};


char *
fanout_set_broadcast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                     *rv;
    ngx_str_t                *arg, s;
    ngx_uint_t                i, n, set;
    fanout_app_t             *app;
    fanout_loc_conf_t        *flcf;
    fanout_broadcast_rule_t  *rule;

    flcf = conf;
    arg = cf->args->elts;

    if (cf->args->nelts == 2 && broadcast_is(&arg[1], "off")) {

        if (flcf->broadcasts != NGX_CONF_UNSET_PTR) {
            return "is duplicate";
        }

        flcf->broadcasts = NULL;
        return NGX_CONF_OK;
    }

    if (flcf->broadcasts == NULL) {
        return "is off here, it can't be more than that";
    }

    app = fanout_conf_zone(cf, &arg[1]);
    if (app == NULL) {
        return NGX_CONF_ERROR;
    }

    rule = create_rule(cf, flcf);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    rv = set_text(cf, flcf->broadcasts, rule);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rule->app = app;
    set = 0;

    for (i = 2; i < cf->args->nelts; i++) {
        n = find_parameter(&arg[i], &s);

        if (n == NPARAMETERS) {

            if (i != 2) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\": "
                                   "\"fanout_broadcast\" has methods=, "
                                   "status=, body=, event=, user=, client=, "
                                   "key=, record=, headers= and meta=",
                                   &arg[i]);
                return NGX_CONF_ERROR;
            }

            rv = set_channel(cf, rule, &arg[i]);

        } else if (set & (1 << n)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\"", &arg[i]);
            return NGX_CONF_ERROR;

        } else {
            set |= 1 << n;
            rv = parameters[n].set(cf, rule, &arg[i], &s);
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return finish_rule(cf, rule, set) == NGX_OK ? NGX_CONF_OK
                                                : NGX_CONF_ERROR;
}


static fanout_broadcast_rule_t *
create_rule(ngx_conf_t *cf, fanout_loc_conf_t *flcf)
{
    fanout_main_conf_t       *mcf;
    fanout_broadcast_rule_t  *rule;

    rule = fanout_conf_push(cf, &flcf->broadcasts,
                            sizeof(fanout_broadcast_rule_t));
    if (rule == NULL) {
        return NULL;
    }

    rule->body = FANOUT_BROADCAST_RESPONSE;
    rule->headers = 1;
    rule->meta = 1;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);
    mcf->broadcast = 1;

    return rule;
}


/* The same parameters twice would publish each message twice. */

static char *
set_text(ngx_conf_t *cf, ngx_array_t *rules, fanout_broadcast_rule_t *rule)
{
    u_char                   *p;
    size_t                    len;
    ngx_str_t                *arg;
    ngx_uint_t                i;
    fanout_broadcast_rule_t  *other;

    arg = cf->args->elts;
    len = 0;

    for (i = 1; i < cf->args->nelts; i++) {
        len += arg[i].len + 1;
    }

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    rule->text.data = p;
    rule->text.len = len;

    for (i = 1; i < cf->args->nelts; i++) {
        p = ngx_cpymem(p, arg[i].data, arg[i].len);
        *p++ = '\0';
    }

    for (other = rules->elts; other != rule; other++) {
        if (other->text.len == len
            && ngx_memcmp(other->text.data, rule->text.data, len) == 0)
        {
            return "is duplicate";
        }
    }

    return NGX_CONF_OK;
}


/* The defaults: writes that went well.  A backend that names the channel by
 * itself knows what it has to tell. */

static ngx_int_t
finish_rule(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_uint_t set)
{
    fanout_statuses_t  *range;

    if (rule->channel == NULL && !rule->headers) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_broadcast\" without a channel has only "
                           "those that headers name, and \"headers=off\" "
                           "ignores them");
        return NGX_ERROR;
    }

    if ((rule->channel || rule->record) && !(set & (1 << METHODS))) {
        rule->methods = WRITES;
    }

    if (rule->record && finish_record(cf, rule, set) != NGX_OK) {
        return NGX_ERROR;
    }

    if (set & (1 << STATUS)) {
        return NGX_OK;
    }

    rule->statuses = ngx_array_create(cf->pool, 1, sizeof(fanout_statuses_t));
    if (rule->statuses == NULL) {
        return NGX_ERROR;
    }

    range = ngx_array_push(rule->statuses);
    if (range == NULL) {
        return NGX_ERROR;
    }

    range->first = 200;
    range->last = 299;

    return NGX_OK;
}


/* What a change of a record can't have. */

static ngx_int_t
finish_record(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_uint_t set)
{
    const char  *why;

    why = set & (1 << EVENT)
          ? "\"event=\": a change of a record has no event"
          : set & (1 << META)
          ? "\"meta=\": a change of a record has no meta"
          : rule->body == FANOUT_BROADCAST_NONE
          ? "\"body=none\": the fields of the record are in the body"
          : rule->methods == 0 || (rule->methods & ~(ngx_uint_t) WRITES)
          ? "\"methods=\" with others than POST, PUT, PATCH and DELETE: only "
            "these change a record"
          : (set & (1 << STATUS)) && !statuses_of_success(rule->statuses)
          ? "\"status=\" with others than 200 to 299: only a success changes a "
            "record"
          : NULL;

    if (why == NULL) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"record=\" of \"fanout_broadcast\" conflicts with %s",
                       why);

    return NGX_ERROR;
}


static ngx_uint_t
statuses_of_success(ngx_array_t *statuses)
{
    ngx_uint_t          i;
    fanout_statuses_t  *range;

    if (statuses == NULL) {
        return 0;
    }

    range = statuses->elts;

    for (i = 0; i < statuses->nelts; i++) {
        if (range[i].first < 200 || range[i].last > 299) {
            return 0;
        }
    }

    return 1;
}


/* NPARAMETERS if it is none: then it may be a channel */

static ngx_uint_t
find_parameter(ngx_str_t *arg, ngx_str_t *s)
{
    size_t      len;
    ngx_uint_t  i;

    for (i = 0; i < NPARAMETERS; i++) {
        len = ngx_strlen(parameters[i].name);

        if (arg->len > len && arg->data[len] == '='
            && ngx_strncmp(arg->data, parameters[i].name, len) == 0)
        {
            s->data = arg->data + len + 1;
            s->len = arg->len - len - 1;
            break;
        }
    }

    return i;
}


static char *
set_channel(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *text)
{
    rule->channel = compile(cf, text);
    if (rule->channel == NULL) {
        return NGX_CONF_ERROR;
    }

    if (rule->channel->lengths == NULL
        && fanout_name_check(&rule->channel->value) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid channel \"%V\": a name has 1 to %d bytes "
                           "of UTF-8 without control characters and \"*\"",
                           text, FANOUT_NAME);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
set_methods(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    ngx_str_t   item;
    ngx_uint_t  i;

    if (broadcast_is(s, "any")) {
        return NGX_CONF_OK;
    }

    while (next_item(s, &item) == NGX_OK) {

        for (i = 0; methods[i].name; i++) {
            if (broadcast_is(&item, methods[i].name)) {
                break;
            }
        }

        if (methods[i].name == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown method \"%V\" in \"%V\": there are "
                               "\"any\" and those that NGINX knows, in upper "
                               "case", &item, arg);
            return NGX_CONF_ERROR;
        }

        rule->methods |= methods[i].method;
    }

    return NGX_CONF_OK;
}


static char *
set_status(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    ngx_str_t           item;
    fanout_statuses_t  *range;

    if (broadcast_is(s, "any")) {
        return NGX_CONF_OK;
    }

    rule->statuses = ngx_array_create(cf->pool, 2, sizeof(fanout_statuses_t));
    if (rule->statuses == NULL) {
        return NGX_CONF_ERROR;
    }

    while (next_item(s, &item) == NGX_OK) {

        range = ngx_array_push(rule->statuses);
        if (range == NULL) {
            return NGX_CONF_ERROR;
        }

        if (parse_status(&item, range) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid status \"%V\" in \"%V\": \"any\", "
                               "\"2xx\" to \"5xx\" or a number from 200 to "
                               "599 is needed", &item, arg);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
parse_status(ngx_str_t *item, fanout_statuses_t *range)
{
    ngx_int_t  n;

    if (item->len != 3) {
        return NGX_ERROR;
    }

    if (item->data[1] == 'x' && item->data[2] == 'x'
        && item->data[0] >= '2' && item->data[0] <= '5')
    {
        range->first = (item->data[0] - '0') * 100;
        range->last = range->first + 99;
        return NGX_OK;
    }

    n = ngx_atoi(item->data, item->len);

    if (n < 200 || n > 599) {
        return NGX_ERROR;
    }

    range->first = n;
    range->last = n;

    return NGX_OK;
}


static char *
broadcast_set_body(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s)
{
    if (broadcast_is(s, "response")) {
        rule->body = FANOUT_BROADCAST_RESPONSE;

    } else if (broadcast_is(s, "request")) {
        rule->body = FANOUT_BROADCAST_REQUEST;

    } else if (broadcast_is(s, "none")) {
        rule->body = FANOUT_BROADCAST_NONE;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": there are body=response, "
                           "body=request and body=none", arg);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
set_event(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    return set_label(cf, arg, s, FANOUT_KEY, &rule->event);
}


static char *
set_user(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    return set_label(cf, arg, s, FANOUT_NAME, &rule->user);
}


static char *
set_key(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    return set_label(cf, arg, s, FANOUT_KEY, &rule->key);
}


static char *
broadcast_set_record(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s)
{
    return set_label(cf, arg, s, FANOUT_KEY, &rule->record);
}


static char *
set_client(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    uint64_t  id;

    rule->client = compile(cf, s);
    if (rule->client == NULL) {
        return NGX_CONF_ERROR;
    }

    if (rule->client->lengths == NULL
        && fanout_client_parse(s, &id) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": a client is \"c_\" and 16 "
                           "hexadecimal digits, as a variable has it", arg);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
broadcast_set_headers(ngx_conf_t *cf, fanout_broadcast_rule_t *rule,
    ngx_str_t *arg, ngx_str_t *s)
{
    ngx_int_t  on;

    on = parse_switch(cf, arg, s);
    rule->headers = (on == 1);

    return on == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
}


static char *
set_meta(ngx_conf_t *cf, fanout_broadcast_rule_t *rule, ngx_str_t *arg,
    ngx_str_t *s)
{
    ngx_int_t  on;

    on = parse_switch(cf, arg, s);
    rule->meta = (on == 1);

    return on == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
}


static char *
set_label(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *s, size_t max,
    ngx_http_complex_value_t **cvp)
{
    *cvp = compile(cf, s);
    if (*cvp == NULL) {
        return NGX_CONF_ERROR;
    }

    if ((*cvp)->lengths == NULL && fanout_label_check(s, max) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": 1 to %uz bytes of UTF-8 without "
                           "control characters are needed", arg, max);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_http_complex_value_t *
compile(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_http_complex_value_t  *cv;

    cv = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (cv == NULL) {
        return NULL;
    }

    return fanout_conf_compile(cf, text, cv) == NGX_CONF_OK ? cv : NULL;
}


/* cuts the first item off a list with commas; an empty list is one that is
 * empty */

static ngx_int_t
next_item(ngx_str_t *list, ngx_str_t *item)
{
    u_char  *comma, *last;

    if (list->data == NULL) {
        return NGX_DONE;
    }

    last = list->data + list->len;
    comma = ngx_strlchr(list->data, last, ',');

    item->data = list->data;

    if (comma == NULL) {
        item->len = list->len;
        list->data = NULL;
        return NGX_OK;
    }

    item->len = comma - list->data;
    list->data = comma + 1;
    list->len = last - list->data;

    return NGX_OK;
}


static ngx_int_t
parse_switch(ngx_conf_t *cf, ngx_str_t *arg, ngx_str_t *s)
{
    if (broadcast_is(s, "on")) {
        return 1;
    }

    if (broadcast_is(s, "off")) {
        return 0;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": it is either \"on\" or \"off\"", arg);

    return NGX_ERROR;
}


static ngx_uint_t
broadcast_is(ngx_str_t *s, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return s->len == len && ngx_strncmp(s->data, text, len) == 0;
}
