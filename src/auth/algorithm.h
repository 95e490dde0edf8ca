
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#ifndef FANOUT_AUTH_ALGORITHM_H
#define FANOUT_AUTH_ALGORITHM_H


#include <openssl/evp.h>

#include "auth/jwt.h"


#define FANOUT_JWT_HS  (FANOUT_JWT_HS256|FANOUT_JWT_HS384|FANOUT_JWT_HS512)
#define FANOUT_JWT_RS  (FANOUT_JWT_RS256|FANOUT_JWT_RS384|FANOUT_JWT_RS512)
#define FANOUT_JWT_PS  (FANOUT_JWT_PS256|FANOUT_JWT_PS384|FANOUT_JWT_PS512)
#define FANOUT_JWT_ES  (FANOUT_JWT_ES256|FANOUT_JWT_ES384|FANOUT_JWT_ES512)


typedef struct {
    const char     *name;
    unsigned        bit;                /* FANOUT_JWT_... */
    unsigned        part;               /* bytes of r, and of s, of ES */
    const EVP_MD *(*digest)(void);      /* NULL: the signature has its own */
} fanout_algorithm_t;


/* Finds an algorithm by its name, to the letter; NULL: unknown. */
const fanout_algorithm_t *fanout_algorithm_find(const uint8_t *name,
    size_t len);


#endif /* FANOUT_AUTH_ALGORITHM_H */
