
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Keys that verify tokens: secrets, public keys and certificates in PEM, and
 * JSON Web Key Sets (RFC 7517, 7518 section 6, 8037).
 *
 * A key is bound to its algorithms by its type: a secret verifies HS256, HS384
 * and HS512 only, an RSA key RS and PS, an EC key the one ES of its curve, an
 * Ed25519 key EdDSA; "alg" of a JWK narrows that further.  So a public key
 * never verifies an HMAC.
 *
 * Memory of the C library and OpenSSL; no locks, nothing of NGINX.  A set is
 * used by one thread at a time, also to verify.
 */


#ifndef FANOUT_AUTH_KEYS_H
#define FANOUT_AUTH_KEYS_H


#include <stddef.h>
#include <stdint.h>


#define FANOUT_KEYS_ERROR  160          /* bytes of an error text, with NUL */
#define FANOUT_KEYS_MAX    64           /* keys in a set */
#define FANOUT_KEY_ID_MAX  255          /* bytes of a kid */
#define FANOUT_SECRET_MIN  16           /* bytes of a secret, at least */
#define FANOUT_KEYS_TEXT   1048576      /* bytes of a text, at most */


typedef struct fanout_key_s  fanout_key_t;

/* zeroed: no keys */

typedef struct {
    fanout_key_t  *first;
    unsigned       n;
} fanout_keys_t;


/*
 * Add keys to a set.  0; -1: a text in error (FANOUT_KEYS_ERROR bytes) says
 * what is wrong, it has no part of a secret or a key; the set is as it was.
 *
 * pem: one or more of PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE, with any text
 * around them; a private key is an error.  RSA has 2048 to 8192 bits; EC is
 * P-256, P-384 or P-521.  What else a certificate says, as its dates, is not
 * looked at.
 *
 * jwks: an object with "keys", or one key.  Keys for other uses ("use" other
 * than "sig", "key_ops" without "verify", "alg" not of a token) and of other
 * types are left out; a set in which none is left is an error, a broken key of
 * a known type is, too.  "oct" has k; private members of others ("d") are
 * ignored.
 */
int fanout_keys_secret(fanout_keys_t *keys, const uint8_t *secret, size_t len,
    char *error);
int fanout_keys_pem(fanout_keys_t *keys, const uint8_t *text, size_t len,
    char *error);
int fanout_keys_jwks(fanout_keys_t *keys, const uint8_t *text, size_t len,
    char *error);

/* The algorithms that any of the keys verifies: FANOUT_JWT_... of jwt.h. */
unsigned fanout_keys_algorithms(const fanout_keys_t *keys);

/* Frees the keys; secrets are wiped. */
void fanout_keys_clear(fanout_keys_t *keys);


#endif /* FANOUT_AUTH_KEYS_H */
