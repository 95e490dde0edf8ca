
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Replies of the native protocol.
 */


#include "session/compress.h"
#include "hub/entry_json.h"
#include "dialect/native.h"
#include "session/transport.h"


static void native_keep(fanout_reply_t *rp);


void
fanout_native_error(fanout_session_t *s, fanout_json_t *id, fanout_json_t *op,
    ngx_uint_t at, fanout_error_e code, ngx_str_t *text, ngx_str_t *data)
{
    fanout_reply_t                   rp;
    fanout_error_t  *e;

    e = &fanout_errors[code];

    if (text == NULL) {
        text = &e->text;
    }

    fanout_count(s->hub, errors);
    s->refused = code;

    if (fanout_native_part(s)->autojoin) {
        ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                      "fanout_autojoin: %V: %V", &e->code, text);
    }

    fanout_native_open(&rp, s, id ? (u_char *) id->data : NULL,
                       id ? id->len : 0);
    fanout_native_literal(&rp, "\"error\":{\"code\":\"");
    fanout_native_text(&rp, e->code.data, e->code.len);
    fanout_native_literal(&rp, "\",\"message\":");
    fanout_native_string(&rp, text->data, text->len);

    if (data) {
        fanout_native_literal(&rp, ",\"data\":");
        fanout_native_text(&rp, data->data, data->len);
    }

    fanout_native_literal(&rp, "}");

    if (id == NULL || id->len == 0) {
        fanout_native_printf(&rp, ",\"at\":%ui", at);

        if (op && op->len && op->len < 64) {
            fanout_native_literal(&rp, ",\"op\":");
            fanout_native_text(&rp, op->data, op->len);
        }
    }

    fanout_native_end(&rp);
}


void
fanout_native_refuse(fanout_session_t *s, fanout_command_t *cmd,
    fanout_error_e code)
{
    fanout_native_error(s, &cmd->id, &cmd->op, cmd->at, code,
                        cmd->text.len ? &cmd->text : NULL,
                        cmd->data.len ? &cmd->data : NULL);
}


fanout_error_e
fanout_native_fail(fanout_command_t *cmd, fanout_error_e code,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    cmd->text.data = cmd->text_buf;
    cmd->text.len = ngx_vslprintf(cmd->text_buf,
                                  cmd->text_buf + sizeof(cmd->text_buf), fmt,
                                  args)
                    - cmd->text_buf;
    va_end(args);

    return code;
}


fanout_error_e
fanout_native_fail_limit(fanout_command_t *cmd, fanout_error_e code,
    const char *limit, ngx_uint_t max, const char *directive)
{
    cmd->data.data = cmd->data_buf;
    cmd->data.len = ngx_snprintf(cmd->data_buf, sizeof(cmd->data_buf),
                                 "{\"limit\":\"%s\",\"max\":%ui}", limit, max)
                    - cmd->data_buf;

    return fanout_native_fail(cmd, code, "the limit of \"%s\" is %ui: %s",
                              limit, max, directive);
}


/* Keeps the last error. */

static void
native_keep(fanout_reply_t *rp)
{
    fanout_session_t  *s;

    s = rp->s;

    if (s->error) {
        fanout_outbuf_release(s->hub, s->error);
    }

    s->error = rp->f;
    rp->f->refs++;
}


/* replies */

void
fanout_native_open(fanout_reply_t *rp, fanout_session_t *s, u_char *id,
    size_t len)
{
    fanout_native_part_t  *part;

    part = fanout_native_part(s);

    rp->s = s;
    rp->batch = part->batch;
    rp->framing = part->begins ? &fanout_framing_none : s->transport->framing;
    rp->part = 0;
    rp->part_end = 0;
    rp->rc = NGX_OK;

    if (rp->batch && rp->batch->outbuf) {
        rp->f = rp->batch->outbuf;
        fanout_native_literal(rp, ",{");

    } else {
        rp->f = fanout_outbuf_create(s->hub, 256);

        if (rp->f == NULL
            || rp->framing->begin(s->hub, rp->f, &rp->start) != NGX_OK)
        {
            rp->rc = NGX_ERROR;
            return;
        }

        if (rp->batch) {
            rp->batch->outbuf = rp->f;
            rp->batch->start = rp->start;
            fanout_native_literal(rp, "[");
        }

        fanout_native_literal(rp, "{");
    }

    if (len) {
        fanout_native_literal(rp, "\"id\":");
        fanout_native_text(rp, id, len);
        fanout_native_literal(rp, ",");
    }
}


