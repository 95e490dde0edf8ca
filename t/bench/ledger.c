
#define _GNU_SOURCE

#include "ledger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define KEPT       12
#define ROOM_LOW   65536
#define SIZE_MAX_  (64 * 1024 * 1024)


typedef struct {
    int32_t    p;            /* publisher + 1, 0 is nothing */
    uint32_t   n;
} entry_t;


typedef struct {
    char       epoch[64];
    int        channel;
    int        next;         /* the channel's book before this, or -1 */
    uint64_t   base;         /* offset of the first entry below */
    uint64_t   size;
    uint64_t   high;         /* highest offset known, and acknowledged */
    uint64_t   acked;
    entry_t   *entries;
    uint32_t  *sums;         /* number of entries up to each */
} book_t;


typedef struct {
    int        who;
    int        book;
    uint32_t   count;
    uint64_t   start;
    uint64_t   end;
} span_t;


typedef struct {
    uint64_t  *at;
    uint32_t   size;
} times_t;


static int        nbooks, npubs;
static int       *newest;        /* book of each channel */
static book_t    *books;
static span_t    *spans;
static size_t     nspans, capspans;
static times_t   *times;
static unsigned   nviolations;
static char       kept[KEPT][240];


void
violation(const char *fmt, ...)
{
    va_list  ap;

    if (nviolations < KEPT) {
        va_start(ap, fmt);
        vsnprintf(kept[nviolations], sizeof(kept[0]), fmt, ap);
        va_end(ap);
    }

    nviolations++;
}


unsigned
violations(void)
{
    return nviolations;
}


static void
print_text(const char *p)
{
    putchar('"');

    for ( /* void */ ; *p; p++) {
        if (*p == '"' || *p == '\\') {
            printf("\\%c", *p);

        } else if ((unsigned char) *p < 0x20) {
            printf("\\u%04x", *p);

        } else {
            putchar(*p);
        }
    }

    putchar('"');
}


void
violations_print(void)
{
    unsigned  i;

    putchar('[');

    for (i = 0; i < nviolations && i < KEPT; i++) {
        if (i) {
            putchar(',');
        }

        print_text(kept[i]);
    }

    putchar(']');
}


static void *
grow(void *p, size_t n, size_t size)
{
    p = realloc(p, n * size);

    if (p == NULL) {
        perror("realloc");
        exit(2);
    }

    return p;
}


void
ledger_init(int channels, int publishers)
{
    int  i;

    npubs = publishers;
    newest = grow(NULL, channels, sizeof(int));
    times = calloc((size_t) channels * (publishers ? publishers : 1),
                   sizeof(times_t));

    if (times == NULL) {
        perror("calloc");
        exit(2);
    }

    for (i = 0; i < channels; i++) {
        newest[i] = -1;
    }
}


int
ledger_book(int channel, const char *epoch)
{
    int      i;
    book_t  *b;

    for (i = newest[channel]; i >= 0; i = books[i].next) {
        if (strcmp(books[i].epoch, epoch) == 0) {
            return i;
        }
    }

    books = grow(books, nbooks + 1, sizeof(book_t));
    b = &books[nbooks];

    memset(b, 0, sizeof(book_t));
    snprintf(b->epoch, sizeof(b->epoch), "%s", epoch);
    b->channel = channel;
    b->next = newest[channel];
    newest[channel] = nbooks;

    return nbooks++;
}


int
ledger_books(void)
{
    return nbooks;
}


void
ledger_sent(int p, int channel, uint32_t n, uint64_t now)
{
    times_t   *t;
    uint32_t   old;

    t = &times[(size_t) channel * npubs + p];

    if (n >= t->size) {
        old = t->size;
        t->size = (n + 16) * 2;
        t->at = grow(t->at, t->size, sizeof(uint64_t));
        memset(t->at + old, 0, (t->size - old) * sizeof(uint64_t));
    }

    if (t->at[n] == 0) {
        t->at[n] = now;
    }
}


uint64_t
ledger_sent_at(int p, int channel, uint32_t n)
{
    times_t  *t;

    if (p < 0 || p >= npubs) {
        return 0;
    }

    t = &times[(size_t) channel * npubs + p];

    return n < t->size ? t->at[n] : 0;
}


static entry_t *
entry_at(book_t *b, uint64_t offset)
{
    uint64_t  i, old;

    if (b->size == 0) {
        b->base = offset > ROOM_LOW ? offset - ROOM_LOW : 0;
    }

    i = offset - b->base;

    if (offset < b->base || i >= SIZE_MAX_) {
        return NULL;
    }

    if (i >= b->size) {
        old = b->size;
        b->size = (i + 256) * 2;
        b->entries = grow(b->entries, b->size, sizeof(entry_t));
        memset(b->entries + old, 0, (b->size - old) * sizeof(entry_t));
    }

    return &b->entries[i];
}


