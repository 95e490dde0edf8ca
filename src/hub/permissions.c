
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Permissions.  The rules of a location are evaluated once, at the
 * handshake, into one string: for each rule a byte of operations, two bytes
 * of length and the compiled pattern.  Equal strings are shared by all
 * sessions of the worker.
 */


#include "hub/hub.h"
#include "base/pattern.h"
#include "hub/permit_list.h"


static size_t rule_size(ngx_http_request_t *r, fanout_permit_t *permit);
static u_char *rule_pack(ngx_http_request_t *r, fanout_permit_t *permit,
    u_char *p, size_t size);
static u_char *rule_list(ngx_http_request_t *r, fanout_permit_t *permit,
    u_char *p);
static ngx_http_variable_value_t *rule_variable(ngx_http_request_t *r,
    fanout_permit_t *permit);
static ngx_uint_t ambiguous(fanout_permit_t *permit, ngx_uint_t i,
    ngx_http_variable_value_t *v);
static ngx_uint_t has_separator(ngx_http_variable_value_t *v, u_char *p,
    u_char *last);
static void log_ambiguous(ngx_http_request_t *r, fanout_permit_t *permit);
static void log_nameless(ngx_http_request_t *r, fanout_permit_t *permit);
static fanout_permissions_t *intern(u_char *data, size_t len);


static const struct {
    ngx_str_t   name;
    ngx_uint_t  op;
} operations[] = {
    { ngx_string("join"), FANOUT_MAY_JOIN },
    { ngx_string("publish"), FANOUT_MAY_PUBLISH },
    { ngx_string("history"), FANOUT_MAY_HISTORY },
    { ngx_string("presence"), FANOUT_MAY_PRESENCE },
    { ngx_string("signal"), FANOUT_MAY_SIGNAL },
    { ngx_string("record"), FANOUT_MAY_RECORD },
    { ngx_string("lock"), FANOUT_MAY_LOCK },
    { ngx_string("profile"), FANOUT_MAY_PROFILE },
    { ngx_string("all"), FANOUT_MAY_ALL },
    { ngx_null_string, 0 }
};

static ngx_rbtree_t       interned;
static ngx_rbtree_node_t  interned_sentinel;


ngx_uint_t
fanout_permission(const u_char *name, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; operations[i].op; i++) {
        if (operations[i].name.len == len
            && ngx_memcmp(operations[i].name.data, name, len) == 0)
        {
            break;
        }
    }

    return operations[i].op;
}


void
fanout_permission_name(ngx_uint_t op, ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; operations[i].op; i++) {
        if (operations[i].op == op) {
            break;
        }
    }

    *name = operations[i].name;
}


fanout_permissions_t *
fanout_permissions_create(ngx_http_request_t *r, ngx_array_t *permits,
    ngx_str_t *more)
{
    size_t            size;
    u_char           *p, *data;
    ngx_uint_t        i, n;
    fanout_permit_t  *permit;

    n = permits ? permits->nelts : 0;
    permit = permits ? permits->elts : NULL;
    size = more ? more->len : 0;

    for (i = 0; i < n; i++) {
        size += rule_size(r, &permit[i]);
    }

    if (size == 0) {
        return intern(NULL, 0);
    }

    data = ngx_pnalloc(r->pool, size);
    if (data == NULL) {
        return NULL;
    }

    p = data;

    for (i = 0; i < n; i++) {
        p = rule_pack(r, &permit[i], p, data + size - p);
    }

    if (more && more->len) {
        p = ngx_cpymem(p, more->data, more->len);
    }

    return intern(data, p - data);
}


static size_t
rule_size(ngx_http_request_t *r, fanout_permit_t *permit)
{
    size_t                      size;
    ngx_uint_t                  i;
    fanout_part_t              *part;
    ngx_http_variable_value_t  *v;

    if (permit->list) {
        v = rule_variable(r, permit);
        return v ? fanout_permit_list_size(v->len) : 0;
    }

    size = FANOUT_RULE_HEAD;
    part = permit->parts->elts;

    for (i = 0; i < permit->parts->nelts; i++) {
        if (part[i].variable == -1) {
            size += part[i].text.len;
            continue;
        }

        v = ngx_http_get_indexed_variable(r, part[i].variable);
        size += (v && !v->not_found) ? v->len : 0;
    }

    return size;
}


