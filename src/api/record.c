
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Changes of records.
 *
 *   set      {"version","epoch","offset","created"?,"unchanged"?,
 *             "duplicate"?,"partial"?,"rejected"?}
 *   delete   {"version","epoch","offset","duplicate"?}
 *
 * A condition that does not hold is a conflict, whose data has what the record
 * is: {"version","deleted"?,"unknown"?,"rejected"?,"fields"?}.
 */


#include "api/api.h"
#include "base/id.h"
#include "hub/record_decode.h"
#include "hub/record_json.h"
#include "hub/records.h"


static fanout_error_e change_check(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e change_list(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_set_t *set);
static fanout_error_e change_decode(fanout_api_t *api, uint8_t op,
    ngx_str_t *text, ngx_uint_t *n);
static fanout_error_e change_fill(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_set_t *set, fanout_zone_publish_t *opts);
static fanout_error_e change_done(fanout_api_t *api,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts);
static fanout_error_e change_refused(fanout_api_t *api, fanout_api_op_t *op,
    fanout_error_e error, fanout_zone_set_result_t *r,
    fanout_records_t *conflicts);
static fanout_error_e change_locked(fanout_api_t *api,
    const fanout_zone_set_result_t *r);
static ngx_uint_t change_unmet(fanout_api_op_t *op,
    const fanout_zone_set_result_t *r);
static fanout_error_e change_conflict(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_set_result_t *r, fanout_records_t *conflicts);
static ngx_int_t change_state(fanout_api_t *api, fanout_api_op_t *op,
    ngx_uint_t unmet, fanout_zone_set_result_t *r,
    fanout_records_t *conflicts, fanout_outbuf_t *f);


/* of the current operation */

static fanout_zone_change_t  changes[FANOUT_ZONE_FIELDS];


/* what was sent */

fanout_error_e
fanout_api_record_check(fanout_api_t *api, ngx_str_t *id)
{
    return fanout_label_check(id, FANOUT_KEY) == NGX_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "the id of a record has 1 to %d bytes of UTF-8 "
                             "without control characters", FANOUT_KEY);
}


fanout_error_e
fanout_api_mode(fanout_api_t *api, ngx_str_t *name, ngx_uint_t *mode)
{
    ngx_str_t       why;
    fanout_error_e  error;

    error = fanout_record_mode(name, mode, &why);

    if (error != FANOUT_E_NONE) {
        return fanout_api_fail(api, error, "%V", &why);
    }

    (*mode)++;

    return FANOUT_E_NONE;
}


static fanout_error_e
change_check(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e  error;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = fanout_api_record_check(api, &op->record))
        || (error = fanout_api_label(api, "key", &op->key, FANOUT_KEY))
        || (error = fanout_api_label(api, "user", &op->user, FANOUT_NAME))
        || (error = fanout_api_label(api, "release", &op->release,
                                     FANOUT_NAME)))
    {
        return error;
    }

    if (op->set.len + op->append.len > api->conf->message_size) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE, "message",
                                 api->conf->message_size);
    }

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_no_records(fanout_api_t *api)
{
    return fanout_api_fail(api, FANOUT_E_FORBIDDEN,
                           "this channel has no records: \"fanout_channel "
                           "records=\"");
}


fanout_error_e
fanout_api_record_absent(fanout_api_t *api, fanout_api_op_t *op,
    fanout_error_e error)
{
    return fanout_api_fail(api, error, "there is no record \"%V\"",
                           &op->record);
}


static fanout_error_e
change_list(fanout_api_t *api, fanout_api_op_t *op, fanout_zone_set_t *set)
{
    ngx_str_t       why;
    ngx_uint_t      n;
    fanout_error_e  error;

    n = 0;

    if ((error = change_decode(api, FANOUT_FIELD_SET, &op->set, &n))
        || (error = change_decode(api, FANOUT_FIELD_UNSET, &op->unset, &n))
        || (error = change_decode(api, FANOUT_FIELD_APPEND, &op->append, &n)))
    {
        return error;
    }

    error = fanout_record_once(changes, n, &why);

    if (error != FANOUT_E_NONE) {
        return fanout_api_fail(api, error, "%V", &why);
    }

    set->changes = changes;
    set->n = n;

    return FANOUT_E_NONE;
}


