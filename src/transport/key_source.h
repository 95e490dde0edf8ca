
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Where keys come from: texts and files of the configuration.  A file that
 * changes is read again, at most once a second, when a token is to be verified;
 * what can't be read leaves the keys as they are, and is tried again.
 */


#ifndef FANOUT_TRANSPORT_KEY_SOURCE_H
#define FANOUT_TRANSPORT_KEY_SOURCE_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "auth/keys.h"


#define FANOUT_SOURCE_MAX  (1024 * 1024)        /* bytes of a file */


typedef enum {
    FANOUT_SOURCE_SECRET = 0,                   /* the text */
    FANOUT_SOURCE_SECRET_FILE,                  /* without its last newline */
    FANOUT_SOURCE_PEM,
    FANOUT_SOURCE_JWKS
} fanout_source_e;

typedef struct {
    fanout_source_e      kind;
    ngx_str_t            text;                  /* the secret; or the path,
                                                   that ends with NUL */
    off_t                size;                  /* of the file that was read */
    ino_t                inode;
    struct timespec      changed;
} fanout_source_t;

typedef struct {
    ngx_array_t          list;                  /* fanout_source_t */
    fanout_keys_t        keys;
    time_t               looked;                /* for changes */
    unsigned             behind:1;              /* the last change could not be
                                                   read */
} fanout_sources_t;


/* Reads all.  NGX_OK; NGX_ERROR: error, of KEYS_ERROR bytes, says what is wrong
 * with *source, and the keys are as they were. */
ngx_int_t fanout_sources_read(fanout_sources_t *s, fanout_source_t **source,
    char *error);

/* Reads all if a file has changed.  What is wrong is logged, once for each
 * change. */
void fanout_sources_refresh(fanout_sources_t *s, ngx_log_t *log);


#endif /* FANOUT_TRANSPORT_KEY_SOURCE_H */
