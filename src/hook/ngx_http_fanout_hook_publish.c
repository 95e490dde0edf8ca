
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Asking for publishes.  What is asked for a channel goes through one lane, a
 * call at a time, so that publishes of this worker to it stay in order; what
 * comes meanwhile goes together in the next call.
 *
 *   {"zone":"app","publishes":[
 *     {"id":"…","channel":"room:1","messages":[{"event":…,"data":…,
 *                                               "from":{…}}]}]}
 *
 * The answer has as many members, in the same order, or no body at all, which
 * lets all through as they are:
 *
 *   {"publishes":[{},{"allow":false,"message":"…","details":{…}},
 *                 {"messages":[{"event":…,"data":…}]}]}
 */


#include "ngx_http_fanout_hook.h"
#include "ngx_http_fanout_entry.h"
#include "ngx_http_fanout_json.h"
#include "ngx_http_fanout_transport.h"


#define NGX_HTTP_FANOUT_LANES       4
#define NGX_HTTP_FANOUT_ASK_QUEUE   1000        /* unless queue= says */
#define NGX_HTTP_FANOUT_ASK_LOG     1000        /* ms, a line at most */
#define NGX_HTTP_FANOUT_ASK_BYTES   262144      /* of payload in a call, but
                                                   for a single one */
#define NGX_HTTP_FANOUT_ASK_DEPTH   (NGX_HTTP_FANOUT_JSON_DEPTH + 4)
#define NGX_HTTP_FANOUT_ASK_TEXT    255         /* bytes of a message */
#define NGX_HTTP_FANOUT_ASK_DETAILS 1024


typedef struct asker_s  asker_t;

typedef struct {
    asker_t                 *asker;
    ngx_queue_t              waiting;
    ngx_queue_t              asked;         /* in the call */
    ngx_uint_t               n;             /* of them */
    ngx_http_fanout_call_t  *call;
    ngx_event_t              work;          /* posted */
} lane_t;

struct asker_s {
    ngx_http_fanout_hub_t   *hub;
    ngx_http_fanout_hook_t  *hook;
    ngx_uint_t               n;             /* asks that are not answered */
    uint64_t                 last;          /* id */
    ngx_uint_t               turned;        /* away, not yet logged */
    ngx_event_t              log;           /* timer, set: not yet again */
    lane_t                   lanes[NGX_HTTP_FANOUT_LANES];
};


typedef struct {
    ngx_http_fanout_json_t   allow;
    ngx_http_fanout_json_t   message;
    ngx_http_fanout_json_t   details;
    ngx_http_fanout_json_t   messages;
} verdict_t;

typedef struct {
    ngx_http_fanout_json_t   event;
    ngx_http_fanout_json_t   data;
    ngx_http_fanout_json_t   enc;
} change_t;


static ngx_http_fanout_ask_t *ask_create(ngx_http_fanout_session_t *s,
    ngx_str_t *channel, ngx_http_fanout_zone_message_t *m, ngx_uint_t n,
    ngx_http_fanout_zstr_t *to, ngx_http_fanout_zone_publish_t *opts);
static void turn_away(asker_t *a);
static void log_handler(ngx_event_t *ev);
static void work_handler(ngx_event_t *ev);
static ngx_int_t compose(lane_t *lane, ngx_str_t *body);
static ngx_int_t compose_ask(ngx_http_fanout_ask_t *ask,
    ngx_http_fanout_frame_t *f);
static void answered(void *data, ngx_uint_t status, ngx_str_t *body);
static const char *read_verdicts(lane_t *lane, ngx_uint_t status,
    ngx_str_t *body, ngx_http_fanout_json_t *verdicts);
static const char *follow(ngx_http_fanout_ask_t *ask,
    ngx_http_fanout_json_t *verdict);
static void refuse(ngx_http_fanout_ask_t *ask, verdict_t *v);
static const char *change(ngx_http_fanout_ask_t *ask,
    ngx_http_fanout_json_t *array);
