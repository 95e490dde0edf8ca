
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Who is addressed: sessions by client and by user, and the mail that waits
 * for those who were not there or could not take more.
 */


#include "ngx_http_fanout_session.h"
#include "ngx_http_fanout_dialect.h"


typedef struct {
    ngx_http_fanout_hub_t      *hub;
    ngx_http_fanout_channel_t  *channel;
    ngx_http_fanout_entry_t    *entry;
    ngx_http_fanout_frame_t    *frames[NGX_HTTP_FANOUT_FORMATS];
} direct_t;


#define by_client(node)                                                       \
    ((ngx_http_fanout_session_t *)                                            \
        ((u_char *) (node) - offsetof(ngx_http_fanout_session_t, by_client)))

#define by_user(node)                                                         \
    ((ngx_http_fanout_session_t *)                                            \
        ((u_char *) (node) - offsetof(ngx_http_fanout_session_t, by_user)))


static void replace(ngx_http_fanout_session_t *s, void *data);
static ngx_rbtree_node_t *first(ngx_rbtree_t *tree, ngx_rbtree_key_t key);
static void tell_session(ngx_http_fanout_session_t *s,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_addressed_pt tell,
    void *data);
static void tell_direct(ngx_http_fanout_subscription_t *sub, void *data);
static ngx_uint_t hand_direct(ngx_http_fanout_subscription_t *sub,
    direct_t *d);


/* the index; several may have one key: a client that was replaced and does
 * not know yet, all clients of a user */

