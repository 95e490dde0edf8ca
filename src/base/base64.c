
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "base/base64.h"


ngx_int_t
fanout_base64_decode(ngx_str_t *dst, ngx_str_t *src)
{
    ngx_str_t   text;
    ngx_uint_t  i;

    text = *src;

    for (i = 0; i < 2 && src->len % 4 == 0 && text.len; i++) {
        text.len -= (text.data[text.len - 1] == '=');
    }

    /* NGINX ends the text at the first "=" */

    if (ngx_strlchr(text.data, text.data + text.len, '=')) {
        return NGX_ERROR;
    }

    return ngx_decode_base64(dst, &text);
}
