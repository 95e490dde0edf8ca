
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Writes numbers and texts, and has the names that all formats share.
 */


#include "status/status.h"
#include "hub/entry_json.h"


const char *const  fanout_share_names[] = {
#define FANOUT_SHARE(name, text)  #name,
    FANOUT_SHARES(FANOUT_SHARE)
#undef FANOUT_SHARE
};

const char *const  fanout_counter_names[] = {
#define FANOUT_COUNTER(name, text)  #name,
    FANOUT_COUNTERS(FANOUT_COUNTER)
#undef FANOUT_COUNTER
};

const char *const  fanout_counter_texts[] = {
#define FANOUT_COUNTER(name, text)  text,
    FANOUT_COUNTERS(FANOUT_COUNTER)
#undef FANOUT_COUNTER
};


ngx_int_t
fanout_status_write(fanout_hub_t *hub, fanout_busiest_t *busiest,
    fanout_outbuf_t *f, void (*format)(fanout_writer_t *w, ngx_uint_t arg),
    ngx_uint_t arg)
{
    fanout_writer_t     w;
    fanout_zone_stat_t  stat;

    fanout_zone_stat(&hub->zone, &stat);

    w.hub = hub;
    w.out = f;
    w.stat = &stat;
    w.busiest = busiest;
    w.failed = 0;

    format(&w, arg);

    return w.failed ? NGX_ERROR : NGX_OK;
}


void
fanout_put(fanout_writer_t *w, const char *fmt, ...)
{
    u_char   *last, text[512];
    va_list   args;

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    fanout_put_bytes(w, text, last - text);
}


void
fanout_put_bytes(fanout_writer_t *w, const void *data, size_t len)
{
    if (fanout_outbuf_append(w->hub, w->out, data, len) != NGX_OK) {
        w->failed = 1;
    }
}


void
fanout_put_string(fanout_writer_t *w, const void *data, size_t len)
{
    if (fanout_outbuf_string(w->hub, w->out, data, len) != NGX_OK) {
        w->failed = 1;
    }
}
