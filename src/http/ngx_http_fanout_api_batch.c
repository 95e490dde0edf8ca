
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Many operations in one request.
 *
 * batch: an array of {"op":"publish","channel":…}, with the members that the
 * native protocol has: publish takes "data", "event", "key", "user", "store",
 * "if" {"epoch","offset"}, "enc":"base64", "meta"; history takes "since"
 * {"epoch","offset"}, "before", "limit"; purge takes "reason"; info nothing.
 * Each runs on its own, an error doesn't stop the rest.  The answer is an
 * array in the same order of {"ok":{…}} and {"error":{…}}.
 *
 * broadcast: {"channels":["a","b"],"data":…}, with all that publish takes but
 * "if".  The answer is {"results":[{"channel":"a","ok":{…}},…]}, in order.
 */


#include "ngx_http_fanout_api.h"


typedef struct {
    ngx_http_fanout_json_t  op;
    ngx_http_fanout_json_t  channel;
    ngx_http_fanout_json_t  channels;
    ngx_http_fanout_json_t  data;
    ngx_http_fanout_json_t  enc;
    ngx_http_fanout_json_t  event;
    ngx_http_fanout_json_t  key;
    ngx_http_fanout_json_t  user;
    ngx_http_fanout_json_t  meta;
    ngx_http_fanout_json_t  store;
    ngx_http_fanout_json_t  condition;
    ngx_http_fanout_json_t  since;
    ngx_http_fanout_json_t  before;
    ngx_http_fanout_json_t  limit;
    ngx_http_fanout_json_t  reason;
    ngx_http_fanout_json_t  to;
    ngx_http_fanout_json_t  live;
    ngx_http_fanout_json_t  tag;
} item_t;

typedef struct {
    ngx_http_fanout_json_t  client;
    ngx_http_fanout_json_t  user;
} to_t;

typedef struct {
    ngx_http_fanout_json_t  epoch;
    ngx_http_fanout_json_t  offset;
} position_t;

/* the members that an operation takes, by bits in the order of item_fields */

enum {
    OP = 0, CHANNEL, CHANNELS, DATA, ENC, EVENT, KEY, USER, META, STORE, IF,
    SINCE, BEFORE, LIMIT, REASON, TO, LIVE, TAG
};

#define m(name)  ((uint32_t) 1 << name)

#define PUBLISH    (m(DATA)|m(ENC)|m(EVENT)|m(KEY)|m(USER)|m(META)|m(STORE)   \
                    |m(TO)|m(LIVE))

#define BROADCAST  (PUBLISH|m(CHANNELS))


typedef struct {
    ngx_str_t                 name;
    uint32_t                  members;
    ngx_http_fanout_error_e (*read)(ngx_http_fanout_api_t *api, item_t *item,
                                ngx_http_fanout_api_op_t *op);
    ngx_http_fanout_error_e (*run)(ngx_http_fanout_api_t *api,
                                ngx_http_fanout_api_op_t *op);
} verb_t;


/* what is done one by one, in steps; of the request's pool */

typedef struct {
    ngx_http_fanout_json_t   *items;
    size_t                    n;
    size_t                    i;            /* next */
    ngx_int_t               (*run)(ngx_http_fanout_api_t *api,
                                ngx_http_fanout_json_t *item,
                                ngx_http_fanout_api_op_t *op);
    const char               *end;          /* of the answer */
    ngx_http_fanout_api_op_t  op;           /* what is broadcast */
} many_t;


static ngx_http_fanout_error_e read_body(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *value);
static ngx_http_fanout_error_e split_array(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *array, const char *limit, size_t max,
    ngx_http_fanout_json_t **items, size_t *n);
static ngx_http_fanout_error_e begin_many(ngx_http_fanout_api_t *api,
    many_t *many, const char *text);
