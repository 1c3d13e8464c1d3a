/*
 * test/unit/cloudevent_in.c
 *	  CloudEvents that clients send: structured and binary mode, media types, and what becomes of data.
 */
#include "cloudevent_in.h"

#include <stdio.h>
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

/* The members behind these four, and what is wrong with them; NULL: nothing. */
#define BEGIN "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""

static const struct
{
	const char *text;
	bool fine;
	const char *data; /* as an object; NULL: none */
	const char *metadata;
} structured[] = {
	{BEGIN "}", true, NULL, "{\"source\":\"/s\"}"},
	{BEGIN ",\"data\":{\"a\":1}}", true, "{\"a\":1}", "{\"source\":\"/s\"}"},
	{BEGIN ",\"data\":[1]}", true, "{\"value\":[1]}", "{\"source\":\"/s\"}"},
	{BEGIN ",\"data\":null}", true, "{\"value\":null}", "{\"source\":\"/s\"}"},
	{BEGIN ",\"data_base64\":\"AAEC\"}", true, "{\"base64\":\"AAEC\"}", "{\"source\":\"/s\"}"},
	{BEGIN ",\"data_base64\":\"AA==\"}", true, "{\"base64\":\"AA==\"}", "{\"source\":\"/s\"}"},
	{BEGIN ",\"subject\":\"a\\u0062\",\"n\":5,\"b\":true}", true, NULL,
	 "{\"source\":\"/s\",\"subject\":\"ab\",\"extensions\":{\"n\":5,\"b\":true}}"},
	{BEGIN ",\"time\":\"2026-01-31T12:34:56Z\"}", true, NULL,
	 "{\"source\":\"/s\",\"time\":\"2026-01-31T12:34:56Z\"}"},
	{BEGIN ",\"time\":\"2026-01-31T12:34:56.123+01:00\"}", true, NULL,
	 "{\"source\":\"/s\",\"time\":\"2026-01-31T12:34:56.123+01:00\"}"},
	{BEGIN ",\"position\":5,\"streamversion\":6,\"tenant\":\"x\"}", true, NULL,
	 "{\"source\":\"/s\"}"},
	{BEGIN ",\"subject\":null}", true, NULL, "{\"source\":\"/s\"}"},
	{BEGIN ",\"correlationid\":\"c\",\"causationid\":\"d\",\"traceparent\":\"e\"}", true, NULL,
	 "{\"source\":\"/s\",\"correlation_id\":\"c\",\"causation_id\":\"d\",\"traceparent\":\"e\"}"},
	{BEGIN ",\"datacontenttype\":\"application/json; a=b\"}", true, NULL, "{\"source\":\"/s\"}"},
	{BEGIN ",\"datacontenttype\":\"image/png\"}", true, NULL,
	 "{\"source\":\"/s\",\"datacontenttype\":\"image/png\"}"},
	{"[]", false, NULL, NULL},
	{"{}", false, NULL, NULL},
	{"{\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}", false, NULL, NULL},
	{"{\"specversion\":\"1.1\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}", false, NULL, NULL},
	{"{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"/s\",\"type\":\"t\"}", false, NULL, NULL},
	{"{\"specversion\":\"1.0\",\"id\":1,\"source\":\"/s\",\"type\":\"t\"}", false, NULL, NULL},
	{BEGIN ",\"id\":\"2\"}", false, NULL, NULL},
	{BEGIN ",\"data\":1,\"data\":2}", false, NULL, NULL},
	{BEGIN ",\"data\":1,\"data_base64\":\"AA==\"}", false, NULL, NULL},
	{BEGIN ",\"data_base64\":\"A\"}", false, NULL, NULL},
	{BEGIN ",\"data_base64\":\"A=BC\"}", false, NULL, NULL},
	{BEGIN ",\"data_base64\":\"====\"}", false, NULL, NULL},
	{BEGIN ",\"data_base64\":5}", false, NULL, NULL},
	{BEGIN ",\"Upper\":\"x\"}", false, NULL, NULL},
	{BEGIN ",\"a_b\":\"x\"}", false, NULL, NULL},
	{BEGIN ",\"\":\"x\"}", false, NULL, NULL},
	{BEGIN ",\"abcdefghijklmnopqrstu\":\"x\"}", false, NULL, NULL},
	{BEGIN ",\"x\":{}}", false, NULL, NULL},
	{BEGIN ",\"x\":[]}", false, NULL, NULL},
	{BEGIN ",\"subject\":\"\"}", false, NULL, NULL},
	{BEGIN ",\"partitionkey\":\"\"}", false, NULL, NULL},
	{BEGIN ",\"time\":\"yesterday\"}", false, NULL, NULL},
	{BEGIN ",\"time\":\"2026-01-31T12:34:56\"}", false, NULL, NULL},
	{BEGIN ",\"time\":\"2026-01-31T12:34:56.+01:00\"}", false, NULL, NULL},
};

