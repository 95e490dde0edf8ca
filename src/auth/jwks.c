
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "auth/algorithm.h"
#include "auth/base64url.h"
#include "auth/key.h"
#include "auth/members.h"
#include "auth/spki.h"


/* base64url of the longest number */

#define JWKS_NUMBER  ((FANOUT_SPKI_NUMBER + 2) / 3 * 4)


typedef struct {
    fanout_json_t   kty;
    fanout_json_t   use;
    fanout_json_t   key_ops;
    fanout_json_t   alg;
    fanout_json_t   kid;
    fanout_json_t   k;
    fanout_json_t   n;
    fanout_json_t   e;
    fanout_json_t   crv;
    fanout_json_t   x;
    fanout_json_t   y;
} jwks_key_t;

typedef struct {
    fanout_json_t   keys;
    fanout_json_t   kty;
} jwks_set_t;

typedef struct {
    uint8_t         buf[JWKS_NUMBER];
    fanout_json_t   value;
} jwks_number_t;

typedef struct {
    fanout_keys_t  *keys;
    unsigned        at;                 /* the key's place in the set, from 1 */
    char           *error;
} jwks_t;


static const fanout_json_field_t  jwks_key_fields[] = {
    fanout_json_field("kty", jwks_key_t, kty),
    fanout_json_field("use", jwks_key_t, use),
    fanout_json_field("key_ops", jwks_key_t, key_ops),
    fanout_json_field("alg", jwks_key_t, alg),
    fanout_json_field("kid", jwks_key_t, kid),
    fanout_json_field("k", jwks_key_t, k),
    fanout_json_field("n", jwks_key_t, n),
    fanout_json_field("e", jwks_key_t, e),
    fanout_json_field("crv", jwks_key_t, crv),
    fanout_json_field("x", jwks_key_t, x),
    fanout_json_field("y", jwks_key_t, y)
};

#define JWKS_KEY_FIELDS                                                       \
    (sizeof(jwks_key_fields) / sizeof(jwks_key_fields[0]))

static const fanout_json_field_t  jwks_set_fields[] = {
    fanout_json_field("keys", jwks_set_t, keys),
    fanout_json_field("kty", jwks_set_t, kty)
};


static int
jwks_is(const fanout_json_t *value, const char *text)
{
    fanout_json_t  want;

    want.data = (const uint8_t *) text;
    want.len = strlen(text);

    return fanout_auth_equals(value, &want);
}


static int
jwks_broken(jwks_t *jwks, const char *what)
{
    return fanout_keys_fail(jwks->error, "key %u of the set: %s", jwks->at,
                            what);
}


/* a member that has to be a string, if it is there */

static int
jwks_texts(const jwks_key_t *jwk)
{
    size_t                i;
    const fanout_json_t  *all[] = { &jwk->kty, &jwk->use, &jwk->alg,
                                    &jwk->kid, &jwk->crv };

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i]->len && fanout_json_type(all[i]) != FANOUT_JSON_STRING) {
            return 0;
        }
    }

    return 1;
}


static int
jwks_number(const fanout_json_t *member, jwks_number_t *number)
{
    size_t         len;
    fanout_json_t  text;

    if (fanout_json_text(member, number->buf, JWKS_NUMBER, &text)
        != FANOUT_JSON_OK)
    {
        return -1;
    }

    len = fanout_base64url_size(text.len);

    if (fanout_base64url_decode(number->buf, text.data, text.len) != 0) {
        return -1;
    }

    number->value.data = number->buf;
    number->value.len = len;

    return 0;
}


static int
jwks_public(jwks_t *jwks, fanout_key_t *key, EVP_PKEY *pkey)
{
    char  error[FANOUT_KEYS_ERROR];

    if (pkey == NULL) {
        return jwks_broken(jwks, "its numbers are not a key");
    }

    if (fanout_key_public(key, pkey, error) != 0) {
        return jwks_broken(jwks, error);
    }

    return 0;
}


static int
jwks_rsa(jwks_t *jwks, fanout_key_t *key, const jwks_key_t *jwk)
{
    jwks_number_t  n, e;

    if (jwks_number(&jwk->n, &n) != 0 || jwks_number(&jwk->e, &e) != 0) {
        return jwks_broken(jwks, "\"n\" or \"e\" is missing, not base64url, or"
                           " too long");
    }

    return jwks_public(jwks, key, fanout_spki_rsa(&n.value, &e.value));
}


