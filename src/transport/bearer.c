
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Tokens in requests (RFC 6750): in a header, a cookie, the query, or among the
 * subprotocols of a WebSocket, where a browser can't set headers.
 */


#include "transport/bearer.h"
#include "http/headers.h"
#include "http/http.h"
#include "session/meter.h"
#include "transport/transport.h"


#define FANOUT_BEARER_YEAR  (366 * 24 * 3600)           /* s; later is never */


/* of the request's pool */

typedef struct {
    fanout_jwt_conf_t   *conf;
    fanout_jwt_conf_t   *given_for;     /* NULL: none was given */
    ngx_str_t            given;         /* a copy */
    ngx_str_t            token;         /* a copy */
    fanout_jwt_e         error;
    unsigned             found:1;
    unsigned             verified:1;
    unsigned             limited:1;     /* it is not verified, as the address
                                           has tried too many */
    fanout_jwt_t         jwt;           /* verified, without error */
} bearer_t;


static bearer_t *bearer(ngx_http_request_t *r, fanout_jwt_conf_t *conf);
static bearer_t *bearer_verified(ngx_http_request_t *r,
    fanout_jwt_conf_t *conf);
static bearer_t *bearer_find(ngx_http_request_t *r);
static bearer_t *bearer_add(ngx_http_request_t *r);
static ngx_int_t bearer_copy(ngx_http_request_t *r, ngx_str_t *token);
static ngx_uint_t bearer_read(ngx_http_request_t *r, fanout_jwt_conf_t *conf,
    ngx_str_t *token);
static ngx_uint_t bearer_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *token);
static ngx_uint_t bearer_cookie(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *token);
static ngx_uint_t bearer_subprotocol(ngx_http_request_t *r, ngx_str_t *token);
static const char *bearer_refusal(bearer_t *b);
static ngx_int_t bearer_challenge(ngx_http_request_t *r, ngx_uint_t invalid);
static void bearer_hide_all(ngx_http_request_t *r, fanout_jwt_conf_t *conf);
static void bearer_mask_uri(ngx_str_t *text, ngx_str_t *name);
static void bearer_mask(u_char *args, u_char *last, ngx_str_t *name);
static void bearer_cleanup(void *data);


ngx_int_t
fanout_bearer_take(ngx_http_request_t *r, fanout_jwt_conf_t *conf)
{
    if (bearer(r, conf) == NULL) {
        return NGX_ERROR;
    }

    bearer_hide_all(r->main, conf);

    return NGX_OK;
}


/* The context of the request is the session, so a cleanup keeps it. */

static bearer_t *
bearer(ngx_http_request_t *r, fanout_jwt_conf_t *conf)
{
    bearer_t  *b;

    r = r->main;
    b = bearer_find(r);

    if (b && b->conf == conf) {
        return b;
    }

    b = bearer_add(r);
    if (b == NULL) {
        return NULL;
    }

    b->conf = conf;

    if (b->given_for == conf) {
        b->found = 1;
        b->token = b->given;
        return b;
    }

    b->found = bearer_read(r, conf, &b->token);

    if (b->found && b->token.len <= conf->size
        && bearer_copy(r, &b->token) != NGX_OK)
    {
        b->conf = NULL;
        return NULL;
    }

    return b;
}


ngx_uint_t
fanout_bearer_plain(ngx_str_t *token)
{
    u_char  *p;

    for (p = token->data; p < token->data + token->len; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_'
              || *p == '.'))
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
fanout_bearer_give(ngx_http_request_t *r, fanout_jwt_conf_t *conf,
    ngx_str_t *token)
{
    bearer_t  *b;

    b = bearer_add(r);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->given = *token;

    if (!fanout_bearer_plain(token) || bearer_copy(r, &b->given) != NGX_OK) {
        return NGX_ERROR;
    }

    b->given_for = conf;

    return NGX_OK;
}


/* What there is of another location is forgotten, but not what was given. */

static bearer_t *
bearer_add(ngx_http_request_t *r)
{
    bearer_t            *b, given;
    ngx_pool_cleanup_t  *cln;

    b = bearer_find(r);

    if (b == NULL) {
        cln = ngx_pool_cleanup_add(r->pool, sizeof(bearer_t));
        if (cln == NULL) {
            return NULL;
        }

        cln->handler = bearer_cleanup;
        b = cln->data;
        ngx_memzero(b, sizeof(bearer_t));
    }

    given = *b;
    ngx_memzero(b, sizeof(bearer_t));

    b->given_for = given.given_for;
    b->given = given.given;

    return b;
}


