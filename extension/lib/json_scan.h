/*
 * extension/lib/json_scan.h
 *	  Find members in JSON that somebody else has written, without building a tree.
 *
 * Lenient: whatever is behind the member is not looked at.  No recursion and no
 * memory, whatever the text.  A name with escapes in it is not found.
 */
#ifndef USHER_JSON_SCAN_H
#define USHER_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct UsherJson
{
	const char *start; /* points into the text; of a string: behind its quote, still escaped */
	size_t len;
	char kind; /* '{' '[' '"' 't' 'f' 'n', '0' for a number */
} UsherJson;

/* The first member of that name of the object that is the text. */
extern bool usher_json_member(const char *text, size_t len, const char *name, UsherJson *value);

/* The first element of an array; false: it is none, or empty. */
extern bool usher_json_first(const UsherJson *array, UsherJson *value);

/*
 * A string without its escapes, as UTF-8; any other value as it stands.  Writes
 * at most size bytes and no zero byte; returns the length that it has.
 */
extern size_t usher_json_text(const UsherJson *value, char *out, size_t size);

/* The same text? */
extern bool usher_json_is(const UsherJson *value, const char *text, size_t len);

/* A number without fraction, or a string of digits. */
extern bool usher_json_int(const UsherJson *value, int64_t *number);

#endif /* USHER_JSON_SCAN_H */
