
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Errors of operations, and the mapping of the zone's results to them.
 */


#ifndef FANOUT_HUB_ERROR_H
#define FANOUT_HUB_ERROR_H


#include "hub/app.h"


/* as the native protocol and the API name them */

typedef enum {
    FANOUT_E_PARKED = -1,               /* not refused: it waits, and has no
                                           reply yet */
    FANOUT_E_NONE = 0,
    FANOUT_E_BAD_REQUEST,
    FANOUT_E_UNKNOWN_OP,
    FANOUT_E_TOO_LARGE,
    FANOUT_E_TOO_MANY,
    FANOUT_E_FORBIDDEN,
    FANOUT_E_NOT_JOINED,
    FANOUT_E_NOT_FOUND,
    FANOUT_E_CONFLICT,
    FANOUT_E_RATE_LIMITED,
    FANOUT_E_ZONE_FULL,
    FANOUT_E_INTERNAL,
    FANOUT_E_CHANNEL_FULL,
    FANOUT_E_RECIPIENT_OFFLINE,
    FANOUT_E_REFUSED,
    FANOUT_E_HOOK_FAILED,
    FANOUT_E_BUSY,
    FANOUT_E_LOCKED,
    FANOUT_E_NOT_HOLDER,
    FANOUT_E_UNAUTHORIZED,
    FANOUT_E_UNAVAILABLE,
    FANOUT_E_ADDRESS_FULL,

    /* as ZONE_FULL, for one share of the zone, in the order of the shares, and
     * for the share of one policy's channels */

#define FANOUT_SHARE(name, text)  FANOUT_E_FULL_##name,
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE
    FANOUT_E_FULL_ACCOUNT
} fanout_error_e;

typedef struct {
    ngx_str_t                        code;      /* "bad_request" */
    ngx_uint_t                       status;    /* of HTTP */
    ngx_str_t                        text;      /* the default message */
} fanout_error_t;

extern fanout_error_t  fanout_errors[];

/* Whether an error is zone_full. */
#define fanout_full(error)                                                    \
    ((error) == FANOUT_E_ZONE_FULL                                            \
     || (error) > FANOUT_E_ADDRESS_FULL)


/* The error for the zone's last FULL, by the share that was full.  Counts the
 * refusal, and logs it unless sink.logs() gathers it. */
fanout_error_e fanout_hub_full(fanout_hub_t *hub);

/*
 * Maps a result of the zone to an error: NONE for OK; FULL as above; ADDRESS is
 * counted; INTERNAL for results that clients never get.  Where CONFLICT, MANY
 * or NOTFOUND mean something else, the caller maps them first.
 */
fanout_error_e fanout_error_of(fanout_hub_t *hub, int rc);


#endif /* FANOUT_HUB_ERROR_H */
