
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "token.h"


#define must(cond)  do { if (!(cond)) abort(); } while (0)


static char *
token_buffer(void)
{
    static char      buffers[64][TOKEN_SIZE];
    static unsigned  next;

    return buffers[next++ % 64];
}


const char *
token_format(const char *fmt, ...)
{
    int      n;
    char    *buf;
    va_list  args;

    buf = token_buffer();

    va_start(args, fmt);
    n = vsnprintf(buf, TOKEN_SIZE, fmt, args);
    va_end(args);

    must(n < TOKEN_SIZE);

    return buf;
}


static int
token_curve(const char *kind)
{
    return strcmp(kind, "P-256") == 0 ? NID_X9_62_prime256v1
           : strcmp(kind, "P-384") == 0 ? NID_secp384r1
           : strcmp(kind, "P-521") == 0 ? NID_secp521r1
           : strcmp(kind, "secp256k1") == 0 ? NID_secp256k1 : NID_undef;
}


EVP_PKEY *
token_generate(const char *kind)
{
    int            bits, curve;
    EVP_PKEY      *pkey = NULL;
    EVP_PKEY_CTX  *ctx;

    curve = token_curve(kind);
    bits = strncmp(kind, "RSA", 3) == 0 ? atoi(kind + 3) : 0;

    ctx = EVP_PKEY_CTX_new_id(bits ? EVP_PKEY_RSA
                              : curve ? EVP_PKEY_EC : EVP_PKEY_ED25519, NULL);

    must(ctx && EVP_PKEY_keygen_init(ctx) == 1);
    must(!bits || EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits) == 1);
    must(!curve || EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, curve) == 1);
    must(EVP_PKEY_keygen(ctx, &pkey) == 1);

    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


const char *
token_base64url(const void *data, size_t len)
{
    char   *buf, *p;

    must(len < TOKEN_SIZE / 2);
    buf = token_buffer();

    (void) EVP_EncodeBlock((uint8_t *) buf, data, (int) len);

    for (p = buf; *p && *p != '='; p++) {
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    }

    *p = '\0';

    return buf;
}


/* DER to r and s, one behind the other */

static size_t
token_raw(uint8_t *sig, size_t len, int part)
{
    ECDSA_SIG      *ecdsa;
    const BIGNUM   *r, *s;
    const uint8_t  *p = sig;

    ecdsa = d2i_ECDSA_SIG(NULL, &p, (long) len);
    must(ecdsa != NULL);

    ECDSA_SIG_get0(ecdsa, &r, &s);
    must(BN_bn2binpad(r, sig, part) == part);
    must(BN_bn2binpad(s, sig + part, part) == part);
    ECDSA_SIG_free(ecdsa);

    return 2 * (size_t) part;
}


static const EVP_MD *
token_digest(const char *alg)
{
    return strstr(alg, "256") ? EVP_sha256()
           : strstr(alg, "384") ? EVP_sha384()
           : strstr(alg, "512") ? EVP_sha512() : NULL;
}


static size_t
token_signature(const token_key_t *key, const char *text, uint8_t *sig)
{
    size_t         len;
    unsigned       n;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *settings;
    const EVP_MD  *md;

    md = token_digest(key->alg);

    if (key->pkey == NULL) {
        must(HMAC(md, key->secret, (int) strlen(key->secret),
                  (const uint8_t *) text, strlen(text), sig, &n));
        return n;
    }

    len = 1024;
    ctx = EVP_MD_CTX_new();

    must(EVP_DigestSignInit(ctx, &settings, md, NULL, key->pkey) == 1);

    if (key->alg[0] == 'P') {
        must(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING)
             == 1);
        must(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, strstr(key->alg, "/0")
                                                        ? 0 : -1)
             == 1);
    }

    must(EVP_DigestSign(ctx, sig, &len, (const uint8_t *) text, strlen(text))
         == 1);
    EVP_MD_CTX_free(ctx);

    if (key->alg[0] == 'E' && key->alg[1] == 'S') {
        len = token_raw(sig, len, (EVP_PKEY_bits(key->pkey) + 7) / 8);
    }

    return len;
}


const char *
token_sign(const token_key_t *key, const char *header, const char *claims)
{
    size_t       len;
    uint8_t      sig[1024];
    const char  *text;

    text = token_format("%s.%s", token_base64url(header, strlen(header)),
                        token_base64url(claims, strlen(claims)));
    len = token_signature(key, text, sig);

    return token_format("%s.%s", text, token_base64url(sig, len));
}


const char *
token_make(const token_key_t *key, const char *more, const char *claims)
{
    return token_sign(key, token_format("{\"alg\":\"%.5s\"%s}", key->alg,
                                        more),
                      claims);
}


const char *
token_pem(EVP_PKEY *pkey)
{
    int    n;
    BIO   *bio;
    char  *buf;

    buf = token_buffer();
    bio = BIO_new(BIO_s_mem());

    must(PEM_write_bio_PUBKEY(bio, pkey) == 1);
    n = BIO_read(bio, buf, TOKEN_SIZE - 1);
    must(n > 0);
    buf[n] = '\0';
    BIO_free(bio);

    return buf;
}


/* numbers are at the end of a SubjectPublicKeyInfo; e is 65537 */

const char *
token_jwk(EVP_PKEY *pkey, const char *more)
{
    int          len, part;
    uint8_t     *der = NULL, *end;
    const char  *jwk;

    len = i2d_PUBKEY(pkey, &der);
    must(len > 0);

    end = der + len;
    part = (EVP_PKEY_bits(pkey) + 7) / 8;

    switch (EVP_PKEY_base_id(pkey)) {

    case EVP_PKEY_RSA:
        jwk = token_format("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"%s}",
                           token_base64url(end - 5 - part, part), more);
        break;

    case EVP_PKEY_EC:
        jwk = token_format("{\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"%s\","
                           "\"y\":\"%s\"%s}", EVP_PKEY_bits(pkey),
                           token_base64url(end - 2 * part, part),
                           token_base64url(end - part, part), more);
        break;

    default:
        jwk = token_format("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\""
                           "%s}", token_base64url(end - 32, 32), more);
        break;
    }

    OPENSSL_free(der);

    return jwk;
}
