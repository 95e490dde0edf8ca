/*
 * Workers that let clients come, go and move between them, until one is killed
 * at a random crash point or at a random time; others come.
 *
 * Every worker keeps mirrors by what it drains; in the end those who live must
 * agree, and when all have gone, so has everybody.  Who leads reads events and
 * writes down what it is told: each is told, always as the same, and a witness
 * who is told all of them in order believes them.
 */


#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_crash.h"


#define C_WORKERS    4
#define C_LIVES      7                  /* workers, the killed included */
#define C_CHANNELS   3
#define C_CLIENTS    24
#define C_OPS        800
#define C_SIZE       (4 * MB)
#define C_EVENTS     32768


typedef struct {
    uint64_t          client;
    uint64_t          time;
    uint8_t           events;
    uint8_t           reason;
    uint8_t           resumed;
    uint8_t           channel;          /* lengths */
    uint8_t           user;
    uint8_t           names[16];        /* of both */
    uint32_t          reads;            /* written last */
} c_event_t;

typedef struct {
    uint32_t          seconds;          /* the clock of all */
    uint32_t          msec;
    uint32_t          next;             /* client */
    volatile int      stop;
    volatile int      done[C_LIVES];
    identity_t        known[C_CLIENTS]; /* as somebody had it last */
    char              error[C_LIVES][256];
    uint32_t          changes;
    uint32_t          leads;            /* reads by who leads */
    uint64_t          epoch;
    c_event_t         log[C_EVENTS];    /* by offset */
} c_shared_t;

typedef struct {
    person_t          p;
    int               own;
} c_client_t;

typedef struct {
    zone_t            z;
    channel_t         c[C_CHANNELS];
    mirror_t          mirror[C_CHANNELS];
    c_client_t        cl[C_CLIENTS];
    uint64_t          random;
    unsigned          n;                /* which life */
    c_shared_t       *shared;
} c_worker_t;


static char      c_names[C_CHANNELS][8];
static policy_t  c_policies[C_CHANNELS];


__attribute__((format(printf, 2, 3)))
static int
c_fail(c_worker_t *w, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    vsnprintf(w->shared->error[w->n], 256, fmt, ap);
    va_end(ap);

    return -1;
}


static unsigned
c_draw(c_worker_t *w, unsigned n)
{
    return (rnd(&w->random) >> 32) % n;
}


static void
c_clock(c_worker_t *w, unsigned ms)
{
    uint32_t  total;

    total = __atomic_add_fetch(&w->shared->msec, ms, __ATOMIC_SEQ_CST);
    fanout_test_seconds = 100 + total / 1000;
    fanout_test_msec = total % 1000;
}


static int
c_drain(c_worker_t *w, int turns)
{
    int        rc;
    uint32_t   i;
    entry_t   *e;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&w->z, &arena);

        if (rc != OK && rc != AGAIN) {
            return c_fail(w, "drain: %d", rc);
        }

        for (i = 0; i < arena.n; i++) {
            e = &arena.entries[i];

            if (e->local >= C_CHANNELS
                || mirror_entry(&w->mirror[e->local], e) != 0)
            {
                return c_fail(w, "channel %u: %.200s", e->local,
                              w->mirror[e->local % C_CHANNELS].error);
            }
        }

    } while (rc == AGAIN && --turns);

    return 0;
}


static int
c_load(c_worker_t *w, unsigned i, unsigned max)
{
    if (w->mirror[i].state != MIRROR_KNOWN
        && mirror_load(&w->mirror[i], &w->z, &w->c[i], max) < 0)
    {
        return c_fail(w, "channel %u: %.200s", i, w->mirror[i].error);
    }

    return 0;
}


/* a new client, or one that another worker has or had */

