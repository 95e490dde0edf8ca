/*
 * Clients, seats and mirrors.
 */


#include "zone_presence.h"


int
person_add(zone_t *z, person_t *p, uint64_t client, const char *user,
    const char *info, uint32_t max)
{
    fanout_zstr_t  u, i;

    memset(p, 0, sizeof(*p));
    p->id.client = client;
    p->id.address = client & 7;
    p->id.user = user[0] ? fanout_zone_hash(z, user, strlen(user))
                         : 0;
    data_fill(p->id.secret, client, 16);

    u = zstr(user, strlen(user));
    i = zstr(info, strlen(info));

    return fanout_identity_add(z, &p->id, &u, &i, max, &p->ref);
}


int
person_sit(zone_t *z, channel_t *c, person_t *p)
{
    return fanout_seat_open(z, c, p->ref, &p->id);
}


int
person_put(zone_t *z, channel_t *c, person_t *p, const char *key,
    const char *data, unsigned what, put_t *r)
{
    put_t     own;
    member_t  m;

    memset(&m, 0, sizeof(m));
    m.key = zstr(key, strlen(key));
    m.data = zstr(data, strlen(data));

    return fanout_member_put(z, c, p->ref, &p->id, &m, what, r ? r : &own);
}


int
person_drop(zone_t *z, channel_t *c, person_t *p, const char *key)
{
    fanout_zstr_t  k;

    k = zstr(key, strlen(key));

    return fanout_member_drop(z, c, p->ref, &p->id, &k,
                              FANOUT_LEFT_INTENTIONAL);
}


void
person_end(zone_t *z, person_t *p, uint32_t linger)
{
    fanout_identity_end(z, p->ref, &p->id, linger,
                        1, linger ? FANOUT_LEFT_NETWORK
                                  : FANOUT_LEFT_INTENTIONAL);
}


void
person_goes(zone_t *z, person_t *p, uint32_t linger)
{
    fanout_identity_end(z, p->ref, &p->id, linger,
                        1, FANOUT_LEFT_INTENTIONAL);
}


int
person_renew(zone_t *z, person_t *p, const char *info)
{
    fanout_zstr_t  i;

    i = zstr(info, strlen(info));

    return fanout_identity_renew(z, p->ref, &p->id, &i);
}


int
person_resume(zone_t *z, person_t *p)
{
    int       rc;
    uint8_t   next[16];

    rc = fanout_identity_resume(z, &p->id, 0, next, &p->ref);

    if (rc == OK) {
        memcpy(p->id.secret, next, 16);
    }

    return rc;
}


__attribute__((format(printf, 2, 3)))
static int
mirror_fail(mirror_t *m, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    vsnprintf(m->error, sizeof(m->error), fmt, ap);
    va_end(ap);

    return -1;
}


uint32_t
sum(fanout_zstr_t s)
{
    uint32_t  i, h;

    h = 2166136261;

    for (i = 0; i < s.len; i++) {
        h = (h ^ s.data[i]) * 16777619;
    }

    return h ^ s.len;
}


void
mirror_forget(mirror_t *m)
{
    held_t  *h;

    while ((h = m->held) != NULL) {
        m->held = h->next;
        free(h);
    }

    memset(m->faces, 0, m->max * sizeof(face_t));
    m->n = m->count = 0;
    m->held_last = &m->held;
    m->state = MIRROR_LOST;
    m->soft = 0;
}


void
mirror_init(mirror_t *m)
{
    memset(m, 0, sizeof(*m));
    m->max = 64;
    m->faces = calloc(m->max, sizeof(face_t));
    m->held_last = &m->held;
}


void
mirror_done(mirror_t *m)
{
    mirror_forget(m);
    free(m->faces);
}


static face_t *
mirror_face(mirror_t *m, uint32_t slot)
{
    uint32_t  max;

    max = m->max;

    while (slot >= m->max) {
        m->max *= 2;
    }

    if (m->max != max) {
        m->faces = realloc(m->faces, m->max * sizeof(face_t));
        memset(m->faces + max, 0, (m->max - max) * sizeof(face_t));
    }

    return &m->faces[slot];
}


