
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Broadcast of responses: what a proxied or any other location answers to a
 * write is published to channels, and goes to the client as it was.
 *
 * A response passes a header filter, which decides what will be published
 * where, and a body filter, which keeps a copy up to a limit and publishes
 * when it has seen the last byte, before it passes it on: a client that has
 * the whole response knows that it was published.
 */


#ifndef FANOUT_BROADCAST_BROADCAST_H
#define FANOUT_BROADCAST_BROADCAST_H


#include "http/http.h"
#include "session/conf.h"
#include "zone/record.h"


/* most channels that one response is published to */
#define FANOUT_BROADCAST_CHANNELS  64


/* what becomes the data of a message */

#define FANOUT_BROADCAST_NONE      0
#define FANOUT_BROADCAST_RESPONSE  1
#define FANOUT_BROADCAST_REQUEST   2
#define FANOUT_BROADCAST_BODIES    3


/* what a response is for a channel: a message, or a change of a record */

#define FANOUT_BROADCAST_MESSAGE   0
#define FANOUT_BROADCAST_MERGE     1        /* members of the body are set */
#define FANOUT_BROADCAST_PATCH     2        /* the same, but null unsets */
#define FANOUT_BROADCAST_PUT       3        /* they are all fields */
#define FANOUT_BROADCAST_DELETE    4


/* from 200 to 299, both included */

typedef struct {
    ngx_uint_t                      first;
    ngx_uint_t                      last;
} fanout_statuses_t;


/* one fanout_broadcast; the values may be NULL */

typedef struct {
    ngx_str_t                       text;       /* its parameters */
    fanout_app_t                   *app;
    ngx_http_complex_value_t       *channel;    /* NULL: only those that
                                                   headers name */
    ngx_http_complex_value_t       *event;
    ngx_http_complex_value_t       *user;
    ngx_http_complex_value_t       *client;
    ngx_http_complex_value_t       *key;
    ngx_http_complex_value_t       *record;
    ngx_array_t                    *statuses;   /* NULL: any */
    ngx_uint_t                      methods;    /* 0: any */
    ngx_uint_t                      body;
    unsigned                        headers:1;
    unsigned                        meta:1;
    unsigned                        warned:1;   /* of the channel's policy */
} fanout_broadcast_rule_t;


/* a body to be published; read only if a target wants it */

typedef struct {
    ngx_str_t                       body;
    ngx_str_t                       type;       /* media type */
    const char                     *omitted;    /* why there is no body, or
                                                   NULL */
    ngx_str_t                       data;       /* of the message */
    uint8_t                         kind;
    fanout_zone_change_t           *changes;    /* of a record */
    ngx_uint_t                      nchanges;
    ngx_str_t                       id;         /* its member "id", as text; len
                                                   0: none that is an id */
    const char                     *refused;    /* why there are no changes, or
                                                   NULL */
    unsigned                        wanted:1;
    unsigned                        ready:1;    /* data and kind are set */
    unsigned                        decoded:1;  /* changes, id, refused are */
} fanout_broadcast_body_t;


/* a message to one channel or a change of a record there, once the response is
 * complete */

typedef struct {
    fanout_app_t          *app;
    ngx_str_t              channel;
    ngx_str_t              event;
    ngx_str_t              user;
    ngx_str_t              key;
    uint64_t               client;              /* who wrote it and is not to
                                                   get the message, 0: none */
    ngx_str_t              record;              /* its id, len 0: the body has
                                                   it */
    uint64_t               base;                /* version */
    ngx_uint_t             change;              /* FANOUT_BROADCAST_MESSAGE
                                                   … */
    ngx_uint_t             body;
    unsigned               based:1;             /* base is given */
    unsigned               meta:1;
} fanout_broadcast_target_t;


/* a response on its way; lives as long as the request */

typedef struct {
    ngx_http_request_t        *request;
    ngx_array_t                targets;             /* target_t */
    fanout_broadcast_body_t    bodies
                                    [FANOUT_BROADCAST_BODIES];
    ngx_str_t                  method;
    ngx_uint_t                 status;
    off_t                      expected;            /* bytes, -1: unknown */
    off_t                      seen;
    size_t                     limit;               /* bytes of a body */
    size_t                     room;                /* of the copy */
    unsigned                   copying:1;
    unsigned                   done:1;
} fanout_broadcast_t;


extern ngx_module_t  ngx_http_fanout_broadcast_filter_module;


/* The setter of fanout_broadcast. */
char *fanout_set_broadcast(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Takes the body of the request, if a target wants it, or the reason why there
 * is none.  Runs while the content handler still keeps it. */
void fanout_broadcast_take_request(fanout_broadcast_t *b);

/* Sets b->expected; copying begins if a target wants the body of the response
 * and nothing speaks against it. */
void fanout_broadcast_expect_response(fanout_broadcast_t *b);

/* Whether the header is all of the response, or no body passes the filter
 * before the client has it all. */
ngx_uint_t fanout_broadcast_without_body(ngx_http_request_t *r);

/* Counts and copies a part of the body of the response.  Returns 1 if it is
 * the last one. */
ngx_uint_t fanout_broadcast_collect(fanout_broadcast_t *b, ngx_chain_t *in);

/* Publishes a message to a target.  Failures are counted and logged. */
void fanout_broadcast_message(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t);

/* Sets data and kind of a body. */
void fanout_broadcast_prepare(fanout_broadcast_t *b,
    fanout_broadcast_body_t *body);

/* Whether what was refused with this error and result was refused only because
 * its key can't be remembered. */
ngx_uint_t fanout_broadcast_forgets(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t, fanout_error_e error,
    fanout_zone_result_t *result);

/* Changes the record of a target.  Failures are counted and logged. */
void fanout_broadcast_record(fanout_broadcast_t *b,
    fanout_broadcast_target_t *t);


#endif /* FANOUT_BROADCAST_BROADCAST_H */
