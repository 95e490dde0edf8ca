
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/compress.h"
#include "wire/deflate.h"


#define FANOUT_SLACK  256               /* bytes that an outbuf may have
                                           unused */

/* after so many in a row that did not shrink, one message is left out, then 2,
 * 4, ... */
#define FANOUT_VAIN   4
#define FANOUT_SKIP   6                 /* to 1 << 6 */

/* parts of replies that are kept deflated */
#define FANOUT_PART_MIN   1024              /* bytes */
#define FANOUT_PART_MAX   65535
#define FANOUT_PART_AGE   1500              /* ms */

#define FANOUT_STORED     5                 /* bytes of a block's head */


/* a frame of the server, in place */

typedef struct {
    u_char      *start;
    u_char      *payload;
    size_t       len;
    ngx_uint_t   opcode;
} frame_t;


static fanout_shared_t *part_of(fanout_hub_t *hub, ngx_uint_t how,
    u_char *data, size_t len);
static void part_deflate(fanout_hub_t *hub, fanout_shared_t *part);
static void part_drop(fanout_hub_t *hub, fanout_shared_t *part);
static u_char *stored(u_char *p, u_char *data, size_t len);
static u_char *read_frame(u_char *p, frame_t *fr);
static ngx_uint_t worth(u_char *p, u_char *last);
static ngx_int_t stretch(fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t how, u_char *p, u_char *last, fanout_outbuf_t *to);
static ngx_int_t one(fanout_hub_t *hub, fanout_channel_t *ch, ngx_uint_t how,
    frame_t *fr, fanout_outbuf_t *to);
static ngx_uint_t tried(fanout_channel_t *ch, frame_t *fr);
static void learn(fanout_channel_t *ch, ngx_uint_t shrunk);
static void trim(fanout_hub_t *hub, fanout_outbuf_t *f);


static size_t  min_length = 256;


void
fanout_compress_configure(fanout_main_conf_t *mcf)
{
    min_length = mcf->deflate_min;

    fanout_deflate_configure(mcf->deflate_level, mcf->deflate_window);
}