static int
face_of(mirror_t *m, face_t *f, const member_t *e)
{
    return f->there && f->client == e->client && f->key == sum(e->key);
}


static void
face_set(mirror_t *m, const member_t *e)
{
    face_t  *f;

    f = mirror_face(m, e->slot);
    m->n += !f->there;

    f->there = 1;
    f->client = e->client;
    f->joined_at = e->joined_at;
    f->key = sum(e->key);
    f->user = sum(e->user);
    f->info = sum(e->info);
    f->data = sum(e->data);
    f->idle = e->idle;
    f->anonymous = e->anonymous;
}


/* soft: it may be what was read */

static int
mirror_change(mirror_t *m, const member_t *e, uint64_t offset, int soft)
{
    face_t    *f;
    uint32_t   i;

    m->changes++;

    if (e->change == COUNTED) {
        m->count = e->count;
        return 0;
    }

    f = mirror_face(m, e->slot);

    switch (e->change) {

    case JOINED:
        for (i = 0; !soft && m->max <= 512 && i < m->max; i++) {
            if (face_of(m, &m->faces[i], e)) {
                return mirror_fail(m, "%llu in slot %u joined at %llu, and is"
                                   " in slot %u", (unsigned long long)
                                   e->client, e->slot,
                                   (unsigned long long) offset, i);
            }
        }

        if (!soft && f->there) {
            return mirror_fail(m, "%llu joined at %llu in slot %u of %llu",
                               (unsigned long long) e->client,
                               (unsigned long long) offset, e->slot,
                               (unsigned long long) f->client);
        }

        face_set(m, e);
        break;

    case UPDATED:
        if (!soft && !face_of(m, f, e)) {
            return mirror_fail(m, "%llu updated at %llu, not in slot %u",
                               (unsigned long long) e->client,
                               (unsigned long long) offset, e->slot);
        }

        face_set(m, e);
        break;

    case LEFT:
        if (!soft && !face_of(m, f, e)) {
            return mirror_fail(m, "%llu left at %llu, not in slot %u",
                               (unsigned long long) e->client,
                               (unsigned long long) offset, e->slot);
        }

        if (f->there) {
            f->there = 0;
            m->n--;
        }

        break;
    }

    return 0;
}


static int
mirror_apply(mirror_t *m, uint64_t offset, const uint8_t *data, uint32_t len)
{
    int             rc;
    member_t        e;
    const uint8_t  *p;

    p = data;

    while ((rc = fanout_change_next(&p, data + len, &e)) == 1) {
        if (mirror_change(m, &e, offset, offset <= m->soft) != 0) {
            return -1;
        }
    }

    m->offset = offset;

    return rc == 0 ? 0 : mirror_fail(m, "no changes at %llu",
                                     (unsigned long long) offset);
}


static void
mirror_hold(mirror_t *m, const entry_t *e)
{
    held_t  *h;

    h = malloc(sizeof(held_t) + e->data.len);
    h->next = NULL;
    h->offset = e->offset;
    h->len = e->data.len;
    memcpy(h->data, e->data.data, e->data.len);

    *m->held_last = h;
    m->held_last = &h->next;
}


/* where in the log it is */

static int
mirror_follow(mirror_t *m, const entry_t *e)
{
    uint64_t  was;

    was = m->at;

    if (e->type == FANOUT_RESET) {
        m->at_epoch = e->epoch;
        m->at = 0;
        m->follows = 1;
        return 0;
    }

    if (e->type == FANOUT_GAP) {
        m->gaps++;

        if (m->follows && e->epoch == m->at_epoch
            && (e->from > was || e->offset <= was))
        {
            return mirror_fail(m, "a gap from %llu to %llu after %llu",
                               (unsigned long long) e->from,
                               (unsigned long long) e->offset,
                               (unsigned long long) was);
        }

    } else if (m->follows
               && (e->epoch != m->at_epoch || e->offset != was + 1))
    {
        return mirror_fail(m, "offset %llu after %llu%s",
                           (unsigned long long) e->offset,
                           (unsigned long long) was,
                           e->epoch == m->at_epoch ? "" : ", another epoch");
    }

    m->at_epoch = e->epoch;
    m->at = e->offset;
    m->follows = 1;

    return 0;
}


