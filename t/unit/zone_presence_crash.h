/*
 * What the parts of zone_presence_crash_test.c share: the zone, a survivor, the
 * process that is killed, and operations.
 */


#ifndef _ZONE_PRESENCE_CRASH_H_INCLUDED_
#define _ZONE_PRESENCE_CRASH_H_INCLUDED_


#include "crash.h"
#include "zone_presence.h"


#define SIZE   (2 * MB)
#define SEATS  60                       /* of a client that has many */


extern channel_t       ca, co, *c;      /* "room" */
extern channel_t       sa, so, *cs;     /* "summary" */
extern channel_t       rooms[SEATS];    /* of the killed */
extern person_t        people[200], p;  /* people of the survivor */
extern mirror_t        mirror;
extern char            names[SEATS][8];
extern policy_t        presence;
extern const op_t      ops[];
extern const unsigned  nops;


/* zone_presence_crash_test.c */

int drain(void);
int settle(void);


/* zone_presence_crash_setup.c */

void inhabit(void);
void setup_full_table(void);
void setup_pending(void);
void setup_crowd_leaves(void);
void setup_many_seats(void);
void setup_cut(void);
void setup_cuts(void);
void setup_orders(void);
void prepare_slot(void);
void prepare_client(void);
void prepare_seat(void);
void prepare_member(void);
void prepare_told(void);
void prepare_left(void);
void prepare_left_untold(void);
void prepare_long(void);
void prepare_gone(void);
void prepare_32(void);
void prepare_many_seats(void);
void prepare_cut(void);
void prepare_history(void);
void setup_no_block(void);
void setup_no_order(void);
void prepare_attached(void);
void prepare_full_cut(void);
void setup_dead(void);


/* zone_presence_crash_chaos.c */

void chaos(void);


#endif /* _ZONE_PRESENCE_CRASH_H_INCLUDED_ */
