
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of rooms: changes of members as the bytes of an entry.  All of it is
 * called under the zone's lock and reads the zone only; the bytes are as the
 * processor has them, for they never leave the machine.
 */


#ifndef FANOUT_ZONE_ROOM_H
#define FANOUT_ZONE_ROOM_H


#include "heap/heap.h"


/* the head of a change in the data of an entry; key, user, info and data
 * follow it */

typedef struct {
    uint8_t   change;
    uint8_t   reason;
    uint8_t   flags;                    /* FANOUT_MEMBER_* */
    uint8_t   key_len;
    uint8_t   user_len;
    uint8_t   unused[3];
    uint16_t  info_len;
    uint16_t  data_len;
    uint32_t  slot;                     /* COUNTED: the number */
    uint64_t  client;
    uint64_t  joined_at;
    uint64_t  seen;
} change_t;

#define FANOUT_CHANGE_HEAD    sizeof(change_t)


/* The bytes that a member's pending change takes. */
size_t fanout_change_size(fanout_zone_t *z, const fanout_member_block_t *m);

/* Writes it, as many bytes as that at most; the end of what is written. */
uint8_t *fanout_change_write(fanout_zone_t *z, const fanout_member_block_t *m,
    uint8_t *p);

/* Writes how many there are in a room that only counts: CHANGE_HEAD bytes;
 * their end. */
uint8_t *fanout_count_write(fanout_room_block_t *room, uint8_t *p);


#endif /* FANOUT_ZONE_ROOM_H */
