/*
 * Events for a backend: what is told of, in which order, how often, and what
 * becomes of it when nobody takes it.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_suite.h"


#define EVENTS  E_ALL


static event_t   ev[FANOUT_ZONE_EVENTS];
static uint8_t   evbuf[FANOUT_ZONE_EVENTS * 510];
static uint64_t  ev_epoch, ev_lost;
static char      ev_text[8192];


static int
ev_read(zone_t *z, unsigned max, size_t size, unsigned *n)
{
    return fanout_hook_queue_read(z, ev, max, evbuf, size, n, &ev_epoch,
                                  &ev_lost);
}


/* "jfo 1 ann room": the events by their first letters (u: last-out), who, on
 * what; with "#2" as a reason and "*" for a resume */

static size_t
ev_say(size_t at, const event_t *e)
{
    int  n, i;

    static const char  letters[] = "cdjlfuov";

    at += snprintf(ev_text + at, sizeof(ev_text) - at, "%s", at ? ", " : "");

    for (i = 0; i < 8; i++) {
        if (e->events & 1 << i) {
            ev_text[at++] = letters[i];
        }
    }

    n = snprintf(ev_text + at, sizeof(ev_text) - at, " %llu %.*s",
                 (unsigned long long) e->client, (int) e->user.len,
                 e->user.data);
    at += n;

    if (e->channel.len) {
        at += snprintf(ev_text + at, sizeof(ev_text) - at, " %.*s",
                       (int) e->channel.len, e->channel.data);
    }

    if (e->reason) {
        at += snprintf(ev_text + at, sizeof(ev_text) - at, " #%u", e->reason);
    }

    if (e->resumed) {
        at += snprintf(ev_text + at, sizeof(ev_text) - at, "*");
    }

    return at;
}


/* all that is there, as text, and it was taken */

static const char *
told(void)
{
    int       rc;
    size_t    at;
    unsigned  n, i;

    at = 0;
    ev_text[0] = '\0';

    do {
        rc = ev_read(&za, 64, sizeof(evbuf), &n);

        for (i = 0; i < n && at < sizeof(ev_text) - 700; i++) {
            at = ev_say(at, &ev[i]);
        }

        if (n) {
            fanout_hook_queue_done(&za, ev_epoch, ev[n - 1].offset);
        }

    } while (rc == AGAIN && n);

    return ev_text;
}


static void
ev_start(size_t size, uint8_t mask, uint32_t max)
{
    static policy_t  p;

    p = presence;
    p.hooks = 1;
    start_as(size, &p);
    fanout_hook_queue_filter(&za, mask, max);
    fanout_hook_queue_filter(&zb, mask, max);
}


static void
ev_people(person_t *p)
{
    (void) person_add(&za, &p[0], 1, "ann", "", 0);
    (void) person_add(&za, &p[1], 2, "ann", "", 0);
    (void) person_add(&zb, &p[2], 3, "", "", 0);
}


static void
ev_seats(void)
{
    person_t  p[3];

    ev_start(MB, EVENTS, 1000);
    ev_people(p);
    is_str(told(), "c 1 ann, c 2 ann, c 3 ", "three connect");

    (void) person_sit(&za, &ca, &p[0]);
    (void) person_sit(&za, &ca, &p[0]);
    (void) person_sit(&za, &ca, &p[1]);
    (void) person_sit(&zb, &cb, &p[2]);
    is_str(told(), "jfo 1 ann room, j 2 ann room, j 3  room",
           "they sit down: once each, a user once, a channel once");

    (void) person_put(&za, &ca, &p[0], "", "x", ENTER|DATA, NULL);
    (void) person_drop(&za, &ca, &p[0], "");
    is_str(told(), "", "members are none of it");

    fanout_seat_close(&za, &ca, p[0].ref, &p[0].id, INTENTIONAL);
    fanout_seat_close(&za, &ca, p[0].ref, &p[0].id, INTENTIONAL);
    is_str(told(), "l 1 ann room #1", "one leaves, the other stays");

    (void) flush_all(&za);
    (void) person_sit(&za, &ca, &p[0]);
    fanout_seat_close(&za, &ca, p[1].ref, &p[1].id, 5);
    fanout_seat_close(&za, &ca, p[0].ref, &p[0].id, 3);
    (void) fanout_seat_kick(&za, &ca, 3, KICKED);
    is_str(told(), "j 1 ann room, l 2 ann room #5, lu 1 ann room #3, "
           "lv 3  room #4", "the last of a user, the last of all");

    person_end(&za, &p[0], 0);
    is_str(told(), "d 1 ann #1", "and ends");

    (void) person_sit(&za, &ca, &p[1]);
    person_end(&za, &p[1], 0);
    is_str(told(), "jfo 2 ann room, luv 2 ann room #1, d 2 ann #1",
           "who ends gives up the seats first");

    ok(ev_lost == 0, "nothing was lost");

    stop(MB, "events of seats");
}


