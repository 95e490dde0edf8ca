/* sources: src/base/json*.c */
/* libs: -lyajl */

/*
 * If this fails, a client can break the frames of others: data is passed
 * through as it was sent, so what is let in here reaches every subscriber's
 * JSON.parse(); or commands are misread, or a frame of a few KB costs a
 * worker its memory or its stack.
 */


#include <stdlib.h>

#include "tap.h"
#include "base/json.h"


typedef fanout_json_t  json_t;

typedef struct {
    const char  *text;
    size_t       len;
    int          want;
    const char  *what;
} case_t;

typedef struct {
    json_t       id;
    json_t       op;
    json_t       channel;
    json_t       data;
} command_t;


#define s(text)    (const uint8_t *) text, sizeof(text) - 1
#define c(text)    text, sizeof(text) - 1

#define OBJECT     FANOUT_JSON_OBJECT
#define ARRAY      FANOUT_JSON_ARRAY
#define STRING     FANOUT_JSON_STRING
#define NUMBER     FANOUT_JSON_NUMBER
#define INVALID    FANOUT_JSON_INVALID
#define BAD_UTF8   FANOUT_JSON_UTF8
#define TOO_DEEP   FANOUT_JSON_DEPTH_MAX
#define TYPE       FANOUT_JSON_TYPE
#define DUPLICATE  FANOUT_JSON_DUPLICATE
#define UNKNOWN    FANOUT_JSON_UNKNOWN
#define TOO_MANY   FANOUT_JSON_TOO_MANY
#define TOO_LONG   FANOUT_JSON_TOO_LONG
#define SURROGATE  FANOUT_JSON_SURROGATE
#define RANGE      FANOUT_JSON_RANGE


static const fanout_json_field_t  fields[] = {
    fanout_json_field("id", command_t, id),
    fanout_json_field("op", command_t, op),
    fanout_json_field("channel", command_t, channel),
    fanout_json_field("data", command_t, data)
};