static const char *change_message(ngx_http_fanout_ask_t *ask,
    ngx_http_fanout_json_t *item, u_char **p,
    ngx_http_fanout_zone_message_t *m);
static void fail(ngx_http_fanout_ask_t *ask);
static void publish(ngx_http_fanout_ask_t *ask,
    ngx_http_fanout_zone_message_t *m, ngx_uint_t n);
static void finish(ngx_http_fanout_ask_t *ask);
static void copy_zstr(u_char **p, ngx_http_fanout_zstr_t *s);


static const ngx_http_fanout_json_field_t  answer_fields[] = {
    { "publishes", sizeof("publishes") - 1, 0 }
};

static const ngx_http_fanout_json_field_t  verdict_fields[] = {
    ngx_http_fanout_json_field("allow", verdict_t, allow),
    ngx_http_fanout_json_field("message", verdict_t, message),
    ngx_http_fanout_json_field("details", verdict_t, details),
    ngx_http_fanout_json_field("messages", verdict_t, messages)
};

static const ngx_http_fanout_json_field_t  change_fields[] = {
    ngx_http_fanout_json_field("event", change_t, event),
    ngx_http_fanout_json_field("data", change_t, data),
    ngx_http_fanout_json_field("enc", change_t, enc)
};


ngx_int_t
ngx_http_fanout_hook_init(ngx_http_fanout_app_t *app, ngx_cycle_t *cycle)
{
    asker_t     *a;
    lane_t      *lane;
    ngx_uint_t   i;

    if (app->ask) {
        a = ngx_calloc(sizeof(asker_t), cycle->log);
        if (a == NULL) {
            return NGX_ERROR;
        }

        a->hub = app->hub;
        a->hook = app->ask;
        a->last = (uint64_t) ngx_random() << 32;

        a->log.handler = log_handler;
        a->log.data = a;
        a->log.log = cycle->log;
        a->log.cancelable = 1;

        for (i = 0; i < NGX_HTTP_FANOUT_LANES; i++) {
            lane = &a->lanes[i];
            lane->asker = a;

            ngx_queue_init(&lane->waiting);
            ngx_queue_init(&lane->asked);

            lane->work.handler = work_handler;
            lane->work.data = lane;
            lane->work.log = cycle->log;
        }

        app->hub->asker = a;
    }

    return ngx_http_fanout_hook_events_init(app->hub, cycle);
}


void
ngx_http_fanout_hook_exit(ngx_http_fanout_app_t *app)
{
    if (app->hub) {
        ngx_http_fanout_hook_events_exit(app->hub);
    }
}


ngx_uint_t
ngx_http_fanout_asks(ngx_http_fanout_hub_t *hub, ngx_str_t *channel)
{
    return hub->asker
           && !ngx_http_fanout_policy(hub->app, channel)->no_hooks;
}


ngx_uint_t
ngx_http_fanout_asks_waiting(ngx_http_fanout_hub_t *hub)
{
    asker_t  *a = hub->asker;

    return a ? a->n : 0;
}


ngx_uint_t
ngx_http_fanout_asks_max(ngx_http_fanout_hub_t *hub)
{
    asker_t  *a = hub->asker;

    if (a == NULL) {
        return 0;
    }

    return a->hook->queue ? a->hook->queue : NGX_HTTP_FANOUT_ASK_QUEUE;
}


/* asking */

