
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "auth/base64url.h"


static int
base64url_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '-' ? 62 : c == '_' ? 63 : -1;
}


int
fanout_base64url_decode(uint8_t *dst, const uint8_t *src, size_t len)
{
    int       value;
    size_t    i;
    unsigned  bits;
    uint32_t  group;

    if (len % 4 == 1) {
        return -1;
    }

    bits = 0;
    group = 0;

    for (i = 0; i < len; i++) {
        value = base64url_value(src[i]);

        if (value < 0) {
            return -1;
        }

        group = group << 6 | (unsigned) value;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *dst++ = (uint8_t) (group >> bits);
            group &= (1U << bits) - 1;
        }
    }

    return group ? -1 : 0;
}
