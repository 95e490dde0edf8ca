
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The data of a member with single members of it replaced.
 */


#include "dialect/native.h"


/* a member takes 5 bytes at least: "":0, */
#define FANOUT_FIELDS  (2 * FANOUT_ZONE_MEMBER / 5 + 2)


typedef struct {
    fanout_json_t   key;                /* as it is written */
    fanout_json_t   value;
    const u_char   *name;               /* as it is meant */
    size_t          len;
    uint32_t        at;                 /* its place */
    unsigned        raw:1;              /* the name is the key */
} field_t;


static size_t dialect_merge(u_char *dst, fanout_json_t *old,
    fanout_json_t *patch);
static ngx_uint_t fields_read(ngx_uint_t n, fanout_json_t *object,
    u_char **buf);
static void fields_unite(ngx_uint_t n, ngx_uint_t nold);
static int by_place(const void *one, const void *two);
static int by_name(const field_t *a, const field_t *b);
static u_char *field_write(u_char *p, u_char *dst, field_t *f);


static field_t   fields[FANOUT_FIELDS];
static field_t  *sorted[FANOUT_FIELDS];


const fanout_native_limit_t  fanout_native_presence_size = {
    .name = "presence",
    .directive = "fanout_presence_size",
    .conf = offsetof(fanout_loc_conf_t, presence_size)
};


/* Replaces single members of the data. */

fanout_error_e
fanout_native_presence_merge(fanout_session_t *s, fanout_command_t *cmd,
    fanout_member_t *m)
{
    fanout_json_t          old, patch;
    fanout_member_t        now;
    fanout_zone_channel_t  zc;

    static u_char  buf[FANOUT_ZONE_MEMBER_BUF];
    static u_char  merged[2 * FANOUT_ZONE_MEMBER + 8];

    patch.data = m->data.data;
    patch.len = m->data.len;

    if (patch.len == 0) {
        patch.data = (u_char *) "{}";
        patch.len = 2;
    }

    if (fanout_json_type(&patch) != FANOUT_JSON_OBJECT) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "\"data\" is an object where it is to "
                                  "merge");
    }

    old.data = (u_char *) "{}";
    old.len = 2;

    fanout_hub_view(s->hub, &cmd->channel, &zc);

    m->was.len = 0;

    if (fanout_member_get(&s->hub->zone, &zc, s->identity.client,
                          &m->key, &now, buf)
        == FANOUT_ZONE_OK)
    {
        m->was = now.data;

        if (now.data.len && now.data.data[0] == '{') {
            old.data = now.data.data;
            old.len = now.data.len;
        }
    }

    m->data.data = merged;
    m->data.len = dialect_merge(merged, &old, &patch);

    if (m->data.len == 2) {
        m->data.len = 0;
    }

    return fanout_native_within(s, cmd, &fanout_native_presence_size,
                                m->data.len);
}


/* Members keep their places, new ones follow; null removes.  Of members of the
 * same name the last one counts. */

static size_t
dialect_merge(u_char *dst, fanout_json_t *old, fanout_json_t *patch)
{
    u_char         *p, *buf;
    ngx_uint_t      i, n, nold;

    static u_char   names[2 * FANOUT_ZONE_MEMBER];

    buf = names;
    nold = fields_read(0, old, &buf);
    n = fields_read(nold, patch, &buf);

    fields_unite(n, nold);

    p = dst;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        p = field_write(p, dst, &fields[i]);
    }

    *p++ = '}';

    return p - dst;
}


/* Half a surrogate pair has no other way to be written than as it is. */

static ngx_uint_t
fields_read(ngx_uint_t n, fanout_json_t *object, u_char **buf)
{
    field_t             *f;
    fanout_json_iter_t   it;

    (void) fanout_json_iter(&it, object);

    for ( /* void */ ; n < FANOUT_FIELDS; n++) {
        f = &fields[n];

        if (fanout_json_next(&it, &f->key, &f->value) != 1) {
            break;
        }

        f->at = n;
        f->raw = 0;

        if (fanout_json_string(&f->key, *buf, f->key.len, &f->len)
            == FANOUT_JSON_OK)
        {
            f->name = *buf;
            *buf += f->len;

        } else {
            f->name = f->key.data;
            f->len = f->key.len;
            f->raw = 1;
        }
    }

    return n;
}


/* The first of a name gets the value of the last one, the others none. */

static void
fields_unite(ngx_uint_t n, ngx_uint_t nold)
{
    field_t     *first, *f;
    ngx_uint_t   i;

    for (i = 0; i < n; i++) {
        sorted[i] = &fields[i];
    }

    ngx_qsort(sorted, n, sizeof(field_t *), by_place);

    for (i = 0; i < n; /* void */ ) {
        first = sorted[i];
        f = first;

        for (i++; i < n && by_name(sorted[i], first) == 0; i++) {
            f = sorted[i];
            first->value = f->value;
            f->value.len = 0;
        }

        if (f->at >= nold
            && fanout_json_type(&first->value)
               == FANOUT_JSON_NULL)
        {
            first->value.len = 0;
        }
    }
}


static int
by_place(const void *one, const void *two)
{
    int             rc;
    const field_t  *a, *b;

    a = *(field_t *const *) one;
    b = *(field_t *const *) two;
    rc = by_name(a, b);

    return rc ? rc : (a->at < b->at ? -1 : 1);
}


static int
by_name(const field_t *a, const field_t *b)
{
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }

    if (a->raw != b->raw) {
        return a->raw ? -1 : 1;
    }

    return ngx_memcmp(a->name, b->name, a->len);
}


static u_char *
field_write(u_char *p, u_char *dst, field_t *f)
{
    if (f->value.len == 0) {
        return p;
    }

    if (p - dst > 1) {
        *p++ = ',';
    }

    p = ngx_cpymem(p, f->key.data, f->key.len);
    *p++ = ':';

    return ngx_cpymem(p, f->value.data, f->value.len);
}
