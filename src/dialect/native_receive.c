
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What is received by the native protocol: a command, or an array of them.
 *
 * An array is worked off as a batch: its replies are gathered and sent as
 * one array.  A join or a history with much to tell becomes the job of the
 * session: it sends parts as the socket takes them, and the commands behind
 * it wait.
 */


#include "session/compress.h"
#include "dialect/native.h"
#include "hub/entry_json.h"
#include "session/transport.h"


/* the work of an array, half of a turn, after which other sessions go on */
#define FANOUT_ARRAY  524288


static void refuse_frame(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e rc);
static ngx_uint_t insists(fanout_session_t *s);
static void stop_insistent(fanout_session_t *s);
static void dialect_batch_start(fanout_session_t *s, fanout_json_t *array,
    ngx_uint_t max, ngx_uint_t deep);
static void batch_run(fanout_session_t *s);
static ngx_uint_t batch_pause(fanout_session_t *s);
static ngx_int_t batch_reply(fanout_session_t *s);
static void batch_end(fanout_session_t *s);
static ngx_int_t pause_step(fanout_session_t *s);
static void pause_free(fanout_job_t *job);


/* an array of commands that lets others go first */

static const fanout_job_ops_t  pause_ops = {
    pause_step,
    pause_free
};


void
fanout_native_receive(fanout_session_t *s, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    int                  type;
    unsigned             levels;
    ngx_uint_t           deep;
    fanout_json_t        value;
    fanout_command_t     cmd;
    fanout_json_error_t  err;

    if (opcode != FANOUT_WS_TEXT) {
        fanout_count(s->hub, protocol_errors);
        fanout_session_close(s, 1003, "text frames are needed");
        return;
    }

    type = fanout_json_levels(data, len, &value, &levels, &err);
    deep = type > 0 && levels > FANOUT_JSON_DEPTH;

    switch (type) {

    case FANOUT_JSON_OBJECT:
        fanout_native_command(s, &value, 0, deep);
        break;

    case FANOUT_JSON_ARRAY:
        dialect_batch_start(s, &value, s->conf->batch, deep);
        break;

    default:
        fanout_native_blank(&cmd);
        refuse_frame(s, &cmd,
                     fanout_native_fail(&cmd, FANOUT_E_BAD_REQUEST, "%s",
                         type > 0 ? "a frame is an object or an array of them"
                                  : err.reason));
    }

    stop_insistent(s);
}


/* Charges a frame without commands like a command. */

static void
refuse_frame(fanout_session_t *s, fanout_command_t *cmd, fanout_error_e rc)
{
    fanout_limited_t  limited;

    if (!fanout_meter_take(s, FANOUT_COST, &limited)) {
        rc = fanout_native_limited(s, cmd, &limited);
    }

    fanout_native_refuse(s, cmd, rc);
}


/* Whether the client keeps sending commands above its rate.  A POST is
 * answered as a whole, and is the last of its session. */

static ngx_uint_t
insists(fanout_session_t *s)
{
    return s->transport->bit == FANOUT_WEBSOCKET
           && fanout_meter_insists(s);
}


static void
stop_insistent(fanout_session_t *s)
{
    if (s->state == FANOUT_OPEN && !s->batched && insists(s)) {
        fanout_count(s->hub, rate_limited);
        fanout_session_close(s, 4429,
                             "too many refused commands: "
                             "fanout_rate, fanout_budget");
    }
}


static void
dialect_batch_start(fanout_session_t *s, fanout_json_t *array, ngx_uint_t max,
    ngx_uint_t deep)
{
    size_t                  i, n;
    u_char                 *copy;
    fanout_command_t        cmd;
    fanout_native_batch_t  *b;

    if (fanout_json_array(array, NULL, max, &n)
        != FANOUT_JSON_OK)
    {
        fanout_native_blank(&cmd);
        (void) fanout_native_fail_limit(&cmd, FANOUT_E_TOO_MANY, "batch",
                                        s->conf->batch, "fanout_batch");
        refuse_frame(s, &cmd,
                     fanout_native_fail(&cmd, FANOUT_E_TOO_MANY,
                         "too many commands in an array: fanout_batch"));
        return;
    }

    if (n == 0) {
        fanout_native_blank(&cmd);
        refuse_frame(s, &cmd,
                     fanout_native_fail(&cmd, FANOUT_E_BAD_REQUEST,
                                        "an array has at least one command"));
        return;
    }

    /* a job may hold it for longer than the input lives */

    b = ngx_calloc(sizeof(fanout_native_batch_t)
                   + n * sizeof(fanout_json_t) + array->len,
                   ngx_cycle->log);
    if (b == NULL) {
        fanout_session_end(s, FANOUT_END_CUT);
        return;
    }

    fanout_native_part(s)->batch = b;
    s->batched = 1;
    b->hub = s->hub;
    b->n = n;
    b->deep = deep;
    b->items = (fanout_json_t *) (b + 1);

    (void) fanout_json_array(array, b->items, n, &n);

    copy = (u_char *) (b->items + b->n);
    ngx_memcpy(copy, array->data, array->len);

    for (i = 0; i < b->n; i++) {
        b->items[i].data = copy + (b->items[i].data - array->data);
    }

    batch_run(s);
}


