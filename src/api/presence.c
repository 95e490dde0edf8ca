
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The members of a channel, clients and users.
 *
 *   presence    {"members":[member…],"epoch","offset","presence","count",
 *                "seen"?,"cursor"?}, with "summary" no members
 *   client      {"client","user"?,"info"?,"state","worker"?,
 *                "channels":[name…],"cursor"?}
 *   user        {"user","clients":[client…],"cursor"?}
 *   disconnect  {"disconnected":N,"more"?}, or {"left":N} from one channel
 *
 * A page of members is read in sections of the lock.  It shows each member as
 * of its section, and has the channel's offset of that moment.
 */


#include "api/api.h"


/* clients that one request may disconnect; "more" then says to go on */
#define FANOUT_API_CLIENTS  1000

/* the close code of disconnected clients */
#define FANOUT_API_KICKED   4403

/* channels of each client in a list of clients */
#define FANOUT_API_NAMES    50

#define FANOUT_API_BUF      65536


/* a page of members in work */

typedef struct {
    fanout_zone_channel_t    zc;
    fanout_presence_info_t   room;
    fanout_member_t         *members;
    u_char                  *buf;
    ngx_str_t                user;              /* only of this one */
    ngx_uint_t               limit;
    ngx_uint_t               n;                 /* written */
    uint32_t                 slot;              /* next */
    unsigned                 summary:1;
    unsigned                 first:1;           /* from the first slot on */
} page_t;


static ngx_int_t page_alloc(fanout_api_t *api, page_t *page);
static int page_section(fanout_api_t *api, page_t *page, unsigned *n);
static ngx_int_t page_write(fanout_api_t *api, page_t *page, unsigned n);
static void page_reveal(fanout_api_t *api, fanout_member_t *m);
static ngx_int_t page_end(fanout_api_t *api, page_t *page);
static ngx_uint_t remembers(fanout_api_t *api, page_t *page);
static ngx_uint_t seen(fanout_api_t *api, page_t *page, uint64_t *time);
static ngx_int_t seen_write(fanout_api_t *api, page_t *page);

static fanout_error_e clients_write(fanout_api_t *api, uint64_t user,
    uint64_t *cursor, ngx_uint_t limit);
static fanout_error_e client_write(fanout_api_t *api, uint64_t client,
    uint32_t *cursor, ngx_uint_t max);
static ngx_int_t client_channels(fanout_api_t *api,
    uint64_t client, uint32_t *cursor, ngx_uint_t max);
static fanout_error_e user_all(fanout_api_t *api, uint64_t user,
    uint64_t *clients, ngx_uint_t *n, uint64_t *cursor);
static fanout_error_e end_clients(fanout_api_t *api, ngx_str_t *channel,
    uint64_t *clients, ngx_uint_t n);


static const char  *modes[] = { "off", "on", "summary" };


/* the members of a channel */

fanout_error_e
fanout_api_presence_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    int         rc;
    page_t      page;
    unsigned    n;
    ngx_uint_t  full;

    ngx_memzero(&page, sizeof(page_t));

    page.user = args->user;
    page.limit = ngx_max(1, ngx_min(args->limit, FANOUT_API_CHANNELS));
    page.slot = ngx_min(args->cursor, UINT32_MAX - 1);
    page.first = (args->cursor == 0);
    page.summary = (args->summary != 0);

    if (page_alloc(api, &page) != NGX_OK
        || fanout_outbuf_literal(api->hub, api->out,
                                 "{\"members\":[")
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    fanout_hub_view(api->hub, &api->words[1], &page.zc);

    do {
        rc = page_section(api, &page, &n);

        if (rc != FANOUT_ZONE_OK && remembers(api, &page)) {
            /* the channel was dropped, but the user's last visit is kept */
            page.slot = UINT32_MAX;
            break;
        }

        if (rc != FANOUT_ZONE_OK) {
            return fanout_api_absent(api, &api->words[1]);
        }

        if (page_write(api, &page, n) != NGX_OK) {
            return FANOUT_E_INTERNAL;
        }

        full = page.n >= page.limit
               || api->out->used > FANOUT_API_PAGE;

    } while (page.slot != UINT32_MAX && !full && !page.summary);

    return fanout_api_done(page_end(api, &page));
}


