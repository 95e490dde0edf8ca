
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a backend says of a request that connects: its user, profile,
 * permissions and channels.
 */


#include "transport/authorize_connect.h"
#include "base/name.h"
#include "hub/permit_list.h"
#include "session/connect.h"


#define FANOUT_CONNECT_RULES  32                /* members of "permit" */


static const char *take_user(fanout_connect_t *c, u_char **p,
    const fanout_json_t *user);
static const char *take_permit(fanout_connect_t *c, u_char **p,
    const fanout_json_t *permit);
static ngx_uint_t permit_ops(const fanout_json_t *key);
static const char *take_joins(fanout_connect_t *c, u_char **p,
    const fanout_json_t *join);
static const char *take_join(fanout_autojoin_t *to, u_char **p,
    const fanout_json_t *join);


const char *
fanout_authorize_connect(fanout_grant_t *grant,
    const fanout_connect_answer_t *a)
{
    size_t             n, size;
    u_char            *p;
    const char        *wrong;
    fanout_connect_t  *c;

    if (a->user.len + a->info.len + a->permit.len + a->join.len == 0) {
        return NULL;
    }

    if (grant->op != FANOUT_ASK_CONNECT) {
        return "\"user\", \"info\", \"permit\" and \"join\" are of connect";
    }

    n = 0;

    if (a->join.len
        && fanout_json_array(&a->join, NULL, FANOUT_PERMIT_LIST, &n)
           != FANOUT_JSON_OK)
    {
        return "\"join\" is not an array of 256 channels at most";
    }

    if (a->info.len && (fanout_json_type(&a->info) != FANOUT_JSON_OBJECT
                        || a->info.len > FANOUT_ZONE_INFO))
    {
        return "\"info\" is not an object of 4096 bytes at most";
    }

    size = sizeof(fanout_connect_t) + n * sizeof(fanout_autojoin_t)
           + a->user.len + a->info.len + a->join.len + 4 * a->permit.len;

    /* fanout_permit_list_size() is 4 times the length at most */

    c = ngx_alloc(size, ngx_cycle->log);
    if (c == NULL) {
        return "out of memory";
    }

    ngx_memzero(c, sizeof(fanout_connect_t));

    grant->connect = c;
    c->joins = (fanout_autojoin_t *) (c + 1);
    p = (u_char *) (c->joins + n);

    if (a->info.len) {
        c->info.data = p;
        c->info.len = fanout_json_minify(p, a->info.data, a->info.len);
        p += c->info.len;
    }

    wrong = take_user(c, &p, &a->user);

    if (wrong == NULL) {
        wrong = take_joins(c, &p, &a->join);
    }

    return wrong ? wrong : take_permit(c, &p, &a->permit);
}


static const char *
take_user(fanout_connect_t *c, u_char **p, const fanout_json_t *user)
{
    if (user->len == 0) {
        return NULL;
    }

    c->user.data = *p;

    if (fanout_json_string(user, *p, FANOUT_NAME, &c->user.len)
        != FANOUT_JSON_OK
        || fanout_label_check(&c->user, FANOUT_NAME) != NGX_OK)
    {
        return "\"user\" is not a name of 1 to 255 bytes";
    }

    *p += c->user.len;

    return NULL;
}


static const char *
take_joins(fanout_connect_t *c, u_char **p, const fanout_json_t *join)
{
    const char          *wrong;
    fanout_json_t        item;
    fanout_json_iter_t   it;

    if (join->len == 0) {
        return NULL;
    }

    (void) fanout_json_iter(&it, join);

    while (fanout_json_next(&it, NULL, &item) == 1) {
        wrong = take_join(&c->joins[c->njoins++], p, &item);

        if (wrong) {
            return wrong;
        }
    }

    return NULL;
}


/* "news" or {"channel":"news","presence":{...}} */

static const char *
take_join(fanout_autojoin_t *to, u_char **p, const fanout_json_t *join)
{
    fanout_json_t  name, member[2];

    static const fanout_json_field_t  fields[] = {
        { "channel", sizeof("channel") - 1, 0 },
        { "presence", sizeof("presence") - 1, sizeof(fanout_json_t) }
    };

    name = *join;
    ngx_str_null(&to->presence);

    if (fanout_json_type(join) == FANOUT_JSON_OBJECT) {

        if (fanout_json_members(join, fields, 2, member, NULL)
            != FANOUT_JSON_OK)
        {
            return "\"join\" has an object with other members than "
                   "\"channel\" and \"presence\"";
        }

        name = member[0];

        if (member[1].len) {

            if (member[1].len > FANOUT_ZONE_MEMBER) {
                return "\"presence\" of \"join\" is more than 8192 bytes";
            }

            to->presence.data = *p;
            to->presence.len = fanout_json_minify(*p, member[1].data,
                                                  member[1].len);
            *p += to->presence.len;
        }
    }

    to->channel.data = *p;

    if (fanout_json_string(&name, *p, FANOUT_NAME, &to->channel.len)
        != FANOUT_JSON_OK
        || fanout_name_check(&to->channel) != NGX_OK)
    {
        return "\"join\" has what is no channel";
    }

    *p += to->channel.len;

    return NULL;
}


/* {"join,history":["news:*"]} is "fanout_permit join,history news:*". */

static const char *
take_permit(fanout_connect_t *c, u_char **p, const fanout_json_t *permit)
{
    u_char              *end;
    ngx_uint_t           n, ops;
    fanout_json_t        key, list;
    fanout_json_iter_t   it;

    if (permit->len == 0) {
        return NULL;
    }

    if (fanout_json_type(permit) != FANOUT_JSON_OBJECT
        || fanout_json_iter(&it, permit) != FANOUT_JSON_OK)
    {
        return "\"permit\" is not an object";
    }

    c->rules.data = *p;
    n = 0;

    while (fanout_json_next(&it, &key, &list) == 1) {
        ops = permit_ops(&key);

        if (ops == 0 || ++n > FANOUT_CONNECT_RULES) {
            return "\"permit\" has what are no operations, or more than 32 "
                   "members";
        }

        end = fanout_json_type(&list) == FANOUT_JSON_ARRAY
              ? fanout_permit_list(*p, ops, list.data, list.len) : NULL;

        if (end == NULL) {
            return "\"permit\" has what is no array of 256 patterns at most";
        }

        *p = end;
    }

    c->rules.len = *p - c->rules.data;

    return NULL;
}


static ngx_uint_t
permit_ops(const fanout_json_t *key)
{
    u_char       text[128], *p, *last, *comma;
    size_t       len;
    ngx_uint_t   op, ops;

    if (fanout_json_string(key, text, sizeof(text), &len) != FANOUT_JSON_OK) {
        return 0;
    }

    ops = 0;
    last = text + len;

    for (p = text; p <= last; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');
        comma = comma ? comma : last;

        op = fanout_permission(p, comma - p);

        if (op == 0) {
            return 0;
        }

        ops |= op;
    }

    return ops;
}
