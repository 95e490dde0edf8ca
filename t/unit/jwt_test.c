/* sources: src/auth/[a-z]*.c src/base/json*.c t/unit/token.c */
/* libs: -lyajl -lcrypto */

/*
 * If this fails, a forged or expired token lets somebody in as anyone, or a
 * good one is refused.
 */


#include <stdlib.h>

#include <openssl/err.h>

#include "tap.h"
#include "token.h"
#include "auth/jwt.h"


#define NOW  1700000000

#define SECRET  "0123456789abcdef0123456789abcdef"
#define CLAIMS  "{\"sub\":\"ann\",\"exp\":1700000060}"

#define text(s)  { (const uint8_t *) s, sizeof(s) - 1 }


typedef struct {
    const char    *token;
    fanout_jwt_e   want;
    const char    *name;
} case_t;


static char                error[FANOUT_KEYS_ERROR];
static fanout_keys_t       keys;        /* of the test */
static fanout_jwt_rules_t  rules;
static fanout_jwt_t        jwt;
static uint8_t             buf[TOKEN_SIZE];
static token_key_t         hs256 = { NULL, SECRET, "HS256" };

static EVP_PKEY           *rsa, *p256, *p384, *p521, *ed;


/* in memory of its own, for a sanitizer to see the bounds */

static fanout_jwt_e
verify_bytes(const char *token, size_t len, int64_t now)
{
    uint8_t       *copy, *out;
    fanout_jwt_e   rc;

    copy = malloc(len + 1);
    out = malloc(len + 1);

    memcpy(copy + 1, token, len);
    rc = fanout_jwt_verify(&keys, &rules, copy + 1, len, now, out + 1, &jwt);

    memcpy(buf, out + 1, len);

    if (jwt.claims.len) {
        jwt.claims.data = buf + (jwt.claims.data - out - 1);
    }

    free(copy);
    free(out);

    return rc;
}


static fanout_jwt_e
verify(const char *token)
{
    return verify_bytes(token, strlen(token), NOW);
}


static void
is_rc(fanout_jwt_e got, fanout_jwt_e want, const char *name)
{
    is_str(fanout_jwt_strerror(got), fanout_jwt_strerror(want), "%s", name);
}


static void
only_secret(const char *secret)
{
    fanout_keys_clear(&keys);
    is_int(fanout_keys_secret(&keys, (const uint8_t *) secret, strlen(secret),
                              error), 0, "a secret");
}


static void
only_jwks(const char *jwks)
{
    fanout_keys_clear(&keys);
    error[0] = '\0';
    is_int(fanout_keys_jwks(&keys, (const uint8_t *) jwks, strlen(jwks),
                            error), 0, "a key set %s", error);
}


static void
only_pem(EVP_PKEY *pkey)
{
    const char  *pem = token_pem(pkey);

    fanout_keys_clear(&keys);
    is_int(fanout_keys_pem(&keys, (const uint8_t *) pem, strlen(pem), error),
           0, "PEM");
}


/* RFC 7515, appendix A.1 to A.3; RFC 8037, appendix A.4 */

#define RFC_CLAIMS                                                            \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmN" \
    "vbS9pc19yb290Ijp0cnVlfQ"

#define RFC_HS256                                                             \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_CLAIMS                    \
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

#define RFC_RS256                                                             \
    "eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS                                        \
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm" \
    "4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f" \
    "_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOL" \
    "n6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUT" \
    "I8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

#define RFC_ES256                                                             \
    "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS                                        \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxf" \
    "KTUJqPP3-Kg6NU1Q"

#define RFC_EDDSA                                                             \
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"                \
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9" \
    "g7sVvpAr_MuM0KAg"

static const char  rfc_keys[] =
    "{\"keys\":["
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1q"
    "S0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"},"
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k"
    "0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W"
    "_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYU"
    "sLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I"
    "5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR"
    "WyuXpoQ\",\"e\":\"AQAB\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e"
    "8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvP"
    "apiMlrwIaaPcHURo\"}]}";


