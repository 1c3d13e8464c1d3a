/*
 * gateway/lib/websocket_deflate.c
 *	  permessage-deflate (RFC 7692).
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "websocket_deflate.h"

/*
 * The offer (RFC 7692, 5 and 7.1; the grammar of lists is that of HTTP)
 */

/* What stands in front of the separator, which is not looked for within quotes; *rest goes behind it. */
static Slice
part(Slice *rest, char separator)
{
	const char *at = rest->data, *end = rest->data + rest->len;
	bool quoted = false;
	Slice found;

	for (; at < end && (quoted || *at != separator); at++)
		if (*at == '"')
			quoted = !quoted;
	found = (Slice){rest->data, (size_t) (at - rest->data)};
	*rest = at < end ? (Slice){at + 1, (size_t) (end - at - 1)} : (Slice){NULL, 0};
	while (found.len > 0 && (*found.data == ' ' || *found.data == '\t'))
	{
		found.data++;
		found.len--;
	}
	while (found.len > 0 &&
		   (found.data[found.len - 1] == ' ' || found.data[found.len - 1] == '\t'))
		found.len--;
	return found;
}

/* 8 to 15, maybe in quotes; 0: it is neither. */
static int
window_bits(Slice value)
{
	int64_t bits;

	if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
		value = (Slice){value.data + 1, value.len - 2};
	if (value.len > 1 && value.data[0] == '0')
		return 0;
	return slice_int(value, 8, 15, &bits) ? (int) bits : 0;
}

enum
{
	SERVER_ALONE = 1,
	CLIENT_ALONE = 2,
	SERVER_BITS = 4,
	CLIENT_BITS = 8,
};

static bool
parameter(Slice text, int *seen)
{
	Slice rest = text, name = part(&rest, '=');
	bool has_value = rest.data != NULL;
	Slice value = has_value ? part(&rest, '\0') : (Slice){NULL, 0};
	int which;

	if (slice_is_nocase(name, "server_no_context_takeover"))
		which = SERVER_ALONE;
	else if (slice_is_nocase(name, "client_no_context_takeover"))
		which = CLIENT_ALONE;
	else if (slice_is_nocase(name, "server_max_window_bits"))
		which = SERVER_BITS;
	else if (slice_is_nocase(name, "client_max_window_bits"))
		which = CLIENT_BITS;
	else
		return false;
	if (*seen & which)
		return false;
	*seen |= which;
	if (which == SERVER_BITS)
		return has_value && window_bits(value) == 15;
	if (which == CLIENT_BITS)
		return !has_value || window_bits(value) > 0;
	return !has_value;
}

bool
deflate_is_offered(Slice extensions)
{
	while (extensions.data != NULL)
	{
		Slice offer = part(&extensions, ','), rest = offer, name;
		int seen = 0;
		bool fine = true;

		if (offer.len == 0)
			continue;
		name = part(&rest, ';');
		while (fine && rest.data != NULL)
			fine = parameter(part(&rest, ';'), &seen);
		if (fine && slice_is_nocase(name, "permessage-deflate"))
			return true;
	}
	return false;
}

/*
 * Messages (RFC 7692, 7.2)
 */

void
deflate_message(Slice message, int level, Text *out)
{
	static z_stream stream;
	static int begun; /* with this level */
	size_t room;

	if (begun != level)
	{
		if (begun)
			deflateEnd(&stream);
		begun = level;
		if (deflateInit2(&stream, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
			abort();
	}
	deflateReset(&stream);
	room = deflateBound(&stream, message.len) + 16; /* and the empty block of a flush */
	text_reserve(out, room);
	stream.next_in = (Bytef *) message.data;
	stream.avail_in = (uInt) message.len;
	stream.next_out = (Bytef *) out->data + out->len;
	stream.avail_out = (uInt) room;
	if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_out == 0)
		abort();
	out->len += room - stream.avail_out;
	out->len -= 4; /* 00 00 ff ff, which the reader puts there again */
}

/* Some input; false: it is over, one way or another. */
static bool
inflate_some(z_stream *stream, const char *data, size_t len, size_t max, Text *out, size_t began,
			 InflateResult *result)
{
	stream->next_in = (Bytef *) data;
	stream->avail_in = (uInt) len;
	do
	{
		size_t room = max + 1 - (out->len - began);
		int status;

		if (room > 4096)
			room = 4096;
		text_reserve(out, room + 1);
		stream->next_out = (Bytef *) out->data + out->len;
		stream->avail_out = (uInt) room;
		status = inflate(stream, Z_SYNC_FLUSH);
		out->len += room - stream->avail_out;
		if (status != Z_OK && status != Z_BUF_ERROR)
		{
			/* Behind a last block there is nothing (7.2.3.5) but the flush that we have added. */
			*result = status == Z_STREAM_END && stream->avail_in <= 4 ? INFLATE_OK : INFLATE_INVALID;
			if (out->len - began > max)
				*result = INFLATE_TOO_LARGE;
			return false;
		}
		if (out->len - began > max)
		{
			*result = INFLATE_TOO_LARGE;
			return false;
		}
	} while (stream->avail_out == 0);
	if (stream->avail_in > 0)
	{
		*result = INFLATE_INVALID;
		return false;
	}
	return true;
}

/* zlib says so of a state that stands behind a whole block. */
#define BEHIND_BLOCK 128

InflateResult
inflate_message(Slice payload, size_t max, Text *out)
{
	static z_stream stream;
	static bool begun;
	InflateResult result = INFLATE_OK;
	size_t began = out->len;

	if (!begun && inflateInit2(&stream, -15) != Z_OK)
		abort();
	begun = true;
	inflateReset(&stream);
	if (inflate_some(&stream, payload.data, payload.len, max, out, began, &result) &&
		inflate_some(&stream, "\x00\x00\xff\xff", 4, max, out, began, &result) &&
		!(stream.data_type & BEHIND_BLOCK))
		result = INFLATE_INVALID;
	return result;
}
