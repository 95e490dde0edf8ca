
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The lanes of the publish hook: which approvals share a call, and how they are
 * settled when it is answered.  Used in hook/ only.
 */


#ifndef FANOUT_HOOK_LANE_H
#define FANOUT_HOOK_LANE_H


#include "hook/hook.h"
#include "base/json.h"


#define FANOUT_LANES  4


typedef struct fanout_approver_s  fanout_approver_t;


/*
 * Approvals of the channels of a lane are settled in the order in which they
 * came.  They are grouped into batches, one call each.  Several calls are
 * active; only the oldest batch is settled, and later ones wait for it.
 */

typedef struct {
    fanout_approver_t       *approver;
    ngx_queue_t              waiting;       /* approvals in no batch */
    ngx_queue_t              batches;       /* oldest first */
    ngx_uint_t               calls;         /* active */
    ngx_event_t              work;          /* posted */
} fanout_lane_t;

/* a user or an address with approvals that are not answered */

struct fanout_lane_sender_s {
    ngx_rbtree_node_t        node;          /* key: hash, of which scope too */
    ngx_uint_t               n;             /* approvals */
};

struct fanout_approver_s {
    fanout_hub_t      *hub;
    fanout_hook_t     *hook;
    ngx_uint_t         n;                   /* approvals to be answered */
    ngx_rbtree_t       senders;             /* of these */
    ngx_rbtree_node_t  sentinel;
    uint64_t           last;                /* id */
    ngx_uint_t         turned;              /* away, not yet logged */
    ngx_event_t        log;                 /* timer, set: not yet again */
    fanout_lane_t      lanes[FANOUT_LANES];
};


void fanout_lane_init(fanout_lane_t *lane, fanout_approver_t *a,
    ngx_log_t *log);

/* Appends an approval to a lane; it is in a call soon. */
void fanout_lane_put(fanout_lane_t *lane, fanout_approval_t *approval);


/* results of approvals, see hook/publish.c */

/* Executes the backend's verdict; len 0 approves.  NULL, or what is wrong with
 * the verdict, and nothing was done. */
const char *fanout_approval_follow(fanout_approval_t *approval,
    fanout_json_t *verdict);

/* Describes the error in an object of the backend: an unknown or repeated
 * member, or otherwise "other".  Valid until the next call. */
const char *fanout_approval_wrong(int rc, fanout_json_error_t *err,
    const char *other);

/* There is no answer: the approval is approved if pass is set, or refused. */
void fanout_approval_fail(fanout_approval_t *approval, ngx_uint_t pass);

/* The approval is settled: it no longer counts, and the session continues.  It
 * may be freed. */
void fanout_approval_finish(fanout_approval_t *approval);


#endif /* FANOUT_HOOK_LANE_H */
