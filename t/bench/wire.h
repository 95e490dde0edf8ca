
/*
 * Client connections for the tools here: a non-blocking socket, the
 * WebSocket upgrade, frames both ways, or plain HTTP responses.
 *
 * A callback may close any wire, but opens none: that is done between two
 * calls of wire_poll(), so that no event meets the wrong connection.
 */

#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H


#include <stddef.h>
#include <stdint.h>


#define WIRE_TEXT    1
#define WIRE_BINARY  2
#define WIRE_CLOSE   8
#define WIRE_PING    9
#define WIRE_PONG    10

/* What down() is told when the peer sent what is no frame. */
#define WIRE_BAD_FRAME  "not a frame"


typedef enum {
    WIRE_DOWN = 0,
    WIRE_CONNECTING,
    WIRE_UPGRADING,
    WIRE_OPEN,
    WIRE_EVENTS,
    WIRE_HTTP
} wire_state_e;


typedef struct wire_s  wire_t;


typedef struct {
    /* the upgrade is done, or the connection made for HTTP */
    void    (*open)(wire_t *w);

    /* one message or control frame; a ping was answered already */
    void    (*frame)(wire_t *w, int op, char *data, size_t n);

    /* the peer is gone or the upgrade refused; the wire is closed */
    void    (*down)(wire_t *w, const char *why);

    /* a response, HTTP only; the body may be moved within its buffer; id()
     * was called with its Fanout-Position, if it has one */
    void    (*response)(wire_t *w, int status, char *body, size_t n);

    /* the id of an event, behind its frame, or of a poll; may be NULL */
    void    (*id)(wire_t *w, const char *id, size_t n);
} wire_calls_t;


struct wire_s {
    int                  fd;           /* valid unless WIRE_DOWN */
    wire_state_e         state;
    int                  http;
    int                  events;       /* a stream of them is asked for */
    int                  chunked;      /* and it comes in chunks: */
    size_t               chunk;        /* left of one */
    size_t               size;         /* digits of the next one */
    int                  armed;        /* waits to be writable */
    int                  paused;
    int                  part_op;

    char                *keep;         /* input not yet understood */
    size_t               nkeep;
    char                *part;         /* fragments so far */
    size_t               npart;
    char                *out;          /* output not yet sent */
    size_t               nout;
    size_t               pos;
    size_t               cap;

    const wire_calls_t  *calls;
};


/* Once, before anything else: 127.0.0.1 and the port. */
void wire_init(int port);

/*
 * Connects and asks for an upgrade of path, with "protocols" as subprotocols
 * if not NULL.  The wire's memory is the caller's, zeroed before first use.
 * Returns 0, or -1 with errno if there was no socket or a refusal at once.
 */
int wire_open(wire_t *w, const wire_calls_t *calls, const char *path,
    const char *protocols);

/* The same for a stream of server-sent events: each is a frame of text, with
 * what stands behind "data: " up to its end. */
int wire_open_events(wire_t *w, const wire_calls_t *calls, const char *path);

/* From now on permessage-deflate is offered, and must be agreed on. */
void wire_deflate(void);

/* Connects for HTTP/1.1. */
int wire_open_http(wire_t *w, const wire_calls_t *calls);

/* Closes at once; with reset no TIME_WAIT is left behind. */
void wire_close(wire_t *w, int reset);

/* Queues a masked frame, or bytes as they are; wire_flush() sends them. */
void wire_frame(wire_t *w, int op, const char *data, size_t n);
void wire_bytes(wire_t *w, const char *data, size_t n);

/* Sends what is queued; the rest goes when the socket takes it. */
void wire_flush(wire_t *w);

/* Reading stops, or goes on. */
void wire_pause(wire_t *w, int paused);

/* Waits at most ms for events and handles them; returns their number. */
int wire_poll(int ms);

/* A small fast random number. */
uint64_t wire_random(void);
void wire_seed(uint64_t seed);


#endif /* BENCH_WIRE_H */
