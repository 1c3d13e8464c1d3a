/*
 * extension/lib/template.h
 *	  Topic and key templates of routes: text with {places} that an event fills.
 *
 * Places: {category} {tenant} {type} {type[n]} {stream} {topic} {key}
 * {data.field} {metadata.field}; a field may be a path, {data.customer.id}.
 * {type[n]} is the n-th segment (from 0) of the type between dots.  "{{" and
 * "}}" stand for a brace.  An empty text is a template without parts.
 */
#ifndef USHER_TEMPLATE_H
#define USHER_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#define USHER_TEMPLATE_PARTS 16 /* most parts of one template, literal ones included */

typedef enum UsherPlace
{
	PLACE_LITERAL,
	PLACE_CATEGORY,
	PLACE_TENANT,
	PLACE_TYPE,
	PLACE_TYPE_SEGMENT,
	PLACE_STREAM,
	PLACE_TOPIC,
	PLACE_KEY,
	PLACE_DATA,
	PLACE_METADATA
} UsherPlace;

typedef struct UsherTemplatePart
{
	UsherPlace place;
	int segment; /* of PLACE_TYPE_SEGMENT */
	const char *text; /* the literal, or the path below data or metadata; not zero-terminated */
	size_t len;
} UsherTemplatePart;

/* Points into the text that was parsed; `{{` splits a literal so that this is possible. */
typedef struct UsherTemplate
{
	int nparts;
	UsherTemplatePart parts[USHER_TEMPLATE_PARTS];
} UsherTemplate;

/*
 * Value of a place in the event at hand, false when it has none.  Not called
 * for literals and type segments (PLACE_TYPE is asked for these).
 */
typedef bool (*UsherPlaceValue)(void *arg, const UsherTemplatePart *part, const char **value,
								size_t *len);

/*
 * False, with what is wrong in `error` (128 bytes are enough), when the text is
 * not a template.  The text must live as long as the result.
 */
extern bool usher_template_parse(const char *text, size_t len, UsherTemplate *result, char *error,
								 size_t error_size);

#define USHER_TEMPLATE_MISSING  (-1L) /* a place has no value */
#define USHER_TEMPLATE_TOO_LONG (-2L)

/* Write the result, zero-terminated, into out[size]; returns its length, or one of the above. */
extern long usher_template_render(const UsherTemplate *template, UsherPlaceValue value, void *arg,
								  char *out, size_t size);

#endif /* USHER_TEMPLATE_H */
