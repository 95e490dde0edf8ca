/*
 * A witness: what a backend knows by the events that it got.
 */


#include "zone_events.h"


#define w_want(w, e, cond)                                                    \
    if (!(w)->soft && !(cond)) {                                              \
        return w_fail(w, "event %llu, %02x of %llx (%d, %.20s): %s",          \
                      (unsigned long long) (e)->offset, (e)->events,          \
                      (unsigned long long) (e)->client, (e)->reason,          \
                      (e)->channel.len ? (const char *) (e)->channel.data     \
                                       : "", #cond);                          \
    }


int
w_fail(witness_t *w, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    vsnprintf(w->error, sizeof(w->error), fmt, ap);
    va_end(ap);

    return -1;
}


void
w_init(witness_t *w, uint8_t mask, const char *quiet)
{
    memset(w, 0, sizeof(*w));
    w->mask = mask;
    w->quiet = quiet;
    w->nusers = 1;                      /* none */
    w->max = 256;
    w->cl = calloc(w->max, sizeof(w_client_t));
}


void
w_free(witness_t *w)
{
    free(w->cl);
}


static w_client_t *
w_client(witness_t *w, uint64_t client)
{
    uint32_t     i, max;
    w_client_t  *old;

    if (w->n > w->max / 2) {
        old = w->cl;
        max = w->max;
        w->max *= 2;
        w->n = 0;
        w->cl = calloc(w->max, sizeof(w_client_t));

        for (i = 0; i < max; i++) {
            if (old[i].client) {
                *w_client(w, old[i].client) = old[i];
            }
        }

        free(old);
    }

    i = (client * 0x9e3779b97f4a7c15ULL) >> 32;

    for ( /* void */ ; w->cl[i & (w->max - 1)].client; i++) {
        if (w->cl[i & (w->max - 1)].client == client) {
            return &w->cl[i & (w->max - 1)];
        }
    }

    w->cl[i & (w->max - 1)].client = client;
    w->n++;

    return &w->cl[i & (w->max - 1)];
}


/* the number of a name; more than there are: the last one */

static unsigned
w_name(uint8_t names[][256], unsigned *n, unsigned max, const uint8_t *p,
    size_t len)
{
    unsigned  i;

    for (i = 0; i < *n; i++) {
        if (names[i][0] == len && memcmp(names[i] + 1, p, len) == 0) {
            return i;
        }
    }

    if (i == max) {
        return max - 1;
    }

    names[i][0] = len;
    memcpy(names[i] + 1, p, len);
    (*n)++;

    return i;
}


static unsigned
w_channel(witness_t *w, fanout_zstr_t s)
{
    return w_name(w->names, &w->nnames, W_CHANNELS, s.data, s.len);
}


static unsigned
w_user(witness_t *w, fanout_zstr_t s)
{
    return s.len ? w_name(w->users, &w->nusers, W_USERS, s.data, s.len) : 0;
}


static uint32_t
w_sum(uint32_t h, const void *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        h = (h ^ ((const uint8_t *) p)[i]) * 16777619;
    }

    return h;
}


uint32_t
w_event_sum(const event_t *e)
{
    uint32_t  h;

    h = w_sum(2166136261, &e->client, sizeof(e->client));
    h = w_sum(h, &e->events, 1);
    h = w_sum(h, &e->reason, 1);
    h = w_sum(h, e->resumed ? "r" : "n", 1);
    h = w_sum(h, e->channel.data, e->channel.len);
    h = w_sum(h, "", 1);

    return w_sum(h, e->user.data, e->user.len);
}


static int
w_connection(witness_t *w, const event_t *e)
{
    w_client_t  *c;

    c = w_client(w, e->client);
    w_want(w, e, e->channel.len == 0);

    if (e->events == E_CONNECT) {
        w_want(w, e, !c->connected && e->reason == 0);
        w_want(w, e, !w->replaced || e->resumed);
        w_want(w, e, !e->resumed || c->user == w_user(w, e->user));
        c->connected = 1;
        c->user = w_user(w, e->user);
        w->replaced = 0;
        return 0;
    }

    w_want(w, e, e->events == E_DISCONNECT && !e->resumed);
    w_want(w, e, c->connected && c->user == w_user(w, e->user));
    w_want(w, e, e->reason >= 1 && e->reason <= 6);
    c->connected = 0;

    if (e->reason == FANOUT_LEFT_REPLACED) {
        w->replaced = e->client;
    }

    return 0;
}


