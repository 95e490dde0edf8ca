
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Valid names of channels, events, users and keys.
 */


#ifndef FANOUT_BASE_NAME_H
#define FANOUT_BASE_NAME_H


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes of UTF-8 */
#define FANOUT_NAME      255
#define FANOUT_KEY       128


/* Checks the name of a channel.  NGX_OK, NGX_DECLINED. */
ngx_int_t fanout_name_check(ngx_str_t *name);

/* Checks the name of an event, a user or a key, of at most max bytes.  NGX_OK,
 * NGX_DECLINED. */
ngx_int_t fanout_label_check(ngx_str_t *name, size_t max);


#endif /* FANOUT_BASE_NAME_H */
