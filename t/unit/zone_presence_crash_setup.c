/*
 * The world before an operation on seats and members that is killed.
 *
 * PEOPLE of the survivor are there, some are in "summary", too; what is
 * prepared belongs to the process that is killed.
 */


#include <signal.h>
#include <sys/wait.h>

#include "zone_presence_crash.h"


#define PEOPLE     8                    /* of the survivor */


static person_t  many[160];

static policy_t    summary = {
    .presence = FANOUT_PRESENCE_SUMMARY, .linger = 5, .batch = 100,
    .hooks = 1
};

static policy_t    kept = { .history = 100000 };


/* the world before */

void
inhabit(void)
{
    unsigned  i;

    (void) fanout_zone_attach(&survivor, mem, SIZE);
    (void) fanout_slot_claim(&survivor, 1);

    fanout_hook_queue_filter(&survivor, E_ALL, 10000);
    ca = view(&survivor, "room", &presence);
    sa = view(&survivor, "summary", &summary);
    (void) fanout_channel_open(&survivor, &ca, 7);
    (void) fanout_channel_open(&survivor, &sa, 8);
    (void) mirror_read(&mirror, &survivor, &ca);

    for (i = 0; i < PEOPLE; i++) {
        (void) person_add(&survivor, &people[i], 100 + i,
                          i & 1 ? "odd" : "even", i & 2 ? "info" : "", 0);
        (void) person_sit(&survivor, &ca, &people[i]);
        (void) person_sit(&survivor, &sa, &people[i]);
        (void) person_put(&survivor, &ca, &people[i], "", "data", ENTER|DATA,
                          NULL);

        if (i & 1) {
            (void) person_put(&survivor, &sa, &people[i], "", "", ENTER, NULL);
        }
    }

    (void) settle();

    for (i = 0; i < SEATS; i++) {
        snprintf(names[i], sizeof(names[i]), "r%u", i);
    }
}


/* more of the survivor: n members on as few seats as can be */

static void
crowd(unsigned n)
{
    char      key[16];
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (i % 32 == 0) {
            (void) person_add(&survivor, &people[PEOPLE + i / 32], 200 + i / 32,
                              "crowd", "", 0);
            (void) person_sit(&survivor, &ca, &people[PEOPLE + i / 32]);
        }

        snprintf(key, sizeof(key), "%u", i);
        (void) person_put(&survivor, &ca, &people[PEOPLE + i / 32], key, "",
                          ENTER, NULL);
    }
}


void
setup_full_table(void)
{
    crowd(196 - PEOPLE);
}


void
setup_pending(void)
{
    (void) person_put(&survivor, &ca, &people[0], "", "new", DATA, NULL);
    (void) person_drop(&survivor, &ca, &people[1], "");
    (void) person_put(&survivor, &ca, &people[2], "k", "", ENTER, NULL);
    (void) person_drop(&survivor, &sa, &people[3], "");
    fanout_test_seconds++;
}


void
setup_crowd_leaves(void)
{
    unsigned  i;

    crowd(300);
    (void) flush_all(&survivor);

    for (i = PEOPLE; i < PEOPLE + 10; i++) {
        person_end(&survivor, &people[i], 0);
    }
}


/* a client of the survivor with many seats, cut */

void
setup_many_seats(void)
{
    unsigned   i;
    channel_t  r;

    for (i = 0; i < SEATS; i++) {
        r = view(&survivor, names[i], &presence);
        (void) fanout_channel_open(&survivor, &r, 20 + i);
        (void) person_sit(&survivor, &r, &people[0]);

        if (i % 3 == 0) {
            (void) person_put(&survivor, &r, &people[0], "", "", ENTER, NULL);
        }
    }
}


void
setup_cut(void)
{
    setup_many_seats();
    person_goes(&survivor, &people[0], 30000);
}


void
setup_cuts(void)
{
    unsigned  i;

    setup_many_seats();

    for (i = 0; i < PEOPLE; i += 2) {
        person_end(&survivor, &people[i], i % 4 ? 2000 : 30000);
    }
}


void
setup_orders(void)
{
    unsigned  i;

    for (i = 0; i < 5; i++) {
        (void) fanout_client_disconnect(&survivor, 100 + i, 4000);
    }
}


/* who is killed */

void
prepare_slot(void)
{
    (void) fanout_zone_attach(&own, mem, SIZE);
    (void) fanout_slot_claim(&own, 2);
    co = view(&own, "room", &presence);
    so = view(&own, "summary", &summary);
    (void) fanout_channel_open(&own, &co, 7);
    (void) fanout_channel_open(&own, &so, 8);
}


void
prepare_client(void)
{
    prepare_slot();
    (void) person_add(&own, &p, 500, "someone", "who is described", 0);
}


