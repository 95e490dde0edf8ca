/*
 * What code of the rooms above zone/ uses of NGINX, as far as unit tests need
 * it: headers of NGINX are at hand, its functions are not.
 */


#include <ngx_config.h>
#include <ngx_core.h>


volatile ngx_msec_t  ngx_current_msec;


static int base64_value(u_char c);


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    return malloc(size ? size : 1);
}


u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = ngx_vslprintf(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return buf;
}


u_char * ngx_cdecl
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    return buf;
}


u_char * ngx_cdecl
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = ngx_vslprintf(buf, buf + max, fmt, args);
    va_end(args);

    return buf;
}


/* %xL, %uL, %ui, %d, %s and %V; anything else ends the test */

u_char *
ngx_vslprintf(u_char *p, u_char *last, const char *fmt, va_list args)
{
    char        number[32];
    ngx_str_t  *s, text;

    for ( /* void */ ; *fmt && p < last; fmt++) {

        if (*fmt != '%') {
            *p++ = *fmt;
            continue;
        }

        text.data = (u_char *) number;
        fmt++;

        if (*fmt == 'V') {
            s = va_arg(args, ngx_str_t *);
            text = *s;

        } else if (*fmt == 's') {
            text.data = va_arg(args, u_char *);
            text.len = strlen((char *) text.data);

        } else if (*fmt == 'd') {
            text.len = snprintf(number, sizeof(number), "%d",
                                va_arg(args, int));

        } else if (fmt[0] == 'u' && fmt[1] == 'i') {
            fmt++;
            text.len = snprintf(number, sizeof(number), "%lu",
                                (unsigned long) va_arg(args, ngx_uint_t));

        } else if ((fmt[0] == 'x' || fmt[0] == 'u') && fmt[1] == 'L') {
            text.len = snprintf(number, sizeof(number),
                                *fmt == 'x' ? "%llx" : "%llu",
                                (unsigned long long) va_arg(args, uint64_t));
            fmt++;

        } else {
            fprintf(stderr, "no such format: %s\n", fmt);
            abort();
        }

        p = ngx_cpymem(p, text.data, ngx_min(text.len, (size_t) (last - p)));
    }

    return p;
}


static int
base64_value(u_char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' ? 62 : c == '/' ? 63 : -1;
}


ngx_int_t
ngx_decode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    u_char    *d;
    size_t     i, len;
    uint32_t   bits;

    for (len = 0; len < src->len && src->data[len] != '='; len++) {
        if (base64_value(src->data[len]) < 0) {
            return NGX_ERROR;
        }
    }

    if (len % 4 == 1) {
        return NGX_ERROR;
    }

    d = dst->data;

    for (bits = 0, i = 0; i < len; i++) {
        bits = bits << 6 | (uint32_t) base64_value(src->data[i]);

        if (i % 4) {
            *d++ = (u_char) (bits >> (6 - i % 4 * 2));
        }
    }

    dst->len = d - dst->data;

    return NGX_OK;
}
