/*
 * The model of presence: orders, who has lost a session, deaths of workers.
 */


#include "zone_presence_model.h"


int
r_orders(rmodel_t *m, unsigned h)
{
    unsigned     i, k, n, look;
    order_t      o[R_ORDERS], *want;
    r_handle_t  *w;

    w = &m->h[h];
    n = 0;
    look = 0;

    do {
        i = fanout_slot_orders(&w->z, o + n, 1 + draw(m, 9));
        n += i;
    } while (i && n < R_ORDERS - 10);

    for (i = 0, k = 0; i < n; i++) {
        if (o[i].op == FANOUT_ORDER_LOOK) {
            want(m, m->pressure, "told to look");
            m->looks++;
            look = 1;
            continue;
        }

        o[k++] = o[i];
    }

    n = k;

    if (w->norders < R_ORDERS - 10) {
        want(m, look ? n < w->norders : n == w->norders,
             "%u orders, not %u", n, w->norders);
    }

    for (i = 0, k = 0; i < n && w->norders < R_ORDERS - 10; i++, k++) {
        want = &w->orders[k];

        while (look && k + n < w->norders + i
               && (o[i].op != want->op || o[i].client != want->client
                   || o[i].local != want->local))
        {
            want = &w->orders[++k];
        }

        want(m, o[i].op == want->op && o[i].client == want->client
                && o[i].local == want->local, "order %u: %u of %llx", i,
             o[i].op, (unsigned long long) o[i].client);

    }

    w->norders = 0;

    return 0;
}


/* workers die, are reaped, and come */

int
r_kill(rmodel_t *m)
{
    unsigned     h, n, c;
    r_handle_t  *w;

    for (n = 0, h = 0; h < R_HANDLES; h++) {
        n += m->h[h].alive;
    }

    h = draw(m, R_HANDLES);
    w = &m->h[h];

    if (!w->alive) {
        (void) r_claim(m, h);
        return 0;
    }

    if (n < 3) {
        return 0;
    }

    w->alive = 0;
    m->kills++;

    if (draw(m, 3)) {
        m->dead |= 1ULL << w->z.heap.slot;

        /* what death does to its mutex */

        (void) pthread_mutex_unlock(&w->z.shm->slots[w->z.heap.slot].life);

    } else {
        m->lead = m->lead == (unsigned) w->z.heap.slot + 1 ? 0 : m->lead;
        fanout_slot_release(&w->z);
    }

    for (c = 0; c < R_CLIENTS; c++) {
        if (m->cl[c].where != (int) h) {
            continue;
        }

        if (w->z.heap.slot == -1) {
            r_gone(&m->cl[c]);

        } else {
            m->cl[c].where = R_ORPHAN;
        }
    }

    r_attach(m, h);

    return 0;
}


int
r_reap(rmodel_t *m)
{
    uint32_t  linger;
    unsigned  c;

    linger = draw(m, 4) ? m->linger : 0;
    (void) fanout_slot_reap(&m->h[r_worker(m)].z, linger, NULL);

    if (m->lead && m->dead >> (m->lead - 1) & 1) {
        m->lead = 0;
    }

    m->dead = 0;

    for (c = 0; c < R_CLIENTS; c++) {
        if (m->cl[c].where == R_ORPHAN) {
            r_cut(m, &m->cl[c], linger);
        }
    }

    return 0;
}


int
r_stale(rmodel_t *m, r_client_t *cl)
{
    unsigned     i;
    r_handle_t  *w;

    if (cl->old_at == 0 || !m->h[cl->old_at - 1].alive) {
        return 0;
    }

    w = &m->h[cl->old_at - 1];
    i = draw(m, R_CHANNELS);

    want(m, fanout_identity_lost(&w->z, cl->old.ref,
                                 &cl->old.id), "not lost");

    fanout_identity_confirm(&w->z, cl->old.ref, &cl->old.id);

    switch (draw(m, 4)) {
    case 0:
        person_end(&w->z, &cl->old, draw(m, 2) * 1000);
        break;
    case 1:
        fanout_seat_close(&w->z, &w->c[i], cl->old.ref, &cl->old.id, 1);
        break;
    case 2:
        want(m, person_drop(&w->z, &w->c[i], &cl->old, r_keys[0])
                == NOTFOUND, "dropped by the old session");
        break;
    default:
        want(m, person_sit(&w->z, &w->c[i], &cl->old) == STALE,
             "sat down by the old session");
    }

    return 0;
}


int
r_kick(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    unsigned  h, i;

    h = r_worker(m);
    i = draw(m, R_CHANNELS);

    rc = fanout_seat_kick(&m->h[h].z, &m->h[h].c[i],
                          cl->p.id.client, 4);

    if (cl->where == R_NONE || cl->seat[i].state == 0) {
        want(m, rc == NOTFOUND, "kick: %d", rc);
        return 0;
    }

    want(m, rc == OK || (m->pressure && cl->where == R_LINGERS),
         "kick: %d", rc);

    if (cl->where >= 0 && m->h[cl->where].c[i].ref) {
        r_order(m, cl->where, FANOUT_ORDER_REMOVE, cl->p.id.client, i);
    }

    memset(&cl->seat[i], 0, sizeof(r_seat_t));

    return 0;
}


int
r_disconnect(rmodel_t *m, r_client_t *cl)
{
    int       rc;
    unsigned  h;

    h = r_worker(m);
    rc = fanout_client_disconnect(&m->h[h].z, cl->p.id.client, 4000);

    if (cl->where == R_NONE) {
        want(m, rc == NOTFOUND, "disconnect: %d", rc);
        return 0;
    }

    want(m, rc == OK || (m->pressure && cl->where == R_LINGERS),
         "disconnect: %d", rc);

    if (cl->where != R_LINGERS) {
        r_order(m, cl->where, FANOUT_ORDER_DISCONNECT, cl->p.id.client, 0);
    }

    r_gone(cl);

    return 0;
}
