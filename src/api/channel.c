
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The operations on one channel, and the list of all.
 *
 *   publish  {"epoch","offset","time","delivered"?,"pending"?,"duplicate"?}
 *   signal   {}
 *   history  {"epoch","offset","messages":[…],"recovered"?,"next"?}
 *   info     {"name","epoch","offset","first","messages","bytes",
 *             "subscribers","workers"}
 *   purge    {"epoch","offset","time"}
 *   list     {"channels":[info…],"cursor"?}
 *
 * A page of history is in ascending order.  With "since" it begins after
 * that offset, "recovered" says whether nothing in between is missing (if so
 * it begins with the oldest that is kept), and "next" is the offset to go on
 * from, with the epoch, as "since".  Without, it is the last ones, and "next"
 * is what to give as "before" for those that precede them.
 */


#include "api/api.h"
#include "base/pattern.h"


/* a page of history in work */

typedef struct {
    fanout_zone_channel_t   zc;
    uint64_t                epoch;
    uint64_t                offset;             /* the channel's */
    uint64_t                first;              /* kept at the start, or 0 */
    uint64_t                start;              /* read after it */
    uint64_t                after;              /* read up to here */
    uint64_t                upto;
    ngx_uint_t              limit;
    ngx_uint_t              n;                  /* written */
    size_t                  body;               /* of out: its entries */
    size_t                  end;                /* of out, not to pass with
                                                   more than one entry */
    unsigned                recovered:1;
    unsigned                more:1;             /* between after and upto */
} page_t;


static fanout_error_e check_publish(fanout_api_t *api, fanout_api_op_t *op);
static fanout_error_e check_label(fanout_api_t *api, const char *what,
    ngx_str_t *label, size_t max);
static void fill_message(fanout_api_op_t *op, fanout_zone_message_t *m,
    fanout_zone_publish_t *opts);
static fanout_error_e channel_address(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_message_t *m);
static fanout_error_e channel_published(fanout_api_t *api,
    fanout_zone_message_t *m, fanout_zone_result_t *r);
static fanout_error_e channel_conflict(fanout_api_t *api,
    fanout_zone_result_t *r);

static int seek_page(fanout_api_t *api,
    fanout_api_op_t *op, page_t *page);
static int read_page(fanout_api_t *api,
    fanout_api_op_t *op, page_t *page);
static ngx_uint_t channel_lose(fanout_api_t *api, fanout_api_op_t *op,
    page_t *page, uint64_t lost);
static ngx_int_t write_entries(fanout_api_t *api, page_t *page);
static ngx_int_t write_page_end(fanout_api_t *api, fanout_api_op_t *op,
    page_t *page);
static fanout_error_e zone_error(fanout_api_t *api, ngx_str_t *channel,
    int rc);

static ngx_int_t write_info(fanout_api_t *api, fanout_zone_info_t *info);
static fanout_error_e list_pattern(fanout_api_t *api,
    fanout_pattern_t *pattern);
static ngx_int_t list_some(fanout_api_t *api, fanout_pattern_t *pattern,
    fanout_zone_info_t *infos, ngx_uint_t n, ngx_uint_t *written);


/*
 * Fewer would do, but a bucket of the zone's table is listed whole or cut, so
 * there must be room for the fullest.  A page may be this much too long.
 */
#define FANOUT_API_SECTION  32

/* sections of the lock that one list may take */
#define FANOUT_API_SECTIONS  128


#define set_zstr(z, s)                                                        \
    (z)->data = (s)->data;                                                    \
    (z)->len = (s)->len


fanout_error_e
fanout_api_channel(fanout_api_t *api, ngx_str_t *name)
{
    if (fanout_name_check(name) == NGX_OK) {
        return FANOUT_E_NONE;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "a channel's name has 1 to %d bytes of "
                           "UTF-8 without control characters and "
                           "\"*\"", FANOUT_NAME);
}


/* publish */