ngx_http_fanout_ask_t *
ngx_http_fanout_ask(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_http_fanout_zone_message_t *m, ngx_uint_t n,
    ngx_http_fanout_zstr_t *to, ngx_http_fanout_zone_publish_t *opts,
    ngx_http_fanout_error_e *rc)
{
    lane_t                 *lane;
    asker_t                *a;
    ngx_http_fanout_ask_t  *ask;

    a = s->hub->asker;
    if (a->n >= ngx_http_fanout_asks_max(s->hub)) {
        turn_away(a);
        *rc = NGX_HTTP_FANOUT_E_HOOK_FAILED;
        return NULL;
    }

    ask = ask_create(s, channel, m, n, to, opts);
    if (ask == NULL) {
        *rc = NGX_HTTP_FANOUT_E_INTERNAL;
        return NULL;
    }

    ask->id = ++a->last;
    a->n++;

    lane = &a->lanes[ngx_crc32_short(channel->data, channel->len)
                     % NGX_HTTP_FANOUT_LANES];

    ngx_queue_insert_tail(&lane->waiting, &ask->queue);
    ngx_post_event(&lane->work, &ngx_posted_events);

    ngx_http_fanout_count(s->hub, hook_asks);

    return ask;
}


static void
turn_away(asker_t *a)
{
    ngx_http_fanout_count(a->hub, hook_failures);

    a->turned++;

    if (!a->log.timer_set) {
        log_handler(&a->log);
    }
}


/* A backend that is too slow for all must not fill the log as well. */

static void
log_handler(ngx_event_t *ev)
{
    asker_t  *a = ev->data;

    if (a->turned == 0) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "%V was not asked for %ui publishes in zone \"%V\": "
                  "%ui wait for it already, \"queue=\"", &a->hook->callee.what,
                  a->turned, &a->hub->app->name,
                  ngx_http_fanout_asks_max(a->hub));

    a->turned = 0;
    ngx_add_timer(ev, NGX_HTTP_FANOUT_ASK_LOG);
}


/* one block of memory */

static ngx_http_fanout_ask_t *
ask_create(ngx_http_fanout_session_t *s, ngx_str_t *channel,
    ngx_http_fanout_zone_message_t *m, ngx_uint_t n,
    ngx_http_fanout_zstr_t *to, ngx_http_fanout_zone_publish_t *opts)
{
    size_t                  size;
    u_char                 *p;
    ngx_uint_t              i;
    ngx_http_fanout_ask_t  *ask;

    size = sizeof(ngx_http_fanout_ask_t)
           + n * sizeof(ngx_http_fanout_zone_message_t)
           + channel->len + (to ? to->len : 0)
           + (opts ? opts->key.len + opts->scope.len : 0);

    for (i = 0; i < n; i++) {
        size += m[i].event.len + m[i].key.len + m[i].user.len
                + m[i].meta.len + m[i].data.len;
    }

    ask = ngx_alloc(size, ngx_cycle->log);
    if (ask == NULL) {
        return NULL;
    }

    ngx_memzero(ask, sizeof(ngx_http_fanout_ask_t));

    ask->hub = s->hub;
    ask->session = s;
    ask->n = n;
    ask->max = s->conf->message_size;
    ask->messages = (ngx_http_fanout_zone_message_t *) (ask + 1);

    ngx_memcpy(ask->messages, m, n * sizeof(ngx_http_fanout_zone_message_t));

    p = (u_char *) (ask->messages + n);

    ask->channel.data = p;
    ask->channel.len = channel->len;
    p = ngx_cpymem(p, channel->data, channel->len);

    if (to) {
        ask->to = *to;
        copy_zstr(&p, &ask->to);
    }

    if (opts) {
        ask->opts = *opts;
        copy_zstr(&p, &ask->opts.key);
        copy_zstr(&p, &ask->opts.scope);
    }

    for (i = 0; i < n; i++) {
        copy_zstr(&p, &ask->messages[i].event);
        copy_zstr(&p, &ask->messages[i].key);
        copy_zstr(&p, &ask->messages[i].user);
        copy_zstr(&p, &ask->messages[i].meta);
        copy_zstr(&p, &ask->messages[i].data);
    }

    return ask;
}


static void
copy_zstr(u_char **p, ngx_http_fanout_zstr_t *s)
{
    if (s->len) {
        ngx_memcpy(*p, s->data, s->len);
    }

    s->data = *p;
    *p += s->len;
}


