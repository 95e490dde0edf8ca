/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_events.c */
/* sources: t/unit/zone_presence.c t/unit/zone_lock.c t/unit/zone_record.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, one address fills the share of records with records or locks,
 * and others can't change or lock anything; or what it gave back, or what
 * others made of it, counts for it forever.
 */


#include "tap.h"
#include "zone_lock.h"
#include "zone_record.h"
#include "zone/share.h"


#define SIZE     (4 * MB)
#define ADDRESS  FANOUT_ZONE_ADDRESS
#define MOST     1500                   /* blocks of the share */
#define PEOPLE   80


static void      *mem;
static zone_t     z;
static policy_t   policy;
static channel_t  c;
static person_t   p[PEOPLE];
static char       wide[3000];           /* "a=111..." */


static void
start(unsigned people)
{
    char                  name[16];
    unsigned              i;
    fanout_zone_shares_t  shares;

    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    memset(wide, '1', sizeof(wide) - 1);
    memcpy(wide, "a=", 2);
    memset(&policy, 0, sizeof(policy_t));
    policy.records = FANOUT_RECORDS_ON;
    policy.locks = 60000;
    policy.linger = 20;

    mem = zone_make(SIZE, 300, 120);
    (void) fanout_zone_attach(&z, mem, SIZE);
    (void) fanout_slot_claim(&z, 1);

    memset(&shares, 0, sizeof(shares));
    shares.kinds[FANOUT_SHARE_records].max
        = MOST * 10000 / z.shm->heap.nblocks;
    shares.address = 5000;
    fanout_zone_bound(&z, &shares);

    c = view(&z, "table", &policy);
    (void) fanout_channel_open(&z, &c, 7);

    for (i = 1; i <= people; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        (void) person_add(&z, &p[i], i, name, "", 0);
        (void) person_sit(&z, &c, &p[i]);
    }
}


