
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members in the reply of a join or of the command "members".
 *
 * Both wait until the channel's roster is ready and the members that the
 * session has made were told to all.  A join is then registered where the
 * worker is in the log, and the reply is the state there.
 */


#include "hub/entry_json.h"
#include "session/join.h"
#include "session/members.h"
#include "dialect/native.h"
#include "hub/roster.h"
#include "session/transport.h"


#define FANOUT_JOIN_FAIL   10000
#define FANOUT_AROUND      256              /* bytes of a reply around them */


static ngx_int_t ready_roster(fanout_session_t *s, fanout_native_job_t *job,
    fanout_roster_t *r);
static void wake_job(fanout_waiter_t *w);
static ngx_uint_t answers_now(fanout_session_t *s);
static ngx_int_t ready_join(fanout_session_t *s, fanout_native_job_t *job,
    fanout_roster_t *r);
static void ready_members(fanout_session_t *s, fanout_native_job_t *job,
    fanout_channel_t *ch);
static void kept(fanout_native_job_t *job, ngx_uint_t summary);
static ngx_int_t read_direct(fanout_session_t *s, fanout_native_job_t *job);
static size_t part_room(fanout_session_t *s, fanout_native_job_t *job);
static void end_around(fanout_reply_t *rp, fanout_snapshot_t *sn,
    uint32_t from, uint32_t to);
static ngx_int_t members_read_section(fanout_session_t *s,
    fanout_native_job_t *job);


/* waiting */

ngx_int_t
fanout_native_ready(fanout_session_t *s, fanout_native_job_t *job)
{
    ngx_int_t          rc;
    fanout_channel_t  *ch;

    ch = job->base.sub ? job->base.sub->channel
                  : fanout_hub_find(s->hub, &job->channel);

    if (job->direct || ch == NULL || ch->roster == NULL
        || (!ch->roster->ready && answers_now(s)))
    {
        rc = read_direct(s, job);

    } else {
        rc = ready_roster(s, job, ch->roster);
    }

    if (rc == NGX_OK) {
        fanout_waiter_cancel(&job->base.waiter);
        job->base.waits = 0;
    }

    return rc;
}


static ngx_int_t
ready_roster(fanout_session_t *s, fanout_native_job_t *job, fanout_roster_t *r)
{
    ngx_int_t               rc;
    ngx_msec_int_t          late;
    fanout_subscription_t  *sub;

    job->base.waiter.wake = wake_job;
    fanout_roster_wait(r, &job->base.waiter);

    late = ngx_current_msec - job->deadline;

    if (!r->ready) {
        return late > FANOUT_JOIN_FAIL ? NGX_BUSY : NGX_AGAIN;
    }

    sub = job->base.sub ? job->base.sub
                   : fanout_session_sub(s, &job->channel);

    if (sub && !fanout_session_members_listed(sub, late >= 0)) {
        return NGX_AGAIN;
    }

    kept(job, r->summary);

    if (job->members && job->base.snapshot == NULL) {

        if (r->snapshot[job->unnamed] == NULL && fanout_spent(s->hub)) {
            fanout_session_work(s);
            return NGX_AGAIN;
        }

        rc = fanout_roster_snapshot(s->hub, r, job->unnamed,
                                    &job->base.snapshot);

        if (rc != NGX_OK) {
            return rc == NGX_AGAIN
                   && (late > FANOUT_JOIN_FAIL || answers_now(s))
                   ? NGX_BUSY : rc;
        }
    }

    job->count = r->count;

    if (job->base.sub == NULL) {
        ready_members(s, job, r->channel);
        return NGX_OK;
    }

    rc = ready_join(s, job, r);

    if (rc == NGX_AGAIN && job->base.snapshot) {
        /* the list has to be that of the offset */
        fanout_snapshot_release(s->hub, job->base.snapshot);
        job->base.snapshot = NULL;
    }

    return rc;
}


static void
wake_job(fanout_waiter_t *w)
{
    fanout_job_t  *job;

    job = ngx_queue_data(w, fanout_job_t, waiter);

    fanout_outbox_queue(job->session);
}


/* A POST is answered within its handler and can't wait. */

static ngx_uint_t
answers_now(fanout_session_t *s)
{
    return s->transport->bit == FANOUT_POST;
}


