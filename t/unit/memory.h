/*
 * The memory of code that uses NGINX's functions: its blocks are counted, and
 * some are refused.
 *
 * A test that links memory.c says in its first lines
 *
 *     libs: -Wl,--wrap=free -Wl,--wrap=realloc
 *
 * as ngx_free() is free().
 */


#ifndef _MEMORY_H_INCLUDED_
#define _MEMORY_H_INCLUDED_


/* blocks that were allocated by ngx_alloc(), ngx_calloc() or realloc() and not
 * freed; a test that uses malloc() and free() itself is not counted right */
extern long      memory_blocks;

/* one allocation of so many is refused, drawn by memory_seed; 0: none is */
extern unsigned  memory_refuse;
extern unsigned  memory_refused;
extern unsigned  memory_seed;


#endif /* _MEMORY_H_INCLUDED_ */
