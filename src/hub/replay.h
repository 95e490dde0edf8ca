
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Replay: sections of the log as bytes, kept for a second or two, because
 * subscribers that fell behind, or come back after a reload, read the same
 * ones.
 *
 * A section is known by channel, epoch, format and the offset after which it
 * starts.  A log only appends and evicts entries, so a section that was read
 * stays valid.
 */


#ifndef FANOUT_HUB_REPLAY_H
#define FANOUT_HUB_REPLAY_H


#include "hub/hub.h"


/* The section after an offset, if it is kept and ends at or below upto, or
 * NULL.  The reference remains the hub's. */
fanout_replay_t *fanout_replay_find(
    fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, uint64_t epoch, uint64_t after, uint64_t upto);

/* Keeps a section of n entries, with a reference of its own to f.  Only for
 * sections that are the same for all subscribers. */
void fanout_replay_add(fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, uint64_t epoch, uint64_t after, fanout_entry_t *e,
    ngx_uint_t n, fanout_outbuf_t *f);

/* Drop old sections, all sections, or those of a channel that is closed. */
void fanout_replay_expire(fanout_hub_t *hub);
void fanout_replay_clear(fanout_hub_t *hub);
void fanout_replay_forget(fanout_hub_t *hub, fanout_channel_t *ch);


#endif /* FANOUT_HUB_REPLAY_H */