static ngx_int_t
ready_join(fanout_session_t *s, fanout_native_job_t *job, fanout_roster_t *r)
{
    ngx_int_t           rc;
    fanout_zone_join_t  j;

    rc = fanout_session_register(job->base.sub, job->again, job->since,
                                 job->since_epoch, job->since_offset,
                                 job->history, &j);
    if (rc != NGX_OK) {
        return rc;
    }

    job->epoch = j.epoch;
    job->offset = j.offset;
    job->after = j.after;
    job->upto = j.offset;
    job->missed = j.missed;
    job->left = j.missed;
    job->recovered = j.recovered;
    job->mail = job->since && j.recovered;
    job->base.sub->offset = j.offset;

    return NGX_OK;
}


/* Lists all members, or their number, as the zone has it. */

static void
kept(fanout_native_job_t *job, ngx_uint_t summary)
{
    job->members = job->who && !summary;
    job->counts = job->who && summary;
}


/* Entries of the channel don't come between the parts of its state, and it is
 * told no change that is in there. */

static void
ready_members(fanout_session_t *s, fanout_native_job_t *job,
    fanout_channel_t *ch)
{
    fanout_subscription_t  *sub;

    job->epoch = ch->epoch;
    job->offset = ch->offset;

    sub = fanout_session_sub(s, &job->channel);

    if (sub == NULL) {
        return;
    }

    if (sub->state == FANOUT_SUB_LIVE) {
        sub->offset = ngx_max(ch->offset, sub->floor);
        sub->state = FANOUT_SUB_JOINING;
    }

    if (!sub->reset) {
        sub->known = ch->offset;
    }
}


/* A channel that this worker does not read is copied from the zone, at the
 * offset of its first section if it changes meanwhile. */

static ngx_int_t
read_direct(fanout_session_t *s, fanout_native_job_t *job)
{
    ngx_int_t  rc;

    job->direct = 1;

    if (fanout_lists_full(s->hub)) {
        return NGX_BUSY;
    }

    if (job->base.snapshot == NULL) {
        job->base.snapshot = fanout_snapshot_create(s->hub, 1024);

        if (job->base.snapshot == NULL) {
            return NGX_ERROR;
        }
    }

    do {
        rc = members_read_section(s, job);

        if (rc != NGX_AGAIN) {
            return rc;
        }

    } while (!fanout_spent(s->hub));

    fanout_session_work(s);

    return NGX_AGAIN;
}


static ngx_int_t
members_read_section(fanout_session_t *s, fanout_native_job_t *job)
{
    int                     rc;
    unsigned                i, n;
    ngx_uint_t              failed;
    fanout_outbuf_t        *f;
    fanout_zone_join_t      j;
    fanout_member_parts_t   parts;
    fanout_zone_channel_t   zc;
    fanout_presence_info_t  room;

    static u_char           buf[FANOUT_ZONE_MEMBER_BUF
                                + FANOUT_ZONE_COPY];
    static fanout_member_t  members[FANOUT_ZONE_ENTRIES];

    fanout_hub_view(s->hub, &job->channel, &zc);

    rc = fanout_presence_read(&s->hub->zone, &zc, &job->slot, members,
                              FANOUT_ZONE_ENTRIES, buf, sizeof(buf), &n,
                              &room);

    if (rc != FANOUT_ZONE_OK) {
        /* no members */

        if (job->epoch == 0) {
            (void) fanout_log_seek(&s->hub->zone, &zc, 0, 0, &j);
            job->epoch = j.epoch;
            job->offset = j.offset;
        }

        return NGX_OK;
    }

    fanout_spend(s->hub, FANOUT_WORK_SECTION
                         + n * FANOUT_WORK_MEMBER);

    if (job->epoch == 0) {
        job->epoch = room.epoch;
        job->offset = room.offset;
        job->count = room.members;

        if (room.presence != FANOUT_PRESENCE_OFF) {
            kept(job, room.presence == FANOUT_PRESENCE_SUMMARY);
        }
    }

    if (job->counts) {
        return NGX_OK;
    }

    f = fanout_outbuf_create(s->hub, 1024);
    if (f == NULL) {
        return NGX_ERROR;
    }

    failed = 0;

    for (i = 0; i < n && !failed; i++) {
        f->used = 0;

        if (job->unnamed) {
            members[i].user.len = 0;
            members[i].info.len = 0;
        }

        failed = fanout_member_json(s->hub, &members[i], 0, f, &parts)
                 != NGX_OK
                 || fanout_snapshot_add(s->hub, job->base.snapshot, f->data,
                                        f->used)
                    != NGX_OK;
    }

    fanout_outbuf_release(s->hub, f);

    if (failed) {
        return NGX_ERROR;
    }

    return job->slot == UINT32_MAX ? NGX_OK : NGX_AGAIN;
}