static void
work_handler(ngx_event_t *ev)
{
    size_t                  size;
    lane_t                 *lane;
    ngx_str_t               body;
    ngx_uint_t              i;
    ngx_queue_t            *q;
    ngx_http_fanout_ask_t  *ask;

    lane = ev->data;
    size = 0;

    if (lane->call || ngx_queue_empty(&lane->waiting)) {
        return;
    }

    for (lane->n = 0; lane->n < lane->asker->hook->batch; lane->n++) {

        if (ngx_queue_empty(&lane->waiting)) {
            break;
        }

        q = ngx_queue_head(&lane->waiting);
        ask = ngx_queue_data(q, ngx_http_fanout_ask_t, queue);

        for (i = 0; i < ask->n; i++) {
            size += ask->messages[i].data.len;
        }

        if (lane->n && size > NGX_HTTP_FANOUT_ASK_BYTES) {
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&lane->asked, q);
    }

    ngx_http_fanout_count(lane->asker->hub, hook_calls);

    if (compose(lane, &body) == NGX_OK) {
        lane->call = ngx_http_fanout_call_start(&lane->asker->hook->callee,
                                                &body, answered, lane);
    }

    if (lane->call == NULL) {
        ngx_str_set(&body, "out of memory or connections");
        answered(lane, 0, &body);
    }
}


static ngx_int_t
compose(lane_t *lane, ngx_str_t *body)
{
    ngx_queue_t              *q;
    ngx_http_fanout_hub_t    *hub;
    ngx_http_fanout_frame_t  *f;

    hub = lane->asker->hub;

    f = ngx_http_fanout_frame_create(hub, 4096);
    if (f == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_fanout_frame_literal(hub, f, "{\"zone\":") != NGX_OK
        || ngx_http_fanout_frame_string(hub, f, hub->app->name.data,
                                        hub->app->name.len)
           != NGX_OK
        || ngx_http_fanout_frame_literal(hub, f, ",\"publishes\":[")
           != NGX_OK)
    {
        goto failed;
    }

    for (q = ngx_queue_head(&lane->asked);
         q != ngx_queue_sentinel(&lane->asked);
         q = ngx_queue_next(q))
    {
        if (compose_ask(ngx_queue_data(q, ngx_http_fanout_ask_t, queue), f)
            != NGX_OK)
        {
            goto failed;
        }
    }

    /* the last comma */
    f->used--;

    if (ngx_http_fanout_frame_literal(hub, f, "]}") != NGX_OK) {
        goto failed;
    }

    body->len = f->used;
    body->data = ngx_alloc(f->used, ngx_cycle->log);

    if (body->data == NULL) {
        goto failed;
    }

    ngx_memcpy(body->data, f->data, f->used);
    ngx_http_fanout_frame_release(hub, f);

    return NGX_OK;

failed:

    ngx_http_fanout_frame_release(hub, f);

    return NGX_ERROR;
}


