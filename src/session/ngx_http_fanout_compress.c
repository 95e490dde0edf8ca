
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "ngx_http_fanout_compress.h"
#include "ngx_http_fanout_deflate.h"
#include "ngx_http_fanout_dialect.h"


#define NGX_HTTP_FANOUT_SLACK  256      /* bytes a frame may have unused */

/* after so many in a row that did not shrink one is left out, then 2, 4, ... */
#define NGX_HTTP_FANOUT_VAIN   4
#define NGX_HTTP_FANOUT_SKIP   6        /* to 1 << 6 */


/* one frame of a server, as it lies there */

typedef struct {
    u_char      *start;
    u_char      *payload;
    size_t       len;
    ngx_uint_t   opcode;
} frame_t;


static u_char *read_frame(u_char *p, frame_t *fr);
static ngx_uint_t worth(u_char *p, u_char *last);
static ngx_int_t stretch(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_uint_t how, u_char *p, u_char *last,
    ngx_http_fanout_frame_t *to);
static ngx_int_t one(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_uint_t how, frame_t *fr, ngx_http_fanout_frame_t *to);
static ngx_uint_t tried(ngx_http_fanout_channel_t *ch, frame_t *fr);
static void learn(ngx_http_fanout_channel_t *ch, ngx_uint_t shrunk);
static void trim(ngx_http_fanout_hub_t *hub, ngx_http_fanout_frame_t *f);


static size_t  min_length = 256;


void
ngx_http_fanout_compress_configure(ngx_http_fanout_main_conf_t *mcf)
{
    min_length = mcf->deflate_min;

    ngx_http_fanout_deflate_configure(mcf->deflate_level, mcf->deflate_window);
}


ngx_int_t
ngx_http_fanout_compress_run(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_uint_t format,
    ngx_http_fanout_frame_t *from, uint32_t *ends, ngx_uint_t n,
    ngx_http_fanout_frame_t **to, uint32_t *toends)
{
    u_char                   *p;
    ngx_uint_t                i, how;
    ngx_http_fanout_frame_t  *f;

    if (!worth(from->data, from->data + from->used)) {
        from->refs++;
        *to = from;
        ngx_memcpy(toends, ends, n * sizeof(uint32_t));
        return NGX_OK;
    }

    f = ngx_http_fanout_frame_create(hub, from->used
                                          + NGX_HTTP_FANOUT_WS_HEADER_MAX);
    if (f == NULL) {
        return NGX_ERROR;
    }

    f->local = from->local;
    f->epoch = from->epoch;
    f->after = from->after;
    f->seq = from->seq;

    how = ngx_http_fanout_deflate_of(format);
    p = from->data;

    for (i = 0; i < n; i++) {
        if (stretch(hub, ch, how, p, from->data + ends[i], f) != NGX_OK) {
            ngx_http_fanout_frame_release(hub, f);
            return NGX_ERROR;
        }

        p = from->data + ends[i];
        toends[i] = f->used;
    }

    trim(hub, f);
    *to = f;

    return NGX_OK;
}


void
ngx_http_fanout_compress_frame(ngx_http_fanout_hub_t *hub, ngx_uint_t format,
    ngx_http_fanout_frame_t **f)
{
    uint32_t                  end;
    ngx_http_fanout_frame_t  *to;

    if (ngx_http_fanout_deflate_of(format) == NGX_HTTP_FANOUT_DEFLATE_NONE
        || ngx_http_fanout_compress_run(hub, NULL, format, *f, &(*f)->used, 1,
                                        &to, &end)
           != NGX_OK)
    {
        return;
    }

    ngx_http_fanout_frame_release(hub, *f);
    *f = to;
}


/* whether there is any message over the threshold */

static ngx_uint_t
worth(u_char *p, u_char *last)
{
    frame_t  fr;

    while (p < last) {
        p = read_frame(p, &fr);

        if (fr.len >= min_length && fr.opcode <= NGX_HTTP_FANOUT_WS_BINARY) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
stretch(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_uint_t how, u_char *p, u_char *last, ngx_http_fanout_frame_t *to)
{
    frame_t  fr;

    while (p < last) {
        p = read_frame(p, &fr);

        if (one(hub, ch, how, &fr, to) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
one(ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch, ngx_uint_t how,
    frame_t *fr, ngx_http_fanout_frame_t *to)
{
    size_t    n, whole;
    uint32_t  start;

    whole = fr->payload - fr->start + fr->len;

    if (ngx_http_fanout_frame_reserve(hub, to, whole
                                               + NGX_HTTP_FANOUT_WS_HEADER_MAX
                                               + NGX_HTTP_FANOUT_DEFLATE_TAIL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (tried(ch, fr)) {

        if (ngx_http_fanout_frame_begin(hub, to, &start) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_fanout_spend(hub, fr->len * NGX_HTTP_FANOUT_WORK_DEFLATE);

        n = ngx_http_fanout_deflate(how, fr->payload, fr->len,
                                    to->data + to->used);
        learn(ch, n);

        if (n) {
            ngx_http_fanout_count(hub, deflated);
            ngx_http_fanout_add(hub, deflated_in, fr->len);
            ngx_http_fanout_add(hub, deflated_out, n);

            to->used += n;
            return ngx_http_fanout_frame_end(hub, to, start, fr->opcode
                                             | NGX_HTTP_FANOUT_WS_RSV1);
        }

        ngx_http_fanout_count(hub, deflate_vain);
        to->used = start;
    }

    ngx_memcpy(to->data + to->used, fr->start, whole);
    to->used += whole;

    return NGX_OK;
}


static ngx_uint_t
tried(ngx_http_fanout_channel_t *ch, frame_t *fr)
{
    if (fr->len < min_length || fr->opcode > NGX_HTTP_FANOUT_WS_BINARY) {
        return 0;
    }

    if (ch && ch->skip) {
        ch->skip--;
        return 0;
    }

    return 1;
}


static void
learn(ngx_http_fanout_channel_t *ch, ngx_uint_t shrunk)
{
    if (ch == NULL) {
        return;
    }

    if (shrunk) {
        ch->vain = 0;
        return;
    }

    if (ch->vain < NGX_HTTP_FANOUT_VAIN + NGX_HTTP_FANOUT_SKIP) {
        ch->vain++;
    }

    if (ch->vain >= NGX_HTTP_FANOUT_VAIN) {
        ch->skip = 1 << (ch->vain - NGX_HTTP_FANOUT_VAIN);
    }
}


/* of our own making: whole, and a message is one frame */

static u_char *
read_frame(u_char *p, frame_t *fr)
{
    ngx_uint_t  i, wide;

    fr->start = p;
    fr->opcode = p[0] & 0x0f;
    fr->len = p[1];

    wide = p[1] == 126 ? 2 : p[1] == 127 ? 8 : 0;
    p += 2;

    for (i = 0; i < wide; i++) {
        fr->len = (i ? fr->len << 8 : 0) | *p++;
    }

    fr->payload = p;

    return p + fr->len;
}


/* It may wait in many outboxes, and counts there as it is large. */

static void
trim(ngx_http_fanout_hub_t *hub, ngx_http_fanout_frame_t *f)
{
    u_char  *p;

    if (f->size - f->used < NGX_HTTP_FANOUT_SLACK) {
        return;
    }

    p = realloc(f->data, f->used);
    if (p == NULL) {
        return;
    }

    hub->frames -= f->size - f->used;

    f->data = p;
    f->size = f->used;
}