static void
ev_cuts(void)
{
    person_t  p[3], old;

    ev_start(MB, EVENTS, 1000);
    ev_people(p);
    (void) person_sit(&za, &ca, &p[0]);
    (void) person_sit(&zb, &cb, &p[2]);
    (void) told();

    person_end(&za, &p[0], 20000);
    is_str(told(), "d 1 ann #2", "cut: the seat lingers");
    (void) person_resume(&zb, &p[0]);
    is_str(told(), "c 1 ann*", "and is there when it comes back");
    old = p[0];
    (void) person_resume(&za, &p[0]);
    is_str(told(), "d 1 ann #6, c 1 ann*", "taken over: replaced");
    person_end(&zb, &old, 0);
    is_str(told(), "", "who had it ends nothing");

    person_end(&za, &p[0], 20000);
    pass_by(5);
    is_str(told(), "d 1 ann #2", "it lingers");
    pass_by(1);
    is_str(told(), "lu 1 ann room #2", "not longer than it may");
    pass_by(30);
    is_str(told(), "", "nor is its end of interest to anybody");

    (void) person_sit(&za, &ca, &p[1]);
    person_end(&za, &p[1], 3000);
    (void) told();
    pass_by(4);
    is_str(told(), "lu 2 ann room #2", "a client that ends before its seat");

    (void) fanout_client_disconnect(&za, 3, 4000);
    is_str(told(), "lv 3  room #4, d 3  #4", "disconnected");

    (void) person_add(&za, &p[0], 4, "", "", 0);
    person_end(&za, &p[0], 20000);
    (void) told();
    (void) fanout_client_disconnect(&za, 4, 4000);
    is_str(told(), "", "one who lingers was told of");

    /* a worker dies */

    (void) person_add(&zb, &p[2], 5, "eve", "", 0);
    (void) person_sit(&zb, &cb, &p[2]);
    (void) told();
    (void) pthread_mutex_unlock(&zb.shm->slots[zb.heap.slot].life);
    (void) fanout_slot_reap(&za, 20000, NULL);
    is_str(told(), "d 5 eve #2", "a worker died");
    zb.heap.slot = -1;
    pass_by(6);
    is_str(told(), "luv 5 eve room #2", "and nobody came back");

    stop(MB, "events of cuts");
}


static void
ev_masks(void)
{
    stat_t     st;
    person_t   p[3];
    channel_t  c;

    ev_start(MB, E_OCCUPIED|E_LAST_OUT, 1000);
    ev_people(p);
    (void) person_sit(&za, &ca, &p[0]);
    (void) person_sit(&za, &ca, &p[1]);
    fanout_seat_close(&za, &ca, p[0].ref, &p[0].id, 1);
    fanout_seat_close(&za, &ca, p[1].ref, &p[1].id, 1);
    is_str(told(), "o 1 ann room, u 2 ann room #1", "what is asked for");
    ok(ev[1].offset == 2 && ev_lost == 0, "the rest takes no offset");

    (void) person_sit(&za, &ca, &p[0]);
    ok(fanout_hook_queue_any(&zb) == 1, "there is one");
    fanout_hook_queue_filter(&za, 0, 0);
    ok(fanout_hook_queue_any(&zb) == 0, "nobody asks any more");
    fanout_zone_stat(&za, &st);
    ok(st.events == 0 && st.nevents == 0 && st.events_lost == 0
       && st.events_max == 0 && st.events_told == 3 && st.events_lag == 0,
       "it is gone, and not lost");
    (void) person_sit(&zb, &cb, &p[2]);
    is_str(told(), "", "and nothing is written");

    fanout_hook_queue_filter(&za, EVENTS, 0);
    fanout_seat_close(&za, &ca, p[0].ref, &p[0].id, 1);
    is_str(told(), "", "nor into a queue of none");

    fanout_hook_queue_filter(&za, EVENTS, 5);
    fanout_seat_close(&zb, &cb, p[2].ref, &p[2].id, 1);
    is_str(told(), "lv 3  room #1", "asked for again");
    ok(ev_lost == 0, "without a loss");

    c = view(&za, "quiet", &presence);
    (void) fanout_channel_open(&za, &c, 9);
    (void) person_sit(&za, &c, &p[0]);
    fanout_seat_close(&za, &c, p[0].ref, &p[0].id, 1);
    is_str(told(), "", "a channel without hooks");

    stop(MB, "what is asked for");
}


