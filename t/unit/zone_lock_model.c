/*
 * A model of the locks of a channel.
 */


#include "zone_lock_model.h"


#define WORKERS  2
#define PERSONS  9                      /* from 1 on */
#define LOCKS    4
#define API      PERSONS                /* as a holder */

#define OUT      0                      /* no identity */
#define STANDS   1                      /* without a seat */
#define SITS     2
#define CUT      3


typedef struct {
    int        holder;                  /* 0: nobody */
    uint64_t   token;                   /* 0: not read yet */
    uint32_t   ends;                    /* ms */
    int        line[PERSONS];
    unsigned   n;
    uint32_t   until[PERSONS];          /* ms, of those in line */
    uint32_t   ttl[PERSONS];
    int        told;                    /* what the entries say */
} m_lock_t;


lock_model_t  lm;

static zone_t      zones[WORKERS];
static channel_t   channels[WORKERS];
static policy_t    policy;
static arena_t     arena;
static person_t    p[PERSONS];
static int         state[PERSONS];
static unsigned    at[PERSONS];         /* worker */
static uint32_t    given_up[PERSONS];   /* s, of a seat that is CUT */
static m_lock_t    locks[LOCKS];
static int         orders[WORKERS][PERSONS];
static uint64_t    last_token;
static uint32_t    ballast;             /* a chain that fills the zone, */
static uint32_t    nballast;            /* of so many blocks */

#define LONG                                                                  \
    "a lock with a name that is longer than a block is, so that there are "   \
    "two of them"

static const char  *const  names[LOCKS] = { "a", "b", "c", LONG };


__attribute__((format(printf, 1, 2)))
static int
fails(const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    vsnprintf(lm.s.error, sizeof(lm.s.error), fmt, ap);
    va_end(ap);

    return -1;
}


static uint32_t
now(void)
{
    return fanout_test_seconds * 1000 + fanout_test_msec;
}


/* the sweep has seen it: places of the wheel are 128 ms */

static int
swept(uint32_t due)
{
    return (due + 127) / 128 <= now() / 128;
}


static int
place(const m_lock_t *l, int who)
{
    unsigned  i;

    for (i = 0; i < l->n; i++) {
        if (l->line[i] == who) {
            return i;
        }
    }

    return -1;
}


static void
leave(m_lock_t *l, int who)
{
    int  i;

    i = place(l, who);

    if (i >= 0) {
        l->n--;
        memmove(&l->line[i], &l->line[i + 1], (l->n - i) * sizeof(int));
    }
}


static void
grant(m_lock_t *l, int who, uint32_t ttl)
{
    l->holder = who;
    l->token = 0;
    l->ends = now() + ttl;
    lm.grants++;
}


/* The first in line who sits, and whose wait is not over, has it. */

static void
hand_on(m_lock_t *l)
{
    int       who;
    unsigned  i;

    l->holder = 0;

    for (i = 0; i < l->n; i++) {
        who = l->line[i];

        if (state[who] == SITS && (int32_t) (l->until[who] - now()) > 0) {
            leave(l, who);
            grant(l, who, l->ttl[who]);
            orders[at[who]][who]++;
            lm.passes++;
            return;
        }
    }
}


static void
m_gone(int who)
{
    unsigned  i;

    for (i = 0; i < LOCKS; i++) {
        leave(&locks[i], who);
    }

    for (i = 0; i < LOCKS; i++) {
        if (locks[i].holder == who) {
            hand_on(&locks[i]);
        }
    }
}


static void
m_sweep(void)
{
    int       who;
    unsigned  i, k;

    for (who = 1; who < PERSONS; who++) {
        if (state[who] == CUT && given_up[who]
            && given_up[who] <= fanout_test_seconds)
        {
            given_up[who] = 0;
            m_gone(who);
        }
    }

    for (i = 0; i < LOCKS; i++) {
        if (locks[i].holder && swept(locks[i].ends)) {
            hand_on(&locks[i]);
            lm.expired++;
        }

        for (k = 0; k < locks[i].n; k++) {
            if (swept(locks[i].until[locks[i].line[k]])) {
                leave(&locks[i], locks[i].line[k--]);
                lm.timeouts++;
            }
        }
    }
}


/* A second wait replaces a shorter one. */

static int
m_wait(m_lock_t *l, int who, const ask_t *ask)
{
    uint32_t  until = now() + ask->wait + 1000;

    if (place(l, who) < 0) {
        l->line[l->n++] = who;
        l->until[who] = now();
    }

    if ((int32_t) (until - l->until[who]) > 0) {
        l->until[who] = until;
    }

    l->ttl[who] = ask->ttl;

    return 0;
}


