
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The numbers of the status, once for all its formats.
 *
 * A counter in the zone's list of counters appears in all of them by itself;
 * a number of the zone needs a line below, a series of the last hour one in
 * FANOUT_RATES, _ZONE_RATES or _GAUGES.
 */


#ifndef FANOUT_STATUS_STATUS_H
#define FANOUT_STATUS_STATUS_H


#include "http/http.h"
#include "session/conf.h"


/* The content handler of locations with "fanout_status". */
ngx_int_t fanout_status_handler(ngx_http_request_t *r);

/* Makes what a location with "fanout_status" needs to be watched; when its
 * values are known. */
char *fanout_watch_configure(ngx_conf_t *cf, fanout_loc_conf_t *conf);


/* what blocks are used for: names in zone_stat_t and in all formats */

#define FANOUT_STATUS_USES(_)                                                 \
    _(messages)                                                               \
    _(index)                                                                  \
    _(channels)                                                               \
    _(interests)                                                              \
    _(keys)                                                                   \
    _(identities)                                                             \
    _(rooms)                                                                  \
    _(seats)                                                                  \
    _(members)                                                                \
    _(mail)                                                                   \
    _(signals)                                                                \
    _(seen)                                                                   \
    _(events)                                                                 \
    _(addresses)                                                              \
    _(records)                                                                \
    _(locks)                                                                  \
    _(denials)                                                                \
    _(staged)

/*
 * Numbers of the zone: the name in JSON; the member of zone_stat_t; the name
 * for Prometheus, which of BYTES (of blocks), SECONDS (of ms), GAUGE and
 * COUNTER it is there; and what it is.
 */

