
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Routes of denials: users, clients, addresses and tokens that are shut out.
 *
 *   list         {"denials":[denial…],"cursor"?}
 *   one          {"who","until","before"?}
 *   block        {"until"}
 *   revoke       {"before","until"}
 *   unblock, reauthorize  {}
 *
 * A denial holds in all workers when it is answered: what is published after
 * that does not reach the sessions that it ends.
 */


#include "api/api.h"
#include "session/log.h"
#include "session/meter.h"
#include "zone/client.h"
#include "zone/denial.h"


#define FANOUT_DENIALS_PAGE   64            /* read in a section */

/* lingering clients of a user that a denial ends; others can't come back
 * anyhow, and end with their time */
#define FANOUT_DENIALS_CLIENTS  1000

/* s that a revocation is kept, if it does not say; ms to renew in */
#define FANOUT_DENIAL_FOR     (30 * 24 * 3600)
#define FANOUT_DENIAL_WITHIN  30000
#define FANOUT_DENIAL_WITHIN_MAX  3600000


static fanout_error_e denial_parse(fanout_api_t *api, ngx_str_t *who,
    fanout_denial_t *d);
static fanout_error_e denial_address(fanout_api_t *api, ngx_str_t *text,
    fanout_denial_t *d);
static fanout_error_e denial_put(fanout_api_t *api, fanout_denial_t *d,
    uint64_t seconds);
static void denial_log(fanout_api_t *api, const char *op, fanout_denial_t *d);
static void denial_lingering(fanout_hub_t *hub, fanout_denial_t *d);
static void denial_disconnect(fanout_hub_t *hub, uint64_t client);
static ngx_int_t denial_write(fanout_api_t *api, fanout_denial_t *d);
static fanout_error_e denial_no_body(fanout_api_t *api);
static fanout_error_e denial_user(fanout_api_t *api, fanout_api_op_t *op,
    ngx_uint_t kind, fanout_denial_t *d);


static ngx_str_t  kinds[] = {
    ngx_string("user:"),
    ngx_string("client:"),
    ngx_string("address:"),
    ngx_string("token:"),
    ngx_string("tokens:")
};


/* reading */

fanout_error_e
fanout_api_denials_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    u_char           *buf;
    unsigned          n, i;
    ngx_uint_t        written, limit;
    fanout_denial_t   d[FANOUT_DENIALS_PAGE];

    limit = ngx_max(1, ngx_min(args->limit, FANOUT_API_CHANNELS));
    written = 0;

    buf = ngx_palloc(api->request->pool, FANOUT_DENIALS_PAGE * 255);

    if (buf == NULL
        || fanout_outbuf_literal(api->hub, api->out, "{\"denials\":[")
           != NGX_OK)
    {
        return FANOUT_E_INTERNAL;
    }

    do {
        n = fanout_denial_list(&api->hub->zone, &args->cursor, d,
                               FANOUT_DENIALS_PAGE, buf);

        for (i = 0; i < n; i++) {
            if ((written++
                 && fanout_outbuf_literal(api->hub, api->out, ",") != NGX_OK)
                || denial_write(api, &d[i]) != NGX_OK)
            {
                return FANOUT_E_INTERNAL;
            }
        }

    } while (args->cursor && written < limit);

    return fanout_api_done(args->cursor
                           ? fanout_outbuf_printf(api->hub, api->out, 64,
                                                  "],\"cursor\":\"%uL\"}",
                                                  args->cursor)
                           : fanout_outbuf_literal(api->hub, api->out, "]}"));
}


fanout_error_e
fanout_api_denial_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    u_char           buf[255];
    fanout_error_e   error;
    fanout_denial_t  d;

    error = denial_parse(api, &args->op.who, &d);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (fanout_denial_get(&api->hub->zone, d.kind, d.key, &d, buf)
        != FANOUT_ZONE_OK)
    {
        return fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                               "\"%V\" is not shut out", &args->op.who);
    }

    return fanout_api_done(denial_write(api, &d));
}


