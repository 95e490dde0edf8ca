
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a request says in its path and query: each route has, for each method,
 * a table of the arguments, which are read in the order of the table.
 */


#include "api/api.h"
#include "http/headers.h"


#define NAMES  128              /* bytes of all names of a table */


static fanout_error_e arg_text(fanout_api_t *api, const fanout_api_arg_t *arg,
    ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_token(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_number(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_positive(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_flag(fanout_api_t *api, const fanout_api_arg_t *arg,
    ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_json(fanout_api_t *api, const fanout_api_arg_t *arg,
    ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_position(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_key(fanout_api_t *api, const fanout_api_arg_t *arg,
    ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_base(fanout_api_t *api, const fanout_api_arg_t *arg,
    ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_mode(fanout_api_t *api, const fanout_api_arg_t *arg,
    ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_to_user(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_pattern(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_after(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_channel(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_client(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);
static fanout_error_e arg_user(fanout_api_t *api,
    const fanout_api_arg_t *arg, ngx_str_t *value, fanout_api_args_t *args);


#define arg(text, reader, what)                                               \
    { .name = text, .read = reader,                                           \
      .offset = offsetof(fanout_api_args_t, what) }

/* what is read also if it is not there */

#define always(text, reader, what)                                            \
    { .name = text, .read = reader,                                           \
      .offset = offsetof(fanout_api_args_t, what), .always = 1 }

/* words of the path: the second one, and the id of a record */

#define word(n, reader, what)                                                 \
    { .name = "", .read = reader,                                             \
      .offset = offsetof(fanout_api_args_t, what), .always = 1, .word = n }

#define path(reader, what)  word(1, reader, what)
#define RECORD  word(3, arg_text, op.record)

#define END  { .name = NULL }

/* The reader of "to_user", which is always called, checks all three. */

#define TO                                                                    \
    arg("to", arg_text, to),                                                 \
    arg("to_client", arg_text, op.to_client),                                \
    always("to_user", arg_to_user, op.to_user)

#define LOCK    word(3, arg_text, op.lock)

/* what all changes of a record have */

#define CHANGE                                                                \
    arg("user", arg_text, op.user),                                           \
    always("base", arg_base, op.base),                                        \
    always("key", arg_key, op.key)

const fanout_api_arg_t  fanout_api_list_args[] = {
    arg("match", arg_pattern, pattern),
    arg("cursor", arg_number, cursor),
    arg("limit", arg_number, limit),
    END
};

const fanout_api_arg_t  fanout_api_info_args[] = {
    path(arg_text, op.channel),
    END
};

const fanout_api_arg_t  fanout_api_purge_args[] = {
    path(arg_text, op.channel),
    arg("reason", arg_text, op.reason),
    arg("close", arg_number, close),
    arg("records", arg_flag, records),
    END
};

const fanout_api_arg_t  fanout_api_history_args[] = {
    path(arg_text, op.channel),
    arg("since", arg_position, op.epoch),
    arg("before", arg_number, op.before),
    arg("record", arg_text, op.record),
    arg("limit", arg_number, limit),
    END
};

const fanout_api_arg_t  fanout_api_publish_args[] = {
    path(arg_text, op.channel),
    arg("event", arg_text, op.event),
    arg("user", arg_text, op.user),
    arg("store", arg_flag, store),
    arg("live", arg_flag, live),
    TO,
    arg("meta", arg_json, op.meta),
    arg("if", arg_position, op.epoch),
    always("key", arg_key, op.key),
    END
};

const fanout_api_arg_t  fanout_api_signal_args[] = {
    path(arg_text, op.channel),
    arg("event", arg_text, op.event),
    arg("tag", arg_text, op.tag),
    arg("user", arg_text, op.user),
    TO,
    END
};

const fanout_api_arg_t  fanout_api_presence_args[] = {
    path(arg_channel, channel),
    arg("cursor", arg_number, cursor),
    arg("limit", arg_number, limit),
    arg("summary", arg_number, summary),
    arg("user", arg_text, user),
    END
};

const fanout_api_arg_t  fanout_api_client_args[] = {
    path(arg_client, client),
    arg("cursor", arg_number, cursor),
    arg("limit", arg_number, limit),
    END
};

const fanout_api_arg_t  fanout_api_client_delete_args[] = {
    path(arg_client, client),
    arg("channel", arg_text, channel),
    END
};

const fanout_api_arg_t  fanout_api_user_args[] = {
    path(arg_user, user_hash),
    arg("cursor", arg_after, cursor),
    arg("limit", arg_number, limit),
    END
};

const fanout_api_arg_t  fanout_api_user_delete_args[] = {
    path(arg_user, user_hash),
    arg("channel", arg_text, channel),
    END
};

const fanout_api_arg_t  fanout_api_records_args[] = {
    path(arg_text, op.channel),
    arg("prefix", arg_text, op.prefix),
    arg("cursor", arg_number, op.cursor),
    arg("limit", arg_number, limit),
    arg("versions", arg_flag, versions),
    END
};

const fanout_api_arg_t  fanout_api_record_args[] = {
    path(arg_text, op.channel),
    RECORD,
    arg("versions", arg_flag, versions),
    END
};

const fanout_api_arg_t  fanout_api_record_put_args[] = {
    path(arg_text, op.channel),
    RECORD,
    CHANGE,
    always("mode", arg_mode, op.mode),
    END
};

const fanout_api_arg_t  fanout_api_record_patch_args[] = {
    path(arg_text, op.channel),
    RECORD,
    CHANGE,
    always("mode", arg_mode, op.mode),
    END
};

const fanout_api_arg_t  fanout_api_record_delete_args[] = {
    path(arg_text, op.channel),
    RECORD,
    CHANGE,
    END
};


const fanout_api_arg_t  fanout_api_locks_args[] = {
    path(arg_text, op.channel),
    arg("cursor", arg_number, op.cursor),
    arg("limit", arg_number, limit),
    END
};

const fanout_api_arg_t  fanout_api_lock_args[] = {
    path(arg_text, op.channel),
    LOCK,
    always("token", arg_token, op.token),
    arg("user", arg_text, op.user),
    END
};

const fanout_api_arg_t  fanout_api_lock_delete_args[] = {
    path(arg_text, op.channel),
    LOCK,
    always("token", arg_token, op.token),
    END
};

const fanout_api_arg_t  fanout_api_denials_args[] = {
    arg("cursor", arg_number, cursor),
    arg("limit", arg_number, limit),
    END
};

const fanout_api_arg_t  fanout_api_denial_args[] = {
    path(arg_text, op.who),
    END
};

const fanout_api_arg_t  fanout_api_denial_put_args[] = {
    path(arg_text, op.who),
    arg("for", arg_positive, op.seconds),
    arg("before", arg_positive, op.before),
    END
};

const fanout_api_arg_t  fanout_api_denial_delete_args[] = {
    path(arg_text, op.who),
    END
};

const fanout_api_arg_t  fanout_api_revoke_args[] = {
    path(arg_text, op.user),
    arg("for", arg_positive, op.seconds),
    arg("before", arg_positive, op.before),
    END
};

const fanout_api_arg_t  fanout_api_reauthorize_args[] = {
    path(arg_text, op.user),
    arg("within", arg_positive, op.within),
    END
};


fanout_error_e
fanout_api_args_check(fanout_api_t *api, const fanout_api_arg_t *arg)
{
    u_char     *p, names[NAMES];
    ngx_str_t   name;

    if (api->request->args.len == 0) {
        return FANOUT_E_NONE;
    }

    p = names;
    *p = '\0';

    for ( /* void */ ; arg && arg->name; arg++) {
        if (arg->name[0]) {
            p = ngx_slprintf(p, names + NAMES - 1, "%s%s",
                             p == names ? "" : " ", arg->name);
            *p = '\0';
        }
    }

    switch (fanout_http_check_args(api->request, (char *) names, &name)) {

    case NGX_DECLINED:
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "there is no argument \"%V\" here%s%s",
                               &name, *names ? "; there are " : "",
                               names);

    case NGX_BUSY:
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the argument \"%V\" is there twice",
                               &name);

    default:
        return FANOUT_E_NONE;
    }
}


fanout_error_e
fanout_api_args_read(fanout_api_t *api, const fanout_api_arg_t *arg,
    fanout_api_args_t *args)
{
    ngx_str_t       value;
    fanout_error_e  error;

    ngx_memzero(args, sizeof(fanout_api_args_t));

    args->limit = FANOUT_API_LIMIT;
    args->store = 1;

    error = FANOUT_E_NONE;

    for ( /* void */ ; arg && arg->name && error == FANOUT_E_NONE; arg++) {

        if (arg->name[0] == '\0') {
            value = api->words[arg->word];

        } else if (api->request->args.len == 0) {
            value.len = 0;

        } else if (fanout_http_arg(api->request, arg->name, &value)
                   == NGX_ERROR)
        {
            return FANOUT_E_INTERNAL;
        }

        if (value.len || arg->always) {
            error = arg->read(api, arg, &value, args);
        }
    }

    return error;
}


/* values */

static fanout_error_e
arg_text(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    *(ngx_str_t *) ((u_char *) args + arg->offset) = *value;

    return FANOUT_E_NONE;
}


static fanout_error_e
arg_number(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    uint64_t  *n;

    n = (uint64_t *) ((u_char *) args + arg->offset);

    return fanout_offset_parse(value, n) == NGX_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "argument \"%s\" is not a number", arg->name);
}


/* 0 stands for none that was given, and has to be told from it. */

static fanout_error_e
arg_positive(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    uint64_t  *n;

    n = (uint64_t *) ((u_char *) args + arg->offset);

    return fanout_offset_parse(value, n) == NGX_OK && *n
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "argument \"%s\" is not a number above 0",
                             arg->name);
}


/* An empty one, or 0, is no "any": whoever sends it has lost the token. */

static fanout_error_e
arg_token(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    uint64_t  *n;

    n = (uint64_t *) ((u_char *) args + arg->offset);

    if (!fanout_http_arg_named(api->request, arg->name)
        || (fanout_offset_parse(value, n) == NGX_OK && *n))
    {
        return FANOUT_E_NONE;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "argument \"%s\" is not a token", arg->name);
}


static fanout_error_e
arg_flag(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    ngx_uint_t  *flag;

    if (value->len != 1 || (value->data[0] != '0' && value->data[0] != '1')) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"%s\" is not 0 or 1", arg->name);
    }

    flag = (ngx_uint_t *) ((u_char *) args + arg->offset);
    *flag = (value->data[0] == '1');

    return FANOUT_E_NONE;
}


static fanout_error_e
arg_json(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    u_char      what[NAMES];
    ngx_str_t  *json;

    json = (ngx_str_t *) ((u_char *) args + arg->offset);

    (void) ngx_snprintf(what, NAMES, "argument \"%s\"%Z", arg->name);

    return fanout_api_json(api, (char *) what, value, json);
}


static fanout_error_e
arg_position(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    if (fanout_position_parse(value, &args->op.epoch, &args->op.offset)
        != NGX_OK)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"%s\" is not epoch:offset",
                               arg->name);
    }

    args->op.positioned = 1;

    return FANOUT_E_NONE;
}


/* An empty base must not become none, which overwrites. */

static fanout_error_e
arg_base(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    args->op.based = fanout_http_arg_named(api->request, arg->name);

    return args->op.based ? arg_number(api, arg, value, args)
                          : FANOUT_E_NONE;
}


static fanout_error_e
arg_mode(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    return fanout_http_arg_named(api->request, arg->name)
           ? fanout_api_mode(api, value, &args->op.mode)
           : FANOUT_E_NONE;
}


/* The key of idempotence has three names, whose values must be the same. */

static fanout_error_e
arg_key(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    ngx_str_t   keys[3], *key;
    ngx_uint_t  i;

    keys[0] = *value;
    ngx_str_null(&keys[1]);
    ngx_str_null(&keys[2]);

    if (fanout_header(api->request, "idempotency-key", &keys[1]) == 2
        || fanout_header(api->request, "fanout-key", &keys[2]) == 2)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the header %s is there twice",
                               keys[2].len ? "Fanout-Key" : "Idempotency-Key");
    }

    key = &args->op.key;

    for (i = 0; i < 3; i++) {

        if (keys[i].len == 0) {
            continue;
        }

        if (key->len == 0) {
            *key = keys[i];

        } else if (key->len != keys[i].len
                   || ngx_memcmp(key->data, keys[i].data, key->len) != 0)
        {
            return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                                   "two keys: of \"key\", "
                                   "Idempotency-Key and Fanout-Key one "
                                   "is enough");
        }
    }

    return FANOUT_E_NONE;
}


/* "to" is "client:ID" or "user:NAME"; to_client and to_user name one each. */

static fanout_error_e
arg_to_user(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    size_t               n;
    ngx_str_t           *to, *of;
    fanout_api_op_t     *op;
    ngx_http_request_t  *r;

    r = api->request;

    op = &args->op;
    op->to_user = *value;

    to = &args->to;

    /* an empty recipient must not become a publish to everybody */

    if ((op->to_client.len == 0 && fanout_http_arg_named(r, "to_client"))
        || (op->to_user.len == 0 && fanout_http_arg_named(r, "to_user"))
        || (to->len == 0 && fanout_http_arg_named(r, "to")))
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "the recipient in \"to\", \"to_client\" or "
                               "\"to_user\" is empty");
    }

    if (to->len == 0) {
        return FANOUT_E_NONE;
    }

    if (op->to_client.len || op->to_user.len) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"to\" beside \"to_client\" or "
                               "\"to_user\"");
    }

    if (to->len > 7 && ngx_strncmp(to->data, "client:", 7) == 0) {
        of = &op->to_client;
        n = 7;

    } else if (to->len > 5 && ngx_strncmp(to->data, "user:", 5) == 0) {
        of = &op->to_user;
        n = 5;

    } else {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"to\" is neither "
                               "\"client:ID\" nor \"user:NAME\"");
    }

    of->data = to->data + n;
    of->len = to->len - n;

    return FANOUT_E_NONE;
}


