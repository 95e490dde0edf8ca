/* sources: src/base/base64.c src/base/id.c src/base/json*.c src/base/name.c */
/* sources: src/base/utf8.c src/dialect/native_*.c t/unit/nginx.c */
/* sources: src/hub/record_decode.c */
/* libs: -lyajl -no-pie -Wl,--unresolved-symbols=ignore-all */
/* cflags: @nginx@ -fno-pie */

/*
 * Commands of the native protocol, as a client sends them in a frame: one, or
 * an array of them.
 *
 * A command is refused for its members exactly if a walk over them says so.
 * What is decoded lies inside the bytes of the command, is within the limits
 * and has the form that the protocol asks for; the id is the one that was sent,
 * also of a command that is refused, and a refusal has a text.  The same bytes
 * at another place, decoded into other memory, come to the same.
 *
 * All that commands do is linked, without what they call: of that only what a
 * publish and a set call is there, for the messages and the changes that they
 * are given.
 */


#include "base/base64.h"
#include "base/id.h"
#include "dialect/native.h"
#include "hook/hook.h"
#include "hub/locks.h"
#include "hub/records.h"
#include "session/members.h"


#define COMMANDS  8
#define BATCH     16
#define LOCKS     60000                 /* ms */

#define must(cond)  do { if (!(cond)) abort(); } while (0)


/* a command that was decoded from a copy of its bytes */

typedef struct {
    u_char                *data;
    size_t                 len;
    fanout_error_e         rc;
    fanout_command_t       cmd;
    fanout_zone_message_t  messages[BATCH];
    ngx_uint_t             n;
    fanout_zone_change_t   changes[FANOUT_ZONE_FIELDS];
    ngx_uint_t             nchanges;
} decoded_t;


static fanout_hub_t        hub;
static uint64_t            counters[FANOUT_NCOUNTERS];
static fanout_loc_conf_t   conf;
static fanout_session_t    session;
static fanout_native_part_t  part;
static decoded_t          *published;           /* NULL: it is not asked for */


/* what a publish calls of other rooms */

ngx_uint_t
fanout_session_may_publish(fanout_session_t *s, ngx_str_t *channel)
{
    return 1;
}


ngx_uint_t
fanout_permissions_match(fanout_permissions_t *p, ngx_uint_t ops,
    ngx_str_t *channel)
{
    return 1;
}


ngx_uint_t
fanout_session_may(fanout_session_t *s, ngx_uint_t ops, ngx_str_t *channel)
{
    return fanout_permissions_match(s->permissions, ops, channel);
}


ngx_uint_t
fanout_session_anonymous(fanout_session_t *s, ngx_str_t *channel)
{
    return 0;
}


void
fanout_session_log_done(fanout_session_t *s, const char *op,
    ngx_str_t *channel, fanout_zstr_t *name, uint64_t offset)
{
}


void
fanout_meter_sender(fanout_session_t *s, fanout_zone_publish_t *opts)
{
}


void
fanout_meter_audience(fanout_session_t *s, ngx_uint_t n,
    uint32_t subscribers)
{
}


ngx_uint_t
fanout_approval_needed(fanout_hub_t *h, ngx_str_t *channel)
{
    return 0;
}


uint64_t
fanout_zone_hash(fanout_zone_t *z, const void *data, size_t len)
{
    return 1;
}


fanout_error_e
fanout_hub_publish(fanout_hub_t *h, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n, fanout_zone_publish_t *opts,
    fanout_zone_result_t *r)
{
    must(n >= 1 && n <= BATCH);

    memcpy(published->messages, m, n * sizeof(fanout_zone_message_t));
    published->n = n;

    memset(r, 0, sizeof(fanout_zone_result_t));

    return FANOUT_E_NONE;
}


/* what a set calls, and the longest time of a lock */

ngx_uint_t
fanout_records_served(fanout_hub_t *h, ngx_str_t *channel)
{
    return 1;
}


ngx_uint_t
fanout_meter_answers(fanout_session_t *s, fanout_limited_t *limited)
{
    return 1;
}


