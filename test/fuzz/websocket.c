/*
 * test/fuzz/websocket.c
 *	  Any bytes as a client's frames: how they are cut into reads makes no difference.
 *
 * fuzz sources: -lcrypto -lz
 */
#include "fuzz.h"
#include "../../gateway/lib/websocket.h"

const char *const usher_fuzz_words[] = {
	"\x81\x85", "\x81\x80", "\x01\x81", "\x80\x81", "\x89\x80", "\x88\x82", "\x82\xfe", "\x82\xff", "\xc3\xa9", "\xc1\x87", "\xf2\x48\xcd\xc9\xc9\x07\x00",
	"\x41\x83", NULL};

#define MESSAGE_MAX 300

/* All that comes out, written down. */
static void
run(const char *data, size_t len, size_t step, bool deflate, Text *out)
{
	Websocket ws;

	websocket_begin(&ws, MESSAGE_MAX);
	ws.deflate = deflate;
	for (size_t at = 0; at < len; at += step)
	{
		size_t n = len - at < step ? len - at : step;
		const char *p = data + at;
		WebsocketResult result;
		WebsocketOpcode opcode;
		Slice payload;

		while ((result = websocket_next(&ws, &p, &n, &opcode, &payload)) == WEBSOCKET_MESSAGE ||
			   result == WEBSOCKET_CONTROL)
		{
			must(payload.len <= (result == WEBSOCKET_CONTROL ? 125 : MESSAGE_MAX));
			must((opcode >= WEBSOCKET_CLOSE) == (result == WEBSOCKET_CONTROL));
			text_printf(out, "%d:%zu:", opcode, payload.len);
			text_add(out, payload.data, payload.len);
		}
		if (result == WEBSOCKET_FAILED)
		{
			must(ws.close_code == 1002 || ws.close_code == 1007 || ws.close_code == 1009);
			text_printf(out, "!%d", ws.close_code);
			break;
		}
		must(n == 0);
	}
	websocket_end(&ws);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	size_t step = 1 + input_number(&in, 16), len;
	bool deflate = input_number(&in, 2) > 0;
	char *bytes = input_bytes(&in, &len);
	Text whole = {0}, parts = {0};

	run(bytes, len, len + 1, deflate, &whole);
	run(bytes, len, step, deflate, &parts);
	must(whole.len == parts.len && (whole.len == 0 || memcmp(whole.data, parts.data, whole.len) == 0));
	text_free(&whole);
	text_free(&parts);
	free(bytes);
	return 0;
}
