/*
 * A model of who is on which channel, and random operations on it and a zone
 * by several workers in one process.  Each has a mirror of the members of each
 * channel it reads, kept by what it drains alone.  A seed, or the input of a
 * fuzzer, replays all of it.
 *
 * In a small zone lingering clients may be evicted: the model then asks.
 */


#ifndef _ZONE_ROOM_MODEL_H_INCLUDED_
#define _ZONE_ROOM_MODEL_H_INCLUDED_


#include "zone_room.h"


#define R_HANDLES    5
#define R_CHANNELS   6
#define R_SUMMARY    5                  /* the channel that only counts */
#define R_CLIENTS    24
#define R_USERS      4
#define R_KEYS       4
#define R_ORDERS     256
#define R_STONES     2000

/* where a client is, if not at a handle */
#define R_NONE       -1
#define R_LINGERS    -2
#define R_ORPHAN     -3                 /* its worker died */

#define R_LIVE       1
#define R_CUT        2

typedef struct {
    uint32_t             data;          /* seed */
    uint32_t             len;
    uint8_t              there;
    uint8_t              idle;
    uint8_t              anonymous;
} r_member_t;

typedef struct {
    uint8_t              state;         /* 0, R_LIVE, R_CUT */
    uint8_t              counted;
    uint32_t             due;
    r_member_t           m[R_KEYS];
} r_seat_t;

typedef struct {
    person_t             p;
    int                  where;
    unsigned             user;
    uint32_t             expires;
    r_seat_t             seat[R_CHANNELS];
    person_t             old;           /* as somebody had it before */
    int                  old_at;        /* his handle + 1 */
} r_client_t;

typedef struct {
    zone_t               z;
    int                  alive;
    int                  stopped;
    channel_t            c[R_CHANNELS];
    mirror_t             mirror[R_CHANNELS];
    order_t              orders[R_ORDERS];
    uint32_t             norders;
} r_handle_t;

typedef struct {
    r_handle_t           h[R_HANDLES];
    r_client_t           cl[R_CLIENTS];
    policy_t             policy[R_CHANNELS];
    char                 names[R_CHANNELS][300];
    uint64_t             clients;
    uint32_t             steps;
    uint32_t             seeds;
    uint32_t             full;          /* answers */
    uint32_t             gaps;
    uint32_t             changes;
    uint32_t             kills;
    uint32_t             settled;
    zone_t               stone;         /* a worker who fills the zone */
    person_t             stones[R_STONES];
    uint32_t             nstones;
    int                  pressure;
    uint32_t             linger;        /* ms, of all identities */
    void                *mem;
    size_t               size;
    arena_t              a;
    uint32_t           (*next)(void *data);
    void                *data;
    char                 error[512];
} rmodel_t;


static const char  *r_users[R_USERS] = {
    "", "ann", "bob",
    "a user whose name is so long that it does not fit into one block"
};

static const char  *r_keys[R_KEYS] = { "", "k", "tab-2",
                                       "a key of more than sixteen bytes" };


