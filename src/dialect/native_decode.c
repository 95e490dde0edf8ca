
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * How commands of the native protocol are decoded by the tables of their
 * members.
 */


#include "base/id.h"
#include "dialect/native.h"


/* Members of an object that are looked at: more than a command can have, so
 * that one of these is wrong if there are still others. */
#define FANOUT_NATIVE_PAIRS  32

/* bytes of names that were sent with escapes, of all and of one */
#define FANOUT_NATIVE_NAMES  512
#define FANOUT_NATIVE_NAME   32


typedef struct {
    fanout_json_t   key;                /* as it was sent, with the quotes */
    fanout_json_t   name;               /* unescaped, len 0: nobody's */
    fanout_json_t   value;
    ngx_uint_t      envelope;           /* it is "id" or "op" */
} pair_t;

typedef struct {
    fanout_json_t   epoch;
    fanout_json_t   offset;
} position_t;


static ngx_uint_t split_pairs(fanout_command_t *cmd, fanout_json_t *object,
    pair_t *pairs, u_char *names, ngx_uint_t *twice);
static fanout_json_t *split_envelope(fanout_command_t *cmd,
    fanout_json_t *name);
static fanout_error_e split_fault(fanout_command_t *cmd, fanout_json_t *object,
    pair_t *pairs, ngx_uint_t n, ngx_uint_t deep);
static fanout_error_e split_unknown(fanout_command_t *cmd,
    fanout_json_t *object, pair_t *pairs, ngx_uint_t n);
static const fanout_native_member_t *split_anywhere(fanout_json_t *name);
static ngx_uint_t split_member(const fanout_native_member_t *members,
    ngx_uint_t n, fanout_json_t *name);
static int decode_text(fanout_json_t *value, size_t max, ngx_str_t *text);


static const fanout_json_field_t  position_fields[] = {
    fanout_json_field("epoch", position_t, epoch),
    fanout_json_field("offset", position_t, offset)
};


/* finding members */

fanout_error_e
fanout_native_split(fanout_command_t *cmd, fanout_json_t *object,
    const fanout_native_op_t *def, ngx_uint_t deep)
{
    pair_t      pairs[FANOUT_NATIVE_PAIRS];
    u_char      names[FANOUT_NATIVE_NAMES];
    ngx_uint_t  i, k, n, wrong;

    if (fanout_json_type(object) != FANOUT_JSON_OBJECT) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "a command is an object");
    }

    n = split_pairs(cmd, object, pairs, names, &wrong);

    cmd->def = def ? def : fanout_native_op(&cmd->op);

    if (cmd->def == NULL) {
        return split_fault(cmd, object, pairs, n, deep);
    }

    ngx_memzero(cmd->members, cmd->def->n * sizeof(fanout_json_t));

    for (i = 0; i < n && !wrong; i++) {

        if (pairs[i].envelope) {
            continue;
        }

        k = split_member(cmd->def->members, cmd->def->n, &pairs[i].name);
        wrong = (k == cmd->def->n || cmd->members[k].len);

        if (!wrong) {
            cmd->members[k] = pairs[i].value;
        }
    }

    return wrong || deep ? split_fault(cmd, object, pairs, n, deep)
                         : FANOUT_E_NONE;
}


/* "id" and "op" are found also behind the last pair that is kept. */

static ngx_uint_t
split_pairs(fanout_command_t *cmd, fanout_json_t *object, pair_t *pairs,
    u_char *names, ngx_uint_t *twice)
{
    u_char              *p;
    pair_t               pair;
    ngx_uint_t           n;
    fanout_json_t       *slot;
    fanout_json_iter_t   it;

    n = 0;
    p = names;
    *twice = 0;

    (void) fanout_json_iter(&it, object);

    while (fanout_json_next(&it, &pair.key, &pair.value) == 1) {

        (void) fanout_json_text(&pair.key, p,
                                ngx_min(FANOUT_NATIVE_NAME,
                                        names + FANOUT_NATIVE_NAMES - p),
                                &pair.name);

        if (pair.name.data == p) {
            p += pair.name.len;
        }

        slot = split_envelope(cmd, &pair.name);
        pair.envelope = (slot != NULL);

        if (slot) {
            *twice |= (slot->len != 0);
            *slot = slot->len ? *slot : pair.value;
        }

        if (n < FANOUT_NATIVE_PAIRS) {
            pairs[n++] = pair;
        }
    }

    return n;
}


static fanout_json_t *
split_envelope(fanout_command_t *cmd, fanout_json_t *name)
{
    if (name->len != 2) {
        return NULL;
    }

    return ngx_memcmp(name->data, "id", 2) == 0 ? &cmd->id
           : ngx_memcmp(name->data, "op", 2) == 0 ? &cmd->op : NULL;
}


