
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session has cost, and what it may still do: fanout_rate and
 * fanout_budget.
 *
 * Costs are paid afterwards, as only then it is known what they are: a command
 * is let through while nothing is owed beyond the burst, and what it made the
 * server do is added.  A session has token buckets of its own.  What it owes to
 * the budgets of its user and its address, which are in the zone, is gathered
 * here and told to the zone when that is worth a transaction.
 *
 * Commands are counted in thousandths.  One costs 1, and as much for each:
 *  - message that it publishes beyond the first, and 512 subscribers of each;
 *  - channel that a stream or a poll joins;
 *  - 4096 bytes of what a compressed message grows to beyond
 *    fanout_deflate_ratio.
 * A signal costs half of one, a command that is refused for its rate a tenth.
 *
 * A refusal may be many times as long as its command.  So the refusals of a
 * session have a bucket of bytes, which is filled by time, by the bytes that it
 * sends, and by each of its commands that is done.  A client that waits for
 * retry_after has a command done for each that is refused.
 *
 * Answers have a bucket of their own, in bytes: of a reply beyond the first
 * 4096, and of what a stream or a poll is told of the time before it joined.
 * Others decide how much that is, so that who owes it may not ask for more for
 * a while, but still publish.
 */


#ifndef FANOUT_SESSION_METER_H
#define FANOUT_SESSION_METER_H


#include "hub/hub.h"
#include "zone/limit.h"


#define FANOUT_COST            1000             /* of one command */
#define FANOUT_COST_SIGNAL     500
#define FANOUT_COST_REFUSED    100
#define FANOUT_COST_BYTES      4096             /* told, as one command */
#define FANOUT_COST_AUDIENCE   512              /* subscribers, likewise */

/* bytes of refusals: at once, at most saved up, for a ms, for 2 bytes that are
 * received; a command that is done counts as so many of these */
#define FANOUT_REFUSALS        16384
#define FANOUT_REFUSALS_MAX    65536
#define FANOUT_REFUSALS_MS     1
#define FANOUT_REFUSALS_FOR    3
#define FANOUT_REFUSALS_DONE   256

/* behind what the log says of an address that is refused */
#define FANOUT_PROXY_HINT                                                     \
    "; if the address is a proxy, set_real_ip_from is missing"

#define FANOUT_METERED  FANOUT_BUDGET_SESSIONS
                                       /* resources before this one */


/* of a session; 0 is one that nothing limits */

typedef struct {
    uint64_t                         address;   /* hash, 0: none */
    uint64_t                         user;      /* hash, 0: none */
    int64_t                          commands;  /* tokens, 1/1000 */
    int64_t                          bytes;     /* tokens */
    int64_t                          answers;   /* tokens, bytes */
    int32_t                          channels;  /* tokens, 1/1000 */
    uint32_t                         ref;       /* of the address, 0: not
                                                   counted */
    uint32_t                         wait;      /* ms, of the last refusal */
    uint32_t                         received;  /* bytes, since the last
                                                   refusal */
    uint32_t                         refused_at;
                                                /* the low bits of a time */
    int32_t                          refusals;  /* bytes that these might have
                                                   then */
    uint32_t                         until[FANOUT_METERED];
                                                /* user or address are over:
                                                   the low bits of a time */
    uint8_t                          over;      /* bits of resources until
                                                   then */
    uint8_t                          by_user;   /* of them, the user is longer
                                                   than the address */
    uint8_t                          forwarded; /* the request says that it
                                                   passed a proxy */
    uint8_t                          foreign;   /* any page may have sent it:
                                                   user is another than the
                                                   user's */
    ngx_msec_t                       at;        /* so many tokens then */
    uint64_t                         spent[FANOUT_METERED];
                                                /* not told to the zone yet */
} fanout_meter_t;


/* what is limited beside the FANOUT_BUDGET_*: publishes that wait for
 * a hook, see hook.h; idempotence keys that are remembered */

#define FANOUT_LIMITED_PUBLISHES  FANOUT_BUDGETS
#define FANOUT_LIMITED_KEYS       (FANOUT_BUDGETS + 1)
#define FANOUT_LIMITED            (FANOUT_BUDGETS + 2)


/* why something is refused */

typedef struct {
    ngx_uint_t                       wait;      /* ms */
    ngx_uint_t                       resource;  /* below LIMITED */
    ngx_uint_t                       scope;     /* FANOUT_SCOPE_* */
} fanout_limited_t;


/* what the handle of the zone had done before, without what was accounted: so
 * one mark may be within another */

typedef struct {
    uint64_t                         taken;
    uint64_t                         made;
} fanout_meter_mark_t;


/* what is admitted */