static ngx_int_t
denial_write(fanout_api_t *api, fanout_denial_t *d)
{
    u_char            who[sizeof("address:") + 255];
    ngx_int_t         rc;
    ngx_str_t        *kind;
    fanout_hub_t     *hub;
    fanout_outbuf_t  *out;

    hub = api->hub;
    out = api->out;
    kind = &kinds[d->kind];

    ngx_memcpy(ngx_cpymem(who, kind->data, kind->len), d->name.data,
               d->name.len);

    rc = fanout_outbuf_literal(hub, out, "{\"who\":");

    if (rc == NGX_OK) {
        rc = fanout_outbuf_string(hub, out, who, kind->len + d->name.len);
    }

    if (rc == NGX_OK && d->kind == FANOUT_DENY_ISSUED) {
        rc = fanout_outbuf_printf(hub, out, 32, ",\"before\":%uD", d->value);
    }

    if (rc == NGX_OK) {
        rc = fanout_outbuf_printf(hub, out, 48, ",\"until\":%uL}", d->until);
    }

    return rc;
}


/* Sets the kind, the key and the name, which may be in static memory. */

static fanout_error_e
denial_parse(fanout_api_t *api, ngx_str_t *who, fanout_denial_t *d)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    ngx_memzero(d, sizeof(fanout_denial_t));
    ngx_str_null(&name);

    for (i = 0; i < FANOUT_DENY_ISSUED + 1; i++) {
        if (who->len > kinds[i].len
            && ngx_strncmp(who->data, kinds[i].data, kinds[i].len) == 0)
        {
            name.data = who->data + kinds[i].len;
            name.len = who->len - kinds[i].len;
            break;
        }
    }

    if (name.len == 0 || fanout_label_check(&name, FANOUT_NAME) != NGX_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"user:\", \"client:\", \"address:\", "
                               "\"token:\" or \"tokens:\" is needed, and a "
                               "name of 1 to %d bytes of UTF-8 without "
                               "control characters", FANOUT_NAME);
    }

    d->kind = i;
    d->name.data = name.data;
    d->name.len = name.len;

    if (i == FANOUT_DENY_ADDRESS) {
        return denial_address(api, &name, d);
    }

    if (i != FANOUT_DENY_CLIENT) {
        d->key = fanout_zone_hash(&api->hub->zone, name.data, name.len);
        return FANOUT_E_NONE;
    }

    return fanout_client_parse(&name, &d->key) == NGX_OK
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "a client is \"c_\" and 16 hex digits");
}


/* Of IPv6 it is the network of 64 bits, as sessions are counted. */

static fanout_error_e
denial_address(fanout_api_t *api, ngx_str_t *text, fanout_denial_t *d)
{
    u_char               *p;
    ngx_str_t             bare;
    ngx_addr_t            addr;
    static u_char         name[NGX_SOCKADDR_STRLEN];
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    bare = *text;
    p = ngx_strlchr(text->data, text->data + text->len, '/');

    if (p) {
        bare.len = p - text->data;
    }

    if (ngx_parse_addr(api->request->pool, &addr, bare.data, bare.len)
        != NGX_OK
        || (p && (text->data + text->len - p != 3
                  || ngx_memcmp(p, (addr.sockaddr->sa_family == AF_INET
                                    ? "/32" : "/64"), 3)
                     != 0)))
    {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "an address is IPv4 or IPv6, of which its "
                               "network of 64 bits is meant");
    }

    d->key = fanout_meter_hash(api->hub, addr.sockaddr);

#if (NGX_HAVE_INET6)
    if (addr.sockaddr->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) addr.sockaddr;

        if (!IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            ngx_memzero(sin6->sin6_addr.s6_addr + 8, 8);
            d->name.len = ngx_sock_ntop(addr.sockaddr, addr.socklen, name,
                                        NGX_SOCKADDR_STRLEN, 0);
            (void) ngx_cpymem(name + d->name.len, "/64", 3);
            d->name.len += 3;
            d->name.data = name;
            return FANOUT_E_NONE;
        }
    }
#endif

    d->name.len = bare.len;

    return FANOUT_E_NONE;
}