static void
ev_full_queue(void)
{
    int        rc;
    stat_t     st;
    unsigned   n, i;
    uint64_t   free;

    static person_t  p[1500];

    ev_start(MB, EVENTS, 3);
    free = free_blocks(&za);

    for (i = 0; i < 5; i++) {
        (void) person_add(&za, &p[i], i + 1, "", "", 0);
    }

    rc = ev_read(&za, 64, sizeof(evbuf), &n);
    ok(rc == OK && n == 3 && ev[0].offset == 3 && ev[2].offset == 5
       && ev_lost == 2, "the oldest gave way: %d, %u, %llu lost", rc, n,
       (unsigned long long) ev_lost);
    fanout_zone_stat(&za, &st);
    ok(st.events_lost == 2 && st.events_told == 5 && st.nevents == 3
       && st.events_max == 3, "counted");

    (void) ev_read(&za, 1, sizeof(evbuf), &n);
    ok(n == 1 && ev_lost == 2, "they were before the first");
    fanout_hook_queue_done(&za, ev_epoch, ev[0].offset);
    (void) person_add(&za, &p[5], 6, "", "", 0);
    rc = ev_read(&zb, 2, sizeof(evbuf), &n);
    ok(rc == AGAIN && n == 2 && ev_lost == 0 && ev[0].offset == 4,
       "no more were lost");
    fanout_hook_queue_done(&zb, ev_epoch ^ 1, ev[1].offset);
    fanout_hook_queue_done(&zb, ev_epoch, 1000);
    fanout_hook_queue_done(&zb, ev_epoch, 3);
    rc = ev_read(&za, 64, sizeof(evbuf), &n);
    ok(rc == OK && n == 3, "what was not read is not done: %u", n);
    is_str(told(), "c 4 , c 5 , c 6 ", "in order");

    for (i = 0; i < 6; i++) {
        person_end(&za, &p[i], 0);
    }

    is_str(told(), "d 4  #1, d 5  #1, d 6  #1", "the last three");
    ok(ev_lost == 3, "of six");
    ok(free_blocks(&za) == free, "all blocks are back");

    /* a long one is made short, and taken, in steps: the journal would not
     * hold it */

    fanout_hook_queue_filter(&za, EVENTS, 2000);

    for (i = 0; i < 1500; i++) {
        (void) person_add(&za, &p[i], i + 1, "somebody", "", 0);
    }

    fanout_hook_queue_filter(&zb, EVENTS, 150);
    rc = ev_read(&za, 1000, sizeof(evbuf), &n);
    ok(rc == AGAIN && n == 64 && ev_lost == 1350, "%u in a read, %llu lost",
       n, (unsigned long long) ev_lost);
    fanout_hook_queue_done(&za, ev_epoch, ev[n - 1].offset + 86);
    ok(fanout_hook_queue_any(&za) == 0, "all were taken");
    rc = ev_read(&za, 64, sizeof(evbuf), &n);
    ok(rc == OK && n == 0 && ev_lost == 0, "there is none");
    fanout_hook_queue_filter(&zb, EVENTS, 2000);

    for (i = 0; i < 1500; i++) {
        person_end(&za, &p[i], 0);
    }

    fanout_hook_queue_done(&za, ev_epoch, za.shm->event_offset);
    ok(fanout_hook_queue_any(&za) == 0, "all 1500 at once");
    ok(free_blocks(&za) == free, "all blocks are back again");

    stop(MB, "a full queue");
}


