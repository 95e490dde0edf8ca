/*
 * What the parts of zone_presence_test.c share: two handles of a zone, a
 * channel that both have opened, and mirrors of it.
 */


#ifndef _ZONE_PRESENCE_SUITE_H_INCLUDED_
#define _ZONE_PRESENCE_SUITE_H_INCLUDED_


#include "zone_presence.h"


#define KICKED       FANOUT_LEFT_KICKED
#define INTENTIONAL  FANOUT_LEFT_INTENTIONAL


extern void      *zmem;
extern zone_t     za, zb;
extern arena_t    arena;
extern mirror_t   mirrors[2];           /* of za, zb: the channel "room" */
extern channel_t  ca, cb;
extern uint8_t    buf[SECTION];

/* the changes of the last drain() */
extern member_t  seen[4096];
extern unsigned  nseen;
extern int       gaps, presences;
extern policy_t  presence;


/* zone_presence_test.c */

void checked(zone_t *z, const char *what);
void start_as(size_t size, const policy_t *p);
void start(size_t size);
void stop(size_t size, const char *what);
int drain(zone_t *z);
int settled(zone_t *z);
int is_str_of(fanout_zstr_t s, const char *want);
uint32_t members_now(zone_t *z, uint32_t *seats);


/* zone_presence_members.c */

void members(void);


/* zone_presence_limits.c */

void member_limits(void);


/* zone_presence_life.c */

void pass_by(uint32_t seconds);
void people(person_t *p, unsigned n);
void lives(void);


/* zone_presence_full.c */

void fill_zone(zone_t *z);
void empty_zone(zone_t *z);
void full_lives(void);


/* zone_presence_told.c */

void events(void);


#endif /* _ZONE_PRESENCE_SUITE_H_INCLUDED_ */
