/* sources: src/session/position.c src/session/lag.c src/session/work.c */
/* sources: t/unit/nginx.c */
/* cflags: @nginx@ */

/*
 * If this fails, a client that comes back with the id of its last event, or
 * the position of its last poll, misses messages or gets some twice.
 */


#include "session/position.h"
#include "session/transport.h"
#include "tap.h"


#define CHANNELS  100


static fanout_hub_t            hub;
static fanout_session_t        session;
static fanout_transport_t      transport;
static fanout_channel_t        channels[CHANNELS];
static fanout_subscription_t   subs[CHANNELS];
static char                    names[CHANNELS][24];
static u_char                  pushed[65536];
static size_t                  npushed;
static unsigned                ends;


/* what position.c uses of other rooms */

uint64_t
fanout_zone_hash(fanout_zone_t *z, const void *data, size_t len)
{
    size_t    i;
    uint64_t  h;

    for (h = 14695981039346656037ULL, i = 0; i < len; i++) {
        h = (h ^ ((const u_char *) data)[i]) * 1099511628211ULL;
    }

    return h;
}


fanout_outbuf_t *
fanout_outbuf_create(fanout_hub_t *h, size_t size)
{
    fanout_outbuf_t  *f;

    f = calloc(1, sizeof(fanout_outbuf_t));
    f->data = malloc(size);
    f->refs = 1;

    return f;
}


void
fanout_outbuf_release(fanout_hub_t *h, fanout_outbuf_t *f)
{
    free(f->data);
    free(f);
}


ngx_int_t
fanout_outbuf_printf(fanout_hub_t *h, fanout_outbuf_t *f, size_t size,
    const char *fmt, ...)
{
    return NGX_OK;
}


void
fanout_session_push(fanout_session_t *s, fanout_outbuf_t *f, uint32_t start,
    uint32_t end)
{
    memcpy(pushed + npushed, f->data + start, end - start);
    npushed += end - start;
}


void
fanout_session_end(fanout_session_t *s, ngx_uint_t how)
{
    ends++;
}


/* a session that has n channels, of which all was sent up to seq */

static void
begin(unsigned n, uint64_t seq)
{
    unsigned  i;

    memset(&hub, 0, sizeof(hub));
    memset(&session, 0, sizeof(session));
    memset(subs, 0, sizeof(subs));
    memset(&transport, 0, sizeof(transport));

    hub.zone.heap.incarnation = 0x5f0c00000001;
    session.hub = &hub;
    session.transport = &transport;
    ngx_queue_init(&session.subs);

    for (i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "channel:%u", i);

        channels[i].name.data = (u_char *) names[i];
        channels[i].name.len = strlen(names[i]);
        channels[i].seq = seq;
        subs[i].channel = &channels[i];
        subs[i].session = &session;
        subs[i].state = FANOUT_SUB_LIVE;

        ngx_queue_insert_tail(&session.subs, &subs[i].in_session);
    }
}


/* the subscription has left the live ones, with all sent up to seq */

static void
behind(unsigned i, uint64_t seq)
{
    subs[i].state = FANOUT_SUB_BEHIND;
    subs[i].sent = seq;
}


static const char *
written(void)
{
    static u_char   text[FANOUT_POSITION_LEN + 1];
    u_char         *p;

    p = fanout_position_write(&session, text);
    *p = '\0';

    return (char *) text;
}


/* what a text says of a channel; UINT64_MAX if it is no position */

static uint64_t
says(const char *text, unsigned i)
{
    uint64_t            incarnation, seq;
    ngx_str_t           s;
    fanout_position_t  *position;

    s.data = (u_char *) text;
    s.len = strlen(text);

    position = fanout_position_read(&s, NULL);

    if (position == NULL) {
        return UINT64_MAX;
    }

    fanout_position_of(&hub, position, &channels[i].name, &incarnation, &seq);
    free(position);

    return incarnation == hub.zone.heap.incarnation ? seq : UINT64_MAX;
}


static void
common(void)
{
    begin(3, 1044);

    is_str(written(), "5f0c00000001.1044", "all channels at one seq");
    is_int(says(written(), 1), 1044, "it is read");
    is_int(says("5f0c00000002.1044", 1), UINT64_MAX, "another incarnation");

    hub.safe = 2000;
    is_str(written(), "5f0c00000001.2000", "where the zone was drained to");

    begin(0, 0);
    is_str(written(), "5f0c00000001.0", "a session without a channel");
}


static void
apart(void)
{
    char  text[128];

    begin(3, 1044);
    behind(1, 1012);

    snprintf(text, sizeof(text), "5f0c00000001.1012.%llx-1044.%llx-1044",
             (unsigned long long) fanout_zone_hash(NULL, "channel:0", 9),
             (unsigned long long) fanout_zone_hash(NULL, "channel:2", 9));

    is_str(written(), text, "a subscription that is behind, and two others");
    is_int(says(written(), 0), 1044, "a live one");
    is_int(says(written(), 1), 1012, "the one that is behind");
    is_int(says(written(), 2), 1044, "the other");

    subs[1].sent = 0;
    subs[1].state = FANOUT_SUB_LIVE;
    subs[1].seq = 1060;
    fanout_position_mark(&subs[1]);
    is_int(subs[1].sent, 1060, "how far it has come is noted");
}