static const case_t  texts[] = {

    /* RFC 8259, section 2: one value of any type, whitespace around it */

    { c("{}"), OBJECT, "empty object" },
    { c("[]"), ARRAY, "empty array" },
    { c("\"\""), STRING, "empty string" },
    { c("0"), NUMBER, "a number" },
    { c("true"), FANOUT_JSON_TRUE, "true" },
    { c("false"), FANOUT_JSON_FALSE, "false" },
    { c("null"), FANOUT_JSON_NULL, "null" },
    { c(" \t\r\n{ \n} \r\n\t"), OBJECT, "whitespace of all four kinds" },
    { c("  7  "), NUMBER, "a number in whitespace" },
    { c(""), INVALID, "the empty text" },
    { c(" \n "), INVALID, "nothing but whitespace" },
    { c("{} {}"), INVALID, "two values" },
    { c("1 2"), INVALID, "two numbers" },
    { c("{}x"), INVALID, "trailing garbage" },
    { c("{}\0"), INVALID, "trailing NUL" },
    { c("{}\"x"), INVALID, "a trailing string without an end" },
    { c("{} \""), INVALID, "a trailing quote" },
    { c("\"\"\""), INVALID, "three quotes" },
    { c("1 \"\\"), INVALID, "a trailing string that ends in a backslash" },
    { c("1 \"\\u12"), INVALID, "a trailing string that ends in an escape" },
    { c("[]t"), INVALID, "a trailing piece of a literal" },
    { c("[]-"), INVALID, "a trailing minus" },
    { c("[]/"), INVALID, "a trailing slash" },
    { c("[] 1"), INVALID, "a trailing number" },
    { c("\0{}"), INVALID, "leading NUL" },
    { c("\0"), INVALID, "a NUL" },
    { c("\xef\xbb\xbf{}"), INVALID, "a byte order mark" },
    { c("{}\xef\xbb\xbf"), INVALID, "a byte order mark behind" },
    { c("\v{}"), INVALID, "vertical tab as whitespace" },
    { c("{\f}"), INVALID, "form feed as whitespace" },
    { c("[1,\v2]"), INVALID, "vertical tab between items" },
    { c("\xc2\xa0{}"), INVALID, "no-break space as whitespace" },
    { c("/* */{}"), INVALID, "a comment" },
    { c("{} // x\n"), INVALID, "a line comment" },

    /* section 3: literals */

    { c("True"), INVALID, "True" },
    { c("nul"), INVALID, "nul" },
    { c("nullx"), INVALID, "nullx" },
    { c("truefalse"), INVALID, "truefalse" },
    { c("[nullnull]"), INVALID, "nullnull" },
    { c("NaN"), INVALID, "NaN" },
    { c("Infinity"), INVALID, "Infinity" },
    { c("undefined"), INVALID, "undefined" },

    /* sections 4 and 5: objects and arrays */

    { c("{\"a\":1,\"b\":[1,{\"c\":null}]}"), OBJECT, "nested" },
    { c("{\"a\":1,\"a\":2}"), OBJECT, "a name twice is grammatical" },
    { c("{\"\":1}"), OBJECT, "an empty name" },
    { c("{"), INVALID, "{" },
    { c("["), INVALID, "[" },
    { c("}"), INVALID, "}" },
    { c("]"), INVALID, "]" },
    { c("{]"), INVALID, "{]" },
    { c("[}"), INVALID, "[}" },
    { c("[{]}"), INVALID, "crossed brackets" },
    { c("{\"a\"}"), INVALID, "a name without a value" },
    { c("{\"a\":}"), INVALID, "a colon without a value" },
    { c("{\"a\":1,}"), INVALID, "trailing comma in an object" },
    { c("{,\"a\":1}"), INVALID, "leading comma in an object" },
    { c("{\"a\":1 \"b\":2}"), INVALID, "no comma in an object" },
    { c("{\"a\"::1}"), INVALID, "two colons" },
    { c("{\"a\",1}"), INVALID, "a comma for a colon" },
    { c("{a:1}"), INVALID, "a bare name" },
    { c("{'a':1}"), INVALID, "single quotes" },
    { c("{1:1}"), INVALID, "a number for a name" },
    { c("[1,]"), INVALID, "trailing comma in an array" },
    { c("[,1]"), INVALID, "leading comma in an array" },
    { c("[1,,2]"), INVALID, "two commas" },
    { c("[1 2]"), INVALID, "no comma in an array" },
    { c("[1:2]"), INVALID, "a colon in an array" },
    { c("[]]"), INVALID, "one bracket too many" },

    /* section 6: numbers */

    { c("-0"), NUMBER, "-0" },
    { c("-0.0e-0"), NUMBER, "-0.0e-0" },
    { c("1E+2"), NUMBER, "1E+2" },
    { c("1e400"), NUMBER, "1e400, which is no double" },
    { c("[-1e-999999999999]"), ARRAY, "an exponent past any integer" },
    { c("99999999999999999999999999"), NUMBER, "an integer past 64 bits" },
    { c("-"), INVALID, "-" },
    { c("+1"), INVALID, "+1" },
    { c("--1"), INVALID, "--1" },
    { c("01"), INVALID, "01" },
    { c("-01"), INVALID, "-01" },
    { c("[00]"), INVALID, "00" },
    { c("1."), INVALID, "1." },
    { c("[1.]"), INVALID, "[1.]" },
    { c(".5"), INVALID, ".5" },
    { c("-.5"), INVALID, "-.5" },
    { c("1.e1"), INVALID, "1.e1" },
    { c("1e"), INVALID, "1e" },
    { c("[1e]"), INVALID, "[1e]" },
    { c("[1e+]"), INVALID, "1e+" },
    { c("[1e1.5]"), INVALID, "1e1.5" },
    { c("[0x10]"), INVALID, "0x10" },
    { c("[1a]"), INVALID, "1a" },
    { c("[1_000]"), INVALID, "1_000" },
    { c("[1-2]"), INVALID, "1-2" },

    /* section 7: strings */

    { c("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\""), STRING, "all escapes" },
    { c("\"\\u0000\""), STRING, "an escaped NUL" },
    { c("\"\x7f\""), STRING, "DEL" },
    { c("\"\\ud800\""), STRING, "an escaped lone surrogate" },
    { c("\"\\udc00\\ud800\""), STRING, "surrogates the wrong way round" },
    { c("\"\\uD83D\""), STRING, "half a pair at the end" },
    { c("\"\\uD83D\\"), INVALID, "half a pair and the end of the text" },
    { c("\"\xe2\x80\xa8\xe2\x80\xa9\""), STRING, "U+2028 and U+2029" },
    { c("\"\xef\xbb\xbf\""), STRING, "U+FEFF in a string" },
    { c("\"\xef\xbf\xbf\""), STRING, "U+FFFF" },
    { c("\"a"), INVALID, "no closing quote" },
    { c("\""), INVALID, "a quote" },
    { c("\"\\\""), INVALID, "an escaped closing quote" },
    { c("{\"a\":\"b}"), INVALID, "no closing quote in an object" },
    { c("\"a\nb\""), INVALID, "a newline in a string" },
    { c("\"a\tb\""), INVALID, "a tab in a string" },
    { c("\"a\rb\""), INVALID, "a carriage return in a string" },
    { c("\"a\0b\""), INVALID, "a NUL in a string" },
    { c("\"\x01\""), INVALID, "U+0001 in a string" },
    { c("\"12345678\x1f 2345678\""), INVALID, "U+001F in a string" },
    { c("{\"a\nb\":1}"), INVALID, "a newline in a name" },
    { c("\"\\a\""), INVALID, "\\a" },
    { c("\"\\'\""), INVALID, "\\'" },
    { c("\"\\U0041\""), INVALID, "\\U" },
    { c("\"\\x41\""), INVALID, "\\x" },
    { c("\"\\0\""), INVALID, "\\0" },
    { c("\"\\\n\""), INVALID, "an escaped newline" },
    { c("\"\\u12\""), INVALID, "two hex digits" },
    { c("\"\\u12g4\""), INVALID, "a wrong hex digit" },
    { c("\"\\u+123\""), INVALID, "a sign for a hex digit" },
    { c("\"\\ud83d\\u12\""), INVALID, "a pair cut short" },

    /* section 8.1 and RFC 3629 */

    { c("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""), STRING, "UTF-8" },
    { c("\"\xf4\x8f\xbf\xbf\""), STRING, "U+10FFFF" },
    { c("\"\xed\x9f\xbf\xee\x80\x80\""), STRING, "U+D7FF and U+E000" },
    { c("\"\x80\""), BAD_UTF8, "a continuation byte alone" },
    { c("\"\xff\""), BAD_UTF8, "0xff" },
    { c("\"\xc0\x80\""), BAD_UTF8, "NUL in two bytes" },
    { c("\"\xc1\xbf\""), BAD_UTF8, "overlong, two bytes" },
    { c("\"\xe0\x9f\xbf\""), BAD_UTF8, "overlong, three bytes" },
    { c("\"\xf0\x8f\xbf\xbf\""), BAD_UTF8, "overlong, four bytes" },
    { c("\"\xed\xa0\x80\""), BAD_UTF8, "a surrogate" },
    { c("\"\xed\xa0\xbd\xed\xb8\x80\""), BAD_UTF8, "CESU-8" },
    { c("\"\xf4\x90\x80\x80\""), BAD_UTF8, "U+110000" },
    { c("\"\xf5\x80\x80\x80\""), BAD_UTF8, "0xf5" },
    { c("\"\xf8\x88\x80\x80\x80\""), BAD_UTF8, "five bytes" },
    { c("\"\xe2\x82\""), BAD_UTF8, "cut short" },
    { c("\"1234567\xe2\x82"), BAD_UTF8, "cut short by the end" },
    { c("{\"\xff\":1}"), BAD_UTF8, "in a name" }
};


static json_t
span(const char *text)
{
    json_t  v;

    v.data = (const uint8_t *) text;
    v.len = strlen(text);

    return v;
}


static void *
alloc(size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);

    if (p == NULL) {
        exit(2);
    }

    return p;
}


/* in memory of its exact size, so that a sanitizer sees every read past it */

static int
check_exact(const void *text, size_t len, unsigned depth, json_t *value,
    fanout_json_error_t *err)
{
    int      rc;
    uint8_t  *p;

    p = alloc(len);
    memcpy(p, text, len);

    rc = fanout_json_check(p, len, depth, value, err);

    if (rc > 0) {
        value->data = (const uint8_t *) text + (value->data - p);
    }

    free(p);

    return rc;
}


static void
test_grammar(void)
{
    json_t   value;
    size_t   i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        is_int(check_exact(texts[i].text, texts[i].len,
                           FANOUT_JSON_DEPTH, &value, NULL),
               texts[i].want, "%s: %s", texts[i].what,
               texts[i].want > 0 ? "taken" : "refused");
    }
}


