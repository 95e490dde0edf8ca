
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on channels, and the channels that this worker reads.
 */


#include "session/session.h"
#include "hub/replay.h"
#include "hub/roster.h"


fanout_error_t  fanout_errors[] = {
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

#define FANOUT_SHARE(name, text)                                              \
    { ngx_string("zone_full"), 507,                                           \
      ngx_string("the share of the zone for " #name " is full: "              \
                 "fanout_zone " #name "=") },
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE

    { ngx_string("zone_full"), 507,
      ngx_string("larger than the share of these channels in the zone: "
                 "fanout_channel share=") }
};


static fanout_error_e publish_error(fanout_hub_t *hub, int rc);
static fanout_error_e channel_open(fanout_hub_t *hub, ngx_str_t *name,
    uint64_t address, fanout_channel_t **chp);
static ngx_int_t channel_place(fanout_hub_t *hub, fanout_channel_t *ch);
static void channel_close(fanout_hub_t *hub, fanout_channel_t *ch);
static ngx_int_t join_log(fanout_session_t *s, fanout_channel_t *ch,
    fanout_subscription_t *sub, ngx_uint_t since, uint64_t epoch,
    uint64_t offset, ngx_uint_t history, fanout_zone_join_t *j);
static fanout_subscription_t *subscribe(
    fanout_session_t *s, fanout_channel_t *ch);
static void count_join(fanout_hub_t *hub, ngx_uint_t since,
    ngx_uint_t recovered);
static ngx_uint_t goes_on(fanout_subscription_t *sub, ngx_uint_t since,
    fanout_zone_join_t *j);


/* operations */

fanout_error_e
fanout_hub_full(fanout_hub_t *hub)
{
    ngx_str_t       *text;
    fanout_error_e   error;

    error = hub->zone.full == FANOUT_FULL_ZONE
            ? FANOUT_E_ZONE_FULL
            : hub->zone.full == FANOUT_FULL_CLASS
            ? FANOUT_E_FULL_CLASS
            : FANOUT_E_FULL_channels + hub->zone.full;
    text = &fanout_errors[error].text;

    fanout_count(hub, zone_full);

    if (fanout_eventlog_gather_error(NGX_LOG_WARN, &hub->app->name,
                                     (char *) text->data))
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "fanout refused an operation on zone \"%V\": %V",
                      &hub->app->name, text);
    }

    return error;
}


/* channels */

fanout_channel_t *
fanout_hub_find(fanout_hub_t *hub, ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_murmur_hash2(name->data, name->len);

    return (fanout_channel_t *)
               ngx_str_rbtree_lookup(&hub->names, name, hash);
}


void
fanout_hub_view(fanout_hub_t *hub, ngx_str_t *name, fanout_zone_channel_t *zc)
{
    fanout_channel_t  *ch;

    ch = fanout_hub_find(hub, name);

    if (ch) {
        *zc = ch->zc;
        return;
    }

    ngx_memzero(zc, sizeof(fanout_zone_channel_t));

    zc->name.data = name->data;
    zc->name.len = name->len;
    zc->hash = fanout_zone_hash(&hub->zone, name->data, name->len);
    zc->policy = &fanout_policy(hub->app, name)->keep;
}


fanout_error_e
fanout_hub_publish(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n, fanout_zone_publish_t *opts,
    fanout_zone_result_t *r)
{
    int                    rc;
    ngx_uint_t             i, tries;
    fanout_zone_channel_t  zc;

    ngx_memzero(r, sizeof(fanout_zone_result_t));

    fanout_hub_view(hub, channel, &zc);

    for (i = 0; i < n; i++) {
        fanout_spend(hub, FANOUT_WORK_MESSAGE
                          + m[i].data.len / 4);
    }

    rc = FANOUT_ZONE_STALE;

    for (tries = 0; tries < 3; tries++) {
        rc = fanout_log_publish(&hub->zone, &zc, m, n, opts, r);

        if (rc != FANOUT_ZONE_STALE) {
            break;
        }

        zc.ref = 0;
    }

    fanout_hub_kick(hub);

    return publish_error(hub, rc);
}