#define r_want(m, cond, ...)                                                  \
    if (!(cond)) {                                                            \
        r_fail(m, __LINE__, #cond, __VA_ARGS__);                              \
        return -1;                                                            \
    }

#define r_pass(call)                                                          \
    if (call) {                                                               \
        return -1;                                                            \
    }


__attribute__((format(printf, 4, 5)))
util_fn void
r_fail(rmodel_t *m, int line, const char *cond, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    n = snprintf(m->error, sizeof(m->error), "step %u, line %d: %s: ",
                 m->steps, line, cond);
    va_start(ap, fmt);
    vsnprintf(m->error + n, sizeof(m->error) - n, fmt, ap);
    va_end(ap);
}


util_fn uint32_t
r_draw(rmodel_t *m, uint32_t n)
{
    return m->next(m->data) % n;
}


/* workers */

util_fn void
r_attach(rmodel_t *m, unsigned h)
{
    unsigned     i;
    r_handle_t  *w;

    w = &m->h[h];
    (void) ngx_http_fanout_zone_attach(&w->z, m->mem, m->size);

    for (i = 0; i < R_CHANNELS; i++) {
        w->c[i] = view(&w->z, m->names[i], &m->policy[i]);
        mirror_forget(&w->mirror[i]);
        w->mirror[i].follows = 0;
    }

    w->norders = 0;
    w->stopped = 0;
}


util_fn int
r_claim(rmodel_t *m, unsigned h)
{
    r_attach(m, h);
    m->h[h].alive = ngx_http_fanout_slot_claim(&m->h[h].z, h + 1) == OK;

    return m->h[h].alive;
}


util_fn void
r_init(rmodel_t *m, void *mem, size_t size)
{
    unsigned  h, i;

    m->mem = mem;
    m->size = size;
    arena_init(&m->a);
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    m->linger = r_draw(m, 30) * 700;

    for (i = 0; i < R_CHANNELS; i++) {
        snprintf(m->names[i], 300, "channel %u", i);

        if (i == 4) {
            memset(m->names[i] + 9, 'x', 200);
        }

        m->policy[i].history = i % 2 ? 20 : 0;
        m->policy[i].presence = i == R_SUMMARY
                                ? NGX_HTTP_FANOUT_PRESENCE_SUMMARY
                                : NGX_HTTP_FANOUT_PRESENCE_ON;
        m->policy[i].linger = i * 3;
        m->policy[i].batch = i * 70;
    }

    for (i = 0; i < R_CLIENTS; i++) {
        m->cl[i].where = R_NONE;
    }

    for (h = 0; h < R_HANDLES; h++) {
        for (i = 0; i < R_CHANNELS; i++) {
            mirror_init(&m->h[h].mirror[i]);
        }

        (void) r_claim(m, h);
    }

    (void) ngx_http_fanout_zone_attach(&m->stone, mem, size);
    (void) ngx_http_fanout_slot_claim(&m->stone, 99);
}


util_fn void
r_done(rmodel_t *m)
{
    unsigned  h, i;

    ngx_http_fanout_slot_release(&m->stone);

    for (h = 0; h < R_HANDLES; h++) {
        if (m->h[h].alive) {
            ngx_http_fanout_slot_release(&m->h[h].z);
        }

        for (i = 0; i < R_CHANNELS; i++) {
            mirror_done(&m->h[h].mirror[i]);
        }
    }

    arena_done(&m->a);
}


/* one that is alive; there always is one */

util_fn unsigned
r_worker(rmodel_t *m)
{
    unsigned  h;

    for (h = r_draw(m, R_HANDLES); !m->h[h].alive; h = (h + 1) % R_HANDLES) {
        /* void */
    }

    return h;
}


/* clients in the model */

util_fn void
r_gone(r_client_t *cl)
{
    cl->where = R_NONE;
    memset(cl->seat, 0, sizeof(cl->seat));
}


util_fn void
r_cut(rmodel_t *m, r_client_t *cl, uint32_t linger)
{
    unsigned  i;

    if (linger == 0) {
        r_gone(cl);
        return;
    }

    cl->where = R_LINGERS;
    cl->expires = fanout_test_seconds + (linger + 999) / 1000;

    for (i = 0; i < R_CHANNELS; i++) {
        if (cl->seat[i].state != R_LIVE) {
            continue;
        }

        if (m->policy[i].linger == 0) {
            memset(&cl->seat[i], 0, sizeof(r_seat_t));
            continue;
        }

        cl->seat[i].state = R_CUT;
        cl->seat[i].due = fanout_test_seconds + m->policy[i].linger + 1;
    }
}


util_fn uint32_t
r_members(rmodel_t *m, unsigned i)
{
    uint32_t   n;
    unsigned   c, k;
    r_seat_t  *s;

    for (n = 0, c = 0; c < R_CLIENTS; c++) {
        s = &m->cl[c].seat[i];
        n += s->counted;

        for (k = 0; k < R_KEYS; k++) {
            n += s->m[k].there;
        }
    }

    return n;
}


/* What pressure has taken, the model did not see. */

util_fn int
r_ask(rmodel_t *m)
{
    int         rc, h;
    unsigned    i, c;
    client_t    info;
    member_t    got;
    uint8_t     buf[NGX_HTTP_FANOUT_ZONE_MEMBER_BUF];

    h = r_worker(m);

    for (c = 0; c < R_CLIENTS; c++) {
        if (m->cl[c].where == R_NONE) {
            continue;
        }

        rc = ngx_http_fanout_client_get(&m->h[h].z, m->cl[c].p.id.client,
                                        &info, buf);

        if (rc == NOTFOUND) {
            r_want(m, m->pressure && m->cl[c].where == R_LINGERS,
                   "client %u is gone", c);
            r_gone(&m->cl[c]);
            continue;
        }

        r_want(m, rc == OK, "client_get: %d", rc);
        r_want(m, (info.pid != 0) == (m->cl[c].where != R_LINGERS),
               "client %u: pid %u", c, info.pid);
        r_want(m, info.user.len == strlen(r_users[m->cl[c].user]),
               "client %u: user", c);

        /* an eviction that was not done to the end */

        for (i = 0; m->pressure && i < R_CHANNELS; i++) {
            if (m->cl[c].seat[i].state == R_CUT) {
                (void) got;
            }
        }

        for (i = 0, rc = 0; i < R_CHANNELS; i++) {
            rc += m->cl[c].seat[i].state != 0;
        }

        r_want(m, (int) info.seats == rc, "client %u: %u seats, not %d", c,
               info.seats, rc);
    }

    return 0;
}


/* operations */

util_fn int
r_add(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    uint32_t  max, n;
    unsigned  h, c;

    h = r_worker(m);
    cl->user = r_draw(m, R_USERS);
    max = r_draw(m, 3) ? 0 : 4;

    if (m->pressure) {
        r_pass(r_ask(m));
    }

    for (n = 0, c = 0; c < R_CLIENTS; c++) {
        n += m->cl[c].where != R_NONE && m->cl[c].user == cl->user;
    }

    rc = person_add(&m->h[h].z, &cl->p, ++m->clients * 0x10001,
                    r_users[cl->user], cl->user & 1 ? "some info" : "", max);

    if (rc == FULL) {
        r_want(m, m->pressure, "add: full");
        m->full++;
        return 0;
    }

    if (cl->user && max && n >= max) {
        /* making room may have taken some of them */
        r_want(m, rc == CONFLICT || (rc == OK && m->pressure),
               "%u clients: %d", n, rc);

    } else {
        r_want(m, rc == OK, "add: %d", rc);
    }

    if (rc == OK) {
        cl->where = h;
        cl->old_at = 0;
    }

    return 0;
}


util_fn int
r_open(rmodel_t *m, unsigned h, unsigned i)
{
    int          rc;
    room_t       room;
    uint32_t     slot;
    unsigned     n;
    member_t     one;
    mirror_t    *mi;
    r_handle_t  *w;

    static uint8_t  buf[SECTION];

    w = &m->h[h];

    if (w->c[i].ref) {
        return 0;
    }

    rc = ngx_http_fanout_channel_open(&w->z, &w->c[i], i);

    if (rc == FULL) {
        r_want(m, m->pressure, "open: full");
        m->full++;
        return 1;
    }

    r_want(m, rc == OK, "open: %d", rc);

    slot = UINT32_MAX;
    rc = ngx_http_fanout_room_read(&w->z, &w->c[i], &slot, &one, 1, buf,
                                   SECTION, &n, &room);
    r_want(m, rc == OK && n == 0, "room: %d", rc);

    mi = &w->mirror[i];
    mirror_forget(mi);
    mi->at_epoch = room.epoch;
    mi->at = room.offset;
    mi->follows = 1;

    return 0;
}


/* the smallest slot that nobody has, those who are still to leave included */

util_fn uint32_t
r_smallest(zone_t *z, channel_t *c)
{
    uint32_t       slot, free;
    fanout_ref_t   room;

    free = 0;
    (void) fanout_enter(z);
    room = fanout_room_of(z, c->ref);

    for (slot = 0; room; slot++, free++) {
        if (fanout_slot_next(z, fanout_room(z, room), &slot) == 0
            || slot != free)
        {
            break;
        }
    }

    fanout_leave(z);

    return free;
}


/* a channel, most often one that the client sits on */

util_fn unsigned
r_seat(rmodel_t *m, r_client_t *cl)
{
    unsigned  i, n;

    i = r_draw(m, R_CHANNELS);

    for (n = r_draw(m, 8) ? 0 : R_CHANNELS; n < R_CHANNELS; n++) {
        if (cl->seat[i].state) {
            break;
        }

        i = (i + 1) % R_CHANNELS;
    }

    return i;
}


util_fn int
r_put(rmodel_t *m, r_client_t *cl)
{
    int           rc, counted;
    put_t         r;
    uint8_t       data[NGX_HTTP_FANOUT_ZONE_MEMBER];
    uint32_t      len, seed, members, smallest, kept;
    unsigned      i, k, what;
    member_t      one;
    r_seat_t     *s;
    r_handle_t   *w;
    r_member_t   *e;

    if (cl->where < 0) {
        return 0;
    }

    w = &m->h[cl->where];
    i = r_seat(m, cl);
    k = r_draw(m, R_KEYS);
    s = &cl->seat[i];
    e = &s->m[k];
    what = 1 + r_draw(m, 7);
    what = r_draw(m, 3) ? what | ENTER : what;
    counted = i == R_SUMMARY;

    len = r_draw(m, 8);
    len = len < 5 ? r_draw(m, 20) : len < 7 ? r_draw(m, 200)
                                            : r_draw(m, 8193);
    seed = r_draw(m, 3) ? ++m->seeds : 1;
    data_fill(data, seed, len);

    memset(&one, 0, sizeof(one));
    one.key = zstr(r_keys[k], strlen(r_keys[k]));
    one.data = zstr(data, len);
    one.idle = (what & STATE) ? r_draw(m, 2) : 0;
    one.anonymous = r_draw(m, 4) == 0;

    if (m->pressure) {
        r_pass(r_ask(m));
    }

    members = r_members(m, i);
    smallest = w->c[i].ref ? r_smallest(&w->z, &w->c[i]) : 0;
    kept = w->z.shm->nmembers;

    rc = ngx_http_fanout_member_put(&w->z, &w->c[i], cl->p.ref, &cl->p.id,
                                    &one, what, &r);

    if (rc == FULL) {
        r_want(m, m->pressure, "put: full");
        m->full++;
        return 0;
    }

    if (s->state == 0 || w->c[i].ref == 0
        || (!(what & ENTER) && !(counted ? s->counted : e->there)))
    {
        r_want(m, rc == NOTFOUND, "put: %d", rc);
        return 0;
    }

    if (!(counted ? s->counted : e->there) && m->policy[i].members
        && members >= m->policy[i].members)
    {
        r_want(m, rc == CONFLICT || (rc == OK && m->pressure),
               "put: %d, of %u", rc, members);

        if (rc == CONFLICT) {
            return 0;
        }
    }

    r_want(m, rc == OK, "put: %d", rc);
    r_want(m, r.created == !(counted ? s->counted : e->there), "created: %u",
           r.created);

    if (counted) {
        s->counted = 1;
        return 0;
    }

    if (r.created) {

        /* who was not told to have left has the place of before */

        r_want(m, r.slot == smallest || m->pressure
                  || w->z.shm->nmembers == kept, "slot %u, not %u", r.slot,
               smallest);
        memset(e, 0, sizeof(*e));
        e->there = 1;
        what |= DATA;
    }

    if (what & DATA) {
        e->data = seed;
        e->len = len;
    }

    if (what & STATE) {
        e->idle = one.idle;
    }

    if (what & ENTER) {
        e->anonymous = one.anonymous;
    }

    return 0;
}


util_fn int
r_sit(rmodel_t *m, r_client_t *cl)
{
    int          rc;
    unsigned     i;
    r_handle_t  *w;

    if (cl->where < 0) {
        return 0;
    }

    w = &m->h[cl->where];
    i = r_draw(m, R_CHANNELS);
    rc = r_draw(m, 8) ? r_open(m, cl->where, i) : 0;

    if (rc) {
        return rc == -1 ? -1 : 0;
    }

    rc = person_sit(&w->z, &w->c[i], &cl->p);

    if (rc == FULL) {
        r_want(m, m->pressure, "sit: full");
        m->full++;
        return 0;
    }

    r_want(m, rc == (w->c[i].ref ? OK : STALE), "sit: %d", rc);

    if (rc == OK) {
        cl->seat[i].state = R_LIVE;
    }

    return 0;
}


util_fn int
r_drop(rmodel_t *m, r_client_t *cl)
{
    int          rc, there;
    unsigned     i, k;
    r_seat_t    *s;
    r_handle_t  *w;

    if (cl->where < 0) {
        return 0;
    }

    w = &m->h[cl->where];
    i = r_seat(m, cl);
    k = r_draw(m, R_KEYS);
    s = &cl->seat[i];
    there = s->state && w->c[i].ref
            && (i == R_SUMMARY ? s->counted : s->m[k].there);

    rc = person_drop(&w->z, &w->c[i], &cl->p, r_keys[k]);
    r_want(m, rc == (there ? OK : NOTFOUND), "drop: %d", rc);

    if (there) {
        s->counted = 0;
        memset(&s->m[k], 0, sizeof(r_member_t));
    }

    return 0;
}


util_fn void
r_close_seat(rmodel_t *m, r_client_t *cl, unsigned i)
{
    r_handle_t  *w;

    if (cl->where < 0) {
        return;
    }

    w = &m->h[cl->where];
    ngx_http_fanout_seat_close(&w->z, &w->c[i], cl->p.ref, &cl->p.id,
                               1 + r_draw(m, 5));

    if (w->c[i].ref) {
        memset(&cl->seat[i], 0, sizeof(r_seat_t));
    }
}


util_fn int
r_end(rmodel_t *m, r_client_t *cl)
{
    uint32_t  linger;

    if (cl->where < 0) {
        return 0;
    }

    linger = r_draw(m, 4) ? m->linger : 0;
    person_end(&m->h[cl->where].z, &cl->p, linger);
    r_cut(m, cl, linger);

    return 0;
}


util_fn void
r_order(rmodel_t *m, int h, uint8_t op, uint64_t client, uint32_t local)
{
    order_t  *o;

    if (h >= 0 && m->h[h].norders < R_ORDERS) {
        o = &m->h[h].orders[m->h[h].norders++];
        memset(o, 0, sizeof(*o));
        o->op = op;
        o->client = client;
        o->local = local;
    }
}


util_fn int
r_resume(rmodel_t *m, r_client_t *cl)
{
    int       rc, wrong;
    unsigned  h, i;
    person_t  was;

    if (cl->where == R_NONE) {
        return 0;
    }

    h = r_worker(m);
    wrong = r_draw(m, 6) == 0;
    was = cl->p;

    if (wrong) {
        cl->p.id.secret[r_draw(m, 16)] ^= 1;
    }

    rc = person_resume(&m->h[h].z, &cl->p);

    if (wrong || (cl->where == R_LINGERS
                  && cl->expires < fanout_test_seconds))
    {
        cl->p = was;
        r_want(m, rc == NOTFOUND || (rc == FULL && m->pressure),
               "resume: %d", rc);
        return 0;
    }

    if (rc != OK) {
        cl->p = was;
        r_want(m, m->pressure && (rc == FULL || cl->where == R_LINGERS),
               "resume: %d", rc);

        if (rc == NOTFOUND) {
            r_gone(cl);
        }

        return 0;
    }

    if (cl->where >= 0) {
        r_order(m, cl->where, NGX_HTTP_FANOUT_ORDER_REPLACED,
                cl->p.id.client, 0);
        cl->old = was;
        cl->old_at = cl->where + 1;
    }

    cl->where = h;

    for (i = 0; i < R_CHANNELS; i++) {
        if (cl->seat[i].state == R_CUT) {
            cl->seat[i].state = R_LIVE;
        }
    }

    return m->pressure ? r_ask(m) : 0;
}


/* who had the session before changes nothing */

util_fn int
r_stale(rmodel_t *m, r_client_t *cl)
{
    unsigned     i;
    r_handle_t  *w;

    if (cl->old_at == 0 || !m->h[cl->old_at - 1].alive) {
        return 0;
    }

    w = &m->h[cl->old_at - 1];
    i = r_draw(m, R_CHANNELS);

    r_want(m, ngx_http_fanout_identity_lost(&w->z, cl->old.ref,
                                            &cl->old.id), "not lost");

    switch (r_draw(m, 4)) {
    case 0:
        person_end(&w->z, &cl->old, r_draw(m, 2) * 1000);
        break;
    case 1:
        ngx_http_fanout_seat_close(&w->z, &w->c[i], cl->old.ref, &cl->old.id,
                                   1);
        break;
    case 2:
        r_want(m, person_drop(&w->z, &w->c[i], &cl->old, r_keys[0])
                  == NOTFOUND, "dropped by the old session");
        break;
    default:
        r_want(m, person_sit(&w->z, &w->c[i], &cl->old) == STALE,
               "sat down by the old session");
    }

    return 0;
}


util_fn int
r_kick(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    unsigned  h, i;

    h = r_worker(m);
    i = r_draw(m, R_CHANNELS);

    rc = ngx_http_fanout_seat_kick(&m->h[h].z, &m->h[h].c[i],
                                   cl->p.id.client, 4);

    if (rc == FULL) {
        r_want(m, m->pressure, "kick: full");
        m->full++;
        return 0;
    }

    if (cl->where == R_NONE || cl->seat[i].state == 0) {
        r_want(m, rc == NOTFOUND, "kick: %d", rc);
        return 0;
    }

    r_want(m, rc == OK || (m->pressure && cl->where == R_LINGERS),
           "kick: %d", rc);

    if (cl->where >= 0 && m->h[cl->where].c[i].ref) {
        r_order(m, cl->where, NGX_HTTP_FANOUT_ORDER_PART, cl->p.id.client, i);
    }

    memset(&cl->seat[i], 0, sizeof(r_seat_t));

    return 0;
}


util_fn int
r_disconnect(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    unsigned  h;

    h = r_worker(m);
    rc = ngx_http_fanout_client_disconnect(&m->h[h].z, cl->p.id.client, 4000);

    if (cl->where == R_NONE) {
        r_want(m, rc == NOTFOUND, "disconnect: %d", rc);
        return 0;
    }

    if (rc == FULL) {
        r_want(m, m->pressure, "disconnect: full");
        m->full++;
        return 0;
    }

    r_want(m, rc == OK || (m->pressure && cl->where == R_LINGERS),
           "disconnect: %d", rc);

    if (cl->where == R_LINGERS) {
        r_gone(cl);

    } else {
        r_order(m, cl->where, NGX_HTTP_FANOUT_ORDER_DISCONNECT,
                cl->p.id.client, 0);
    }

    return 0;
}


util_fn int
r_orders(rmodel_t *m, unsigned h)
{
    unsigned     i, n, c;
    order_t      o[R_ORDERS], *want;
    r_handle_t  *w;

    w = &m->h[h];
    n = 0;

    do {
        i = ngx_http_fanout_slot_orders(&w->z, o + n, 1 + r_draw(m, 9));
        n += i;
    } while (i && n < R_ORDERS - 10);

    if (w->norders < R_ORDERS - 10) {
        r_want(m, n == w->norders, "%u orders, not %u", n, w->norders);
    }

    for (i = 0; i < n && w->norders < R_ORDERS - 10; i++) {
        want = &w->orders[i];
        r_want(m, o[i].op == want->op && o[i].client == want->client
                  && o[i].local == want->local, "order %u: %u of %llx", i,
               o[i].op, (unsigned long long) o[i].client);

        if (o[i].op != NGX_HTTP_FANOUT_ORDER_DISCONNECT || r_draw(m, 2)) {
            continue;
        }

        for (c = 0; c < R_CLIENTS; c++) {
            if (m->cl[c].where == (int) h
                && m->cl[c].p.id.client == o[i].client)
            {
                person_end(&w->z, &m->cl[c].p, 0);
                r_gone(&m->cl[c]);
            }
        }
    }

    w->norders = 0;

    return 0;
}


/* workers die, are reaped, and come */

util_fn int
r_kill(rmodel_t *m)
{
    unsigned     h, n, c;
    r_handle_t  *w;

    for (n = 0, h = 0; h < R_HANDLES; h++) {
        n += m->h[h].alive;
    }

    h = r_draw(m, R_HANDLES);
    w = &m->h[h];

    if (!w->alive) {
        return r_claim(m, h) ? 0 : 0;
    }

    if (n < 3) {
        return 0;
    }

    w->alive = 0;
    m->kills++;

    if (r_draw(m, 3)) {

        /* what death does to its mutex */

        (void) pthread_mutex_unlock(&w->z.shm->slots[w->z.slot].life);

    } else {
        ngx_http_fanout_slot_release(&w->z);
    }

    for (c = 0; c < R_CLIENTS; c++) {
        if (m->cl[c].where != (int) h) {
            continue;
        }

        if (w->z.slot == -1) {
            r_gone(&m->cl[c]);

        } else {
            m->cl[c].where = R_ORPHAN;
        }
    }

    r_attach(m, h);

    return 0;
}


util_fn int
r_reap(rmodel_t *m)
{
    uint32_t  linger;
    unsigned  c;

    linger = r_draw(m, 4) ? m->linger : 0;
    (void) ngx_http_fanout_slot_reap(&m->h[r_worker(m)].z, linger);

    for (c = 0; c < R_CLIENTS; c++) {
        if (m->cl[c].where == R_ORPHAN) {
            r_cut(m, &m->cl[c], linger);
        }
    }

    return 0;
}


util_fn int
r_sweep(rmodel_t *m)
{
    unsigned     c, i;
    r_client_t  *cl;

    r_want(m, sweep_all(&m->h[r_worker(m)].z) != -1, "an endless sweep");

    for (c = 0; c < R_CLIENTS; c++) {
        cl = &m->cl[c];

        if (cl->where != R_LINGERS) {
            continue;
        }

        if (cl->expires < fanout_test_seconds) {
            r_gone(cl);
            continue;
        }

        for (i = 0; i < R_CHANNELS; i++) {
            if (cl->seat[i].state == R_CUT
                && cl->seat[i].due <= fanout_test_seconds)
            {
                memset(&cl->seat[i], 0, sizeof(r_seat_t));
            }
        }
    }

    return 0;
}


/* what they read */

util_fn int
r_drain(rmodel_t *m, unsigned h, int turns)
{
    int          rc;
    uint32_t     k;
    entry_t     *e;
    r_handle_t  *w;

    w = &m->h[h];

    do {
        arena_reset(&m->a);
        rc = ngx_http_fanout_log_drain(&w->z, &m->a);
        r_want(m, rc == OK || rc == AGAIN, "drain: %d", rc);

        for (k = 0; k < m->a.n; k++) {
            e = &m->a.entries[k];
            r_want(m, e->local < R_CHANNELS && w->c[e->local].ref,
                   "local %u", e->local);
            r_want(m, mirror_entry(&w->mirror[e->local], e) == 0,
                   "worker %u, channel %u: %s", h, e->local,
                   w->mirror[e->local].error);
            m->gaps += e->type == NGX_HTTP_FANOUT_GAP;
        }

    } while (rc == AGAIN && --turns);

    return 0;
}


util_fn int
r_load(rmodel_t *m, unsigned h, unsigned i, unsigned max)
{
    mirror_t  *mi;

    mi = &m->h[h].mirror[i];

    if (m->h[h].c[i].ref && mi->state != MIRROR_KNOWN) {
        r_want(m, mirror_load(mi, &m->h[h].z, &m->h[h].c[i], max) >= 0,
               "worker %u, channel %u: %s", h, i, mi->error);
    }

    return 0;
}


util_fn int
r_publish(rmodel_t *m)
{
    int       rc;
    result_t  r;
    unsigned  h, i;
    uint32_t  len;

    h = r_worker(m);
    i = r_draw(m, R_CHANNELS);
    len = r_draw(m, 10) ? r_draw(m, 300) : r_draw(m, 20000);

    if (r_draw(m, 40) == 0) {
        rc = ngx_http_fanout_channel_purge(&m->h[h].z, &m->h[h].c[i], NULL, 0,
                                           &r);
        r_want(m, rc == OK || rc == NOTFOUND || (rc == FULL && m->pressure),
               "purge: %d", rc);
        return 0;
    }

    rc = put(&m->h[h].z, &m->h[h].c[i], ++m->seeds, len,
             r_draw(m, 2) ? NGX_HTTP_FANOUT_TRANSIENT : 0, NULL, &r);
    r_want(m, rc == OK || (rc == FULL && m->pressure), "publish: %d", rc);

    return 0;
}


util_fn int
r_close(rmodel_t *m)
{
    unsigned     h, i, c;
    r_handle_t  *w;

    h = r_worker(m);
    i = r_draw(m, R_CHANNELS);
    w = &m->h[h];

    for (c = 0; r_draw(m, 4) && c < R_CLIENTS; c++) {
        if (m->cl[c].where == (int) h) {
            r_close_seat(m, &m->cl[c], i);
        }
    }

    /* an order to PART names the channel as it is known when it is given */

    ngx_http_fanout_channel_close(&w->z, &w->c[i]);
    mirror_forget(&w->mirror[i]);
    w->mirror[i].follows = 0;

    return 0;
}


util_fn int
r_policy(rmodel_t *m)
{
    unsigned     h, i;
    policy_t    *p;
    r_handle_t  *w;

    h = r_worker(m);
    i = r_draw(m, R_CHANNELS);
    w = &m->h[h];
    p = &m->policy[i];

    if (w->c[i].ref == 0) {
        return 0;
    }

    p->linger = r_draw(m, 4) ? r_draw(m, 10) : r_draw(m, 600);
    p->batch = r_draw(m, 4) ? r_draw(m, 500) : 0;
    p->members = r_draw(m, 3) ? 0 : 1 + r_draw(m, 20);
    (void) ngx_http_fanout_channel_open(&w->z, &w->c[i], i);

    return 0;
}


/* The zone is full of what can't be evicted, down to the last block or nearly,
 * or it is not any more. */

util_fn void
r_fill(rmodel_t *m)
{
    char      info[4001];
    unsigned  len, least;
    order_t   o[64];

    while (ngx_http_fanout_slot_orders(&m->stone, o, 64)) { /* void */ }

    if (m->nstones) {
        while (m->nstones) {
            person_end(&m->stone, &m->stones[--m->nstones], 0);
        }

        return;
    }

    memset(info, 'i', sizeof(info));
    least = r_draw(m, 3) ? 0 : r_draw(m, 4000);

    for (len = 4000; ; len /= 2) {
        info[len] = '\0';

        while (m->nstones < R_STONES
               && person_add(&m->stone, &m->stones[m->nstones],
                             1ULL << 62 | m->nstones, "", info, 0) == OK)
        {
            m->nstones++;
        }

        if (len <= least) {
            break;
        }
    }

    while (least == 0 && m->nstones && m->nstones < R_STONES
           && ngx_http_fanout_client_disconnect(&m->stone, 1ULL << 62, 1)
              == OK)
    {
        /* void */
    }
}


/* all is told: zone, mirrors and model agree */

util_fn int
r_compare(rmodel_t *m, unsigned i, mirror_t *now)
{
    uint8_t      data[NGX_HTTP_FANOUT_ZONE_MEMBER];
    face_t      *f;
    uint32_t     s, n;
    unsigned     c, k;
    r_member_t  *e;

    n = 0;

    for (s = 0; s < now->max; s++) {
        f = &now->faces[s];

        if (!f->there) {
            continue;
        }

        n++;

        for (c = 0; c < R_CLIENTS; c++) {
            if (m->cl[c].where != R_NONE
                && m->cl[c].p.id.client == f->client)
            {
                break;
            }
        }

        r_want(m, c < R_CLIENTS, "channel %u: a ghost in slot %u", i, s);

        for (k = 0; k < R_KEYS; k++) {
            if (sum(zstr(r_keys[k], strlen(r_keys[k]))) == f->key) {
                break;
            }
        }

        r_want(m, k < R_KEYS && m->cl[c].seat[i].m[k].there,
               "channel %u: client %u has no member", i, c);

        e = &m->cl[c].seat[i].m[k];
        data_fill(data, e->data, e->len);
        r_want(m, f->data == sum(zstr(data, e->len)), "channel %u: data of %u",
               i, c);
        r_want(m, f->idle == e->idle && f->anonymous == e->anonymous,
               "channel %u: state of client %u", i, c);
        r_want(m, f->user
                  == sum(zstr(r_users[e->anonymous ? 0 : m->cl[c].user],
                              strlen(r_users[e->anonymous ? 0
                                             : m->cl[c].user]))),
               "channel %u: user of client %u", i, c);
    }

    r_want(m, i == R_SUMMARY || n == r_members(m, i),
           "channel %u: %u members, not %u", i, n, r_members(m, i));

    return 0;
}


util_fn int
r_settle(rmodel_t *m)
{
    int          rc, turns;
    uint32_t     ms;
    unsigned     h, i, seats, c;
    zone_t      *z;
    room_t       room;
    member_t     one;
    mirror_t     now, *mi;

    static uint8_t  buf[SECTION];

    z = &m->h[r_worker(m)].z;

    for (turns = 0; turns < 10000; turns++) {
        ms = ngx_http_fanout_presence_flush(z);

        for (h = 0; h < R_HANDLES; h++) {
            if (m->h[h].alive && !m->h[h].stopped) {
                r_pass(r_drain(m, h, 0));
            }
        }

        if (ms == UINT32_MAX) {
            break;
        }

        fanout_test_msec += ms;
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
    }

    r_want(m, turns < 10000, "endless");

    r_pass(r_ask(m));
    m->settled++;

    for (i = 0; i < R_CHANNELS; i++) {
        channel_t  c0;
        uint32_t   slot;
        unsigned   n;

        c0 = view(z, m->names[i], NULL);
        mirror_init(&now);
        rc = mirror_read(&now, z, &c0);

        if (rc != 0) {
            mirror_done(&now);

            /* no such channel */

            r_want(m, r_members(m, i) == 0, "%s", now.error);
            continue;
        }

        rc = r_compare(m, i, &now);

        for (h = 0; rc == 0 && h < R_HANDLES; h++) {
            mi = &m->h[h].mirror[i];

            if (!m->h[h].alive || m->h[h].stopped
                || m->h[h].c[i].ref == 0)
            {
                continue;
            }

            while (rc == 0 && mi->state != MIRROR_KNOWN) {
                rc = r_load(m, h, i, 7);
            }

            if (rc == 0 && (mirror_same(mi, &now, 1) != 0
                            || (i == R_SUMMARY && mi->count != now.count)))
            {
                r_fail(m, __LINE__, "mirror", "worker %u, channel %u: %s", h,
                       i, mi->error);
                rc = -1;
            }
        }

        mirror_done(&now);
        r_pass(rc);

        slot = UINT32_MAX;
        (void) ngx_http_fanout_room_read(z, &c0, &slot, &one, 1, buf, SECTION,
                                         &n, &room);

        for (seats = 0, c = 0; c < R_CLIENTS; c++) {
            seats += m->cl[c].seat[i].state != 0;
        }

        r_want(m, room.seats == seats, "channel %u: %u seats, not %u", i,
               room.seats, seats);
        r_want(m, room.members == r_members(m, i),
               "channel %u: %u members, not %u", i, room.members,
               r_members(m, i));
    }

    return 0;
}


/* what users have, page by page */

util_fn int
r_asked(rmodel_t *m)
{
    int       rc;
    uint64_t  user, cursor, clients[3], all;
    unsigned  u, c, i, n, found, rounds;
    zone_t   *z;

    z = &m->h[r_worker(m)].z;
    u = 1 + r_draw(m, R_USERS - 1);
    user = ngx_http_fanout_zone_hash(z, r_users[u], strlen(r_users[u]));
    r_pass(r_ask(m));

    cursor = all = 0;
    found = rounds = 0;

    do {
        rc = ngx_http_fanout_user_clients(z, user, &cursor, clients, 3, &n);
        r_want(m, ++rounds < 100, "endless");

        for (i = 0; rc == OK && i < n; i++, found++) {
            for (c = 0; c < R_CLIENTS; c++) {
                if (m->cl[c].where != R_NONE
                    && m->cl[c].p.id.client == clients[i])
                {
                    break;
                }
            }

            r_want(m, c < R_CLIENTS && m->cl[c].user == u, "user %u", u);
            r_want(m, !(all & 1ULL << c), "twice");
            all |= 1ULL << c;
        }

    } while (rc == OK && cursor);

    for (n = 0, c = 0; c < R_CLIENTS; c++) {
        n += m->cl[c].where != R_NONE && m->cl[c].user == u;
    }

    r_want(m, n == found, "%u clients of %u, not %u", found, u, n);

    return 0;
}


util_fn int
r_check(rmodel_t *m)
{
    int       rc;
    char      text[256];
    stat_t    st;
    zone_t   *z;

    z = &m->h[r_worker(m)].z;
    rc = ngx_http_fanout_zone_check(z, text, sizeof(text));
    r_want(m, rc == 0, "%s", text);

    ngx_http_fanout_zone_stat(z, &st);
    r_want(m, st.overflows == 0, "the journal is too short");

    return 0;
}


util_fn int
r_step(rmodel_t *m)
{
    unsigned     op, h, i;
    r_client_t  *cl;

    m->steps++;
    op = r_draw(m, 200);
    cl = &m->cl[r_draw(m, R_CLIENTS)];

    if (op < 98) {
        if (cl->where == R_NONE) {
            return r_add(m, cl);
        }

        return op < 20 ? r_sit(m, cl) : op < 80 ? r_put(m, cl)
                                                : r_drop(m, cl);
    }

    if (op < 101) {
        r_close_seat(m, cl, r_draw(m, R_CHANNELS));
        return 0;
    }

    if (op < 106) {
        return r_end(m, cl);
    }

    if (op < 114) {
        return r_resume(m, cl);
    }

    if (op < 116) {
        return r_stale(m, cl);
    }

    if (op < 118) {
        return r_kick(m, cl);
    }

    if (op < 120) {
        return r_disconnect(m, cl);
    }

    if (op < 122) {
        return r_orders(m, r_worker(m));
    }

    if (op < 124) {
        return r_draw(m, 2) ? 0 : r_kill(m);
    }

    if (op < 126) {
        return r_reap(m);
    }

    if (op < 129) {
        return r_sweep(m);
    }

    if (op < 145) {
        h = r_worker(m);
        return m->h[h].stopped ? 0 : r_drain(m, h, 1 + r_draw(m, 4));
    }

    if (op < 160) {
        h = r_worker(m);
        i = r_draw(m, R_CHANNELS);
        r_pass(r_draw(m, 3) ? 0 : r_open(m, h, i) == -1);
        return r_load(m, h, i, 1 + r_draw(m, 20));
    }

    if (op < 172) {
        (void) ngx_http_fanout_presence_flush(&m->h[r_worker(m)].z);
        return 0;
    }

    if (op < 182) {
        fanout_test_msec += r_draw(m, 300);
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
        return 0;
    }

    if (op < 185) {
        fanout_test_seconds += r_draw(m, 8) ? r_draw(m, 6) : r_draw(m, 400);
        return 0;
    }

    if (op < 191) {
        return r_publish(m);
    }

    if (op < 192) {
        return r_draw(m, 2) ? 0 : r_close(m);
    }

    if (op < 194) {
        return r_policy(m);
    }

    if (op < 195) {
        if (m->pressure && r_draw(m, 3) == 0) {
            r_fill(m);
        }

        return 0;
    }

    if (op < 197) {
        h = r_worker(m);
        m->h[h].stopped = r_draw(m, 3) == 0;
        return 0;
    }

    if (op < 198) {
        return r_asked(m);
    }

    return r_settle(m);
}


/* Everything is given back: the zone must be as empty as it was. */

util_fn int
r_empty(rmodel_t *m, uint64_t start)
{
    unsigned   h, i;
    uint64_t   n;
    zone_t    *z;
    channel_t  c;

    for (h = 0; h < R_HANDLES; h++) {
        if (m->h[h].alive) {
            ngx_http_fanout_slot_release(&m->h[h].z);
            m->h[h].alive = 0;
        }
    }

    z = &m->h[0].z;
    ngx_http_fanout_slot_release(&m->stone);
    (void) ngx_http_fanout_slot_reap(z, 0);
    fanout_test_seconds += 100000;
    r_want(m, sweep_all(z) != -1, "an endless sweep");
    r_want(m, flush_all(z) != -1, "an endless flush");

    for (i = 0; i < R_CHANNELS; i++) {
        c = view(z, m->names[i], NULL);
        (void) ngx_http_fanout_channel_purge(z, &c, NULL, 0,
                                             &(result_t) { 0 });
    }

    fanout_test_seconds += 100000;
    r_want(m, sweep_all(z) != -1, "an endless sweep");

    n = free_blocks(z);
    r_want(m, n == start, "%llu blocks free, not %llu", (unsigned long long) n,
           (unsigned long long) start);

    m->h[0].alive = 1;
    h = r_check(m);
    m->h[0].alive = 0;

    return h;
}


#endif /* _ZONE_ROOM_MODEL_H_INCLUDED_ */
