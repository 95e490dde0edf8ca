/*
 * The longest section of changes of records.
 */


#include <stdio.h>

#include "sections.h"
#include "zone/record.h"


static policy_t   policy = { .history = 100, .records = FANOUT_RECORDS_ON };
static channel_t  c;
static uint8_t    bytes[4 * FANOUT_ZONE_RECORD_SIZE];


static void
start(void)
{
    begin(64 * MB);
    c = opened(&za, "channel", 0, &policy);
    (void) opened(&zb, "channel", 0, &policy);
    memset(text, '1', FANOUT_ZONE_RECORD);
}


/* Gives n fields values of len bytes, the first byte of them is first. */

static void
change(const char *id, unsigned n, const char *prefix, size_t len, int op,
    int first)
{
    char                       names[FANOUT_ZONE_FIELDS][16];
    unsigned                   i;
    fanout_records_t           to;
    fanout_zone_set_t          set;
    fanout_zone_change_t       changes[FANOUT_ZONE_FIELDS];
    fanout_zone_set_result_t   r;

    memset(&to, 0, sizeof(to));
    memset(&set, 0, sizeof(set));
    memset(changes, 0, sizeof(changes));
    text[0] = first;

    for (i = 0; i < n; i++) {
        changes[i].name.data = (uint8_t *) names[i];
        changes[i].name.len = sprintf(names[i], "%s-%u", prefix, i);
        changes[i].value.data = text;
        changes[i].value.len = len;
        changes[i].op = op;
    }

    to.bytes = bytes;
    to.size = sizeof(bytes);
    set.id.data = (const uint8_t *) id;
    set.id.len = strlen(id);
    set.changes = changes;
    set.n = n;
    set.whole = op == 0;

    for (i = 0; set.whole && i < n; i++) {
        changes[i].op = FANOUT_FIELD_SET;
    }

    touch(&za);
    need(fanout_record_set(&za, &c, &set, &to, &r), "set");
    drain(&za);
    drain(&zb);
}


static void
changed(unsigned n, size_t len)
{
    unsigned  i;

    start();
    change("record", n, "field", len, FANOUT_FIELD_SET, '1');
    longest = 0;

    for (i = 0; i < 100; i++) {
        change("record", n, "field", len, FANOUT_FIELD_SET, '2' + i % 8);
    }
}


void
record_1_field(void)
{
    changed(1, 20);
}


void
record_128_fields(void)
{
    changed(FANOUT_ZONE_FIELDS, 400);
}


void
record_64k(void)
{
    changed(1, FANOUT_ZONE_RECORD - 100);
}


/* entries with what was before, and with the whole record */

void
record_old_64k(void)
{
    policy.records |= FANOUT_RECORDS_OLD;
    changed(1, FANOUT_ZONE_RECORD - 100);
    policy.records = FANOUT_RECORDS_ON;
}


static void
full(unsigned n)
{
    unsigned  i;

    start();
    policy.records |= FANOUT_RECORDS_OLD|FANOUT_RECORDS_WHOLE;
    change("record", FANOUT_ZONE_FIELDS, "field", 490, FANOUT_FIELD_SET, '1');
    longest = 0;

    for (i = 0; i < 100; i++) {
        change("record", n, "field", 490, FANOUT_FIELD_SET, '2' + i % 8);
    }

    policy.records = FANOUT_RECORDS_ON;
}


void
record_full_1_field(void)
{
    full(1);
}


void
record_full_128_fields(void)
{
    full(FANOUT_ZONE_FIELDS);
}


/* all fields are others */

void
record_whole(void)
{
    unsigned  i;

    start();
    longest = 0;

    for (i = 0; i < 100; i++) {
        change("record", FANOUT_ZONE_FIELDS, i & 1 ? "odd" : "even", 400, 0,
               '1');
    }
}


void
record_append(void)
{
    unsigned  i;

    start();
    change("record", 1, "field", FANOUT_ZONE_RECORD - 1000,
           FANOUT_FIELD_APPEND, '1');
    longest = 0;

    for (i = 0; i < 100; i++) {
        change("record", 1, "field", 5, FANOUT_FIELD_APPEND, '1');
    }
}


static void
deleted(unsigned n, size_t len)
{
    double                     most;
    unsigned                   i;
    fanout_zone_set_t          set;
    fanout_zone_set_result_t   r;

    start();
    memset(&set, 0, sizeof(set));
    set.id.data = (const uint8_t *) "record";
    set.id.len = 6;
    most = 0;

    for (i = 0; i < 100; i++) {
        change("record", n, "field", len, FANOUT_FIELD_SET, '1');
        touch(&za);
        longest = 0;
        need(fanout_record_delete(&za, &c, &set, &r), "delete");
        most = longest > most ? longest : most;
        drain(&za);
        drain(&zb);
    }

    longest = most;
}


void
record_delete(void)
{
    deleted(FANOUT_ZONE_FIELDS, 400);
}


/* entries with what was before */

void
record_delete_old_64k(void)
{
    policy.records |= FANOUT_RECORDS_OLD;
    deleted(1, FANOUT_ZONE_RECORD - 100);
    policy.records = FANOUT_RECORDS_ON;
}


void
record_clear(void)
{
    int       rc;
    char      id[16];
    unsigned  i;

    start();

    for (i = 0; i < 1000; i++) {
        (void) sprintf(id, "record %u", i);
        change(id, FANOUT_ZONE_FIELDS, "field", 10, FANOUT_FIELD_SET, '1');
    }

    longest = 0;

    do {
        rc = fanout_record_clear(&za, &c);
    } while (rc == FANOUT_ZONE_AGAIN);

    need(rc, "clear");
}


void
record_list(void)
{
    int               rc;
    char              id[16];
    uint64_t          cursor;
    unsigned          i;
    fanout_zstr_t     all;
    fanout_records_t  to;

    start();
    memset(&all, 0, sizeof(all));

    for (i = 0; i < 1000; i++) {
        (void) sprintf(id, "record %u", i);
        change(id, 10, "field", 60, FANOUT_FIELD_SET, '1');
    }

    longest = 0;

    for (i = 0; i < 10; i++) {
        cursor = 0;

        do {
            memset(&to, 0, sizeof(to));
            to.bytes = bytes;
            to.size = sizeof(bytes);
            rc = fanout_record_list(&za, &c, &all, &cursor, 0, 1000,
                                    &to);
        } while (rc == FANOUT_ZONE_AGAIN);
    }
}
