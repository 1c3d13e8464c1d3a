/*
 * test/unit/json_scan.c
 *	  Members of JSON texts, whole, cut short and damaged.
 */
#include "json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* The member's text is this; NULL: there is no such member. */
static bool
has(const char *text, const char *name, const char *expected)
{
	UsherJson value;
	char out[100];
	size_t len;

	if (!usher_json_member(text, strlen(text), name, &value))
		return expected == NULL;
	len = usher_json_text(&value, out, sizeof(out));
	return expected && len == strlen(expected) && memcmp(out, expected, len) == 0;
}

static void
test_members(void)
{
	const char *ack =
		"{\"stream\":\"USHER\", \"seq\" : 17,\"duplicate\": true , \"x\":{\"seq\":[1,\"}\"]},"
		"\"list\":[{\"a\":1},2],\"none\":null,\"last\":-5}";

	ok(has(ack, "stream", "USHER"), "a string");
	ok(has(ack, "seq", "17"), "a number, of the outer object");
	ok(has(ack, "duplicate", "true"), "true");
	ok(has(ack, "x", "{\"seq\":[1,\"}\"]}"), "an object, with a bracket in a string");
	ok(has(ack, "list", "[{\"a\":1},2]"), "an array");
	ok(has(ack, "none", "null"), "null");
	ok(has(ack, "last", "-5"), "the last member");
	ok(has(ack, "a", NULL), "a member of an inner object is not found");
	ok(has(ack, "se", NULL) && has(ack, "seqq", NULL), "nor is a part of a name, or more than it");
	ok(has("{}", "a", NULL) && has("[1]", "a", NULL) && has("", "a", NULL) && has(" \n", "a", NULL),
	   "nothing in what is no object");
}

static void
test_text(void)
{
	ok(has("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "a", "\"\\/\b\f\n\r\t"), "the short escapes");
	ok(has("{\"a\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"}", "a",
		   "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
	   "escapes of code points, and of a pair");
	ok(has("{\"a\":\"\\ud83d!\\ude00\"}", "a", "\xef\xbf\xbd!\xef\xbf\xbd"),
	   "halves of pairs are replaced");
	ok(has("{\"a\":\"\\u12\"}", "a", "\xef\xbf\xbd") &&
		   has("{\"a\":\"\\u12g4\"}", "a", "\xef\xbf\xbd"),
	   "and so is what is no code point");
}

static void
test_values(void)
{
	UsherJson value;
	int64_t n = 0;
	const char *text =
		"{\"n\":123,\"s\":\"456\",\"f\":1.5,\"e\":\"\",\"m\":-7,\"big\":12345678901234567890,"
		"\"esc\":\"a\\/b\",\"list\":[ \"x\"],\"empty\":[ ]}";

#define member(name) usher_json_member(text, strlen(text), name, &value)
	ok(member("n") && usher_json_int(&value, &n) && n == 123, "a number");
	ok(member("s") && usher_json_int(&value, &n) && n == 456, "digits in a string");
	ok(member("m") && usher_json_int(&value, &n) && n == -7, "below zero");
	ok(member("f") && !usher_json_int(&value, &n), "a fraction is none");
	ok(member("e") && !usher_json_int(&value, &n), "nor is an empty string");
	ok(member("big") && !usher_json_int(&value, &n), "nor what would overflow");
	ok(member("esc") && usher_json_is(&value, "a/b", 3) && !usher_json_is(&value, "a\\/b", 4),
	   "texts are compared without escapes");
	ok(member("s") && usher_json_is(&value, "456", 3) && !usher_json_is(&value, "45", 2),
	   "and in full");
	ok(member("list") && usher_json_first(&value, &value) && usher_json_is(&value, "x", 1),
	   "the first element");
	ok(member("empty") && !usher_json_first(&value, &value), "an empty array has none");
#undef member
}

/* Every beginning, and every text with one byte changed, in memory of its exact size. */
static void
test_damage(void)
{
	const char *text =
		"{\"a\":\"x\\u00e9\\n\",\"b\":[1,{\"c\":\"]\"}],\"d\":{\"e\":null},\"f\":12}";
	const char *names[] = {"a", "b", "d", "f", "none"};
	const char bytes[] = "\"\\{}[],:0u\x01\xff";
	size_t len = strlen(text);
	size_t found = 0;

	for (size_t n = 0; n <= len; n++)
		for (size_t at = 0; at < n; at++)
			for (size_t b = 0; b < sizeof(bytes); b++)
			{
				char *copy = malloc(n);
				char out[64];
				UsherJson value;

				memcpy(copy, text, n);
				copy[at] = bytes[b];
				for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
					if (usher_json_member(copy, n, names[i], &value))
					{
						int64_t number;

						found++;
						(void) usher_json_text(&value, out, sizeof(out));
						(void) usher_json_int(&value, &number);
						(void) usher_json_is(&value, "x", 1);
						(void) usher_json_first(&value, &value);
					}
				free(copy);
			}
	ok(found > 0, "no damage leads outside of the text");
}

int
main(void)
{
	test_members();
	test_text();
	test_values();
	test_damage();
	return tap_end();
}
