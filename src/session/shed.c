
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A worker that holds all the output it may (frames=): sessions that do not
 * take their output drop it, those that hold most first.
 */


#include "session/session.h"
#include "session/compress.h"
#include "hub/replay.h"
#include "hub/roster.h"


/* A session that made progress is left alone, unless the worker has been full
 * for longer. */
#define FANOUT_STILL    1000            /* ms */
#define FANOUT_PRESSED  2000            /* ms */

/* time to the next try when nothing could be dropped */
#define FANOUT_SHED_AGAIN  100              /* ms */

#define FANOUT_SAMPLE   32              /* segments of a session that are
                                           examined */


typedef struct {
    fanout_session_t  *session;
    size_t             bytes;
} holder_t;


static ngx_uint_t shed(fanout_hub_t *hub, ngx_uint_t lists);
static holder_t *shed_holders(fanout_hub_t *hub, ngx_uint_t lists,
    ngx_uint_t *n, size_t *least);
static int ngx_libc_cdecl shed_more(const void *one, const void *two);
static size_t shed_held(fanout_session_t *s, ngx_uint_t lists);
static void shed_cut(fanout_session_t *s);
static size_t shed_tail(fanout_session_t *s);
static fanout_subscription_t *shed_sub(fanout_session_t *s,
    fanout_outbuf_t *f);


void
fanout_session_shed(fanout_hub_t *hub)
{
    ngx_uint_t  some;

    if (!fanout_output_full(hub) && !fanout_lists_full(hub))
    {
        hub->full = 0;
        return;
    }

    if (!hub->full) {
        hub->full = 1;
        hub->full_at = ngx_current_msec;
        hub->shed_at = ngx_current_msec;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - hub->shed_at) < 0) {
        return;
    }

    some = 0;

    if (fanout_output_full(hub)) {
        /* caches can be made again */
        fanout_replay_clear(hub);
        fanout_compress_expire(hub, 1);
    }

    if (fanout_output_full(hub)) {
        some += shed(hub, 0);
    }

    if (fanout_lists_full(hub)) {
        some += shed(hub, 1);
    }

    if (some == 0) {
        hub->shed_at = ngx_current_msec + FANOUT_SHED_AGAIN;
    }
}


/* Sheds output, or lists of members: until a sixth of the limit is free, or no
 * session is left that holds half of what sessions with a full socket hold on
 * average.  Returns how many sessions dropped something. */

static ngx_uint_t
shed(fanout_hub_t *hub, ngx_uint_t lists)
{
    size_t      held, most, least, before, rest;
    holder_t   *h;
    ngx_uint_t  i, n;

    h = shed_holders(hub, lists, &n, &least);
    if (h == NULL) {
        return 0;
    }

    ngx_qsort(h, n, sizeof(holder_t), shed_more);

    held = lists ? hub->lists : hub->output_bytes - hub->lists;
    most = lists ? fanout_lists_max(hub)
                 : fanout_output_max(hub);
    most -= most / 6;

    for (i = 0; i < n && held > most && h[i].bytes >= least; i++) {

        before = hub->output_bytes;
        rest = h[i].bytes;

        if (!lists && shed_tail(h[i].session)) {
            held -= ngx_min(held, before - hub->output_bytes);
            rest = shed_held(h[i].session, 0);

            if (rest <= h[i].bytes / 2) {
                fanout_count(hub, sheds);
                continue;
            }
        }

        /* the output is freed at the end of the turn */

        held -= ngx_min(held, rest);
        shed_cut(h[i].session);
    }

    ngx_free(h);

    return i;
}


/* The sessions that hold something and do not read; NULL if there are none.
 * *least is half of the average of all sessions with a full socket, also of
 * those that read a moment ago. */

