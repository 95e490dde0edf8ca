
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * What a backend says of a request that connects.
 */


#ifndef FANOUT_TRANSPORT_AUTHORIZE_CONNECT_H
#define FANOUT_TRANSPORT_AUTHORIZE_CONNECT_H


#include "transport/authorize.h"
#include "base/json.h"


/* members of an answer; len 0: it is not there */

typedef struct {
    fanout_json_t           user;
    fanout_json_t           info;
    fanout_json_t           permit;
    fanout_json_t           join;
} fanout_connect_answer_t;


/* Gives them to the grant.  NULL, or what is wrong with them: a static text. */
const char *fanout_authorize_connect(fanout_grant_t *grant,
    const fanout_connect_answer_t *answer);


#endif /* FANOUT_TRANSPORT_AUTHORIZE_CONNECT_H */
