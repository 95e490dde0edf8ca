/*
 * Clients that ask for locks, and locks as text.
 */


#include "zone_lock.h"


#define LIST  64


lock_t    lock_was;
unsigned  lock_renewed;
unsigned  lock_limit;

static uint8_t  strings[FANOUT_ZONE_LOCK_BUF];
static char     text[1024 * 1024];


static fanout_zstr_t
str(const char *s)
{
    return zstr(s, s ? strlen(s) : 0);
}


int
lock_take(zone_t *z, channel_t *c, const ask_t *ask)
{
    fanout_zone_lock_t  l;

    memset(&l, 0, sizeof(l));
    l.name = str(ask->name);
    l.user = str(ask->user);
    l.data = str(ask->data);
    l.client = ask->who ? ask->who->id.client : 0;
    l.ttl = ask->ttl ? ask->ttl : 30000;
    l.wait = ask->wait;
    l.address = ask->address;

    return fanout_lock_take(z, c, ask->who && !ask->anywhere ? ask->who->ref
                                                             : 0,
                            ask->who ? &ask->who->id : NULL, &l, ask->token,
                            &lock_was, strings, &lock_renewed, &lock_limit);
}


int
lock_wait(zone_t *z, channel_t *c, person_t *who, const char *name,
    int give_up)
{
    fanout_zstr_t  n;

    n = str(name);

    return fanout_lock_wait(z, c, who->ref, &who->id, &n, give_up, &lock_was,
                            strings);
}


int
lock_drop(zone_t *z, channel_t *c, person_t *who, const char *name,
    uint64_t token)
{
    fanout_zstr_t  n;

    n = str(name);

    return fanout_lock_drop(z, c, who ? who->ref : 0, who ? &who->id : NULL,
                            &n, token);
}


void
lock_text(const lock_t *lock, char *buf, size_t size)
{
    int  n;

    static const char  *reasons[] = {
        "", " (unlocked)", " (released)", " (left)", " (expired)", " (kicked)",
        " (broken)"
    };

    if (!lock->held) {
        snprintf(buf, size, "%.*s=-%s", (int) lock->name.len, lock->name.data,
                 reasons[lock->reason]);
        return;
    }

    n = snprintf(buf, size, "%.*s=%d:%.*s", (int) lock->name.len,
                 lock->name.data, (int) lock->client, (int) lock->user.len,
                 lock->user.data);

    if (lock->data.len) {
        n += snprintf(buf + n, size - n, " [%.*s]", (int) lock->data.len,
                      lock->data.data);
    }

    snprintf(buf + n, size - n, "%s", reasons[lock->reason]);
}


const char *
lock_told(zone_t *z, arena_t *a)
{
    int       rc;
    char     *p;
    lock_t    lock;
    uint32_t  i;

    p = text;
    *p = '\0';

    do {
        arena_reset(a);
        rc = fanout_log_drain(z, a);

        for (i = 0; i < a->n; i++) {
            if (a->entries[i].type == FANOUT_GAP && p < text + 65536) {
                p += sprintf(p, "%sGAP", p == text ? "" : ", ");
            }

            if (a->entries[i].type != FANOUT_LOCK
                || text + sizeof(text) - p < 2 * FANOUT_ZONE_LOCK_BUF)
            {
                continue;
            }

            p += sprintf(p, "%s", p == text ? "" : ", ");

            if (fanout_lock_parse(&a->entries[i].data, &lock) != 1) {
                p += sprintf(p, "BROKEN");
                continue;
            }

            lock_text(&lock, p, text + sizeof(text) - p);
            p += strlen(p);
        }

    } while (rc == AGAIN);

    return text;
}


const char *
lock_all(zone_t *z, channel_t *c, unsigned max, unsigned *calls)
{
    char      *p;
    uint64_t   cursor;
    unsigned   i, n;
    lock_t     locks[LIST];
    result_t   r;

    static uint8_t  buf[LIST * FANOUT_ZONE_LOCK_BUF];

    p = text;
    *p = '\0';
    cursor = 0;
    *calls = 0;

    do {
        if (fanout_lock_list(z, c, &cursor, locks, max, buf, sizeof(buf), &n,
                             &r)
            != OK)
        {
            return NULL;
        }

        (*calls)++;

        for (i = 0; i < n; i++) {
            p += sprintf(p, "%s", p == text ? "" : ", ");
            lock_text(&locks[i], p, text + sizeof(text) - p);
            p += strlen(p);
        }

    } while (cursor);

    return text;
}