/* changes */

fanout_error_e
fanout_api_denial_put_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e  error;

    error = denial_no_body(api);

    return error == FANOUT_E_NONE ? fanout_api_block(api, &args->op) : error;
}


fanout_error_e
fanout_api_denial_delete_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    return fanout_api_unblock(api, &args->op);
}


fanout_error_e
fanout_api_revoke_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e  error;

    error = denial_no_body(api);

    return error == FANOUT_E_NONE ? fanout_api_revoke(api, &args->op) : error;
}


fanout_error_e
fanout_api_reauthorize_handler(fanout_api_t *api, fanout_api_args_t *args)
{
    fanout_error_e  error;

    error = denial_no_body(api);

    return error == FANOUT_E_NONE ? fanout_api_reauthorize(api, &args->op)
                                  : error;
}


static fanout_error_e
denial_no_body(fanout_api_t *api)
{
    return fanout_http_body_size(api->request) == 0
           ? FANOUT_E_NONE
           : fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                             "the arguments are in the query: there is no "
                             "body here");
}


fanout_error_e
fanout_api_block(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e   error;
    fanout_denial_t  d;

    error = denial_parse(api, &op->who, &d);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (d.kind == FANOUT_DENY_ISSUED) {
        op->user.data = (u_char *) d.name.data;
        op->user.len = d.name.len;
        return fanout_api_revoke(api, op);
    }

    if (op->before) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"before\" is of \"tokens:\" only");
    }

    error = denial_put(api, &d, op->seconds);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    denial_lingering(api->hub, &d);
    fanout_hub_presence(api->hub);
    fanout_hub_kick(api->hub);

    return fanout_api_done(fanout_outbuf_printf(api->hub, api->out, 48,
                                                "{\"until\":%uL}", d.until));
}


static fanout_error_e
denial_put(fanout_api_t *api, fanout_denial_t *d, uint64_t seconds)
{
    int  rc;

    if (seconds == 0 || seconds > FANOUT_ZONE_DENIED_FOR) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"for\" is a number of seconds from 1 to %d",
                               FANOUT_ZONE_DENIED_FOR);
    }

    d->left = seconds;
    rc = fanout_denial_put(&api->hub->zone, d);

    if (rc == FANOUT_ZONE_MANY) {
        return fanout_api_fail(api, FANOUT_E_ZONE_FULL,
                               "as many are shut out as there may be: "
                               "\"fanout_zone denials=\"");
    }

    if (rc == FANOUT_ZONE_OK) {
        denial_log(api, d->kind == FANOUT_DENY_RENEW ? "reauthorize" : "put",
                   d);
    }

    return fanout_error_of(api->hub, rc);
}


static void
denial_log(fanout_api_t *api, const char *op, fanout_denial_t *d)
{
    u_char      buf[sizeof("address:") + 255];
    ngx_str_t   who, *kind;
    ngx_uint_t  event;

    event = d->kind <= FANOUT_DENY_ADDRESS ? FANOUT_LOG_BLOCK
                                           : FANOUT_LOG_REVOKE;
    kind = &kinds[d->kind == FANOUT_DENY_RENEW ? FANOUT_DENY_USER : d->kind];

    who.data = buf;
    who.len = kind->len + d->name.len;
    ngx_memcpy(ngx_cpymem(buf, kind->data, kind->len), d->name.data,
               d->name.len);

    fanout_session_log_denial(api->request, api->conf, event, op, &who,
                              d->kind == FANOUT_DENY_RENEW
                              ? d->value : (uint64_t) d->left * 1000);
}


/* Sessions end in their workers; clients that linger are in none.  The zone
 * does not know their tokens: only all of a user are sure to have been issued
 * before now.  Other clients linger until their time is over. */