static ngx_http_fanout_error_e run_many(ngx_http_fanout_api_t *api);
static ngx_int_t run_item(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *value, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e run_verb(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *value);
static ngx_http_fanout_error_e find_verb(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *name, const verb_t **verb);
static ngx_int_t run_channel(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *name, ngx_http_fanout_api_op_t *op);
static ngx_int_t end_result(ngx_http_fanout_api_t *api, size_t start,
    ngx_http_fanout_error_e error);

static ngx_http_fanout_error_e read_item(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *value, item_t *item);
static ngx_http_fanout_error_e read_publish(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_history(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_signal(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_to(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *value, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_purge(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_info(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);

static ngx_http_fanout_error_e read_data(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e decode_data(ngx_http_fanout_api_t *api,
    item_t *item, ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_position(ngx_http_fanout_api_t *api,
    const char *name, ngx_http_fanout_json_t *value,
    ngx_http_fanout_api_op_t *op);
static ngx_http_fanout_error_e read_text(ngx_http_fanout_api_t *api,
    const char *name, ngx_http_fanout_json_t *value, ngx_str_t *text);
static ngx_http_fanout_error_e read_number(ngx_http_fanout_api_t *api,
    const char *name, ngx_http_fanout_json_t *value, uint64_t *n);
static ngx_http_fanout_error_e copy_json(ngx_http_fanout_api_t *api,
    ngx_http_fanout_json_t *value, ngx_str_t *text);
static ngx_uint_t absent(ngx_http_fanout_json_t *value);
static ngx_http_fanout_error_e check_members(ngx_http_fanout_api_t *api,
    item_t *item, const char *op, uint32_t members);


#define item_field(name, member)                                              \
    ngx_http_fanout_json_field(name, item_t, member)

static const ngx_http_fanout_json_field_t  item_fields[] = {
    item_field("op", op),
    item_field("channel", channel),
    item_field("channels", channels),
    item_field("data", data),
    item_field("enc", enc),
    item_field("event", event),
    item_field("key", key),
    item_field("user", user),
    item_field("meta", meta),
    item_field("store", store),
    item_field("if", condition),
    item_field("since", since),
    item_field("before", before),
    item_field("limit", limit),
    item_field("reason", reason),
    item_field("to", to),
    item_field("live", live),
    item_field("tag", tag)
};

static const ngx_http_fanout_json_field_t  to_fields[] = {
    ngx_http_fanout_json_field("client", to_t, client),
    ngx_http_fanout_json_field("user", to_t, user)
};

static const ngx_http_fanout_json_field_t  position_fields[] = {
    ngx_http_fanout_json_field("epoch", position_t, epoch),
    ngx_http_fanout_json_field("offset", position_t, offset)
};

#define nfields(fields)  (sizeof(fields) / sizeof(fields[0]))


static const verb_t  verbs[] = {

    { ngx_string("publish"), PUBLISH|m(OP)|m(CHANNEL)|m(IF),
      read_publish, ngx_http_fanout_api_publish },

    { ngx_string("signal"),
      m(OP)|m(CHANNEL)|m(EVENT)|m(TAG)|m(USER)|m(TO)|m(DATA)|m(ENC),
      read_signal, ngx_http_fanout_api_signal },

    { ngx_string("history"),
      m(OP)|m(CHANNEL)|m(SINCE)|m(BEFORE)|m(LIMIT),
      read_history, ngx_http_fanout_api_history },

    { ngx_string("info"), m(OP)|m(CHANNEL),
      read_info, ngx_http_fanout_api_info },

    { ngx_string("purge"), m(OP)|m(CHANNEL)|m(REASON),
      read_purge, ngx_http_fanout_api_purge },

    { ngx_null_string, 0, NULL, NULL }
};


ngx_http_fanout_error_e
ngx_http_fanout_api_batch_handler(ngx_http_fanout_api_t *api)
{
    many_t                  *many;
    ngx_http_fanout_json_t   value;
    ngx_http_fanout_error_e  error;

    many = ngx_pcalloc(api->request->pool, sizeof(many_t));
    if (many == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if ((error = read_body(api, &value))
        || (error = split_array(api, &value, "batch", api->conf->batch,
                                &many->items, &many->n)))
    {
        return error;
    }

    many->run = run_item;
    many->end = "]";

    return begin_many(api, many, "[");
}


ngx_http_fanout_error_e
ngx_http_fanout_api_broadcast_handler(ngx_http_fanout_api_t *api)
{
    item_t                    item;
    many_t                   *many;
    ngx_http_fanout_json_t    value;
    ngx_http_fanout_error_e   error;

    many = ngx_pcalloc(api->request->pool, sizeof(many_t));
    if (many == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if ((error = read_body(api, &value))
        || (error = read_item(api, &value, &item)))
    {
        return error;
    }

    if (absent(&item.channels)) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"channels\" is missing");
    }

    if (!absent(&item.condition)) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"if\" is for one channel only");
    }

    error = check_members(api, &item, "broadcast", BROADCAST);

    if (error) {
        return error;
    }

    if ((error = split_array(api, &item.channels, "channels",
                             NGX_HTTP_FANOUT_API_CHANNELS, &many->items,
                             &many->n))
        || (error = read_publish(api, &item, &many->op)))
    {
        return error;
    }

    many->run = run_channel;
    many->end = "]}";

    return begin_many(api, many, "{\"results\":[");
}


static ngx_http_fanout_error_e
begin_many(ngx_http_fanout_api_t *api, many_t *many, const char *text)
{
    api->many = many;
    api->step = run_many;

    if (ngx_http_fanout_frame_append(api->hub, api->out, text,
                                     ngx_strlen(text))
        != NGX_OK)
    {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    return run_many(api);
}


/* One at least, and as many as there is room for in the step. */

static ngx_http_fanout_error_e
run_many(ngx_http_fanout_api_t *api)
{
    many_t                  *many;
    ngx_http_fanout_json_t  *item;

    many = api->many;

    while (many->i < many->n) {

        if (many->i
            && ngx_http_fanout_frame_literal(api->hub, api->out, ",")
               != NGX_OK)
        {
            return NGX_HTTP_FANOUT_E_INTERNAL;
        }

        item = &many->items[many->i++];

        ngx_http_fanout_spend(api->hub, NGX_HTTP_FANOUT_WORK_COMMAND
                                    + item->len * NGX_HTTP_FANOUT_WORK_PARSE);

        if (many->run(api, item, &many->op) != NGX_OK) {
            return NGX_HTTP_FANOUT_E_INTERNAL;
        }

        if (many->i < many->n && ngx_http_fanout_spent(api->hub)) {
            return NGX_HTTP_FANOUT_E_NONE;
        }
    }

    api->step = NULL;
    api->status = NGX_HTTP_OK;

    return ngx_http_fanout_api_done(
               ngx_http_fanout_frame_append(api->hub, api->out, many->end,
                                            ngx_strlen(many->end)));
}


static ngx_http_fanout_error_e
read_body(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *value)
{
    int                           type;
    unsigned                      levels;
    ngx_str_t                     body;
    ngx_http_fanout_json_error_t  err;

    if (ngx_http_fanout_http_body(api->request, &body) != NGX_OK) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if (body.len == 0) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "the body is empty");
    }

    type = ngx_http_fanout_json_levels(body.data, body.len, value, &levels,
                                       &err);

    if (type == NGX_HTTP_FANOUT_JSON_NO_MEMORY) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if (type < 0) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "body is not JSON: %s", err.reason);
    }

    api->deep = (levels > NGX_HTTP_FANOUT_JSON_DEPTH);

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
split_array(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *array,
    const char *limit, size_t max, ngx_http_fanout_json_t **items, size_t *n)
{
    int  rc;

    *items = ngx_palloc(api->request->pool,
                        max * sizeof(ngx_http_fanout_json_t));
    if (*items == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    rc = ngx_http_fanout_json_array(array, *items, max, n);

    switch (rc) {

    case NGX_HTTP_FANOUT_JSON_OK:
        return NGX_HTTP_FANOUT_E_NONE;

    case NGX_HTTP_FANOUT_JSON_TOO_MANY:
        return ngx_http_fanout_api_exceed(api, NGX_HTTP_FANOUT_E_TOO_MANY,
                                          limit, max);

    default:
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"%s\" is not an array", limit);
    }
}


/* results */

static ngx_int_t
run_item(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *value,
    ngx_http_fanout_api_op_t *op)
{
    size_t                    start;
    ngx_http_fanout_error_e   error;

    if (ngx_http_fanout_frame_literal(api->hub, api->out, "{") != NGX_OK) {
        return NGX_ERROR;
    }

    start = api->out->used;

    if (ngx_http_fanout_frame_literal(api->hub, api->out, "\"ok\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    error = run_verb(api, value);

    return end_result(api, start, error);
}


static ngx_http_fanout_error_e
run_verb(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *value)
{
    item_t                    item;
    const verb_t             *verb;
    ngx_http_fanout_error_e   error;
    ngx_http_fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(ngx_http_fanout_api_op_t));
    verb = NULL;

    if ((error = read_item(api, value, &item))
        || (error = find_verb(api, &item.op, &verb))
        || (error = check_members(api, &item, (char *) verb->name.data,
                                  verb->members))
        || (error = read_text(api, "channel", &item.channel, &op.channel)))
    {
        return error;
    }

    if (absent(&item.channel)) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"channel\" is missing");
    }

    error = verb->read(api, &item, &op);
    if (error != NGX_HTTP_FANOUT_E_NONE) {
        return error;
    }

    return verb->run(api, &op);
}


static ngx_http_fanout_error_e
find_verb(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *name,
    const verb_t **verb)
{
    ngx_str_t                 text;
    const verb_t             *v;
    ngx_http_fanout_error_e   error;

    if (absent(name)) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"op\" is missing");
    }

    error = read_text(api, "op", name, &text);
    if (error != NGX_HTTP_FANOUT_E_NONE) {
        return error;
    }

    for (v = verbs; v->name.len; v++) {
        if (v->name.len == text.len
            && ngx_memcmp(v->name.data, text.data, text.len) == 0)
        {
            *verb = v;
            return NGX_HTTP_FANOUT_E_NONE;
        }
    }

    return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_UNKNOWN_OP,
                                    "there is no op \"%V\"", &text);
}


