
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The table of dialects, and of their formats.
 */


#include "dialect/dialect.h"


static const fanout_dialect_t  *dialects[] = {
    &fanout_native,
    &fanout_raw,
    NULL
};


void
fanout_dialect_init(void)
{
    fanout_format_set(FANOUT_NATIVE_WS, fanout_native_encode,
                      &fanout_framing_websocket);
    fanout_format_set(FANOUT_RAW_WS, fanout_raw_encode,
                      &fanout_framing_websocket);
    fanout_format_set(FANOUT_NATIVE_SSE, fanout_native_encode,
                      &fanout_framing_events);
    fanout_format_set(FANOUT_NATIVE_POLL, fanout_native_encode,
                      &fanout_framing_items);
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
