#include "heap_toy.h"


static const fanout_links_t  stack_links = {
    .next = offsetof(record_t, stack_next),
    .prev = offsetof(record_t, stack_prev)
};

static const fanout_links_t  list_links = {
    .next = offsetof(part_t, list_next),
    .prev = offsetof(part_t, list_prev),
    .part = offsetof(record_t, part)
};

static const fanout_links_t  queue_links = {
    .next = offsetof(record_t, queue_next)
};

static const fanout_links_t  single_links = {
    .next = offsetof(record_t, single_next)
};

static const fanout_links_t  deque_links = {
    .next = offsetof(record_t, deque_next),
    .prev = offsetof(record_t, deque_prev)
};

static const fanout_links_t  ring_links = {
    .next = offsetof(record_t, ring_next),
    .prev = offsetof(record_t, ring_prev)
};

static const fanout_links_t  circle_links = {
    .next = offsetof(record_t, circle_next)
};

const fanout_wheel_t  toy_wheel = {
    .links.next = offsetof(record_t, wheel_next),
    .links.prev = offsetof(record_t, wheel_prev),
    .places = PLACES
};

static const fanout_hash_t  toy_hash = {
    .links.next = offsetof(record_t, hash_next),
    .table = offsetof(shm_t, hash),
    .mask = offsetof(shm_t, mask)
};


/* the owner: it has nothing to evict */

static int
toy_attainable(fanout_zone_t *z, const fanout_need_t *need)
{
    return z->shm->heap.nfree >= need->n;
}


static int
toy_exceeds(fanout_zone_t *z, const fanout_need_t *need)
{
    return 0;
}


static int
toy_relieve(fanout_zone_t *z, const fanout_need_t *need)
{
    return 0;
}


static void
toy_full(fanout_zone_t *z, const fanout_need_t *need)
{
}


static void
toy_format(fanout_zone_t *z)
{
    shm_t  *shm;

    shm = z->shm;

    memset(shm->refs, 0, sizeof(shm_t) - offsetof(shm_t, refs));
    fanout_heap_format(&shm->heap);
}


static const fanout_reclaimer_t  toy_reclaimers[] = {
    { NULL, NULL, 0 }
};

static const fanout_owner_t  toy_owner = {
    .reclaimers = toy_reclaimers,
    .attainable = toy_attainable,
    .exceeds = toy_exceeds,
    .relieve = toy_relieve,
    .full = toy_full,
    .format = toy_format
};


void
toy_setup(fanout_zone_t *z)
{
    shm_t  *shm;

    shm = mmap(NULL, SIZE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
               0);

    if (shm == MAP_FAILED
        || fanout_heap_create(&shm->heap) != FANOUT_ZONE_OK)
    {
        perror("setup");
        exit(2);
    }

    z->shm = shm;
    shm->heap.magic = FANOUT_MAGIC;
    shm->heap.size = SIZE;
    shm->heap.journal = (sizeof(shm_t) + 63) & ~63ULL;
    shm->process.efd = -1;
    shm->hash = offsetof(shm_t, buckets);
    shm->mask = BUCKETS - 1;

    if (fanout_heap_place(&shm->heap, shm->heap.journal
                                      + FANOUT_JOURNAL * sizeof(fanout_undo_t))
        != FANOUT_ZONE_OK)
    {
        fprintf(stderr, "setup: small\n");
        exit(2);
    }

    toy_format(z);
    fanout_heap_attach(z, &shm->heap, &toy_owner, &shm->process,
                       sizeof(fanout_process_t), 1);
}


/* what is in the zone: -1 if a link leads to nowhere */

static int
read_list(fanout_zone_t *z, const fanout_links_t *l, fanout_ref_t first,
    fanout_ref_t last, fanout_ref_t end, uint8_t *ids)
{
    unsigned      n;
    fanout_ref_t  ref, prev;

    prev = last;
    ref = first;

    for (n = 0; ref; n++) {
        if (n == RECORDS || ref >= z->shm->heap.nblocks) {
            return -1;
        }

        if (l->prev && *fanout_prev(z, l, ref) != prev) {
            return -1;
        }

        ids[n] = ((record_t *) fanout_at(z, ref))->id + 1;

        prev = ref;
        ref = *fanout_next(z, l, ref);

        if (ref == end) {
            return prev;
        }
    }

    return 0;
}


