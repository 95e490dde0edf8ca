/* sources: src/auth/[a-z]*.c src/base/json*.c t/unit/token.c */
/* libs: -lyajl -lcrypto */

/*
 * Tokens and keys from strangers.  The first byte says what the others are:
 *
 *     t   a token, for keys of all types
 *     s   a header, a newline and claims, which are signed here
 *     j   a key set, whose keys a token is tried with
 *     p   PEM
 *
 * Nothing is verified that was not signed, what is told of claims is in the
 * buffer and follows the rules, a set that is refused leaves no keys.
 */


#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "token.h"
#include "auth/jwt.h"
#include "auth/key.h"


#define NOW     1700000000
#define SECRET  "0123456789abcdef0123456789abcdef"

#define must(cond)  do { if (!(cond)) abort(); } while (0)


typedef int (*add_pt)(fanout_keys_t *keys, const uint8_t *text, size_t len,
    char *error);


static fanout_keys_t  keys;             /* their private parts are nowhere */
static fanout_keys_t  secret;


static void
keys_add(EVP_PKEY *pkey)
{
    char         error[FANOUT_KEYS_ERROR];
    const char  *pem = token_pem(pkey);

    must(fanout_keys_pem(&keys, (const uint8_t *) pem, strlen(pem), error)
         == 0);
    EVP_PKEY_free(pkey);
}


static void
keys_once(void)
{
    char  error[FANOUT_KEYS_ERROR];

    if (keys.n) {
        return;
    }

    keys_add(token_generate("RSA2048"));
    keys_add(token_generate("P-256"));
    keys_add(token_generate("P-521"));
    keys_add(token_generate("Ed25519"));

    must(fanout_keys_secret(&secret, (const uint8_t *) SECRET, 32, error)
         == 0);
}


/* each in memory of its own, for the sanitizer to see the bounds */

static fanout_jwt_e
verify(const fanout_keys_t *by, const fanout_jwt_rules_t *rules,
    const uint8_t *token, size_t len)
{
    uint8_t       *copy, *buf;
    fanout_jwt_e   e;
    fanout_jwt_t   jwt;
    fanout_json_t  again, value;

    copy = malloc(len ? len : 1);
    buf = malloc(len ? len : 1);
    memcpy(copy, token, len);

    e = fanout_jwt_verify(by, rules, copy, len, NOW, buf, &jwt);

    must(fanout_jwt_strerror(e)[0] && e != FANOUT_JWT_NO_MEMORY);
    must((e == FANOUT_JWT_OK) == (jwt.claims.len > 0));

    if (e == FANOUT_JWT_OK) {
        must(jwt.claims.data >= buf);
        must(jwt.claims.data + jwt.claims.len <= buf + len);
        must(fanout_json_check(jwt.claims.data, jwt.claims.len, 32, &again,
                               NULL) == FANOUT_JSON_OBJECT);
        must(jwt.expires ? jwt.expires > NOW - rules->leeway
                         : !rules->expires);
        must(jwt.issued <= NOW + rules->leeway);

        again.data = (const uint8_t *) "sub";
        again.len = 3;

        if (fanout_jwt_claim(&jwt.claims, &again, 1, &value)) {
            must(fanout_json_type(&value) == FANOUT_JSON_STRING);
            must(value.data == jwt.subject.data);
        }

        must((jwt.channel.len > 0) == (rules->channels != 0));
        must(jwt.channel.len == 0
             || (fanout_json_type(&jwt.channel) == FANOUT_JSON_STRING
                 && fanout_jwt_claim(&jwt.claims, &rules->channel, 1, &value)
                 && value.data == jwt.channel.data));
    }

    must(ERR_peek_error() == 0);
    free(copy);
    free(buf);

    return e;
}


static void
token_holds(const uint8_t *data, size_t size)
{
    fanout_jwt_rules_t  rules;

    memset(&rules, 0, sizeof(rules));

    must(verify(&keys, &rules, data, size) != FANOUT_JWT_OK);
    (void) verify(&secret, &rules, data, size);
}


