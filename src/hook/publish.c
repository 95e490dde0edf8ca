
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Approval of publishes by the backend.  All approvals of a channel go through
 * one lane, so that publishes of this worker to it stay in order.
 */


#include "hook/lane.h"
#include "base/base64.h"
#include "session/permitted.h"
#include "session/transport.h"


#define FANOUT_APPROVAL_QUEUE   1000            /* default of queue= */
#define FANOUT_APPROVAL_SHARE   8               /* of a sender, at least */
#define FANOUT_APPROVAL_RETRY   1000            /* ms, beyond its share */
#define FANOUT_APPROVAL_LOG     1000            /* ms, a line at most */
#define FANOUT_APPROVAL_TEXT    255             /* bytes of a message */
#define FANOUT_APPROVAL_DETAILS 1024


typedef struct {
    fanout_json_t   allow;
    fanout_json_t   message;
    fanout_json_t   details;
    fanout_json_t   messages;
} verdict_t;

/* the last four are members of the message that was asked for: a backend may
 * send them back, and they do not change */

typedef struct {
    fanout_json_t   event;
    fanout_json_t   data;
    fanout_json_t   enc;
    fanout_json_t   key;
    fanout_json_t   from;
    fanout_json_t   to;
    fanout_json_t   meta;
} change_t;


static fanout_approval_t *approval_create(fanout_session_t *s,
    ngx_str_t *channel, fanout_zone_message_t *m, ngx_uint_t n,
    fanout_zstr_t *to, fanout_zone_publish_t *opts);
static ngx_uint_t crowded(fanout_session_t *s, fanout_limited_t *limited);
static ngx_int_t senders_add(fanout_session_t *s, fanout_approval_t *approval);
static void senders_drop(fanout_approval_t *approval);
static ngx_rbtree_key_t sender_key(fanout_session_t *s, ngx_uint_t scope);
static fanout_lane_sender_t *sender_find(fanout_approver_t *a,
    ngx_rbtree_key_t key);
static void turn_away(fanout_approver_t *a);
static void log_handler(ngx_event_t *ev);
static void publish_refuse(fanout_approval_t *approval, verdict_t *v);
static const char *change(fanout_approval_t *approval, fanout_json_t *array);
static const char *change_message(fanout_approval_t *approval,
    fanout_json_t *item, u_char **p, fanout_zone_message_t *m);
static void hook_publish(fanout_approval_t *approval, fanout_zone_message_t *m,
    ngx_uint_t n);
static void copy_zstr(u_char **p, fanout_zstr_t *s);


static const fanout_json_field_t  verdict_fields[] = {
    fanout_json_field("allow", verdict_t, allow),
    fanout_json_field("message", verdict_t, message),
    fanout_json_field("details", verdict_t, details),
    fanout_json_field("messages", verdict_t, messages)
};

static const fanout_json_field_t  change_fields[] = {
    fanout_json_field("event", change_t, event),
    fanout_json_field("data", change_t, data),
    fanout_json_field("enc", change_t, enc),
    fanout_json_field("key", change_t, key),
    fanout_json_field("from", change_t, from),
    fanout_json_field("to", change_t, to),
    fanout_json_field("meta", change_t, meta)
};


ngx_int_t
fanout_hook_init(fanout_app_t *app, ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    fanout_approver_t  *a;

    if (app->approve) {
        a = ngx_calloc(sizeof(fanout_approver_t), cycle->log);
        if (a == NULL) {
            return NGX_ERROR;
        }

        a->hub = app->hub;
        a->hook = app->approve;
        a->last = (uint64_t) ngx_random() << 32;

        ngx_rbtree_init(&a->senders, &a->sentinel, ngx_rbtree_insert_value);

        a->log.handler = log_handler;
        a->log.data = a;
        a->log.log = cycle->log;
        a->log.cancelable = 1;

        for (i = 0; i < FANOUT_LANES; i++) {
            fanout_lane_init(&a->lanes[i], a, cycle->log);
        }

        app->hub->approver = a;
    }

    return fanout_hook_events_init(app->hub, cycle);
}


void
fanout_hook_exit(fanout_app_t *app)
{
    if (app->hub) {
        fanout_hook_events_exit(app->hub);
    }
}


