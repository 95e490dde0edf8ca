
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of rooms: changes of members as the bytes of an entry.  All of it is
 * called under the zone's lock and reads the zone only; the bytes are as the
 * processor has them, for they never leave the machine.
 */


#ifndef _NGX_HTTP_FANOUT_ROOM_H_INCLUDED_
#define _NGX_HTTP_FANOUT_ROOM_H_INCLUDED_


#include "ngx_http_fanout_heap.h"


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
size_t fanout_change_size(ngx_http_fanout_zone_t *z,
    const fanout_member_t *m);

/* Writes it, as many bytes as that at most; the end of what is written. */
uint8_t *fanout_change_write(ngx_http_fanout_zone_t *z,
    const fanout_member_t *m, uint8_t *p);

/* Writes how many there are in a room that only counts: CHANGE_HEAD bytes;
 * their end. */
uint8_t *fanout_count_write(fanout_room_t *room, uint8_t *p);


#endif /* _NGX_HTTP_FANOUT_ROOM_H_INCLUDED_ */
