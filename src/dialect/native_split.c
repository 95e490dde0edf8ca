
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The members of a command are found by the table of its op.
 */


#include "dialect/native.h"
#include "base/json_table.h"


static fanout_error_e split_fault(fanout_command_t *cmd,
    fanout_json_split_t *split, ngx_uint_t deep);
static int split_known(const fanout_json_t *name);
static const fanout_native_member_t *split_anywhere(const fanout_json_t *name);


static const fanout_json_field_t  envelope_fields[] = {
    fanout_json_field("id", fanout_command_t, id),
    fanout_json_field("op", fanout_command_t, op)
};

static const fanout_json_table_t  envelope = {
    envelope_fields,
    sizeof(fanout_json_field_t),
    fanout_nelts(envelope_fields)
};


fanout_error_e
fanout_native_split(fanout_command_t *cmd, fanout_json_t *object,
    const fanout_native_op_t *def, ngx_uint_t deep)
{
    fanout_json_t        values[fanout_nelts(envelope_fields)];
    fanout_json_table_t  table;
    fanout_json_split_t  split;

    if (fanout_json_type(object) != FANOUT_JSON_OBJECT) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                  "a command is an object");
    }

    fanout_json_split(&split, object, &envelope, values);

    cmd->id = values[0];
    cmd->op = values[1];
    cmd->def = def ? def : fanout_native_op(&cmd->op);

    if (cmd->def == NULL) {
        return split_fault(cmd, &split, deep);
    }

    table = fanout_native_table(cmd->def->members, cmd->def->n);

    return !fanout_json_match(&split, &table, cmd->members) || deep
           ? split_fault(cmd, &split, deep) : FANOUT_E_NONE;
}


/* Reports a wrong member.  FANOUT_E_NONE if no member nests more arrays and
 * objects than it may. */

static fanout_error_e
split_fault(fanout_command_t *cmd, fanout_json_split_t *split, ngx_uint_t deep)
{
    unsigned                       levels;
    ngx_uint_t                     i;
    fanout_json_pair_t            *pairs;
    fanout_json_error_t            err;
    fanout_json_table_t            table;
    const fanout_native_member_t  *m;

    if (fanout_json_split_check(split, split_known, &err) != FANOUT_JSON_OK) {
        return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST, "%s", err.reason);
    }

    pairs = split->pairs;

    for (i = 0; i < split->n && deep; i++) {
        m = split_anywhere(&pairs[i].name);
        levels = FANOUT_JSON_DEPTH + (m ? m->levels : 0);

        if (fanout_json_depth(&pairs[i].value) > levels) {
            cmd->misplaced = m ? m->field.name : "op";
            return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                      "\"%s\" nests more than %d arrays and "
                                      "objects", cmd->misplaced,
                                      FANOUT_JSON_DEPTH);
        }
    }

    if (cmd->def == NULL) {
        return cmd->op.len
               ? fanout_native_fail(cmd, FANOUT_E_UNKNOWN_OP,
                     "there is no such op; there are publish, signal, join, "
                     "leave, history, presence, members, set, delete, get, "
                     "lock, unlock, auth and ping")
               : fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                    "\"op\" is missing");
    }

    table = fanout_native_table(cmd->def->members, cmd->def->n);

    for (i = 0; i < split->n; i++) {

        if (!pairs[i].enveloped
            && fanout_json_find(&table, &pairs[i].name) == table.n)
        {
            cmd->misplaced = split_anywhere(&pairs[i].name)->field.name;
            return fanout_native_fail(cmd, FANOUT_E_BAD_REQUEST,
                                      "\"%s\" is not a member of \"%V\"",
                                      cmd->misplaced, &cmd->def->name);
        }
    }

    return FANOUT_E_NONE;
}


static int
split_known(const fanout_json_t *name)
{
    return split_anywhere(name) != NULL;
}


/* Finds a member among those of all commands. */

static const fanout_native_member_t *
split_anywhere(const fanout_json_t *name)
{
    ngx_uint_t                 i, k;
    fanout_json_table_t        table;
    const fanout_native_op_t  *op;

    for (i = 0; (op = fanout_native_op_at(i)) != NULL; i++) {
        table = fanout_native_table(op->members, op->n);
        k = fanout_json_find(&table, name);

        if (k < op->n) {
            return &op->members[k];
        }
    }

    return NULL;
}
