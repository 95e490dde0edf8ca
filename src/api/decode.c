
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How the operations of a batch are decoded: each is a table of its members,
 * which are read into an operation in the order of the table.
 */


#include "api/api.h"
#include "base/base64.h"


/* Members of an object that are looked at: more than an operation can have, so
 * that one of these is wrong if there are still others. */
#define FANOUT_API_PAIRS    32

#define FANOUT_API_MEMBERS  16                  /* most of an operation */
#define FANOUT_API_NAME     32                  /* bytes of the longest name */


typedef struct fanout_api_member_s  member_t;

struct fanout_api_member_s {
    const char      *name;
    size_t           len;
    fanout_error_e (*read)(fanout_api_t *api, const member_t *m,
                         fanout_json_t *value, fanout_api_op_t *op);
                                        /* NULL: it was read */
    size_t           offset;            /* in the operation */
    unsigned         always:1;          /* it is read as well if it is null or
                                           not there */
};

typedef struct {
    fanout_json_t    key;               /* as it was sent, with the quotes */
    fanout_json_t    name;              /* unescaped, len 0: nobody's */
    fanout_json_t    value;
} pair_t;

typedef struct {
    fanout_json_t    client;
    fanout_json_t    user;
} to_t;

typedef struct {
    fanout_json_t    epoch;
    fanout_json_t    offset;
} position_t;


static fanout_error_e decode_pairs(fanout_api_t *api, fanout_json_t *object,
    pair_t *pairs, ngx_uint_t *n);
static fanout_error_e decode_unknown(fanout_api_t *api, fanout_json_t *object,
    pair_t *pairs, ngx_uint_t n);
static fanout_error_e decode_verb(fanout_api_t *api, pair_t *pairs,
    ngx_uint_t n, const fanout_api_verb_t **verb);
static ngx_uint_t decode_match(pair_t *pairs, ngx_uint_t n,
    const fanout_api_verb_t *verb, fanout_json_t *values);
static fanout_error_e decode_fault(fanout_api_t *api, fanout_json_t *object,
    pair_t *pairs, ngx_uint_t n, const fanout_api_verb_t *verb);
static fanout_error_e decode_values(fanout_api_t *api,
    const fanout_api_verb_t *verb, fanout_json_t *values,
    fanout_api_op_t *op);
static ngx_uint_t decode_find(const fanout_api_verb_t *verb,
    fanout_json_t *name);
static ngx_uint_t decode_absent(fanout_json_t *value);

