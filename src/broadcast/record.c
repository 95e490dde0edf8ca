
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * A response as a change of a record: the members of its body, or of that of
 * the request, are the fields.
 *
 * The backend has made the write, so there is nobody to be refused: what can't
 * be done is logged.
 */


#include "broadcast/broadcast.h"
#include "hub/record_decode.h"
#include "hub/records.h"
#include "session/log.h"
#include "session/meter.h"
#include "base/name.h"


/* bytes of a reason that is made */
#define RECORD_REASON  128


static const char *record_fill(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, fanout_zone_set_t *set,
    fanout_zone_publish_t *opts);
static void record_decode(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, fanout_broadcast_body_t *body);
static const char *record_members(fanout_broadcast_body_t *body,
    ngx_uint_t nulls, ngx_str_t *text);
static void record_id(fanout_broadcast_t *b, fanout_broadcast_body_t *body);
static fanout_error_e record_run(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, fanout_zone_set_t *set,
    fanout_zone_set_result_t *r);
static void record_unmade(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, fanout_error_e error,
    fanout_zone_set_result_t *r);
static void record_failed(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, const char *reason);
static void record_log(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    ngx_uint_t level, const char *what, const char *reason);


static const struct {
    const char  *omitted;
    const char  *reason;
} reasons[] = {
    { "large", "the body is over fanout_broadcast_size" },
    { "encoded", "the body has a Content-Encoding" },
    { "incomplete", "the response broke off" },
    { "partial", "the response is a part of the body" },
    { "unbuffered", "the body of the request was not kept" },
    { NULL, "out of memory" }
};


void
fanout_broadcast_record(fanout_broadcast_t *b, fanout_broadcast_target_t *t)
{
    const char                *reason;
    fanout_hub_t              *hub;
    fanout_error_e             error;
    fanout_zone_set_t          set;
    fanout_zone_publish_t      opts;
    fanout_zone_set_result_t   r;

    hub = t->app->hub;
    reason = record_fill(b, t, &set, &opts);

    if (reason) {
        record_failed(b, t, reason);
        return;
    }

    error = record_run(b, t, &set, &r);

    if (opts.key.len && fanout_broadcast_forgets(b, t, error, &r.log)) {
        opts.key.len = 0;
        error = record_run(b, t, &set, &r);
    }

    if (error != FANOUT_E_NONE) {
        record_unmade(b, t, error, &r);
        return;
    }

    if (r.log.duplicate) {
        fanout_count(hub, duplicates);
        return;
    }

    if (!r.unchanged) {
        fanout_count(hub, broadcasts);
    }

    if (r.partial) {
        record_log(b, t, NGX_LOG_WARN, "was in part refused",
                   "fields were changed since X-Accel-Fanout-Base");
    }
}


/* NULL, or why there is no change. */

static const char *
record_fill(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    fanout_zone_set_t *set, fanout_zone_publish_t *opts)
{
    ngx_str_t                *id;
    fanout_broadcast_body_t  *body;

    body = &b->bodies[t->body];
    id = &t->record;

    ngx_memzero(set, sizeof(fanout_zone_set_t));
    ngx_memzero(opts, sizeof(fanout_zone_publish_t));

    if (t->change != FANOUT_BROADCAST_DELETE) {

        if (!fanout_records_served(t->app->hub, &t->channel)) {
            return "the channel has no records: fanout_channel records=";
        }

        record_decode(b, t, body);

        if (body->refused) {
            return body->refused;
        }

        /* the id that a client sends may be another than the backend gives */

        if (id->len == 0 && t->body == FANOUT_BROADCAST_RESPONSE) {
            t->record = body->id;
        }
    }

    if (id->len == 0) {
        return "there is no id of a record";
    }

    set->id.data = id->data;
    set->id.len = id->len;
    set->changes = body->changes;
    set->n = body->nchanges;
    set->client = t->client;
    set->user.data = t->user.data;
    set->user.len = t->user.len;
    set->base = t->base;
    set->mode = t->based ? FANOUT_MERGE : FANOUT_OVERWRITE;
    set->whole = (t->change == FANOUT_BROADCAST_PUT);
    set->guard_off = 1;
    set->opts = opts;

    opts->key.data = t->key.data;
    opts->key.len = t->key.len;
    opts->scope = set->user;
    opts->record = 1;

    fanout_meter_writer(b->request, t->app->hub, &t->user, opts);

    return NULL;
}


/* Once for all channels. */

static void
record_decode(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    fanout_broadcast_body_t *body)
{
    ngx_str_t   text;
    ngx_uint_t  i;

    if (body->decoded) {
        return;
    }

    body->decoded = 1;

    if (body->omitted) {
        for (i = 0;
             reasons[i].omitted
             && ngx_strcmp(reasons[i].omitted, body->omitted) != 0;
             i++)
        {
            /* void */
        }

        body->refused = reasons[i].reason;
        return;
    }

    fanout_broadcast_prepare(b, body);

    if (body->kind != FANOUT_JSON || body->data.data[0] != '{') {
        body->refused = "the body is not a JSON object";
        return;
    }

    body->changes = ngx_palloc(b->request->pool,
                       FANOUT_ZONE_FIELDS * sizeof(fanout_zone_change_t));

    /* a copy: decoding writes to it, and the data may be a message as well */

    text.data = ngx_pstrdup(b->request->pool, &body->data);
    text.len = body->data.len;

    if (body->changes == NULL || text.data == NULL) {
        body->refused = "out of memory";
        return;
    }

    body->refused = record_members(body,
                                   t->change == FANOUT_BROADCAST_PATCH, &text);
    record_id(b, body);
}


