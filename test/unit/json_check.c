/*
 * test/unit/json_check.c
 *	  JSON bodies: what is JSON and what is not, where the fault lies, and what the walks find.
 */
#include "json_check.h"

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
	printf("%sok %d - %s: ", passed ? "" : "not ", tests, what);
	for (int i = 0; i < 60 && text[i] != '\0'; i++)
		putchar(text[i] < ' ' || text[i] == '#' || text[i] == 127 ? '?' : text[i]);
	putchar('\n');
}

/* In memory of exactly its size, so that a read behind it is seen. */
static bool
check(const char *text, size_t len, int depth, JsonValue *value, JsonFault *fault, char **copy)
{
	*copy = malloc(len + (len == 0));
	if (len > 0)
		memcpy(*copy, text, len);
	return json_check(*copy, len, depth, value, fault);
}

static const char *const right[] = {
	"0",
	"-0",
	"0.0",
	"-1.5e+10",
	"1E-2",
	"12345678901234567890123456789",
	"1e10000",
	"true",
	"false",
	"null",
	"\"\"",
	"\"a\"",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
	"\"\\u0001\\uFFFF\\ud83d\\uDE00\"",
	"\"é€😀\"",
	"\"\x7f\"",
	"[]",
	"{}",
	" [ ] ",
	"\t{\r\n}\n",
	"[1,2,3]",
	"[[],{},[{}]]",
	"{\"a\":1,\"a\":2}",
	"{\"\":{\"\":[]}}",
	"{ \"a\" : [ 1 , 2 ] , \"b\" : null }",
	"\"12345678\"",
	"\"1234567890123456789\\n\"",
	"\"abcdefg\xc2\x80xyz\"",
	"\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
};

typedef struct Wrong
{
	const char *text;
	size_t offset;
	const char *message; /* a part of it */
} Wrong;

static const Wrong wrong[] = {
	{"", 0, "no value"},
	{"  \n", 3, "no value"},
	{"tru", 0, "no value of JSON"},
	{"nulL", 0, "no value of JSON"},
	{"NaN", 0, "no value of JSON"},
	{"-Infinity", 1, "no value of JSON"},
	{"+1", 0, "no value of JSON"},
	{".5", 0, "no value of JSON"},
	{"01", 0, "zero in front"},
	{"-01", 1, "zero in front"},
	{"1.", 2, "point"},
	{"1.e5", 2, "point"},
	{"1e", 2, "exponent"},
	{"1e+", 3, "exponent"},
	{"1e10001", 7, "too large an exponent"},
	{"1e-99999999999999999999", 23, "too large an exponent"},
	{"0x10", 1, "behind the value"},
	{"1 2", 2, "behind the value"},
	{"{} {}", 3, "behind the value"},
	{"'a'", 0, "no value of JSON"},
	{"\"", 1, "does not end"},
	{"\"abcdefgh", 9, "does not end"},
	{"\"\\", 2, "does not end"},
	{"\"\\x\"", 2, "no escape"},
	{"\"\\u12\"", 2, "four hexadecimal digits"},
	{"\"\\u12", 2, "four hexadecimal digits"},
	{"\"\\u12g4\"", 2, "four hexadecimal digits"},
	{"\"\\u0000\"", 2, "U+0000"},
	{"\"\\ud800\"", 7, "without the second"},
	{"\"\\ud800\\n\"", 7, "without the second"},
	{"\"\\ud800\\u0041\"", 7, "without the second"},
	{"\"\\ud800\\ud800\"", 7, "without the second"},
	{"\"\\udc00\"", 2, "without the first"},
	{"\"a\nb\"", 2, "control character"},
	{"\"a\x1f\"", 2, "control character"},
	{"\"\x80\"", 1, "UTF-8"},
	{"\"\xc0\xaf\"", 1, "UTF-8"},
	{"\"\xc1\xbf\"", 1, "UTF-8"},
	{"\"\xe0\x80\xaf\"", 1, "UTF-8"},
	{"\"\xed\xa0\x80\"", 1, "UTF-8"},
	{"\"\xf0\x80\x80\xaf\"", 1, "UTF-8"},
	{"\"\xf4\x90\x80\x80\"", 1, "UTF-8"},
	{"\"\xf5\x80\x80\x80\"", 1, "UTF-8"},
	{"\"\xc3\"", 1, "UTF-8"},
	{"\"\xe2\x82", 1, "UTF-8"},
	{"[", 1, "missing"},
	{"[1", 2, "an array does not end"},
	{"[1,", 3, "missing"},
	{"[1,]", 3, "no value of JSON"},
	{"[,1]", 1, "no value of JSON"},
	{"[1 2]", 3, "neither a comma"},
	{"[1}", 2, "neither a comma"},
	{"{", 1, "without a name"},
	{"{\"a\"", 4, "without a colon"},
	{"{\"a\":", 5, "missing"},
	{"{\"a\":1", 6, "an object does not end"},
	{"{\"a\":1,", 7, "without a name"},
	{"{\"a\":1,}", 7, "without a name"},
	{"{\"a\" 1}", 5, "without a colon"},
	{"{\"a\"::1}", 5, "no value of JSON"},
	{"{a:1}", 1, "without a name"},
	{"{1:1}", 1, "without a name"},
	{"{\"a\":1]", 6, "neither a comma"},
	{"]", 0, "no value of JSON"},
	{"// x\n1", 0, "no value of JSON"},
	{"\xef\xbb\xbf{}", 0, "no value of JSON"},
};

