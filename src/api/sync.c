
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The routes of style=sync: an application that has them already keeps its
 * requests.
 *
 *   GET   stats          connections, users, subscriptions
 *   POST  cleanup        expire what is due
 *   POST  batch-changes  {"changes":[…]}, each a change of a record
 *
 * Answers are {"success":true,…} and {"success":false,"error":{…}}, as is the
 * result of each change.
 */


#include "api/decode.h"
#include "hub/hub.h"
#include "zone/record.h"


typedef struct {
    fanout_json_t    id;
    fanout_json_t    type;
    fanout_json_t    entity_type;
    fanout_json_t    entity_id;
    fanout_json_t    table_id;
    fanout_json_t    base_id;
    fanout_json_t    user_id;
    fanout_json_t    version;
    fanout_json_t    changes;
    fanout_json_t    timestamp;         /* of the sender, not kept */
    fanout_json_t    metadata;
} sync_change_t;

typedef struct {
    fanout_json_t    id;
    fanout_json_t    before;            /* not kept */
    fanout_json_t    after;             /* NONE: it is unset */
} sync_field_t;

typedef fanout_error_e (*sync_pt)(fanout_api_t *api, fanout_api_op_t *op);


static fanout_error_e sync_stats(fanout_api_t *api, fanout_api_args_t *args);
static fanout_error_e sync_cleanup(fanout_api_t *api,
    fanout_api_args_t *args);
static fanout_error_e sync_batch(fanout_api_t *api, fanout_api_args_t *args);
static ngx_int_t sync_end(fanout_api_t *api);
static ngx_int_t sync_item(fanout_api_t *api, fanout_json_t *item,
    fanout_api_op_t *op);
static fanout_error_e sync_decode(fanout_api_t *api, fanout_json_t *item,
    fanout_api_op_t *op, sync_pt *run);
static fanout_error_e sync_members(fanout_api_t *api, fanout_json_t *object,
    const char *what, const fanout_json_field_t *fields, ngx_uint_t n,
    void *dst);
static fanout_error_e sync_type(fanout_api_t *api, sync_change_t *c,
    fanout_api_op_t *op, sync_pt *run);
static fanout_error_e sync_version(fanout_api_t *api, sync_change_t *c,
    fanout_api_op_t *op);
static fanout_error_e sync_channel(fanout_api_t *api, sync_change_t *c,
    fanout_api_op_t *op);
static fanout_error_e sync_record(fanout_api_t *api, sync_change_t *c,
    fanout_api_op_t *op);
static fanout_error_e sync_name(fanout_api_t *api, ngx_str_t *prefix,
    ngx_str_t *name, ngx_str_t *to);
static fanout_error_e sync_fields(fanout_api_t *api, fanout_json_t *changes,
    fanout_api_op_t *op);
static fanout_error_e sync_field(fanout_api_t *api, fanout_json_t *item,
    fanout_api_op_t *op);
static ngx_uint_t sync_is(ngx_str_t *text, const char *word);


const fanout_api_route_t  fanout_api_sync_routes[] = {

    { ngx_string("stats"), 1, ngx_null_string,
      { sync_stats, NULL }, FANOUT_API_NONE, FANOUT_API_NONE,
      FANOUT_API_NONE, FANOUT_API_NONE,
      ngx_string("GET, HEAD") },

    { ngx_string("cleanup"), 1, ngx_null_string,
      FANOUT_API_NONE, { sync_cleanup, NULL }, FANOUT_API_NONE,
      FANOUT_API_NONE, FANOUT_API_NONE,
      ngx_string("POST") },

    { ngx_string("batch-changes"), 1, ngx_null_string,
      FANOUT_API_NONE, { sync_batch, NULL }, FANOUT_API_NONE,
      FANOUT_API_NONE, FANOUT_API_NONE,
      ngx_string("POST") },

    FANOUT_API_ROUTES_END
};


static const fanout_json_field_t  body_fields[] = {
    { "changes", sizeof("changes") - 1, 0 }
};

