
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "hub/roster.h"
#include "hub/entry_json.h"


#define FANOUT_ROSTER_READS     16              /* sections a turn */
#define FANOUT_ROSTER_BUF                                                     \
    (FANOUT_ZONE_MEMBER_BUF + FANOUT_ZONE_COPY)
#define FANOUT_SNAPSHOT_AGE     1000            /* ms */


static void by_client(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel);
static ngx_int_t compare(fanout_roster_member_t *m, uint64_t client,
    const u_char *key, size_t len);
static ngx_int_t roster_put(fanout_hub_t *hub, fanout_roster_t *r,
    fanout_member_t *m);
static void roster_drop(fanout_roster_t *r, fanout_roster_member_t *m);
static void clear(fanout_roster_t *r);
static void changed(fanout_hub_t *hub, fanout_roster_t *r);
static void roster_read_section(fanout_hub_t *hub, fanout_roster_t *r);
static void wake(fanout_roster_t *r);
static void recent_add(fanout_hub_t *hub, fanout_roster_t *r,
    fanout_entry_t *e);
static void recent_drop(fanout_hub_t *hub, fanout_roster_t *r);
static void recent_clear(fanout_hub_t *hub, fanout_roster_t *r);


#define roster_member_of(n)  (ngx_rbtree_data(n, fanout_roster_member_t, node))


/* life */

fanout_roster_t *
fanout_roster_create(fanout_hub_t *hub, fanout_channel_t *ch)
{
    fanout_roster_t  *r;

    r = ngx_calloc(sizeof(fanout_roster_t), ngx_cycle->log);
    if (r == NULL) {
        return NULL;
    }

    r->channel = ch;
    r->summary = (ch->policy->keep.presence
                  == FANOUT_PRESENCE_SUMMARY);

    ngx_rbtree_init(&r->members, &r->sentinel, by_client);
    ngx_rbtree_init(&r->places, &r->nowhere, ngx_rbtree_insert_value);
    ngx_queue_init(&r->waiting);
    ngx_queue_init(&r->recent);
    ngx_queue_insert_tail(&hub->rosters, &r->queue);

    fanout_roster_restart(hub, r, ch->offset);

    return r;
}


void
fanout_roster_free(fanout_hub_t *hub, fanout_roster_t *r)
{
    fanout_waiter_t  *w;

    while (!ngx_queue_empty(&r->waiting)) {
        w = ngx_queue_data(ngx_queue_head(&r->waiting), fanout_waiter_t,
                           queue);

        /* the waiter asks the zone instead */
        fanout_waiter_cancel(w);
        w->wake(w);
    }

    clear(r);
    recent_clear(hub, r);
    fanout_snapshots_drop(hub, r, 0);

    if (r->queued) {
        ngx_queue_remove(&r->active);
    }

    ngx_queue_remove(&r->queue);
    ngx_free(r);
}


void
fanout_roster_restart(fanout_hub_t *hub, fanout_roster_t *r, uint64_t lost)
{
    clear(r);
    recent_clear(hub, r);

    r->lost = lost;
    r->slot = 0;
    r->until = UINT64_MAX;
    r->reading = 1;
    r->ready = 0;

    changed(hub, r);
}


/* members */