static fanout_error_e
arg_pattern(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    fanout_pattern_t  *pattern;

    pattern = &args->pattern;

    pattern->size = value->len;
    pattern->data = ngx_pnalloc(api->request->pool, value->len);

    if (pattern->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    return fanout_pattern_append_text(pattern, value->data, value->len)
           == FANOUT_PATTERN_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "argument \"%s\" has a control character",
                             arg->name);
}


/* A cursor that is the client after which a page begins. */

static fanout_error_e
arg_after(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    return fanout_client_parse(value, &args->cursor) == NGX_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "\"%s\" is not one of ours", arg->name);
}


/* words of the path */

static fanout_error_e
arg_channel(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    args->channel = *value;

    return fanout_api_channel(api, &args->channel);
}


static fanout_error_e
arg_client(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    return fanout_client_parse(value, &args->client) == NGX_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "a client is \"c_\" and 16 hex digits");
}


static fanout_error_e
arg_user(fanout_api_t *api, const fanout_api_arg_t *arg, ngx_str_t *value,
    fanout_api_args_t *args)
{
    if (fanout_label_check(value, FANOUT_NAME) != NGX_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "a user has 1 to %d bytes of UTF-8 "
                               "without control characters",
                               FANOUT_NAME);
    }

    args->user_hash = fanout_zone_hash(&api->hub->zone, value->data,
                                       value->len);

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_json(fanout_api_t *api, const char *what, ngx_str_t *text,
    ngx_str_t *value)
{
    int                  type;
    fanout_json_t        json;
    fanout_json_error_t  err;

    type = fanout_json_check(text->data, text->len, FANOUT_JSON_DEPTH, &json,
                             &err);

    if (type == FANOUT_JSON_NO_MEMORY) {
        return FANOUT_E_INTERNAL;
    }

    if (type == FANOUT_JSON_DEPTH_MAX) {
        api->deep = 1;
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "%s nests more than %d arrays and "
                               "objects", what,
                               FANOUT_JSON_DEPTH);
    }

    if (type < 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "%s is not JSON: %s", what,
                               err.reason);
    }

    value->data = ngx_pnalloc(api->request->pool, json.len);
    if (value->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    value->len = fanout_json_minify(value->data, json.data, json.len);

    return FANOUT_E_NONE;
}