static const char *
record_members(fanout_broadcast_body_t *body, ngx_uint_t nulls,
    ngx_str_t *text)
{
    ngx_str_t              why;
    ngx_uint_t             i;
    fanout_json_t          value;
    fanout_error_e         error;
    fanout_zone_change_t  *c;

    value.data = text->data;
    value.len = text->len;

    error = fanout_record_decode(body->changes, &body->nchanges,
                                 FANOUT_FIELD_SET, &value, &why);

    if (error == FANOUT_E_NONE) {
        error = fanout_record_once(body->changes, body->nchanges, &why);
    }

    if (error != FANOUT_E_NONE) {
        return error == FANOUT_E_TOO_MANY
               ? "the body has more fields than a record"
               : "a member of the body is not a field: a name of 1 to 128 "
                 "bytes, once";
    }

    for (i = 0; nulls && i < body->nchanges; i++) {
        c = &body->changes[i];

        if (c->value.len == 4 && ngx_memcmp(c->value.data, "null", 4) == 0) {
            c->op = FANOUT_FIELD_UNSET;
            c->value.len = 0;
        }
    }

    return NULL;
}


/* The member "id": a string, or a number as it was sent. */

static void
record_id(fanout_broadcast_t *b, fanout_broadcast_body_t *body)
{
    int                          type;
    u_char                      *p;
    ngx_uint_t                   i;
    fanout_json_t                value, text;
    const fanout_zone_change_t  *c;

    c = NULL;

    for (i = 0; i < body->nchanges && c == NULL; i++) {
        if (body->changes[i].name.len == 2
            && ngx_memcmp(body->changes[i].name.data, "id", 2) == 0)
        {
            c = &body->changes[i];
        }
    }

    if (body->refused || c == NULL) {
        return;
    }

    value.data = c->value.data;
    value.len = c->value.len;
    type = fanout_json_type(&value);
    text = value;

    if (type == FANOUT_JSON_STRING) {
        p = ngx_pnalloc(b->request->pool, FANOUT_KEY);

        if (p == NULL
            || fanout_json_text(&value, p, FANOUT_KEY, &text)
               != FANOUT_JSON_OK)
        {
            return;
        }

    } else if (type != FANOUT_JSON_NUMBER) {
        return;
    }

    body->id.data = (u_char *) text.data;
    body->id.len = text.len;

    if (fanout_label_check(&body->id, FANOUT_KEY) != NGX_OK) {
        body->id.len = 0;
    }
}


static fanout_error_e
record_run(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    fanout_zone_set_t *set, fanout_zone_set_result_t *r)
{
    fanout_error_e     error;
    fanout_records_t  *conflicts;

    if (t->change != FANOUT_BROADCAST_DELETE) {
        return fanout_records_set(t->app->hub, &t->channel, set, r,
                                  &conflicts);
    }

    error = fanout_records_delete(t->app->hub, &t->channel, set, r);

    if (error == FANOUT_E_NOT_FOUND) {
        r->unchanged = 1;
        return FANOUT_E_NONE;
    }

    return error;
}


/* A conflict is no failure: the zone counts it. */

static void
record_unmade(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    fanout_error_e error, fanout_zone_set_result_t *r)
{
    u_char                   reason[RECORD_REASON];
    fanout_records_limit_t   limit;

    switch (error) {

    case FANOUT_E_CONFLICT:
        record_log(b, t, NGX_LOG_WARN, "was refused",
                   r->version
                   ? "the record was changed since X-Accel-Fanout-Base"
                   : "the record of X-Accel-Fanout-Base is not there any "
                     "more");
        return;

    case FANOUT_E_TOO_LARGE:
    case FANOUT_E_TOO_MANY:
        fanout_records_limit(t->app->hub, &t->channel, error, r, &limit);

        *ngx_snprintf(reason, RECORD_REASON - 1,
                      "over the limit \"%s\" of %ui", limit.directive,
                      limit.max)
            = '\0';

        record_failed(b, t, (char *) reason);
        return;

    default:
        record_failed(b, t, (char *) fanout_errors[error].text.data);
    }
}


static void
record_failed(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    const char *reason)
{
    fanout_count(t->app->hub, broadcast_failures);
    record_log(b, t, NGX_LOG_ERR, "failed", reason);
}


/* Clients decide what the backend gets: so lines are gathered by address. */

static void
record_log(fanout_broadcast_t *b, fanout_broadcast_target_t *t,
    ngx_uint_t level, const char *what, const char *reason)
{
    ngx_connection_t  *c;

    c = b->request->connection;

    if (!fanout_session_log_gather_error(level, &c->addr_text, reason)) {
        return;
    }

    ngx_log_error(level, c->log, 0,
                  "fanout_broadcast to record \"%V\" of channel \"%V\" in "
                  "zone \"%V\" %s: %s", &t->record, &t->channel,
                  &t->app->name, what, reason);
}