static bearer_t *
bearer_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == bearer_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
bearer_cleanup(void *data)
{
    /* it only marks the place */
}


static ngx_int_t
bearer_copy(ngx_http_request_t *r, ngx_str_t *token)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, token->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (token->len) {
        ngx_memcpy(p, token->data, token->len);
    }

    token->data = p;

    return NGX_OK;
}


static bearer_t *
bearer_verified(ngx_http_request_t *r, fanout_jwt_conf_t *conf)
{
    u_char             *buf;
    bearer_t           *b;
    fanout_loc_conf_t  *flcf;

    b = bearer(r, conf);

    if (b == NULL || b->verified || !b->found || b->token.len > conf->size) {
        return b;
    }

    flcf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (b->limited || fanout_meter_tried(r, flcf)) {
        b->limited = 1;
        return b;
    }

    buf = ngx_pnalloc(r->main->pool, b->token.len + 1);
    if (buf == NULL) {
        return NULL;
    }

    fanout_sources_refresh(&conf->sources, r->connection->log);

    b->error = fanout_jwt_verify(&conf->sources.keys, &conf->rules,
                                 b->token.data, b->token.len, ngx_time(), buf,
                                 &b->jwt);

    if (b->error == FANOUT_JWT_NO_MEMORY) {
        return NULL;
    }

    fanout_bearer_count(flcf, b->error);

    if (b->error != FANOUT_JWT_OK) {
        fanout_meter_wrong(r, flcf, b->error == FANOUT_JWT_SIGNATURE);
    }

    b->verified = 1;

    return b;
}


void
fanout_bearer_count(fanout_loc_conf_t *conf, fanout_jwt_e e)
{
    fanout_hub_t  *hub;

    hub = conf->app ? conf->app->hub : NULL;

    if (hub == NULL) {
        return;
    }

    if (e == FANOUT_JWT_OK) {
        fanout_count(hub, tokens);

    } else if (e == FANOUT_JWT_EXPIRED) {
        fanout_count(hub, tokens_expired);

    } else {
        fanout_count(hub, tokens_refused);
    }
}


static ngx_uint_t
bearer_read(ngx_http_request_t *r, fanout_jwt_conf_t *conf, ngx_str_t *token)
{
    u_char                 *pos;
    ngx_uint_t              i, found;
    fanout_bearer_place_t  *place;

    place = conf->places->elts;

    for (i = 0; i < conf->places->nelts; i++) {

        switch (place[i].from) {

        case FANOUT_BEARER_HEADER:
            found = bearer_header(r, (char *) place[i].name.data, token);
            break;

        case FANOUT_BEARER_QUERY:
            pos = r->args.data;
            found = fanout_bearer_argument(&pos, r->args.data + r->args.len,
                                           &place[i].name, token);
            break;

        case FANOUT_BEARER_COOKIE:
            found = bearer_cookie(r, &place[i].name, token);
            break;

        case FANOUT_BEARER_SUBPROTOCOL:
            found = bearer_subprotocol(r, token);
            break;

        default: /* FANOUT_BEARER_COMMAND */
            found = 0;
        }

        if (found) {
            return 1;
        }
    }

    return 0;
}


/* Two headers are one that is no token.  Of other schemes, such as Basic, the
 * application knows. */

static ngx_uint_t
bearer_header(ngx_http_request_t *r, const char *name, ngx_str_t *token)
{
    ngx_uint_t  n, scheme;

    static const char  bearer[] = "Bearer ";

    n = fanout_header(r, name, token);

    if (n == 2) {
        ngx_str_null(token);
        return 1;
    }

    scheme = n && token->len >= sizeof(bearer) - 1
             && ngx_strncasecmp(token->data, (u_char *) bearer,
                                sizeof(bearer) - 1)
                == 0;

    if (n == 0
        || (!scheme && ngx_strcmp(name, "authorization") == 0))
    {
        return 0;
    }

    if (scheme) {
        token->data += sizeof(bearer) - 1;
        token->len -= sizeof(bearer) - 1;
    }

    while (token->len && token->data[0] == ' ') {
        token->data++;
        token->len--;
    }

    return 1;
}


