
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Presence sets with pending changes, by when they are due: a wheel with a
 * place for each 4 ms, and bits that mark the places in use, so that the next
 * one is found without a search, however many wait.
 *
 *   presences_map   a bit for a place
 *   presences_top   a bit for a word of that
 *
 * A listed presence set is in the place of its due.  presences_at is the time
 * of the first place in use: the present, or the due of a set that is overdue.
 */


#include "heap/wheel.h"
#include "zone/presence.h"
#include "zone/share.h"


#define PLACE(due)  ((due) / FANOUT_PRESENCE_TICK % FANOUT_PRESENCE_WHEEL)


static void turn(fanout_zone_t *z, uint32_t now);
static uint32_t nearest(const fanout_shm_t *shm);
static void presence_due_mark(fanout_zone_t *z, unsigned place);


static const fanout_wheel_t  presence_wheel = {
    .links.next = offsetof(fanout_presence_block_t, due_next),
    .links.prev = offsetof(fanout_presence_block_t, due_prev),
    .places = FANOUT_PRESENCE_WHEEL
};


/* A set is due when its last entry said, but at most one batch time from now,
 * since the batch time may have become shorter, and not beyond the last place
 * of the wheel. */

void
fanout_presence_list(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t                  now, wait;
    fanout_shm_t             *shm;

    fanout_presence_block_t  *presence;

    shm = z->shm;
    presence = fanout_presence(z, ref);

    if (presence->flags & FANOUT_PRESENCE_LISTED) {
        return;
    }

    now = fanout_msec(z);
    turn(z, now);

    wait = presence->due - now;

    if (wait > UINT16_MAX) {
        /* it has passed */
        wait = 0;

    } else if (wait > presence->batch) {
        wait = presence->batch;
    }

    if (wait) {
        wait += FANOUT_PRESENCE_TICK - 1;
    }

    wait += now - shm->presences_at;

    if (wait > FANOUT_PRESENCE_RIM) {
        wait = FANOUT_PRESENCE_RIM;
    }

    fanout_set(z, presence->due, shm->presences_at + wait);
    fanout_set(z, presence->flags, presence->flags | FANOUT_PRESENCE_LISTED);

    fanout_wheel_add(z, &presence_wheel, shm->presences, PLACE(presence->due),
                     ref, FANOUT_OLD_RECORD);

    if (presence->due_next == 0) {
        presence_due_mark(z, PLACE(presence->due));
    }

    fanout_set(z, shm->npresences, shm->npresences + 1);
}


void
fanout_presence_unlist(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t             *shm;
    fanout_presence_block_t  *presence;

    shm = z->shm;
    presence = fanout_presence(z, ref);

    if (!(presence->flags & FANOUT_PRESENCE_LISTED)) {
        return;
    }

    fanout_wheel_remove(z, &presence_wheel, shm->presences,
                        PLACE(presence->due), ref);

    if (presence->due_prev == 0) {
        presence_due_mark(z, PLACE(presence->due));
    }

    fanout_set(z, presence->flags, presence->flags & ~FANOUT_PRESENCE_LISTED);
    fanout_set(z, shm->npresences, shm->npresences - 1);
}


fanout_ref_t
fanout_presence_due(fanout_zone_t *z, uint32_t *wait)
{
    uint32_t       now, at;
    fanout_shm_t  *shm;

    shm = z->shm;
    *wait = UINT32_MAX;

    if (shm->npresences == 0) {
        return 0;
    }

    now = fanout_msec(z);
    turn(z, now);

    at = shm->presences_at + nearest(shm);

    if ((int32_t) (at - now) > 0) {
        *wait = at - now;
        return 0;
    }

    *wait = 0;

    return shm->presences[PLACE(at)];
}


static void
turn(fanout_zone_t *z, uint32_t now)
{
    uint32_t       at;
    fanout_shm_t  *shm;

    shm = z->shm;
    at = now - now % FANOUT_PRESENCE_TICK;

    if (shm->npresences) {

        if ((int32_t) (at - shm->presences_at) <= 0) {
            return;
        }

        if (at - shm->presences_at > nearest(shm)) {
            at = shm->presences_at + nearest(shm);
        }
    }

    if (at != shm->presences_at) {
        fanout_set(z, shm->presences_at, at);
    }
}


/* Returns the ms from presences_at to the first place in use; there must be
 * one. */

static uint32_t
nearest(const fanout_shm_t *shm)
{
    uint64_t  bits;
    unsigned  from, word;

    from = PLACE(shm->presences_at);
    word = from / 64;

    bits = shm->presences_map[word] & ~0ULL << from % 64;

    if (bits == 0) {
        bits = word == 63 ? 0 : shm->presences_top & ~0ULL << (word + 1);

        /* past the end of the wheel: perhaps back to the word where this
         * began */

        word = __builtin_ctzll(bits ? bits : shm->presences_top);
        bits = shm->presences_map[word];
    }

    return ((word * 64 + __builtin_ctzll(bits) - from) % FANOUT_PRESENCE_WHEEL)
           * FANOUT_PRESENCE_TICK;
}


/* Sets or clears the bits of a place. */

static void
presence_due_mark(fanout_zone_t *z, unsigned place)
{
    uint64_t       bits;
    unsigned       word;
    fanout_shm_t  *shm;

    shm = z->shm;
    word = place / 64;

    bits = shm->presences_map[word] & ~(1ULL << place % 64);

    if (shm->presences[place]) {
        bits |= 1ULL << place % 64;
    }

    if (bits == shm->presences_map[word]) {
        return;
    }

    fanout_set(z, shm->presences_map[word], bits);

    bits = shm->presences_top & ~(1ULL << word);

    if (shm->presences_map[word]) {
        bits |= 1ULL << word;
    }

    if (bits != shm->presences_top) {
        fanout_set(z, shm->presences_top, bits);
    }
}
