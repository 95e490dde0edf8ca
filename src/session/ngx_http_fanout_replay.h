
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Replay: sections of the log as bytes, kept for a second or two, because
 * those who fell behind or come back after a reload want the same ones.
 *
 * A section is known by channel, epoch, format and the offset after which it
 * starts.  Logs only grow and lose, so what was read once stays true.
 */


#ifndef _NGX_HTTP_FANOUT_REPLAY_H_INCLUDED_
#define _NGX_HTTP_FANOUT_REPLAY_H_INCLUDED_


#include "ngx_http_fanout_hub.h"


/* The section after an offset, if it is known and ends at or below upto;
 * NULL.  The hub keeps its reference. */
ngx_http_fanout_replay_t *ngx_http_fanout_replay_find(
    ngx_http_fanout_hub_t *hub, ngx_http_fanout_channel_t *ch,
    ngx_uint_t format, uint64_t epoch, uint64_t after, uint64_t upto);

/* Remembers a section of n entries; takes a reference of its own.  Only for
 * sections that everybody may see as they are. */
void ngx_http_fanout_replay_add(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch, ngx_uint_t format, uint64_t epoch,
    uint64_t after, ngx_http_fanout_entry_t *e, ngx_uint_t n,
    ngx_http_fanout_frame_t *f);

/* Forgets what is old, all there is, or all of a channel that goes. */
void ngx_http_fanout_replay_expire(ngx_http_fanout_hub_t *hub);
void ngx_http_fanout_replay_clear(ngx_http_fanout_hub_t *hub);
void ngx_http_fanout_replay_forget(ngx_http_fanout_hub_t *hub,
    ngx_http_fanout_channel_t *ch);


#endif /* _NGX_HTTP_FANOUT_REPLAY_H_INCLUDED_ */
