
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012),
 * incremental.  The key is random, so that clients can't choose names that
 * collide.
 */


#ifndef FANOUT_HEAP_SIPHASH_H
#define FANOUT_HEAP_SIPHASH_H


#include <stddef.h>
#include <stdint.h>
#include <string.h>


typedef struct {
    uint64_t  v[4];
    uint64_t  word;
    uint64_t  len;
} fanout_siphash_t;


#define fanout_rotl(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))


static inline void
fanout_sipround(uint64_t v[4])
{
    v[0] += v[1]; v[1] = fanout_rotl(v[1], 13); v[1] ^= v[0];
    v[0] = fanout_rotl(v[0], 32);
    v[2] += v[3]; v[3] = fanout_rotl(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = fanout_rotl(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = fanout_rotl(v[1], 17); v[1] ^= v[2];
    v[2] = fanout_rotl(v[2], 32);
}


static inline void
fanout_siphash_init(fanout_siphash_t *s, const uint64_t key[2])
{
    s->v[0] = key[0] ^ 0x736f6d6570736575ULL;
    s->v[1] = key[1] ^ 0x646f72616e646f6dULL;
    s->v[2] = key[0] ^ 0x6c7967656e657261ULL;
    s->v[3] = key[1] ^ 0x7465646279746573ULL;
    s->word = 0;
    s->len = 0;
}


static inline void
fanout_siphash_word(fanout_siphash_t *s)
{
    s->v[3] ^= s->word;
    fanout_sipround(s->v);
    fanout_sipround(s->v);
    s->v[0] ^= s->word;
    s->word = 0;
}


static inline void
fanout_siphash_update(fanout_siphash_t *s, const void *data, size_t n)
{
    const uint8_t  *p;

    p = data;

#if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
    unsigned  shift;
    uint64_t  w;

    for (shift = 8 * (s->len & 7); n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, sizeof(w));
        s->len += 8;
        s->word |= w << shift;
        fanout_siphash_word(s);
        s->word = shift ? w >> (64 - shift) : 0;
    }
#endif

    for ( /* void */ ; n; n--, p++) {
        s->word |= (uint64_t) *p << (8 * (s->len & 7));
        s->len++;

        if ((s->len & 7) == 0) {
            fanout_siphash_word(s);
        }
    }
}


static inline uint64_t
fanout_siphash_final(fanout_siphash_t *s)
{
    s->word |= s->len << 56;

    s->v[3] ^= s->word;
    fanout_sipround(s->v);
    fanout_sipround(s->v);
    s->v[0] ^= s->word;

    s->v[2] ^= 0xff;
    fanout_sipround(s->v);
    fanout_sipround(s->v);
    fanout_sipround(s->v);
    fanout_sipround(s->v);

    return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}


#endif /* FANOUT_HEAP_SIPHASH_H */
