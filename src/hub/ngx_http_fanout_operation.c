
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on channels, and the channels that this worker reads.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_replay.h"
#include "ngx_http_fanout_roster.h"
#include "ngx_http_fanout_utf8.h"


ngx_http_fanout_error_t  ngx_http_fanout_errors[] = {
    { ngx_string(""), 200, ngx_string("") },
    { ngx_string("bad_request"), 400, ngx_string("the request is malformed") },
    { ngx_string("unknown_op"), 400, ngx_string("there is no such op") },
    { ngx_string("too_large"), 413, ngx_string("a limit is exceeded") },
    { ngx_string("too_many"), 400, ngx_string("a limit is exceeded") },
    { ngx_string("forbidden"), 403, ngx_string("not permitted") },
    { ngx_string("not_joined"), 409, ngx_string("the channel is not joined") },
    { ngx_string("not_found"), 404, ngx_string("there is no such channel") },
    { ngx_string("conflict"), 409, ngx_string("the condition does not hold") },
    { ngx_string("rate_limited"), 429, ngx_string("too many commands") },
    { ngx_string("zone_full"), 507, ngx_string("the zone is full") },
    { ngx_string("internal"), 500, ngx_string("internal error") },
    { ngx_string("channel_full"), 409,
      ngx_string("the channel has all members it may have") },
    { ngx_string("recipient_offline"), 404,
      ngx_string("no recipient is online") },
    { ngx_string("refused"), 403,
      ngx_string("the backend did not let it through") },
    { ngx_string("hook_failed"), 502,
      ngx_string("the backend gave no valid answer") },
    { ngx_string("busy"), 503,
      ngx_string("the worker holds all the output it may: try again later") },
    { ngx_string("too_many"), 429,
      ngx_string("the clients of this address hold all that they may: "
                 "\"fanout_zone address=\"") },

    /* without quotes, as such a text goes into JSON as it is */

#define NGX_HTTP_FANOUT_SHARE(name, text)                                     \
    { ngx_string("zone_full"), 507,                                           \
      ngx_string("the share of the zone for " #name " is full: "              \
                 "fanout_zone " #name "=") },
    NGX_HTTP_FANOUT_SHARES(NGX_HTTP_FANOUT_SHARE)
#undef NGX_HTTP_FANOUT_SHARE

    { ngx_string("zone_full"), 507,
      ngx_string("larger than the share of these channels in the zone: "
                 "fanout_channel share=") }
};


static ngx_http_fanout_error_e publish_error(ngx_http_fanout_hub_t *hub,
    int rc);
static ngx_http_fanout_error_e channel_open(ngx_http_fanout_hub_t *hub,
    ngx_str_t *name, uint64_t address, ngx_http_fanout_channel_t **chp);
static ngx_int_t channel_place(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch);
static void channel_close(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch);
static ngx_int_t join_log(ngx_http_fanout_session_t *s,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_subscription_t *sub,
    ngx_uint_t since, uint64_t epoch, uint64_t offset, ngx_uint_t history,
    ngx_http_fanout_zone_join_t *j);
static ngx_http_fanout_subscription_t *subscribe(
    ngx_http_fanout_session_t *s, ngx_http_fanout_channel_t *ch);
static void count_join(ngx_http_fanout_hub_t *hub, ngx_uint_t since,
    ngx_uint_t recovered);
static ngx_uint_t goes_on(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t since, ngx_http_fanout_zone_join_t *j);


/* operations */

ngx_http_fanout_error_e
ngx_http_fanout_hub_full(ngx_http_fanout_hub_t *hub)
{
    ngx_str_t                *text;
    ngx_http_fanout_error_e   error;

    error = hub->zone.full == NGX_HTTP_FANOUT_FULL_ZONE
            ? NGX_HTTP_FANOUT_E_ZONE_FULL
            : hub->zone.full == NGX_HTTP_FANOUT_FULL_CLASS
            ? NGX_HTTP_FANOUT_E_FULL_CLASS
            : NGX_HTTP_FANOUT_E_FULL_channels + hub->zone.full;
    text = &ngx_http_fanout_errors[error].text;

    ngx_http_fanout_count(hub, zone_full);

    if (ngx_http_fanout_eventlog_gather_error(NGX_LOG_WARN, &hub->app->name,
                                              (char *) text->data))
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "fanout refused an operation on zone \"%V\": %V",
                      &hub->app->name, text);
    }

    return error;
}


