/*
 * test/unit/http_framing.c
 *	  Where a body ends: headers that smuggle are refused, chunks are decoded however they are cut.
 */
#include "http_framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tests;
static int failures;

static void
ok(bool passed, const char *what, const char *text)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s: ", passed ? "" : "not ", tests, what);
	for (int i = 0; i < 60 && text[i] != '\0'; i++)
		putchar(text[i] < ' ' || text[i] == '#' || text[i] == 127 ? '?' : text[i]);
	putchar('\n');
}

typedef struct HeaderCase
{
	const char *length, *encoding;
	int minor;
	FramingFault fault;
	bool chunked;
	int64_t number;
} HeaderCase;

static const HeaderCase headers[] = {
	{NULL, NULL, 1, FRAMING_OK, false, 0},
	{"0", NULL, 1, FRAMING_OK, false, 0},
	{"1000", NULL, 1, FRAMING_OK, false, 1000},
	{"0001000", NULL, 0, FRAMING_OK, false, 1000},
	{"1001", NULL, 1, FRAMING_TOO_LARGE, false, 1001},
	{"999999999999999999", NULL, 1, FRAMING_TOO_LARGE, false, 999999999999999999},
	{"9223372036854775807", NULL, 1, FRAMING_TOO_LARGE, false, 0},
	{"18446744073709551617", NULL, 1, FRAMING_TOO_LARGE, false, 0},
	{"0000000000000000000000000000001", NULL, 1, FRAMING_TOO_LARGE, false, 0},
	{"", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"+5", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"-5", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"5 ", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"5,5", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"5, 6", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"0x5", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"5.0", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"5e2", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{"\xd9\xa5", NULL, 1, FRAMING_LENGTH_INVALID, false, 0},
	{NULL, "chunked", 1, FRAMING_OK, true, 0},
	{NULL, "Chunked", 1, FRAMING_OK, true, 0},
	{NULL, "chunked", 0, FRAMING_ENCODING_OLD, false, 0},
	{NULL, "", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "identity", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "gzip, chunked", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "chunked, chunked", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "chunked,", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "xchunked", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "chunked;q=1", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL, "\"chunked\"", 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{NULL,
	 "\x0b"
	 "chunked",
	 1, FRAMING_ENCODING_UNKNOWN, false, 0},
	{"5", "chunked", 1, FRAMING_BOTH, false, 0},
	{"", "chunked", 1, FRAMING_BOTH, false, 0},
	{"5", "identity", 1, FRAMING_BOTH, false, 0},
};

static Slice
slice(const char *text)
{
	return (Slice){text, text ? strlen(text) : 0};
}

static void
check_headers(void)
{
	Framing framing;

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
	{
		const HeaderCase *c = &headers[i];
		char name[100];
		FramingFault fault = framing_of(slice(c->length), false, slice(c->encoding), false,
										c->minor, 1000, &framing);

		snprintf(name, sizeof(name), "length %s encoding %s", c->length ? c->length : "none",
				 c->encoding ? c->encoding : "none");
		ok(fault == c->fault && framing.chunked == c->chunked && framing.length == c->number &&
			   framing.has_length == (fault == FRAMING_OK ? c->length != NULL : c->number > 0),
		   "headers", name);
	}
	ok(framing_of(slice("5"), true, slice(NULL), false, 1, 1000, &framing) == FRAMING_LENGTH_TWICE,
	   "headers", "Content-Length twice");
	ok(framing_of(slice(NULL), false, slice("chunked"), true, 1, 1000, &framing) ==
		   FRAMING_ENCODING_TWICE,
	   "headers", "Transfer-Encoding twice");
	for (int fault = FRAMING_LENGTH_INVALID; fault <= FRAMING_TOO_LARGE; fault++)
	{
		int status = framing_status((FramingFault) fault);

		ok((status == 400 || status == 413 || status == 501) &&
			   framing_message((FramingFault) fault)[0] != '\0',
		   "has a status and words", framing_message((FramingFault) fault));
	}
}

typedef struct ChunkCase
{
	const char *text;
	ChunkedResult result;
	const char *body; /* what came before it ended */
	const char *rest; /* what was not used, when it is done */
} ChunkCase;

static const ChunkCase chunks[] = {
	{"0\r\n\r\n", CHUNKED_DONE, "", ""},
	{"5\r\nhello\r\n0\r\n\r\n", CHUNKED_DONE, "hello", ""},
	{"5\r\nhello\r\n0\r\n\r\nGET /", CHUNKED_DONE, "hello", "GET /"},
	{"2\r\nhe\r\n003\r\nllo\r\n00\r\n\r\n", CHUNKED_DONE, "hello", ""},
	{"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", CHUNKED_DONE, "01234567890123456789", ""},
	{"2\r\n\r\n\r\n0\r\n\r\n", CHUNKED_DONE, "\r\n", ""},
	{"5;a=b;c=\"d;e\"\r\nhello\r\n0;last\r\n\r\n", CHUNKED_DONE, "hello", ""},
	{"0\r\nA: b\r\nC-d:\t\r\n\r\nX", CHUNKED_DONE, "", "X"},
	{"5\r\nhell", CHUNKED_MORE, "hell", ""},
	{"5\r\nhello\r\n0\r\n", CHUNKED_MORE, "hello", ""},
	{"5\r\nhello\r\n0\r\n\r", CHUNKED_MORE, "hello", ""},
	{"", CHUNKED_MORE, "", ""},
	/* bare line ends */
	{"5\nhello\r\n0\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"5\r\nhello\n0\r\n\r\n", CHUNKED_INVALID, "hello", ""},
	{"5\r\nhello\r0\r\n\r\n", CHUNKED_INVALID, "hello", ""},
	{"5\rhello\r\n", CHUNKED_INVALID, "", ""},
	{"5\r\rhello\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\n\n", CHUNKED_INVALID, "", ""},
	{"0\r\nA: b\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\nA: b\rC: d\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"5;a\nb\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	/* sizes */
	{"\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"-5\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"+5\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{" 5\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"5 \r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"5 ;a\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"0x5\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"g\r\n", CHUNKED_INVALID, "", ""},
	{"5_0\r\n", CHUNKED_INVALID, "", ""},
	{";a\r\n", CHUNKED_INVALID, "", ""},
	{"fffffffffffffff\r\n", CHUNKED_TOO_LARGE, "", ""},
	{"ffffffffffffffff\r\n", CHUNKED_INVALID, "", ""},
	{"10000000000000005\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"000000000000000005\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"65\r\n", CHUNKED_TOO_LARGE, "", ""},
	{"5\r\nhello\r\n60\r\n", CHUNKED_TOO_LARGE, "hello", ""},
	/* longer or shorter than it says */
	{"5\r\nhello!\r\n0\r\n\r\n", CHUNKED_INVALID, "hello", ""},
	{"6\r\nhello\r\n0\r\n\r\n", CHUNKED_INVALID, "hello\r", ""},
	/* extensions and trailers */
	{"5;a=\"b\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"5;a=\"\\\"\"\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"5;\x01\r\nhello\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\nA b: c\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\nA : c\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\n A: c\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\n: c\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\nA\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\nA: \x01\r\n\r\n", CHUNKED_INVALID, "", ""},
	{"0\r\nGET / HTTP/1.1\r\n\r\n", CHUNKED_INVALID, "", ""},
};

/* Feeds the text in parts of `part` bytes; the body is what the payloads are together. */
static ChunkedResult
decode(const char *text, size_t text_len, size_t part, char *body, size_t *body_len, size_t *rest)
{
	Chunked c;
	ChunkedResult result = CHUNKED_MORE;
	size_t at = 0;

	*body_len = 0;
	chunked_begin(&c, 100);
	while (at < text_len && result == CHUNKED_MORE)
	{
		size_t n = text_len - at < part ? text_len - at : part, len = n;
		char *copy = malloc(n);
		const char *data = memcpy(copy, text + at, n);
		Slice payload;

		while ((result = chunked_next(&c, &data, &len, &payload)) == CHUNKED_DATA)
		{
			memcpy(body + *body_len, payload.data, payload.len);
			*body_len += payload.len;
		}
		at += n - len;
		free(copy);
	}
	*rest = text_len - at;
	return result;
}

static void
check_chunks(void)
{
	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++)
	{
		const ChunkCase *c = &chunks[i];
		size_t len = strlen(c->text), body_len, rest;
		bool passed = true;
		char body[200];

		for (size_t part = 1; part <= len; part++)
		{
			ChunkedResult result = decode(c->text, len, part, body, &body_len, &rest);

			passed = passed && result == c->result && body_len == strlen(c->body) &&
					 memcmp(body, c->body, body_len) == 0 &&
					 (result != CHUNKED_DONE || rest == strlen(c->rest));
		}
		ok(passed, "chunks", c->text);
	}
}

static ChunkedResult
decode_repeated(const char *begin, const char *repeated, size_t times, const char *end)
{
	size_t repeated_len = strlen(repeated), body_len, rest;
	char *text = malloc(strlen(begin) + repeated_len * times + strlen(end) + 1);
	char *at = stpcpy(text, begin), body[200];
	ChunkedResult result;

	for (size_t i = 0; i < times; i++)
		at = stpcpy(at, repeated);
	strcpy(at, end);
	result = decode(text, strlen(text), 4096, body, &body_len, &rest);
	free(text);
	return result;
}

static void
check_bounds(void)
{
	ok(decode_repeated("1;", "x", CHUNK_LINE_MAX - 1, "\r\na\r\n0\r\n\r\n") == CHUNKED_DONE,
	   "is allowed", "a long extension");
	ok(decode_repeated("1;", "x", CHUNK_LINE_MAX, "\r\na\r\n0\r\n\r\n") == CHUNKED_INVALID,
	   "is refused", "a longer extension");
	ok(decode_repeated("", "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n", 99, "0\r\n\r\n") ==
		   CHUNKED_DONE,
	   "are allowed", "99 extensions of 40 bytes");
	ok(decode_repeated("",
					   "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
					   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
					   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
					   "\r\na\r\n",
					   99, "0\r\n\r\n") == CHUNKED_INVALID,
	   "are refused", "99 extensions of 200 bytes");
	ok(decode_repeated("0\r\n", "Name: value\r\n", CHUNK_TRAILERS_MAX / 12 - 1, "\r\n") ==
		   CHUNKED_DONE,
	   "are allowed", "many trailers");
	ok(decode_repeated("0\r\n", "Name: value\r\n", CHUNK_TRAILERS_MAX / 11, "\r\n") ==
		   CHUNKED_INVALID,
	   "are refused", "more trailers");
	ok(decode_repeated("64\r\n", "x", 100, "\r\n0\r\n\r\n") == CHUNKED_DONE, "is allowed",
	   "a body of the limit");
	ok(decode_repeated("", "1\r\nx\r\n", 101, "0\r\n\r\n") == CHUNKED_TOO_LARGE, "is refused",
	   "a body of more than the limit in small chunks");
}

int
main(void)
{
	check_headers();
	check_chunks();
	check_bounds();
	printf("1..%d\n", tests);
	return failures > 0;
}
