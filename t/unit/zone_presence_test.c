/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c */
/* sources: t/unit/zone_events.c t/unit/zone_presence.c */
/* sources: t/unit/zone_presence_members.c t/unit/zone_presence_limits.c */
/* sources: t/unit/zone_presence_life.c */
/* sources: t/unit/zone_presence_full.c t/unit/zone_presence_told.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, members are shown who are not there, or are there and not
 * shown; one sits in another's place; who was cut flickers, or stays for ever;
 * or a kicked client is not told; or a backend is told what did not happen, or
 * not what did.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_presence_suite.h"


void      *zmem;
zone_t     za, zb;
arena_t    arena;
mirror_t   mirrors[2];                  /* of za, zb: the channel "room" */
channel_t  ca, cb;
uint8_t    buf[SECTION];

/* the changes of the last drain() */
member_t         seen[4096];
unsigned         nseen;
static uint64_t  last_offset;
int              gaps, presences;

policy_t   presence = {
    .history = 10, .presence = FANOUT_PRESENCE_ON, .linger = 5,
    .batch = 100
};


void
checked(zone_t *z, const char *what)
{
    int     rc;
    char    text[256];
    stat_t  st;

    rc = fanout_zone_verify(z, text, sizeof(text));
    ok(rc == 0, "%s: %s", what, rc ? text : "all invariants hold");

    fanout_zone_stat(z, &st);
    is_int(st.overflows, 0, "%s: the journal holds all", what);
}


void
start_as(size_t size, const policy_t *p)
{
    static policy_t  own;

    own = *p;
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    zmem = zone_make(size, 300, 120);
    (void) fanout_zone_attach(&za, zmem, size);
    (void) fanout_zone_attach(&zb, zmem, size);
    (void) fanout_slot_claim(&za, 1);
    (void) fanout_slot_claim(&zb, 2);

    ca = view(&za, "room", &own);
    cb = view(&zb, "room", &own);
    (void) fanout_channel_open(&za, &ca, 7);
    (void) fanout_channel_open(&zb, &cb, 8);

    mirror_init(&mirrors[0]);
    mirror_init(&mirrors[1]);
    (void) mirror_read(&mirrors[0], &za, &ca);
    (void) mirror_read(&mirrors[1], &zb, &cb);
}


void
start(size_t size)
{
    start_as(size, &presence);
}


void
stop(size_t size, const char *what)
{
    checked(&za, what);
    fanout_slot_release(&za);
    fanout_slot_release(&zb);
    (void) flush_all(&za);
    mirror_done(&mirrors[0]);
    mirror_done(&mirrors[1]);
    munmap(zmem, size);
}


/* into the mirror of the handle; -1 if it could not be */

int
drain(zone_t *z)
{
    int             rc, bad;
    entry_t        *e;
    uint32_t        i;
    mirror_t       *m;
    const uint8_t  *p;

    m = &mirrors[z == &zb];
    bad = gaps = presences = 0;
    nseen = 0;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);

        for (i = 0; i < arena.n; i++) {
            e = &arena.entries[i];

            if (e->local != (z == &zb ? 8 : 7)) {
                continue;
            }

            gaps += e->type == FANOUT_GAP;
            last_offset = e->offset;

            if (!bad && mirror_entry(m, e) != 0) {
                diag("%s", m->error);
                bad = 1;
            }

            if (e->type != FANOUT_PRESENCE) {
                continue;
            }

            presences++;
            p = e->data.data;

            while (nseen < 4096
                   && fanout_change_next(&p, e->data.data
                                         + e->data.len,
                                         &seen[nseen]) == 1)
            {
                nseen++;
            }
        }

    } while (rc == AGAIN);

    return bad ? -1 : rc;
}


int
settled(zone_t *z)
{
    int        rc;
    mirror_t  *m, now;

    m = &mirrors[z == &zb];
    (void) flush_all(z);

    if (drain(z) != OK) {
        return 0;
    }

    if (m->state == MIRROR_LOST && mirror_read(m, z, &ca) != 0) {
        return 0;
    }

    mirror_init(&now);
    rc = mirror_read(&now, z, &ca) == 0 && mirror_same(m, &now, 1) == 0;

    if (!rc) {
        diag("%s", m->error);
    }

    mirror_done(&now);

    return rc;
}


int
is_str_of(fanout_zstr_t s, const char *want)
{
    return s.len == strlen(want) && memcmp(s.data, want, s.len) == 0;
}


uint32_t
members_now(zone_t *z, uint32_t *seats)
{
    uint32_t    slot;
    unsigned    n;
    member_t    m[1];
    presence_t  r;

    slot = 0;
    (void) fanout_presence_read(z, &ca, &slot, m, 1, buf, SECTION, &n, &r);
    if (seats) {
        *seats = r.seats;
    }

    return r.members;
}


int
main(int argc, char **argv)
{
    arena_init(&arena);

    members();
    member_limits();
    lives();
    full_lives();
    events();

    return done_testing();
}