static fanout_error_e
change_decode(fanout_api_t *api, uint8_t op, ngx_str_t *text, ngx_uint_t *n)
{
    ngx_str_t       why;
    fanout_json_t   value;
    fanout_error_e  error;

    if (text->len == 0) {
        return FANOUT_E_NONE;
    }

    value.data = text->data;
    value.len = text->len;

    error = fanout_record_decode(changes, n, op, &value, &why);

    return error == FANOUT_E_NONE ? error
           : error == FANOUT_E_TOO_MANY
           ? fanout_api_exceed(api, error, "fields", FANOUT_ZONE_FIELDS)
           : fanout_api_fail(api, error, "%V", &why);
}


/* what a set and a delete have in common */

static fanout_error_e
change_fill(fanout_api_t *api, fanout_api_op_t *op, fanout_zone_set_t *set,
    fanout_zone_publish_t *opts)
{
    ngx_str_t       why;
    ngx_uint_t      mode;
    fanout_error_e  error;

    ngx_memzero(opts, sizeof(fanout_zone_publish_t));
    ngx_memzero(set, sizeof(fanout_zone_set_t));

    opts->key.data = op->key.data;
    opts->key.len = op->key.len;
    opts->scope.data = op->user.data;
    opts->scope.len = op->user.len;
    opts->record = 1;

    set->id.data = op->record.data;
    set->id.len = op->record.len;
    set->user = opts->scope;
    set->opts = opts;
    set->exact = op->exact;
    set->exist = op->exist;
    set->create = op->create;
    set->whole = op->whole;
    set->token = op->token;
    set->release.data = op->release.data;
    set->release.len = op->release.len;
    set->guard_off = (op->token == 0);
    set->backend = 1;

    mode = op->exact ? FANOUT_REJECT : op->mode - 1;

    error = fanout_record_base(set, op->based ? &op->base : NULL,
                               op->exact || op->mode ? &mode : NULL, &why);

    return error == FANOUT_E_NONE ? error
                                  : fanout_api_fail(api, error, "%V", &why);
}


/* changing */

