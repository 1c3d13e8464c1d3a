/*
 * test/unit/text.c
 *	  Arenas, growing text, JSON strings and numbers of the gateway.
 */
#include "lib/text.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* Many pieces of all sizes, each filled with its number: none may touch another. */
static void
test_arena(void)
{
	enum
	{
		PIECES = 3000
	};
	static unsigned char *pieces[PIECES];
	static size_t sizes[PIECES];
	static alignas(max_align_t) char memory[1000];
	Arena arena;
	bool aligned = true, intact = true;
	unsigned seed = 7;

	arena_begin(&arena, memory, sizeof(memory));
	ok(arena_alloc(&arena, 1) == memory, "arena_begin: its memory comes first");
	for (int i = 0; i < PIECES; i++)
	{
		sizes[i] = (size_t) (rand_r(&seed) % (i % 100 == 0 ? 20000 : 90));
		pieces[i] = arena_alloc(&arena, sizes[i]);
		aligned = aligned && (uintptr_t) pieces[i] % alignof(max_align_t) == 0;
		memset(pieces[i], i % 251, sizes[i]);
	}
	for (int i = 0; i < PIECES; i++)
		for (size_t j = 0; j < sizes[i]; j++)
			intact = intact && pieces[i][j] == i % 251;
	ok(aligned, "arena_alloc: aligned");
	ok(intact, "arena_alloc: pieces do not overlap");
	arena_free(&arena);
	ok(arena.blocks == NULL && arena.at == NULL, "arena_free: empty");
	ok(strcmp(arena_printf(&arena, "%d-%s", 42, "x"), "42-x") == 0, "arena_printf, used again");
	ok(strcmp(arena_copy(&arena, "abc", 2), "ab") == 0, "arena_copy ends in a zero byte");
	ok(arena_slice(&arena, (Slice){NULL, 0}).data == NULL, "arena_slice: absent stays absent");
	ok(arena_slice(&arena, (Slice){"", 0}).data != NULL, "arena_slice: empty is not absent");
	ok(*(int *) arena_zalloc(&arena, sizeof(int)) == 0, "arena_zalloc: zeroed");
	arena_free(&arena);
}

static void
test_text(void)
{
	Text text = {0};
	char expected[4000] = "";

	for (int i = 0; i < 300; i++)
	{
		text_puts(&text, "ab");
		text_char(&text, 'c');
		text_printf(&text, "%03d", i);
		sprintf(expected + strlen(expected), "abc%03d", i);
	}
	ok(text.len == strlen(expected) && strcmp(text.data, expected) == 0, "text grows");
	text_free(&text);
	text_int(&text, INT64_MIN);
	text_int(&text, 0);
	text_int(&text, INT64_MAX);
	ok(strcmp(text.data, "-922337203685477580809223372036854775807") == 0, "text_int");
	text_free(&text);
	ok(text.data == NULL && text.len == 0, "text_free: empty");
	text_add(&text, NULL, 0);
	ok(text.data != NULL && text.data[0] == '\0', "nothing added ends in a zero byte, too");
	text_free(&text);
}

typedef struct JsonCase
{
	const char *data;
	size_t len;
	const char *expected;
} JsonCase;

#define REPLACED "\xef\xbf\xbd"

