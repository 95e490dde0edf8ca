
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/grants.h"
#include "base/time.h"


/* an op, whether a user or a client follows, the place; that, NUL, the
 * channel */
#define FANOUT_GRANT_HEAD  (2 + sizeof(void *))
#define FANOUT_GRANT_KEY   (FANOUT_GRANT_HEAD + FANOUT_NAME + 1 + FANOUT_NAME)


static size_t grant_key(u_char *p, const fanout_grantee_t *who, ngx_uint_t op,
    ngx_str_t *channel);
static fanout_grant_t *grant_create(fanout_grants_t *g, ngx_str_t *key);
static fanout_grants_holder_t *grants_holder(fanout_grants_t *g, uint64_t hash);
static fanout_error_e grants_crowded(fanout_grants_t *g,
    fanout_grants_holder_t *holder);
static void grant_list(fanout_grant_t *grant);
static void grants_shrink(fanout_grant_t *grant);
static void grant_unlist(fanout_grant_t *grant);
static fanout_grant_t *grant_known(fanout_grants_t *g,
    const fanout_grantee_t *who, ngx_uint_t op, ngx_str_t *channel);
static ngx_uint_t grant_of(fanout_grant_t *grant, ngx_str_t *channel);


/* grants in hand */

static fanout_grant_t          **hand;
static ngx_uint_t                nhand;
static const ngx_connection_t   *hand_of;


void
fanout_grants_init(fanout_grants_t *g)
{
    ngx_rbtree_init(&g->tree, &g->sentinel, ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&g->holders, &g->no_holder, ngx_rbtree_insert_value);
    ngx_queue_init(&g->ages);
}


/* Without a user or a client a key is of nobody else. */

static size_t
grant_key(u_char *p, const fanout_grantee_t *who, ngx_uint_t op,
    ngx_str_t *channel)
{
    u_char  *start;

    static uint64_t  last;

    start = p;
    *p++ = (u_char) ffs(op);
    *p++ = who->user.len ? 'u' : who->client ? 'c' : 'n';
    p = ngx_cpymem(p, &who->place, sizeof(void *));

    if (who->user.len) {
        p = ngx_cpymem(p, who->user.data, who->user.len);

    } else if (who->client) {
        p = ngx_cpymem(p, &who->client, sizeof(uint64_t));

    } else {
        last++;
        p = ngx_cpymem(p, &last, sizeof(uint64_t));
    }

    *p++ = '\0';

    if (channel->len) {
        p = ngx_cpymem(p, channel->data, channel->len);
    }

    return p - start;
}


fanout_grant_t *
fanout_grants_find(fanout_grants_t *g, const fanout_grantee_t *who,
    ngx_uint_t op, ngx_str_t *channel)
{
    fanout_grant_t  *grant;

    grant = grant_known(g, who, op, channel);

    if (grant) {
        grant->refs++;
    }

    return grant;
}


static fanout_grant_t *
grant_known(fanout_grants_t *g, const fanout_grantee_t *who, ngx_uint_t op,
    ngx_str_t *channel)
{
    u_char           buf[FANOUT_GRANT_KEY];
    ngx_str_t        key;
    fanout_grant_t  *grant;

    if (who->user.len == 0 && who->client == 0) {
        return NULL;
    }

    key.data = buf;
    key.len = grant_key(buf, who, op, channel);

    grant = (fanout_grant_t *)
                ngx_str_rbtree_lookup(&g->tree, &key,
                                      ngx_murmur_hash2(key.data, key.len));

    if (grant == NULL || !grant->answered) {
        return grant;
    }

    if ((ngx_msec_int_t) (grant->until - ngx_current_msec) <= 0) {
        grant_unlist(grant);
        return NULL;
    }

    ngx_queue_remove(&grant->age);
    ngx_queue_insert_tail(&g->ages, &grant->age);

    return grant;
}


