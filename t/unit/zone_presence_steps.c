/*
 * Orders, deaths, what is read, and whether all agree: the other part of
 * zone_presence_model.h.
 */


#include "zone_presence_model.h"



static int
r_sweep(rmodel_t *m)
{
    unsigned     c, i;
    r_client_t  *cl;

    want(m, sweep_all(&m->h[r_worker(m)].z) != -1, "an endless sweep");

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

static int
r_drain(rmodel_t *m, unsigned h, int turns)
{
    int          rc;
    uint32_t     k;
    entry_t     *e;
    r_handle_t  *w;

    w = &m->h[h];

    do {
        arena_reset(&m->a);
        rc = fanout_log_drain(&w->z, &m->a);
        want(m, rc == OK || rc == AGAIN, "drain: %d", rc);

        for (k = 0; k < m->a.n; k++) {
            e = &m->a.entries[k];
            want(m, e->local < R_CHANNELS && w->c[e->local].ref,
                 "local %u", e->local);
            want(m, mirror_entry(&w->mirror[e->local], e) == 0,
                 "worker %u, channel %u: %s", h, e->local,
                 w->mirror[e->local].error);
            m->gaps += e->type == FANOUT_GAP;
        }

    } while (rc == AGAIN && --turns);

    return 0;
}


static int
r_load(rmodel_t *m, unsigned h, unsigned i, unsigned max)
{
    mirror_t  *mi;

    mi = &m->h[h].mirror[i];

    if (m->h[h].c[i].ref && mi->state != MIRROR_KNOWN) {
        want(m, mirror_load(mi, &m->h[h].z, &m->h[h].c[i], max) >= 0,
             "worker %u, channel %u: %s", h, i, mi->error);
    }

    return 0;
}


static int
r_publish(rmodel_t *m)
{
    int       rc;
    result_t  r;
    unsigned  h, i;
    uint32_t  len;

    h = r_worker(m);
    i = draw(m, R_CHANNELS);
    len = draw(m, 10) ? draw(m, 300) : draw(m, 20000);

    if (draw(m, 40) == 0) {
        rc = fanout_channel_purge(&m->h[h].z, &m->h[h].c[i], NULL, 0, &r);
        want(m, rc == OK || rc == NOTFOUND || (rc == FULL && m->pressure),
             "purge: %d", rc);
        return 0;
    }

    rc = put(&m->h[h].z, &m->h[h].c[i], ++m->seeds, len,
             draw(m, 2) ? FANOUT_TRANSIENT : 0, NULL, &r);
    want(m, rc == OK || (rc == FULL && m->pressure), "publish: %d", rc);

    return 0;
}


static int
r_close(rmodel_t *m)
{
    unsigned     h, i, c;
    r_handle_t  *w;

    h = r_worker(m);
    i = draw(m, R_CHANNELS);
    w = &m->h[h];

    for (c = 0; draw(m, 4) && c < R_CLIENTS; c++) {
        if (m->cl[c].where == (int) h) {
            r_close_seat(m, &m->cl[c], i);
        }
    }

    /* an order to PART names the channel as it is known when it is given */

    fanout_channel_close(&w->z, &w->c[i]);
    mirror_forget(&w->mirror[i]);
    w->mirror[i].follows = 0;

    return 0;
}


static int
r_policy(rmodel_t *m)
{
    unsigned     h, i;
    policy_t    *p;
    r_handle_t  *w;

    h = r_worker(m);
    i = draw(m, R_CHANNELS);
    w = &m->h[h];
    p = &m->policy[i];

    if (w->c[i].ref == 0) {
        return 0;
    }

    p->linger = draw(m, 4) ? draw(m, 10) : draw(m, 600);
    p->batch = draw(m, 4) ? draw(m, 500) : 0;
    p->members = draw(m, 3) ? 0 : 1 + draw(m, 20);
    (void) fanout_channel_open(&w->z, &w->c[i], i);

    return 0;
}


/* The zone is full of what can't be evicted, down to the last block or nearly,
 * or it is not any more. */

static void
r_fill(rmodel_t *m)
{
    char      info[4001];
    uint32_t  ref;
    unsigned  len, least;
    order_t   o[64];

    while (fanout_slot_orders(&m->stone, o, 64)) { /* void */ }

    if (m->nstones) {
        while (m->nstones) {
            person_end(&m->stone, &m->stones[--m->nstones], 0);
        }

        return;
    }

    memset(info, 'i', sizeof(info));
    least = draw(m, 3) ? 0 : draw(m, 4000);

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
           && free_blocks(&m->stone)
           && fanout_identity_resume(&m->stone, &m->stones[0].id, 1,
                                     m->stones[0].id.secret, &ref)
              == OK)
    {
        /* void */
    }
}


