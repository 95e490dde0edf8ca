
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "session/position.h"
#include "session/transport.h"


#define FANOUT_POSITION_PART  (1 + 16 + 1 + NGX_INT64_LEN)


typedef struct {
    uint64_t  hash;
    uint64_t  seq;
} part_t;


struct fanout_position_s {
    uint64_t    incarnation;
    uint64_t    seq;
    ngx_uint_t  n;
    part_t      parts[];
};


static u_char *write_others(fanout_session_t *s, fanout_subscription_t *but,
    uint64_t base, u_char *p, u_char *last);
static u_char *write_members(fanout_session_t *s, u_char *p, u_char *last);
static uint64_t members_hash(fanout_hub_t *hub, ngx_str_t *name);
static uint64_t lowest(fanout_session_t *s, fanout_subscription_t *but);
static uint64_t name_hash(fanout_hub_t *hub, ngx_str_t *name);
static u_char *number(u_char *p, u_char *last, ngx_uint_t hex, uint64_t *n);
static u_char *head(u_char *p, u_char *last, uint64_t *incarnation,
    uint64_t *seq);
static u_char *part(u_char *p, u_char *last, part_t *at);
static fanout_outbuf_t *prefix(fanout_subscription_t *sub, uint64_t seq);


u_char *
fanout_position_write(fanout_session_t *s, u_char *p)
{
    u_char    *last;
    uint64_t   base;

    last = p + FANOUT_POSITION_LEN;
    base = lowest(s, NULL);

    p = ngx_slprintf(p, last, "%xL.%uL", s->hub->zone.heap.incarnation, base);
    p = write_others(s, NULL, base, p, last);

    return s->transport->once ? write_members(s, p, last) : p;
}


/* Changes of members and locks are in no history: the offset of the channel
 * says which of them a poll lacks. */

static u_char *
write_members(fanout_session_t *s, u_char *p, u_char *last)
{
    uint64_t                offset;
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (!(sub->want & (FANOUT_WANT_PRESENCE|FANOUT_WANT_LOCKS))
            || last - p < (ssize_t) FANOUT_POSITION_PART)
        {
            continue;
        }

        offset = sub->state == FANOUT_SUB_LIVE
                 ? ngx_max(sub->channel->offset, sub->floor) : sub->offset;
        offset = ngx_max(offset, sub->known);

        p = ngx_sprintf(p, ".%xL-%uL",
                        members_hash(s->hub, &sub->channel->name), offset);
    }

    return p;
}


ngx_uint_t
fanout_position_members(fanout_hub_t *hub, fanout_position_t *position,
    ngx_str_t *channel, uint64_t *offset)
{
    uint64_t    own;
    ngx_uint_t  i;

    own = members_hash(hub, channel);

    for (i = 0; i < position->n; i++) {
        if (position->parts[i].hash == own) {
            *offset = position->parts[i].seq;
            return 1;
        }
    }

    return 0;
}


static uint64_t
members_hash(fanout_hub_t *hub, ngx_str_t *name)
{
    return name_hash(hub, name) ^ 0x6d656d6265727321;
}


static uint64_t
lowest(fanout_session_t *s, fanout_subscription_t *but)
{
    uint64_t                seq, base;
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    base = UINT64_MAX;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);

        if (sub != but) {
            seq = fanout_position_sent(sub);
            base = ngx_min(base, seq);
        }
    }

    return base == UINT64_MAX ? 0 : base;
}


/* channels of which more was sent than the base says; none if not all fit */

static u_char *
write_others(fanout_session_t *s, fanout_subscription_t *but, uint64_t base,
    u_char *p, u_char *last)
{
    u_char                 *start;
    uint64_t                seq;
    ngx_queue_t            *q;
    fanout_subscription_t  *sub;

    start = p;

    for (q = ngx_queue_head(&s->subs);
         q != ngx_queue_sentinel(&s->subs);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, fanout_subscription_t, in_session);
        seq = fanout_position_sent(sub);

        if (sub == but || seq <= base) {
            continue;
        }

        if (last - p < (ssize_t) FANOUT_POSITION_PART) {
            return start;
        }

        p = ngx_sprintf(p, ".%xL-%uL", name_hash(s->hub, &sub->channel->name),
                        seq);
    }

    return p;
}


/* keyed, so that nobody can construct names that collide */

static uint64_t
name_hash(fanout_hub_t *hub, ngx_str_t *name)
{
    return fanout_zone_hash(&hub->zone, name->data, name->len);
}


