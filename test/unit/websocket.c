/*
 * test/unit/websocket.c
 *	  Frames of RFC 6455: what is read and what is failed, at once and byte by byte.
 *
 * unit sources: -lcrypto -lz
 */
#include "websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static bool deflate; /* permessage-deflate was agreed on */

/* A client's frame, with the mask of RFC 6455, 5.7. */
static void
frame(Text *out, unsigned first, const char *payload, size_t len)
{
	static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

	text_char(out, (char) first);
	if (len < 126)
		text_char(out, (char) (0x80 | len));
	else
	{
		unsigned bytes = len < 65536 ? 2 : 8;

		text_char(out, (char) (0x80 | (bytes == 2 ? 126 : 127)));
		for (unsigned i = 0; i < bytes; i++)
			text_char(out, (char) ((uint64_t) len >> 8 * (bytes - 1 - i)));
	}
	text_add(out, (const char *) mask, 4);
	for (size_t i = 0; i < len; i++)
		text_char(out, (char) ((unsigned char) payload[i] ^ mask[i & 3]));
}

/* What came out, as text: "T5" a text of five bytes, "B", "C", "I" ping, "O" pong, "!1002" failed. */
static void
run(const char *data, size_t len, size_t step, size_t message_max, Text *out)
{
	Websocket ws;

	websocket_begin(&ws, message_max);
	ws.deflate = deflate;
	for (size_t at = 0; at < len; at += step)
	{
		size_t n = len - at < step ? len - at : step;
		char *copy = malloc(n);
		const char *p = copy;
		WebsocketResult result;
		WebsocketOpcode opcode;
		Slice payload;

		memcpy(copy, data + at, n);
		while ((result = websocket_next(&ws, &p, &n, &opcode, &payload)) == WEBSOCKET_MESSAGE ||
			   result == WEBSOCKET_CONTROL)
		{
			text_char(out, "?TB?????CIO"[opcode]);
			text_int(out, (int64_t) payload.len);
			text_char(out, ' ');
		}
		free(copy);
		if (result == WEBSOCKET_FAILED)
		{
			text_printf(out, "!%d", ws.close_code);
			break;
		}
	}
	websocket_end(&ws);
	text_add(out, "", 0);
}

static void
expect_max(const char *what, const Text *frames, const char *expected, size_t message_max)
{
	static const size_t steps[] = {1, 2, 3, 7, 1000000};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
	{
		Text out = {0};

		run(frames->data, frames->len, steps[i], message_max, &out);
		ok(strcmp(out.data ? out.data : "", expected) == 0, what);
		if (strcmp(out.data ? out.data : "", expected) != 0)
			printf("# \"%s\" is \"%s\", not \"%s\"\n", what, out.data, expected);
		text_free(&out);
	}
}

typedef struct Part
{
	unsigned first;
	const char *payload;
	int len; /* -1: of the string */
} Part;

typedef struct Case
{
	const char *what;
	Part parts[5];
	const char *expected;
} Case;

static const Case cases[] = {
	{"a text", {{0x81, "Hello", -1}}, "T5 "},
	{"an empty text", {{0x81, "", -1}}, "T0 "},
	{"a binary message with a zero byte", {{0x82, "a\0b", 3}}, "B3 "},
	{"a text in fragments", {{0x01, "Hel", -1}, {0x80, "lo", -1}}, "T5 "},
	{"empty fragments", {{0x01, "", -1}, {0x00, "", -1}, {0x80, "", -1}}, "T0 "},
	{"a ping between fragments", {{0x01, "Hel", -1}, {0x89, "x", -1}, {0x80, "lo", -1}}, "I1 T5 "},
	{"a pong that nobody asked for", {{0x8a, "", -1}}, "O0 "},
	{"two messages", {{0x81, "a", -1}, {0x82, "b", -1}}, "T1 B1 "},
	{"a close", {{0x88, "\x03\xe8", 2}}, "C2 "},
	{"UTF-8 cut inside a character", {{0x01, "\xc3", -1}, {0x80, "\xa9", -1}}, "T2 "},
	{"no UTF-8", {{0x81, "a\xff", -1}}, "!1007"},
	{"an overlong form", {{0x81, "\xc0\x80", 2}}, "!1007"},
	{"half a surrogate pair", {{0x81, "\xed\xa0\x80", 3}}, "!1007"},
	{"beyond U+10FFFF", {{0x81, "\xf4\x90\x80\x80", 4}}, "!1007"},
	{"half a character at the end", {{0x81, "\xc3", -1}}, "!1007"},
	{"bytes above 127 behind eight of ASCII", {{0x81, "01234567\xc3\xa9 0123456\xe2\x82\xac", -1}}, "T21 "},
	{"no UTF-8 in a first fragment fails at once", {{0x01, "\xff", -1}}, "!1007"},
	{"a reserved bit", {{0xc1, "a", -1}}, "!1002"},
	{"a reserved opcode", {{0x83, "a", -1}}, "!1002"},
	{"a reserved control opcode", {{0x8b, "", -1}}, "!1002"},
	{"a continuation of nothing", {{0x80, "a", -1}}, "!1002"},
	{"a message inside another", {{0x01, "a", -1}, {0x81, "b", -1}}, "!1002"},
	{"a ping in fragments", {{0x09, "a", -1}}, "!1002"},
};

static void
test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Text frames = {0};

		for (const Part *part = cases[i].parts; part->payload; part++)
			frame(&frames, part->first, part->payload, part->len < 0 ? strlen(part->payload) : (size_t) part->len);
		expect_max(cases[i].what, &frames, cases[i].expected, 1000);
		text_free(&frames);
	}
}

