/* sources: src/hub/roster.c src/hub/snapshot.c src/hub/outbuf.c */
/* sources: src/base/id.c src/base/json*.c */
/* sources: t/unit/roster_rooms.c */
/* sources: t/unit/nginx.c t/unit/memory.c t/unit/random.c */
/* libs: -lyajl -Wl,--wrap=free -Wl,--wrap=realloc */
/* cflags: @nginx@ */

/*
 * If this fails, subscribers are shown members who are not there, or are not
 * shown those who are; a list of members waits for ever; or a worker loses
 * memory with every channel that somebody asked about.
 *
 * Rosters of several channels, read in sections while members come and go and
 * entries are delivered late, against what the zone had at each offset.
 *
 * ZONE_SEED replays what failed.
 */


#include "memory.h"
#include "roster_rooms.h"
#include "tap.h"


#define WAITERS   6
#define LISTS     8


typedef struct {
    fanout_waiter_t    w;
    room_t            *room;
    unsigned           woken;
} waiter_t;

typedef struct {
    fanout_snapshot_t *sn;
    char              *text;
} list_t;


static fanout_hub_t    hub;
static fanout_app_t    app;
static waiter_t        waiters[WAITERS];
static list_t          lists[LISTS];
static uint64_t        run;
static unsigned        joins, joined, gone, ready, late;
static int             scarce;          /* memory */
static char            texts[2][TEXT];


static void
member_joined(fanout_hub_t *h, fanout_channel_t *ch, fanout_member_t *m)
{
    joined++;
}


static void
woken(fanout_waiter_t *w)
{
    ((waiter_t *) w)->woken++;
}


/* the worker */

static void
deliver_changes(room_t *room, fanout_roster_t *r, told_t *t)
{
    unsigned    n, was;
    ngx_uint_t  i;

    for (n = 0, i = 0; i < t->nchanges; i++) {

        if (t->changes[i].change != FANOUT_LEFT
            && (t->changes[i].change == FANOUT_COUNTED) != r->summary)
        {
            /* kept in another way: read anew */
            room->first = room->delivered;
            break;
        }

        n += t->changes[i].change == FANOUT_JOINED;
    }

    was = joined;
    fanout_roster_apply(&hub, r, &t->e, member_joined);
    joins += memory_refuse ? joined - was : n;
}


static void
deliver(room_t *room)
{
    told_t           *t;
    fanout_roster_t  *r;

    if (room->delivered == room->nlog) {
        return;
    }

    r = room->ch.roster;
    t = &room->log[room->delivered++];
    t->at = ngx_current_msec;

    if (t->e.type == FANOUT_RESET) {
        room->ch.epoch = t->e.epoch;
        room->ch.offset = 0;
        room->first = room->delivered;

        if (r) {
            fanout_roster_restart(&hub, r, 0);
        }

    } else {

        if (r && t->e.type == FANOUT_PRESENCE) {
            deliver_changes(room, r, t);
        }

        room->ch.offset = t->e.offset;
    }

    room->here = t->after;

    if (r && !r->ready) {
        fanout_roster_reached(&hub, r);
    }
}


/* some entries were lost on the way */

static void
gap(room_t *room)
{
    ngx_uint_t  i, n;

    n = 1 + draw(5);
    n = ngx_min(n, room->nlog - room->delivered);

    for (i = 0; i < n; i++) {
        room->here = room->log[room->delivered].after;
        room->ch.epoch = room->log[room->delivered].e.epoch;
        room->ch.offset = room->log[room->delivered++].e.offset;
    }

    if (n == 0) {
        return;
    }

    gone++;
    room->first = room->delivered;

    if (room->ch.roster) {
        fanout_roster_restart(&hub, room->ch.roster, room->ch.offset);
    }
}


static void
drop_list(list_t *l)
{
    if (l->sn) {
        fanout_snapshot_release(&hub, l->sn);
        free(l->text);
        memory_blocks++;
        l->sn = NULL;
    }
}


static int
take_list(room_t *room)
{
    list_t            *l;
    uint64_t           before;
    ngx_int_t          rc, full;
    ngx_uint_t         unnamed;
    fanout_roster_t   *r;
    fanout_snapshot_t *was;

    r = room->ch.roster;
    l = &lists[draw(LISTS)];
    drop_list(l);

    if (r == NULL || !r->ready || r->summary) {
        return 0;
    }

    unnamed = draw(2);
    was = r->snapshot[unnamed];
    full = fanout_lists_full(&hub);
    before = hub.spent;
    rc = fanout_roster_snapshot(&hub, r, unnamed, &l->sn);

    if (was && (rc != NGX_OK || l->sn != was || hub.spent != before)) {
        return wrong("a list of the same version is made again");
    }

    if (rc != NGX_OK) {
        l->sn = NULL;

        return (rc == NGX_AGAIN && full) || (rc == NGX_ERROR && memory_refuse)
               ? 0 : wrong("snapshot: %d", (int) rc);
    }

    if (full && was == NULL) {
        return wrong("a list more than the worker may hold");
    }

    (void) say_all(texts[0], &room->here, unnamed);
    l->text = strdup(texts[0]);

    return list_is(l->sn, l->text);
}