/* what a read may copy, and what an event takes */

static void
ev_sizes(void)
{
    char       name[256], user[256];
    stat_t     st;
    unsigned   n, i, before;
    person_t   p;
    channel_t  c;
    policy_t   pol;

    ev_start(4 * MB, E_JOIN, 1000);
    pol = *ca.policy;
    is_int(sizeof(fanout_event_block_t), FANOUT_BLOCK, "an event has a block");
    memset(name, 'n', 255);
    memset(user, 'u', 255);
    name[255] = user[255] = '\0';
    before = 0;

    static const struct {
        uint8_t   channel, user;
        uint32_t  blocks;
    } sizes[] = {
        { 20, 0, 1 }, { 10, 10, 1 }, { 10, 11, 2 }, { 40, 40, 2 },
        { 40, 41, 3 }, { 255, 255, FANOUT_EVENT_BLOCKS }
    };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        name[sizes[i].channel] = user[sizes[i].user] = '\0';
        c = view(&za, name, &pol);
        (void) fanout_channel_open(&za, &c, 20 + i);
        (void) person_add(&za, &p, 10 + i, user, "", 0);
        (void) person_sit(&za, &c, &p);
        name[sizes[i].channel] = 'n';
        user[sizes[i].user] = 'u';
        fanout_zone_stat(&za, &st);
        is_int(st.events - before, sizes[i].blocks, "blocks with names of "
               "%u and %u", sizes[i].channel, sizes[i].user);
        before = st.events;
        (void) ev_read(&za, 64, sizeof(evbuf), &n);
        ok(n == i + 1 && ev[i].channel.len == sizes[i].channel
           && ev[i].user.len == sizes[i].user
           && memcmp(ev[i].channel.data, name, ev[i].channel.len) == 0
           && memcmp(ev[i].user.data, user, ev[i].user.len) == 0,
           "and they are whole");
    }

    (void) told();

    for (i = 0; i < 80; i++) {
        name[255] = user[255] = '\0';
        c = view(&za, name, &pol);
        c.ref = 0;
        (void) fanout_channel_open(&za, &c, 30);
        (void) person_add(&za, &p, 100 + i, user, "", 0);
        (void) person_sit(&za, &c, &p);
    }

    is_int(ev_read(&za, 64, 510 * 3 + 509, &n), AGAIN, "a small buffer");
    is_int(n, 3, "holds three");
    is_int(ev_read(&za, 64, sizeof(evbuf), &n), AGAIN, "a large one");
    ok(n * 510 <= FANOUT_ZONE_COPY + 510,
       "gets what a section copies: %u", n);

    stop(4 * MB, "sizes of events");
}


static int
woken(zone_t *z)
{
    return z->shm->slots[z->heap.slot].process.notified != 0;
}


