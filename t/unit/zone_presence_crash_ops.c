/*
 * Operations on seats and members that are killed.
 */


#include "zone_presence_crash.h"


/* what it does */

static int
run_add(void)
{
    return person_add(z, &p, 500, "a user with a name of more than 39 bytes, "
                      "which takes two blocks", "and an info that is long, "
                      "too, so that there is a chain of blocks for it", 0);
}


static int
run_add_same(void)
{
    return person_add(z, &p, 500, "odd", "", 100);
}


static int
run_add_another(void)
{
    return person_add(z, &p, 501, "odd", "", 0);
}


static int
run_sit(void)
{
    return person_sit(z, c, &p);
}


static int
run_enter(void)
{
    return person_put(z, c, &p, "k", "data", ENTER|DATA, NULL);
}


/* by the secret of a session that another has */

static int
run_enter_elsewhere(void)
{
    person_t  other;

    other = people[0];
    other.ref = 0;

    return person_put(z, c, &other, "elsewhere", "data", ENTER|DATA, NULL);
}


static int
run_update_elsewhere(void)
{
    person_t  other;

    other = people[0];
    other.ref = 0;

    return person_put(z, c, &other, "", "other data", DATA, NULL);
}


static int
run_enter_long(void)
{
    char  data[8193];

    memset(data, 'd', sizeof(data));
    data[8192] = '\0';

    return person_put(z, c, &p, "a key of many bytes, more than the member has",
                      data, ENTER|DATA, NULL);
}


static int
run_update_long(void)
{
    char  data[8193];

    memset(data, 'd', sizeof(data));
    data[8192] = '\0';

    return person_put(z, c, &p, "k", data, DATA, NULL);
}


static int
run_update_short(void)
{
    return person_put(z, c, &p, "k", "s", DATA, NULL);
}


static int
run_update_state(void)
{
    put_t     r;
    member_t  m;

    memset(&m, 0, sizeof(m));
    m.key = zstr("k", 1);
    m.idle = 1;

    return fanout_member_put(z, c, p.ref, &p.id, &m, STATE, &r);
}


static int
run_count(void)
{
    return person_put(z, cs, &p, "", "", ENTER, NULL);
}


static int
run_uncount(void)
{
    return person_drop(z, cs, &p, "");
}


static int
run_drop(void)
{
    return person_drop(z, c, &p, "k");
}


static int
run_close(void)
{
    fanout_seat_close(z, c, p.ref, &p.id, FANOUT_LEFT_INTENTIONAL);
    return 0;
}


static int
run_flush(void)
{
    (void) fanout_presence_flush(z);

    return 0;
}


static int
run_flush_all(void)
{
    return flush_all(z);
}


static int
run_end(void)
{
    person_end(z, &p, 0);

    return 0;
}


static int
run_end_linger(void)
{
    person_end(z, &p, 30000);

    return 0;
}


static int
run_goes_linger(void)
{
    person_goes(z, &p, 30000);

    return 0;
}


static int
run_resume(void)
{
    return person_resume(z, &p);
}


static int
run_renew(void)
{
    return person_renew(z, &p, "who is described otherwise");
}


static int
run_renew_long(void)
{
    char  info[3000];

    memset(info, 'i', sizeof(info));
    info[2999] = '\0';

    return person_renew(z, &p, info);
}


static int
run_renew_none(void)
{
    return person_renew(z, &p, "");
}


static int
run_resume_other(void)
{
    return person_resume(z, &people[0]);
}


static int
run_kick(void)
{
    return fanout_seat_kick(z, c, 100,
                            FANOUT_LEFT_KICKED);
}


static int
run_disconnect(void)
{
    return fanout_client_disconnect(z, 100, 4000);
}


static int
run_orders(void)
{
    order_t  o[8];

    return fanout_slot_orders(&survivor, o, 3);
}


static int
run_sweep(void)
{
    fanout_test_seconds += 10;

    return sweep_all(z);
}


static int
run_sweep_late(void)
{
    fanout_test_seconds += 40000;

    return sweep_all(z);
}


static int
run_reap(void)
{
    return fanout_slot_reap(z, 20000, NULL);
}


static int
run_reap_at_once(void)
{
    return fanout_slot_reap(z, 0, NULL);
}