static void
check_grammar(void)
{
	JsonValue value;
	JsonFault fault = {0, ""};
	char *copy;
	bool passed;

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
	{
		passed = check(right[i], strlen(right[i]), 10, &value, &fault, &copy);
		ok(passed && value.kind != JSON_NONE && value.text.len > 0, "is JSON", right[i]);
		free(copy);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		fault = (JsonFault){99, ""};
		passed = !check(wrong[i].text, strlen(wrong[i].text), 10, &value, &fault, &copy) &&
				 strstr(fault.message, wrong[i].message) != NULL && fault.offset == wrong[i].offset;
		ok(passed, "is refused", wrong[i].text);
		if (!passed)
			printf("# at %zu: %s\n", fault.offset, fault.message);
		free(copy);
	}
	passed = !check("\"a\0b\"", 5, 10, &value, &fault, &copy) && fault.offset == 2;
	ok(passed, "is refused", "a zero byte in a string");
	free(copy);
	passed = !check("1\0", 2, 10, &value, &fault, &copy) && fault.offset == 1;
	ok(passed, "is refused", "a zero byte behind the value");
	free(copy);
	ok(!json_check(NULL, 0, 10, &value, &fault), "is refused", "nothing");
}

/* Every cut of a text is refused, wherever it is cut. */
static void
check_cuts(void)
{
	static const char text[] =
		"{\"name\": [1.5e3, \"\\ud83d\\ude00 é\", true], \"other\": {\"x\": null}}";
	JsonValue value;
	JsonFault fault;
	char *copy;
	size_t wrongly = 0;

	for (size_t len = 0; len < strlen(text); len++)
	{
		if (check(text, len, 10, &value, &fault, &copy) || fault.offset > len)
			wrongly++;
		free(copy);
	}
	ok(wrongly == 0, "is refused", "each beginning of a text");
}

static void
check_depth(void)
{
	char deep[5000];
	JsonValue value;
	JsonFault fault;

	for (int depth = 1; depth <= 1100; depth += depth < 10 ? 1 : 109)
	{
		for (int i = 0; i < depth; i++)
		{
			deep[i] = '[';
			deep[2 * depth - 1 - i] = ']';
		}
		deep[2 * depth] = '\0';
		if (json_check(deep, (size_t) (2 * depth), 100, &value, &fault) != (depth <= 100) ||
			json_check(deep, (size_t) (2 * depth), 5000, &value, &fault) != (depth <= 1000))
		{
			ok(false, "the limit of depth holds", deep);
			return;
		}
	}
	ok(true, "the limit of depth holds", "1 to 1,100");
	memset(deep, '[', sizeof(deep));
	ok(!json_check(deep, sizeof(deep), 64, &value, &fault) && fault.offset == 64,
	   "too deep is seen where it is", "[[[...");
	memset(deep, '9', sizeof(deep));
	ok(json_check(deep, sizeof(deep), 1, &value, &fault), "is JSON", "a number of 5,000 digits");
}

static void
check_digits(void)
{
	char *text = malloc(6002);
	JsonValue value;
	JsonFault fault;

	memset(text, '7', 6002);
	ok(json_check(text, 6000, 1, &value, &fault), "is JSON", "a number of 6,000 digits");
	ok(!json_check(text, 6001, 1, &value, &fault), "is refused", "a number of 6,001 digits");
	text[1] = '.';
	ok(json_check(text, 6001, 1, &value, &fault), "is JSON", "6,000 digits and a point");
	ok(!json_check(text, 6002, 1, &value, &fault), "is refused", "6,001 digits and a point");
	free(text);
}

static JsonValue
parsed(const char *text)
{
	JsonValue value;
	JsonFault fault;

	if (!json_check(text, strlen(text), 10, &value, &fault))
		printf("# %s: %s\n", text, fault.message);
	return value;
}

static bool
is(JsonValue value, JsonKind kind, const char *text)
{
	return value.kind == kind && value.text.len == strlen(text) &&
		   memcmp(value.text.data, text, value.text.len) == 0;
}

