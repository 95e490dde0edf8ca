
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515): verified, and the
 * claims read.  As keys.h: nothing of NGINX.
 */


#ifndef FANOUT_AUTH_JWT_H
#define FANOUT_AUTH_JWT_H


#include "auth/keys.h"
#include "base/json.h"


/* algorithms, bits */

#define FANOUT_JWT_HS256   0x0001
#define FANOUT_JWT_HS384   0x0002
#define FANOUT_JWT_HS512   0x0004
#define FANOUT_JWT_RS256   0x0008
#define FANOUT_JWT_RS384   0x0010
#define FANOUT_JWT_RS512   0x0020
#define FANOUT_JWT_PS256   0x0040
#define FANOUT_JWT_PS384   0x0080
#define FANOUT_JWT_PS512   0x0100
#define FANOUT_JWT_ES256   0x0200
#define FANOUT_JWT_ES384   0x0400
#define FANOUT_JWT_ES512   0x0800
#define FANOUT_JWT_EDDSA   0x1000

/* keys that are tried for a token, at most: a try takes 3 us (HS256), 20 us
 * (RS256), 60 us (ES256) or a ms (ES384, ES512) */

#define FANOUT_JWT_TRIES   8

/* bytes of jti, at most */

#define FANOUT_JWT_ID_MAX  255


typedef enum {
    FANOUT_JWT_OK = 0,
    FANOUT_JWT_MALFORMED,               /* not three parts of base64url, no
                                           JSON or nested too deeply, no "alg",
                                           a member of a wrong type or there
                                           twice, unequal base64url, a token of
                                           another "typ" */
    FANOUT_JWT_ALGORITHM,               /* none, unknown, or not allowed */
    FANOUT_JWT_CRITICAL,                /* "crit" (RFC 7515, section 4.1.11) */
    FANOUT_JWT_KEY,                     /* no key of this kid and algorithm */
    FANOUT_JWT_SIGNATURE,
    FANOUT_JWT_EXPIRED,
    FANOUT_JWT_EARLY,                   /* nbf, or iat in the future */
    FANOUT_JWT_ISSUER,
    FANOUT_JWT_AUDIENCE,
    FANOUT_JWT_OF_CHANNEL,              /* it is one of a channel, or */
    FANOUT_JWT_OF_SESSION,              /* it is not */
    FANOUT_JWT_ID,                      /* jti is no text, or too long */
    FANOUT_JWT_NO_MEMORY
} fanout_jwt_e;


/* issuer, audiences and channel match if they have 1024 bytes at most */

typedef struct {
    fanout_json_t         issuer;       /* text, len 0: any */
    const fanout_json_t  *audiences;    /* texts; one of them must be in aud */
    unsigned              naudiences;   /* 0: any, also none */
    unsigned              algorithms;   /* 0: all that the keys have */
    fanout_json_t         channel;      /* text: the name of the claim that
                                           makes it one of a channel; len 0:
                                           none does */
    int64_t               leeway;       /* s, not negative */
    unsigned              expires:1;    /* a token without exp is EXPIRED */
    unsigned              channels:1;   /* it has to be one of a channel; else
                                           it must not */
} fanout_jwt_rules_t;

typedef struct {
    fanout_json_t         claims;       /* object, in buf */
    fanout_json_t         subject;      /* sub, a string in JSON, or len 0 */
    fanout_json_t         channel;      /* likewise */
    fanout_json_t         id;           /* jti, likewise */
    int64_t               expires;      /* Unix s; 0: the token has none */
    int64_t               issued;       /* iat; 0: none */
} fanout_jwt_t;


/*
 * Verifies a token: first the signature, then the claims; now is Unix s.  buf
 * has room for len bytes, and keeps the claims.  HMACs are compared in constant
 * time.  jwt is zeroed if the result is not OK.
 *
 * The keys of the token's kid are tried, or those without a kid if no key has
 * it; without a kid all are.  Only those that have its algorithm are, and at
 * most FANOUT_JWT_TRIES.  Members of the header that bring keys (jwk, jku, x5c,
 * x5u) are ignored.  typ may be missing, "JWT" or "at+jwt" in any case, also
 * with "application/" before it; another one says that the token is meant for
 * something else.
 *
 * exp, nbf and iat may have a fraction, and are rounded down; a token is
 * EXPIRED from exp on.  Beyond 2^53 they are MALFORMED.  sub, iss, aud and jti
 * are checked for their types, and any other claim is for the caller.
 */
fanout_jwt_e fanout_jwt_verify(const fanout_keys_t *keys,
    const fanout_jwt_rules_t *rules, const uint8_t *token, size_t len,
    int64_t now, uint8_t *buf, fanout_jwt_t *jwt);

/* a short text: "the token has expired"; static */
const char *fanout_jwt_strerror(fanout_jwt_e e);

/* Bits of "HS256"; 0: unknown. */
unsigned fanout_jwt_algorithm(const uint8_t *name, size_t len);

/* Finds a claim by n names, from the outside in: n is 0 for the claims
 * themselves.  1, or 0: it is not there, or one of them is there twice. */
int fanout_jwt_claim(const fanout_json_t *claims, const fanout_json_t *names,
    unsigned n, fanout_json_t *value);


#endif /* FANOUT_AUTH_JWT_H */
