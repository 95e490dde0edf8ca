/*
 * Tokens and keys for tests: signed with OpenSSL, apart from the code that
 * verifies them.
 *
 * Texts end with NUL and are in one of 64 buffers, which are used in turn.
 */


#ifndef _TOKEN_H_INCLUDED_
#define _TOKEN_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>


#define TOKEN_SIZE  8192


typedef struct {
    EVP_PKEY    *pkey;          /* NULL: an HMAC */
    const char  *secret;
    const char  *alg;
} token_key_t;


/* new keys: "RSA2048", "P-256", "P-384", "P-521", "Ed25519", "secp256k1" */
EVP_PKEY *token_generate(const char *kind);

const char *token_base64url(const void *data, size_t len);

/* Signs the texts of a header and of claims. */
const char *token_sign(const token_key_t *key, const char *header,
    const char *claims);

/* The same, with a header that names the algorithm and more. */
const char *token_make(const token_key_t *key, const char *more,
    const char *claims);

/* the public key in PEM, and as a JWK with more members */
const char *token_pem(EVP_PKEY *pkey);
const char *token_jwk(EVP_PKEY *pkey, const char *more);

const char *token_format(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));


#endif /* _TOKEN_H_INCLUDED_ */