static void
denial_lingering(fanout_hub_t *hub, fanout_denial_t *d)
{
    uint64_t    cursor, clients[FANOUT_DENIALS_PAGE];
    unsigned    i, n;
    ngx_uint_t  ended;

    if (d->kind == FANOUT_DENY_CLIENT) {
        denial_disconnect(hub, d->key);
    }

    if (d->kind != FANOUT_DENY_USER
        && !(d->kind == FANOUT_DENY_ISSUED && (time_t) d->value > ngx_time()))
    {
        return;
    }

    cursor = 0;
    ended = 0;

    do {
        if (fanout_user_clients(&hub->zone, d->key, &cursor, clients,
                                FANOUT_DENIALS_PAGE, &n)
            != FANOUT_ZONE_OK)
        {
            return;
        }

        for (i = 0; i < n; i++) {
            denial_disconnect(hub, clients[i]);
        }

        ended += n;

    } while (cursor && ended < FANOUT_DENIALS_CLIENTS);
}


static void
denial_disconnect(fanout_hub_t *hub, uint64_t client)
{
    static u_char         buf[255 + FANOUT_ZONE_INFO];
    fanout_zone_client_t  info;

    if (fanout_client_get(&hub->zone, client, &info, buf) == FANOUT_ZONE_OK
        && info.pid == 0)
    {
        (void) fanout_client_disconnect(&hub->zone, client, 4403);
    }
}


fanout_error_e
fanout_api_unblock(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e   error;
    fanout_denial_t  d;

    error = denial_parse(api, &op->who, &d);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (fanout_denial_drop(&api->hub->zone, d.kind, d.key)
        != FANOUT_ZONE_OK)
    {
        return fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                               "\"%V\" is not shut out", &op->who);
    }

    d.left = 0;
    denial_log(api, "delete", &d);

    return fanout_api_done(fanout_outbuf_literal(api->hub, api->out, "{}"));
}


/* Tokens that were issued in this second, too, unless it says otherwise. */

fanout_error_e
fanout_api_revoke(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e   error;
    fanout_denial_t  d;

    error = denial_user(api, op, FANOUT_DENY_ISSUED, &d);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (op->before > UINT32_MAX) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"before\" is a time in Unix seconds");
    }

    d.value = op->before ? op->before : (uint64_t) ngx_time() + 1;

    error = denial_put(api, &d, op->seconds ? op->seconds
                                            : FANOUT_DENIAL_FOR);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    denial_lingering(api->hub, &d);
    fanout_hub_presence(api->hub);
    fanout_hub_kick(api->hub);

    return fanout_api_done(
               fanout_outbuf_printf(api->hub, api->out, 96,
                                    "{\"before\":%uD,\"until\":%uL}",
                                    d.value, d.until));
}


static fanout_error_e
denial_user(fanout_api_t *api, fanout_api_op_t *op, ngx_uint_t kind,
    fanout_denial_t *d)
{
    if (fanout_label_check(&op->user, FANOUT_NAME) != NGX_OK) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "a user has 1 to %d bytes of UTF-8 without "
                               "control characters", FANOUT_NAME);
    }

    ngx_memzero(d, sizeof(fanout_denial_t));

    d->kind = kind;
    d->name.data = op->user.data;
    d->name.len = op->user.len;
    d->key = fanout_zone_hash(&api->hub->zone, op->user.data, op->user.len);

    return FANOUT_E_NONE;
}


fanout_error_e
fanout_api_reauthorize(fanout_api_t *api, fanout_api_op_t *op)
{
    fanout_error_e   error;
    fanout_denial_t  d;

    error = denial_user(api, op, FANOUT_DENY_RENEW, &d);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    if (op->within > FANOUT_DENIAL_WITHIN_MAX) {
        return fanout_api_fail(api, FANOUT_E_BAD_REQUEST,
                               "\"within\" is a number of ms up to %d",
                               FANOUT_DENIAL_WITHIN_MAX);
    }

    d.value = op->within ? op->within : FANOUT_DENIAL_WITHIN;

    /* as long as a worker may take to see it */

    error = denial_put(api, &d, 60);
    if (error != FANOUT_E_NONE) {
        return error;
    }

    fanout_hub_kick(api->hub);

    return fanout_api_done(fanout_outbuf_literal(api->hub, api->out, "{}"));
}