static ngx_uint_t
bearer_cookie(ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *token)
{
    u_char            *p, *end, *last;
    ngx_str_t          list;
    fanout_headers_t   h;

    ngx_memzero(&h, sizeof(fanout_headers_t));

    while (fanout_next_header(r, "cookie", &h, &list)) {

        last = list.data + list.len;

        for (p = list.data; p < last; p = end + 1) {

            end = ngx_strlchr(p, last, ';');
            end = end ? end : last;

            while (p < end && *p == ' ') {
                p++;
            }

            if ((size_t) (end - p) > name->len && p[name->len] == '='
                && ngx_strncmp(p, name->data, name->len) == 0)
            {
                token->data = p + name->len + 1;
                token->len = end - token->data;
                return token->len != 0;
            }
        }
    }

    return 0;
}


static ngx_uint_t
bearer_subprotocol(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_str_t         list;
    fanout_headers_t  h;

    static const char  prefix[] = "fanout.token.";

    ngx_memzero(&h, sizeof(fanout_headers_t));

    while (fanout_next_header(r, "sec-websocket-protocol", &h, &list)) {
        while (fanout_next_token(&list, token)) {

            if (token->len > sizeof(prefix) - 1
                && ngx_strncmp(token->data, prefix, sizeof(prefix) - 1) == 0)
            {
                token->data += sizeof(prefix) - 1;
                token->len -= sizeof(prefix) - 1;
                return 1;
            }
        }
    }

    return 0;
}


ngx_uint_t
fanout_bearer_argument(u_char **pos, u_char *last, ngx_str_t *name,
    ngx_str_t *token)
{
    u_char  *p, *end;

    for (p = *pos; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        end = end ? end : last;

        if ((size_t) (end - p) > name->len && p[name->len] == '='
            && ngx_strncasecmp(p, name->data, name->len) == 0)
        {
            token->data = p + name->len + 1;
            token->len = end - token->data;
            *pos = end + 1;
            return 1;
        }
    }

    return 0;
}


const char *
fanout_bearer_check(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    ngx_uint_t *status)
{
    bearer_t    *b;
    const char  *why;

    if (conf->jwt == NULL) {
        return NULL;
    }

    b = bearer_verified(r, conf->jwt);

    if (b == NULL) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    if (b->limited) {
        *status = NGX_HTTP_TOO_MANY_REQUESTS;
        return "too many tokens of this address that are not valid: "
               "fanout_budget address sessions=";
    }

    if (fanout_bearer_awaited(r, conf)) {
        return NULL;
    }

    why = bearer_refusal(b);

    if (why == NULL) {
        return NULL;
    }

    if (bearer_challenge(r, b->found) != NGX_OK) {
        *status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return "out of memory";
    }

    *status = NGX_HTTP_UNAUTHORIZED;

    return why;
}


ngx_uint_t
fanout_bearer_awaited(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    bearer_t  *b;

    if (conf->jwt == NULL || !conf->jwt->command
        || fanout_transport_of(r, conf) != FANOUT_WEBSOCKET)
    {
        return 0;
    }

    b = bearer(r, conf->jwt);

    return b && !b->found;
}


static const char *
bearer_refusal(bearer_t *b)
{
    if (!b->found) {
        return b->conf->optional ? NULL : "a token is needed: fanout_jwt";
    }

    if (b->token.len > b->conf->size) {
        return "the token is too large: fanout_jwt size=";
    }

    /* reading a body may have taken long */

    if (b->error == FANOUT_JWT_OK && b->jwt.expires
        && ngx_time() - b->conf->rules.leeway >= b->jwt.expires)
    {
        b->error = FANOUT_JWT_EXPIRED;
    }

    return b->error == FANOUT_JWT_OK ? NULL : fanout_jwt_strerror(b->error);
}


/* RFC 6750, section 3 */

static ngx_int_t
bearer_challenge(ngx_http_request_t *r, ngx_uint_t invalid)
{
    ngx_str_t  value;

    if (invalid) {
        ngx_str_set(&value, "Bearer error=\"invalid_token\"");

    } else {
        ngx_str_set(&value, "Bearer");
    }

    return fanout_http_add(r, "WWW-Authenticate", &value);
}