void
prepare_seat(void)
{
    prepare_client();
    (void) person_sit(&own, &co, &p);
    (void) person_sit(&own, &so, &p);
}


void
prepare_member(void)
{
    prepare_seat();
    (void) person_put(&own, &co, &p, "k", "data", ENTER|DATA, NULL);
}


void
prepare_told(void)
{
    prepare_member();
    (void) person_put(&own, &so, &p, "", "", ENTER, NULL);
    (void) flush_all(&own);
}


void
prepare_left(void)
{
    prepare_told();
    (void) person_drop(&own, &co, &p, "k");
}


void
prepare_left_untold(void)
{
    prepare_told();
    (void) person_put(&own, &co, &p, "k", "more", DATA, NULL);
    (void) person_drop(&own, &co, &p, "k");
}


void
prepare_long(void)
{
    char  data[3000];

    prepare_told();
    memset(data, 'd', sizeof(data));
    data[2999] = '\0';
    (void) person_put(&own, &co, &p, "k", data, DATA, NULL);
}


void
prepare_gone(void)
{
    prepare_told();
    fanout_seat_close(&own, &co, p.ref, &p.id, FANOUT_LEFT_INTENTIONAL);
}


void
prepare_32(void)
{
    char      key[16], data[100];
    unsigned  i;

    prepare_seat();

    for (i = 0; i < 32; i++) {
        snprintf(key, sizeof(key), "%u", i);
        snprintf(data, sizeof(data), "%0*u", i * 3, i);
        (void) person_put(&own, &co, &p, key, data, ENTER|DATA, NULL);

        if (i == 20) {
            (void) flush_all(&own);
        }
    }

    (void) person_put(&own, &co, &p, "3", "other", DATA, NULL);
}


void
prepare_many_seats(void)
{
    unsigned  i;

    prepare_told();

    for (i = 0; i < SEATS; i++) {
        rooms[i] = view(&own, names[i], &presence);
        (void) fanout_channel_open(&own, &rooms[i], 20 + i);
        (void) person_sit(&own, &rooms[i], &p);

        if (i % 3 == 0) {
            (void) person_put(&own, &rooms[i], &p, "", "", ENTER, NULL);
        }

        if (i == SEATS / 2) {
            (void) flush_all(&own);
        }
    }
}


void
prepare_cut(void)
{
    prepare_many_seats();
    person_end(&own, &p, 30000);
}


/* Every block is taken: by history, or by what nothing can evict. */

void
prepare_history(void)
{
    stat_t     st;
    result_t   r;
    unsigned   i;
    channel_t  h;

    prepare_seat();
    h = view(&own, "history", &kept);

    for (i = 0; i < 10000; i++) {
        fanout_zone_stat(&own, &st);

        if (st.free < 12) {
            break;
        }

        (void) put(&own, &h, i, st.free > 200 ? 5000 : 1, 0, NULL, &r);
    }
}


static void
stones(zone_t *of)
{
    char      info[4001];
    unsigned  i, len;
    person_t  one, first;

    memset(info, 'i', sizeof(info));
    i = 0;

    for (len = 4000; ; len /= 2) {
        info[len] = '\0';

        while (person_add(of, &one, 5000 + i, "", info, 0) == OK) {
            if (i++ == 0) {
                first = one;
            }
        }

        if (len == 0) {
            break;
        }
    }

    while (i && free_blocks(of)
           && fanout_identity_resume(of, &first.id, 1,
                                                first.id.secret, &first.ref)
                == OK) { /* void */ }
}


/* nor is there one to tell of who left */

void
setup_no_block(void)
{
    stones(&survivor);
    (void) drain();
    (void) person_drop(&survivor, &ca, &people[1], "");
    fanout_test_seconds++;
}


/* nor for an order */

void
setup_no_order(void)
{
    stones(&survivor);
}


void
prepare_attached(void)
{
    (void) fanout_zone_attach(&own, mem, SIZE);
}


void
prepare_full_cut(void)
{
    prepare_many_seats();
    stones(&own);
    person_end(&own, &p, 30000);
}


/* another worker, that died with 5,000 members */

void
setup_dead(void)
{
    char      key[16];
    pid_t     pid;
    unsigned  i;

    pid = fork();

    if (pid == 0) {
        prepare_slot();

        for (i = 0; i < 5000; i++) {
            if (i % 32 == 0) {
                (void) person_add(&own, &many[i / 32], 1000 + i / 32, "many",
                                  "", 0);
                (void) person_sit(&own, &co, &many[i / 32]);
            }

            snprintf(key, sizeof(key), "%u", i);
            (void) person_put(&own, &co, &many[i / 32], key, "", ENTER, NULL);

            if (i == 2500) {
                (void) flush_all(&own);
            }
        }

        (void) kill(getpid(), SIGKILL);
    }

    (void) waitpid(pid, NULL, 0);
    (void) settle();
}
