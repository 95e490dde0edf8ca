/*
 * A simple model of what a zone must answer, and random operations on both.
 * The operations are drawn from a function, so that a seed or the input of a
 * fuzzer replays them.
 *
 * The model keeps every entry ever appended to a channel.  What is still kept
 * follows from the policy, or, when the zone is so small that history is
 * evicted, is read from the zone and must be the newest of it.
 */


#ifndef _ZONE_MODEL_H_INCLUDED_
#define _ZONE_MODEL_H_INCLUDED_


#include "zone_steps.h"


#define M_CHANNELS    10
#define M_HANDLES     4                 /* the last has no slot */
#define M_IDENTITIES  12
#define M_KEYS        8
#define M_TAGS        6

typedef struct {
    uint64_t              epoch;
    uint64_t              offset;
    uint64_t              time;
    uint64_t              client;
    uint32_t              seed;
    uint32_t              len;
    uint32_t              mono;
    uint8_t               type;
    uint8_t               flags;
    uint8_t               kept;
    uint64_t              to_client;
} m_rec_t;

typedef struct {
    uint32_t              seed;         /* of the latest */
    uint32_t              len;
    uint32_t              at;           /* s */
    uint8_t               due[M_HANDLES];   /* they have not read it */
} m_signal_t;

typedef struct {
    char                  name[256];
    int                   exists;
    policy_t              policy;       /* in force */
    uint64_t              epoch;
    uint64_t              offset;
    uint64_t              lost;
    m_rec_t              *recs;
    uint32_t              n;
    uint32_t              max;
    uint32_t              first;        /* none before it is kept */
    uint64_t              key_offset[M_KEYS];
    uint64_t              key_time[M_KEYS];
    uint32_t              key_expires[M_KEYS];
    m_signal_t            signals[M_TAGS];
} m_channel_t;

typedef struct {
    identity_t            id;
    int                   handle;       /* live there, -1: lingers or gone */
    uint32_t              ref;
    uint32_t              expires;      /* 0: gone */
} m_identity_t;

typedef struct {
    steps_t               s;
    zone_t                z[M_HANDLES];
    channel_t             c[M_HANDLES][M_CHANNELS];
    policy_t              p[M_HANDLES][M_CHANNELS];
    uint32_t              pos[M_HANDLES][M_CHANNELS];
    uint32_t              subscribers[M_HANDLES][M_CHANNELS];
    m_channel_t           ch[M_CHANNELS];
    m_identity_t          id[M_IDENTITIES];
    uint64_t              replaced[M_HANDLES][64];
    uint32_t              nreplaced[M_HANDLES];
    uint64_t              clients;
    arena_t               a;
    uint32_t              dedupe;
    uint32_t              seeds;
    uint32_t              gaps;
    uint32_t              fulls;
    uint32_t              max_len;
    int                   pressure;     /* the zone is small */
} model_t;


void m_init(model_t *m, void *mem, size_t size, uint32_t dedupe);
void m_done(model_t *m);
int m_check(model_t *m);

/* makes the model know what is kept */

int m_sync(model_t *m, unsigned h, unsigned i);
int m_step(model_t *m);

/* Everything is given back: the zone must be as empty as it was. */

int m_empty(model_t *m, uint64_t start);


#endif /* _ZONE_MODEL_H_INCLUDED_ */