static void
by_client(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t       **p;
    fanout_roster_member_t   *m;

    m = roster_member_of(node);

    for ( ;; ) {
        p = compare(roster_member_of(temp), m->client, m->bytes, m->key_len) > 0
            ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static ngx_int_t
compare(fanout_roster_member_t *m, uint64_t client, const u_char *key,
    size_t len)
{
    ngx_int_t  rc;

    if (m->client != client) {
        return m->client < client ? -1 : 1;
    }

    rc = ngx_memcmp(m->bytes, key, ngx_min(m->key_len, len));

    return rc ? rc : (ngx_int_t) m->key_len - (ngx_int_t) len;
}


fanout_roster_member_t *
fanout_roster_find(fanout_roster_t *r, uint64_t client, const u_char *key,
    size_t len)
{
    ngx_int_t           rc;
    ngx_rbtree_node_t  *node;

    if (key == NULL) {
        key = (u_char *) "";
    }

    node = r->members.root;

    while (node != &r->sentinel) {
        rc = compare(roster_member_of(node), client, key, len);

        if (rc == 0) {
            return roster_member_of(node);
        }

        node = rc > 0 ? node->left : node->right;
    }

    return NULL;
}


static ngx_int_t
roster_put(fanout_hub_t *hub, fanout_roster_t *r, fanout_member_t *member)
{
    size_t                   len;
    fanout_outbuf_t         *f;
    fanout_member_parts_t    parts;
    fanout_roster_member_t  *m;

    f = fanout_outbuf_create(hub, 1024);
    if (f == NULL) {
        return NGX_ERROR;
    }

    m = NULL;
    len = 0;

    if (fanout_member_json(hub, member, 0, f, &parts) == NGX_OK) {
        len = sizeof(fanout_roster_member_t) + member->key.len + f->used;
        m = ngx_alloc(len, ngx_cycle->log);
    }

    if (m == NULL) {
        fanout_outbuf_release(hub, f);
        return NGX_ERROR;
    }

    m->client = member->client;
    m->slot = member->slot;
    m->idle = member->idle;
    m->anonymous = member->anonymous;
    m->json_len = f->used;
    m->data_at = parts.data;
    m->data_len = member->data.len;
    m->who_at = parts.who;
    m->who_len = parts.who_len;
    m->key_len = member->key.len;

    if (m->key_len) {
        ngx_memcpy(m->bytes, member->key.data, m->key_len);
    }

    ngx_memcpy(fanout_mirror_json(m), f->data, f->used);
    fanout_outbuf_release(hub, f);

    roster_drop(r, fanout_roster_find(r, m->client, m->bytes, m->key_len));

    m->node.key = 0;
    m->place.key = m->slot;
    ngx_rbtree_insert(&r->members, &m->node);
    ngx_rbtree_insert(&r->places, &m->place);

    r->count++;
    r->json += m->json_len;
    r->bytes += len;

    return NGX_OK;
}


static void
roster_drop(fanout_roster_t *r, fanout_roster_member_t *m)
{
    if (m == NULL) {
        return;
    }

    ngx_rbtree_delete(&r->members, &m->node);
    ngx_rbtree_delete(&r->places, &m->place);

    r->count--;
    r->json -= m->json_len;
    r->bytes -= sizeof(fanout_roster_member_t) + m->key_len + m->json_len;

    ngx_free(m);
}


static void
clear(fanout_roster_t *r)
{
    while (r->members.root != &r->sentinel) {
        roster_drop(r, roster_member_of(r->members.root));
    }

    r->count = 0;
}


static void
changed(fanout_hub_t *hub, fanout_roster_t *r)
{
    r->version++;
    fanout_snapshots_drop(hub, r, 0);
    fanout_roster_touch(hub, r);
}


void
fanout_roster_apply(fanout_hub_t *hub, fanout_roster_t *r, fanout_entry_t *e,
    fanout_joined_pt joined)
{
    ngx_int_t         rc;
    const uint8_t    *p, *last;
    fanout_member_t   m;

    p = e->data.data;
    last = p + e->data.len;
    rc = NGX_OK;

    while (rc == NGX_OK && fanout_change_next(&p, last, &m) == 1) {

        if (m.change != FANOUT_LEFT
            && (m.change == FANOUT_COUNTED) != r->summary)
        {
            /* the zone has switched between members and their count */
            rc = NGX_DECLINED;
            break;
        }

        switch (m.change) {

        case FANOUT_COUNTED:
            r->count = m.count;
            break;

        case FANOUT_LEFT:
            roster_drop(r, fanout_roster_find(r, m.client, m.key.data,
                                              m.key.len));
            break;

        default:
            rc = roster_put(hub, r, &m);

            if (m.change == FANOUT_JOINED) {
                joined(hub, r->channel, &m);
            }
        }
    }

    recent_add(hub, r, e);

    if (rc != NGX_OK) {
        fanout_roster_restart(hub, r, e->offset);
        return;
    }

    changed(hub, r);
}


void
fanout_roster_reached(fanout_hub_t *hub, fanout_roster_t *r)
{
    if (!r->ready && !r->reading && r->channel->offset >= r->until) {
        r->ready = 1;
        fanout_roster_touch(hub, r);
    }
}


/* reading */

static void
roster_read_section(fanout_hub_t *hub, fanout_roster_t *r)
{
    int                        rc;
    unsigned                   i, n;
    fanout_presence_info_t     info;

    static u_char           buf[FANOUT_ROSTER_BUF];
    static fanout_member_t  members[FANOUT_ZONE_ENTRIES];

    ngx_memzero(&info, sizeof(fanout_presence_info_t));
    n = 0;

    rc = fanout_presence_read(&hub->zone, &r->channel->zc, &r->slot, members,
                              FANOUT_ZONE_ENTRIES, buf, sizeof(buf), &n,
                              &info);

    if (rc == FANOUT_ZONE_NOTFOUND) {
        /* the zone was rebuilt: reading restarts when this worker notices */
        r->slot = UINT32_MAX;
        info.epoch = 0;
    }

    if (info.presence != FANOUT_PRESENCE_OFF) {
        /* the mode may differ from the policy until all members have left */
        r->summary = (info.presence == FANOUT_PRESENCE_SUMMARY);
    }

    for (i = 0; i < n && !r->summary; i++) {
        if (roster_put(hub, r, &members[i]) != NGX_OK) {
            r->slot = 0;
            return;
        }
    }

    if (r->summary) {
        r->count = info.members;
        r->slot = UINT32_MAX;
    }

    r->until = info.epoch == r->channel->epoch ? info.offset : UINT64_MAX;

    if (r->slot == UINT32_MAX) {
        r->reading = 0;
        fanout_roster_reached(hub, r);
    }
}


void
fanout_roster_touch(fanout_hub_t *hub, fanout_roster_t *r)
{
    if (!r->queued) {
        r->queued = 1;
        ngx_queue_insert_tail(&hub->active, &r->active);
    }

    if (!hub->in_turn) {
        ngx_post_event(&hub->drain, &ngx_posted_events);
    }
}


void
fanout_roster_work(fanout_hub_t *hub)
{
    ngx_uint_t        n;
    ngx_queue_t      *q, now;
    fanout_roster_t  *r;

    if (ngx_queue_empty(&hub->active)) {
        return;
    }

    ngx_queue_init(&now);
    ngx_queue_add(&now, &hub->active);
    ngx_queue_init(&hub->active);

    for (n = 0; !ngx_queue_empty(&now); /* void */ ) {
        q = ngx_queue_head(&now);
        r = ngx_queue_data(q, fanout_roster_t, active);

        ngx_queue_remove(q);
        r->queued = 0;

        while (r->reading && n++ < FANOUT_ROSTER_READS) {
            roster_read_section(hub, r);
        }

        if (r->reading && !r->queued) {
            r->queued = 1;
            ngx_queue_insert_tail(&hub->active, &r->active);
        }

        if (r->ready) {
            wake(r);
        }
    }

    if (!ngx_queue_empty(&hub->active)) {
        ngx_post_event(&hub->drain, &ngx_posted_next_events);
    }
}


static void
wake(fanout_roster_t *r)
{
    ngx_queue_t      *q;
    fanout_waiter_t  *w;

    for (q = ngx_queue_head(&r->waiting);
         q != ngx_queue_sentinel(&r->waiting);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, fanout_waiter_t, queue);
        w->wake(w);
    }
}


void
fanout_roster_wait(fanout_roster_t *r, fanout_waiter_t *w)
{
    if (!w->queued) {
        w->queued = 1;
        ngx_queue_insert_tail(&r->waiting, &w->queue);
    }
}


void
fanout_waiter_cancel(fanout_waiter_t *w)
{
    if (w->queued) {
        w->queued = 0;
        ngx_queue_remove(&w->queue);
    }
}


void
fanout_roster_expire(fanout_hub_t *hub)
{
    ngx_queue_t                *q, *oldest;
    fanout_roster_t            *r;
    fanout_presence_backlog_t  *e;

    for (q = ngx_queue_head(&hub->rosters);
         q != ngx_queue_sentinel(&hub->rosters);
         q = ngx_queue_next(q))
    {
        r = ngx_queue_data(q, fanout_roster_t, queue);

        while (!ngx_queue_empty(&r->recent)) {
            oldest = ngx_queue_head(&r->recent);
            e = ngx_queue_data(oldest, fanout_presence_backlog_t, queue);

            if (ngx_current_msec - e->at < FANOUT_RECENT_AGE
                && !fanout_output_full(hub))
            {
                break;
            }

            recent_drop(hub, r);
        }

        fanout_snapshots_drop(hub, r, FANOUT_SNAPSHOT_AGE);
        wake(r);
    }
}


ngx_uint_t
fanout_roster_sizes(fanout_hub_t *hub, size_t *bytes)
{
    ngx_uint_t        n;
    ngx_queue_t      *q;
    fanout_roster_t  *r;

    n = 0;
    *bytes = 0;

    for (q = ngx_queue_head(&hub->rosters);
         q != ngx_queue_sentinel(&hub->rosters);
         q = ngx_queue_next(q))
    {
        r = ngx_queue_data(q, fanout_roster_t, queue);
        *bytes += sizeof(fanout_roster_t) + r->bytes;
        n++;
    }

    return n;
}


/* the latest entries */

static void
recent_add(fanout_hub_t *hub, fanout_roster_t *r, fanout_entry_t *e)
{
    size_t                      size, max;
    fanout_presence_backlog_t  *recent;

    size = sizeof(fanout_presence_backlog_t) + e->data.len;
    max = r->channel->policy->changes;

    while (!ngx_queue_empty(&r->recent)
           && (r->recent_bytes + size > max
               || fanout_output_full(hub)))
    {
        recent_drop(hub, r);
    }

    recent = size <= max ? ngx_alloc(size, ngx_cycle->log) : NULL;

    if (recent == NULL) {
        recent_clear(hub, r);
        r->lost = e->offset;
        return;
    }

    ngx_memzero(&recent->entry, sizeof(fanout_entry_t));
    recent->entry.type = e->type;
    recent->entry.offset = e->offset;
    recent->entry.seq = e->seq;
    recent->entry.time = e->time;
    recent->entry.epoch = e->epoch;
    recent->entry.local = e->local;
    recent->entry.data.data = recent->data;
    recent->entry.data.len = e->data.len;
    recent->at = ngx_current_msec;
    ngx_memcpy(recent->data, e->data.data, e->data.len);

    ngx_queue_insert_tail(&r->recent, &recent->queue);

    r->recent_bytes += size;
    hub->output_bytes += size;
}


static void
recent_drop(fanout_hub_t *hub, fanout_roster_t *r)
{
    size_t                      size;
    ngx_queue_t                *q;
    fanout_presence_backlog_t  *e;

    q = ngx_queue_head(&r->recent);
    e = ngx_queue_data(q, fanout_presence_backlog_t, queue);

    size = sizeof(fanout_presence_backlog_t) + e->entry.data.len;

    r->lost = e->entry.offset;
    r->recent_bytes -= size;
    hub->output_bytes -= size;

    ngx_queue_remove(q);
    ngx_free(e);
}


static void
recent_clear(fanout_hub_t *hub, fanout_roster_t *r)
{
    while (!ngx_queue_empty(&r->recent)) {
        recent_drop(hub, r);
    }
}


fanout_presence_backlog_t *
fanout_roster_backlog(fanout_roster_t *r, uint64_t after)
{
    ngx_queue_t                *q;
    fanout_presence_backlog_t  *e, *found;

    found = NULL;

    /* readers are usually only a little behind: search from the end */

    for (q = ngx_queue_last(&r->recent);
         q != ngx_queue_sentinel(&r->recent);
         q = ngx_queue_prev(q))
    {
        e = ngx_queue_data(q, fanout_presence_backlog_t, queue);

        if (e->entry.offset <= after) {
            break;
        }

        found = e;
    }

    return found;
}


fanout_presence_backlog_t *
fanout_roster_later(fanout_roster_t *r, fanout_presence_backlog_t *e)
{
    ngx_queue_t  *q;

    q = ngx_queue_next(&e->queue);

    return q == ngx_queue_sentinel(&r->recent)
           ? NULL : ngx_queue_data(q, fanout_presence_backlog_t, queue);
}
