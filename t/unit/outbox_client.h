/*
 * Clients for the test of outboxes: a session with a connection that takes any
 * part of its output, and the bytes that it has to get.
 */


#ifndef _OUTBOX_CLIENT_H_INCLUDED_
#define _OUTBOX_CLIENT_H_INCLUDED_


#include "random.h"
#include "session/session.h"
#include "session/transport.h"


#define STREAM    (1024 * 1024)
#define PIECES    4096


/* output as it was given: where it is in the stream of its session */

typedef struct {
    size_t                 at;
    size_t                 len;
    uint32_t               start;       /* in its outbuf */
    uint64_t               after;
    int                    entries;
} piece_t;

typedef struct {
    fanout_session_t       s;
    fanout_session_log_record_t  record;
    ngx_connection_t       c;
    ngx_event_t            read;
    ngx_event_t            write;
    fanout_subscription_t  sub;
    u_char                 want[STREAM];
    size_t                 given;
    size_t                 sent;
    piece_t                pieces[PIECES];
    ngx_uint_t             npieces;
    u_char                 held[STREAM];        /* withheld */
    size_t                 nheld;
    piece_t                held_pieces[PIECES];
    ngx_uint_t             nheld_pieces;
    int                    dropped;
    u_char                *again;               /* of a TLS write */
    size_t                 again_len;
    unsigned               tls:1;
    unsigned               ended:1;
    ngx_uint_t             how;
    ngx_uint_t             lagged;
    ngx_uint_t             worked;
} client_t;


extern fanout_hub_t        hub;
extern fanout_loc_conf_t   conf;
extern fanout_transport_t  transport;
extern fanout_channel_t    channel;

/* puts a payload between < and > */
extern const fanout_framing_t  framing;

/* the state of the generator */
extern uint64_t            own;

/* one send of so many fails, 0: none does; sockets take all */
extern unsigned            errors;
extern int                 willing;

/* bytes that a socket takes until it is writable again, 0: as it is drawn */
extern unsigned            most;

/* what was met */
extern unsigned            sends, partial, again, retried, shed, cut, lags;

/* the first thing that was wrong, "" */
extern char                error[256];


unsigned draw(unsigned n);

/* Notes what is wrong; -1. */
int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void open_client(client_t *cl);

/* Ends it and frees its output, as the reaper does: 0, -1. */
int release(client_t *cl);

/* It was given bytes, at once or to be withheld; these are settled. */
void given(client_t *cl, fanout_outbuf_t *f, uint32_t start, uint32_t end);
void withheld(client_t *cl, fanout_outbuf_t *f, uint32_t start, uint32_t end);
void settled(client_t *cl);

/* After a turn: what it was given and has no more was entries, from the first
 * byte of an outbuf on, and its subscription reads them again.  0, -1. */
int dropped(client_t *cl);

/* Its output is what it was given and did not get: 0, -1. */
int check_client(client_t *cl);


#endif /* _OUTBOX_CLIENT_H_INCLUDED_ */
