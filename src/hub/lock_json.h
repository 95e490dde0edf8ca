
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Locks as JSON, for the dialects and the HTTP API.  All functions append to an
 * outbuf; NGX_ERROR means lack of memory, see hub/hub.h.
 */


#ifndef FANOUT_HUB_LOCK_JSON_H
#define FANOUT_HUB_LOCK_JSON_H


#include "hub/hub.h"
#include "zone/lock.h"


/* Appends what an entry of the type LOCK says, as a member of an object:
 *
 *   "lock":{"name":"r1","holder":{"client":"c_…","user":"ann","data":{…}},
 *           "expires":…,"reason":"expired"}
 *
 * with "holder":null and without "expires" if nobody holds it, and "reason" if
 * one has ended.  A holder without client is the HTTP API.  With the flag
 * ANONYMOUS of the entry a holder has no user.  Bytes that are broken become
 * nothing. */
ngx_int_t fanout_lock_entry_json(fanout_hub_t *hub, fanout_entry_t *e,
    fanout_outbuf_t *f);

/* Appends who holds a lock as members of an object, without braces:
 *
 *   "holder":{…},"expires":…,"waiting":2 */
ngx_int_t fanout_lock_holder_json(fanout_hub_t *hub, fanout_lock_t *lock,
    fanout_outbuf_t *f);

/* Appends a lock of a list, with braces: {"name":…,"holder":{…},"expires":…}.
 * The locks of the client "mine" also have "mine":true and "token"; with mine
 * UINT64_MAX, all have "token" and "waiting". */
ngx_int_t fanout_lock_json(fanout_hub_t *hub, fanout_lock_t *lock,
    uint64_t mine, fanout_outbuf_t *f);


#endif /* FANOUT_HUB_LOCK_JSON_H */