static fanout_error_e read_string(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_channel(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_channels(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_no_if(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_store(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_live(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_bool(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, int *flag);
static fanout_error_e read_json(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_to(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_position(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_number(fanout_api_t *api, const char *name,
    fanout_json_t *value, uint64_t *n);
static fanout_error_e read_before(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_limit(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_enc(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_data(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_base64(fanout_api_t *api, fanout_json_t *value,
    fanout_api_op_t *op);


static const fanout_json_field_t  to_fields[] = {
    fanout_json_field("client", to_t, client),
    fanout_json_field("user", to_t, user)
};

static const fanout_json_field_t  position_fields[] = {
    fanout_json_field("epoch", position_t, epoch),
    fanout_json_field("offset", position_t, offset)
};

#define nelts(a)  (sizeof(a) / sizeof(a[0]))


#define member(text, reader)                                                  \
    .name = text, .len = sizeof(text) - 1, .read = reader

#define string(text, what)                                                    \
    { member(text, read_string), .offset = offsetof(fanout_api_op_t, what) }

#define OP                                                                    \
    { member("op", NULL) },                                                   \
    { member("channel", read_channel), .always = 1 }

/* what "enc" says is needed for the data */

#define DATA                                                                  \
    { member("enc", read_enc) },                                              \
    { member("data", read_data), .always = 1 }

#define PUBLISH                                                               \
    { member("store", read_store) },                                          \
    { member("live", read_live) },                                            \
    { member("meta", read_json), .offset = offsetof(fanout_api_op_t, meta) }, \
    string("event", event),                                                   \
    string("key", key),                                                       \
    string("user", user),                                                     \
    { member("to", read_to) }

static const member_t  publish_members[] = {
    OP,
    PUBLISH,
    { member("if", read_position) },
    DATA
};

static const member_t  signal_members[] = {
    OP,
    string("event", event),
    string("tag", tag),
    string("user", user),
    { member("to", read_to) },
    DATA
};

static const member_t  history_members[] = {
    OP,
    { member("since", read_position) },
    { member("before", read_before) },
    { member("limit", read_limit) }
};

static const member_t  info_members[] = {
    OP
};

static const member_t  purge_members[] = {
    OP,
    string("reason", reason)
};

static const member_t  broadcast_members[] = {
    { member("channels", read_channels), .always = 1 },
    { member("if", read_no_if), .always = 1 },
    PUBLISH,
    DATA
};


#define verb(name, members, run)                                              \
    { ngx_string(name), members, nelts(members), run }

static const fanout_api_verb_t  verbs[] = {
    verb("publish", publish_members, fanout_api_publish),
    verb("signal", signal_members, fanout_api_signal),
    verb("history", history_members, fanout_api_history),
    verb("info", info_members, fanout_api_info),
    verb("purge", purge_members, fanout_api_purge)
};

const fanout_api_verb_t  fanout_api_verb_broadcast =
    verb("broadcast", broadcast_members, fanout_api_publish);


fanout_error_e
fanout_api_decode(fanout_api_t *api, fanout_json_t *object,
    const fanout_api_verb_t **verb, fanout_api_op_t *op)
{
    pair_t          pairs[FANOUT_API_PAIRS];
    ngx_uint_t      n;
    fanout_json_t   values[FANOUT_API_MEMBERS];
    fanout_error_e  error, fault;

    n = 0;

    ngx_memzero(op, sizeof(fanout_api_op_t));

    op->limit = ngx_min(FANOUT_API_LIMIT, api->conf->history);

    error = decode_pairs(api, object, pairs, &n);

    if (error == FANOUT_E_NONE && *verb == NULL) {
        error = decode_verb(api, pairs, n, verb);
    }

    if (error != FANOUT_E_NONE
        || !decode_match(pairs, n, *verb, values) || api->deep)
    {
        fault = decode_fault(api, object, pairs, n, *verb);
        error = fault != FANOUT_E_NONE ? fault : error;
    }

    return error == FANOUT_E_NONE ? decode_values(api, *verb, values, op)
                                  : error;
}


static fanout_error_e
decode_pairs(fanout_api_t *api, fanout_json_t *object, pair_t *pairs,
    ngx_uint_t *n)
{
    u_char              *buf;
    pair_t              *pair;
    fanout_json_iter_t   it;

    if (fanout_json_type(object) != FANOUT_JSON_OBJECT) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "an object is needed at byte 0");
    }

    (void) fanout_json_iter(&it, object);

    for (*n = 0; *n < FANOUT_API_PAIRS; (*n)++) {
        pair = &pairs[*n];

        if (fanout_json_next(&it, &pair->key, &pair->value) != 1) {
            break;
        }

        buf = NULL;

        if (ngx_strlchr((u_char *) pair->key.data,
                        (u_char *) pair->key.data + pair->key.len, '\\'))
        {
            buf = ngx_pnalloc(api->request->pool, FANOUT_API_NAME);

            if (buf == NULL) {
                return FANOUT_E_INTERNAL;
            }
        }

        (void) fanout_json_text(&pair->key, buf, FANOUT_API_NAME, &pair->name);
    }

    return FANOUT_E_NONE;
}


/* A member that no operation has, or that is there twice. */

static fanout_error_e
decode_unknown(fanout_api_t *api, fanout_json_t *object, pair_t *pairs,
    ngx_uint_t n)
{
    int                  rc;
    ngx_uint_t           i, k, known;
    fanout_json_error_t  err;

    rc = FANOUT_JSON_OK;

    for (i = 0; i < n && rc == FANOUT_JSON_OK; i++) {

        known = decode_find(&fanout_api_verb_broadcast, &pairs[i].name)
                < fanout_api_verb_broadcast.n;

        for (k = 0; k < nelts(verbs) && !known; k++) {
            known = decode_find(&verbs[k], &pairs[i].name) < verbs[k].n;
        }

        rc = known ? FANOUT_JSON_OK : FANOUT_JSON_UNKNOWN;

        for (k = 0; k < i && rc == FANOUT_JSON_OK; k++) {
            if (pairs[k].name.len == pairs[i].name.len
                && ngx_memcmp(pairs[k].name.data, pairs[i].name.data,
                              pairs[k].name.len)
                   == 0)
            {
                rc = FANOUT_JSON_DUPLICATE;
            }
        }
    }

    if (rc == FANOUT_JSON_OK) {
        return FANOUT_E_NONE;
    }

    (void) fanout_json_fail_member(&err, rc,
                                   pairs[i - 1].key.data - object->data,
                                   &pairs[i - 1].key);

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST, "%s", err.reason);
}


static fanout_error_e
decode_verb(fanout_api_t *api, pair_t *pairs, ngx_uint_t n,
    const fanout_api_verb_t **verb)
{
    ngx_str_t       text;
    ngx_uint_t      i;
    fanout_error_e  error;

    for (i = 0; i < n; i++) {
        if (pairs[i].name.len == 2
            && ngx_memcmp(pairs[i].name.data, "op", 2) == 0)
        {
            break;
        }
    }

    if (i == n || decode_absent(&pairs[i].value)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"op\" is missing");
    }

    error = fanout_api_read_text(api, "op", &pairs[i].value, &text);

    if (error != FANOUT_E_NONE) {
        return error;
    }

    for (i = 0; i < nelts(verbs); i++) {
        if (verbs[i].name.len == text.len
            && ngx_memcmp(verbs[i].name.data, text.data, text.len) == 0)
        {
            *verb = &verbs[i];
            return FANOUT_E_NONE;
        }
    }

    return fanout_api_fail(api, FANOUT_E_UNKNOWN_OP,
                           "there is no op \"%V\"", &text);
}


/* The values in the order of the table; 0 if there are others, or one is there
 * twice. */

static ngx_uint_t
decode_match(pair_t *pairs, ngx_uint_t n, const fanout_api_verb_t *verb,
    fanout_json_t *values)
{
    ngx_uint_t  i, k;

    ngx_memzero(values, verb->n * sizeof(fanout_json_t));

    for (i = 0; i < n; i++) {
        k = decode_find(verb, &pairs[i].name);

        if (k == verb->n || values[k].len) {
            return 0;
        }

        values[k] = pairs[i].value;
    }

    return 1;
}


/* Reports a wrong member: first one that no operation has or that is repeated,
 * then one that this operation does not have or that nests too many levels.
 * verb is NULL if the operation is unknown. */

static fanout_error_e
decode_fault(fanout_api_t *api, fanout_json_t *object, pair_t *pairs,
    ngx_uint_t n, const fanout_api_verb_t *verb)
{
    ngx_uint_t      i, k;
    fanout_error_e  error;

    error = decode_unknown(api, object, pairs, n);

    for (i = 0; i < n && error == FANOUT_E_NONE && verb; i++) {
        k = decode_find(verb, &pairs[i].name);

        if (k == verb->n) {
            error = fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                    "\"%*s\" is not a member of \"%V\"",
                                    pairs[i].name.len, pairs[i].name.data,
                                    &verb->name);

        } else if (fanout_json_depth(&pairs[i].value) > FANOUT_JSON_DEPTH) {
            error = fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                    "\"%s\" nests more than %d arrays and "
                                    "objects", verb->members[k].name,
                                    FANOUT_JSON_DEPTH);
        }
    }

    return error;
}


static fanout_error_e
decode_values(fanout_api_t *api, const fanout_api_verb_t *verb,
    fanout_json_t *values, fanout_api_op_t *op)
{
    ngx_uint_t       k;
    fanout_error_e   error;
    const member_t  *m;

    error = FANOUT_E_NONE;

    for (k = 0; k < verb->n && error == FANOUT_E_NONE; k++) {
        m = &verb->members[k];

        if (m->read && (m->always || !decode_absent(&values[k]))) {
            error = m->read(api, m, &values[k], op);
        }
    }

    return error;
}


static ngx_uint_t
decode_find(const fanout_api_verb_t *verb, fanout_json_t *name)
{
    ngx_uint_t  k;

    for (k = 0; k < verb->n; k++) {
        if (verb->members[k].len == name->len
            && ngx_memcmp(verb->members[k].name, name->data, name->len) == 0)
        {
            break;
        }
    }

    return k;
}


/* null is as good as nothing, but for data */

static ngx_uint_t
decode_absent(fanout_json_t *value)
{
    return value->len == 0 || fanout_json_type(value) == FANOUT_JSON_NULL;
}


/* values */

static fanout_error_e
read_string(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    return fanout_api_read_text(api, m->name, value,
                                (ngx_str_t *) ((u_char *) op + m->offset));
}


static fanout_error_e
read_channel(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    return decode_absent(value)
           ? fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"channel\" is missing")
           : fanout_api_read_text(api, "channel", value, &op->channel);
}


static fanout_error_e
read_channels(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    op->channels = *value;

    return decode_absent(value)
           ? fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"channels\" is missing")
           : FANOUT_E_NONE;
}


static fanout_error_e
read_no_if(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    return value->len == 0
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"if\" is for one channel only");
}


static fanout_error_e
read_store(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    int             store;
    fanout_error_e  error;

    error = read_bool(api, m, value, &store);
    op->transient = !store;

    return error;
}


static fanout_error_e
read_live(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    int             live;
    fanout_error_e  error;

    error = read_bool(api, m, value, &live);
    op->live = live;

    return error;
}


static fanout_error_e
read_bool(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    int *flag)
{
    *flag = 0;

    return fanout_json_bool(value, flag) == FANOUT_JSON_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"%s\" is not a boolean", m->name);
}


static fanout_error_e
read_json(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    ngx_str_t  *text;

    text = (ngx_str_t *) ((u_char *) op + m->offset);
    text->data = ngx_pnalloc(api->request->pool, value->len);

    if (text->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    text->len = fanout_json_minify(text->data, value->data, value->len);

    return FANOUT_E_NONE;
}


static fanout_error_e
read_to(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    to_t            to;
    fanout_error_e  error;

    if (fanout_json_members(value, to_fields, nelts(to_fields), &to, NULL)
        == FANOUT_JSON_OK)
    {
        if ((error = fanout_api_read_text(api, "client", &to.client,
                                          &op->to_client))
            || (error = fanout_api_read_text(api, "user", &to.user,
                                             &op->to_user)))
        {
            return error;
        }
    }

    return op->to_client.len || op->to_user.len
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"to\" is {\"client\":string} or "
                             "{\"user\":string}");
}


static fanout_error_e
read_position(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    ngx_str_t       epoch;
    position_t      pos;
    fanout_error_e  error;

    if (fanout_json_members(value, position_fields,
                            nelts(position_fields), &pos, NULL)
        != FANOUT_JSON_OK
        || decode_absent(&pos.epoch) || decode_absent(&pos.offset))
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not an object with "
                               "\"epoch\" and \"offset\"", m->name);
    }

    if ((error = fanout_api_read_text(api, "epoch", &pos.epoch, &epoch))
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


fanout_error_e
fanout_api_read_text(fanout_api_t *api, const char *name, fanout_json_t *value,
    ngx_str_t *text)
{
    int             rc;
    u_char         *buf;
    fanout_json_t   span;

    ngx_str_null(text);

    if (decode_absent(value)) {
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
read_before(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    return read_number(api, m->name, value, &op->before);
}


static fanout_error_e
read_limit(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    uint64_t        limit;
    fanout_error_e  error;

    limit = 0;
    error = read_number(api, m->name, value, &limit);
    op->limit = ngx_min(limit, api->conf->history);

    return error;
}


static fanout_error_e
read_enc(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    ngx_str_t       enc;
    fanout_error_e  error;

    op->kind = FANOUT_BINARY;

    error = fanout_api_read_text(api, m->name, value, &enc);

    if (error == FANOUT_E_NONE
        && (enc.len != sizeof("base64") - 1
            || ngx_memcmp(enc.data, "base64", sizeof("base64") - 1) != 0))
    {
        error = fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                "\"enc\" is not \"base64\"");
    }

    return error;
}


static fanout_error_e
read_data(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    static const member_t  data = {
        .offset = offsetof(fanout_api_op_t, data)
    };

    if (value->len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"data\" is missing");
    }

    return op->kind == FANOUT_BINARY ? read_base64(api, value, op)
                                     : read_json(api, &data, value, op);
}


static fanout_error_e
read_base64(fanout_api_t *api, fanout_json_t *value, fanout_api_op_t *op)
{
    ngx_str_t       text;
    fanout_error_e  error;

    error = fanout_api_read_text(api, "data", value, &text);
    if (error != FANOUT_E_NONE) {
        return error;
    }

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