static bool
same(Slice slice, const char *text)
{
	return text ? slice_is(slice, text) : slice.data == NULL;
}

static void
check_structured(void)
{
	for (size_t i = 0; i < sizeof(structured) / sizeof(structured[0]); i++)
	{
		const char *text = structured[i].text;
		Arena arena = {0};
		CloudEvent event;
		JsonValue value;
		JsonFault fault;
		const char *wrong;

		if (!json_check(text, strlen(text), 20, &value, &fault))
		{
			ok(false, "is JSON", text);
			continue;
		}
		wrong = cloudevent_from_json(value, &arena, &event);
		ok(structured[i].fine == (wrong == NULL), "is a CloudEvent, or not", text);
		if (wrong == NULL)
		{
			ok(same(cloudevent_data(&event, &arena), structured[i].data), "its data", text);
			ok(same(cloudevent_metadata(&event, false, &arena), structured[i].metadata),
			   "its metadata", text);
		}
		arena_free(&arena);
	}
}

static const struct
{
	const char *name, *value;
	const char *expected; /* of subject; NULL: refused */
} headers[] = {
	{"subject", "plain", "plain"},
	{"subject", "Euro%20%E2%82%AC", "Euro €"},
	{"subject", "\"quoted \\\"text\\\"\"", "quoted \"text\""},
	{"subject", "\"%41\"", "A"},
	{"subject", "%2541", "%41"},
	{"subject", "%", NULL},
	{"subject", "%00", NULL},
	{"subject", "\xff", NULL},
	{"datacontenttype", "text/plain", NULL},
	{"specversion", "1.1", NULL},
	{"a-b", "x", NULL},
};

static void
check_headers(void)
{
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
	{
		Arena arena = {0};
		CloudEvent event = {.data_kind = DATA_NONE};
		bool versioned = false;
		const char *wrong = cloudevent_header(&event, slice(headers[i].name),
											  slice(headers[i].value), &arena, &versioned);

		ok((wrong == NULL) == (headers[i].expected != NULL) &&
			   (wrong != NULL || slice_is(event.subject, headers[i].expected)),
		   headers[i].name, headers[i].value);
		arena_free(&arena);
	}
}

static const struct
{
	const char *type; /* NULL: none */
	const char *body;
	const char *expected; /* data; NULL: none; "-": refused */
} bodies[] = {
	{NULL, "", NULL},
	{NULL, "{\"a\":1}", "{\"a\":1}"},
	{"application/json", "5", "{\"value\":5}"},
	{"application/vnd.x+json; charset=UTF-8", "{}", "{}"},
	{"application/json", "{", "-"},
	{"application/json; charset=latin1", "{}", "-"},
	{"text/plain", "grün", "{\"text\":\"grün\"}"},
	{"text/plain", "\xff", "{\"base64\":\"/w==\"}"},
	{"text/plain;charset=iso-8859-1", "a", "{\"base64\":\"YQ==\"}"},
	{"application/octet-stream", "ab", "{\"base64\":\"YWI=\"}"},
	{"application/octet-stream", "abc", "{\"base64\":\"YWJj\"}"},
	{"application/octet-stream", "abcd", "{\"base64\":\"YWJjZA==\"}"},
};

static void
check_bodies(void)
{
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
	{
		Arena arena = {0};
		CloudEvent event = {.data_kind = DATA_NONE};
		Slice type = bodies[i].type ? slice(bodies[i].type) : (Slice){NULL, 0};
		const char *wrong = cloudevent_body(&event, type, slice(bodies[i].body), 20, &arena);
		bool refused = bodies[i].expected && strcmp(bodies[i].expected, "-") == 0;

		ok(refused ? wrong != NULL
				   : wrong == NULL && same(cloudevent_data(&event, &arena), bodies[i].expected),
		   bodies[i].type ? bodies[i].type : "no type", bodies[i].body);
		arena_free(&arena);
	}
}

static void
check_media_types(void)
{
	ok(media_type_is(slice("Application/JSON ; charset=utf-8"), "application/json"), "media type",
	   "blanks, case and parameters");
	ok(!media_type_is(slice("application/jsonx"), "application/json"), "media type", "longer");
	ok(!media_type_is((Slice){NULL, 0}, "application/json"), "media type", "absent");
	ok(media_type_is_utf8(slice("a/b;x=y; Charset=\"UTF-8\"")), "charset", "quoted");
	ok(!media_type_is_utf8(slice("a/b;charset=us")), "charset", "another");
	ok(media_type_is_json(slice("a/b+JSON")) && !media_type_is_json(slice("+json")), "suffix",
	   "+json");
}

int
main(void)
{
	check_structured();
	check_headers();
	check_bodies();
	check_media_types();
	printf("1..%d\n", tests);
	return failures > 0;
}
