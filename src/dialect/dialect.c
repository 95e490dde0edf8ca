
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The table of dialects.
 */


#include "dialect/dialect.h"


static const fanout_dialect_t  *dialects[] = {
    &fanout_native,
    &fanout_raw,
    &fanout_native_stream,
    NULL
};


const fanout_dialect_t *
fanout_dialect(ngx_uint_t format)
{
    ngx_uint_t  i;

    format %= FANOUT_BASES;

    for (i = 0; dialects[i]; i++) {
        if (dialects[i]->format == format) {
            break;
        }
    }

    return dialects[i];
}


const fanout_dialect_t *
fanout_dialect_named(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; dialects[i]; i++) {
        if (dialects[i]->name.len == name->len
            && ngx_strncmp(dialects[i]->name.data, name->data, name->len)
               == 0)
        {
            break;
        }
    }

    return dialects[i];
}