/* who leads reads what happened, and has it taken, or not */

static int
r_events(rmodel_t *m)
{
    int       rc, leads;
    zone_t   *z;
    unsigned  n;

    z = &m->h[r_worker(m)].z;

    switch (draw(m, 12)) {
    case 0:
        fanout_hook_queue_yield(z);
        m->lead = m->lead == (unsigned) z->heap.slot + 1 ? 0 : m->lead;
        return 0;

    case 1:
        m->events = draw(m, 2) ? m->events : 1 + draw(m, 300);
        fanout_hook_queue_filter(z, m->w.mask, m->events);
        m->lead = m->w.mask ? m->lead : 0;
        want(m, z->shm->nevents <= (m->w.mask ? m->events : 0), "%u queued",
             z->shm->nevents);
        return 0;
    }

    leads = m->lead == 0 || m->lead == (unsigned) z->heap.slot + 1
            || fanout_test_seconds - m->lead_at > 10;
    rc = fanout_hook_queue_lead(z);
    want(m, rc == leads, "leads: %d", rc);

    if (!leads) {
        return 0;
    }

    m->lead = z->heap.slot + 1;
    m->lead_at = fanout_test_seconds;

    for (n = draw(m, 4); n; n--) {
        leads = draw(m, 3) != 0;
        m->repeated += !leads;
        rc = w_read(&m->w, z, 1 + draw(m, 80), 510 + draw(m, 20000),
                    leads);
        want(m, rc == OK || rc == AGAIN, "%s", m->w.error);
    }

    return 0;
}


/* all of it is read, and is what is */

static int
r_known(rmodel_t *m, zone_t *z)
{
    unsigned  c, n;

    want(m, w_read_all(&m->w, z) == 0, "%s", m->w.error);

    if (m->w.mask != E_ALL) {
        return 0;
    }

    if (m->w.soft) {
        w_forget(&m->w);

        for (c = 0; c < R_CLIENTS; c++) {
            if (m->cl[c].where != R_NONE) {
                w_learn(&m->w, z, m->cl[c].p.id.client);
            }
        }

        for (n = 0; n < m->nstones; n++) {
            w_learn(&m->w, z, m->stones[n].id.client);
        }

        return 0;
    }

    m->known++;
    want(m, w_true(&m->w, z) == 0, "%s", m->w.error);

    return 0;
}


/* all is told: zone, mirrors and model agree */

