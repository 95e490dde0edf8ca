/*
 * The model of presence: its operations, each with what must be answered.
 */


#include "zone_presence_model.h"


const char  *r_users[R_USERS] = {
    "", "ann", "bob",
    "a user whose name is so long that it does not fit into one block"
};

const char  *r_infos[R_INFOS] = {
    "", "some info", "other info",
    ("an info that takes several blocks, as that of a user with a name, a face "
     "and a colour, and a role, and more that others are to see")
};

const char  *r_keys[R_KEYS] = { "", "k", "tab-2",
                                       "a key of more than sixteen bytes" };


void
r_attach(rmodel_t *m, unsigned h)
{
    unsigned     i;
    r_handle_t  *w;

    w = &m->h[h];
    (void) fanout_zone_attach(&w->z, m->mem, m->size);

    for (i = 0; i < R_CHANNELS; i++) {
        w->c[i] = view(&w->z, m->names[i], &m->policy[i]);
        mirror_forget(&w->mirror[i]);
        w->mirror[i].follows = 0;
    }

    w->norders = 0;
    w->stopped = 0;
}


int
r_claim(rmodel_t *m, unsigned h)
{
    r_attach(m, h);
    m->h[h].alive = fanout_slot_claim(&m->h[h].z, h + 1) == OK;

    return m->h[h].alive;
}


void
r_init(rmodel_t *m, void *mem, size_t size)
{
    unsigned  h, i;

    m->mem = mem;
    m->size = size;
    arena_init(&m->a);
    fanout_test_seconds = 10;
    fanout_test_msec = 0;
    m->linger = draw(m, 30) * 700;

    for (i = 0; i < R_CHANNELS; i++) {
        snprintf(m->names[i], 300, "channel %u", i);

        if (i == 4) {
            memset(m->names[i] + 9, 'x', 200);
        }

        m->policy[i].history = i % 2 ? 20 : 0;
        m->policy[i].presence = i == R_SUMMARY
                                ? FANOUT_PRESENCE_SUMMARY
                                : FANOUT_PRESENCE_ON;
        m->policy[i].linger = i * 3;
        m->policy[i].batch = i * 70;
        m->policy[i].hooks = i != R_QUIET;
    }

    w_init(&m->w, draw(m, 4) ? E_ALL : draw(m, 256),
           m->names[R_QUIET]);
    m->events = draw(m, 4) ? 100000 : 1 + draw(m, 40);

    for (i = 0; i < R_CLIENTS; i++) {
        m->cl[i].where = R_NONE;
    }

    for (h = 0; h < R_HANDLES; h++) {
        for (i = 0; i < R_CHANNELS; i++) {
            mirror_init(&m->h[h].mirror[i]);
        }

        (void) r_claim(m, h);
    }

    fanout_hook_queue_filter(&m->h[0].z, m->w.mask, m->events);
    (void) fanout_zone_attach(&m->stone, mem, size);
    (void) fanout_slot_claim(&m->stone, 99);
}


void
r_done(rmodel_t *m)
{
    unsigned  h, i;

    fanout_slot_release(&m->stone);

    for (h = 0; h < R_HANDLES; h++) {
        if (m->h[h].alive) {
            fanout_slot_release(&m->h[h].z);
        }

        for (i = 0; i < R_CHANNELS; i++) {
            mirror_done(&m->h[h].mirror[i]);
        }
    }

    arena_done(&m->a);
    w_free(&m->w);
}


unsigned
r_worker(rmodel_t *m)
{
    unsigned  h;

    for (h = draw(m, R_HANDLES); !m->h[h].alive; h = (h + 1) % R_HANDLES) {
        /* void */
    }

    return h;
}


void
r_gone(r_client_t *cl)
{
    cl->where = R_NONE;
    memset(cl->seat, 0, sizeof(cl->seat));
}


void
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


uint32_t
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


