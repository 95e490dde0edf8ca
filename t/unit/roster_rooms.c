/*
 * Channels and members, and what src/hub/roster.c uses of other rooms.
 */


#include "hub/entry_json.h"
#include "roster_rooms.h"


room_t       rooms[ROOMS];
uint64_t     own;
unsigned     reads, parts;
char         error[256];

const char  *room_keys[KEYS] = { "", "k", "kk", "l" };


unsigned
draw(unsigned n)
{
    return (rnd(&own) >> 32) % n;
}


int
wrong(const char *fmt, ...)
{
    va_list  args;

    if (error[0] == '\0') {
        va_start(args, fmt);
        vsnprintf(error, sizeof(error), fmt, args);
        va_end(args);
    }

    return -1;
}


/* far apart, and both sides of the sign */

uint64_t
client_of(const seat_t *s)
{
    return (s->client + 1) * 0x1500000000000001ULL;
}


static void
member_of(fanout_member_t *m, const seat_t *s, uint32_t slot)
{
    memset(m, 0, sizeof(fanout_member_t));
    m->client = client_of(s);
    m->slot = slot;
    m->key.data = s->key ? (const uint8_t *) room_keys[s->key] : NULL;
    m->key.len = strlen(room_keys[s->key]);
    m->idle = s->idle;
    m->seen = s->data;
}


/* who a member is, in bytes: some are longer than a chunk, some nobody */

static size_t
who_of(uint64_t data)
{
    return data % 97 == 0 ? 1500 : data % 50;
}


/* the JSON of a member */

size_t
say(char *text, uint64_t client, uint32_t slot, uint64_t data, int unnamed)
{
    size_t  n, fill;

    fill = unnamed ? 0 : who_of(data);
    n = sprintf(text, "{%llx@%u:%llu", (unsigned long long) client, slot,
                (unsigned long long) data);
    memset(text + n, 'x', fill);
    strcpy(text + n + fill, "}");

    return n + fill + 1;
}


size_t
say_all(char *text, const state_t *s, int unnamed)
{
    size_t    n;
    uint32_t  i;

    text[0] = '\0';

    for (n = 0, i = 0; i < SEATS; i++) {
        if (s->seats[i].there) {
            n += sprintf(text + n, "%s", n ? "," : "");
            n += say(text + n, client_of(&s->seats[i]), i, s->seats[i].data,
                     unnamed);
        }
    }

    return n;
}


/* what roster.c uses of other rooms */

ngx_int_t
fanout_member_json(fanout_hub_t *h, fanout_member_t *m, ngx_uint_t left,
    fanout_outbuf_t *f, fanout_member_parts_t *parts)
{
    char    text[2048];
    size_t  n;

    n = say(text, m->client, m->slot, m->seen, 0);

    parts->data = 1;
    parts->who_len = who_of(m->seen);
    parts->who = n - 1 - parts->who_len;

    return fanout_outbuf_append(h, f, text, n);
}


int
fanout_change_next(const uint8_t **p, const uint8_t *last, fanout_member_t *m)
{
    change_t  c;

    if (*p == last) {
        return 0;
    }

    memcpy(&c, *p, sizeof(change_t));
    *p += sizeof(change_t);

    member_of(m, &c.seat, c.slot);
    m->change = c.change;
    m->count = c.count;

    return 1;
}


/* the zone as it is now, which may be ahead of what was delivered */

int
fanout_presence_read(fanout_zone_t *z, fanout_zone_channel_t *c,
    uint32_t *slot, fanout_member_t *members, unsigned max, uint8_t *buf,
    size_t size, unsigned *n, fanout_presence_info_t *info)
{
    room_t    *room;
    unsigned   most;
    uint32_t   i;

    for (room = rooms; &room->ch.zc != c; room++) { /* void */ }

    reads++;
    most = 1 + draw(8);
    *n = 0;

    info->epoch = room->epoch;
    info->offset = room->offset;
    info->members = room->zone.n;
    info->presence = room->policy.keep.presence;

    if (info->presence == FANOUT_PRESENCE_SUMMARY) {
        return FANOUT_ZONE_OK;
    }

    for (i = *slot; i < SEATS; i++) {
        if (!room->zone.seats[i].there) {
            continue;
        }

        if (*n == most) {
            *slot = i;
            parts++;
            return FANOUT_ZONE_OK;
        }

        member_of(&members[(*n)++], &room->zone.seats[i], i);
    }

    *slot = UINT32_MAX;

    return FANOUT_ZONE_OK;
}


/* the zone: members come and go, which is told by an entry */

static told_t *
append(room_t *room, uint8_t type)
{
    told_t  *t;

    if (room->nlog == LOG) {
        return NULL;
    }

    t = &room->log[room->nlog++];
    memset(t, 0, sizeof(told_t));
    t->e.type = type;
    t->e.epoch = room->epoch;
    t->e.offset = ++room->offset;
    t->e.seq = room->nlog;

    return t;
}


