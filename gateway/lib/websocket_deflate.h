/*
 * gateway/lib/websocket_deflate.h
 *	  permessage-deflate (RFC 7692): messages that are compressed each for itself.
 *
 * Pure C.  No context is taken over, in either direction: so a socket needs no memory for it, and a message that was
 * compressed once is for all sockets.  Both directions share one state of zlib; one thread.
 */
#ifndef USHERD_WEBSOCKET_DEFLATE_H
#define USHERD_WEBSOCKET_DEFLATE_H

#include <stdbool.h>

#include "text.h"

#define DEFLATE_RESPONSE \
	"permessage-deflate; server_no_context_takeover; client_no_context_takeover"

/*
 * Is there an offer among those of Sec-WebSocket-Extensions that DEFLATE_RESPONSE accepts?  One that wants a
 * smaller window of us is none, because what is written is shared with others; one that is malformed is none, either.
 */
extern bool deflate_is_offered(Slice extensions);

/* The payload of a frame with RSV1 is added to out.  level: 1 to 9. */
extern void deflate_message(Slice message, int level, Text *out);

typedef enum InflateResult
{
	INFLATE_OK,
	INFLATE_TOO_LARGE, /* larger than max; no more than that was made */
	INFLATE_INVALID,
} InflateResult;

/* Adds the message of a compressed payload to out. */
extern InflateResult inflate_message(Slice payload, size_t max, Text *out);

#endif /* USHERD_WEBSOCKET_DEFLATE_H */