/* operations: 0, or -1 */

static int
op_take(unsigned h, int who)
{
    int        rc, want;
    ask_t      ask;
    m_lock_t  *l;

    l = &locks[draw(&lm, LOCKS)];

    memset(&ask, 0, sizeof(ask));
    ask.name = names[l - locks];
    ask.who = who == API ? NULL : &p[who];
    ask.user = draw(&lm, 2) ? "someone" : "";
    ask.data = draw(&lm, 3) ? NULL : draw(&lm, 2) ? "[1]"
               : "\"data of more than a block, so that a chain is written\"";
    ask.ttl = 1 + draw(&lm, draw(&lm, 4) ? 3000 : 200000);
    ask.wait = draw(&lm, 3) ? 1 + draw(&lm, 5000) : 0;
    ask.token = draw(&lm, 2) ? l->token : 77;
    ask.address = draw(&lm, 4);
    ask.anywhere = draw(&lm, 4) == 0;
    if (l->holder && (int32_t) (l->ends - now()) <= 0) {
        hand_on(l);
        lm.expired++;
    }

    want = l->holder == 0 ? OK
           : l->holder == who && (who != API || ask.token == l->token) ? OK
           : ask.wait && who != API ? AGAIN : LOCKED;

    rc = lock_take(&zones[h], &channels[h], &ask);

    if (rc == FULL && nballast && want != LOCKED) {
        lm.full++;
        return 0;
    }

    if (rc != want) {
        return fails("take of %s by %d: %d, expected %d", ask.name, who, rc,
                     want);
    }

    if (rc == LOCKED) {
        lm.conflicts++;
        return lock_was.token ? fails("a token is told") : 0;
    }

    if (rc == AGAIN) {
        return m_wait(l, who, &ask);
    }

    if (lock_renewed != (l->holder != 0)) {
        return fails("renewed %u, held by %d", lock_renewed, l->holder);
    }

    if (lock_renewed) {
        lm.renewals++;
        l->ends = now() + ask.ttl;
        return l->token && lock_was.token != l->token
               ? fails("another token") : 0;
    }

    leave(l, who);
    grant(l, who, ask.ttl);

    return 0;
}


static int
op_drop(unsigned h, int who)
{
    int        rc, want;
    m_lock_t  *l;

    l = &locks[draw(&lm, LOCKS)];
    rc = lock_drop(&zones[h], &channels[h], who == API ? NULL : &p[who],
                   names[l - locks], draw(&lm, 2) ? l->token : 0);
    want = who == API ? l->holder ? OK : NOTFOUND
                      : l->holder == who ? OK : CONFLICT;

    if (rc != want) {
        return fails("drop of %s by %d: %d, expected %d", names[l - locks],
                     who, rc, want);
    }

    if (rc == OK) {
        hand_on(l);
    }

    return 0;
}


static int
op_wait(unsigned h, int who)
{
    int        rc, want, give_up;
    m_lock_t  *l;

    l = &locks[draw(&lm, LOCKS)];
    give_up = draw(&lm, 3) == 0;
    want = l->holder == who ? OK : place(l, who) < 0 ? NOTFOUND
           : give_up ? LOCKED : AGAIN;
    rc = lock_wait(&zones[h], &channels[h], &p[who], names[l - locks],
                   give_up);

    if (rc != want) {
        return fails("wait of %d for %s: %d, expected %d", who,
                     names[l - locks], rc, want);
    }

    if (rc == LOCKED) {
        leave(l, who);
    }

    return 0;
}


static int
op_end(unsigned h, int who)
{
    switch (draw(&lm, 6)) {

    case 0:
        fanout_seat_close(&zones[h], &channels[h], p[who].ref, &p[who].id,
                          FANOUT_LEFT_INTENTIONAL);
        state[who] = STANDS;
        break;

    case 1:
        if (fanout_seat_kick(&zones[draw(&lm, 2)], &channels[h],
                             p[who].id.client, FANOUT_LEFT_KICKED)
            != OK)
        {
            return fails("no kick");
        }

        state[who] = STANDS;
        break;

    case 2:
        person_end(&zones[h], &p[who], 0);
        state[who] = OUT;
        break;

    default:
        if (nballast) {
            /* others would be evicted */
            return 0;
        }

        person_end(&zones[h], &p[who], 60000);
        state[who] = CUT;
        given_up[who] = fanout_test_seconds + policy.linger + 1;
        return 0;
    }

    m_gone(who);

    return 0;
}