fanout_native_batch_t *
fanout_native_part_open(fanout_reply_t *rp, fanout_session_t *s,
    fanout_native_job_t *job)
{
    fanout_native_part_t   *part;
    fanout_native_batch_t  *b;

    part = fanout_native_part(s);
    b = part->batch;
    part->batch = NULL;

    fanout_native_open(rp, s, job->id.data, job->id.len);
    fanout_native_literal(rp, "\"part\":{\"channel\":");
    fanout_native_string(rp, job->channel.data, job->channel.len);

    return b;
}


void
fanout_native_part_end(fanout_reply_t *rp, fanout_native_batch_t *b)
{
    fanout_native_end(rp);
    fanout_native_part(rp->s)->batch = b;
}


void
fanout_native_text(fanout_reply_t *rp, const void *data, size_t len)
{
    if (rp->rc == NGX_OK) {
        rp->rc = fanout_outbuf_append(rp->s->hub, rp->f, data, len);
    }
}


void
fanout_native_shared(fanout_reply_t *rp, const void *data, size_t len)
{
    if (rp->rc == NGX_OK) {
        rp->part = rp->f->used;
        fanout_native_text(rp, data, len);
        rp->part_end = rp->f->used;
    }
}


void
fanout_native_printf(fanout_reply_t *rp, const char *fmt, ...)
{
    u_char   buf[256], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    fanout_native_text(rp, buf, p - buf);
}


void
fanout_native_count(fanout_reply_t *rp, uint64_t n)
{
    if (rp->rc == NGX_OK) {
        rp->rc = fanout_outbuf_count(rp->s->hub, rp->f, n);
    }
}


void
fanout_native_string(fanout_reply_t *rp, const void *data, size_t len)
{
    if (rp->rc == NGX_OK) {
        rp->rc = fanout_outbuf_string(rp->s->hub, rp->f, data, len);
    }
}


void
fanout_native_end_around(fanout_reply_t *rp, fanout_outbuf_t *f,
    uint32_t start, uint32_t end, uint32_t split)
{
    fanout_session_t  *s;

    s = rp->s;

    fanout_native_literal(rp, "}");

    if (rp->rc == NGX_OK) {
        rp->rc = fanout_frame_end_around(s->hub, rp->f, rp->start,
                                         FANOUT_WS_TEXT, end - start, &split);
    }

    if (rp->rc == NGX_OK) {
        fanout_meter_reply(s, rp->f->used + end - start);
        fanout_session_push(s, rp->f, 0, split);
        fanout_session_push(s, f, start, end);
        fanout_session_push(s, rp->f, split, rp->f->used);
    }

    if (rp->f) {
        fanout_outbuf_release(s->hub, rp->f);
    }

    if (rp->rc != NGX_OK) {
        fanout_session_end(s, FANOUT_END_CUT);
    }
}


void
fanout_native_end(fanout_reply_t *rp)
{
    size_t  tail;

    fanout_native_literal(rp, "}");

    if (rp->batch == NULL) {

        tail = rp->rc == NGX_OK ? rp->f->used - rp->part_end : 0;

        if (rp->rc == NGX_OK) {
            rp->rc = rp->framing->end(rp->s->hub, rp->f, rp->start,
                                      FANOUT_WS_TEXT);
        }

        if (rp->rc == NGX_OK) {
            fanout_meter_reply(rp->s, rp->f->used);
        }

        if (rp->rc == NGX_OK && fanout_native_part(rp->s)->begins) {
            native_keep(rp);

        } else if (rp->rc == NGX_OK) {
            fanout_compress_reply(rp->s->hub, rp->s->format, &rp->f,
                                  rp->part_end - rp->part, tail);
            fanout_session_push(rp->s, rp->f, 0, rp->f->used);
        }

        if (rp->f) {
            fanout_outbuf_release(rp->s->hub, rp->f);
        }
    }

    if (rp->rc != NGX_OK) {
        /* an answer can't be left out */
        fanout_session_end(rp->s, FANOUT_END_CUT);
    }
}


void
fanout_native_ok(fanout_session_t *s, fanout_command_t *cmd)
{
    fanout_reply_t  rp;

    if (cmd->id.len) {
        fanout_native_open(&rp, s, (u_char *) cmd->id.data, cmd->id.len);
        fanout_native_literal(&rp, "\"ok\":{}");
        fanout_native_end(&rp);
    }
}