ngx_int_t
fanout_compress_run(fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, fanout_outbuf_t *from, uint32_t *ends, ngx_uint_t n,
    fanout_outbuf_t **to, uint32_t *toends)
{
    u_char           *p;
    ngx_uint_t        i, how;
    fanout_outbuf_t  *f;

    if (!worth(from->data, from->data + from->used)) {
        from->refs++;
        *to = from;
        ngx_memcpy(toends, ends, n * sizeof(uint32_t));
        return NGX_OK;
    }

    f = fanout_outbuf_create(hub, from->used
                                  + FANOUT_WS_HEADER_MAX);
    if (f == NULL) {
        return NGX_ERROR;
    }

    f->local = from->local;
    f->epoch = from->epoch;
    f->after = from->after;
    f->seq = from->seq;

    how = fanout_deflate_of(format);
    p = from->data;

    for (i = 0; i < n; i++) {
        if (stretch(hub, ch, how, p, from->data + ends[i], f) != NGX_OK) {
            fanout_outbuf_release(hub, f);
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
fanout_compress_frame(fanout_hub_t *hub, ngx_uint_t format,
    fanout_outbuf_t **f)
{
    uint32_t          end;
    fanout_outbuf_t  *to;

    if (fanout_deflate_of(format) == FANOUT_DEFLATE_NONE
        || fanout_compress_run(hub, NULL, format, *f, &(*f)->used, 1, &to,
                               &end)
           != NGX_OK)
    {
        return;
    }

    fanout_outbuf_release(hub, *f);
    *f = to;
}


void
fanout_compress_reply(fanout_hub_t *hub, ngx_uint_t format,
    fanout_outbuf_t **f, size_t part, size_t tail)
{
    u_char           *p;
    size_t            head, size;
    frame_t           fr;
    uint32_t          start;
    ngx_uint_t        how;
    fanout_outbuf_t  *to, *d;
    fanout_shared_t  *of;

    how = fanout_deflate_of(format);

    if (how == FANOUT_DEFLATE_NONE) {
        return;
    }

    (void) read_frame((*f)->data, &fr);
    head = fr.len - part - tail;

    if (part < ngx_max(FANOUT_PART_MIN, min_length)
        || part > FANOUT_PART_MAX
        || ngx_max(head, tail) > FANOUT_PART_MAX)
    {
        fanout_compress_frame(hub, format, f);
        return;
    }

    of = part_of(hub, how, fr.payload + head, part);
    d = of ? of->deflated : NULL;

    if (d == NULL) {
        if (of == NULL) {
            fanout_compress_frame(hub, format, f);
        }

        return;
    }

    size = FANOUT_STORED + head + d->used + FANOUT_STORED
           + tail + 1;

    to = size < fr.len
         ? fanout_outbuf_create(hub, size
                                     + FANOUT_WS_HEADER_MAX)
         : NULL;

    if (to == NULL) {
        return;
    }

    if (fanout_frame_begin(hub, to, &start) != NGX_OK) {
        fanout_outbuf_release(hub, to);
        return;
    }

    p = stored(to->data + to->used, fr.payload, head);
    p = ngx_cpymem(p, d->data, d->used);
    p = stored(p, fr.payload + head + part, tail);

    /* an empty block, less what every message leaves out (RFC 7692, 7.2.1) */
    *p++ = 0;

    to->used = p - to->data;

    if (fanout_frame_end(hub, to, start,
                         fr.opcode | FANOUT_WS_RSV1)
        != NGX_OK)
    {
        fanout_outbuf_release(hub, to);
        return;
    }

    fanout_outbuf_release(hub, *f);
    *f = to;
}


/* Finds a part that others got by its bytes, whatever they were read from; NULL
 * on lack of memory. */

static fanout_shared_t *
part_of(fanout_hub_t *hub, ngx_uint_t how, u_char *data, size_t len)
{
    fanout_outbuf_t  *f;
    fanout_shared_t  *part;

    part = &hub->shared[(ngx_murmur_hash2(data, len) + how)
                       % FANOUT_SHARED];
    f = part->plain;

    fanout_spend(hub, len);

    if (f && part->how == how && f->used == len
        && ngx_memcmp(f->data, data, len) == 0)
    {
        return part;
    }

    part_drop(hub, part);

    f = fanout_outbuf_create(hub, len);
    if (f == NULL) {
        return NULL;
    }

    ngx_memcpy(f->data, data, len);
    f->used = len;

    part->plain = f;
    part->how = how;
    part->at = ngx_current_msec;

    part_deflate(hub, part);

    return part;
}


static void
part_deflate(fanout_hub_t *hub, fanout_shared_t *part)
{
    size_t            n;
    fanout_outbuf_t  *f, *plain;

    static u_char  tail[] = { 0x00, 0x00, 0xff, 0xff };

    plain = part->plain;

    f = fanout_outbuf_create(hub, plain->used
                                  + FANOUT_DEFLATE_TAIL);
    if (f == NULL) {
        return;
    }

    fanout_spend(hub, plain->used * FANOUT_WORK_DEFLATE);

    n = fanout_deflate(part->how, plain->data, plain->used, f->data);

    if (n == 0 || n + sizeof(tail) > f->size) {
        fanout_count(hub, deflate_vain);
        fanout_outbuf_release(hub, f);
        return;
    }

    fanout_count(hub, deflated);
    fanout_add(hub, deflated_in, plain->used);
    fanout_add(hub, deflated_out, n);

    ngx_memcpy(f->data + n, tail, sizeof(tail));
    f->used = n + sizeof(tail);

    trim(hub, f);
    part->deflated = f;
}


static void
part_drop(fanout_hub_t *hub, fanout_shared_t *part)
{
    if (part->plain) {
        fanout_outbuf_release(hub, part->plain);
        part->plain = NULL;
    }

    if (part->deflated) {
        fanout_outbuf_release(hub, part->deflated);
        part->deflated = NULL;
    }
}


void
fanout_compress_expire(fanout_hub_t *hub, ngx_uint_t all)
{
    ngx_uint_t  i;

    for (i = 0; i < FANOUT_SHARED; i++) {
        if (all
            || ngx_current_msec - hub->shared[i].at > FANOUT_PART_AGE)
        {
            part_drop(hub, &hub->shared[i]);
        }
    }
}


/* a block that is not compressed (RFC 1951, 3.2.4), at the bound of a byte */

static u_char *
stored(u_char *p, u_char *data, size_t len)
{
    *p++ = 0;
    *p++ = len & 0xff;
    *p++ = len >> 8;
    *p++ = ~len & 0xff;
    *p++ = ~len >> 8 & 0xff;

    return ngx_cpymem(p, data, len);
}


/* whether any message reaches the threshold */

static ngx_uint_t
worth(u_char *p, u_char *last)
{
    frame_t  fr;

    while (p < last) {
        p = read_frame(p, &fr);

        if (fr.len >= min_length && fr.opcode <= FANOUT_WS_BINARY) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
stretch(fanout_hub_t *hub, fanout_channel_t *ch, ngx_uint_t how, u_char *p,
    u_char *last, fanout_outbuf_t *to)
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
one(fanout_hub_t *hub, fanout_channel_t *ch, ngx_uint_t how, frame_t *fr,
    fanout_outbuf_t *to)
{
    size_t    n, whole;
    uint32_t  start;

    whole = fr->payload - fr->start + fr->len;

    if (fanout_outbuf_reserve(hub, to, whole
                                       + FANOUT_WS_HEADER_MAX
                                       + FANOUT_DEFLATE_TAIL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (tried(ch, fr)) {

        if (fanout_frame_begin(hub, to, &start) != NGX_OK) {
            return NGX_ERROR;
        }

        fanout_spend(hub, fr->len * FANOUT_WORK_DEFLATE);

        n = fanout_deflate(how, fr->payload, fr->len, to->data + to->used);
        learn(ch, n);

        if (n) {
            fanout_count(hub, deflated);
            fanout_add(hub, deflated_in, fr->len);
            fanout_add(hub, deflated_out, n);

            to->used += n;
            return fanout_frame_end(hub, to, start, fr->opcode
                                    | FANOUT_WS_RSV1);
        }

        fanout_count(hub, deflate_vain);
        to->used = start;
    }

    ngx_memcpy(to->data + to->used, fr->start, whole);
    to->used += whole;

    return NGX_OK;
}


static ngx_uint_t
tried(fanout_channel_t *ch, frame_t *fr)
{
    if (fr->len < min_length || fr->opcode > FANOUT_WS_BINARY) {
        return 0;
    }

    if (ch && ch->skip) {
        ch->skip--;
        return 0;
    }

    return 1;
}


static void
learn(fanout_channel_t *ch, ngx_uint_t shrunk)
{
    if (ch == NULL) {
        return;
    }

    if (shrunk) {
        ch->vain = 0;
        return;
    }

    if (ch->vain < FANOUT_VAIN + FANOUT_SKIP) {
        ch->vain++;
    }

    if (ch->vain >= FANOUT_VAIN) {
        ch->skip = 1 << (ch->vain - FANOUT_VAIN);
    }
}


/* reads a frame that this server made: whole, and one for each message */

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


/* An outbuf may wait in many outboxes, and counts with its size. */

static void
trim(fanout_hub_t *hub, fanout_outbuf_t *f)
{
    u_char  *p;

    if (f->size - f->used < FANOUT_SLACK) {
        return;
    }

    p = realloc(f->data, f->used);
    if (p == NULL) {
        return;
    }

    hub->output_bytes -= f->size - f->used;

    f->data = p;
    f->size = f->used;
}
