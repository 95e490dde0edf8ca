
#include <string.h>

#include "base/json_table.h"


static int
same_name(const fanout_json_t *a, const fanout_json_t *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}


static inline unsigned
find_row(const fanout_json_table_t *table, const fanout_json_t *name)
{
    unsigned                    i;
    const uint8_t              *row;
    const fanout_json_field_t  *field;

    row = (const uint8_t *) table->fields;

    for (i = 0; i < table->n; i++, row += table->size) {
        field = (const void *) row;

        if (field->len == name->len
            && (uint8_t) field->name[0] == name->data[0]
            && memcmp(field->name, name->data, name->len) == 0)
        {
            break;
        }
    }

    return i;
}


unsigned
fanout_json_find(const fanout_json_table_t *table, const fanout_json_t *name)
{
    return find_row(table, name);
}


void
fanout_json_split(fanout_json_split_t *split, const fanout_json_t *object,
    const fanout_json_table_t *envelope, fanout_json_t *values)
{
    unsigned             i, used;
    fanout_json_pair_t   spare, *pair;
    fanout_json_iter_t   it;

    split->object = object;
    split->n = 0;
    split->repeated = 0;

    for (i = 0; i < envelope->n; i++) {
        values[i].data = NULL;
        values[i].len = 0;
    }

    if (fanout_json_iter(&it, object) != FANOUT_JSON_OK) {
        return;
    }

    used = 0;

    for ( ;; ) {
        pair = split->n < FANOUT_JSON_PAIRS ? &split->pairs[split->n] : &spare;

        if (fanout_json_next(&it, &pair->key, &pair->value) != 1) {
            break;
        }

        (void) fanout_json_text(&pair->key, split->names[used],
                                FANOUT_JSON_NAME, &pair->name);

        i = find_row(envelope, &pair->name);
        pair->enveloped = (i < envelope->n);

        if (pair->enveloped) {
            split->repeated |= (values[i].len != 0);
            values[i] = values[i].len ? values[i] : pair->value;
        }

        if (pair == &spare) {
            continue;
        }

        split->n++;

        if (pair->name.data == split->names[used]) {
            used++;
        }
    }
}


int
fanout_json_match(const fanout_json_split_t *split,
    const fanout_json_table_t *table, fanout_json_t *values)
{
    unsigned                   i, k;
    const fanout_json_pair_t  *pair;

    memset(values, 0, table->n * sizeof(fanout_json_t));

    if (split->repeated) {
        return 0;
    }

    for (i = 0; i < split->n; i++) {
        pair = &split->pairs[i];

        if (pair->enveloped) {
            continue;
        }

        k = find_row(table, &pair->name);

        if (k == table->n || values[k].len) {
            return 0;
        }

        values[k] = pair->value;
    }

    return 1;
}


int
fanout_json_values(const fanout_json_t *object,
    const fanout_json_table_t *table, fanout_json_t *values)
{
    uint8_t             buf[FANOUT_JSON_NAME];
    unsigned            i;
    fanout_json_t       key, name, value;
    fanout_json_iter_t  it;

    memset(values, 0, table->n * sizeof(fanout_json_t));

    if (object->len == 0 || object->data[0] != '{') {
        return 0;
    }

    (void) fanout_json_iter(&it, object);

    while (fanout_json_next(&it, &key, &value) == 1) {
        (void) fanout_json_text(&key, buf, sizeof(buf), &name);

        i = find_row(table, &name);

        if (i == table->n || values[i].len) {
            return 0;
        }

        values[i] = value;
    }

    return 1;
}


int
fanout_json_split_check(const fanout_json_split_t *split,
    int (*known)(const fanout_json_t *name), fanout_json_error_t *err)
{
    int                        rc;
    unsigned                   i, k;
    const fanout_json_pair_t  *pair;

    for (i = 0; i < split->n; i++) {
        pair = &split->pairs[i];

        rc = pair->enveloped || known(&pair->name) ? FANOUT_JSON_OK
                                                   : FANOUT_JSON_UNKNOWN;

        for (k = 0; k < i && rc == FANOUT_JSON_OK; k++) {
            if (same_name(&split->pairs[k].name, &pair->name)) {
                rc = FANOUT_JSON_DUPLICATE;
            }
        }

        if (rc != FANOUT_JSON_OK) {
            return fanout_json_fail_member(err, rc,
                                           pair->key.data
                                           - split->object->data,
                                           &pair->key);
        }
    }

    return FANOUT_JSON_OK;
}
