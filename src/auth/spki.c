
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <string.h>

#include <openssl/x509.h>

#include "auth/spki.h"


/* two numbers, and what is around them */

#define SPKI_SIZE      (2 * FANOUT_SPKI_NUMBER + 64)

#define SPKI_INTEGER   0x02
#define SPKI_BITS      0x03
#define SPKI_SEQUENCE  0x30


/* DER is written from its end: what is inside is there when its length is */

typedef struct {
    uint8_t      *p;
    uint8_t       buf[SPKI_SIZE];
} spki_der_t;

typedef struct {
    const char   *name;
    unsigned      size;
    unsigned      len;
    uint8_t       id[24];               /* an AlgorithmIdentifier */
} spki_curve_t;


static const spki_curve_t  spki_curves[] = {

    /* id-ecPublicKey with prime256v1, secp384r1, secp521r1 (RFC 5480) */

    { "P-256", 32, 21,
      { 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
        0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 } },

    { "P-384", 48, 18,
      { 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
        0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 } },

    { "P-521", 66, 18,
      { 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
        0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23 } }
};


/* rsaEncryption, with NULL (RFC 8017) */

static const uint8_t  spki_rsa_id[] = {
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
    0x01, 0x05, 0x00
};


static void
spki_put(spki_der_t *der, const uint8_t *data, size_t len)
{
    der->p -= len;
    memcpy(der->p, data, len);
}


static void
spki_byte(spki_der_t *der, uint8_t byte)
{
    *--der->p = byte;
}


/* the tag and the length of all that is between p and end */

static void
spki_wrap(spki_der_t *der, uint8_t tag, const uint8_t *end)
{
    size_t  len;

    len = end - der->p;

    if (len < 0x80) {
        spki_byte(der, (uint8_t) len);

    } else if (len < 0x100) {
        spki_byte(der, (uint8_t) len);
        spki_byte(der, 0x81);

    } else {
        spki_byte(der, len & 0xff);
        spki_byte(der, (uint8_t) (len >> 8));
        spki_byte(der, 0x82);
    }

    spki_byte(der, tag);
}


static void
spki_number(spki_der_t *der, const fanout_json_t *number)
{
    size_t          len;
    const uint8_t  *p, *end;

    p = number->data;
    len = number->len;

    while (len > 1 && *p == 0) {
        p++;
        len--;
    }

    end = der->p;
    spki_put(der, p, len);

    if (*p & 0x80) {
        spki_byte(der, 0);
    }

    spki_wrap(der, SPKI_INTEGER, end);
}


/* the key is from p to the end */

static EVP_PKEY *
spki_read(spki_der_t *der, const uint8_t *id, size_t len)
{
    const uint8_t  *end, *p;

    end = der->buf + SPKI_SIZE;

    spki_byte(der, 0);
    spki_wrap(der, SPKI_BITS, end);
    spki_put(der, id, len);
    spki_wrap(der, SPKI_SEQUENCE, end);

    p = der->p;

    return d2i_PUBKEY(NULL, &p, end - p);
}


EVP_PKEY *
fanout_spki_rsa(const fanout_json_t *n, const fanout_json_t *e)
{
    spki_der_t  der;

    if (n->len == 0 || n->len > FANOUT_SPKI_NUMBER
        || e->len == 0 || e->len > FANOUT_SPKI_NUMBER)
    {
        return NULL;
    }

    der.p = der.buf + SPKI_SIZE;

    spki_number(&der, e);
    spki_number(&der, n);
    spki_wrap(&der, SPKI_SEQUENCE, der.buf + SPKI_SIZE);

    return spki_read(&der, spki_rsa_id, sizeof(spki_rsa_id));
}


static const spki_curve_t *
spki_curve(const fanout_json_t *name)
{
    size_t  i;

    for (i = 0; i < sizeof(spki_curves) / sizeof(spki_curves[0]); i++) {
        if (name->len == 5 && memcmp(name->data, spki_curves[i].name, 5) == 0) {
            return &spki_curves[i];
        }
    }

    return NULL;
}


unsigned
fanout_spki_curve(const fanout_json_t *name)
{
    const spki_curve_t  *curve;

    curve = spki_curve(name);

    return curve ? curve->size : 0;
}


EVP_PKEY *
fanout_spki_ec(const fanout_json_t *curve, const fanout_json_t *x,
    const fanout_json_t *y)
{
    spki_der_t           der;
    const spki_curve_t  *c;

    c = spki_curve(curve);

    if (c == NULL || x->len != c->size || y->len != c->size) {
        return NULL;
    }

    der.p = der.buf + SPKI_SIZE;

    spki_put(&der, y->data, y->len);
    spki_put(&der, x->data, x->len);
    spki_byte(&der, 0x04);              /* uncompressed */

    return spki_read(&der, c->id, c->len);
}


EVP_PKEY *
fanout_spki_ed25519(const fanout_json_t *x)
{
    if (x->len != 32) {
        return NULL;
    }

    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x->data, x->len);
}
