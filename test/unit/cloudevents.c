/*
 * test/unit/cloudevents.c
 *	  CloudEvents in JSON: the published examples, escaping, times, headers.
 */
#include "cloudevents.h"
#include "../fuzz/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tap.h"

#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* Into a buffer of exactly the length that was asked for first. */
static char *
render(const UsherAttribute *attributes, int n, const char *data, size_t *len)
{
	size_t data_len = data ? strlen(data) : 0;
	char *out;

	*len = usher_cloudevent_json(attributes, n, data, data_len, NULL, 0);
	out = malloc(*len);
	if (usher_cloudevent_json(attributes, n, data, data_len, out, *len) != *len)
		ok(false, "the length is the same the second time");
	return out;
}

static bool
is_json(const UsherAttribute *attributes, int n, const char *data, const char *expected)
{
	size_t len;
	char *out = render(attributes, n, data, &len);
	bool same = len == strlen(expected) && memcmp(out, expected, len) == 0;

	if (!same)
		printf("# is       %.*s\n# expected %s\n", (int) len, out, expected);
	if (!json_valid(out, len))
	{
		printf("# is no JSON: %.*s\n", (int) len, out);
		same = false;
	}
	free(out);
	return same;
}

#define TEXT(name, value)                     \
	{                                         \
		name, value, sizeof(value) - 1, false \
	}
#define NUMBER(name, value)                  \
	{                                        \
		name, value, sizeof(value) - 1, true \
	}

/*
 * The examples of section 3.2 of the JSON format 1.0.2, without the members that
 * are null there ("unset attributes MAY be encoded to null": we leave them out),
 * and without the one whose data is binary.
 */
static void
test_published(void)
{
	static const UsherAttribute xml[] = {
		TEXT("specversion", "1.0"),           TEXT("type", "com.example.someevent"),
		TEXT("source", "/mycontext"),         TEXT("id", "B234-1234-1234"),
		TEXT("time", "2018-04-05T17:31:00Z"), TEXT("comexampleextension1", "value"),
		NUMBER("comexampleothervalue", "5"),  TEXT("datacontenttype", "application/xml"),
	};
	static const UsherAttribute object[] = {
		TEXT("specversion", "1.0"),           TEXT("type", "com.example.someevent"),
		TEXT("source", "/mycontext"),         TEXT("id", "C234-1234-1234"),
		TEXT("time", "2018-04-05T17:31:00Z"), TEXT("comexampleextension1", "value"),
		NUMBER("comexampleothervalue", "5"),  TEXT("datacontenttype", "application/json"),
	};
	static const UsherAttribute string[] = {
		TEXT("specversion", "1.0"),           TEXT("type", "com.example.someevent"),
		TEXT("source", "/mycontext"),         TEXT("id", "D234-1234-1234"),
		TEXT("time", "2018-04-05T17:31:00Z"), TEXT("comexampleextension1", "value"),
		NUMBER("comexampleothervalue", "5"),
	};
	char published[] = "{\n"
					   "    \"specversion\" : \"1.0\",\n"
					   "    \"type\" : \"com.example.someevent\",\n"
					   "    \"source\" : \"/mycontext\",\n"
					   "    \"id\" : \"C234-1234-1234\",\n"
					   "    \"time\" : \"2018-04-05T17:31:00Z\",\n"
					   "    \"comexampleextension1\" : \"value\",\n"
					   "    \"comexampleothervalue\" : 5,\n"
					   "    \"datacontenttype\" : \"application/json\",\n"
					   "    \"data\" : {\n"
					   "        \"appinfoA\" : \"abc\",\n"
					   "        \"appinfoB\" : 123,\n"
					   "        \"appinfoC\" : true\n"
					   "    }\n"
					   "}\n";

	published[json_minify(published, sizeof(published) - 1, published)] = '\0';
	ok(is_json(object, COUNT(object), "{\"appinfoA\":\"abc\",\"appinfoB\":123,\"appinfoC\":true}",
			   published),
	   "the published event with an object");
	ok(is_json(
		   xml, COUNT(xml), "\"<much wow=\\\"xml\\\"/>\"",
		   "{\"specversion\":\"1.0\",\"type\":\"com.example.someevent\",\"source\":\"/mycontext\","
		   "\"id\":\"B234-1234-1234\",\"time\":\"2018-04-05T17:31:00Z\","
		   "\"comexampleextension1\":\"value\",\"comexampleothervalue\":5,"
		   "\"datacontenttype\":\"application/xml\",\"data\":\"<much wow=\\\"xml\\\"/>\"}"),
	   "the published event with XML");
	ok(is_json(
		   string, COUNT(string), "\"I'm just a string\"",
		   "{\"specversion\":\"1.0\",\"type\":\"com.example.someevent\",\"source\":\"/mycontext\","
		   "\"id\":\"D234-1234-1234\",\"time\":\"2018-04-05T17:31:00Z\","
		   "\"comexampleextension1\":\"value\",\"comexampleothervalue\":5,"
		   "\"data\":\"I'm just a string\"}"),
	   "the published event with a string");
}