/* The name as it was sent comes first, so that it is there on errors. */

static ngx_int_t
run_channel(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *name,
    ngx_http_fanout_api_op_t *op)
{
    size_t                    start;
    ngx_http_fanout_error_e   error;

    if (ngx_http_fanout_frame_literal(api->hub, api->out, "{\"channel\":")
        != NGX_OK
        || ngx_http_fanout_frame_append(api->hub, api->out, name->data,
                                        name->len)
           != NGX_OK
        || ngx_http_fanout_frame_literal(api->hub, api->out, ",") != NGX_OK)
    {
        return NGX_ERROR;
    }

    start = api->out->used;

    if (ngx_http_fanout_frame_literal(api->hub, api->out, "\"ok\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    error = read_text(api, "channels", name, &op->channel);

    if (error == NGX_HTTP_FANOUT_E_NONE) {
        error = ngx_http_fanout_api_publish(api, op);
    }

    return end_result(api, start, error);
}


static ngx_int_t
end_result(ngx_http_fanout_api_t *api, size_t start,
    ngx_http_fanout_error_e error)
{
    ngx_str_t                 text;
    ngx_http_fanout_error_t  *e;

    if (error != NGX_HTTP_FANOUT_E_NONE) {
        e = &ngx_http_fanout_errors[error];
        api->out->used = start;

        if (ngx_http_fanout_http_error_text(api->request, &e->code,
                                  api->message.len ? &api->message : &e->text,
                                  &api->data, &text)
            != NGX_OK
            || ngx_http_fanout_frame_literal(api->hub, api->out, "\"error\":")
               != NGX_OK
            || ngx_http_fanout_frame_append(api->hub, api->out, text.data,
                                            text.len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_str_null(&api->message);
        ngx_str_null(&api->data);
    }

    return ngx_http_fanout_frame_literal(api->hub, api->out, "}");
}


/* members of operations */

static ngx_http_fanout_error_e
read_item(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *value,
    item_t *item)
{
    int                           rc;
    ngx_http_fanout_json_error_t  err;

    rc = ngx_http_fanout_json_members(value, item_fields,
                                      nfields(item_fields), item, &err);

    if (rc == NGX_HTTP_FANOUT_JSON_OK) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                    "%s", err.reason);
}


static ngx_http_fanout_error_e
read_publish(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    int                      store, live;
    ngx_http_fanout_error_e  error;

    if (!absent(&item->store)) {
        if (ngx_http_fanout_json_bool(&item->store, &store)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            return ngx_http_fanout_api_fail(api,
                                            NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                            "\"store\" is not a boolean");
        }

        op->transient = !store;
    }

    if (!absent(&item->live)) {
        if (ngx_http_fanout_json_bool(&item->live, &live)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            return ngx_http_fanout_api_fail(api,
                                            NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                            "\"live\" is not a boolean");
        }

        op->live = live;
    }

    if (!absent(&item->meta)
        && (error = copy_json(api, &item->meta, &op->meta)))
    {
        return error;
    }

    if ((error = read_text(api, "event", &item->event, &op->event))
        || (error = read_text(api, "key", &item->key, &op->key))
        || (error = read_text(api, "user", &item->user, &op->user))
        || (error = read_to(api, &item->to, op))
        || (error = read_position(api, "if", &item->condition, op)))
    {
        return error;
    }

    return read_data(api, item, op);
}


static ngx_http_fanout_error_e
read_signal(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    ngx_http_fanout_error_e  error;

    if ((error = read_text(api, "event", &item->event, &op->event))
        || (error = read_text(api, "tag", &item->tag, &op->tag))
        || (error = read_text(api, "user", &item->user, &op->user))
        || (error = read_to(api, &item->to, op)))
    {
        return error;
    }

    return read_data(api, item, op);
}


static ngx_http_fanout_error_e
read_to(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *value,
    ngx_http_fanout_api_op_t *op)
{
    to_t                     to;
    ngx_http_fanout_error_e  error;

    if (absent(value)) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    if (ngx_http_fanout_json_members(value, to_fields, nfields(to_fields),
                                     &to, NULL)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        goto invalid;
    }

    if ((error = read_text(api, "client", &to.client, &op->to_client))
        || (error = read_text(api, "user", &to.user, &op->to_user)))
    {
        return error;
    }

    if (op->to_client.len || op->to_user.len) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

invalid:

    return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                    "\"to\" is {\"client\":string} or "
                                    "{\"user\":string}");
}


static ngx_http_fanout_error_e
read_history(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    uint64_t                 limit;
    ngx_http_fanout_error_e  error;

    limit = NGX_HTTP_FANOUT_API_LIMIT;

    if ((error = read_position(api, "since", &item->since, op))
        || (error = read_number(api, "before", &item->before, &op->before))
        || (error = read_number(api, "limit", &item->limit, &limit)))
    {
        return error;
    }

    op->limit = ngx_min(limit, api->conf->history);

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
read_purge(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    return read_text(api, "reason", &item->reason, &op->reason);
}


static ngx_http_fanout_error_e
read_info(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    return NGX_HTTP_FANOUT_E_NONE;
}


/* values */

static ngx_http_fanout_error_e
read_data(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    ngx_str_t                enc;
    ngx_http_fanout_error_e  error;

    if (item->data.len == 0) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"data\" is missing");
    }

    if (absent(&item->enc)) {
        op->kind = NGX_HTTP_FANOUT_JSON;
        return copy_json(api, &item->data, &op->data);
    }

    error = read_text(api, "enc", &item->enc, &enc);
    if (error != NGX_HTTP_FANOUT_E_NONE) {
        return error;
    }

    if (enc.len != sizeof("base64") - 1
        || ngx_memcmp(enc.data, "base64", sizeof("base64") - 1) != 0)
    {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"enc\" is not \"base64\"");
    }

    return decode_data(api, item, op);
}