int
ledger_entry(int book, uint64_t offset, int p, uint32_t n, int acked)
{
    book_t   *b;
    entry_t  *e;

    b = &books[book];
    e = entry_at(b, offset);

    if (e == NULL) {
        violation("channel %d: offset %llu is far from the others",
                  b->channel, (unsigned long long) offset);
        return 0;
    }

    if (offset > b->high) {
        b->high = offset;
    }

    if (acked && offset > b->acked) {
        b->acked = offset;
    }

    if (e->p == 0) {
        e->p = p + 1;
        e->n = n;
        return 1;
    }

    if (e->p != p + 1 || e->n != n) {
        violation("channel %d offset %llu: message %u of publisher %d for"
                  " one, %u of %d for another%s", b->channel,
                  (unsigned long long) offset, e->n, e->p - 1, n, p,
                  acked ? " (by its ack)" : "");
    }

    return 0;
}


int
ledger_between(int book, uint64_t a, uint64_t b, uint64_t *which)
{
    book_t    *k;
    uint64_t   o;

    k = &books[book];

    for (o = a + 1; o < b && o <= k->high; o++) {
        if (o >= k->base && o - k->base < k->size
            && k->entries[o - k->base].p)
        {
            *which = o;
            return 1;
        }
    }

    return 0;
}


uint64_t
ledger_last_acked(int channel, int *book)
{
    *book = newest[channel];

    return *book < 0 ? 0 : books[*book].acked;
}


void
ledger_span(int who, int book, uint64_t start, uint64_t end, uint32_t count)
{
    span_t  *s;

    if (nspans == capspans) {
        capspans = capspans ? capspans * 2 : 1024;
        spans = grow(spans, capspans, sizeof(span_t));
    }

    s = &spans[nspans++];
    s->who = who;
    s->book = book;
    s->start = start;
    s->end = end;
    s->count = count;
}


static void
make_sums(book_t *b)
{
    uint32_t  n;
    uint64_t  i;

    b->sums = grow(NULL, b->size + 1, sizeof(uint32_t));

    for (n = 0, i = 0; i < b->size; i++) {
        n += (b->entries[i].p != 0);
        b->sums[i] = n;
    }
}


static uint32_t
sum_to(book_t *b, uint64_t offset)
{
    uint64_t  i;

    if (b->size == 0 || offset < b->base) {
        return 0;
    }

    i = offset - b->base;

    return b->sums[i < b->size ? i : b->size - 1];
}


static void
check_once(book_t *b)
{
    uint8_t  **seen;
    times_t   *t;
    entry_t   *e;
    uint64_t   i;

    seen = calloc(npubs + 1, sizeof(uint8_t *));

    for (i = 0; seen && i < b->size; i++) {
        e = &b->entries[i];

        if (e->p == 0 || e->p > npubs) {
            continue;
        }

        t = &times[(size_t) b->channel * npubs + e->p - 1];

        if (seen[e->p] == NULL) {
            seen[e->p] = calloc(t->size + 1, 1);
        }

        if (e->n >= t->size || seen[e->p] == NULL) {
            continue;
        }

        if (seen[e->p][e->n]) {
            violation("channel %d: message %u of publisher %d was appended"
                      " again at offset %llu", b->channel, e->n, e->p - 1,
                      (unsigned long long) (b->base + i));
        }

        seen[e->p][e->n] = 1;
    }

    for (i = 0; seen && i <= (uint64_t) npubs; i++) {
        free(seen[i]);
    }

    free(seen);
}


/* A publisher sends its next message behind the one before. */

static void
check_order(book_t *b)
{
    int32_t    p;
    int64_t   *last;
    uint64_t   i;

    last = grow(NULL, npubs + 1, sizeof(int64_t));
    memset(last, -1, (npubs + 1) * sizeof(int64_t));

    for (i = 0; i < b->size; i++) {
        p = b->entries[i].p;

        if (p == 0 || p > npubs) {
            continue;
        }

        if (last[p] > b->entries[i].n) {
            violation("channel %d: message %u of publisher %d stands behind"
                      " %lld, at offset %llu", b->channel,
                      b->entries[i].n, p - 1, (long long) last[p],
                      (unsigned long long) (b->base + i));
        }

        last[p] = b->entries[i].n;
    }

    free(last);
}


static void
check_span(span_t *s)
{
    book_t    *b;
    uint32_t   known;

    b = &books[s->book];
    known = sum_to(b, s->end) - sum_to(b, s->start);

    if (known != s->count) {
        violation("subscriber %d, channel %d: %u entries after offset %llu"
                  " up to %llu where there are %u", s->who, b->channel,
                  s->count, (unsigned long long) s->start,
                  (unsigned long long) s->end, known);
    }
}


void
ledger_check(int order)
{
    int     i;
    size_t  n;

    for (i = 0; i < nbooks; i++) {
        make_sums(&books[i]);
        check_once(&books[i]);

        if (order) {
            check_order(&books[i]);
        }
    }

    for (n = 0; n < nspans; n++) {
        check_span(&spans[n]);
    }
}
