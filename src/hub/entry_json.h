
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Entries and members as JSON, for the dialects and the HTTP API.  All
 * functions append to an outbuf; NGX_ERROR means lack of memory, see hub/hub.h.
 */


#ifndef FANOUT_HUB_ENTRY_JSON_H
#define FANOUT_HUB_ENTRY_JSON_H


#include "base/id.h"
#include "hub/hub.h"
#include "zone/message.h"


/*
 * The entry as it is told to clients: itself, or a copy in *to without the user
 * if its sender is anonymous; with "unnamed", for readers without the
 * permission profile, without any users.  A copy has the flag ANONYMOUS.
 */
static inline fanout_entry_t *
fanout_entry_told(fanout_entry_t *e, ngx_uint_t unnamed, fanout_entry_t *to)
{
    if (!unnamed && !(e->flags & FANOUT_ANONYMOUS)) {
        return e;
    }

    *to = *e;
    to->user.len = 0;
    to->flags |= FANOUT_ANONYMOUS;

    return to;
}

/*
 * Appends the members of a message as JSON, without braces:
 *
 *   "offset":42,"time":…,"event":"msg","data":…,"enc":"base64","key":…,
 *   "meta":…,"from":{"client":"c_…","user":"ann"},"to":{"user":"bob"}
 *
 * in that order, without those that the entry lacks.  Data of the kind JSON is
 * copied unchanged, text becomes a string, binary a string of base64 (RFC 4648,
 * section 4) with "enc".  An entry of the type RECORD or LOCK has what
 * record_json.h or lock_json.h says in the place of a message.
 *
 * "from" of an anonymous sender has "anonymous":true, and is not for clients:
 * they are told the entry of fanout_entry_told().
 */
ngx_int_t fanout_entry_json(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);

/* The same without "offset" and "time", for a message that is not an entry
 * yet. */
ngx_int_t fanout_message_json(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);

/*
 * Appends a member as JSON, with braces:
 *
 *   {"client":"c_…","key":…,"user":"ann","info":{…},"data":…,
 *    "state":"active","joined_at":…,"seen":…,"slot":0}
 *
 * in that order, without those that the member lacks.  For a member that left:
 *
 *   {"client":"c_…","key":…,"user":"ann","data":…,"reason":"network"}
 *
 * parts says where some of it is.
 */

typedef struct {
    uint32_t  data;             /* its offset from f->used before the call, 0:
                                   the member has none */
    uint32_t  who;              /* the same of ,"user":…,"info":… */
    uint32_t  who_len;
} fanout_member_parts_t;

ngx_int_t fanout_member_json(fanout_hub_t *hub, fanout_member_t *m,
    ngx_uint_t left, fanout_outbuf_t *f, fanout_member_parts_t *parts);

/*
 * Appends the changes of a PRESENCE entry as the members of an object,
 * without braces:
 *
 *   "joined":[member…],"updated":[member…],"left":[member…]
 *
 * without those that are empty, or "summary":{"members":N}.  With the flag
 * ANONYMOUS of the entry members have no user and info.
 */
ngx_int_t fanout_changes_json(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);

/* The name of a reason (FANOUT_LEFT_*). */
const char *fanout_left_reason(ngx_uint_t reason);

/*
 * The same for a signal:
 *
 *   "signal":"cursor","tag":…,"data":…,"from":{…},"to":{…}
 */
ngx_int_t fanout_signal_json(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);


#endif /* FANOUT_HUB_ENTRY_JSON_H */