static int
jwks_ec(jwks_t *jwks, fanout_key_t *key, const jwks_key_t *jwk)
{
    uint8_t        buf[8];
    fanout_json_t  curve;
    jwks_number_t  x, y;

    if (jwks_number(&jwk->x, &x) != 0 || jwks_number(&jwk->y, &y) != 0) {
        return jwks_broken(jwks, "\"x\" or \"y\" is missing, not base64url, or"
                           " too long");
    }

    if (fanout_json_text(&jwk->crv, buf, sizeof(buf), &curve)
        != FANOUT_JSON_OK)
    {
        return jwks_broken(jwks, "no curve");
    }

    return jwks_public(jwks, key, fanout_spki_ec(&curve, &x.value, &y.value));
}


static int
jwks_okp(jwks_t *jwks, fanout_key_t *key, const jwks_key_t *jwk)
{
    jwks_number_t  x;

    if (jwks_number(&jwk->x, &x) != 0) {
        return jwks_broken(jwks, "\"x\" is missing, not base64url, or too"
                           " long");
    }

    return jwks_public(jwks, key, fanout_spki_ed25519(&x.value));
}


static int
jwks_secret_decoded(jwks_t *jwks, fanout_key_t *key, const fanout_json_t *k,
    uint8_t *buf)
{
    char           error[FANOUT_KEYS_ERROR];
    fanout_json_t  text;

    if (fanout_json_text(k, buf, k->len, &text) != FANOUT_JSON_OK
        || fanout_base64url_decode(buf, text.data, text.len) != 0)
    {
        return jwks_broken(jwks, "\"k\" is missing, or not base64url");
    }

    if (fanout_key_secret(key, buf, fanout_base64url_size(text.len), error)
        != 0)
    {
        return jwks_broken(jwks, error);
    }

    return 0;
}


static int
jwks_oct(jwks_t *jwks, fanout_key_t *key, const jwks_key_t *jwk)
{
    int       rc;
    size_t    size;
    uint8_t  *buf;

    size = jwk->k.len + 1;

    buf = malloc(size);
    if (buf == NULL) {
        return jwks_broken(jwks, "no memory");
    }

    rc = jwks_secret_decoded(jwks, key, &jwk->k, buf);

    OPENSSL_cleanse(buf, size);
    free(buf);

    return rc;
}


typedef int (*jwks_read_pt)(jwks_t *jwks, fanout_key_t *key,
    const jwks_key_t *jwk);


/* how a key of this type is read; NULL: it is one of another type or curve */

static jwks_read_pt
jwks_reader(const jwks_key_t *jwk)
{
    if (jwks_is(&jwk->kty, "RSA")) {
        return jwks_rsa;
    }

    if (jwks_is(&jwk->kty, "EC")) {
        return jwk->crv.len == 0 || jwks_is(&jwk->crv, "P-256")
               || jwks_is(&jwk->crv, "P-384") || jwks_is(&jwk->crv, "P-521")
               ? jwks_ec : NULL;
    }

    if (jwks_is(&jwk->kty, "OKP")) {
        return jwks_is(&jwk->crv, "Ed25519") ? jwks_okp : NULL;
    }

    return jwks_is(&jwk->kty, "oct") ? jwks_oct : NULL;
}


/* 1, 0, or -1: "key_ops" is no array */

static int
jwks_verifies(const jwks_key_t *jwk)
{
    int                 found;
    fanout_json_t       op;
    fanout_json_iter_t  it;

    if (jwk->use.len && !jwks_is(&jwk->use, "sig")) {
        return 0;
    }

    if (jwk->key_ops.len == 0) {
        return 1;
    }

    if (fanout_json_type(&jwk->key_ops) != FANOUT_JSON_ARRAY) {
        return -1;
    }

    found = 0;
    (void) fanout_json_iter(&it, &jwk->key_ops);

    while (fanout_json_next(&it, NULL, &op) == 1) {
        found |= jwks_is(&op, "verify");
    }

    return found;
}


/* Bits of "alg": all without it, 0 if it is not one of tokens. */

static unsigned
jwks_algorithms(const jwks_key_t *jwk)
{
    uint8_t        buf[8];
    fanout_json_t  name;

    if (jwk->alg.len == 0) {
        return ~0U;
    }

    if (fanout_json_text(&jwk->alg, buf, sizeof(buf), &name) != FANOUT_JSON_OK)
    {
        return 0;
    }

    return fanout_jwt_algorithm(name.data, name.len);
}


