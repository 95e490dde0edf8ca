
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "hub/clients.h"


static void clients_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel);


void
fanout_clients_init(fanout_hub_t *hub)
{
    ngx_rbtree_init(&hub->clients, &hub->sentinel, clients_insert);
    ngx_rbtree_init(&hub->users, &hub->sentinel, clients_insert);
}


static void
clients_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
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


ngx_rbtree_node_t *
fanout_clients_first(ngx_rbtree_t *tree, ngx_rbtree_key_t key)
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