fanout_error_e
fanout_records_set(fanout_hub_t *h, ngx_str_t *channel,
    fanout_zone_set_t *set, fanout_zone_set_result_t *r,
    fanout_records_t **conflicts)
{
    static fanout_records_t  none;

    must(set->n <= FANOUT_ZONE_FIELDS);
    must(set->mode == FANOUT_OVERWRITE || published->cmd.u.record.base >= 0);

    memcpy(published->changes, set->changes,
           set->n * sizeof(fanout_zone_change_t));
    published->nchanges = set->n;

    memset(r, 0, sizeof(fanout_zone_set_result_t));
    *conflicts = &none;

    return FANOUT_E_NONE;
}


uint32_t
fanout_locks_served(fanout_hub_t *h, ngx_str_t *channel)
{
    return LOCKS;
}


static void *
alloc(size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);
    must(p);

    return p;
}


/* decoding */

static void
decode(decoded_t *d, const fanout_json_t *object, ngx_uint_t deep, int fill)
{
    fanout_json_t  copy;

    memset(d, fill, sizeof(decoded_t));

    /* in memory of its own, for the sanitizer to see the bounds */

    d->data = alloc(object->len);
    d->len = object->len;
    d->n = 0;
    d->nchanges = 0;
    memcpy(d->data, object->data, object->len);

    copy.data = d->data;
    copy.len = d->len;

    fanout_native_blank(&d->cmd);

    d->rc = fanout_native_split(&d->cmd, &copy, NULL, deep);

    if (d->rc == FANOUT_E_NONE) {
        d->rc = fanout_native_decode(&session, &d->cmd);
    }
}


/* what must hold */

static int
inside(const decoded_t *d, const void *data, size_t len)
{
    const u_char  *p;

    p = data;

    return len == 0
           || (p >= d->data && p < d->data + d->len
               && len <= (size_t) (d->data + d->len - p));
}


static int
is(const fanout_json_t *name, const char *text, size_t len)
{
    return name->len == len && memcmp(name->data, text, len) == 0;
}


/* The name of a member that a command can have; else len 0. */

static fanout_json_t
name_of(const fanout_json_t *key, u_char *buf)
{
    fanout_json_t  name;

    (void) fanout_json_text(key, buf, FANOUT_KEY, &name);

    return name;
}


/* Whether the members are those that the op may have, each once, and none of
 * them nests too deeply. */

static int
members_fit(const fanout_json_t *object, const fanout_native_op_t *op)
{
    int                  fits;
    u_char               buf[FANOUT_KEY];
    unsigned             levels;
    ngx_uint_t           i, ids, ops, seen[FANOUT_NATIVE_MEMBERS];
    fanout_json_t        key, name, value;
    fanout_json_iter_t   it;

    memset(seen, 0, sizeof(seen));
    must(fanout_json_iter(&it, object) == FANOUT_JSON_OK);

    ids = 0;
    ops = 0;
    fits = 1;

    while (fanout_json_next(&it, &key, &value) == 1) {
        name = name_of(&key, buf);
        levels = FANOUT_JSON_DEPTH;

        if (is(&name, "id", 2)) {
            fits &= (++ids == 1);

        } else if (is(&name, "op", 2)) {
            fits &= (++ops == 1);

        } else {

            for (i = 0; i < op->n; i++) {
                if (is(&name, op->members[i].field.name,
                       op->members[i].field.len))
                {
                    fits &= (++seen[i] == 1);
                    levels += op->members[i].levels;
                    break;
                }
            }

            fits &= (i < op->n);
        }

        fits &= (fanout_json_depth(&value) <= levels);
    }

    return fits;
}


/* The first member of a name, len 0: there is none. */

static fanout_json_t
first(const fanout_json_t *object, const char *text)
{
    u_char               buf[FANOUT_KEY];
    fanout_json_t        key, name, value, none;
    fanout_json_iter_t   it;

    none.data = NULL;
    none.len = 0;

    if (fanout_json_iter(&it, object) != FANOUT_JSON_OK
        || object->data[0] != '{')
    {
        return none;
    }

    while (fanout_json_next(&it, &key, &value) == 1) {
        name = name_of(&key, buf);

        if (is(&name, text, strlen(text))) {
            return value;
        }
    }

    return none;
}


static void
label_holds(const decoded_t *d, const fanout_zstr_t *label)
{
    ngx_str_t  text;

    must(inside(d, label->data, label->len));

    text.data = (u_char *) label->data;
    text.len = label->len;

    must(text.len == 0 || fanout_label_check(&text, FANOUT_KEY) == NGX_OK);
}


