/*
 * A model of the records of some channels.
 */


#include <stdarg.h>

#include "zone_record_model.h"


static m_record_t *
record_of(m_t *m, const m_set_t *s)
{
    return &m->channels[s->channel].records[s->record];
}


int
m_fail(m_t *m, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(m->s.error, sizeof(m->s.error), fmt, ap);
    va_end(ap);

    return -1;
}


unsigned
m_rnd(m_t *m, unsigned n)
{
    return draw(m, n);
}


/* A text that begins with the number and is as long as told. */

static fanout_zstr_t
text_of(const char *prefix, unsigned n, size_t len)
{
    char    *p;
    size_t   k;

    p = malloc(len + 32);
    k = snprintf(p, 32, "%s%u", prefix, n);

    if (k < len) {
        memset(p + k, '.', len - k);
        k = len;
    }

    return zstr(p, k);
}


void
m_init(m_t *m, uint32_t (*next)(void *data), void *data)
{
    unsigned  i, k, r;

    static const unsigned  ids[M_RECORDS] = { 1, 5, 6, 59, 60, 61, 255 };
    static const unsigned  users[M_USERS] = { 0, 3, 60, 255 };

    memset(m, 0, sizeof(m_t));
    m->s.next = next;
    m->s.data = data;

    for (i = 0; i < M_NAMES; i++) {
        m->names[i] = text_of("n", i, i % 10 == 5 ? 255
                                      : i % 10 == 7 ? 38 + i % 50 : 0);
    }

    for (i = 0; i < M_RECORDS; i++) {
        m->ids[i] = text_of(i & 1 ? "r" : "s", i, ids[i]);
    }

    for (i = 0; i < M_USERS; i++) {
        m->users[i] = text_of("u", i, users[i]);
    }

    m->users[0].len = 0;

    for (i = 0; i < M_CHANNELS; i++) {
        for (r = 0; r < M_RECORDS; r++) {
            for (k = 0; k < M_PLACES; k++) {
                m->channels[i].records[r].places[k].name = -1;
            }
        }
    }
}


static void
wipe(m_record_t *rec)
{
    unsigned  k;

    for (k = 0; k < M_PLACES; k++) {
        free(rec->places[k].data);
        memset(&rec->places[k], 0, sizeof(m_field_t));
        rec->places[k].name = -1;
    }

    rec->there = rec->forgot = 0;
    rec->version = rec->floor = rec->offset = 0;
    rec->due = 0;
}


void
m_done(m_t *m)
{
    unsigned     i, k, r;
    m_folded_t  *f;

    for (i = 0; i < M_CHANNELS; i++) {
        for (r = 0; r < M_RECORDS; r++) {
            wipe(&m->channels[i].records[r]);

            for (k = 0; i < M_READ && k < M_NAMES; k++) {
                f = &m->folds[i].records[r];
                free(f->value[k]);
            }
        }
    }

    for (i = 0; i < M_NAMES; i++) {
        free((void *) m->names[i].data);
    }

    for (i = 0; i < M_RECORDS; i++) {
        free((void *) m->ids[i].data);
    }

    for (i = 0; i < M_USERS; i++) {
        free((void *) m->users[i].data);
    }
}


/* deciding */

static int
place_of(const m_record_t *rec, unsigned name)
{
    unsigned  i;

    for (i = 0; i < M_PLACES; i++) {
        if (rec->places[i].name == (int) name) {
            return i;
        }
    }

    return -1;
}


static int
array(const m_field_t *f)
{
    return f->data[0] == '[';
}


static int
newer(const m_record_t *rec, const m_set_t *s, const m_field_t *f)
{
    if (s->set.mode == FANOUT_OVERWRITE || !rec->there) {
        return 0;
    }

    if (f) {
        return f->version > s->set.base;
    }

    return s->set.base < rec->floor && (s->set.base || rec->forgot);
}


static unsigned
step_of(const m_record_t *rec, const m_set_t *s, unsigned i)
{
    int                          there;
    const m_field_t             *f;
    const fanout_zone_change_t  *c;

    c = &s->given[i];
    f = s->changes[i].place == -1 ? NULL : &rec->places[s->changes[i].place];
    there = f && f->data;

    switch (c->op) {

    case FANOUT_FIELD_APPEND:
        return there && !array(f) ? 2 : 1;

    case FANOUT_FIELD_UNSET:
        if (!there) {
            return 0;
        }

        break;

    default:
        if (there && f->len == c->value.len
            && memcmp(f->data, c->value.data, f->len) == 0)
        {
            return 0;
        }
    }

    return newer(rec, s, f) ? 2 : 1;
}


