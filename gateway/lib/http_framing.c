/*
 * gateway/lib/http_framing.c
 *	  Where the body of a request ends: Content-Length, Transfer-Encoding, chunks (RFC 9112, 6 and 7).
 *
 * The decoder of chunks is a machine of one state a byte for everything but the
 * chunks' contents, so it makes no difference where the network cuts the bytes.
 */
#include <string.h>
#include <strings.h>

#include "http_framing.h"

#define LENGTH_DIGITS_MAX 18
#define SIZE_DIGITS_MAX   15 /* hexadecimal: below 2^60 */

FramingFault
framing_of(Slice content_length, bool length_twice, Slice transfer_encoding, bool encoding_twice,
		   int minor_version, int64_t body_max, Framing *framing)
{
	*framing = (Framing){0};
	if (encoding_twice)
		return FRAMING_ENCODING_TWICE;
	if (length_twice)
		return FRAMING_LENGTH_TWICE;
	if (transfer_encoding.data != NULL && content_length.data != NULL)
		return FRAMING_BOTH;
	if (transfer_encoding.data != NULL)
	{
		if (minor_version < 1)
			return FRAMING_ENCODING_OLD;
		if (transfer_encoding.len != 7 || strncasecmp(transfer_encoding.data, "chunked", 7) != 0)
			return FRAMING_ENCODING_UNKNOWN;
		framing->chunked = true;
		return FRAMING_OK;
	}
	if (content_length.data == NULL)
		return FRAMING_OK;
	if (content_length.len == 0)
		return FRAMING_LENGTH_INVALID;
	for (size_t i = 0; i < content_length.len; i++)
		if (content_length.data[i] < '0' || content_length.data[i] > '9')
			return FRAMING_LENGTH_INVALID;
	if (content_length.len > LENGTH_DIGITS_MAX)
		return FRAMING_TOO_LARGE;
	framing->has_length = true;
	for (size_t i = 0; i < content_length.len; i++)
		framing->length = framing->length * 10 + (content_length.data[i] - '0');
	return framing->length > body_max ? FRAMING_TOO_LARGE : FRAMING_OK;
}

int
framing_status(FramingFault fault)
{
	switch (fault)
	{
		case FRAMING_OK:
			return 200;
		case FRAMING_ENCODING_UNKNOWN:
			return 501;
		case FRAMING_TOO_LARGE:
			return 413;
		default:
			return 400;
	}
}

const char *
framing_message(FramingFault fault)
{
	switch (fault)
	{
		case FRAMING_OK:
			return "";
		case FRAMING_LENGTH_INVALID:
			return "Content-Length must be digits only";
		case FRAMING_LENGTH_TWICE:
			return "Content-Length stands more than once";
		case FRAMING_ENCODING_TWICE:
			return "Transfer-Encoding stands more than once";
		case FRAMING_ENCODING_UNKNOWN:
			return "the only Transfer-Encoding is chunked";
		case FRAMING_ENCODING_OLD:
			return "HTTP/1.0 has no Transfer-Encoding";
		case FRAMING_BOTH:
			return "Content-Length and Transfer-Encoding exclude each other";
		case FRAMING_TOO_LARGE:
			return "the body is too large";
	}
	return "";
}

enum
{
	AT_SIZE,
	AT_EXTENSION,
	AT_SIZE_LF, /* behind the CR of the size line */
	AT_DATA,
	AT_DATA_CR,
	AT_DATA_LF,
	AT_TRAILER, /* at the beginning of a trailer line, or of the empty line */
	AT_TRAILER_TEXT,
	AT_TRAILER_LF,
	AT_END_LF,
	AT_DONE,
	AT_INVALID,
	AT_TOO_LARGE,
};

