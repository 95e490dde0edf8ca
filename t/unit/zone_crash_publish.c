/*
 * Operations that are killed: publishes, history, purges, sweeps, readers.
 */


#include "zone_crash.h"


/* operations */

/* the block of an address of this worker, 0 */

uint32_t
address_ref(zone_t *z, uint64_t address)
{
    uint32_t  ref;

    ref = z->shm->slots[z->heap.slot].addresses;

    while (ref && fanout_address(z, ref)->address != address) {
        ref = fanout_address(z, ref)->slot_next;
    }

    return ref;
}


static void
fill_rooms(zone_t *z, unsigned n)
{
    unsigned  i;
    result_t  r;

    for (i = 0; i < n; i++) {
        (void) put(z, &rooms[i & 1], i, 8 + i % 200, 0, NULL, &r);
    }
}


void
setup_some(zone_t *z)
{
    fill_rooms(z, 40);
}


void
setup_few(zone_t *z)
{
    fill_rooms(z, 3);
}


void
setup_drained(zone_t *z)
{
    fill_rooms(z, 40);
    (void) say_drained(state, 0, z);
}


void
prepare_slot(zone_t *z)
{
    (void) fanout_zone_attach(z, mem, SIZE);
    (void) fanout_slot_claim(z, getpid());
}


void
prepare_readers(zone_t *z)
{
    unsigned  i;

    prepare_slot(z);

    for (i = 0; i < 3; i++) {
        rooms[i] = view(z, (char *) rooms[i].name.data, rooms[i].policy);
        (void) fanout_channel_open(z, &rooms[i], i);
    }

    fanout_channel_subscribers(z, &rooms[0], 7);
}


void
prepare_pending(zone_t *z)
{
    prepare_readers(z);
    fill_rooms(z, 90);
}


int
publish_to(zone_t *z, const char *name, policy_t *p, uint32_t len,
    uint8_t flags, const char *key)
{
    result_t   r;
    channel_t  c;
    publish_t  opts;

    c = view(z, name, p);
    memset(&opts, 0, sizeof(opts));

    if (key) {
        opts.key = zstr(key, strlen(key));
        opts.address = 7;
        opts.sender = 8;
    }

    return put(z, &c, 12345, len, flags, &opts, &r);
}


int
run_publish(zone_t *z)
{
    return publish_to(z, "a", &keep, 128, 0, NULL);
}


int
run_publish_several(zone_t *z)
{
    unsigned    i;
    uint8_t     data[64][256];
    result_t    r;
    channel_t   c;
    message_t   m[64];

    c = view(z, "a", &keep);
    memset(m, 0, sizeof(m));

    for (i = 0; i < 64; i++) {
        data_fill(data[i], i, 8 + i * 3);
        m[i].data = zstr(data[i], 8 + i * 3);
        m[i].flags = i % 5 == 0 ? FANOUT_TRANSIENT : 0;
    }

    return fanout_log_publish(z, &c, m, 64, NULL, &r);
}


int
run_publish_large(zone_t *z)
{
    return publish_to(z, "a", &keep, 40000, 0, NULL);
}


int
run_publish_large_batch(zone_t *z)
{
    unsigned    i;
    uint8_t    *data[3];
    result_t    r;
    channel_t   c;
    message_t   m[3];

    c = view(z, "new", &few);
    memset(m, 0, sizeof(m));

    for (i = 0; i < 3; i++) {
        data[i] = malloc(9000);
        data_fill(data[i], i, 9000);
        m[i].data = zstr(data[i], 9000);
    }

    return fanout_log_publish(z, &c, m, 3, NULL, &r);
}


int
run_publish_duplicate(zone_t *z)
{
    return publish_to(z, "b", &keep, 40000, 0, "key");
}


void
setup_key(zone_t *z)
{
    setup_some(z);
    (void) publish_to(z, "b", &keep, 10, 0, "key");
}


int
run_publish_key(zone_t *z)
{
    return publish_to(z, "b", &keep, 50, 0, "key");
}


int
run_publish_transient(zone_t *z)
{
    return publish_to(z, "a", &keep, 500, FANOUT_TRANSIENT, NULL);
}


int
run_publish_new(zone_t *z)
{
    return publish_to(z, "a new channel with a name that takes more blocks "
                      "than one, so that there is a chain of them", &keep,
                      1000, 0, "key");
}


int
run_publish_nothing_kept(zone_t *z)
{
    return publish_to(z, "none", &none, 100, 0, NULL);
}


