/* sources: src/auth/[a-z]*.c src/base/json*.c t/unit/token.c */
/* libs: -lyajl -lcrypto */

/*
 * If this fails, a key that anybody can break or knows is taken, a good one is
 * not, or an error tells a secret.
 */


#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "tap.h"
#include "token.h"
#include "auth/base64url.h"
#include "auth/jwt.h"


#define SECRET  "\"0123456789abcdefghijkl\""        /* 16 bytes and 4 bits */
#define K       "\"AAECAwQFBgcICQoLDA0ODw\""        /* 16 bytes */
#define OCT     "{\"kty\":\"oct\",\"k\":" K "}"


typedef int (*add_pt)(fanout_keys_t *keys, const uint8_t *text, size_t len,
    char *error);

typedef struct {
    const char  *text;
    int          n;             /* keys; -1: an error */
    const char  *name;          /* or a part of the error */
} case_t;


static char       error[FANOUT_KEYS_ERROR];
static EVP_PKEY  *rsa, *p256, *ed;


/* keys that were added to an empty set, -1: none are, and error says why */

static int
added_bytes(add_pt add, const char *text, size_t len)
{
    int             rc, n;
    uint8_t        *copy;
    fanout_keys_t   keys = { NULL, 0 };

    copy = malloc(len + 1);
    memcpy(copy + 1, text, len);

    memset(error, '#', sizeof(error));
    rc = add(&keys, copy + 1, len, error);
    n = (int) keys.n;

    if (rc != 0 && (n || keys.first || !memchr(error, 0, sizeof(error)))) {
        ok(0, "an error has a text, and adds nothing");
    }

    fanout_keys_clear(&keys);
    free(copy);

    return rc == 0 ? n : -1;
}


static int
added(add_pt add, const char *text)
{
    return added_bytes(add, text, strlen(text));
}


static void
refused(add_pt add, const char *text, const char *reason, const char *name)
{
    is_int(added(add, text), -1, "%s", name);
    ok(strstr(error, reason) != NULL, "%s: %s", name, error);
}


static void
test_base64url(void)
{
    uint8_t  out[8];

    is_int(fanout_base64url_decode(out, (const uint8_t *) "AP-_", 4), 0, "4");
    is_mem(out, 3, "\x00\xff\xbf", 3, "its bytes");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "AP8", 3), 0, "3");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "AP9", 3), -1,
           "spare bits");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "AA", 2), 0, "2");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "AB", 2), -1,
           "spare bits");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "A", 1), -1, "1");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "AA==", 4), -1,
           "padding");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "A+/A", 4), -1,
           "base64");
    is_int(fanout_base64url_decode(out, (const uint8_t *) "", 0), 0, "empty");
    is_int(fanout_base64url_size(0), 0, "of 0");
    is_int(fanout_base64url_size(2), 1, "of 2");
    is_int(fanout_base64url_size(3), 2, "of 3");
    is_int(fanout_base64url_size(4), 3, "of 4");
}


static void
test_secret(void)
{
    int            i;
    fanout_keys_t  keys = { NULL, 0 };

    refused(fanout_keys_secret, "", "less than 16", "no bytes");
    refused(fanout_keys_secret, "geheimgeheim123", "less than 16", "15 bytes");
    ok(strstr(error, "geheim") == NULL, "the error does not tell it");
    is_int(added(fanout_keys_secret, "0123456789abcdef"), 1, "16 bytes");

    for (i = 0; i < FANOUT_KEYS_MAX; i++) {
        if (fanout_keys_secret(&keys, (const uint8_t *) "0123456789abcdef", 16,
                               error)
            != 0)
        {
            break;
        }
    }

    is_int(i, FANOUT_KEYS_MAX, "so many keys");
    is_int(fanout_keys_secret(&keys, (const uint8_t *) "0123456789abcdef", 16,
                              error), -1, "one more");
    is_str(error, "more than 64 keys", "is refused");
    is_int(keys.n, FANOUT_KEYS_MAX, "the others are still there");

    fanout_keys_clear(&keys);
    is_int(keys.n, 0, "none after clear");
    ok(keys.first == NULL, "none at all");
    fanout_keys_clear(&keys);
}


