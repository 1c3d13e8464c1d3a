/*
 * test/unit/uri.c
 *	  Percent-encoding, queries, paths and plain names.
 */
#include "uri.h"

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
	printf("%sok %d - %s: %s\n", passed ? "" : "not ", tests, what, text);
}

static Slice
slice(const char *text)
{
	return (Slice){text, strlen(text)};
}

static const struct
{
	const char *text;
	bool plus;
	const char *expected; /* NULL: refused */
} decoded[] = {
	{"", false, ""},           {"abc", false, "abc"},      {"a%20b", false, "a b"},
	{"a+b", false, "a+b"},     {"a+b", true, "a b"},       {"a%2Bb", true, "a+b"},
	{"%e2%82%AC", false, "€"}, {"%2F%2f", false, "//"},    {"%25", false, "%"},
	{"%2525", false, "%25"},   {"%", false, NULL},         {"%2", false, NULL},
	{"a%2", false, NULL},      {"%zz", false, NULL},       {"%2z", false, NULL},
	{"% 2", false, NULL},      {"%u0041", false, NULL},    {"%00", false, NULL},
	{"a%00b", false, NULL},    {"%80", false, NULL},       {"%c0%af", false, NULL},
	{"%c1%81", false, NULL},   {"%ed%a0%80", false, NULL}, {"%f4%90%80%80", false, NULL},
	{"%e2%82", false, NULL},   {"\xff", false, NULL},
};

static void
check_decode(void)
{
	for (size_t i = 0; i < sizeof(decoded) / sizeof(decoded[0]); i++)
	{
		size_t len = strlen(decoded[i].text);
		char *in = malloc(len + (len == 0)), *out = malloc(len + (len == 0));
		const char *expected = decoded[i].expected;
		long n;

		memcpy(in, decoded[i].text, len);
		n = uri_decode((Slice){in, len}, decoded[i].plus, out);
		ok(expected == NULL
			   ? n == -1
			   : n == (long) strlen(expected) && memcmp(out, expected, (size_t) n) == 0,
		   expected ? "is decoded" : "is refused", decoded[i].text);
		free(in);
		free(out);
	}
}

static void
check_encode(void)
{
	char all[255], encoded[3 * 255], back[3 * 255];
	size_t n = uri_encode(slice("aZ09-._~"), encoded);

	ok(n == 8 && memcmp(encoded, "aZ09-._~", 8) == 0, "is not changed", "aZ09-._~");
	n = uri_encode(slice("a b/€:"), encoded);
	ok(n == 20 && memcmp(encoded, "a%20b%2F%E2%82%AC%3A", n) == 0, "is encoded", "a b/€:");
	for (int i = 1; i < 128; i++)
		all[i - 1] = (char) i;
	n = uri_encode((Slice){all, 127}, encoded);
	ok(uri_decode((Slice){encoded, n}, true, back) == 127 && memcmp(all, back, 127) == 0,
	   "comes back", "all of ASCII");
}

static bool
next_is(Slice *rest, const char *name, const char *value)
{
	Slice n, v;

	return uri_query_next(rest, &n, &v) && slice_is(n, name) &&
		   (value == NULL ? v.data == NULL : v.data != NULL && slice_is(v, value));
}

static void
check_query(void)
{
	Slice rest = slice("a=1&b=&&c&=d&e=f=g&"), n, v;

	ok(next_is(&rest, "a", "1") && next_is(&rest, "b", "") && next_is(&rest, "c", NULL) &&
		   next_is(&rest, "", "d") && next_is(&rest, "e", "f=g") &&
		   !uri_query_next(&rest, &n, &v) && !uri_query_next(&rest, &n, &v),
	   "is taken apart", "a query");
	rest = slice("");
	ok(!uri_query_next(&rest, &n, &v), "is taken apart", "an empty query");
}

static void
check_path(void)
{
	Slice rest = slice("/v1//x/"), segment;

	ok(uri_path_next(&rest, &segment) && slice_is(segment, "v1") &&
		   uri_path_next(&rest, &segment) && segment.len == 0 && uri_path_next(&rest, &segment) &&
		   slice_is(segment, "x") && uri_path_next(&rest, &segment) && segment.len == 0 &&
		   !uri_path_next(&rest, &segment),
	   "is taken apart", "a path");
	rest = slice("v1");
	ok(!uri_path_next(&rest, &segment), "is no path", "v1");
}

static void
check_plain(void)
{
	static const char *const plain[] = {"a", "order-42", "A.b_c~d:e@f-0", "...", "-", ":"};
	static const char *const other[] = {"",    ".", "..",  "a b", "a/b",
										"a%b", "é", "a+b", "a,b", "a;b"};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		ok(uri_name_is_plain(slice(plain[i])), "is plain", plain[i]);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		ok(!uri_name_is_plain(slice(other[i])), "is not plain", other[i]);
}

int
main(void)
{
	check_decode();
	check_encode();
	check_query();
	check_path();
	check_plain();
	printf("1..%d\n", tests);
	return failures > 0;
}