static void
checked(const char *what)
{
    int   rc;
    char  text[256];

    rc = fanout_zone_verify(&z, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");
}


static void
stop(const char *what)
{
    checked(what);
    fanout_slot_release(&z);
    munmap(mem, SIZE);
}


#define set(i, t, a, ...)                                                     \
    record_set(&z, &c, &(set_t) { .id = i, .text = t, .base = -1,             \
                                  .address = a, __VA_ARGS__ })

#define holds(a)  ((int) fanout_holder_at(&z, a)->records)


/* Makes records of an address until one is refused. */

static int
fill(uint64_t address, const char *prefix, unsigned *n)
{
    int   rc;
    char  id[16];

    for (*n = 0, rc = OK; *n < 1000; (*n)++) {
        snprintf(id, sizeof(id), "%s%u", prefix, *n);
        rc = set(id, wide, address);

        if (rc != OK) {
            break;
        }
    }

    return rc;
}


static void
test_fill(void)
{
    stat_t    st;
    unsigned  n, m;

    start(0);

    is_int(fill(3, "m", &n), ADDRESS, "records of an address come to an end");
    fanout_zone_stat(&z, &st);
    ok(st.records > MOST / 3 && st.records <= MOST / 2,
       "with half of what an account may have");
    is_int(st.shares[FANOUT_SHARE_records].refused, 0,
           "the share refuses nothing");
    checked("full");

    is_int(set("v", "a=1", 4), OK, "another address makes one");
    is_int(set("m0", "b=1", 4), OK, "and changes those of the first");
    is_int(set("m1", "a=2", 3), OK, "the first may hold less");
    is_int(set("m1", "a=3", 3), OK, "and change what needs no more");
    is_int(set("m1", "a=3", 3), OK, "or nothing");
    is_int(fill(4, "w", &m), ADDRESS, "the other comes to an end, too");
    ok(m > n / 4 && m < n, "with half of the rest");
    is_int(set("x", "a=1", 5), OK, "a third begins");
    is_int(fill(0, "api", &m), FULL, "without an address there is no limit");

    stop("records");
}


/* Nobody's count grows by what others do. */

static void
test_whose(void)
{
    start(0);

    is_int(set("r", "a=1 b=2", 3), OK, "an address makes a record");
    is_int(holds(3), 3 + 2, "of a head and two fields");

    is_int(set("r", wide, 4), OK, "another fills one of them");
    is_int(holds(3), 3 + 1, "which is not the first one's any more");
    is_int(holds(4), 1 + (24 + 1 + 2997 - 64 + 59) / 60, "but its own");

    is_int(set("r", "c+1", 3), OK, "the first makes an array");
    is_int(holds(3), 3 + 2, "of a block");
    is_int(set("r", "c+22222222222222222222222222222222222222222", 4), OK,
           "the other appends");
    is_int(holds(3), 3 + 1, "and has it");
    is_int(set("r", "-a -c", 4), OK, "it unsets what it has");
    is_int(holds(4), 2, "which stays for a while");

    is_int(set("r", "b=3", 4, .guard_off = 1), OK, "a backend writes for it");
    is_int(holds(3), 3, "and takes it over");
    is_int(holds(4), 2, "for nobody");
    is_int(holds(0), 1, "of an address");
    checked("owners");

    is_int(set("r", "z=1", 5, .whole = 1), OK, "all is replaced");
    is_int(holds(5), 2, "with what was unset");
    is_int(record_delete(&z, &c, "r", -1), OK, "it is deleted");
    is_int(holds(3) + holds(4) + holds(5) + holds(0), 0, "nobody has it");

    stop("whose");
}


/* Sets that are staged; records that expire, or are cleared. */

static void
test_ends(void)
{
    unsigned     n;
    static char  large[60000];

    start(0);
    policy.records_ttl = 5;
    memset(large, '1', sizeof(large) - 1);
    memcpy(large, "a=", 2);
    large[40000] = '\0';

    is_int(set("large", large, 3), OK, "the first record may be large");
    ok(holds(3) > 600, "and counts");
    checked("large");
    large[20000] = '\0';
    is_int(set("large", large, 3), OK, "it gets smaller");
    large[20000] = '1';
    is_int(set("large", large, 3), ADDRESS, "and not as large again");
    is_int(set("large", large, 4), OK, "unless it is for another");
    is_int(holds(3), 3, "who has it then");

    fanout_test_seconds += 8;
    (void) fanout_zone_sweep(&z);
    is_int(holds(3) + holds(4), 0, "what expires counts for nobody");

    policy.records_ttl = 0;
    is_int(fill(3, "m", &n), ADDRESS, "it is filled again");

    while (fanout_record_clear(&z, &c) == AGAIN) {
        /* void */
    }

    is_int(holds(3), 0, "a purge gives all back");

    stop("ends");
}


/* An append takes the array over, which may be more than is left for all. */

static void
test_takeover(void)
{
    unsigned     n;
    static char  list[24000];

    start(0);
    memset(list, '1', sizeof(list) - 1);
    memcpy(list, "c+", 2);

    is_int(set("list", list, 3), OK, "an address makes a large array");
    is_int(fill(4, "b", &n), ADDRESS, "another fills what it may");
    is_int(fill(5, "c", &n), ADDRESS, "and a third");
    is_int(set("list", "c+2", 4), ADDRESS, "then nobody takes over the array");
    is_int(set("list", "c+2", 3), OK, "which its owner appends to");
    is_int(set("list", "c+2", 6), OK, "or somebody who has nothing");
    is_int(holds(3), 3, "to whom it counts");
    is_int(set("list", "-c", 3), OK, "the owner of the record unsets it");
    is_int(holds(6), 0, "and frees its holder of it");
    is_int(holds(3), 4, "for a block");
    checked("takeover");

    stop("takeover");
}


/* Locks of so many clients with addresses from first on, until one is
 * refused. */

static int
lock_all_by(uint64_t address, unsigned first, unsigned last, unsigned *n)
{
    int       rc;
    char      name[256];
    unsigned  i, k;

    *n = 0;
    memset(name, 'n', sizeof(name));

    for (i = first; i <= last; i++) {
        for (k = 0; k < FANOUT_ZONE_LOCKS; k++) {
            snprintf(name + 200, 32, "%u-%u", i, k);
            rc = lock_take(&z, &c, &(ask_t) { .who = &p[i], .name = name,
                                              .address = address });

            if (rc != OK) {
                return rc;
            }

            (*n)++;
        }
    }

    return OK;
}


#define take(i, n, a, ...)                                                    \
    lock_take(&z, &c, &(ask_t) { .who = &p[i], .name = n, .address = a,       \
                                 __VA_ARGS__ })

static void
test_locks(void)
{
    unsigned  n;

    start(PEOPLE - 1);

    is_int(take(60, "held", 3), OK, "an address has a lock");
    is_int(holds(3), 2, "of two blocks");
    is_int(take(61, "held", 4, .wait = 60000), AGAIN, "another waits for it");
    is_int(holds(4), 2, "which counts as much");
    is_int(take(60, "held", 4,
                .data = "\"more than what is in a block of so many bytes as "
                        "there are here\""),
           OK, "a renewal with data from elsewhere");
    is_int(holds(3), 4, "counts where the lock does");
    is_int(lock_drop(&z, &c, &p[60], "held", 0), OK, "it is let go");
    is_int(holds(3), 0, "and counts no more");
    is_int(holds(4), 2, "for whoever waited as before");
    is_int(lock_drop(&z, &c, &p[61], "held", 0), OK, "until it ends");
    is_int(holds(4), 0, "as well");

    is_int(lock_all_by(3, 1, 50, &n), ADDRESS, "locks come to an end");
    ok(holds(3) > MOST / 3 && holds(3) <= MOST / 2, "with half of the share");
    checked("locks");

    is_int(take(70, "doc", 4), OK, "another address locks");
    is_int(take(60, "doc", 3, .wait = 60000), ADDRESS,
           "the first can't even wait");
    is_int(take(60, "doc", 3), FANOUT_ZONE_LOCKED, "and is told who has it");
    is_int(set("r", "a=1", 3), ADDRESS, "nor has it room for a record");
    is_int(set("r", "a=1", 4), OK, "which the other has");

    person_end(&z, &p[1], 0);
    (void) fanout_zone_sweep(&z);
    is_int(take(60, "doc", 3, .wait = 60000), AGAIN,
           "it waits after one of its clients has left");

    stop("locks");
}


int
main(void)
{
    test_fill();
    test_whose();
    test_ends();
    test_takeover();
    test_locks();

    return done_testing();
}