/* Of what the zone says of a publish. */

static fanout_error_e
publish_error(fanout_hub_t *hub, int rc)
{
    switch (rc) {

    case FANOUT_ZONE_OK:
        return FANOUT_E_NONE;

    case FANOUT_ZONE_FULL:
        return fanout_hub_full(hub);

    case FANOUT_ZONE_CONFLICT:
        return FANOUT_E_CONFLICT;

    case FANOUT_ZONE_LARGE:
        return FANOUT_E_TOO_LARGE;

    case FANOUT_ZONE_MANY:
        return FANOUT_E_TOO_MANY;

    case FANOUT_ZONE_HELD:
        return FANOUT_E_RATE_LIMITED;

    case FANOUT_ZONE_ADDRESS:
        fanout_count(hub, address_held);
        return FANOUT_E_ADDRESS_FULL;

    case FANOUT_ZONE_NOTFOUND:
        fanout_count(hub, direct_offline);
        return FANOUT_E_RECIPIENT_OFFLINE;

    default:
        return FANOUT_E_INTERNAL;
    }
}


fanout_error_e
fanout_hub_key(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_publish_t *opts, fanout_zone_result_t *r)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    ngx_memzero(r, sizeof(fanout_zone_result_t));

    if (opts->key.len == 0) {
        return FANOUT_E_NONE;
    }

    fanout_hub_view(hub, channel, &zc);
    fanout_spend(hub, FANOUT_WORK_MESSAGE);

    rc = fanout_log_key(&hub->zone, &zc, opts, r);

    fanout_hub_kick(hub);

    return publish_error(hub, rc);
}


fanout_error_e
fanout_hub_signal(fanout_hub_t *hub, ngx_str_t *channel,
    fanout_zone_message_t *m)
{
    int                    rc;
    fanout_zone_channel_t  zc;

    fanout_hub_view(hub, channel, &zc);

    rc = fanout_signal_put(&hub->zone, &zc, m);

    fanout_hub_kick(hub);

    switch (rc) {

    case FANOUT_ZONE_OK:
        fanout_count(hub, signals);
        return FANOUT_E_NONE;

    case FANOUT_ZONE_FULL:
        return fanout_hub_full(hub);

    case FANOUT_ZONE_LARGE:
        return FANOUT_E_TOO_LARGE;

    case FANOUT_ZONE_NOTFOUND:
        fanout_count(hub, direct_offline);
        return FANOUT_E_RECIPIENT_OFFLINE;

    default:
        return FANOUT_E_INTERNAL;
    }
}


