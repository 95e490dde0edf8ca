/*
 * Workers that do random things until one of them is killed, at a random
 * crash point or at a random time; others come, and all must be as before.
 *
 * In the first half of the channels everything is kept, so every publish that
 * was acknowledged must be there in the end, and every reader must have got
 * all of it in order.  The others are purged, overflow, and take large ones.
 */


#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_crash.h"


#define C_WORKERS    4
#define C_LIVES      7                  /* workers, the killed included */
#define C_CHANNELS   8
#define C_SAFE       4                  /* of those */
#define C_OPS        120
#define C_ACKS       (C_LIVES * C_OPS * 4)
#define C_SIZE       (4 * MB)


typedef struct {
    uint32_t          seed;
    uint32_t          len;
    uint64_t          offset;
    uint8_t           channel;
} c_ack_t;

typedef struct {
    volatile int      stop;
    volatile int      nacks[C_LIVES];
    c_ack_t           acks[C_LIVES][C_OPS * 4];
    volatile int      done[C_LIVES];    /* readers that had all */
    char              error[C_LIVES][256];
} c_shared_t;

typedef struct {
    zone_t            z;
    channel_t         c[C_CHANNELS];
    policy_t          p[C_CHANNELS];
    uint64_t          epoch[C_CHANNELS];
    uint64_t          at[C_CHANNELS];
    uint64_t          seq[C_CHANNELS];
    uint64_t          random;
    uint32_t          seeds;
    unsigned          n;                /* which life */
    c_shared_t       *shared;
} c_worker_t;


static char  c_names[C_CHANNELS][8];


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


static int
c_entry(c_worker_t *w, entry_t *e)
{
    unsigned  i;

    i = e->local;

    if (i >= C_CHANNELS || w->c[i].ref == 0) {
        return c_fail(w, "entry for channel %u, not open", i);
    }

    if (e->seq <= w->seq[i] && e->type != FANOUT_GAP) {
        return c_fail(w, "seq goes back on %u", i);
    }

    w->seq[i] = e->seq;

    if (e->type == FANOUT_SIGNAL) {
        return data_whole(e->data.data, e->data.len)
               ? 0 : c_fail(w, "half a signal on %u", i);
    }

    if (e->type != FANOUT_MESSAGE) {
        if (i < C_SAFE) {
            return c_fail(w, "type %u on channel %u", e->type, i);
        }

        w->epoch[i] = e->epoch;
        w->at[i] = e->offset;
        return 0;
    }

    if (e->epoch != w->epoch[i] || e->offset != w->at[i] + 1) {
        return c_fail(w, "channel %u: offset %llu after %llu, epoch %s", i,
                      (unsigned long long) e->offset,
                      (unsigned long long) w->at[i],
                      e->epoch == w->epoch[i] ? "same" : "another");
    }

    if (!data_whole(e->data.data, e->data.len)) {
        return c_fail(w, "half a message on %u at %llu", i,
                      (unsigned long long) e->offset);
    }

    w->at[i] = e->offset;

    return 0;
}


static int
c_drain(c_worker_t *w, int turns)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&w->z, &arena);

        if (rc != OK && rc != AGAIN) {
            return c_fail(w, "drain: %d", rc);
        }

        for (i = 0; i < arena.n; i++) {
            if (c_entry(w, &arena.entries[i]) != 0) {
                return -1;
            }
        }

    } while (rc == AGAIN && --turns);

    return 0;
}


/* open and join are two steps; what comes in between is skipped by its seq,
 * as a subscriber does */

static int
c_open(c_worker_t *w, unsigned i)
{
    int       rc;
    join_t    j;
    uint32_t  k;

    if (w->c[i].ref) {
        return 0;
    }

    rc = fanout_channel_open(&w->z, &w->c[i], i);

    if (rc != OK) {
        return c_fail(w, "open: %d", rc);
    }

    rc = fanout_log_join(&w->z, &w->c[i], 0, 0, 0, 0, &j);

    if (rc != OK) {
        return c_fail(w, "join: %d", rc);
    }

    w->epoch[i] = j.epoch;
    w->at[i] = j.offset;
    w->seq[i] = j.seq;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&w->z, &arena);

        for (k = 0; k < arena.n; k++) {
            if (arena.entries[k].local == i && arena.entries[k].seq <= j.seq)
            {
                continue;
            }

            if (c_entry(w, &arena.entries[k]) != 0) {
                return -1;
            }
        }

    } while (rc == AGAIN);

    return 0;
}