static void
test_rfc(void)
{
    size_t                 i;
    static const char     *all[] = { RFC_HS256, RFC_RS256, RFC_ES256 };

    only_jwks(rfc_keys);

    for (i = 0; i < 3; i++) {
        is_rc(verify_bytes(all[i], strlen(all[i]), 1300819379), FANOUT_JWT_OK,
              "RFC 7515, appendix A");
        is_int(jwt.expires, 1300819380, "its exp");
        is_rc(verify_bytes(all[i], strlen(all[i]), 1300819380),
              FANOUT_JWT_EXPIRED, "a second later");
        is_int(jwt.claims.len, 0, "no claims");
    }

    /* the signature is good, and the payload is no JSON */

    is_rc(verify(RFC_EDDSA), FANOUT_JWT_MALFORMED, "RFC 8037, appendix A.4");
}


static void
test_algorithms(void)
{
    size_t              i, j;
    unsigned            bit;
    const char         *token;
    const token_key_t   all[] = {
        { NULL, SECRET, "HS256" }, { NULL, SECRET, "HS384" },
        { NULL, SECRET, "HS512" }, { rsa, NULL, "RS256" },
        { rsa, NULL, "RS384" }, { rsa, NULL, "RS512" }, { rsa, NULL, "PS256" },
        { rsa, NULL, "PS384" }, { rsa, NULL, "PS512" }, { p256, NULL, "ES256" },
        { p384, NULL, "ES384" }, { p521, NULL, "ES512" }, { ed, NULL, "EdDSA" }
    };

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {

        if (all[i].pkey) {
            only_pem(all[i].pkey);

        } else {
            only_secret(SECRET);
        }

        token = token_make(&all[i], "", CLAIMS);
        bit = fanout_jwt_algorithm((const uint8_t *) all[i].alg, 5);

        is_rc(verify(token), FANOUT_JWT_OK, all[i].alg);
        is_int(jwt.expires, NOW + 60, "exp");

        rules.algorithms = bit;
        is_rc(verify(token), FANOUT_JWT_OK, "allowed");
        rules.algorithms = 0x1fff & ~bit;
        is_rc(verify(token), FANOUT_JWT_ALGORITHM, "not allowed");
        rules.algorithms = 0;

        if (all[i].pkey) {
            only_jwks(token_jwk(all[i].pkey, ""));
            is_rc(verify(token), FANOUT_JWT_OK, "by a JWK");
            only_jwks(token_jwk(all[i].pkey,
                                token_format(",\"alg\":\"%s\"", all[i].alg)));
            is_rc(verify(token), FANOUT_JWT_OK, "by a JWK of this algorithm");

            for (j = 0; j < sizeof(all) / sizeof(all[0]); j++) {
                token = token_make(&all[j], "", CLAIMS);

                if (j != i && verify(token) != FANOUT_JWT_KEY) {
                    ok(0, "a key of %s verifies %s", all[i].alg, all[j].alg);
                }
            }
        }
    }

    ok(fanout_jwt_algorithm((const uint8_t *) "HS25", 4) == 0, "HS25");
    ok(fanout_jwt_algorithm((const uint8_t *) "none", 4) == 0, "none");
}


/* an attacker has the public key, and signs with its bytes */

static void
test_confusion(void)
{
    size_t       i;
    token_key_t  forged = { NULL, token_pem(rsa), "HS256" };

    static const char *const  none[] = {
        "none", "None", "NONE", "nOnE", "", "hs256", "HS257", " HS256",
        "HS256\\u0000", "RSA", "HS256HS256HS256", "HS1"
    };

    only_pem(rsa);
    is_rc(verify(token_make(&forged, "", CLAIMS)), FANOUT_JWT_KEY,
          "PEM as a secret");

    only_jwks(token_format("{\"keys\":[%s,{\"kty\":\"oct\",\"k\":\"%s\"}]}",
                           token_jwk(rsa, ""), token_base64url(SECRET, 32)));
    is_rc(verify(token_make(&forged, "", CLAIMS)), FANOUT_JWT_SIGNATURE,
          "also if there is a secret");
    is_rc(verify(token_make(&hs256, "", CLAIMS)), FANOUT_JWT_OK, "that works");

    only_secret(SECRET);

    for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        is_rc(verify(token_sign(&hs256,
                                token_format("{\"alg\":\"%s\"}", none[i]),
                                CLAIMS)),
              FANOUT_JWT_ALGORITHM, none[i]);
        is_rc(verify(token_format("%s.%s.AAAA",
                                  token_base64url("{\"alg\":\"none\"}", 14),
                                  token_base64url(CLAIMS, 34))),
              FANOUT_JWT_ALGORITHM, "none without a signature");
    }
}