/* a rule that can't be evaluated grants nothing: it is left out */

static u_char *
rule_pack(ngx_http_request_t *r, fanout_permit_t *permit, u_char *p,
    size_t size)
{
    int                          rc;
    ngx_uint_t                   i;
    fanout_part_t               *part;
    fanout_pattern_t             pattern;
    ngx_http_variable_value_t   *v;

    if (permit->list) {
        return rule_list(r, permit, p);
    }

    pattern.data = p + FANOUT_RULE_HEAD;
    pattern.len = 0;
    pattern.size = ngx_min(size - FANOUT_RULE_HEAD, 65535);

    part = permit->parts->elts;

    for (i = 0; i < permit->parts->nelts; i++) {

        if (part[i].variable == -1) {
            rc = fanout_pattern_append_text(&pattern,
                                       part[i].text.data, part[i].text.len);

        } else {
            v = ngx_http_get_indexed_variable(r, part[i].variable);

            if (v && !v->not_found && ambiguous(permit, i, v)) {
                log_ambiguous(r, permit);
                return p;
            }

            rc = (v == NULL || v->not_found)
                 ? FANOUT_PATTERN_EMPTY
                 : fanout_pattern_append_literal(&pattern, v->data, v->len);
        }

        if (rc != FANOUT_PATTERN_OK) {
            log_nameless(r, permit);
            return p;
        }
    }

    return fanout_rule(p, permit->ops, pattern.len);
}


static u_char *
rule_list(ngx_http_request_t *r, fanout_permit_t *permit, u_char *p)
{
    u_char                     *end;
    ngx_http_variable_value_t  *v;

    v = rule_variable(r, permit);

    if (v == NULL) {
        return p;
    }

    end = fanout_permit_list(p, permit->ops, v->data, v->len);

    if (end == NULL) {
        log_nameless(r, permit);
    }

    return end ? end : p;
}


/* The variable of a list, NULL if it has no value. */

static ngx_http_variable_value_t *
rule_variable(ngx_http_request_t *r, fanout_permit_t *permit)
{
    fanout_part_t              *part;
    ngx_http_variable_value_t  *v;

    part = permit->parts->elts;
    v = ngx_http_get_indexed_variable(r,
                                part[permit->parts->nelts - 1].variable);

    return v && !v->not_found && v->len ? v : NULL;
}


/*
 * With "user:$user:*" the user "a" would be permitted on the channels of the
 * user "a:b".  So a rule grants nothing if the value contains the separator
 * before or after the variable.
 */

static ngx_uint_t
ambiguous(fanout_permit_t *permit, ngx_uint_t i, ngx_http_variable_value_t *v)
{
    u_char         *p, *last;
    fanout_part_t  *part;

    if (permit->separators) {
        return 0;
    }

    part = permit->parts->elts;

    if (i && part[i - 1].variable == -1) {
        last = part[i - 1].text.data + part[i - 1].text.len;

        for (p = last - 1; p > part[i - 1].text.data; p--) {
            if ((*p & 0xc0) != 0x80) {
                break;
            }
        }

        if (has_separator(v, p, last)) {
            return 1;
        }
    }

    if (i + 1 == permit->parts->nelts || part[i + 1].variable != -1) {
        return 0;
    }

    p = part[i + 1].text.data;

    for (last = p + 1; last < p + part[i + 1].text.len; last++) {
        if ((*last & 0xc0) != 0x80) {
            break;
        }
    }

    return has_separator(v, p, last);
}


/* p to last is one character of UTF-8.  ASCII letters, digits and wildcards are
 * no separators. */

static ngx_uint_t
has_separator(ngx_http_variable_value_t *v, u_char *p, u_char *last)
{
    u_char  *s, *end;

    if ((*p >= '0' && *p <= '9')
        || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || *p == '*')
    {
        return 0;
    }

    end = v->data + v->len;

    for (s = v->data; s + (last - p) <= end; s++) {
        if (ngx_memcmp(s, p, last - p) == 0) {
            return 1;
        }
    }

    return 0;
}


/* At most once a second: any user may have such a name, and connect
 * repeatedly. */

static void
log_ambiguous(ngx_http_request_t *r, fanout_permit_t *permit)
{
    static time_t  last;

    if (last == ngx_time()) {
        return;
    }

    last = ngx_time();

    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                  "fanout_permit \"%V\" grants nothing to this client: a "
                  "variable in it contains the separator beside it, see "
                  "\"separators=\"", &permit->text);
}


