
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#ifndef FANOUT_AUTH_CLAIMS_H
#define FANOUT_AUTH_CLAIMS_H


#include "auth/jwt.h"


/*
 * Validates a text as claims (RFC 7519, section 4.1), compares them with rules,
 * and fills in jwt.  OK, MALFORMED, EXPIRED, EARLY, ISSUER or AUDIENCE.
 */
fanout_jwt_e fanout_claims_check(const uint8_t *text, size_t len,
    const fanout_jwt_rules_t *rules, int64_t now, fanout_jwt_t *jwt);


#endif /* FANOUT_AUTH_CLAIMS_H */
