
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What denials of the zone do to sessions.
 */


#include "session/denial.h"
#include "session/dialect.h"
#include "session/forbid.h"
#include "session/transport.h"


/* more new denials at a time are looked up session by session */
#define FANOUT_DENIALS_NEW  64

/* denials within so many ms share an entry, so that many of them do not push
 * out older entries */
#define FANOUT_DENIALS_TICK 250


static void denials_note(fanout_hub_t *hub, uint64_t before);
static void denial_meets(fanout_session_t *s, const fanout_denial_t *d,
    int n);
static void denial_look(fanout_session_t *s);
static void denial_end(fanout_session_t *s, const fanout_denial_t *d);
static void denial_tickets(fanout_session_t *s, const fanout_denial_t *d);
static void denial_cut(fanout_session_t *s, ngx_uint_t code,
    const char *why);
static void denial_renew(fanout_session_t *s, const fanout_denial_t *d);


/* All sessions are walked at once: what is delivered next may be for any. */

void
fanout_denials_apply(fanout_hub_t *hub)
{
    int                n;
    ngx_queue_t       *q;
    fanout_denial_t    d[FANOUT_DENIALS_NEW];
    fanout_session_t  *s;

    denials_note(hub, hub->denials);

    n = fanout_denial_since(&hub->zone, hub->denials, d, FANOUT_DENIALS_NEW,
                            &hub->denials);

    for (q = ngx_queue_head(&hub->sessions);
         n && q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        __builtin_prefetch(ngx_queue_next(ngx_queue_next(q)));

        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->state == FANOUT_ENDED) {
            continue;
        }

        s->who.client = s->identity.client;

        if (n > 0) {
            denial_meets(s, d, n);

        } else {
            denial_look(s);
        }
    }
}


static void
denials_note(fanout_hub_t *hub, uint64_t before)
{
    fanout_denied_at_t  *last;

    if (hub->ndenied) {
        last = &hub->denied[(hub->ndenied - 1) % FANOUT_DENIED_AT];

        if (last->at / FANOUT_DENIALS_TICK
            == ngx_current_msec / FANOUT_DENIALS_TICK)
        {
            last->at = ngx_current_msec;
            return;
        }
    }

    last = &hub->denied[hub->ndenied++ % FANOUT_DENIED_AT];
    last->at = ngx_current_msec;
    last->before = before;
}


uint64_t
fanout_denials_before(fanout_hub_t *hub, ngx_msec_t ago)
{
    uint64_t             number;
    ngx_uint_t           i;
    fanout_denied_at_t  *d;

    number = hub->denials;

    for (i = 0; i < hub->ndenied; i++) {

        if (i == FANOUT_DENIED_AT) {
            return 0;
        }

        d = &hub->denied[(hub->ndenied - 1 - i) % FANOUT_DENIED_AT];

        if (ngx_current_msec - d->at > ago) {
            break;
        }

        number = d->before;
    }

    return number;
}


void
fanout_denials_start(fanout_session_t *s)
{
    if (s->state == FANOUT_OPEN && s->who.change < s->hub->denials) {
        denial_look(s);
    }
}


static void
denial_meets(fanout_session_t *s, const fanout_denial_t *d, int n)
{
    int  i;

    for (i = 0; i < n && !s->denied; i++) {

        if (!fanout_denial_concerns(&d[i], &s->who)) {
            denial_tickets(s, &d[i]);
            continue;
        }

        if (d[i].kind == FANOUT_DENY_RENEW) {
            denial_renew(s, &d[i]);

        } else {
            denial_end(s, &d[i]);
        }
    }
}


static void
denial_look(fanout_session_t *s)
{
    fanout_denial_t  d;

    if (fanout_denial_check(&s->hub->zone, &s->who, &d)) {
        denial_end(s, &d);

    } else if (fanout_denial_stale(&s->hub->zone, &s->who, &d)) {
        denial_renew(s, &d);
    }

    if (!s->denied) {
        denial_tickets(s, NULL);
    }
}


/* Output may have entries of a channel whose join has ended.  They can't be
 * told from those of others, so the client comes back for these. */

static void
denial_tickets(fanout_session_t *s, const fanout_denial_t *d)
{
    ngx_uint_t  waits;

    if (!s->ticketed) {
        return;
    }

    waits = s->nout || s->batched || (s->withheld && s->withheld->n);

    if (fanout_session_tickets_denied(s, d) && waits
        && s->state != FANOUT_ENDED)
    {
        denial_cut(s, 4401, "reauthorize");
    }
}


void
fanout_session_authorized(fanout_session_t *s, const fanout_subject_t *who)
{
    s->who = *who;
    s->who.client = s->identity.client;

    denial_look(s);
}


/* The client leaves at once. */

static void
denial_end(fanout_session_t *s, const fanout_denial_t *d)
{
    ngx_uint_t   revoked;
    const char  *why;

    revoked = d->kind == FANOUT_DENY_TOKEN || d->kind == FANOUT_DENY_ISSUED;
    why = revoked ? "revoked" : "blocked";

    fanout_session_log_denied(s, revoked ? FANOUT_LOG_REVOKE
                                         : FANOUT_LOG_BLOCK, NULL);

    fanout_count(s->hub, denied);

    s->reason = FANOUT_LEFT_KICKED;

    fanout_session_leave_zone(s);

    denial_cut(s, 4403, why);
}


/* The client gets nothing of what waits to be sent.  In the middle of a frame
 * no other can be begun: then the connection is cut. */

static void
denial_cut(fanout_session_t *s, ngx_uint_t code, const char *why)
{
    ngx_uint_t  torn;

    s->denied = 1;
    torn = (s->nout && s->sent_at);

    fanout_outbox_join(s);
    fanout_outbox_clear(s);

    if (torn || s->state != FANOUT_OPEN) {
        fanout_session_log_ended(s, code, why);
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    fanout_session_close(s, code, why);
    s->sealed = 1;
}


/* A client that can't renew its token in place connects again: its handshake
 * is evaluated then. */

static void
denial_renew(fanout_session_t *s, const fanout_denial_t *d)
{
    ngx_msec_t  left;

    s->who.change = d->change;

    if (s->state != FANOUT_OPEN || s->transport->commands) {
        return;
    }

    if (!s->renews || s->dialect->expiring == NULL
        || !s->transport->two_way)
    {
        fanout_session_close(s, 4401, "reauthorize");
        return;
    }

    left = s->expires ? ngx_min(fanout_session_left(s), d->value) : d->value;

    s->expires = 1;
    s->warned = 1;
    s->expire_at = ngx_current_msec + left;

    s->dialect->expiring(s, NULL, left);
    fanout_session_grants_renew(s, d->value);

    if (s->started) {
        fanout_session_timer(s);
    }
}