static int
c_publish(c_worker_t *w)
{
    int           rc, n;
    unsigned      i;
    uint32_t      len;
    uint8_t       flags;
    result_t      r;
    c_ack_t      *a;

    i = c_draw(w, C_CHANNELS);
    len = 8 + c_draw(w, 400);
    flags = 0;

    if (i >= C_SAFE) {
        len = c_draw(w, 10) ? len : 8 + c_draw(w, 40000);
        flags = c_draw(w, 3) ? 0 : FANOUT_TRANSIENT;
    }

    w->seeds = w->n << 20 | ((w->seeds + 1) & 0xfffff);
    rc = put(&w->z, &w->c[i], w->seeds, len, flags, NULL, &r);

    if (rc != OK) {
        return c_fail(w, "publish: %d", rc);
    }

    if (i < C_SAFE) {
        n = w->shared->nacks[w->n];
        a = &w->shared->acks[w->n][n];
        a->seed = w->seeds;
        a->len = len;
        a->offset = r.offset;
        a->channel = i;
        fanout_barrier();
        w->shared->nacks[w->n] = n + 1;
    }

    return 0;
}


/* What is addressed to a client is in its mailbox, and told to all by the
 * offset alone; a signal goes by. */

static int
c_direct(c_worker_t *w, uint32_t ref, identity_t *id)
{
    int        rc;
    char       tag[8];
    uint8_t    data[600];
    uint64_t   lost;
    unsigned   i;
    result_t   r;
    message_t  m;
    publish_t  opts;

    i = C_SAFE + c_draw(w, C_CHANNELS - C_SAFE);

    if (w->c[i].ref == 0) {
        return 0;
    }

    memset(&m, 0, sizeof(m));
    memset(&opts, 0, sizeof(opts));
    data_fill(data, id->client, sizeof(data));
    snprintf(tag, sizeof(tag), "t%u", c_draw(w, 4));
    m.event = zstr("cursor", 6);
    m.key = zstr(tag, strlen(tag));
    m.client = w->n + 1;
    m.data = zstr(data, sizeof(data));

    rc = fanout_signal_put(&w->z, &w->c[i], &m);

    if (rc != OK) {
        return c_fail(w, "signal: %d", rc);
    }

    rc = fanout_seat_open(&w->z, &w->c[i], ref, id);

    if (rc == STALE) {
        /* it was taken over meanwhile */
        return 0;
    }

    if (rc != OK) {
        return c_fail(w, "seat: %d", rc);
    }

    m.to_client = id->client;
    opts.sender = w->n;
    rc = fanout_log_publish(&w->z, &w->c[i], &m, 1, &opts, &r);

    if (rc == NOTFOUND || rc == FANOUT_ZONE_MANY) {
        /* it was ended meanwhile */
        return 0;
    }

    if (rc != OK || r.delivered + r.pending != 1) {
        return c_fail(w, "direct: %d", rc);
    }

    arena_reset(&arena);
    rc = fanout_mail_read(&w->z, &w->c[i], id, 0, UINT64_MAX,
                          &arena, &lost);

    if (rc == NOTFOUND) {
        return 0;
    }

    return (rc == OK || rc == AGAIN)
           && (arena.n == 0 || data_whole(arena.entries[0].data.data,
                                          arena.entries[0].data.len))
           ? 0 : c_fail(w, "mail: %d", rc);
}


static int
c_identity(c_worker_t *w)
{
    int         rc;
    uint32_t    ref;
    uint64_t    clients[8];
    identity_t  id;

    memset(&id, 0, sizeof(id));
    id.client = 1 + c_draw(w, 20);

    rc = fanout_identity_resume(&w->z, &id, 1, id.secret, &ref);

    if (rc == NOTFOUND) {
        rc = util_add(&w->z, &id, &ref);
    }

    if (rc != OK) {
        return c_fail(w, "identity: %d", rc);
    }

    if (c_draw(w, 3) && c_direct(w, ref, &id) != 0) {
        return -1;
    }

    if (c_draw(w, 2)) {
        fanout_identity_end(&w->z, ref, &id, c_draw(w, 3) * 1000,
                            1, FANOUT_LEFT_INTENTIONAL);
    }

    (void) util_orders(&w->z, clients, 8);

    return 0;
}


/* history that others overwrite meanwhile */

static int
c_read(c_worker_t *w, unsigned i)
{
    int       rc, turns;
    uint64_t  after, lost;
    uint32_t  k;
    info_t    info;

    if (fanout_channel_info(&w->z, &w->c[i], &info) != OK) {
        return 0;
    }

    after = 0;
    turns = 0;

    do {
        arena_reset(&arena);
        rc = fanout_log_read(&w->z, &w->c[i], info.epoch, after, UINT64_MAX,
                             &arena, &lost);

        if (rc == STALE && i >= C_SAFE) {
            return 0;
        }

        if (rc != OK && rc != AGAIN) {
            return c_fail(w, "read: %d", rc);
        }

        for (k = 0; k < arena.n; k++) {
            if (arena.entries[k].offset <= after
                || (i < C_SAFE && arena.entries[k].offset != after + 1)
                || !data_whole(arena.entries[k].data.data,
                               arena.entries[k].data.len))
            {
                return c_fail(w, "read: broken at %llu",
                              (unsigned long long) after);
            }

            after = arena.entries[k].offset;
        }

    } while (rc == AGAIN && ++turns < 1000);

    return 0;
}