static void
test_shape(void)
{
	static const UsherAttribute id[] = {TEXT("id", "1")};
	static const UsherAttribute empty[] = {TEXT("subject", "")};
	char small[8] = "#######";
	size_t len;

	ok(is_json(NULL, 0, NULL, "{}"), "nothing is an empty object");
	ok(is_json(NULL, 0, "null", "{\"data\":null}"), "data alone");
	ok(is_json(id, 1, NULL, "{\"id\":\"1\"}"), "no data, no member");
	ok(is_json(empty, 1, "{}", "{\"subject\":\"\",\"data\":{}}"), "an empty value");
	len = usher_cloudevent_json(id, 1, NULL, 0, small, 3);
	ok(len == 10 && memcmp(small + 3, "####", 4) == 0, "nothing is written behind the end");
}

static bool
is_string(const char *value, size_t len, const char *expected)
{
	UsherAttribute attribute = {"a", value, len, false};
	char json[200];

	snprintf(json, sizeof(json), "{\"a\":\"%s\"}", expected);
	return is_json(&attribute, 1, NULL, json);
}

static void
test_escapes(void)
{
	static const struct
	{
		const char *value, *expected, *what;
	} cases[] = {
		{"\"\\/", "\\\"\\\\/", "quote and backslash"},
		{"\b\f\n\r\t", "\\b\\f\\n\\r\\t", "short escapes"},
		{"\x01\x0b\x1f\x7f", "\\u0001\\u000b\\u001f\x7f", "control characters"},
		{"12345678\"12345678\\1234567\n", "12345678\\\"12345678\\\\1234567\\n", "long runs"},
		{"é€😀\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
		 "é€😀\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", "characters of two, three and four bytes"},
		{"a\x80z", "a\xef\xbf\xbdz", "a continuation alone"},
		{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", "overlong in two bytes"},
		{"\xc1\xbf", "\xef\xbf\xbd\xef\xbf\xbd", "overlong in two bytes"},
		{"\xe0\x9f\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "overlong in three bytes"},
		{"\xf0\x8f\xbf\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		 "overlong in four bytes"},
		{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "a surrogate"},
		{"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "beyond U+10FFFF"},
		{"\xf5\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "bytes that never occur"},
		{"€\xe2\x82", "€\xef\xbf\xbd\xef\xbf\xbd", "cut at the end"},
		{"\xe2\x82\"", "\xef\xbf\xbd\xef\xbf\xbd\\\"", "cut before a quote"},
		{"\xf0\x9f\x98"
		 "a",
		 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
		 "a",
		 "cut before a letter"},
	};

	for (int i = 0; i < COUNT(cases); i++)
		ok(is_string(cases[i].value, strlen(cases[i].value), cases[i].expected), cases[i].what);
	ok(is_string("a\0b", 3, "a\\u0000b"), "a zero byte");
	for (int c = 0; c < 256; c++)
		for (int at = 0; at < 17; at++)
		{
			char value[17], out[200];
			UsherAttribute attribute = {"a", value, sizeof(value), false};
			size_t len;

			memset(value, 'x', sizeof(value));
			value[at] = (char) c;
			len = usher_cloudevent_json(&attribute, 1, NULL, 0, out, sizeof(out));
			if (!json_valid(out, len))
				ok(false, "every byte at every place makes JSON");
		}
	{
		static const UsherAttribute evil[] = {TEXT("a\":1,\"b", "x")};

		ok(is_json(evil, 1, NULL, "{\"a\\\":1,\\\"b\":\"x\"}"), "a name is escaped as well");
	}
}

static void
test_numbers(void)
{
	static const struct
	{
		const char *value;
		bool bare;
	} cases[] = {
		{"0", true},
		{"5", true},
		{"-5", true},
		{"2147483647", true},
		{"-2147483648", true},
		{"2147483648", false},
		{"-2147483649", false},
		{"99999999999999999999", false},
		{"", false},
		{"-", false},
		{"-0", false},
		{"007", false},
		{"+5", false},
		{"5.0", false},
		{"1e3", false},
		{"5 ", false},
		{"0x10", false},
		{"true", false},
		{"1,\"x\":2", false},
	};

	for (int i = 0; i < COUNT(cases); i++)
	{
		UsherAttribute number = {"n", cases[i].value, strlen(cases[i].value), true};
		size_t len;
		char *out = render(&number, 1, NULL, &len);

		ok(json_valid(out, len) && (out[5] != '"') == cases[i].bare, cases[i].value);
		free(out);
	}
}

static void
test_names(void)
{
	static const char *good[] = {"id", "a", "traceparent", "0", "12345678901234567890"};
	static const char *bad[] = {"",           "Id",  "stream_version",        "stream-version",
								"é",          "a b", "123456789012345678901", "data",
								"data_base64"};
	bool passed = true;

	for (int i = 0; i < COUNT(good); i++)
		passed &= usher_cloudevent_name_ok(good[i]);
	ok(passed, "good names");
	for (int i = 0; i < COUNT(bad); i++)
		passed &= !usher_cloudevent_name_ok(bad[i]);
	ok(passed, "bad names");
}

static void
test_percent(void)
{
	static const struct
	{
		const char *value, *expected;
	} cases[] = {
		{"Euro € 😀",
		 "Euro%20%E2%82%AC%20%F0%9F%98%80"}, /* the example of the HTTP binding, 3.1.3.2 */
		{"", ""},
		{"/a?b=c&d=e#f~!", "/a?b=c&d=e#f~!"},
		{"100% \"sure\"", "100%25%20%22sure%22"},
		{"a%20b", "a%2520b"},
		{"\t\r\n\x7f", "%09%0D%0A%7F"},
		{"\xff\x80", "%FF%80"},
	};
	char out[100];

	for (int i = 0; i < COUNT(cases); i++)
	{
		size_t len = strlen(cases[i].expected);
		size_t value_len = strlen(cases[i].value);

		memset(out, '#', sizeof(out));
		ok(usher_cloudevent_percent(cases[i].value, value_len, out, len) == len &&
			   memcmp(out, cases[i].expected, len) == 0 && out[len] == '#' &&
			   usher_cloudevent_percent(cases[i].value, value_len, NULL, 0) == len,
		   cases[i].expected);
	}
}

static bool
is_time(int64_t us, const char *expected)
{
	char out[USHER_TIME_LEN + 1] = {0};
	bool same;

	usher_cloudevent_time(us, out);
	same = strcmp(out, expected) == 0;
	if (!same)
		printf("# %lld is %s, not %s\n", (long long) us, out, expected);
	return same;
}

#define SECOND 1000000LL

static void
test_times(void)
{
	ok(is_time(0, "1970-01-01T00:00:00.000000Z"), "the epoch");
	ok(is_time(1522949460 * SECOND, "2018-04-05T17:31:00.000000Z"),
	   "the time of the published events");
	ok(is_time(1769862896 * SECOND + 123456, "2026-01-31T12:34:56.123456Z"), "microseconds");
	ok(is_time(-1, "1969-12-31T23:59:59.999999Z"), "a microsecond before the epoch");
	ok(is_time(-86400 * SECOND, "1969-12-31T00:00:00.000000Z"), "a whole day before it");
	ok(is_time(951782400 * SECOND, "2000-02-29T00:00:00.000000Z"), "a leap day");
	ok(is_time(-2203977600 * SECOND, "1900-02-28T00:00:00.000000Z") &&
		   is_time(-2203891200 * SECOND, "1900-03-01T00:00:00.000000Z"),
	   "1900 is no leap year");
	ok(is_time(-62167219200 * SECOND, "0000-01-01T00:00:00.000000Z"), "the first microsecond");
	ok(is_time(-62167219200 * SECOND - 1, "0000-01-01T00:00:00.000000Z") &&
		   is_time(INT64_MIN, "0000-01-01T00:00:00.000000Z"),
	   "a time before it is as it");
	ok(is_time(253402300800 * SECOND - 1, "9999-12-31T23:59:59.999999Z"), "the last microsecond");
	ok(is_time(253402300800 * SECOND, "9999-12-31T23:59:59.999999Z") &&
		   is_time(INT64_MAX, "9999-12-31T23:59:59.999999Z"),
	   "a time behind it is as it");
}

/* Every day of the ten thousand years, as the C library has it. */
static void
test_every_day(void)
{
	bool same = true;

	for (int64_t day = -719528; day <= 2932896 && same; day++)
	{
		time_t t = day * 86400 + 45296; /* 12:34:56 */
		char out[USHER_TIME_LEN + 1] = {0}, expected[64];
		struct tm tm;

		gmtime_r(&t, &tm);
		snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.000001Z",
				 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		usher_cloudevent_time(t * SECOND + 1, out);
		same = strcmp(out, expected) == 0;
		if (!same)
			printf("# day %lld is %s, not %s\n", (long long) day, out, expected);
	}
	ok(same, "every day from 0000 to 9999 agrees with gmtime");
}

/* Not judged: for a look when something was changed. */
static void
show_speed(void)
{
	static const UsherAttribute event[] = {
		TEXT("specversion", "1.0"),
		TEXT("id", "0197f0a2-7b1c-7000-8a3e-5f0c1d2e3f40"),
		TEXT("source", "/pg_usher/shop"),
		TEXT("type", "com.example.order.placed"),
		TEXT("subject", "order-1234567"),
		TEXT("time", "2026-01-31T12:34:56.123456Z"),
		TEXT("datacontenttype", "application/json"),
		TEXT("position", "123456789012"),
		NUMBER("streamversion", "17"),
		TEXT("tenant", "default"),
		TEXT("correlationid", "0197f0a2-7b1c-7000-8a3e-5f0c1d2e3f40"),
		TEXT("partitionkey", "order-1234567"),
	};
	static const char data[] =
		"{\"customer\": \"c-9817\", \"items\": [{\"sku\": \"A-17\", \"quantity\": 2, "
		"\"price\": 1999}, {\"sku\": \"B-4\", \"quantity\": 1, \"price\": 499}]}";
	static char out[2000];
	clock_t begin = clock();
	int count = 0;
	double seconds;

	do
		for (int i = 0; i < 1000; i++, count++)
			usher_cloudevent_json(event, COUNT(event), data, sizeof(data) - 1, out, sizeof(out));
	while (clock() - begin < CLOCKS_PER_SEC / 10);
	seconds = (double) (clock() - begin) / CLOCKS_PER_SEC;
	printf("# %.0f events of 12 attributes and %zu bytes of data a second and core\n",
		   count / seconds, sizeof(data) - 1);
}

int
main(void)
{
	test_published();
	test_shape();
	test_escapes();
	test_numbers();
	test_names();
	test_percent();
	test_times();
	test_every_day();
	show_speed();
	return tap_end();
}
