
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The HTTP API: which route a request takes, and what it says in its path,
 * query, headers and body.
 *
 *   GET     channels                      list      ?match= &cursor= &limit=
 *   GET     channels/NAME                 inspect
 *   DELETE  channels/NAME                 purge     ?reason= &close=1
 *                                                   &records=1
 *   GET     channels/NAME/messages        history   ?since= &before= &limit=
 *                                                   &record=
 *   POST    channels/NAME/signals         signal    ?event= &tag= &user=
 *   POST    channels/NAME/messages        publish   ?event= &user= &meta=
 *                                                   &store=0 &if=
 *   GET     channels/NAME/presence        members   ?cursor= &limit= &user=
 *                                                   &summary=1
 *   GET     clients/ID                    inspect   ?cursor= &limit=
 *   DELETE  clients/ID                    disconnect, with ?channel= only
 *                                         take it from there
 *   GET     users/NAME                    clients   ?cursor= &limit=
 *   DELETE  users/NAME                    all of them, as one
 *   GET     channels/NAME/records         a page    ?prefix= &cursor= &limit=
 *                                                   &versions=1
 *   GET     channels/NAME/records/ID      one       ?versions=1
 *   PATCH   channels/NAME/records/ID      set       ?base= &mode= &key= &user=
 *   PUT     channels/NAME/records/ID      all of its fields
 *   DELETE  channels/NAME/records/ID      delete    ?base= &key= &user=
 *   GET     channels/NAME/locks           a page    ?cursor= &limit=
 *   POST    channels/NAME/locks/NAME      lock      ?token= &user=
 *   DELETE  channels/NAME/locks/NAME      unlock    ?token=
 *   POST    users/NAME/revoke             tokens issued until now
 *                                                   ?before= &for=
 *   POST    users/NAME/reauthorize        sessions renew ?within=
 *   GET     denials                       who is shut out ?cursor= &limit=
 *   GET     denials/user:NAME             one; also client:ID, address:ADDRESS,
 *                                         token:JTI, tokens:NAME
 *   PUT     denials/user:NAME             shut out  ?for= &before=
 *   DELETE  denials/user:NAME             let in again
 *   POST    batch                         many operations
 *   POST    broadcast                     one message to many channels
 *   POST    cleanup                       expire what is due
 *
 * With style=sync the routes are those of sync.c.
 */


#include "api/api.h"
#include "http/headers.h"


static ngx_uint_t is_preflight(ngx_http_request_t *r);
static ngx_int_t read_path(fanout_api_t *api);
static ngx_int_t cut_prefix(fanout_api_t *api, ngx_str_t *path);
static ngx_int_t find_route(const fanout_api_route_t *rt, ngx_str_t *path);
static ngx_int_t split_path(fanout_api_t *api, ngx_str_t *path,
    ngx_uint_t encoded);
static ngx_int_t add_word(fanout_api_t *api, u_char *start, u_char *end,
    ngx_uint_t encoded);
static const fanout_api_route_t *route(fanout_api_t *api);
static const fanout_api_method_t *method_of(const fanout_api_route_t *rt,
    ngx_uint_t method);
static ngx_int_t api_start(fanout_api_t *api, const fanout_api_route_t *rt);
static ngx_uint_t api_is_encoded(ngx_http_request_t *r);
static void api_body_handler(ngx_http_request_t *r);
static ngx_int_t api_run(fanout_api_t *api);


/* a handler and the table of its arguments */

#define method(name)  { fanout_api_##name##_handler, fanout_api_##name##_args }

#define NONE  FANOUT_API_NONE

