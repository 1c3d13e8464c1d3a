/*
 * gateway/lib/uri.h
 *	  Parts of a request's target: percent-encoding, queries, plain names.
 *
 * Pure C.  A decoded text is UTF-8 without U+0000, or it is refused: it goes to
 * PostgreSQL.
 */
#ifndef USHERD_URI_H
#define USHERD_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

/*
 * out has room for text.len bytes; plus: a "+" is a blank, as in queries.  -1: a "%" without two hexadecimal
 * digits, a zero byte, or no UTF-8.
 */
extern long uri_decode(Slice text, bool plus, char *out);
/* Everything but letters, digits and "-._~" as %XX.  out has room for 3 * text.len bytes; returns the length. */
extern size_t uri_encode(Slice text, char *out);

/* The next part of a query, not decoded; an absent value: no "=". false: no more. Empty parts are left out. */
extern bool uri_query_next(Slice *rest, Slice *name, Slice *value);

/* The next segment of a path: behind a "/", up to the next; may be empty. false: no more. */
extern bool uri_path_next(Slice *rest, Slice *segment);

/* Plain enough to stand in a path: A-Z a-z 0-9 . _ ~ : @ -, not empty, neither "." nor "..". */
extern bool uri_name_is_plain(Slice name);


#endif /* USHERD_URI_H */