static void
json_holds(const decoded_t *d, const fanout_zstr_t *json, size_t max)
{
    u_char         *buf;
    fanout_json_t   value;

    must(inside(d, json->data, json->len));
    must(json->len <= max);

    if (json->len == 0) {
        return;
    }

    must(fanout_json_check(json->data, json->len, FANOUT_JSON_DEPTH, &value,
                           NULL)
         > 0);

    buf = alloc(json->len);
    must(fanout_json_minify(buf, json->data, json->len) == json->len);
    must(memcmp(buf, json->data, json->len) == 0);
    free(buf);
}


static void
to_holds(const decoded_t *d, const fanout_native_to_t *to)
{
    must(!to->client.len || !to->user.len);
    must(inside(d, to->client.data, to->client.len));
    must(inside(d, to->user.data, to->user.len));
    must(to->client.len <= FANOUT_NAME && to->user.len <= FANOUT_NAME);
}


static void
position_holds(const fanout_native_position_t *p)
{
    must(p->set <= 1);
    must(p->set || (p->epoch == 0 && p->offset == 0));
    must(p->offset <= INT64_MAX);
}


static void
join_holds(const decoded_t *d, const fanout_join_cmd_t *c)
{
    ngx_uint_t  i;

    position_holds(&c->since);
    label_holds(d, &c->key);
    json_holds(d, &c->presence.data, conf.presence_size);

    must(c->history >= -1 && c->history <= (ngx_int_t) conf.history);
    must(c->want >= -1
         && c->want <= (FANOUT_WANT_MESSAGES|FANOUT_WANT_SIGNALS
                        |FANOUT_WANT_PRESENCE));
    must(c->token.len == 0 || inside(d, c->token.data, c->token.len));
    must(c->nevents <= FANOUT_NATIVE_EVENTS);
    must(c->filters || c->nevents == 0);

    for (i = 0; i < c->nevents; i++) {
        label_holds(d, &c->events[i]);
    }
}


static void
publish_holds(const decoded_t *d, const fanout_publish_cmd_t *c)
{
    ngx_uint_t  i;

    label_holds(d, &c->key);
    position_holds(&c->condition);
    to_holds(d, &c->to);

    must(inside(d, c->messages.data, c->messages.len));

    for (i = 0; i < FANOUT_MESSAGE_MEMBERS; i++) {
        must(inside(d, c->message[i].data, c->message[i].len));
    }
}


static void
messages_hold(const decoded_t *d)
{
    ngx_uint_t                    i;
    const fanout_zone_message_t  *m;

    for (i = 0; i < d->n; i++) {
        m = &d->messages[i];

        label_holds(d, &m->event);
        label_holds(d, &m->key);
        json_holds(d, &m->meta, FANOUT_META);

        if (m->kind == FANOUT_JSON) {
            must(m->data.len);
            json_holds(d, &m->data, conf.message_size);

        } else {
            must(m->kind == FANOUT_BINARY);
            must(inside(d, m->data.data, m->data.len));
            must(m->data.len <= conf.message_size);
        }
    }
}


/* The names of all fields differ. */

static void
changes_hold(const decoded_t *d)
{
    u_char                      *buf;
    ngx_uint_t                   i, k;
    fanout_json_t                value;
    const fanout_zone_change_t  *c;

    for (i = 0; i < d->nchanges; i++) {
        c = &d->changes[i];

        must(c->name.len);
        label_holds(d, &c->name);

        for (k = 0; k < i; k++) {
            must(c->name.len != d->changes[k].name.len
                 || memcmp(c->name.data, d->changes[k].name.data, c->name.len)
                    != 0);
        }

        if (c->op == FANOUT_FIELD_SET) {
            must(c->value.len);
            json_holds(d, &c->value, d->len);

        } else if (c->op == FANOUT_FIELD_APPEND) {
            must(c->value.len && inside(d, c->value.data, c->value.len));

            buf = alloc(c->value.len + 2);
            buf[0] = '[';
            memcpy(buf + 1, c->value.data, c->value.len);
            buf[c->value.len + 1] = ']';
            must(fanout_json_check(buf, c->value.len + 2,
                                   FANOUT_JSON_DEPTH + 1, &value, NULL)
                 == FANOUT_JSON_ARRAY);
            free(buf);

        } else {
            must(c->op == FANOUT_FIELD_UNSET && c->value.len == 0);
        }
    }
}


