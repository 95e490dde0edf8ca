
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Members of the operations of a batch.
 */


#ifndef FANOUT_API_DECODE_H
#define FANOUT_API_DECODE_H


#include "api/api.h"
#include "base/json_table.h"


typedef struct fanout_api_member_s  fanout_api_member_t;

struct fanout_api_member_s {
    fanout_json_field_t   field;        /* offset in the operation */
    fanout_error_e      (*read)(fanout_api_t *api,
                              const fanout_api_member_t *m,
                              fanout_json_t *value, fanout_api_op_t *op);
    unsigned              always:1;     /* it is read as well if it is null or
                                           not there */
    unsigned              levels:1;     /* it nests one more than data */
};


/* Whether a member is null or not there, which is the same except for data. */
ngx_uint_t fanout_api_is_null(fanout_json_t *value);

/* values: BAD_REQUEST, which names the member; see fanout_api_read_text() */

fanout_error_e fanout_api_read_number(fanout_api_t *api, const char *name,
    fanout_json_t *value, uint64_t *n);
fanout_error_e fanout_api_read_bool(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, int *flag);


/* readers of members */

fanout_error_e fanout_api_read_base(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);
fanout_error_e fanout_api_read_mode(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);
fanout_error_e fanout_api_read_record(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);
fanout_error_e fanout_api_read_cursor(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);
fanout_error_e fanout_api_read_versions(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);

fanout_error_e fanout_api_read_token(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);
fanout_error_e fanout_api_read_ttl(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);

/* the data of a lock, which also reads null: none */
fanout_error_e fanout_api_read_lock_data(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);

/* bytes as they were sent, in memory that may be written to */
fanout_error_e fanout_api_read_copy(fanout_api_t *api,
    const fanout_api_member_t *m, fanout_json_t *value, fanout_api_op_t *op);


#endif /* FANOUT_API_DECODE_H */