void
chunked_begin(Chunked *c, int64_t body_max)
{
	*c = (Chunked){.state = AT_SIZE, .total_max = body_max};
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* tchar of RFC 9110, 5.6.2 */
static bool
is_token_char(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

/* What may stand in a field's value or an extension. */
static bool
is_text(char c)
{
	return ((unsigned char) c >= ' ' && c != 127) || c == '\t';
}

static int
size_byte(Chunked *c, char byte)
{
	int digit = hex_value(byte);

	if (digit >= 0)
	{
		if (++c->digits > SIZE_DIGITS_MAX)
			return AT_INVALID;
		c->left = c->left * 16 + digit;
		return AT_SIZE;
	}
	if (c->digits == 0)
		return AT_INVALID;
	if (byte == '\r')
		return AT_SIZE_LF;
	/* Blanks in front of an extension are "bad white space", which few accept: refused. */
	return byte == ';' ? AT_EXTENSION : AT_INVALID;
}

static int
extension_byte(Chunked *c, char byte)
{
	if (++c->line > CHUNK_LINE_MAX || ++c->overhead > CHUNK_OVERHEAD_MAX)
		return AT_INVALID;
	if (byte == '\r')
		return c->quoted ? AT_INVALID : AT_SIZE_LF;
	if (byte == '"')
		c->quoted = !c->quoted;
	/* A quote behind a backslash would have to be told apart; nobody needs it. */
	return is_text(byte) && byte != '\\' ? AT_EXTENSION : AT_INVALID;
}

static int
size_end(Chunked *c, char byte)
{
	int64_t size = c->left;

	if (byte != '\n')
		return AT_INVALID;
	c->digits = 0;
	c->line = 0;
	if (size == 0)
		return AT_TRAILER;
	if (size > c->total_max - c->total)
		return AT_TOO_LARGE;
	c->total += size;
	return AT_DATA;
}

static int
trailer_byte(Chunked *c, char byte)
{
	if (++c->trailers > CHUNK_TRAILERS_MAX)
		return AT_INVALID;
	if (c->state == AT_TRAILER)
	{
		c->named = false;
		if (byte == '\r')
			return AT_END_LF;
		return is_token_char(byte) ? AT_TRAILER_TEXT : AT_INVALID;
	}
	if (byte == '\r')
		return c->named ? AT_TRAILER_LF : AT_INVALID;
	if (c->named)
		return is_text(byte) ? AT_TRAILER_TEXT : AT_INVALID;
	if (byte == ':')
		c->named = true;
	else if (!is_token_char(byte))
		return AT_INVALID;
	return AT_TRAILER_TEXT;
}

/* One byte of anything but a chunk's contents. */
static int
next_state(Chunked *c, char byte)
{
	switch (c->state)
	{
		case AT_SIZE:
			return size_byte(c, byte);
		case AT_EXTENSION:
			return extension_byte(c, byte);
		case AT_SIZE_LF:
			return size_end(c, byte);
		case AT_DATA_CR:
			return byte == '\r' ? AT_DATA_LF : AT_INVALID;
		case AT_DATA_LF:
			return byte == '\n' ? AT_SIZE : AT_INVALID;
		case AT_TRAILER:
		case AT_TRAILER_TEXT:
			return trailer_byte(c, byte);
		case AT_TRAILER_LF:
			return byte == '\n' ? AT_TRAILER : AT_INVALID;
		case AT_END_LF:
			return byte == '\n' ? AT_DONE : AT_INVALID;
		default:
			return c->state;
	}
}

ChunkedResult
chunked_next(Chunked *c, const char **data, size_t *len, Slice *payload)
{
	*payload = (Slice){NULL, 0};
	for (;;)
	{
		if (c->state == AT_DONE)
			return CHUNKED_DONE;
		if (c->state == AT_INVALID)
			return CHUNKED_INVALID;
		if (c->state == AT_TOO_LARGE)
			return CHUNKED_TOO_LARGE;
		if (*len == 0)
			return CHUNKED_MORE;
		if (c->state == AT_DATA)
		{
			size_t n = *len < (size_t) c->left ? *len : (size_t) c->left;

			*payload = (Slice){*data, n};
			*data += n;
			*len -= n;
			c->left -= (int64_t) n;
			if (c->left == 0)
				c->state = AT_DATA_CR;
			return CHUNKED_DATA;
		}
		c->state = next_state(c, **data);
		(*data)++;
		(*len)--;
	}
}
