
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The layout of a zone's memory.
 */


#ifndef FANOUT_ZONE_FORMAT_H
#define FANOUT_ZONE_FORMAT_H


#include "zone/layout.h"


/* Places the tables of a zone behind its head, by the size of its memory.
 * NOMEMORY: it is too small. */
int fanout_zone_layout(fanout_shm_t *shm);

/* Empties a zone. It may be killed within, and done again. */
void fanout_zone_format(fanout_shm_t *shm);

/* Makes the zone empty, after it was found to be broken.  If the process is
 * killed, another one does it again. */
void fanout_zone_reformat(fanout_zone_t *z);


#endif /* FANOUT_ZONE_FORMAT_H */