static int
c_come(c_worker_t *w, unsigned k)
{
    int          rc;
    char         name[8];
    c_client_t  *cl;

    cl = &w->cl[k];
    cl->p.id = w->shared->known[k];
    rc = cl->p.id.client ? person_resume(&w->z, &cl->p) : NOTFOUND;

    if (rc == NOTFOUND) {
        snprintf(name, sizeof(name), "u%u", k % 5);
        rc = person_add(&w->z, &cl->p,
                        __atomic_add_fetch(&w->shared->next, 1,
                                           __ATOMIC_SEQ_CST) * 0x10001ULL,
                        name, "info", 0);
    }

    if (rc != OK) {
        return c_fail(w, "come: %d", rc);
    }

    w->shared->known[k] = cl->p.id;
    cl->own = 1;

    return 0;
}


static int
c_act(c_worker_t *w, unsigned k)
{
    int           rc;
    char          data[400], key[16];
    unsigned      i, len;
    c_client_t   *cl;

    cl = &w->cl[k];
    i = c_draw(w, C_CHANNELS);
    len = c_draw(w, 5) ? c_draw(w, 30) : c_draw(w, 400);
    memset(data, 'a' + c_draw(w, 26), sizeof(data));
    data[len] = '\0';
    snprintf(key, sizeof(key), "%u", c_draw(w, 3));

    switch (c_draw(w, 8)) {
    case 0:
    case 1:
        rc = person_sit(&w->z, &w->c[i], &cl->p);
        break;
    case 2:
        rc = person_drop(&w->z, &w->c[i], &cl->p, key);
        break;
    case 3:
        fanout_seat_close(&w->z, &w->c[i], cl->p.ref, &cl->p.id, 1);
        rc = OK;
        break;
    default:
        rc = person_put(&w->z, &w->c[i], &cl->p, key, data, ENTER|DATA, NULL);
    }

    /* it may have been taken over */

    return rc == OK || rc == NOTFOUND || rc == STALE
           ? 0 : c_fail(w, "client %u: %d", k, rc);
}


/* one read, by a leader who may have been taken for dead by another */

static int
c_tell(c_worker_t *w, int take)
{
    int         rc;
    event_t     e[64], was;
    uint32_t    reads;
    unsigned    n, i;
    uint64_t    epoch, lost;
    c_event_t  *l;

    static uint8_t  text[64 * 510];

    rc = fanout_hook_queue_read(&w->z, e, 64, text, sizeof(text), &n, &epoch,
                                &lost);

    for (i = 0; i < n; i++) {
        if (e[i].offset >= C_EVENTS
            || e[i].channel.len + e[i].user.len > sizeof(l->names))
        {
            return c_fail(w, "event %llu", (unsigned long long) e[i].offset);
        }

        l = &w->shared->log[e[i].offset];

        /* first, as another may write it at the same time */
        reads = __atomic_load_n(&l->reads, __ATOMIC_SEQ_CST);

        was.client = l->client;
        was.events = l->events;
        was.reason = l->reason;
        was.resumed = l->resumed;
        was.channel = zstr(l->names, l->channel);
        was.user = zstr(l->names + l->channel, l->user);

        if (reads == 0) {
            l->client = e[i].client;
            l->time = e[i].time;
            l->events = e[i].events;
            l->reason = e[i].reason;
            l->resumed = e[i].resumed;
            l->channel = e[i].channel.len;
            l->user = e[i].user.len;
            memcpy(l->names, e[i].channel.data, l->channel);
            memcpy(l->names + l->channel, e[i].user.data, l->user);

        } else if (w_event_sum(&was) != w_event_sum(&e[i])) {
            return c_fail(w, "event %llu is another now",
                          (unsigned long long) e[i].offset);
        }

        (void) __atomic_add_fetch(&l->reads, 1, __ATOMIC_SEQ_CST);
    }

    if (n && take) {
        fanout_hook_queue_done(&w->z, epoch, e[n - 1].offset);
    }

    return rc;
}


static int
c_lead(c_worker_t *w)
{
    int  rc;

    if (c_draw(w, 20) == 0) {
        fanout_hook_queue_yield(&w->z);
        return 0;
    }

    if (!fanout_hook_queue_lead(&w->z)) {
        return 0;
    }

    rc = c_tell(w, c_draw(w, 4));
    (void) __atomic_add_fetch(&w->shared->leads, 1, __ATOMIC_SEQ_CST);

    return rc == OK || rc == AGAIN ? 0 : -1;
}


