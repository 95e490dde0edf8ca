
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#ifndef FANOUT_AUTH_SIGNATURE_H
#define FANOUT_AUTH_SIGNATURE_H


#include "auth/algorithm.h"
#include "auth/key.h"


/*
 * Verifies a signature by a key that has this algorithm: OK, SIGNATURE or
 * NO_MEMORY.  HMACs are compared in constant time.  The queue of OpenSSL's
 * errors is as it was.  The key keeps a context for the next one: keys are used
 * by one thread at a time.
 */
fanout_jwt_e fanout_signature_verify(fanout_key_t *key,
    const fanout_algorithm_t *algorithm, const fanout_json_t *text,
    const fanout_json_t *signature);


#endif /* FANOUT_AUTH_SIGNATURE_H */
