/*
 * test/fuzz/http_framing.c
 *	  Any bytes as chunks and as headers: decoded the same however they are cut, and as a slow reader does.
 *
 * The judge reads line by line with the whole text before it; the decoder sees
 * it byte by byte and in parts.
 */
#include "fuzz.h"
#include "http_framing.h"

const char *const usher_fuzz_words[] = {
	"0\r\n", "0\r\n\r\n", "5\r\nhello\r\n", "1\r\nx\r\n", "\r\n",    "\r", "\n", ";",
	";a=b",  "\"",        "a: b\r\n",       "ff\r\n",     "00a\r\n", ":",  "a",  "A",
	":",     " ",         "1\r\n\r\r\n",    "chunked",    "12",      "-1", ",",  NULL};

#define BODY_MAX 300

typedef struct Outcome
{
	ChunkedResult result;
	size_t used, len;
	char body[BODY_MAX];
} Outcome;

static void
decode(const uint8_t *bytes, size_t size, size_t part, Outcome *o)
{
	Chunked c;

	memset(o, 0, sizeof(*o));
	o->result = CHUNKED_MORE;
	chunked_begin(&c, BODY_MAX);
	while (o->used < size && o->result == CHUNKED_MORE)
	{
		size_t n = size - o->used < part ? size - o->used : part, len = n;
		char *copy = malloc(n);
		const char *data = memcpy(copy, bytes + o->used, n);
		Slice payload;

		while ((o->result = chunked_next(&c, &data, &len, &payload)) == CHUNKED_DATA)
		{
			must(payload.len > 0 && payload.data >= copy && payload.data + payload.len == data);
			must(o->len + payload.len <= BODY_MAX);
			memcpy(o->body + o->len, payload.data, payload.len);
			o->len += payload.len;
		}
		must(data >= copy && data + len == copy + n);
		must(o->result != CHUNKED_MORE || len == 0);
		o->used += n - len;
		free(copy);
	}
}

/* Only bodies without extensions and trailers: size in hexadecimal, CR LF, so many bytes, CR LF. */
static bool
plain(const uint8_t *at, size_t size, Outcome *o)
{
	const uint8_t *begin = at, *end = at + size;

	memset(o, 0, sizeof(*o));
	for (;;)
	{
		char digits[17] = "", *stop;
		size_t n = 0, len;

		while (at < end && n < 16 && strchr("0123456789abcdefABCDEF", *at) != NULL && *at != 0)
			digits[n++] = (char) *at++;
		if (n == 0 || n > 15 || end - at < 2 || at[0] != '\r' || at[1] != '\n')
			return false;
		at += 2;
		len = strtoull(digits, &stop, 16);
		if (len > BODY_MAX - o->len || len + 2 > (size_t) (end - at))
			return false;
		memcpy(o->body + o->len, at, len);
		o->len += len;
		at += len;
		if (at[0] != '\r' || at[1] != '\n')
			return false;
		at += 2;
		if (len == 0)
		{
			o->used = (size_t) (at - begin);
			return true;
		}
	}
}

static void
try_headers(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	unsigned flags = input_number(&in, 256);
	size_t length_len, encoding_len;
	char *length = input_bytes(&in, &length_len), *encoding = input_bytes(&in, &encoding_len);
	Slice l = {flags & 1 ? length : NULL, flags & 1 ? length_len : 0};
	Slice e = {flags & 2 ? encoding : NULL, flags & 2 ? encoding_len : 0};
	Framing f;
	FramingFault fault = framing_of(l, flags & 4, e, flags & 8, flags & 16 ? 1 : 0, 1000000, &f);

	must(framing_status(fault) >= 200 && framing_message(fault) != NULL);
	if (fault == FRAMING_OK)
	{
		must((flags & 12) == 0 && !(f.chunked && f.has_length));
		must(f.chunked == (e.data != NULL) && f.has_length == (l.data != NULL));
		must(f.length >= 0 && f.length <= 1000000);
		for (size_t i = 0; i < l.len; i++)
			must(length[i] >= '0' && length[i] <= '9');
		must(!f.chunked || (encoding_len == 7 && (flags & 16)));
	}
	free(length);
	free(encoding);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Outcome whole, parts, judged;

	decode(data, size, size + 1, &whole);
	for (size_t part = 1; part <= 7; part += 3)
	{
		decode(data, size, part, &parts);
		must(parts.result == whole.result && parts.used == whole.used && parts.len == whole.len &&
			 memcmp(parts.body, whole.body, whole.len) == 0);
	}
	if (plain(data, size, &judged))
		must(whole.result == CHUNKED_DONE && whole.used == judged.used && whole.len == judged.len &&
			 memcmp(whole.body, judged.body, whole.len) == 0);
	else if (whole.result == CHUNKED_DONE)
		/* It had an extension or a trailer. */
		must(memchr(data, ';', whole.used) != NULL || memchr(data, ':', whole.used) != NULL);
	try_headers(data, size);
	return 0;
}