/* members in a reply */

ngx_int_t
fanout_native_members_part(fanout_session_t *s, fanout_native_job_t *job)
{
    size_t                  room, used;
    uint32_t                to, start;
    fanout_reply_t          rp;
    fanout_snapshot_t      *sn;
    fanout_native_batch_t  *b;

    sn = job->base.snapshot;

    if (sn == NULL || job->chunk == sn->nchunks) {
        return NGX_OK;
    }

    b = fanout_native_part(s)->batch;
    used = b && b->outbuf ? b->outbuf->used : 0;
    room = part_room(s, job);
    start = sn->chunks[job->chunk].start;

    if (used + sn->chunks[sn->nchunks - 1].end - start < room
        || (b == NULL && job->chunk + 1 == sn->nchunks))
    {
        /* the last ones are part of the reply */
        return NGX_OK;
    }

    for (to = job->chunk + 1; to < sn->nchunks; to++) {
        if (sn->chunks[to].end - start > room) {
            break;
        }
    }

    fanout_spend(s->hub, FANOUT_WORK_SECTION);

    (void) fanout_native_part_open(&rp, s, job);
    fanout_native_literal(&rp, ",\"members\":[");
    end_around(&rp, sn, job->chunk, to);

    fanout_native_part(s)->batch = b;

    job->chunk = to;

    return NGX_AGAIN;
}


ngx_uint_t
fanout_native_members_fit(fanout_session_t *s, fanout_native_job_t *job)
{
    size_t               left;
    fanout_snapshot_t   *sn;

    if (!s->transport->once
        || !(job->members || job->counts))
    {
        return 0;
    }

    sn = job->base.snapshot;

    if (sn == NULL || job->chunk + 1 >= sn->nchunks) {
        return 1;
    }

    left = sn->chunks[sn->nchunks - 1].end - sn->chunks[job->chunk].start;

    return s->pending + left <= s->conf->buffer;
}


/* More is read when half of what may wait has been sent. */

static size_t
part_room(fanout_session_t *s, fanout_native_job_t *job)
{
    size_t  room, around;

    room = ngx_min(s->conf->buffer / 2, FANOUT_PART);
    around = FANOUT_AROUND + job->id.len + job->channel.len;

    return room > around ? room - around : 0;
}


void
fanout_native_members_reply(fanout_reply_t *rp, fanout_native_job_t *job)
{
    if (job->counts) {
        fanout_native_printf(rp, ",\"summary\":{\"members\":%uD}",
                             job->count);
    }

    if (!job->members) {
        fanout_native_literal(rp, "}");
        fanout_native_end(rp);
        return;
    }

    fanout_native_literal(rp, ",\"members\":[");

    end_around(rp, job->base.snapshot, job->chunk,
               job->base.snapshot ? job->base.snapshot->nchunks : 0);
}


/* Members are sent from the shared snapshot if a message can have several
 * pieces. */

static void
end_around(fanout_reply_t *rp, fanout_snapshot_t *sn, uint32_t from,
    uint32_t to)
{
    uint32_t  split, start, end;

    if (from < to) {
        start = sn->chunks[from].start;
        end = sn->chunks[to - 1].end;

        if (rp->batch == NULL && rp->f
            && rp->s->transport->two_way
            && end - start > FANOUT_COPIED)
        {
            split = rp->f->used;
            fanout_native_literal(rp, "]}");
            fanout_native_end_around(rp, sn->outbuf, start, end, split);
            return;
        }

        fanout_native_text(rp, sn->outbuf->data + start, end - start);
    }

    fanout_native_literal(rp, "]}");
    fanout_native_end(rp);
}
