
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What denials of the zone do to sessions.
 *
 * Denials are applied as soon as a worker that handles a session sees the
 * number of a new one: before entries are delivered, before a command is run,
 * and after output was gathered, before it is sent.  So an entry that was
 * published after a denial never reaches a session that the denial ends.
 */


#ifndef FANOUT_SESSION_DENIAL_H
#define FANOUT_SESSION_DENIAL_H


#include "session/session.h"


/* Ends the sessions that denials concern which were made since the last call,
 * or has them renew their authorization. */
void fanout_denials_apply(fanout_hub_t *hub);

/* The number of the last denial that was applied before so many ms ago, or a
 * lower one: what was authorized since then may be older than others. */
uint64_t fanout_denials_before(fanout_hub_t *hub, ngx_msec_t ago);

/* The session starts: looks for denials that were made while its request was
 * decided about. */
void fanout_denials_start(fanout_session_t *s);

/* The session is who this says from now on, and authorized as of who->change:
 * looks for a denial that was made meanwhile. */
void fanout_session_authorized(fanout_session_t *s,
    const fanout_subject_t *who);


#endif /* FANOUT_SESSION_DENIAL_H */