static int
read_zone(fanout_zone_t *z, model_t *m)
{
    int           bad;
    shm_t        *shm;
    unsigned      i;
    fanout_ref_t  first, last;

    shm = z->shm;
    memset(m, 0, sizeof(model_t));

    for (i = 0; i < RECORDS; i++) {
        m->alive[i] = shm->refs[i] != 0;
    }

    bad = read_list(z, &stack_links, shm->stack, 0, 0, m->ids[STACK]) == -1;

    bad |= read_list(z, &list_links, shm->list_first, 0, 0, m->ids[LIST])
           != (int) shm->list_last;

    bad |= read_list(z, &queue_links, shm->queue_first, 0, 0, m->ids[QUEUE])
           != (int) shm->queue_last;

    bad |= read_list(z, &single_links, shm->single, 0, 0, m->ids[SINGLE])
           == -1;

    last = shm->deque ? *fanout_prev(z, &deque_links, shm->deque) : 0;
    bad |= read_list(z, &deque_links, shm->deque, last, 0, m->ids[DEQUE])
           != (int) last;

    last = shm->ring ? *fanout_prev(z, &ring_links, shm->ring) : 0;
    bad |= read_list(z, &ring_links, shm->ring, last, shm->ring, m->ids[RING])
           != (int) last;

    first = shm->circle ? *fanout_next(z, &circle_links, shm->circle) : 0;
    bad |= read_list(z, &circle_links, first, 0, first, m->ids[CIRCLE])
           != (int) shm->circle;

    for (i = 0; i < PLACES; i++) {
        bad |= read_list(z, &toy_wheel.links, shm->wheel[i], 0, 0,
                         m->ids[WHEEL + i])
               == -1;
    }

    for (i = 0; i < BUCKETS; i++) {
        bad |= read_list(z, &toy_hash.links, shm->buckets[i], 0, 0,
                         m->ids[HASH + i])
               == -1;
    }

    return bad ? -1 : 0;
}


/* whether the accounts of the heap are exact */

static int
heap_exact(fanout_zone_t *z)
{
    uint32_t            n, used;
    unsigned            i;
    fanout_ref_t        ref;
    fanout_heap_shm_t  *shm;

    shm = &z->shm->heap;
    n = shm->nblocks - shm->fresh;
    used = 0;

    for (ref = shm->free; ref && n <= shm->nblocks; n++) {
        ref = fanout_block(z, ref)->next;
    }

    for (i = 0; i < RECORDS; i++) {
        used += z->shm->refs[i] ? 2 : 0;
    }

    return n == shm->nfree && used == shm->used[0] && shm->overflows == 0
           && n + used + shm->nlimbo == shm->nblocks - 1;
}


int
toy_holds(fanout_zone_t *z, const model_t *want)
{
    model_t  got;

    return read_zone(z, &got) == 0
           && memcmp(&got, want, sizeof(model_t)) == 0
           && heap_exact(z);
}


/* the zone does a step */

fanout_ref_t
toy_make(fanout_zone_t *z, unsigned id)
{
    record_t      *r;
    fanout_ref_t   ref;

    ref = fanout_alloc(z, 1, 0, NULL);
    r = fanout_at(z, ref);

    /* what is written over, or else never read */
    memset((uint8_t *) r + 4, 0xa5, FANOUT_BLOCK - 4);

    r->id = id;
    r->part = fanout_alloc(z, 1, 0, NULL);
    memset((uint8_t *) fanout_at(z, r->part) + 4, 0xa5, FANOUT_BLOCK - 4);

    fanout_set(z, z->shm->refs[id], ref);

    return ref;
}


