
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The version of the module, as the status, the requests of hooks and the
 * packages show it.
 */


#ifndef FANOUT_BASE_VERSION_H
#define FANOUT_BASE_VERSION_H


#define FANOUT_VERSION   "0.1.0"


#endif /* FANOUT_BASE_VERSION_H */
