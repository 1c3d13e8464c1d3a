/*
 * test/fuzz/pgbinary.c
 *	  Any bytes as an array or a composite of PostgreSQL.
 *
 * What is read must lie in the bytes, in order; what reads to its end must give
 * the same bytes when it is written again.
 */
#include "fuzz.h"
#include "lib/pgbinary.h"

const char *const usher_fuzz_words[] = {"\x01", "\x17", "\x19",     "\xff\xff\xff\xff", "\xff",
										"abcd", "\x02", "\x01\x01", "\x04\x01\x02\x03", NULL};

#define DEPTH_MAX 4

/* Zeros are what the words cannot have: an input's byte 0x80 stands for three of them. */
static size_t
unfold(const uint8_t *data, size_t size, char *bytes)
{
	size_t len = 0;

	for (size_t i = 0; i < size; i++)
	{
		if (data[i] == 0x80)
		{
			memset(bytes + len, 0, 3);
			len += 3;
		}
		else
			bytes[len++] = (char) data[i];
	}
	return len;
}

static void try_value(Slice value, int depth);

static void
try_items(Slice whole, bool record, int depth)
{
	BinaryItems items;
	Slice value;
	const char *before = whole.data;
	int n = 0;
	Text again = {0};

	if (!(record ? binary_open_record(&items, whole) : binary_open_array(&items, whole)))
	{
		must(items.bad && !binary_done(&items) && !binary_next(&items, &value));
		return;
	}
	must(items.n >= 0 && (size_t) items.n <= whole.len / 4);
	if (record)
		binary_record(&again, items.n);
	else
		binary_array(&again, items.type, items.n);
	while (binary_next(&items, &value))
	{
		n++;
		if (record)
			binary_field(&again, items.type, value);
		else if (value.data == NULL)
			binary_null(&again);
		else
		{
			size_t begin = binary_begin(&again);

			text_add(&again, value.data, value.len);
			binary_end(&again, begin);
		}
		if (value.data == NULL)
			continue;
		must(value.data >= before + 4 && value.data + value.len <= whole.data + whole.len);
		before = value.data + value.len;
		try_value(value, depth + 1);
	}
	must(n <= items.n);
	if (binary_done(&items))
	{
		must(n == items.n);
		/* the flag of nulls, the lower bound and a dimension without items are not kept */
		if (record)
			must(again.len == whole.len && memcmp(again.data, whole.data, whole.len) == 0);
		else if (items.n > 0)
			must(again.len == whole.len &&
				 memcmp(again.data + 20, whole.data + 20, whole.len - 20) == 0);
	}
	text_free(&again);
}

static void
try_value(Slice value, int depth)
{
	int32_t n32;
	int64_t n64;

	must(binary_read_int32(value, &n32) == (value.len == 4));
	must(binary_read_int64(value, &n64) == (value.len == 8));
	(void) slice_is_text(value);
	if (depth < DEPTH_MAX)
	{
		try_items(value, true, depth);
		try_items(value, false, depth);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *unfolded = malloc(size * 3 + 1);
	size_t len = unfold(data, size, unfolded);
	/* of the exact size, so that a byte read too far is seen */
	char *bytes = malloc(len + (len == 0));

	memcpy(bytes, unfolded, len);
	free(unfolded);
	try_value((Slice){bytes, len}, 0);
	free(bytes);
	return 0;
}
