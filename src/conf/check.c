
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Checks of locations, patterns and hooks for what is allowed, but is seldom
 * meant.
 */


#include "conf/conf.h"
#include "transport/bearer.h"
#include "dialect/dialect.h"


static const char *session_directive(fanout_loc_conf_t *conf);
static ngx_int_t check_command(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_str_t *location);
static ngx_int_t check_raw(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_str_t *location);
static void conf_check_user(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_str_t *location);
static ngx_str_t *user_pattern(ngx_array_t *permits);
static void check_linger(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_str_t *location);
static ngx_int_t check_guard(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_http_core_loc_conf_t *clcf);
static void check_reached(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_http_core_loc_conf_t *clcf);
static const char *handler_name(fanout_loc_conf_t *conf);
static ngx_uint_t is_public(ngx_conf_t *cf, ngx_int_t family);
static ngx_uint_t is_loopback(struct sockaddr *sockaddr);
static ngx_uint_t is_regex(ngx_str_t *pattern);
static ngx_http_core_loc_conf_t *find_location(ngx_queue_t *locations,
    ngx_str_t *uri);


/* A handler that was set later took the place of ours; or there is none, and
 * what was said about sessions is for nobody. */

ngx_int_t
fanout_conf_check_location(ngx_conf_t *cf, fanout_loc_conf_t *conf)
{
    const char                *name;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->handler && clcf->handler != conf->handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" conflicts with another handler in location "
                      "\"%V\"",
                      handler_name(conf), &clcf->name);
        return NGX_ERROR;
    }

    if (conf->handler && conf->broadcasts != NGX_CONF_UNSET_PTR
        && conf->broadcasts)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_broadcast\" does nothing in location \"%V\": "
                      "what the module answers is not broadcast",
                      &clcf->name);
    }

    if (conf->app || clcf->noname || clcf->locations || clcf->name.len == 0) {
        return NGX_OK;
    }

    name = session_directive(conf);

    if (name) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"%s\" does nothing in location \"%V\", which has no "
                      "\"fanout\"", name, &clcf->name);
    }

    return NGX_OK;
}


/* One of those that are for sessions only.  "fanout_origin" also holds for the
 * status, and its scheme= for the HTTP API. */

static const char *
session_directive(fanout_loc_conf_t *conf)
{
    if (conf->origins.origins != NGX_CONF_UNSET_PTR && conf->status == NULL
        && (conf->api == NULL || conf->origins.scheme == NULL))
    {
        return "fanout_origin";
    }

    /* elsewhere, its claims are variables */

    if (conf->jwt != NGX_CONF_UNSET_PTR && conf->jwt
        && (conf->api || conf->status))
    {
        return "fanout_jwt";
    }

    return conf->dialect != NGX_CONF_UNSET_PTR ? "fanout_dialect"
           : conf->permits != NGX_CONF_UNSET_PTR ? "fanout_permit"
           : conf->authorizers != NGX_CONF_UNSET_PTR ? "fanout_authorize"
           : conf->autojoin != NGX_CONF_UNSET_PTR ? "fanout_autojoin"
           : conf->user_info != NGX_CONF_UNSET_PTR ? "fanout_user_info"
           : conf->transports ? "fanout_transports"
           : conf->rate != NGX_CONF_UNSET_UINT ? "fanout_rate"
           : conf->sessions != NGX_CONF_UNSET_UINT ? "fanout_sessions"
           : conf->per_user != NGX_CONF_UNSET_UINT ? "fanout_sessions_per_user"
           : conf->per_address != NGX_CONF_UNSET_UINT
             ? "fanout_sessions_per_address"
           : conf->budgets[0].set || conf->budgets[1].set
             || conf->budgets[2].set ? "fanout_budget"
           : conf->limit_dry_run != NGX_CONF_UNSET ? "fanout_limit_dry_run"
           : conf->channels != NGX_CONF_UNSET_UINT
             ? "fanout_channels_per_session"
           : conf->presence_size != NGX_CONF_UNSET_SIZE
             ? "fanout_presence_size"
           : conf->resume != NGX_CONF_UNSET_MSEC ? "fanout_resume"
           : conf->session_max != NGX_CONF_UNSET_MSEC ? "fanout_session_max"
           : conf->expiring != NGX_CONF_UNSET_MSEC ? "fanout_expiring"
           : conf->retry != NGX_CONF_UNSET_MSEC ? "fanout_retry"
           : conf->poll_timeout != NGX_CONF_UNSET_MSEC ? "fanout_poll_timeout"
           : NULL;
}


/* Checks that need the inherited values. */

