/*
 * test/unit/pgbinary.c
 *	  PostgreSQL's binary arrays and composites: bytes as the server writes them,
 *	  values written and read back, and bytes that are none.
 */
#include "lib/pgbinary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static Slice
of(const Text *text)
{
	return (Slice){text->data, text->len};
}

/* What array_send(array[1, null]) and record_send(row('ab'::text, null::bigint)) answer. */
static const char server_array[] = "\0\0\0\1\0\0\0\1\0\0\0\x17\0\0\0\2\0\0\0\1"
								   "\0\0\0\4\0\0\0\1\xff\xff\xff\xff";
static const char server_record[] = "\0\0\0\2\0\0\0\x19\0\0\0\2"
									"ab\0\0\0\x14\xff\xff\xff\xff";
static const char server_empty[] = "\0\0\0\0\0\0\0\0\0\0\0\x17";

static void
test_server(void)
{
	BinaryItems items;
	Slice value;
	int32_t number = 0;

	ok(binary_open_array(&items, (Slice){server_array, sizeof(server_array) - 1}) && items.n == 2 &&
		   items.type == BINARY_INT4,
	   "an array's head");
	ok(binary_next(&items, &value) && binary_read_int32(value, &number) && number == 1, "a number");
	ok(binary_next(&items, &value) && value.data == NULL, "a null");
	ok(!binary_next(&items, &value) && binary_done(&items), "the end");
	ok(binary_open_record(&items, (Slice){server_record, sizeof(server_record) - 1}) &&
		   items.n == 2,
	   "a composite's head");
	ok(binary_next(&items, &value) && items.type == BINARY_TEXT && slice_is(value, "ab"), "a text");
	ok(binary_next(&items, &value) && items.type == BINARY_INT8 && value.data == NULL &&
		   binary_done(&items),
	   "a null, and the end");
	ok(binary_open_array(&items, (Slice){server_empty, sizeof(server_empty) - 1}) && items.n == 0 &&
		   binary_done(&items),
	   "an empty array");
	ok(!binary_open_array(&items, (Slice){NULL, 0}) && !binary_done(&items), "null is no array");
	ok(!binary_next(&items, &value), "and has no items");
}

static void
test_writers(void)
{
	Text text = {0};
	BinaryItems outer, inner;
	Slice value;
	int64_t number = 0;
	size_t begin, field;

	binary_record(&text, 2);
	binary_field(&text, BINARY_TEXT, (Slice){"ab", 2});
	binary_field_int64(&text, true, 0);
	ok(text.len == sizeof(server_record) - 1 && memcmp(text.data, server_record, text.len) == 0,
	   "a composite as the server writes it");
	text_free(&text);
	binary_array(&text, BINARY_INT4, 0);
	ok(text.len == sizeof(server_empty) - 1 && memcmp(text.data, server_empty, text.len) == 0,
	   "an empty array as the server writes it");
	text_free(&text);

	binary_array(&text, 4711, 2);
	begin = binary_begin(&text);
	binary_record(&text, 2);
	binary_field_int64(&text, false, INT64_MIN);
	field = binary_field_begin(&text, 1009);
	binary_array(&text, BINARY_TEXT, 1);
	binary_null(&text);
	binary_end(&text, field);
	binary_end(&text, begin);
	binary_null(&text);
	ok(binary_open_array(&outer, of(&text)) && outer.type == 4711 && outer.n == 2 &&
		   binary_next(&outer, &value) && binary_open_record(&inner, value),
	   "an array of composites");
	ok(binary_next(&inner, &value) && binary_read_int64(value, &number) && number == INT64_MIN,
	   "with a number");
	ok(binary_next(&inner, &value) && inner.type == 1009 && binary_done(&inner), "and an array");
	ok(binary_open_array(&inner, value) && binary_next(&inner, &value) && value.data == NULL &&
		   binary_done(&inner),
	   "that has a null");
	ok(binary_next(&outer, &value) && value.data == NULL && binary_done(&outer), "and a null");
	text_free(&text);
}

/* Every shorter piece of a value is bad, and read without a byte too far. */
static void
test_cut(const char *bytes, size_t len, bool record, const char *what)
{
	bool bad = true;

	for (size_t n = 0; n < len; n++)
	{
		char *copy = malloc(n + (n == 0));
		BinaryItems items;
		Slice value;

		memcpy(copy, bytes, n);
		if (record ? binary_open_record(&items, (Slice){copy, n})
				   : binary_open_array(&items, (Slice){copy, n}))
			while (binary_next(&items, &value))
				;
		bad = bad && !binary_done(&items);
		free(copy);
	}
	ok(bad, what);
}

static void
test_bad(void)
{
	static const char two_dimensions[] =
		"\0\0\0\2\0\0\0\0\0\0\0\x17\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1";
	static const char too_many[] = "\0\0\0\1\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\1\0\0\0\0";
	static const char left_over[] = "\0\0\0\0\0\0\0\0\0\0\0\x17x";
	BinaryItems items;
	int32_t n32;
	int64_t n64;

	ok(!binary_open_array(&items, (Slice){two_dimensions, sizeof(two_dimensions) - 1}),
	   "two dimensions are not read");
	ok(!binary_open_array(&items, (Slice){too_many, sizeof(too_many) - 1}),
	   "more items than there are bytes");
	ok(binary_open_array(&items, (Slice){left_over, sizeof(left_over) - 1}) && !binary_done(&items),
	   "bytes behind the end");
	ok(!binary_read_int32((Slice){"\0\0\0", 3}, &n32) && !binary_read_int32((Slice){NULL, 0}, &n32),
	   "no number of four bytes");
	ok(!binary_read_int64((Slice){"\0\0\0\0", 4}, &n64) &&
		   !binary_read_int64((Slice){NULL, 0}, &n64),
	   "no number of eight bytes");
}

int
main(void)
{
	test_server();
	test_writers();
	test_cut(server_array, sizeof(server_array) - 1, false, "an array that is cut off");
	test_cut(server_record, sizeof(server_record) - 1, true, "a composite that is cut off");
	test_bad();
	return tap_end();
}
