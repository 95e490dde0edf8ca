
/* What the parts of fanload share. */

#ifndef BENCH_FANLOAD_H
#define BENCH_FANLOAD_H


#include "proc.h"
#include "wire.h"

#include <stddef.h>
#include <stdint.h>


typedef struct {
    wire_t      wire;
    uint64_t    next;        /* sequence number expected */
    uint64_t    offset;      /* last one seen, for "since" */
    char        epoch[48];
    char        resume[72];
    unsigned    ready:1;     /* may count on being delivered to */
    unsigned    gone:1;      /* was closed by the server */
    unsigned    recovered:1;
    unsigned    resumed:1;
} sub_t;


typedef enum {
    VIA_NATIVE = 0,          /* publish commands over a WebSocket */
    VIA_RAW,                 /* bare frames over a WebSocket */
    VIA_HTTP                 /* POST */
} via_e;


typedef struct {
    int          port;
    int          native;
    int          reload;
    int          events;
    via_e        via;
    int          subs;
    int          window;
    int          warm;
    int          size;
    int          channels;
    int          spread;
    int          connects;       /* handshakes at a time */
    int          gap_us;
    int          settle_ms;
    int          missed;
    int          limit_s;
    int          spin;
    int          text;           /* payloads like JSON */
    int          lobby;          /* members who see each other */
    int          batch_ms;       /* that gathers their changes, and more */
    long         messages;
    pid_t        master;
    const char  *mode;
    const char  *channel;
    const char  *sub_path;
    const char  *pub_path;
    const char  *label;
} load_conf_t;


typedef struct {
    sub_t       *subs;
    wire_t       pub;
    int          pub_open;
    int          nready;
    int          nopening;
    int          ngone;
    int          opened;
    int          rejoining;      /* resume: second connections */
    int          counting;       /* delays are kept */
    uint64_t     now;            /* ns, of the last input */
    uint64_t     started;
    uint64_t     sent;           /* messages: published, */
    uint64_t     completed;      /* received by all, */
    uint64_t     acked;          /* answered */
    uint64_t     deliveries;
    uint64_t     wrong;          /* out of order, twice or never sent */
    uint64_t     replayed;
    uint64_t     left;           /* deliveries of one who left the lobby */
    size_t       change;         /* bytes of the last frame about a new member */
    uint32_t    *lacks;          /* deliveries each message lacks */
    uint64_t    *sent_at;
    uint32_t    *delays;         /* ns, of each delivery */
    uint32_t    *lasts;          /* ns, of the last one of a message */
    size_t       ndelays;
    size_t       nlasts;
    size_t       max_delays;
    proc_set_t   procs;
} load_run_t;


extern load_conf_t  conf;
extern load_run_t   run;


/* Ends the program with a message. */
void load_die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* Zeroed memory, or the end. */
void *load_need(size_t n, size_t size);

/* Waits for events, at most ms; ends the program after conf.limit_s. */
void load_step(int ms);

/* Handles events for that long. */
void load_rest(int ms);

/* Connects, and joins where that is needed, until all are ready. */
void load_open_publisher(void);
void load_open_subs(void);

/* Queues one message. */
void load_publish(const char *channel, uint64_t seq, int with_id);

/* Publishes so many to all subscribers, until each has received all. */
void load_fan(uint64_t count);

/* One comes to the lobby and leaves it, so many times, until each of the
 * others was told of it. */
void load_lobby(uint64_t count);

/* Publishes so many, until each was acknowledged. */
void load_publish_acked(uint64_t count, int spread);

/* One message to each of conf.channels. */
void load_create_channels(void);

/* Runs conf.mode and prints its result: 1 if all was well, -1: no such. */
int load_mode(void);


#endif /* BENCH_FANLOAD_H */