static void
toy_add(fanout_zone_t *z, const step_t *s, fanout_ref_t ref)
{
    shm_t  *shm;

    shm = z->shm;

    switch (s->list) {

    case STACK:
        fanout_list_push(z, &stack_links, &shm->stack, ref, s->record);
        return;

    case LIST:
        fanout_list_append(z, &list_links, &shm->list_first, &shm->list_last,
                           ref, s->record);
        return;

    case QUEUE:
        fanout_list_append(z, &queue_links, &shm->queue_first,
                           &shm->queue_last, ref, s->record);
        return;

    case SINGLE:
        fanout_list_push(z, &single_links, &shm->single, ref, s->record);
        return;

    case DEQUE:
        if (s->verb == PUSH) {
            fanout_deque_push(z, &deque_links, &shm->deque, ref, s->record);

        } else {
            fanout_deque_append(z, &deque_links, &shm->deque, ref, s->record);
        }

        return;

    case CIRCLE:
        fanout_circle_append(z, &circle_links, &shm->circle, ref, s->record);
        return;
    }

    if (s->list < HASH) {
        fanout_wheel_add(z, &toy_wheel, shm->wheel, s->list - WHEEL, ref,
                         s->record);

    } else {
        fanout_hash_add(z, &toy_hash, s->list - HASH, ref, s->record);
    }
}


static void
toy_chain(fanout_zone_t *z, const step_t *s)
{
    shm_t                 *shm;
    unsigned               i;
    fanout_ref_t           from, ref, prev;
    const fanout_links_t  *l;

    shm = z->shm;
    l = s->list == RING ? &ring_links : &list_links;
    from = prev = 0;

    for (i = 0; i < s->n; i++) {
        ref = toy_make(z, s->id + i);
        fanout_list_chain(z, l, prev, ref);

        from = from ? from : ref;
        prev = ref;
    }

    if (s->list == RING) {
        fanout_ring_close(z, l, from, prev);
        fanout_set(z, shm->ring, from);

    } else {
        fanout_list_append_chain(z, l, &shm->list_first, &shm->list_last, from,
                                 prev);
    }
}


static void
toy_remove(fanout_zone_t *z, const step_t *s, fanout_ref_t ref)
{
    shm_t         *shm;
    fanout_ref_t   next;

    shm = z->shm;

    switch (s->list) {

    case STACK:
        fanout_list_remove(z, &stack_links, &shm->stack, NULL, ref);
        return;

    case LIST:
        fanout_list_remove(z, &list_links, &shm->list_first, &shm->list_last,
                           ref);
        return;

    case SINGLE:
        fanout_list_remove_single(z, &single_links, &shm->single, ref);
        return;

    case DEQUE:
        fanout_deque_remove(z, &deque_links, &shm->deque, ref);
        return;

    case RING:
        next = *fanout_next(z, &ring_links, ref);

        if (next == ref) {
            fanout_set(z, shm->ring, 0);
            return;
        }

        fanout_ring_remove(z, &ring_links, ref);

        if (shm->ring == ref) {
            fanout_set(z, shm->ring, next);
        }

        return;

    case CIRCLE:
        fanout_circle_shift(z, &circle_links, &shm->circle);
        return;
    }

    if (s->list < HASH) {
        fanout_wheel_remove(z, &toy_wheel, shm->wheel, s->list - WHEEL, ref);

    } else {
        fanout_hash_remove(z, &toy_hash, s->list - HASH, ref);
    }
}


void
toy_do(fanout_zone_t *z, const step_t *s)
{
    shm_t         *shm;
    record_t      *r;
    fanout_ref_t   ref;

    shm = z->shm;
    ref = shm->refs[s->id];

    switch (s->verb) {

    case PUSH:
    case APPEND:
        toy_add(z, s, ref ? ref : toy_make(z, s->id));
        break;

    case REMOVE:
        toy_remove(z, s, ref);
        break;

    case CUT:
    case CLEAR:
        fanout_list_cut(z, &shm->queue_first, &shm->queue_last,
                        s->verb == CUT ? ref : 0);
        break;

    case FREE:
        r = fanout_at(z, ref);
        fanout_free(z, r->part, r->part, 1, 0);
        fanout_free(z, ref, ref, 1, 0);
        fanout_set(z, shm->refs[s->id], 0);
        break;

    case CHAIN:
        toy_chain(z, s);
        break;
    }
}
