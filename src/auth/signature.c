
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include "auth/signature.h"


/* DER of two integers of 67 bytes, one of which is a sign */

#define SIGNATURE_DER  144


static fanout_jwt_e
signature_hmac(const fanout_key_t *key, const fanout_algorithm_t *algorithm,
    const fanout_json_t *text, const fanout_json_t *signature)
{
    uint8_t   mac[EVP_MAX_MD_SIZE];
    unsigned  len;

    if (HMAC(algorithm->digest(), key->secret, (int) key->secret_len,
             text->data, text->len, mac, &len) == NULL)
    {
        return FANOUT_JWT_NO_MEMORY;
    }

    return signature->len == len
           && CRYPTO_memcmp(signature->data, mac, len) == 0
           ? FANOUT_JWT_OK : FANOUT_JWT_SIGNATURE;
}


/* Ed25519 hashes the whole text itself.  OpenSSL does not document that such a
 * context can be used again, so each token gets a new one. */

static fanout_jwt_e
signature_eddsa(const fanout_key_t *key, const fanout_json_t *text,
    const fanout_json_t *signature)
{
    EVP_MD_CTX    *ctx;
    fanout_jwt_e   rc;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return FANOUT_JWT_NO_MEMORY;
    }

    rc = FANOUT_JWT_SIGNATURE;

    if (EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1
        && EVP_DigestVerify(ctx, signature->data, signature->len, text->data,
                            text->len)
           == 1)
    {
        rc = FANOUT_JWT_OK;
    }

    EVP_MD_CTX_free(ctx);

    return rc;
}


static int
signature_set_up(EVP_PKEY_CTX *ctx, const fanout_algorithm_t *algorithm)
{
    const EVP_MD  *digest;

    digest = algorithm->digest();

    if (EVP_PKEY_verify_init(ctx) <= 0
        || EVP_PKEY_CTX_set_signature_md(ctx, digest) <= 0)
    {
        return 0;
    }

    /* as long a salt as the digest: RFC 7518, section 3.5 */

    return !(algorithm->bit & FANOUT_JWT_PS)
           || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0
               && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx,
                                                   RSA_PSS_SALTLEN_DIGEST) > 0
               && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, digest) > 0);
}


/* Returns the key's context for an algorithm, NULL on lack of memory.  It is
 * kept, because setting it up takes half as long as RS256 itself. */

static EVP_PKEY_CTX *
signature_context(fanout_key_t *key, const fanout_algorithm_t *algorithm)
{
    if (key->ready == algorithm->bit) {
        return key->ctx;
    }

    EVP_PKEY_CTX_free(key->ctx);

    key->ready = 0;
    key->ctx = EVP_PKEY_CTX_new(key->pkey, NULL);

    if (key->ctx == NULL || !signature_set_up(key->ctx, algorithm)) {
        return NULL;
    }

    key->ready = algorithm->bit;

    return key->ctx;
}


static fanout_jwt_e
signature_public(fanout_key_t *key, const fanout_algorithm_t *algorithm,
    const fanout_json_t *text, const fanout_json_t *signature)
{
    uint8_t        digest[EVP_MAX_MD_SIZE];
    unsigned       len;
    EVP_PKEY_CTX  *ctx;

    ctx = signature_context(key, algorithm);

    if (ctx == NULL
        || !EVP_Digest(text->data, text->len, digest, &len,
                       algorithm->digest(), NULL))
    {
        return FANOUT_JWT_NO_MEMORY;
    }

    return EVP_PKEY_verify(ctx, signature->data, signature->len, digest, len)
           == 1
           ? FANOUT_JWT_OK : FANOUT_JWT_SIGNATURE;
}


/* r and s as two numbers to the DER that OpenSSL takes; its length, 0: they are
 * not a signature */

static size_t
signature_der(uint8_t *der, const fanout_json_t *signature, unsigned part)
{
    int         len;
    BIGNUM     *r, *s;
    ECDSA_SIG  *ecdsa;

    ecdsa = ECDSA_SIG_new();
    r = BN_bin2bn(signature->data, (int) part, NULL);
    s = BN_bin2bn(signature->data + part, (int) part, NULL);

    if (ecdsa == NULL || r == NULL || s == NULL || BN_is_zero(r)
        || BN_is_zero(s) || ECDSA_SIG_set0(ecdsa, r, s) != 1)
    {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(ecdsa);
        return 0;
    }

    len = i2d_ECDSA_SIG(ecdsa, NULL);
    len = len > 0 && len <= SIGNATURE_DER ? i2d_ECDSA_SIG(ecdsa, &der) : 0;

    ECDSA_SIG_free(ecdsa);

    return len > 0 ? (size_t) len : 0;
}


static fanout_jwt_e
signature_ecdsa(fanout_key_t *key, const fanout_algorithm_t *algorithm,
    const fanout_json_t *text, const fanout_json_t *signature)
{
    uint8_t        buf[SIGNATURE_DER];
    fanout_json_t  der;

    if (signature->len != 2 * algorithm->part) {
        return FANOUT_JWT_SIGNATURE;
    }

    der.data = buf;
    der.len = signature_der(buf, signature, algorithm->part);

    return der.len ? signature_public(key, algorithm, text, &der)
                   : FANOUT_JWT_SIGNATURE;
}


fanout_jwt_e
fanout_signature_verify(fanout_key_t *key,
    const fanout_algorithm_t *algorithm, const fanout_json_t *text,
    const fanout_json_t *signature)
{
    fanout_jwt_e  rc;

    if (!(key->algorithms & algorithm->bit)) {
        return FANOUT_JWT_SIGNATURE;
    }

    /* NGINX logs errors that it finds in the queue as its own */

    ERR_set_mark();

    if (key->pkey == NULL) {
        rc = signature_hmac(key, algorithm, text, signature);

    } else if (algorithm->digest == NULL) {
        rc = signature_eddsa(key, text, signature);

    } else if (algorithm->bit & FANOUT_JWT_ES) {
        rc = signature_ecdsa(key, algorithm, text, signature);

    } else {
        rc = signature_public(key, algorithm, text, signature);
    }

    ERR_pop_to_mark();

    return rc;
}
