
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * fanout_jwt: the keys that tokens are verified with, what they have to say,
 * and where requests have them.
 */


#include "conf/conf.h"
#include "transport/bearer.h"
#include "transport/ticket.h"


typedef struct jwt_parameter_s  jwt_parameter_t;

struct jwt_parameter_s {
    const char       *name;
    char           *(*set)(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
                           const jwt_parameter_t *p, ngx_str_t *value,
                           ngx_str_t *s);
    fanout_source_e   kind;             /* of a source */
    unsigned          many:1;
};


static char *jwt_parameter(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    ngx_uint_t i);
static char *jwt_unknown(ngx_conf_t *cf, ngx_str_t *value);
static char *set_source(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_from(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static ngx_uint_t place_parse(ngx_str_t *s, fanout_bearer_place_t *place);
static char *set_issuer(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_audience(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_channel_claim(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_algorithms(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_leeway(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_size(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_handshake(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_wait(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_expires(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *set_token(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s);
static char *jwt_range(ngx_conf_t *cf, const fanout_conf_range_t *range,
    ngx_str_t *value, ngx_str_t *s, int64_t *n);
static char *jwt_word(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s,
    ngx_uint_t *optional);
static char *jwt_finish(ngx_conf_t *cf, fanout_jwt_conf_t *jwt);
static char *jwt_places(ngx_conf_t *cf, fanout_jwt_conf_t *jwt);
static fanout_jwt_conf_t *jwt_create(ngx_conf_t *cf);
static void jwt_cleanup(void *data);
static ngx_int_t take_token(ngx_http_request_t *r);


static const jwt_parameter_t  parameters[] = {
    { "secret", set_source, FANOUT_SOURCE_SECRET, 1 },
    { "secret_file", set_source, FANOUT_SOURCE_SECRET_FILE, 1 },
    { "key", set_source, FANOUT_SOURCE_PEM, 1 },
    { "jwks", set_source, FANOUT_SOURCE_JWKS, 1 },
    { "from", set_from, 0, 1 },
    { "issuer", set_issuer, 0, 0 },
    { "audience", set_audience, 0, 1 },
    { "channel", set_channel_claim, 0, 0 },
    { "algorithms", set_algorithms, 0, 0 },
    { "leeway", set_leeway, 0, 0 },
    { "size", set_size, 0, 0 },
    { "handshake", set_handshake, 0, 0 },
    { "wait", set_wait, 0, 0 },
    { "expires", set_expires, 0, 0 },
    { "token", set_token, 0, 0 },
    { NULL, NULL, 0, 0 }
};

static const fanout_conf_range_t  leeway_range = {
    FANOUT_CONF_SEC, 0, 3600, "a time of whole seconds from 0 to 1h"
};

static const fanout_conf_range_t  handshake_range = {
    FANOUT_CONF_SIZE, 0, 65536, "a size from 0 to 64k"
};

static const fanout_conf_range_t  wait_range = {
    FANOUT_CONF_MSEC, 100, 3600000, "a time from 100ms to 1h"
};

static const fanout_conf_range_t  token_range = {
    FANOUT_CONF_SIZE, 64, 65536, "a size from 64 to 64k"
};


char *
fanout_set_jwt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    fanout_loc_conf_t  *flcf = conf;

    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           i;
    fanout_jwt_conf_t   *jwt;
    fanout_main_conf_t  *mcf;

    if (flcf->jwt != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        flcf->jwt = NULL;
        return NGX_CONF_OK;
    }

    jwt = jwt_create(cf);
    if (jwt == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        rv = jwt_parameter(cf, jwt, i);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    flcf->jwt = jwt;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fanout_module);
    mcf->calls = 1;

    return jwt_finish(cf, jwt);
}


void
fanout_merge_jwt(fanout_loc_conf_t *conf, fanout_loc_conf_t *prev)
{
    ngx_conf_merge_ptr_value(conf->jwt, prev->jwt, NULL);

    conf->tickets = conf->jwt && conf->jwt->rules.channel.len;
}


static fanout_jwt_conf_t *
jwt_create(ngx_conf_t *cf)
{
    fanout_jwt_conf_t   *jwt;
    ngx_pool_cleanup_t  *cln;

    jwt = ngx_pcalloc(cf->pool, sizeof(fanout_jwt_conf_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (jwt == NULL || cln == NULL) {
        return NULL;
    }

    jwt->places = ngx_array_create(cf->pool, 2, sizeof(fanout_bearer_place_t));

    if (jwt->places == NULL
        || ngx_array_init(&jwt->sources.list, cf->pool, 2,
                          sizeof(fanout_source_t))
           != NGX_OK)
    {
        return NULL;
    }

    jwt->rules.leeway = 30;
    jwt->rules.expires = 1;
    jwt->size = 8192;
    jwt->handshake = 4096;

    cln->handler = jwt_cleanup;
    cln->data = jwt;

    return jwt;
}


static void
jwt_cleanup(void *data)
{
    fanout_jwt_conf_t  *jwt = data;

    fanout_keys_clear(&jwt->sources.keys);
}


static char *
jwt_parameter(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, ngx_uint_t i)
{
    ngx_str_t               s, other, *value;
    ngx_uint_t              k;
    const jwt_parameter_t  *p;

    value = cf->args->elts;

    for (p = parameters; p->name; p++) {
        if (fanout_conf_parameter(&value[i], p->name, &s)) {
            break;
        }
    }

    if (p->name == NULL) {
        return jwt_unknown(cf, &value[i]);
    }

    if (s.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s=\" is empty", p->name);
        return NGX_CONF_ERROR;
    }

    for (k = 1; !p->many && k < i; k++) {

        if (fanout_conf_parameter(&value[k], p->name, &other)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return p->set(cf, jwt, p, &value[i], &s);
}


/* Only the name is logged: the value may be a secret. */

static char *
jwt_unknown(ngx_conf_t *cf, ngx_str_t *value)
{
    u_char     *equal;
    ngx_str_t   name;

    equal = ngx_strlchr(value->data, value->data + value->len, '=');
    name.data = value->data;
    name.len = equal ? (size_t) (equal - value->data) : value->len;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\" of \"fanout_jwt\", which is "
                       "\"off\" or has secret=, secret_file=, key=, jwks=, "
                       "from=, issuer=, audience=, channel=, algorithms=, "
                       "leeway=, size=, handshake=, wait=, expires=, token=",
                       &name);

    return NGX_CONF_ERROR;
}


static char *
set_source(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    fanout_source_t  *source;

    source = ngx_array_push(&jwt->sources.list);
    if (source == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(source, sizeof(fanout_source_t));

    source->kind = p->kind;
    source->text = *s;

    if (p->kind == FANOUT_SOURCE_SECRET) {
        return NGX_CONF_OK;
    }

    return ngx_conf_full_name(cf->cycle, &source->text, 1) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
set_from(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    fanout_bearer_place_t  *place;

    place = ngx_array_push(jwt->places);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    if (!place_parse(s, place)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": \"header\", \"header:name\", "
                           "\"cookie:name\", \"query:name\", "
                           "\"subprotocol\" or \"command\" is needed", value);
        return NGX_CONF_ERROR;
    }

    jwt->command |= (place->from == FANOUT_BEARER_COMMAND);

    return NGX_CONF_OK;
}


/* Arguments of a directive end with NUL. */

static ngx_uint_t
place_parse(ngx_str_t *s, fanout_bearer_place_t *place)
{
    u_char     *colon;
    ngx_uint_t  i, len;

    static const struct {
        const char       *word;
        fanout_bearer_e   from;
    } words[] = {
        { "header", FANOUT_BEARER_HEADER },
        { "cookie", FANOUT_BEARER_COOKIE },
        { "query", FANOUT_BEARER_QUERY },
        { "subprotocol", FANOUT_BEARER_SUBPROTOCOL },
        { "command", FANOUT_BEARER_COMMAND }
    };

    colon = ngx_strlchr(s->data, s->data + s->len, ':');
    len = colon ? (size_t) (colon - s->data) : s->len;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ngx_strlen(words[i].word) == len
            && ngx_strncmp(words[i].word, s->data, len) == 0)
        {
            break;
        }
    }

    if (i == sizeof(words) / sizeof(words[0])) {
        return 0;
    }

    place->from = words[i].from;

    if (colon) {
        place->name.data = colon + 1;
        place->name.len = s->data + s->len - (colon + 1);

        if (place->from == FANOUT_BEARER_HEADER) {
            ngx_strlow(place->name.data, place->name.data, place->name.len);
        }

        return place->name.len && place->from < FANOUT_BEARER_SUBPROTOCOL;
    }

    place->name.data = (u_char *) "authorization";
    place->name.len = 13;

    return place->from == FANOUT_BEARER_HEADER
           || place->from >= FANOUT_BEARER_SUBPROTOCOL;
}


static char *
set_issuer(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    jwt->rules.issuer.data = s->data;
    jwt->rules.issuer.len = s->len;

    return NGX_CONF_OK;
}


static char *
set_audience(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    fanout_json_t  *list;

    list = ngx_palloc(cf->pool,
                      (jwt->rules.naudiences + 1) * sizeof(fanout_json_t));
    if (list == NULL) {
        return NGX_CONF_ERROR;
    }

    if (jwt->rules.naudiences) {
        ngx_memcpy(list, jwt->rules.audiences,
                   jwt->rules.naudiences * sizeof(fanout_json_t));
    }

    list[jwt->rules.naudiences].data = s->data;
    list[jwt->rules.naudiences].len = s->len;

    jwt->rules.audiences = list;
    jwt->rules.naudiences++;

    return NGX_CONF_OK;
}


static char *
set_channel_claim(ngx_conf_t *cf, fanout_jwt_conf_t *jwt,
    const jwt_parameter_t *p, ngx_str_t *value, ngx_str_t *s)
{
    if (s->len > FANOUT_NAME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": the name of a claim has 255 bytes "
                           "at most", value);
        return NGX_CONF_ERROR;
    }

    jwt->rules.channel.data = s->data;
    jwt->rules.channel.len = s->len;

    return NGX_CONF_OK;
}


static char *
set_algorithms(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    u_char    *name, *comma, *last;
    unsigned   bit;

    last = s->data + s->len;

    for (name = s->data; name <= last; name = comma + 1) {

        comma = ngx_strlchr(name, last, ',');
        comma = comma ? comma : last;
        bit = fanout_jwt_algorithm(name, comma - name);

        if (bit == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": HS256, HS384, HS512, RS256, "
                               "RS384, RS512, PS256, PS384, PS512, ES256, "
                               "ES384, ES512 and EdDSA are known, with commas "
                               "between", value);
            return NGX_CONF_ERROR;
        }

        jwt->rules.algorithms |= bit;
    }

    return NGX_CONF_OK;
}


static char *
set_leeway(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    return jwt_range(cf, &leeway_range, value, s, &jwt->rules.leeway);
}


static char *
set_size(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    char     *rv;
    int64_t   size;

    rv = jwt_range(cf, &token_range, value, s, &size);
    jwt->size = size;

    return rv;
}


static char *
set_handshake(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    char     *rv;
    int64_t   size;

    rv = jwt_range(cf, &handshake_range, value, s, &size);
    jwt->handshake = size;

    return rv;
}


static char *
set_wait(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    char     *rv;
    int64_t   wait;

    rv = jwt_range(cf, &wait_range, value, s, &wait);
    jwt->wait = wait;

    return rv;
}


static char *
jwt_range(ngx_conf_t *cf, const fanout_conf_range_t *range, ngx_str_t *value,
    ngx_str_t *s, int64_t *n)
{
    *n = fanout_conf_ranged(cf, range, value, s);

    return *n == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
}


static char *
set_expires(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    char        *rv;
    ngx_uint_t   optional;

    rv = jwt_word(cf, value, s, &optional);
    jwt->rules.expires = !optional;

    return rv;
}


static char *
set_token(ngx_conf_t *cf, fanout_jwt_conf_t *jwt, const jwt_parameter_t *p,
    ngx_str_t *value, ngx_str_t *s)
{
    char        *rv;
    ngx_uint_t   optional;

    rv = jwt_word(cf, value, s, &optional);
    jwt->optional = optional;

    return rv;
}


static char *
jwt_word(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *s, ngx_uint_t *optional)
{
    *optional = (ngx_strcmp(s->data, "optional") == 0);

    if (!*optional && ngx_strcmp(s->data, "required") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": \"required\" or \"optional\" is "
                           "needed", value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* A secret in the configuration is not logged, only what is wrong with it. */

static char *
jwt_finish(ngx_conf_t *cf, fanout_jwt_conf_t *jwt)
{
    char              error[FANOUT_KEYS_ERROR];
    fanout_source_t  *source;

    static ngx_str_t  secret = ngx_string("secret=");

    if (jwt->sources.list.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fanout_jwt\" has no key: secret=, "
                           "secret_file=, key= or jwks= is needed");
        return NGX_CONF_ERROR;
    }

    if (jwt->wait && !jwt->command) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"wait=\" does nothing without \"from=command\"");
        return NGX_CONF_ERROR;
    }

    if (jwt->command && jwt->wait == 0) {
        jwt->wait = 10000;
    }

    if (jwt->command && (jwt->optional || jwt->handshake == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"from=command\" excludes \"%s\"",
                           jwt->optional ? "token=optional" : "handshake=0");
        return NGX_CONF_ERROR;
    }

    if (fanout_sources_read(&jwt->sources, &source, error) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid key in \"fanout_jwt\", \"%V\": %s",
                           source->kind == FANOUT_SOURCE_SECRET
                           ? &secret : &source->text, error);
        return NGX_CONF_ERROR;
    }

    if (jwt->rules.algorithms
        && !(jwt->rules.algorithms
             & fanout_keys_algorithms(&jwt->sources.keys)))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no key of \"fanout_jwt\" is for an algorithm of "
                           "\"algorithms=\": every token would be refused");
        return NGX_CONF_ERROR;
    }

    return jwt_places(cf, jwt);
}


/* those that hold if none is named */

static char *
jwt_places(ngx_conf_t *cf, fanout_jwt_conf_t *jwt)
{
    fanout_bearer_place_t  *place;

    if (jwt->places->nelts) {
        return NGX_CONF_OK;
    }

    place = ngx_array_push_n(jwt->places, 2);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    place[0].from = FANOUT_BEARER_HEADER;
    ngx_str_set(&place[0].name, "authorization");
    place[1].from = FANOUT_BEARER_SUBPROTOCOL;
    ngx_str_null(&place[1].name);

    return NGX_CONF_OK;
}


/* The first phase that knows the location, before any that refuses requests: no
 * secret of a URL is in a log, also of a request that is refused. */

ngx_int_t
fanout_jwt_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = take_token;

    return NGX_OK;
}


static ngx_int_t
take_token(ngx_http_request_t *r)
{
    fanout_loc_conf_t  *conf;

    static ngx_str_t  resume = ngx_string("resume");

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fanout_module);

    if (r != r->main || conf->app == NULL) {
        return NGX_DECLINED;
    }

    fanout_bearer_hide(r, &resume);

    return (conf->jwt == NULL || fanout_bearer_take(r, conf->jwt) == NGX_OK)
           && fanout_tickets_take(r) == NGX_OK
           ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}