fanout_error_e
fanout_api_publish(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e         error;
    fanout_zone_result_t   r;
    fanout_zone_message_t  m;
    fanout_zone_publish_t  opts;

    error = check_publish(api, op);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    fill_message(op, &m, &opts);

    error = channel_address(api, op, &m);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    error = fanout_hub_publish(api->hub, &op->channel, &m, 1, &opts, &r);
    switch (error) {

    case FANOUT_E_NONE:
        return channel_published(api, &m, &r);

    case FANOUT_E_CONFLICT:
        return channel_conflict(api, &r);

    case FANOUT_E_TOO_LARGE:
        return fanout_api_fail(api, error,
                               "a message of %uz bytes is too large "
                               "for the zone", op->data.len);

    case FANOUT_E_TOO_MANY:
        return fanout_api_exceed(api, error, "mail",
                                 FANOUT_ZONE_MAIL);

    default:
        return error;
    }
}


fanout_error_e
fanout_api_signal(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e         error;
    fanout_zone_message_t  m;
    fanout_zone_publish_t  opts;

    if ((error = check_publish(api, op))
        || (error = check_label(api, "tag", &op->tag, FANOUT_KEY)))
    {
        return error;
    }

    if (op->event.len == 0) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "a signal has an \"event\"");
    }

    op->key = op->tag;
    op->meta.len = 0;
    fill_message(op, &m, &opts);

    error = channel_address(api, op, &m);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    error = fanout_hub_signal(api->hub, &op->channel, &m);

    if (error == FANOUT_E_TOO_LARGE) {
        return fanout_api_exceed(api, error, "signal", 16384);
    }

    if (error != FANOUT_E_NONE) {
        return error;
    }

    return fanout_api_done(
               fanout_outbuf_literal(api->hub, api->out, "{}"));
}


/* A client that can't be one of ours is one that is not there. */

static fanout_error_e
channel_address(fanout_api_t *api, fanout_api_op_t *op,
    fanout_zone_message_t *m)
{
    if (op->to_client.len && op->to_user.len) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "to a client or to a user, not both");
    }

    if (op->to_user.len) {
        m->to_user = fanout_zone_hash(&api->hub->zone, op->to_user.data,
                                      op->to_user.len);

    } else if (op->to_client.len
               && (fanout_client_parse(&op->to_client,
                                       &m->to_client)
                   != NGX_OK
                   || m->to_client == 0))
    {
        fanout_count(api->hub, direct_offline);
        return FANOUT_E_RECIPIENT_OFFLINE;
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
check_publish(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e  error;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = check_label(api, "event", &op->event,
                                FANOUT_KEY))
        || (error = check_label(api, "key", &op->key, FANOUT_KEY))
        || (error = check_label(api, "user", &op->user,
                                FANOUT_NAME)))
    {
        return error;
    }

    if (op->meta.len > FANOUT_META) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE,
                                 "meta", FANOUT_META);
    }

    if (op->data.len > api->conf->message_size) {
        return fanout_api_exceed(api, FANOUT_E_TOO_LARGE,
                                 "message",
                                 api->conf->message_size);
    }

    return FANOUT_E_NONE;
}


static fanout_error_e
check_label(fanout_api_t *api, const char *what, ngx_str_t *label, size_t max)
{
    if (label->len == 0
        || fanout_label_check(label, max) == NGX_OK)
    {
        return FANOUT_E_NONE;
    }

    return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                           "\"%s\" has at most %uz bytes of UTF-8 "
                           "without control characters", what, max);
}


