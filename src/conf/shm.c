
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Shared memory of the zones, and the eventfds of their slots.
 */


#include "conf/conf.h"

#include <sys/eventfd.h>


/* the eventfds of a zone's slots */

typedef struct shm_eventfds_s  shm_eventfds_t;

struct shm_eventfds_s {
    shm_eventfds_t  *next;
    ngx_str_t        name;
    ngx_uint_t       n;
    int              fds[FANOUT_ZONE_SLOTS];
};


static int *shm_eventfds(ngx_str_t *name, ngx_uint_t n, ngx_log_t *log);
static void shm_check_slots(fanout_app_t *app, ngx_int_t workers,
    ngx_log_t *log);
static void shm_check_size(fanout_app_t *app);


static shm_eventfds_t  *sets;


/* In the master, or the single process.  A zone that is kept over a reload is
 * only read here, but for the number of the configuration: workers of the old
 * cycle are at work in it. */

ngx_int_t
fanout_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    int              *efds;
    u_char           *mem;
    size_t            size;
    fanout_app_t     *app;
    ngx_slab_pool_t  *shpool;

    app = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data) {
        mem = shpool->data;

        if (mem == NULL
            || fanout_zone_check_layout(mem, shpool->end - mem)
               != FANOUT_ZONE_OK)
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "fanout zone \"%V\" was made by another build of "
                          "the module; restart NGINX to load this one",
                          &app->name);
            return NGX_ERROR;
        }

        app->generation = fanout_zone_next(mem);

        return NGX_OK;
    }

    size = shpool->pfree << ngx_pagesize_shift;

    mem = ngx_slab_alloc(shpool, size);
    if (mem == NULL) {
        return NGX_ERROR;
    }

    efds = shm_eventfds(&app->name, fanout_zone_slots(app->conf.slots),
                        shm_zone->shm.log);
    if (efds == NULL) {
        return NGX_ERROR;
    }

    switch (fanout_zone_create(mem, shpool->end - mem, &app->conf, efds))
    {
    case FANOUT_ZONE_OK:
        shpool->data = mem;
        app->generation = fanout_zone_next(mem);
        return NGX_OK;

    case FANOUT_ZONE_SMALL:
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "fanout zone \"%V\" is too small", &app->name);
        return NGX_ERROR;

    default:
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, ngx_errno,
                      "fanout zone \"%V\" could not be formatted",
                      &app->name);
        return NGX_ERROR;
    }
}


/* The eventfds of a zone's slots: made once a name, for the life of the
 * master, so that workers of all generations know them by the same numbers.
 * A zone that is dropped and made anew takes them over: at worst a worker is
 * woken for nothing. */

static int *
shm_eventfds(ngx_str_t *name, ngx_uint_t n, ngx_log_t *log)
{
    shm_eventfds_t  *set;

    for (set = sets; set; set = set->next) {
        if (set->name.len == name->len
            && ngx_memcmp(set->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (set == NULL) {
        set = ngx_calloc(sizeof(shm_eventfds_t) + name->len, log);
        if (set == NULL) {
            return NULL;
        }

        set->name.len = name->len;
        set->name.data = (u_char *) (set + 1);
        ngx_memcpy(set->name.data, name->data, name->len);

        set->next = sets;
        sets = set;
    }

    while (set->n < n) {
        set->fds[set->n] = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (set->fds[set->n] == -1) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                          "eventfd() failed: a fanout zone needs a file "
                          "descriptor for each of its %ui slots", n);
            return NULL;
        }

        set->n++;
    }

    return set->fds;
}


/* Workers of the configuration before have descriptors of their own. */

void
fanout_eventfds_forget(fanout_main_conf_t *mcf)
{
    ngx_uint_t        i;
    fanout_app_t    **app;
    shm_eventfds_t   *set, **link;

    for (link = &sets; *link; /* void */ ) {
        set = *link;
        app = mcf ? mcf->apps.elts : NULL;

        for (i = 0; mcf && i < mcf->apps.nelts; i++) {
            if (app[i]->name.len == set->name.len
                && ngx_memcmp(app[i]->name.data, set->name.data,
                              set->name.len)
                   == 0)
            {
                break;
            }
        }

        if (mcf && i < mcf->apps.nelts) {
            link = &set->next;
            continue;
        }

        for (i = 0; i < set->n; i++) {
            (void) close(set->fds[i]);
        }

        *link = set->next;
        ngx_free(set);
    }
}


void
fanout_zone_warn(fanout_app_t *app, ngx_int_t workers, ngx_log_t *log)
{
    shm_check_slots(app, workers, log);
    shm_check_size(app);
}


/* The zone may be one that another configuration has made. */

static void
shm_check_slots(fanout_app_t *app, ngx_int_t workers, ngx_log_t *log)
{
    ngx_uint_t        slots;
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) app->shm_zone->shm.addr;
    slots = fanout_zone_has_slots(shpool->data);

    if (slots != fanout_zone_slots(app->conf.slots)) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "fanout zone \"%V\" has %ui slots until NGINX is "
                      "restarted: a reload does not change \"slots=\"",
                      &app->name, slots);
    }

    if ((ngx_uint_t) workers > slots) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "fanout zone \"%V\" has %ui slots for %i worker "
                      "processes: those without take no sessions; "
                      "increase \"slots=\"", &app->name, slots, workers);

    } else if (2 * (ngx_uint_t) workers > slots) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "fanout zone \"%V\" has %ui slots for %i worker "
                      "processes: after a reload some take no sessions until "
                      "the old ones have let go of theirs; increase "
                      "\"slots=\"", &app->name, slots, workers);
    }
}


/* NGINX makes a zone of another size anew. */

static void
shm_check_size(fanout_app_t *app)
{
    ngx_uint_t            i;
    fanout_app_t        **old;
    fanout_main_conf_t   *mcf;

    if (ngx_is_init_cycle(ngx_cycle)) {
        return;
    }

    mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_fanout_module);
    if (mcf == NULL) {
        return;
    }

    old = mcf->apps.elts;

    for (i = 0; i < mcf->apps.nelts; i++) {

        if (old[i]->name.len == app->name.len
            && ngx_strncmp(old[i]->name.data, app->name.data, app->name.len)
               == 0
            && old[i]->shm_zone->shm.size != app->shm_zone->shm.size)
        {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "the size of fanout zone \"%V\" has changed: it "
                          "starts without what the old one holds", &app->name);
        }
    }
}
