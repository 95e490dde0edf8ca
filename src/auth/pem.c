
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "auth/key.h"


/* a block of PEM, memory of OpenSSL */

typedef struct {
    char     *name;
    char     *header;
    uint8_t  *data;
    long      len;
} pem_block_t;


static EVP_PKEY *
pem_certificate(const uint8_t **p, long len)
{
    X509      *x509;
    EVP_PKEY  *pkey;

    x509 = d2i_X509(NULL, p, len);
    pkey = x509 ? X509_get_pubkey(x509) : NULL;
    X509_free(x509);

    return pkey;
}


static int
pem_key(fanout_keys_t *keys, const pem_block_t *block, char *error)
{
    EVP_PKEY       *pkey;
    fanout_key_t   *key;
    const uint8_t  *p;

    p = block->data;

    if (strstr(block->name, "PRIVATE KEY")) {
        return fanout_keys_fail(error, "a private key: tokens are verified by"
                                " its public key");
    }

    if (strcmp(block->name, "PUBLIC KEY") == 0) {
        pkey = d2i_PUBKEY(NULL, &p, block->len);

    } else if (strcmp(block->name, "RSA PUBLIC KEY") == 0) {
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, block->len);

    } else if (strcmp(block->name, "CERTIFICATE") == 0) {
        pkey = pem_certificate(&p, block->len);

    } else {
        return fanout_keys_fail(error, "PEM that is not PUBLIC KEY, RSA PUBLIC"
                                " KEY or CERTIFICATE");
    }

    if (pkey == NULL || p != block->data + block->len) {
        EVP_PKEY_free(pkey);
        return fanout_keys_fail(error, "a broken key or certificate in PEM");
    }

    key = fanout_keys_add(keys, error);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return -1;
    }

    return fanout_key_public(key, pkey, error);
}


static int
pem_next(BIO *bio, pem_block_t *block)
{
    if (PEM_read_bio(bio, &block->name, &block->header, &block->data,
                     &block->len))
    {
        return 1;
    }

    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? 0
                                                                        : -1;
}


static int
pem_blocks(fanout_keys_t *keys, BIO *bio, char *error)
{
    int          rc, next;
    pem_block_t  block;

    rc = 0;

    while (rc == 0 && (next = pem_next(bio, &block)) != 0) {

        if (next < 0) {
            return fanout_keys_fail(error, "broken PEM");
        }

        rc = pem_key(keys, &block, error);

        OPENSSL_free(block.name);
        OPENSSL_free(block.header);
        OPENSSL_clear_free(block.data, (size_t) block.len);
    }

    if (rc == 0 && keys->n == 0) {
        return fanout_keys_fail(error, "no key in PEM");
    }

    return rc;
}


int
fanout_keys_pem(fanout_keys_t *keys, const uint8_t *text, size_t len,
    char *error)
{
    int            rc;
    BIO           *bio;
    fanout_keys_t  added = { NULL, 0 };

    if (len > FANOUT_KEYS_TEXT) {
        return fanout_keys_fail(error, "more than %d bytes of PEM",
                                FANOUT_KEYS_TEXT);
    }

    bio = BIO_new_mem_buf(len ? (const void *) text : "", (int) len);
    if (bio == NULL) {
        return fanout_keys_fail(error, "no memory");
    }

    /* NGINX logs errors of others that it finds in the queue of OpenSSL */

    ERR_set_mark();
    rc = pem_blocks(&added, bio, error);
    ERR_pop_to_mark();

    BIO_free(bio);

    return fanout_keys_move(keys, &added, rc, error);
}
