
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The check of a zone: denials.
 */


#include "zone/denial_block.h"
#include "zone/verify.h"


static int verify_denial(walk_t *w, fanout_ref_t ref);
static int verify_denials_due(walk_t *w);


int
fanout_verify_denials(walk_t *w)
{
    uint32_t                n;
    uint64_t                change;
    fanout_ref_t            ref, last;
    fanout_denial_block_t  *b;

    n = last = 0;
    change = 0;

    for (ref = w->shm->denial_first; ref; ref = b->next) {
        try (verify_denial(w, ref));

        b = fanout_denial(w->z, ref);
        must_of(w, ref, b->prev == last && b->change > change);

        change = b->change;
        last = ref;
        n++;
    }

    must(w, last == w->shm->denial_last && change <= w->shm->denial_change);
    must(w, n == w->shm->ndenials);

    return verify_denials_due(w);
}


static int
verify_denial(walk_t *w, fanout_ref_t ref)
{
    fanout_denial_block_t  *b;

    try (meet(w, ref, SEEN_DENIAL, 0));

    b = fanout_denial(w->z, ref);

    must_of(w, ref, b->name && b->name_len && b->kind < FANOUT_NDENIALS);
    must_of(w, ref, b->place < FANOUT_DENIALS_WHEEL);
    must_of(w, ref, fanout_denial_find(w->z, b->kind, b->key) == ref);

    w->used[FANOUT_DENIALS]++;

    try (meet(w, b->name, SEEN_REST, 0));
    try (meet_rest(w, b->name, 0, fanout_denial_blocks(b->name_len) - 1,
                   FANOUT_DENIALS));

    return 0;
}


static int
verify_denials_due(walk_t *w)
{
    uint32_t                i, n;
    fanout_ref_t            ref, prev;
    fanout_denial_block_t  *b;

    n = 0;

    for (i = 0; i < FANOUT_DENIALS_WHEEL; i++) {
        prev = 0;

        for (ref = w->shm->denials_due[i]; ref; ref = b->due_next) {
            must_of(w, ref, met(w, ref, SEEN_DENIAL));

            b = fanout_denial(w->z, ref);
            must_of(w, ref, b->place == i && b->due_prev == prev);
            must(w, n++ < w->shm->ndenials);

            prev = ref;
        }
    }

    must(w, n == w->shm->ndenials);

    return 0;
}
