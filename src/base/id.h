
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


/* Writes a client's id, CLIENT_LEN bytes; returns the end. */
u_char *fanout_client_format(u_char *p, uint64_t client);

/* NGX_ERROR if a text is no client's id. */
ngx_int_t fanout_client_parse(ngx_str_t *text, uint64_t *client);

/* Writes an epoch, EPOCH_LEN bytes; returns the end. */
u_char *fanout_epoch_format(u_char *p, uint64_t epoch);

/* NGX_ERROR if a text is no epoch as written here. */
ngx_int_t fanout_epoch_parse(ngx_str_t *text, uint64_t *epoch);

/* Reads an offset, a decimal number below 2^53.  NGX_ERROR. */
ngx_int_t fanout_offset_parse(ngx_str_t *text, uint64_t *offset);

/* Reads "epoch:offset"; an epoch that can't be ours becomes 0, which none is,
 * for who brings it need not know what ours look like.  NGX_ERROR. */
ngx_int_t fanout_position_parse(ngx_str_t *text, uint64_t *epoch,
    uint64_t *offset);


#endif /* FANOUT_BASE_ID_H */