/* every proper prefix of an object is refused, and read within its bounds */

static void
test_prefixes(void)
{
    int                bad;
    size_t             n;
    json_t             value;
    static const char  text[] = " {\"a\":[1.5e3,true,null,\"x\\u00e9\\ud83d"
                                "\\ude00\xe2\x82\xac\"],\"b\":{\"c\":-0}}";

    for (bad = 0, n = 0; n < sizeof(text) - 1; n++) {
        bad += check_exact(text, n, 8, &value, NULL) >= 0;
    }

    is_int(bad, 0, "every prefix refused");
    is_int(check_exact(text, n, 8, &value, NULL), OBJECT, "the whole taken");
}


static void
test_spans(void)
{
    json_t  value;

    fanout_json_check(s(" \n[1, 2] \t"), 1, &value, NULL);
    is_mem(value.data, value.len, "[1, 2]", 6, "whitespace around is cut");

    fanout_json_check(s(" 1e5 "), 0, &value, NULL);
    is_mem(value.data, value.len, "1e5", 3, "around a number too");

    fanout_json_check(s("{]"), 1, &value, NULL);
    is_int(fanout_json_type(&value), FANOUT_JSON_NONE,
           "no value of what is invalid");
}


static void
test_reasons(void)
{
    int                  bad;
    size_t               i;
    json_t               v;
    fanout_json_error_t  err;

    fanout_json_check(s("{\"a\":\"\xff\"}"), 4, &v, &err);
    is_str(err.reason, "invalid UTF-8 at byte 6", "reason: UTF-8");
    is_int(err.at, 6, "position: UTF-8");

    fanout_json_check(s("[\v]"), 4, &v, &err);
    is_str(err.reason, "control character at byte 1", "reason: control");

    fanout_json_check(s("  "), 4, &v, &err);
    is_str(err.reason, "empty text at byte 2", "reason: empty");

    fanout_json_check(s("[[[]]]"), 2, &v, &err);
    is_str(err.reason, "nested too deeply at byte 2", "reason: depth");

    fanout_json_check(s("{\"a\":1"), 2, &v, &err);
    is_str(err.reason, "premature EOF at byte 6", "reason: cut short");

    fanout_json_check(s("{}\"x"), 2, &v, &err);
    is_str(err.reason, "incomplete or trailing token at byte 4",
           "reason: trailing string");

    fanout_json_check(s("[1}"), 2, &v, &err);
    is_int(err.at, 2, "position: grammar");
    ok(strstr(err.reason, " at byte 2"), "reason: %s", err.reason);

    for (bad = 0, i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].want > 0) {
            continue;
        }

        memset(&err, 'x', sizeof(err));
        check_exact(texts[i].text, texts[i].len, 64, &v, &err);

        if (err.at > texts[i].len
            || strchr(err.reason, '\n')
            || strncmp(err.reason, "parse error", 11) == 0
            || strstr(err.reason, " at byte ") == NULL)
        {
            diag("reason for %s: %.88s", texts[i].what, err.reason);
            bad++;
        }
    }

    is_int(bad, 0, "every refusal has a short reason");

    for (bad = 0, i = 1; i <= 10; i++) {
        bad += !strcmp(fanout_json_strerror(-(int) i), "no error");
    }

    is_int(bad, 0, "every error has a text");
}