static int
run_release(void)
{
    fanout_slot_release(z);

    return 0;
}


static int
run_reopen(void)
{
    policy_t  other;

    other = presence;
    other.linger = 9;
    other.members = 300;
    c->policy = &other;

    return fanout_channel_open(z, c, 3);
}


/* the queue of events */

static void
setup_many_events(void)
{
    unsigned  i;
    person_t  one;

    for (i = 0; i < 90; i++) {
        (void) person_add(&survivor, &one, 3000 + i, i & 1 ? "some" : "a user "
                          "with a name of more than 39 bytes", "", 0);
        person_end(&survivor, &one, 0);
    }
}


static void
setup_empty_queue(void)
{
    (void) fanout_hook_queue_lead(&survivor);
    fanout_hook_queue_done(&survivor, survivor.shm->event_epoch,
                           survivor.shm->event_offset);
}


static void
setup_full_queue(void)
{
    fanout_hook_queue_filter(&survivor, E_ALL, 3);
}


/* events have their share of the zone; the oldest are of one block */

static void
setup_full_share(void)
{
    stat_t    st;
    char      name[256];
    unsigned  i;
    person_t  one;

    memset(name, 'n', 255);
    fanout_hook_queue_filter(&survivor, E_ALL, 1000000);

    for (i = 0; ; i++) {
        name[i < 3000 ? 1 : 200] = '\0';
        (void) person_add(&survivor, &one, 3000 + i, name, "", 0);
        person_end(&survivor, &one, 0);
        name[i < 3000 ? 1 : 200] = 'n';
        fanout_zone_stat(&survivor, &st);

        if (st.events_lost) {
            break;
        }
    }
}


static void
setup_leader(void)
{
    (void) fanout_hook_queue_lead(&survivor);
    fanout_test_seconds += 11;
}


static void
prepare_leader(void)
{
    prepare_slot();
    (void) fanout_hook_queue_lead(&own);
}


static int
run_take(void)
{
    int        rc;
    unsigned   n;
    event_t    e[64];
    uint64_t   epoch, lost;

    static uint8_t  text[64 * 510];

    rc = fanout_hook_queue_read(z, e, 64, text, sizeof(text), &n, &epoch,
                                &lost);
    fanout_hook_queue_done(z, epoch, e[n - 1].offset);

    return rc;
}


static int
run_take_all(void)
{
    fanout_hook_queue_done(z, z->shm->event_epoch,
                           z->shm->event_offset);

    return 0;
}


static int
run_ask_fewer(void)
{
    fanout_hook_queue_filter(z, E_ALL, 5);

    return 0;
}


static int
run_ask_none(void)
{
    fanout_hook_queue_filter(z, 0, 0);

    return 0;
}


static int
run_lead(void)
{
    return fanout_hook_queue_lead(z);
}


static int
run_yield(void)
{
    fanout_hook_queue_yield(z);

    return 0;
}


