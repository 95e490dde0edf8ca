/*
 * Operations that are killed: identities, slots, addresses, budgets.
 */


#include <signal.h>
#include <sys/wait.h>

#include "zone_crash.h"


static identity_t  someone = { 77, 5, "0123456789abcde", 3 };
static identity_t  heir;
static uint32_t    someone_ref;


int
run_identity_add(zone_t *z)
{
    uint32_t  ref;

    return util_add(z, &someone, &ref);
}


void
setup_identity(zone_t *z)
{
    (void) util_add(z, &someone, &someone_ref);
}


void
setup_lingering(zone_t *z)
{
    setup_identity(z);
    fanout_identity_end(z, someone_ref, &someone, 5000,
                                     1, FANOUT_LEFT_INTENTIONAL);
}


int
run_identity_resume(zone_t *z)
{
    uint8_t   next[16];
    uint32_t  ref;

    return fanout_identity_resume(z, &someone, 0, next, &ref);
}


/* once more by the same secret */

void
setup_again(zone_t *z)
{
    setup_identity(z);
    (void) run_identity_resume(z);
}


/* as who was given the last */

void
setup_unproved(zone_t *z)
{
    heir = someone;
    setup_identity(z);
    (void) fanout_identity_resume(z, &someone, 0, heir.secret, &someone_ref);
}


int
run_identity_prove(zone_t *z)
{
    fanout_identity_confirm(z, someone_ref, &heir);

    return 0;
}


int
run_identity_known(zone_t *z)
{
    return fanout_identity_known(z, &heir);
}


int
run_identity_keep(zone_t *z)
{
    uint8_t   next[16];
    uint32_t  ref;

    return fanout_identity_resume(z, &heir, 1, next, &ref);
}


int
run_identity_end(zone_t *z)
{
    fanout_identity_end(z, someone_ref, &someone, 0,
                                     1, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


int
run_identity_linger(zone_t *z)
{
    fanout_identity_end(z, someone_ref, &someone, 5000,
                                     1, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


int
run_identity_leave(zone_t *z)
{
    fanout_identity_leave(z, &someone, FANOUT_LEFT_INTENTIONAL);

    return 0;
}


void
setup_replaced(zone_t *z)
{
    pid_t   pid;
    zone_t  own;

    setup_identity(z);

    pid = fork();

    if (pid == 0) {
        prepare_slot(&own);
        (void) run_identity_resume(&own);
        _exit(0);
    }

    (void) waitpid(pid, NULL, 0);
}


int
run_identity_replaced(zone_t *z)
{
    uint64_t  clients[8];

    return util_orders(z, clients, 8);
}


void
prepare_attached(zone_t *z)
{
    (void) fanout_zone_attach(z, mem, SIZE);
}


int
run_claim(zone_t *z)
{
    return fanout_slot_claim(z, 1);
}


void
prepare_much(zone_t *z)
{
    unsigned    i;
    uint32_t    ref;
    identity_t  id;

    prepare_pending(z);

    for (i = 0; i < 5; i++) {
        memset(&id, 0, sizeof(id));
        id.client = 1000 + i;
        id.address = 5;
        (void) util_add(z, &id, &ref);
        (void) fanout_address_add(z, 7 + i / 2, 0, &ref);
    }

    fanout_slot_counters(z)[3] = 5;
}


int
run_release(zone_t *z)
{
    fanout_slot_release(z);

    return 0;
}


/* a worker that died with all that a worker can have */

void
setup_dead(zone_t *z)
{
    pid_t    pid;
    zone_t   own;

    pid = fork();

    if (pid == 0) {
        prepare_much(&own);
        arm(2000);
        (void) publish_to(&own, "a", &keep, 100000, 0, NULL);
        _exit(0);
    }

    (void) waitpid(pid, NULL, 0);
}


int
run_reap(zone_t *z)
{
    return fanout_slot_reap(z, 1000, NULL);
}


/* sessions of addresses, and budgets */

void
prepare_addresses(zone_t *z)
{
    uint32_t  ref;

    prepare_slot(z);

    (void) fanout_address_add(z, 7, 0, &ref);
    (void) fanout_address_add(z, 8, 0, &ref);
    (void) fanout_address_add(z, 8, 0, &ref);
    (void) fanout_address_add(z, 9, 0, &ref);
}


int
run_address_add(zone_t *z)
{
    uint32_t  ref;

    return fanout_address_add(z, 7, 9, &ref);
}


int
run_address_drop(zone_t *z)
{
    fanout_address_drop(z, 8, address_ref(z, 8));

    return 0;
}


int
run_address_last(zone_t *z)
{
    fanout_address_drop(z, 7, address_ref(z, 7));

    return 0;
}


int
run_budget(zone_t *z)
{
    uint64_t              amounts[] = { 1000, 2000, 3000, 4000,
                                        5000 };
    fanout_zone_drawn_t   drawn;
    fanout_zone_budget_t  b[2];

    static const fanout_zone_limit_t  limits[] = {
        { 1, 1000, 9 }, { 1, 1000, 9 }, { 1, 1000, 9 }, { 1, 1000, 9 },
        { 1, 1000, 9 }
    };

    b[0].key = 7;
    b[0].limits = limits;
    b[1].key = 8;
    b[1].limits = limits;

    return fanout_budget_draw(z, b, 2, amounts, 0, &drawn);
}


/* more than stalled workers may hold */

void
setup_stalled(zone_t *z)
{
    stat_t    st;
    result_t  r;
    unsigned  i;

    for (i = 0; i < 10000; i++) {
        fanout_zone_stat(z, &st);

        if (st.held > st.held_max + 50) {
            break;
        }

        (void) put(z, &rooms[i % 3], i, 200, i & 1 ? FANOUT_TRANSIENT : 0,
                   NULL, &r);
    }
}