/* RFC 7692, 7.2.3, and what it forbids. */
static const Case compressed[] = {
	{"a compressed text", {{0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7}}, "T5 "},
	{"one in fragments", {{0x41, "\xf2\x48\xcd", 3}, {0x80, "\xc9\xc9\x07\x00", 4}}, "T5 "},
	{"one that is stored", {{0xc1, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11}}, "T5 "},
	{"one with a last block", {{0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8}}, "T5 "},
	{"one of two blocks",
	 {{0xc1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13}},
	 "T5 "},
	{"an empty one", {{0xc1, "\x00", 1}}, "T0 "},
	{"a plain one between", {{0x81, "Hello", -1}, {0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7}}, "T5 T5 "},
	{"one that is binary", {{0xc2, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7}}, "B5 "},
	{"nothing is taken over from the one before",
	 {{0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7}, {0xc1, "\xf2\x00\x11\x00\x00", 5}},
	 "T5 !1007"},
	{"no deflate", {{0xc1, "\xff\xff\xff", 3}}, "!1007"},
	{"half a block", {{0xc1, "\xf2\x48", 2}}, "!1007"},
	{"no payload at all", {{0xc1, "", -1}}, "!1007"},
	{"no UTF-8 in it", {{0xc1, "\x00\x01\x00\xfe\xff\xff\x00", 7}}, "!1007"},
	{"a continuation that says it", {{0x41, "\xf2\x48", 2}, {0xc0, "\xcd", 1}}, "!1002"},
	{"a ping that says it", {{0xc9, "a", -1}}, "!1002"},
	{"another reserved bit", {{0xa1, "a", -1}}, "!1002"},
};

static void
test_compressed(void)
{
	deflate = true;
	for (size_t i = 0; i < sizeof(compressed) / sizeof(compressed[0]); i++)
	{
		Text frames = {0};

		for (const Part *part = compressed[i].parts; part->payload; part++)
			frame(&frames, part->first, part->payload,
				  part->len < 0 ? strlen(part->payload) : (size_t) part->len);
		expect_max(compressed[i].what, &frames, compressed[i].expected, 1000);
		text_free(&frames);
	}
	deflate = false;
}

static void
test_lengths(void)
{
	static const struct
	{
		size_t len;
		const char *expected;
	} lengths[] = {{125, "B125 "}, {126, "B126 "}, {65535, "B65535 "}, {65536, "B65536 "}, {70001, "!1009"}};
	char *zeros = calloc(1, 70001);
	Text frames = {0};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		frames.len = 0;
		frame(&frames, 0x82, zeros, lengths[i].len);
		expect_max("each way to write a length", &frames, lengths[i].expected, 70000);
	}
	frames.len = 0;
	frame(&frames, 0x02, zeros, 60000);
	frame(&frames, 0x80, zeros, 10001);
	expect_max("fragments that are too much together", &frames, "!1009", 70000);
	frames.len = 0;
	frame(&frames, 0x89, zeros, 126);
	expect_max("a ping that is too long", &frames, "!1002", 70000);
	frames.len = 0;
	text_add(&frames, "\x82\xfe\x00\x05----01234", 13);
	expect_max("a length that is not the shortest", &frames, "!1002", 70000);
	frames.len = 0;
	text_add(&frames, "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff----", 14);
	expect_max("a length with the highest bit", &frames, "!1002", 70000);
	frames.len = 0;
	text_add(&frames, "\x81\x05Hello", 7);
	expect_max("a frame without a mask", &frames, "!1002", 70000);
	text_free(&frames);
	free(zeros);
}

static void
test_server(void)
{
	char head[WEBSOCKET_HEAD_MAX], accept[29];
	uint16_t code;

	ok(websocket_head(head, WEBSOCKET_TEXT, 5) == 2 && memcmp(head, "\x81\x05", 2) == 0, "RFC 6455, 5.7: a text");
	ok(websocket_head(head, WEBSOCKET_BINARY, 256) == 4 && memcmp(head, "\x82\x7e\x01\x00", 4) == 0,
	   "RFC 6455, 5.7: 256 bytes");
	ok(websocket_head(head, WEBSOCKET_BINARY, 65536) == 10 &&
		   memcmp(head, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10) == 0,
	   "RFC 6455, 5.7: 64 KB");
	ok(websocket_accept((Slice){"dGhlIHNhbXBsZSBub25jZQ==", 24}, accept) &&
		   strcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0,
	   "RFC 6455, 1.3: the handshake");
	ok(!websocket_accept((Slice){"dGhlIHNhbXBsZSBub25jZQ=", 23}, accept), "a key that is too short");
	ok(!websocket_accept((Slice){"dGhlIHNhbXBsZSBub25jZQ!!", 24}, accept), "a key that is not base64");
	ok(websocket_close_code((Slice){"", 0}, &code) && code == 1005, "a close without a code");
	ok(!websocket_close_code((Slice){"\x03", 1}, &code) && code == 1002, "half a code");
	ok(websocket_close_code((Slice){"\x03\xe8" "bye", 5}, &code) && code == 1000, "a normal close");
	ok(!websocket_close_code((Slice){"\x03\xe8\xff", 3}, &code) && code == 1007, "a reason that is not UTF-8");
	for (unsigned i = 0; i < 5100; i++)
	{
		char bytes[2] = {(char) (i >> 8), (char) i};
		bool allowed = (i >= 1000 && i <= 1014 && i != 1004 && i != 1005 && i != 1006) || (i >= 3000 && i <= 4999);

		if (websocket_close_code((Slice){bytes, 2}, &code) != allowed)
			ok(false, "a close code is judged wrongly");
	}
	ok(true, "all close codes");
}

int
main(void)
{
	test_cases();
	test_compressed();
	test_lengths();
	test_server();
	return tap_end();
}
