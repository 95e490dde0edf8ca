/*
 * What a WebSocket parser told, written down so that two runs can be compared
 * however their input was cut.  For ws_test.c and fuzz_ws.c.
 *
 * The log has one record per whole message, control frame or error.  Pieces of
 * a message are joined in trace_t.part, and every promise of the header about
 * single events is checked on the way: the first one broken is trace_t.broken.
 */


#ifndef _WS_TRACE_H_INCLUDED_
#define _WS_TRACE_H_INCLUDED_


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/ws.h"


#define trace_fn  static __attribute__((unused))


typedef struct {
    unsigned char                *s;
    size_t                        len;
    size_t                        size;
} trace_buf_t;


typedef struct {
    fanout_ws_parser_t   parser;
    trace_buf_t          log;
    trace_buf_t          part;
    int                  begun;             /* a piece was told */
    const char          *broken;
    int                  events;
    int                  closed;
    int                  code;              /* of an error, 0: none */
} trace_t;


trace_fn void
trace_put(trace_buf_t *b, const void *s, size_t len)
{
    if (b->size - b->len < len) {
        b->size = 2 * (b->len + len);
        b->s = realloc(b->s, b->size);

        if (b->s == NULL) {
            abort();
        }
    }

    if (len) {
        memcpy(b->s + b->len, s, len);
        b->len += len;
    }
}


trace_fn void
trace_record(trace_t *t, const char *what, unsigned number, const void *s,
    size_t len)
{
    int   n;
    char  head[64];

    n = snprintf(head, sizeof(head), "%s %u %zu:", what, number, len);

    trace_put(&t->log, head, n);
    trace_put(&t->log, s, len);
    trace_put(&t->log, "\n", 1);
}


trace_fn void
trace_check(trace_t *t, int kept, const char *promise)
{
    if (!kept && t->broken == NULL) {
        t->broken = promise;
    }
}


trace_fn void
trace_data(trace_t *t, const fanout_ws_event_t *ev)
{
    trace_check(t, ev->first == (!t->begun), "first");
    trace_check(t, ev->len || ev->last, "a piece has bytes");

    trace_put(&t->part, ev->data, ev->len);
    t->begun = 1;

    trace_check(t, t->part.len + ev->rest <= ev->size, "size and rest");
    trace_check(t, ev->size <= t->parser.opts->size, "limit");
    trace_check(t, ev->opcode == 1 || ev->opcode == 2, "opcode");

    if (!ev->last) {
        trace_check(t, fanout_ws_within_message(&t->parser),
                    "within message");
        return;
    }

    trace_check(t, t->part.len == ev->size && ev->rest == 0, "size at last");
    trace_check(t, !fanout_ws_within_message(&t->parser),
                "not within message");

    if (ev->opcode == FANOUT_WS_TEXT && !ev->rsv1) {
        trace_check(t, fanout_utf8_check(t->part.s, t->part.len)
                       == FANOUT_UTF8_OK, "text is UTF-8");
    }

    trace_record(t, ev->rsv1 ? "rsv1" : "message", ev->opcode, t->part.s,
                 t->part.len);

    t->part.len = 0;
    t->begun = 0;
}


trace_fn void
trace_control(trace_t *t, const char *what, const fanout_ws_event_t *ev)
{
    trace_check(t, ev->len <= FANOUT_WS_CONTROL_MAX, "control size");
    trace_check(t, !ev->first && !ev->last && !ev->rsv1 && !ev->opcode
                   && !ev->rest && !ev->size && !ev->text,
                "a control frame has no fields of a message");
    trace_check(t, !fanout_ws_within_frame(&t->parser),
                "not within frame");
    trace_record(t, what, ev->code, ev->data, ev->len);

    free(t->parser.control);
    t->parser.control = NULL;
}


trace_fn void
trace_event(trace_t *t, int rc, const fanout_ws_event_t *ev)
{
    t->events++;
    trace_check(t, !t->closed, "nothing after a close");

    switch (rc) {

    case FANOUT_WS_EV_DATA:
        trace_data(t, ev);
        return;

    case FANOUT_WS_EV_PING:
        trace_control(t, "ping", ev);
        return;

    case FANOUT_WS_EV_PONG:
        trace_control(t, "pong", ev);
        return;

    case FANOUT_WS_EV_CLOSE:
        t->closed = 1;
        trace_check(t, ev->code == 1005
                       || fanout_ws_code_valid(ev->code), "code");
        trace_control(t, "close", ev);
        return;

    default:
        trace_check(t, rc == FANOUT_WS_EV_ERROR, "a known event");
        trace_check(t, ev->text != NULL && ev->code >= 1000, "error");
        trace_check(t, ev->data == NULL && !ev->len && !ev->first && !ev->last
                       && !ev->opcode && !ev->rest && !ev->size,
                    "an error has no fields of a message");
        t->code = ev->code;
        trace_record(t, "error", ev->code, ev->text, strlen(ev->text));
    }
}


/*
 * Feeds a piece of input in memory of exactly its size.  0 once there was an
 * error, otherwise 1.
 */

trace_fn int
trace_feed(trace_t *t, const void *s, size_t len)
{
    int                 rc;
    unsigned char      *in, *pos, *before;
    fanout_ws_event_t   ev;

    if (t->code) {
        return 0;
    }

    in = malloc(len ? len : 1);

    if (in == NULL) {
        abort();
    }

    if (len) {
        memcpy(in, s, len);
    }

    for (pos = in; /* void */ ; /* void */ ) {
        before = pos;
        rc = fanout_ws_parse(&t->parser, &pos, in + len, &ev);

        trace_check(t, pos >= before && pos <= in + len, "pos in input");

        if (rc == FANOUT_WS_EV_MORE) {
            trace_check(t, pos == in + len, "more means all is used");
            break;
        }

        if (rc == FANOUT_WS_EV_BUFFER) {
            trace_check(t, t->parser.control == NULL && pos < in + len,
                        "buffer is asked for once, when needed");
            free(t->parser.control);
            t->parser.control = malloc(FANOUT_WS_CONTROL_MAX);

            if (t->parser.control == NULL) {
                abort();
            }

            continue;
        }

        trace_event(t, rc, &ev);

        if (rc == FANOUT_WS_EV_ERROR) {
            before = pos;
            rc = fanout_ws_parse(&t->parser, &pos, in + len, &ev);
            trace_check(t, rc == FANOUT_WS_EV_ERROR && pos == before
                           && ev.code == t->code, "an error stays");
            break;
        }
    }

    free(in);

    return t->code == 0;
}


trace_fn void
trace_begin(trace_t *t, const fanout_ws_opts_t *opts)
{
    memset(t, 0, sizeof(trace_t));
    fanout_ws_init(&t->parser, opts);
}


trace_fn void
trace_end(trace_t *t)
{
    free(t->parser.control);
    free(t->log.s);
    free(t->part.s);
    memset(t, 0, sizeof(trace_t));
}


/*
 * The same told, what came of an unfinished message included: after an error
 * only as far as both have it, for the piece with the error is never told.
 */

trace_fn int
trace_same(const trace_t *a, const trace_t *b)
{
    size_t  n;

    if (a->log.len != b->log.len || a->code != b->code
        || (a->log.len && memcmp(a->log.s, b->log.s, a->log.len) != 0))
    {
        return 0;
    }

    n = (a->part.len < b->part.len) ? a->part.len : b->part.len;

    if (a->code == 0 && a->part.len != b->part.len) {
        return 0;
    }

    return n == 0 || memcmp(a->part.s, b->part.s, n) == 0;
}


#endif /* _WS_TRACE_H_INCLUDED_ */