ngx_int_t
fanout_conf_check_merged(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    fanout_loc_conf_t *own)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname) {
        return NGX_OK;
    }

    if (check_guard(cf, conf, clcf) != NGX_OK) {
        return NGX_ERROR;
    }

    check_reached(cf, conf, clcf);
    fanout_conf_check_effect(cf, conf, own, &clcf->name);

    if (conf->app == NULL) {
        return NGX_OK;
    }

    if (conf->permits == NULL && conf->asks == 0 && !conf->tickets) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "location \"%V\" has no \"fanout_permit\": nobody may "
                      "do anything there", &clcf->name);
    }

    conf_check_user(cf, conf, &clcf->name);

    if (check_command(cf, conf, &clcf->name) != NGX_OK) {
        return NGX_ERROR;
    }

    if (conf->dialect == &fanout_raw) {
        return check_raw(cf, conf, &clcf->name);
    }

    check_linger(cf, conf, &clcf->name);

    return NGX_OK;
}


/* Where the first command has the token, there has to be one, and nothing runs
 * before it. */

static ngx_int_t
check_command(ngx_conf_t *cf, fanout_loc_conf_t *conf, ngx_str_t *location)
{
    const char  *other;

    if (conf->jwt == NULL || !conf->jwt->command) {
        return NGX_OK;
    }

    other = conf->dialect == &fanout_raw ? "fanout_dialect raw"
            : conf->autojoin ? "fanout_autojoin"
            : !(conf->transports & FANOUT_WEBSOCKET)
              ? "fanout_transports without websocket" : NULL;

    if (other == NULL) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"from=command\" of \"fanout_jwt\" conflicts with "
                  "\"%s\" in location \"%V\"", other, location);

    return NGX_ERROR;
}


static ngx_int_t
check_raw(ngx_conf_t *cf, fanout_loc_conf_t *conf, ngx_str_t *location)
{
    const char  *other;

    if (!(conf->transports & FANOUT_WEBSOCKET)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"fanout_dialect raw\" conflicts with "
                      "\"fanout_transports\" without \"websocket\" in "
                      "location \"%V\"", location);
        return NGX_ERROR;
    }

    other = conf->asks & FANOUT_MAY_ALL ? "\"fanout_authorize\""
            : conf->tickets ? "\"channel=\" of \"fanout_jwt\"" : NULL;

    if (other) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "%s conflicts with \"fanout_dialect raw\" in location "
                      "\"%V\": it is for the native dialect", other,
                      location);
        return NGX_ERROR;
    }

    if (conf->autojoin || conf->user_info) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"%s\" does nothing in location \"%V\": it is for "
                      "the native dialect, and \"fanout_dialect\" is raw",
                      conf->autojoin ? "fanout_autojoin" : "fanout_user_info",
                      location);
    }

    return NGX_OK;
}


/* Limits and patterns of users, where nobody has a name. */

static void
conf_check_user(ngx_conf_t *cf, fanout_loc_conf_t *conf, ngx_str_t *location)
{
    ngx_str_t             *text;
    const char            *name;
    fanout_budget_conf_t  *user;

    if (conf->user) {

        if (conf->user->lengths == NULL && conf->user->value.len) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"fanout_user\" has no variable in location "
                          "\"%V\": all clients there are the user \"%V\"",
                          location, &conf->user->value);
        }

        return;
    }

    if (conf->jwt) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"fanout_jwt\" lets clients without a user into "
                      "location \"%V\": \"fanout_user $fanout_claim_sub\" "
                      "would tell them apart", location);
    }

    user = &conf->budgets[FANOUT_SCOPE_USER];

    name = conf->per_user ? "fanout_sessions_per_user"
           : user->set && !user->off ? "fanout_budget user" : NULL;

    if (name) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"%s\" does nothing in location \"%V\", which has no "
                      "\"fanout_user\"", name, location);
    }

    text = user_pattern(conf->permits);

    if (text == NULL) {
        text = user_pattern(conf->autojoin);
    }

    if (text) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"%V\" is not a channel in location \"%V\", which has "
                      "no \"fanout_user\"", text, location);
    }
}


static ngx_str_t *
user_pattern(ngx_array_t *permits)
{
    ngx_uint_t        i;
    fanout_permit_t  *permit;

    if (permits == NULL) {
        return NULL;
    }

    permit = permits->elts;

    for (i = 0; i < permits->nelts; i++) {
        if (ngx_strstr(permit[i].text.data, "$fanout_user")
            || ngx_strstr(permit[i].text.data, "${fanout_user}"))
        {
            return &permit[i].text;
        }
    }

    return NULL;
}


/* A member whose session can't come back has no reason to stay. */