/* What is wrong with the members; NONE if that is only that some are deep, but
 * not too deep. */

static fanout_error_e
split_fault(fanout_command_t *cmd, fanout_json_t *object, pair_t *pairs,
    ngx_uint_t n, ngx_uint_t deep)
{
    unsigned                       levels;
    ngx_uint_t                     i;
    fanout_error_e                 rc;
    const fanout_native_member_t  *m;

    rc = split_unknown(cmd, object, pairs, n);

    if (rc != FANOUT_E_NONE) {
        return rc;
    }

    for (i = 0; i < n && deep; i++) {
        m = split_anywhere(&pairs[i].name);
        levels = FANOUT_JSON_DEPTH + (m ? m->levels : 0);

        if (fanout_json_depth(&pairs[i].value) > levels) {
            cmd->misplaced = m ? m->name : "op";
            return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                      "\"%s\" nests more than %d arrays and "
                                      "objects", cmd->misplaced,
                                      FANOUT_JSON_DEPTH);
        }
    }

    if (cmd->def == NULL) {
        return cmd->op.len
               ? fanout_native_fail(cmd, FANOUT_E_UNKNOWN_OP,
                     "there is no such op; there are publish, signal, join, "
                     "leave, history, presence, members and ping")
               : fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                    "\"op\" is missing");
    }

    for (i = 0; i < n; i++) {

        if (!pairs[i].envelope
            && split_member(cmd->def->members, cmd->def->n, &pairs[i].name)
               == cmd->def->n)
        {
            cmd->misplaced = split_anywhere(&pairs[i].name)->name;
            return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                      "\"%s\" is not a member of \"%V\"",
                                      cmd->misplaced, &cmd->def->name);
        }
    }

    return FANOUT_E_NONE;
}


/* One that no command has, or that is there twice. */

static fanout_error_e
split_unknown(fanout_command_t *cmd, fanout_json_t *object, pair_t *pairs,
    ngx_uint_t n)
{
    int                  rc;
    ngx_uint_t           i, k;
    fanout_json_error_t  err;

    rc = FANOUT_JSON_OK;

    for (i = 0; i < n && rc == FANOUT_JSON_OK; i++) {

        if (!pairs[i].envelope && split_anywhere(&pairs[i].name) == NULL) {
            rc = FANOUT_JSON_UNKNOWN;
        }

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

    return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST, "%s", err.reason);
}


/* The member of any command. */

static const fanout_native_member_t *
split_anywhere(fanout_json_t *name)
{
    ngx_uint_t                 i, k;
    const fanout_native_op_t  *op;

    for (i = 0; (op = fanout_native_op_at(i)) != NULL; i++) {
        k = split_member(op->members, op->n, name);

        if (k < op->n) {
            return &op->members[k];
        }
    }

    return NULL;
}


/* Its place in the table, n: it is not there. */

static ngx_uint_t
split_member(const fanout_native_member_t *members, ngx_uint_t n,
    fanout_json_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (members[i].len == name->len
            && ngx_memcmp(members[i].name, name->data, name->len) == 0)
        {
            break;
        }
    }

    return i;
}


ngx_uint_t
fanout_native_find(const fanout_native_member_t *members, ngx_uint_t n,
    fanout_json_t *object, fanout_json_t *spans)
{
    u_char              buf[FANOUT_NATIVE_NAME];
    ngx_uint_t          i, wrong;
    fanout_json_t       key, name, value;
    fanout_json_iter_t  it;

    ngx_memzero(spans, n * sizeof(fanout_json_t));

    wrong = fanout_json_type(object) != FANOUT_JSON_OBJECT
            || fanout_json_iter(&it, object) != FANOUT_JSON_OK;

    while (!wrong && fanout_json_next(&it, &key, &value) == 1) {
        (void) fanout_json_text(&key, buf, sizeof(buf), &name);

        i = split_member(members, n, &name);
        wrong = (i == n || spans[i].len);

        if (!wrong) {
            spans[i] = value;
        }
    }

    return !wrong;
}


/* decoding them */

fanout_error_e
fanout_native_decode(fanout_session_t *s, fanout_command_t *cmd)
{
    ngx_memzero(&cmd->u, cmd->def->size);

    return fanout_native_read(s, cmd, cmd->def->members, cmd->def->n,
                              cmd->members, cmd);
}


fanout_error_e
fanout_native_read(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *members, ngx_uint_t n, fanout_json_t *spans,
    void *base)
{
    ngx_uint_t                     i;
    fanout_error_e                 rc;
    const fanout_native_member_t  *m;

    rc = FANOUT_E_NONE;

    for (i = 0; i < n && rc == FANOUT_E_NONE; i++) {
        m = &members[i];

        if (spans[i].len || m->required) {
            rc = m->read(s, cmd, m, &spans[i], base);

        } else if (m->absent) {
            *(ngx_int_t *) fanout_native_dst(base, m) = m->absent;
        }
    }

    return rc;
}


