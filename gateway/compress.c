/*
 * gateway/compress.c
 *	  Replies as gzip, by zlib.
 *
 * The fastest level: the loop waits for it (a reply of the largest size takes
 * some milliseconds), and JSON shrinks to a quarter or less with it.  One stream
 * and one buffer are kept; a client's secret and another's text never share a
 * reply, so the length of one tells nothing of the other.
 */
#include <stdlib.h>
#include <zlib.h>

#include "compress.h"

#define LEVEL      1
#define WINDOW     (15 + 16) /* with gzip's head */
#define MEMORY     8
#define BUFFER_MAX (1 << 20) /* a larger one is not kept */

bool
compress_gzip(const char *data, size_t len, Slice *out)
{
	static z_stream stream;
	static bool ready;
	static Text buffer;

	if (!ready)
	{
		if (deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
			return false;
		ready = true;
	}
	else
		deflateReset(&stream);
	if (buffer.size > BUFFER_MAX)
		text_free(&buffer);
	buffer.len = 0;
	/* No room for more than there was: then it is not worth it. */
	text_reserve(&buffer, len);
	stream.next_in = (Bytef *) (uintptr_t) data;
	stream.avail_in = (uInt) len;
	stream.next_out = (Bytef *) buffer.data;
	stream.avail_out = (uInt) len;
	if (len > UINT32_MAX || deflate(&stream, Z_FINISH) != Z_STREAM_END)
		return false;
	*out = (Slice){buffer.data, len - stream.avail_out};
	return true;
}
