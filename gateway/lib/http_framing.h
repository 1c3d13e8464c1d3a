/*
 * gateway/lib/http_framing.h
 *	  Where the body of a request ends: Content-Length, Transfer-Encoding, chunks (RFC 9112, 6 and 7).
 *
 * Pure C, no memory of its own.  Whatever two servers could read differently is
 * refused, not repaired: lists and signs in Content-Length, any coding but
 * chunked, both headers at once, bare CR or LF, sizes with anything but
 * hexadecimal digits.  Extensions and trailers of chunks are bounded, checked
 * and thrown away.
 */
#ifndef USHERD_HTTP_FRAMING_H
#define USHERD_HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

typedef enum FramingFault
{
	FRAMING_OK,
	FRAMING_LENGTH_INVALID, /* 400 */
	FRAMING_LENGTH_TWICE, /* 400 */
	FRAMING_ENCODING_TWICE, /* 400 */
	FRAMING_ENCODING_UNKNOWN, /* 501 */
	FRAMING_ENCODING_OLD, /* 400: Transfer-Encoding in HTTP/1.0 */
	FRAMING_BOTH, /* 400 */
	FRAMING_TOO_LARGE, /* 413 */
} FramingFault;

typedef struct Framing
{
	bool chunked;
	bool has_length; /* a Content-Length was given; without it and not chunked there is no body */
	int64_t length;
} Framing;

/*
 * From the two headers, absent or without blanks around them; twice: the header stands more than once.  body_max
 * in bytes.  A length above it is refused at once; a Content-Length is at most 18 digits.
 */
extern FramingFault
framing_of(Slice content_length, bool length_twice, Slice transfer_encoding, bool encoding_twice,
		   int minor_version, int64_t body_max, Framing *framing);
extern int framing_status(FramingFault fault); /* HTTP's */
extern const char *framing_message(FramingFault fault); /* for people */

#define CHUNK_LINE_MAX     256 /* bytes of a line with a size and its extensions */
#define CHUNK_OVERHEAD_MAX 16384 /* of all extensions of a body together */
#define CHUNK_TRAILERS_MAX 4096 /* of all trailer lines together */

typedef enum ChunkedResult
{
	CHUNKED_MORE, /* all was used, and more must come */
	CHUNKED_DATA, /* *payload is the next part of the body; call again */
	CHUNKED_DONE, /* the body has ended; what is left over is the next request's */
	CHUNKED_INVALID, /* 400 */
	CHUNKED_TOO_LARGE, /* 413 */
} ChunkedResult;

/* Begin with chunked_begin(). */
typedef struct Chunked
{
	int state;
	int64_t left; /* of the chunk */
	int64_t total, total_max; /* bytes of the body */
	int digits;
	int line; /* bytes of this line so far */
	int overhead;
	int trailers;
	bool quoted; /* within a quoted string of an extension */
	bool named; /* the trailer line has its colon */
} Chunked;

extern void chunked_begin(Chunked *c, int64_t body_max);
/* Takes from *data, *len what it uses.  After DONE, INVALID and TOO_LARGE it says so again. */
extern ChunkedResult chunked_next(Chunked *c, const char **data, size_t *len, Slice *payload);

#endif /* USHERD_HTTP_FRAMING_H */
