/*
 * What the parts of sections.c share: the zone, and the longest section.
 */


#ifndef _SECTIONS_H_INCLUDED_
#define _SECTIONS_H_INCLUDED_


#include "zone/layout.h"
#include "zone/message.h"


#define MB     (1024UL * 1024)


typedef fanout_zone_t          zone_t;
typedef fanout_zone_channel_t  channel_t;
typedef fanout_zone_policy_t   policy_t;


extern zone_t   za, zb;
extern double   longest;
extern uint8_t  *text;                  /* 16 MB of x */


/* sections.c */

void need(int rc, const char *what);
void begin(size_t bytes);
channel_t opened(zone_t *z, const char *name, unsigned n, policy_t *p);
void drain(zone_t *z);

/* what a worker does before it needs the pages */
void touch(zone_t *z);


/* sections_record.c */

void record_1_field(void);
void record_128_fields(void);
void record_whole(void);
void record_64k(void);
void record_old_64k(void);
void record_full_1_field(void);
void record_full_128_fields(void);
void record_append(void);
void record_delete(void);
void record_delete_old_64k(void);
void record_clear(void);
void record_list(void);


#endif /* _SECTIONS_H_INCLUDED_ */