const op_t  ops[] = {
    { "add a client", NULL, prepare_slot, run_add, 0 },
    { "add a client of a user", NULL, prepare_slot, run_add_same, 0 },
    { "sit down", NULL, prepare_client, run_sit, 0 },
    { "sit down again", NULL, prepare_gone, run_sit, 0 },
    { "enter", NULL, prepare_seat, run_enter, 0 },
    { "enter with much", NULL, prepare_seat, run_enter_long, 0 },
    { "enter at a full table", setup_full_table, prepare_seat, run_enter, 0 },
    { "enter by evicting", NULL, prepare_history, run_enter_long, SERIES },
    { "add by evicting one who is cut", NULL, prepare_full_cut,
      run_add_another, SERIES },
    { "change to much", NULL, prepare_told, run_update_long, 0 },
    { "change to little", NULL, prepare_long, run_update_short, 0 },
    { "change the state", NULL, prepare_told, run_update_state, 0 },
    { "come back", NULL, prepare_left, run_enter, 0 },
    { "come back otherwise", NULL, prepare_left_untold, run_enter_long, 0 },
    { "come back with it untold", NULL, prepare_left_untold, run_enter, 0 },
    { "leave", NULL, prepare_told, run_drop, 0 },
    { "leave before it is told", NULL, prepare_member, run_drop, 0 },
    { "leave the full table", setup_full_table, prepare_told, run_drop, 0 },
    { "be counted", NULL, prepare_seat, run_count, 0 },
    { "be counted no more", NULL, prepare_told, run_uncount, 0 },
    { "give up a seat", NULL, prepare_told, run_close, 0 },
    { "give up a seat of 32", NULL, prepare_32, run_close, 0 },
    { "tell", setup_pending, prepare_slot, run_flush, SERIES },
    { "tell of 300", setup_crowd_leaves, prepare_slot, run_flush_all,
      SERIES },
    { "tell where no block is free", setup_no_block, prepare_attached,
      run_flush, SERIES },
    { "end", NULL, prepare_told, run_end, SERIES },
    { "end 60 seats", NULL, prepare_many_seats, run_end, SERIES },
    { "cut 60 seats", NULL, prepare_many_seats, run_end_linger, SERIES },
    { "go with 60 seats", NULL, prepare_many_seats, run_goes_linger, SERIES },
    { "resume 60 seats", NULL, prepare_cut, run_resume, SERIES },
    { "renew", NULL, prepare_told, run_renew, SERIES },
    { "renew with much", NULL, prepare_32, run_renew_long, SERIES },
    { "renew with nothing", NULL, prepare_told, run_renew_none, SERIES },
    { "renew 60 seats", NULL, prepare_many_seats, run_renew, SERIES },
    { "resume another's", setup_cut, prepare_slot, run_resume_other, SERIES },
    { "take over", setup_many_seats, prepare_slot, run_resume_other, SERIES },
    { "kick", NULL, prepare_slot, run_kick, 0 },
    { "kick one who lingers", setup_cut, prepare_slot, run_kick, 0 },
    { "disconnect", NULL, prepare_slot, run_disconnect, 0 },
    { "enter by the secret of another's", NULL, prepare_slot,
      run_enter_elsewhere, SERIES },
    { "update by the secret of another's", NULL, prepare_slot,
      run_update_elsewhere, 0 },
    { "update by the secret of one who lingers", setup_cut, prepare_slot,
      run_update_elsewhere, 0 },
    { "take over where no block is free", setup_no_order, prepare_slot,
      run_resume_other, SERIES },
    { "kick where no block is free", setup_no_order, prepare_slot, run_kick,
      0 },
    { "disconnect where no block is free", setup_no_order, prepare_slot,
      run_disconnect, SERIES },
    { "disconnect one who lingers", setup_cut, prepare_slot, run_disconnect,
      SERIES },
    { "take orders", setup_orders, prepare_slot, run_orders, 0 },
    { "sweep", setup_cuts, prepare_slot, run_sweep, SERIES },
    { "sweep after hours", setup_cuts, prepare_slot, run_sweep_late, SERIES },
    { "reap 5000 members", setup_dead, prepare_slot, run_reap, SERIES },
    { "reap 5000 members at once", setup_dead, prepare_slot,
      run_reap_at_once, SERIES },
    { "release a slot", NULL, prepare_many_seats, run_release, SERIES },
    { "another policy", setup_pending, prepare_slot, run_reopen, 0 },
    { "take events", setup_many_events, prepare_slot, run_take, 0 },
    { "take all events", setup_many_events, prepare_slot, run_take_all,
      SERIES },
    { "ask for fewer", setup_many_events, prepare_slot, run_ask_fewer,
      SERIES },
    { "ask for none", setup_many_events, prepare_slot, run_ask_none, SERIES },
    { "lead", setup_leader, prepare_slot, run_lead, 0 },
    { "die as the leader", NULL, prepare_leader, run_release, SERIES },
    { "lead no more", NULL, prepare_leader, run_yield, 0 },
    { "add at an empty queue", setup_empty_queue, prepare_slot, run_add, 0 },
    { "sit down at a full queue", setup_full_queue, prepare_client, run_sit,
      0 },
    { "resume at a full queue", setup_full_queue, prepare_cut, run_resume,
      SERIES },
    { "end 60 seats at a full queue", setup_full_queue, prepare_many_seats,
      run_end, SERIES },
    { "add when events have their share", setup_full_share, prepare_slot,
      run_add, 0 },
    { "end 60 seats when they have it", setup_full_share, prepare_many_seats,
      run_end, SERIES },
};

const unsigned  nops = sizeof(ops) / sizeof(ops[0]);
