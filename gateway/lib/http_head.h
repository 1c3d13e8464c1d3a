/*
 * gateway/lib/http_head.h
 *	  The head of an HTTP/1.1 request: request line and header fields (RFC 9112), strictly.
 *
 * Pure C, no memory of its own: everything points into the text.  What two
 * servers could read differently (RFC 9112, 11.2) is refused, not repaired:
 * bare CR or LF, a blank before the colon, folded lines, control characters,
 * empty names, a second Host.
 */
#ifndef USHERD_HTTP_HEAD_H
#define USHERD_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

#define HTTP_FIELDS_MAX 100

typedef struct HttpField
{
	Slice name; /* as it was sent; compare with slice_is_nocase */
	Slice value; /* without blanks around it */
} HttpField;

typedef struct HttpHead
{
	Slice method;
	Slice target; /* origin-form, or "*"; not decoded */
	int minor_version; /* of HTTP/1 */
	HttpField fields[HTTP_FIELDS_MAX];
	int nfields;
} HttpHead;

typedef enum HttpHeadResult
{
	HTTP_HEAD_OK,
	HTTP_HEAD_MORE, /* the head has not ended yet */
	HTTP_HEAD_BAD, /* 400 */
	HTTP_HEAD_FIELDS, /* 431: too many */
	HTTP_HEAD_VERSION, /* 505 */
} HttpHeadResult;

/*
 * Reads the head at the beginning of text; empty lines before it are skipped.
 * OK: *used is its length with them and the empty line behind it.  start: where
 * to go on looking for its end; 0 first, then what *used was at MORE.
 */
extern HttpHeadResult
http_head_parse(const char *text, size_t len, size_t start, HttpHead *head, size_t *used);

/* The value of a field that may stand once; *twice tells when it stands more often (then the first). */
extern Slice http_head_find(const HttpHead *head, const char *name, size_t len, bool *twice);

static inline Slice
http_head_field(const HttpHead *head, const char *name, bool *twice)
{
	return http_head_find(head, name, strlen(name), twice);
}

/* Does a list (Connection: a, b) have this element? All fields of the name count. */
extern bool http_head_list_has(const HttpHead *head, const char *name, const char *element);

#endif /* USHERD_HTTP_HEAD_H */