static const fanout_api_route_t  routes[] = {

    { ngx_string("channels"), 1, ngx_null_string,
      method(list), NONE, NONE, NONE, NONE,
      ngx_string("GET, HEAD") },

    { ngx_string("channels"), 2, ngx_null_string,
      method(info), NONE, NONE, NONE, method(purge),
      ngx_string("GET, HEAD, DELETE") },

    { ngx_string("channels"), 3, ngx_string("messages"),
      method(history), method(publish), NONE, NONE, NONE,
      ngx_string("GET, HEAD, POST") },

    { ngx_string("channels"), 3, ngx_string("signals"),
      NONE, method(signal), NONE, NONE, NONE,
      ngx_string("POST") },

    { ngx_string("channels"), 3, ngx_string("presence"),
      method(presence), NONE, NONE, NONE, NONE,
      ngx_string("GET, HEAD") },

    { ngx_string("channels"), 3, ngx_string("records"),
      method(records), NONE, NONE, NONE, NONE,
      ngx_string("GET, HEAD") },

    { ngx_string("channels"), 4, ngx_string("records"),
      method(record), NONE, method(record_put), method(record_patch),
      method(record_delete),
      ngx_string("GET, HEAD, PUT, PATCH, DELETE") },

    { ngx_string("channels"), 3, ngx_string("locks"),
      method(locks), NONE, NONE, NONE, NONE,
      ngx_string("GET, HEAD") },

    { ngx_string("channels"), 4, ngx_string("locks"),
      NONE, method(lock), NONE, NONE, method(lock_delete),
      ngx_string("POST, DELETE") },

    { ngx_string("clients"), 2, ngx_null_string,
      method(client), NONE, NONE, NONE, method(client_delete),
      ngx_string("GET, HEAD, DELETE") },

    { ngx_string("users"), 2, ngx_null_string,
      method(user), NONE, NONE, NONE, method(user_delete),
      ngx_string("GET, HEAD, DELETE") },

    { ngx_string("users"), 3, ngx_string("revoke"),
      NONE, method(revoke), NONE, NONE, NONE,
      ngx_string("POST") },

    { ngx_string("users"), 3, ngx_string("reauthorize"),
      NONE, method(reauthorize), NONE, NONE, NONE,
      ngx_string("POST") },

    { ngx_string("denials"), 1, ngx_null_string,
      method(denials), NONE, NONE, NONE, NONE,
      ngx_string("GET, HEAD") },

    { ngx_string("denials"), 2, ngx_null_string,
      method(denial), NONE, method(denial_put), NONE,
      method(denial_delete),
      ngx_string("GET, HEAD, PUT, DELETE") },

    { ngx_string("batch"), 1, ngx_null_string,
      NONE, { fanout_api_batch_handler, NULL }, NONE, NONE, NONE,
      ngx_string("POST") },

    { ngx_string("broadcast"), 1, ngx_null_string,
      NONE, { fanout_api_broadcast_handler, NULL }, NONE, NONE, NONE,
      ngx_string("POST") },

    { ngx_string("cleanup"), 1, ngx_null_string,
      NONE, { fanout_api_cleanup_handler, NULL }, NONE, NONE, NONE,
      ngx_string("POST") },

    FANOUT_API_ROUTES_END
};