static const char *
private_pem(EVP_PKEY *pkey)
{
    static char   buf[TOKEN_SIZE];
    int           n;
    BIO          *bio;

    bio = BIO_new(BIO_s_mem());
    (void) PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    n = BIO_read(bio, buf, sizeof(buf) - 1);
    buf[n > 0 ? n : 0] = '\0';
    BIO_free(bio);

    return buf;
}


static const char *
certificate(EVP_PKEY *pkey, const EVP_MD *md)
{
    static char   buf[TOKEN_SIZE];
    int           n;
    BIO          *bio;
    X509         *x509;

    x509 = X509_new();
    (void) ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    (void) X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    (void) X509_gmtime_adj(X509_getm_notAfter(x509), 60);
    (void) X509_set_pubkey(x509, pkey);
    ok(X509_sign(x509, pkey, md) > 0, "a certificate");

    bio = BIO_new(BIO_s_mem());
    (void) PEM_write_bio_X509(bio, x509);
    n = BIO_read(bio, buf, sizeof(buf) - 1);
    buf[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    X509_free(x509);

    return buf;
}


/* the PKCS #1 form, which is the end of a SubjectPublicKeyInfo */

static const char *
pkcs1_pem(EVP_PKEY *pkey)
{
    static char   buf[TOKEN_SIZE];
    int           n, len;
    BIO          *bio;
    uint8_t      *der = NULL;

    len = i2d_PublicKey(pkey, &der);
    bio = BIO_new(BIO_s_mem());
    (void) PEM_write_bio(bio, "RSA PUBLIC KEY", "", der, len);
    n = BIO_read(bio, buf, sizeof(buf) - 1);
    buf[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    OPENSSL_free(der);

    return buf;
}


static void
test_pem(void)
{
    int          bad;
    size_t       i, len;
    EVP_PKEY    *weak, *koblitz;
    const char  *pem;

    is_int(added(fanout_keys_pem, token_pem(rsa)), 1, "RSA");
    is_int(added(fanout_keys_pem, pkcs1_pem(rsa)), 1, "RSA PUBLIC KEY");
    is_int(added(fanout_keys_pem, token_pem(p256)), 1, "EC");
    is_int(added(fanout_keys_pem, token_pem(ed)), 1, "Ed25519");
    is_int(added(fanout_keys_pem, certificate(rsa, EVP_sha256())), 1, "of RSA");
    is_int(added(fanout_keys_pem, certificate(ed, NULL)), 1, "of Ed25519");
    is_int(added(fanout_keys_pem, token_format("one:\n%s\ntwo:\n%s", pkcs1_pem(
                     rsa), token_pem(ed))), 2, "two, and text around them");

    refused(fanout_keys_pem, private_pem(rsa), "private", "a private key");
    refused(fanout_keys_pem,
            token_format("%s%s", token_pem(ed), private_pem(ed)), "private",
            "one behind a public one");
    refused(fanout_keys_pem, "", "no key in PEM", "nothing");
    refused(fanout_keys_pem, "ssh-rsa AAAA", "no key in PEM", "another form");
    refused(fanout_keys_pem, "-----BEGIN PUBLIC KEY-----\nAAAA\n"
            "-----END PUBLIC KEY-----\n", "broken key", "a broken key");
    refused(fanout_keys_pem, "-----BEGIN CERTIFICATE-----\nAAAA\n"
            "-----END CERTIFICATE-----\n", "broken key", "a broken one");
    refused(fanout_keys_pem, "-----BEGIN X-----\nAAAA\n-----END X-----\n",
            "not PUBLIC KEY", "another name");
    refused(fanout_keys_pem, "-----BEGIN PUBLIC KEY-----\nA!AA\n"
            "-----END PUBLIC KEY-----\n", "broken PEM", "no base64");

    weak = token_generate("RSA1024");
    koblitz = token_generate("secp256k1");

    refused(fanout_keys_pem, token_pem(weak), "1024 bits", "RSA, 1024 bits");
    refused(fanout_keys_pem, token_pem(koblitz), "P-256", "secp256k1");
    refused(fanout_keys_jwks, token_jwk(weak, ""), "1024 bits", "as a JWK");

    EVP_PKEY_free(weak);
    EVP_PKEY_free(koblitz);

    pem = token_pem(ed);
    len = strlen(pem);

    for (i = 0, bad = 0; i < len - 1; i++) {
        bad += added_bytes(fanout_keys_pem, pem, i) != -1;
    }

    is_int(bad, 0, "cut anywhere it is none");
    is_int(ERR_peek_error(), 0, "no errors are left in OpenSSL's queue");
}


static const case_t  jwks_cases[] = {
    { OCT, 1, "one key" },
    { "{\"keys\":[" OCT "]}", 1, "a set of one" },
    { "{\"keys\":[" OCT "," OCT "]}", 2, "a set of two" },
    { "{\"keys\":[" OCT ",{\"kty\":\"new\"}]}", 1, "an unknown type" },
    { "{\"keys\":[" OCT ",{\"kty\":\"EC\",\"crv\":\"secp256k1\"}]}", 1,
      "an unknown curve" },
    { "{\"keys\":[" OCT ",{\"kty\":\"OKP\",\"crv\":\"X25519\"}]}", 1,
      "a key for something else" },
    { "{\"keys\":[" OCT ",{\"kty\":\"oct\",\"use\":\"enc\"}]}", 1,
      "for encryption" },
    { "{\"keys\":[" OCT ",{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\"}]}", 1,
      "of another algorithm" },
    { "{\"keys\":[" OCT ",{\"kty\":\"oct\",\"key_ops\":[\"sign\"]}]}", 1,
      "to sign" },
    { "{\"kty\":\"oct\",\"k\":" K ",\"use\":\"sig\",\"key_ops\":[\"sign\","
      "\"verify\"],\"alg\":\"HS384\",\"kid\":\"\"}", 1, "to verify" },
    { "", -1, "not JSON" },
    { "{", -1, "not JSON" },
    { "[]", -1, "an object" },
    { "{}", -1, "no array" },
    { "{\"keys\":{}}", -1, "no array" },
    { "{\"keys\":[]}", -1, "no key that verifies" },
    { "{\"keys\":[{\"kty\":\"new\"}]}", -1, "no key that verifies" },
    { "{\"keys\":[],\"keys\":[]}", -1, "once" },
    { "{\"keys\":[" OCT ",7]}", -1, "key 2 of the set: it is not an object" },
    { "{\"keys\":[" OCT ",{}]}", -1, "key 2 of the set: \"kty\" is missing" },
    { "{\"kty\":7}", -1, "not a string" },
    { "{\"kty\":\"oct\",\"kty\":\"oct\",\"k\":" K "}", -1, "once" },
    { "{\"keys\":[{\"kty\":\"oct\",\"k\":" K ",\"k\":" K "}]}", -1, "twice" },
    { "{\"kty\":\"oct\",\"k\":" K ",\"alg\":\"RS256\"}", -1,
      "another type of key" },
    { "{\"kty\":\"oct\",\"k\":" K ",\"kid\":7}", -1, "not a string" },
    { "{\"kty\":\"oct\",\"k\":" K ",\"kid\":\"\\udfff\"}", -1, "kid" },
    { "{\"kty\":\"oct\",\"k\":" K ",\"key_ops\":\"verify\"}", -1, "key_ops" },
    { "{\"kty\":\"oct\"}", -1, "\"k\" is missing" },
    { "{\"kty\":\"oct\",\"k\":\"\"}", -1, "less than 16" },
    { "{\"kty\":\"oct\",\"k\":\"AAAA\"}", -1, "less than 16" },
    { "{\"kty\":\"oct\",\"k\":" SECRET "}", -1, "not base64url" },
    { "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODw==\"}", -1,
      "not base64url" },
    { "{\"kty\":\"RSA\"}", -1, "\"n\" or \"e\"" },
    { "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}", -1, "not a key" },
    { "{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AA\"}", -1, "key 1" },
    { "{\"kty\":\"EC\"}", -1, "\"x\" or \"y\"" },
    { "{\"kty\":\"EC\",\"x\":\"AA\",\"y\":\"AA\"}", -1, "no curve" },
    { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}", -1,
      "not a key" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", -1, "\"x\" is missing" },
    { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", -1, "not a key" }
};


/* n as long as is asked for: bytes of 0xff */

static const char *
rsa_of(size_t len, const char *e)
{
    uint8_t  n[1100];

    memset(n, 0xff, sizeof(n));

    return token_format("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}",
                        token_base64url(n, len), e);
}


static const char *
point_off_curve(void)
{
    char  *jwk, *x;

    jwk = (char *) token_jwk(p256, "");
    x = strstr(jwk, "\"x\":\"") + 5;
    *x = *x == 'A' ? 'B' : 'A';

    return jwk;
}


static void
test_jwks(void)
{
    size_t         i;
    const case_t  *c;

    for (i = 0; i < sizeof(jwks_cases) / sizeof(jwks_cases[0]); i++) {
        c = &jwks_cases[i];

        if (c->n < 0) {
            refused(fanout_keys_jwks, c->text, c->name, c->text);
            ok(strstr(error, "0123") == NULL && strstr(error, "AAEC") == NULL,
               "and no secret is told");

        } else {
            is_int(added(fanout_keys_jwks, c->text), c->n, "%s", c->name);
        }
    }

    is_int(added(fanout_keys_jwks, rsa_of(256, "AQAB")), 1, "2048 bits");
    is_int(added(fanout_keys_jwks, rsa_of(1024, "Aw")), 1, "8192 bits");
    refused(fanout_keys_jwks, rsa_of(255, "AQAB"), "2040 bits", "2040 bits");
    refused(fanout_keys_jwks, rsa_of(1025, "AQAB"), "8200 bits", "8200 bits");
    refused(fanout_keys_jwks, rsa_of(1030, "AQAB"), "too long", "8240 bits");
    refused(fanout_keys_jwks, rsa_of(256, "AQ"), "exponent", "e is 1");
    refused(fanout_keys_jwks, rsa_of(256, "Ag"), "exponent", "e is 2");
    refused(fanout_keys_jwks, rsa_of(256, "AQAAAAAAAAAB"), "exponent",
            "e is 2^64 + 1");
    refused(fanout_keys_jwks, rsa_of(256, ""), "not a key", "no e");
    refused(fanout_keys_jwks, point_off_curve(), "not a key", "off the curve");

    is_int(added(fanout_keys_jwks, token_jwk(rsa, ",\"d\":\"AQAB\",\"p\":1,"
                                                  "\"x5c\":[\"AAAA\"]")), 1,
           "private members and others are ignored");
    is_int(added(fanout_keys_jwks, token_jwk(p256, token_format(
                     ",\"kid\":\"%0255d\"", 1))), 1, "a kid of 255 bytes");
    refused(fanout_keys_jwks, token_jwk(p256, token_format(
                ",\"kid\":\"%0256d\"", 1)), "\"kid\"", "a kid of 256 bytes");
    is_int(ERR_peek_error(), 0, "no errors are left in OpenSSL's queue");
}


static void
test_many(void)
{
    int            i;
    char          *set;
    size_t         n, size;
    fanout_keys_t  keys = { NULL, 0 };

    size = FANOUT_KEYS_TEXT + 2;
    set = malloc(size);

    for (i = 0, n = 0; i < FANOUT_KEYS_MAX + 1; i++) {
        n += (size_t) snprintf(set + n, size - n, "%s" OCT,
                               i ? "," : "{\"keys\":[");
    }

    snprintf(set + n, size - n, "]}");
    refused(fanout_keys_jwks, set, "more than 64", "65 keys");

    snprintf(set + n - sizeof(OCT), size - n, "]}");
    is_int(added(fanout_keys_jwks, set), 64, "64 keys");

    is_int(fanout_keys_jwks(&keys, (const uint8_t *) OCT, sizeof(OCT) - 1,
                            error), 0, "one key");
    is_int(fanout_keys_jwks(&keys, (const uint8_t *) set, strlen(set), error),
           -1, "and 64 more");
    is_int(keys.n, 1, "the one is still there");
    fanout_keys_clear(&keys);

    memset(set, ' ', size);
    memcpy(set, OCT, sizeof(OCT) - 1);
    is_int(added_bytes(fanout_keys_jwks, set, FANOUT_KEYS_TEXT), 1, "1 MB");
    is_int(added_bytes(fanout_keys_jwks, set, FANOUT_KEYS_TEXT + 1), -1,
           "and a byte");
    is_int(added_bytes(fanout_keys_pem, set, FANOUT_KEYS_TEXT + 1), -1,
           "of PEM");
    is_int(added_bytes(fanout_keys_secret, set, FANOUT_KEYS_TEXT + 1), -1,
           "of a secret");
    free(set);
}


int
main(void)
{
    rsa = token_generate("RSA2048");
    p256 = token_generate("P-256");
    ed = token_generate("Ed25519");

    test_base64url();
    test_secret();
    test_pem();
    test_jwks();
    test_many();

    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(ed);

    return done_testing();
}
