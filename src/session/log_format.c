
/*
 * Copyright (c) 2026 nginx-fanout contributors
 *
 * Formats of the lines of fanout_log.
 *
 * Users, channels, reasons and origins come from clients: nothing of them may
 * end a line, close a string or move a terminal's cursor.  In JSON that are
 * quotes, backslashes, all control characters, the line and paragraph
 * separators and what turns the direction of writing; bytes that are no UTF-8
 * become U+FFFD.  In a format of one's own it is what the access log escapes,
 * in the same way.
 */


#include "session/log.h"
#include "base/id.h"
#include "base/utf8.h"


enum {
    TEXT = 0,
    NUMBER,
    FLAG,
    SECONDS,
    COUNT,
    CLIENT,
    TIME,
    MSEC
};


typedef struct {
    ngx_str_t   name;
    ngx_uint_t  type;
    size_t      offset;
    ngx_uint_t  events;        /* that have it */
    ngx_uint_t  json;          /* is in a line of JSON */
} field_t;


static u_char *format_json(u_char *p, fanout_session_log_line_t *line);
static u_char *format_own(u_char *p, fanout_session_log_t *log,
    fanout_session_log_line_t *line);
static ngx_uint_t format_absent(const field_t *f,
    fanout_session_log_line_t *line);
static u_char *put_bare(u_char *p, const field_t *f,
    fanout_session_log_line_t *line);
static u_char *put_json(u_char *p, ngx_str_t *text);
static u_char *put_character(u_char *p, u_char *s, size_t n);
static u_char *put_escaped(u_char *p, ngx_str_t *text);
static size_t character(u_char *s, size_t len);
static ngx_uint_t dangerous(uint32_t c);
static ngx_int_t format_find_field(ngx_str_t *name);


#define E_CONNECT  FANOUT_LOG_CONNECT
#define E_DENY     FANOUT_LOG_DENY
#define E_JOIN     FANOUT_LOG_JOIN
#define E_LEAVE    FANOUT_LOG_LEAVE
#define E_CLOSE    FANOUT_LOG_CLOSE
#define E_AUTH     FANOUT_LOG_AUTH
#define E_CONFLICT FANOUT_LOG_CONFLICT
#define E_KICK     FANOUT_LOG_KICK
#define E_PUBLISH  FANOUT_LOG_PUBLISH
#define E_CHANGE   FANOUT_LOG_CHANGE
#define E_BLOCK    FANOUT_LOG_BLOCK
#define E_REVOKE   FANOUT_LOG_REVOKE
#define E_ALL      FANOUT_LOG_ALL