static void
fill_message(fanout_api_op_t *op, fanout_zone_message_t *m,
    fanout_zone_publish_t *opts)
{
    ngx_memzero(m, sizeof(fanout_zone_message_t));
    ngx_memzero(opts, sizeof(fanout_zone_publish_t));

    set_zstr(&m->event, &op->event);
    set_zstr(&m->key, &op->key);
    set_zstr(&m->user, &op->user);
    set_zstr(&m->meta, &op->meta);
    set_zstr(&m->data, &op->data);

    m->kind = op->kind;
    m->flags = op->transient ? FANOUT_TRANSIENT : 0;

    set_zstr(&opts->key, &op->key);
    set_zstr(&opts->scope, &op->user);

    opts->live = op->live;
    opts->if_set = op->positioned;
    opts->if_epoch = op->epoch;
    opts->if_offset = op->offset;

    if (op->epoch == 0) {
        /* not "whatever the epoch", as the zone takes it: it holds nowhere */
        opts->if_offset = UINT64_MAX;
    }
}


static fanout_error_e
channel_published(fanout_api_t *api, fanout_zone_message_t *m,
    fanout_zone_result_t *r)
{
    ngx_int_t  rc;

    if (r->duplicate) {
        fanout_count(api->hub, duplicates);

    } else {
        fanout_count(api->hub, api_published);
        api->status = NGX_HTTP_CREATED;
    }

    rc = fanout_outbuf_printf(api->hub, api->out, 128,
                              "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                              "\"time\":%uL",
                              r->epoch, r->offset, r->time);

    if (rc == NGX_OK && (m->to_client || m->to_user)) {
        rc = fanout_outbuf_printf(api->hub, api->out, 64,
                                  ",\"delivered\":%uD,"
                                  "\"pending\":%uD",
                                  r->delivered, r->pending);
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_printf(api->hub, api->out, 32, "%s}",
                                  r->duplicate ? ",\"duplicate\":true"
                                               : "");
    }

    return fanout_api_done(rc);
}


/* A condition that did not hold: what the channel has instead. */

static fanout_error_e
channel_conflict(fanout_api_t *api, fanout_zone_result_t *r)
{
    u_char          *p;
    fanout_error_e   error;

    error = fanout_api_fail(api, FANOUT_E_CONFLICT,
                            "the channel is at %016xL:%uL",
                            r->epoch, r->offset);

    p = ngx_pnalloc(api->request->pool, 128);
    if (p == NULL) {
        return error;
    }

    api->data.data = p;
    api->data.len = ngx_sprintf(p, "{\"epoch\":\"%016xL\",\"offset\":%uL}",
                                r->epoch, r->offset)
                    - p;

    return error;
}


/* history */

fanout_error_e
fanout_api_history(fanout_api_t *api, fanout_api_op_t *op)
{
    int             rc;
    size_t          start;
    page_t          page;
    ngx_uint_t      tries;
    fanout_error_e  error;

    error = fanout_api_channel(api, &op->channel);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    ngx_memzero(&page, sizeof(page_t));

    fanout_hub_view(api->hub, &op->channel, &page.zc);

    /* pages of a batch share the room of one, but none is left without */

    start = api->out->used;
    page.end = ngx_max(FANOUT_API_PAGE, start + FANOUT_API_PAGE / 16);
    page.limit = op->limit;
    tries = 0;

    for ( ;; ) {
        api->out->used = start;

        rc = seek_page(api, op, &page);

        if (rc == FANOUT_ZONE_OK) {
            rc = read_page(api, op, &page);
        }

        if (rc == FANOUT_ZONE_STALE && tries++ < 3) {
            /* purged or rebuilt in between */
            page.zc.ref = 0;
            continue;
        }

        if (rc != FANOUT_ZONE_OK) {
            return zone_error(api, &op->channel, rc);
        }

        if (!page.more || op->positioned || page.limit <= 1) {
            break;
        }

        /* The last ones are too many bytes: fewer of them.  Halved at least,
         * for the large ones may be the last. */

        page.limit = ngx_max(1, ngx_min(page.n, page.limit / 2));
    }

    return fanout_api_done(write_page_end(api, op, &page));
}


