/*
 * Random sets for a model of records.
 */


#include "zone_record_model.h"


#define VALUES   (4 * FANOUT_ZONE_RECORD)


static m_t      *m;
static uint8_t   values[VALUES];
static size_t    used;                  /* of values */


/* values */

static fanout_zstr_t
number(void)
{
    int  n;

    n = sprintf((char *) values + used, "%u", m_rnd(m, 4));
    used += n;

    return zstr(values + used - n, n);
}


static size_t
random_len(void)
{
    switch (m_rnd(m, m->pressure ? 10 : 40)) {

    case 0:
        return m_rnd(m, FANOUT_ZONE_RECORD + 200);

    case 1:
        return m_rnd(m, 3000);

    default:
        return m_rnd(m, 130);
    }
}


/* a string, or numbers with commas between */

static fanout_zstr_t
text(int elements)
{
    size_t    i, len;
    uint8_t  *p;
    unsigned  first;

    p = values + used;
    len = random_len() | 1;
    first = m_rnd(m, 10);

    for (i = 0; i < len; i++) {
        p[i] = elements ? (i & 1 ? ',' : '0' + (first + i * i / 7) % 10)
                        : 'a' + (i + len) % 26;
    }

    if (!elements) {
        p[0] = '"';
        p[len++] = '"';
    }

    used += len;

    return zstr(p, len);
}


static fanout_zstr_t
array(void)
{
    uint8_t        *p;
    fanout_zstr_t   s;

    p = values + used++;
    *p = '[';

    if (m_rnd(m, 3) == 0) {
        s.len = 0;

    } else {
        s = text(1);
    }

    values[used++] = ']';

    return zstr(p, s.len + 2);
}


static fanout_zstr_t
random_value(uint8_t op)
{
    if (op == FANOUT_FIELD_UNSET) {
        return zstr(NULL, 0);
    }

    if (op == FANOUT_FIELD_APPEND) {
        return m_rnd(m, 2) ? number() : text(1);
    }

    switch (m_rnd(m, 4)) {

    case 0:
        return text(0);

    case 1:
        return array();

    default:
        return number();
    }
}


/* sets */

static int
taken(const m_set_t *s, unsigned name)
{
    unsigned  i;

    for (i = 0; i < s->n; i++) {
        if (s->changes[i].name == name) {
            return 1;
        }
    }

    return 0;
}


static void
random_changes(m_set_t *s)
{
    uint8_t   op;
    unsigned  n, name, names, unset;

    names = m_rnd(m, 8) ? 8 : M_NAMES;
    n = m_rnd(m, names == 8 ? 5 : FANOUT_ZONE_FIELDS + 1);
    unset = m_rnd(m, 4) ? 5 : 1;
    used = 0;

    while (n--) {
        name = m_rnd(m, names);

        if (taken(s, name) || used + FANOUT_ZONE_RECORD + 512 > VALUES) {
            continue;
        }

        op = m_rnd(m, unset) == 0 ? FANOUT_FIELD_UNSET
             : m_rnd(m, 3) ? FANOUT_FIELD_SET : FANOUT_FIELD_APPEND;

        s->changes[s->n].name = name;
        s->given[s->n].name = m->names[name];
        s->given[s->n].op = op;
        s->given[s->n].value = names == 8 || op == FANOUT_FIELD_UNSET
                               ? random_value(op) : number();
        s->n++;
    }
}


uint64_t
m_base(m_t *model, const m_record_t *rec)
{
    uint64_t  v;

    m = model;
    v = rec->there ? rec->most : 0;

    switch (m_rnd(m, 8)) {

    case 0:
        return m_rnd(m, 2) ? 0 : v + 1 + m_rnd(m, 3);

    case 1:

    case 2:
    case 3:
        return v - m_rnd(m, v > 40 ? 40 : v + 1);

    case 4:
    case 5:
        return v ? v - 1 : 0;

    default:
        return v;
    }
}


void
m_draw(m_t *model, m_set_t *s)
{
    const m_record_t  *rec;

    m = model;
    memset(s, 0, sizeof(m_set_t));
    s->channel = m_rnd(m, M_CHANNELS);
    s->record = m_rnd(m, M_RECORDS);
    s->user = m_rnd(m, M_USERS);
    rec = &m->channels[s->channel].records[s->record];

    random_changes(s);

    s->set.id = m->ids[s->record];
    s->set.changes = s->given;
    s->set.n = s->n;
    s->set.user = m->users[s->user];
    s->set.mode = m_rnd(m, 3);
    s->set.base = m_base(m, rec);
    s->set.create = m_rnd(m, 40) == 0;
    s->set.exist = m_rnd(m, 40) == 0;
    s->set.exact = m_rnd(m, 20) == 0;
    s->set.whole = m_rnd(m, 8) == 0;

    m_draw_locks(m, s);
}