static int
op_come(int who)
{
    int       rc;
    char      name[16];
    unsigned  h, i;

    h = draw(&lm, WORKERS);

    if (state[who] == OUT) {
        snprintf(name, sizeof(name), "u%d", who);
        rc = person_add(&zones[h], &p[who], who, name, "", 0);
        at[who] = h;

    } else if (state[who] == CUT) {
        rc = person_resume(&zones[h], &p[who]);
        at[who] = h;

        if (rc == NOTFOUND && given_up[who] == 0) {
            state[who] = OUT;
            return 0;
        }

    } else {
        h = at[who];
        rc = OK;
    }

    if (rc == FULL && nballast && state[who] == OUT) {
        lm.full++;
        return 0;
    }

    if (rc == OK) {
        rc = person_sit(&zones[h], &channels[h], &p[who]);
    }

    if (rc == FULL && nballast && (state[who] != CUT || !given_up[who])) {
        lm.full++;
        state[who] = STANDS;
        return 0;
    }

    if (rc != OK) {
        return fails("%d does not come: %d", who, rc);
    }

    state[who] = SITS;

    for (i = 0; i < LOCKS; i++) {
        if (locks[i].holder == 0 && place(&locks[i], who) >= 0) {
            hand_on(&locks[i]);
            lm.revived++;
        }
    }

    return 0;
}


static int
op_time(unsigned h)
{
    fanout_test_msec += draw(&lm, 8) ? draw(&lm, 400)
                                        : draw(&lm, 25000);
    fanout_test_seconds += fanout_test_msec / 1000;
    fanout_test_msec %= 1000;

    if (draw(&lm, 4) == 0) {
        return 0;
    }

    m_sweep();

    return sweep_all(&zones[h]) < 0 ? fails("no end of sweeps") : 0;
}


/* Takes all free blocks but a few. */

static void
load(void)
{
    int            who, cut;
    uint32_t       keep;
    fanout_shm_t  *shm;

    shm = zones[0].shm;

    for (who = 1, cut = 0; who < PERSONS; who++) {
        cut |= state[who] == CUT;
    }

    if (cut) {
        return;
    }

    (void) fanout_enter(&zones[0]);

    keep = draw(&lm, 60);

    if (shm->heap.nfree > keep) {
        nballast = shm->heap.nfree - keep;
        ballast = fanout_alloc(&zones[0], nballast, FANOUT_STAGED, NULL);
    }

    fanout_leave(&zones[0]);
}


static void
unload(void)
{
    (void) fanout_enter(&zones[0]);

    fanout_free(&zones[0], ballast, fanout_chain_last(&zones[0], ballast),
                nballast, FANOUT_STAGED);
    nballast = 0;

    fanout_leave(&zones[0]);
}


int
lm_step(void)
{
    int       who;
    unsigned  n;

    lm.s.n++;

    if (lm.pressure && draw(&lm, 40) == 0) {
        nballast ? unload() : load();
    }

    who = 1 + draw(&lm, PERSONS - 1);
    n = draw(&lm, 100);

    if (n < 15) {
        return op_time(draw(&lm, WORKERS));
    }

    if (n < 20) {
        return draw(&lm, 2) ? op_take(draw(&lm, WORKERS), API)
                               : op_drop(draw(&lm, WORKERS), API);
    }

    if (state[who] != SITS) {
        return draw(&lm, 3) ? 0 : op_come(who);
    }

    return n < 65 ? op_take(at[who], who)
           : n < 85 ? op_drop(at[who], who)
           : n < 91 ? op_wait(at[who], who) : op_end(at[who], who);
}


/* the check of a step */

static int
check_lock(const lock_t *l)
{
    unsigned  i;

    for (i = 0; i < LOCKS; i++) {
        if (strlen(names[i]) == l->name.len
            && memcmp(names[i], l->name.data, l->name.len) == 0)
        {
            break;
        }
    }

    if (i == LOCKS) {
        return fails("a lock of another name");
    }

    if ((int) l->client != locks[i].holder % API || !locks[i].holder
        || l->waiting != locks[i].n)
    {
        return fails("%s is held by %d, not %d; %u wait, not %u", names[i],
                     (int) l->client, locks[i].holder, l->waiting,
                     locks[i].n);
    }

    locks[i].token = l->token;

    return 0;
}


/* Each token that is new is above all that were before the step. */