static ngx_int_t
page_alloc(fanout_api_t *api, page_t *page)
{
    page->buf = ngx_palloc(api->request->pool, FANOUT_API_BUF);
    page->members = ngx_palloc(api->request->pool,
                               FANOUT_ZONE_ENTRIES
                               * sizeof(fanout_member_t));

    return page->buf && page->members ? NGX_OK : NGX_ERROR;
}


static int
page_section(fanout_api_t *api, page_t *page, unsigned *n)
{
    int       rc;
    unsigned  max;

    max = ngx_min(page->limit - page->n, FANOUT_ZONE_ENTRIES);

    rc = fanout_presence_read(&api->hub->zone, &page->zc, &page->slot,
                              page->members, max, page->buf, FANOUT_API_BUF,
                              n, &page->room);
    return rc;
}


static ngx_int_t
page_write(fanout_api_t *api, page_t *page, unsigned n)
{
    unsigned                i;
    fanout_member_t        *m;
    fanout_member_parts_t   parts;

    for (i = 0; i < n && !page->summary; i++) {
        m = &page->members[i];

        if (m->anonymous) {
            page_reveal(api, m);
        }

        if (page->user.len
            && (m->user.len != page->user.len
                || ngx_memcmp(m->user.data, page->user.data, m->user.len)
                   != 0))
        {
            continue;
        }

        if ((page->n && fanout_outbuf_literal(api->hub, api->out, ",")
                        != NGX_OK)
            || fanout_member_json(api->hub, m, 0, api->out, &parts)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        /* into the object */
        api->out->used--;

        if (fanout_outbuf_printf(api->hub, api->out, 64, "%s%s}",
                                 m->anonymous ? ",\"anonymous\":true" : "",
                                 m->lingers ? ",\"lingers\":true" : "")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        page->n++;
    }

    return NGX_OK;
}


/* Fills in the user and the profile, which the zone does not tell of anonymous
 * members. */

static void
page_reveal(fanout_api_t *api, fanout_member_t *m)
{
    fanout_zone_client_t  info;

    static u_char  buf[255 + FANOUT_ZONE_INFO];

    if (fanout_client_get(&api->hub->zone, m->client, &info, buf)
        == FANOUT_ZONE_OK)
    {
        m->user = info.user;
        m->info = info.info;
    }
}


static ngx_int_t
page_end(fanout_api_t *api, page_t *page)
{
    ngx_int_t   rc;
    ngx_uint_t  mode;

    /* of the members, or of the next one */

    mode = page->room.members
           ? page->room.presence
           : fanout_policy(api->hub->app, &api->words[1])
             ->keep.presence;

    rc = fanout_outbuf_printf(api->hub, api->out, 256,
             "],\"epoch\":\"%016xL\",\"offset\":%uL,\"presence\":\"%s\","
             "\"count\":%uD", page->room.epoch, page->room.offset,
             modes[mode], page->room.members);

    if (rc == NGX_OK && page->user.len && page->n == 0 && page->first
        && !page->summary)
    {
        rc = seen_write(api, page);
    }

    if (rc == NGX_OK && page->slot != UINT32_MAX && !page->summary) {
        rc = fanout_outbuf_printf(api->hub, api->out, 32,
                                  ",\"cursor\":\"%uD\"", page->slot);
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_literal(api->hub, api->out, "}");
    }

    return rc;
}


static ngx_uint_t
remembers(fanout_api_t *api, page_t *page)
{
    uint64_t  time;

    return page->user.len && page->first && page->n == 0 && !page->summary
           && seen(api, page, &time);
}


static ngx_uint_t
seen(fanout_api_t *api, page_t *page, uint64_t *time)
{
    fanout_zstr_t  channel, user;

    channel.data = api->words[1].data;
    channel.len = api->words[1].len;
    user.data = page->user.data;
    user.len = page->user.len;

    return fanout_seen_get(&api->hub->zone, &channel, &user, time)
           == FANOUT_ZONE_OK;
}


/* Writes when an offline user was last seen. */

static ngx_int_t
seen_write(fanout_api_t *api, page_t *page)
{
    uint64_t  time;

    if (!seen(api, page, &time)) {
        return NGX_OK;
    }

    return fanout_outbuf_printf(api->hub, api->out, 64,
                                ",\"seen\":%uL", time);
}


/* one client */

fanout_error_e
fanout_api_client_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    uint32_t        from;
    ngx_uint_t      limit;
    fanout_error_e  error;

    from = ngx_min(args->cursor, UINT32_MAX);
    limit = ngx_max(1, ngx_min(args->limit, FANOUT_API_CHANNELS));

    error = client_write(api, args->client, &from, limit);

    if (error == FANOUT_E_NOT_FOUND) {
        return fanout_api_fail(api, error, "there is no such client");
    }

    return error;
}


static fanout_error_e
client_write(fanout_api_t *api, uint64_t client, uint32_t *cursor,
    ngx_uint_t max)
{
    u_char                 id[FANOUT_CLIENT_LEN];
    ngx_int_t              rc;
    fanout_hub_t          *hub;
    fanout_outbuf_t       *out;
    fanout_zone_client_t   info;
    static u_char          buf[255 + FANOUT_ZONE_INFO];

    hub = api->hub;
    out = api->out;

    if (fanout_client_get(&hub->zone, client, &info, buf)
        != FANOUT_ZONE_OK)
    {
        return FANOUT_E_NOT_FOUND;
    }

    (void) fanout_client_format(id, client);

    rc = fanout_outbuf_printf(hub, out, 64, "{\"client\":\"%*s\"",
                              sizeof(id), id);

    if (rc == NGX_OK && info.user.len) {
        rc = fanout_outbuf_literal(hub, out, ",\"user\":");

        if (rc == NGX_OK) {
            rc = fanout_outbuf_string(hub, out, info.user.data, info.user.len);
        }
    }

    if (rc == NGX_OK && info.info.len) {
        rc = fanout_outbuf_literal(hub, out, ",\"info\":");

        if (rc == NGX_OK) {
            rc = fanout_outbuf_append(hub, out, info.info.data, info.info.len);
        }
    }

    if (rc == NGX_OK) {
        rc = info.pid ? fanout_outbuf_printf(hub, out, 64,
                            ",\"state\":\"live\",\"worker\":%uD", info.pid)
                      : fanout_outbuf_literal(hub, out,
                            ",\"state\":\"lingers\"");
    }

    if (rc == NGX_OK) {
        rc = client_channels(api, client, cursor, max);
    }

    return fanout_api_done(rc);
}


static ngx_int_t
client_channels(fanout_api_t *api, uint64_t client,
    uint32_t *cursor, ngx_uint_t max)
{
    uint8_t           lens[16];
    unsigned          i, n;
    ngx_uint_t        written;
    fanout_hub_t     *hub;
    static uint8_t    names[16][256];
    fanout_outbuf_t  *out;

    hub = api->hub;
    out = api->out;
    written = 0;

    if (fanout_outbuf_literal(hub, out, ",\"channels\":[") != NGX_OK)
    {
        return NGX_ERROR;
    }

    do {
        if (fanout_client_channels(&hub->zone, client, cursor,
                                   names, lens,
                                   ngx_min(16, max - written), &n)
            != FANOUT_ZONE_OK)
        {
            /* gone meanwhile */
            *cursor = 0;
            break;
        }

        for (i = 0; i < n; i++) {
            if ((written++
                 && fanout_outbuf_literal(hub, out, ",") != NGX_OK)
                || fanout_outbuf_string(hub, out, names[i], lens[i])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

    } while (*cursor && written < max);

    if (*cursor) {
        return fanout_outbuf_printf(hub, out, 64,
                                    "],\"cursor\":\"%uD\"}", *cursor);
    }

    return fanout_outbuf_literal(hub, out, "]}");
}


/* one user: all clients */

fanout_error_e
fanout_api_user_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    uint64_t        cursor;
    u_char          id[FANOUT_CLIENT_LEN];
    ngx_uint_t      limit;
    fanout_error_e  error;

    cursor = args->cursor;
    limit = ngx_max(1, ngx_min(args->limit, FANOUT_API_CHANNELS));

    if (fanout_outbuf_literal(api->hub, api->out, "{\"user\":")
        != NGX_OK
        || fanout_outbuf_string(api->hub, api->out,
                                api->words[1].data,
                                api->words[1].len)
           != NGX_OK
        || fanout_outbuf_literal(api->hub, api->out,
                                 ",\"clients\":[")
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    error = clients_write(api, args->user_hash, &cursor, limit);

    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (cursor) {
        (void) fanout_client_format(id, cursor);

        return fanout_api_done(
                   fanout_outbuf_printf(api->hub, api->out, 64,
                                        "],\"cursor\":\"%*s\"}",
                                        sizeof(id), id));
    }

    return fanout_api_done(
               fanout_outbuf_literal(api->hub, api->out, "]}"));
}


/* Writes up to limit clients of a user from a cursor on, which becomes that of
 * the next page, 0. */

static fanout_error_e
clients_write(fanout_api_t *api, uint64_t user, uint64_t *cursor,
    ngx_uint_t limit)
{
    unsigned        i, n;
    uint32_t        from;
    uint64_t        clients[64];
    ngx_uint_t      written;
    fanout_error_e  error;

    written = 0;

    do {
        if (fanout_user_clients(&api->hub->zone, user, cursor,
                                clients,
                                ngx_min(64, limit - written), &n)
            != FANOUT_ZONE_OK)
        {
            if (written) {
                *cursor = 0;
                break;
            }

            return fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                                   "the user has no client");
        }

        for (i = 0; i < n; i++) {
            from = 0;

            if (written
                && fanout_outbuf_literal(api->hub, api->out, ",")
                   != NGX_OK)
            {
                return FANOUT_E_INTERNAL;
            }

            error = client_write(api, clients[i], &from, FANOUT_API_NAMES);

            if (error == FANOUT_E_NOT_FOUND) {
                /* gone meanwhile, and so is its comma */
                api->out->used -= (written != 0);
                continue;
            }

            if (error != FANOUT_E_NONE) {
                return error;
            }

            written++;
        }

    } while (*cursor && written < limit);

    return FANOUT_E_NONE;
}


/* disconnecting, or taking from one channel */

fanout_error_e
fanout_api_client_delete_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    return end_clients(api, &args->channel, &args->client, 1);
}


fanout_error_e
fanout_api_user_delete_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    uint64_t        cursor, *clients;
    ngx_uint_t      n;
    fanout_error_e  error;

    clients = ngx_palloc(api->request->pool,
                         FANOUT_API_CLIENTS * sizeof(uint64_t));
    if (clients == NULL) {
        return FANOUT_E_INTERNAL;
    }

    error = user_all(api, args->user_hash, clients, &n, &cursor);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    error = end_clients(api, &args->channel, clients, n);

    if (error == FANOUT_E_NONE && cursor) {
        /* into the object: there are more */
        api->out->used--;

        return fanout_api_done(
                   fanout_outbuf_literal(api->hub, api->out,
                                         ",\"more\":true}"));
    }

    return error;
}