static int
conditions(const m_record_t *rec, const m_set_t *s, m_result_t *r)
{
    const fanout_zone_set_t  *set;

    set = &s->set;
    r->version = rec->there ? rec->version : 0;

    if (!rec->there) {
        r->deleted = !set->exist && set->base
                     && (set->mode != FANOUT_OVERWRITE || set->exact);
        return set->exist ? NOTFOUND : r->deleted ? CONFLICT : OK;
    }

    r->unknown = set->base > rec->version
                 && (set->mode != FANOUT_OVERWRITE || set->exact);

    return set->create || (set->exact && set->base != rec->version)
           || r->unknown ? CONFLICT : OK;
}


static long
size_of(const m_record_t *rec, const m_t *m, unsigned *n)
{
    long      size;
    unsigned  i;

    size = 0;
    *n = 0;

    for (i = 0; i < M_PLACES; i++) {
        if (rec->places[i].name != -1 && rec->places[i].data) {
            size += m->names[rec->places[i].name].len + rec->places[i].len;
            (*n)++;
        }
    }

    return size;
}


/* what a change adds to the bytes and to the number of fields */

static void
add_step(const m_record_t *rec, const m_set_t *s, unsigned i, long *size,
    int *fields)
{
    const m_field_t             *f;
    const fanout_zone_change_t  *c;

    c = &s->given[i];
    f = s->changes[i].place == -1 ? NULL : &rec->places[s->changes[i].place];
    f = f && f->data ? f : NULL;

    if (c->op == FANOUT_FIELD_UNSET) {
        *size -= c->name.len + f->len;
        (*fields)--;

    } else if (f == NULL) {
        *size += c->name.len + c->value.len
                 + (c->op == FANOUT_FIELD_APPEND ? 2 : 0);
        (*fields)++;

    } else if (c->op == FANOUT_FIELD_APPEND) {
        *size += c->value.len + (f->len > 2);

    } else {
        *size += (long) c->value.len - f->len;
    }
}


static int
limits(m_t *m, const m_set_t *s, m_result_t *r, long size, int fields)
{
    long               had, most;
    unsigned           n;
    const m_record_t  *rec;

    rec = record_of(m, s);
    had = size_of(rec, m, &n);

    if (!rec->there && m->policy.records_max
        && m->channels[s->channel].n >= m->policy.records_max)
    {
        r->limit = FANOUT_SET_RECORDS;
        return MANY;
    }

    most = m->policy.fields ? m->policy.fields : FANOUT_ZONE_FIELDS;

    if (fields > 0 && (long) n + fields > most) {
        r->limit = FANOUT_SET_FIELDS;
        return MANY;
    }

    most = m->policy.record ? m->policy.record : FANOUT_ZONE_RECORD;

    return size > 0 && had + size > most ? LARGE : OK;
}


static int
is_named(const m_set_t *s, int name)
{
    unsigned  i;

    for (i = 0; i < s->n; i++) {
        if ((int) s->changes[i].name == name) {
            return 1;
        }
    }

    return 0;
}


void
m_decide(m_t *m, m_set_t *s, m_result_t *r)
{
    int                fields;
    long               size;
    size_t             given;
    unsigned           i, applied, conflicts;
    const m_field_t   *f;
    const m_record_t  *rec;

    rec = record_of(m, s);
    memset(r, 0, sizeof(m_result_t));

    for (i = 0, given = 0; i < s->n; i++) {
        given += s->given[i].value.len;
    }

    if (given > FANOUT_ZONE_RECORD) {
        r->rc = LARGE;
        return;
    }

    r->rc = m_guard(m, s, s->set.whole);

    if (r->rc == OK) {
        r->rc = conditions(rec, s, r);
    }

    if (r->rc != OK) {
        return;
    }

    size = fields = 0;
    applied = conflicts = 0;

    for (i = 0; i < s->n; i++) {
        s->changes[i].place = rec->there ? place_of(rec, s->changes[i].name)
                                         : -1;
        s->changes[i].step = step_of(rec, s, i);
        applied += s->changes[i].step == 1;
        conflicts += s->changes[i].step == 2;

        if (s->changes[i].step == 1) {
            add_step(rec, s, i, &size, &fields);
        }
    }

    for (i = 0; s->set.whole && i < M_PLACES; i++) {
        f = &rec->places[i];

        if (f->name != -1 && f->data && !is_named(s, f->name)) {
            applied++;
            fields--;
            size -= m->names[f->name].len + f->len;
        }
    }

    r->partial = conflicts != 0;

    if (conflicts && (applied == 0 || s->set.mode == FANOUT_REJECT)) {
        r->rc = CONFLICT;
        return;
    }

    if (applied == 0 && (rec->there || s->n)) {
        r->unchanged = 1;
        return;
    }

    r->rc = limits(m, s, r, size, fields);

    if (r->rc == OK) {
        r->created = !rec->there;
        r->version = 1 + (rec->there ? rec->version
                          : m->channels[s->channel].shelf
                          ? m->channels[s->channel].floor : m->floor);
    }
}