static int
w_seat(witness_t *w, const event_t *e)
{
    uint64_t     bit;
    uint32_t     all;
    unsigned     ch, u, i;
    w_client_t  *c;

    c = w_client(w, e->client);
    ch = w_channel(w, e->channel);
    u = w_user(w, e->user);
    bit = 1ULL << ch % 64;

    w_want(w, e, e->channel.len && !e->resumed && u == c->user);
    w_want(w, e, w->quiet == NULL || e->channel.len != strlen(w->quiet)
                 || memcmp(e->channel.data, w->quiet, e->channel.len) != 0);

    for (all = 0, i = 0; i < W_USERS; i++) {
        all += w->seats[ch][i];
    }

    if (e->events & E_JOIN) {
        w_want(w, e, !(e->events & (E_LEAVE|E_LAST_OUT|E_VACATED)));
        w_want(w, e, c->connected && !(c->joined[ch / 64] & bit));
        w_want(w, e, e->reason == 0);
        w_want(w, e, !!(e->events & E_OCCUPIED) == (all == 0));
        w_want(w, e, !!(e->events & E_FIRST_IN)
                     == (u && w->seats[ch][u] == 0));

        if (!(c->joined[ch / 64] & bit)) {
            c->joined[ch / 64] |= bit;
            w->seats[ch][u]++;
        }

        return 0;
    }

    w_want(w, e, !(e->events & (E_OCCUPIED|E_FIRST_IN)));
    w_want(w, e, e->reason >= 1 && e->reason <= 5);
    w_want(w, e, c->joined[ch / 64] & bit);
    w_want(w, e, !!(e->events & E_VACATED) == (all == 1));
    w_want(w, e, !!(e->events & E_LAST_OUT) == (u && w->seats[ch][u] == 1));

    if (c->joined[ch / 64] & bit) {
        c->joined[ch / 64] &= ~bit;
        w->seats[ch][u] -= w->seats[ch][u] != 0;
    }

    return 0;
}


int
w_event(witness_t *w, const event_t *e)
{
    uint32_t  sum;

    sum = w_event_sum(e);

    if (e->offset <= w->last) {
        if (e->offset <= w->done) {
            return w_fail(w, "event %llu was taken",
                          (unsigned long long) e->offset);
        }

        return w->ring[e->offset % W_RING] == sum ? 0
               : w_fail(w, "event %llu is another now",
                        (unsigned long long) e->offset);
    }

    if (e->offset != w->last + 1) {
        w->lost += e->offset - w->last - 1;
        w->soft = 1;
    }

    w->last = e->offset;
    w->ring[e->offset % W_RING] = sum;
    w->sum = w_sum(w->sum, &sum, sizeof(sum));
    w->read++;

    if (e->events == 0 || (e->events & ~w->mask) || e->time == 0) {
        return w_fail(w, "event %llu: %02x of %02x",
                      (unsigned long long) e->offset, e->events, w->mask);
    }

    if (w->mask != E_ALL) {
        return 0;
    }

    w_want(w, e, !w->replaced || e->client == w->replaced);

    switch (e->events & E_KINDS) {
    case E_CONNECT:
    case E_DISCONNECT:
        return w_connection(w, e);
    case E_JOIN:
    case E_LEAVE:
        return w_seat(w, e);
    default:
        return w_fail(w, "event %llu: %02x", (unsigned long long) e->offset,
                      e->events);
    }
}


int
w_read(witness_t *w, zone_t *z, unsigned max, size_t size, int take)
{
    int        rc;
    uint64_t   epoch, lost;
    unsigned   n, i;
    event_t    e[FANOUT_ZONE_EVENTS];

    static uint8_t  buf[FANOUT_ZONE_EVENTS * 510];

    rc = fanout_hook_queue_read(z, e, max, buf,
                                size < sizeof(buf) ? size : sizeof(buf), &n,
                                &epoch, &lost);

    if (n == 0) {
        return rc == OK ? OK : (w_fail(w, "none was read: %d", rc), -2);
    }

    if (w->epoch && w->epoch != epoch) {
        (void) w_fail(w, "another epoch");
        return -2;
    }

    w->epoch = epoch;

    if (lost != e[n - 1].offset - w->done - n) {
        (void) w_fail(w, "%llu lost up to %llu", (unsigned long long) lost,
                      (unsigned long long) e[n - 1].offset);
        return -2;
    }

    for (i = 0; i < n; i++) {
        if (w_event(w, &e[i]) != 0) {
            return -2;
        }
    }

    if (take) {
        fanout_hook_queue_done(z, epoch, e[n - 1].offset);
        w->done = e[n - 1].offset;
    }

    return rc;
}