static void
check_walks(void)
{
	JsonWalk walk = json_walk(parsed(" { \"a,}\" : [1,[2, \"]\"],{}] ,\n\"b\\\"\": -1.50e1\n, "
									 "\"c\":\"\\\\\" ,\"d\":true,\"e\":null} "));
	JsonValue name, value, kept = {0};

	ok(json_next(&walk, &name, &value) && is(name, JSON_STRING, "\"a,}\"") &&
		   is(value, JSON_ARRAY, "[1,[2, \"]\"],{}]"),
	   "a member is found", "an array");
	kept = value;
	ok(json_next(&walk, &name, &value) && is(name, JSON_STRING, "\"b\\\"\"") &&
		   is(value, JSON_NUMBER, "-1.50e1"),
	   "a member is found", "a number as it was written");
	ok(json_next(&walk, NULL, &value) && is(value, JSON_STRING, "\"\\\\\""), "a member is found",
	   "a string that ends in a backslash");
	ok(json_next(&walk, &name, &value) && is(value, JSON_TRUE, "true"), "a member is found",
	   "true");
	ok(json_next(&walk, &name, &value) && is(value, JSON_NULL, "null"), "a member is found",
	   "null");
	ok(!json_next(&walk, &name, &value) && !json_next(&walk, &name, &value) &&
		   value.kind == JSON_NONE,
	   "a walk ends", "object");
	walk = json_walk(kept);
	ok(json_next(&walk, &name, &value) && name.kind == JSON_NONE && is(value, JSON_NUMBER, "1"),
	   "an element is found", "1");
	ok(json_next(&walk, &name, &value) && is(value, JSON_ARRAY, "[2, \"]\"]"),
	   "an element is found", "an array with a bracket in a string");
	ok(json_next(&walk, &name, &value) && is(value, JSON_OBJECT, "{}") &&
		   !json_next(&walk, &name, &value),
	   "an element is found", "the last");
	ok(json_count(kept) == 3 && json_count(parsed("[]")) == 0 && json_count(parsed("{ }")) == 0 &&
		   json_count(parsed("{\"a\":[1,2]}")) == 1 && json_count(parsed("7")) == 0,
	   "are counted", "elements");
}

static void
check_members(void)
{
	static const char *const names[] = {"type", "stream", "é/\n"};
	JsonValue values[3], stranger = {0};

	ok(json_members(parsed("{\"stre\\u0061m\":1,\"\\u00e9\\/\\n\":2}"), names, 3, values,
					&stranger) == JSON_MEMBERS_OK &&
		   values[0].kind == JSON_NONE && is(values[1], JSON_NUMBER, "1") &&
		   is(values[2], JSON_NUMBER, "2"),
	   "members are found", "by names with escapes");
	ok(json_members(parsed("{\"type\":1,\"typ\":2,\"types\":3}"), names, 3, values, &stranger) ==
			   JSON_MEMBERS_UNKNOWN &&
		   is(stranger, JSON_STRING, "\"typ\"") && is(values[0], JSON_NUMBER, "1"),
	   "a stranger is named", "the first one");
	ok(json_members(parsed("{\"x\":1,\"type\":null,\"ty\\u0070e\":3}"), names, 3, values,
					&stranger) == JSON_MEMBERS_TWICE &&
		   json_string_is(stranger, "type"),
	   "a repetition is named", "before a stranger");
	ok(json_members(parsed("[]"), names, 3, values, &stranger) == JSON_MEMBERS_OK &&
		   values[2].kind == JSON_NONE,
	   "has no members", "an array");
}

static void
check_string(const char *text, const char *expected)
{
	JsonValue value = parsed(text);
	char *out = malloc(value.text.len);
	size_t len = json_unescape(value, out);

	ok(len == strlen(expected) && memcmp(out, expected, len) == 0 &&
		   json_string_is(value, expected) && !json_string_is(value, "other"),
	   "a string is read", text);
	free(out);
}

static void
check_int(const char *text, int64_t min, int64_t max, bool right_one, int64_t expected)
{
	int64_t number = -77;
	bool read = json_int(parsed(text), min, max, &number);

	ok(read == right_one && number == (right_one ? expected : -77), "a whole number", text);
}

int
main(void)
{
	check_grammar();
	check_cuts();
	check_depth();
	check_digits();
	check_walks();
	check_members();
	check_string("\"\"", "");
	check_string("\"plain\"", "plain");
	check_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
	check_string("\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\\uffff\"", "Aé€😀\xef\xbf\xbf");
	check_string("\"é€😀\"", "é€😀");
	check_int("0", 0, 10, true, 0);
	check_int("10", 0, 10, true, 10);
	check_int("11", 0, 10, false, 0);
	check_int("-1", 0, 10, false, 0);
	check_int("-0", 0, 10, true, 0);
	check_int("1.0", 0, 10, false, 0);
	check_int("1e1", 0, 10, false, 0);
	check_int("\"1\"", 0, 10, false, 0);
	check_int("9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX);
	check_int("-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN);
	check_int("9223372036854775808", INT64_MIN, INT64_MAX, false, 0);
	check_int("-9223372036854775809", INT64_MIN, INT64_MAX, false, 0);
	printf("1..%d\n", tests);
	return failures > 0;
}
