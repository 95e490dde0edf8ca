
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hooks of the processes.
 */


#include "ngx_http_fanout_module.h"
#include "conf/conf.h"
#include "dialect/dialect.h"
#include "worker/worker.h"
#include "session/log.h"
#include "session/compress.h"
#include "hook/hook.h"


/* Also under "nginx -t".  What is found here may not end a reload, which would
 * end the master. */

ngx_int_t
fanout_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    fanout_app_t        **app;
    ngx_core_conf_t      *ccf;
    fanout_main_conf_t   *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fanout_module);

    fanout_eventfds_forget(mcf);

    if (mcf == NULL) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    app = mcf->apps.elts;

    /* as for warnings of the configuration: the log of before, which is stderr
     * at a start */

    for (i = 0; i < mcf->apps.nelts; i++) {
        fanout_zone_warn(app[i], ccf->worker_processes, ngx_cycle->log);
    }

    return NGX_OK;
}


ngx_int_t
fanout_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    fanout_app_t        **app;
    fanout_main_conf_t   *mcf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fanout_module);

    if (mcf == NULL) {
        return NGX_OK;
    }

    fanout_compress_configure(mcf);
    fanout_dialect_init();

    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        if (fanout_worker_init(app[i], cycle) != NGX_OK
            || fanout_hook_init(app[i], cycle) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
fanout_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    fanout_app_t        **app;
    fanout_main_conf_t   *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fanout_module);

    if (mcf == NULL) {
        return;
    }

    app = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {
        fanout_hook_exit(app[i]);
        fanout_worker_exit(app[i]);
    }

    fanout_session_log_gathered(1);
    fanout_session_log_flush(cycle);
}
