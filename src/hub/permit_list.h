
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Lists of patterns in the value of a variable, and how a rule is packed.
 */


#ifndef FANOUT_HUB_PERMIT_LIST_H
#define FANOUT_HUB_PERMIT_LIST_H


#include "hub/app.h"
#include "base/json.h"


/* most patterns of a list */
#define FANOUT_PERMIT_LIST  256

/* a rule: a byte of operations, two of the length, and the compiled pattern */
#define FANOUT_RULE_HEAD    3

/* Writes the head of a rule whose pattern is behind it; returns the end. */
static ngx_inline u_char *
fanout_rule(u_char *p, ngx_uint_t ops, size_t len)
{
    p[0] = (u_char) ops;
    p[1] = (u_char) (len >> 8);
    p[2] = (u_char) (len & 0xff);

    return p + FANOUT_RULE_HEAD + len;
}


/* Most bytes of the rules of a value of so many bytes. */
size_t fanout_permit_list_size(size_t len);

/* Writes a rule for each pattern of a value; returns the end.  NULL: it has
 * more than FANOUT_PERMIT_LIST, or one that is no pattern; then none counts. */
u_char *fanout_permit_list(u_char *p, ngx_uint_t ops, const u_char *data,
    size_t len);


/* The operations that an array names, of valid JSON; NGX_ERROR: it is none, or
 * names what is none. */
ngx_int_t fanout_permit_ops(const fanout_json_t *array);


#endif /* FANOUT_HUB_PERMIT_LIST_H */