#define field(name, type, events)                                             \
    { ngx_string(#name), type,                                                \
      offsetof(fanout_session_log_line_t, name), events, 1 }

static const field_t  fields[] = {
    { ngx_string("time"), TIME, 0, E_ALL, 1 },
    { ngx_string("msec"), MSEC, 0, E_ALL, 0 },
    field(event, TEXT, E_ALL),
    field(zone, TEXT, E_ALL),
    field(pid, NUMBER, E_ALL),
    field(connection, NUMBER, E_ALL),
    field(addr, TEXT, E_ALL),
    field(client, CLIENT, E_ALL),
    field(user, TEXT, E_ALL),
    field(dialect, TEXT, E_CONNECT|E_DENY),
    field(transport, TEXT, E_CONNECT|E_DENY|E_CLOSE),
    field(resumed, FLAG, E_CONNECT),
    field(origin, TEXT, E_DENY),
    field(op, TEXT, E_DENY|E_CONFLICT|E_KICK|E_CHANGE|E_BLOCK|E_REVOKE),
    field(channel, TEXT, E_ALL & ~(E_CONNECT|E_AUTH|E_BLOCK)),
    field(name, TEXT, E_CONFLICT|E_CHANGE|E_BLOCK|E_REVOKE),
    field(offset, COUNT, E_PUBLISH|E_CHANGE),
    field(status, NUMBER, E_DENY|E_CONFLICT),
    field(repeated, COUNT, E_DENY|E_CONFLICT),
    field(code, NUMBER, E_CLOSE),
    field(reason, TEXT, E_DENY|E_CONFLICT|E_CLOSE),
    field(rule, TEXT, E_DENY),
    field(by, TEXT, E_CLOSE),
    field(duration, SECONDS, E_CLOSE|E_BLOCK|E_REVOKE),
    field(messages_in, NUMBER, E_CLOSE),
    field(messages_out, NUMBER, E_CLOSE),
    field(bytes_in, NUMBER, E_CLOSE),
    field(bytes_out, NUMBER, E_CLOSE),
    field(sample, COUNT, E_ALL)
};

#define NFIELDS  ((ngx_int_t) (sizeof(fields) / sizeof(fields[0])))

static const struct {
    ngx_str_t   name;
    ngx_uint_t  event;
    ngx_uint_t  severity;
    ngx_uint_t  sampled;       /* may be */
} events[] = {
    { ngx_string("connect"), E_CONNECT, FANOUT_LOG_INFO, 1 },
    { ngx_string("deny"), E_DENY, FANOUT_LOG_WARN, 0 },
    { ngx_string("join"), E_JOIN, FANOUT_LOG_INFO, 1 },
    { ngx_string("leave"), E_LEAVE, FANOUT_LOG_INFO, 1 },
    { ngx_string("auth"), E_AUTH, FANOUT_LOG_NOTICE, 0 },
    { ngx_string("close"), E_CLOSE, FANOUT_LOG_INFO, 1 },
    { ngx_string("conflict"), E_CONFLICT, FANOUT_LOG_NOTICE, 0 },
    { ngx_string("kick"), E_KICK, FANOUT_LOG_NOTICE, 0 },
    { ngx_string("publish"), E_PUBLISH, FANOUT_LOG_INFO, 1 },
    { ngx_string("change"), E_CHANGE, FANOUT_LOG_INFO, 1 },
    { ngx_string("block"), E_BLOCK, FANOUT_LOG_WARN, 0 },
    { ngx_string("revoke"), E_REVOKE, FANOUT_LOG_WARN, 0 }
};

#define NEVENTS  (sizeof(events) / sizeof(events[0]))


u_char *
fanout_session_log_format(u_char *p, fanout_session_log_t *log,
    fanout_session_log_line_t *line)
{
    line->event = events[fanout_session_log_index(line->kind)].name;

    p = log->parts ? format_own(p, log, line) : format_json(p, line);

    *p++ = LF;

    return p;
}


static u_char *
format_json(u_char *p, fanout_session_log_line_t *line)
{
    u_char         *start;
    ngx_int_t       i;
    const field_t  *f;

    start = p;

    for (i = 0; i < NFIELDS; i++) {
        f = &fields[i];

        if (!f->json || format_absent(f, line)) {
            continue;
        }

        *p = p == start ? '{' : ',';
        p = ngx_sprintf(p + 1, "\"%V\":", &f->name);

        switch (f->type) {

        case TEXT:
            p = put_json(p, (ngx_str_t *) ((u_char *) line + f->offset));
            break;

        case TIME:
        case CLIENT:
            *p++ = '"';
            p = put_bare(p, f, line);
            *p++ = '"';
            break;

        default:
            p = put_bare(p, f, line);
        }
    }

    *p++ = '}';

    return p;
}


static u_char *
format_own(u_char *p, fanout_session_log_t *log,
    fanout_session_log_line_t *line)
{
    ngx_uint_t                  i;
    const field_t              *f;
    fanout_session_log_part_t  *part;

    part = log->parts->elts;

    for (i = 0; i < log->parts->nelts; i++) {

        if (part[i].field == -1) {
            p = ngx_cpymem(p, part[i].text.data, part[i].text.len);
            continue;
        }

        f = &fields[part[i].field];

        if (format_absent(f, line)) {
            *p++ = '-';

        } else if (f->type == TEXT) {
            p = put_escaped(p, (ngx_str_t *) ((u_char *) line + f->offset));

        } else {
            p = put_bare(p, f, line);
        }
    }

    return p;
}


static ngx_uint_t
format_absent(const field_t *f, fanout_session_log_line_t *line)
{
    u_char  *value;

    if (!(f->events & line->kind)) {
        return 1;
    }

    value = (u_char *) line + f->offset;

    switch (f->type) {

    case TEXT:
        return ((ngx_str_t *) value)->len == 0;

    case CLIENT:
    case COUNT:
        return *(uint64_t *) value == 0;

    default:
        return 0;
    }
}


static u_char *
put_bare(u_char *p, const field_t *f, fanout_session_log_line_t *line)
{
    uint64_t     n;
    ngx_tm_t     tm;
    ngx_time_t  *tp;

    n = *(uint64_t *) ((u_char *) line + f->offset);

    switch (f->type) {

    case FLAG:
        return ngx_sprintf(p, "%s", n ? "true" : "false");

    case SECONDS:
        return ngx_sprintf(p, "%uL.%03uL", n / 1000, n % 1000);

    case CLIENT:
        return fanout_client_format(p, n);

    case TIME:
        tp = ngx_timeofday();
        ngx_gmtime(tp->sec, &tm);

        return ngx_sprintf(p, "%4d-%02d-%02dT%02d:%02d:%02d.%03MZ",
                           tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                           tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                           tp->msec);

    case MSEC:
        tp = ngx_timeofday();

        return ngx_sprintf(p, "%T.%03M", tp->sec, tp->msec);

    default:
        return ngx_sprintf(p, "%uL", n);
    }
}


/* escaping */

static u_char *
put_json(u_char *p, ngx_str_t *text)
{
    u_char  *s, *last;
    size_t   n;

    s = text->data;
    last = s + ngx_min(text->len, FANOUT_LOG_TEXT);

    *p++ = '"';

    while (s < last) {
        n = character(s, last - s);

        if (n) {
            p = put_character(p, s, n);
            s += n;
            continue;
        }

        if (last - s < 4 && (size_t) (last - text->data) < text->len) {
            /* cut off within a character */
            break;
        }

        p = ngx_cpymem(p, "\xef\xbf\xbd", 3);
        s++;
    }

    *p++ = '"';

    return p;
}


static u_char *
put_character(u_char *p, u_char *s, size_t n)
{
    uint32_t  c;

    switch (n) {

    case 1:
        c = s[0];
        break;

    case 2:
        c = (s[0] & 0x1f) << 6 | (s[1] & 0x3f);
        break;

    case 3:
        c = (s[0] & 0x0f) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
        break;

    default:
        /* nothing to fear above the basic plane */
        return ngx_cpymem(p, s, n);
    }

    if (c == '"' || c == '\\') {
        *p++ = '\\';
        *p++ = (u_char) c;
        return p;
    }

    if (dangerous(c)) {
        return ngx_sprintf(p, "\\u%04xD", c);
    }

    return ngx_cpymem(p, s, n);
}


/* bytes of the character that begins here, 0 if none does */

static size_t
character(u_char *s, size_t len)
{
    size_t  n;

    n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (n > len
        || fanout_utf8_check(s, n) != FANOUT_UTF8_OK)
    {
        return 0;
    }

    return n;
}


static ngx_uint_t
dangerous(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0)
           || (c >= 0x200b && c <= 0x200f)
           || (c >= 0x2028 && c <= 0x202e)
           || (c >= 0x2066 && c <= 0x2069)
           || c == 0x061c || c == 0xfeff;
}


