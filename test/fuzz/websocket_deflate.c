/*
 * test/fuzz/websocket_deflate.c
 *	  Any bytes as a compressed message stay within the limit; what we compress comes back.
 *
 * fuzz sources: -lz
 */
#include "fuzz.h"
#include "../../gateway/lib/websocket_deflate.h"

const char *const usher_fuzz_words[] = {"permessage-deflate", "; client_max_window_bits", "=\"10\"", ", ",
										"server_no_context_takeover", "\xf2\x48\xcd\xc9\xc9\x07\x00", NULL};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	size_t max = input_number(&in, 2000), len, offers_len;
	int level = 1 + (int) input_number(&in, 9);
	char *bytes = input_bytes(&in, &len), *offers = input_bytes(&in, &offers_len);
	Text small = {0}, large = {0};
	InflateResult result = inflate_message((Slice){bytes, len}, max, &large);

	must(large.len <= max + 1);
	must((result == INFLATE_TOO_LARGE) == (large.len > max));
	large.len = 0;
	deflate_message((Slice){bytes, len}, level, &small);
	must(inflate_message((Slice){small.data, small.len}, len, &large) == INFLATE_OK);
	must(large.len == len && (len == 0 || memcmp(large.data, bytes, len) == 0));
	deflate_is_offered((Slice){offers, offers_len});
	text_free(&small);
	text_free(&large);
	free(bytes);
	free(offers);
	return 0;
}
