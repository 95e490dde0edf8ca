/*
 * A reader who knows the records by the entries of the log alone: an entry
 * whose version is not above the one known of that record changes nothing.
 */


#include "zone_record_model.h"


static void
drop(m_folded_t *f)
{
    unsigned  i;

    for (i = 0; i < M_NAMES; i++) {
        free(f->value[i]);
        f->value[i] = NULL;
        f->len[i] = 0;
    }

    f->there = 0;
}


static void
store(m_folded_t *f, unsigned n, const fanout_field_t *item)
{
    size_t  at;

    if (item->op == FANOUT_FIELD_UNSET) {
        free(f->value[n]);
        f->value[n] = NULL;
        f->len[n] = 0;
        return;
    }

    if (item->op == FANOUT_FIELD_SET) {
        f->value[n] = realloc(f->value[n], item->value.len + 1);
        memcpy(f->value[n], item->value.data, item->value.len);
        f->len[n] = item->value.len;
        return;
    }

    at = f->value[n] ? f->len[n] - 1 : 1;
    f->value[n] = realloc(f->value[n], at + item->value.len + 3);
    f->value[n][0] = '[';

    if (at > 1) {
        f->value[n][at++] = ',';
    }

    memcpy(f->value[n] + at, item->value.data, item->value.len);
    at += item->value.len;
    f->value[n][at++] = ']';
    f->len[n] = at;
}


static int
is_value(const m_folded_t *f, unsigned n, const fanout_zstr_t *value)
{
    return f->value[n] && f->len[n] == value->len
           && memcmp(f->value[n], value->data, value->len) == 0;
}


/* All that is behind the changes is the record as it is now. */

static int
whole(m_t *m, const m_folded_t *f, const fanout_record_t *r,
    const uint8_t *at)
{
    int             n;
    unsigned        i, have;
    fanout_field_t  item;

    have = 0;

    for (i = 0; i < M_NAMES; i++) {
        have += f->value[i] != NULL;
    }

    if (have != r->nwhole) {
        return m_fail(m, "the whole has %u fields, not %u", r->nwhole, have);
    }

    while (fanout_field_next(&at, r, &item) == 1) {
        n = m_name(m, &item.name);

        if (n == -1 || !is_value(f, n, &item.value)) {
            return m_fail(m, "in the whole, n%d differs", n);
        }
    }

    return 0;
}


/* exact: the state before is known */

static int
take(m_t *m, m_folded_t *f, const fanout_record_t *r, int exact)
{
    int              n;
    uint32_t         i;
    const uint8_t   *at;
    fanout_field_t   item;

    at = r->items;

    for (i = 0; i < r->n; i++) {
        if (fanout_field_next(&at, r, &item) != 1
            || (n = m_name(m, &item.name)) == -1)
        {
            return m_fail(m, "an entry is broken");
        }

        if (exact && item.flags & FANOUT_FIELD_WAS) {
            m->olds++;

            if (!is_value(f, n, &item.old)) {
                return m_fail(m, "n%d was something else", n);
            }

        } else if (exact && r->flags & FANOUT_RECORD_OLD && f->value[n]
                   && item.op != FANOUT_FIELD_APPEND)
        {
            return m_fail(m, "an entry has no old value of n%d", n);
        }

        store(f, n, &item);
    }

    return exact && r->flags & FANOUT_RECORD_WHOLE ? whole(m, f, r, at) : 0;
}


int
m_fold_entry(m_t *m, const entry_t *e)
{
    int               id, exact;
    m_folded_t       *f;
    const uint8_t    *p;
    fanout_record_t   r;

    if (e->type == FANOUT_GAP || e->type == FANOUT_RESET) {
        m->folds[e->local].lost = 1;
        m->gaps += e->type == FANOUT_GAP;
        return 0;
    }

    if (e->type != FANOUT_RECORD) {
        return 0;
    }

    p = e->data.data;
    m->entries++;

    if (fanout_record_next(&p, p + e->data.len, &r) != 1
        || (id = m_id(m, &r.id)) == -1)
    {
        return m_fail(m, "an entry is broken");
    }

    f = &m->folds[e->local].records[id];

    if (r.version <= f->version || m->folds[e->local].lost) {
        return 0;
    }

    exact = f->there && f->version == r.version - 1;

    if (exact && f->offset != r.prev) {
        return m_fail(m, "prev is %d, not %d", (int) r.prev,
                      (int) f->offset);
    }

    if (f->there && r.flags & FANOUT_RECORD_CREATED) {
        return m_fail(m, "record %d was created twice", id);
    }

    f->version = r.version;
    f->offset = e->offset;
    f->there = 1;

    if (take(m, f, &r, exact || r.flags & FANOUT_RECORD_CREATED) != 0) {
        return -1;
    }

    if (r.flags & FANOUT_RECORD_DELETED) {
        drop(f);
    }

    return 0;
}


/* Takes the place of all that was known. */

int
m_fold_listed(m_t *m, unsigned channel, const fanout_records_t *to)
{
    int               id;
    unsigned          i;
    m_folded_t       *f;
    const uint8_t    *p, *last;
    fanout_record_t   r;

    for (i = 0; i < M_RECORDS; i++) {
        drop(&m->folds[channel].records[i]);
    }

    p = to->bytes;
    last = p + to->used;

    while (fanout_record_next(&p, last, &r) == 1) {
        id = m_id(m, &r.id);
        f = &m->folds[channel].records[id == -1 ? 0 : id];

        if (id == -1 || f->there) {
            return m_fail(m, "record %d is listed twice", id);
        }

        f->there = 1;
        f->version = r.version;
        f->offset = r.prev;

        if (take(m, f, &r, 0) != 0) {
            return -1;
        }
    }

    m->folds[channel].lost = 0;

    return 0;
}


int
m_fold_same(m_t *m, unsigned channel)
{
    unsigned           i, k, have;
    fanout_zstr_t      value;
    const m_field_t   *w;
    const m_folded_t  *f;
    const m_record_t  *rec;

    for (i = 0; i < M_RECORDS; i++) {
        f = &m->folds[channel].records[i];
        rec = &m->channels[channel].records[i];

        if (f->there != rec->there
            || (f->there && f->version != rec->version))
        {
            return m_fail(m, "fold: record %u of %u: version %d for %d", i,
                          channel, (int) f->version, (int) rec->version);
        }

        for (k = 0, have = 0; k < M_NAMES; k++) {
            have += f->value[k] != NULL;
        }

        for (k = 0; k < M_PLACES; k++) {
            w = &rec->places[k];

            if (w->name == -1 || w->data == NULL) {
                continue;
            }

            have--;
            value = zstr(w->data, w->len);

            if (!is_value(f, w->name, &value)) {
                return m_fail(m, "fold: n%d of record %u of %u differs",
                              w->name, i, channel);
            }
        }

        if (have) {
            return m_fail(m, "fold: record %u of %u has more fields", i,
                          channel);
        }
    }

    return 0;
}
