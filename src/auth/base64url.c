
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "auth/base64url.h"


/* values of the alphabet (RFC 4648, section 5) plus 1; 0: none */

static const uint8_t  base64url_values[256] = {
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6,
    ['G'] = 7, ['H'] = 8, ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12,
    ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18,
    ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36,
    ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
    ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54,
    ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60,
    ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64
};


int
fanout_base64url_decode(uint8_t *dst, const uint8_t *src, size_t len)
{
    size_t    i;
    unsigned  bits;
    uint32_t  group, value;

    if (len % 4 == 1) {
        return -1;
    }

    bits = 0;
    group = 0;

    for (i = 0; i < len; i++) {
        value = base64url_values[src[i]];

        if (value == 0) {
            return -1;
        }

        group = group << 6 | (value - 1);
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *dst++ = (uint8_t) (group >> bits);
            group &= (1U << bits) - 1;
        }
    }

    return group ? -1 : 0;
}
