
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How the operations of a batch are decoded: each is a table of its members,
 * which are read into an operation in the order of the table.
 */


#include "api/decode.h"
#include "base/base64.h"


#define FANOUT_API_MEMBERS  16                  /* most of an operation */


typedef fanout_api_member_t  member_t;

typedef struct {
    fanout_json_t    client;
    fanout_json_t    user;
} to_t;

typedef struct {
    fanout_json_t    epoch;
    fanout_json_t    offset;
} position_t;


static fanout_error_e decode_verb(fanout_api_t *api, fanout_json_t *name,
    const fanout_api_verb_t **verb);
static fanout_error_e decode_fault(fanout_api_t *api,
    fanout_json_split_t *split, const fanout_api_verb_t *verb);
static int decode_known(const fanout_json_t *name);
static fanout_json_table_t decode_table(const fanout_api_verb_t *verb);
static fanout_error_e decode_values(fanout_api_t *api,
    const fanout_api_verb_t *verb, fanout_json_t *values,
    fanout_api_op_t *op);

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
static fanout_error_e read_json(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_to(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_position(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_before(fanout_api_t *api, const member_t *m,
    fanout_json_t *value, fanout_api_op_t *op);
static fanout_error_e read_positive(fanout_api_t *api, const member_t *m,
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

#define member(text, reader)                                                  \
    .field = { text, sizeof(text) - 1, 0 }, .read = reader

#define into(text, reader, what)                                              \
    .field = fanout_json_field(text, fanout_api_op_t, what), .read = reader

#define string(text, what)  { into(text, read_string, what) }

#define CHANNEL  { member("channel", read_channel), .always = 1 }

/* "enc" is read before the data, which it decodes */

#define DATA                                                                  \
    { member("enc", read_enc) },                                              \
    { member("data", read_data), .always = 1 }

#define PUBLISH                                                               \
    { member("store", read_store) },                                          \
    { member("live", read_live) },                                            \
    { into("meta", read_json, meta) },                                        \
    string("event", event),                                                   \
    string("key", key),                                                       \
    string("user", user),                                                     \
    { member("to", read_to) }

static const member_t  publish_members[] = {
    CHANNEL,
    PUBLISH,
    { member("if", read_position) },
    DATA
};

static const member_t  signal_members[] = {
    CHANNEL,
    string("event", event),
    string("tag", tag),
    string("user", user),
    { member("to", read_to) },
    DATA
};

static const member_t  history_members[] = {
    CHANNEL,
    { member("since", read_position) },
    { member("before", read_before) },
    { member("record", fanout_api_read_record) },
    { member("limit", read_limit) }
};

static const member_t  info_members[] = {
    CHANNEL
};

static const member_t  purge_members[] = {
    CHANNEL,
    string("reason", reason)
};

#define RECORD  { into("record", read_string, record) }

#define BASE  { member("base", fanout_api_read_base) }

#define CHANGES                                                               \
    { into("set", fanout_api_read_copy, set), .levels = 1 },                  \
    { into("unset", fanout_api_read_copy, unset) },                           \
    { into("append", fanout_api_read_copy, append), .levels = 1 }

static const member_t  set_members[] = {
    CHANNEL,
    RECORD,
    BASE,
    string("key", key),
    string("user", user),
    { member("mode", fanout_api_read_mode) },
    { member("token", fanout_api_read_token) },
    string("release", release),
    CHANGES
};

static const member_t  delete_members[] = {
    CHANNEL,
    RECORD,
    BASE,
    { member("token", fanout_api_read_token) },
    string("key", key),
    string("user", user)
};

static const member_t  get_members[] = {
    CHANNEL,
    { member("record", fanout_api_read_record) },
    string("prefix", prefix),
    { member("cursor", fanout_api_read_cursor) },
    { member("versions", fanout_api_read_versions) }
};

#define TAKE                                                                  \
    { member("ttl", fanout_api_read_ttl) },                                   \
    { member("data", fanout_api_read_lock_data), .always = 1 }

static const member_t  lock_members[] = {
    CHANNEL,
    string("name", lock),
    string("user", user),
    { member("token", fanout_api_read_token) },
    TAKE
};

static const member_t  unlock_members[] = {
    CHANNEL,
    string("name", lock),
    { member("token", fanout_api_read_token) }
};

#define FOR  { into("for", read_positive, seconds) }

static const member_t  block_members[] = {
    string("who", who),
    FOR,
    { into("before", read_positive, before) }
};

static const member_t  unblock_members[] = {
    string("who", who)
};

static const member_t  revoke_members[] = {
    string("user", user),
    FOR,
    { into("before", read_positive, before) }
};

static const member_t  reauthorize_members[] = {
    string("user", user),
    { into("within", read_positive, within) }
};

static const member_t  take_members[] = {
    TAKE
};

static const member_t  patch_members[] = {
    CHANGES
};

static const member_t  broadcast_members[] = {
    { member("channels", read_channels), .always = 1 },
    { member("if", read_no_if), .always = 1 },
    PUBLISH,
    DATA
};


static const fanout_json_field_t  op_fields[] = {
    { "op", sizeof("op") - 1, 0 }
};


#define verb(name, members, run)                                              \
    { ngx_string(name), members, fanout_nelts(members), run }

static const fanout_api_verb_t  verbs[] = {
    verb("publish", publish_members, fanout_api_publish),
    verb("signal", signal_members, fanout_api_signal),
    verb("history", history_members, fanout_api_history),
    verb("info", info_members, fanout_api_info),
    verb("purge", purge_members, fanout_api_purge),
    verb("set", set_members, fanout_api_set),
    verb("delete", delete_members, fanout_api_delete),
    verb("get", get_members, fanout_api_get),
    verb("lock", lock_members, fanout_api_lock),
    verb("unlock", unlock_members, fanout_api_unlock),
    verb("block", block_members, fanout_api_block),
    verb("unblock", unblock_members, fanout_api_unblock),
    verb("revoke", revoke_members, fanout_api_revoke),
    verb("reauthorize", reauthorize_members, fanout_api_reauthorize)
};

const fanout_api_verb_t  fanout_api_verb_broadcast =
    verb("broadcast", broadcast_members, fanout_api_publish);

const fanout_api_verb_t  fanout_api_verb_patch =
    verb("patch", patch_members, fanout_api_set);

const fanout_api_verb_t  fanout_api_verb_take =
    verb("take", take_members, fanout_api_lock);


fanout_error_e
fanout_api_decode(fanout_api_t *api, fanout_json_t *object,
    const fanout_api_verb_t **verb, fanout_api_op_t *op)
{
    fanout_json_t        name, values[FANOUT_API_MEMBERS];
    fanout_error_e       error, fault;
    fanout_json_table_t  envelope, table;
    fanout_json_split_t  split;

    ngx_memzero(op, sizeof(fanout_api_op_t));

    op->limit = ngx_min(FANOUT_API_LIMIT, api->conf->history);

    if (fanout_json_type(object) != FANOUT_JSON_OBJECT) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "an object is needed at byte 0");
    }

    envelope.fields = op_fields;
    envelope.size = sizeof(fanout_json_field_t);
    envelope.n = *verb ? 0 : 1;

    fanout_json_split(&split, object, &envelope, &name);

    error = *verb ? FANOUT_E_NONE : decode_verb(api, &name, verb);

    if (error == FANOUT_E_NONE) {
        table = decode_table(*verb);
    }

    if (error != FANOUT_E_NONE
        || !fanout_json_match(&split, &table, values) || api->deep)
    {
        fault = decode_fault(api, &split, *verb);
        error = fault != FANOUT_E_NONE ? fault : error;
    }

    return error == FANOUT_E_NONE ? decode_values(api, *verb, values, op)
                                  : error;
}


static fanout_error_e
decode_verb(fanout_api_t *api, fanout_json_t *name,
    const fanout_api_verb_t **verb)
{
    ngx_str_t       text;
    ngx_uint_t      i;
    fanout_error_e  error;

    if (fanout_api_is_null(name)) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"op\" is missing");
    }

    error = fanout_api_read_text(api, "op", name, &text);

    if (error != FANOUT_E_NONE) {
        return error;
    }

    for (i = 0; i < fanout_nelts(verbs); i++) {
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


/* Reports a wrong member: first one that no operation has or that is repeated,
 * then one that this operation does not have or that nests too many levels.
 * verb is NULL if the operation is unknown. */

static fanout_error_e
decode_fault(fanout_api_t *api, fanout_json_split_t *split,
    const fanout_api_verb_t *verb)
{
    ngx_uint_t            i, k;
    fanout_error_e        error;
    fanout_json_pair_t   *pair;
    fanout_json_error_t   err;
    fanout_json_table_t   table;

    if (fanout_json_split_check(split, decode_known, &err) != FANOUT_JSON_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST, "%s", err.reason);
    }

    if (verb == NULL) {
        return FANOUT_E_NONE;
    }

    error = FANOUT_E_NONE;
    table = decode_table(verb);

    for (i = 0; i < split->n && error == FANOUT_E_NONE; i++) {
        pair = &split->pairs[i];

        if (pair->enveloped) {
            continue;
        }

        k = fanout_json_find(&table, &pair->name);

        if (k == table.n) {
            error = fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                    "\"%*s\" is not a member of \"%V\"",
                                    pair->name.len, pair->name.data,
                                    &verb->name);

        } else if (fanout_json_depth(&pair->value)
                   > (unsigned) FANOUT_JSON_DEPTH + verb->members[k].levels)
        {
            error = fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                    "\"%s\" nests more than %d arrays and "
                                    "objects", verb->members[k].field.name,
                                    FANOUT_JSON_DEPTH);
        }
    }

    return error;
}


