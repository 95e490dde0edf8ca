
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What makes no sense together in a fanout_channel.
 */


#include "conf/conf.h"


#define FANOUT_RECORDS_MAX  10000
#define FANOUT_LOCKS_MAX    1000

/* blocks of a record with a field: its own, the id, the index and the field */
#define FANOUT_RECORD_LEAST  4


static char *check_records(ngx_conf_t *cf, fanout_app_t *app,
    fanout_policy_t *policy);
static char *check_locks(ngx_conf_t *cf, fanout_policy_t *policy);
static void check_kept(ngx_conf_t *cf, fanout_app_t *app,
    fanout_policy_t *policy);


char *
fanout_conf_check_policy(ngx_conf_t *cf, fanout_app_t *app,
    fanout_policy_t *policy)
{
    const char  *name;

    if (policy->members_publish) {
        app->members_publish = 1;
    }

    if (policy->keep.history == 0 && (policy->keep.ttl || policy->keep.bytes))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" of \"fanout_channel\" needs \"history\": "
                           "without it nothing is kept",
                           policy->keep.ttl ? "ttl" : "bytes");
        return NGX_CONF_ERROR;
    }

    if (policy->keys && policy->keep.presence != FANOUT_PRESENCE_ON) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"keys\" of \"fanout_channel\" needs "
                           "\"presence=on\": members are known by keys only "
                           "where they are listed");
        return NGX_CONF_ERROR;
    }

    name = NULL;

    if (policy->keep.presence == FANOUT_PRESENCE_OFF) {
        name = policy->keep.members ? "members"
               : policy->expire ? "expire"
               : policy->idle ? "idle"
               : policy->pongs ? "alive"
               : policy->keep.seen ? "seen"
               : policy->keeps ? "changes"
               : policy->batches ? "batch"
               : policy->members_publish ? "publish=members" : NULL;
    }

    if (name) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" of \"fanout_channel\" needs "
                           "\"presence=on\" or \"presence=summary\"", name);
        return NGX_CONF_ERROR;
    }

    if (policy->keep.presence == FANOUT_PRESENCE_SUMMARY
        && policy->idle)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"idle\" of \"fanout_channel\" needs "
                           "\"presence=on\": a summary has no states");
        return NGX_CONF_ERROR;
    }

    if (policy->idle && policy->expire && policy->idle >= policy->expire) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"idle\" of \"fanout_channel\" must be less than "
                           "\"expire\"");
        return NGX_CONF_ERROR;
    }

    check_kept(cf, app, policy);

    if (check_records(cf, app, policy) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return check_locks(cf, policy);
}


static char *
check_locks(ngx_conf_t *cf, fanout_policy_t *policy)
{
    const char            *name;
    fanout_zone_policy_t  *keep;

    keep = &policy->keep;

    if (keep->locks == 0) {
        name = keep->guard ? "guard=on" : keep->locks_max ? "locks_max" : NULL;

        if (name) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" of \"fanout_channel\" needs "
                               "\"locks\": without it there are none", name);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (keep->guard && keep->records == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"guard=on\" of \"fanout_channel\" needs "
                           "\"records\": it guards their changes");
        return NGX_CONF_ERROR;
    }

    if (keep->locks_max == 0) {
        keep->locks_max = FANOUT_LOCKS_MAX;
    }

    return NGX_CONF_OK;
}


static char *
check_records(ngx_conf_t *cf, fanout_app_t *app, fanout_policy_t *policy)
{
    uint64_t               room, least;
    const char            *name;
    fanout_zone_policy_t  *keep;

    keep = &policy->keep;

    if (keep->records == 0) {
        name = keep->record ? "record"
               : keep->fields ? "fields"
               : keep->records_max ? "records_max"
               : keep->records_ttl ? "records_ttl" : NULL;

        if (name) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" of \"fanout_channel\" needs "
                               "\"records=on\", \"records=old\" or "
                               "\"records=full\"", name);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if ((keep->records & FANOUT_RECORDS_OLD) && keep->history == 0) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"records=%s\" of \"fanout_channel\" \"%V\" has "
                           "no \"history\": old values are told and not kept",
                           (keep->records & FANOUT_RECORDS_WHOLE)
                           ? "full" : "old", &policy->text);
    }

    if (keep->records_max == 0) {
        keep->records_max = FANOUT_RECORDS_MAX;
        return NGX_CONF_OK;
    }

    room = (uint64_t) app->shm_zone->shm.size
           * app->shares[FANOUT_SHARE_records].max / 100;
    least = (uint64_t) keep->records_max * FANOUT_RECORD_LEAST
            * FANOUT_ZONE_BLOCK;

    if (least > room) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"records_max=%uD\" of \"fanout_channel\" \"%V\" "
                           "can't be reached: so many records with a field "
                           "each take %uL bytes at least, and all records may "
                           "take %uL of zone \"%V\"", keep->records_max,
                           &policy->text, least, room, &app->name);
    }

    return NGX_CONF_OK;
}


/* The smallest message is a block, and 11 of them one more, of index: see
 * docs/operations.md.  A channel alone may then take all there is. */

static void
check_kept(ngx_conf_t *cf, fanout_app_t *app, fanout_policy_t *policy)
{
    uint64_t  room, least;

    room = (uint64_t) app->shm_zone->shm.size
           * (policy->shares ? policy->share.max : 100) / 100;

    if (policy->keep.bytes) {
        least = policy->keep.bytes;

    } else {
        least = policy->keep.history
                + (uint64_t) (policy->keep.history + 10) / 11;
        least *= FANOUT_ZONE_BLOCK;
    }

    if (least <= room) {
        return;
    }

    if (policy->keep.bytes) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"bytes=%uD\" of \"fanout_channel\" \"%V\" can't "
                           "be kept: such channels may take %uL bytes of zone "
                           "\"%V\"", policy->keep.bytes, &policy->text, room,
                           &app->name);
        return;
    }

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                       "\"history=%uD\" of \"fanout_channel\" \"%V\" can't be "
                       "kept: so many messages take %uL bytes at least, and "
                       "such channels may take %uL of zone \"%V\"",
                       policy->keep.history, &policy->text, least, room,
                       &app->name);
}
