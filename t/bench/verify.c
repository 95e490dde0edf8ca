/*
 * verify ROUNDS TIMES: what the verification of a token costs, beside what
 * "openssl speed" measures: the bare operation, again and again with a context
 * that is ready (an HMAC of 256 bytes, or of a digest the signature).  Both
 * turn about in each round.
 *
 * Prints an object in JSON: for each algorithm the CPU time of a token in ns,
 * that of OpenSSL, and the median of the ratios.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "auth/jwt.h"
#include "token.h"


#define NOW         1700000000
#define SECRET      "0123456789abcdef0123456789abcdef"
#define ROUNDS_MAX  99


/* as those of a provider of identities: 300 bytes */

#define CLAIMS                                                               \
    "{\"iss\":\"https://id.example.com/\",\"sub\":\"user-1f6c2b7e\","        \
    "\"aud\":[\"realtime\",\"api\"],\"iat\":1699999990,\"exp\":1700003600,"  \
    "\"jti\":\"b8f2e1d06a0c4b6f9b1b\",\"scope\":\"read write\","             \
    "\"name\":\"Ann Example\",\"email\":\"ann@example.com\","                \
    "\"rooms\":[\"room:1\",\"room:2\",\"room:3\"],\"role\":\"editor\"}"


typedef struct {
    const char  *alg;
    const char  *kind;           /* of the key; NULL: a secret */
    int          pss;
} algorithm_t;


typedef struct {
    EVP_MAC_CTX   *mac;
    EVP_MD_CTX    *md;           /* Ed25519 */
    EVP_PKEY_CTX  *ctx;
    uint8_t        text[256];
    uint8_t        digest[32];
    uint8_t        sig[512];
    size_t         sig_len;
} bare_t;


static const algorithm_t  algorithms[] = {
    { "HS256", NULL,      0 },
    { "RS256", "RSA2048", 0 },
    { "PS256", "RSA2048", 1 },
    { "ES256", "P-256",   0 },
    { "EdDSA", "Ed25519", 0 },
};


static void
fail(const char *what)
{
    fprintf(stderr, "verify: %s\n", what);
    exit(1);
}


static double
cpu_ns(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);

    return t.tv_sec * 1e9 + t.tv_nsec;
}


static void
padding(const algorithm_t *a, EVP_PKEY_CTX *ctx)
{
    if (strcmp(a->kind, "RSA2048") != 0) {
        return;
    }

    if (EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) <= 0
        || EVP_PKEY_CTX_set_rsa_padding(ctx, a->pss ? RSA_PKCS1_PSS_PADDING
                                                    : RSA_PKCS1_PADDING)
           <= 0)
    {
        fail("padding");
    }
}


static void
bare_hmac(bare_t *b)
{
    EVP_MAC     *mac;
    OSSL_PARAM   params[2];

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) "SHA256", 0);
    params[1] = OSSL_PARAM_construct_end();
    b->mac = EVP_MAC_CTX_new(mac);

    if (!EVP_MAC_init(b->mac, (const uint8_t *) SECRET, sizeof(SECRET) - 1,
                      params))
    {
        fail("HMAC");
    }
}


static void
bare_signature(const algorithm_t *a, EVP_PKEY *pkey, bare_t *b)
{
    EVP_PKEY_CTX  *ctx;

    b->sig_len = sizeof(b->sig);

    if (strcmp(a->kind, "Ed25519") == 0) {
        b->md = EVP_MD_CTX_new();

        if (EVP_DigestSignInit(b->md, NULL, NULL, NULL, pkey) <= 0
            || EVP_DigestSign(b->md, b->sig, &b->sig_len, b->digest,
                              sizeof(b->digest)) <= 0)
        {
            fail("signature");
        }

        EVP_MD_CTX_free(b->md);
        b->md = EVP_MD_CTX_new();

        if (EVP_DigestVerifyInit(b->md, NULL, NULL, NULL, pkey) <= 0) {
            fail("verification");
        }

        return;
    }

    ctx = EVP_PKEY_CTX_new(pkey, NULL);
    b->ctx = EVP_PKEY_CTX_new(pkey, NULL);

    if (EVP_PKEY_sign_init(ctx) <= 0 || EVP_PKEY_verify_init(b->ctx) <= 0) {
        fail("signature");
    }

    padding(a, ctx);
    padding(a, b->ctx);

    if (EVP_PKEY_sign(ctx, b->sig, &b->sig_len, b->digest, sizeof(b->digest))
        <= 0)
    {
        fail("signature");
    }

    EVP_PKEY_CTX_free(ctx);
}