static void
ev_leads(void)
{
    zone_t     zc;
    stat_t     st;
    person_t   p[3];

    ev_start(MB, EVENTS, 100);
    (void) fanout_zone_attach(&zc, zmem, MB);

    is_int(fanout_hook_queue_lead(&zc), 0, "without a slot");
    is_int(fanout_hook_queue_lead(&za), 1, "the first leads");
    is_int(fanout_hook_queue_lead(&zb), 0, "one alone");
    is_int(fanout_hook_queue_lead(&za), 1, "still");
    fanout_zone_stat(&za, &st);
    is_int(st.events_leader, 1, "its pid");

    za.shm->slots[za.heap.slot].process.notified = 0;
    zb.shm->slots[zb.heap.slot].process.notified = 0;
    (void) person_add(&zb, &p[0], 1, "", "", 0);
    ok(woken(&za) && !woken(&zb), "it is woken");
    za.shm->slots[za.heap.slot].process.notified = 0;
    (void) person_add(&zb, &p[1], 2, "", "", 0);
    ok(!woken(&za), "once");
    (void) told();
    (void) person_add(&zb, &p[2], 3, "", "", 0);
    ok(woken(&za), "and when there is something again");

    fanout_test_seconds += 10;
    is_int(fanout_hook_queue_lead(&zb), 0, "silent for 10 s");
    fanout_test_seconds++;
    is_int(fanout_hook_queue_lead(&zb), 1, "that is too long");
    is_int(fanout_hook_queue_lead(&za), 0, "it leads no more");

    fanout_hook_queue_yield(&za);
    is_int(fanout_hook_queue_lead(&za), 0, "nor gives up another's");
    za.shm->slots[za.heap.slot].process.notified = 0;
    fanout_hook_queue_yield(&zb);
    ok(woken(&za), "the others are woken when it is given up");
    is_int(fanout_hook_queue_lead(&za), 1, "and take it");

    fanout_hook_queue_yield(&za);
    is_int(fanout_hook_queue_lead(&zb), 1, "the other");
    (void) pthread_mutex_unlock(&zb.shm->slots[zb.heap.slot].life);
    is_int(fanout_hook_queue_lead(&za), 0, "dies, which nobody knows");
    (void) fanout_slot_reap(&za, 1000, NULL);
    zb.heap.slot = -1;
    fanout_zone_stat(&za, &st);
    is_int(st.events_leader, 0, "until it is reaped");

    (void) fanout_slot_claim(&zc, 3);
    is_int(fanout_hook_queue_lead(&za), 1, "who takes its slot does not "
           "take the lead");
    fanout_slot_release(&zc);

    stop(MB, "the lead");
}


/* no room: what happens happens, and is not told */

static void
ev_full_zone(void)
{
    int        rc;
    stat_t     st, was;
    result_t   r;
    unsigned   n, i;
    person_t   p[40];
    policy_t   pol;
    channel_t  c;

    ev_start(MB, EVENTS, 1000000);

    /* history makes room */

    pol = (policy_t) { .history = 100000 };
    c = view(&za, "history", &pol);

    for (i = 0; i < 30000; i++) {
        (void) put(&za, &c, i, 10, 0, NULL, &r);
    }

    fanout_zone_stat(&za, &was);
    ok(was.evicted > 0, "full of history");

    for (i = 0; i < 40; i++) {
        (void) person_add(&za, &p[i], 100 + i, "user", "", 0);
        (void) person_sit(&za, &ca, &p[i]);
    }

    for (i = 30; i < 36; i++) {
        person_end(&za, &p[i], 50000);
    }

    while (za.shm->heap.nfree >= 8) {
        (void) put(&za, &c, i, 1, 0, NULL, &r);
    }

    fanout_test_seconds += 6;
    (void) sweep_all(&za);
    fanout_zone_stat(&za, &st);
    ok(st.events_lost == 0 && st.events_told == 92 && st.seats_lingering == 0,
       "seats are swept: %llu told, %llu lost",
       (unsigned long long) st.events_told,
       (unsigned long long) st.events_lost);

    for (i = 0; i < 30; i++) {
        person_end(&za, &p[i], i & 1 ? 5000 : 0);
        (void) put(&za, &c, i, 900, 0, NULL, &r);
    }

    pass_by(100);
    fanout_zone_stat(&za, &st);
    ok(st.events_lost == 0 && st.events_told == 152, "which makes room for "
       "events: %llu told, %llu lost", (unsigned long long) st.events_told,
       (unsigned long long) st.events_lost);
    checked(&za, "full of history");

    /* the backend is away for long: they take their share and no more */

    for (i = 0; i < 20000; i++) {
        (void) person_add(&za, &p[0], 1000 + i, "user", "", 0);
        person_end(&za, &p[0], 0);
    }

    fanout_zone_stat(&za, &st);
    ok(st.events <= (st.blocks + 1) / 4 && st.events > st.blocks / 5,
       "%llu of %llu blocks", (unsigned long long) st.events,
       (unsigned long long) st.blocks);
    ok(st.events_lost == st.events_told - st.nevents && st.events_lost > 0,
       "the others were lost: %llu", (unsigned long long) st.events_lost);
    checked(&za, "events have their share");
    (void) told();

    /* full of what can't be evicted */

    (void) fanout_channel_purge(&za, &c, NULL, 0, &r);
    fill_zone(&zb);
    (void) told();
    fanout_zone_stat(&za, &was);

    /* what was freed is given away */

    for (i = 0; i < 2000; i++) {
        if (person_add(&zb, &p[0], 70000 + i, "", "", 0) != OK) {
            break;
        }

        (void) told();
    }

    (void) told();
    fanout_zone_stat(&za, &was);
    is_int(was.nevents, 0, "the queue is empty");

    fanout_seat_close(&za, &ca, p[37].ref, &p[37].id, 1);
    fanout_seat_close(&za, &ca, p[38].ref, &p[38].id, 1);
    fanout_zone_stat(&za, &st);
    ok(st.nseats == was.nseats - 2, "two left");
    ok(st.events_lost - was.events_lost == 2 && st.nevents == 0
       && fanout_hook_queue_any(&za) == 0, "which nobody is told");
    rc = ev_read(&za, 64, sizeof(evbuf), &n);
    ok(rc == OK && n == 0, "there is nothing");
    checked(&za, "full");

    empty_zone(&zb);
    (void) fanout_hook_queue_read(&za, ev, 1, evbuf, sizeof(evbuf), &n,
                                  &ev_epoch, &ev_lost);
    ok(n == 1 && ev_lost >= 2, "it is known that there was: %llu",
       (unsigned long long) ev_lost);

    stop(MB, "events in a full zone");
}


