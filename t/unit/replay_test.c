/* sources: src/hub/replay.c t/unit/nginx.c */
/* cflags: @nginx@ */

/*
 * If this fails, a client that comes back gets a section of another channel,
 * of another epoch or format, or too much of one; or memory is lost.
 */


#include "hub/replay.h"
#include "tap.h"


static fanout_hub_t      hub;
static fanout_channel_t  red, blue;
static fanout_outbuf_t   outbufs[8];
static unsigned          released[8];


/* the hub's: a reference less */

void
fanout_outbuf_release(fanout_hub_t *h, fanout_outbuf_t *f)
{
    f->refs--;
    released[f - outbufs]++;
}


static void
add(fanout_channel_t *ch, ngx_uint_t format, uint64_t epoch, uint64_t after,
    ngx_uint_t n, uint8_t flags, unsigned outbuf)
{
    ngx_uint_t      i;
    fanout_entry_t  e[4];

    ngx_memzero(e, sizeof(e));

    for (i = 0; i < n; i++) {
        e[i].offset = after + 1 + i;
        e[i].seq = 1000 + after + i;
    }

    e[0].flags = flags;

    fanout_replay_add(&hub, ch, format, epoch, after, e, n, &outbufs[outbuf]);
}


static int
has(fanout_channel_t *ch, ngx_uint_t format, uint64_t epoch, uint64_t after,
    uint64_t upto, unsigned outbuf)
{
    fanout_replay_t  *r;

    r = fanout_replay_find(&hub, ch, format, epoch, after, upto);

    return r && r->outbuf == &outbufs[outbuf];
}


static void
begin(void)
{
    unsigned  i;

    fanout_replay_clear(&hub);
    ngx_memzero(released, sizeof(released));
    ngx_current_msec = 10000;

    red.node.key = 0x1234;
    blue.node.key = 0x9876;

    for (i = 0; i < 8; i++) {
        outbufs[i].refs = 1;
        outbufs[i].size = 100;
    }
}


static void
sections(void)
{
    begin();
    add(&red, 1, 7, 20, 3, 0, 0);

    ok(has(&red, 1, 7, 20, 23, 0), "a section that ends at the position");
    ok(has(&red, 1, 7, 20, 99, 0), "and one that ends before it");
    is_int(outbufs[0].refs, 2, "it has a reference of its own");
    is_int(fanout_replay_find(&hub, &red, 1, 7, 20, 99)->seq, 1022,
           "and the seq of its last entry");

    ok(!has(&red, 1, 7, 20, 22, 0), "not one that goes too far");
    ok(!has(&red, 2, 7, 20, 99, 0), "not of another format");
    ok(!has(&red, 1, 8, 20, 99, 0), "not of another epoch");
    ok(!has(&red, 1, 7, 21, 99, 0), "not after another offset");
    ok(!has(&blue, 1, 7, 20, 99, 0), "not of another channel");

    blue.node.key = red.node.key;
    ok(!has(&blue, 1, 7, 20, 99, 0), "also if the names have one hash");
    add(&blue, 1, 7, 20, 1, 0, 1);
    ok(has(&blue, 1, 7, 20, 99, 1), "which takes the place then");
    ok(!has(&red, 1, 7, 20, 99, 0), "of what was there");
    is_int(outbufs[0].refs, 1, "whose reference is given back");
}


static void
refused(void)
{
    begin();

    add(&red, 1, 7, 20, 2, FANOUT_NOECHO, 0);
    ok(!has(&red, 1, 7, 20, 99, 0), "what not everybody may see is not kept");

    outbufs[1].size = 262145;
    add(&red, 1, 7, 30, 2, 0, 1);
    ok(!has(&red, 1, 7, 30, 99, 1), "nor what is too large");

    outbufs[2].size = 262144;
    add(&red, 1, 7, 30, 2, 0, 2);
    ok(has(&red, 1, 7, 30, 99, 2), "the largest is kept");

    is_int(outbufs[0].refs + outbufs[1].refs, 2,
           "what is not kept has no reference");
}


static void
ends(void)
{
    begin();
    add(&red, 1, 7, 20, 1, 0, 0);
    ngx_current_msec += 1000;
    add(&blue, 1, 7, 50, 1, 0, 1);

    ngx_current_msec += 500;
    fanout_replay_expire(&hub);
    ok(has(&red, 1, 7, 20, 99, 0), "a section is kept for 1.5 seconds");

    ngx_current_msec++;
    fanout_replay_expire(&hub);
    ok(!has(&red, 1, 7, 20, 99, 0), "and no longer");
    ok(has(&blue, 1, 7, 50, 99, 1), "a younger one is kept");

    add(&red, 1, 7, 20, 1, 0, 2);
    fanout_replay_forget(&hub, &blue);
    ok(!has(&blue, 1, 7, 50, 99, 1), "those of a channel that goes are not");
    ok(has(&red, 1, 7, 20, 99, 2), "those of others are");

    fanout_replay_clear(&hub);
    ok(!has(&red, 1, 7, 20, 99, 2), "none is left in the end");
    is_int(outbufs[0].refs + outbufs[1].refs + outbufs[2].refs, 3,
           "nor a reference");
    is_int(released[0] + released[1] + released[2], 3,
           "each was released once");
}


int
main(void)
{
    sections();
    refused();
    ends();

    return done_testing();
}