/* Parts that do not fit are left out: some is told again, nothing is lost. */

static void
many(void)
{
    unsigned   i, low;
    size_t     len;

    begin(CHANNELS, 1000);

    for (i = 0; i < CHANNELS; i++) {
        channels[i].seq = 1000000000000000 + i;
    }

    behind(7, 1);
    len = strlen(written());

    ok(len <= FANOUT_POSITION_LEN, "a position of many channels: %zu bytes",
       len);

    for (low = 0, i = 0; i < CHANNELS; i++) {
        low += says(written(), i) > (i == 7 ? 1 : channels[i].seq);
    }

    is_int(low, 0, "none is said to be further than it is");
}


static void
random_positions(void)
{
    unsigned  i, n, k, wrong;

    for (wrong = 0, k = 0; k < 20000; k++) {
        n = 1 + rand() % 12;
        begin(n, 1 + rand() % 50);

        for (i = 0; i < n; i++) {
            channels[i].seq = 1 + rand() % 50;

            if (rand() % 3 == 0) {
                behind(i, 1 + rand() % 50);
            }
        }

        for (i = 0; i < n; i++) {
            wrong += says(written(), i)
                     != (subs[i].state == FANOUT_SUB_LIVE ? channels[i].seq
                                                          : subs[i].sent);
        }
    }

    is_int(wrong, 0, "random positions are read as they were written");
}


static void
no_positions(void)
{
    static const char  *texts[] = {
        "", ".", "1", "1.", ".1", "x.1", "1.x", "1.2.", "1.2.3", "1.2.3-",
        "1.2.-3", "1.2.3-4.", "1.2.3-4x", "1.2 ", "A.1", "-1.2",
        "12345678901234567.1", "1.12345678901234567890"
    };

    char      text[FANOUT_POSITION_LEN + 2];
    unsigned  i;

    begin(1, 1);
    hub.zone.heap.incarnation = 1;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ok(says(texts[i], 0) == UINT64_MAX, "\"%s\" is no position", texts[i]);
    }

    memset(text, '1', sizeof(text));
    text[1] = '.';
    memcpy(text, "1.1", 3);

    for (i = 3; i + 4 < sizeof(text); i += 4) {
        memcpy(text + i, ".1-1", 4);
    }

    text[FANOUT_POSITION_LEN + 1] = '\0';
    ok(says(text, 0) == UINT64_MAX, "nor one that is too long");

    is_int(says("1.1234567890123456789", 0), 1234567890123456789,
           "the longest number");
}


/* a poll's position has the members it was told of as well */

static void
members(void)
{
    ngx_str_t           s;
    uint64_t            offset;
    fanout_position_t  *position;

    begin(2, 10);
    transport.once = 1;
    subs[1].want = FANOUT_WANT_PRESENCE;
    channels[1].offset = 77;

    s.data = (u_char *) written();
    s.len = strlen((char *) s.data);
    position = fanout_position_read(&s, NULL);

    ok(position != NULL, "a position with members");
    ok(fanout_position_members(&hub, position, &channels[1].name, &offset)
       && offset == 77, "up to an offset");
    ok(!fanout_position_members(&hub, position, &channels[0].name, &offset),
       "nothing is said of those of others");
    is_int(says((char *) s.data, 1), 10, "messages have a seq of their own");

    free(position);
}


static void
placed(void)
{
    char             want[512];
    fanout_outbuf_t  f;
    static char      text[] = "id: 5f0c00000001.11\ndata: a\n\n: beat\n\n"
                              "id: 5f0c00000001.12\ndata: b\n\n";
    unsigned long    h0, h1;

    begin(2, 30);
    behind(0, 10);
    npushed = 0;

    memset(&f, 0, sizeof(f));
    f.data = (u_char *) text;

    h0 = fanout_zone_hash(NULL, "channel:0", 9);
    h1 = fanout_zone_hash(NULL, "channel:1", 9);

    fanout_position_place(&subs[0], &f, 0, sizeof(text) - 1);

    snprintf(want, sizeof(want),
             "id: 5f0c00000001.11.%lx-30.%lx-11\ndata: a\n\n: beat\n\n"
             "id: 5f0c00000001.11.%lx-30.%lx-12\ndata: b\n\n",
             h1, h0, h1, h0);

    is_mem(pushed, npushed, want, strlen(want),
           "events get ids of their own, the rest is as it was");
    is_int(ends, 0, "and the session goes on");
}


int
main(void)
{
    common();
    apart();
    many();
    random_positions();
    no_positions();
    members();
    placed();

    return done_testing();
}
