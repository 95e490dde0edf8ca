
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <string.h>

#include "auth/claims.h"
#include "auth/members.h"


typedef struct {
    fanout_json_t  iss;
    fanout_json_t  sub;
    fanout_json_t  aud;
    fanout_json_t  exp;
    fanout_json_t  nbf;
    fanout_json_t  iat;
    fanout_json_t  jti;
} claims_t;

typedef struct {
    int64_t        exp;
    int64_t        nbf;
    int64_t        iat;
} claims_times_t;


static const fanout_json_field_t  claims_fields[] = {
    fanout_json_field("iss", claims_t, iss),
    fanout_json_field("sub", claims_t, sub),
    fanout_json_field("aud", claims_t, aud),
    fanout_json_field("exp", claims_t, exp),
    fanout_json_field("nbf", claims_t, nbf),
    fanout_json_field("iat", claims_t, iat),
    fanout_json_field("jti", claims_t, jti)
};

#define CLAIMS_FIELDS  (sizeof(claims_fields) / sizeof(claims_fields[0]))


static int
claims_is_text(const fanout_json_t *value)
{
    return value->len == 0 || fanout_json_type(value) == FANOUT_JSON_STRING;
}


static int
claims_is_audience(const fanout_json_t *value)
{
    fanout_json_t       item;
    fanout_json_iter_t  it;

    if (claims_is_text(value)) {
        return 1;
    }

    if (fanout_json_type(value) != FANOUT_JSON_ARRAY) {
        return 0;
    }

    (void) fanout_json_iter(&it, value);

    while (fanout_json_next(&it, NULL, &item) == 1) {
        if (fanout_json_type(&item) != FANOUT_JSON_STRING) {
            return 0;
        }
    }

    return 1;
}


/* 0 if there is none */

static int
claims_time(const fanout_json_t *value, int64_t *seconds)
{
    *seconds = 0;

    return value->len == 0
           || fanout_auth_seconds(value, seconds) == FANOUT_JSON_OK;
}


static int
claims_read(const fanout_json_t *object, claims_t *claims,
    claims_times_t *times)
{
    return fanout_auth_members(object, claims_fields, CLAIMS_FIELDS, claims)
           == FANOUT_JSON_OK
           && claims_is_text(&claims->iss)
           && claims_is_text(&claims->sub)
           && claims_is_audience(&claims->aud)
           && claims_time(&claims->exp, &times->exp)
           && claims_time(&claims->nbf, &times->nbf)
           && claims_time(&claims->iat, &times->iat);
}


static int
claims_one_of(const fanout_json_t *value, const fanout_jwt_rules_t *rules)
{
    unsigned  i;

    for (i = 0; i < rules->naudiences; i++) {
        if (fanout_auth_equals(value, &rules->audiences[i])) {
            return 1;
        }
    }

    return 0;
}


static int
claims_audience(const fanout_json_t *aud, const fanout_jwt_rules_t *rules)
{
    fanout_json_t       item;
    fanout_json_iter_t  it;

    if (fanout_json_type(aud) != FANOUT_JSON_ARRAY) {
        return claims_one_of(aud, rules);
    }

    (void) fanout_json_iter(&it, aud);

    while (fanout_json_next(&it, NULL, &item) == 1) {
        if (claims_one_of(&item, rules)) {
            return 1;
        }
    }

    return 0;
}


static fanout_jwt_e
claims_compare(const claims_t *claims, const claims_times_t *times,
    const fanout_jwt_rules_t *rules, int64_t now)
{
    /* a time of 0 would be told as no time, and has passed anyway */

    if (claims->exp.len ? times->exp <= 0 || now - rules->leeway >= times->exp
                        : rules->expires)
    {
        return FANOUT_JWT_EXPIRED;
    }

    if ((claims->nbf.len && now + rules->leeway < times->nbf)
        || (claims->iat.len && now + rules->leeway < times->iat))
    {
        return FANOUT_JWT_EARLY;
    }

    if (rules->issuer.len && !fanout_auth_equals(&claims->iss, &rules->issuer))
    {
        return FANOUT_JWT_ISSUER;
    }

    if (rules->naudiences && !claims_audience(&claims->aud, rules)) {
        return FANOUT_JWT_AUDIENCE;
    }

    return FANOUT_JWT_OK;
}