static ngx_int_t
compose_ask(ngx_http_fanout_ask_t *ask, ngx_http_fanout_frame_t *f)
{
    ngx_uint_t                       i;
    ngx_http_fanout_hub_t           *hub;
    ngx_http_fanout_entry_t          e;
    ngx_http_fanout_zone_message_t  *m;

    hub = ask->hub;

    if (ngx_http_fanout_frame_printf(hub, f, 64, "{\"id\":\"%xL\",", ask->id)
        != NGX_OK
        || ngx_http_fanout_frame_literal(hub, f, "\"channel\":") != NGX_OK
        || ngx_http_fanout_frame_string(hub, f, ask->channel.data,
                                        ask->channel.len)
           != NGX_OK
        || ngx_http_fanout_frame_literal(hub, f, ",\"messages\":[") != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < ask->n; i++) {
        m = &ask->messages[i];

        ngx_memzero(&e, sizeof(ngx_http_fanout_entry_t));

        e.type = NGX_HTTP_FANOUT_MESSAGE;
        e.kind = m->kind;
        e.client = m->client;
        e.event = m->event;
        e.key = m->key;
        e.user = m->user;
        e.meta = m->meta;
        e.data = m->data;
        e.to_client = m->to_client;
        e.to_user = m->to_user;
        e.to = ask->to;

        if (ngx_http_fanout_frame_literal(hub, f, "{") != NGX_OK
            || ngx_http_fanout_message_json(hub, &e, f) != NGX_OK
            || ngx_http_fanout_frame_literal(hub, f, "},") != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    f->used--;

    return ngx_http_fanout_frame_literal(hub, f, "]},");
}


/* the answer */

static void
answered(void *data, ngx_uint_t status, ngx_str_t *body)
{
    lane_t                  *lane;
    ngx_uint_t               i;
    const char              *failure, *wrong;
    ngx_queue_t             *q;
    ngx_http_fanout_hub_t   *hub;
    ngx_http_fanout_ask_t   *ask;
    ngx_http_fanout_json_t   verdicts[NGX_HTTP_FANOUT_HOOK_BATCH];

    lane = data;
    lane->call = NULL;
    hub = lane->asker->hub;

    failure = read_verdicts(lane, status, body, verdicts);

    for (i = 0; !ngx_queue_empty(&lane->asked); i++) {
        q = ngx_queue_head(&lane->asked);
        ngx_queue_remove(q);
        ask = ngx_queue_data(q, ngx_http_fanout_ask_t, queue);

        if (failure) {
            fail(ask);

        } else {
            wrong = follow(ask, &verdicts[i]);

            if (wrong) {
                ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                              "%V answered to a publish on channel \"%V\" "
                              "what is no answer: %s",
                              &lane->asker->hook->callee.what, &ask->channel,
                              wrong);
                ngx_http_fanout_count(hub, hook_failures);
                fail(ask);
            }
        }

        lane->asker->n--;
        finish(ask);
    }

    if (failure) {
        ngx_http_fanout_count(hub, hook_failures);
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "%V failed for %ui publishes in zone \"%V\": status "
                      "%ui, %s", &lane->asker->hook->callee.what, lane->n,
                      &hub->app->name, status, failure);
    }

    ngx_post_event(&lane->work, &ngx_posted_events);
}


/* NULL: one for each that was asked, of len 0 to let it through */

static const char *
read_verdicts(lane_t *lane, ngx_uint_t status, ngx_str_t *body,
    ngx_http_fanout_json_t *verdicts)
{
    size_t                        n;
    ngx_http_fanout_json_t        array;
    ngx_http_fanout_json_error_t  err;

    if (status == 0) {
        return (const char *) body->data;
    }

    if (status < 200 || status >= 300) {
        return "which is no success";
    }

    if (body->len == 0) {
        ngx_memzero(verdicts, lane->n * sizeof(ngx_http_fanout_json_t));
        return NULL;
    }

    if (ngx_http_fanout_json_object(body->data, body->len,
                                    NGX_HTTP_FANOUT_ASK_DEPTH, answer_fields,
                                    1, &array, &err)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        return "the response is not a JSON object";
    }

    if (ngx_http_fanout_json_array(&array, verdicts, lane->n, &n)
        != NGX_HTTP_FANOUT_JSON_OK
        || n != lane->n)
    {
        return "\"publishes\" of the response is not an array with as many "
               "members as that of the request";
    }

    return NULL;
}


/* What the backend wants done, or what is wrong with that. */

