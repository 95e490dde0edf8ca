
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Rooms that have something to tell, by when it is due: a wheel with a place
 * for each 4 ms, and bits that say which places hold any, so that the next one
 * is found without a search, however many wait.
 *
 *   rooms_map   a bit for a place
 *   rooms_top   a bit for a word of that
 *
 * A room that is listed is in the place of its due.  rooms_at is the time of a
 * place that no room is before: the present, or that of one that is overdue.
 */


#include "heap/wheel.h"
#include "zone/room.h"
#include "zone/share.h"


#define PLACE(due)  ((due) / FANOUT_ROOMS_TICK % FANOUT_ROOMS_WHEEL)


static void turn(fanout_zone_t *z, uint32_t now);
static uint32_t nearest(const fanout_shm_t *shm);
static void room_due_mark(fanout_zone_t *z, unsigned place);


static const fanout_wheel_t  rooms_wheel = {
    .links.next = offsetof(fanout_room_block_t, due_next),
    .links.prev = offsetof(fanout_room_block_t, due_prev),
    .places = FANOUT_ROOMS_WHEEL
};


/* It is due when its last entry said, but within its batch, which may have
 * become shorter; and not beyond the rim of the wheel. */

void
fanout_room_list(fanout_zone_t *z, fanout_ref_t ref)
{
    uint32_t              now, wait;
    fanout_shm_t         *shm;

    fanout_room_block_t  *room;

    shm = z->shm;
    room = fanout_room(z, ref);

    if (room->flags & FANOUT_ROOM_LISTED) {
        return;
    }

    now = fanout_msec(z);
    turn(z, now);

    wait = room->due - now;

    if (wait > UINT16_MAX) {
        /* it is over */
        wait = 0;

    } else if (wait > room->batch) {
        wait = room->batch;
    }

    if (wait) {
        wait += FANOUT_ROOMS_TICK - 1;
    }

    wait += now - shm->rooms_at;

    if (wait > FANOUT_ROOMS_RIM) {
        wait = FANOUT_ROOMS_RIM;
    }

    fanout_set(z, room->due, shm->rooms_at + wait);
    fanout_set(z, room->flags, room->flags | FANOUT_ROOM_LISTED);

    fanout_wheel_add(z, &rooms_wheel, shm->rooms, PLACE(room->due), ref,
                     FANOUT_OLD_RECORD);

    if (room->due_next == 0) {
        room_due_mark(z, PLACE(room->due));
    }

    fanout_set(z, shm->nrooms, shm->nrooms + 1);
}


void
fanout_room_unlist(fanout_zone_t *z, fanout_ref_t ref)
{
    fanout_shm_t         *shm;
    fanout_room_block_t  *room;

    shm = z->shm;
    room = fanout_room(z, ref);

    if (!(room->flags & FANOUT_ROOM_LISTED)) {
        return;
    }

    fanout_wheel_remove(z, &rooms_wheel, shm->rooms, PLACE(room->due), ref);

    if (room->due_prev == 0) {
        room_due_mark(z, PLACE(room->due));
    }

    fanout_set(z, room->flags, room->flags & ~FANOUT_ROOM_LISTED);
    fanout_set(z, shm->nrooms, shm->nrooms - 1);
}


fanout_ref_t
fanout_room_due(fanout_zone_t *z, uint32_t *wait)
{
    uint32_t       now, at;
    fanout_shm_t  *shm;

    shm = z->shm;
    *wait = UINT32_MAX;

    if (shm->nrooms == 0) {
        return 0;
    }

    now = fanout_msec(z);
    turn(z, now);

    at = shm->rooms_at + nearest(shm);

    if ((int32_t) (at - now) > 0) {
        *wait = at - now;
        return 0;
    }

    *wait = 0;

    return shm->rooms[PLACE(at)];
}


static void
turn(fanout_zone_t *z, uint32_t now)
{
    uint32_t       at;
    fanout_shm_t  *shm;

    shm = z->shm;
    at = now - now % FANOUT_ROOMS_TICK;

    if (shm->nrooms) {

        if ((int32_t) (at - shm->rooms_at) <= 0) {
            return;
        }

        if (at - shm->rooms_at > nearest(shm)) {
            at = shm->rooms_at + nearest(shm);
        }
    }

    if (at != shm->rooms_at) {
        fanout_set(z, shm->rooms_at, at);
    }
}


/* ms from rooms_at to the first place that holds any: there must be one */

static uint32_t
nearest(const fanout_shm_t *shm)
{
    uint64_t  bits;
    unsigned  from, word;

    from = PLACE(shm->rooms_at);
    word = from / 64;

    bits = shm->rooms_map[word] & ~0ULL << from % 64;

    if (bits == 0) {
        bits = word == 63 ? 0 : shm->rooms_top & ~0ULL << (word + 1);

        /* round the rim: maybe back in the word where it began */

        word = __builtin_ctzll(bits ? bits : shm->rooms_top);
        bits = shm->rooms_map[word];
    }

    return ((word * 64 + __builtin_ctzll(bits) - from) % FANOUT_ROOMS_WHEEL)
           * FANOUT_ROOMS_TICK;
}


/* Makes the bits of a place what it holds. */

static void
room_due_mark(fanout_zone_t *z, unsigned place)
{
    uint64_t       bits;
    unsigned       word;
    fanout_shm_t  *shm;

    shm = z->shm;
    word = place / 64;

    bits = shm->rooms_map[word] & ~(1ULL << place % 64);

    if (shm->rooms[place]) {
        bits |= 1ULL << place % 64;
    }

    if (bits == shm->rooms_map[word]) {
        return;
    }

    fanout_set(z, shm->rooms_map[word], bits);

    bits = shm->rooms_top & ~(1ULL << word);

    if (shm->rooms_map[word]) {
        bits |= 1ULL << word;
    }

    if (bits != shm->rooms_top) {
        fanout_set(z, shm->rooms_top, bits);
    }
}