fanout_error_e
fanout_api_set(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e             error;
    fanout_records_t          *conflicts;
    fanout_zone_set_t          set;
    fanout_zone_publish_t      opts;
    fanout_zone_set_result_t   r;

    error = change_check(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (!fanout_records_served(api->hub, &op->channel)) {
        return fanout_api_no_records(api);
    }

    if ((error = change_fill(api, op, &set, &opts))
        || (error = change_list(api, op, &set)))
    {
        return error;
    }

    error = fanout_records_set(api->hub, &op->channel, &set, &r, &conflicts);
    op->version = r.version;

    return error == FANOUT_E_NONE
           ? change_done(api, &r, conflicts)
           : change_refused(api, op, error, &r, conflicts);
}


/* Records stay after "records=off", and can be deleted. */

fanout_error_e
fanout_api_delete(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e            error;
    fanout_zone_set_t         set;
    fanout_zone_publish_t     opts;
    fanout_zone_set_result_t  r;

    if ((error = change_check(api, op))
        || (error = change_fill(api, op, &set, &opts)))
    {
        return error;
    }

    error = fanout_records_delete(api->hub, &op->channel, &set, &r);

    if (error == FANOUT_E_NOT_FOUND
        && !fanout_records_served(api->hub, &op->channel))
    {
        return fanout_api_no_records(api);
    }

    return error == FANOUT_E_NONE ? change_done(api, &r, NULL)
                                  : change_refused(api, op, error, &r, NULL);
}


static fanout_error_e
change_done(fanout_api_t *api,
    const fanout_zone_set_result_t *r, fanout_records_t *conflicts)
{
    fanout_outbuf_t  *out;

    out = api->out;

    if (r->log.duplicate) {
        fanout_count(api->hub, duplicates);
    }

    if (r->created) {
        api->status = NGX_HTTP_CREATED;
    }

    if (fanout_outbuf_literal(api->hub, out, "{") != NGX_OK
        || fanout_record_result_json(api->hub, r, conflicts, out) != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    return fanout_api_done(fanout_outbuf_printf(api->hub, out, 32, "%s}",
                                                r->created
                                                ? ",\"created\":true" : ""));
}


static fanout_error_e
change_refused(fanout_api_t *api, fanout_api_op_t *op, fanout_error_e error,
    fanout_zone_set_result_t *r, fanout_records_t *conflicts)
{
    fanout_records_limit_t  limit;

    switch (error) {

    case FANOUT_E_CONFLICT:
        return change_conflict(api, op, r, conflicts);

    case FANOUT_E_NOT_FOUND:
        return change_unmet(op, r)
               ? change_conflict(api, op, r, NULL)
               : fanout_api_record_absent(api, op, error);

    case FANOUT_E_TOO_LARGE:
    case FANOUT_E_TOO_MANY:
        fanout_records_limit(api->hub, &op->channel, error, r, &limit);
        return fanout_api_exceed(api, error, limit.name, limit.max);

    case FANOUT_E_LOCKED:
        return change_locked(api, r);

    default:
        return error;
    }
}


/* Another client holds the lock of what is changed. */

static fanout_error_e
change_locked(fanout_api_t *api, const fanout_zone_set_result_t *r)
{
    fanout_error_e    error;
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(api->hub, 256);
    if (f == NULL) {
        return FANOUT_E_INTERNAL;
    }

    error = FANOUT_E_INTERNAL;

    if (fanout_record_locked_json(api->hub, r, 0, f) == NGX_OK) {
        error = fanout_api_data(api, FANOUT_E_LOCKED, f->data, f->used);
    }

    fanout_outbuf_release(api->hub, f);

    return error;
}


/* Whether a condition of HTTP does not hold.  Fields may be in conflict also if
 * it holds: what is no array has nothing appended. */

static ngx_uint_t
change_unmet(fanout_api_op_t *op, const fanout_zone_set_result_t *r)
{
    return (op->create && r->version)
           || (op->exist && r->version == 0)
           || (op->exact && r->version != op->base);
}


static fanout_error_e
change_conflict(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_set_result_t *r, fanout_records_t *conflicts)
{
    ngx_uint_t        unmet;
    fanout_outbuf_t  *f;

    f = fanout_outbuf_create(api->hub, 256);
    if (f == NULL) {
        return FANOUT_E_INTERNAL;
    }

    unmet = change_unmet(op, r);

    if (change_state(api, op, unmet, r, conflicts, f) != NGX_OK) {
        goto failed;
    }

    if (r->version) {
        (void) fanout_api_fail(api, FANOUT_E_CONFLICT,
                               "the record has the version %uL", r->version);

    } else {
        (void) fanout_api_record_absent(api, op, FANOUT_E_CONFLICT);
    }

    if (fanout_api_data(api, FANOUT_E_NONE, f->data, f->used)
        != FANOUT_E_NONE)
    {
        goto failed;
    }

    if (unmet) {
        api->refusal = NGX_HTTP_PRECONDITION_FAILED;
    }

    op->version = r->version;
    fanout_outbuf_release(api->hub, f);

    return FANOUT_E_CONFLICT;

failed:

    fanout_outbuf_release(api->hub, f);

    return FANOUT_E_INTERNAL;
}


/* Appends the fields in conflict, or, if a condition on the whole record did
 * not hold, the record: it is read now, and r gets the version that was
 * read. */

static ngx_int_t
change_state(fanout_api_t *api, fanout_api_op_t *op, ngx_uint_t unmet,
    fanout_zone_set_result_t *r, fanout_records_t *conflicts,
    fanout_outbuf_t *f)
{
    fanout_zstr_t      id;
    const uint8_t     *p;
    fanout_record_t    record;
    fanout_records_t  *to;

    if (fanout_outbuf_literal(api->hub, f, "{") != NGX_OK) {
        return NGX_ERROR;
    }

    if (!unmet) {
        return fanout_record_refusal_json(api->hub, r, conflicts, f) == NGX_OK
               ? fanout_outbuf_literal(api->hub, f, "}") : NGX_ERROR;
    }

    id.data = op->record.data;
    id.len = op->record.len;

    (void) fanout_records_get(api->hub, &op->channel, &id, &to);

    p = to->bytes;

    if (to->n && fanout_record_next(&p, p + to->used, &record) == 1) {
        r->version = record.version;

        return fanout_record_members_json(api->hub, &record, 0, f) == NGX_OK
               ? fanout_outbuf_literal(api->hub, f, "}") : NGX_ERROR;
    }

    r->version = 0;

    return fanout_outbuf_literal(api->hub, f,
                                 "\"version\":0,\"deleted\":true}");
}
