/*
 * What the tests of the zone share: a mapping, handles, arenas, and messages
 * that tell by themselves whether they are whole.
 */


#ifndef _ZONE_UTIL_H_INCLUDED_
#define _ZONE_UTIL_H_INCLUDED_


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "random.h"
#include "zone/budget.h"
#include "zone/format.h"
#include "zone/hook_queue.h"
#include "zone/identity.h"
#include "zone/log.h"
#include "zone/mail.h"
#include "zone/member.h"
#include "zone/presence.h"
#include "zone/seat.h"
#include "zone/seen.h"
#include "zone/share.h"
#include "zone/slot.h"


/* with sanitizers all takes long */

#if (defined(__SANITIZE_ADDRESS__))
#define SLOW  1
#elif (defined(__has_feature))
#if (__has_feature(address_sanitizer))
#define SLOW  1
#endif
#endif

#ifndef SLOW
#define SLOW  0
#endif


#define MB          (1024 * 1024)

#define OK          FANOUT_ZONE_OK
#define AGAIN       FANOUT_ZONE_AGAIN
#define FULL        FANOUT_ZONE_FULL
#define STALE       FANOUT_ZONE_STALE
#define NOTFOUND    FANOUT_ZONE_NOTFOUND
#define CONFLICT    FANOUT_ZONE_CONFLICT
#define LARGE       FANOUT_ZONE_LARGE
#define LAYOUT      FANOUT_ZONE_LAYOUT
#define SMALL       FANOUT_ZONE_SMALL

#define ARENA_N     128


typedef fanout_zone_t          zone_t;
typedef fanout_entry_t         entry_t;
typedef fanout_arena_t         arena_t;
typedef fanout_identity_t      identity_t;
typedef fanout_zone_channel_t  channel_t;
typedef fanout_zone_policy_t   policy_t;
typedef fanout_zone_message_t  message_t;
typedef fanout_zone_publish_t  publish_t;
typedef fanout_zone_result_t   result_t;
typedef fanout_zone_join_t     join_t;
typedef fanout_zone_info_t     info_t;
typedef fanout_zone_stat_t     stat_t;
typedef fanout_zone_conf_t     conf_t;


/* a client whose user's name is the hash of it, as bytes */

int util_add(zone_t *z, const identity_t *id, uint32_t *ref);

/* the clients of the orders that a worker has */

unsigned util_orders(zone_t *z, uint64_t *clients, unsigned max);

void *map(size_t size);
void *zone_make(size_t size, uint32_t idle, uint32_t dedupe);

/* the shares that a zone has by default, in 1/10000 */

void zone_shares(zone_t *z);
fanout_zstr_t zstr(const void *data, size_t len);
channel_t view(zone_t *z, const char *name, policy_t *policy);
int arena_grow(arena_t *a, size_t n);
void arena_init(arena_t *a);
void arena_reset(arena_t *a);
void arena_done(arena_t *a);

/* Data of len bytes that follow from seed; from eight on the first eight are
 * seed and length. */

void data_fill(uint8_t *p, uint32_t seed, uint32_t len);
int data_is(const uint8_t *p, uint32_t got, uint32_t seed, uint32_t len);

/* whether data made by data_fill() is whole; at least eight bytes */

int data_whole(const uint8_t *p, uint32_t got);

/* publishes len bytes that follow from seed */

int put(zone_t *z, channel_t *c, uint32_t seed, uint32_t len, uint8_t flags,
    const publish_t *opts, result_t *r);
int sweep_all(zone_t *z);
uint64_t free_blocks(zone_t *z);


#endif /* _ZONE_UTIL_H_INCLUDED_ */
