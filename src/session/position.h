
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Positions: where a session stands in all of its channels at once, as text
 * that its client brings back (the id of a server-sent event, "since" of a
 * poll).
 *
 *   5f0c00000001.1044                                   the common form
 *   5f0c00000001.1012.8c1f30…-1044.a07e21…-1030        while they differ
 *
 * The incarnation of the zone in hex, a seq of the zone, and for channels of
 * which more was sent their hash and a seq of their own.  All that the zone
 * has given a seq up to that one was sent, as far as it was to be.  What is
 * shared by many sessions has the common form, which is true whenever entries
 * go out in the order of the zone; a session that reads the log by itself, or
 * whose worker could not drain all of its channels, puts its own in front.
 */


#ifndef FANOUT_SESSION_POSITION_H
#define FANOUT_SESSION_POSITION_H


#include "session/session.h"


typedef struct fanout_position_s  fanout_position_t;


/* A longer one is cut to its first seq: then some may be told again. */
#define FANOUT_POSITION_LEN  2048


/* Writes where the session is, at most POSITION_LEN bytes; returns the end.
 * All that was pushed must reach the client before it is told. */
u_char *fanout_position_write(fanout_session_t *s, u_char *p);

/* Notes how far a subscription has come, before it is not live any more. */
void fanout_position_mark(fanout_subscription_t *sub);

/* Reads a position into the pool; NULL if it is none, or on lack of memory. */
fanout_position_t *fanout_position_read(ngx_str_t *text, ngx_pool_t *pool);

/* What a position says of a channel; an incarnation that is not the zone's
 * can't be recovered from. */
void fanout_position_of(fanout_hub_t *hub, fanout_position_t *position,
    ngx_str_t *channel, uint64_t *incarnation, uint64_t *seq);

/* Up to which offset a poll was told of changes of members of the channel: 1,
 * or 0 if the position doesn't say. */
ngx_uint_t fanout_position_members(fanout_hub_t *hub,
    fanout_position_t *position, ngx_str_t *channel, uint64_t *offset);

/* Appends "id: incarnation.seq" and a line feed to an event that is shared.
 * NGX_ERROR on lack of memory. */
ngx_int_t fanout_position_id(fanout_hub_t *hub, uint64_t seq,
    fanout_outbuf_t *f);

/* A transport's place(): pushes events of a shared frame with ids of the
 * session's own instead of those they have. */
void fanout_position_place(fanout_subscription_t *sub, fanout_outbuf_t *f,
    uint32_t start, uint32_t end);


#endif /* FANOUT_SESSION_POSITION_H */