static char *
text_of(const uint8_t *data, size_t size)
{
    char  *text;

    text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    return text;
}


static void
signed_holds(const uint8_t *data, size_t size)
{
    char                *header, *claims;
    const char          *token;
    fanout_jwt_e         e, session;
    const uint8_t       *line;
    fanout_jwt_rules_t   rules;

    static token_key_t          key = { NULL, SECRET, "HS256" };
    static const fanout_json_t  text = { (const uint8_t *) "app", 3 };
    static const fanout_json_t  channel = { (const uint8_t *) "channel", 7 };

    line = memchr(data, '\n', size);

    if (line == NULL || size > 2000) {
        return;
    }

    header = text_of(data, line - data);
    claims = text_of(line + 1, size - (line - data) - 1);
    token = token_sign(&key, header, claims);

    memset(&rules, 0, sizeof(rules));
    e = verify(&secret, &rules, (const uint8_t *) token, strlen(token));

    must(verify(&keys, &rules, (const uint8_t *) token, strlen(token))
         != FANOUT_JWT_OK);

    /* of a channel, or of a session, and never both */

    rules.channel = channel;
    session = verify(&secret, &rules, (const uint8_t *) token, strlen(token));
    rules.channels = 1;

    must(verify(&secret, &rules, (const uint8_t *) token, strlen(token))
         != FANOUT_JWT_OK || session == FANOUT_JWT_OF_CHANNEL);
    must(session == e || session == FANOUT_JWT_OF_CHANNEL);

    memset(&rules, 0, sizeof(rules));
    rules.issuer = text;
    rules.audiences = &text;
    rules.naudiences = 1;
    rules.expires = 1;
    rules.leeway = 60;

    if (verify(&secret, &rules, (const uint8_t *) token, strlen(token))
        == FANOUT_JWT_OK)
    {
        must(e == FANOUT_JWT_OK || e == FANOUT_JWT_EXPIRED
             || e == FANOUT_JWT_EARLY);
    }

    free(header);
    free(claims);
}


static void
keys_hold(add_pt add, const uint8_t *data, size_t size)
{
    int                 rc;
    char                error[FANOUT_KEYS_ERROR];
    uint8_t            *copy;
    const char         *token;
    fanout_keys_t       set;
    const fanout_key_t *key;
    fanout_jwt_rules_t  rules;

    static const uint8_t      signature[256] = { 0x01, 0x02, 0x03 };
    static const char *const  headers[] = {
        "{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"PS512\"}",
        "{\"alg\":\"ES256\"}", "{\"alg\":\"ES512\"}", "{\"alg\":\"EdDSA\"}"
    };

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    memset(&set, 0, sizeof(set));
    memset(&rules, 0, sizeof(rules));
    memset(error, '#', sizeof(error));

    rc = add(&set, copy, size, error);

    must(rc == 0 ? set.n && set.n <= FANOUT_KEYS_MAX
                 : rc == -1 && set.n == 0 && set.first == NULL
                   && memchr(error, '\0', sizeof(error)));
    must(ERR_peek_error() == 0);

    for (key = set.first; key; key = key->next) {
        must(key->algorithms && (key->pkey == NULL) == (key->secret != NULL));
        must((key->algorithms & 7) == 0 || key->pkey == NULL);

        token = token_format("%s.e30.%s",
                             token_base64url(headers[size % 6],
                                             strlen(headers[size % 6])),
                             token_base64url(signature, 32 + size % 225));
        must(verify(&set, &rules, (const uint8_t *) token, strlen(token))
             != FANOUT_JWT_OK);
    }

    fanout_keys_clear(&set);
    free(copy);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }

    keys_once();

    switch (data[0]) {

    case 't':
        token_holds(data + 1, size - 1);
        break;

    case 's':
        signed_holds(data + 1, size - 1);
        break;

    case 'j':
        keys_hold(fanout_keys_jwks, data + 1, size - 1);
        break;

    case 'p':
        keys_hold(fanout_keys_pem, data + 1, size - 1);
        break;
    }

    return 0;
}