static void
test_depth(void)
{
    char    *text;
    json_t   value;
    size_t   i, n;
    unsigned  levels;

    n = FANOUT_JSON_DEPTH;
    text = alloc(65536);

    memset(text, '[', n);
    memset(text + n, ']', n);
    is_int(check_exact(text, n * 2, n, &value, NULL), ARRAY,
           "as deep as allowed");
    is_int(check_exact(text, n * 2, n - 1, &value, NULL), TOO_DEEP,
           "one deeper");

    is_int(fanout_json_levels((uint8_t *) text, n * 2, &value,
                              &levels, NULL),
           ARRAY, "any number of levels");
    is_int(levels, n, "is told");
    is_int(fanout_json_depth(&value), n, "and can be asked for");

    is_int(check_exact("[[],[],[],{}]", 13, 2, &value, NULL), ARRAY,
           "depth is not a count");
    is_int(fanout_json_depth(&value), 2, "nor is that of a value");
    is_int(check_exact("[]", 2, 0, &value, NULL), TOO_DEEP,
           "no depth at all");
    is_int(check_exact("1", 1, 0, &value, NULL), NUMBER,
           "a scalar needs none");

    memset(text, '[', 65536);
    is_int(check_exact(text, 65536, n, &value, NULL), TOO_DEEP,
           "64 KB of brackets");

    for (i = 0; i + 5 <= 65536; i += 5) {
        memcpy(text + i, "{\"\":{", 5);
    }

    is_int(check_exact(text, i, n, &value, NULL) < 0, 1, "64 KB of braces");

    for (i = 0; i + 5 <= 65536; i += 5) {
        memcpy(text + i, "{\"a\":", 5);
    }

    is_int(check_exact(text, i, n, &value, NULL), TOO_DEEP,
           "64 KB of objects");

    /* past what the arena of the parser holds */

    memset(text, '[', 2000);
    memset(text + 2000, ']', 2000);
    is_int(check_exact(text, 4000, 2000, &value, NULL), ARRAY,
           "2,000 levels where they are allowed");

    free(text);
}


static void
test_large(void)
{
    char    *text;
    json_t   value;
    size_t   n;

    n = 65536;
    text = alloc(n);

    memset(text, '9', n);
    is_int(check_exact(text, n, 1, &value, NULL), NUMBER, "64 KB of digits");

    text[0] = '[';
    text[n - 1] = ']';
    is_int(check_exact(text, n, 1, &value, NULL), ARRAY,
           "64 KB of digits in an array");

    text[0] = '"';
    is_int(check_exact(text, n, 1, &value, NULL), INVALID,
           "64 KB of a string without an end");

    text[n - 1] = '"';
    is_int(check_exact(text, n, 1, &value, NULL), STRING, "a 64 KB string");

    memset(text + 1, '\\', n - 2);
    is_int(check_exact(text, n, 1, &value, NULL), STRING,
           "a string of backslashes");

    text[1] = 'x';
    is_int(check_exact(text, n, 1, &value, NULL), INVALID,
           "an odd number of backslashes");

    memset(text, ' ', n);
    is_int(check_exact(text, n, 1, &value, NULL), INVALID,
           "64 KB of whitespace");

    free(text);
}