/* Puts a worker's turn around some deliveries. */

static int
turn(void)
{
    unsigned          i, n;
    fanout_roster_t  *r;

    hub.in_turn = 1;
    hub.drain.posted = 0;

    for (n = draw(10); n; n--) {
        deliver(&rooms[draw(ROOMS)]);
    }

    for (i = 0; i < WAITERS; i++) {
        waiters[i].woken = 0;
    }

    reads = 0;
    fanout_roster_work(&hub);
    hub.in_turn = 0;

    if (reads > 16) {
        return wrong("%u sections in a turn", reads);
    }

    for (i = 0; i < WAITERS; i++) {
        r = waiters[i].room ? waiters[i].room->ch.roster : NULL;

        if (waiters[i].woken > (r && r->ready && waiters[i].w.queued)) {
            return wrong("a waiter was woken %u times", waiters[i].woken);
        }
    }

    return 0;
}


static void
wait_for(void)
{
    waiter_t  *w;

    w = &waiters[draw(WAITERS)];

    if (draw(2)) {
        fanout_waiter_cancel(&w->w);
        w->room = NULL;
        return;
    }

    if (w->room == NULL) {
        w->room = &rooms[draw(ROOMS)];

        if (w->room->ch.roster == NULL) {
            w->room = NULL;
            return;
        }
    }

    w->w.wake = woken;
    fanout_roster_wait(w->room->ch.roster, &w->w);
}


/* all who wait are woken once: a roster goes, or time has passed */

static int
make_or_free(room_t *room)
{
    unsigned  i;

    if (room->ch.roster == NULL) {
        room->ch.roster = fanout_roster_create(&hub, &room->ch);
        room->first = room->delivered;

        return room->ch.roster || memory_refuse ? 0 : wrong("no roster");
    }

    for (i = 0; i < WAITERS; i++) {
        waiters[i].woken = 0;
    }

    fanout_roster_free(&hub, room->ch.roster);
    room->ch.roster = NULL;

    for (i = 0; i < WAITERS; i++) {
        if (waiters[i].room != room) {
            continue;
        }

        if (waiters[i].woken != 1 || waiters[i].w.queued) {
            return wrong("a waiter of what is gone was woken %u times",
                         waiters[i].woken);
        }

        waiters[i].room = NULL;
    }

    return 0;
}


static int
expire(void)
{
    unsigned          i, unnamed;
    fanout_roster_t  *r;

    ngx_current_msec += draw(4) ? draw(2000) : draw(FANOUT_RECENT_AGE);

    for (i = 0; i < WAITERS; i++) {
        waiters[i].woken = 0;
    }

    fanout_roster_expire(&hub);

    for (i = 0; i < WAITERS; i++) {
        if (waiters[i].woken != (waiters[i].room != NULL)) {
            return wrong("a waiter may look again %u times",
                         waiters[i].woken);
        }
    }

    for (i = 0; i < ROOMS; i++) {
        r = rooms[i].ch.roster;

        for (unnamed = 0; r && unnamed < 2; unnamed++) {
            if (r->snapshot[unnamed]
                && ngx_current_msec - r->snapshot_at[unnamed] > 1000)
            {
                return wrong("a list is kept for longer than a second");
            }
        }
    }

    return 0;
}


