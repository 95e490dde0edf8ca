
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Inside of a set of keys: for the files that read keys, and for signatures.
 */


#ifndef FANOUT_AUTH_KEY_H
#define FANOUT_AUTH_KEY_H


#include <openssl/evp.h>

#include "auth/keys.h"
#include "base/json.h"


#define FANOUT_RSA_MIN  2048            /* bits */
#define FANOUT_RSA_MAX  8192


struct fanout_key_s {
    fanout_key_t  *next;
    EVP_PKEY      *pkey;                /* NULL: a secret */
    EVP_PKEY_CTX  *ctx;                 /* verifies, if it is ready for */
    unsigned       ready;               /* this algorithm; 0: none */
    uint8_t       *secret;
    size_t         secret_len;
    uint8_t       *id;                  /* kid; NULL: it has none */
    size_t         id_len;
    unsigned       algorithms;          /* FANOUT_JWT_... */
};


/* Writes a text, cut to FANOUT_KEYS_ERROR - 1 bytes; -1. */
int fanout_keys_fail(char *error, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds an empty key behind the others.  NULL: an error is set. */
fanout_key_t *fanout_keys_add(fanout_keys_t *keys, char *error);

/*
 * Moves the keys of added behind those of keys, if none failed (rc is 0) and
 * there is room; else they are freed.  0; -1, and an error is set.
 */
int fanout_keys_move(fanout_keys_t *keys, fanout_keys_t *added, int rc,
    char *error);

/* Fills in a secret, which is copied, and its algorithms.  0; -1 and an
 * error. */
int fanout_key_secret(fanout_key_t *key, const uint8_t *secret, size_t len,
    char *error);

/*
 * Fills in a public key, which belongs to the key then, also after an error,
 * and its algorithms.  0; -1: it is too short, of another type, or weak.
 */
int fanout_key_public(fanout_key_t *key, EVP_PKEY *pkey, char *error);


#endif /* FANOUT_AUTH_KEY_H */