/* who dies in the middle of a rebuild has it done by the next */

static void
rebuild(void)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        (void) fanout_enter(&zb);
        zb.shm->heap.state = FANOUT_REBUILDING;
        (void) kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);
}


static void
ev_rebuild(void)
{
    unsigned   n;
    uint64_t   epoch;
    person_t   p[3];

    ev_start(MB, EVENTS, 100);
    ev_people(p);
    (void) fanout_hook_queue_lead(&za);
    (void) ev_read(&za, 64, sizeof(evbuf), &n);
    ok(n == 3, "before");
    epoch = ev_epoch;

    rebuild();
    is_int(fanout_hook_queue_lead(&zb), 1, "nobody leads any more");
    ok(fanout_hook_queue_any(&za) == 0, "the queue is empty");
    (void) person_add(&za, &p[0], 1, "ann", "", 0);
    fanout_hook_queue_done(&za, epoch, 3);
    fanout_hook_queue_done(&za, epoch, 1);
    fanout_hook_queue_filter(&za, EVENTS, 100);
    (void) ev_read(&za, 64, sizeof(evbuf), &n);
    ok(n == 1 && ev[0].offset == 1 && ev_lost == 0 && ev_epoch != epoch
       && ev_epoch, "they begin again, of another epoch");

    stop(MB, "events after a rebuild");
}


/* of very many clients of a user nobody knows who is the first */

static void
ev_crowd(void)
{
    unsigned   i, n;
    person_t  *p;
    channel_t  c;

    ev_start(4 * MB, E_FIRST_IN|E_LAST_OUT, 10000);
    p = calloc(300, sizeof(person_t));

    for (i = 0; i < FANOUT_RECIPIENTS; i++) {
        (void) person_add(&za, &p[i], 1 + i, "many", "", 0);
    }

    (void) person_sit(&za, &ca, &p[7]);
    is_str(told(), "f 8 many room", "one of 256");
    fanout_seat_close(&za, &ca, p[7].ref, &p[7].id, 1);
    is_str(told(), "u 8 many room #1", "and the last");
    (void) person_add(&za, &p[i], 1 + i, "many", "", 0);
    c = view(&za, "other", ca.policy);
    (void) fanout_channel_open(&za, &c, 9);
    (void) person_sit(&za, &c, &p[7]);
    (void) ev_read(&za, 64, sizeof(evbuf), &n);
    is_int(n, 0, "one of 257");

    free(p);
    stop(4 * MB, "a crowd");
}


void
events(void)
{
    ev_seats();
    ev_cuts();
    ev_masks();
    ev_full_queue();
    ev_sizes();
    ev_leads();
    ev_full_zone();
    ev_rebuild();
    ev_crowd();
}
