
/* What the parts of swarm share. */

#ifndef BENCH_SWARM_H
#define BENCH_SWARM_H


#include <stddef.h>
#include <stdint.h>


#define DATA_MAX  262144


typedef struct {
    int          port;
    int          subs;
    int          channels;
    int          per_sub;
    int          pubs;           /* over WebSocket */
    int          api_pubs;
    int          post_pubs;      /* commands by POST */
    int          window;
    int          rate;           /* publishes a second, 0: flat out */
    int          size;           /* bytes of a payload, and at most */
    int          size_to;
    int          churn;          /* random acts a second */
    int          stalled;        /* subscribers that stop reading */
    int          stall_ms;
    int          duration_ms;
    int          limit_s;
    int          settle_ms;
    int          connect_ms;     /* patience with one attempt */
    int          retry_ms;       /* pause before the next, at most twice */
    int          progress_ms;
    int          seed;
    int          obey_after;
    int          events;         /* subscribers take server-sent events */
    int          polls;          /* or long polls; events is set as well */
    int          check_data;
    int          drop_refused;
    int          allow_gap;
    int          allow_unrecovered;
    int          allow_reset;
    int          need_resumed;
    long         messages;
    const char  *path;
    const char  *pub_path;
    const char  *api;
    const char  *prefix;
} swarm_conf_t;


/* Everything that is counted; X(name) makes a member and an output. */

#define SWARM_COUNTS(X)                                                       \
    X(sent) X(acked) X(duplicates) X(refused) X(dropped) X(publisher_cuts)    \
    X(delivered) X(replayed) X(joins) X(leaves)                               \
    X(cuts) X(own_cuts) X(failed_connects) X(connects)                        \
    X(closings) X(close_1012) X(close_1001) X(close_other)                    \
    X(resumed) X(not_resumed) X(recovered) X(unrecovered)                     \
    X(gaps) X(resets) X(parts) X(arrays)

#define SWARM_MEMBER(name)  uint64_t  name;

typedef struct {
    SWARM_COUNTS(SWARM_MEMBER)
    uint64_t     rejoin_max;     /* ns from a cut to the last join */
    uint64_t     live_max;       /* ns from publish to a live delivery */
    uint64_t     replay_max;
} swarm_counts_t;


extern swarm_conf_t    conf;
extern swarm_counts_t  count;
extern uint64_t        now;      /* monotonic ns */
extern char            swarm_failure[64];    /* why the last connect failed */


/* Latency of a live delivery, for percentiles. */
void swarm_delay(uint64_t ns);

/* The payload of a message: always the same.  Returns its length. */
size_t swarm_data(char *buf, int p, int channel, uint32_t n);

/* The number of a channel by its name, or -1. */
int swarm_channel(const char *name);

/* When to try again after a connection failed. */
uint64_t swarm_retry_at(void);


void subs_init(void);

/* Connects again, joins, acts at random: what is due now. */
void subs_turn(int act);

/* 1 if all are back and in. */
int subs_ready(void);

/* 1 if all have, in addition, what was acknowledged. */
int subs_complete(void);

/* Says what still lacks, and ends all spans. */
void subs_finish(void);


void pubs_init(void);

/* Sends at most that many new messages; returns how many it did. */
long pubs_turn(long more);
int pubs_ready(void);

/* Messages sent and not yet answered. */
long pubs_pending(void);


#endif /* BENCH_SWARM_H */
