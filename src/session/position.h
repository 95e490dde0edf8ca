
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Positions: where a session stands in all of its channels at once, as text
 * that its client sends back (the id of a server-sent event, "since" of a
 * poll).
 *
 *   5f0c00000001.1044                                   the common form
 *   5f0c00000001.1012.8c1f30…-1044.a07e21…-1030        while they differ
 *
 * The incarnation of the zone in hex, a seq of the zone, and for channels of
 * which more was sent their hash and a seq of their own.  Every entry for the
 * session up to that seq was sent.  Shared events have the common form, which
 * is true whenever entries are sent in the order of the zone; a session that
 * reads from the log, or whose worker could not drain all of its channels, puts
 * its own position in front.
 */


#ifndef FANOUT_SESSION_POSITION_H
#define FANOUT_SESSION_POSITION_H


#include "session/session.h"


typedef struct fanout_position_s  fanout_position_t;


/* A longer position is cut to its first seq: then some entries may be sent
 * again. */
#define FANOUT_POSITION_LEN  2048


/* Writes where the session is, at most POSITION_LEN bytes; returns the end.
 * All output pushed before must reach the client before the position. */
u_char *fanout_position_write(fanout_session_t *s, u_char *p);

/* Records how far a subscription has come, before it leaves the state LIVE. */
void fanout_position_mark(fanout_subscription_t *sub);

/* Reads a position into the pool; NULL if it is none, or on lack of memory. */
fanout_position_t *fanout_position_read(ngx_str_t *text, ngx_pool_t *pool);

/* What a position says of a channel; an incarnation that is not the zone's
 * can't be recovered from. */
void fanout_position_of(fanout_hub_t *hub, fanout_position_t *position,
    ngx_str_t *channel, uint64_t *incarnation, uint64_t *seq);

/* Sets the offset up to which a poll got changes of members of the channel: 1,
 * or 0 if the position doesn't have it. */
ngx_uint_t fanout_position_members(fanout_hub_t *hub,
    fanout_position_t *position, ngx_str_t *channel, uint64_t *offset);

/* Appends "id: incarnation.seq" and a line feed to an event that is shared.
 * NGX_ERROR on lack of memory. */
ngx_int_t fanout_position_id(fanout_hub_t *hub, uint64_t seq,
    fanout_outbuf_t *f);

/* A transport's place(): pushes events of a shared outbuf, with ids of the
 * session in place of theirs. */
void fanout_position_place(fanout_subscription_t *sub, fanout_outbuf_t *f,
    uint32_t start, uint32_t end);

/* The zone's seq up to which all of a channel was sent to the session. */
uint64_t fanout_position_sent(fanout_subscription_t *sub);


#endif /* FANOUT_SESSION_POSITION_H */