static u_char *
put_escaped(u_char *p, ngx_str_t *text)
{
    u_char  *s, *last;

    last = text->data + ngx_min(text->len, FANOUT_LOG_TEXT);

    for (s = text->data; s < last; s++) {

        if (*s < 0x20 || *s > 0x7e || *s == '"' || *s == '\\') {
            p = ngx_sprintf(p, "\\x%02XD", (uint32_t) *s);
            continue;
        }

        *p++ = *s;
    }

    return p;
}


/* events */

ngx_uint_t
fanout_session_log_named(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < NEVENTS; i++) {
        if (events[i].name.len == name->len
            && ngx_memcmp(events[i].name.data, name->data, name->len) == 0)
        {
            return i;
        }
    }

    return FANOUT_LOG_NFOUND;
}


ngx_uint_t
fanout_session_log_index(ngx_uint_t event)
{
    ngx_uint_t  i;

    for (i = 0; i < NEVENTS - 1 && events[i].event != event; i++) { /* void */ }

    return i;
}


ngx_uint_t
fanout_session_log_severity(ngx_uint_t i)
{
    return events[i].severity;
}


ngx_uint_t
fanout_session_log_sampled(ngx_uint_t i)
{
    return events[i].sampled;
}


const ngx_str_t *
fanout_session_log_without(fanout_session_log_t *log, ngx_uint_t i)
{
    return (log->events & events[i].event)
           && events[i].severity <= log->severity
           ? NULL : &events[i].name;
}