static const fanout_json_field_t  change_fields[] = {
    fanout_json_field("id", sync_change_t, id),
    fanout_json_field("type", sync_change_t, type),
    fanout_json_field("entityType", sync_change_t, entity_type),
    fanout_json_field("entityId", sync_change_t, entity_id),
    fanout_json_field("tableId", sync_change_t, table_id),
    fanout_json_field("baseId", sync_change_t, base_id),
    fanout_json_field("userId", sync_change_t, user_id),
    fanout_json_field("version", sync_change_t, version),
    fanout_json_field("changes", sync_change_t, changes),
    fanout_json_field("timestamp", sync_change_t, timestamp),
    fanout_json_field("metadata", sync_change_t, metadata)
};

static const fanout_json_field_t  field_fields[] = {
    fanout_json_field("fieldId", sync_field_t, id),
    fanout_json_field("oldValue", sync_field_t, before),
    fanout_json_field("newValue", sync_field_t, after)
};

/* an entity other than a record has its type in the id of its record */

static const struct {
    const char  *name;
    ngx_str_t    prefix;
} types[] = {
    { "record", ngx_string("") },
    { "field", ngx_string("field:") },
    { "view", ngx_string("view:") },
    { "table", ngx_string("table:") },
    { "base", ngx_string("base:") }
};


static fanout_error_e
sync_stats(fanout_api_t *api, fanout_api_args_t *args)
{
    uint64_t              sessions;
    ngx_uint_t            i;
    fanout_zone_t        *z;
    fanout_zone_stat_t    st;
    fanout_zone_worker_t  worker;

    z = &api->hub->zone;
    sessions = 0;

    fanout_zone_stat(z, &st);

    for (i = 0; fanout_slot_get(z, i, &worker) == FANOUT_ZONE_OK; i++) {
        sessions += worker.sessions;
    }

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 192,
                                    "{\"success\":true,\"data\":{"
                                    "\"totalConnections\":%uL,"
                                    "\"authenticatedUsers\":%uL,"
                                    "\"tableSubscriptions\":%uL}}",
                                    sessions, st.nusers,
                                    st.nseats - st.seats_lingering));
}


static fanout_error_e
sync_cleanup(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e  error;

    if (fanout_outbuf_literal(api->hub, api->out,
                              "{\"success\":true,\"message\":\"Stale presence "
                              "data cleaned up successfully\",\"data\":")
        != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    error = fanout_api_cleanup_handler(api, args);

    return error == FANOUT_E_NONE
           ? fanout_api_done(fanout_outbuf_literal(api->hub, api->out, "}"))
           : error;
}


/* changes */

static fanout_error_e
sync_batch(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_json_t       value, changes;
    fanout_error_e      error;
    fanout_api_many_t  *many;

    many = ngx_pcalloc(api->request->pool, sizeof(fanout_api_many_t));
    if (many == NULL) {
        return FANOUT_E_INTERNAL;
    }

    many->run = sync_item;
    many->end = sync_end;

    if ((error = fanout_api_body(api, &value))
        || (error = sync_members(api, &value, "the body", body_fields, 1,
                                 &changes)))
    {
        return error;
    }

    if (fanout_api_is_null(&changes)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"changes\" is missing");
    }

    return fanout_api_many(api, many, &changes, "changes", api->conf->batch,
                           "{\"data\":{\"results\":[");
}


static ngx_int_t
sync_end(fanout_api_t *api)
{
    fanout_api_many_t  *many;

    many = api->many;

    return fanout_outbuf_printf(api->hub, api->out, 96,
                                "],\"processed\":%uz,\"failed\":%uz},"
                                "\"success\":%s}",
                                many->n - many->failed, many->failed,
                                many->failed ? "false" : "true");
}


