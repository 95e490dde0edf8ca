/*
 * The Test Anything Protocol in one header, for the unit tests.
 *
 *     ok(cond, fmt, ...)                   1 if passed
 *     is_int(got, want, fmt, ...)          integers up to 64 bits, signed
 *     is_str(got, want, fmt, ...)          NULL equals only NULL
 *     is_mem(got, gotlen, want, wantlen, fmt, ...)
 *     diag(fmt, ...)                       a comment on stderr
 *     return done_testing();               the plan, and the exit code
 *
 * A test that runs a check millions of times counts the failures itself and
 * says ok(bad == 0, ...) once: every ok() prints a line.
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>


#define tap_fn  static __attribute__((unused))

#define ok(cond, ...)                                                         \
    tap_ok(!!(cond), __FILE__, __LINE__, #cond, __VA_ARGS__)
#define is_int(got, want, ...)                                                \
    tap_is_int((got), (want), __FILE__, __LINE__, __VA_ARGS__)
#define is_str(got, want, ...)                                                \
    tap_is_str((got), (want), __FILE__, __LINE__, __VA_ARGS__)
#define is_mem(got, gotlen, want, wantlen, ...)                               \
    tap_is_mem((got), (gotlen), (want), (wantlen), __FILE__, __LINE__,        \
               __VA_ARGS__)


/* of all files that a test is linked of */

__attribute__((weak)) int  tap_count;
__attribute__((weak)) int  tap_failed;


tap_fn void
tap_report(int passed, const char *file, int line, const char *fmt, va_list ap)
{
    printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);

    if (!passed) {
        tap_failed++;
        fprintf(stderr, "#   failed at %s line %d\n", file, line);
    }
}


__attribute__((format(printf, 1, 2)))
tap_fn void
diag(const char *fmt, ...)
{
    va_list  ap;

    fprintf(stderr, "# ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
}


__attribute__((format(printf, 5, 6)))
tap_fn int
tap_ok(int passed, const char *file, int line, const char *expr,
    const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    tap_report(passed, file, line, fmt, ap);
    va_end(ap);

    if (!passed) {
        diag("  %s", expr);
    }

    return passed;
}


__attribute__((format(printf, 5, 6)))
tap_fn int
tap_is_int(long long got, long long want, const char *file, int line,
    const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    tap_report(got == want, file, line, fmt, ap);
    va_end(ap);

    if (got != want) {
        diag("  got %lld, want %lld", got, want);
    }

    return got == want;
}


__attribute__((format(printf, 5, 6)))
tap_fn int
tap_is_str(const char *got, const char *want, const char *file, int line,
    const char *fmt, ...)
{
    int      same;
    va_list  ap;

    same = (got && want) ? strcmp(got, want) == 0 : got == want;

    va_start(ap, fmt);
    tap_report(same, file, line, fmt, ap);
    va_end(ap);

    if (!same) {
        diag("  got  \"%s\"", got ? got : "(NULL)");
        diag("  want \"%s\"", want ? want : "(NULL)");
    }

    return same;
}


tap_fn void
tap_dump(const char *name, const unsigned char *s, size_t len)
{
    size_t  i;

    fprintf(stderr, "#   %s, %zu bytes:", name, len);

    for (i = 0; i < len && i < 64; i++) {
        fprintf(stderr, " %02x", s[i]);
    }

    fprintf(stderr, "%s\n", (i < len) ? " ..." : "");
}


__attribute__((format(printf, 7, 8)))
tap_fn int
tap_is_mem(const void *got, size_t gotlen, const void *want, size_t wantlen,
    const char *file, int line, const char *fmt, ...)
{
    int      same;
    va_list  ap;

    same = gotlen == wantlen
           && (gotlen == 0 || memcmp(got, want, gotlen) == 0);

    va_start(ap, fmt);
    tap_report(same, file, line, fmt, ap);
    va_end(ap);

    if (!same) {
        tap_dump("got ", got, gotlen);
        tap_dump("want", want, wantlen);
    }

    return same;
}


tap_fn int
done_testing(void)
{
    printf("1..%d\n", tap_count);
    fflush(stdout);

    if (tap_failed) {
        diag("%d of %d failed", tap_failed, tap_count);
    }

    return tap_failed || tap_count == 0;
}


#endif /* _TAP_H_INCLUDED_ */