static int
r_compare(rmodel_t *m, unsigned i, mirror_t *now)
{
    uint8_t      data[FANOUT_ZONE_MEMBER];
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

        want(m, c < R_CLIENTS, "channel %u: a ghost in slot %u", i, s);

        for (k = 0; k < R_KEYS; k++) {
            if (sum(zstr(r_keys[k], strlen(r_keys[k]))) == f->key) {
                break;
            }
        }

        want(m, k < R_KEYS && m->cl[c].seat[i].m[k].there,
             "channel %u: client %u has no member", i, c);

        e = &m->cl[c].seat[i].m[k];
        data_fill(data, e->data, e->len);
        want(m, f->data == sum(zstr(data, e->len)), "channel %u: data of %u",
             i, c);
        want(m, f->idle == e->idle && f->anonymous == e->anonymous,
             "channel %u: state of client %u", i, c);
        want(m, f->user
                == sum(zstr(r_users[e->anonymous ? 0 : m->cl[c].user],
                            strlen(r_users[e->anonymous ? 0
                                           : m->cl[c].user]))),
             "channel %u: user of client %u", i, c);
    }

    want(m, i == R_SUMMARY || n == r_members(m, i),
         "channel %u: %u members, not %u", i, n, r_members(m, i));

    return 0;
}


int
r_settle(rmodel_t *m)
{
    int            rc, turns;
    uint32_t       ms;
    unsigned       h, i, seats, c;
    zone_t        *z;
    presence_t     presence;
    member_t       one;
    mirror_t       now, *mi;

    static uint8_t  buf[SECTION];

    z = &m->h[r_worker(m)].z;

    for (turns = 0; turns < 10000; turns++) {
        ms = fanout_presence_flush(z);

        for (h = 0; h < R_HANDLES; h++) {
            if (m->h[h].alive && !m->h[h].stopped) {
                pass(r_drain(m, h, 0));
            }
        }

        if (ms == UINT32_MAX) {
            break;
        }

        fanout_test_msec += ms;
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
    }

    want(m, turns < 10000, "endless");

    pass(r_ask(m));
    pass(r_known(m, z));
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

            want(m, r_members(m, i) == 0, "%s", now.error);
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
                steps_fail(&m->s, __LINE__, "mirror",
                           "worker %u, channel %u: %s", h, i, mi->error);
                rc = -1;
            }
        }

        mirror_done(&now);
        pass(rc);

        slot = UINT32_MAX;
        (void) fanout_presence_read(z, &c0, &slot, &one, 1, buf, SECTION, &n,
                                    &presence);

        for (seats = 0, c = 0; c < R_CLIENTS; c++) {
            seats += m->cl[c].seat[i].state != 0;
        }

        want(m, presence.seats == seats, "channel %u: %u seats, not %u", i,
             presence.seats, seats);
        want(m, presence.members == r_members(m, i),
             "channel %u: %u members, not %u", i, presence.members,
             r_members(m, i));
    }

    return 0;
}


/* what users have, page by page */

static int
r_asked(rmodel_t *m)
{
    int       rc;
    uint64_t  user, cursor, clients[3], all;
    unsigned  u, c, i, n, found, rounds;
    zone_t   *z;

    z = &m->h[r_worker(m)].z;
    u = 1 + draw(m, R_USERS - 1);
    user = fanout_zone_hash(z, r_users[u], strlen(r_users[u]));
    pass(r_ask(m));

    cursor = all = 0;
    found = rounds = 0;

    do {
        rc = fanout_user_clients(z, user, &cursor, clients, 3, &n);
        want(m, ++rounds < 100, "endless");

        for (i = 0; rc == OK && i < n; i++, found++) {
            for (c = 0; c < R_CLIENTS; c++) {
                if (m->cl[c].where != R_NONE
                    && m->cl[c].p.id.client == clients[i])
                {
                    break;
                }
            }

            want(m, c < R_CLIENTS && m->cl[c].user == u, "user %u", u);
            want(m, !(all & 1ULL << c), "twice");
            all |= 1ULL << c;
        }

    } while (rc == OK && cursor);

    for (n = 0, c = 0; c < R_CLIENTS; c++) {
        n += m->cl[c].where != R_NONE && m->cl[c].user == u;
    }

    want(m, n == found, "%u clients of %u, not %u", found, u, n);

    return 0;
}


int
r_check(rmodel_t *m)
{
    stat_t    st;
    zone_t   *z;

    z = &m->h[r_worker(m)].z;
    pass(steps_check(&m->s, z));

    fanout_zone_stat(z, &st);
    want(m, st.overflows == 0, "the journal is too short");

    return 0;
}


