
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Hooks: calls to a location that notify a backend or ask it.
 *
 *  - Events (connect, disconnect, join, leave, first-in, last-out, occupied,
 *    vacated) are told after they happened, in order, at least once.  They wait
 *    in a queue in the zone, which one worker at a time delivers.
 *  - A publish is asked for before: it may be let through, refused, or
 *    changed.  The worker of the publisher asks, and publishes what it is told.
 */


#ifndef FANOUT_HOOK_HOOK_H
#define FANOUT_HOOK_HOOK_H


#include "hook/call.h"
#include "session/session.h"
#include "zone/event.h"


/* in addition to the events of the zone */
#define FANOUT_HOOK_PUBLISH   0x100

/* events or publishes in one call, at most */
#define FANOUT_HOOK_BATCH     FANOUT_ZONE_EVENTS


/* calls=, at most */
#define FANOUT_HOOK_CALLS     64


/* a fanout_hook */

struct fanout_hook_s {
    fanout_callee_t         callee;
    ngx_uint_t              mask;               /* FANOUT_EVENT_* and
                                                   FANOUT_HOOK_PUBLISH */
    ngx_uint_t              batch;              /* events or publishes in one
                                                   call */
    ngx_uint_t              calls;              /* at a time, for a lane of
                                                   publishes */
    ngx_uint_t              queue;              /* queue=, 0: not given */
    ngx_uint_t              events;             /* that may wait */
    ngx_msec_t              retry;              /* the longest wait, 0: not
                                                   given */
    ngx_uint_t              pass;               /* publish if it fails */
};


/* The setter of fanout_hook. */
char *fanout_set_hook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Sets defaults, once the zone is fully configured; NGX_CONF_ERROR. */
char *fanout_hook_finish(ngx_conf_t *cf, fanout_app_t *app);


/* Called in a worker, after the hub of the zone was made, and before it is
 * left.  NGX_ERROR. */
ngx_int_t fanout_hook_init(fanout_app_t *app, ngx_cycle_t *cycle);
void fanout_hook_exit(fanout_app_t *app);


/* The delivery of events by this worker; NGX_ERROR. */
ngx_int_t fanout_hook_events_init(fanout_hub_t *hub, ngx_cycle_t *cycle);
void fanout_hook_events_exit(fanout_hub_t *hub);


/*
 * An approval: a publish that waits for the backend to approve it.  It has a
 * copy of all it needs, so it outlives the session: if the publisher is cut
 * before the answer, the message is published all the same.
 */

typedef struct fanout_approval_s     fanout_approval_t;
typedef struct fanout_lane_sender_s  fanout_lane_sender_t;

struct fanout_approval_s {
    ngx_queue_t             queue;              /* of its lane */
    fanout_hub_t           *hub;
    fanout_session_t       *session;            /* NULL: gone */
    fanout_subject_t        who;                /* sends it */
    fanout_subject_t        token;              /* that permits it, if ticketed
                                                   is set */
    uint64_t                id;

    /* the senders that it counts for, by scope: the user, the address; NULL:
     * not counted */
    fanout_lane_sender_t   *senders[FANOUT_SCOPES];

    ngx_str_t               channel;
    fanout_zone_message_t  *messages;
    ngx_uint_t              n;
    fanout_zstr_t           to;                 /* name of the user that it is
                                                   for */
    fanout_zone_publish_t   opts;
    size_t                  max;                /* bytes of a message */

    /* the result */
    unsigned                answered:1;
    unsigned                ticketed:1;
    fanout_error_e          rc;
    fanout_zone_result_t    result;
    ngx_str_t               text;               /* of the error, or empty */
    ngx_str_t               details;            /* JSON, or empty */
};

/* How many wait in this worker, and how many may; 0 without a hook. */
ngx_uint_t fanout_approvals_waiting(fanout_hub_t *hub);
ngx_uint_t fanout_approvals_max(fanout_hub_t *hub);

/* Whether publishes of clients to a channel need approval: 1 or 0. */
ngx_uint_t fanout_approval_needed(fanout_hub_t *hub, ngx_str_t *channel);

/*
 * Asks the backend about a publish.  The arguments are those of
 * fanout_hub_publish(), all copied; to is the name of the user that the message
 * is for, or NULL.  When the backend has answered, and approved messages are
 * published, the job of the session continues, which must wait.  The session
 * must release the approval when its job ends.
 *
 * NULL, and *rc: INTERNAL; HOOK_FAILED when too many wait; RATE_LIMITED when
 * too many of this user or address do, then limited says so, and it is counted.
 */
fanout_approval_t *fanout_approval_begin(fanout_session_t *s,
    ngx_str_t *channel, fanout_zone_message_t *m, ngx_uint_t n,
    fanout_zstr_t *to, fanout_zone_publish_t *opts, fanout_limited_t *limited,
    fanout_error_e *rc);

/* The session no longer waits: frees an approval that is answered; another one
 * continues without the session. */
void fanout_approval_release(fanout_approval_t *approval);


#endif /* FANOUT_HOOK_HOOK_H */