/* doing */

static void
make(m_t *m, const m_set_t *s)
{
    m_record_t   *rec;
    m_channel_t  *c;

    c = &m->channels[s->channel];
    rec = record_of(m, s);

    m_shelf(m, s->channel, 1);

    c->n++;
    rec->lives++;
    rec->there = 1;
    rec->floor = c->floor;
}


static void
change(m_t *m, const m_set_t *s, unsigned i, int place)
{
    size_t                       at;
    m_field_t                   *f;
    const fanout_zone_change_t  *c;

    c = &s->given[i];
    f = &record_of(m, s)->places[place];

    if (c->op == FANOUT_FIELD_UNSET) {
        free(f->data);
        f->data = NULL;
        f->len = 0;

    } else if (c->op == FANOUT_FIELD_SET) {
        f->data = realloc(f->data, c->value.len + 1);
        memcpy(f->data, c->value.data, c->value.len);
        f->len = c->value.len;

    } else {
        at = f->data ? f->len - 1 : 1;
        f->data = realloc(f->data, at + c->value.len + 3);
        f->data[0] = '[';

        if (at > 1) {
            f->data[at++] = ',';
        }

        memcpy(f->data + at, c->value.data, c->value.len);
        at += c->value.len;
        f->data[at++] = ']';
        f->len = at;
    }
}


/* Forgets what was unset first; of those of one change, what is in the first
 * place. */

static void
forget(m_record_t *rec)
{
    int       oldest;
    unsigned  i, n;

    do {
        oldest = -1;
        n = 0;

        for (i = 0; i < M_PLACES; i++) {
            if (rec->places[i].name == -1 || rec->places[i].data) {
                continue;
            }

            n++;

            if (oldest == -1
                || rec->places[i].version < rec->places[oldest].version)
            {
                oldest = i;
            }
        }

        if (n > FANOUT_UNSET_KEPT) {
            rec->forgot = 1;
            rec->floor = rec->places[oldest].version > rec->floor
                         ? rec->places[oldest].version : rec->floor;
            rec->places[oldest].name = -1;
        }

    } while (n > FANOUT_UNSET_KEPT);
}


/* What is there already changes first, so that there is room for new fields. */

void
m_apply(m_t *m, m_set_t *s, const m_result_t *r)
{
    int          place;
    unsigned     i, k;
    m_field_t   *f;
    m_record_t  *rec;

    rec = record_of(m, s);

    if (!rec->there) {
        make(m, s);
    }

    rec->version = r->version;
    rec->due = m->policy.records_ttl
               ? fanout_test_seconds + m->policy.records_ttl + 1 : 0;

    for (k = 0; k < M_PLACES; k++) {
        f = &rec->places[k];

        if (s->set.whole && f->name != -1 && f->data
            && !is_named(s, f->name))
        {
            free(f->data);
            f->data = NULL;
            f->len = 0;
            f->version = r->version;
            f->user = s->user;
        }
    }

    for (i = 0; i < 2 * s->n; i++) {
        k = i % s->n;
        place = s->changes[k].place;

        if (i == s->n) {
            forget(rec);
        }

        if (s->changes[k].step != 1 || (i < s->n) != (place != -1)) {
            continue;
        }

        if (place == -1) {
            place = place_of(rec, -1);
            rec->places[place].name = s->changes[k].name;
        }

        change(m, s, k, place);
        rec->places[place].version = r->version;
        rec->places[place].user = s->user;
    }

    forget(rec);
}


void
m_delete_decide(m_t *m, m_set_t *s, m_result_t *r)
{
    const m_record_t  *rec;

    rec = record_of(m, s);
    memset(r, 0, sizeof(m_result_t));

    if (!rec->there) {
        r->deleted = 1;
        r->rc = NOTFOUND;
        return;
    }

    r->version = rec->version;
    r->rc = m_guard(m, s, 1);

    if (r->rc != OK) {
        return;
    }

    if (s->set.mode != FANOUT_OVERWRITE && s->set.base != rec->version) {
        r->unknown = s->set.base > rec->version;
        r->rc = CONFLICT;
        return;
    }

    r->version++;
}


void
m_delete(m_t *m, unsigned channel, unsigned record, uint64_t version)
{
    m_channel_t  *c;

    c = &m->channels[channel];
    c->floor = version > c->floor ? version : c->floor;

    wipe(&c->records[record]);
    c->n--;
}


void
m_clear(m_t *m, unsigned channel)
{
    unsigned     i;
    m_record_t  *rec;

    for (i = 0; i < M_RECORDS; i++) {
        rec = &m->channels[channel].records[i];

        if (rec->there) {
            m_delete(m, channel, i, rec->version);
        }
    }
}


