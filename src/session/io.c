
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Events of the socket and the timer of a session.
 */


#include "base/time.h"
#include "session/session.h"
#include "session/forbid.h"
#include "session/dialect.h"
#include "session/transport.h"


static void io_due(fanout_session_t *s);
static ngx_msec_t back_after(fanout_session_t *s);
static void io_expire(fanout_session_t *s);
static void io_give_up(fanout_session_t *s, const char *why);
static const char *silent(fanout_session_t *s, ngx_msec_t quiet);
static void io_ping(fanout_session_t *s, ngx_msec_t quiet);
static void heartbeat(fanout_session_t *s, ngx_msec_t now);


/* events */

void
fanout_session_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;
    fanout_session_t  *s;

    c = rev->data;
    s = c->data;

    if (c->close) {
        c->close = 0;
        fanout_session_shutdown(s);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        fanout_session_tick(s);
        return;
    }

    fanout_session_read(s);
}


void
fanout_session_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;
    fanout_session_write(c->data);
}


void
fanout_session_shutdown(fanout_session_t *s)
{
    if (s->connection->error) {
        /* worker_shutdown_timeout is over */
        fanout_session_log_ended(s, 1006, "shutdown");
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    fanout_session_drain(s->hub);

    if (!s->draining) {
        s->draining = 1;
        s->close_at = ngx_current_msec;
        fanout_session_timer(s);
    }
}


void
fanout_session_read(fanout_session_t *s)
{
    if (fanout_session_early(s)) {
        s->unread = 1;
        fanout_session_work(s);
        return;
    }

    fanout_session_read_now(s);
}


void
fanout_session_write(fanout_session_t *s)
{
    if (s->connection->write->timedout) {
        s->connection->write->timedout = 0;
    }

    if (s->blocked) {
        /* the client took some output: it is alive, though it sends nothing */
        fanout_session_unblocked(s);
        s->received_at = ngx_current_msec;
        s->pinged = 0;
        s->heard = 1;
    }

    fanout_outbox_queue(s);
    fanout_session_flush(s->hub);
}


/* One timer serves pings, deadlines and the wait for a close; it is set
 * anew only when it fires, so that traffic costs nothing. */

void
fanout_session_tick(fanout_session_t *s)
{
    fanout_hub_t  *hub;

    hub = s->hub;

    io_due(s);

    fanout_session_flush(hub);
}


/* Closes are spread over the drain time.  If that is too short for so many
 * sessions, each client is asked to wait, so that all come back evenly. */

static ngx_msec_t
back_after(fanout_session_t *s)
{
    ngx_msec_t     drain, gone;
    fanout_hub_t  *hub;

    hub = s->hub;
    drain = s->conf->drain;

    if (hub->return_in <= drain) {
        return 0;
    }

    if (drain == 0) {
        return (ngx_msec_t) ngx_random() % hub->return_in;
    }

    gone = ngx_min(s->close_at - hub->drain_at, drain);

    return gone * (hub->return_in - drain) / drain;
}


/* A client that opened its connection before the worker began to exit starts a
 * session now: it is asked to reconnect, to another worker. */

void
fanout_session_turn_away(fanout_session_t *s)
{
    fanout_session_drain(s->hub);

    s->close_at = ngx_current_msec;
    s->dialect->closing(s, 1012, back_after(s));

    fanout_session_close(s, 1012, "restart");
    fanout_session_stay(s->hub, 0);
}


static void
io_due(fanout_session_t *s)
{
    ngx_msec_t   quiet, now;
    const char  *why;

    now = ngx_current_msec;

    if (s->state == FANOUT_CLOSING) {
        if ((ngx_msec_int_t) (now - s->close_at) >= 0) {
            /* the answer may come after input that was not read */
            s->lingers = 1;
            s->finish = (s->nout == 0);
            fanout_session_end(s, FANOUT_END_CUT);
            return;
        }

        fanout_session_timer(s);
        return;
    }

    if (s->draining && (ngx_msec_int_t) (now - s->close_at) >= 0) {
        s->dialect->closing(s, 1012, back_after(s));
        fanout_session_close(s, 1012, "restart");
        return;
    }

    if (s->expires && (ngx_msec_int_t) (now - s->expire_at) >= 0) {
        io_expire(s);
        return;
    }

    if (s->expires && !s->warned
        && (ngx_msec_int_t) (now - s->expire_at + s->notice) >= 0)
    {
        s->warned = 1;
        s->dialect->expiring(s, NULL, fanout_session_left(s));
    }

    if (s->granted_at && s->granted_at <= fanout_time()) {
        fanout_session_grants_end(s);
    }

    if (s->transport->ping && fanout_session_busy(s)) {
        /* nothing is read from the client: it waits for the server, or has to
         * take its output first, which has a timeout of its own */
        s->frame_at = s->frame_at ? (now ? now : 1) : 0;
        s->received_at = now;
        s->pinged = 0;
    }

    if (s->frame_at && now - s->frame_at >= s->conf->timeout) {
        fanout_count(s->hub, timeouts);
        fanout_session_close(s, 4408, "message not finished in time");
        return;
    }

    if (fanout_session_stalled(s)) {
        fanout_count(s->hub, send_timeouts);
        io_give_up(s, "fanout client does not read its output: "
                      "fanout_send_timeout");
        return;
    }

    quiet = now - s->received_at;
    why = silent(s, quiet);

    if (why) {
        fanout_count(s->hub, timeouts);
        io_give_up(s, why);
        return;
    }

    io_ping(s, quiet);

    if (s->alive && (ngx_msec_int_t) (now - s->alive_at) >= 0) {
        fanout_session_alive(s);
    }

    heartbeat(s, now);

    fanout_session_timer(s);
}


static void
io_expire(fanout_session_t *s)
{
    if (!s->awaited) {
        fanout_session_close(s, 4401, "expired");
        return;
    }

    fanout_count(s->hub, timeouts);
    fanout_session_log_unauthorized(s, NGX_HTTP_UNAUTHORIZED,
                                    "no token came: fanout_jwt wait=");
    fanout_session_close(s, 4401, "no token");
}


static void
io_give_up(fanout_session_t *s, const char *why)
{
    ngx_log_error(NGX_LOG_INFO, s->connection->log,
                  s->transport->ping ? NGX_ETIMEDOUT : 0, "%s", why);

    fanout_session_log_ended(s, 1006, "timeout");
    fanout_session_end(s, FANOUT_END_CUT);
}


/* Why a client that was quiet for so long is given up, or NULL. */

static const char *
silent(fanout_session_t *s, ngx_msec_t quiet)
{
    if (s->conf->ping == 0 || quiet < s->conf->ping + s->conf->timeout) {
        return NULL;
    }

    if (s->transport->ping) {
        return s->pinged ? "fanout client does not answer pings" : NULL;
    }

    return s->blocked ? "fanout client does not read its output"
                      : NULL;
}


/* Pending output makes a client show that it is alive, as a ping does. */

static void
io_ping(fanout_session_t *s, ngx_msec_t quiet)
{
    if (s->conf->ping == 0 || s->transport->ping == NULL || s->pinged
        || quiet < s->conf->ping)
    {
        return;
    }

    s->pinged = 1;

    if (s->pending == 0) {
        s->transport->ping(s);
    }
}


static void
heartbeat(fanout_session_t *s, ngx_msec_t now)
{
    if (!s->heartbeat || (ngx_msec_int_t) (now - s->beat_at) < 0) {
        return;
    }

    s->beat_at = now + s->conf->ping;

    if (s->pending == 0) {
        /* the client has taken all output so far */
        s->heard = 1;
        s->dialect->heartbeat(s);
    }
}
