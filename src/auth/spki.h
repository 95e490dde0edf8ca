
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Public keys from their numbers, by way of SubjectPublicKeyInfo (RFC 5280):
 * the one form that all versions of OpenSSL take without deprecated functions.
 */


#ifndef FANOUT_AUTH_SPKI_H
#define FANOUT_AUTH_SPKI_H


#include <openssl/evp.h>

#include "base/json.h"


#define FANOUT_SPKI_NUMBER  1025        /* bytes of a number, at most */


/* bytes of x, and of y, of a curve; 0: it has another name */

unsigned fanout_spki_curve(const fanout_json_t *name);

/*
 * Keys, which the caller frees; NULL: the numbers are not a key, or there is no
 * memory.  Numbers are unsigned, big endian; x and y have the length of their
 * curve, the x of Ed25519 has 32 bytes.
 */
EVP_PKEY *fanout_spki_rsa(const fanout_json_t *n, const fanout_json_t *e);
EVP_PKEY *fanout_spki_ec(const fanout_json_t *curve, const fanout_json_t *x,
    const fanout_json_t *y);
EVP_PKEY *fanout_spki_ed25519(const fanout_json_t *x);


#endif /* FANOUT_AUTH_SPKI_H */