/* a token is revoked by a name; one that can't be named could not be */

static int
claims_is_id(const fanout_json_t *value)
{
    uint8_t        buf[FANOUT_JWT_ID_MAX];
    fanout_json_t  text;

    return value->len == 0
           || (fanout_json_text(value, buf, sizeof(buf), &text)
               == FANOUT_JSON_OK
               && text.len != 0);
}


/* whether it is a token of a channel, as it has to be or must not be; the claim
 * may be there twice, or be no name: it is meant as one all the same */

static fanout_jwt_e
claims_purpose(const fanout_json_t *object, const fanout_jwt_rules_t *rules,
    fanout_json_t *channel)
{
    unsigned            n;
    fanout_json_t       key, item;
    fanout_json_iter_t  it;

    n = 0;
    channel->data = NULL;
    channel->len = 0;

    (void) fanout_json_iter(&it, object);

    while (rules->channel.len && fanout_json_next(&it, &key, &item) == 1) {
        if (fanout_auth_equals(&key, &rules->channel)) {
            *channel = item;
            n++;
        }
    }

    if (!rules->channels) {
        return n == 0 ? FANOUT_JWT_OK : FANOUT_JWT_OF_CHANNEL;
    }

    if (n == 0) {
        return FANOUT_JWT_OF_SESSION;
    }

    return n == 1 && fanout_json_type(channel) == FANOUT_JSON_STRING
           ? FANOUT_JWT_OK : FANOUT_JWT_MALFORMED;
}


fanout_jwt_e
fanout_claims_check(const uint8_t *text, size_t len,
    const fanout_jwt_rules_t *rules, int64_t now, fanout_jwt_t *jwt)
{
    int             rc;
    claims_t        claims;
    fanout_jwt_e    e;
    fanout_json_t   object, channel;
    claims_times_t  times;

    rc = fanout_json_check(text, len, FANOUT_AUTH_DEPTH, &object, NULL);

    if (rc == FANOUT_JSON_NO_MEMORY) {
        return FANOUT_JWT_NO_MEMORY;
    }

    if (rc < 0 || !claims_read(&object, &claims, &times)) {
        return FANOUT_JWT_MALFORMED;
    }

    e = claims_purpose(&object, rules, &channel);

    if (e == FANOUT_JWT_OK && !claims_is_id(&claims.jti)) {
        e = FANOUT_JWT_ID;
    }

    if (e == FANOUT_JWT_OK) {
        e = claims_compare(&claims, &times, rules, now);
    }

    if (e == FANOUT_JWT_OK) {
        jwt->claims = object;
        jwt->subject = claims.sub;
        jwt->channel = channel;
        jwt->id = claims.jti;
        jwt->expires = times.exp;
        jwt->issued = times.iat;
    }

    return e;
}


/* a member that is there twice is none: nobody knows which is meant */

static int
claims_member(const fanout_json_t *object, const fanout_json_t *name,
    fanout_json_t *value)
{
    int                 n;
    fanout_json_t       key, item;
    fanout_json_iter_t  it;

    n = 0;

    if (fanout_json_iter(&it, object) != FANOUT_JSON_OK
        || fanout_json_type(object) != FANOUT_JSON_OBJECT)
    {
        return 0;
    }

    while (fanout_json_next(&it, &key, &item) == 1) {
        if (fanout_auth_equals(&key, name)) {
            *value = item;
            n++;
        }
    }

    return n == 1;
}


int
fanout_jwt_claim(const fanout_json_t *claims, const fanout_json_t *names,
    unsigned n, fanout_json_t *value)
{
    unsigned       i;
    fanout_json_t  object;

    *value = *claims;

    for (i = 0; i < n; i++) {
        object = *value;

        if (!claims_member(&object, &names[i], value)) {
            value->data = NULL;
            value->len = 0;
            return 0;
        }
    }

    return value->len != 0;
}
