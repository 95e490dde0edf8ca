#define NGX_HTTP_FANOUT_EVENT_CONNECT     0x01
#define NGX_HTTP_FANOUT_EVENT_DISCONNECT  0x02
#define NGX_HTTP_FANOUT_EVENT_JOIN        0x04
#define NGX_HTTP_FANOUT_EVENT_LEAVE       0x08
#define NGX_HTTP_FANOUT_EVENT_FIRST_IN    0x10
#define NGX_HTTP_FANOUT_EVENT_LAST_OUT    0x20
#define NGX_HTTP_FANOUT_EVENT_OCCUPIED    0x40
#define NGX_HTTP_FANOUT_EVENT_VACATED     0x80
typedef struct {
    uint64_t                    offset;
    uint64_t                    time;
    uint64_t                    client;
    ngx_http_fanout_zstr_t      channel;
    ngx_http_fanout_zstr_t      user;
    uint8_t                     events;
    uint8_t                     reason;
    unsigned                    resumed:1;
} ngx_http_fanout_event_t;
#define ngx_http_fanout_events_ask(z, m, n) 0
#define ngx_http_fanout_events_lead(z) ((z) == NULL)
#define ngx_http_fanout_events_any(z) 0
#define ngx_http_fanout_events_yield(z) (void) (z)
#define ngx_http_fanout_events_read(z, a, e, m, b, s, n, ep, l) (*(n) = 0, *(l) = 0, 0)
#define ngx_http_fanout_events_done(z, e, o) (void) 0