ngx_uint_t
fanout_approval_needed(fanout_hub_t *hub, ngx_str_t *channel)
{
    return hub->approver
           && !fanout_policy(hub->app, channel)->no_hooks;
}


ngx_uint_t
fanout_approvals_waiting(fanout_hub_t *hub)
{
    fanout_approver_t  *a = hub->approver;

    return a ? a->n : 0;
}


ngx_uint_t
fanout_approvals_max(fanout_hub_t *hub)
{
    fanout_approver_t  *a = hub->approver;

    if (a == NULL) {
        return 0;
    }

    return a->hook->queue ? a->hook->queue : FANOUT_APPROVAL_QUEUE;
}


/* asking */

fanout_approval_t *
fanout_approval_begin(fanout_session_t *s, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n, fanout_zstr_t *to,
    fanout_zone_publish_t *opts, fanout_limited_t *limited, fanout_error_e *rc)
{
    fanout_lane_t      *lane;
    fanout_approval_t  *approval;
    fanout_approver_t  *a;

    a = s->hub->approver;

    if (crowded(s, limited)) {
        fanout_meter_refused(s->hub, limited);
        *rc = FANOUT_E_RATE_LIMITED;
        return NULL;
    }

    if (a->n >= fanout_approvals_max(s->hub)) {
        turn_away(a);
        *rc = FANOUT_E_HOOK_FAILED;
        return NULL;
    }

    approval = approval_create(s, channel, m, n, to, opts);
    if (approval == NULL) {
        *rc = FANOUT_E_INTERNAL;
        return NULL;
    }

    if (senders_add(s, approval) != NGX_OK) {
        ngx_free(approval);
        *rc = FANOUT_E_INTERNAL;
        return NULL;
    }

    approval->id = ++a->last;
    a->n++;
    a->hub->calls++;

    lane = &a->lanes[ngx_crc32_short(channel->data, channel->len)
                     % FANOUT_LANES];

    fanout_lane_put(lane, approval);

    fanout_count(s->hub, hook_asks);

    return approval;
}


/*
 * Whether so many approvals of its user or its address wait that the next one
 * would take a place which is for others: a third of the places that are free.
 * A sender alone gets a quarter of the queue, k senders 1/(3 + k) of it each,
 * and 3/(3 + k) stay free for whoever comes then.  For a user, the address may
 * have as many as are free: sessions without a user, which anybody can begin,
 * do not shut out the users behind the same address.
 */

static ngx_uint_t
crowded(fanout_session_t *s, fanout_limited_t *limited)
{
    ngx_uint_t             i, share;
    ngx_rbtree_key_t       key;
    fanout_approver_t     *a;
    fanout_lane_sender_t  *sender;

    a = s->hub->approver;
    share = (fanout_approvals_max(s->hub) - a->n) / 3;
    share = ngx_max(share, FANOUT_APPROVAL_SHARE);

    for (i = FANOUT_SCOPE_USER; i < FANOUT_SCOPES; i++) {

        key = sender_key(s, i);
        sender = key ? sender_find(a, key) : NULL;

        if (sender && sender->n >= share) {
            limited->wait = FANOUT_APPROVAL_RETRY;
            limited->resource = FANOUT_LIMITED_PUBLISHES;
            limited->scope = i;

            return 1;
        }

        if (key) {
            /* for a user; the address is next */
            share *= 3;
        }
    }

    return 0;
}


static ngx_int_t
senders_add(fanout_session_t *s, fanout_approval_t *approval)
{
    ngx_uint_t             i;
    ngx_rbtree_key_t       key;
    fanout_approver_t     *a;
    fanout_lane_sender_t  *sender;

    a = s->hub->approver;

    for (i = FANOUT_SCOPE_USER; i < FANOUT_SCOPES; i++) {

        key = sender_key(s, i);

        if (key == 0) {
            continue;
        }

        sender = sender_find(a, key);

        if (sender == NULL) {
            sender = ngx_calloc(sizeof(fanout_lane_sender_t), ngx_cycle->log);
            if (sender == NULL) {
                senders_drop(approval);
                return NGX_ERROR;
            }

            sender->node.key = key;
            ngx_rbtree_insert(&a->senders, &sender->node);
        }

        sender->n++;
        approval->senders[i] = sender;
    }

    return NGX_OK;
}


