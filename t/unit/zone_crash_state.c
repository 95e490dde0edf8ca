/*
 * The state of a zone that a user can see, as text.
 */


#include <stdarg.h>

#include "zone_crash.h"


/* the state that a user can see, as text */

static size_t
say(char *s, size_t n, const char *fmt, ...)
{
    int      rc;
    va_list  ap;

    va_start(ap, fmt);
    rc = vsnprintf(s + n, STATE_MAX - n, fmt, ap);
    va_end(ap);

    return n + rc < STATE_MAX ? n + rc : STATE_MAX - 1;
}


static size_t
say_entry(char *s, size_t n, const char *what, entry_t *e)
{
    uint32_t  i, h;

    h = 2166136261;

    for (i = 0; i < e->data.len; i++) {
        h = (h ^ e->data.data[i]) * 16777619;
    }

    return say(s, n, "%s %u.%u %llx/%llu from %llu seq %llu %u:%08x%s\n",
               what, e->local, e->type, (unsigned long long) e->epoch,
               (unsigned long long) e->offset, (unsigned long long) e->from,
               (unsigned long long) e->seq, e->data.len, h,
               e->type == FANOUT_MESSAGE
               && !data_whole(e->data.data, e->data.len) ? " HALF" : "");
}


size_t
say_drained(char *s, size_t n, zone_t *z)
{
    int       rc;
    uint32_t  i;

    do {
        arena_reset(&arena);
        rc = fanout_log_drain(z, &arena);

        for (i = 0; i < arena.n; i++) {
            n = say_entry(s, n, "drained", &arena.entries[i]);
        }

    } while (rc == AGAIN);

    return say(s, n, "drain %d\n", rc);
}


static size_t
say_channel(char *s, size_t n, zone_t *z, info_t *info)
{
    int        rc;
    uint32_t   i;
    uint64_t   at, lost;
    channel_t  c;

    n = say(s, n, "channel %.*s %llx/%llu messages %u bytes %llu blocks %u "
            "subscribers %u workers %u account %u\n", (int) info->len,
            (char *) info->name, (unsigned long long) info->epoch,
            (unsigned long long) info->offset, info->messages,
            (unsigned long long) info->bytes, info->blocks,
            info->subscribers, info->workers, info->account);

    info->name[info->len] = '\0';
    c = view(z, (char *) info->name, NULL);
    at = 0;

    do {
        arena_reset(&arena);
        rc = fanout_log_read(z, &c, info->epoch, at, UINT64_MAX, &arena,
                             &lost);

        for (i = 0; i < arena.n; i++) {
            n = say_entry(s, n, "kept", &arena.entries[i]);
            at = arena.entries[i].offset;
        }

    } while (rc == AGAIN);

    return say(s, n, "read %d lost %llu\n", rc, (unsigned long long) lost);
}


void
say_state(char *s, zone_t *z)
{
    int                    i, rc;
    size_t                 n;
    stat_t                 st;
    info_t                 infos[8];
    uint64_t               cursor, lost, clients[16];
    fanout_zone_account_t  account;

    n = say_drained(s, 0, z);
    cursor = 0;

    do {
        rc = fanout_channel_list(z, &cursor, infos, 8);

        for (i = 0; i < rc; i++) {
            n = say_channel(s, n, z, &infos[i]);
        }

    } while (cursor);

    rc = util_orders(z, clients, 16);

    for (i = 0; i < rc; i++) {
        n = say(s, n, "replaced %llu\n", (unsigned long long) clients[i]);
    }

    for (i = 0; fanout_zone_get_account(z, i, &account) == OK; i++) {
        n = say(s, n, "account %d: %.*s %llu %llu %llu\n", i,
                (int) account.len, account.pattern,
                (unsigned long long) account.channels,
                (unsigned long long) account.messages,
                (unsigned long long) account.bytes);
    }

    for (cursor = 0; ; cursor = arena.entries[arena.n - 1].offset) {
        arena_reset(&arena);
        rc = fanout_mail_read(z, &rooms[0], &heard[0], cursor, UINT64_MAX,
                              &arena, &lost);

        for (i = 0; i < (int) arena.n; i++) {
            n = say_entry(s, n, "mail", &arena.entries[i]);
        }

        if (rc != AGAIN || arena.n == 0) {
            break;
        }
    }

    fanout_zone_stat(z, &st);
    n = say(s, n, "mail %llu lost %llu dropped %llu signals %llu %llu "
            "%llu\n", (unsigned long long) st.mail,
            (unsigned long long) lost, (unsigned long long) st.mail_dropped,
            (unsigned long long) st.signals,
            (unsigned long long) st.conflated,
            (unsigned long long) st.signals_dropped);
    n = say(s, n, "keys %llu identities %llu %llu seq %llu staged %llu "
            "live %u evicted %llu expired %llu dropped %llu generation %llu "
            "idle %u dedupe %u held %llu\n",
            (unsigned long long) st.nkeys,
            (unsigned long long) st.nidentities,
            (unsigned long long) st.lingering, (unsigned long long) st.seq,
            (unsigned long long) st.staged, st.live,
            (unsigned long long) st.evicted,
            (unsigned long long) st.expired,
            (unsigned long long) st.dropped,
            (unsigned long long) st.generation, st.idle, st.dedupe,
            (unsigned long long) st.held_max);
    (void) say(s, n, "addresses %llu\n", (unsigned long long) st.naddresses);
}
