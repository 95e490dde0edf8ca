
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/connect.h"
#include "base/time.h"


static void connect_cleanup(void *data);


ngx_int_t
fanout_connect_set(ngx_http_request_t *r, fanout_grant_t *grant)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = connect_cleanup;
    cln->data = grant;
    grant->refs++;

    return NGX_OK;
}


static void
connect_cleanup(void *data)
{
    fanout_grant_release(data);
}


/* A request that was redirected may have one of another location. */

fanout_grant_t *
fanout_connect_grant(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    fanout_grant_t      *grant;
    ngx_http_cleanup_t  *cln;

    for (cln = r->main->cleanup; cln; cln = cln->next) {

        if (cln->handler != connect_cleanup) {
            continue;
        }

        grant = cln->data;

        if (grant->place == conf
            && grant->grants == conf->asked[FANOUT_ASK_CONNECT_AT])
        {
            return grant;
        }
    }

    return NULL;
}


fanout_connect_t *
fanout_connect_of(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    fanout_grant_t  *grant;

    grant = (conf->asks & FANOUT_ASK_CONNECT) ? fanout_connect_grant(r, conf)
                                              : NULL;

    return grant ? grant->connect : NULL;
}


ngx_msec_t
fanout_connect_left(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_msec_t left)
{
    uint64_t         now, ms;
    fanout_grant_t  *grant;

    grant = (conf->asks & FANOUT_ASK_CONNECT) ? fanout_connect_grant(r, conf)
                                              : NULL;

    if (grant == NULL || grant->expires == 0) {
        return left;
    }

    now = fanout_time();
    ms = grant->expires > now ? grant->expires - now : 1;

    return left && left < ms ? left : ms;
}


fanout_permissions_t *
fanout_connect_permissions(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    fanout_connect_t  *c;

    c = fanout_connect_of(r, conf);

    return fanout_permissions_create(r, conf->permits, c ? &c->rules : NULL);
}


ngx_uint_t
fanout_connect_njoins(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    fanout_connect_t  *c;

    c = fanout_connect_of(r, conf);

    return (conf->autojoin ? conf->autojoin->nelts : 0) + (c ? c->njoins : 0);
}


ngx_int_t
fanout_connect_joins(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_autojoin_t **joins, ngx_uint_t *n)
{
    ngx_uint_t          i;
    fanout_permit_t    *channels;
    fanout_connect_t   *c;
    fanout_autojoin_t  *join;

    c = fanout_connect_of(r, conf);
    *n = fanout_connect_njoins(r, conf);

    join = ngx_pcalloc(r->pool, *n * sizeof(fanout_autojoin_t) + 1);
    if (join == NULL) {
        return NGX_ERROR;
    }

    *joins = join;

    for (i = 0; conf->autojoin && i < conf->autojoin->nelts; i++) {
        channels = conf->autojoin->elts;

        if (fanout_permissions_name(r, &channels[i], &join->channel)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        join++;
    }

    for (i = 0; c && i < c->njoins; i++) {
        *join++ = c->joins[i];
    }

    return NGX_OK;
}