static void
senders_drop(fanout_approval_t *approval)
{
    ngx_uint_t             i;
    fanout_approver_t     *a;
    fanout_lane_sender_t  *sender;

    a = approval->hub->approver;

    for (i = 0; i < FANOUT_SCOPES; i++) {

        sender = approval->senders[i];

        if (sender && --sender->n == 0) {
            ngx_rbtree_delete(&a->senders, &sender->node);
            ngx_free(sender);
        }

        approval->senders[i] = NULL;
    }
}


/* 0: not counted.  The name of a user may have the bytes of an address. */

static ngx_rbtree_key_t
sender_key(fanout_session_t *s, ngx_uint_t scope)
{
    uint64_t  who;

    who = fanout_meter_who(s->conf, &s->meter, scope);

    return who ? who + scope * 0x9e3779b97f4a7c15ULL : 0;
}


static fanout_lane_sender_t *
sender_find(fanout_approver_t *a, ngx_rbtree_key_t key)
{
    ngx_rbtree_node_t  *node;

    node = a->senders.root;

    while (node != &a->sentinel) {

        if (key == node->key) {
            return (fanout_lane_sender_t *) node;
        }

        node = key < node->key ? node->left : node->right;
    }

    return NULL;
}


static void
turn_away(fanout_approver_t *a)
{
    fanout_count(a->hub, hook_failures);

    a->turned++;

    if (!a->log.timer_set) {
        log_handler(&a->log);
    }
}


/* A backend that is too slow must not fill the log. */

static void
log_handler(ngx_event_t *ev)
{
    fanout_approver_t  *a = ev->data;

    if (a->turned == 0) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "%V was not asked for %ui publishes in zone \"%V\": "
                  "%ui wait for it already, \"queue=\"", &a->hook->callee.what,
                  a->turned, &a->hub->app->name,
                  fanout_approvals_max(a->hub));

    a->turned = 0;
    ngx_add_timer(ev, FANOUT_APPROVAL_LOG);
}


/* allocates an approval with all its data as one block */

static fanout_approval_t *
approval_create(fanout_session_t *s, ngx_str_t *channel,
    fanout_zone_message_t *m, ngx_uint_t n, fanout_zstr_t *to,
    fanout_zone_publish_t *opts)
{
    size_t              size;
    u_char             *p;
    ngx_uint_t          i;
    fanout_approval_t  *approval;

    size = sizeof(fanout_approval_t)
           + n * sizeof(fanout_zone_message_t)
           + channel->len + (to ? to->len : 0)
           + (opts ? opts->key.len + opts->scope.len : 0);

    for (i = 0; i < n; i++) {
        size += m[i].event.len + m[i].key.len + m[i].user.len
                + m[i].meta.len + m[i].data.len;
    }

    approval = ngx_alloc(size, ngx_cycle->log);
    if (approval == NULL) {
        return NULL;
    }

    ngx_memzero(approval, sizeof(fanout_approval_t));

    approval->hub = s->hub;
    approval->session = s;
    approval->who = s->who;
    approval->who.client = s->identity.client;
    approval->ticketed = fanout_session_ticket(s, FANOUT_MAY_PUBLISH, channel,
                                               &approval->token);
    approval->n = n;
    approval->max = s->conf->message_size;
    approval->messages = (fanout_zone_message_t *) (approval + 1);

    ngx_memcpy(approval->messages, m, n * sizeof(fanout_zone_message_t));

    p = (u_char *) (approval->messages + n);

    approval->channel.data = p;
    approval->channel.len = channel->len;
    p = ngx_cpymem(p, channel->data, channel->len);

    if (to) {
        approval->to = *to;
        copy_zstr(&p, &approval->to);
    }

    if (opts) {
        approval->opts = *opts;
        copy_zstr(&p, &approval->opts.key);
        copy_zstr(&p, &approval->opts.scope);
    }

    for (i = 0; i < n; i++) {
        copy_zstr(&p, &approval->messages[i].event);
        copy_zstr(&p, &approval->messages[i].key);
        copy_zstr(&p, &approval->messages[i].user);
        copy_zstr(&p, &approval->messages[i].meta);
        copy_zstr(&p, &approval->messages[i].data);
    }

    return approval;
}


