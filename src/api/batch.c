
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


#include "api/api.h"
#include "base/base64.h"


typedef struct {
    fanout_json_t  op;
    fanout_json_t  channel;
    fanout_json_t  channels;
    fanout_json_t  data;
    fanout_json_t  enc;
    fanout_json_t  event;
    fanout_json_t  key;
    fanout_json_t  user;
    fanout_json_t  meta;
    fanout_json_t  store;
    fanout_json_t  condition;
    fanout_json_t  since;
    fanout_json_t  before;
    fanout_json_t  limit;
    fanout_json_t  reason;
    fanout_json_t  to;
    fanout_json_t  live;
    fanout_json_t  tag;
} item_t;

typedef struct {
    fanout_json_t  client;
    fanout_json_t  user;
} to_t;

typedef struct {
    fanout_json_t  epoch;
    fanout_json_t  offset;
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
    fanout_error_e (*read)(fanout_api_t *api, item_t *item,
                                fanout_api_op_t *op);
    fanout_error_e (*run)(fanout_api_t *api,
                                fanout_api_op_t *op);
} verb_t;


/* what is done one by one, in steps; of the request's pool */

typedef struct {
    fanout_json_t   *items;
    size_t           n;
    size_t           i;                     /* next */
    ngx_int_t               (*run)(fanout_api_t *api,
                                fanout_json_t *item,
                                fanout_api_op_t *op);
    const char      *end;                   /* of the answer */
    fanout_api_op_t  op;                    /* what is broadcast */
} many_t;


static fanout_error_e read_body(fanout_api_t *api, fanout_json_t *value);
static fanout_error_e split_array(fanout_api_t *api, fanout_json_t *array,
    const char *limit, size_t max, fanout_json_t **items, size_t *n);
static fanout_error_e begin_many(fanout_api_t *api, many_t *many,
    const char *text);
static fanout_error_e run_many(fanout_api_t *api);
static ngx_int_t run_item(fanout_api_t *api, fanout_json_t *value,
    fanout_api_op_t *op);
static fanout_error_e run_verb(fanout_api_t *api, fanout_json_t *value);
static fanout_error_e find_verb(fanout_api_t *api, fanout_json_t *name,
    const verb_t **verb);
static ngx_int_t run_channel(fanout_api_t *api, fanout_json_t *name,
    fanout_api_op_t *op);
static ngx_int_t end_result(fanout_api_t *api, size_t start,
    fanout_error_e error);

static fanout_error_e read_item(fanout_api_t *api, fanout_json_t *value,
    item_t *item);
static fanout_error_e read_publish(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);
static fanout_error_e read_history(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);
static fanout_error_e read_signal(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);
static fanout_error_e read_to(fanout_api_t *api, fanout_json_t *value,
    fanout_api_op_t *op);
static fanout_error_e read_purge(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);
static fanout_error_e read_info(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);

static fanout_error_e batch_read_data(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);
static fanout_error_e decode_data(fanout_api_t *api, item_t *item,
    fanout_api_op_t *op);