static int
read_command(const char *text, size_t len, command_t *cmd)
{
    return fanout_json_object((const uint8_t *) text, len, 8, fields, 4, cmd,
                              NULL);
}


static void
test_members(void)
{
    json_t               v;
    command_t            cmd;
    fanout_json_error_t  err;

    memset(&cmd, 'x', sizeof(cmd));

    is_int(read_command(c("{ \"id\" : 12 ,\"op\":\"publish\","
                          "\"data\":{\"op\" : [ 1, \"}\" ]} }"), &cmd), 0,
           "a command");
    is_mem(cmd.id.data, cmd.id.len, "12", 2, "number");
    is_mem(cmd.op.data, cmd.op.len, "\"publish\"", 9, "string");
    is_mem(cmd.data.data, cmd.data.len, "{\"op\" : [ 1, \"}\" ]}", 19,
           "object, as sent");
    is_int(cmd.channel.len, 0, "absent is NONE");
    ok(cmd.channel.data == NULL, "absent has no data");

    is_int(read_command(c("{}"), &cmd), 0, "no members");
    is_int(cmd.id.len, 0, "slots are reset");

    is_int(read_command(c("[]"), &cmd), TYPE, "an array is no command");
    is_int(read_command(c("{\"id\":1"), &cmd), INVALID, "cut short");

    is_int(read_command(c("{\"\\u006fp\":1,\"d\\u0061t\\u0061\":null}"), &cmd),
           0, "escaped names");
    is_mem(cmd.op.data, cmd.op.len, "1", 1, "found unescaped");
    is_mem(cmd.data.data, cmd.data.len, "null", 4, "null is there");

    is_int(read_command(c("{\"op\":1,\"op\":2,\"id\":3,\"x\":1}"), &cmd),
           DUPLICATE, "a wanted member twice");
    is_mem(cmd.op.data, cmd.op.len, "1", 1, "the first counts");
    is_mem(cmd.id.data, cmd.id.len, "3", 1, "and what follows is read");
    is_int(read_command(c("{\"op\":1,\"\\u006fp\":2}"), &cmd), DUPLICATE,
           "also escaped");
    is_int(read_command(c("{\"op\":1,\"x\":[{\"op\":1}],\"id\":2}"), &cmd),
           UNKNOWN, "an unknown member");
    is_mem(cmd.op.data, cmd.op.len, "1", 1, "what precedes it is read");
    is_mem(cmd.id.data, cmd.id.len, "2", 1, "and what follows");

    is_int(read_command(c("{\"OP\":1,\"op\\u0000\":1,\"o\":1,\"opp\":1,\"\":1,"
                          "\" op\":1,\"\\ud800\":1,\"op\\ud800\":1}"), &cmd),
           UNKNOWN, "names that are nearly wanted");
    is_int(cmd.op.len, 0, "are not");

    v = span("{\"id\":1, \"id\":2}");
    is_int(fanout_json_members(&v, fields, 4, &cmd, &err), DUPLICATE,
           "twice, with a reason");
    is_str(err.reason, "duplicate member 'id' at byte 9", "the reason");

    v = span("{\"id\":1, \"\xc3\xa9\x7f\\n\":2}");
    is_int(fanout_json_members(&v, fields, 4, &cmd, &err), UNKNOWN,
           "unknown, with a reason");
    is_str(err.reason, "unknown member '???\\n' at byte 9", "in ASCII");

    v.len = 0;
    is_int(fanout_json_members(&v, fields, 4, &cmd, &err), TYPE,
           "NONE is no object");
}


static void
test_long_names(void)
{
    char       *text;
    size_t      n;
    command_t   cmd;

    text = alloc(20000);

    n = sprintf(text, "{\"\\u0041");
    memset(text + n, 'a', 10000);
    n += 10000;
    n += sprintf(text + n, "\":1,\"op\":2}");

    is_int(read_command(text, n, &cmd), UNKNOWN, "a long escaped name");
    is_mem(cmd.op.data, cmd.op.len, "2", 1, "the next one is found");

    free(text);
}