fanout_grant_t *
fanout_grants_open(fanout_grants_t *g, const fanout_grantee_t *who,
    ngx_uint_t op, ngx_str_t *channel, fanout_error_e *rc)
{
    u_char                   buf[FANOUT_GRANT_KEY];
    ngx_str_t                key;
    fanout_grant_t          *grant;
    fanout_grants_holder_t  *holder;

    *rc = FANOUT_E_INTERNAL;

    holder = grants_holder(g, who->holder);
    if (holder == NULL) {
        return NULL;
    }

    key.data = buf;
    key.len = grant_key(buf, who, op, channel);

    *rc = grants_crowded(g, holder);
    grant = NULL;

    if (*rc == FANOUT_E_NONE) {
        grant = grant_create(g, &key);
        *rc = grant ? FANOUT_E_NONE : FANOUT_E_INTERNAL;
    }

    if (grant == NULL) {

        if (holder->refs == 0) {
            ngx_rbtree_delete(&g->holders, &holder->node);
            ngx_free(holder);
        }

        return NULL;
    }

    grant->op = op;
    grant->place = who->place;
    grant->holder = holder;

    holder->refs++;
    holder->open++;
    g->open++;

    grant_list(grant);

    return grant;
}


static fanout_grant_t *
grant_create(fanout_grants_t *g, ngx_str_t *key)
{
    fanout_grant_t  *grant;

    grant = ngx_alloc(sizeof(fanout_grant_t) + key->len, ngx_cycle->log);
    if (grant == NULL) {
        return NULL;
    }

    ngx_memzero(grant, sizeof(fanout_grant_t));

    grant->grants = g;
    grant->refs = 1;
    ngx_queue_init(&grant->askers);

    grant->node.str.data = (u_char *) (grant + 1);
    grant->node.str.len = key->len;
    ngx_memcpy(grant->node.str.data, key->data, key->len);

    return grant;
}


static fanout_grants_holder_t *
grants_holder(fanout_grants_t *g, uint64_t hash)
{
    ngx_rbtree_node_t       *node;
    fanout_grants_holder_t  *holder;

    node = g->holders.root;

    while (node != &g->no_holder) {

        if (hash == node->key) {
            return (fanout_grants_holder_t *) node;
        }

        node = hash < node->key ? node->left : node->right;
    }

    holder = ngx_calloc(sizeof(fanout_grants_holder_t), ngx_cycle->log);
    if (holder == NULL) {
        return NULL;
    }

    ngx_queue_init(&holder->grants);
    holder->node.key = hash;
    ngx_rbtree_insert(&g->holders, &holder->node);

    return holder;
}


/* A holder alone gets a quarter of the questions, k of them 1/(3 + k) each. */

static fanout_error_e
grants_crowded(fanout_grants_t *g, fanout_grants_holder_t *holder)
{
    ngx_uint_t  share;

    if (g->open >= g->queue) {
        return FANOUT_E_UNAVAILABLE;
    }

    share = (g->queue - g->open) / 3;

    return holder->open >= ngx_max(share, FANOUT_GRANT_SHARE)
           ? FANOUT_E_RATE_LIMITED : FANOUT_E_NONE;
}


void
fanout_grant_close(fanout_grant_t *grant, ngx_msec_t ttl)
{
    grant->answered = 1;
    grant->until = ngx_current_msec + ttl;
    grant->holder->open--;
    grant->grants->open--;

    if (ttl == 0) {
        grant_unlist(grant);
        return;
    }

    ngx_queue_insert_tail(&grant->grants->ages, &grant->age);
    grants_shrink(grant);
}


/* The tree has a reference. */

static void
grant_list(fanout_grant_t *grant)
{
    fanout_grants_t  *g;

    g = grant->grants;

    grant->node.node.key = ngx_murmur_hash2(grant->node.str.data,
                                            grant->node.str.len);
    ngx_rbtree_insert(&g->tree, &grant->node.node);
    ngx_queue_init(&grant->age);

    grant->listed = 1;
    grant->refs++;
    g->n++;

    ngx_queue_insert_tail(&grant->holder->grants, &grant->own);
    grant->holder->n++;
}


/* There is one more answer: the oldest of its holder go, and of all.  Questions
 * stay while they are open. */

static void
grants_shrink(fanout_grant_t *grant)
{
    ngx_uint_t               share;
    ngx_queue_t             *q, *next;
    fanout_grant_t          *old;
    fanout_grants_t         *g;
    fanout_grants_holder_t  *holder;

    g = grant->grants;
    holder = grant->holder;
    share = ngx_max(g->max / FANOUT_GRANT_PART, FANOUT_GRANT_SHARE);

    for (q = ngx_queue_head(&holder->grants);
         q != ngx_queue_sentinel(&holder->grants) && holder->n > share;
         q = next)
    {
        next = ngx_queue_next(q);
        old = ngx_queue_data(q, fanout_grant_t, own);

        if (old->answered && old != grant) {
            grant_unlist(old);
        }
    }

    while (g->n > g->max) {
        old = ngx_queue_data(ngx_queue_head(&g->ages), fanout_grant_t, age);

        if (old == grant) {
            break;
        }

        grant_unlist(old);
    }
}