#define FANOUT_STATUS_NUMBERS(_)                                              \
    _(generation, generation, "zone_generation", GAUGE,                       \
      "Number of the configuration in force")                                 \
    _(channels, nchannels, "zone_channels", GAUGE, "Channels")                \
    _(keys, nkeys, "zone_keys", GAUGE, "Idempotence keys remembered")         \
    _(identities, nidentities, "zone_identities", GAUGE,                      \
      "Identities of sessions, live or kept for a resume")                    \
    _(lingering, lingering, "zone_identities_lingering", GAUGE,               \
      "Identities kept for a resume")                                         \
    _(users, nusers, "zone_users", GAUGE, "Users with a session")             \
    _(seats, nseats, "zone_seats", GAUGE, "Seats of clients on channels")     \
    _(seats_lingering, seats_lingering, "zone_seats_lingering", GAUGE,        \
      "Seats kept for a resume")                                              \
    _(members, nmembers, "zone_members", GAUGE, "Members of channels")        \
    _(records, nrecords, "zone_records", GAUGE, "Records of channels")        \
    _(record_bytes, record_bytes, "zone_record_bytes", GAUGE,                 \
      "Names and values of their fields")                                     \
    _(record_sets, record_sets, "zone_record_sets", COUNTER,                  \
      "Changes of records, deletes included")                                 \
    _(record_conflicts, record_conflicts, "zone_record_conflicts", COUNTER,   \
      "Changes of records refused for a conflict")                            \
    _(record_rejected, record_rejected, "zone_record_rejected", COUNTER,      \
      "Fields in conflict, of changes that were refused or made in part")     \
    _(record_expired, record_expired, "zone_record_expired", COUNTER,         \
      "Records deleted by records_ttl=")                                      \
    _(locks, nlocks, "zone_locks", GAUGE, "Locks that are held")              \
    _(lock_waiters, nwaiters, "zone_lock_waiters", GAUGE,                     \
      "Clients in line for a lock")                                           \
    _(lock_grants, lock_grants, "zone_lock_grants", COUNTER,                  \
      "Locks granted")                                                        \
    _(lock_conflicts, lock_conflicts, "zone_lock_conflicts", COUNTER,         \
      "Locks refused at once, because somebody else held them")               \
    _(lock_waits, lock_waits, "zone_lock_waits", COUNTER,                     \
      "Waits for a lock begun")                                               \
    _(lock_timeouts, lock_timeouts, "zone_lock_timeouts", COUNTER,            \
      "Waits for a lock that ended without it")                               \
    _(locks_expired, locks_expired, "zone_locks_expired", COUNTER,            \
      "Locks whose time was over while they were held")                       \
    _(locks_broken, locks_broken, "zone_locks_broken", COUNTER,               \
      "Locks broken by the HTTP API")                                         \
    _(denials, ndenials, "zone_denials", GAUGE,                               \
      "Users, clients, addresses and tokens that are shut out")               \
    _(denials_limit, denials_max, "zone_denials_limit", GAUGE,                \
      "Limit of them: denials=")                                              \
    _(seen, nseen, "zone_seen", GAUGE,                                        \
      "Records of when a user left a channel")                                \
    _(addresses, naddresses, "zone_addresses", GAUGE,                         \
      "Addresses with sessions, once for each worker")                        \
    _(budgets, budgets, "zone_budgets", GAUGE,                                \
      "Entries of the table of budgets in use")                               \
    _(budgets_limit, budgets_max, "zone_budgets_limit", GAUGE,                \
      "Entries of the table of budgets")                                      \
    _(budgets_lost, budgets_lost, "zone_budgets_lost", COUNTER,               \
      "Budgets forgotten for lack of room before they were full again")       \
    _(address_limit, address_max, "zone_address_limit_percent", GAUGE,        \
      "Of what others leave of a share, an address may hold: address=")       \
    _(user_limit, user_max, "zone_user_limit_percent", GAUGE,                 \
      "Of what others leave of a share, a user may hold: user=")              \
    _(deltas, deltas, "zone_presence_deltas", COUNTER,                        \
      "Changes of presence told, as entries")                                 \
    _(changes, changes, "zone_presence_changes", COUNTER,                     \
      "Joins, leaves and changes in them")                                    \
    _(cancelled, cancelled, "zone_presence_cancelled", COUNTER,               \
      "Changes of presence that undid each other before they were told")      \
    _(conflated, conflated, "zone_signals_conflated", COUNTER,                \
      "Signals replaced by newer ones before they were read")                 \
    _(signals_dropped, signals_dropped, "zone_signals_dropped", COUNTER,      \
      "Signals dropped")                                                      \
    _(mail_dropped, mail_dropped, "zone_mail_dropped", COUNTER,               \
      "Mail of clients dropped for lack of room")                             \
    _(events_queued, nevents, "zone_events_queued", GAUGE,                    \
      "Events that wait for the backend")                                     \
    _(events_limit, events_max, "zone_events_limit", GAUGE,                   \
      "Events that may wait: queue= of fanout_hook")                          \
    _(events_lag, events_lag, "zone_events_lag_seconds", SECONDS,             \
      "Age of the oldest event that waits")                                   \
    _(events_told, events_told, "zone_events", COUNTER,                       \
      "Events put into the queue")                                            \
    _(events_lost, events_lost, "zone_events_lost", COUNTER,                  \
      "Events dropped for lack of room, never told")                          \
    _(events_leader, events_leader, NULL, GAUGE,                              \
      "Process that delivers them")                                           \
    _(held, held, "zone_held_bytes", BYTES,                                   \
      "Memory that only workers that don't read hold")                        \
    _(held_max, held_max, "zone_held_limit_bytes", BYTES,                     \
      "What they may hold: held=")                                            \
    _(seq, seq, "zone_entries", COUNTER, "Entries appended to any channel")   \
    _(incarnation, incarnation, NULL, GAUGE,                                  \
      "Changes when the zone was rebuilt empty")                              \
    _(evicted, evicted, "zone_evicted", COUNTER,                              \
      "Entries evicted for lack of room")                                     \
    _(expired, expired, "zone_expired", COUNTER, "Entries expired by ttl=")   \
    _(dropped, dropped, "zone_dropped", COUNTER,                              \
      "Cursors of workers moved on, which leaves gaps")                       \
    _(full, full, "zone_refused", COUNTER,                                    \
      "Operations refused because nothing could be evicted")                  \
    _(rollbacks, rollbacks, "zone_rollbacks", COUNTER,                        \
      "Transactions of dead workers undone")                                  \
    _(reaped, reaped, "zone_reaped", COUNTER, "Workers that died")            \
    _(overflows, overflows, "zone_overflows", COUNTER,                        \
      "Overflows of the journal: a bug")


/* channels by traffic, see status/busiest.c */