static void
check_linger(ngx_conf_t *cf, fanout_loc_conf_t *conf, ngx_str_t *location)
{
    ngx_uint_t        i;
    fanout_policy_t  *policy;

    policy = conf->app->policies.elts;

    for (i = 0; i < conf->app->policies.nelts; i++) {

        if (!policy[i].lingers
            || (ngx_msec_t) policy[i].keep.linger * 1000 <= conf->resume)
        {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"linger=%uis\" of \"fanout_channel\" \"%V\" is longer "
                      "than \"fanout_resume\" of location \"%V\", %Ms: members "
                      "leave after that",
                      (ngx_uint_t) policy[i].keep.linger, &policy[i].text,
                      location, conf->resume / 1000);
        return;
    }
}


/*
 * The HTTP API may do everything, so it needs a guard.  The status only shows
 * everything, which is warned of.  Guards of some modules are known, and
 * addresses that only this machine has.  "public" stands for other guards, such
 * as a firewall or ssl_verify_client.
 */

static ngx_int_t
check_guard(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t   level;
    const char  *name, *why;

    if ((conf->api == NULL && conf->status == NULL) || conf->public
        || clcf->internal || clcf->named)
    {
        return NGX_OK;
    }

    why = fanout_conf_unguarded(cf, clcf, AF_INET);

#if (NGX_HAVE_INET6)
    if (why == NULL && is_public(cf, AF_INET6)) {
        why = fanout_conf_unguarded(cf, clcf, AF_INET6);
    }
#endif

    if (why == NULL || !is_public(cf, AF_UNSPEC)) {
        return NGX_OK;
    }

    name = conf->api ? "fanout_api" : "fanout_status";

    level = conf->api ? NGX_LOG_EMERG : NGX_LOG_WARN;

    ngx_log_error(level, cf->log, 0,
                  "\"%s\" in location \"%V\" is open to everybody%s: guard it "
                  "by \"allow\" and \"deny all\", \"auth_basic\" or "
                  "\"auth_request\", or say \"%s %V public\"", name,
                  &clcf->name, why, name,
                  conf->api ? &conf->api->name : &conf->status->name);

    return conf->api ? NGX_ERROR : NGX_OK;
}


/* The phases before the content: their directives keep requests from the
 * handler without a word. */

static void
check_reached(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    ngx_http_core_loc_conf_t *clcf)
{
    void                      **loc_conf;
    const char                 *name, *where;
    ngx_http_core_srv_conf_t   *cscf;

    if (conf->handler == NULL) {
        return;
    }

    loc_conf = ((ngx_http_conf_ctx_t *) cf->ctx)->loc_conf;

    where = "";
    name = fanout_conf_diverted(cf, loc_conf, 0);

    if (name == NULL
        && fanout_conf_is_set(cf, loc_conf, "ngx_http_try_files_module"))
    {
        name = "try_files";
    }

    if (name == NULL && !clcf->named) {
        where = "the server of ";
        cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
        name = fanout_conf_diverted(cf, cscf->ctx->loc_conf, 1);
    }

    if (name) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"%s\" in %slocation \"%V\" comes before \"%s\", which "
                      "gets no requests", name, where, &clcf->name,
                      handler_name(conf));
    }
}


static const char *
handler_name(fanout_loc_conf_t *conf)
{
    return conf->app ? "fanout" : conf->api ? "fanout_api" : "fanout_status";
}


/* Whether the server listens on an address of this family, or of any, that
 * other machines can reach. */

static ngx_uint_t
is_public(ngx_conf_t *cf, ngx_int_t family)
{
    ngx_uint_t                   i, k, n;
    ngx_http_conf_port_t        *port;
    ngx_http_conf_addr_t        *addr;
    ngx_http_core_srv_conf_t    *cscf, **server;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return 1;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {
        addr = port[i].addrs.elts;

        for (k = 0; k < port[i].addrs.nelts; k++) {
            server = addr[k].servers.elts;

            for (n = 0; n < addr[k].servers.nelts; n++) {
                if (server[n] == cscf && !is_loopback(addr[k].opt.sockaddr)
                    && (family == AF_UNSPEC
                        || addr[k].opt.sockaddr->sa_family == family))
                {
                    return 1;
                }
            }
        }
    }

    return 0;
}


static ngx_uint_t
is_loopback(struct sockaddr *sockaddr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

    case AF_UNIX:
        return 1;

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        return ntohl(sin->sin_addr.s_addr) >> 24 == 127;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr);
#endif

    default:
        return 0;
    }
}


