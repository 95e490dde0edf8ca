
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Refusals of one kind from one address are gathered: some are written, those
 * beyond are counted, and a line says how many there were when their time is
 * over.  So a client can't fill a disk, nor hide others by what it writes.
 *
 * What is counted is in a table of fixed size, by address and reason.  A kind
 * that needs the place of another has the line of that written first.
 */


#include "ngx_http_fanout_session.h"


#define NGX_HTTP_FANOUT_GATHER        128
#define NGX_HTTP_FANOUT_GATHER_LINES  5         /* written in a span */
#define NGX_HTTP_FANOUT_GATHER_SPAN   10000     /* ms */
#define NGX_HTTP_FANOUT_GATHER_TEXT   (2 * NGX_HTTP_FANOUT_LOG_TEXT + 64)


/* of fanout_log, or of the error log if there is no conf */

typedef struct {
    ngx_http_fanout_loc_conf_t       *conf;
    ngx_http_fanout_eventlog_line_t   line;
    ngx_uint_t                        level;
    ngx_msec_t                        at;       /* of the first */
    ngx_uint_t                        written;  /* 0: the place is free */
    ngx_uint_t                        counted;
    u_char                            text[NGX_HTTP_FANOUT_GATHER_TEXT];
} gathered_t;


static ngx_uint_t gather(ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line, ngx_uint_t level);
static ngx_uint_t same(gathered_t *g, ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line);
static ngx_uint_t same_text(ngx_str_t *a, ngx_str_t *b);
static void begin(gathered_t *g, ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line, ngx_uint_t level);
static void keep(u_char **p, ngx_str_t *text, size_t max);
static void tell(gathered_t *g);


static gathered_t  *table;


ngx_uint_t
ngx_http_fanout_eventlog_gather(ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line)
{
    return gather(conf, line, 0);
}


ngx_uint_t
ngx_http_fanout_eventlog_gather_error(ngx_uint_t level, ngx_str_t *addr,
    const char *text)
{
    ngx_http_fanout_eventlog_line_t  line;

    ngx_memzero(&line, sizeof(ngx_http_fanout_eventlog_line_t));

    line.addr = *addr;
    line.reason.data = (u_char *) text;
    line.reason.len = strcspn(text, "\n");

    return gather(NULL, &line, level);
}


/* whether it is to be written now */

static ngx_uint_t
gather(ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line, ngx_uint_t level)
{
    uint32_t     hash;
    gathered_t  *g;

    if (table == NULL) {
        table = ngx_calloc(NGX_HTTP_FANOUT_GATHER * sizeof(gathered_t),
                           ngx_cycle->log);
        if (table == NULL) {
            return 1;
        }
    }

    hash = ngx_murmur_hash2(line->addr.data, line->addr.len)
           ^ ngx_murmur_hash2(line->reason.data, line->reason.len)
           ^ ngx_murmur_hash2(line->op.data, line->op.len)
           ^ (uint32_t) ((uintptr_t) conf >> 4);

    g = &table[hash % NGX_HTTP_FANOUT_GATHER];

    if (!same(g, conf, line)
        || ngx_current_msec - g->at >= NGX_HTTP_FANOUT_GATHER_SPAN)
    {
        tell(g);
        begin(g, conf, line, level);
    }

    if (g->written < NGX_HTTP_FANOUT_GATHER_LINES) {
        g->written++;
        return 1;
    }

    g->counted++;

    if (!same_text(&g->line.user, &line->user)) {
        /* of several */
        g->line.user.len = 0;
    }

    return 0;
}


static ngx_uint_t
same(gathered_t *g, ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line)
{
    return g->written && g->conf == conf && g->line.status == line->status
           && same_text(&g->line.addr, &line->addr)
           && same_text(&g->line.op, &line->op)
           && same_text(&g->line.reason, &line->reason);
}


static ngx_uint_t
same_text(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


/* What may differ from one to the next is not kept, nor what is longer than a
 * line tells. */

static void
begin(gathered_t *g, ngx_http_fanout_loc_conf_t *conf,
    ngx_http_fanout_eventlog_line_t *line, ngx_uint_t level)
{
    u_char  *p;

    g->conf = conf;
    g->level = level;
    g->at = ngx_current_msec;
    g->written = 0;
    g->counted = 0;
    g->line = *line;

    ngx_str_null(&g->line.channel);
    ngx_str_null(&g->line.origin);
    g->line.client = 0;

    p = g->text;
    keep(&p, &g->line.addr, 64);
    keep(&p, &g->line.user, NGX_HTTP_FANOUT_LOG_TEXT);
    keep(&p, &g->line.reason, NGX_HTTP_FANOUT_LOG_TEXT);
}


static void
keep(u_char **p, ngx_str_t *text, size_t max)
{
    text->len = ngx_min(text->len, max);

    if (text->len) {
        ngx_memcpy(*p, text->data, text->len);
    }

    text->data = *p;
    *p += text->len;
}


static void
tell(gathered_t *g)
{
    if (g->counted == 0) {
        return;
    }

    if (g->conf) {
        g->line.repeated = g->counted;
        ngx_http_fanout_eventlog_put(g->conf, &g->line);

    } else {
        ngx_log_error(g->level, ngx_cycle->log, 0,
                      "fanout refused %ui more from \"%V\" in %M s: %V",
                      g->counted, &g->line.addr,
                      (ngx_current_msec - g->at + 999) / 1000,
                      &g->line.reason);
    }

    g->counted = 0;
}


void
ngx_http_fanout_eventlog_gathered(ngx_uint_t all)
{
    ngx_uint_t  i;

    if (table == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_FANOUT_GATHER; i++) {
        if (table[i].written
            && (all || ngx_current_msec - table[i].at
                       >= NGX_HTTP_FANOUT_GATHER_SPAN))
        {
            tell(&table[i]);
            table[i].written = 0;
        }
    }
}
