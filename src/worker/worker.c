
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * The life of a worker: its slot in the zone, and what it leaves at its exit.
 */


#include "worker/worker.h"
#include "session/denial.h"
#include "session/session.h"


static void worker_claim(fanout_hub_t *hub, ngx_cycle_t *cycle);
static void worker_accounts(fanout_hub_t *hub);
static ngx_uint_t worker_logs(fanout_hub_t *hub, const char *text);
static void close_sockets(fanout_hub_t *hub);


static const fanout_sink_t  worker_sink = {
    fanout_deliver,
    fanout_worker_rebuilt,
    worker_logs,
    fanout_denials_apply
};


ngx_int_t
fanout_worker_init(fanout_app_t *app, ngx_cycle_t *cycle)
{
    fanout_hub_t  *hub;

    hub = fanout_hub_create(app, &worker_sink, cycle->log);
    if (hub == NULL) {
        return NGX_ERROR;
    }

    worker_claim(hub, cycle);

    hub->counters = fanout_slot_counters(&hub->zone);
    hub->incarnation = hub->zone.heap.incarnation;

    worker_accounts(hub);

    if (fanout_loop_init(hub, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    fanout_hub_vitals(hub);

    app->hub = hub;

    return NGX_OK;
}


static void
worker_claim(fanout_hub_t *hub, ngx_cycle_t *cycle)
{
    if (fanout_slot_claim(&hub->zone, ngx_pid)
        == FANOUT_ZONE_OK)
    {
        return;
    }

    /* the slots of dead workers may not be cleaned up yet */

    (void) fanout_slot_reap(&hub->zone, hub->app->resume, NULL);

    if (fanout_slot_claim(&hub->zone, ngx_pid)
        != FANOUT_ZONE_OK)
    {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "no free worker slot in fanout zone \"%V\", "
                      "it serves no subscribers in this worker yet; "
                      "increase \"slots=\"", &hub->app->name);
    }
}


/* accounts of channels, one for each policy, and their shares */

static void
worker_accounts(fanout_hub_t *hub)
{
    ngx_uint_t            i;
    fanout_app_t         *app;
    fanout_policy_t      *policy;
    fanout_zone_shares_t  shares;

    app = hub->app;
    policy = app->policies.elts;

    for (i = 0; i < app->policies.nelts; i++) {
        policy[i].keep.account = fanout_zone_account(&hub->zone,
                                     policy[i].text.data, policy[i].text.len);
    }

    app->none.keep.account = fanout_zone_account(&hub->zone,
                                                 (u_char *) "", 0);

    fanout_shares(app, &shares);
    fanout_zone_bound(&hub->zone, &shares);
}


static ngx_uint_t
worker_logs(fanout_hub_t *hub, const char *text)
{
    return fanout_session_log_gather_error(NGX_LOG_WARN, &hub->app->name, text);
}


void
fanout_worker_exit(fanout_app_t *app)
{
    ngx_queue_t       *q;
    fanout_hub_t      *hub;
    fanout_session_t  *s;

    hub = app->hub;

    if (hub == NULL) {
        return;
    }

    /* the worker exits at once: its clients may come back */

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->state == FANOUT_ENDED) {
            /* the session is leaving its channels */
            fanout_session_log_close(s);
            continue;
        }

        fanout_session_log_ended(s, 1006, "shutdown");
        fanout_session_log_close(s);

        fanout_identity_end(&hub->zone, s->identity_ref, &s->identity,
                            s->conf->resume, s->heard || s->resumed,
                            FANOUT_LEFT_NETWORK);
    }

    while (fanout_presence_flush(&hub->zone) == 0) { /* void */ }

    fanout_slot_release(&hub->zone);

    close_sockets(hub);
}


/* NGINX logs an alert for each connection that is open when a worker that was
 * shutting down exits at once. */

static void
close_sockets(fanout_hub_t *hub)
{
    ngx_queue_t       *q;
    fanout_session_t  *s;

    for (q = ngx_queue_head(&hub->sessions);
         q != ngx_queue_sentinel(&hub->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, fanout_session_t, queue);

        if (s->connection && s->connection->fd != (ngx_socket_t) -1
            && (s->request == NULL
                || s->request->http_version < NGX_HTTP_VERSION_20))
        {
            ngx_close_connection(s->connection);
        }
    }
}