static int
c_step(c_worker_t *w)
{
    int          rc;
    unsigned     op, k;
    order_t      o[16];
    c_client_t  *cl;

    c_clock(w, c_draw(w, 3) ? 0 : c_draw(w, 60));
    op = c_draw(w, 108);
    k = c_draw(w, C_CLIENTS);
    cl = &w->cl[k];

    if (op < 55) {
        return cl->own ? c_act(w, k) : c_draw(w, 4) ? 0 : c_come(w, k);
    }

    if (op < 60) {
        person_end(&w->z, &cl->p, cl->own ? c_draw(w, 3) * 4000 : 1000);
        cl->own = 0;
        return 0;
    }

    if (op < 72) {
        (void) fanout_presence_flush(&w->z);
        return 0;
    }

    if (op < 84) {
        return c_drain(w, 1 + c_draw(w, 4));
    }

    if (op < 90) {
        return c_load(w, c_draw(w, C_CHANNELS), 1 + c_draw(w, 10));
    }

    if (op < 93) {
        (void) fanout_slot_reap(&w->z, 3000, NULL);
        return 0;
    }

    if (op < 95) {
        (void) fanout_zone_sweep(&w->z);
        return 0;
    }

    if (op < 97) {
        (void) fanout_slot_orders(&w->z, o, 16);
        return 0;
    }

    if (op < 98) {
        rc = c_draw(w, 2)
             ? fanout_client_disconnect(&w->z,
                                       w->shared->known[k].client, 4000)
             : fanout_seat_kick(&w->z,
                                       &w->c[c_draw(w, C_CHANNELS)],
                                       w->shared->known[k].client, 4);

        return rc == OK || rc == NOTFOUND ? 0 : c_fail(w, "kick: %d", rc);
    }

    if (op < 99) {
        result_t  r;

        (void) fanout_channel_purge(&w->z, &w->c[c_draw(w, C_CHANNELS)], NULL,
                                    0, &r);
        return 0;
    }

    if (op < 100) {
        c_clock(w, c_draw(w, 3000));
        return 0;
    }

    return c_lead(w);
}


/* until nothing moves any more */

static int
c_agree(c_worker_t *w)
{
    int       rc;
    unsigned  i, n;
    mirror_t  now;

    for (i = 0; i < C_CHANNELS; i++) {
        for (n = 0, rc = -1; rc && n < 5000; n++) {
            (void) fanout_slot_reap(&w->z, 3000, NULL);
            c_clock(w, 7);
            (void) fanout_presence_flush(&w->z);

            if (c_drain(w, 0) != 0 || c_load(w, i, 64) != 0) {
                return -1;
            }

            if (w->mirror[i].state != MIRROR_KNOWN) {
                continue;
            }

            mirror_init(&now);
            rc = mirror_read(&now, &w->z, &w->c[i]) == 0
                 ? mirror_same(&w->mirror[i], &now, 1) : -1;
            mirror_done(&now);

            if (rc) {
                (void) usleep(500);
            }
        }

        if (rc) {
            return c_fail(w, "channel %u, never the same: %.200s", i,
                          w->mirror[i].error);
        }
    }

    return 0;
}