void
ngx_http_fanout_index_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {
        p = (node->key < temp->key
             || (node->key == temp->key && node < temp))
            ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


void
ngx_http_fanout_session_index(ngx_http_fanout_session_t *s)
{
    ngx_http_fanout_session_unindex(s);

    if (s->identity.client == 0) {
        return;
    }

    s->by_client.key = (ngx_rbtree_key_t) s->identity.client;
    ngx_rbtree_insert(&s->hub->clients, &s->by_client);
    s->indexed = 1;

    if (s->identity.user) {
        s->by_user.key = (ngx_rbtree_key_t) s->identity.user;
        ngx_rbtree_insert(&s->hub->users, &s->by_user);
        s->owned = 1;
    }
}


void
ngx_http_fanout_session_unindex(ngx_http_fanout_session_t *s)
{
    if (s->indexed) {
        ngx_rbtree_delete(&s->hub->clients, &s->by_client);
        s->indexed = 0;
    }

    if (s->owned) {
        ngx_rbtree_delete(&s->hub->users, &s->by_user);
        s->owned = 0;
    }
}


void
ngx_http_fanout_session_of(ngx_http_fanout_hub_t *hub, uint64_t client,
    ngx_http_fanout_session_pt handler, void *data)
{
    ngx_rbtree_key_t            key;
    ngx_rbtree_node_t          *node, *next;
    ngx_http_fanout_session_t  *s;

    key = (ngx_rbtree_key_t) client;

    for (node = first(&hub->clients, key); node && node->key == key;
         node = next)
    {
        next = ngx_rbtree_next(&hub->clients, node);
        s = by_client(node);

        if (s->identity.client == client) {
            handler(s, data);
        }
    }
}


void
ngx_http_fanout_session_replace(ngx_http_fanout_hub_t *hub,
    uint64_t client)
{
    ngx_http_fanout_session_of(hub, client, replace, NULL);
}


static void
replace(ngx_http_fanout_session_t *s, void *data)
{
    ngx_http_fanout_session_unindex(s);
    s->identity.client = 0;

    ngx_http_fanout_session_close(s, 4409, "replaced");
}


static ngx_rbtree_node_t *
first(ngx_rbtree_t *tree, ngx_rbtree_key_t key)
{
    ngx_rbtree_node_t  *node, *found;

    node = tree->root;
    found = NULL;

    while (node != tree->sentinel) {

        if (key <= node->key) {
            found = key == node->key ? node : found;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    return found;
}


void
ngx_http_fanout_addressed(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e,
    ngx_http_fanout_addressed_pt tell, void *data)
{
    ngx_rbtree_key_t            key;
    ngx_rbtree_node_t          *node, *next;
    ngx_http_fanout_session_t  *s;

    key = (ngx_rbtree_key_t) (e->to_client ? e->to_client : e->to_user);
    node = first(e->to_client ? &hub->clients : &hub->users, key);

    for ( /* void */ ; node && node->key == key; node = next) {

        if (e->to_client) {
            next = ngx_rbtree_next(&hub->clients, node);
            s = by_client(node);

            if (s->identity.client == e->to_client) {
                tell_session(s, ch, tell, data);
            }

        } else {
            next = ngx_rbtree_next(&hub->users, node);
            s = by_user(node);

            if (s->identity.user == e->to_user) {
                /* all of them have one name */
                e->to.data = s->user.data;
                e->to.len = s->user.len;
                tell_session(s, ch, tell, data);
            }
        }
    }
}


static void
tell_session(ngx_http_fanout_session_t *s, ngx_http_fanout_channel_t *ch,
    ngx_http_fanout_addressed_pt tell, void *data)
{
    ngx_http_fanout_subscription_t  *sub;

    if (s->state != NGX_HTTP_FANOUT_OPEN) {
        return;
    }

    sub = ngx_http_fanout_session_sub(s, &ch->name);

    if (sub) {
        tell(sub, data);
    }
}


/* direct messages */

void
ngx_http_fanout_direct(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_http_fanout_entry_t *e)
{
    direct_t    d;
    ngx_uint_t  i;

    ngx_memzero(&d, sizeof(direct_t));

    d.hub = hub;
    d.channel = ch;
    d.entry = e;

    ngx_http_fanout_addressed(hub, ch, e, tell_direct, &d);

    for (i = 0; i < NGX_HTTP_FANOUT_FORMATS; i++) {
        if (d.frames[i]) {
            ngx_http_fanout_frame_release(hub, d.frames[i]);
        }
    }
}


static void
tell_direct(ngx_http_fanout_subscription_t *sub, void *data)
{
    direct_t  *d;

    d = data;

    if (d->entry->seq <= sub->seq || !ngx_http_fanout_wanted(sub, d->entry)) {
        return;
    }

    if (sub->state == NGX_HTTP_FANOUT_SUB_LIVE && hand_direct(sub, d)) {
        ngx_http_fanout_count(d->hub, direct_delivered);
        ngx_http_fanout_count(d->hub, delivered);
        return;
    }

    /* it reads it when it goes on */
    sub->mail = 1;
}


/* 0 if it lags, and be it since now */

static ngx_uint_t
hand_direct(ngx_http_fanout_subscription_t *sub, direct_t *d)
{
    ngx_http_fanout_frame_t    *f;
    ngx_http_fanout_session_t  *s;

    s = sub->session;

    if (d->frames[sub->format] == NULL) {
        d->frames[sub->format] = ngx_http_fanout_encode(d->hub, d->channel,
                                                   d->entry, sub->format);
    }

    f = d->frames[sub->format];

    if (f == NULL || ngx_http_fanout_session_full(s, f->used)) {
        ngx_http_fanout_session_lag(s);
        return 0;
    }

    ngx_http_fanout_session_give(sub, f, 0, f->used);

    return 1;
}


/* mail */

ngx_http_fanout_entry_t *
ngx_http_fanout_letter(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    uint64_t epoch, uint64_t after, uint64_t upto)
{
    int                              rc;
    uint64_t                         lost;
    ngx_uint_t                       tries;
    ngx_http_fanout_entry_t         *e;
    ngx_http_fanout_arena_t         *a;
    ngx_http_fanout_zone_channel_t   zc;

    if (s->identity_ref == 0) {
        return NULL;
    }

    ngx_http_fanout_hub_view(s->hub, channel, &zc);

    a = &s->hub->letter;
    e = &a->entries[0];
    lost = 0;

    for (tries = 0; tries < 8; tries++) {
        a->n = 0;
        a->used = 0;

        rc = ngx_http_fanout_mail_read(&s->hub->zone, &zc, &s->identity,
                                       after, upto, a, &lost);

        if (a->n || rc != NGX_HTTP_FANOUT_ZONE_AGAIN) {
            break;
        }
    }

    if (a->n && e->epoch != epoch) {
        return NULL;
    }

    if (lost > after && lost <= upto && (a->n == 0 || lost < e->offset)) {
        ngx_memzero(e, sizeof(ngx_http_fanout_entry_t));
        e->type = NGX_HTTP_FANOUT_GAP;
        e->epoch = epoch;
        e->from = lost - 1;
        e->offset = lost;
        return e;
    }

    if (a->n == 0) {
        return NULL;
    }

    e->to.data = s->user.data;
    e->to.len = s->user.len;

    return e;
}
