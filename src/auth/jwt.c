
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <string.h>
#include <strings.h>

#include "auth/base64url.h"
#include "auth/claims.h"
#include "auth/members.h"
#include "auth/signature.h"


#define JWT_MEDIA  "application/"


typedef struct {
    fanout_json_t              alg;
    fanout_json_t              kid;
    fanout_json_t              typ;
    fanout_json_t              crit;
} jwt_header_t;

/* a token in its parts; what is decoded is in buf, one behind the other */

typedef struct {
    fanout_json_t              header;
    fanout_json_t              claims;
    fanout_json_t              signature;
    fanout_json_t              text;        /* what is signed, encoded */
    fanout_json_t              kid;         /* data NULL: none */
    const fanout_algorithm_t  *algorithm;
    uint8_t                    id[FANOUT_KEY_ID_MAX];
} jwt_token_t;


static const fanout_json_field_t  jwt_header_fields[] = {
    fanout_json_field("alg", jwt_header_t, alg),
    fanout_json_field("kid", jwt_header_t, kid),
    fanout_json_field("typ", jwt_header_t, typ),
    fanout_json_field("crit", jwt_header_t, crit)
};

static const char *const  jwt_texts[] = {
    "the token is verified",
    "the token is malformed",
    "the token's algorithm is not allowed",
    "the token has a critical extension",
    "the token's key is unknown",
    "the token's signature is wrong",
    "the token has expired",
    "the token is not valid yet",
    "the token is of another issuer",
    "the token is for another audience",
    "the token is for a channel, not for a session: it belongs into a join",
    "the token is for no channel: a join needs one that has",
    "the token's jti is not a string of 1 to 255 bytes",
    "no memory"
};


/* Decodes one part to *buf, which moves on. */

static int
jwt_part(fanout_json_t *part, const uint8_t *p, const uint8_t *end,
    uint8_t **buf)
{
    part->data = *buf;
    part->len = fanout_base64url_size((size_t) (end - p));
    *buf += part->len;

    return part->len
           && fanout_base64url_decode(*buf - part->len, p, (size_t) (end - p))
              == 0
           ? 0 : -1;
}


static int
jwt_split(jwt_token_t *t, const uint8_t *token, size_t len, uint8_t *buf)
{
    const uint8_t  *first, *second, *end;

    end = token + len;
    first = len ? memchr(token, '.', len) : NULL;
    second = first ? memchr(first + 1, '.', (size_t) (end - first - 1)) : NULL;

    if (second == NULL) {
        return -1;
    }

    t->text.data = token;
    t->text.len = (size_t) (second - token);

    return jwt_part(&t->header, token, first, &buf) == 0
           && jwt_part(&t->claims, first + 1, second, &buf) == 0
           && jwt_part(&t->signature, second + 1, end, &buf) == 0
           ? 0 : -1;
}


/* "JWT", or "at+jwt" of RFC 9068: a token for something else is not taken for
 * an access token (RFC 8725, section 3.11) */

static int
jwt_type_fits(const fanout_json_t *typ)
{
    size_t         media;
    uint8_t        buf[32];
    const char    *name;
    fanout_json_t  text;

    if (typ->len == 0) {
        return 1;
    }

    if (fanout_json_text(typ, buf, sizeof(buf), &text) != FANOUT_JSON_OK) {
        return 0;
    }

    media = sizeof(JWT_MEDIA) - 1;
    name = (const char *) text.data;

    if (text.len > media && strncasecmp(name, JWT_MEDIA, media) == 0) {
        name += media;
        text.len -= media;
    }

    return (text.len == 3 && strncasecmp(name, "JWT", 3) == 0)
           || (text.len == 6 && strncasecmp(name, "at+jwt", 6) == 0);
}


static fanout_jwt_e
jwt_find_algorithm(jwt_token_t *t, const fanout_json_t *alg)
{
    uint8_t        buf[8];
    fanout_json_t  name;

    if (fanout_json_type(alg) != FANOUT_JSON_STRING) {
        return FANOUT_JWT_MALFORMED;
    }

    if (fanout_json_text(alg, buf, sizeof(buf), &name) != FANOUT_JSON_OK) {
        return FANOUT_JWT_ALGORITHM;
    }

    t->algorithm = fanout_algorithm_find(name.data, name.len);

    return t->algorithm ? FANOUT_JWT_OK : FANOUT_JWT_ALGORITHM;
}