ngx_int_t
ngx_http_fanout_hub_name(ngx_str_t *name)
{
    return ngx_http_fanout_name_valid(name->data, name->len,
                                      NGX_HTTP_FANOUT_NAME_CHANNEL)
           ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_fanout_hub_label(ngx_str_t *name, size_t max)
{
    return name->len <= max
           && ngx_http_fanout_name_valid(name->data, name->len, 0)
           ? NGX_OK : NGX_DECLINED;
}


/* channels */

ngx_http_fanout_channel_t *
ngx_http_fanout_hub_find(ngx_http_fanout_hub_t *hub, ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_murmur_hash2(name->data, name->len);

    return (ngx_http_fanout_channel_t *)
               ngx_str_rbtree_lookup(&hub->names, name, hash);
}


void
ngx_http_fanout_hub_view(ngx_http_fanout_hub_t *hub, ngx_str_t *name,
    ngx_http_fanout_zone_channel_t *zc)
{
    ngx_http_fanout_channel_t  *ch;

    ch = ngx_http_fanout_hub_find(hub, name);

    if (ch) {
        *zc = ch->zc;
        return;
    }

    ngx_memzero(zc, sizeof(ngx_http_fanout_zone_channel_t));

    zc->name.data = name->data;
    zc->name.len = name->len;
    zc->hash = ngx_http_fanout_zone_hash(&hub->zone, name->data, name->len);
    zc->policy = &ngx_http_fanout_policy(hub->app, name)->keep;
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_publish(ngx_http_fanout_hub_t *hub, ngx_str_t *channel,
    ngx_http_fanout_zone_message_t *m, ngx_uint_t n,
    ngx_http_fanout_zone_publish_t *opts, ngx_http_fanout_zone_result_t *r)
{
    int                             rc;
    ngx_uint_t                      i, tries;
    ngx_http_fanout_zone_channel_t  zc;

    ngx_memzero(r, sizeof(ngx_http_fanout_zone_result_t));

    ngx_http_fanout_hub_view(hub, channel, &zc);

    for (i = 0; i < n; i++) {
        ngx_http_fanout_spend(hub, NGX_HTTP_FANOUT_WORK_MESSAGE
                                   + m[i].data.len / 4);
    }

    rc = NGX_HTTP_FANOUT_ZONE_STALE;

    for (tries = 0; tries < 3; tries++) {
        rc = ngx_http_fanout_log_publish(&hub->zone, &zc, m, n, opts, r);

        if (rc != NGX_HTTP_FANOUT_ZONE_STALE) {
            break;
        }

        zc.ref = 0;
    }

    ngx_http_fanout_hub_kick(hub);

    return publish_error(hub, rc);
}


/* Of what the zone says of a publish. */

static ngx_http_fanout_error_e
publish_error(ngx_http_fanout_hub_t *hub, int rc)
{
    switch (rc) {

    case NGX_HTTP_FANOUT_ZONE_OK:
        return NGX_HTTP_FANOUT_E_NONE;

    case NGX_HTTP_FANOUT_ZONE_FULL:
        return ngx_http_fanout_hub_full(hub);

    case NGX_HTTP_FANOUT_ZONE_CONFLICT:
        return NGX_HTTP_FANOUT_E_CONFLICT;

    case NGX_HTTP_FANOUT_ZONE_LARGE:
        return NGX_HTTP_FANOUT_E_TOO_LARGE;

    case NGX_HTTP_FANOUT_ZONE_MANY:
        return NGX_HTTP_FANOUT_E_TOO_MANY;

    case NGX_HTTP_FANOUT_ZONE_HELD:
        return NGX_HTTP_FANOUT_E_RATE_LIMITED;

    case NGX_HTTP_FANOUT_ZONE_ADDRESS:
        ngx_http_fanout_count(hub, address_held);
        return NGX_HTTP_FANOUT_E_ADDRESS_FULL;

    case NGX_HTTP_FANOUT_ZONE_NOTFOUND:
        ngx_http_fanout_count(hub, direct_offline);
        return NGX_HTTP_FANOUT_E_RECIPIENT_OFFLINE;

    default:
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_key(ngx_http_fanout_hub_t *hub, ngx_str_t *channel,
    ngx_http_fanout_zone_publish_t *opts, ngx_http_fanout_zone_result_t *r)
{
    int                             rc;
    ngx_http_fanout_zone_channel_t  zc;

    ngx_memzero(r, sizeof(ngx_http_fanout_zone_result_t));

    if (opts->key.len == 0) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    ngx_http_fanout_hub_view(hub, channel, &zc);
    ngx_http_fanout_spend(hub, NGX_HTTP_FANOUT_WORK_MESSAGE);

    rc = ngx_http_fanout_log_key(&hub->zone, &zc, opts, r);

    ngx_http_fanout_hub_kick(hub);

    return publish_error(hub, rc);
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_signal(ngx_http_fanout_hub_t *hub, ngx_str_t *channel,
    ngx_http_fanout_zone_message_t *m)
{
    int                             rc;
    ngx_http_fanout_zone_channel_t  zc;

    ngx_http_fanout_hub_view(hub, channel, &zc);

    rc = ngx_http_fanout_signal_put(&hub->zone, &zc, m);

    ngx_http_fanout_hub_kick(hub);

    switch (rc) {

    case NGX_HTTP_FANOUT_ZONE_OK:
        ngx_http_fanout_count(hub, signals);
        return NGX_HTTP_FANOUT_E_NONE;

    case NGX_HTTP_FANOUT_ZONE_FULL:
        return ngx_http_fanout_hub_full(hub);

    case NGX_HTTP_FANOUT_ZONE_LARGE:
        return NGX_HTTP_FANOUT_E_TOO_LARGE;

    case NGX_HTTP_FANOUT_ZONE_NOTFOUND:
        ngx_http_fanout_count(hub, direct_offline);
        return NGX_HTTP_FANOUT_E_RECIPIENT_OFFLINE;

    default:
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }
}


ngx_http_fanout_error_e
ngx_http_fanout_hub_join(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_uint_t since, uint64_t epoch, uint64_t offset, ngx_uint_t history,
    ngx_http_fanout_subscription_t **subp, ngx_http_fanout_zone_join_t *j)
{
    ngx_uint_t                       again;
    ngx_http_fanout_hub_t           *hub;
    ngx_http_fanout_error_e          rc;
    ngx_http_fanout_channel_t       *ch;
    ngx_http_fanout_subscription_t  *sub;

    hub = s->hub;
    sub = ngx_http_fanout_session_sub(s, channel);
    again = (sub != NULL);

    if (sub == NULL && s->nsubs >= s->conf->channels) {
        return NGX_HTTP_FANOUT_E_TOO_MANY;
    }

    ch = sub ? sub->channel : ngx_http_fanout_hub_find(hub, channel);

    if (ch == NULL) {
        rc = channel_open(hub, channel, s->meter.address, &ch);

        if (rc != NGX_HTTP_FANOUT_E_NONE) {
            return rc;
        }
    }

    if (join_log(s, ch, sub, since, epoch, offset, history, j) != NGX_OK) {
        goto failed;
    }

    if (sub == NULL) {
        sub = subscribe(s, ch);
        if (sub == NULL) {
            goto failed;
        }

        sub->signal_seq = j->seq;
    }

    if (!again || !goes_on(sub, since, j)) {
        sub->sent = j->from;
        sub->seq = j->seq;
        sub->floor = j->offset;
        sub->reset = 0;
    }

    sub->state = NGX_HTTP_FANOUT_SUB_LIVE;

    count_join(hub, since, j->recovered);

    if (!again) {
        ngx_http_fanout_spend(hub, NGX_HTTP_FANOUT_WORK_CHANNEL);
        ngx_http_fanout_eventlog_join(s, &ch->name);
    }

    *subp = sub;

    return NGX_HTTP_FANOUT_E_NONE;

failed:

    if (ch->nsubs == 0) {
        channel_close(hub, ch);
    }

    return NGX_HTTP_FANOUT_E_INTERNAL;
}


/* Joins where this worker has drained to, if it can be had. */

static ngx_int_t
join_log(ngx_http_fanout_session_t *s, ngx_http_fanout_channel_t *ch,
    ngx_http_fanout_subscription_t *sub, ngx_uint_t since, uint64_t epoch,
    uint64_t offset, ngx_uint_t history, ngx_http_fanout_zone_join_t *j)
{
    ngx_uint_t              tries;
    ngx_http_fanout_hub_t  *hub;

    hub = s->hub;

    for (tries = 0; tries < 16; tries++) {

        if (ngx_http_fanout_log_join(&hub->zone, &ch->zc, since, epoch,
                                     offset, history, j)
            != NGX_HTTP_FANOUT_ZONE_OK)
        {
            if (hub->zone.incarnation != hub->incarnation) {
                ngx_http_fanout_hub_rebuilt(hub);
                continue;
            }

            return NGX_ERROR;
        }

        if (j->epoch == ch->epoch
            && (sub == NULL || s->batch || j->offset == ch->offset))
        {
            break;
        }

        /* joined again: first what is on its way to it, but for an array,
         * whose replies come first; and a reset is before the join */
        (void) ngx_http_fanout_hub_drain(hub);
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }

    return NGX_OK;
}


static ngx_http_fanout_subscription_t *
subscribe(ngx_http_fanout_session_t *s, ngx_http_fanout_channel_t *ch)
{
    ngx_http_fanout_subscription_t  *sub;

    sub = ngx_calloc(sizeof(ngx_http_fanout_subscription_t), ngx_cycle->log);
    if (sub == NULL) {
        return NULL;
    }

    sub->channel = ch;
    sub->session = s;
    sub->format = s->format;
    sub->want = NGX_HTTP_FANOUT_WANT_MESSAGES;

    ngx_queue_insert_tail(&ch->subs, &sub->in_channel);
    ngx_http_fanout_session_sub_add(sub);
    ch->nsubs++;
    ch->formats[sub->format]++;
    ngx_http_fanout_hub_counted(s->hub, ch);

    return sub;
}


static void
count_join(ngx_http_fanout_hub_t *hub, ngx_uint_t since,
    ngx_uint_t recovered)
{
    ngx_http_fanout_count(hub, joins);

    if (since == NGX_HTTP_FANOUT_SINCE_NONE) {
        return;
    }

    if (recovered) {
        ngx_http_fanout_count(hub, recoveries);

    } else {
        ngx_http_fanout_count(hub, recovery_failures);
    }
}


/* What was drained is what all here were told: no lock is needed to be at one
 * offset with it. */

ngx_int_t
ngx_http_fanout_hub_register(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t again, ngx_uint_t since, uint64_t epoch, uint64_t offset,
    ngx_uint_t history, ngx_http_fanout_zone_join_t *j)
{
    int                         rc;
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_channel_t  *ch;

    ch = sub->channel;
    hub = sub->session->hub;

    rc = ngx_http_fanout_log_join(&hub->zone, &ch->zc, since, epoch, offset,
                                  history, j);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK) {
        return hub->zone.incarnation != hub->incarnation ? NGX_AGAIN
                                                         : NGX_ERROR;
    }

    if (j->epoch != ch->epoch) {
        return NGX_AGAIN;
    }

    sub->known = ch->offset;

    if (again && !since && !sub->reset) {
        (void) goes_on(sub, since, j);
        return NGX_OK;
    }

    j->offset = ch->offset;
    j->after = ngx_min(j->after, ch->offset);

    sub->sent = ch->seq;
    sub->seq = ch->seq;
    sub->floor = ch->offset;
    sub->reset = 0;

    return NGX_OK;
}


/* Joined again without "since": what it has not been told yet still comes, so
 * that the join is at the offset it was told up to. */

static ngx_uint_t
goes_on(ngx_http_fanout_subscription_t *sub, ngx_uint_t since,
    ngx_http_fanout_zone_join_t *j)
{
    uint64_t                    told;
    ngx_http_fanout_channel_t  *ch;

    ch = sub->channel;

    if (since || sub->reset || j->epoch != ch->epoch) {
        return 0;
    }

    told = sub->state == NGX_HTTP_FANOUT_SUB_LIVE
           ? ngx_max(ch->offset, sub->floor) : sub->offset;

    if (told >= j->offset) {
        return 0;
    }

    j->offset = told;
    j->after = ngx_min(j->after, told);

    return 1;
}


void
ngx_http_fanout_hub_leave(ngx_http_fanout_subscription_t *sub,
    ngx_uint_t reason)
{
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_own_t      *own;
    ngx_http_fanout_channel_t  *ch;

    ch = sub->channel;
    hub = sub->session->hub;

    if (sub->seat && reason) {
        ngx_http_fanout_seat_close(&hub->zone, &ch->zc,
                                   sub->session->identity_ref,
                                   &sub->session->identity, reason);
        ngx_http_fanout_hub_presence(hub);
    }

    while (sub->own) {
        own = sub->own;
        sub->own = own->next;
        ngx_free(own);

        if (reason) {
            ngx_http_fanout_count(hub, presence_leaves);
        }
    }

    (void) ngx_http_fanout_hub_want(sub, 0);
    ngx_http_fanout_eventlog_leave(sub->session, &ch->name);

    ngx_queue_remove(&sub->in_channel);
    ngx_http_fanout_session_sub_remove(sub);

    ch->nsubs--;
    ch->formats[sub->format]--;

    ngx_http_fanout_signals_forget(sub);

    if (sub->events) {
        ngx_free(sub->events);
    }

    ngx_free(sub);

    ngx_http_fanout_count(hub, leaves);
    ngx_http_fanout_spend(hub, NGX_HTTP_FANOUT_WORK_CHANNEL);

    if (ch->nsubs == 0) {
        channel_close(hub, ch);

    } else {
        ngx_http_fanout_hub_counted(hub, ch);
    }
}


/* For a client of the address. */

static ngx_http_fanout_error_e
channel_open(ngx_http_fanout_hub_t *hub, ngx_str_t *name, uint64_t address,
    ngx_http_fanout_channel_t **chp)
{
    int                           rc;
    ngx_http_fanout_channel_t    *ch;
    ngx_http_fanout_zone_join_t   j;

    hub->zone.full = NGX_HTTP_FANOUT_FULL_ZONE;

    ch = ngx_calloc(sizeof(ngx_http_fanout_channel_t) + name->len,
                    ngx_cycle->log);
    if (ch == NULL) {
        return ngx_http_fanout_hub_full(hub);
    }

    ch->name.len = name->len;
    ch->name.data = (u_char *) (ch + 1);
    ngx_memcpy(ch->name.data, name->data, name->len);

    ngx_http_fanout_hub_view(hub, &ch->name, &ch->zc);
    ch->zc.address = address;

    ch->policy = ngx_http_fanout_policy(hub->app, &ch->name);
    ch->node.key = ngx_murmur_hash2(name->data, name->len);
    ch->told = 1;

    ngx_queue_init(&ch->subs);
    ngx_queue_init(&ch->signals);

    if (channel_place(hub, ch) != NGX_OK) {
        ngx_free(ch);
        return ngx_http_fanout_hub_full(hub);
    }

    rc = ngx_http_fanout_channel_open(&hub->zone, &ch->zc, ch->local);

    if (rc != NGX_HTTP_FANOUT_ZONE_OK
        || ngx_http_fanout_log_join(&hub->zone, &ch->zc, 0, 0, 0, 0, &j)
           != NGX_HTTP_FANOUT_ZONE_OK)
    {
        hub->channels[ch->local] = NULL;
        hub->used--;
        ngx_free(ch);

        if (rc == NGX_HTTP_FANOUT_ZONE_MANY) {
            ngx_http_fanout_count(hub, address_held);
            return NGX_HTTP_FANOUT_E_ADDRESS_FULL;
        }

        return ngx_http_fanout_hub_full(hub);
    }

    /* what was appended since the opening comes by the drain: it is skipped */

    ch->epoch = j.epoch;
    ch->offset = j.offset;
    ch->seq = j.seq;
    ch->opened = j.seq;

    ngx_rbtree_insert(&hub->names, &ch->node);

    *chp = ch;

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_int_t
channel_place(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch)
{
    uint32_t                     i, n;
    ngx_http_fanout_channel_t  **channels;

    if (hub->used == hub->nchannels) {
        n = hub->nchannels ? hub->nchannels * 2 : 64;

        channels = ngx_calloc(n * sizeof(ngx_http_fanout_channel_t *),
                              ngx_cycle->log);
        if (channels == NULL) {
            return NGX_ERROR;
        }

        if (hub->channels) {
            ngx_memcpy(channels, hub->channels,
                       hub->nchannels * sizeof(ngx_http_fanout_channel_t *));
            ngx_free(hub->channels);
        }

        hub->channels = channels;
        hub->next = hub->nchannels;
        hub->nchannels = n;
    }

    for (i = hub->next; hub->channels[i]; i = (i + 1) % hub->nchannels) {
        /* void */
    }

    hub->channels[i] = ch;
    hub->next = (i + 1) % hub->nchannels;
    hub->used++;
    ch->local = i;

    return NGX_OK;
}


static void
channel_close(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch)
{
    ngx_http_fanout_channel_close(&hub->zone, &ch->zc);

    if (!ch->told) {
        ngx_queue_remove(&ch->counted);
    }

    ngx_http_fanout_replay_forget(hub, ch);
    ngx_http_fanout_signals_clear(hub, ch);

    if (ch->roster) {
        ngx_http_fanout_roster_free(hub, ch->roster);
    }

    ngx_rbtree_delete(&hub->names, &ch->node);
    hub->channels[ch->local] = NULL;
    hub->used--;

    ngx_free(ch);
}


void
ngx_http_fanout_hub_counted(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch)
{
    if (ch->told) {
        ch->told = 0;
        ngx_queue_insert_tail(&hub->counted, &ch->counted);
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}
