
/*
 * Copyright (c) 2026 nginx-fanout contributors
 */


#include "base/name.h"
#include "base/utf8.h"


ngx_int_t
fanout_name_check(ngx_str_t *name)
{
    return fanout_name_valid(name->data, name->len, FANOUT_NAME_CHANNEL)
           ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
fanout_label_check(ngx_str_t *name, size_t max)
{
    return name->len <= max
           && fanout_name_valid(name->data, name->len, 0)
           ? NGX_OK : NGX_DECLINED;
}