static void
record_holds(const decoded_t *d, const fanout_record_cmd_t *c)
{
    must(c->id.len);
    label_holds(d, &c->id);
    label_holds(d, &c->key);

    must(c->base >= -1);
    must(c->mode <= FANOUT_REJECT + 1);
    must(c->n <= FANOUT_ZONE_FIELDS);
    must(c->token <= INT64_MAX);
    must(c->release.len <= FANOUT_NAME);
    must(inside(d, c->release.data, c->release.len));
}


static void
get_holds(const decoded_t *d, const fanout_get_cmd_t *c)
{
    label_holds(d, &c->id);
    label_holds(d, &c->prefix);
    must(c->cursor <= 999999999);
}


static void
lock_holds(const decoded_t *d, const fanout_lock_cmd_t *c)
{
    must(c->name.len && c->name.len <= FANOUT_NAME);
    must(inside(d, c->name.data, c->name.len));
    json_holds(d, &c->data, FANOUT_ZONE_LOCK_DATA);
    must(c->ttl <= LOCKS);
    must(c->wait <= FANOUT_ZONE_LOCK_TIME);
    must(c->token <= INT64_MAX);
}


static void
decoded_holds(const decoded_t *d)
{
    const fanout_command_t    *cmd;
    const fanout_native_op_t  *op;

    cmd = &d->cmd;
    op = cmd->def;

    if (op->n) {
        must(inside(d, cmd->channel.data, cmd->channel.len));
        must(fanout_name_check((ngx_str_t *) &cmd->channel) == NGX_OK);
    }

    if (op == &fanout_native_op_join) {
        join_holds(d, &cmd->u.join);

    } else if (op == &fanout_native_op_publish) {
        publish_holds(d, &cmd->u.publish);

    } else if (op == &fanout_native_op_signal) {
        label_holds(d, &cmd->u.signal.event);
        label_holds(d, &cmd->u.signal.tag);
        json_holds(d, &cmd->u.signal.data, conf.message_size);
        to_holds(d, &cmd->u.signal.to);
        must(cmd->u.signal.event.len);

    } else if (op == &fanout_native_op_history) {
        position_holds(&cmd->u.history.since);
        must(cmd->u.history.limit >= -1
             && cmd->u.history.limit <= (ngx_int_t) conf.history);
        label_holds(d, &cmd->u.history.record);

    } else if (op == &fanout_native_op_presence) {
        label_holds(d, &cmd->u.presence.key);
        json_holds(d, &cmd->u.presence.data.data, conf.presence_size);

    } else if (op == &fanout_native_op_set || op == &fanout_native_op_delete) {
        record_holds(d, &cmd->u.record);

    } else if (op == &fanout_native_op_get) {
        get_holds(d, &cmd->u.get);

    } else if (op == &fanout_native_op_lock || op == &fanout_native_op_unlock) {
        lock_holds(d, &cmd->u.lock);
    }
}


/* What a publish or a set is made of; no reply without an id. */

static void
run(decoded_t *d)
{
    size_t  len;

    if (d->rc != FANOUT_E_NONE) {
        return;
    }

    decoded_holds(d);

    if (d->cmd.def != &fanout_native_op_publish
        && d->cmd.def != &fanout_native_op_set)
    {
        return;
    }

    len = d->cmd.id.len;
    d->cmd.id.len = 0;

    published = d;
    d->rc = d->cmd.def->run(&session, &d->cmd);

    d->cmd.id.len = len;
}


static void
refusal_holds(const decoded_t *d)
{
    fanout_json_t            value;
    const fanout_command_t  *cmd;

    cmd = &d->cmd;

    must(d->rc == FANOUT_E_BAD_REQUEST || d->rc == FANOUT_E_UNKNOWN_OP
         || d->rc == FANOUT_E_TOO_LARGE || d->rc == FANOUT_E_TOO_MANY
         || d->rc == FANOUT_E_RECIPIENT_OFFLINE);

    must(cmd->text.len || d->rc == FANOUT_E_RECIPIENT_OFFLINE);
    must(cmd->text.len <= sizeof(cmd->text_buf));
    must(cmd->data.len <= sizeof(cmd->data_buf));

    must(cmd->data.len == 0
         || fanout_json_check(cmd->data.data, cmd->data.len, 1, &value, NULL)
            == FANOUT_JSON_OBJECT);

    must((d->rc == FANOUT_E_TOO_LARGE || d->rc == FANOUT_E_TOO_MANY)
         == (cmd->data.len != 0));
}