/* Whether any operation has the member. */

static int
decode_known(const fanout_json_t *name)
{
    ngx_uint_t           i;
    fanout_json_table_t  table;

    table.fields = op_fields;
    table.size = sizeof(fanout_json_field_t);
    table.n = fanout_nelts(op_fields);

    if (fanout_json_find(&table, name) < table.n) {
        return 1;
    }

    table = decode_table(&fanout_api_verb_broadcast);

    for (i = 0; fanout_json_find(&table, name) == table.n; i++) {

        if (i == fanout_nelts(verbs)) {
            return 0;
        }

        table = decode_table(&verbs[i]);
    }

    return 1;
}


static fanout_json_table_t
decode_table(const fanout_api_verb_t *verb)
{
    fanout_json_table_t  table;

    table.fields = (const fanout_json_field_t *) verb->members;
    table.size = sizeof(member_t);
    table.n = verb->n;

    return table;
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

        if (m->always || !fanout_api_is_null(&values[k])) {
            error = m->read(api, m, &values[k], op);
        }
    }

    return error;
}


/* values */

static fanout_error_e
read_string(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    ngx_str_t  *text;

    text = (ngx_str_t *) ((u_char *) op + m->field.offset);

    return fanout_api_read_text(api, m->field.name, value, text);
}