static const char *
follow(ngx_http_fanout_ask_t *ask, ngx_http_fanout_json_t *verdict)
{
    int        allow;
    verdict_t  v;

    if (verdict->len == 0) {
        publish(ask, ask->messages, ask->n);
        return NULL;
    }

    if (ngx_http_fanout_json_members(verdict, verdict_fields,
                                     sizeof(verdict_fields)
                                     / sizeof(verdict_fields[0]), &v, NULL)
        != NGX_HTTP_FANOUT_JSON_OK)
    {
        return "a member of \"publishes\" is not an object";
    }

    allow = 1;

    if (v.allow.len
        && ngx_http_fanout_json_bool(&v.allow, &allow)
           != NGX_HTTP_FANOUT_JSON_OK)
    {
        return "\"allow\" is not true or false";
    }

    if (!allow) {
        refuse(ask, &v);
        return NULL;
    }

    if (v.messages.len) {
        return change(ask, &v.messages);
    }

    publish(ask, ask->messages, ask->n);

    return NULL;
}


static void
refuse(ngx_http_fanout_ask_t *ask, verdict_t *v)
{
    size_t   len;
    u_char  *p;

    ngx_http_fanout_count(ask->hub, hook_refusals);
    ask->rc = NGX_HTTP_FANOUT_E_REFUSED;

    /* freed with the ask, see release() */

    p = ngx_alloc(NGX_HTTP_FANOUT_ASK_TEXT + NGX_HTTP_FANOUT_ASK_DETAILS,
                  ngx_cycle->log);
    if (p == NULL) {
        return;
    }

    ask->text.data = p;

    if (ngx_http_fanout_json_string(&v->message, p, NGX_HTTP_FANOUT_ASK_TEXT,
                                    &len)
        == NGX_HTTP_FANOUT_JSON_OK)
    {
        ask->text.len = len;
    }

    if (ngx_http_fanout_json_type(&v->details) == NGX_HTTP_FANOUT_JSON_OBJECT
        && v->details.len <= NGX_HTTP_FANOUT_ASK_DETAILS)
    {
        ask->details.data = p + NGX_HTTP_FANOUT_ASK_TEXT;
        ask->details.len = ngx_http_fanout_json_minify(ask->details.data,
                                                       v->details.data,
                                                       v->details.len);
    }
}


/* Other messages in the place of those that were sent, by the same sender, and
 * for the same recipient. */

static const char *
change(ngx_http_fanout_ask_t *ask, ngx_http_fanout_json_t *array)
{
    u_char                          *p, *buf;
    size_t                           i, n;
    const char                      *wrong;
    ngx_http_fanout_json_t           items[NGX_HTTP_FANOUT_ZONE_BATCH];
    ngx_http_fanout_zone_message_t   m[NGX_HTTP_FANOUT_ZONE_BATCH];

    if (ngx_http_fanout_json_array(array, items, NGX_HTTP_FANOUT_ZONE_BATCH,
                                   &n)
        != NGX_HTTP_FANOUT_JSON_OK
        || n == 0
        || (n > 1 && (ask->messages[0].to_client || ask->messages[0].to_user)))
    {
        return "\"messages\" is not an array of 1 to 64 messages, or of one "
               "if it is for one recipient";
    }

    buf = ngx_alloc(array->len + n * NGX_HTTP_FANOUT_KEY, ngx_cycle->log);
    if (buf == NULL) {
        return "out of memory";
    }

    p = buf;
    wrong = NULL;

    for (i = 0; i < n && wrong == NULL; i++) {
        m[i] = ask->messages[0];

        if (i) {
            m[i].key.len = 0;
        }

        wrong = change_message(ask, &items[i], &p, &m[i]);
    }

    if (wrong == NULL) {
        ngx_http_fanout_count(ask->hub, hook_changes);
        publish(ask, m, n);
    }

    ngx_free(buf);

    return wrong;
}