void
m_expire(m_t *m)
{
    unsigned     i, k;
    m_record_t  *rec;

    for (i = 0; i < M_CHANNELS; i++) {
        for (k = 0; k < M_RECORDS; k++) {
            rec = &m->channels[i].records[k];

            if (rec->there && rec->due && rec->due <= fanout_test_seconds) {
                rec->most = rec->version + 1;
                m_delete(m, i, k, rec->version + 1);
            }
        }
    }
}


/* comparing */

int
m_name(const m_t *m, const fanout_zstr_t *s)
{
    size_t    i;
    unsigned  n;

    for (i = 1, n = 0; i < s->len && s->data[i] != '.'; i++) {
        n = 10 * n + s->data[i] - '0';
    }

    return n < M_NAMES && m->names[n].len == s->len
           && memcmp(m->names[n].data, s->data, s->len) == 0 ? (int) n : -1;
}


int
m_id(const m_t *m, const fanout_zstr_t *s)
{
    unsigned  n;

    for (n = 0; n < M_RECORDS; n++) {
        if (m->ids[n].len == s->len
            && memcmp(m->ids[n].data, s->data, s->len) == 0)
        {
            return n;
        }
    }

    return -1;
}


static int
same_field(m_t *m, const fanout_field_t *f, const m_field_t *want)
{
    const fanout_zstr_t  *user;

    user = &m->users[want->user];

    return f->version == want->version
           && f->op == (want->data ? FANOUT_FIELD_SET : FANOUT_FIELD_UNSET)
           && f->value.len == want->len
           && (want->len == 0
               || memcmp(f->value.data, want->data, want->len) == 0)
           && f->user.len == user->len
           && memcmp(f->user.data, user->data, user->len) == 0;
}


int
m_conflicts(m_t *m, const m_set_t *s, const fanout_records_t *to)
{
    unsigned             i;
    const uint8_t       *p, *at;
    const m_field_t     *want;
    fanout_field_t       f;
    const m_record_t    *rec;
    fanout_record_t      r;

    m_field_t  absent = { .version = 0 };

    rec = record_of(m, s);
    p = to->bytes;

    if (to->n != 1 || fanout_record_next(&p, p + to->used, &r) != 1
        || m_id(m, &r.id) != (int) s->record || r.version != rec->version)
    {
        return m_fail(m, "no conflicts are told");
    }

    at = r.items;

    for (i = 0; i < s->n; i++) {

        if (s->changes[i].step != 2) {
            continue;
        }

        if (fanout_field_next(&at, &r, &f) != 1
            || m_name(m, &f.name) != (int) s->changes[i].name)
        {
            return m_fail(m, "the conflict of n%u is missing",
                          s->changes[i].name);
        }

        absent.version = rec->floor;
        want = s->changes[i].place == -1
               ? &absent : &rec->places[s->changes[i].place];

        if (!same_field(m, &f, want)
            || !(f.flags & FANOUT_FIELD_ABSENT) != (want->data != NULL)
            || !(f.flags & FANOUT_FIELD_NO_ARRAY)
               != (s->given[i].op != FANOUT_FIELD_APPEND))
        {
            return m_fail(m, "the conflict of n%u differs: version %d for %d",
                          s->changes[i].name, (int) f.version,
                          (int) want->version);
        }
    }

    return fanout_field_next(&at, &r, &f) == 0
           ? 0 : m_fail(m, "more conflicts than there are");
}


int
m_same(m_t *m, unsigned channel, unsigned record, const fanout_record_t *r)
{
    int                n, place;
    const uint8_t     *at;
    unsigned           want, got;
    fanout_field_t     f;
    const m_record_t  *rec;

    rec = &m->channels[channel].records[record];

    if (!rec->there || r->version != rec->version
        || r->prev != rec->offset)
    {
        return m_fail(m, "record %u of %u: version %d for %d, offset %d for "
                      "%d", record, channel, (int) r->version,
                      (int) rec->version, (int) r->prev, (int) rec->offset);
    }

    at = r->items;

    for (got = 0; (n = fanout_field_next(&at, r, &f)) == 1; got++) {
        n = m_name(m, &f.name);
        place = n == -1 ? -1 : place_of(rec, n);

        if (place == -1 || f.op != FANOUT_FIELD_SET
            || !same_field(m, &f, &rec->places[place]))
        {
            return m_fail(m, "record %u of %u: field n%d differs", record,
                          channel, n);
        }
    }

    (void) size_of(rec, m, &want);

    return n == 0 && want == got && r->n == got
           ? 0 : m_fail(m, "record %u of %u: %u fields for %u", record,
                        channel, got, want);
}
