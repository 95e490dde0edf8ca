
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The indexes of a hub: its sessions by client and by user.  Several sessions
 * may have one key: all clients of a user, or a client with a session that was
 * replaced and is not closed yet.  The nodes are embedded in the sessions.
 */


#ifndef FANOUT_HUB_CLIENTS_H
#define FANOUT_HUB_CLIENTS_H


#include "hub/hub.h"


void fanout_clients_init(fanout_hub_t *hub);

/* The first node of a key, or NULL.  Further nodes of the key follow it in the
 * tree. */
ngx_rbtree_node_t *fanout_clients_first(ngx_rbtree_t *tree,
    ngx_rbtree_key_t key);


#endif /* FANOUT_HUB_CLIENTS_H */
