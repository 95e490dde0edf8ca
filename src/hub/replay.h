
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Replay: sections of the log as bytes, kept for a second or two, because
 * those who fell behind or come back after a reload want the same ones.
 *
 * A section is known by channel, epoch, format and the offset after which it
 * starts.  Logs only grow and lose, so what was read once stays true.
 */


#ifndef FANOUT_HUB_REPLAY_H
#define FANOUT_HUB_REPLAY_H


#include "hub/hub.h"


/* The section after an offset, if it is known and ends at or below upto;
 * NULL.  The hub keeps its reference. */
fanout_replay_t *fanout_replay_find(
    fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, uint64_t epoch, uint64_t after, uint64_t upto);

/* Remembers a section of n entries; takes a reference of its own.  Only for
 * sections that everybody may see as they are. */
void fanout_replay_add(fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, uint64_t epoch, uint64_t after, fanout_entry_t *e,
    ngx_uint_t n, fanout_outbuf_t *f);

/* Forgets what is old, all there is, or all of a channel that goes. */
void fanout_replay_expire(fanout_hub_t *hub);
void fanout_replay_clear(fanout_hub_t *hub);
void fanout_replay_forget(fanout_hub_t *hub, fanout_channel_t *ch);


#endif /* FANOUT_HUB_REPLAY_H */