static void
test_arrays(void)
{
    json_t  v, items[3];
    size_t  n;

    v = span("[ {\"a\":[1,2]} , \"]\",3 ]");

    is_int(fanout_json_array(&v, items, 3, &n), 0, "an array");
    is_int(n, 3, "three items");
    is_mem(items[0].data, items[0].len, "{\"a\":[1,2]}", 11, "the first");
    is_mem(items[1].data, items[1].len, "\"]\"", 3, "the second");
    is_mem(items[2].data, items[2].len, "3", 1, "the third");

    is_int(fanout_json_array(&v, items, 2, &n), TOO_MANY,
           "one more than allowed");
    is_int(n, 2, "two were read");
    is_int(fanout_json_array(&v, NULL, 3, &n), 0, "counted only");
    is_int(n, 3, "three");

    v = span("[\"0123456789012345678901234567890\\\"]\","
             "\"12345678901234567\"]");
    is_int(fanout_json_array(&v, items, 3, &n), 0, "long strings");
    is_int(n, 2, "two");
    is_int(items[0].len, 36, "a quote inside the first");
    is_int(items[1].len, 19, "the second");

    v = span("[ ]");
    is_int(fanout_json_array(&v, items, 0, &n), 0, "empty");
    is_int(n, 0, "none");

    v = span("{}");
    is_int(fanout_json_array(&v, items, 3, &n), TYPE, "an object");
    v = span("[1,2");
    is_int(fanout_json_array(&v, items, 3, &n), INVALID,
           "never validated");
}


static void
test_iter(void)
{
    json_t              v, key, value;
    fanout_json_iter_t  it;

    v = span("{ \"f\\u0031\" : 1 , \"\":[ ]}");

    is_int(fanout_json_iter(&it, &v), 0, "a walk");
    is_int(fanout_json_next(&it, &key, &value), 1, "first");
    is_mem(key.data, key.len, "\"f\\u0031\"", 9, "its name, as sent");
    is_mem(value.data, value.len, "1", 1, "its value");
    is_int(fanout_json_next(&it, &key, &value), 1, "second");
    is_mem(key.data, key.len, "\"\"", 2, "the empty name");
    is_mem(value.data, value.len, "[ ]", 3, "its value");
    is_int(fanout_json_next(&it, &key, &value), 0, "end");
    is_int(fanout_json_next(&it, &key, &value), 0, "still the end");

    v = span("[0]");
    fanout_json_iter(&it, &v);
    is_int(fanout_json_next(&it, &key, &value), 1, "an item");
    is_int(key.len, 0, "has no name");

    v = span("\"x\"");
    is_int(fanout_json_iter(&it, &v), TYPE, "a string has no items");
}


typedef struct {
    const char  *text;
    int          rc;
    const char  *want;
    size_t       len;
} string_case_t;


static const string_case_t  strings[] = {
    { "\"\"", 0, c("") },
    { "\"room:1\"", 0, c("room:1") },
    { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", 0, c("\"\\/\b\f\n\r\t") },
    { "\"a\\u0000b\"", 0, c("a\0b") },
    { "\"\\u00e9\\u20AC\\uFFFF\"", 0, c("\xc3\xa9\xe2\x82\xac\xef\xbf\xbf") },
    { "\"\\u007f\\u0080\\u07ff\\u0800\"", 0,
      c("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80") },
    { "\"x\\ud83d\\uDE00y\"", 0, c("x\xf0\x9f\x98\x80y") },
    { "\"\\ud800\\udc00\\udbff\\udfff\"", 0,
      c("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf") },
    { "\"\\ud83d\"", SURROGATE, c("") },
    { "\"\\ude00\"", SURROGATE, c("") },
    { "\"\\ude00\\ude00\"", SURROGATE, c("") },
    { "\"\\ud83d\\ud83d\\ude00\"", SURROGATE, c("") },
    { "\"\\ud83dx\\ude00\"", SURROGATE, c("") },
    { "\"\\ud83d\\n\"", SURROGATE, c("") },
    { "\"\\ud83d\\u0041\"", SURROGATE, c("") },
    { "\"\\ud83d\\ue000\"", SURROGATE, c("") },
    { "\"12345678901234567\"", TOO_LONG, c("") },
    { "\"123456789012345\\n\"", 0, c("123456789012345\n") },
    { "\"1234567890123456\\n\"", TOO_LONG, c("") },
    { "\"12345678901234\\u20ac\"", TOO_LONG, c("") },
    { "12", TYPE, c("") },
    { "null", TYPE, c("") },
    { "{}", TYPE, c("") },
    { "\"", INVALID, c("") },
    { "\"\\u12\"", INVALID, c("") },
    { "\"\\x\"", INVALID, c("") },
    { "\"\\\"", INVALID, c("") }
};