static int
bare_once(bare_t *b)
{
    size_t   len;
    uint8_t  out[32];

    if (b->mac) {
        return EVP_MAC_init(b->mac, NULL, 0, NULL)
               && EVP_MAC_update(b->mac, b->text, sizeof(b->text))
               && EVP_MAC_final(b->mac, out, &len, sizeof(out));
    }

    if (b->md) {
        return EVP_DigestVerify(b->md, b->sig, b->sig_len, b->digest,
                                sizeof(b->digest)) == 1;
    }

    return EVP_PKEY_verify(b->ctx, b->sig, b->sig_len, b->digest,
                           sizeof(b->digest)) == 1;
}


static double
bare_ns(bare_t *b, int times)
{
    int     i;
    double  from;

    from = cpu_ns();

    for (i = 0; i < times; i++) {
        if (!bare_once(b)) {
            fail("OpenSSL says no");
        }
    }

    return (cpu_ns() - from) / times;
}


static double
token_ns(const fanout_keys_t *keys, const char *token, int times)
{
    int                 i;
    size_t              len;
    double              from;
    uint8_t             buf[TOKEN_SIZE];
    fanout_jwt_t        jwt;
    fanout_jwt_rules_t  rules;

    memset(&rules, 0, sizeof(rules));
    rules.expires = 1;
    len = strlen(token);
    from = cpu_ns();

    for (i = 0; i < times; i++) {
        if (fanout_jwt_verify(keys, &rules, (const uint8_t *) token, len, NOW,
                              buf, &jwt) != FANOUT_JWT_OK)
        {
            fail("a token is refused");
        }
    }

    return (cpu_ns() - from) / times;
}


static int
compare(const void *a, const void *b)
{
    double  x = *(const double *) a, y = *(const double *) b;

    return x < y ? -1 : x > y;
}


static double
median(double *v, int n)
{
    qsort(v, n, sizeof(*v), compare);

    return v[n / 2];
}


static void
measure(const algorithm_t *a, int rounds, int times)
{
    int            i;
    char           error[FANOUT_KEYS_ERROR], token[TOKEN_SIZE];
    bare_t         bare;
    double         mine[ROUNDS_MAX], theirs[ROUNDS_MAX], ratio[ROUNDS_MAX];
    const char    *pem;
    token_key_t    key = { NULL, SECRET, a->alg };
    fanout_keys_t  keys = { NULL, 0 };

    memset(&bare, 0, sizeof(bare));
    RAND_bytes(bare.digest, sizeof(bare.digest));

    if (a->kind) {
        key.pkey = token_generate(a->kind);
        pem = token_pem(key.pkey);
        bare_signature(a, key.pkey, &bare);

        if (fanout_keys_pem(&keys, (const uint8_t *) pem, strlen(pem), error)
            != 0)
        {
            fail(error);
        }

    } else {
        bare_hmac(&bare);
        times *= 10;

        if (fanout_keys_secret(&keys, (const uint8_t *) SECRET,
                               sizeof(SECRET) - 1, error)
            != 0)
        {
            fail(error);
        }
    }

    strcpy(token, token_make(&key, "", CLAIMS));

    for (i = -1; i < rounds; i++) {
        double  *m = &mine[i < 0 ? 0 : i], *t = &theirs[i < 0 ? 0 : i];

        if (i % 2) {
            *m = token_ns(&keys, token, times);
            *t = bare_ns(&bare, times);

        } else {
            *t = bare_ns(&bare, times);
            *m = token_ns(&keys, token, times);
        }

        ratio[i < 0 ? 0 : i] = *m / *t;
    }

    printf("\"%s\":{\"token\":%.0f,\"openssl\":%.0f,\"ratio\":%.3f}", a->alg,
           median(mine, rounds), median(theirs, rounds),
           median(ratio, rounds));
}


int
main(int argc, char **argv)
{
    int     rounds, times;
    size_t  i;

    rounds = argc > 1 ? atoi(argv[1]) : 9;
    times = argc > 2 ? atoi(argv[2]) : 2000;

    if (rounds < 1 || rounds > ROUNDS_MAX || times < 1) {
        fail("wrong numbers");
    }

    for (i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        printf("%s", i == 0 ? "{" : ",");
        measure(&algorithms[i], rounds, times);
    }

    printf("}\n");

    return 0;
}