static void
grant_unlist(fanout_grant_t *grant)
{
    fanout_grants_t  *g;

    g = grant->grants;

    ngx_rbtree_delete(&g->tree, &grant->node.node);
    ngx_queue_remove(&grant->age);
    ngx_queue_remove(&grant->own);

    grant->listed = 0;
    grant->holder->n--;
    g->n--;

    fanout_grant_release(grant);
}


void
fanout_grant_release(fanout_grant_t *grant)
{
    fanout_grants_holder_t  *holder;

    if (--grant->refs) {
        return;
    }

    holder = grant->holder;

    if (--holder->refs == 0) {
        ngx_rbtree_delete(&grant->grants->holders, &holder->node);
        ngx_free(holder);
    }

    if (grant->text.data) {
        ngx_free(grant->text.data);
    }

    if (grant->connect) {
        ngx_free(grant->connect);
    }

    if (grant->presence.data) {
        ngx_free(grant->presence.data);
    }

    ngx_free(grant);
}


ngx_uint_t
fanout_grant_ops(const fanout_grant_t *grant)
{
    if (!grant->answered || grant->rc != FANOUT_E_NONE
        || (grant->expires && grant->expires <= fanout_time()))
    {
        return 0;
    }

    return grant->ops;
}


void
fanout_grant_channel(const fanout_grant_t *grant, ngx_str_t *channel)
{
    u_char  *p, *last;

    p = grant->node.str.data + FANOUT_GRANT_HEAD;
    last = grant->node.str.data + grant->node.str.len;

    p = grant->node.str.data[1] == 'u' ? ngx_strlchr(p, last, '\0')
                                       : p + sizeof(uint64_t);

    channel->data = p + 1;
    channel->len = last - channel->data;
}


/* grants in hand */

void
fanout_grants_take(const ngx_connection_t *c, fanout_grant_t **grants,
    ngx_uint_t n)
{
    hand_of = c;
    hand = grants;
    nhand = n;
}


void
fanout_grants_put(void)
{
    nhand = 0;
}


ngx_uint_t
fanout_grants_check(fanout_grants_t *const *asked,
    const fanout_grantee_t *who, ngx_uint_t ops, ngx_str_t *channel)
{
    ngx_uint_t       i, may;
    fanout_grant_t  *grant;

    may = 0;

    for (i = 0; i < nhand; i++) {
        if (hand_of == who->connection && grant_of(hand[i], channel)) {
            may |= fanout_grant_ops(hand[i]);
        }
    }

    for (i = 0; asked && i < FANOUT_MAY_N; i++) {

        if (asked[i] == NULL || !(ops & ((ngx_uint_t) 1 << i))
            || (may & ((ngx_uint_t) 1 << i)))
        {
            continue;
        }

        grant = grant_known(asked[i], who, (ngx_uint_t) 1 << i, channel);

        if (grant) {
            may |= fanout_grant_ops(grant) & ((ngx_uint_t) 1 << i);
        }
    }

    return may & ops;
}


fanout_grant_t *
fanout_grants_answered(fanout_grants_t *const *asked,
    const fanout_grantee_t *who, ngx_uint_t op, ngx_str_t *channel)
{
    fanout_grant_t  *grant;

    grant = fanout_grants_in_hand(who->connection, op, channel);

    if (grant == NULL && asked[ffs(op) - 1]) {
        grant = grant_known(asked[ffs(op) - 1], who, op, channel);
    }

    return grant && grant->answered ? grant : NULL;
}


fanout_grant_t *
fanout_grants_in_hand(const ngx_connection_t *c, ngx_uint_t op,
    ngx_str_t *channel)
{
    ngx_uint_t  i;

    for (i = 0; i < nhand && hand_of == c; i++) {
        if (hand[i]->op == op && grant_of(hand[i], channel)) {
            return hand[i];
        }
    }

    return NULL;
}


static ngx_uint_t
grant_of(fanout_grant_t *grant, ngx_str_t *channel)
{
    ngx_str_t  name;

    fanout_grant_channel(grant, &name);

    return name.len == channel->len && name.len
           && ngx_memcmp(name.data, channel->data, name.len) == 0;
}
