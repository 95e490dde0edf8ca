
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Snapshots of rosters: all members as JSON, once for all that ask.
 */


#include "hub/roster.h"


static ngx_int_t snapshot_member(fanout_hub_t *hub, fanout_snapshot_t *sn,
    fanout_roster_member_t *m, ngx_uint_t unnamed);


ngx_int_t
fanout_roster_snapshot(fanout_hub_t *hub, fanout_roster_t *r,
    ngx_uint_t unnamed, fanout_snapshot_t **sn)
{
    ngx_rbtree_node_t       *node;
    fanout_snapshot_t       *s;
    fanout_roster_member_t  *m;

    if (r->snapshot[unnamed] == NULL) {

        if (fanout_lists_full(hub)) {
            return NGX_AGAIN;
        }

        s = fanout_snapshot_create(hub, r->json + r->count + 1);
        if (s == NULL) {
            return NGX_ERROR;
        }

        node = r->places.root == &r->nowhere
               ? NULL : ngx_rbtree_min(r->places.root, &r->nowhere);

        for ( /* void */ ; node; node = ngx_rbtree_next(&r->places, node)) {
            m = ngx_rbtree_data(node, fanout_roster_member_t, place);

            if (snapshot_member(hub, s, m, unnamed) != NGX_OK) {
                fanout_snapshot_release(hub, s);
                return NGX_ERROR;
            }
        }

        fanout_spend(hub, r->json
                          + r->count * FANOUT_WORK_ENTRY);

        r->snapshot[unnamed] = s;
        r->snapshot_at[unnamed] = ngx_current_msec;
    }

    r->snapshot[unnamed]->refs++;
    *sn = r->snapshot[unnamed];

    return NGX_OK;
}


static ngx_int_t
snapshot_member(fanout_hub_t *hub, fanout_snapshot_t *sn,
    fanout_roster_member_t *m, ngx_uint_t unnamed)
{
    u_char           *json;
    size_t            rest;
    fanout_outbuf_t  *f;

    json = fanout_mirror_json(m);

    if (!unnamed || m->who_len == 0) {
        return fanout_snapshot_add(hub, sn, json, m->json_len);
    }

    if (fanout_snapshot_add(hub, sn, json, m->who_at) != NGX_OK) {
        return NGX_ERROR;
    }

    f = sn->outbuf;
    json += m->who_at + m->who_len;
    rest = m->json_len - m->who_at - m->who_len;

    if (fanout_outbuf_append(hub, f, json, rest) != NGX_OK) {
        return NGX_ERROR;
    }

    sn->chunks[sn->nchunks - 1].end = f->used;

    return NGX_OK;
}


void
fanout_snapshots_drop(fanout_hub_t *hub, fanout_roster_t *r, ngx_msec_t age)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (r->snapshot[i]
            && (age == 0 || ngx_current_msec - r->snapshot_at[i] > age))
        {
            fanout_snapshot_release(hub, r->snapshot[i]);
            r->snapshot[i] = NULL;
        }
    }
}


fanout_snapshot_t *
fanout_snapshot_create(fanout_hub_t *hub, size_t size)
{
    fanout_snapshot_t  *sn;

    sn = ngx_calloc(sizeof(fanout_snapshot_t), ngx_cycle->log);
    if (sn == NULL) {
        return NULL;
    }

    sn->refs = 1;
    sn->outbuf = fanout_outbuf_create(hub, size);

    if (sn->outbuf == NULL) {
        ngx_free(sn);
        return NULL;
    }

    sn->outbuf->list = 1;
    hub->lists += size;

    return sn;
}


ngx_int_t
fanout_snapshot_add(fanout_hub_t *hub, fanout_snapshot_t *sn,
    const u_char *json, size_t len)
{
    uint32_t          n;
    fanout_chunk_t   *chunk;
    fanout_outbuf_t  *f;

    f = sn->outbuf;
    chunk = sn->nchunks ? &sn->chunks[sn->nchunks - 1] : NULL;

    if (chunk && fanout_outbuf_literal(hub, f, ",") != NGX_OK) {
        return NGX_ERROR;
    }

    if (chunk == NULL
        || chunk->end - chunk->start + len >= FANOUT_CHUNK)
    {
        if (sn->nchunks == sn->max) {
            n = sn->max ? sn->max * 2 : 1;

            chunk = realloc(sn->chunks, n * sizeof(fanout_chunk_t));
            if (chunk == NULL) {
                return NGX_ERROR;
            }

            sn->chunks = chunk;
            sn->max = n;
        }

        chunk = &sn->chunks[sn->nchunks++];
        chunk->start = f->used;
        chunk->end = f->used;
    }

    if (fanout_outbuf_append(hub, f, json, len) != NGX_OK) {
        return NGX_ERROR;
    }

    chunk->end = f->used;

    return NGX_OK;
}


void
fanout_snapshot_release(fanout_hub_t *hub, fanout_snapshot_t *sn)
{
    if (--sn->refs == 0) {
        fanout_outbuf_release(hub, sn->outbuf);

        if (sn->chunks) {
            free(sn->chunks);
        }

        ngx_free(sn);
    }
}
