
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The hooks of the processes, see process.c.
 */


#ifndef FANOUT_MODULE_H
#define FANOUT_MODULE_H


#include <ngx_config.h>
#include <ngx_core.h>


/* called in the master, and under "nginx -t" */
ngx_int_t fanout_init_module(ngx_cycle_t *cycle);

ngx_int_t fanout_init_process(ngx_cycle_t *cycle);
void fanout_exit_process(ngx_cycle_t *cycle);


#endif /* FANOUT_MODULE_H */