static ngx_http_fanout_error_e
decode_data(ngx_http_fanout_api_t *api, item_t *item,
    ngx_http_fanout_api_op_t *op)
{
    ngx_str_t                text;
    ngx_http_fanout_error_e  error;

    error = read_text(api, "data", &item->data, &text);
    if (error != NGX_HTTP_FANOUT_E_NONE) {
        return error;
    }

    op->kind = NGX_HTTP_FANOUT_BINARY;
    op->data.data = ngx_pnalloc(api->request->pool,
                                ngx_base64_decoded_length(text.len) + 1);
    if (op->data.data == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    if (ngx_http_fanout_base64_decode(&op->data, &text) != NGX_OK) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"data\" is not base64");
    }

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
read_position(ngx_http_fanout_api_t *api, const char *name,
    ngx_http_fanout_json_t *value, ngx_http_fanout_api_op_t *op)
{
    ngx_str_t                epoch;
    position_t               pos;
    ngx_http_fanout_error_e  error;

    if (absent(value)) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    if (ngx_http_fanout_json_members(value, position_fields,
                                     nfields(position_fields), &pos, NULL)
        != NGX_HTTP_FANOUT_JSON_OK
        || absent(&pos.epoch) || absent(&pos.offset))
    {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"%s\" is not an object with "
                                        "\"epoch\" and \"offset\"", name);
    }

    if ((error = read_text(api, "epoch", &pos.epoch, &epoch))
        || (error = read_number(api, "offset", &pos.offset, &op->offset)))
    {
        return error;
    }

    if (ngx_http_fanout_epoch_parse(&epoch, &op->epoch) != NGX_OK) {
        /* one that can't be ours */
        op->epoch = 0;
    }

    op->positioned = 1;

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
read_text(ngx_http_fanout_api_t *api, const char *name,
    ngx_http_fanout_json_t *value, ngx_str_t *text)
{
    int                      rc;
    u_char                  *buf;
    ngx_http_fanout_json_t   span;

    ngx_str_null(text);

    if (absent(value)) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    buf = ngx_pnalloc(api->request->pool, value->len);
    if (buf == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    rc = ngx_http_fanout_json_text(value, buf, value->len, &span);

    if (rc != NGX_HTTP_FANOUT_JSON_OK) {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"%s\": %s", name,
                                        ngx_http_fanout_json_strerror(rc));
    }

    text->data = (u_char *) span.data;
    text->len = span.len;

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
read_number(ngx_http_fanout_api_t *api, const char *name,
    ngx_http_fanout_json_t *value, uint64_t *n)
{
    int64_t  number;

    if (absent(value)) {
        return NGX_HTTP_FANOUT_E_NONE;
    }

    if (ngx_http_fanout_json_int(value, &number) != NGX_HTTP_FANOUT_JSON_OK
        || number < 0)
    {
        return ngx_http_fanout_api_fail(api, NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                        "\"%s\" is not a number from 0 on",
                                        name);
    }

    *n = number;

    return NGX_HTTP_FANOUT_E_NONE;
}


static ngx_http_fanout_error_e
copy_json(ngx_http_fanout_api_t *api, ngx_http_fanout_json_t *value,
    ngx_str_t *text)
{
    text->data = ngx_pnalloc(api->request->pool, value->len);
    if (text->data == NULL) {
        return NGX_HTTP_FANOUT_E_INTERNAL;
    }

    text->len = ngx_http_fanout_json_minify(text->data, value->data,
                                            value->len);

    return NGX_HTTP_FANOUT_E_NONE;
}


/* Members are those of the operation, and none nests too many levels. */

static ngx_http_fanout_error_e
check_members(ngx_http_fanout_api_t *api, item_t *item, const char *op,
    uint32_t members)
{
    ngx_uint_t               i;
    ngx_http_fanout_json_t  *value;

    for (i = 0; i < nfields(item_fields); i++) {
        value = (ngx_http_fanout_json_t *)
                    ((u_char *) item + item_fields[i].offset);

        if (value->len == 0) {
            continue;
        }

        if (!(members & m(i))) {
            return ngx_http_fanout_api_fail(api,
                                       NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                       "\"%s\" is not a member of \"%s\"",
                                       item_fields[i].name, op);
        }

        if (api->deep
            && ngx_http_fanout_json_depth(value) > NGX_HTTP_FANOUT_JSON_DEPTH)
        {
            return ngx_http_fanout_api_fail(api,
                                       NGX_HTTP_FANOUT_E_BAD_REQUEST,
                                       "\"%s\" nests more than %d arrays and "
                                       "objects", item_fields[i].name,
                                       NGX_HTTP_FANOUT_JSON_DEPTH);
        }
    }

    return NGX_HTTP_FANOUT_E_NONE;
}


/* null is as good as nothing, but for data */

static ngx_uint_t
absent(ngx_http_fanout_json_t *value)
{
    return value->len == 0
           || ngx_http_fanout_json_type(value) == NGX_HTTP_FANOUT_JSON_NULL;
}