static fanout_jwt_e
jwt_read_id(jwt_token_t *t, const fanout_json_t *kid)
{
    t->kid.data = NULL;
    t->kid.len = 0;

    if (kid->len == 0) {
        return FANOUT_JWT_OK;
    }

    switch (fanout_json_text(kid, t->id, sizeof(t->id), &t->kid)) {

    case FANOUT_JSON_OK:
        return FANOUT_JWT_OK;

    case FANOUT_JSON_TOO_LONG:
        return FANOUT_JWT_KEY;

    default:
        return FANOUT_JWT_MALFORMED;
    }
}


static fanout_jwt_e
jwt_read_header(jwt_token_t *t)
{
    int            rc;
    fanout_jwt_e   e;
    jwt_header_t   header;
    fanout_json_t  object;

    rc = fanout_json_check(t->header.data, t->header.len, FANOUT_AUTH_DEPTH,
                           &object, NULL);

    if (rc == FANOUT_JSON_NO_MEMORY) {
        return FANOUT_JWT_NO_MEMORY;
    }

    if (rc < 0
        || fanout_auth_members(&object, jwt_header_fields, 4, &header)
           != FANOUT_JSON_OK)
    {
        return FANOUT_JWT_MALFORMED;
    }

    if (header.crit.len) {
        return FANOUT_JWT_CRITICAL;
    }

    if (!jwt_type_fits(&header.typ)) {
        return FANOUT_JWT_MALFORMED;
    }

    e = jwt_find_algorithm(t, &header.alg);

    return e == FANOUT_JWT_OK ? jwt_read_id(t, &header.kid) : e;
}


static int
jwt_key_is(const fanout_key_t *key, const fanout_json_t *kid)
{
    return key->id && key->id_len == kid->len
           && memcmp(key->id, kid->data, kid->len) == 0;
}


static int
jwt_key_known(const fanout_keys_t *keys, const fanout_json_t *kid)
{
    const fanout_key_t  *key;

    for (key = keys->first; key; key = key->next) {
        if (kid->data && jwt_key_is(key, kid)) {
            return 1;
        }
    }

    return 0;
}


/* whether a key is tried; known: the token's kid is that of a key */

static int
jwt_key_fits(const fanout_key_t *key, const jwt_token_t *t, int known)
{
    if (!(key->algorithms & t->algorithm->bit)) {
        return 0;
    }

    if (known) {
        return jwt_key_is(key, &t->kid);
    }

    return t->kid.data == NULL || key->id == NULL;
}


static fanout_jwt_e
jwt_try_keys(const fanout_keys_t *keys, const jwt_token_t *t)
{
    int            known;
    unsigned       tries;
    fanout_jwt_e   e;
    fanout_key_t  *key;

    e = FANOUT_JWT_KEY;
    tries = 0;
    known = jwt_key_known(keys, &t->kid);

    for (key = keys->first; key && tries < FANOUT_JWT_TRIES; key = key->next) {

        if (!jwt_key_fits(key, t, known)) {
            continue;
        }

        tries++;
        e = fanout_signature_verify(key, t->algorithm, &t->text,
                                    &t->signature);

        if (e != FANOUT_JWT_SIGNATURE) {
            break;
        }
    }

    return e;
}


fanout_jwt_e
fanout_jwt_verify(const fanout_keys_t *keys, const fanout_jwt_rules_t *rules,
    const uint8_t *token, size_t len, int64_t now, uint8_t *buf,
    fanout_jwt_t *jwt)
{
    jwt_token_t   t;
    fanout_jwt_e  e;

    memset(jwt, 0, sizeof(fanout_jwt_t));

    if (jwt_split(&t, token, len, buf) != 0) {
        return FANOUT_JWT_MALFORMED;
    }

    e = jwt_read_header(&t);

    if (e != FANOUT_JWT_OK) {
        return e;
    }

    if (rules->algorithms && !(rules->algorithms & t.algorithm->bit)) {
        return FANOUT_JWT_ALGORITHM;
    }

    e = jwt_try_keys(keys, &t);

    if (e != FANOUT_JWT_OK) {
        return e;
    }

    return fanout_claims_check(t.claims.data, t.claims.len, rules, now, jwt);
}


const char *
fanout_jwt_strerror(fanout_jwt_e e)
{
    return jwt_texts[e];
}
