
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Costs and limits of a session: fanout_rate and fanout_budget.
 *
 * Costs are charged afterwards, as they are not known before: a command is
 * accepted while nothing is owed beyond the burst, and then charged for what
 * the server did.  A session has token buckets of its own.  Its costs to the
 * budgets of its user and its address, which are in the zone, are gathered here
 * and reported to the zone when they are worth a transaction.
 *
 * Commands are counted in thousandths.  One costs 1, and as much for each:
 *  - message that it publishes beyond the first, and 512 subscribers of each;
 *  - channel that a stream or a poll joins;
 *  - 4096 bytes of what a compressed message grows to beyond
 *    fanout_deflate_ratio.
 * A subscription token costs 3, one that is not valid 10.
 * A signal costs half of one, a command that is refused for its rate a tenth.
 *
 * A refusal may be many times as long as its command.  So the refusals of a
 * session have a bucket of bytes, which is filled by time, by bytes received
 * from the client, and by each command that is accepted.  For a client that
 * waits for retry_after, a command is accepted for each one refused.
 *
 * Answers have a bucket of their own, in bytes: of a reply beyond the first
 * 4096, and of entries of the time before a stream or a poll joined.  Other
 * clients decide how many these are, so a client that owes answers may not ask
 * for more for a while, but may still publish.
 */


#ifndef FANOUT_SESSION_METER_H
#define FANOUT_SESSION_METER_H


#include "hub/hub.h"
#include "zone/limit.h"


#define FANOUT_COST            1000             /* of one command */
#define FANOUT_COST_SIGNAL     500
#define FANOUT_COST_REFUSED    100
#define FANOUT_COST_TICKET     3000             /* a subscription token */
#define FANOUT_COST_FORGED     10000            /* one that is not valid */
#define FANOUT_COST_BYTES      4096             /* of growth, as one command */
#define FANOUT_COST_LOOKS      256              /* entries that are searched,
                                                   likewise */
#define FANOUT_COST_AUDIENCE   512              /* subscribers, likewise */

/* bytes of refusals: at the begin, saved at most, for each ms, for 2 bytes
 * received; an accepted command counts as so many received bytes */
#define FANOUT_REFUSALS        16384
#define FANOUT_REFUSALS_MAX    65536
#define FANOUT_REFUSALS_MS     1
#define FANOUT_REFUSALS_FOR    3
#define FANOUT_REFUSALS_DONE   256

/* appended to log lines about an address that is refused */
#define FANOUT_PROXY_HINT                                                     \
    "; if the address is a proxy, set_real_ip_from is missing"

#define FANOUT_METERED  FANOUT_BUDGET_SESSIONS
                                       /* resources before this one */


/* of a session; all 0: nothing limits it */

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
    int32_t                          refusals;  /* bytes that refusals might
                                                   have then */
    uint32_t                         until[FANOUT_METERED];
                                                /* user or address are over:
                                                   the low bits of a time */
    uint8_t                          over;      /* bits of resources until
                                                   then */
    uint8_t                          by_user;   /* of them, the user is longer
                                                   than the address */
    uint8_t                          forwarded; /* the request says that it
                                                   passed a proxy */
    uint8_t                          foreign;   /* any page may have sent the
                                                   request: the hash differs
                                                   from that of the user */
    ngx_msec_t                       at;        /* time of the tokens above */
    uint64_t                         spent[FANOUT_METERED];
                                                /* not reported to the zone
                                                 * yet */
} fanout_meter_t;


/* limited resources other than FANOUT_BUDGET_*: publishes that wait for a hook,
 * see hook.h; idempotence keys that are remembered */

#define FANOUT_LIMITED_PUBLISHES  FANOUT_BUDGETS
#define FANOUT_LIMITED_KEYS       (FANOUT_BUDGETS + 1)
#define FANOUT_LIMITED            (FANOUT_BUDGETS + 2)


/* why a command or a request is refused */

