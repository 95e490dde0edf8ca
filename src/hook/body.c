
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The body of a call.
 */


#include "hook/body.h"


ngx_int_t
fanout_body_end(fanout_hub_t *hub, fanout_outbuf_t *f, ngx_str_t *body)
{
    /* the last comma */
    f->used--;

    if (fanout_outbuf_literal(hub, f, "]}") != NGX_OK) {
        return NGX_ERROR;
    }

    body->data = ngx_alloc(f->used, ngx_cycle->log);

    if (body->data == NULL) {
        return NGX_ERROR;
    }

    body->len = f->used;
    ngx_memcpy(body->data, f->data, f->used);

    return NGX_OK;
}