static int
seek_page(fanout_api_t *api, fanout_api_op_t *op, page_t *page)
{
    int                  rc;
    ngx_uint_t           n;
    fanout_zone_join_t   j;
    fanout_zone_info_t   info;

    rc = fanout_channel_info(&api->hub->zone, &page->zc, &info);
    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    n = op->positioned ? 0 : page->limit;

    rc = fanout_log_seek(&api->hub->zone, &page->zc, op->before, n, &j);
    if (rc != FANOUT_ZONE_OK) {
        return rc;
    }

    page->epoch = j.epoch;
    page->offset = j.offset;
    page->first = info.first;
    page->start = j.after;
    page->upto = j.offset;
    page->n = 0;
    page->more = 0;

    if (op->before && op->before <= j.offset) {
        page->upto = op->before - 1;
    }

    if (op->positioned) {
        page->recovered = op->epoch
                          && fanout_log_holds(&api->hub->zone, &page->zc,
                                              op->epoch, op->offset);
        page->start = page->recovered ? op->offset : 0;
    }

    page->after = page->start;

    if (fanout_outbuf_printf(api->hub, api->out, 128,
                             "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                             "\"messages\":[",
                             page->epoch, page->offset)
        != NGX_OK)
    {
        return FANOUT_ZONE_ERROR;
    }

    page->body = api->out->used;

    return FANOUT_ZONE_OK;
}


static int
read_page(fanout_api_t *api, fanout_api_op_t *op, page_t *page)
{
    int              rc;
    uint64_t         lost;
    fanout_arena_t  *arena;

    arena = &api->hub->pages;

    do {
        arena->n = 0;
        arena->used = 0;
        lost = 0;

        rc = fanout_log_read(&api->hub->zone, &page->zc,
                             page->epoch, page->after, page->upto,
                             arena, &lost);

        fanout_spend(api->hub, FANOUT_WORK_SECTION
                               + arena->used
                               + arena->n
                                 * FANOUT_WORK_ENTRY);

        if (rc != FANOUT_ZONE_OK && rc != FANOUT_ZONE_AGAIN)
        {
            return rc;
        }

        if (lost > page->after && !channel_lose(api, op, page, lost)) {
            break;
        }

        if (write_entries(api, page) != NGX_OK) {
            return FANOUT_ZONE_ERROR;
        }

        if (rc == FANOUT_ZONE_AGAIN && page->n == page->limit) {
            page->more = 1;
        }

    } while (rc == FANOUT_ZONE_AGAIN && !page->more);

    return FANOUT_ZONE_OK;
}


/* The log has let go of what comes next.  A page has no hole: it ends before
 * it, as the next one tells then, or begins behind it.  Whether it goes on. */

static ngx_uint_t
channel_lose(fanout_api_t *api, fanout_api_op_t *op, page_t *page,
    uint64_t lost)
{
    if (op->positioned && page->n) {
        page->more = 1;
        return 0;
    }

    api->out->used = page->body;

    page->recovered = 0;
    page->first = 0;
    page->n = 0;
    page->after = ngx_min(lost, page->upto);

    return 1;
}


static ngx_int_t
write_entries(fanout_api_t *api, page_t *page)
{
    uint32_t          i;
    fanout_entry_t   *e;
    fanout_outbuf_t  *out;

    out = api->out;

    for (i = 0; i < api->hub->pages.n; i++) {
        e = &api->hub->pages.entries[i];

        if (page->n == page->limit
            || (page->n && out->used + e->data.len > page->end))
        {
            page->more = 1;
            break;
        }

        if (fanout_outbuf_printf(api->hub, out, 2,
                                 page->n ? ",{" : "{")
            != NGX_OK
            || fanout_entry_json(api->hub, e, out) != NGX_OK
            || fanout_outbuf_append(api->hub, out, "}", 1) != NGX_OK)
        {
            return NGX_ERROR;
        }

        page->n++;
        page->after = e->offset;
    }

    return NGX_OK;
}


