
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Vitals of a worker, for the status.
 */


#include "hub/hub.h"


static uint64_t own_memory(void);


void
fanout_hub_vitals(fanout_hub_t *hub)
{
    fanout_zone_vitals_t  *v;

    v = &hub->vitals;

    v->memory = own_memory();
    v->lag = hub->lag;
    hub->lag = 0;

    if (v->base == 0) {
        v->base = v->memory;
    }

    fanout_slot_sessions(&hub->zone, hub->nsessions - v->watchers);
    fanout_slot_vitals(&hub->zone, v);
    fanout_sample_take(&hub->zone);
}


/* Resident memory that is shared with no file and no other process, so without
 * the zone; 0 if it is unknown. */

static uint64_t
own_memory(void)
{
    int                 fd;
    char                text[128], *p;
    ssize_t             n;
    unsigned long long  resident, shared;

    fd = open("/proc/self/statm", O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return 0;
    }

    n = read(fd, text, sizeof(text) - 1);
    (void) close(fd);

    if (n <= 0) {
        return 0;
    }

    text[n] = '\0';

    (void) strtoull(text, &p, 10);
    resident = strtoull(p, &p, 10);
    shared = strtoull(p, NULL, 10);

    return resident > shared ? (resident - shared) * ngx_pagesize : 0;
}