static int
check_locks(zone_t *z, channel_t *c)
{
    uint64_t   cursor, tokens[LOCKS], most;
    unsigned   i, n, held;
    lock_t     l[LOCKS];
    result_t   r;

    static uint8_t  buf[LOCKS * FANOUT_ZONE_LOCK_BUF];

    cursor = 0;
    most = last_token;

    for (i = held = 0; i < LOCKS; i++) {
        tokens[i] = locks[i].token;
        held += locks[i].holder != 0;
    }

    if (fanout_lock_list(z, c, &cursor, l, LOCKS, buf, sizeof(buf), &n, &r)
        != OK || cursor || n != held)
    {
        return fails("%u locks are listed, not %u", n, held);
    }

    for (i = 0; i < n; i++) {
        if (check_lock(&l[i]) != 0) {
            return -1;
        }
    }

    for (i = 0; i < LOCKS; i++) {
        if (locks[i].token != tokens[i] && locks[i].token <= last_token) {
            return fails("the token of %s is not above all before", names[i]);
        }

        most = locks[i].token > most ? locks[i].token : most;
    }

    last_token = most;

    return 0;
}


static int
check_orders(unsigned h)
{
    int             who, looks;
    unsigned        i, n;
    fanout_order_t  got[64];

    looks = 0;

    n = fanout_slot_orders(&zones[h], got, 64);

    for (i = 0; i < n; i++) {
        if (got[i].op == FANOUT_ORDER_LOOK) {
            looks = 1;
        }

        if (got[i].op == FANOUT_ORDER_GRANTED) {
            if (got[i].local != 70 + h) {
                return fails("an order about channel %u", got[i].local);
            }

            orders[h][got[i].client]--;
        }
    }

    for (who = 1; who < PERSONS; who++) {
        if (looks) {
            orders[h][who] = 0;
        }

        if (orders[h][who]) {
            return fails("%d is told %d times too rarely", who,
                         orders[h][who]);
        }
    }

    return 0;
}


/* Follows the entries; after a gap, all is read. */

static int
check_entries(zone_t *z)
{
    int       rc, lost;
    lock_t    l;
    uint32_t  i;
    unsigned  k;

    lost = 0;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);

        for (i = 0; i < arena.n; i++) {
            if (arena.entries[i].type == FANOUT_GAP) {
                lm.gaps++;
                lost = 1;
            }

            if (arena.entries[i].type != FANOUT_LOCK) {
                continue;
            }

            if (fanout_lock_parse(&arena.entries[i].data, &l) != 1) {
                return fails("an entry is broken");
            }

            for (k = 0; k < LOCKS; k++) {
                if (strlen(names[k]) == l.name.len
                    && memcmp(names[k], l.name.data, l.name.len) == 0)
                {
                    locks[k].told = !l.held ? 0 : l.client ? (int) l.client
                                                           : API;
                }
            }
        }

    } while (rc == AGAIN);

    for (k = 0; k < LOCKS; k++) {
        if (lost) {
            locks[k].told = locks[k].holder;
        }

        if (locks[k].told != locks[k].holder) {
            return fails("%s is held by %d, told is %d", names[k],
                         locks[k].holder, locks[k].told);
        }
    }

    return 0;
}


int
lm_check(int invariants)
{
    unsigned  h;

    for (h = 0; h < WORKERS; h++) {
        if (check_orders(h) != 0) {
            return -1;
        }
    }

    h = lm.s.n % WORKERS;

    if (check_locks(&zones[h], &channels[h]) != 0
        || check_entries(&zones[0]) != 0)
    {
        return -1;
    }

    (void) check_entries(&zones[1]);

    if (nballast && invariants) {
        unload();
    }

    return nballast || (lm.s.n % 16 && !invariants)
           ? 0 : steps_check(&lm.s, &zones[0]);
}


void
lm_init(void *mem, size_t size)
{
    unsigned  h;

    fanout_test_seconds = 100;
    fanout_test_msec = 0;
    memset(&policy, 0, sizeof(policy_t));
    policy.linger = 5;
    policy.locks = 60000;
    memset(state, 0, sizeof(state));
    memset(locks, 0, sizeof(locks));
    memset(orders, 0, sizeof(orders));
    memset(given_up, 0, sizeof(given_up));
    last_token = 0;
    nballast = 0;
    lm.s.n = 0;
    arena_init(&arena);

    for (h = 0; h < WORKERS; h++) {
        (void) fanout_zone_attach(&zones[h], mem, size);
        (void) fanout_slot_claim(&zones[h], h + 1);
        channels[h] = view(&zones[h], "table", &policy);
        (void) fanout_channel_open(&zones[h], &channels[h], 70 + h);
    }
}


int
lm_done(void)
{
    int       rc;
    unsigned  h;

    rc = lm_check(1);

    fanout_test_seconds += 1000;

    if (rc == 0 && (sweep_all(&zones[0]) < 0
                    || zones[0].shm->heap.used[FANOUT_LOCKS]))
    {
        rc = fails("locks are left");
    }

    for (h = 0; h < WORKERS; h++) {
        fanout_slot_release(&zones[h]);
    }

    arena_done(&arena);

    return rc;
}
