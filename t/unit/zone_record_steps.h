/*
 * Random operations of two workers on records and their locks, which are
 * compared with the model; the second worker reads the log, too.
 */


#ifndef _ZONE_RECORD_STEPS_H_INCLUDED_
#define _ZONE_RECORD_STEPS_H_INCLUDED_


#include "zone_kill.h"
#include "zone_record_model.h"


#define M_WORKERS  2
#define M_CLIENTS  2                    /* of the second worker */
#define M_BYTES    (3 * FANOUT_ZONE_RECORD_SIZE)

typedef struct {
    m_t          m;
    zone_t       z[M_WORKERS];
    channel_t    channels[M_WORKERS][M_CHANNELS];
    person_t     clients[M_CLIENTS + 1];    /* from 1 on */
    arena_t      arena;
    void        *mem;
    size_t       size;
    uint64_t     fill_floor;            /* of the channel that fills */
    unsigned     filled;                /* its records */
    unsigned     kills;                 /* workers die */
} records_run_t;

/* what was met, in all runs */

typedef struct {
    uint32_t     sets, conflicts, partial, unchanged, refused, full, deletes,
                 duplicates, folded, entries, olds, gaps, expired, locked,
                 grants, lists, histories, died, survived;
} records_met_t;

extern records_run_t   run;
extern records_met_t   met;
extern uint8_t         record_bytes[M_BYTES];


/* Begins with an empty zone: pressure: it is full at times. */
void records_begin(void *mem, size_t size, int pressure, int kills,
    uint32_t (*next)(void *data), void *data);
void records_end(void);

/* One operation; all that is read is compared; all invariants: 0, -1 with
 * run.m.s.error. */
int records_step(void);
int records_check(void);
int records_sound(void);


/* zone_record_reads.c */

int records_get(unsigned h, unsigned channel, unsigned record);
int records_drain(void);
int records_listed(unsigned h, unsigned channel);
int records_list_step(unsigned h);
int records_history_step(unsigned h);
void records_lists_end(void);

/* zone_record_around.c: k: below 200, beyond 70 the zone fills */

int records_around_step(unsigned h, unsigned k);

/* zone_record_locks_steps.c */

int records_lock_step(unsigned h);
int records_locks_same(void);

/* The lock as the zone has it now: 1, 0. */
int records_lock_find(unsigned channel, const char *name, lock_t *lock);


/* zone_record_steps.c */

/* Does an operation as a worker that may die: 1: it died. */
int records_die(void (*op)(zone_t *z, void *data), void *data);

/* A channel as a worker sees it. */
channel_t records_view(zone_t *z, unsigned channel);


#endif /* _ZONE_RECORD_STEPS_H_INCLUDED_ */
