/*
 * What code of the rooms above zone/ uses of NGINX, as far as unit tests need
 * it: headers of NGINX are at hand, its functions are not.
 */


#include <ngx_config.h>
#include <ngx_core.h>


volatile ngx_msec_t  ngx_current_msec;


static u_char *format(u_char *p, u_char *last, const char *fmt, va_list args);


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
    buf = format(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return buf;
}


u_char * ngx_cdecl
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    buf = format(buf, last, fmt, args);
    va_end(args);

    return buf;
}


/* %xL, %uL and %V; anything else ends the test */

static u_char *
format(u_char *p, u_char *last, const char *fmt, va_list args)
{
    char        text[32];
    size_t      n;
    ngx_str_t  *s;

    for ( /* void */ ; *fmt && p < last; fmt++) {

        if (*fmt != '%') {
            *p++ = *fmt;
            continue;
        }

        if (fmt[1] == 'V') {
            fmt++;
            s = va_arg(args, ngx_str_t *);
            n = ngx_min(s->len, (size_t) (last - p));
            p = ngx_cpymem(p, s->data, n);
            continue;
        }

        if ((fmt[1] != 'x' && fmt[1] != 'u') || fmt[2] != 'L') {
            fprintf(stderr, "no such format: %s\n", fmt);
            abort();
        }

        n = snprintf(text, sizeof(text), fmt[1] == 'x' ? "%llx" : "%llu",
                     (unsigned long long) va_arg(args, uint64_t));
        n = ngx_min(n, (size_t) (last - p));
        p = ngx_cpymem(p, text, n);
        fmt += 2;
    }

    return p;
}