typedef struct fanout_busiest_s  fanout_busiest_t;


/* What is appended to, and whether that has failed. */

typedef struct {
    fanout_hub_t         *hub;
    fanout_outbuf_t      *out;
    fanout_zone_stat_t   *stat;
    fanout_busiest_t     *busiest;              /* NULL: unknown */
    ngx_uint_t            failed;
} fanout_writer_t;

/* Appends what ngx_sprintf() makes of it, 511 bytes at most; bytes; a string
 * of JSON. */
void fanout_put(fanout_writer_t *w, const char *fmt, ...);
void fanout_put_bytes(fanout_writer_t *w, const void *data, size_t len);
void fanout_put_string(fanout_writer_t *w,
    const void *data, size_t len);

#define fanout_put_text(w, text)                                              \
    fanout_put_bytes(w, text, sizeof(text) - 1)


/* what is wrong: see status/health.c */

#define FANOUT_HEALTH_NOTE     0                /* beside what goes well */
#define FANOUT_HEALTH_WARNING  1
#define FANOUT_HEALTH_FAILURE  2

/* and 8 states that are not failures of the last minute */
#define FANOUT_PROBLEMS  (FANOUT_NFAILURES + 8)

typedef struct {
    const char                    *name;
    ngx_uint_t                     level;
    uint64_t                       count;       /* in the last minute, or what
                                                   the state is about */
} fanout_problem_t;

typedef struct {
    ngx_uint_t            level;                /* the worst */
    uint32_t              seconds;              /* of the last minute */
    ngx_uint_t            n;
    fanout_problem_t      problems[FANOUT_PROBLEMS];
} fanout_health_t;

void fanout_health(fanout_hub_t *hub, fanout_zone_stat_t *st,
    fanout_health_t *health);

/* How much of the zone is in use, in percent. */
ngx_uint_t fanout_health_used(fanout_zone_stat_t *st);

/* Why this worker should get no more clients, or NULL.  A full zone and a
 * backend that fails are no reason: readers are served as well as ever. */
const char *fanout_health_unfit(fanout_hub_t *hub, fanout_zone_stat_t *st);

/* "ok", and what fails all the same; what is beyond last is left out. */
u_char *fanout_health_line(fanout_hub_t *hub, fanout_zone_stat_t *st,
    u_char *p, u_char *last);

void fanout_health_json(fanout_writer_t *w);


/* formats: append the whole of it; w->stat is filled */

#define FANOUT_STATUS_HISTORY  1                /* the last hour as well */
#define FANOUT_STATUS_BUSIEST  2                /* channels by traffic */

void fanout_status_json(fanout_writer_t *w, ngx_uint_t with);

void fanout_status_metrics(fanout_writer_t *w, ngx_uint_t openmetrics);

/* The names of counters, in their order, and what they count. */
extern const char *const  fanout_counter_names[];
extern const char *const  fanout_share_names[];
extern const char *const  fanout_counter_texts[];

/* Appends a format to an outbuf, with the numbers of now and the busiest
 * channels (NULL: unknown). NGX_ERROR: no memory, the outbuf has a part. */
ngx_int_t fanout_status_write(fanout_hub_t *hub, fanout_busiest_t *busiest,
    fanout_outbuf_t *f, void (*format)(fanout_writer_t *w, ngx_uint_t arg),
    ngx_uint_t arg);


/* watching: see status/watch.c */

/* Somebody polls: what is only known while somebody watches is gathered for
 * some time. */
void fanout_watch_poll(fanout_hub_t *hub);


/* channels by traffic: see status/busiest.c */

#define FANOUT_BUSIEST  20

/* NULL on lack of memory. */
fanout_busiest_t *fanout_busiest_create(void);
void fanout_busiest_free(fanout_busiest_t *b);

/* Goes on with the walk through the zone, a bounded part of it. */
void fanout_busiest_walk(fanout_busiest_t *b, fanout_hub_t *hub);

/* Appends an object of JSON. */
void fanout_busiest_json(fanout_busiest_t *b, fanout_writer_t *w);

/* The busiest channels of this worker, NULL while nobody watches. */
fanout_busiest_t *fanout_watch_busiest(fanout_hub_t *hub);


#endif /* FANOUT_STATUS_STATUS_H */