/* The unescaped text overwrites the string that was received. */

static int
decode_text(fanout_json_t *value, size_t max, ngx_str_t *text)
{
    int            rc;
    fanout_json_t  raw;

    rc = fanout_json_text(value, (u_char *) value->data, max, &raw);

    text->data = (u_char *) raw.data;
    text->len = raw.len;

    return rc;
}


fanout_error_e
fanout_native_read_channel(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    ngx_str_t  *name;

    name = fanout_native_dst(base, m);

    if (name->len
        || (decode_text(value, FANOUT_NAME, name) == FANOUT_JSON_OK
            && fanout_name_check(name) == NGX_OK))
    {
        return FANOUT_E_NONE;
    }

    return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
               "\"channel\" is a name: a string of 1 to 255 bytes of UTF-8 "
               "without control characters and \"*\"");
}


fanout_error_e
fanout_native_read_raw(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    *(fanout_json_t *) fanout_native_dst(base, m) = *value;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_flag(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int  flag;

    if (fanout_json_bool(value, &flag) != FANOUT_JSON_OK) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is true or false", m->name);
    }

    *(ngx_flag_t *) fanout_native_dst(base, m) = flag;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_count(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    size_t   max;
    int64_t  i;

    if (fanout_json_int(value, &i) != FANOUT_JSON_OK || i < 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is a number from 0 on", m->name);
    }

    max = m->limit ? fanout_native_most(s, m->limit) : NGX_MAX_INT_T_VALUE;

    if ((uint64_t) i > max) {
        return fanout_native_fail_limit(cmd, FANOUT_E_TOO_MANY, m->name, max,
                                        "fanout_history");
    }

    *(ngx_uint_t *) fanout_native_dst(base, m) = i;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_label(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    ngx_str_t       text;
    fanout_zstr_t  *label;

    if (value->len == 0) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"%s\" is missing", m->name);
    }

    if (decode_text(value, FANOUT_KEY, &text) != FANOUT_JSON_OK
        || fanout_label_check(&text, FANOUT_KEY) != NGX_OK)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"%s\" is a string of 1 to 128 bytes of UTF-8 without "
                   "control characters", m->name);
    }

    label = fanout_native_dst(base, m);
    label->data = text.data;
    label->len = text.len;

    return FANOUT_E_NONE;
}


/* an epoch that is no epoch of ours is one that is not known any more */

fanout_error_e
fanout_native_read_position(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    int64_t                    n;
    ngx_str_t                  epoch;
    position_t                 p;
    fanout_native_position_t  *position;

    if (fanout_json_members(value, position_fields,
                            fanout_nelts(position_fields), &p, NULL)
        != FANOUT_JSON_OK
        || fanout_json_int(&p.offset, &n) != FANOUT_JSON_OK
        || n < 0
        || decode_text(&p.epoch, FANOUT_KEY, &epoch) != FANOUT_JSON_OK)
    {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                   "\"%s\" is {\"epoch\":string,\"offset\":number}", m->name);
    }

    position = fanout_native_dst(base, m);

    if (fanout_epoch_parse(&epoch, &position->epoch) != NGX_OK) {
        position->epoch = 0;
    }

    position->offset = n;
    position->set = 1;

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_native_read_json(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_member_t *m, fanout_json_t *value, void *base)
{
    fanout_zstr_t   *text;
    fanout_error_e   rc;

    /* blanks count: there are not many in what is small */

    rc = fanout_native_within(s, cmd, m->limit, value->len);

    if (rc == FANOUT_E_NONE) {
        text = fanout_native_dst(base, m);
        text->data = value->data;
        text->len = fanout_json_minify((u_char *) value->data, value->data,
                                       value->len);
    }

    return rc;
}


/* limits */

size_t
fanout_native_most(fanout_session_t *s, const fanout_native_limit_t *limit)
{
    size_t  max;

    max = limit->max ? limit->max : NGX_MAX_SIZE_T_VALUE;

    if (limit->conf) {
        max = ngx_min(max, *(size_t *) ((u_char *) s->conf + limit->conf));
    }

    return max;
}


fanout_error_e
fanout_native_within(fanout_session_t *s, fanout_command_t *cmd,
    const fanout_native_limit_t *limit, size_t len)
{
    size_t  max;

    max = fanout_native_most(s, limit);

    return len <= max ? FANOUT_E_NONE
                      : fanout_native_fail_limit(cmd, FANOUT_E_TOO_LARGE,
                                                 limit->name, max,
                                                 limit->directive);
}