static fanout_error_e read_position(fanout_api_t *api, const char *name,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_text(fanout_api_t *api, const char *name,
    fanout_json_t *value, ngx_str_t *text);
static fanout_error_e read_number(fanout_api_t *api, const char *name,
    fanout_json_t *value, uint64_t *n);
static fanout_error_e copy_json(fanout_api_t *api, fanout_json_t *value,
    ngx_str_t *text);
static ngx_uint_t batch_absent(fanout_json_t *value);
static fanout_error_e check_members(fanout_api_t *api, item_t *item,
    const char *op, uint32_t members);


#define item_field(name, member)                                              \
    fanout_json_field(name, item_t, member)

static const fanout_json_field_t  item_fields[] = {
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

static const fanout_json_field_t  to_fields[] = {
    fanout_json_field("client", to_t, client),
    fanout_json_field("user", to_t, user)
};

static const fanout_json_field_t  position_fields[] = {
    fanout_json_field("epoch", position_t, epoch),
    fanout_json_field("offset", position_t, offset)
};

#define nfields(fields)  (sizeof(fields) / sizeof(fields[0]))


static const verb_t  verbs[] = {

    { ngx_string("publish"), PUBLISH|m(OP)|m(CHANNEL)|m(IF),
      read_publish, fanout_api_publish },

    { ngx_string("signal"),
      m(OP)|m(CHANNEL)|m(EVENT)|m(TAG)|m(USER)|m(TO)|m(DATA)|m(ENC),
      read_signal, fanout_api_signal },

    { ngx_string("history"),
      m(OP)|m(CHANNEL)|m(SINCE)|m(BEFORE)|m(LIMIT),
      read_history, fanout_api_history },

    { ngx_string("info"), m(OP)|m(CHANNEL),
      read_info, fanout_api_info },

    { ngx_string("purge"), m(OP)|m(CHANNEL)|m(REASON),
      read_purge, fanout_api_purge },

    { ngx_null_string, 0, NULL, NULL }
};


fanout_error_e
fanout_api_batch_handler(fanout_api_t *api)
{
    many_t         *many;
    fanout_json_t   value;
    fanout_error_e  error;

    many = ngx_pcalloc(api->request->pool, sizeof(many_t));
    if (many == NULL) {
        return FANOUT_E_INTERNAL;
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


fanout_error_e
fanout_api_broadcast_handler(fanout_api_t *api)
{
    item_t           item;
    many_t          *many;
    fanout_json_t    value;
    fanout_error_e   error;

    many = ngx_pcalloc(api->request->pool, sizeof(many_t));
    if (many == NULL) {
        return FANOUT_E_INTERNAL;
    }

    if ((error = read_body(api, &value))
        || (error = read_item(api, &value, &item)))
    {
        return error;
    }

    if (batch_absent(&item.channels)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"channels\" is missing");
    }

    if (!batch_absent(&item.condition)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"if\" is for one channel only");
    }

    error = check_members(api, &item, "broadcast", BROADCAST);

    if (error) {
        return error;
    }

    if ((error = split_array(api, &item.channels, "channels",
                             FANOUT_API_CHANNELS, &many->items,
                             &many->n))
        || (error = read_publish(api, &item, &many->op)))
    {
        return error;
    }

    many->run = run_channel;
    many->end = "]}";

    return begin_many(api, many, "{\"results\":[");
}


static fanout_error_e
begin_many(fanout_api_t *api, many_t *many, const char *text)
{
    api->many = many;
    api->step = run_many;

    if (fanout_frame_append(api->hub, api->out, text,
                            ngx_strlen(text))
        != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    return run_many(api);
}


/* One at least, and as many as there is room for in the step. */

static fanout_error_e
run_many(fanout_api_t *api)
{
    many_t         *many;
    fanout_json_t  *item;

    many = api->many;

    while (many->i < many->n) {

        if (many->i
            && fanout_frame_literal(api->hub, api->out, ",")
               != NGX_OK)
        {
            return FANOUT_E_INTERNAL;
        }

        item = &many->items[many->i++];

        fanout_spend(api->hub, FANOUT_WORK_COMMAND
                                    + item->len * FANOUT_WORK_PARSE);

        if (many->run(api, item, &many->op) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

        if (many->i < many->n && fanout_spent(api->hub)) {
            return FANOUT_E_NONE;
        }
    }

    api->step = NULL;
    api->status = NGX_HTTP_OK;

    return fanout_api_done(
               fanout_frame_append(api->hub, api->out, many->end,
                                   ngx_strlen(many->end)));
}


static fanout_error_e
read_body(fanout_api_t *api, fanout_json_t *value)
{
    int                  type;
    unsigned             levels;
    ngx_str_t            body;
    fanout_json_error_t  err;

    if (fanout_http_body(api->request, &body) != NGX_OK) {
        return FANOUT_E_INTERNAL;
    }

    if (body.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the body is empty");
    }

    type = fanout_json_levels(body.data, body.len, value, &levels, &err);

    if (type == FANOUT_JSON_NO_MEMORY) {
        return FANOUT_E_INTERNAL;
    }

    if (type < 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "body is not JSON: %s", err.reason);
    }

    api->deep = (levels > FANOUT_JSON_DEPTH);

    return FANOUT_E_NONE;
}


static fanout_error_e
split_array(fanout_api_t *api, fanout_json_t *array, const char *limit,
    size_t max, fanout_json_t **items, size_t *n)
{
    int  rc;

    *items = ngx_palloc(api->request->pool, max * sizeof(fanout_json_t));
    if (*items == NULL) {
        return FANOUT_E_INTERNAL;
    }

    rc = fanout_json_array(array, *items, max, n);

    switch (rc) {

    case FANOUT_JSON_OK:
        return FANOUT_E_NONE;

    case FANOUT_JSON_TOO_MANY:
        return fanout_api_exceed(api, FANOUT_E_TOO_MANY, limit, max);

    default:
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not an array", limit);
    }
}


/* results */

static ngx_int_t
run_item(fanout_api_t *api, fanout_json_t *value, fanout_api_op_t *op)
{
    size_t           start;
    fanout_error_e   error;

    if (fanout_frame_literal(api->hub, api->out, "{") != NGX_OK) {
        return NGX_ERROR;
    }

    start = api->out->used;

    if (fanout_frame_literal(api->hub, api->out, "\"ok\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    error = run_verb(api, value);

    return end_result(api, start, error);
}


static fanout_error_e
run_verb(fanout_api_t *api, fanout_json_t *value)
{
    item_t           item;
    const verb_t    *verb;
    fanout_error_e   error;
    fanout_api_op_t  op;

    ngx_memzero(&op, sizeof(fanout_api_op_t));
    verb = NULL;

    if ((error = read_item(api, value, &item))
        || (error = find_verb(api, &item.op, &verb))
        || (error = check_members(api, &item, (char *) verb->name.data,
                                  verb->members))
        || (error = read_text(api, "channel", &item.channel, &op.channel)))
    {
        return error;
    }

    if (batch_absent(&item.channel)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"channel\" is missing");
    }

    error = verb->read(api, &item, &op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    return verb->run(api, &op);
}


static fanout_error_e
find_verb(fanout_api_t *api, fanout_json_t *name, const verb_t **verb)
{
    ngx_str_t        text;
    const verb_t    *v;
    fanout_error_e   error;

    if (batch_absent(name)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"op\" is missing");
    }

    error = read_text(api, "op", name, &text);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    for (v = verbs; v->name.len; v++) {
        if (v->name.len == text.len
            && ngx_memcmp(v->name.data, text.data, text.len) == 0)
        {
            *verb = v;
            return FANOUT_E_NONE;
        }
    }

    return fanout_api_fail(api, FANOUT_E_UNKNOWN_OP,
                           "there is no op \"%V\"", &text);
}


/* The name as it was sent comes first, so that it is there on errors. */

static ngx_int_t
run_channel(fanout_api_t *api, fanout_json_t *name, fanout_api_op_t *op)
{
    size_t           start;
    fanout_error_e   error;

    if (fanout_frame_literal(api->hub, api->out, "{\"channel\":")
        != NGX_OK
        || fanout_frame_append(api->hub, api->out, name->data, name->len)
           != NGX_OK
        || fanout_frame_literal(api->hub, api->out, ",") != NGX_OK)
    {
        return NGX_ERROR;
    }

    start = api->out->used;

    if (fanout_frame_literal(api->hub, api->out, "\"ok\":")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    error = read_text(api, "channels", name, &op->channel);

    if (error == FANOUT_E_NONE) {
        error = fanout_api_publish(api, op);
    }

    return end_result(api, start, error);
}


static ngx_int_t
end_result(fanout_api_t *api, size_t start, fanout_error_e error)
{
    ngx_str_t        text;
    fanout_error_t  *e;

    if (error != FANOUT_E_NONE) {
        e = &fanout_errors[error];
        api->out->used = start;

        if (fanout_http_error_text(api->request, &e->code,
                                  api->message.len ? &api->message : &e->text,
                                  &api->data, &text)
            != NGX_OK
            || fanout_frame_literal(api->hub, api->out, "\"error\":")
               != NGX_OK
            || fanout_frame_append(api->hub, api->out, text.data, text.len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_str_null(&api->message);
        ngx_str_null(&api->data);
    }

    return fanout_frame_literal(api->hub, api->out, "}");
}


/* members of operations */

static fanout_error_e
read_item(fanout_api_t *api, fanout_json_t *value, item_t *item)
{
    int                  rc;
    fanout_json_error_t  err;

    rc = fanout_json_members(value, item_fields, nfields(item_fields), item,
                             &err);

    if (rc == FANOUT_JSON_OK) {
        return FANOUT_E_NONE;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "%s", err.reason);
}


static fanout_error_e
read_publish(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    int             store, live;
    fanout_error_e  error;

    if (!batch_absent(&item->store)) {
        if (fanout_json_bool(&item->store, &store)
            != FANOUT_JSON_OK)
        {
            return fanout_api_fail(api,
                                   FANOUT_E_BAD_REQUEST,
                                   "\"store\" is not a boolean");
        }

        op->transient = !store;
    }

    if (!batch_absent(&item->live)) {
        if (fanout_json_bool(&item->live, &live)
            != FANOUT_JSON_OK)
        {
            return fanout_api_fail(api,
                                   FANOUT_E_BAD_REQUEST,
                                   "\"live\" is not a boolean");
        }

        op->live = live;
    }

    if (!batch_absent(&item->meta)
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

    return batch_read_data(api, item, op);
}


static fanout_error_e
read_signal(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    fanout_error_e  error;

    if ((error = read_text(api, "event", &item->event, &op->event))
        || (error = read_text(api, "tag", &item->tag, &op->tag))
        || (error = read_text(api, "user", &item->user, &op->user))
        || (error = read_to(api, &item->to, op)))
    {
        return error;
    }

    return batch_read_data(api, item, op);
}


static fanout_error_e
read_to(fanout_api_t *api, fanout_json_t *value, fanout_api_op_t *op)
{
    to_t            to;
    fanout_error_e  error;

    if (batch_absent(value)) {
        return FANOUT_E_NONE;
    }

    if (fanout_json_members(value, to_fields, nfields(to_fields),
                            &to, NULL)
        != FANOUT_JSON_OK)
    {
        goto invalid;
    }

    if ((error = read_text(api, "client", &to.client, &op->to_client))
        || (error = read_text(api, "user", &to.user, &op->to_user)))
    {
        return error;
    }

    if (op->to_client.len || op->to_user.len) {
        return FANOUT_E_NONE;
    }

invalid:

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "\"to\" is {\"client\":string} or "
                           "{\"user\":string}");
}


static fanout_error_e
read_history(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    uint64_t        limit;
    fanout_error_e  error;

    limit = FANOUT_API_LIMIT;

    if ((error = read_position(api, "since", &item->since, op))
        || (error = read_number(api, "before", &item->before, &op->before))
        || (error = read_number(api, "limit", &item->limit, &limit)))
    {
        return error;
    }

    op->limit = ngx_min(limit, api->conf->history);

    return FANOUT_E_NONE;
}


static fanout_error_e
read_purge(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    return read_text(api, "reason", &item->reason, &op->reason);
}


static fanout_error_e
read_info(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    return FANOUT_E_NONE;
}


/* values */

static fanout_error_e
batch_read_data(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    ngx_str_t       enc;
    fanout_error_e  error;

    if (item->data.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"data\" is missing");
    }

    if (batch_absent(&item->enc)) {
        op->kind = FANOUT_JSON;
        return copy_json(api, &item->data, &op->data);
    }

    error = read_text(api, "enc", &item->enc, &enc);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (enc.len != sizeof("base64") - 1
        || ngx_memcmp(enc.data, "base64", sizeof("base64") - 1) != 0)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"enc\" is not \"base64\"");
    }

    return decode_data(api, item, op);
}


static fanout_error_e
decode_data(fanout_api_t *api, item_t *item, fanout_api_op_t *op)
{
    ngx_str_t       text;
    fanout_error_e  error;

    error = read_text(api, "data", &item->data, &text);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    op->kind = FANOUT_BINARY;
    op->data.data = ngx_pnalloc(api->request->pool,
                                ngx_base64_decoded_length(text.len) + 1);
    if (op->data.data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    if (fanout_base64_decode(&op->data, &text) != NGX_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"data\" is not base64");
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
read_position(fanout_api_t *api, const char *name, fanout_json_t *value,
    fanout_api_op_t *op)
{
    ngx_str_t       epoch;
    position_t      pos;
    fanout_error_e  error;

    if (batch_absent(value)) {
        return FANOUT_E_NONE;
    }

    if (fanout_json_members(value, position_fields,
                            nfields(position_fields), &pos, NULL)
        != FANOUT_JSON_OK
        || batch_absent(&pos.epoch) || batch_absent(&pos.offset))
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not an object with "
                               "\"epoch\" and \"offset\"", name);
    }

    if ((error = read_text(api, "epoch", &pos.epoch, &epoch))
        || (error = read_number(api, "offset", &pos.offset, &op->offset)))
    {
        return error;
    }

    if (fanout_epoch_parse(&epoch, &op->epoch) != NGX_OK) {
        /* one that can't be ours */
        op->epoch = 0;
    }

    op->positioned = 1;

    return FANOUT_E_NONE;
}


static fanout_error_e
read_text(fanout_api_t *api, const char *name, fanout_json_t *value,
    ngx_str_t *text)
{
    int             rc;
    u_char         *buf;
    fanout_json_t   span;

    ngx_str_null(text);

    if (batch_absent(value)) {
        return FANOUT_E_NONE;
    }

    buf = ngx_pnalloc(api->request->pool, value->len);
    if (buf == NULL) {
        return FANOUT_E_INTERNAL;
    }

    rc = fanout_json_text(value, buf, value->len, &span);

    if (rc != FANOUT_JSON_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\": %s", name,
                               fanout_json_strerror(rc));
    }

    text->data = (u_char *) span.data;
    text->len = span.len;

    return FANOUT_E_NONE;
}


static fanout_error_e
read_number(fanout_api_t *api, const char *name, fanout_json_t *value,
    uint64_t *n)
{
    int64_t  number;

    if (batch_absent(value)) {
        return FANOUT_E_NONE;
    }

    if (fanout_json_int(value, &number) != FANOUT_JSON_OK
        || number < 0)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not a number from 0 on",
                               name);
    }

    *n = number;

    return FANOUT_E_NONE;
}


static fanout_error_e
copy_json(fanout_api_t *api, fanout_json_t *value, ngx_str_t *text)
{
    text->data = ngx_pnalloc(api->request->pool, value->len);
    if (text->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    text->len = fanout_json_minify(text->data, value->data, value->len);

    return FANOUT_E_NONE;
}


/* Members are those of the operation, and none nests too many levels. */

static fanout_error_e
check_members(fanout_api_t *api, item_t *item, const char *op,
    uint32_t members)
{
    ngx_uint_t      i;
    fanout_json_t  *value;

    for (i = 0; i < nfields(item_fields); i++) {
        value = (fanout_json_t *)
                    ((u_char *) item + item_fields[i].offset);

        if (value->len == 0) {
            continue;
        }

        if (!(members & m(i))) {
            return fanout_api_fail(api,
                                       FANOUT_E_BAD_REQUEST,
                                       "\"%s\" is not a member of \"%s\"",
                                       item_fields[i].name, op);
        }

        if (api->deep
            && fanout_json_depth(value) > FANOUT_JSON_DEPTH)
        {
            return fanout_api_fail(api,
                                       FANOUT_E_BAD_REQUEST,
                                       "\"%s\" nests more than %d arrays and "
                                       "objects", item_fields[i].name,
                                       FANOUT_JSON_DEPTH);
        }
    }

    return FANOUT_E_NONE;
}


/* null is as good as nothing, but for data */

static ngx_uint_t
batch_absent(fanout_json_t *value)
{
    return value->len == 0
           || fanout_json_type(value) == FANOUT_JSON_NULL;
}