int
mirror_entry(mirror_t *m, const entry_t *e)
{
    if (mirror_follow(m, e) != 0) {
        return -1;
    }

    switch (e->type) {

    case FANOUT_GAP:
        mirror_forget(m);
        return 0;

    case FANOUT_RESET:

        /* of what was lost before it there is no word */

        mirror_forget(m);
        return 0;

    case FANOUT_PRESENCE:

        if (m->state == MIRROR_LOST || e->epoch < m->epoch
            || e->offset <= m->offset)
        {
            return 0;
        }

        if (m->state == MIRROR_LOADING) {
            mirror_hold(m, e);
            return 0;
        }

        return mirror_apply(m, e->offset, e->data.data, e->data.len);
    }

    return 0;
}


int
mirror_load(mirror_t *m, zone_t *z, channel_t *c, unsigned max)
{
    int              rc;
    held_t          *h;
    uint64_t         after;
    unsigned         i, n;
    member_t         members[FANOUT_ZONE_ENTRIES + 1];
    presence_t       presence;
    static uint8_t   buf[SECTION];

    if (m->state == MIRROR_LOST) {
        mirror_forget(m);
        m->slot = 0;
        m->loads++;
    }

    rc = fanout_presence_read(z, c, &m->slot, members, max, buf,
                              SECTION, &n, &presence);

    if (rc != OK) {
        return mirror_fail(m, "read: %d", rc);
    }

    if (m->state == MIRROR_LOADING && presence.epoch != m->epoch) {
        mirror_forget(m);
        return 0;
    }

    m->sections++;

    if (m->state == MIRROR_LOST) {
        m->epoch = presence.epoch;
        m->offset = presence.offset;
        m->state = MIRROR_LOADING;
    }

    for (i = 0; i < n; i++) {
        if (mirror_face(m, members[i].slot)->there) {
            return mirror_fail(m, "slot %u read twice", members[i].slot);
        }

        face_set(m, &members[i]);
    }

    if (m->slot != UINT32_MAX) {
        return 0;
    }

    if (presence.presence == FANOUT_PRESENCE_SUMMARY) {
        m->count = presence.members;
    }

    /* now what was told meanwhile */

    after = m->offset;
    m->soft = presence.offset;
    m->state = MIRROR_KNOWN;

    while ((h = m->held) != NULL) {
        m->held = h->next;
        rc = h->offset > after
             ? mirror_apply(m, h->offset, h->data, h->len) : 0;
        free(h);

        if (rc) {
            return -1;
        }
    }

    m->held_last = &m->held;

    return 1;
}


int
mirror_read(mirror_t *m, zone_t *z, channel_t *c)
{
    int  rc;

    mirror_forget(m);

    do {
        rc = mirror_load(m, z, c, FANOUT_ZONE_ENTRIES);
    } while (rc == 0);

    return rc == 1 ? 0 : -1;
}


int
mirror_same(mirror_t *m, mirror_t *o, int exact)
{
    face_t    *a, *b;
    uint32_t   i;

    if (m->n != o->n) {
        return mirror_fail(m, "%u members, not %u", m->n, o->n);
    }

    for (i = 0; i < m->max; i++) {
        a = &m->faces[i];

        if (!a->there) {
            continue;
        }

        b = mirror_face(o, i);

        if (!b->there || a->client != b->client || a->key != b->key
            || a->joined_at != b->joined_at)
        {
            return mirror_fail(m, "slot %u: %llu, not %llu", i,
                               (unsigned long long) a->client,
                               (unsigned long long)
                               (b->there ? b->client : 0));
        }

        if (exact && (a->data != b->data || a->user != b->user
                      || a->info != b->info || a->idle != b->idle
                      || a->anonymous != b->anonymous))
        {
            return mirror_fail(m, "slot %u: another %s", i,
                               a->data != b->data ? "data"
                               : a->idle != b->idle ? "state" : "user");
        }
    }

    return 0;
}


int
flush_all(zone_t *z)
{
    int       n;
    uint32_t  ms;

    for (n = 0; n < 100000; n++) {
        ms = fanout_presence_flush(z);

        if (ms == UINT32_MAX) {
            return n;
        }

        fanout_test_msec += ms;
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
    }

    return -1;
}