int
w_read_all(witness_t *w, zone_t *z)
{
    int     rc;
    stat_t  st;

    do {
        rc = w_read(w, z, 64, 100000, 1);
    } while (rc == AGAIN);

    if (rc == -2) {
        return -1;
    }

    fanout_zone_stat(z, &st);

    /* what was read and not taken may have been lost later */

    if (w->mask && (st.nevents || fanout_hook_queue_any(z)
                    || w->read + st.events_lost < z->shm->event_offset
                    || w->lost + (z->shm->event_offset - w->last)
                       > st.events_lost))
    {
        return w_fail(w, "%llu read, %llu lost of %llu",
                      (unsigned long long) w->read,
                      (unsigned long long) st.events_lost,
                      (unsigned long long) z->shm->event_offset);
    }

    if (z->shm->event_offset != w->last) {
        w->soft = 1;
    }

    return 0;
}


/* What is of a client, in place of what was told. */

static void
w_look(witness_t *w, zone_t *z, uint64_t client, w_client_t *is)
{
    uint8_t    names[16][256], lens[16];
    uint8_t    buf[255 + FANOUT_ZONE_INFO];
    unsigned   n, i, ch;
    uint32_t   cursor;

    fanout_zone_client_t  info;

    memset(is, 0, sizeof(*is));
    is->client = client;

    if (fanout_client_get(z, client, &info, buf) != OK) {
        return;
    }

    is->connected = info.pid != 0;
    is->user = w_user(w, info.user);
    cursor = 0;

    do {
        if (fanout_client_channels(z, client, &cursor, names, lens, 16,
                                   &n) != OK)
        {
            return;
        }

        for (i = 0; i < n; i++) {
            if (w->quiet == NULL || lens[i] != strlen(w->quiet)
                || memcmp(names[i], w->quiet, lens[i]) != 0)
            {
                ch = w_channel(w, zstr(names[i], lens[i]));
                is->joined[ch / 64] |= 1ULL << ch % 64;
            }
        }

    } while (cursor);
}


int
w_true(witness_t *w, zone_t *z)
{
    uint32_t    i, clients;
    stat_t      st;
    w_client_t  is, *c;

    if (w->soft || w->mask != E_ALL) {
        return 0;
    }

    clients = 0;

    for (i = 0; i < w->max; i++) {
        c = &w->cl[i];

        if (c->client == 0) {
            continue;
        }

        w_look(w, z, c->client, &is);
        clients += is.connected;

        if (is.connected != c->connected
            || memcmp(is.joined, c->joined, sizeof(is.joined)) != 0)
        {
            return w_fail(w, "client %llx: told %d, %llx%016llx; is %d, %llx"
                          "%016llx", (unsigned long long) c->client,
                          c->connected, (unsigned long long) c->joined[1],
                          (unsigned long long) c->joined[0], is.connected,
                          (unsigned long long) is.joined[1],
                          (unsigned long long) is.joined[0]);
        }
    }

    fanout_zone_stat(z, &st);

    return clients <= st.nidentities - st.lingering ? 0
           : w_fail(w, "%u clients, not %llu", clients,
                    (unsigned long long) (st.nidentities - st.lingering));
}


void
w_forget(witness_t *w)
{
    memset(w->cl, 0, w->max * sizeof(w_client_t));
    memset(w->seats, 0, sizeof(w->seats));
    w->n = 0;
    w->soft = 0;
    w->replaced = 0;
}


void
w_learn(witness_t *w, zone_t *z, uint64_t client)
{
    unsigned    ch;
    w_client_t  is;

    w_look(w, z, client, &is);
    *w_client(w, client) = is;

    for (ch = 0; ch < W_CHANNELS; ch++) {
        w->seats[ch][is.user] += is.joined[ch / 64] >> ch % 64 & 1;
    }
}