static void
copy_zstr(u_char **p, fanout_zstr_t *s)
{
    if (s->len) {
        ngx_memcpy(*p, s->data, s->len);
    }

    s->data = *p;
    *p += s->len;
}


const char *
fanout_approval_follow(fanout_approval_t *approval, fanout_json_t *verdict)
{
    int                  rc, allow;
    verdict_t            v;
    fanout_json_error_t  err;

    if (verdict->len == 0) {
        hook_publish(approval, approval->messages, approval->n);
        return NULL;
    }

    rc = fanout_json_members(verdict, verdict_fields,
                             sizeof(verdict_fields)
                             / sizeof(verdict_fields[0]), &v, &err);

    if (rc != FANOUT_JSON_OK) {
        return fanout_approval_wrong(rc, &err, "a member of \"publishes\" is "
                                               "not an object");
    }

    allow = 1;

    if (v.allow.len
        && fanout_json_bool(&v.allow, &allow)
           != FANOUT_JSON_OK)
    {
        return "\"allow\" is not true or false";
    }

    if (!allow) {
        publish_refuse(approval, &v);
        return NULL;
    }

    if (v.message.len || v.details.len) {
        return "\"message\" and \"details\" need \"allow\":false";
    }

    if (v.messages.len) {
        return change(approval, &v.messages);
    }

    hook_publish(approval, approval->messages, approval->n);

    return NULL;
}


const char *
fanout_approval_wrong(int rc, fanout_json_error_t *err, const char *other)
{
    static char  text[sizeof(err->reason)];

    if (rc != FANOUT_JSON_UNKNOWN
        && rc != FANOUT_JSON_DUPLICATE)
    {
        return other;
    }

    ngx_memcpy(text, err->reason, sizeof(text));

    return text;
}


static void
publish_refuse(fanout_approval_t *approval, verdict_t *v)
{
    size_t   len;
    u_char  *p;

    fanout_count(approval->hub, hook_refusals);
    approval->rc = FANOUT_E_REFUSED;

    /* freed with the approval, see release() */

    p = ngx_alloc(FANOUT_APPROVAL_TEXT + FANOUT_APPROVAL_DETAILS,
                  ngx_cycle->log);
    if (p == NULL) {
        return;
    }

    approval->text.data = p;

    if (fanout_json_string(&v->message, p, FANOUT_APPROVAL_TEXT,
                           &len)
        == FANOUT_JSON_OK)
    {
        approval->text.len = len;
    }

    if (fanout_json_type(&v->details) == FANOUT_JSON_OBJECT
        && v->details.len <= FANOUT_APPROVAL_DETAILS)
    {
        approval->details.data = p + FANOUT_APPROVAL_TEXT;
        approval->details.len = fanout_json_minify(approval->details.data,
                                                   v->details.data,
                                                   v->details.len);
    }
}


/* Replaces the messages by others, of the same sender, and for the same
 * recipient. */

static const char *
change(fanout_approval_t *approval, fanout_json_t *array)
{
    u_char                *p, *buf;
    size_t                 i, n;
    const char            *wrong;
    fanout_json_t          items[FANOUT_ZONE_BATCH];
    fanout_zone_message_t  m[FANOUT_ZONE_BATCH];

    if (fanout_json_array(array, items, FANOUT_ZONE_BATCH,
                          &n)
        != FANOUT_JSON_OK
        || n == 0
        || (n > 1 && (approval->messages[0].to_client
                      || approval->messages[0].to_user)))
    {
        return "\"messages\" is not an array of 1 to 64 messages, or of one "
               "if it is for one recipient";
    }

    buf = ngx_alloc(array->len + n * FANOUT_KEY, ngx_cycle->log);
    if (buf == NULL) {
        return "out of memory";
    }

    p = buf;
    wrong = NULL;

    for (i = 0; i < n && wrong == NULL; i++) {
        m[i] = approval->messages[0];

        if (i) {
            m[i].key.len = 0;
        }

        wrong = change_message(approval, &items[i], &p, &m[i]);
    }

    if (wrong == NULL) {
        fanout_count(approval->hub, hook_changes);
        hook_publish(approval, m, n);
    }

    ngx_free(buf);

    return wrong;
}


