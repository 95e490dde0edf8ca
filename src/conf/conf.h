
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The setters of the directives: each checks its arguments and says what is
 * wrong with them.
 */


#ifndef FANOUT_CONF_CONF_H
#define FANOUT_CONF_CONF_H


#include "hook/call.h"
#include "hub/policy.h"
#include "session/conf.h"
#include "base/json.h"


char *fanout_set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_channel(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_dialect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_authorize(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_permit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *fanout_set_autojoin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_user(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_user_info(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_transports(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_budget(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_per_address(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_jwt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *fanout_set_jwt_claim(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Inherits budgets, and makes the limits of those and of the rate. */
void fanout_merge_budgets(fanout_loc_conf_t *conf, fanout_loc_conf_t *prev);

/* fanout, and by set_api fanout_api and fanout_status: cmd->offset is where the
 * zone goes, cmd->post the content handler. */
char *fanout_set_fanout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* The operations of "join,publish"; 0, and which is none, if not all are
 * operations. */
ngx_uint_t fanout_conf_operations(ngx_str_t *value, ngx_str_t *unknown);

/* Inherits fanout_jwt. */
void fanout_merge_jwt(fanout_loc_conf_t *conf, fanout_loc_conf_t *prev);

/* Inherits fanout_authorize; checks the locations that are asked, once all is
 * read. */
void fanout_merge_authorizers(fanout_loc_conf_t *conf,
    fanout_loc_conf_t *prev);
void fanout_authorize_finish(ngx_conf_t *cf, fanout_main_conf_t *mcf);

/* The URI of a location that is called, for a directive; NGX_CONF_ERROR. */
char *fanout_conf_callee(ngx_conf_t *cf, const char *directive,
    ngx_str_t *text, fanout_callee_t *callee);

/* The zone of a name, or NULL and an error that says so. */
fanout_app_t *fanout_conf_zone(ngx_conf_t *cf, ngx_str_t *name);

/* For setters.  Whether value is name=, and what comes behind that. */
ngx_uint_t fanout_conf_parameter(ngx_str_t *value, const char *name,
    ngx_str_t *s);

/* Compiles a text that may have variables; refuses a claim in it that no
 * variable can name. */
char *fanout_conf_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_complex_value_t *cv);

/* Refuses $fanout_claim_NAME with a capital in a text: NGINX
 * makes the names of variables lower, and the claim would never be found. */
char *fanout_conf_check_claims(ngx_conf_t *cf, ngx_str_t *text);

/* The range of a number, a size or a time; needed describes it in words. */

#define FANOUT_NUMBER  1000000

typedef enum {
    FANOUT_CONF_NUMBER,
    FANOUT_CONF_SIZE,
    FANOUT_CONF_SEC,
    FANOUT_CONF_MINUTE,         /* whole minutes, in seconds */
    FANOUT_CONF_MSEC,
    FANOUT_CONF_WORD            /* no value in range: words, the caller's */
} fanout_conf_unit_e;

typedef struct {
    fanout_conf_unit_e   unit;
    int64_t              min;
    int64_t              max;
    const char          *needed;
} fanout_conf_range_t;

/* The value of s, or NGX_ERROR if it is none or out of its range. */
int64_t fanout_conf_value(const fanout_conf_range_t *range, ngx_str_t *s);

/* The same of a parameter, of which s is what comes behind the "="; an error
 * names the parameter. */
int64_t fanout_conf_ranged(ngx_conf_t *cf, const fanout_conf_range_t *range,
    ngx_str_t *parameter, ngx_str_t *s);

/* A directive with one value: cmd->post is its range, cmd->offset a field of
 * the size of ngx_int_t. */
char *fanout_set_range(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Adds an element of so many bytes, all 0, to an array of a location, which is
 * made with the first.  NULL without memory. */
void *fanout_conf_push(ngx_conf_t *cf, ngx_array_t **a, size_t size);

/* An error if a parameter name= is there twice, from an argument on. */
char *fanout_conf_repeated(ngx_conf_t *cf, ngx_uint_t first);

/* Sets the defaults of fanout_channel. */
void fanout_conf_policy(fanout_policy_t *policy);

/* Refuses what makes no sense together in a fanout_channel, and warns of what
 * can't be reached. */
char *fanout_conf_check_policy(ngx_conf_t *cf, fanout_app_t *app,
    fanout_policy_t *policy);

/* Shares of a zone: the default ones; a parameter of fanout_zone, DECLINED if
 * it is none of them; what they make together; share= of fanout_channel. */
void fanout_conf_shares(fanout_app_t *app);
ngx_int_t fanout_conf_zone_share(ngx_conf_t *cf, ngx_str_t *value,
    fanout_app_t *app);
char *fanout_conf_zone_shares(ngx_conf_t *cf, fanout_app_t *app);
char *fanout_conf_channel_share(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *s, fanout_app_t *app, fanout_policy_t *policy);

/* Checks of a location, before it inherits and after: warnings, and NGX_ERROR
 * for what can't be meant. */
ngx_int_t fanout_conf_check_location(ngx_conf_t *cf, fanout_loc_conf_t *conf);
ngx_int_t fanout_conf_check_merged(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    fanout_loc_conf_t *own);

/* Of merged: warns of what has no effect in a location, of own, which is what
 * was said in the location itself, and of sizes that the zone can't hold. */
void fanout_conf_check_effect(ngx_conf_t *cf, fanout_loc_conf_t *conf,
    fanout_loc_conf_t *own, ngx_str_t *location);

/* Warns of a pattern that seems to be a regular expression. */
void fanout_conf_check_pattern(ngx_conf_t *cf, ngx_str_t *pattern);

/* Warns if no location of a server, ctx, serves a hook's URI; what names the
 * hook in the log.  When all is read. */
void fanout_conf_check_hook(ngx_conf_t *cf, ngx_http_conf_ctx_t *ctx,
    ngx_str_t *what, ngx_str_t *uri);

/* What other modules have for a location: whether the main directive of one
 * holds, of those that have it first; NULL if the location is guarded against
 * strangers of an address family, or why not, in brackets or empty; and the
 * directive that keeps all requests from the handler, in a location or its
 * server, "return" or "rewrite", or NULL. */
ngx_uint_t fanout_conf_is_set(ngx_conf_t *cf, void **loc_conf,
    const char *name);
const char *fanout_conf_unguarded(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf, ngx_int_t family);
const char *fanout_conf_diverted(ngx_conf_t *cf, void **loc_conf,
    ngx_uint_t server);

/* The zone of a name, NULL: none so far. */
fanout_app_t *fanout_conf_find(ngx_conf_t *cf, ngx_str_t *name);

/* Inherits what fanout_origin and fanout_api say of pages, and takes the names
 * of the server for those by which the API may be called.  NGX_ERROR on lack
 * of memory. */
ngx_int_t fanout_merge_origins(ngx_conf_t *cf, fanout_loc_conf_t *prev,
    fanout_loc_conf_t *conf);

/* Before the configuration is read: adds the variables. */
ngx_int_t fanout_add_variables(ngx_conf_t *cf);

/* The variables $fanout_claim_NAME; data is the name, an ngx_str_t. */
ngx_int_t fanout_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

/* After the configuration was read: tokens are taken from requests. */
ngx_int_t fanout_jwt_init(ngx_conf_t *cf);

/* The init of a zone's shared memory. */
ngx_int_t fanout_init_zone(ngx_shm_zone_t *shm_zone, void *data);

/* Warns of a zone that a reload has left with too few slots, or is about to
 * make anew.  When all zones are there. */
void fanout_zone_warn(fanout_app_t *app, ngx_int_t workers, ngx_log_t *log);

/* Closes the eventfds of zones that a configuration, NULL if there is none,
 * does not have. */
void fanout_eventfds_forget(fanout_main_conf_t *mcf);


#endif /* FANOUT_CONF_CONF_H */