static const case_t  header_cases[] = {
    { "{}", FANOUT_JWT_MALFORMED, "no alg" },
    { "{\"alg\":1}", FANOUT_JWT_MALFORMED, "alg is a number" },
    { "{\"alg\":null}", FANOUT_JWT_MALFORMED, "alg is null" },
    { "{\"alg\":[\"HS256\"]}", FANOUT_JWT_MALFORMED, "alg is an array" },
    { "[]", FANOUT_JWT_MALFORMED, "an array" },
    { "\"HS256\"", FANOUT_JWT_MALFORMED, "a string" },
    { "{\"alg\":\"HS256\"} {}", FANOUT_JWT_MALFORMED, "two values" },
    { "{\"alg\":\"HS256\",}", FANOUT_JWT_MALFORMED, "no JSON" },
    { "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", FANOUT_JWT_MALFORMED,
      "alg twice" },
    { "{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", FANOUT_JWT_MALFORMED,
      "alg twice, escaped" },
    { "{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"a\"}", FANOUT_JWT_MALFORMED,
      "kid twice" },
    { "{\"alg\":\"HS256\",\"x\":1,\"typ\":\"JWT\",\"y\":1,\"typ\":\"JWT\"}",
      FANOUT_JWT_MALFORMED, "typ twice" },
    { "{\"alg\":\"HS256\",\"crit\":[],\"crit\":[]}", FANOUT_JWT_MALFORMED,
      "crit twice" },
    { "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", FANOUT_JWT_CRITICAL,
      "crit" },
    { "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
      FANOUT_JWT_CRITICAL, "crit with b64" },
    { "{\"alg\":\"HS256\",\"crit\":null}", FANOUT_JWT_CRITICAL,
      "crit is null" },
    { "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", FANOUT_JWT_OK, "JWT" },
    { "{\"alg\":\"HS256\",\"typ\":\"jwt\"}", FANOUT_JWT_OK, "jwt" },
    { "{\"alg\":\"HS256\",\"typ\":\"AT+JWT\"}", FANOUT_JWT_OK, "AT+JWT" },
    { "{\"alg\":\"HS256\",\"typ\":\"application/at+jwt\"}", FANOUT_JWT_OK,
      "application/at+jwt" },
    { "{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\"}", FANOUT_JWT_MALFORMED,
      "dpop+jwt" },
    { "{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", FANOUT_JWT_MALFORMED,
      "logout+jwt" },
    { "{\"alg\":\"HS256\",\"typ\":7}", FANOUT_JWT_MALFORMED,
      "typ is a number" },
    { "{\"alg\":\"HS256\",\"kid\":7}", FANOUT_JWT_MALFORMED,
      "kid is a number" },
    { "{\"alg\":\"HS256\",\"kid\":\"\\ud800\"}", FANOUT_JWT_MALFORMED,
      "kid is half of a pair" },
    { "{\"alg\":\"HS256\",\"kid\":\"../../../../dev/null\"}", FANOUT_JWT_OK,
      "kid as a path is a name like others" },
    { "{\"alg\":\"HS256\",\"kid\":\"x' UNION SELECT 'key\"}", FANOUT_JWT_OK,
      "kid as SQL, too" },
    { "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/\",\"x5u\":\"http://a/\","
      "\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"},\"x5c\":[\"AAAA\"]}",
      FANOUT_JWT_OK, "keys in the header are ignored" }
};


