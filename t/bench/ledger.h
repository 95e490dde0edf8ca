
/*
 * What swarm knows to be true: which payload stands at which offset, of each
 * channel and epoch, as told by acknowledgements and by all subscribers.
 *
 * A subscriber remembers spans: "I followed this book from start (not in it)
 * to end (in it) and got so many entries".  Offsets of a span only grow and
 * each agrees with the book, so if the number is that of the book, nothing is
 * missing and nothing came twice.  This is checked at the end, when the books
 * are complete.
 */

#ifndef BENCH_LEDGER_H
#define BENCH_LEDGER_H


#include <stddef.h>
#include <stdint.h>


/* Publishers and channels are counted from 0, messages n likewise. */
void ledger_init(int channels, int publishers);

/* The number of the book of a channel's epoch, made if new. */
int ledger_book(int channel, const char *epoch);

/* Books of all channels: more than channels means that epochs changed. */
int ledger_books(void);

/* Publisher p sends its message n to a channel; the first time counts. */
void ledger_sent(int p, int channel, uint32_t n, uint64_t now);

/* When that was; 0 if it never was. */
uint64_t ledger_sent_at(int p, int channel, uint32_t n);

/*
 * An offset holds message n of p, says a subscriber (acked 0) or an
 * acknowledgement (acked 1).  Returns 1 if nobody said so before.
 */
int ledger_entry(int book, uint64_t offset, int p, uint32_t n, int acked);

/* 1 if the book has an entry between two offsets, both not included. */
int ledger_between(int book, uint64_t a, uint64_t b, uint64_t *which);

/* The highest offset that was acknowledged, 0 if none. */
uint64_t ledger_last_acked(int channel, int *book);

/* Ends a span of a subscriber; kept to be checked. */
void ledger_span(int who, int book, uint64_t start, uint64_t end,
    uint32_t count);

/*
 * The checks that need complete books: the order of each publisher (unless
 * "order" is 0), no message at two offsets, all spans.
 */
void ledger_check(int order);

/* Something that must not be.  The first few are kept as text. */
void violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
unsigned violations(void);
void violations_print(void);


#endif /* BENCH_LEDGER_H */
