/*
 * gateway/lib/json_check.h
 *	  JSON bodies: one strict pass (RFC 8259), then walks over the members of what was checked.
 *
 * Pure C: no tree, no memory of its own.  Values are slices of the
 * text, so that an event's data goes to PostgreSQL byte for byte, numbers
 * untouched.  Refused beyond the grammar is what PostgreSQL's jsonb could not
 * keep: text that is not UTF-8, U+0000, halves of surrogate pairs, numbers of
 * more than 6,000 digits or with an exponent beyond 10,000.  A name may stand
 * twice in an object, as RFC 8259 has it; json_members() refuses that, and
 * json_distinct() at any depth.
 */
#ifndef USHERD_JSON_CHECK_H
#define USHERD_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define JSON_DEPTH_LIMIT       1000 /* whatever depth_max says */
#define JSON_NUMBER_DIGITS_MAX 6000
#define JSON_EXPONENT_MAX      10000

typedef enum JsonKind
{
	JSON_NONE, /* absent */
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
} JsonKind;

typedef struct JsonValue
{
	JsonKind kind;
	Slice text; /* as it was sent, without white space around it; a string with its quotes */
} JsonValue;

typedef struct JsonFault
{
	size_t offset; /* bytes in front of the fault */
	const char *message; /* for people: static */
} JsonFault;

/*
 * Is the text one JSON value (white space around it is allowed)?  depth_max: how many arrays and objects
 * may be open at once.  false: *fault says where and why.
 */
extern bool
json_check(const char *text, size_t len, int depth_max, JsonValue *value, JsonFault *fault);

/* The elements of an array, or the members of an object, in order.  Only of what json_check() has accepted. */
typedef struct JsonWalk
{
	const char *at, *end;
	bool object;
} JsonWalk;

/* Of another kind: a walk without elements. */
extern JsonWalk json_walk(JsonValue container);
/* name may be NULL; of an array's elements it is JSON_NONE. */
extern bool json_next(JsonWalk *walk, JsonValue *name, JsonValue *value);

typedef enum JsonMembers
{
	JSON_MEMBERS_OK,
	JSON_MEMBERS_UNKNOWN, /* *stranger is a name that is not among the names */
	JSON_MEMBERS_TWICE, /* *stranger stands twice */
} JsonMembers;

/* The members of an object that have these names (at most 64, without zero bytes): the others' kind is JSON_NONE. */
extern JsonMembers json_members(JsonValue object, const char *const *names, int count,
								JsonValue *values, JsonValue *stranger);

#define JSON_DISTINCT_MAX 256
/* Has no object in it a name twice, nor more than JSON_DISTINCT_MAX members?  Recursive: for what was checked with a small depth. */
extern bool json_distinct(JsonValue value);

/* A string without quotes and escapes, as UTF-8 (jansson has a json_string of its own).  out has room for text.len bytes; returns the length, no zero byte. */
extern size_t json_unescape(JsonValue string, char *out);
/* Is it this string, whatever its escapes? */
extern bool json_string_is(JsonValue string, const char *text);
/* A number without fraction or exponent, within [min, max]. */
extern bool json_int(JsonValue number, int64_t min, int64_t max, int64_t *result);
extern int64_t json_count(JsonValue container); /* of its elements or members */

/* Shared by the two sources. */
extern JsonKind json_kind_of(char c); /* of the value that begins with c */
extern int
json_hex_quad(const char *at, const char *end); /* four hexadecimal digits; -1: they are not */

#endif /* USHERD_JSON_CHECK_H */
