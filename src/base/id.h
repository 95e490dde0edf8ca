
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Clients, epochs, offsets and positions as text.
 */


#ifndef FANOUT_BASE_ID_H
#define FANOUT_BASE_ID_H


#include <ngx_config.h>
#include <ngx_core.h>


#define FANOUT_EPOCH_LEN   16                   /* hex digits */
#define FANOUT_CLIENT_LEN  (2 + 16)             /* "c_" and hex digits */


/* Writes a decimal number, NGX_INT64_LEN bytes at most.  Returns their end. */
u_char *fanout_count_format(u_char *p, uint64_t n);

/* Writes a client's id, CLIENT_LEN bytes.  Returns their end. */
u_char *fanout_client_format(u_char *p, uint64_t client);

/* Reads a client's id.  NGX_OK; NGX_ERROR if the text is not one. */
ngx_int_t fanout_client_parse(ngx_str_t *text, uint64_t *client);

/* Writes an epoch, EPOCH_LEN bytes.  Returns their end. */
u_char *fanout_epoch_format(u_char *p, uint64_t epoch);

/* Reads an epoch.  NGX_OK; NGX_ERROR if the text is not spelled as written
 * here. */
ngx_int_t fanout_epoch_parse(ngx_str_t *text, uint64_t *epoch);

/* Reads an offset, a decimal number below 2^53.  NGX_OK, NGX_ERROR. */
ngx_int_t fanout_offset_parse(ngx_str_t *text, uint64_t *offset);

/* Reads "epoch:offset".  An epoch in another form becomes 0, which is no epoch:
 * clients need not know the form.  NGX_OK, NGX_ERROR. */
ngx_int_t fanout_position_parse(ngx_str_t *text, uint64_t *epoch,
    uint64_t *offset);


#endif /* FANOUT_BASE_ID_H */