/* of the directive */

ngx_uint_t
fanout_session_log_events(ngx_str_t *list)
{
    u_char     *comma, *last;
    ngx_str_t   name;
    ngx_uint_t  i, set;

    set = 0;
    name.data = list->data;
    last = list->data + list->len;

    for ( ;; ) {
        comma = ngx_strlchr(name.data, last, ',');
        name.len = (comma ? comma : last) - name.data;

        i = fanout_session_log_named(&name);

        if (i == FANOUT_LOG_NFOUND) {
            *list = name;
            return 0;
        }

        set |= events[i].event;

        if (comma == NULL) {
            return set;
        }

        name.data = comma + 1;
    }
}


const char *
fanout_session_log_compile(ngx_conf_t *cf, ngx_str_t *format,
    fanout_session_log_t *log, ngx_str_t *part)
{
    u_char                     *p, *last;
    size_t                      size;
    ngx_uint_t                  bracket;
    fanout_session_log_part_t  *piece;

    log->parts = ngx_array_create(cf->pool, 8,
                                  sizeof(fanout_session_log_part_t));
    if (log->parts == NULL) {
        return "no memory for format";
    }

    size = 1;
    p = format->data;
    last = p + format->len;

    while (p < last) {

        piece = ngx_array_push(log->parts);
        if (piece == NULL) {
            return "no memory for format";
        }

        piece->field = -1;
        piece->text.data = p;

        if (*p != '$') {
            while (p < last && *p != '$') {
                p++;
            }

            piece->text.len = p - piece->text.data;
            size += piece->text.len;
            continue;
        }

        p++;
        bracket = (p < last && *p == '{');
        p += bracket;
        part->data = p;

        while (p < last && ((*p >= 'a' && *p <= 'z') || *p == '_')) {
            p++;
        }

        part->len = p - part->data;

        if (bracket) {
            if (p == last || *p != '}') {
                *part = *format;
                return "a brace is not closed in format";
            }

            p++;
        }

        piece->field = format_find_field(part);

        if (piece->field == -1) {
            return "unknown name in a format";
        }

        size += fields[piece->field].type == TEXT ? FANOUT_LOG_VALUE
                                                  : 32;
    }

    if (size > FANOUT_LOG_LINE) {
        *part = *format;
        return "a line can be larger than 64k in format";
    }

    return NULL;
}


static ngx_int_t
format_find_field(ngx_str_t *name)
{
    ngx_int_t  i;

    for (i = 0; i < NFIELDS; i++) {
        if (fields[i].name.len == name->len
            && ngx_memcmp(fields[i].name.data, name->data, name->len) == 0)
        {
            return i;
        }
    }

    return -1;
}