fanout_position_t *
fanout_position_read(ngx_str_t *text, ngx_pool_t *pool)
{
    u_char             *p, *last;
    ngx_uint_t          n;
    fanout_position_t  *position;

    last = text->data + text->len;

    if (text->len > FANOUT_POSITION_LEN) {
        return NULL;
    }

    for (n = 0, p = text->data; p < last; p++) {
        n += (*p == '.');
    }

    position = ngx_palloc(pool, sizeof(fanout_position_t)
                                + n * sizeof(part_t));
    if (position == NULL) {
        return NULL;
    }

    p = head(text->data, last, &position->incarnation, &position->seq);

    for (n = 0; p && p < last; n++) {
        p = part(p, last, &position->parts[n]);
    }

    position->n = n;

    return p ? position : NULL;
}


void
fanout_position_of(fanout_hub_t *hub, fanout_position_t *position,
    ngx_str_t *channel, uint64_t *incarnation, uint64_t *seq)
{
    uint64_t    own;
    ngx_uint_t  i;

    *incarnation = position->incarnation;
    *seq = position->seq;

    if (position->n == 0) {
        return;
    }

    own = name_hash(hub, channel);

    for (i = 0; i < position->n; i++) {
        if (position->parts[i].hash == own) {
            *seq = position->parts[i].seq;
        }
    }
}


static u_char *
head(u_char *p, u_char *last, uint64_t *incarnation, uint64_t *seq)
{
    p = number(p, last, 1, incarnation);

    if (p == NULL || p == last || *p != '.') {
        return NULL;
    }

    return number(p + 1, last, 0, seq);
}


static u_char *
part(u_char *p, u_char *last, part_t *at)
{
    if (*p != '.') {
        return NULL;
    }

    p = number(p + 1, last, 1, &at->hash);

    if (p == NULL || p == last || *p != '-') {
        return NULL;
    }

    return number(p + 1, last, 0, &at->seq);
}


/* NULL if there is none, or one of more than 64 bits */

static u_char *
number(u_char *p, u_char *last, ngx_uint_t hex, uint64_t *n)
{
    u_char    *start;
    uint64_t   digit;

    *n = 0;

    for (start = p; p < last; p++) {

        if (*p >= '0' && *p <= '9') {
            digit = *p - '0';

        } else if (hex && *p >= 'a' && *p <= 'f') {
            digit = *p - 'a' + 10;

        } else {
            break;
        }

        if (p - start == (hex ? 16 : 19)) {
            return NULL;
        }

        *n = *n * (hex ? 16 : 10) + digit;
    }

    return p == start ? NULL : p;
}


/* ids of events */

ngx_int_t
fanout_position_id(fanout_hub_t *hub, uint64_t seq, fanout_outbuf_t *f)
{
    return fanout_outbuf_printf(hub, f, 64, "id: %xL.%uL\n",
                                hub->zone.heap.incarnation, seq);
}


/* Of the shared id only the end is used, the seq of the event; the session's
 * position in all of its channels precedes it. */

void
fanout_position_place(fanout_subscription_t *sub, fanout_outbuf_t *f,
    uint32_t start, uint32_t end)
{
    u_char            *p, *dot, *next, *last;
    uint64_t           seq;
    fanout_outbuf_t   *own;
    fanout_session_t  *s;

    s = sub->session;
    p = f->data + start;
    last = f->data + end;
    own = NULL;

    for ( /* void */ ; p < last; p = next) {

        next = (u_char *) memmem(p, last - p, "\n\n", 2);
        next = next ? next + 2 : last;

        dot = ngx_strncmp(p, "id: ", 4) == 0 ? ngx_strlchr(p, next, '.')
                                             : NULL;

        if (dot == NULL || number(dot + 1, next, 0, &seq) == NULL) {
            fanout_session_push(s, f, p - f->data, next - f->data);
            continue;
        }

        if (own == NULL) {
            own = prefix(sub, seq);

            if (own == NULL) {
                fanout_session_end(s, FANOUT_END_CUT);
                return;
            }
        }

        fanout_session_push(s, own, 0, own->used);
        fanout_session_push(s, f, dot + 1 - f->data, next - f->data);
    }

    if (own) {
        fanout_outbuf_release(s->hub, own);
    }
}


/* The first seq is not above those of the events that follow. */

static fanout_outbuf_t *
prefix(fanout_subscription_t *sub, uint64_t seq)
{
    u_char            *p;
    u_char             buf[4 + FANOUT_POSITION_LEN];
    uint64_t           base;
    fanout_outbuf_t   *f;
    fanout_session_t  *s;

    s = sub->session;
    base = ngx_min(lowest(s, sub), seq);

    p = ngx_sprintf(buf, "id: %xL.%uL", s->hub->zone.heap.incarnation, base);
    p = write_others(s, sub, base, p, buf + sizeof(buf)
                                      - FANOUT_POSITION_PART);
    p = ngx_sprintf(p, ".%xL-", name_hash(s->hub, &sub->channel->name));

    f = fanout_outbuf_create(s->hub, p - buf);

    if (f) {
        ngx_memcpy(f->data, buf, p - buf);
        f->used = p - buf;
    }

    return f;
}
