
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Texts and files with keys.
 */


#include "transport/key_source.h"

#include <openssl/crypto.h>


static int source_read(fanout_source_t *source, fanout_keys_t *keys,
    char *error);
static u_char *source_open(fanout_source_t *source, size_t *len, char *error);
static u_char *source_file(ngx_fd_t fd, fanout_source_t *source, size_t *len,
    char *error);
static ngx_uint_t source_changed(fanout_source_t *source);
static void source_stamp(fanout_source_t *source, struct stat *st);


ngx_int_t
fanout_sources_read(fanout_sources_t *s, fanout_source_t **source, char *error)
{
    ngx_uint_t        i;
    fanout_keys_t     keys;
    fanout_source_t  *list;

    ngx_memzero(&keys, sizeof(fanout_keys_t));
    list = s->list.elts;

    for (i = 0; i < s->list.nelts; i++) {

        if (source_read(&list[i], &keys, error) != 0) {
            *source = &list[i];
            fanout_keys_clear(&keys);
            return NGX_ERROR;
        }
    }

    fanout_keys_clear(&s->keys);
    s->keys = keys;

    return NGX_OK;
}


static int
source_read(fanout_source_t *source, fanout_keys_t *keys, char *error)
{
    int      rc;
    size_t   len;
    u_char  *text;

    if (source->kind == FANOUT_SOURCE_SECRET) {
        return fanout_keys_secret(keys, source->text.data, source->text.len,
                                  error);
    }

    text = source_open(source, &len, error);
    if (text == NULL) {
        return -1;
    }

    switch (source->kind) {

    case FANOUT_SOURCE_PEM:
        rc = fanout_keys_pem(keys, text, len, error);
        break;

    case FANOUT_SOURCE_JWKS:
        rc = fanout_keys_jwks(keys, text, len, error);
        break;

    default: /* FANOUT_SOURCE_SECRET_FILE */
        len -= (len && text[len - 1] == '\n');
        len -= (len && text[len - 1] == '\r');
        rc = fanout_keys_secret(keys, text, len, error);
    }

    OPENSSL_cleanse(text, len);
    ngx_free(text);

    return rc;
}


/* Returns the bytes of a file; NULL and error. */

static u_char *
source_open(fanout_source_t *source, size_t *len, char *error)
{
    u_char    *text;
    ngx_fd_t   fd;

    fd = ngx_open_file(source->text.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        (void) snprintf(error, FANOUT_KEYS_ERROR, "it can't be opened: %s",
                        strerror(ngx_errno));
        return NULL;
    }

    text = source_file(fd, source, len, error);

    (void) ngx_close_file(fd);

    return text;
}


static u_char *
source_file(ngx_fd_t fd, fanout_source_t *source, size_t *len, char *error)
{
    u_char           *text;
    ssize_t           n;
    ngx_file_info_t   fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        (void) snprintf(error, FANOUT_KEYS_ERROR, "it is not a file");
        return NULL;
    }

    source_stamp(source, &fi);

    if (fi.st_size > FANOUT_SOURCE_MAX) {
        (void) snprintf(error, FANOUT_KEYS_ERROR, "it is larger than 1 MB");
        return NULL;
    }

    text = ngx_alloc(fi.st_size + 1, ngx_cycle->log);
    if (text == NULL) {
        (void) snprintf(error, FANOUT_KEYS_ERROR, "out of memory");
        return NULL;
    }

    n = ngx_read_fd(fd, text, fi.st_size);

    if (n != fi.st_size) {
        (void) snprintf(error, FANOUT_KEYS_ERROR, "it can't be read");
        ngx_free(text);
        return NULL;
    }

    *len = n;

    return text;
}


void
fanout_sources_refresh(fanout_sources_t *s, ngx_log_t *log)
{
    char              error[FANOUT_KEYS_ERROR];
    ngx_uint_t        i, changed;
    fanout_source_t  *list, *source;

    if (s->looked == ngx_time()) {
        return;
    }

    s->looked = ngx_time();
    list = s->list.elts;
    changed = 0;

    for (i = 0; i < s->list.nelts; i++) {
        changed |= source_changed(&list[i]);
    }

    if (!changed && !s->behind) {
        return;
    }

    s->behind = (fanout_sources_read(s, &source, error) != NGX_OK);

    if (s->behind) {

        if (changed) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "fanout_jwt goes on with the keys that it has: "
                          "\"%V\": %s", &source->text, error);
        }

        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0, "fanout_jwt has new keys: %ui",
                  (ngx_uint_t) s->keys.n);
}


static ngx_uint_t
source_changed(fanout_source_t *source)
{
    ngx_file_info_t  fi;

    if (source->kind == FANOUT_SOURCE_SECRET) {
        return 0;
    }

    if (ngx_file_info(source->text.data, &fi) == NGX_FILE_ERROR) {
        ngx_memzero(&fi, sizeof(ngx_file_info_t));
    }

    if (fi.st_size == source->size && fi.st_ino == source->inode
        && fi.st_mtim.tv_sec == source->changed.tv_sec
        && fi.st_mtim.tv_nsec == source->changed.tv_nsec)
    {
        return 0;
    }

    source_stamp(source, &fi);

    return 1;
}


static void
source_stamp(fanout_source_t *source, struct stat *st)
{
    source->size = st->st_size;
    source->inode = st->st_ino;
    source->changed = st->st_mtim;
}