static const char *
change_message(fanout_approval_t *approval, fanout_json_t *item, u_char **p,
    fanout_zone_message_t *m)
{
    int                  rc;
    change_t             c;
    ngx_str_t            label, src;
    fanout_json_t        text;
    fanout_json_error_t  err;

    rc = fanout_json_members(item, change_fields,
                             sizeof(change_fields)
                             / sizeof(change_fields[0]), &c, &err);

    if (rc != FANOUT_JSON_OK || c.data.len == 0) {
        return fanout_approval_wrong(rc, &err, "a message is an object with "
                                               "\"data\"");
    }

    m->event.len = 0;
    m->meta.len = 0;

    if (c.event.len) {
        if (fanout_json_text(&c.event, *p, FANOUT_KEY,
                             &text)
            != FANOUT_JSON_OK)
        {
            return "\"event\" is not a string of 1 to 128 bytes";
        }

        label.data = (u_char *) text.data;
        label.len = text.len;

        if (fanout_label_check(&label, FANOUT_KEY) != NGX_OK) {
            return "\"event\" is not a string of 1 to 128 bytes";
        }

        m->event.data = text.data;
        m->event.len = text.len;
        *p += FANOUT_KEY;
    }

    m->data.data = *p;

    if (c.enc.len) {
        src.data = *p;

        if (c.enc.len != sizeof("\"base64\"") - 1
            || ngx_memcmp(c.enc.data, "\"base64\"", c.enc.len) != 0)
        {
            return "\"enc\" can be \"base64\" only";
        }

        if (fanout_json_string(&c.data, *p, c.data.len, &src.len)
            != FANOUT_JSON_OK
            || fanout_base64_decode(&src, &src) != NGX_OK)
        {
            return "\"data\" is not a string of base64, which \"enc\" says";
        }

        m->kind = FANOUT_BINARY;
        m->data.len = src.len;

    } else {
        m->kind = FANOUT_JSON;
        m->data.len = fanout_json_minify(*p, c.data.data, c.data.len);
    }

    *p += m->data.len;

    return m->data.len > approval->max ? "a message is larger than "
                                    "fanout_message_size" : NULL;
}


void
fanout_approval_fail(fanout_approval_t *approval, ngx_uint_t pass)
{
    if (pass) {
        hook_publish(approval, approval->messages, approval->n);
        return;
    }

    approval->rc = FANOUT_E_HOOK_FAILED;
}


/* A sender that was shut out while the backend decided, or whose token was
 * revoked, publishes nothing, even if its session has ended. */

static void
hook_publish(fanout_approval_t *approval, fanout_zone_message_t *m,
    ngx_uint_t n)
{
    fanout_denial_t      denial;
    fanout_meter_mark_t  mark;

    if (fanout_denial_check(&approval->hub->zone, &approval->who, &denial)
        || (approval->ticketed
            && fanout_denial_check(&approval->hub->zone, &approval->token,
                                   &denial)))
    {
        approval->rc = FANOUT_E_FORBIDDEN;
        return;
    }

    if (approval->session) {
        fanout_meter_mark(approval->session, &mark);
    }

    approval->rc = fanout_hub_publish(approval->hub, &approval->channel, m, n,
                                      &approval->opts, &approval->result);

    if (approval->session) {
        fanout_meter_account(approval->session, &mark);
    }

    if (approval->rc == FANOUT_E_NONE) {
        if (approval->session) {
            fanout_meter_audience(approval->session, n,
                                  approval->result.subscribers);
        }

        if (approval->result.duplicate) {
            fanout_count(approval->hub, duplicates);
        } else {
            fanout_add(approval->hub, published, n);
        }
    }
}


void
fanout_approval_finish(fanout_approval_t *approval)
{
    fanout_hub_t       *hub;
    fanout_session_t   *s;
    fanout_approver_t  *a;

    s = approval->session;
    hub = approval->hub;
    a = hub->approver;

    a->n--;
    hub->calls--;
    approval->answered = 1;

    senders_drop(approval);

    if (s == NULL) {
        fanout_approval_release(approval);
        return;
    }

    /* the job frees the approval when it ends */

    fanout_session_answered(s);
}


void
fanout_approval_release(fanout_approval_t *approval)
{
    approval->session = NULL;

    if (!approval->answered) {
        return;
    }

    if (approval->text.data) {
        ngx_free(approval->text.data);
    }

    ngx_free(approval);
}
