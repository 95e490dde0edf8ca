
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Channels by traffic.  The zone knows of a channel how many messages it ever
 * had; how many a second is seen by looking twice.  So, while somebody
 * watches, the worker walks through the channels, a part of them each second,
 * and remembers what it saw of up to 8,192: those that are quiet make room
 * for others.
 */


#include "status/status.h"


#define FANOUT_SIGHTS   8192
#define FANOUT_LOOK     16                  /* channels, under one lock */
#define FANOUT_LOOKS    64                  /* a second */
#define FANOUT_SPAN     4000                /* ms that a rate is over, about */


/* what was seen of a channel: two sightings to measure from */

typedef struct {
    uint64_t                      epoch;    /* unique: the channel's name */
    uint64_t                      offset[2];
    ngx_msec_t                    at[2];
    ngx_uint_t                    cycle;    /* seen last in */
    uint64_t                      rate;     /* 1/1000 a second */
} sight_t;


typedef struct {
    uint64_t             rate;
    fanout_zone_info_t   info;
} busy_t;


typedef struct {
    ngx_uint_t                    n;
    busy_t                        top[FANOUT_BUSIEST];
} list_t;


struct fanout_busiest_s {
    uint64_t             cursor;
    ngx_uint_t           cycle;
    ngx_msec_t           began;             /* of this cycle */
    ngx_msec_t           took;              /* the last one, ms */
    ngx_uint_t           seen;              /* channels, so far */
    ngx_uint_t           of;                /* channels, in the last one */
    list_t               next;              /* being found */
    list_t               list;              /* shown */
    fanout_zone_info_t   infos[FANOUT_LOOK];
    sight_t              sights[FANOUT_SIGHTS];
};


static uint64_t busiest_measure(fanout_busiest_t *b, fanout_zone_info_t *info);
static void busiest_place(list_t *list, fanout_zone_info_t *info,
    uint64_t rate);
static ngx_uint_t before(uint64_t rate, fanout_zone_info_t *info,
    busy_t *other);
static void busiest_finish(fanout_busiest_t *b);


fanout_busiest_t *
fanout_busiest_create(void)
{
    fanout_busiest_t  *b;

    b = ngx_calloc(sizeof(fanout_busiest_t), ngx_cycle->log);

    if (b) {
        b->cycle = 1;
        b->began = ngx_current_msec;
    }

    return b;
}


void
fanout_busiest_free(fanout_busiest_t *b)
{
    ngx_free(b);
}


void
fanout_busiest_walk(fanout_busiest_t *b, fanout_hub_t *hub)
{
    ngx_uint_t  i, looks, n;

    for (looks = 0; looks < FANOUT_LOOKS; looks++) {

        n = fanout_channel_list(&hub->zone, &b->cursor, b->infos,
                                FANOUT_LOOK);

        for (i = 0; i < n; i++) {
            busiest_place(&b->next, &b->infos[i],
                          busiest_measure(b, &b->infos[i]));
        }

        b->seen += n;

        if (b->cursor == 0) {
            busiest_finish(b);
            return;
        }
    }
}


static void
busiest_finish(fanout_busiest_t *b)
{
    b->list = b->next;
    b->next.n = 0;
    b->of = b->seen;
    b->seen = 0;
    b->cycle++;
    b->took = ngx_current_msec - b->began;
    b->began = ngx_current_msec;
}


/* Messages a second, in thousandths, since some seconds ago. */

static uint64_t
busiest_measure(fanout_busiest_t *b, fanout_zone_info_t *info)
{
    sight_t     *s;
    ngx_msec_t   now;

    now = ngx_current_msec;
    s = &b->sights[info->epoch % FANOUT_SIGHTS];

    if (s->epoch != info->epoch) {

        if (s->epoch && s->rate && b->cycle - s->cycle <= 1) {
            return 0;
        }

        s->epoch = info->epoch;
        s->offset[0] = s->offset[1] = info->offset;
        s->at[0] = s->at[1] = now;
        s->rate = 0;

    } else if (now != s->at[0]) {
        s->rate = (info->offset - s->offset[0]) * 1000000
                  / (now - s->at[0]);

        if (now - s->at[1] >= FANOUT_SPAN) {
            s->offset[0] = s->offset[1];
            s->at[0] = s->at[1];
            s->offset[1] = info->offset;
            s->at[1] = now;
        }
    }

    s->cycle = b->cycle;

    return s->rate;
}


/* by insertion: most channels end at the first comparison */

static void
busiest_place(list_t *list, fanout_zone_info_t *info, uint64_t rate)
{
    ngx_uint_t  i;

    i = list->n;

    if (i == FANOUT_BUSIEST) {
        if (!before(rate, info, &list->top[--i])) {
            return;
        }

    } else {
        list->n++;
    }

    for ( /* void */ ; i > 0 && before(rate, info, &list->top[i - 1]); i--) {
        list->top[i] = list->top[i - 1];
    }

    list->top[i].rate = rate;
    list->top[i].info = *info;
}


static ngx_uint_t
before(uint64_t rate, fanout_zone_info_t *info, busy_t *other)
{
    if (rate != other->rate) {
        return rate > other->rate;
    }

    if (info->subscribers != other->info.subscribers) {
        return info->subscribers > other->info.subscribers;
    }

    return info->offset > other->info.offset;
}


void
fanout_busiest_json(fanout_busiest_t *b, fanout_writer_t *w)
{
    busy_t      *busy;
    ngx_uint_t   i;

    fanout_put(w, "{\"walk\":%M,\"of\":%ui,\"channels\":[", b->took,
               b->of);

    for (i = 0; i < b->list.n; i++) {
        busy = &b->list.top[i];

        fanout_put(w, "%s{\"name\":", i ? "," : "");
        fanout_put_string(w, busy->info.name, busy->info.len);
        fanout_put(w, ",\"rate\":%uL.%03uL,\"messages\":%uL,"
                   "\"subscribers\":%uD,\"kept\":%uD,"
                   "\"kept_bytes\":%uL}",
                   busy->rate / 1000, busy->rate % 1000,
                   busy->info.offset, busy->info.subscribers,
                   busy->info.messages, busy->info.bytes);
    }

    fanout_put_text(w, "]}");
}
