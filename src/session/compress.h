
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Deflates plain frames for sessions with permessage-deflate (RFC 7692): once
 * for all sessions of a format.
 */


#ifndef FANOUT_SESSION_COMPRESS_H
#define FANOUT_SESSION_COMPRESS_H


#include "session/conf.h"
#include "session/format.h"


/* Takes over the level, the window and the threshold; in the worker. */
void fanout_compress_configure(fanout_main_conf_t *mcf);

/*
 * Makes of a plain run the one of a format that deflates.  "from" has n
 * stretches of whole frames, ends has where each of them does; toends is filled
 * in likewise.  If no message is long enough, *to is "from" with one more
 * reference.  NGX_ERROR on lack of memory.
 *
 * When messages of the channel (NULL: of none) have not shrunk several times
 * running, most are sent as they are, and only some are tried.
 */
ngx_int_t fanout_compress_run(fanout_hub_t *hub, fanout_channel_t *ch,
    ngx_uint_t format, fanout_outbuf_t *from, uint32_t *ends, ngx_uint_t n,
    fanout_outbuf_t **to, uint32_t *toends);

/* Replaces whole frames by those for sessions of a format that deflates, and
 * drops a reference to the old outbuf.  On lack of memory *f remains. */
void fanout_compress_frame(fanout_hub_t *hub, ngx_uint_t format,
    fanout_outbuf_t **f);

/*
 * The same for one message of which a part may be in messages to others as
 * well: "part" bytes, behind which there are "tail" more.  The part is deflated
 * once for all that get it within a second or two, as blocks of their own
 * (RFC 1951, 3.2), and what is around it is sent as stored blocks.
 */
void fanout_compress_reply(fanout_hub_t *hub, ngx_uint_t format,
    fanout_outbuf_t **f, size_t part, size_t tail);

/* Drops parts that are old, or all. */
void fanout_compress_expire(fanout_hub_t *hub, ngx_uint_t all);


#endif /* FANOUT_SESSION_COMPRESS_H */
