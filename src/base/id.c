
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "base/id.h"
#include "base/name.h"


#define FANOUT_OFFSET_MAX  (((uint64_t) 1 << 53) - 1)


static u_char *id_hex_format(u_char *p, uint64_t n);
static ngx_int_t id_hex(u_char *p, uint64_t *n);


/* ngx_sprintf() takes ten times as long, and this is done for each message. */

u_char *
fanout_count_format(u_char *p, uint64_t n)
{
    u_char  buf[NGX_INT64_LEN], *first;

    first = buf + sizeof(buf);

    do {
        *--first = '0' + n % 10;
        n /= 10;
    } while (n);

    return ngx_cpymem(p, first, buf + sizeof(buf) - first);
}


u_char *
fanout_client_format(u_char *p, uint64_t client)
{
    *p++ = 'c';
    *p++ = '_';

    return id_hex_format(p, client);
}


ngx_int_t
fanout_client_parse(ngx_str_t *text, uint64_t *client)
{
    if (text->len != FANOUT_CLIENT_LEN
        || text->data[0] != 'c' || text->data[1] != '_')
    {
        return NGX_ERROR;
    }

    return id_hex(text->data + 2, client);
}


u_char *
fanout_epoch_format(u_char *p, uint64_t epoch)
{
    return id_hex_format(p, epoch);
}


static u_char *
id_hex_format(u_char *p, uint64_t n)
{
    int  shift;

    static const u_char  digits[] = "0123456789abcdef";

    for (shift = 60; shift >= 0; shift -= 4) {
        *p++ = digits[n >> shift & 0xf];
    }

    return p;
}


ngx_int_t
fanout_epoch_parse(ngx_str_t *text, uint64_t *epoch)
{
    if (text->len != FANOUT_EPOCH_LEN) {
        return NGX_ERROR;
    }

    return id_hex(text->data, epoch);
}


ngx_int_t
fanout_offset_parse(ngx_str_t *text, uint64_t *offset)
{
    size_t    i;
    uint64_t  n;

    if (text->len == 0 || text->len > sizeof("9007199254740991") - 1) {
        return NGX_ERROR;
    }

    n = 0;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return NGX_ERROR;
        }

        n = n * 10 + (text->data[i] - '0');
    }

    if (n > FANOUT_OFFSET_MAX) {
        return NGX_ERROR;
    }

    *offset = n;

    return NGX_OK;
}


ngx_int_t
fanout_position_parse(ngx_str_t *text, uint64_t *epoch, uint64_t *offset)
{
    u_char     *p, *last;
    ngx_str_t   part;

    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, ':');

    if (p == NULL || p == text->data
        || p - text->data > FANOUT_KEY)
    {
        return NGX_ERROR;
    }

    part.len = p - text->data;
    part.data = text->data;

    if (fanout_epoch_parse(&part, epoch) != NGX_OK) {
        *epoch = 0;
    }

    part.len = last - p - 1;
    part.data = p + 1;

    return fanout_offset_parse(&part, offset);
}


/* 16 digits, lower case: an id has one spelling */

static ngx_int_t
id_hex(u_char *p, uint64_t *n)
{
    u_char    *last;
    uint64_t   v;

    v = 0;

    for (last = p + 16; p < last; p++) {

        if (*p >= '0' && *p <= '9') {
            v = v << 4 | (*p - '0');

        } else if (*p >= 'a' && *p <= 'f') {
            v = v << 4 | (*p - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    *n = v;

    return NGX_OK;
}
