
/*
 * A scan over JSON text whose shape is known.  Nothing is built and nothing
 * is copied: a value is a slice of the text, strings with their quotes.
 */

#ifndef BENCH_JSON_H
#define BENCH_JSON_H


#include <stddef.h>
#include <stdint.h>


typedef struct {
    const char  *s;
    size_t       n;
} json_t;


typedef struct {
    const char  *p;
    const char  *end;
    int          bad;        /* set when the text was not well formed */
} json_walk_t;


/* A slice of n bytes at s, blanks at both ends left out. */
json_t json_slice(const char *s, size_t n);

/* Starts a walk over the members of an object or the elements of an array. */
void json_walk(json_walk_t *w, json_t v);

/* The next member, or element: 1, or 0 at the end or if w->bad is set. */
int json_member(json_walk_t *w, json_t *key, json_t *value);
int json_element(json_walk_t *w, json_t *value);

/* The member of that name in an object: 1, or 0 if there is none. */
int json_get(json_t object, const char *name, json_t *value);

/* 1 if the slice is exactly this text; for keys give it without quotes. */
int json_is(json_t v, const char *text);
int json_key(json_t key, const char *name);

/* A number without sign or fraction; 0 for anything else. */
uint64_t json_number(json_t v);

/*
 * Decodes a string into buf, with a final zero; size counts it.  Returns its
 * length, or -1 if v is no string or does not fit.
 */
int json_text(json_t v, char *buf, size_t size);


#endif /* BENCH_JSON_H */