static ngx_int_t
sync_item(fanout_api_t *api, fanout_json_t *item, fanout_api_op_t *op)
{
    size_t              start;
    sync_pt             run;
    ngx_str_t           text;
    fanout_error_e      error;
    fanout_api_many_t  *many;

    start = api->out->used;

    if (fanout_outbuf_literal(api->hub, api->out,
                              "{\"success\":true,\"data\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    error = sync_decode(api, item, op, &run);

    if (error == FANOUT_E_NONE) {
        error = run(api, op);
    }

    if (error != FANOUT_E_NONE) {
        many = api->many;
        many->failed++;
        api->out->used = start;

        if (fanout_api_error_text(api, error, &text) != NGX_OK
            || fanout_outbuf_literal(api->hub, api->out,
                                     FANOUT_API_SYNC_FAILURE)
               != NGX_OK
            || fanout_outbuf_append(api->hub, api->out, text.data, text.len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return fanout_outbuf_literal(api->hub, api->out, "}");
}


/* The names of op are validated when it is run. */

static fanout_error_e
sync_decode(fanout_api_t *api, fanout_json_t *item, fanout_api_op_t *op,
    sync_pt *run)
{
    sync_change_t   c;
    fanout_error_e  error;

    ngx_memzero(op, sizeof(fanout_api_op_t));

    if ((error = sync_members(api, item, "a change", change_fields,
                              fanout_nelts(change_fields), &c))
        || (error = sync_type(api, &c, op, run))
        || (error = sync_version(api, &c, op))
        || (error = sync_channel(api, &c, op))
        || (error = sync_record(api, &c, op))
        || (error = fanout_api_read_text(api, "id", &c.id, &op->key))
        || (error = fanout_api_read_text(api, "userId", &c.user_id,
                                         &op->user)))
    {
        return error;
    }

    return *run == fanout_api_set ? sync_fields(api, &c.changes, op) : error;
}


static fanout_error_e
sync_members(fanout_api_t *api, fanout_json_t *object, const char *what,
    const fanout_json_field_t *fields, ngx_uint_t n, void *dst)
{
    int                  rc;
    fanout_json_error_t  err;

    rc = fanout_json_members(object, fields, n, dst, &err);

    switch (rc) {

    case FANOUT_JSON_OK:
        return FANOUT_E_NONE;

    case FANOUT_JSON_UNKNOWN:
    case FANOUT_JSON_DUPLICATE:
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST, "%s: %s", what,
                               err.reason);

    default:
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "%s is not an object", what);
    }
}


/* An update makes what is missing: the application may have had it for
 * longer. */

static fanout_error_e
sync_type(fanout_api_t *api, sync_change_t *c, fanout_api_op_t *op,
    sync_pt *run)
{
    ngx_str_t       type;
    fanout_error_e  error;

    error = fanout_api_read_text(api, "type", &c->type, &type);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    *run = fanout_api_set;

    if (sync_is(&type, "create")) {
        op->create = 1;

    } else if (sync_is(&type, "delete")) {
        *run = fanout_api_delete;

    } else if (!sync_is(&type, "update")) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"type\" is \"create\", \"update\" or "
                               "\"delete\"");
    }

    return FANOUT_E_NONE;
}


/* A create has no base: what it makes is not there. */

static fanout_error_e
sync_version(fanout_api_t *api, sync_change_t *c, fanout_api_op_t *op)
{
    if (fanout_api_is_null(&c->version) || op->create) {
        return FANOUT_E_NONE;
    }

    op->based = 1;

    return fanout_api_read_number(api, "version", &c->version, &op->base);
}


static fanout_error_e
sync_channel(fanout_api_t *api, sync_change_t *c, fanout_api_op_t *op)
{
    ngx_str_t       table, base;
    fanout_error_e  error;

    static ngx_str_t  of_table = ngx_string("table:");
    static ngx_str_t  of_base = ngx_string("base:");

    if ((error = fanout_api_read_text(api, "tableId", &c->table_id, &table))
        || (error = fanout_api_read_text(api, "baseId", &c->base_id, &base)))
    {
        return error;
    }

    if (table.len) {
        return sync_name(api, &of_table, &table, &op->channel);
    }

    return base.len
           ? sync_name(api, &of_base, &base, &op->channel)
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"tableId\" or \"baseId\" is needed");
}


