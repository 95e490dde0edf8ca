
/*
 * A seat is a subscriber's place on one channel.  It is kept over cuts, and
 * the next join continues from it with "since".  What arrives for it is
 * checked here and written to the ledger; "who" is the subscriber's number.
 */

#ifndef BENCH_SWARM_SEAT_H
#define BENCH_SWARM_SEAT_H


#include "json.h"

#include <stddef.h>
#include <stdint.h>


typedef enum {
    SEAT_OUT = 0,
    SEAT_JOINING,
    SEAT_IN,
    SEAT_LEAVING
} seat_state_e;


/* Entries in a reply, before it is known what they continue. */

typedef struct {
    uint32_t      n;
    uint64_t      first;
    uint64_t      last;
    uint64_t      time;
} seat_batch_t;


typedef struct {
    int           channel;
    int           book;
    int           wanted;        /* not left on purpose */
    int           open;          /* a span is open */
    int           since;         /* the join asked for it */
    int           after_gap;
    seat_state_e  state;
    uint32_t      count;         /* entries in the span */
    uint64_t      start;
    uint64_t      last;          /* where it stands */
    uint64_t      time;          /* of the last entry, ms */
    uint64_t      gap_to;
    uint64_t      id;            /* of the command not yet answered */
    uint64_t      back_at;       /* joins again then */
    char          epoch[64];
    seat_batch_t  batch;
} seat_t;


/* Writes a join with this id, continuing from the place unless "fresh". */
void seat_join(seat_t *t, uint64_t id, int fresh, char *text, size_t size);

/* It is joined by the URL of a stream, which was opened with a position. */
void seat_begin(seat_t *t, int placed);

/* A reply to its command: {"id":…,"ok":…}, a part of one, or an error. */
void seat_reply(int who, seat_t *t, json_t o);

/* Something for the channel that is no reply: an entry, a gap, a reset. */
void seat_push(int who, seat_t *t, json_t o);

/* The connection is gone; the place is not. */
void seat_cut(seat_t *t);

/* 1 if it has all that was acknowledged. */
int seat_complete(seat_t *t);

/* Says what lacks, and ends the span. */
void seat_finish(int who, seat_t *t);


#endif /* BENCH_SWARM_SEAT_H */