ngx_int_t
fanout_api_handler(ngx_http_request_t *r)
{
    static ngx_str_t  methods = ngx_string("GET, POST, PUT, PATCH, "
                                           "DELETE");
    static ngx_str_t  headers = ngx_string("Content-Type, Authorization, "
                                           "If-Match, If-None-Match, "
                                           "Fanout-Key, Idempotency-Key");

    fanout_api_t              *api;
    fanout_error_e             error;
    fanout_loc_conf_t         *conf;
    const fanout_api_route_t  *rt;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (conf->api->hub == NULL) {
        (void) ngx_http_discard_request_body(r);
        return fanout_http_send_unavailable(r);
    }

    api = ngx_pcalloc(r->pool, sizeof(fanout_api_t));
    if (api == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->request = r;
    api->conf = conf;
    api->hub = conf->api->hub;
    api->routes = conf->sync ? fanout_api_sync_routes : routes;
    api->status = NGX_HTTP_OK;

    /* conditions are of what is changed, not of the answer */
    r->disable_not_modified = 1;

    ngx_http_set_ctx(r, api, ngx_http_fanout_module);
    fanout_count(api->hub, api_requests);

    if (fanout_origin_cors(r, &conf->api_origins) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    error = fanout_api_guard(api);

    if (error) {
        (void) ngx_http_discard_request_body(r);
        return fanout_api_respond_error(api, error);
    }

    if (is_preflight(r)) {
        return fanout_origin_preflight(r, &methods, &headers);
    }

    if (read_path(api) == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rt = route(api);

    if (rt == NULL) {
        (void) ngx_http_discard_request_body(r);
        (void) fanout_api_fail(api, FANOUT_E_NOT_FOUND,
                               "there is no such route");
        return fanout_api_respond_error(api, FANOUT_E_NOT_FOUND);
    }

    api->method = method_of(rt, r->method);

    error = api->method->run
            ? fanout_api_args_check(api, api->method->args)
            : FANOUT_E_NONE;

    if (error) {
        (void) ngx_http_discard_request_body(r);
        return fanout_api_respond_error(api, error);
    }

    return api_start(api, rt);
}


static ngx_uint_t
is_preflight(ngx_http_request_t *r)
{
    ngx_str_t  value;

    return r->method == NGX_HTTP_OPTIONS
           && fanout_header(r, "origin", &value)
           && fanout_header(r, "access-control-request-method",
                            &value);
}


/*
 * The path as the client has sent it is split before it is decoded, so that a
 * name may have a "/" as %2F.  After a rewrite there is only the decoded one.
 */

static ngx_int_t
read_path(fanout_api_t *api)
{
    u_char              *p;
    ngx_str_t            path;
    ngx_http_request_t  *r;

    r = api->request;

    if (!r->valid_unparsed_uri) {
        path = r->uri;
        return cut_prefix(api, &path) == NGX_OK ? split_path(api, &path, 0)
                                              : NGX_DECLINED;
    }

    path = r->unparsed_uri;

    for (p = path.data; p < path.data + path.len; p++) {
        if (*p == '?' || *p == '#') {
            path.len = p - path.data;
            break;
        }
    }

    return cut_prefix(api, &path) == NGX_OK ? split_path(api, &path, 1)
                                          : NGX_DECLINED;
}


/* Strips the name of the location and a slash. */

static ngx_int_t
cut_prefix(fanout_api_t *api, ngx_str_t *path)
{
    size_t                     len;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(api->request, ngx_http_core_module);
    len = clcf->name.len;

    if (len == 0 || clcf->name.data[0] != '/' || path->len < len
        || ngx_memcmp(path->data, clcf->name.data, len) != 0)
    {
        return find_route(api->routes, path);
    }

    if (clcf->name.data[len - 1] == '/') {
        len--;
    }

    if (path->len == len || path->data[len] != '/') {
        return NGX_DECLINED;
    }

    path->data += len + 1;
    path->len -= len + 1;

    return NGX_OK;
}


/* In a location without a plain prefix a route begins with the first word
 * that is one of ours. */

static ngx_int_t
find_route(const fanout_api_route_t *rt, ngx_str_t *path)
{
    u_char            *p, *last;
    ngx_uint_t         i;
    const ngx_str_t   *word;

    last = path->data + path->len;

    for (p = path->data; p < last; p++) {

        if (*p != '/') {
            continue;
        }

        for (i = 0; rt[i].nwords; i++) {
            word = &rt[i].first;

            if ((size_t) (last - p - 1) >= word->len
                && ngx_memcmp(p + 1, word->data, word->len) == 0
                && (p + 1 + word->len == last || p[1 + word->len] == '/'))
            {
                path->data = p + 1;
                path->len = last - p - 1;
                return NGX_OK;
            }
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
split_path(fanout_api_t *api, ngx_str_t *path, ngx_uint_t encoded)
{
    u_char  *p, *start, *last;

    start = path->data;
    last = path->data + path->len;

    for (p = start; p < last; p++) {

        if (*p != '/') {
            continue;
        }

        if (add_word(api, start, p, encoded) != NGX_OK) {
            return NGX_ERROR;
        }

        start = p + 1;
    }

    if (start == last) {
        return NGX_OK;
    }

    return add_word(api, start, last, encoded);
}


static ngx_int_t
add_word(fanout_api_t *api, u_char *start, u_char *end, ngx_uint_t encoded)
{
    u_char     *dst;
    ngx_str_t  *word;

    if (api->nwords == FANOUT_API_WORDS) {
        return NGX_OK;
    }

    word = &api->words[api->nwords++];
    word->data = start;
    word->len = end - start;

    if (!encoded || ngx_strlchr(start, end, '%') == NULL) {
        return NGX_OK;
    }

    dst = ngx_pnalloc(api->request->pool, word->len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    word->data = dst;
    ngx_unescape_uri(&dst, &start, word->len, 0);
    word->len = dst - word->data;

    return NGX_OK;
}


static const fanout_api_route_t *
route(fanout_api_t *api)
{
    ngx_str_t                 *words;
    const fanout_api_route_t  *rt;

    words = api->words;

    for (rt = api->routes; rt->nwords; rt++) {

        if (api->nwords != rt->nwords
            || words[0].len != rt->first.len
            || ngx_memcmp(words[0].data, rt->first.data, rt->first.len) != 0)
        {
            continue;
        }

        if (rt->last.len
            && (words[2].len != rt->last.len
                || ngx_memcmp(words[2].data, rt->last.data, rt->last.len)
                   != 0))
        {
            continue;
        }

        return rt;
    }

    return NULL;
}


static const fanout_api_method_t *
method_of(const fanout_api_route_t *rt, ngx_uint_t method)
{
    static const fanout_api_method_t  none = NONE;

    switch (method) {

    case NGX_HTTP_GET:
    case NGX_HTTP_HEAD:
        return &rt->get;

    case NGX_HTTP_POST:
        return &rt->post;

    case NGX_HTTP_PUT:
        return &rt->put;

    case NGX_HTTP_PATCH:
        return &rt->patch;

    case NGX_HTTP_DELETE:
        return &rt->delete;

    default:
        return &none;
    }
}


static ngx_int_t
api_start(fanout_api_t *api, const fanout_api_route_t *rt)
{
    ngx_int_t            rc;
    ngx_str_t            allow;
    ngx_http_request_t  *r;

    r = api->request;

    if (api->method->run
        && (r->method & (NGX_HTTP_POST|NGX_HTTP_PUT|NGX_HTTP_PATCH)))
    {

        if (api_is_encoded(r)) {
            (void) ngx_http_discard_request_body(r);
            (void) fanout_api_fail(api,
                                   FANOUT_E_BAD_REQUEST,
                                   "a Content-Encoding is not "
                                   "supported");
            return fanout_api_respond_status(api, FANOUT_E_BAD_REQUEST,
                                  NGX_HTTP_UNSUPPORTED_MEDIA_TYPE);
        }

        r->request_body_in_single_buf = 1;

        rc = ngx_http_read_client_request_body(r, api_body_handler);

        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (api->method->run == NULL) {
        allow = rt->allow;
        return fanout_http_send_not_allowed(r, &allow);
    }

    return api_run(api);
}


static ngx_uint_t
api_is_encoded(ngx_http_request_t *r)
{
    ngx_str_t  coding;

    coding = fanout_http_header(r, "content-encoding");

    return coding.len
           && (coding.len != sizeof("identity") - 1
               || ngx_strncasecmp(coding.data, (u_char *) "identity",
                                  coding.len)
                  != 0);
}


static void
api_body_handler(ngx_http_request_t *r)
{
    fanout_api_t  *api;

    api = ngx_http_get_module_ctx(r, ngx_http_fanout_module);

    ngx_http_finalize_request(r, api_run(api));
}


static ngx_int_t
api_run(fanout_api_t *api)
{
    fanout_error_e     error;
    fanout_api_args_t  args;

    api->out = fanout_outbuf_create(api->hub, 1024);
    if (api->out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fanout_step(api->hub);

    error = fanout_api_args_read(api, api->method->args, &args);

    if (error == FANOUT_E_NONE) {
        error = api->method->run(api, &args);
    }

    return fanout_api_respond(api, error);
}
