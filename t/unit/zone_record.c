
/*
 * Sets written as text, and records as text.
 */


#include <stdarg.h>

#include "zone_record.h"


#define BYTES  (3 * FANOUT_ZONE_RECORD_SIZE)


fanout_zone_set_result_t  was;
char                      conflict[BYTES];
uint32_t                  record_seen;

static uint8_t            bytes[BYTES];
static char               text[BYTES];


static fanout_zstr_t
str(const char *s)
{
    fanout_zstr_t  z;

    z.data = (const uint8_t *) s;
    z.len = s ? strlen(s) : 0;

    return z;
}


static unsigned
changes_of(const char *s, fanout_zone_change_t *c)
{
    char        end;
    size_t      n;
    unsigned    i;

    for (i = 0; s && *s; i++) {
        memset(&c[i], 0, sizeof(fanout_zone_change_t));

        if (*s == '-') {
            c[i].op = FANOUT_FIELD_UNSET;
            s++;
        }

        c[i].name.data = (const uint8_t *) s;
        n = strcspn(s, "=+ ");
        c[i].name.len = n;
        end = s[n];
        s += n;

        if (end == '=' || end == '+') {
            c[i].op = end == '=' ? FANOUT_FIELD_SET : FANOUT_FIELD_APPEND;
            s++;
            n = strcspn(s, " ");
            c[i].value.data = (const uint8_t *) s;
            c[i].value.len = n;
            s += n;
        }

        s += *s == ' ';
    }

    return i;
}


int
record_set(fanout_zone_t *z, fanout_zone_channel_t *c, const set_t *s)
{
    int                    rc;
    const uint8_t         *p;
    fanout_record_t        r;
    fanout_records_t       to;
    fanout_zone_set_t      set;
    fanout_zone_publish_t  opts;
    fanout_zone_change_t   changes[FANOUT_ZONE_FIELDS + 1];

    memset(&set, 0, sizeof(fanout_zone_set_t));
    memset(&opts, 0, sizeof(fanout_zone_publish_t));
    memset(&to, 0, sizeof(fanout_records_t));

    set.id = str(s->id);
    set.changes = changes;
    set.n = changes_of(s->text, changes);
    set.user = str(s->user);
    set.opts = &opts;
    set.create = s->create;
    set.exact = s->exact;
    set.whole = s->whole;
    set.release = str(s->release);
    set.client = s->client;
    set.token = s->token;
    set.backend = s->client == 0;
    set.guard_off = s->guard_off;
    opts.key = str(s->key);
    opts.record = 1;
    opts.address = s->address;

    if (s->base >= 0) {
        set.base = s->base;
        set.mode = s->reject ? FANOUT_REJECT : FANOUT_MERGE;
    }

    to.bytes = bytes;
    to.size = sizeof(bytes);
    conflict[0] = '\0';

    rc = fanout_record_set(z, c, &set, &to, &was);
    p = to.bytes;

    if (to.n && fanout_record_next(&p, to.bytes + to.used, &r) == 1) {
        record_text(&r, conflict, sizeof(conflict));
    }

    return rc;
}


int
record_delete(fanout_zone_t *z, fanout_zone_channel_t *c, const char *id,
    long base)
{
    fanout_zone_set_t  set;

    memset(&set, 0, sizeof(fanout_zone_set_t));
    set.id = str(id);

    if (base >= 0) {
        set.base = base;
        set.mode = FANOUT_REJECT;
    }

    return fanout_record_delete(z, c, &set, &was);
}


static void
add(char **p, char *last, const char *fmt, ...)
{
    int      n;
    va_list  ap;

    va_start(ap, fmt);
    n = vsnprintf(*p, last - *p, fmt, ap);
    va_end(ap);

    *p += n < last - *p ? n : last - *p - 1;
}


static void
field_text(char **p, char *last, const fanout_field_t *f, int full)
{
    add(p, last, " %s%.*s", f->op == FANOUT_FIELD_UNSET ? "-" : "",
        (int) f->name.len, f->name.data);

    if (f->op != FANOUT_FIELD_UNSET) {
        add(p, last, "%s%.*s", f->op == FANOUT_FIELD_APPEND ? "+" : "=",
            (int) f->value.len, f->value.data);
    }

    if (f->flags & FANOUT_FIELD_WAS) {
        add(p, last, "(was %.*s)", (int) f->old.len, f->old.data);
    }

    if (f->flags & FANOUT_FIELD_NO_ARRAY) {
        add(p, last, "(no array)");
    }

    if (full && f->version) {
        add(p, last, "(%d", (int) f->version);

        if (f->user.len) {
            add(p, last, " %.*s", (int) f->user.len, f->user.data);
        }

        add(p, last, ")");
    }
}


void
record_text(const fanout_record_t *r, char *buf, size_t size)
{
    char            *p, *last;
    uint32_t         i;
    const uint8_t   *at;
    fanout_field_t   f;

    p = buf;
    last = buf + size;
    at = r->items;

    add(&p, last, "%.*s:%d", (int) r->id.len, r->id.data, (int) r->version);

    for (i = 0; i < r->n + r->nwhole; i++) {

        if (i == r->n) {
            add(&p, last, " |");
        }

        if (fanout_field_next(&at, r, &f) != 1) {
            add(&p, last, " BROKEN");
            return;
        }

        field_text(&p, last, &f, i < r->n);
    }

    if (fanout_field_next(&at, r, &f) != 0) {
        add(&p, last, " MORE");
    }
}


const char *
record_get(fanout_zone_t *z, fanout_zone_channel_t *c, const char *id)
{
    const uint8_t     *p;
    fanout_zstr_t      name;
    fanout_record_t    r;
    fanout_records_t   to;

    memset(&to, 0, sizeof(fanout_records_t));
    to.bytes = bytes;
    to.size = sizeof(bytes);
    name = str(id);

    if (fanout_record_get(z, c, &name, &to) != OK) {
        return NULL;
    }

    p = to.bytes;

    if (fanout_record_next(&p, to.bytes + to.used, &r) != 1) {
        return "BROKEN";
    }

    record_text(&r, text, sizeof(text));

    return text;
}


const char *
record_ids(fanout_zone_t *z, fanout_zone_channel_t *c, const char *prefix,
    unsigned max, unsigned *reads)
{
    int                rc;
    char              *at;
    uint64_t           cursor;
    const uint8_t     *p;
    fanout_zstr_t      start;
    fanout_record_t    r;
    fanout_records_t   to;

    at = text;
    *at = '\0';
    *reads = 0;
    record_seen = 0;
    cursor = 0;
    start = str(prefix);

    do {
        memset(&to, 0, sizeof(fanout_records_t));
        to.bytes = bytes;
        to.size = sizeof(bytes);

        rc = fanout_record_list(z, c, &start, &cursor, 0, max, &to);
        (*reads)++;
        record_seen += to.seen;
        p = to.bytes;

        while (fanout_record_next(&p, to.bytes + to.used, &r) == 1) {
            add(&at, text + sizeof(text), "%s%.*s:%d", at == text ? "" : " ",
                (int) r.id.len, r.id.data, (int) r.version);
        }

    } while (rc == AGAIN);

    return text;
}