static int
check_room(room_t *room)
{
    size_t                   bytes, json;
    seat_t                   s;
    uint32_t                 slot, there[CLIENTS][KEYS];
    unsigned                 i, k;
    fanout_roster_t         *r;
    fanout_roster_member_t  *m;

    r = room->ch.roster;

    if (r == NULL) {
        return 0;
    }

    if (room_backlog(room, scarce || app.frames < 1000000) != 0) {
        return -1;
    }

    if (!r->ready) {
        return 0;
    }

    ready++;
    late += room->delivered != room->nlog;

    if (r->count != room->here.n) {
        return wrong("%u members, not %u", r->count, room->here.n);
    }

    if (r->summary) {
        return 0;
    }

    bytes = json = 0;
    memset(there, 0xff, sizeof(there));

    for (slot = 0; slot < SEATS; slot++) {
        if (room->here.seats[slot].there) {
            there[room->here.seats[slot].client][room->here.seats[slot].key]
                = slot;
        }
    }

    for (i = 0; i < CLIENTS; i++) {
        for (k = 0; k < KEYS; k++) {
            s.client = i;
            m = fanout_roster_find(r, client_of(&s), (u_char *) room_keys[k],
                                   strlen(room_keys[k]));

            if ((m ? m->slot : UINT32_MAX) != there[i][k]) {
                return wrong("client %u, key \"%s\": slot %u", i, room_keys[k],
                             m ? m->slot : UINT32_MAX);
            }

            if (m == NULL) {
                continue;
            }

            json += m->json_len;
            bytes += sizeof(fanout_roster_member_t) + m->key_len + m->json_len;

            s = room->here.seats[m->slot];

            if (m->json_len != say(texts[1], client_of(&s), m->slot, s.data,
                                   0)
                || memcmp(fanout_mirror_json(m), texts[1], m->json_len) != 0
                || m->idle != s.idle)
            {
                return wrong("client %u, key \"%s\" is shown as of before", i,
                             room_keys[k]);
            }
        }
    }

    return bytes == r->bytes && json == r->json
           ? 0 : wrong("members of %zu bytes", r->bytes);
}


