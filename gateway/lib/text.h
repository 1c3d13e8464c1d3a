/*
 * gateway/lib/text.h
 *	  Memory that lives as long as a request, and text that grows in it.
 *
 * Pure C.  An arena frees everything at once.  All functions end the process
 * when the machine is out of memory (usherd keeps no state that it cannot
 * read again).
 */
#ifndef USHERD_TEXT_H
#define USHERD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

typedef struct Slice
{
	const char *data; /* NULL: absent */
	size_t len;
} Slice;

typedef struct ArenaBlock ArenaBlock;

/* Begin with {0}. */
typedef struct Arena
{
	ArenaBlock *blocks;
	char *at, *end; /* what is left of the newest, or of its first memory */
} Arena;

/* Begins with memory of the caller's, aligned for any type, which is used before any other. */
extern void arena_begin(Arena *arena, void *memory, size_t size);

extern void *arena_alloc(Arena *arena, size_t size); /* not zeroed; aligned for any type */
extern void *arena_zalloc(Arena *arena, size_t size);
extern char *arena_copy(Arena *arena, const char *data, size_t len); /* ends in a zero byte */
extern Slice arena_slice(Arena *arena, Slice slice); /* the same, as a slice */
extern char *
arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void arena_free(Arena *arena); /* all; the arena can be used again */

/* Grows by malloc; begin with {0}, end with text_free.  data ends in a zero byte once something was added. */
typedef struct Text
{
	char *data;
	size_t len;
	size_t size;
} Text;

extern void text_reserve(Text *text, size_t more);

static inline void
text_add(Text *text, const char *data, size_t len)
{
	if (len >= text->size - text->len)
		text_reserve(text, len);
	if (len > 0)
		memcpy(text->data + text->len, data, len);
	text->len += len;
	text->data[text->len] = '\0';
}

/* Inline, so that the length of a literal is known. */
static inline void
text_puts(Text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

static inline void
text_char(Text *text, char c)
{
	text_add(text, &c, 1);
}

extern void text_int(Text *text, int64_t number);
extern void text_printf(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes.  What is not UTF-8 becomes U+FFFD. */
extern void text_json(Text *text, const char *data, size_t len);
extern void text_free(Text *text);

/* How many of its first bytes are ASCII that JSON writes as it is: neither control characters nor quotes nor backslashes. */
extern size_t text_plain(const char *data, size_t len);
/* Bytes of the UTF-8 character at s, of at most len (> 0); 0: it is none (Unicode, table 3-7). */
extern size_t utf8_length(const unsigned char *s, size_t len);
/* UTF-8 as PostgreSQL takes it: no zero byte.  An absent one is. */
extern bool slice_is_text(Slice slice);

static inline bool
slice_is(Slice slice, const char *string)
{
	size_t len = strlen(string);

	return slice.data != NULL && slice.len == len && memcmp(slice.data, string, len) == 0;
}

static inline bool
slice_is_nocase(Slice slice, const char *string)
{
	size_t len = strlen(string);

	return slice.data != NULL && slice.len == len && strncasecmp(slice.data, string, len) == 0;
}

/* Has a list (a, b) the element, whatever its case?  An absent list has none. */
extern bool slice_list_has(Slice list, const char *element);
/* A decimal number, digits only (a minus in front when min < 0), within [min, max]. */
extern bool slice_int(Slice slice, int64_t min, int64_t max, int64_t *number);

#endif /* USHERD_TEXT_H */