static void
test_strings(void)
{
    json_t                v, text;
    size_t                i, len;
    uint8_t               buf[16];
    const string_case_t  *t;

    for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        t = &strings[i];
        v = span(t->text);

        is_int(fanout_json_string(&v, buf, 16, &len), t->rc,
               "string %s", t->text);
        is_mem(buf, len, t->want, t->len, "its bytes");
        is_int(fanout_json_string(&v, NULL, 16, &len), t->rc,
               "measured");
        is_int(len, t->len, "its length");
        is_int(fanout_json_text(&v, buf, 16, &text), t->rc,
               "without a copy");
        is_mem(text.data, text.len, t->want, t->len, "its bytes");
    }

    v = span("\"abc\"");
    fanout_json_text(&v, buf, 16, &text);
    ok(text.data == v.data + 1, "nothing escaped: not copied");

    memcpy(buf, "\"a\\nb\\u00e9\"", 12);
    v.data = buf;
    v.len = 12;
    fanout_json_string(&v, buf + 1, 10, &len);
    is_mem(buf + 1, len, "a\nb\xc3\xa9", 5, "unescaped in place");

    v = span("\"\"");
    fanout_json_text(&v, buf, 0, &text);
    ok(text.data != NULL && text.len == 0, "an empty string is not NONE");
}


typedef struct {
    const char  *text;
    int          rc;
    int64_t      want;
} int_case_t;


static const int_case_t  ints[] = {
    { "0", 0, 0 },
    { "-0", 0, 0 },
    { "12", 0, 12 },
    { "-12", 0, -12 },
    { "100", 0, 100 },
    { "1020300", 0, 1020300 },
    { "9007199254740991", 0, 9007199254740991 },
    { "9223372036854775807", 0, INT64_MAX },
    { "9223372036854775808", RANGE, -7 },
    { "-9223372036854775808", 0, INT64_MIN },
    { "-9223372036854775809", RANGE, -7 },
    { "18446744073709551616", RANGE, -7 },
    { "99999999999999999999999999", RANGE, -7 },
    { "10000000000000000000000000", RANGE, -7 },
    { "1.0", 0, 1 },
    { "1.000", 0, 1 },
    { "-10.0", 0, -10 },
    { "1.5", RANGE, -7 },
    { "0.1", RANGE, -7 },
    { "100.0010", RANGE, -7 },
    { "1e3", 0, 1000 },
    { "1E+3", 0, 1000 },
    { "15e-1", RANGE, -7 },
    { "150e-1", 0, 15 },
    { "1500e-2", 0, 15 },
    { "1.25e2", 0, 125 },
    { "1.25e1", RANGE, -7 },
    { "1e18", 0, 1000000000000000000 },
    { "1e19", RANGE, -7 },
    { "9.223372036854775807e18", 0, INT64_MAX },
    { "1e400", RANGE, -7 },
    { "1e99999999999999999999999", RANGE, -7 },
    { "1e-99999999999999999999999", RANGE, -7 },
    { "0e99999999999999999999999", 0, 0 },
    { "0.000e-5", 0, 0 },
    { "0.0001e4", 0, 1 },
    { "0.0001e3", RANGE, -7 },
    { "\"1\"", TYPE, -7 },
    { "true", TYPE, -7 },
    { "[1]", TYPE, -7 },
    { "", TYPE, -7 },
    { "1x", INVALID, -7 }
};


static void
test_ints(void)
{
    size_t   i;
    json_t   v;
    int64_t  n;

    for (i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
        v = span(ints[i].text);
        n = -7;

        is_int(fanout_json_int(&v, &n), ints[i].rc, "integer %s",
               ints[i].text);
        is_int(n, ints[i].want, "its value");
    }
}


static void
test_bools(void)
{
    int     flag;
    json_t  v;

    flag = -1;

    v = span("true");
    is_int(fanout_json_bool(&v, &flag), 0, "true");
    is_int(flag, 1, "is 1");
    v = span("false");
    is_int(fanout_json_bool(&v, &flag), 0, "false");
    is_int(flag, 0, "is 0");
    v = span("1");
    is_int(fanout_json_bool(&v, &flag), TYPE, "1 is no boolean");
    v = span("null");
    is_int(fanout_json_bool(&v, &flag), TYPE, "nor is null");
}


