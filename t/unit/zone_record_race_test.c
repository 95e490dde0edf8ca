/* sources: src/heap/[a-z]*.c src/zone/[a-z]*.c */
/* sources: t/unit/random.c t/unit/zone_util.c t/unit/zone_record.c */
/* cflags: -DFANOUT_TEST=1 */

/*
 * If this fails, a large change that is staged is made although another worker
 * has changed the record meanwhile: its version is there twice, or it tells
 * something else as what was before.
 *
 * One process sets a small field as fast as it can; the other one sets a large
 * field and deletes the record, and reads what is told of all of it.
 */


#include <signal.h>
#include <sys/wait.h>

#include "tap.h"
#include "zone_record.h"


#define SIZE    (16 * MB)
#define ROUNDS  (SLOW ? 60 : 400)


static void       *mem;
static zone_t      z;
static channel_t   c;
static arena_t     arena;
static policy_t    policy = {
    .history = 1000, .records = FANOUT_RECORDS_ON | FANOUT_RECORDS_OLD
};

static uint64_t    version;             /* as it was told last */
static int         there;               /* -1: a gap was told */
static char        n[32];               /* the small field, "" without it */
static int         n_known;
static unsigned    deletes, full, others;
static char        error[256];


static void
other(void)
{
    char       text[32];
    zone_t     own;
    unsigned   i;
    channel_t  ch;

    (void) alarm(120);
    (void) fanout_zone_attach(&own, mem, SIZE);
    (void) fanout_slot_claim(&own, 2);
    ch = view(&own, "table", &policy);

    for (i = 1; /* void */ ; i++) {
        (void) snprintf(text, sizeof(text), "n=%u", i);
        (void) record_set(&own, &ch, &(set_t) { .id = "r", .text = text,
                                                .base = -1 });
    }
}


/* the value behind a name in the text of an entry, "" if it is not there */

static const char *
value_of(const char *text, const char *name)
{
    size_t       len;
    const char  *p;

    static char  value[32];

    p = strstr(text, name);
    len = p ? strspn(p + strlen(name), "0123456789") : 0;
    (void) snprintf(value, sizeof(value), "%.*s", (int) len,
                    p ? p + strlen(name) : "");

    return value;
}


static void
follow(const fanout_record_t *r)
{
    const char  *was_n;

    static char  text[2 * FANOUT_ZONE_RECORD_SIZE];

    record_text(r, text, sizeof(text));

    if (there == 1 ? r->version != version + 1 : r->version <= version) {
        (void) snprintf(error, sizeof(error), "version %llu behind %llu",
                        (unsigned long long) r->version,
                        (unsigned long long) version);
    }

    version = r->version;
    there = !(r->flags & FANOUT_RECORD_DELETED);

    if (there) {
        if (strstr(text, " n=")) {
            (void) snprintf(n, sizeof(n), "%s", value_of(text, " n="));
            n_known = 1;
            others++;
        }

        return;
    }

    was_n = value_of(text, "-n(was ");

    if (n_known && strcmp(was_n, n) != 0) {
        (void) snprintf(error, sizeof(error), "n was %s, told is %s", n,
                        was_n);
    }

    n[0] = '\0';
    n_known = 1;
    deletes++;
}


static void
read_all(void)
{
    int               rc;
    uint32_t          i;
    const uint8_t    *p;
    fanout_record_t   r;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(&z, &arena);

        for (i = 0; i < arena.n; i++) {
            p = arena.entries[i].data.data;

            if (arena.entries[i].type != FANOUT_RECORD) {
                there = -1;
                n_known = 0;

            } else if (fanout_record_next(&p, p + arena.entries[i].data.len,
                                          &r)
                       == 1)
            {
                follow(&r);
            }
        }

    } while (rc == AGAIN);
}


int
main(void)
{
    int       rc;
    char      why[256];
    pid_t     pid;
    unsigned  i;

    static char  large[60000];

    arena_init(&arena);
    fanout_test_seconds = 100;
    mem = zone_make(SIZE, 300, 120);
    (void) fanout_zone_attach(&z, mem, SIZE);
    (void) fanout_slot_claim(&z, 1);
    c = view(&z, "table", &policy);
    (void) fanout_channel_open(&z, &c, 7);
    (void) snprintf(large, sizeof(large), "big=%050000d", 1);

    pid = fork();

    if (pid == 0) {
        other();
    }

    (void) alarm(120);

    /* until both have done enough, however seldom one of them runs */

    for (i = 0; (i < ROUNDS || others < ROUNDS) && error[0] == '\0'; i++) {
        rc = record_set(&z, &c, &(set_t) { .id = "r", .text = large,
                                           .base = -1 });
        full += rc == FULL;
        read_all();
        (void) record_delete(&z, &c, "r", -1);
        read_all();
    }

    (void) kill(pid, SIGKILL);
    (void) waitpid(pid, NULL, 0);
    (void) fanout_slot_reap(&z, 1000, NULL);
    read_all();

    is_str(error, "", "what is told is what was");
    ok(deletes > ROUNDS / 2 && others >= ROUNDS, "%u deletes, %u sets by the "
       "other one, %u times full", deletes, others, full);
    is_int(fanout_zone_verify(&z, why, sizeof(why)), 0, "a sound zone");

    return done_testing();
}