static void
test_header(void)
{
    size_t        i;
    const char   *jwk;
    token_key_t   evil = { rsa, NULL, "RS256" };

    only_secret(SECRET);

    for (i = 0; i < sizeof(header_cases) / sizeof(header_cases[0]); i++) {
        is_rc(verify(token_sign(&hs256, header_cases[i].token, CLAIMS)),
              header_cases[i].want, header_cases[i].name);
    }

    /* the attacker's own key, in the header */

    jwk = token_format(",\"jwk\":%s", token_jwk(rsa, ""));
    is_rc(verify(token_make(&evil, jwk, CLAIMS)), FANOUT_JWT_KEY,
          "a key in the header, no other");

    only_jwks(rfc_keys);
    is_rc(verify(token_make(&evil, jwk, CLAIMS)), FANOUT_JWT_SIGNATURE,
          "a key in the header, and another");

    only_secret(SECRET);
    is_rc(verify(token_sign(&hs256, token_format(
              "{\"alg\":\"HS256\",\"x\":%.40s%.40s}",
              "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
              "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), CLAIMS)),
          FANOUT_JWT_MALFORMED, "40 levels");
}


static const case_t  claims_cases[] = {
    { "{}", FANOUT_JWT_OK, "no claims" },
    { "[]", FANOUT_JWT_MALFORMED, "an array" },
    { "null", FANOUT_JWT_MALFORMED, "null" },
    { "{\"exp\":1700000060", FANOUT_JWT_MALFORMED, "no JSON" },
    { "{\"sub\":\"\xff\"}", FANOUT_JWT_MALFORMED, "no UTF-8" },
    { "{\"exp\":1700000001}", FANOUT_JWT_OK, "a second left" },
    { "{\"exp\":1700000000}", FANOUT_JWT_EXPIRED, "expired now" },
    { "{\"exp\":1700000000.9}", FANOUT_JWT_EXPIRED, "rounded down" },
    { "{\"exp\":1700000001.1}", FANOUT_JWT_OK, "a fraction" },
    { "{\"exp\":1.7000000015e9}", FANOUT_JWT_OK, "an exponent" },
    { "{\"exp\":170000000150e-2}", FANOUT_JWT_OK, "a negative exponent" },
    { "{\"exp\":1e300}", FANOUT_JWT_MALFORMED, "1e300" },
    { "{\"exp\":1e99999999999999999999}", FANOUT_JWT_MALFORMED, "beyond" },
    { "{\"exp\":1e-99999999999999999999}", FANOUT_JWT_EXPIRED, "near 0" },
    { "{\"exp\":99999999999999999999}", FANOUT_JWT_MALFORMED, "2^66" },
    { "{\"exp\":9007199254740992}", FANOUT_JWT_OK, "2^53" },
    { "{\"exp\":9007199254740993}", FANOUT_JWT_MALFORMED, "2^53 + 1" },
    { "{\"exp\":0}", FANOUT_JWT_EXPIRED, "0" },
    { "{\"exp\":-1}", FANOUT_JWT_EXPIRED, "-1" },
    { "{\"exp\":-1e99}", FANOUT_JWT_MALFORMED, "-1e99" },
    { "{\"exp\":\"1700000060\"}", FANOUT_JWT_MALFORMED, "exp is a string" },
    { "{\"exp\":null}", FANOUT_JWT_MALFORMED, "exp is null" },
    { "{\"exp\":17e8,\"exp\":17e8}", FANOUT_JWT_MALFORMED, "exp twice" },
    { "{\"exp\":1,\"\\u0065xp\":17e8}", FANOUT_JWT_MALFORMED, "escaped" },
    { "{\"nbf\":1700000000}", FANOUT_JWT_OK, "valid from now on" },
    { "{\"nbf\":1700000001}", FANOUT_JWT_EARLY, "not yet" },
    { "{\"nbf\":{}}", FANOUT_JWT_MALFORMED, "nbf is an object" },
    { "{\"nbf\":1,\"nbf\":1}", FANOUT_JWT_MALFORMED, "nbf twice" },
    { "{\"iat\":1700000001}", FANOUT_JWT_EARLY, "issued in the future" },
    { "{\"iat\":-1.5}", FANOUT_JWT_OK, "issued before 1970" },
    { "{\"iat\":true}", FANOUT_JWT_MALFORMED, "iat is true" },
    { "{\"iat\":1,\"iat\":1}", FANOUT_JWT_MALFORMED, "iat twice" },
    { "{\"sub\":7}", FANOUT_JWT_MALFORMED, "sub is a number" },
    { "{\"sub\":\"a\",\"sub\":\"b\"}", FANOUT_JWT_MALFORMED, "sub twice" },
    { "{\"iss\":[]}", FANOUT_JWT_MALFORMED, "iss is an array" },
    { "{\"iss\":\"a\",\"iss\":\"a\"}", FANOUT_JWT_MALFORMED, "iss twice" },
    { "{\"aud\":7}", FANOUT_JWT_MALFORMED, "aud is a number" },
    { "{\"aud\":[\"a\",7]}", FANOUT_JWT_MALFORMED, "aud has a number" },
    { "{\"aud\":\"a\",\"aud\":\"b\"}", FANOUT_JWT_MALFORMED, "aud twice" },
    { "{\"any\":1,\"any\":2}", FANOUT_JWT_OK, "another claim twice" },
    { "{\"jti\":\"a\",\"jti\":\"a\"}", FANOUT_JWT_MALFORMED, "jti twice" },
    { "{\"jti\":7}", FANOUT_JWT_ID, "jti is a number" },
    { "{\"jti\":\"\\ud800\"}", FANOUT_JWT_ID, "jti with half of a pair" }
};

static const case_t  rules_cases[] = {
    { "{\"iss\":\"https://i\",\"aud\":\"app\",\"exp\":1700000060}",
      FANOUT_JWT_OK, "all" },
    { "{\"iss\":\"https:\\/\\/i\",\"aud\":\"\\u0061pp\",\"exp\":1700000060}",
      FANOUT_JWT_OK, "escaped" },
    { "{\"iss\":\"https://i\",\"aud\":[\"x\",\"web\"],\"exp\":1700000060}",
      FANOUT_JWT_OK, "one of aud" },
    { "{\"iss\":\"https://i\",\"aud\":[\"x\",\"y\"],\"exp\":1700000060}",
      FANOUT_JWT_AUDIENCE, "none of aud" },
    { "{\"iss\":\"https://i\",\"aud\":[],\"exp\":1700000060}",
      FANOUT_JWT_AUDIENCE, "empty aud" },
    { "{\"iss\":\"https://i\",\"aud\":\"App\",\"exp\":1700000060}",
      FANOUT_JWT_AUDIENCE, "another case" },
    { "{\"iss\":\"https://i\",\"exp\":1700000060}", FANOUT_JWT_AUDIENCE,
      "no aud" },
    { "{\"iss\":\"https://i/\",\"aud\":\"app\",\"exp\":1700000060}",
      FANOUT_JWT_ISSUER, "another issuer" },
    { "{\"iss\":\"https://i\\u0000\",\"aud\":\"app\",\"exp\":1700000060}",
      FANOUT_JWT_ISSUER, "a NUL behind it" },
    { "{\"iss\":\"\\ud800\",\"aud\":\"app\",\"exp\":1700000060}",
      FANOUT_JWT_ISSUER, "half of a pair" },
    { "{\"aud\":\"app\",\"exp\":1700000060}", FANOUT_JWT_ISSUER, "no issuer" },
    { "{\"iss\":\"https://i\",\"aud\":\"app\"}", FANOUT_JWT_EXPIRED, "no exp" },
    { "{\"iss\":\"https://i\",\"aud\":\"app\",\"exp\":1699999996}",
      FANOUT_JWT_OK, "within the leeway" },
    { "{\"iss\":\"https://i\",\"aud\":\"app\",\"exp\":1699999995}",
      FANOUT_JWT_EXPIRED, "behind it" },
    { "{\"iss\":\"https://i\",\"aud\":\"app\",\"exp\":1700000060,"
      "\"nbf\":1700000005,\"iat\":1700000005}", FANOUT_JWT_OK,
      "before it" },
    { "{\"iss\":\"https://i\",\"aud\":\"app\",\"exp\":1700000060,"
      "\"nbf\":1700000006}", FANOUT_JWT_EARLY, "too early" }
};


/* with "channel" as the claim of a channel */

static const case_t  session_cases[] = {
    { "{}", FANOUT_JWT_OK, "of no channel" },
    { "{\"chan\":\"a\",\"x\":{\"channel\":\"a\"}}", FANOUT_JWT_OK, "deeper" },
    { "{\"channel\":\"a\"}", FANOUT_JWT_OF_CHANNEL, "of a channel" },
    { "{\"\\u0063hannel\":\"a\"}", FANOUT_JWT_OF_CHANNEL, "escaped" },
    { "{\"channel\":null}", FANOUT_JWT_OF_CHANNEL, "null" },
    { "{\"channel\":1,\"channel\":1}", FANOUT_JWT_OF_CHANNEL, "twice" },
    { "{\"channel\":\"a\",\"exp\":1}", FANOUT_JWT_OF_CHANNEL, "expired" }
};

static const case_t  channel_cases[] = {
    { "{}", FANOUT_JWT_OF_SESSION, "of a session" },
    { "{\"channel\":\"a\"}", FANOUT_JWT_OK, "of a channel" },
    { "{\"\\u0063hannel\":\"a\"}", FANOUT_JWT_OK, "escaped" },
    { "{\"channel\":[\"a\"]}", FANOUT_JWT_MALFORMED, "an array" },
    { "{\"channel\":null}", FANOUT_JWT_MALFORMED, "null" },
    { "{\"channel\":\"a\",\"channel\":\"a\"}", FANOUT_JWT_MALFORMED, "twice" },
    { "{\"channel\":\"a\",\"exp\":1}", FANOUT_JWT_EXPIRED, "expired" }
};


static void
test_channel(void)
{
    size_t                      i;
    static const fanout_json_t  channel = text("channel");

    only_secret(SECRET);
    rules.channel = channel;

    for (i = 0; i < sizeof(session_cases) / sizeof(session_cases[0]); i++) {
        is_rc(verify(token_make(&hs256, "", session_cases[i].token)),
              session_cases[i].want, session_cases[i].name);
    }

    rules.channels = 1;

    for (i = 0; i < sizeof(channel_cases) / sizeof(channel_cases[0]); i++) {
        is_rc(verify(token_make(&hs256, "", channel_cases[i].token)),
              channel_cases[i].want, channel_cases[i].name);
    }

    is_rc(verify(token_make(&hs256, "", "{\"channel\":\"a\",\"sub\":\"b\"}")),
          FANOUT_JWT_OK, "with a user");
    is_int(jwt.channel.len, 3, "its channel");
    is_int(jwt.subject.len, 3, "its user");

    memset(&rules, 0, sizeof(rules));
}


static void
test_claims(void)
{
    size_t                      i;
    fanout_json_t               value;
    static const fanout_json_t  audiences[] = { text("app"), text("web") };
    static const fanout_json_t  names[] = { text("a"), text("b") };
    static const fanout_json_t  issuer = text("https://i");

    only_secret(SECRET);

    for (i = 0; i < sizeof(claims_cases) / sizeof(claims_cases[0]); i++) {
        is_rc(verify(token_make(&hs256, "", claims_cases[i].token)),
              claims_cases[i].want, claims_cases[i].name);
    }

    rules.issuer = issuer;
    rules.audiences = audiences;
    rules.naudiences = 2;
    rules.leeway = 5;
    rules.expires = 1;

    for (i = 0; i < sizeof(rules_cases) / sizeof(rules_cases[0]); i++) {
        is_rc(verify(token_make(&hs256, "", rules_cases[i].token)),
              rules_cases[i].want, rules_cases[i].name);
    }

    memset(&rules, 0, sizeof(rules));

    is_rc(verify(token_make(&hs256, "", " {\"iat\":7, \"a\":{\"b\":\"c\"},"
                                        "\"b\":1,\"b\":2} ")),
          FANOUT_JWT_OK, "claims");
    is_int(jwt.issued, 7, "issued");
    is_int(jwt.expires, 0, "no exp");
    is_int(jwt.claims.len, 36, "their length");

    is_int(fanout_jwt_claim(&jwt.claims, names, 2, &value), 1, "a.b");
    is_mem(value.data, value.len, "\"c\"", 3, "its value");
    is_int(fanout_jwt_claim(&jwt.claims, names, 0, &value), 1, "all");
    is_int(value.len, 36, "its length");
    is_int(fanout_jwt_claim(&jwt.claims, names + 1, 1, &value), 0, "b twice");
    is_int(value.len, 0, "no value");
    is_int(fanout_jwt_claim(&value, names, 1, &value), 0, "a of nothing");
}


static void
test_keys(void)
{
    int           i, n;
    char          set[4096];
    const char   *k, *token;
    token_key_t   other = { NULL, "another secret of some bytes", "HS256" };

    k = token_base64url(SECRET, 32);

    only_jwks(token_format(
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"%s\",\"kid\":\"a\"},"
        "{\"kty\":\"oct\",\"k\":\"%s\",\"kid\":\"b\"}]}",
        token_base64url(other.secret, 28), k));

    is_rc(verify(token_make(&hs256, "", CLAIMS)), FANOUT_JWT_OK, "no kid");
    is_rc(verify(token_make(&hs256, ",\"kid\":\"b\"", CLAIMS)), FANOUT_JWT_OK,
          "the key's kid");
    is_rc(verify(token_make(&hs256, ",\"kid\":\"\\u0062\"", CLAIMS)),
          FANOUT_JWT_OK, "escaped");
    is_rc(verify(token_make(&hs256, ",\"kid\":\"a\"", CLAIMS)),
          FANOUT_JWT_SIGNATURE, "the kid of another");
    is_rc(verify(token_make(&hs256, ",\"kid\":\"c\"", CLAIMS)),
          FANOUT_JWT_KEY, "a kid of none");
    is_rc(verify(token_make(&hs256, token_format(",\"kid\":\"%0300d\"", 1),
                            CLAIMS)),
          FANOUT_JWT_KEY, "a kid of 300 bytes");

    n = snprintf(set, sizeof(set), "{\"keys\":[");

    for (i = 0; i < FANOUT_JWT_TRIES; i++) {
        n += snprintf(set + n, sizeof(set) - n,
                      "{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAA%c\"},",
                      'A' + 16 * (i % 2));
    }

    snprintf(set + n, sizeof(set) - n,
             "{\"kty\":\"oct\",\"k\":\"%s\",\"kid\":\"z\"}]}", k);
    only_jwks(set);

    token = token_make(&hs256, "", CLAIMS);
    is_rc(verify(token), FANOUT_JWT_SIGNATURE, "not more than 8 tries");
    is_rc(verify(token_make(&hs256, ",\"kid\":\"z\"", CLAIMS)), FANOUT_JWT_OK,
          "with a kid at once");

    fanout_keys_clear(&keys);
    is_rc(verify(token), FANOUT_JWT_KEY, "no keys");
}


/* each part cut, and each bit flipped, and characters added */

static void
mutations(const char *token, const char *name)
{
    int           cut, flipped, added;
    char          copy[TOKEN_SIZE];
    size_t        i, len;
    unsigned      bit;
    fanout_jwt_e  rc;

    len = strlen(token);
    cut = flipped = added = 0;

    for (i = 0; i < len; i++) {
        cut += verify_bytes(token, i, NOW) == FANOUT_JWT_OK;

        memcpy(copy, token, len);

        for (bit = 1; bit < 0x100; bit <<= 1) {
            copy[i] = (char) (token[i] ^ bit);
            flipped += verify_bytes(copy, len, NOW) == FANOUT_JWT_OK;
        }

        memcpy(copy, token, i);
        memcpy(copy + i + 1, token + i, len - i);
        copy[i] = "A.=\n +/"[i % 7];
        rc = verify_bytes(copy, len + 1, NOW);
        added += rc == FANOUT_JWT_OK;
    }

    ok(cut + flipped + added == 0, "%s: %d cut, %d flipped, %d added", name,
       cut, flipped, added);
}


static void
test_form(void)
{
    char         copy[TOKEN_SIZE];
    size_t       i, len;
    const char  *token;
    token_key_t  es256 = { p256, NULL, "ES256" };

    static const char *const  tails[] = { ".", ".AAAA", "=", "A", "\n", " ",
                                          "AAAA", "%" };
    static const char *const  empty[] = { "", ".", "..", "...", "a.b",
                                          "AAAA..AAAA", ".AAAA.AAAA",
                                          "AAAA.AAAA." };

    only_secret(SECRET);
    token = token_make(&hs256, "", CLAIMS);
    len = strlen(token);
    mutations(token, "HS256");

    for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        ok(verify(token_format("%s%s", token, tails[i])) != FANOUT_JWT_OK,
           "behind a token: 0x%02x", tails[i][0]);
    }

    for (i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        is_rc(verify(empty[i]), FANOUT_JWT_MALFORMED, empty[i]);
    }

    /* 32 bytes are 43 characters, the last of which has two spare bits */

    for (i = 1; i < 4; i++) {
        memcpy(copy, token, len + 1);
        copy[len - 1] = (char) (copy[len - 1] + i);
        is_rc(verify(copy), FANOUT_JWT_MALFORMED, "spare bits");
    }

    is_rc(verify(token_format("%s.", strrchr(token, '.') - 20)),
          FANOUT_JWT_MALFORMED, "no header");

    only_pem(p256);
    mutations(token_make(&es256, "", CLAIMS), "ES256");
    is_int(ERR_peek_error(), 0, "no errors are left in OpenSSL's queue");
}


static const char *
with_signature(const char *token, const uint8_t *sig, size_t len)
{
    return token_format("%.*s.%s", (int) (strrchr(token, '.') - token), token,
                        token_base64url(sig, len));
}


static void
test_signatures(void)
{
    uint8_t      sig[1400];
    const char  *token;
    token_key_t  es256 = { p256, NULL, "ES256" };
    token_key_t  rs256 = { rsa, NULL, "RS256" };
    token_key_t  salt = { rsa, NULL, "PS256/0" };

    only_jwks(token_format("{\"keys\":[%s,%s,%s]}", token_jwk(p256, ""),
                           token_jwk(rsa, ""), token_jwk(ed, "")));

    token = token_make(&es256, "", CLAIMS);
    memset(sig, 0, sizeof(sig));
    is_rc(verify(with_signature(token, sig, 64)), FANOUT_JWT_SIGNATURE,
          "r and s are 0 (CVE-2022-21449)");
    sig[31] = 1;
    is_rc(verify(with_signature(token, sig, 64)), FANOUT_JWT_SIGNATURE,
          "s is 0");
    sig[31] = 0;
    sig[63] = 1;
    is_rc(verify(with_signature(token, sig, 64)), FANOUT_JWT_SIGNATURE,
          "r is 0");
    memset(sig, 0xff, sizeof(sig));
    is_rc(verify(with_signature(token, sig, 64)), FANOUT_JWT_SIGNATURE,
          "beyond the order");
    is_rc(verify(with_signature(token, sig, 63)), FANOUT_JWT_SIGNATURE, "63");
    is_rc(verify(with_signature(token, sig, 65)), FANOUT_JWT_SIGNATURE, "65");
    is_rc(verify(with_signature(token, sig, 72)), FANOUT_JWT_SIGNATURE, "DER");
    is_rc(verify(with_signature(token, sig, 1)), FANOUT_JWT_SIGNATURE, "1");
    is_rc(verify(with_signature(token, sig, 1400)), FANOUT_JWT_SIGNATURE,
          "1400");

    token = token_make(&rs256, "", CLAIMS);
    is_rc(verify(token), FANOUT_JWT_OK, "RS256");
    is_rc(verify(with_signature(token, sig, 256)), FANOUT_JWT_SIGNATURE,
          "beyond the modulus");
    is_rc(verify(with_signature(token, sig, 257)), FANOUT_JWT_SIGNATURE,
          "longer than it");
    memset(sig, 0, sizeof(sig));
    is_rc(verify(with_signature(token, sig, 256)), FANOUT_JWT_SIGNATURE, "0");
    sig[255] = 1;
    is_rc(verify(with_signature(token, sig, 256)), FANOUT_JWT_SIGNATURE, "1");

    is_rc(verify(token_make(&salt, "", CLAIMS)), FANOUT_JWT_SIGNATURE,
          "PS256 without salt");
    is_int(ERR_peek_error(), 0, "no errors are left in OpenSSL's queue");
}


/* a key keeps its context for the next token: no token may change what is
 * said of another */

static void
test_sequence(void)
{
    unsigned      i;
    uint8_t       sig[256] = { 1 };
    const char   *token[5], *bad[5];
    token_key_t   all[5] = {
        { rsa, NULL, "RS256" }, { rsa, NULL, "PS256" }, { rsa, NULL, "RS512" },
        { p256, NULL, "ES256" }, { ed, NULL, "EdDSA" }
    };

    only_jwks(token_format("{\"keys\":[%s,%s,%s]}", token_jwk(p256, ""),
                           token_jwk(rsa, ""), token_jwk(ed, "")));

    for (i = 0; i < 5; i++) {
        token[i] = token_make(&all[i], "", CLAIMS);
        bad[i] = with_signature(token[i], sig, i < 3 ? 256 : 64);
    }

    srand(1);

    for (i = 0; i < 400; i++) {
        unsigned  n = (unsigned) rand() % 5;

        if (verify(token[n]) != FANOUT_JWT_OK) {
            ok(0, "%s is refused as token %u", all[n].alg, i);
        }

        n = (unsigned) rand() % 5;

        if (verify(bad[n]) != FANOUT_JWT_SIGNATURE) {
            ok(0, "a forged %s is accepted as token %u", all[n].alg, i);
        }
    }

    is_rc(verify(token[0]), FANOUT_JWT_OK, "800 tokens one after the other");
}


int
main(void)
{
    rsa = token_generate("RSA2048");
    p256 = token_generate("P-256");
    p384 = token_generate("P-384");
    p521 = token_generate("P-521");
    ed = token_generate("Ed25519");

    test_rfc();
    test_algorithms();
    test_confusion();
    test_header();
    test_claims();
    test_channel();
    test_keys();
    test_form();
    test_signatures();
    test_sequence();

    fanout_keys_clear(&keys);

    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(p521);
    EVP_PKEY_free(ed);

    return done_testing();
}
