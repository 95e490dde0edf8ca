
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Records as JSON, for the dialects and the HTTP API.  All functions append to
 * an outbuf; NGX_ERROR means lack of memory, see hub/hub.h.
 */


#ifndef FANOUT_HUB_RECORD_JSON_H
#define FANOUT_HUB_RECORD_JSON_H


#include "hub/hub.h"
#include "zone/record.h"


/*
 * Appends what an entry of the type RECORD says, as the members of an object,
 * without braces:
 *
 *   "record":"r1","version":8,"created":true,"set":{…},"unset":[…],
 *   "append":{"f":[…]},"old":{…},"full":{…}
 *
 * without those that are empty; "deleted":true with "expired":true if its time
 * was over.  Bytes that are broken become nothing.
 */
ngx_int_t fanout_record_entry_json(fanout_hub_t *hub, fanout_zstr_t *data,
    fanout_outbuf_t *f);

/* Appends what a record is as the members of an object, without braces:
 * "version":8,"fields":{…},"versions":{…}, the last with versions only. */
ngx_int_t fanout_record_members_json(fanout_hub_t *hub, fanout_record_t *r,
    ngx_uint_t versions, fanout_outbuf_t *f);

/* The same in braces. */
ngx_int_t fanout_record_json(fanout_hub_t *hub, fanout_record_t *r,
    ngx_uint_t versions, fanout_outbuf_t *f);

/* Appends what was read as the members of an object, without braces:
 * "r1":{"version":8,…},"r2":… */
ngx_int_t fanout_records_json(fanout_hub_t *hub, fanout_records_t *records,
    ngx_uint_t versions, fanout_outbuf_t *f);

/* Appends the fields in conflict:
 *
 *   {"f":{"value":…,"version":8,"user":"ann"},"g":{"version":7},
 *    "h":{"value":5,"version":2,"reason":"not_array"}}
 *
 * without value if the field is not there any more; unnamed: without user. */
ngx_int_t fanout_record_conflicts_json(fanout_hub_t *hub, fanout_record_t *r,
    ngx_uint_t unnamed, fanout_outbuf_t *f);

/* Appends what a set or a delete did, as the members of an object, without
 * braces: "version":8,"epoch":"…","offset":12,"unchanged":true,
 * "duplicate":true,"partial":true,"rejected":{…}.  conflicts may be NULL. */
ngx_int_t fanout_record_result_json(fanout_hub_t *hub,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts,
    fanout_outbuf_t *f);

/* Appends {"lock","holder":{"client"?,"user"?}} of a set or a delete that was
 * LOCKED; unnamed: without the user. */
ngx_int_t fanout_record_locked_json(fanout_hub_t *hub,
    const fanout_zone_set_result_t *r, ngx_uint_t unnamed, fanout_outbuf_t *f);

/* Appends what the record is that a set or a delete was in conflict with:
 * "version":8,"deleted":true,"unknown":true,"rejected":{…}. */
ngx_int_t fanout_record_refusal_json(fanout_hub_t *hub,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts,
    fanout_outbuf_t *f);


#endif /* FANOUT_HUB_RECORD_JSON_H */