static int
check(void)
{
    size_t            bytes, all, frames;
    unsigned          i, n;
    fanout_roster_t  *r;

    for (i = 0; i < ROOMS; i++) {
        if (check_room(&rooms[i]) != 0) {
            return -1;
        }
    }

    if (!ngx_queue_empty(&hub.active) && !hub.drain.posted) {
        return wrong("there is work, and nobody does it");
    }

    for (frames = all = n = 0, i = 0; i < ROOMS; i++) {
        r = rooms[i].ch.roster;
        frames += r ? r->recent_bytes : 0;
        all += r ? r->bytes + sizeof(fanout_roster_t) : 0;
        n += r != NULL;
    }

    if (fanout_roster_sizes(&hub, &bytes) != n || bytes != all) {
        return wrong("rosters of %zu bytes, not %zu", bytes, all);
    }

    if (hub.output_bytes - hub.lists != frames) {
        return wrong("%zu bytes are held, not %zu",
                     hub.output_bytes - hub.lists, frames);
    }

    for (i = 0; i < LISTS; i++) {
        if (lists[i].sn && list_is(lists[i].sn, lists[i].text) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
step(void)
{
    room_t    *room;
    unsigned   op;

    room = &rooms[draw(ROOMS)];
    op = draw(100);

    if (op < 30) {
        room_change(room);

    } else if (op < 36) {
        room_append(room, draw(6) ? FANOUT_MESSAGE : FANOUT_RESET);

    } else if (op < 50) {
        deliver(room);

    } else if (op < 52) {
        gap(room);

    } else if (op < 75) {
        return turn();

    } else if (op < 83) {
        return take_list(room);

    } else if (op < 93) {
        wait_for();

    } else if (op < 96) {
        return expire();

    } else if (op < 97) {
        return make_or_free(room);
    }

    return 0;
}


/* all is told, and read: each roster is as the zone */

static int
settle(void)
{
    unsigned  i, n;

    memory_refuse = 0;

    for (i = 0; i < ROOMS; i++) {
        while (rooms[i].delivered < rooms[i].nlog) {
            deliver(&rooms[i]);
        }
    }

    for (n = 0; !ngx_queue_empty(&hub.active); n++) {
        fanout_roster_work(&hub);

        if (n == 1000) {
            return wrong("endless work");
        }
    }

    for (i = 0; i < ROOMS; i++) {
        if (rooms[i].ch.roster && !rooms[i].ch.roster->ready) {
            return wrong("roster %u is never ready", i);
        }
    }

    return check();
}


static void
begin(size_t frames, size_t changes)
{
    unsigned  i;

    memset(&hub, 0, sizeof(hub));
    memset(&app, 0, sizeof(app));
    memset(rooms, 0, sizeof(rooms));
    memset(waiters, 0, sizeof(waiters));
    memset(lists, 0, sizeof(lists));

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);
    ngx_queue_init(&hub.rosters);
    ngx_queue_init(&hub.active);
    ngx_current_msec = 10000;
    hub.app = &app;
    hub.drain.log = ngx_cycle->log;
    app.frames = frames;
    memory_blocks = 0;

    for (i = 0; i < ROOMS; i++) {
        rooms[i].ch.policy = &rooms[i].policy;
        rooms[i].policy.changes = changes;
        rooms[i].policy.keep.presence = i == 2 ? FANOUT_PRESENCE_SUMMARY
                                               : FANOUT_PRESENCE_ON;
        rooms[i].epoch = rooms[i].ch.epoch = 7 + i;
        (void) make_or_free(&rooms[i]);
    }
}


static int
end(void)
{
    unsigned  i;

    for (i = 0; i < ROOMS; i++) {
        if (rooms[i].ch.roster && make_or_free(&rooms[i]) != 0) {
            return -1;
        }
    }

    for (i = 0; i < LISTS; i++) {
        drop_list(&lists[i]);
    }

    return hub.output_bytes || hub.lists || memory_blocks
           || !ngx_queue_empty(&hub.active) || !ngx_queue_empty(&hub.rosters)
           ? wrong("%zu bytes and %ld blocks are left", hub.output_bytes,
                   memory_blocks)
           : 0;
}


static void
history(unsigned n, size_t frames, size_t changes, unsigned refuse)
{
    int       rc;
    unsigned  i;

    own = run + n * 1000003ULL;
    memory_refuse = 0;
    begin(frames, changes);
    memory_seed = own;
    memory_refuse = refuse;
    scarce = refuse != 0;

    for (rc = 0, i = 0; i < 3000 && rc == 0; i++) {
        rc = step();
        rc = rc ? rc : check();
    }

    rc = rc ? rc : settle();
    rc = rc ? rc : end();

    if (rc) {
        ok(0, "history %u, step %u: %s", n, i, error);
        diag("ZONE_SEED=%llu (history %u)", (unsigned long long) run, n);
    }
}


/* one thing after the other */

static void
waits(void)
{
    room_t           *room;
    fanout_roster_t  *r;

    run = own = 1;
    begin(100000000, 4096);
    room = &rooms[0];
    r = room->ch.roster;

    ok(!r->ready && r->reading, "a roster is to be read");
    is_int(hub.drain.posted, 1, "at the end of this turn");

    waiters[0].room = waiters[1].room = room;
    waiters[0].w.wake = waiters[1].w.wake = woken;
    fanout_roster_wait(r, &waiters[0].w);
    fanout_roster_wait(r, &waiters[0].w);
    fanout_roster_wait(r, &waiters[1].w);

    room_append(room, FANOUT_MESSAGE);
    fanout_roster_work(&hub);
    ok(!r->reading && !r->ready,
       "read: it is ready when all up to it was delivered");
    is_int(waiters[0].woken, 0, "who waits is not woken before");

    deliver(room);
    ok(r->ready, "which it is now");
    fanout_roster_work(&hub);
    is_int(waiters[0].woken, 1, "who waits twice is woken once");
    is_int(waiters[1].woken, 1, "the other as well");
    fanout_roster_work(&hub);
    is_int(waiters[1].woken, 1, "and not again for nothing");

    fanout_waiter_cancel(&waiters[0].w);
    fanout_roster_touch(&hub, r);
    fanout_roster_work(&hub);
    is_int(waiters[0].woken, 1, "who does not wait any more is not woken");
    is_int(waiters[1].woken, 2, "who does is, when there is news");

    fanout_roster_free(&hub, r);
    room->ch.roster = NULL;
    is_int(waiters[1].woken, 3, "when the roster goes all are woken");
    ok(!waiters[1].w.queued, "and wait no longer");

    waiters[0].room = waiters[1].room = NULL;
    is_int(end(), 0, "nothing is left");
}


/* a zone that was made anew, and one without memory */

static void
lost(void)
{
    room_t           *room;
    fanout_roster_t  *r;

    begin(100000000, 4096);
    room = &rooms[0];
    r = room->ch.roster;

    room->epoch++;
    fanout_roster_work(&hub);
    ok(!r->reading && !r->ready, "of another epoch it is not ready");
    fanout_roster_reached(&hub, r);
    ok(!r->ready, "whatever is delivered");

    room->ch.epoch = room->epoch;
    fanout_roster_restart(&hub, r, 0);
    fanout_roster_work(&hub);
    ok(r->ready, "read again, it is");

    memory_refuse = 1;
    ok(fanout_roster_create(&hub, &rooms[1].ch) == NULL,
       "without memory there is no roster");
    memory_refuse = 0;

    is_int(end(), 0, "nothing is left");
}


int
main(void)
{
    unsigned  i;

    waits();
    lost();

    run = seed_of_run();

    for (i = 0; i < 60 && !tap_failed; i++) {
        history(i, i % 3 == 1 ? 20000 : 100000000, i % 5 ? 4096 : 300,
                i % 4 == 3 ? 30 : 0);
    }

    ok(!tap_failed, "%u times a roster was as the zone, %u of them before all "
       "was told; %u lists in parts", ready, late, parts);
    is_int(joined, joins, "%u joined, each told once", joins);
    ok(ready && late && parts && joins && gone && memory_refused,
       "all of it was met");

    return done_testing();
}