static fanout_error_e
sync_record(fanout_api_t *api, sync_change_t *c, fanout_api_op_t *op)
{
    ngx_str_t       type, id, prefix;
    ngx_uint_t      i;
    fanout_error_e  error;

    if ((error = fanout_api_read_text(api, "entityType", &c->entity_type,
                                      &type))
        || (error = fanout_api_read_text(api, "entityId", &c->entity_id,
                                         &id)))
    {
        return error;
    }

    for (i = 0; i < fanout_nelts(types); i++) {
        if (sync_is(&type, types[i].name)) {
            break;
        }
    }

    if (i == fanout_nelts(types)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"entityType\" is \"record\", \"field\", "
                               "\"view\", \"table\" or \"base\"");
    }

    if (id.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"entityId\" is missing");
    }

    prefix = types[i].prefix;

    return sync_name(api, &prefix, &id, &op->record);
}


static fanout_error_e
sync_name(fanout_api_t *api, ngx_str_t *prefix, ngx_str_t *name,
    ngx_str_t *to)
{
    to->len = prefix->len + name->len;
    to->data = ngx_pnalloc(api->request->pool, to->len);

    if (to->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    ngx_memcpy(ngx_cpymem(to->data, prefix->data, prefix->len), name->data,
               name->len);

    return FANOUT_E_NONE;
}


/* Makes "set" and "unset" of the fields: neither is longer than what it is made
 * of. */

static fanout_error_e
sync_fields(fanout_api_t *api, fanout_json_t *changes, fanout_api_op_t *op)
{
    ngx_uint_t          n;
    fanout_json_t       item;
    fanout_error_e      error;
    fanout_json_iter_t  it;

    if (fanout_api_is_null(changes)) {
        return FANOUT_E_NONE;
    }

    if (fanout_json_type(changes) != FANOUT_JSON_ARRAY
        || fanout_json_iter(&it, changes) != FANOUT_JSON_OK)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"changes\" of a change is not an array");
    }

    op->set.data = ngx_pnalloc(api->request->pool, changes->len);
    op->unset.data = ngx_pnalloc(api->request->pool, changes->len);

    if (op->set.data == NULL || op->unset.data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    for (n = 0; fanout_json_next(&it, NULL, &item) == 1; n++) {

        if (n == FANOUT_ZONE_FIELDS) {
            return fanout_api_exceed(api, FANOUT_E_TOO_MANY, "fields",
                                     FANOUT_ZONE_FIELDS);
        }

        error = sync_field(api, &item, op);
        if (error != FANOUT_E_NONE) {
            return error;
        }
    }

    if (op->set.len) {
        op->set.data[op->set.len++] = '}';
    }

    if (op->unset.len) {
        op->unset.data[op->unset.len++] = ']';
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
sync_field(fanout_api_t *api, fanout_json_t *item, fanout_api_op_t *op)
{
    u_char          *p;
    ngx_str_t       *to;
    sync_field_t     f;
    fanout_error_e   error;

    error = sync_members(api, item, "an element of \"changes\"", field_fields,
                         fanout_nelts(field_fields), &f);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (fanout_json_type(&f.id) != FANOUT_JSON_STRING) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"fieldId\" is not a string");
    }

    if (api->deep && fanout_json_depth(&f.after) > FANOUT_JSON_DEPTH) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"newValue\" nests more than %d arrays and "
                               "objects", FANOUT_JSON_DEPTH);
    }

    to = f.after.len ? &op->set : &op->unset;
    p = to->data + to->len;

    *p++ = to->len ? ',' : f.after.len ? '{' : '[';
    p = ngx_cpymem(p, f.id.data, f.id.len);

    if (f.after.len) {
        *p++ = ':';
        p = ngx_cpymem(p, f.after.data, f.after.len);
    }

    to->len = p - to->data;

    return FANOUT_E_NONE;
}


static ngx_uint_t
sync_is(ngx_str_t *text, const char *word)
{
    return text->len == ngx_strlen(word)
           && ngx_memcmp(text->data, word, text->len) == 0;
}
