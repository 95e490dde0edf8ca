
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Sessions by client and by user.
 */


#include "session/session.h"
#include "hub/clients.h"


#define by_client(node)                                                       \
    ((fanout_session_t *)                                                     \
        ((u_char *) (node) - offsetof(fanout_session_t, by_client)))

#define by_user(node)                                                         \
    ((fanout_session_t *)                                                     \
        ((u_char *) (node) - offsetof(fanout_session_t, by_user)))


static void call_for_session(fanout_session_t *s, fanout_channel_t *ch,
    fanout_recipients_pt handler, void *data);


void
fanout_session_index(fanout_session_t *s)
{
    fanout_session_unindex(s);

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
fanout_session_unindex(fanout_session_t *s)
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
fanout_session_of(fanout_hub_t *hub, uint64_t client,
    fanout_session_pt handler, void *data)
{
    ngx_rbtree_key_t    key;
    fanout_session_t   *s;
    ngx_rbtree_node_t  *node, *next;

    key = (ngx_rbtree_key_t) client;

    for (node = fanout_clients_first(&hub->clients, key);
         node && node->key == key;
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
fanout_addressed(fanout_hub_t *hub, fanout_channel_t *ch, fanout_entry_t *e,
    fanout_recipients_pt handler, void *data)
{
    ngx_rbtree_key_t    key;
    fanout_session_t   *s;
    ngx_rbtree_node_t  *node, *next;

    key = (ngx_rbtree_key_t) (e->to_client ? e->to_client : e->to_user);
    node = fanout_clients_first(e->to_client ? &hub->clients : &hub->users,
                                key);

    for ( /* void */ ; node && node->key == key; node = next) {

        if (e->to_client) {
            next = ngx_rbtree_next(&hub->clients, node);
            s = by_client(node);

            if (s->identity.client == e->to_client) {
                call_for_session(s, ch, handler, data);
            }

        } else {
            next = ngx_rbtree_next(&hub->users, node);
            s = by_user(node);

            if (s->identity.user == e->to_user) {
                /* all sessions of a user have one name */
                e->to.data = s->user.data;
                e->to.len = s->user.len;
                call_for_session(s, ch, handler, data);
            }
        }
    }
}


static void
call_for_session(fanout_session_t *s, fanout_channel_t *ch,
    fanout_recipients_pt handler, void *data)
{
    fanout_subscription_t  *sub;

    if (s->state != FANOUT_OPEN) {
        return;
    }

    sub = fanout_session_sub(s, &ch->name);

    if (sub) {
        handler(sub, data);
    }
}