/* Words that are the same, or point to the same place of each. */

static void
same_words(const decoded_t *a, const decoded_t *b, const void *p,
    const void *q, size_t size)
{
    size_t     i;
    uintptr_t  x, y;

    for (i = 0; i + sizeof(x) <= size; i += sizeof(x)) {
        memcpy(&x, (const char *) p + i, sizeof(x));
        memcpy(&y, (const char *) q + i, sizeof(y));

        must(x == y
             || x - (uintptr_t) a->data == y - (uintptr_t) b->data);
    }
}


static void
same(const decoded_t *a, const decoded_t *b)
{
    must(a->rc == b->rc);
    must(a->cmd.def == b->cmd.def);
    must(a->cmd.text.len == b->cmd.text.len);
    must(memcmp(a->cmd.text_buf, b->cmd.text_buf, a->cmd.text.len) == 0);
    must(a->cmd.data.len == b->cmd.data.len);
    must(memcmp(a->cmd.data_buf, b->cmd.data_buf, a->cmd.data.len) == 0);
    must(memcmp(a->data, b->data, a->len) == 0);

    if (a->rc == FANOUT_E_NONE) {
        same_words(a, b, &a->cmd.channel, &b->cmd.channel, sizeof(ngx_str_t));
        same_words(a, b, &a->cmd.u, &b->cmd.u, a->cmd.def->size);
        must(a->n == b->n);
        same_words(a, b, a->messages, b->messages,
                   a->n * sizeof(fanout_zone_message_t));
        must(a->nchanges == b->nchanges);
        same_words(a, b, a->changes, b->changes,
                   a->nchanges * sizeof(fanout_zone_change_t));
    }
}


static void
command_holds(const fanout_json_t *object, ngx_uint_t deep)
{
    int               fits;
    decoded_t        *a, *b;
    fanout_json_t     id, op;

    a = alloc(sizeof(decoded_t));
    b = alloc(sizeof(decoded_t));

    decode(a, object, deep, 0xa5);
    run(a);
    decode(b, object, deep, 0x5a);
    run(b);

    id = first(object, "id");
    op = first(object, "op");

    must(inside(a, a->cmd.id.data, a->cmd.id.len));
    must(a->cmd.id.len == id.len);
    must(id.len == 0 || a->cmd.id.data - a->data == id.data - object->data);
    must(a->cmd.def == (op.len ? fanout_native_op(&op) : NULL));

    fits = a->cmd.def && members_fit(object, a->cmd.def);
    must(fits || a->rc != FANOUT_E_NONE);
    must(fits || a->rc == FANOUT_E_BAD_REQUEST
         || a->rc == FANOUT_E_UNKNOWN_OP);

    if (a->rc == FANOUT_E_NONE) {
        messages_hold(a);
        changes_hold(a);
    }

    if (a->rc != FANOUT_E_NONE) {
        refusal_holds(a);
    }

    same(a, b);

    free(a->data);
    free(b->data);
    free(a);
    free(b);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                  type;
    size_t               i, n;
    unsigned             levels;
    ngx_uint_t           deep;
    fanout_json_t        value, items[COMMANDS];
    fanout_json_error_t  err;

    conf.message_size = 64;
    conf.presence_size = 32;
    conf.history = 100;
    conf.batch = BATCH;
    session.conf = &conf;
    session.hub = &hub;
    session.dialect_part = &part;
    hub.counters = counters;

    type = fanout_json_levels(data, size, &value, &levels, &err);

    if (type <= 0) {
        return 0;
    }

    deep = levels > FANOUT_JSON_DEPTH;

    if (type != FANOUT_JSON_ARRAY) {
        command_holds(&value, deep);
        return 0;
    }

    (void) fanout_json_array(&value, items, COMMANDS, &n);

    for (i = 0; i < n; i++) {
        command_holds(&items[i], deep);
    }

    return 0;
}