static ngx_int_t
write_page_end(fanout_api_t *api, fanout_api_op_t *op, page_t *page)
{
    uint64_t  next;

    next = 0;

    if (op->positioned) {
        if (page->more) {
            next = page->after;
        }

    } else if (page->n && page->first && page->first <= page->start) {
        next = page->start + 1;
    }

    if (fanout_outbuf_literal(api->hub, api->out, "]") != NGX_OK) {
        return NGX_ERROR;
    }

    if (op->positioned
        && fanout_outbuf_printf(api->hub, api->out, 32,
                                ",\"recovered\":%s",
                                page->recovered ? "true" : "false")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (next
        && fanout_outbuf_printf(api->hub, api->out, 64,
                                ",\"next\":%uL", next)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return fanout_outbuf_literal(api->hub, api->out, "}");
}


static fanout_error_e
zone_error(fanout_api_t *api, ngx_str_t *channel, int rc)
{
    switch (rc) {

    case FANOUT_ZONE_NOTFOUND:
        return fanout_api_absent(api, channel);

    case FANOUT_ZONE_FULL:
        return FANOUT_E_ZONE_FULL;

    default:
        return FANOUT_E_INTERNAL;
    }
}


/* If it was made meanwhile, the start of it is a position as well. */

fanout_error_e
fanout_api_absent(fanout_api_t *api, ngx_str_t *channel)
{
    u_char                 *p;
    fanout_error_e          error;
    fanout_zone_join_t      j;
    fanout_zone_channel_t   zc;

    error = fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                            "there is no channel \"%V\"", channel);

    p = ngx_pnalloc(api->request->pool, 64);
    if (p == NULL) {
        return error;
    }

    fanout_hub_view(api->hub, channel, &zc);
    (void) fanout_log_seek(&api->hub->zone, &zc, 0, 0, &j);

    api->data.data = p;
    api->data.len = ngx_sprintf(p, "{\"epoch\":\"%016xL\",\"offset\":0}",
                                j.epoch)
                    - p;

    return error;
}


/* info and purge */

fanout_error_e
fanout_api_info(fanout_api_t *api, fanout_api_op_t *op)
{
    int                    rc;
    fanout_error_e         error;
    fanout_zone_info_t     info;
    fanout_zone_channel_t  zc;

    error = fanout_api_channel(api, &op->channel);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    fanout_hub_view(api->hub, &op->channel, &zc);

    rc = fanout_channel_info(&api->hub->zone, &zc, &info);

    if (rc != FANOUT_ZONE_OK) {
        return zone_error(api, &op->channel, rc);
    }

    return fanout_api_done(write_info(api, &info));
}


fanout_error_e
fanout_api_purge(fanout_api_t *api, fanout_api_op_t *op)
{
    int                    rc;
    ngx_str_t              reason;
    fanout_error_e         error;
    fanout_zone_result_t   r;
    fanout_zone_channel_t  zc;

    if ((error = fanout_api_channel(api, &op->channel))
        || (error = check_label(api, "reason", &op->reason,
                                FANOUT_KEY)))
    {
        return error;
    }

    ngx_str_set(&reason, "purged");

    if (op->close) {
        ngx_str_set(&reason, "closed");
    }

    if (op->reason.len) {
        reason = op->reason;
    }

    fanout_hub_view(api->hub, &op->channel, &zc);

    rc = op->close
         ? fanout_channel_end(&api->hub->zone, &zc, reason.data, reason.len,
                              &r)
         : fanout_channel_purge(&api->hub->zone, &zc, reason.data, reason.len,
                                &r);

    fanout_hub_kick(api->hub);

    if (rc == FANOUT_ZONE_NOTFOUND) {
        return fanout_api_absent(api, &op->channel);
    }

    if (rc != FANOUT_ZONE_OK) {
        return fanout_error_of(api->hub, rc);
    }

    rc = fanout_outbuf_printf(api->hub, api->out, 128,
                              "{\"epoch\":\"%016xL\",\"offset\":%uL,"
                              "\"time\":%uL}",
                              r.epoch, r.offset, r.time);

    return fanout_api_done(rc);
}


static ngx_int_t
write_info(fanout_api_t *api, fanout_zone_info_t *info)
{
    fanout_outbuf_t  *out;

    out = api->out;

    if (fanout_outbuf_literal(api->hub, out, "{\"name\":") != NGX_OK
        || fanout_outbuf_string(api->hub, out, info->name, info->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return fanout_outbuf_printf(api->hub, out, 320,
                                ",\"epoch\":\"%016xL\",\"offset\":%uL"
                                ",\"first\":%uL,\"messages\":%uD"
                                ",\"bytes\":%uL,\"subscribers\":%uD"
                                ",\"workers\":%uD}",
                                info->epoch, info->offset,
                                info->first, info->messages,
                                info->bytes, info->subscribers,
                                info->workers);
}


/* list */

fanout_error_e
fanout_api_list_handler(fanout_api_t *api)
{
    uint64_t             cursor, limit;
    ngx_uint_t           i, n, room, written;
    fanout_error_e       error;
    fanout_pattern_t     pattern;
    fanout_zone_info_t  *infos;

    cursor = 0;
    limit = FANOUT_API_LIMIT;

    if ((error = list_pattern(api, &pattern))
        || (error = fanout_api_number_arg(api, "cursor", &cursor))
        || (error = fanout_api_number_arg(api, "limit", &limit)))
    {
        return error;
    }

    limit = ngx_min(limit, FANOUT_API_CHANNELS);

    infos = ngx_palloc(api->request->pool,
                       FANOUT_ZONE_ENTRIES
                       * sizeof(fanout_zone_info_t));
    if (infos == NULL
        || fanout_outbuf_literal(api->hub, api->out,
                                 "{\"channels\":[")
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    written = 0;

    for (i = 0; i < FANOUT_API_SECTIONS; i++) {

        room = limit - written;
        room = ngx_max(room, FANOUT_API_SECTION);
        room = ngx_min(room, FANOUT_ZONE_ENTRIES);

        n = fanout_channel_list(&api->hub->zone, &cursor, infos, room);

        if (list_some(api, &pattern, infos, n, &written) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

        if (cursor == 0 || written >= limit) {
            break;
        }
    }

    if (cursor == 0) {
        return fanout_api_done(
                   fanout_outbuf_literal(api->hub, api->out, "]}"));
    }

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 64,
                                    "],\"cursor\":\"%uL\"}", cursor));
}


/* Without "match" the pattern is empty and stands for all. */

static fanout_error_e
list_pattern(fanout_api_t *api, fanout_pattern_t *pattern)
{
    ngx_str_t       match;
    fanout_error_e  error;

    ngx_memzero(pattern, sizeof(fanout_pattern_t));

    error = fanout_api_text_arg(api, "match", &match);

    if (error != FANOUT_E_NONE || match.len == 0) {
        return error;
    }

    pattern->size = match.len;
    pattern->data = ngx_pnalloc(api->request->pool, match.len);

    if (pattern->data == NULL) {
        return FANOUT_E_INTERNAL;
    }

    if (fanout_pattern_append_text(pattern, match.data, match.len)
        != FANOUT_PATTERN_OK)
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "argument \"match\" has a control "
                               "character");
    }

    return FANOUT_E_NONE;
}


static ngx_int_t
list_some(fanout_api_t *api, fanout_pattern_t *pattern,
    fanout_zone_info_t *infos, ngx_uint_t n, ngx_uint_t *written)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        if (pattern->len
            && !fanout_pattern_match(pattern->data, pattern->len,
                                     infos[i].name, infos[i].len))
        {
            continue;
        }

        if (*written
            && fanout_outbuf_append(api->hub, api->out, ",", 1)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (write_info(api, &infos[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        (*written)++;
    }

    return NGX_OK;
}
