
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/core_names.h>
#endif

#include "auth/algorithm.h"
#include "auth/key.h"


int
fanout_keys_fail(char *error, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(error, FANOUT_KEYS_ERROR, fmt, args);
    va_end(args);

    return -1;
}


static fanout_key_t **
keys_end(fanout_keys_t *keys)
{
    fanout_key_t  **at;

    for (at = &keys->first; *at; at = &(*at)->next) { /* void */ }

    return at;
}


fanout_key_t *
fanout_keys_add(fanout_keys_t *keys, char *error)
{
    fanout_key_t  *key;

    if (keys->n == FANOUT_KEYS_MAX) {
        (void) fanout_keys_fail(error, "more than %d keys", FANOUT_KEYS_MAX);
        return NULL;
    }

    key = calloc(1, sizeof(fanout_key_t));
    if (key == NULL) {
        (void) fanout_keys_fail(error, "no memory");
        return NULL;
    }

    *keys_end(keys) = key;
    keys->n++;

    return key;
}


int
fanout_keys_move(fanout_keys_t *keys, fanout_keys_t *added, int rc, char *error)
{
    if (rc == 0 && keys->n + added->n > FANOUT_KEYS_MAX) {
        rc = fanout_keys_fail(error, "more than %d keys", FANOUT_KEYS_MAX);
    }

    if (rc != 0) {
        fanout_keys_clear(added);
        return -1;
    }

    *keys_end(keys) = added->first;
    keys->n += added->n;

    return 0;
}


unsigned
fanout_keys_algorithms(const fanout_keys_t *keys)
{
    unsigned             algorithms;
    const fanout_key_t  *key;

    algorithms = 0;

    for (key = keys->first; key; key = key->next) {
        algorithms |= key->algorithms;
    }

    return algorithms;
}


void
fanout_keys_clear(fanout_keys_t *keys)
{
    fanout_key_t  *key, *next;

    for (key = keys->first; key; key = next) {
        next = key->next;

        EVP_PKEY_CTX_free(key->ctx);
        EVP_PKEY_free(key->pkey);

        if (key->secret) {
            OPENSSL_cleanse(key->secret, key->secret_len);
            free(key->secret);
        }

        free(key->id);
        free(key);
    }

    keys->first = NULL;
    keys->n = 0;
}


int
fanout_key_secret(fanout_key_t *key, const uint8_t *secret, size_t len,
    char *error)
{
    if (len < FANOUT_SECRET_MIN) {
        return fanout_keys_fail(error, "a secret of less than %d bytes",
                                FANOUT_SECRET_MIN);
    }

    if (len > FANOUT_KEYS_TEXT) {
        return fanout_keys_fail(error, "a secret of more than %d bytes",
                                FANOUT_KEYS_TEXT);
    }

    key->secret = malloc(len);
    if (key->secret == NULL) {
        return fanout_keys_fail(error, "no memory");
    }

    memcpy(key->secret, secret, len);
    key->secret_len = len;
    key->algorithms = FANOUT_JWT_HS;

    return 0;
}


int
fanout_keys_secret(fanout_keys_t *keys, const uint8_t *secret, size_t len,
    char *error)
{
    int            rc;
    fanout_key_t  *key;
    fanout_keys_t  added = { NULL, 0 };

    key = fanout_keys_add(&added, error);
    rc = key ? fanout_key_secret(key, secret, len, error) : -1;

    return fanout_keys_move(keys, &added, rc, error);
}


/* the caller frees it */

static BIGNUM *
key_exponent(EVP_PKEY *pkey)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    BIGNUM  *e = NULL;

    (void) EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e);

    return e;
#else
    const BIGNUM  *e;

    RSA_get0_key(EVP_PKEY_get0_RSA(pkey), NULL, &e, NULL);

    return BN_dup(e);
#endif
}


/* With an exponent of 1 every text is its own signature; a long one costs time
 * at each token. */

static int
key_rsa_fits(EVP_PKEY *pkey)
{
    int      fits;
    BIGNUM  *e;

    e = key_exponent(pkey);
    fits = e && BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= 64;
    BN_free(e);

    return fits;
}


static int
key_curve(EVP_PKEY *pkey)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    char    name[64];
    size_t  len;

    if (EVP_PKEY_get_group_name(pkey, name, sizeof(name), &len) != 1) {
        return NID_undef;
    }

    return OBJ_sn2nid(name);
#else
    return EC_GROUP_get_curve_name(
               EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(pkey)));
#endif
}


static int
key_rsa(fanout_key_t *key, char *error)
{
    int  bits;

    bits = EVP_PKEY_bits(key->pkey);

    if (bits < FANOUT_RSA_MIN || bits > FANOUT_RSA_MAX) {
        return fanout_keys_fail(error, "an RSA key of %d bits, it needs %d to"
                                " %d", bits, FANOUT_RSA_MIN, FANOUT_RSA_MAX);
    }

    if (!key_rsa_fits(key->pkey)) {
        return fanout_keys_fail(error, "an RSA key with a bad exponent");
    }

    key->algorithms = FANOUT_JWT_RS|FANOUT_JWT_PS;

    return 0;
}


static int
key_ec(fanout_key_t *key, char *error)
{
    switch (key_curve(key->pkey)) {

    case NID_X9_62_prime256v1:
        key->algorithms = FANOUT_JWT_ES256;
        return 0;

    case NID_secp384r1:
        key->algorithms = FANOUT_JWT_ES384;
        return 0;

    case NID_secp521r1:
        key->algorithms = FANOUT_JWT_ES512;
        return 0;
    }

    return fanout_keys_fail(error, "an EC key that is not of P-256, P-384 or"
                            " P-521");
}


int
fanout_key_public(fanout_key_t *key, EVP_PKEY *pkey, char *error)
{
    key->pkey = pkey;

    switch (EVP_PKEY_base_id(pkey)) {

    case EVP_PKEY_RSA:
        return key_rsa(key, error);

    case EVP_PKEY_EC:
        return key_ec(key, error);

    case EVP_PKEY_ED25519:
        key->algorithms = FANOUT_JWT_EDDSA;
        return 0;
    }

    return fanout_keys_fail(error, "a key that is not RSA, EC or Ed25519");
}