static int
jwks_id(jwks_t *jwks, fanout_key_t *key, const fanout_json_t *kid)
{
    uint8_t        buf[FANOUT_KEY_ID_MAX];
    fanout_json_t  id;

    if (kid->len == 0) {
        return 0;
    }

    if (fanout_json_text(kid, buf, sizeof(buf), &id) != FANOUT_JSON_OK) {
        return jwks_broken(jwks, "\"kid\" is too long, or not Unicode");
    }

    key->id = malloc(id.len + 1);
    if (key->id == NULL) {
        return jwks_broken(jwks, "no memory");
    }

    memcpy(key->id, id.data, id.len);
    key->id_len = id.len;

    return 0;
}


static int
jwks_add(jwks_t *jwks, const jwks_key_t *jwk, jwks_read_pt read,
    unsigned algorithms)
{
    fanout_key_t  *key;

    key = fanout_keys_add(jwks->keys, jwks->error);

    if (key == NULL || jwks_id(jwks, key, &jwk->kid) != 0
        || read(jwks, key, jwk) != 0)
    {
        return -1;
    }

    key->algorithms &= algorithms;

    return key->algorithms ? 0
           : jwks_broken(jwks, "its \"alg\" is one of another type of key");
}


static int
jwks_key(jwks_t *jwks, const fanout_json_t *value)
{
    int           verifies;
    unsigned      algorithms;
    jwks_key_t    jwk;
    jwks_read_pt  read;

    jwks->at++;

    switch (fanout_auth_members(value, jwks_key_fields, JWKS_KEY_FIELDS, &jwk))
    {
    case FANOUT_JSON_OK:
        break;

    case FANOUT_JSON_DUPLICATE:
        return jwks_broken(jwks, "a member is there twice");

    default:
        return jwks_broken(jwks, "it is not an object");
    }

    if (jwk.kty.len == 0 || !jwks_texts(&jwk)) {
        return jwks_broken(jwks, "\"kty\" is missing, or a member is not a"
                           " string");
    }

    verifies = jwks_verifies(&jwk);
    algorithms = jwks_algorithms(&jwk);
    read = jwks_reader(&jwk);

    if (verifies < 0) {
        return jwks_broken(jwks, "\"key_ops\" is not an array");
    }

    if (!verifies || algorithms == 0 || read == NULL) {
        return 0;
    }

    return jwks_add(jwks, &jwk, read, algorithms);
}


static int
jwks_set(jwks_t *jwks, const fanout_json_t *object)
{
    int                 rc;
    jwks_set_t          set;
    fanout_json_t       key;
    fanout_json_iter_t  it;

    if (fanout_auth_members(object, jwks_set_fields, 2, &set)
        != FANOUT_JSON_OK)
    {
        return fanout_keys_fail(jwks->error, "a key set is an object that has"
                                " \"keys\" or \"kty\" once");
    }

    if (set.keys.len == 0 && set.kty.len) {
        return jwks_key(jwks, object);
    }

    if (fanout_json_type(&set.keys) != FANOUT_JSON_ARRAY) {
        return fanout_keys_fail(jwks->error, "a key set has no array \"keys\"");
    }

    rc = 0;
    (void) fanout_json_iter(&it, &set.keys);

    while (rc == 0 && fanout_json_next(&it, NULL, &key) == 1) {
        rc = jwks_key(jwks, &key);
    }

    return rc;
}


static int
jwks_read(jwks_t *jwks, const uint8_t *text, size_t len)
{
    int                  type;
    fanout_json_t        object;
    fanout_json_error_t  err;

    if (len > FANOUT_KEYS_TEXT) {
        return fanout_keys_fail(jwks->error, "more than %d bytes of a key set",
                                FANOUT_KEYS_TEXT);
    }

    type = fanout_json_check(text, len, FANOUT_AUTH_DEPTH, &object, &err);

    if (type < 0) {
        return fanout_keys_fail(jwks->error, "a key set is not JSON: %s",
                                err.reason);
    }

    if (jwks_set(jwks, &object) != 0) {
        return -1;
    }

    if (jwks->keys->n == 0) {
        return fanout_keys_fail(jwks->error, "a key set has no key that"
                                " verifies tokens");
    }

    return 0;
}


int
fanout_keys_jwks(fanout_keys_t *keys, const uint8_t *text, size_t len,
    char *error)
{
    int            rc;
    jwks_t         jwks;
    fanout_keys_t  added = { NULL, 0 };

    jwks.keys = &added;
    jwks.at = 0;
    jwks.error = error;

    ERR_set_mark();
    rc = jwks_read(&jwks, text, len);
    ERR_pop_to_mark();

    return fanout_keys_move(keys, &added, rc, error);
}
