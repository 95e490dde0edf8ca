
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#ifndef FANOUT_BASE_BASE64_H
#define FANOUT_BASE_BASE64_H


#include <ngx_config.h>
#include <ngx_core.h>


/* Decodes base64 (RFC 4648, section 4; the padding may be left out) into
 * dst, which may be src.  NGX_OK; NGX_ERROR, also if "=" is anywhere but at
 * the end. */
ngx_int_t fanout_base64_decode(ngx_str_t *dst, ngx_str_t *src);


#endif /* FANOUT_BASE_BASE64_H */
