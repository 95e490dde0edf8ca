
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Refusals of one kind from one address are gathered: some are written, those
 * beyond are counted, and a line says how many there were when their time is
 * over.  So a client can't fill a disk, or hide lines of other clients.
 *
 * Counts are in a table of fixed size, by address and reason.  When a kind
 * takes the place of another, the line of the old one is written first.  New
 * kinds beyond a number are not told apart: who has many addresses can't fill
 * the disk either.
 */


#include "session/session.h"


#define FANOUT_GATHER        128                /* places, in sets of */
#define FANOUT_GATHER_WAYS   4
#define FANOUT_GATHER_LINES  5                  /* written in a span */
#define FANOUT_GATHER_SPAN   10000              /* ms */
#define FANOUT_GATHER_KINDS  256                /* begun in a span */
#define FANOUT_GATHER_OTHERS 8                  /* counters of those beyond, by
                                                   log and event */
#define FANOUT_GATHER_TEXT   (2 * FANOUT_LOG_TEXT + 64)


/* of fanout_log, or of the error log if there is no conf */

typedef struct {
    fanout_loc_conf_t          *conf;
    fanout_session_log_line_t   line;
    uint64_t                    from;
    ngx_uint_t                  level;
    ngx_msec_t                  at;             /* of the first */
    ngx_uint_t                  written;        /* 0: the place is free */
    ngx_uint_t                  counted;
    u_char                      text[FANOUT_GATHER_TEXT];
} gathered_t;


static ngx_uint_t session_gather(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line, ngx_uint_t level);
static ngx_uint_t gather_new(void);
static void gather_other(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line, ngx_uint_t level);
static gathered_t *gather_place(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line, uint64_t from);
static uint64_t gather_address(ngx_str_t *text);
static ngx_uint_t gather_same(gathered_t *g, fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line, uint64_t from);
static ngx_uint_t same_text(ngx_str_t *a, ngx_str_t *b);
static void begin(gathered_t *g, fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line, ngx_uint_t level);
static void keep(u_char **p, ngx_str_t *text, size_t max);
static void gather_write(gathered_t *g);
static void gather_end(gathered_t *g, ngx_uint_t all);


static gathered_t  *table;
static gathered_t   gather_others[FANOUT_GATHER_OTHERS];
static uint32_t     seed;

/* kinds begun since a time */

static ngx_uint_t   gather_kinds;
static ngx_msec_t   gather_since;


ngx_uint_t
fanout_session_log_gather(fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line)
{
    return session_gather(conf, line, 0);
}


ngx_uint_t
fanout_session_log_gather_error(ngx_uint_t level, ngx_str_t *addr,
    const char *text)
{
    fanout_session_log_line_t  line;

    ngx_memzero(&line, sizeof(fanout_session_log_line_t));

    line.addr = *addr;
    line.reason.data = (u_char *) text;
    line.reason.len = ngx_strlen(text);

    return session_gather(NULL, &line, level);
}


/* whether it is to be written now */

