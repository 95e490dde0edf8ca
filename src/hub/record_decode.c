
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Changes of a record as they are sent.
 */


#include "hub/record_decode.h"


static fanout_error_e decode_name(fanout_json_t *name,
    fanout_zone_change_t *change, ngx_str_t *why);
static fanout_error_e decode_value(fanout_json_t *value,
    fanout_zone_change_t *change, ngx_str_t *why);
static fanout_error_e decode_wrong(ngx_str_t *why, const char *text);


static const struct {
    ngx_str_t   name;
    ngx_uint_t  mode;
} modes[] = {
    { ngx_string("merge"), FANOUT_MERGE },
    { ngx_string("reject"), FANOUT_REJECT },
    { ngx_string("overwrite"), FANOUT_OVERWRITE },
    { ngx_null_string, 0 }
};


fanout_error_e
fanout_record_decode(fanout_zone_change_t *changes, ngx_uint_t *n, uint8_t op,
    fanout_json_t *value, ngx_str_t *why)
{
    ngx_uint_t             unset;
    fanout_json_t          name, item;
    fanout_error_e         rc;
    fanout_json_iter_t     it;
    fanout_zone_change_t  *c;

    unset = (op == FANOUT_FIELD_UNSET);

    if (fanout_json_type(value)
        != (unset ? FANOUT_JSON_ARRAY : FANOUT_JSON_OBJECT)
        || fanout_json_iter(&it, value) != FANOUT_JSON_OK)
    {
        return decode_wrong(why, unset ? "\"unset\" is an array of names"
                                 : op == FANOUT_FIELD_SET
                                 ? "\"set\" is an object"
                                 : "\"append\" is an object");
    }

    while (fanout_json_next(&it, &name, &item) == 1) {

        if (*n == FANOUT_ZONE_FIELDS) {
            return FANOUT_E_TOO_MANY;
        }

        c = &changes[(*n)++];
        ngx_memzero(c, sizeof(fanout_zone_change_t));
        c->op = op;

        if ((rc = decode_name(unset ? &item : &name, c, why))
            || (!unset && (rc = decode_value(&item, c, why))))
        {
            return rc;
        }
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
decode_name(fanout_json_t *name, fanout_zone_change_t *change, ngx_str_t *why)
{
    ngx_str_t      text;
    fanout_json_t  raw;

    if (fanout_json_text(name, (u_char *) name->data, FANOUT_KEY, &raw)
        == FANOUT_JSON_OK)
    {
        text.data = (u_char *) raw.data;
        text.len = raw.len;

        if (fanout_label_check(&text, FANOUT_KEY) == NGX_OK) {
            change->name.data = text.data;
            change->name.len = text.len;
            return FANOUT_E_NONE;
        }
    }

    return decode_wrong(why, "\"name of a field\" is a string of 1 to 128 "
                        "bytes of UTF-8 without control characters");
}


/* Elements to append are an array without its brackets. */

static fanout_error_e
decode_value(fanout_json_t *value, fanout_zone_change_t *change,
    ngx_str_t *why)
{
    change->value.data = value->data;
    change->value.len = fanout_json_minify((u_char *) value->data,
                                           value->data, value->len);

    if (change->op == FANOUT_FIELD_SET) {
        return FANOUT_E_NONE;
    }

    if (fanout_json_type(value) != FANOUT_JSON_ARRAY
        || change->value.len == 2)
    {
        return decode_wrong(why, "the values of \"append\" are arrays with "
                                 "elements");
    }

    change->value.data++;
    change->value.len -= 2;

    return FANOUT_E_NONE;
}


static fanout_error_e
decode_wrong(ngx_str_t *why, const char *text)
{
    why->data = (u_char *) text;
    why->len = ngx_strlen(text);

    return FANOUT_E_BAD_REQUEST;
}


fanout_error_e
fanout_record_once(const fanout_zone_change_t *changes, ngx_uint_t n,
    ngx_str_t *why)
{
    ngx_uint_t            i, k;
    const fanout_zstr_t  *name;

    static u_char  text[128];

    for (i = 1; i < n; i++) {
        name = &changes[i].name;

        for (k = 0; k < i; k++) {
            if (name->len != changes[k].name.len
                || ngx_memcmp(name->data, changes[k].name.data, name->len)
                   != 0)
            {
                continue;
            }

            why->data = text;
            why->len = ngx_snprintf(text, sizeof(text),
                                    "the field \"%*s\" is named twice",
                                    ngx_min(name->len, 64), name->data)
                       - text;

            return FANOUT_E_BAD_REQUEST;
        }
    }

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_record_mode(const ngx_str_t *name, ngx_uint_t *mode, ngx_str_t *why)
{
    ngx_uint_t  i;

    for (i = 0; modes[i].name.len; i++) {
        if (modes[i].name.len == name->len
            && ngx_memcmp(modes[i].name.data, name->data, name->len) == 0)
        {
            *mode = modes[i].mode;
            return FANOUT_E_NONE;
        }
    }

    return decode_wrong(why, "\"mode\" is \"merge\", \"reject\" or "
                             "\"overwrite\"");
}


fanout_error_e
fanout_record_base(fanout_zone_set_t *set, const uint64_t *base,
    const ngx_uint_t *mode, ngx_str_t *why)
{
    set->base = base ? *base : 0;
    set->mode = mode ? *mode : base ? FANOUT_MERGE : FANOUT_OVERWRITE;

    if (base == NULL && set->mode != FANOUT_OVERWRITE) {
        return decode_wrong(why, "\"mode\" needs \"base\"");
    }

    return FANOUT_E_NONE;
}