static void
c_work(c_worker_t *w, void *zone, long at)
{
    unsigned  i, n;

    (void) alarm(60);
    (void) fanout_zone_attach(&w->z, zone, C_SIZE);
    c_clock(w, 0);

    for (i = 0; i < C_CHANNELS; i++) {
        w->c[i] = view(&w->z, c_names[i], &c_policies[i]);
        w->c[i].address = (i + w->n) % 3;
        mirror_init(&w->mirror[i]);
    }

    crash_arm(at);
    (void) fanout_slot_reap(&w->z, 3000, NULL);

    if (fanout_slot_claim(&w->z, getpid()) != OK) {
        (void) c_fail(w, "no slot");
        _exit(1);
    }

    fanout_hook_queue_filter(&w->z, E_ALL, 100000);

    for (i = 0; i < C_CHANNELS; i++) {
        if (fanout_channel_open(&w->z, &w->c[i], i) != OK) {
            (void) c_fail(w, "open");
            _exit(1);
        }
    }

    for (n = 0; n < C_OPS; n++) {
        if (c_step(w) != 0) {
            _exit(1);
        }
    }

    crash_disarm();
    w->shared->done[w->n] = 1;

    while (!w->shared->stop) {
        if (c_drain(w, 100) != 0) {
            _exit(1);
        }

        (void) usleep(200);
    }

    if (c_agree(w) != 0) {
        _exit(1);
    }

    for (i = 0; i < C_CHANNELS; i++) {
        (void) __atomic_add_fetch(&w->shared->changes, w->mirror[i].changes,
                                  __ATOMIC_SEQ_CST);
    }

    /* some go as they should, the others are found dead */

    w->shared->done[w->n] = 2;

    while (w->shared->stop != 2) {
        (void) c_drain(w, 100);
        (void) usleep(200);
    }

    if (c_draw(w, 2)) {
        fanout_slot_release(&w->z);
    }

    _exit(0);
}


static pid_t
c_spawn(c_worker_t *w, void *zone, long at)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        c_work(w, zone, at);
    }

    return pid;
}


/* what was told, and what is left, is all that happened */

static int
c_told(c_worker_t *w, char *error)
{
    int         rc;
    stat_t      st;
    event_t     e;
    uint64_t    i;
    witness_t   of;
    c_event_t  *l;

    do {
        rc = c_tell(w, 1);
    } while (rc == AGAIN);

    fanout_zone_stat(&w->z, &st);
    w_init(&of, E_ALL, NULL);

    for (i = 1; rc == OK && i <= w->z.shm->event_offset; i++) {
        l = &w->shared->log[i];

        if (l->reads == 0) {
            rc = w_fail(&of, "event %llu was never told",
                        (unsigned long long) i);
            break;
        }

        e.offset = i;
        e.client = l->client;
        e.time = l->time;
        e.events = l->events;
        e.reason = l->reason;
        e.resumed = l->resumed;
        e.channel = zstr(l->names, l->channel);
        e.user = zstr(l->names + l->channel, l->user);
        rc = w_event(&of, &e);
    }

    if (rc == OK && (st.events_lost || st.nevents || st.events)) {
        rc = w_fail(&of, "%llu lost, %llu left",
                    (unsigned long long) st.events_lost,
                    (unsigned long long) st.nevents);
    }

    rc = rc ? rc : w_true(&of, &w->z);

    if (rc) {
        snprintf(error, 512, "events: %s%s", of.error,
                 w->shared->error[w->n]);
    }

    w_free(&of);

    return rc ? -1 : 0;
}


/* when all have gone nobody is there */

static int
c_after(c_worker_t *w, void *zone, char *error)
{
    char    why[256];
    stat_t  st;

    (void) fanout_zone_attach(&w->z, zone, C_SIZE);
    c_clock(w, 0);
    (void) fanout_slot_reap(&w->z, 3000, NULL);

    if (fanout_zone_verify(&w->z, why, sizeof(why)) != 0) {
        snprintf(error, 512, "%s", why);
        return -1;
    }

    fanout_test_seconds += 100;
    (void) sweep_all(&w->z);
    (void) flush_all(&w->z);
    fanout_zone_stat(&w->z, &st);

    if (st.nmembers || st.nseats || st.nidentities || st.nusers || st.rooms
        || st.overflows)
    {
        snprintf(error, 512, "%llu members, %llu seats, %llu identities, "
                 "%llu users, %llu rooms, %llu overflows are left",
                 (unsigned long long) st.nmembers,
                 (unsigned long long) st.nseats,
                 (unsigned long long) st.nidentities,
                 (unsigned long long) st.nusers,
                 (unsigned long long) st.rooms,
                 (unsigned long long) st.overflows);
        return -1;
    }

    if (fanout_zone_verify(&w->z, why, sizeof(why)) != 0) {
        snprintf(error, 512, "%s", why);
        return -1;
    }

    return c_told(w, error);
}