int
run_publish_limit(zone_t *z)
{
    return publish_to(z, "few", &few, 700, 0, NULL);
}


void
setup_limits(zone_t *z)
{
    unsigned  i;

    setup_some(z);

    for (i = 0; i < 30; i++) {
        (void) publish_to(z, "few", &few, 60 + i * 9, 0, NULL);
        (void) publish_to(z, "bytes", &bytes, 60, 0, NULL);
    }
}


int
run_publish_bytes(zone_t *z)
{
    return publish_to(z, "bytes", &bytes, 1900, 0, NULL);
}


/* fills the zone to the last block */

void
setup_full(zone_t *z)
{
    stat_t    st;
    result_t  r;
    unsigned  i;

    for (i = 0; i < 100000; i++) {
        fanout_zone_stat(z, &st);

        if (st.free < 60) {
            break;
        }

        (void) put(z, &rooms[2 + i % 2], i, 300, 0, NULL, &r);

        if (i % 50 == 0) {
            (void) say_drained(state, 0, z);
        }
    }

    (void) say_drained(state, 0, z);
}


int
run_publish_evicting(zone_t *z)
{
    return publish_to(z, "a", &keep, 5000, 0, NULL);
}


int
run_publish_large_evicting(zone_t *z)
{
    return publish_to(z, "a", &keep, 50000, 0, NULL);
}


int
run_purge(zone_t *z)
{
    result_t  r;

    return fanout_channel_purge(z, &rooms[0], (uint8_t *) "why", 3,
                                &r);
}


/* of a channel that nobody reads: no entry tells of it */

int
run_purge_unread(zone_t *z)
{
    result_t   r;
    channel_t  c;

    c = view(z, "few", &few);

    return fanout_channel_purge(z, &c, (uint8_t *) "why", 3, &r);
}


void
setup_purged(zone_t *z)
{
    setup_some(z);
    (void) run_purge(z);
    (void) say_drained(state, 0, z);
}


int
run_sweep(zone_t *z)
{
    return sweep_all(z);
}


int
run_sweep_later(zone_t *z)
{
    fanout_test_seconds += 5000;

    return sweep_all(z);
}


void
setup_old(zone_t *z)
{
    unsigned    i;
    char        name[16];
    uint32_t    ref;
    identity_t  id;

    setup_drained(z);

    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "old%u", i);
        (void) publish_to(z, name, i & 1 ? &none : &keep, 20, 0,
                          i % 3 ? name : NULL);

        memset(&id, 0, sizeof(id));
        id.client = i + 1;
        (void) util_add(z, &id, &ref);
        fanout_identity_end(z, ref, &id, 10000,
                            1, FANOUT_LEFT_INTENTIONAL);
    }
}


int
run_open(zone_t *z)
{
    channel_t  c;

    c = view(z, "opened", &keep);

    return fanout_channel_open(z, &c, 9);
}


int
run_open_existing(zone_t *z)
{
    channel_t  c;

    c = view(z, "a", &few);

    return fanout_channel_open(z, &c, 9);
}


int
run_close(zone_t *z)
{
    fanout_channel_close(z, &rooms[0]);
    fanout_channel_close(z, &rooms[1]);

    return 0;
}


int
run_subscribers(zone_t *z)
{
    fanout_channel_subscribers(z, &rooms[1], 3);

    return 0;
}


int
run_drain(zone_t *z)
{
    int  rc;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);
    } while (rc == AGAIN);

    return rc;
}


void
setup_large(zone_t *z)
{
    setup_drained(z);
    (void) publish_to(z, "a", &none, 60000, FANOUT_TRANSIENT, NULL);
    (void) publish_to(z, "a", &none, 20, 0, NULL);
}


int
run_join(zone_t *z)
{
    join_t  j;

    fanout_test_seconds += 5000;

    return fanout_log_join(z, &rooms[0], 0, 0, 0, 50, &j);
}


int
run_read(zone_t *z)
{
    uint64_t   lost;
    channel_t  c;
    info_t     info;

    c = view(z, "a", &keep);
    (void) fanout_channel_info(z, &c, &info);
    arena_reset(&arena);

    return fanout_log_read(z, &c, info.epoch, 0, 1000, &arena, &lost);
}


void
setup_large_kept(zone_t *z)
{
    (void) publish_to(z, "a", &keep, 60000, 0, NULL);
    (void) say_drained(state, 0, z);
}