static int
c_step(c_worker_t *w)
{
    unsigned  op, i;
    result_t  r;

    op = c_draw(w, 100);
    i = c_draw(w, C_CHANNELS);

    if (op < 46) {
        return c_publish(w);
    }

    if (op < 50) {
        return c_read(w, i);
    }

    if (op < 75) {
        return c_drain(w, 1 + c_draw(w, 4));
    }

    if (op < 83) {
        return c_open(w, i);
    }

    if (op < 86) {
        fanout_channel_close(&w->z, &w->c[i]);
        return 0;
    }

    if (op < 89) {
        i = C_SAFE + i % (C_CHANNELS - C_SAFE);
        (void) fanout_channel_purge(&w->z, &w->c[i],
                                    (uint8_t *) "x", 1, &r);
        return 0;
    }

    if (op < 93) {
        (void) fanout_slot_reap(&w->z, 1000, NULL);
        return 0;
    }

    if (op < 95) {
        (void) fanout_zone_sweep(&w->z);
        return 0;
    }

    return c_identity(w);
}


static void
c_views(c_worker_t *w)
{
    unsigned  i;

    for (i = 0; i < C_CHANNELS; i++) {
        w->p[i].history = i < C_SAFE ? 100000 : 3 + i;
        w->c[i] = view(&w->z, c_names[i], &w->p[i]);
        w->c[i].address = (i + w->n) % 3;
    }
}


static void
c_work(c_worker_t *w, void *zone, long at)
{
    unsigned  i, n;

    (void) alarm(60);
    memset(&w->z, 0, sizeof(w->z));
    (void) fanout_zone_attach(&w->z, zone, C_SIZE);
    c_views(w);

    arm(at);

    (void) fanout_slot_reap(&w->z, 1000, NULL);

    if (fanout_slot_claim(&w->z, getpid()) != OK) {
        (void) c_fail(w, "no slot");
        _exit(1);
    }

    for (i = 0; i < C_CHANNELS; i += 1 + c_draw(w, 2)) {
        if (c_open(w, i) != 0) {
            _exit(1);
        }
    }

    for (n = 0; n < C_OPS; n++) {
        if (c_step(w) != 0) {
            _exit(1);
        }
    }

    /* until the last one has published */

    w->shared->done[w->n] = 1;

    while (!w->shared->stop) {
        if (c_drain(w, 100) != 0) {
            _exit(1);
        }

        (void) fanout_slot_reap(&w->z, 1000, NULL);
        (void) usleep(200);
    }

    if (c_drain(w, 100000) != 0) {
        _exit(1);
    }

    armed = 0;

    for (i = 0; i < C_SAFE; i++) {
        join_t  j;

        if (w->c[i].ref == 0) {
            continue;
        }

        if (fanout_log_join(&w->z, &w->c[i], 0, 0, 0, 0, &j) != OK
            || j.offset != w->at[i])
        {
            (void) c_fail(w, "channel %u read up to %llu of %llu", i,
                          (unsigned long long) w->at[i],
                          (unsigned long long) j.offset);
            _exit(1);
        }
    }

    if (c_draw(w, 2)) {
        fanout_slot_release(&w->z);
    }

    _exit(0);
}


/* whether all that was acknowledged is where it was said to be */