/* Runs commands of the array until one becomes a job, or others have waited
 * for long, then sends the replies. */

static void
batch_run(fanout_session_t *s)
{
    uint64_t                end;
    ngx_uint_t              at;
    fanout_native_batch_t  *b;

    b = fanout_native_part(s)->batch;
    end = s->hub->spent + FANOUT_ARRAY;

    while (b->i < b->n && !insists(s)) {

        if (s->hub->spent >= end && batch_pause(s)) {
            return;
        }

        at = b->i++;
        fanout_native_command(s, &b->items[at], at, b->deep);

        if (s->state != FANOUT_OPEN) {
            batch_end(s);
            return;
        }

        if (s->job) {
            /* nothing may come before the replies; a list of members is of
             * one moment, but a backend takes its time */

            if (s->job->asks) {
                fanout_session_withhold(s);

            } else {
                fanout_session_defer(s);
            }

            return;
        }
    }

    if (batch_reply(s) != NGX_OK) {
        batch_end(s);
        return;
    }

    batch_end(s);
    fanout_native_part(s)->autojoin = 0;
    fanout_session_settle(s);
    stop_insistent(s);
}


/* Leaves the rest of the array to another step, and withholds entries until
 * the replies are sent.  Returns 0 if it can't. */

static ngx_uint_t
batch_pause(fanout_session_t *s)
{
    fanout_job_t  *job;

    if (s->transport->bit & (FANOUT_SSE|FANOUT_POLL)) {
        /* these only list members, which has steps of its own */
        return 0;
    }

    job = ngx_calloc(sizeof(fanout_job_t), ngx_cycle->log);
    if (job == NULL) {
        return 0;
    }

    job->ops = &pause_ops;
    job->session = s;
    s->job = job;

    fanout_session_withhold(s);
    fanout_session_work(s);

    return 1;
}


/* Sends the replies so far.  Returns ERROR if the session has ended. */

static ngx_int_t
batch_reply(fanout_session_t *s)
{
    fanout_native_batch_t *b;

    b = fanout_native_part(s)->batch;

    if (b->outbuf == NULL) {
        return NGX_OK;
    }

    if (fanout_outbuf_literal(s->hub, b->outbuf, "]") != NGX_OK
        || s->transport->framing->end(s->hub, b->outbuf, b->start,
                                      FANOUT_WS_TEXT)
           != NGX_OK)
    {
        fanout_session_end(s, FANOUT_END_CUT);
        return NGX_ERROR;
    }

    fanout_meter_reply(s, b->outbuf->used);
    fanout_compress_frame(s->hub, s->format, &b->outbuf);
    fanout_session_push(s, b->outbuf, 0, b->outbuf->used);
    fanout_outbuf_release(s->hub, b->outbuf);
    b->outbuf = NULL;

    return NGX_OK;
}


static ngx_int_t
pause_step(fanout_session_t *s)
{
    fanout_session_job_done(s);

    return NGX_OK;
}


static void
pause_free(fanout_job_t *job)
{
    ngx_free(job);
}


void
fanout_native_job_done(fanout_session_t *s)
{
    if (s->batched && s->state == FANOUT_OPEN) {
        batch_run(s);
    }

    if (s->state == FANOUT_OPEN) {
        fanout_native_unpark(s);
    }
}


void
fanout_native_free(fanout_session_t *s)
{
    batch_end(s);
    fanout_native_waits_free(s);
    ngx_free(fanout_native_part(s)->resumes);
    fanout_native_park_free(s);
}


static void
batch_end(fanout_session_t *s)
{
    fanout_native_part_t   *part;
    fanout_native_batch_t  *b;

    part = fanout_native_part(s);
    b = part->batch;

    if (b == NULL) {
        return;
    }

    part->batch = NULL;
    s->batched = 0;

    if (b->outbuf) {
        fanout_outbuf_release(b->hub, b->outbuf);
    }

    ngx_free(b);
}


void
fanout_native_batch(fanout_session_t *s, ngx_str_t *text)
{
    fanout_json_t  value;

    if (text->len
        && fanout_json_check(text->data, text->len, FANOUT_JSON_DEPTH, &value,
                             NULL)
           == FANOUT_JSON_ARRAY)
    {
        fanout_native_part(s)->autojoin = 1;
        dialect_batch_start(s, &value, s->conf->channels, 0);
    }
}


/* A command in progress may still read the array, so this stays. */

void
fanout_native_flush(fanout_session_t *s)
{
    if (s->batched && batch_reply(s) == NGX_OK) {
        fanout_outbox_join(s);
    }

    fanout_native_waits_flush(s);
    fanout_native_park_flush(s);
}