#define FANOUT_ADMIT_SESSION   0x01             /* it begins one */
#define FANOUT_ADMIT_STAYS     0x02             /* it is counted by address */
#define FANOUT_ADMIT_READS     0x04             /* it is told of the time
                                                   before */
#define FANOUT_ADMIT_FOREIGN   0x08             /* any page may have sent it in
                                                   the name of its user */

/*
 * For a request that is to become a session of a location: m is the meter that
 * it gets.  NONE; RATE_LIMITED, then limited says why; TOO_MANY of the address;
 * ZONE_FULL, INTERNAL.  Counted and logged if it is refused.
 */
fanout_error_e fanout_meter_admit(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t what,
    fanout_meter_t *m, fanout_limited_t *limited);

/* It became none: it is not counted any more. */
void fanout_meter_undo(fanout_hub_t *hub, fanout_meter_t *m);

/* The hash of its user or its address, as scope says; 0 if there is none, or no
 * fanout_budget applies to it. */
uint64_t fanout_meter_who(fanout_loc_conf_t *conf, fanout_meter_t *m,
    ngx_uint_t scope);

/* The session has ended. */
void fanout_meter_end(fanout_session_t *s);

/* The zone was rebuilt: it is counted again. */
void fanout_meter_restore(fanout_session_t *s);

/* Whether one more command may be done: 1, and its cost is added; or 0, and why
 * not. */
ngx_uint_t fanout_meter_take(fanout_session_t *s, ngx_uint_t cost,
    fanout_limited_t *limited);

/* Whether it may write into the zone, or make the channel if there is none: 1;
 * or 0, and why not. */
ngx_uint_t fanout_meter_writes(fanout_session_t *s, ngx_str_t *channel,
    fanout_limited_t *limited);

/* Whether it may ask for what may be a long answer: 1; or 0, and why not. */
ngx_uint_t fanout_meter_answers(fanout_session_t *s,
    fanout_limited_t *limited);

/* Whether it owes about as much as it ever can: 1, and that is counted as a
 * refusal; or 0. */
ngx_uint_t fanout_meter_broke(fanout_session_t *s);

/* Fills in whose a publish is. */
void fanout_meter_sender(fanout_session_t *s, fanout_zone_publish_t *opts);

/* The same for one that a request of a user ("": of its address) causes without
 * a session. */
void fanout_meter_writer(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *user, fanout_zone_publish_t *opts);

/* Why a publish was RATE_LIMITED, of which r is the result; counted. */
void fanout_meter_keys(fanout_session_t *s, const fanout_zone_result_t *r,
    fanout_limited_t *limited);

/* The same, not counted. */
void fanout_meter_keys_limited(const fanout_zone_result_t *r,
    fanout_limited_t *limited);

/* Whether its user or its address are above their budgets of commands: 1, and
 * why; or 0. */
ngx_uint_t fanout_meter_over(fanout_session_t *s, fanout_limited_t *limited);

/* Adds a cost: of commands, in 1/1000; of bytes that a message has grown by; of
 * bytes that it is told, in a reply without the first; of n messages to so many
 * subscribers. */
void fanout_meter_charge(fanout_session_t *s, uint64_t cost);
void fanout_meter_grown(fanout_session_t *s, size_t bytes);
void fanout_meter_answered(fanout_session_t *s, size_t bytes);
void fanout_meter_reply(fanout_session_t *s, size_t bytes);
void fanout_meter_audience(fanout_session_t *s, ngx_uint_t n,
    uint32_t subscribers);

/* Adds what was taken of the zone in between. */
void fanout_meter_mark(fanout_session_t *s, fanout_meter_mark_t *mark);
void fanout_meter_account(fanout_session_t *s, fanout_meter_mark_t *mark);

/* Counts a refusal; of a session, whose line in the error log names the address
 * if it is that of many; the directive that it is for, and what is limited. */
void fanout_meter_refused(fanout_hub_t *hub, fanout_limited_t *limited);
void fanout_meter_refuse(fanout_session_t *s, fanout_limited_t *limited);

/* The error log says that the address of a session holds all it may. */
void fanout_meter_full(fanout_session_t *s);
const char *fanout_meter_text(fanout_limited_t *limited);

/* A refusal of about so many bytes is sent to it. */
void fanout_meter_refusal_sent(fanout_session_t *s, size_t bytes);

/* Whether these were more than they may be. */
#define fanout_meter_insists(s)  ((s)->meter.refusals < 0)

/* The data of an error, JSON of at most 128 bytes. */
size_t fanout_meter_data(fanout_limited_t *limited, u_char *buf);


#endif /* FANOUT_SESSION_METER_H */