static holder_t *
shed_holders(fanout_hub_t *hub, ngx_uint_t lists, ngx_uint_t *n,
    size_t *least)
{
    size_t             bytes, sum;
    holder_t          *h;
    ngx_msec_t         still;
    ngx_queue_t       *q;
    fanout_session_t  *s;

    *n = 0;
    sum = 0;

    if (hub->nstuck == 0) {
        return NULL;
    }

    h = ngx_alloc(hub->nstuck * sizeof(holder_t), ngx_cycle->log);
    if (h == NULL) {
        return NULL;
    }

    still = ngx_current_msec - hub->full_at < FANOUT_PRESSED
            ? FANOUT_STILL : 0;

    for (q = ngx_queue_head(&hub->stuck);
         q != ngx_queue_sentinel(&hub->stuck);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, stuck);

        bytes = shed_held(s, lists);
        sum += bytes;

        if (bytes && ngx_current_msec - s->sent_at >= still) {
            h[*n].session = s;
            h[*n].bytes = bytes;
            (*n)++;
        }
    }

    *least = sum / hub->nstuck / 2;

    if (*n == 0) {
        ngx_free(h);
        return NULL;
    }

    return h;
}


static int ngx_libc_cdecl
shed_more(const void *one, const void *two)
{
    const holder_t  *a, *b;

    a = one;
    b = two;

    return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}


/* An estimate of what is freed without the session: of a shared outbuf its
 * share. */

static size_t
shed_held(fanout_session_t *s, ngx_uint_t lists)
{
    size_t              bytes;
    uint32_t            i, step;
    fanout_outbuf_t    *f;
    fanout_snapshot_t  *sn;

    bytes = 0;
    step = s->nout / FANOUT_SAMPLE + 1;

    for (i = 0; i < s->nout; i += step) {
        f = s->out[(s->out_head + i) & (s->nout_max - 1)].outbuf;

        if (f->list == lists) {
            bytes += (size_t) f->size / f->refs * step;
        }
    }

    sn = s->job ? s->job->snapshot : NULL;

    if (lists && sn) {
        bytes += sn->outbuf->size / sn->refs;
    }

    return bytes;
}


static void
shed_cut(fanout_session_t *s)
{
    ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                  "fanout client holds most of the output of the worker, and "
                  "does not take it: fanout_zone frames=");

    fanout_count(s->hub, shed_cuts);
    fanout_session_log_ended(s, 1006, "output");
    fanout_session_end(s, FANOUT_END_CUT);
}


/* Drops entries at the end of the output of which nothing was sent: they are
 * read from the log when the rest was sent.  Returns their bytes. */

static size_t
shed_tail(fanout_session_t *s)
{
    size_t                  left, keep, gone;
    fanout_segment_t       *p;
    fanout_subscription_t  *sub;

    if (s->withheld) {
        /* withheld entries come after the output */
        return 0;
    }

    /* bytes of a write or a chunk that has begun */

    keep = ngx_max(s->retry, s->chunk);
    left = s->pending;

    while (s->nout) {
        p = &s->out[(s->out_head + s->nout - 1) & (s->nout_max - 1)];
        sub = p->start ? NULL : shed_sub(s, p->outbuf);
        gone = p->end - p->start;

        if (sub == NULL || left - gone < keep) {
            break;
        }

        sub->state = FANOUT_SUB_BEHIND;
        sub->offset = ngx_max(p->outbuf->after, sub->floor);
        sub->sent = p->outbuf->seq - 1;

        fanout_outbuf_release(s->hub, p->outbuf);
        s->nout--;
        left -= gone;
    }

    gone = s->pending - left;

    if (gone) {
        s->pending = left;
        s->owed = ngx_min(s->owed, left);
        s->behind = 1;
    }

    return gone;
}


/* The subscription that can read the entries of an outbuf from the log again,
 * or NULL. */

static fanout_subscription_t *
shed_sub(fanout_session_t *s, fanout_outbuf_t *f)
{
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    if (f->local == 0) {
        return NULL;
    }

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub->channel->local == f->local - 1) {
            return sub->channel->epoch == f->epoch
                   && sub->state != FANOUT_SUB_JOINING
                   && f->seq > sub->seq
                   ? sub : NULL;
        }
    }

    return NULL;
}