/* Reads all before it ends any, since that changes the list. */

static fanout_error_e
user_all(fanout_api_t *api, uint64_t user, uint64_t *clients, ngx_uint_t *n,
    uint64_t *cursor)
{
    unsigned  some;

    *n = 0;
    *cursor = 0;

    do {
        if (fanout_user_clients(&api->hub->zone, user, cursor,
                                clients + *n,
                                FANOUT_API_CLIENTS - *n,
                                &some)
            != FANOUT_ZONE_OK)
        {
            *cursor = 0;
            break;
        }

        *n += some;

    } while (*cursor && *n < FANOUT_API_CLIENTS);

    if (*n == 0) {
        return fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                               "the user has no client");
    }

    return FANOUT_E_NONE;
}


/* With "channel" the clients only lose their seat there. */

static fanout_error_e
end_clients(fanout_api_t *api, ngx_str_t *channel, uint64_t *clients,
    ngx_uint_t n)
{
    int                     rc;
    ngx_uint_t              i, ended;
    fanout_error_e          error;
    fanout_zone_channel_t   zc;

    error = FANOUT_E_NONE;

    if (channel->len) {
        error = fanout_api_channel(api, channel);

        if (error != FANOUT_E_NONE) {
            return error;
        }

        fanout_hub_view(api->hub, channel, &zc);
    }

    ended = 0;

    for (i = 0; i < n; i++) {
        rc = channel->len
             ? fanout_seat_kick(&api->hub->zone, &zc, clients[i],
                                FANOUT_LEFT_KICKED)
             : fanout_client_disconnect(&api->hub->zone, clients[i],
                                        FANOUT_API_KICKED);

        if (rc == FANOUT_ZONE_FULL) {
            error = fanout_error_of(api->hub, rc);
            break;
        }

        ended += (rc == FANOUT_ZONE_OK);
    }

    fanout_hub_presence(api->hub);
    fanout_hub_kick(api->hub);

    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (ended == 0) {
        return fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                               channel->len
                               ? "no such client is on the channel"
                               : "there is no such client");
    }

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 64,
                                    "{\"%s\":%ui}",
                                    channel->len ? "left"
                                                : "disconnected",
                                    ended));
}