static void
log_nameless(ngx_http_request_t *r, fanout_permit_t *permit)
{
    static time_t  last;

    if (last == ngx_time()) {
        return;
    }

    last = ngx_time();

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "fanout_permit \"%V\" grants nothing to this client: a "
                  "variable in it is empty, or not a %s", &permit->text,
                  permit->list ? "list of patterns" : "name");
}


ngx_int_t
fanout_permissions_name(ngx_http_request_t *r, fanout_permit_t *pattern,
    ngx_str_t *name)
{
    u_char                     *p;
    ngx_uint_t                  i;
    fanout_part_t              *part;
    ngx_http_variable_value_t  *v;

    p = ngx_pnalloc(r->pool, rule_size(r, pattern));
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->data = p;
    part = pattern->parts->elts;

    for (i = 0; i < pattern->parts->nelts; i++) {

        if (part[i].variable == -1) {
            p = ngx_cpymem(p, part[i].text.data, part[i].text.len);
            continue;
        }

        v = ngx_http_get_indexed_variable(r, part[i].variable);

        if (v == NULL || v->not_found || v->len == 0) {
            p = name->data;
            break;
        }

        p = ngx_cpymem(p, v->data, v->len);
    }

    name->len = p - name->data;

    if (fanout_name_check(name) != NGX_OK) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "fanout_autojoin \"%V\" joins nothing for this client:"
                      " a variable in it is empty or not a name",
                      &pattern->text);
        name->len = 0;
    }

    return NGX_OK;
}


static fanout_permissions_t *
intern(u_char *data, size_t len)
{
    uint32_t               hash;
    ngx_str_t              s;
    fanout_permissions_t  *a;

    if (interned.root == NULL) {
        ngx_rbtree_init(&interned, &interned_sentinel,
                        ngx_str_rbtree_insert_value);
    }

    s.data = data;
    s.len = len;
    hash = ngx_murmur_hash2(data, len);

    a = (fanout_permissions_t *) ngx_str_rbtree_lookup(&interned, &s, hash);
    if (a) {
        a->refs++;
        return a;
    }

    a = ngx_alloc(sizeof(fanout_permissions_t) + len, ngx_cycle->log);
    if (a == NULL) {
        return NULL;
    }

    a->refs = 1;
    a->node.node.key = hash;
    a->node.str.len = len;
    a->node.str.data = (u_char *) (a + 1);

    if (len) {
        ngx_memcpy(a->node.str.data, data, len);
    }

    ngx_rbtree_insert(&interned, &a->node.node);

    return a;
}


void
fanout_permissions_release(fanout_permissions_t *a)
{
    if (--a->refs == 0) {
        ngx_rbtree_delete(&interned, &a->node.node);
        ngx_free(a);
    }
}


ngx_uint_t
fanout_permissions_match(fanout_permissions_t *a, ngx_uint_t op,
    ngx_str_t *channel)
{
    size_t   len;
    u_char  *p, *last;

    p = a->node.str.data;
    last = p + a->node.str.len;

    while (p < last) {
        len = (size_t) p[1] << 8 | p[2];

        if ((p[0] & op)
            && fanout_pattern_match(p + FANOUT_RULE_HEAD,
                                    len, channel->data,
                                    channel->len))
        {
            return 1;
        }

        p += FANOUT_RULE_HEAD + len;
    }

    return 0;
}


ngx_int_t
fanout_permit_ops(const fanout_json_t *array)
{
    u_char              buf[16];
    ngx_int_t           ops;
    ngx_uint_t          op;
    fanout_json_t       item, text;
    fanout_json_iter_t  it;

    if (fanout_json_type(array) != FANOUT_JSON_ARRAY
        || fanout_json_iter(&it, array) != FANOUT_JSON_OK)
    {
        return NGX_ERROR;
    }

    ops = 0;

    while (fanout_json_next(&it, NULL, &item) == 1) {

        op = fanout_json_text(&item, buf, sizeof(buf), &text) == FANOUT_JSON_OK
             ? fanout_permission(text.data, text.len) : 0;

        if (op == 0) {
            return NGX_ERROR;
        }

        ops |= op;
    }

    return ops;
}