static const JsonCase json_cases[] = {
	{"", 0, "\"\""},
	{"plain", 5, "\"plain\""},
	{"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
	{"\b\f\n\r\t\x01\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
	{"a\0b", 3, "\"a\\u0000b\""},
	{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xab", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xab\""},
	{"\xff", 1, "\"" REPLACED "\""},
	{"a\xc3", 2, "\"a" REPLACED "\""},
	{"\xc0\xaf", 2, "\"" REPLACED REPLACED "\""},
	{"\xe0\x80\xaf", 3, "\"" REPLACED REPLACED REPLACED "\""},
	{"\xed\xa0\x80", 3, "\"" REPLACED REPLACED REPLACED "\""},
	{"\xf0\x8f\xbf\xbf", 4, "\"" REPLACED REPLACED REPLACED REPLACED "\""},
	{"\xf4\x90\x80\x80", 4, "\"" REPLACED REPLACED REPLACED REPLACED "\""},
	{"\xf4\x8f\xbf\xbf", 4, "\"\xf4\x8f\xbf\xbf\""},
	{"\xe2\x82z", 3, "\"" REPLACED REPLACED "z\""},
};

static void
test_json(void)
{
	for (size_t i = 0; i < sizeof(json_cases) / sizeof(json_cases[0]); i++)
	{
		const JsonCase *c = &json_cases[i];
		/* of the exact size, so that a sanitizer sees a byte read too far */
		char *data = malloc(c->len + (c->len == 0));
		Text text = {0};
		char what[40];

		memcpy(data, c->data, c->len);
		text_json(&text, data, c->len);
		snprintf(what, sizeof(what), "text_json: case %zu", i);
		ok(strcmp(text.data, c->expected) == 0, what);
		free(data);
		text_free(&text);
	}
}

typedef struct IntCase
{
	const char *text;
	int64_t min, max;
	bool good;
	int64_t expected;
} IntCase;

static const IntCase int_cases[] = {
	{"0", 0, 10, true, 0},
	{"007", 0, 10, true, 7},
	{"11", 0, 10, false, 0},
	{"", 0, 10, false, 0},
	{"-", -10, 10, false, 0},
	{"-3", -10, 10, true, -3},
	{"-3", 0, 10, false, 0},
	{"+3", 0, 10, false, 0},
	{" 3", 0, 10, false, 0},
	{"3 ", 0, 10, false, 0},
	{"0x1", 0, 10, false, 0},
	{"9223372036854775807", 0, INT64_MAX, true, INT64_MAX},
	{"9223372036854775808", INT64_MIN, INT64_MAX, false, 0},
	{"-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN},
	{"-9223372036854775809", INT64_MIN, INT64_MAX, false, 0},
	{"99999999999999999999999999", INT64_MIN, INT64_MAX, false, 0},
};

/* What the table of JSON strings keeps as it is, and has no zero byte, is text; at every offset of a word. */
static void
test_is_text(void)
{
	for (size_t i = 0; i < sizeof(json_cases) / sizeof(json_cases[0]); i++)
	{
		const JsonCase *c = &json_cases[i];
		bool expected = strstr(c->expected, REPLACED) == NULL && memchr(c->data, 0, c->len) == NULL;
		bool good = true;
		char what[40];

		for (size_t before = 0; before < 20; before++)
			for (size_t behind = 0; behind < 20; behind++)
			{
				size_t len = before + c->len + behind;
				char *data = malloc(len + (len == 0));

				memset(data, '\x7f', len);
				memcpy(data + before, c->data, c->len);
				good = good && slice_is_text((Slice){data, len}) == expected;
				free(data);
			}
		snprintf(what, sizeof(what), "slice_is_text: case %zu", i);
		ok(good, what);
	}
	ok(slice_is_text((Slice){NULL, 0}), "slice_is_text: absent");
}

static void
test_slices(void)
{
	int64_t number = -77;

	for (size_t i = 0; i < sizeof(int_cases) / sizeof(int_cases[0]); i++)
	{
		const IntCase *c = &int_cases[i];
		char what[80];
		bool good;

		number = -77;
		good = slice_int((Slice){c->text, strlen(c->text)}, c->min, c->max, &number);
		snprintf(what, sizeof(what), "slice_int: \"%s\" from %" PRId64, c->text, c->min);
		ok(good == c->good && number == (good ? c->expected : -77), what);
	}
	ok(!slice_int((Slice){NULL, 0}, 0, 10, &number), "slice_int: absent is no number");
	ok(slice_is((Slice){"abc", 3}, "abc") && !slice_is((Slice){"abc", 2}, "abc") &&
		   !slice_is((Slice){"Abc", 3}, "abc") && !slice_is((Slice){NULL, 0}, ""),
	   "slice_is");
	ok(slice_is_nocase((Slice){"aBC", 3}, "AbC") && !slice_is_nocase((Slice){"ab", 2}, "abc") &&
		   slice_is_nocase((Slice){"", 0}, ""),
	   "slice_is_nocase");
}

int
main(void)
{
	test_arena();
	test_text();
	test_json();
	test_is_text();
	test_slices();
	return tap_end();
}
