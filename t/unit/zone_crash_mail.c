/*
 * Operations that are killed: direct messages, signals, accounts.
 */


#include "zone_crash.h"


static uint32_t  heard_ref[12];


/* direct messages and signals: a client of the parent, one that lingers, and
 * more of its user */

static int
put_to(zone_t *z, uint64_t client, uint64_t user, uint32_t len,
    const char *key)
{
    int        rc;
    uint8_t   *data;
    result_t   r;
    message_t  m;
    publish_t  opts;

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    data = malloc(len);
    data_fill(data, len, len);
    m.data = zstr(data, len);
    m.client = 5;
    m.to_client = client;
    m.to_user = user;
    opts.sender = len % 5;

    if (key) {
        opts.key = zstr(key, strlen(key));
    }

    rc = fanout_log_publish(z, &rooms[0], &m, 1, &opts, &r);
    free(data);

    return rc;
}


static int
signal_of(zone_t *z, const char *event, unsigned tag, uint32_t len)
{
    int        rc;
    char       text[16];
    uint8_t   *data;
    message_t  m;

    memset(&m, 0, sizeof(m));
    data = malloc(len);
    data_fill(data, tag, len);
    snprintf(text, sizeof(text), "t%u", tag);
    m.event = zstr(event, strlen(event));
    m.key = zstr(text, strlen(text));
    m.data = zstr(data, len);
    m.client = 5;
    rc = fanout_signal_put(z, &rooms[0], &m);
    free(data);

    return rc;
}


void
setup_heard(zone_t *z)
{
    unsigned  i;

    setup_few(z);

    for (i = 0; i < 12; i++) {
        memset(&heard[i], 0, sizeof(identity_t));
        heard[i].client = 500 + i;
        heard[i].user = 99;
        heard[i].address = 1 + i % 3;
        (void) util_add(z, &heard[i], &heard_ref[i]);
        (void) fanout_seat_open(z, &rooms[0], heard_ref[i], &heard[i]);
    }

    fanout_identity_end(z, heard_ref[1], &heard[1], 100000,
                        1, FANOUT_LEFT_NETWORK);
}


void
setup_mail(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 64; i++) {
        (void) put_to(z, i % 2 ? 0 : 500, i % 2 ? 99 : 0, 8 + i * 3, NULL);
        (void) put_to(z, 502, 0, 8 + i, NULL);
    }

    (void) put_to(z, 500, 0, 40000, NULL);
    (void) say_drained(state, 0, z);
}


void
setup_mail_key(zone_t *z)
{
    setup_heard(z);
    (void) put_to(z, 0, 99, 50, "key");
}


/* a client that seems connected, with a mailbox that others have filled */

void
setup_mail_shared_live(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 64; i++) {
        (void) put_to(z, 500, 0, i % 5 == 2 ? 12 : 8, NULL);
    }
}


/* and one that lingers */

void
setup_mail_shared(zone_t *z)
{
    setup_mail_shared_live(z);
    fanout_identity_end(z, heard_ref[0], &heard[0], 100000,
                        1, FANOUT_LEFT_NETWORK);
}


int
run_direct(zone_t *z)
{
    return put_to(z, 503, 0, 100, "key");
}


int
run_direct_shared(zone_t *z)
{
    return put_to(z, 500, 0, 101, "key");
}


int
run_direct_user(zone_t *z)
{
    return put_to(z, 0, 99, 1000, "key");
}


int
run_direct_large(zone_t *z)
{
    return put_to(z, 0, 99, 40000, NULL);
}


int
run_mail_read(zone_t *z)
{
    int       rc;
    uint64_t  lost, after;

    after = 0;

    do {
        arena_reset(&arena);
        rc = fanout_mail_read(z, &rooms[0], &heard[0], after, UINT64_MAX,
                              &arena, &lost);

        if (arena.n) {
            after = arena.entries[arena.n - 1].offset;
        }

    } while (rc == AGAIN);

    return rc;
}


int
run_seat_close(zone_t *z)
{
    fanout_seat_close(z, &rooms[0], heard_ref[2], &heard[2],
                      FANOUT_LEFT_INTENTIONAL);

    return 0;
}


void
setup_signals(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 20; i++) {
        (void) signal_of(z, "cursor", i, 8 + i * 20);
        (void) put(z, &rooms[0], i, 20, 0, NULL, &(result_t) { 0 });
    }
}


void
setup_signals_full(zone_t *z)
{
    unsigned  i;

    setup_heard(z);

    for (i = 0; i < 260; i++) {
        (void) signal_of(z, "cursor", i, 8);
    }
}


void
setup_full_of_mail(zone_t *z)
{
    setup_mail(z);
    (void) signal_of(z, "typing", 1, 5000);
    setup_full(z);
    (void) signal_of(z, "typing", 2, 300);
}


int
run_signal(zone_t *z)
{
    return signal_of(z, "cursor", 3, 500);
}


int
run_signal_new(zone_t *z)
{
    return signal_of(z, "other", 3, 16000);
}


void
setup_accounts(zone_t *z)
{
    char      pattern[8];
    unsigned  i;

    setup_some(z);

    for (i = 0; i < FANOUT_ZONE_ACCOUNTS; i++) {
        snprintf(pattern, sizeof(pattern), "%u", i);
        (void) fanout_zone_account(z, (uint8_t *) pattern, strlen(pattern));
    }
}


/* a worker of a newer configuration than all channels are of */

void
prepare_newer(zone_t *z)
{
    conf_t  conf = { .dedupe = 77 };

    (void) fanout_zone_attach(z, mem, SIZE);
    fanout_zone_configure(z, 1, &conf);
    (void) fanout_slot_claim(z, getpid());
}


int
run_configure(zone_t *z)
{
    conf_t  conf = { .idle = 5, .dedupe = 6, .held = 7 };

    fanout_zone_configure(z, 2, &conf);

    return 0;
}


int
run_publish_newer(zone_t *z)
{
    static policy_t  newer = { .history = 20, .bytes = 5000, .ttl = 9,
                               .account = 1 };

    return publish_to(z, "a", &newer, 128, 0, "key");
}


int
run_account(zone_t *z)
{
    return fanout_zone_account(z, (uint8_t *) "user:*", 6);
}


int
run_info(zone_t *z)
{
    info_t     info;
    channel_t  c;

    fanout_test_seconds += 5000;
    c = view(z, "a", &keep);

    return fanout_channel_info(z, &c, &info);
}