typedef struct {
    ngx_uint_t                       wait;      /* ms */
    ngx_uint_t                       resource;  /* below LIMITED */
    ngx_uint_t                       scope;     /* FANOUT_SCOPE_* */
} fanout_limited_t;


/* counters of the zone's handle at a moment, without what was charged already,
 * so that marks may be nested */

typedef struct {
    uint64_t                         taken;
    uint64_t                         made;
} fanout_meter_mark_t;


/* what is admitted */

#define FANOUT_ADMIT_SESSION   0x01             /* it begins a session */
#define FANOUT_ADMIT_STAYS     0x02             /* it is counted by address */
#define FANOUT_ADMIT_READS     0x04             /* it gets entries of the time
                                                   before */
#define FANOUT_ADMIT_FOREIGN   0x08             /* any page may have sent it in
                                                   the user's name */

/*
 * Admits a request that is to become a session of a location; m is set to its
 * meter.  NONE; RATE_LIMITED, and limited says why; TOO_MANY sessions of the
 * address; ZONE_FULL, INTERNAL.  Refusals are counted and logged.
 */
fanout_error_e fanout_meter_admit(ngx_http_request_t *r,
    fanout_loc_conf_t *conf, ngx_str_t *user, ngx_uint_t what,
    fanout_meter_t *m, fanout_limited_t *limited);

/* The request did not become a session: it is no longer counted. */
void fanout_meter_undo(fanout_hub_t *hub, fanout_meter_t *m);

/* The hash of the address of a request, as set by realip.  Of IPv6 it is that
 * of the first 64 bits, as one client has all addresses of such a network.  0:
 * a Unix socket has none, its peers are proxies. */
uint64_t fanout_meter_address(ngx_http_request_t *r, fanout_hub_t *hub);

/* The budgets of the user and of the address, as far as there are any.  Returns
 * how many. */
ngx_uint_t fanout_meter_budgets(fanout_loc_conf_t *conf, fanout_meter_t *m,
    fanout_zone_budget_t *b);

/* Notes which budgets are exceeded, until when, and by whom. */
void fanout_meter_note(fanout_meter_t *m, fanout_zone_budget_t *b,
    fanout_zone_drawn_t *drawn, fanout_loc_conf_t *conf);

/* The budget of the address of a request, if there is one: 1, and .address of m
 * is set; else 0. */
ngx_uint_t fanout_meter_budget(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_meter_t *m, fanout_zone_budget_t *b);

/* The user of a session is known now, who was not when it was admitted: draws
 * on the user's budget, also for a new session if it begins one.  1; or 0, and
 * why not, counted. */
ngx_uint_t fanout_meter_prove(fanout_session_t *s, ngx_uint_t begins,
    fanout_limited_t *limited);

/* The hash by which an address is counted; 0: it is not. */
uint64_t fanout_meter_hash(fanout_hub_t *hub, struct sockaddr *sa);

/* The token of a request is not valid: it draws on the sessions of its address,
 * more if somebody made up its signature, which was verified. */
void fanout_meter_wrong(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t forged);

/* Work is done for a request before it is admitted, as a question to a backend
 * or the verification of a token of a channel: likewise, one. */
void fanout_meter_worked(ngx_http_request_t *r, fanout_loc_conf_t *conf);

/* Whether the address of a request has tried too many, so that none is verified
 * now: 1, counted as a refusal; or 0. */
ngx_uint_t fanout_meter_tried(ngx_http_request_t *r, fanout_loc_conf_t *conf);

/* The same for the token of a channel in a command of a session. */
void fanout_meter_session_wrong(fanout_session_t *s, ngx_uint_t forged);
ngx_uint_t fanout_meter_session_tried(fanout_session_t *s,
    fanout_limited_t *limited);

/* The hash of the user or the address of a meter, by scope; 0 if there is none,
 * or no fanout_budget applies to it. */
uint64_t fanout_meter_who(fanout_loc_conf_t *conf, fanout_meter_t *m,
    ngx_uint_t scope);

/* The session has ended. */
void fanout_meter_end(fanout_session_t *s);