static void
test_minify(void)
{
    size_t       i, n;
    uint8_t      buf[128];
    const char  *in, *want;

    static const char  *cases[][2] = {
        { "{}", "{}" },
        { " { \"a b\" : [ 1 , \"\\\" x \" , 1.50e+3 ] } \n",
          "{\"a b\":[1,\"\\\" x \",1.50e+3]}" },
        { "\"  \"", "\"  \"" },
        { "[\n  1,\n  2\n]", "[1,2]" },
        { "[\"\\\\\" , \" \\\\\\\" \"]", "[\"\\\\\",\" \\\\\\\" \"]" },
        { "  ", "" },
        { "\t12\r", "12" },
        { "[\"\\u00e9\\/\", -0 , true]", "[\"\\u00e9\\/\",-0,true]" },

        /* halves of surrogate pairs */

        { "\"\\ud800\"", "\"\\ufffd\"" },
        { "[ \"\\uDFFF\", \"\\uDbFFx\"]", "[\"\\ufffd\",\"\\ufffdx\"]" },
        { "\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\"" },
        { "\"\\ud83d\\ud83d\\ude00\"", "\"\\ufffd\\ud83d\\ude00\"" },
        { "\"\\ude00\\ud83d\"", "\"\\ufffd\\ufffd\"" },
        { "\"\\\\ud800\"", "\"\\\\ud800\"" },
        { "\"\\ud7ff\\ue000\\u0d80\"", "\"\\ud7ff\\ue000\\u0d80\"" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        in = cases[i][0];
        want = cases[i][1];

        n = fanout_json_minify(buf, (const uint8_t *) in, strlen(in));
        is_mem(buf, n, want, strlen(want), "minified: %s", want);

        memcpy(buf, in, strlen(in));
        n = fanout_json_minify(buf, buf, strlen(in));
        is_mem(buf, n, want, strlen(want), "in place");
    }

    n = fanout_json_minify(buf, s("\" x"));
    is_mem(buf, n, "\" x", 3, "a string without an end");
}


static const struct {
    const char  *text;
    size_t       len;
    const char  *want;
} escapes[] = {
    { c(""), "" },
    { c("plain / text\x7f"), "plain / text\x7f" },
    { c("\"\\"), "\\\"\\\\" },
    { c("\b\f\n\r\t"), "\\b\\f\\n\\r\\t" },
    { c("\0\x01\x0b\x1f"), "\\u0000\\u0001\\u000b\\u001f" },
    { c("\xc3\xa9\xf0\x9f\x98\x80"), "\xc3\xa9\xf0\x9f\x98\x80" },
    { c("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"),
      "\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa" },
    { c("a\xff" "b"), "a\xef\xbf\xbd" "b" },
    { c("\xf0\x9f\x98"), "\xef\xbf\xbd" },
    { c("\xe2\x82" "x"), "\xef\xbf\xbdx" },
    { c("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    { c("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd" },
    { c("\xe2\x80"), "\xef\xbf\xbd" }
};


static void
test_escape(void)
{
    size_t    i, n;
    uint8_t  *end, *copy, buf[256];

    for (i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
        copy = alloc(escapes[i].len);
        memcpy(copy, escapes[i].text, escapes[i].len);

        end = fanout_json_escape(buf, copy, escapes[i].len);
        n = fanout_json_escape_len(copy, escapes[i].len);

        is_mem(buf, end - buf, escapes[i].want, strlen(escapes[i].want),
               "escaped: %s", escapes[i].want);
        is_int(n, end - buf, "the length is known before");

        free(copy);
    }
}


/* every character, there and back */

static void
test_round_trip(void)
{
    int       bad;
    json_t    v;
    size_t    n, len;
    uint8_t   in[4], raw[16], out[8], *end;
    uint32_t  ch;

    for (bad = 0, ch = 0; ch < 0x110000; ch++) {

        if (ch >= 0xd800 && ch < 0xe000) {
            continue;
        }

        if (ch < 0x80) {
            in[0] = ch;
            n = 1;

        } else if (ch < 0x800) {
            in[0] = 0xc0 + ch / 64;
            in[1] = 0x80 + ch % 64;
            n = 2;

        } else if (ch < 0x10000) {
            in[0] = 0xe0 + ch / 4096;
            in[1] = 0x80 + ch / 64 % 64;
            in[2] = 0x80 + ch % 64;
            n = 3;

        } else {
            in[0] = 0xf0 + ch / 262144;
            in[1] = 0x80 + ch / 4096 % 64;
            in[2] = 0x80 + ch / 64 % 64;
            in[3] = 0x80 + ch % 64;
            n = 4;
        }

        raw[0] = '"';
        end = fanout_json_escape(raw + 1, in, n);
        *end++ = '"';

        v.data = raw;
        v.len = end - raw;

        bad += fanout_json_check(raw, v.len, 0, &v, NULL) != STRING
               || fanout_json_string(&v, out, 4, &len) != 0
               || len != n || memcmp(in, out, n) != 0;
    }

    is_int(bad, 0, "every character comes back");
}


int
main(void)
{
    test_grammar();
    test_prefixes();
    test_spans();
    test_reasons();
    test_depth();
    test_large();
    test_members();
    test_long_names();
    test_arrays();
    test_iter();
    test_strings();
    test_ints();
    test_bools();
    test_minify();
    test_escape();
    test_round_trip();

    return done_testing();
}