int
r_ask(rmodel_t *m)
{
    int         rc, h;
    unsigned    i, c;
    client_t    info;
    uint8_t     buf[FANOUT_ZONE_MEMBER_BUF];

    h = r_worker(m);

    for (c = 0; c < R_CLIENTS; c++) {
        if (m->cl[c].where == R_NONE) {
            continue;
        }

        rc = fanout_client_get(&m->h[h].z, m->cl[c].p.id.client, &info, buf);

        if (rc == NOTFOUND) {
            want(m, m->pressure && m->cl[c].where == R_LINGERS,
                 "client %u is gone", c);
            r_gone(&m->cl[c]);
            continue;
        }

        want(m, rc == OK, "client_get: %d", rc);
        want(m, (info.pid != 0) == (m->cl[c].where != R_LINGERS),
             "client %u: pid %u", c, info.pid);
        want(m, info.user.len == strlen(r_users[m->cl[c].user]),
             "client %u: user", c);

        want(m, info.info.len == strlen(r_infos[m->cl[c].info])
                && memcmp(info.info.data, r_infos[m->cl[c].info],
                          info.info.len) == 0,
             "client %u: info", c);

        for (i = 0, rc = 0; i < R_CHANNELS; i++) {
            rc += m->cl[c].seat[i].state != 0;
        }

        want(m, (int) info.seats == rc, "client %u: %u seats, not %d", c,
             info.seats, rc);
    }

    return 0;
}


int
r_add(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    uint32_t  max, n;
    unsigned  h, c;

    h = r_worker(m);
    cl->user = draw(m, R_USERS);
    cl->info = cl->user & 1;
    max = draw(m, 3) ? 0 : 4;

    if (m->pressure) {
        pass(r_ask(m));
    }

    for (n = 0, c = 0; c < R_CLIENTS; c++) {
        n += m->cl[c].where != R_NONE && m->cl[c].user == cl->user;
    }

    rc = person_add(&m->h[h].z, &cl->p, ++m->clients * 0x10001,
                    r_users[cl->user], r_infos[cl->info], max);

    if (rc == FULL) {
        want(m, m->pressure, "add: full");
        m->full++;
        return 0;
    }

    if (cl->user && max && n >= max) {
        /* making room may have taken some of them */
        want(m, rc == CONFLICT || (rc == OK && m->pressure),
             "%u clients: %d", n, rc);

    } else {
        want(m, rc == OK, "add: %d", rc);
    }

    if (rc == OK) {
        cl->where = h;
        cl->old_at = 0;
        cl->tries = 0;
        cl->before.id.client = 0;
    }

    return 0;
}


int
r_open(rmodel_t *m, unsigned h, unsigned i)
{
    int          rc;
    uint32_t     slot;
    unsigned     n;
    member_t     one;
    mirror_t    *mi;
    presence_t   presence;
    r_handle_t  *w;

    static uint8_t  buf[SECTION];

    w = &m->h[h];

    if (w->c[i].ref) {
        return 0;
    }

    rc = fanout_channel_open(&w->z, &w->c[i], i);

    if (rc == FULL) {
        want(m, m->pressure, "open: full");
        m->full++;
        return 1;
    }

    want(m, rc == OK, "open: %d", rc);

    slot = UINT32_MAX;
    rc = fanout_presence_read(&w->z, &w->c[i], &slot, &one, 1, buf, SECTION,
                              &n, &presence);
    want(m, rc == OK && n == 0, "room: %d", rc);

    mi = &w->mirror[i];
    mirror_forget(mi);
    mi->at_epoch = presence.epoch;
    mi->at = presence.offset;
    mi->follows = 1;

    return 0;
}


/* the smallest slot that nobody has, those who are still to leave included */