static fanout_error_e
read_channel(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    return fanout_api_is_null(value)
           ? fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"channel\" is missing")
           : fanout_api_read_text(api, "channel", value, &op->channel);
}


static fanout_error_e
read_channels(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    op->channels = *value;

    return fanout_api_is_null(value)
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

    error = fanout_api_read_bool(api, m, value, &store);
    op->transient = !store;

    return error;
}


static fanout_error_e
read_live(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    int             live;
    fanout_error_e  error;

    error = fanout_api_read_bool(api, m, value, &live);
    op->live = live;

    return error;
}


static fanout_error_e
read_json(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    ngx_str_t  *text;

    text = (ngx_str_t *) ((u_char *) op + m->field.offset);
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

    if (fanout_json_members(value, to_fields, fanout_nelts(to_fields), &to,
                            NULL)
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
                            fanout_nelts(position_fields), &pos, NULL)
        != FANOUT_JSON_OK
        || fanout_api_is_null(&pos.epoch) || fanout_api_is_null(&pos.offset))
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"%s\" is not an object with "
                               "\"epoch\" and \"offset\"", m->field.name);
    }

    if ((error = fanout_api_read_text(api, "epoch", &pos.epoch, &epoch))
        || (error = fanout_api_read_number(api, "offset", &pos.offset,
                                           &op->offset)))
    {
        return error;
    }

    if (fanout_epoch_parse(&epoch, &op->epoch) != NGX_OK) {
        /* no channel has it */
        op->epoch = 0;
    }

    op->positioned = 1;

    return FANOUT_E_NONE;
}


static fanout_error_e
read_before(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    return fanout_api_read_number(api, m->field.name, value, &op->before);
}


/* 0 stands for none that was given, and has to be told from it. */

static fanout_error_e
read_positive(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    uint64_t        *n;
    fanout_error_e   error;

    n = (uint64_t *) ((u_char *) op + m->field.offset);
    error = fanout_api_read_number(api, m->field.name, value, n);

    return error != FANOUT_E_NONE || *n
           ? error
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"%s\" is not a number above 0",
                             m->field.name);
}


static fanout_error_e
read_limit(fanout_api_t *api, const member_t *m, fanout_json_t *value,
    fanout_api_op_t *op)
{
    uint64_t        limit;
    fanout_error_e  error;

    limit = 0;
    error = fanout_api_read_number(api, m->field.name, value, &limit);
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

    error = fanout_api_read_text(api, m->field.name, value, &enc);

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
        .field = { .offset = offsetof(fanout_api_op_t, data) }
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