static const char *
change_message(ngx_http_fanout_ask_t *ask, ngx_http_fanout_json_t *item,
    u_char **p, ngx_http_fanout_zone_message_t *m)
{
    ngx_str_t               label, src;
    change_t                c;
    ngx_http_fanout_json_t  text;

    if (ngx_http_fanout_json_members(item, change_fields,
                                     sizeof(change_fields)
                                     / sizeof(change_fields[0]), &c, NULL)
        != NGX_HTTP_FANOUT_JSON_OK
        || c.data.len == 0)
    {
        return "a message is an object with \"data\"";
    }

    m->event.len = 0;
    m->meta.len = 0;

    if (c.event.len) {
        if (ngx_http_fanout_json_text(&c.event, *p, NGX_HTTP_FANOUT_KEY,
                                      &text)
            != NGX_HTTP_FANOUT_JSON_OK)
        {
            return "\"event\" is not a string of 1 to 128 bytes";
        }

        label.data = (u_char *) text.data;
        label.len = text.len;

        if (ngx_http_fanout_hub_label(&label, NGX_HTTP_FANOUT_KEY) != NGX_OK) {
            return "\"event\" is not a string of 1 to 128 bytes";
        }

        m->event.data = text.data;
        m->event.len = text.len;
        *p += NGX_HTTP_FANOUT_KEY;
    }

    m->data.data = *p;

    if (c.enc.len) {
        src.data = *p;

        if (c.enc.len != sizeof("\"base64\"") - 1
            || ngx_memcmp(c.enc.data, "\"base64\"", c.enc.len) != 0)
        {
            return "\"enc\" can be \"base64\" only";
        }

        if (ngx_http_fanout_json_string(&c.data, *p, c.data.len, &src.len)
            != NGX_HTTP_FANOUT_JSON_OK
            || ngx_http_fanout_base64_decode(&src, &src) != NGX_OK)
        {
            return "\"data\" is not a string of base64, which \"enc\" says";
        }

        m->kind = NGX_HTTP_FANOUT_BINARY;
        m->data.len = src.len;

    } else {
        m->kind = NGX_HTTP_FANOUT_JSON;
        m->data.len = ngx_http_fanout_json_minify(*p, c.data.data,
                                                  c.data.len);
    }

    *p += m->data.len;

    return m->data.len > ask->max ? "a message is larger than "
                                    "fanout_message_size" : NULL;
}


static void
fail(ngx_http_fanout_ask_t *ask)
{
    asker_t  *a = ask->hub->asker;

    if (a->hook->pass) {
        publish(ask, ask->messages, ask->n);
        return;
    }

    ask->rc = NGX_HTTP_FANOUT_E_HOOK_FAILED;
}


static void
publish(ngx_http_fanout_ask_t *ask, ngx_http_fanout_zone_message_t *m,
    ngx_uint_t n)
{
    ngx_http_fanout_meter_mark_t  mark;

    if (ask->session) {
        ngx_http_fanout_meter_mark(ask->session, &mark);
    }

    ask->rc = ngx_http_fanout_hub_publish(ask->hub, &ask->channel, m, n,
                                          &ask->opts, &ask->result);

    if (ask->session) {
        ngx_http_fanout_meter_account(ask->session, &mark);
    }

    if (ask->rc == NGX_HTTP_FANOUT_E_NONE) {
        if (ask->session) {
            ngx_http_fanout_meter_audience(ask->session, n,
                                           ask->result.subscribers);
        }

        if (ask->result.duplicate) {
            ngx_http_fanout_count(ask->hub, duplicates);
        } else {
            ngx_http_fanout_add(ask->hub, published, n);
        }
    }
}


static void
finish(ngx_http_fanout_ask_t *ask)
{
    ngx_http_fanout_session_t  *s;

    s = ask->session;
    ask->answered = 1;

    if (s == NULL) {
        ngx_http_fanout_ask_release(ask);
        return;
    }

    s->job->waits = 0;

    if (s->transport->resume) {
        s->transport->resume(s);

    } else {
        ngx_http_fanout_outbox_queue(s);
        ngx_post_event(&ask->hub->drain, &ngx_posted_events);
    }
}


void
ngx_http_fanout_ask_release(ngx_http_fanout_ask_t *ask)
{
    ask->session = NULL;

    if (!ask->answered) {
        return;
    }

    if (ask->text.data) {
        ngx_free(ask->text.data);
    }

    ngx_free(ask);
}
