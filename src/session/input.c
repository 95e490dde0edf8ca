
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a session receives: read when the socket has data and the session is not
 * busy with its last command.
 */


#include "session/session.h"
#include "session/transport.h"


/* bytes of a read event, at most: some hundreds of the shortest commands, while
 * other sessions wait */
#define FANOUT_INPUT      16384


static ngx_uint_t outlived(fanout_session_t *s);


static u_char  scratch[FANOUT_INPUT];


void
fanout_session_read_now(fanout_session_t *s)
{
    size_t             left;
    ssize_t            n;
    uint64_t           before;
    fanout_hub_t      *hub;
    ngx_connection_t  *c;

    c = s->connection;
    hub = s->hub;
    before = hub->spent;

    s->unread = 0;

    fanout_step_begin(s);

    if (outlived(s)) {
        fanout_session_end(s, FANOUT_END_CUT);
    }

    fanout_session_input(s);

    for (left = FANOUT_INPUT; left; left -= n) {

        if (fanout_session_busy(s) || s->input_len) {
            /* the rest waits in the socket */
            break;
        }

        if (left < FANOUT_INPUT && fanout_spent(hub)) {
            s->unread = 1;
            fanout_session_work(s);
            break;
        }

        n = c->recv(c, scratch, left);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            /* the client may have sent a close, and not waited for the
             * answer */
            fanout_session_end(s, s->close_after
                                  ? s->close_after - 1
                                  : FANOUT_END_CUT);
            return;
        }

        s->received_at = ngx_current_msec;
        s->pinged = 0;
        s->heard = 1;

        s->meter.received += n;
        fanout_session_log_add(s, bytes_in, n);

        s->transport->input(s, scratch, n);

        if (!c->read->ready) {
            break;
        }
    }

    if (s->state == FANOUT_OPEN && s->identity_ref
        && c->read->pending_eof && s->job && s->job->asks)
    {
        /* the end of the connection is not read before the backend has
         * answered */
        fanout_session_disconnected(s);
    }

    fanout_step_end(s, before);

    if (s->state == FANOUT_ENDED) {
        return;
    }

    if (left == 0 && c->read->ready) {
        /* others first */
        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
    }
}


/* The client has gone, and came back as another session, was kicked, or can't
 * come back any more: nothing more is done for it here. */

static ngx_uint_t
outlived(fanout_session_t *s)
{
    return s->transport->gone
           && s->job == NULL && s->state == FANOUT_OPEN
           && s->conf->resume
           && !fanout_identity_stays(&s->hub->zone, &s->identity);
}


/* processes input that was received before and had to wait */

void
fanout_session_input(fanout_session_t *s)
{
    size_t   len;
    u_char  *data;

    while (s->input_len && !fanout_session_busy(s)) {
        data = s->input;
        len = s->input_len;
        s->input = NULL;
        s->input_len = 0;

        s->transport->input(s, data, len);

        ngx_free(data);

        if (s->input_len && fanout_spent(s->hub)) {
            fanout_session_work(s);
            return;
        }

        if (s->input_len == 0 && s->connection->read->ready) {
            /* the socket was not read meanwhile */
            ngx_post_event(s->connection->read, &ngx_posted_next_events);
        }
    }
}


/* There is no reading from a client that does not read its replies, or whose
 * session has ended. */

ngx_uint_t
fanout_session_busy(fanout_session_t *s)
{
    switch (s->state) {

    case FANOUT_ENDED:
        return 1;

    case FANOUT_CLOSING:
        /* only the answer to the close is awaited */
        return 0;
    }

    if (s->pending >= s->conf->buffer) {
        s->paused = 1;
        return 1;
    }

    return s->job != NULL;
}