/* The zone was rebuilt: counts the session again. */
void fanout_meter_restore(fanout_session_t *s);

/* Whether a command is accepted: 1, and its cost is charged; or 0, and why
 * not. */
ngx_uint_t fanout_meter_take(fanout_session_t *s, ngx_uint_t cost,
    fanout_limited_t *limited);

/* Whether a session may write to the zone, or bring the channel into use: 1; or
 * 0, and why not. */
ngx_uint_t fanout_meter_writes(fanout_session_t *s, ngx_str_t *channel,
    fanout_limited_t *limited);

/* Whether a session may ask for an answer that may be long: 1; or 0, and why
 * not. */
ngx_uint_t fanout_meter_answers(fanout_session_t *s,
    fanout_limited_t *limited);

/* Whether the debt of a session is near its limit: 1, counted as a refusal; or
 * 0. */
ngx_uint_t fanout_meter_broke(fanout_session_t *s);

/* Fills in the sender of a publish. */
void fanout_meter_sender(fanout_session_t *s, fanout_zone_publish_t *opts);

/* The same for a publish by a request without a session, for a user ("": for
 * its address). */
void fanout_meter_writer(ngx_http_request_t *r, fanout_hub_t *hub,
    ngx_str_t *user, fanout_zone_publish_t *opts);

/* Sets limited to why a publish with the result r was RATE_LIMITED, and counts
 * the refusal. */
void fanout_meter_keys(fanout_session_t *s, const fanout_zone_result_t *r,
    fanout_limited_t *limited);

/* The same, not counted. */
void fanout_meter_keys_limited(const fanout_zone_result_t *r,
    fanout_limited_t *limited);

/* Whether the user or the address of a session are above their budgets of
 * commands: 1, and why; or 0. */
ngx_uint_t fanout_meter_over(fanout_session_t *s, fanout_limited_t *limited);

/* Charges a session: for commands, in 1/1000; for bytes that a message has
 * grown by; for bytes of answers; for a reply, without its first bytes; for n
 * messages to so many subscribers. */
void fanout_meter_charge(fanout_session_t *s, uint64_t cost);
void fanout_meter_grown(fanout_session_t *s, size_t bytes);
void fanout_meter_answered(fanout_session_t *s, size_t bytes);
void fanout_meter_reply(fanout_session_t *s, size_t bytes);
void fanout_meter_audience(fanout_session_t *s, ngx_uint_t n,
    uint32_t subscribers);

/* Charges a session for what was taken of the zone between mark and account. */
void fanout_meter_mark(fanout_session_t *s, fanout_meter_mark_t *mark);
void fanout_meter_account(fanout_session_t *s, fanout_meter_mark_t *mark);

/* Whether a refusal by fanout_rate or fanout_budget is a dry run, for a
 * connection: 1, it is counted as such and logged, and what was to be refused
 * goes on; or 0. */
ngx_uint_t fanout_meter_dry_run(fanout_loc_conf_t *conf, ngx_connection_t *c,
    fanout_limited_t *limited);

/* Count a refusal.  For a session, one by a limit of its address is also
 * logged.  fanout_meter_text() is the directive, and what it limits. */
void fanout_meter_refused(fanout_hub_t *hub, fanout_limited_t *limited);
void fanout_meter_refuse(fanout_session_t *s, fanout_limited_t *limited);

/* Logs that the address of a session holds all it may. */
void fanout_meter_full(fanout_session_t *s);
const char *fanout_meter_text(fanout_limited_t *limited);

/* A refusal of about so many bytes was sent to the session. */
void fanout_meter_refusal_sent(fanout_session_t *s, size_t bytes);

/* Whether refusals were longer than they may be. */
#define fanout_meter_insists(s)  ((s)->meter.refusals < 0)

/* Writes the data of an error, JSON of at most 128 bytes; returns its
 * length. */
size_t fanout_meter_data(fanout_limited_t *limited, u_char *buf);


#endif /* FANOUT_SESSION_METER_H */
