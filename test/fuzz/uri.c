/*
 * test/fuzz/uri.c
 *	  Any bytes as parts of a request's target: what is decoded is UTF-8, and comes back when it is encoded.
 */
#include "fuzz.h"
#include "json.h"
#include "uri.h"

const char *const usher_fuzz_words[] = {"%", "%2", "%20", "%2f", "%00",       "%e2%82%ac", "%c0%af",
										"+", "&",  "=",   "/",   "//",        "..",        "é",
										"a", "~",  "%zz", "%25", "%ed%a0%80", NULL};

static void
try_code(Slice text, bool plus)
{
	char *out = malloc(text.len + 1), *encoded, *again;
	long len = uri_decode(text, plus, out);
	const char *s = out;
	size_t n;

	must(len <= (long) text.len);
	if (len >= 0)
	{
		while (s < out + len)
			must(json_code_point(&s, out + len) > 0);
		encoded = malloc(3 * (size_t) len + 1);
		again = malloc(3 * (size_t) len + 1);
		n = uri_encode((Slice){out, (size_t) len}, encoded);
		must(n <= 3 * (size_t) len);
		must(uri_decode((Slice){encoded, n}, !plus, again) == len);
		must(memcmp(out, again, (size_t) len) == 0);
		must(!uri_name_is_plain((Slice){out, (size_t) len}) || memchr(encoded, '/', n) == NULL);
		free(encoded);
		free(again);
	}
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + (size == 0));
	Slice text = {copy, size}, rest = text, name, value;
	const char *at = copy;

	if (size > 0)
		memcpy(copy, data, size);
	try_code(text, false);
	try_code(text, true);
	while (uri_query_next(&rest, &name, &value))
	{
		must(name.data >= at && name.data + name.len <= copy + size);
		must(memchr(name.data, '&', name.len) == NULL && memchr(name.data, '=', name.len) == NULL);
		must(value.data == NULL ||
			 (value.data == name.data + name.len + 1 && value.data + value.len <= copy + size));
		must(rest.data + rest.len == copy + size && rest.data > name.data);
		at = name.data;
	}
	rest = text;
	while (uri_path_next(&rest, &name))
		must(memchr(name.data, '/', name.len) == NULL && rest.data == name.data + name.len &&
			 rest.data + rest.len == copy + size);
	must(rest.len == 0 || (rest.data == copy && copy[0] != '/'));
	free(copy);
	return 0;
}