static void
bearer_hide_all(ngx_http_request_t *r, fanout_jwt_conf_t *conf)
{
    ngx_uint_t              i;
    fanout_bearer_place_t  *place;

    place = conf->places->elts;

    for (i = 0; i < conf->places->nelts; i++) {

        if (place[i].from == FANOUT_BEARER_QUERY) {
            fanout_bearer_hide(r, &place[i].name);
        }
    }
}


/* The line of the request, which logs have, and the URI may be copies of what
 * has the arguments, or what these were before they were rewritten. */

void
fanout_bearer_hide(ngx_http_request_t *r, ngx_str_t *name)
{
    bearer_mask(r->args.data, r->args.data + r->args.len, name);
    bearer_mask_uri(&r->request_line, name);
    bearer_mask_uri(&r->unparsed_uri, name);
}


static void
bearer_mask_uri(ngx_str_t *text, ngx_str_t *name)
{
    u_char  *p, *end, *last;

    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, '?');

    if (p) {
        end = ngx_strlchr(p, last, ' ');
        bearer_mask(p + 1, end ? end : last, name);
    }
}


static void
bearer_mask(u_char *args, u_char *last, ngx_str_t *name)
{
    ngx_str_t  token;

    while (fanout_bearer_argument(&args, last, name, &token)) {
        ngx_memset(token.data, '*', token.len);
    }
}


ngx_msec_t
fanout_bearer_left(ngx_http_request_t *r, fanout_loc_conf_t *conf)
{
    int64_t    left;
    bearer_t  *b;

    b = conf->jwt ? bearer_verified(r, conf->jwt) : NULL;

    if (b == NULL || !b->verified || b->jwt.expires == 0) {
        return 0;
    }

    left = b->jwt.expires - ngx_time();

    if (left > FANOUT_BEARER_YEAR) {
        return 0;
    }

    left += conf->jwt->rules.leeway;

    return left > 0 ? left * 1000 : 1;
}


ngx_int_t
fanout_bearer_claim(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    const fanout_json_t *names, ngx_uint_t n, ngx_str_t *value)
{
    size_t          i, len;
    u_char         *p;
    bearer_t       *b;
    fanout_json_t   claim;

    if (conf->jwt == NULL) {
        return NGX_DECLINED;
    }

    b = bearer_verified(r, conf->jwt);

    if (b == NULL) {
        return NGX_ERROR;
    }

    if (!b->verified || b->error != FANOUT_JWT_OK
        || !fanout_jwt_claim(&b->jwt.claims, names, n, &claim))
    {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, claim.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (fanout_json_type(&claim) != FANOUT_JSON_STRING) {
        len = fanout_json_minify(p, claim.data, claim.len);

    } else if (fanout_json_string(&claim, p, claim.len, &len)
               != FANOUT_JSON_OK)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) {
            return NGX_DECLINED;
        }
    }

    value->data = p;
    value->len = len;

    return NGX_OK;
}


uint64_t
fanout_bearer_id(fanout_loc_conf_t *conf, const fanout_jwt_t *jwt)
{
    u_char         buf[FANOUT_JWT_ID_MAX];
    fanout_json_t  text;

    return jwt->id.len && fanout_json_text(&jwt->id, buf, sizeof(buf), &text)
                          == FANOUT_JSON_OK
           ? fanout_zone_hash(&conf->app->hub->zone, text.data, text.len) : 0;
}


ngx_int_t
fanout_bearer_subject(ngx_http_request_t *r, fanout_loc_conf_t *conf,
    fanout_subject_t *who)
{
    bearer_t  *b;

    b = conf->jwt ? bearer_verified(r, conf->jwt) : NULL;

    if (b == NULL || !b->verified || b->error != FANOUT_JWT_OK) {
        return b || conf->jwt == NULL ? NGX_OK : NGX_ERROR;
    }

    who->tokened = 1;
    who->issued = b->jwt.issued > 0
                  ? ngx_min(b->jwt.issued, (int64_t) UINT32_MAX) : 0;
    who->token = fanout_bearer_id(conf, &b->jwt);

    return NGX_OK;
}