static int
c_all(const c_shared_t *of, const pid_t *pids, unsigned lives, int done)
{
    unsigned  i;

    for (i = 0; i < lives; i++) {
        if (pids[i] && of->done[i] < done) {
            return 0;
        }
    }

    return 1;
}


/* one history; the number of those that were killed, or -1 */

static int
c_history(void *zone, c_shared_t *of, uint64_t own, char *error)
{
    int         status, kills, i, alive, rc;
    long        at;
    pid_t       pids[C_LIVES], pid;
    conf_t      conf;
    unsigned    lives;
    c_worker_t  w;

    memset(&conf, 0, sizeof(conf));
    conf.slots = 8;
    memset(of, 0, sizeof(c_shared_t));
    (void) fanout_zone_create(zone, C_SIZE, &conf, NULL);

    memset(&w, 0, sizeof(w));
    w.shared = of;
    kills = rc = 0;
    lives = 0;

    while (lives < C_WORKERS) {
        w.n = lives;
        w.random = own + lives;
        at = rnd(&own) % 3 ? (long) (1 + rnd(&own) % 60000) : -1;
        pids[lives++] = c_spawn(&w, zone, at);
    }

    if (rnd(&own) % 2) {
        (void) usleep(rnd(&own) % 20000);
        (void) kill(pids[rnd(&own) % C_WORKERS], SIGKILL);
    }

    alive = lives;
    (void) alarm(60);

    while (alive) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid == 0) {
            if (of->stop < 2 && c_all(of, pids, lives, of->stop + 1)) {
                of->stop++;
            }

            (void) usleep(100);
            continue;
        }

        for (i = 0; i < (int) lives && pids[i] != pid; i++) { /* void */ }

        if (i == (int) lives) {
            continue;
        }

        pids[i] = 0;
        alive--;

        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
            kills++;

            if (lives < C_LIVES && !of->stop) {
                w.n = lives;
                w.random = own + lives * 77;
                pids[lives++] = c_spawn(&w, zone, -1);
                alive++;
            }

        } else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            snprintf(error, 512, "worker %d: status %x %.200s", i, status,
                     of->error[i]);
            rc = -1;
            of->stop = 2;
        }
    }

    rc = rc ? rc : c_after(&w, zone, error);
    (void) alarm(0);

    return rc ? rc : kills;
}


void
chaos(void)
{
    int           rc;
    void         *zone;
    char          error[512], *s;
    long          n, histories, kills;
    uint64_t      own;
    uint64_t      changes, leads;
    unsigned      i;
    c_shared_t   *of;

    own = seed_of_run();
    s = getenv("ZONE_HISTORIES");
    n = s ? atol(s) : SLOW ? 5 : 40;

    for (i = 0; i < C_CHANNELS; i++) {
        snprintf(c_names[i], sizeof(c_names[i]), "c%u", i);
        c_policies[i].presence = FANOUT_PRESENCE_ON;
        c_policies[i].linger = i * 2;
        c_policies[i].batch = i * 40;
        c_policies[i].history = i * 5;
        c_policies[i].hooks = 1;
    }

    zone = map(C_SIZE);
    of = map(sizeof(c_shared_t));
    kills = 0;
    changes = leads = 0;

    for (histories = 0; histories < n; histories++) {
        rc = c_history(zone, of, own, error);

        if (rc < 0) {
            ok(0, "history %ld: %s", histories, error);
            diag("ZONE_SEED=%llu replays it, but for the kernel's part",
                 (unsigned long long) own);
            return;
        }

        kills += rc;
        changes += of->changes;
        leads += of->leads;
        (void) rnd(&own);
    }

    ok(n == 0 || (kills > 0 && changes > 0 && leads > 0),
       "%ld random histories, %ld workers killed, %llu changes told, %llu "
       "reads of events", histories, kills, (unsigned long long) changes,
       (unsigned long long) leads);
}