static ngx_uint_t
session_gather(fanout_loc_conf_t *conf, fanout_session_log_line_t *line,
    ngx_uint_t level)
{
    uint64_t     from;
    gathered_t  *g;

    if (table == NULL) {
        table = ngx_calloc(FANOUT_GATHER * sizeof(gathered_t),
                           ngx_cycle->log);
        if (table == NULL) {
            return 1;
        }

        seed = (uint32_t) ngx_random();
    }

    from = gather_address(&line->addr);
    g = gather_place(conf, line, from);

    if (!gather_same(g, conf, line, from)
        || ngx_current_msec - g->at >= FANOUT_GATHER_SPAN)
    {
        if (!gather_new()) {
            gather_other(conf, line, level);
            return 0;
        }

        gather_write(g);
        begin(g, conf, line, level);
        g->from = from;
    }

    if (g->written < FANOUT_GATHER_LINES) {
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


/* whether a kind may begin now */

static ngx_uint_t
gather_new(void)
{
    if (ngx_current_msec - gather_since >= FANOUT_GATHER_SPAN) {
        gather_since = ngx_current_msec;
        gather_kinds = 0;
    }

    return gather_kinds < FANOUT_GATHER_KINDS && ++gather_kinds;
}


/* Without a counter that is free, it is only in that of the status. */

static void
gather_other(fanout_loc_conf_t *conf, fanout_session_log_line_t *line,
    ngx_uint_t level)
{
    ngx_uint_t                 i;
    gathered_t                *g;
    fanout_session_log_line_t  other;

    for (i = 0; i < FANOUT_GATHER_OTHERS; i++) {
        g = &gather_others[i];

        if (g->written == 0) {
            ngx_memzero(&other, sizeof(fanout_session_log_line_t));

            other.kind = line->kind;
            other.zone = line->zone;
            other.pid = line->pid;
            ngx_str_set(&other.addr, "many");
            ngx_str_set(&other.reason, "refusals of too many kinds");

            begin(g, conf, &other, level);
            g->written = 1;
        }

        if (g->conf == conf && g->line.kind == line->kind) {
            g->counted++;
            return;
        }
    }
}


/* That of the kind, or one that is free, or the one that began first.  Which
 * kinds share a set can't be chosen from outside. */

static gathered_t *
gather_place(fanout_loc_conf_t *conf, fanout_session_log_line_t *line,
    uint64_t from)
{
    uint32_t     hash;
    ngx_uint_t   i;
    gathered_t  *set, *g;

    struct {
        uint64_t  from;
        uint64_t  conf;
        uint32_t  seed;
        uint32_t  reason;
        uint32_t  op;
        uint32_t  status;
    } key;

    key.from = from;
    key.conf = (uintptr_t) conf;
    key.seed = seed;
    key.reason = ngx_murmur_hash2(line->reason.data, line->reason.len);
    key.op = ngx_murmur_hash2(line->op.data, line->op.len);
    key.status = line->status;

    hash = ngx_murmur_hash2((u_char *) &key, sizeof(key));

    set = &table[hash % (FANOUT_GATHER / FANOUT_GATHER_WAYS)
                 * FANOUT_GATHER_WAYS];
    g = set;

    for (i = 0; i < FANOUT_GATHER_WAYS; i++) {

        if (gather_same(&set[i], conf, line, from)) {
            return &set[i];
        }

        if (g->written
            && (set[i].written == 0
                || (ngx_msec_int_t) (set[i].at - g->at) < 0))
        {
            g = &set[i];
        }
    }

    return g;
}


/* As budgets know it: of IPv6, the network of 64 bits. */

static uint64_t
gather_address(ngx_str_t *text)
{
    uint64_t   from;
    in_addr_t  in;

#if (NGX_HAVE_INET6)
    struct in6_addr  in6;

    if (ngx_inet6_addr(text->data, text->len, in6.s6_addr) == NGX_OK) {

        if (IN6_IS_ADDR_V4MAPPED(&in6)) {
            ngx_memcpy(&in, in6.s6_addr + 12, 4);
            return in;
        }

        ngx_memcpy(&from, in6.s6_addr, 8);
        return from;
    }
#endif

    in = ngx_inet_addr(text->data, text->len);

    return in != INADDR_NONE ? in
                             : ngx_murmur_hash2(text->data, text->len);
}


static ngx_uint_t
gather_same(gathered_t *g, fanout_loc_conf_t *conf,
    fanout_session_log_line_t *line, uint64_t from)
{
    return g->written && g->conf == conf && g->from == from
           && g->line.status == line->status
           && g->line.kind == line->kind
           && same_text(&g->line.op, &line->op)
           && same_text(&g->line.reason, &line->reason);
}


static ngx_uint_t
same_text(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


/* Begins to gather a kind.  Values that may differ between its refusals are not
 * kept; texts are cut to the length that a line may have. */

static void
begin(gathered_t *g, fanout_loc_conf_t *conf, fanout_session_log_line_t *line,
    ngx_uint_t level)
{
    u_char  *p;

    g->conf = conf;
    g->level = level;
    g->at = ngx_current_msec;
    g->written = 0;
    g->counted = 0;
    g->line = *line;

    ngx_str_null(&g->line.channel);
    ngx_str_null(&g->line.name);
    ngx_str_null(&g->line.origin);
    g->line.client = 0;

    p = g->text;
    keep(&p, &g->line.addr, 64);
    keep(&p, &g->line.user, FANOUT_LOG_TEXT);
    keep(&p, &g->line.reason, FANOUT_LOG_TEXT);
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
gather_write(gathered_t *g)
{
    if (g->counted == 0) {
        return;
    }

    if (g->conf) {
        g->line.repeated = g->counted;
        fanout_session_log_put(g->conf, &g->line);

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
fanout_session_log_gathered(ngx_uint_t all)
{
    ngx_uint_t  i;

    for (i = 0; table && i < FANOUT_GATHER; i++) {
        gather_end(&table[i], all);
    }

    for (i = 0; i < FANOUT_GATHER_OTHERS; i++) {
        gather_end(&gather_others[i], all);
    }
}


static void
gather_end(gathered_t *g, ngx_uint_t all)
{
    if (g->written
        && (all || ngx_current_msec - g->at >= FANOUT_GATHER_SPAN))
    {
        gather_write(g);
        g->written = 0;
    }
}