static int
c_verify(c_worker_t *w)
{
    int        rc, i, n, k, acked;
    uint32_t   j;
    uint64_t   at, lost;
    info_t     info;
    c_ack_t   *a;

    for (i = 0; i < C_SAFE; i++) {
        rc = fanout_channel_info(&w->z, &w->c[i], &info);

        if (rc == NOTFOUND) {
            info.epoch = info.offset = 0;
        }

        acked = 0;

        for (n = 0; n < C_LIVES; n++) {
            for (k = 0; k < w->shared->nacks[n]; k++) {
                acked += w->shared->acks[n][k].channel == i;
            }
        }

        at = 0;

        do {
            arena_reset(&arena);
            rc = fanout_log_read(&w->z, &w->c[i], info.epoch, at, UINT64_MAX,
                                 &arena, &lost);

            if (rc == NOTFOUND && acked == 0) {
                break;
            }

            if (rc != OK && rc != AGAIN) {
                return c_fail(w, "read: %d", rc);
            }

            for (j = 0; j < arena.n; j++) {
                if (arena.entries[j].offset != at + 1
                    || !data_whole(arena.entries[j].data.data,
                                   arena.entries[j].data.len))
                {
                    return c_fail(w, "channel %d broken at %llu", i,
                                  (unsigned long long) at);
                }

                at++;

                for (n = 0; n < C_LIVES; n++) {
                    for (k = 0; k < w->shared->nacks[n]; k++) {
                        a = &w->shared->acks[n][k];

                        if (a->channel == i && a->offset == at) {
                            acked--;

                            if (!data_is(arena.entries[j].data.data,
                                         arena.entries[j].data.len, a->seed,
                                         a->len))
                            {
                                return c_fail(w, "another message");
                            }
                        }
                    }
                }
            }

        } while (rc == AGAIN);

        if (acked) {
            return c_fail(w, "%d acknowledged are lost on %d", acked, i);
        }
    }

    return 0;
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


/* one history; the number of those that were killed, or -1 */

static int
c_history(void *zone, c_shared_t *shared, uint64_t own, char *error)
{
    int         status, kills, i, alive, rc;
    long        at;
    char        why[256];
    pid_t       pids[C_LIVES], pid;
    conf_t      conf;
    unsigned    lives;
    c_worker_t  w;

    memset(&conf, 0, sizeof(conf));
    conf.slots = 8;
    memset(shared, 0, sizeof(c_shared_t));
    (void) fanout_zone_create(zone, C_SIZE, &conf, NULL);

    memset(&w, 0, sizeof(w));
    w.shared = shared;
    kills = 0;
    lives = 0;

    while (lives < C_WORKERS) {
        w.n = lives;
        w.random = own + lives;
        at = rnd(&own) % 3 ? -1 : (long) (1 + rnd(&own) % 20000);
        pids[lives++] = c_spawn(&w, zone, at);
    }

    if (rnd(&own) % 2) {
        (void) usleep(rnd(&own) % 20000);
        (void) kill(pids[rnd(&own) % C_WORKERS], SIGKILL);
    }

    alive = lives;
    rc = 0;
    (void) alarm(60);

    while (alive) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid == 0) {
            for (i = 0; i < (int) lives; i++) {
                if (pids[i] && !shared->done[i]) {
                    break;
                }
            }

            shared->stop = i == (int) lives;
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

            /* none comes once the others compare what they have read */

            if (lives < C_LIVES && !shared->stop) {
                w.n = lives;
                w.random = own + lives * 77;
                pids[lives++] = c_spawn(&w, zone, -1);
                alive++;
            }

        } else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            snprintf(error, 512, "worker %d: status %x %.200s", i, status,
                     shared->error[i]);
            rc = -1;
            shared->stop = 1;
        }
    }

    (void) fanout_zone_attach(&w.z, zone, C_SIZE);
    c_views(&w);
    w.n = 0;

    (void) fanout_slot_reap(&w.z, 1000, NULL);

    if (rc == 0 && fanout_zone_verify(&w.z, why, sizeof(why)) != 0) {
        snprintf(error, 512, "%s", why);
        rc = -1;
    }

    if (rc == 0 && c_verify(&w) != 0) {
        snprintf(error, 512, "%.256s", shared->error[0]);
        rc = -1;
    }

    (void) alarm(0);

    return rc ? rc : kills;
}


void
chaos(void)
{
    int              rc;
    void            *zone;
    char             error[512], *s;
    long             seconds, histories, kills;
    uint64_t         own;
    unsigned         i;
    c_shared_t      *shared;
    struct timespec  from, now;

    s = getenv("ZONE_CRASH_SECONDS");
    seconds = s ? atol(s) : 20;

    for (i = 0; i < C_CHANNELS; i++) {
        snprintf(c_names[i], sizeof(c_names[i]), "c%u", i);
    }

    zone = map(C_SIZE);
    shared = map(sizeof(c_shared_t));
    histories = kills = 0;
    own = seed;
    clock_gettime(CLOCK_MONOTONIC, &from);

    do {
        rc = c_history(zone, shared, own, error);

        if (rc < 0) {
            ok(0, "history %ld: %s", histories, error);
            diag("ZONE_SEED=%llu replays it, but for the kernel's part",
                 (unsigned long long) own);
            return;
        }

        kills += rc;
        histories++;
        (void) rnd(&own);
        clock_gettime(CLOCK_MONOTONIC, &now);

    } while (now.tv_sec - from.tv_sec < seconds);

    ok(kills > 0 || seconds == 0, "%ld random histories, %ld workers killed",
       histories, kills);
}
