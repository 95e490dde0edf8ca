
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Errors of operations, and what results of the zone become of them.
 */


#ifndef FANOUT_HUB_ERROR_H
#define FANOUT_HUB_ERROR_H


#include "hub/app.h"


/* as the native protocol and the API name them */

typedef enum {
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
    FANOUT_E_ADDRESS_FULL,

    /* as ZONE_FULL, of a share of the zone, by its number, and of what a class
     * of channels may have of it */

#define FANOUT_SHARE(name, text)  FANOUT_E_FULL_##name,
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE
    FANOUT_E_FULL_CLASS
} fanout_error_e;

typedef struct {
    ngx_str_t                        code;      /* "bad_request" */
    ngx_uint_t                       status;    /* of HTTP */
    ngx_str_t                        text;      /* when nothing better */
} fanout_error_t;

extern fanout_error_t  fanout_errors[];

/* Whether an error is zone_full. */
#define fanout_full(error)                                                    \
    ((error) == FANOUT_E_ZONE_FULL                                            \
     || (error) > FANOUT_E_ADDRESS_FULL)


/* The error of the zone's last FULL, by the share that it was for; counted, and
 * logged. */
fanout_error_e fanout_hub_full(fanout_hub_t *hub);

/*
 * The error of a result of the zone: NONE for OK; FULL as above; ADDRESS is
 * counted; INTERNAL for results that are not for clients.  For an operation
 * whose CONFLICT, MANY or NOTFOUND mean something else its caller maps them
 * first.
 */
fanout_error_e fanout_error_of(fanout_hub_t *hub, int rc);


#endif /* FANOUT_HUB_ERROR_H */
