
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The indexes of a hub: its sessions by client, and by user.  Several may have
 * one key: a client that was replaced and does not know yet, all clients of a
 * user.  The nodes are the sessions'.
 */


#ifndef FANOUT_HUB_CLIENTS_H
#define FANOUT_HUB_CLIENTS_H


#include "hub/hub.h"


void fanout_clients_init(fanout_hub_t *hub);

/* The first node of a key; NULL.  The others are next in the tree. */
ngx_rbtree_node_t *fanout_clients_first(ngx_rbtree_t *tree,
    ngx_rbtree_key_t key);


#endif /* FANOUT_HUB_CLIENTS_H */
