
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The check of a zone: sessions of addresses, budgets, and holders.
 */


#include "zone/budget.h"
#include "zone/verify.h"
#include "zone/log.h"
#include "zone/share.h"


static int verify_slot_addresses(walk_t *w, unsigned n);


/* Every worker has one block for an address: in its own list, and in the
 * hash. */

int
fanout_verify_addresses(walk_t *w)
{
    uint32_t           n;
    uint64_t           i;
    fanout_ref_t       ref, other;
    fanout_address_t  *a;

    for (i = 0; i < w->shm->nslots; i++) {
        try (verify_slot_addresses(w, i));
    }

    n = 0;

    for (i = 0; i <= w->shm->address_mask; i++) {
        ref = fanout_hash_table(w->z, address_hash)[i];

        for ( /* void */ ; ref; ref = a->hash_next) {
            must_of(w, ref, met(w, ref, SEEN_ADDRESS));
            must_of(w, ref, !w->marks[ref].listed);
            w->marks[ref].listed = 1;

            a = fanout_address(w->z, ref);
            must_of(w, ref, (a->address & w->shm->address_mask) == i);

            for (other = a->hash_next; other;
                 other = fanout_address(w->z, other)->hash_next)
            {
                must_of(w, ref, fanout_address(w->z, other)->address
                                != a->address
                                || fanout_address(w->z, other)->slot
                                   != a->slot);
            }

            n++;
        }
    }

    must(w, n == w->shm->naddresses);
    must(w, n == w->used[FANOUT_ADDRESSES]);

    return 0;
}


static int
verify_slot_addresses(walk_t *w, unsigned n)
{
    fanout_ref_t       ref, prev;
    fanout_address_t  *a;

    prev = 0;

    for (ref = w->shm->slots[n].addresses; ref; ref = a->slot_next) {
        try (meet(w, ref, SEEN_ADDRESS, 0));
        w->used[FANOUT_ADDRESSES]++;

        a = fanout_address(w->z, ref);
        must_of(w, ref, a->slot == n && a->slot_prev == prev && a->n != 0);
        prev = ref;
    }

    return 0;
}


/* Amounts are hints: only the places and the number of entries are checked. */

int
fanout_verify_budgets(walk_t *w)
{
    uint32_t          used;
    uint64_t          i, k;
    fanout_budget_t  *set;

    used = 0;

    for (i = 0; i <= w->shm->budget_mask; i++) {
        set = (fanout_budget_t *) ((uint8_t *) w->shm + w->shm->budgets)
              + i * FANOUT_BUDGET_WAYS;

        for (k = 0; k < FANOUT_BUDGET_WAYS; k++) {
            must_of(w, i, set[k].key == 0
                          || (set[k].key & w->shm->budget_mask) == i);
            must_of(w, i, k == 0 || set[k].key == 0
                          || (set[k].key != set[k - 1].key
                              && set[k - 1].key));
            used += (set[k].key != 0);
        }
    }

    must(w, used <= w->shm->nbudgets);

    return 0;
}


/* Each key is in the circles of its holder and its sender, after the previous
 * one; the first comes after the last. */

int
fanout_verify_key_owners(walk_t *w, fanout_ref_t ref)
{
    fanout_key_t     *key;
    fanout_ref_t      prev;
    fanout_holder_t  *h;
    fanout_sender_t  *s;

    key = fanout_key(w->z, ref);

    must_of(w, ref, key->holder <= w->shm->holder_mask);
    must_of(w, ref, key->sender <= w->shm->holder_mask);

    h = &w->holders[key->holder];
    prev = h->keys++ ? h->key_last
                     : fanout_holder_at(w->z, key->holder)->key_last;
    h->key_last = ref;

    must_of(w, ref, prev && prev < w->shm->heap.fresh);
    must_of(w, ref, fanout_key(w->z, prev)->own_next[FANOUT_BY_HOLDER]
                    == ref);

    s = &w->senders[key->sender];
    prev = s->keys++ ? s->key_last
                     : fanout_sender(w->z, key->sender)->key_last;
    s->key_last = ref;

    must_of(w, ref, prev && prev < w->shm->heap.fresh);
    must_of(w, ref, fanout_key(w->z, prev)->own_next[FANOUT_BY_SENDER]
                    == ref);

    return 0;
}


/* Each holder and sender must have exactly the sessions, members, keys,
 * channels, records and locks that were met. */

int
fanout_verify_holders(walk_t *w)
{
    uint64_t          i, sum;
    fanout_holder_t  *h;

    h = fanout_holder_at(w->z, 0);
    sum = 0;

    for (i = 0; i <= w->shm->holder_mask; i++) {
        must_of(w, i, h[i].sessions == w->holders[i].sessions);
        must_of(w, i, h[i].members == w->holders[i].members);
        must_of(w, i, h[i].keys == w->holders[i].keys);
        must_of(w, i, h[i].key_last == w->holders[i].key_last);
        must_of(w, i, h[i].channels == w->holders[i].channels);
        must_of(w, i, h[i].records == w->holders[i].records);
        must_of(w, i, fanout_sender(w->z, i)->keys == w->senders[i].keys);
        must_of(w, i, fanout_sender(w->z, i)->key_last
                      == w->senders[i].key_last);
        sum += h[i].sessions;
    }

    must(w, sum == w->shm->holding);

    return 0;
}