static uint32_t
r_smallest(zone_t *z, channel_t *c)
{
    uint32_t       slot, free;
    fanout_ref_t   presence;

    free = 0;
    (void) fanout_enter(z);
    presence = fanout_presence_of(z, c->ref);

    for (slot = 0; presence; slot++, free++) {
        if (fanout_slot_next(z, fanout_presence(z, presence), &slot) == 0
            || slot != free)
        {
            break;
        }
    }

    fanout_leave(z);

    return free;
}


/* a channel, most often one that the client sits on */

static unsigned
r_seat(rmodel_t *m, r_client_t *cl)
{
    unsigned  i, n;

    i = draw(m, R_CHANNELS);

    for (n = draw(m, 8) ? 0 : R_CHANNELS; n < R_CHANNELS; n++) {
        if (cl->seat[i].state) {
            break;
        }

        i = (i + 1) % R_CHANNELS;
    }

    return i;
}


int
r_put(rmodel_t *m, r_client_t *cl)
{
    int           rc, counted;
    put_t         r;
    uint8_t       data[FANOUT_ZONE_MEMBER];
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
    k = draw(m, R_KEYS);
    s = &cl->seat[i];
    e = &s->m[k];
    what = 1 + draw(m, 7);
    what = draw(m, 3) ? what | ENTER : what;
    counted = i == R_SUMMARY;

    len = draw(m, 8);
    len = len < 5 ? draw(m, 20) : len < 7 ? draw(m, 200)
                                            : draw(m, 8193);
    seed = draw(m, 3) ? ++m->seeds : 1;
    data_fill(data, seed, len);

    memset(&one, 0, sizeof(one));
    one.key = zstr(r_keys[k], strlen(r_keys[k]));
    one.data = zstr(data, len);
    one.idle = (what & STATE) ? draw(m, 2) : 0;
    one.anonymous = draw(m, 4) == 0;

    if (m->pressure) {
        pass(r_ask(m));
    }

    members = r_members(m, i);
    smallest = w->c[i].ref ? r_smallest(&w->z, &w->c[i]) : 0;
    kept = w->z.shm->nmembers;

    rc = fanout_member_put(&w->z, &w->c[i], cl->p.ref, &cl->p.id, &one, what,
                           &r);

    if (rc == FULL) {
        want(m, m->pressure, "put: full");
        m->full++;
        return 0;
    }

    if (s->state == 0 || w->c[i].ref == 0
        || (!(what & ENTER) && !(counted ? s->counted : e->there)))
    {
        want(m, rc == NOTFOUND, "put: %d", rc);
        return 0;
    }

    if (!(counted ? s->counted : e->there) && m->policy[i].members
        && members >= m->policy[i].members)
    {
        want(m, rc == CONFLICT || (rc == OK && m->pressure),
             "put: %d, of %u", rc, members);

        if (rc == CONFLICT) {
            return 0;
        }
    }

    want(m, rc == OK, "put: %d", rc);
    want(m, r.created == !(counted ? s->counted : e->there), "created: %u",
         r.created);

    if (counted) {
        s->counted = 1;
        return 0;
    }

    if (r.created) {

        /* who was not told to have left has the place of before */

        want(m, r.slot == smallest || m->pressure
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


int
r_sit(rmodel_t *m, r_client_t *cl)
{
    int          rc;
    unsigned     i;
    r_handle_t  *w;

    if (cl->where < 0) {
        return 0;
    }

    w = &m->h[cl->where];
    i = draw(m, R_CHANNELS);
    rc = draw(m, 8) ? r_open(m, cl->where, i) : 0;

    if (rc) {
        return rc == -1 ? -1 : 0;
    }

    rc = person_sit(&w->z, &w->c[i], &cl->p);

    if (rc == FULL) {
        want(m, m->pressure, "sit: full");
        m->full++;
        return 0;
    }

    want(m, rc == (w->c[i].ref ? OK : STALE), "sit: %d", rc);

    if (rc == OK) {
        cl->seat[i].state = R_LIVE;
    }

    return 0;
}


int
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
    k = draw(m, R_KEYS);
    s = &cl->seat[i];
    there = s->state && w->c[i].ref
            && (i == R_SUMMARY ? s->counted : s->m[k].there);

    rc = person_drop(&w->z, &w->c[i], &cl->p, r_keys[k]);
    want(m, rc == (there ? OK : NOTFOUND), "drop: %d", rc);

    if (there) {
        s->counted = 0;
        memset(&s->m[k], 0, sizeof(r_member_t));
    }

    return 0;
}


void
r_close_seat(rmodel_t *m, r_client_t *cl, unsigned i)
{
    r_handle_t  *w;

    if (cl->where < 0) {
        return;
    }

    w = &m->h[cl->where];
    fanout_seat_close(&w->z, &w->c[i], cl->p.ref, &cl->p.id,
                      1 + draw(m, 5));

    /* opened by the worker or not */
    memset(&cl->seat[i], 0, sizeof(r_seat_t));
}


int
r_end(rmodel_t *m, r_client_t *cl)
{
    uint32_t  linger;

    if (cl->where < 0) {
        return 0;
    }

    linger = draw(m, 4) ? m->linger : 0;

    if (linger && draw(m, 4) == 0) {
        linger = draw(m, 600) * 1000;
    }

    person_end(&m->h[cl->where].z, &cl->p, linger);
    r_cut(m, cl, linger);

    return 0;
}


void
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


int
r_resume(rmodel_t *m, r_client_t *cl)
{
    int       rc, wrong, again;
    unsigned  h, i;
    person_t  was;

    if (cl->where == R_NONE) {
        return 0;
    }

    h = r_worker(m);
    wrong = draw(m, 6) == 0;
    again = draw(m, 2) && cl->before.id.client;
    was = cl->p;

    if (again) {
        cl->p.id = cl->before.id;
    }

    if (wrong) {
        cl->p.id.secret[draw(m, 16)] ^= 1;
    }

    wrong |= again && (cl->tries == 0 || cl->tries == 7);

    rc = person_resume(&m->h[h].z, &cl->p);

    if (wrong || (cl->where == R_LINGERS
                  && cl->expires < fanout_test_seconds))
    {
        cl->p = was;
        want(m, rc == NOTFOUND, "resume: %d", rc);
        return 0;
    }

    if (rc != OK) {
        cl->p = was;
        want(m, m->pressure && rc == NOTFOUND && cl->where == R_LINGERS,
             "resume: %d", rc);

        if (rc == NOTFOUND) {
            r_gone(cl);
        }

        return 0;
    }

    if (again) {
        cl->tries++;

    } else {
        cl->tries = 1;
        cl->before = was;
    }

    if (cl->where >= 0) {
        r_order(m, cl->where, FANOUT_ORDER_REPLACED,
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


int
r_renew(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    unsigned  info;

    if (cl->where < 0) {
        return 0;
    }

    if (m->pressure) {
        pass(r_ask(m));
    }

    info = draw(m, R_INFOS);
    rc = person_renew(&m->h[cl->where].z, &cl->p, r_infos[info]);

    if (rc == FULL) {
        want(m, m->pressure, "renew: full");
        m->full++;
        return 0;
    }

    want(m, rc == OK, "renew: %d", rc);
    cl->info = info;

    return 0;
}


int
r_prove(rmodel_t *m, r_client_t *cl)
{
    unsigned  h;

    if (cl->where == R_NONE) {
        return 0;
    }

    if (cl->where >= 0 && draw(m, 2)) {
        fanout_identity_confirm(&m->h[cl->where].z, cl->p.ref, &cl->p.id);
        cl->tries = 0;
        return 0;
    }

    h = r_worker(m);

    if (cl->tries) {
        want(m, !fanout_identity_known(&m->h[h].z,
                                       &cl->before.id),
             "known by the secret before");
    }

    if (fanout_identity_known(&m->h[h].z, &cl->p.id)) {
        cl->tries = 0;
    }

    return 0;
}