int
r_step(rmodel_t *m)
{
    unsigned     op, h, i;
    r_client_t  *cl;

    m->s.n++;
    op = draw(m, 214);
    cl = &m->cl[draw(m, R_CLIENTS)];

    if (op >= 211) {
        return r_renew(m, cl);
    }

    if (op >= 208) {
        return r_prove(m, cl);
    }

    if (op < 98) {
        if (cl->where == R_NONE) {
            return r_add(m, cl);
        }

        return op < 20 ? r_sit(m, cl) : op < 80 ? r_put(m, cl)
                                                : r_drop(m, cl);
    }

    if (op < 101) {
        r_close_seat(m, cl, draw(m, R_CHANNELS));
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
        return draw(m, 2) ? 0 : r_kill(m);
    }

    if (op < 126) {
        return r_reap(m);
    }

    if (op < 129) {
        return r_sweep(m);
    }

    if (op < 145) {
        h = r_worker(m);
        return m->h[h].stopped ? 0 : r_drain(m, h, 1 + draw(m, 4));
    }

    if (op < 160) {
        h = r_worker(m);
        i = draw(m, R_CHANNELS);
        pass(draw(m, 3) ? 0 : r_open(m, h, i) == -1);
        return r_load(m, h, i, 1 + draw(m, 20));
    }

    if (op < 172) {
        (void) fanout_presence_flush(&m->h[r_worker(m)].z);
        return 0;
    }

    if (op < 182) {
        fanout_test_msec += draw(m, 300);
        fanout_test_seconds += fanout_test_msec / 1000;
        fanout_test_msec %= 1000;
        return 0;
    }

    if (op < 185) {
        fanout_test_seconds += draw(m, 8) ? draw(m, 6) : draw(m, 400);
        return 0;
    }

    if (op < 191) {
        return r_publish(m);
    }

    if (op < 192) {
        return draw(m, 2) ? 0 : r_close(m);
    }

    if (op < 194) {
        return r_policy(m);
    }

    if (op < 195) {
        if (m->pressure && draw(m, 3) == 0) {
            r_fill(m);
        }

        return 0;
    }

    if (op < 197) {
        h = r_worker(m);
        m->h[h].stopped = draw(m, 3) == 0;
        return 0;
    }

    if (op < 198) {
        return r_asked(m);
    }

    if (op < 201) {
        return r_settle(m);
    }

    return r_events(m);
}


int
r_empty(rmodel_t *m, uint64_t start)
{
    unsigned   h, i;
    zone_t    *z;
    channel_t  c;

    for (h = 0; h < R_HANDLES; h++) {
        if (m->h[h].alive) {
            fanout_slot_release(&m->h[h].z);
            m->h[h].alive = 0;
        }
    }

    z = &m->h[0].z;
    fanout_slot_release(&m->stone);
    (void) fanout_slot_reap(z, 0, NULL);
    fanout_test_seconds += 100000;
    want(m, sweep_all(z) != -1, "an endless sweep");
    want(m, flush_all(z) != -1, "an endless flush");

    for (h = 0; h < R_CLIENTS; h++) {
        m->cl[h].where = R_NONE;
    }

    m->nstones = 0;
    pass(r_known(m, z));
    fanout_hook_queue_filter(z, 0, 0);

    for (i = 0; i < R_CHANNELS; i++) {
        c = view(z, m->names[i], NULL);
        (void) fanout_channel_purge(z, &c, NULL, 0, &(result_t) { 0 });
    }

    fanout_test_seconds += 100000;
    want(m, sweep_all(z) != -1, "an endless sweep");

    pass(steps_free(&m->s, z, start));

    m->h[0].alive = 1;
    h = r_check(m);
    m->h[0].alive = 0;

    return h;
}
