/*
 * test/unit/websocket_deflate.c
 *	  permessage-deflate (RFC 7692): offers, messages there and back, and those that would fill the memory.
 *
 * unit sources: -lz
 */
#include "websocket_deflate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static const struct
{
	const char *offers;
	bool taken;
} offers[] = {
	{"permessage-deflate", true},
	{"Permessage-Deflate", true},
	{"permessage-deflate; client_max_window_bits", true},
	{"permessage-deflate;client_max_window_bits=\"10\"", true},
	{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", true},
	{"permessage-deflate; server_max_window_bits=15", true},
	{"permessage-deflate; server_max_window_bits=10", false},
	{"permessage-deflate; server_max_window_bits=10, permessage-deflate", true},
	{" , permessage-deflate ; client_max_window_bits = 8 , ", true},
	{"permessage-deflate; server_max_window_bits", false},
	{"permessage-deflate; server_max_window_bits=16", false},
	{"permessage-deflate; client_max_window_bits=7", false},
	{"permessage-deflate; client_max_window_bits=08", false},
	{"permessage-deflate; client_max_window_bits=", false},
	{"permessage-deflate; server_no_context_takeover=1", false},
	{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", false},
	{"permessage-deflate; new", false},
	{"permessage-deflate; x=\",permessage-deflate\"", false},
	{"x-webkit-deflate-frame", false},
	{"x-webkit-deflate-frame, permessage-deflate", true},
	{"permessage-deflate-2", false},
	{"", false},
};

/* Some that repeat themselves, some that cannot be made smaller. */
static char *
message_of(size_t len, unsigned kind)
{
	char *data = malloc(len + 1);
	uint64_t state = 88172645463325252u + len;

	if (data == NULL)
		abort();
	for (size_t i = 0; i < len; i++)
	{
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		data[i] = kind == 0 ? 'a' : kind == 1 ? "{\"position\":123}"[i % 16] : (char) state;
	}
	return data;
}

static void
there_and_back(size_t len, unsigned kind, int level)
{
	char *data = message_of(len, kind);
	Text small = {0}, large = {0};

	text_add(&small, "head", 4); /* it is added behind what is there */
	deflate_message((Slice){data, len}, level, &small);
	ok(inflate_message((Slice){small.data + 4, small.len - 4}, len, &large) == INFLATE_OK &&
		   large.len == len && memcmp(large.data ? large.data : "", data, len) == 0,
	   "a message comes back");
	ok(kind == 2 || len < 200 || small.len < len / 4, "it was made smaller");
	if (len > 0)
	{
		large.len = 0;
		ok(inflate_message((Slice){small.data + 4, small.len - 4}, len - 1, &large) ==
					INFLATE_TOO_LARGE &&
				large.len <= len,
		   "one byte too much is refused");
	}
	text_free(&small);
	text_free(&large);
	free(data);
}

/* 60 MB of one letter are 60 kB: no more is made of them than the limit. */
static void
bomb(void)
{
	char *data = message_of(60000000, 0);
	Text small = {0}, large = {0};

	deflate_message((Slice){data, 60000000}, 9, &small);
	ok(small.len < 65536, "a bomb is small");
	ok(inflate_message((Slice){small.data, small.len}, 65536, &large) == INFLATE_TOO_LARGE,
	   "a bomb is refused");
	ok(large.len <= 65537 && large.size < 200000, "and has made no more than the limit");
	text_free(&small);
	text_free(&large);
	free(data);
}

int
main(void)
{
	static const size_t lens[] = {0, 1, 2, 100, 1000, 65536, 300000};
	Text out = {0};

	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
		ok(deflate_is_offered((Slice){offers[i].offers, strlen(offers[i].offers)}) ==
			   offers[i].taken,
		   offers[i].offers);
	ok(!deflate_is_offered((Slice){NULL, 0}), "no offer");
	for (unsigned kind = 0; kind < 3; kind++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
			there_and_back(lens[i], kind, i % 2 ? 1 : 6);
	bomb();
	deflate_message((Slice){"Hello", 5}, 6, &out);
	ok(out.len == 7 && memcmp(out.data, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7) == 0,
	   "RFC 7692, 7.2.3.1");
	text_free(&out);
	return tap_end();
}
