
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <string.h>

#include "auth/algorithm.h"


/* RFC 7518, section 3.1; RFC 8037, section 3.1.  "none" is not here. */

static const fanout_algorithm_t  algorithms[] = {
    { "HS256", FANOUT_JWT_HS256, 0, EVP_sha256 },
    { "HS384", FANOUT_JWT_HS384, 0, EVP_sha384 },
    { "HS512", FANOUT_JWT_HS512, 0, EVP_sha512 },
    { "RS256", FANOUT_JWT_RS256, 0, EVP_sha256 },
    { "RS384", FANOUT_JWT_RS384, 0, EVP_sha384 },
    { "RS512", FANOUT_JWT_RS512, 0, EVP_sha512 },
    { "PS256", FANOUT_JWT_PS256, 0, EVP_sha256 },
    { "PS384", FANOUT_JWT_PS384, 0, EVP_sha384 },
    { "PS512", FANOUT_JWT_PS512, 0, EVP_sha512 },
    { "ES256", FANOUT_JWT_ES256, 32, EVP_sha256 },
    { "ES384", FANOUT_JWT_ES384, 48, EVP_sha384 },
    { "ES512", FANOUT_JWT_ES512, 66, EVP_sha512 },
    { "EdDSA", FANOUT_JWT_EDDSA, 0, NULL }
};


const fanout_algorithm_t *
fanout_algorithm_find(const uint8_t *name, size_t len)
{
    size_t  i;

    for (i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        if (len == strlen(algorithms[i].name)
            && memcmp(name, algorithms[i].name, len) == 0)
        {
            return &algorithms[i];
        }
    }

    return NULL;
}


unsigned
fanout_jwt_algorithm(const uint8_t *name, size_t len)
{
    const fanout_algorithm_t  *algorithm;

    algorithm = fanout_algorithm_find(name, len);

    return algorithm ? algorithm->bit : 0;
}