static void
change(room_t *room, change_t *c, uint8_t what)
{
    seat_t    s;
    uint32_t  i, j;

    memset(c, 0, sizeof(change_t));

    i = draw(SEATS);

    if (what == FANOUT_JOINED) {
        memset(&s, 0, sizeof(s));
        s.there = 1;
        s.client = draw(CLIENTS);
        s.key = draw(KEYS);

        for (j = 0; j < SEATS; j++) {
            if (room->zone.seats[j].there
                && room->zone.seats[j].client == s.client
                && room->zone.seats[j].key == s.key)
            {
                /* it is there: an update, in its place */
                i = j;
                what = FANOUT_UPDATED;
                break;
            }
        }

        for (j = 0; what == FANOUT_JOINED && room->zone.seats[i].there; j++) {
            i = (i + 1) % SEATS;

            if (j == SEATS) {
                return;
            }
        }

        room->zone.n += what == FANOUT_JOINED;
        s.idle = draw(2);
        s.data = draw(1000);
        room->zone.seats[i] = s;

    } else {

        for (j = 0; !room->zone.seats[i].there; j++) {
            i = (i + 1) % SEATS;

            if (j == SEATS) {
                return;
            }
        }

        room->zone.seats[i].there = 0;
        room->zone.n--;
    }

    c->change = what;
    c->slot = i;
    c->seat = room->zone.seats[i];
}


void
room_change(room_t *room)
{
    told_t      *t;
    ngx_uint_t   i, n;

    if (room->zone.n == 0 && draw(8) == 0) {
        /* it is kept in another way when all have left */
        room->policy.keep.presence =
            room->policy.keep.presence == FANOUT_PRESENCE_ON
            ? FANOUT_PRESENCE_SUMMARY : FANOUT_PRESENCE_ON;
    }

    t = append(room, FANOUT_PRESENCE);
    if (t == NULL) {
        return;
    }

    n = 1 + draw(CHANGES);

    for (i = 0; i < n; i++) {
        change(room, &t->changes[t->nchanges],
               draw(5) < 3 ? FANOUT_JOINED : FANOUT_LEFT);
        t->nchanges += t->changes[t->nchanges].change != 0;
    }

    if (room->policy.keep.presence == FANOUT_PRESENCE_SUMMARY) {
        t->nchanges = 1;
        memset(&t->changes[0], 0, sizeof(change_t));
        t->changes[0].change = FANOUT_COUNTED;
        t->changes[0].count = room->zone.n;
    }

    t->e.data.data = (const uint8_t *) t->changes;
    t->e.data.len = t->nchanges * sizeof(change_t);
    t->after = room->zone;
}


void
room_append(room_t *room, uint8_t type)
{
    told_t  *t;

    if (type == FANOUT_RESET && room->nlog < LOG) {
        room->epoch++;
        room->offset = (uint64_t) -1;
    }

    t = append(room, type);

    if (t) {
        t->after = room->zone;
    }
}


int
list_is(fanout_snapshot_t *sn, const char *text)
{
    size_t              at;
    uint32_t            i;
    fanout_chunk_t     *c;

    if (sn->outbuf->used != strlen(text)
        || memcmp(sn->outbuf->data, text, strlen(text)) != 0)
    {
        return wrong("a list is %.*s", (int) ngx_min(sn->outbuf->used, 200),
                     (char *) sn->outbuf->data);
    }

    for (at = 0, i = 0; i < sn->nchunks; i++) {
        c = &sn->chunks[i];

        if (c->start != at || c->end <= c->start
            || (c->end - c->start > FANOUT_CHUNK
                && memchr(text + c->start + 1, '{', c->end - c->start - 1)))
        {
            return wrong("chunk %u from %u to %u", i, c->start, c->end);
        }

        at = c->end + 1;
    }

    return at == strlen(text) + (sn->nchunks != 0)
           ? 0 : wrong("chunks end at %zu", at);
}


int
room_backlog(room_t *room, int scarce)
{
    size_t                      bytes, size;
    uint64_t                    after;
    ngx_uint_t                  i;
    fanout_roster_t            *r;
    fanout_presence_backlog_t  *e;

    r = room->ch.roster;
    after = room->ch.offset ? draw(room->ch.offset + 1) : 0;
    e = fanout_roster_backlog(r, after);
    bytes = 0;

    for (i = room->first; i < room->delivered; i++) {
        if (room->log[i].e.type != FANOUT_PRESENCE
            || room->log[i].e.offset <= ngx_max(after, r->lost))
        {
            continue;
        }

        if (e == NULL || e->entry.offset != room->log[i].e.offset
            || e->entry.seq != room->log[i].e.seq
            || e->entry.epoch != room->log[i].e.epoch
            || e->entry.data.len != room->log[i].e.data.len
            || memcmp(e->entry.data.data, room->log[i].e.data.data,
                      e->entry.data.len) != 0)
        {
            return wrong("entry %llu is not kept after %llu, lost %llu",
                         (unsigned long long) room->log[i].e.offset,
                         (unsigned long long) after,
                         (unsigned long long) r->lost);
        }

        e = fanout_roster_later(r, e);
    }

    if (e) {
        return wrong("an entry more");
    }

    if (r->recent_bytes > room->policy.changes) {
        return wrong("%zu bytes are kept", r->recent_bytes);
    }

    /* nothing is dropped that could stay */

    for (i = room->delivered; i > room->first; i--) {
        if (room->log[i - 1].e.type != FANOUT_PRESENCE) {
            continue;
        }

        size = sizeof(fanout_presence_backlog_t) + room->log[i - 1].e.data.len;
        bytes += size;

        if (bytes > room->policy.changes
            || ngx_current_msec - room->log[i - 1].at >= FANOUT_RECENT_AGE)
        {
            break;
        }

        if (room->log[i - 1].e.offset <= r->lost && !scarce)
        {
            return wrong("entry %llu is lost, though there was room",
                         (unsigned long long) room->log[i - 1].e.offset);
        }
    }

    return 0;
}