void
fanout_conf_check_pattern(ngx_conf_t *cf, ngx_str_t *pattern)
{
    u_char  *p, *last;

    last = pattern->data + pattern->len;

    if (ngx_strlchr(pattern->data, last, ',')) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the comma is a part of the channel pattern "
                           "\"%V\": patterns have spaces between them",
                           pattern);
    }

    for (p = pattern->data; p < last && islower(*p); p++) { /* void */ }

    if (p > pattern->data && p < last && *p == '=') {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"%V\" is taken for a channel pattern: it is no "
                           "parameter here", pattern);
    }

    if (is_regex(pattern)) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the channel pattern \"%V\" looks like a regular "
                           "expression: only \"*\" is special, it stands for "
                           "any run of characters", pattern);
    }
}


/* "com.example.*" is none. */

static ngx_uint_t
is_regex(ngx_str_t *pattern)
{
    u_char  *p, *last;

    p = pattern->data;
    last = p + pattern->len;

    if (p == last) {
        return 0;
    }

    if (*p == '^' || last[-1] == '$') {
        return 1;
    }

    if (*p == '~' && (p + 1 == last || p[1] == '*' || p[1] == '^')) {
        return 1;
    }

    for ( /* void */ ; p + 1 < last; p++) {

        switch (*p) {

        case '\\':
            if (strchr("dwsbDWSB.+?*()[]{}|^$", p[1])) {
                return 1;
            }

            break;

        case '.':
            if (p[1] == '+'
                || (p[1] == '*' && (p == pattern->data || !isalnum(p[-1]))))
            {
                return 1;
            }

            break;

        case '(':
            if (p[1] == '?') {
                return 1;
            }

            break;

        case ')':
        case ']':
            if (strchr("+*?{", p[1])) {
                return 1;
            }

            break;
        }
    }

    return 0;
}


/* hooks */

void
fanout_conf_check_hook(ngx_conf_t *cf, ngx_http_conf_ctx_t *ctx,
    ngx_str_t *what, ngx_str_t *uri)
{
    fanout_loc_conf_t         *conf;
    ngx_http_core_loc_conf_t  *clcf;

    static const char  *rewrite = "ngx_http_rewrite_module";

    if (fanout_conf_is_set(cf, ctx->loc_conf, rewrite)) {
        /* what the server makes of the URI is known at run time only */
        return;
    }

    clcf = ctx->loc_conf[ngx_http_core_module.ctx_index];
    clcf = find_location(clcf->locations, uri);

    if (clcf == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "%V names no location of its server: nothing answers "
                      "its calls", what);
        return;
    }

    conf = clcf->loc_conf[ngx_http_fanout_module.ctx_index];

    if (conf->handler && conf->handler == clcf->handler) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "%V names location \"%V\", which has \"%s\": no backend "
                      "gets its calls, but the module itself", what,
                      &clcf->name, handler_name(conf));
        return;
    }

    if (clcf->handler == NULL && clcf->error_pages == NULL
        && !fanout_conf_is_set(cf, clcf->loc_conf, rewrite)
        && !fanout_conf_is_set(cf, clcf->loc_conf, "ngx_http_try_files_module"))
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "%V names location \"%V\", which serves files: its "
                      "calls are answered with 405", what, &clcf->name);
    }
}


/* The location that NGINX would take, near enough: locations are in the order
 * in which they were read. */

static ngx_http_core_loc_conf_t *
find_location(ngx_queue_t *locations, ngx_str_t *uri)
{
    ngx_queue_t                *q;
    ngx_http_core_loc_conf_t   *clcf, *prefix, *regex, *inner;
    ngx_http_location_queue_t  *lq;

    if (locations == NULL) {
        return NULL;
    }

    prefix = NULL;
    regex = NULL;

    for (q = ngx_queue_head(locations);
         q != ngx_queue_sentinel(locations);
         q = ngx_queue_next(q))
    {
        lq = (ngx_http_location_queue_t *) q;
        clcf = lq->exact ? lq->exact : lq->inclusive;

        if (clcf->noname || clcf->named) {
            continue;
        }

#if (NGX_PCRE)
        if (clcf->regex) {
            if (regex == NULL
                && ngx_regex_exec(clcf->regex->regex, uri, NULL, 0) >= 0)
            {
                regex = clcf;
            }

            continue;
        }
#endif

        if (clcf->name.len > uri->len
            || ngx_strncmp(clcf->name.data, uri->data, clcf->name.len) != 0)
        {
            continue;
        }

        if (clcf->name.len == uri->len && clcf->exact_match) {
            return clcf;
        }

        if (!clcf->exact_match
            && (prefix == NULL || prefix->name.len < clcf->name.len))
        {
            prefix = clcf;
        }
    }

    inner = prefix ? find_location(prefix->locations, uri) : NULL;

    if (inner) {
        return inner;
    }

    return regex && !(prefix && prefix->noregex) ? regex : prefix;
}