fanout_error_e
fanout_hub_join(fanout_session_t *s, ngx_str_t *channel, ngx_uint_t since,
    uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_subscription_t **subp, fanout_zone_join_t *j)
{
    ngx_uint_t              again;
    fanout_hub_t           *hub;
    fanout_error_e          rc;
    fanout_channel_t       *ch;
    fanout_subscription_t  *sub;

    hub = s->hub;
    sub = fanout_session_sub(s, channel);
    again = (sub != NULL);

    if (sub == NULL && s->nsubs >= s->conf->channels) {
        return FANOUT_E_TOO_MANY;
    }

    ch = sub ? sub->channel : fanout_hub_find(hub, channel);

    if (ch == NULL) {
        rc = channel_open(hub, channel, s->meter.address, &ch);

        if (rc != FANOUT_E_NONE) {
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

    sub->state = FANOUT_SUB_LIVE;

    count_join(hub, since, j->recovered);

    if (!again) {
        fanout_spend(hub, FANOUT_WORK_CHANNEL);
        fanout_eventlog_join(s, &ch->name);
    }

    *subp = sub;

    return FANOUT_E_NONE;

failed:

    if (ch->nsubs == 0) {
        channel_close(hub, ch);
    }

    return FANOUT_E_INTERNAL;
}


/* Joins where this worker has drained to, if it can be had. */

static ngx_int_t
join_log(fanout_session_t *s, fanout_channel_t *ch,
    fanout_subscription_t *sub, ngx_uint_t since, uint64_t epoch,
    uint64_t offset, ngx_uint_t history, fanout_zone_join_t *j)
{
    ngx_uint_t     tries;
    fanout_hub_t  *hub;

    hub = s->hub;

    for (tries = 0; tries < 16; tries++) {

        if (fanout_log_join(&hub->zone, &ch->zc, since, epoch,
                            offset, history, j)
            != FANOUT_ZONE_OK)
        {
            if (hub->zone.heap.incarnation != hub->incarnation) {
                hub->sink.rebuilt(hub);
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
        (void) fanout_hub_drain(hub);
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }

    return NGX_OK;
}


static fanout_subscription_t *
subscribe(fanout_session_t *s, fanout_channel_t *ch)
{
    fanout_subscription_t  *sub;

    sub = ngx_calloc(sizeof(fanout_subscription_t), ngx_cycle->log);
    if (sub == NULL) {
        return NULL;
    }

    sub->channel = ch;
    sub->session = s;
    sub->format = s->format;
    sub->want = FANOUT_WANT_MESSAGES;

    ngx_queue_insert_tail(&ch->subs, &sub->in_channel);
    fanout_session_sub_add(sub);
    ch->nsubs++;
    ch->formats[sub->format]++;
    fanout_hub_counted(s->hub, ch);

    return sub;
}


static void
count_join(fanout_hub_t *hub, ngx_uint_t since,
    ngx_uint_t recovered)
{
    fanout_count(hub, joins);

    if (since == FANOUT_SINCE_NONE) {
        return;
    }

    if (recovered) {
        fanout_count(hub, recoveries);

    } else {
        fanout_count(hub, recovery_failures);
    }
}


/* What was drained is what all here were told: no lock is needed to be at one
 * offset with it. */

ngx_int_t
fanout_hub_register(fanout_subscription_t *sub, ngx_uint_t again,
    ngx_uint_t since, uint64_t epoch, uint64_t offset, ngx_uint_t history,
    fanout_zone_join_t *j)
{
    int                rc;
    fanout_hub_t      *hub;
    fanout_channel_t  *ch;

    ch = sub->channel;
    hub = sub->session->hub;

    rc = fanout_log_join(&hub->zone, &ch->zc, since, epoch, offset, history,
                         j);

    if (rc != FANOUT_ZONE_OK) {
        return hub->zone.heap.incarnation != hub->incarnation ? NGX_AGAIN
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
goes_on(fanout_subscription_t *sub, ngx_uint_t since, fanout_zone_join_t *j)
{
    uint64_t           told;
    fanout_channel_t  *ch;

    ch = sub->channel;

    if (since || sub->reset || j->epoch != ch->epoch) {
        return 0;
    }

    told = sub->state == FANOUT_SUB_LIVE
           ? ngx_max(ch->offset, sub->floor) : sub->offset;

    if (told >= j->offset) {
        return 0;
    }

    j->offset = told;
    j->after = ngx_min(j->after, told);

    return 1;
}


void
fanout_hub_leave(fanout_subscription_t *sub, ngx_uint_t reason)
{
    fanout_hub_t      *hub;
    fanout_own_t      *own;
    fanout_channel_t  *ch;

    ch = sub->channel;
    hub = sub->session->hub;

    if (sub->seat && reason) {
        fanout_seat_close(&hub->zone, &ch->zc, sub->session->identity_ref,
                          &sub->session->identity, reason);
        fanout_hub_presence(hub);
    }

    while (sub->own) {
        own = sub->own;
        sub->own = own->next;
        ngx_free(own);

        if (reason) {
            fanout_count(hub, presence_leaves);
        }
    }

    (void) fanout_hub_want(sub, 0);
    fanout_eventlog_leave(sub->session, &ch->name);

    ngx_queue_remove(&sub->in_channel);
    fanout_session_sub_remove(sub);

    ch->nsubs--;
    ch->formats[sub->format]--;

    fanout_signals_forget(sub);

    if (sub->events) {
        ngx_free(sub->events);
    }

    ngx_free(sub);

    fanout_count(hub, leaves);
    fanout_spend(hub, FANOUT_WORK_CHANNEL);

    if (ch->nsubs == 0) {
        channel_close(hub, ch);

    } else {
        fanout_hub_counted(hub, ch);
    }
}


/* For a client of the address. */

static fanout_error_e
channel_open(fanout_hub_t *hub, ngx_str_t *name, uint64_t address,
    fanout_channel_t **chp)
{
    int                  rc;
    fanout_channel_t    *ch;
    fanout_zone_join_t   j;

    hub->zone.full = FANOUT_FULL_ZONE;

    ch = ngx_calloc(sizeof(fanout_channel_t) + name->len, ngx_cycle->log);
    if (ch == NULL) {
        return fanout_hub_full(hub);
    }

    ch->name.len = name->len;
    ch->name.data = (u_char *) (ch + 1);
    ngx_memcpy(ch->name.data, name->data, name->len);

    fanout_hub_view(hub, &ch->name, &ch->zc);
    ch->zc.address = address;

    ch->policy = fanout_policy(hub->app, &ch->name);
    ch->node.key = ngx_murmur_hash2(name->data, name->len);
    ch->told = 1;

    ngx_queue_init(&ch->subs);
    ngx_queue_init(&ch->signals);

    if (channel_place(hub, ch) != NGX_OK) {
        ngx_free(ch);
        return fanout_hub_full(hub);
    }

    rc = fanout_channel_open(&hub->zone, &ch->zc, ch->local);

    if (rc != FANOUT_ZONE_OK
        || fanout_log_join(&hub->zone, &ch->zc, 0, 0, 0, 0, &j)
           != FANOUT_ZONE_OK)
    {
        hub->channels[ch->local] = NULL;
        hub->used--;
        ngx_free(ch);

        if (rc == FANOUT_ZONE_MANY) {
            fanout_count(hub, address_held);
            return FANOUT_E_ADDRESS_FULL;
        }

        return fanout_hub_full(hub);
    }

    /* what was appended since the opening comes by the drain: it is skipped */

    ch->epoch = j.epoch;
    ch->offset = j.offset;
    ch->seq = j.seq;
    ch->opened = j.seq;

    ngx_rbtree_insert(&hub->names, &ch->node);

    *chp = ch;

    return FANOUT_E_NONE;
}


static ngx_int_t
channel_place(fanout_hub_t *hub, fanout_channel_t *ch)
{
    uint32_t            i, n;
    fanout_channel_t  **channels;

    if (hub->used == hub->nchannels) {
        n = hub->nchannels ? hub->nchannels * 2 : 64;

        channels = ngx_calloc(n * sizeof(fanout_channel_t *), ngx_cycle->log);
        if (channels == NULL) {
            return NGX_ERROR;
        }

        if (hub->channels) {
            ngx_memcpy(channels, hub->channels,
                       hub->nchannels * sizeof(fanout_channel_t *));
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
channel_close(fanout_hub_t *hub, fanout_channel_t *ch)
{
    fanout_channel_close(&hub->zone, &ch->zc);

    if (!ch->told) {
        ngx_queue_remove(&ch->counted);
    }

    fanout_replay_forget(hub, ch);
    fanout_signals_clear(hub, ch);

    if (ch->roster) {
        fanout_roster_free(hub, ch->roster);
    }

    ngx_rbtree_delete(&hub->names, &ch->node);
    hub->channels[ch->local] = NULL;
    hub->used--;

    ngx_free(ch);
}


void
fanout_hub_counted(fanout_hub_t *hub, fanout_channel_t *ch)
{
    if (ch->told) {
        ch->told = 0;
        ngx_queue_insert_tail(&hub->counted, &ch->counted);
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}
