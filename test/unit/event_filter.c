/*
 * test/unit/event_filter.c
 *	  What a subscription wants: the vectors of test/vectors/match.json, which clients/js is tried with, too.
 */
#include "event_filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/glob.h"

static int tests, failures;

static void
ok(bool passed, const char *what, JsonValue one)
{
	tests++;
	failures += !passed;
	printf("%sok %d - %s: %.*s\n", passed ? "" : "not ", tests, what,
		   (int) (one.text.len > 200 ? 200 : one.text.len), one.text.data);
}

static char *
read_vectors(size_t *len)
{
	char path[1024], *text;
	const char *slash = strrchr(__FILE__, '/');
	FILE *file;

	snprintf(path, sizeof(path), "%.*s/../vectors/match.json", (int) (slash - __FILE__), __FILE__);
	file = fopen(path, "r");
	text = malloc(1 << 20);
	if (file == NULL || text == NULL)
		abort();
	*len = fread(text, 1, 1 << 20, file);
	fclose(file);
	return text;
}

static JsonValue
get(JsonValue object, const char *wanted)
{
	JsonWalk walk = json_walk(object);
	JsonValue name, value;

	while (json_next(&walk, &name, &value))
		if (json_string_is(name, wanted))
			return value;
	return (JsonValue){.kind = JSON_NONE};
}

/* Of the exact size, so that a sanitizer sees a byte read too far. */
static Slice
text_of(JsonValue string)
{
	char *text;
	size_t len;

	if (string.kind != JSON_STRING)
		return (Slice){NULL, 0};
	text = malloc(string.text.len);
	if (text == NULL)
		abort();
	len = json_unescape(string, text);
	text = realloc(text, len + (len == 0));
	return (Slice){text, len};
}

static int
texts_of(JsonValue list, Slice *out)
{
	JsonWalk walk = json_walk(list);
	JsonValue value;
	int n = 0;

	while (json_next(&walk, NULL, &value))
		out[n++] = text_of(value);
	return n;
}

static void
free_texts(const Slice *texts, int n)
{
	for (int i = 0; i < n; i++)
		free((char *) texts[i].data);
}

static bool
wants(JsonValue types, JsonValue streams, JsonValue members, JsonValue json)
{
	Slice type_texts[FILTER_PATTERNS_MAX], stream_texts[FILTER_PATTERNS_MAX];
	EventFilter filter = {.types = type_texts, .streams = stream_texts, .members = members}, copy;
	Slice whole = {malloc(json.text.len), json.text.len};
	FilterEvent event = {text_of(get(json, "type")), text_of(get(json, "topic")),
						 text_of(get(json, "stream")), whole};
	void *memory;
	bool result;

	filter.ntypes = texts_of(types, type_texts);
	filter.nstreams = texts_of(streams, stream_texts);
	memcpy((char *) whole.data, json.text.data, json.text.len);
	memory = filter_copy(&filter, 1, &copy);
	result = filter_wants(&filter, &event);
	if (result != filter_wants(&copy, &event))
		abort();
	free(memory);
	free_texts(type_texts, filter.ntypes);
	free_texts(stream_texts, filter.nstreams);
	free_texts((Slice[]){event.type, event.topic, event.stream, whole}, 4);
	return result;
}

typedef struct Row
{
	JsonValue all, left, right;
	bool expected;
} Row;

static bool
next_row(JsonWalk *walk, Row *row)
{
	JsonValue expected;
	JsonWalk columns;

	if (!json_next(walk, NULL, &row->all))
		return false;
	columns = json_walk(row->all);
	json_next(&columns, NULL, &row->left);
	json_next(&columns, NULL, &row->right);
	json_next(&columns, NULL, &expected);
	row->expected = expected.kind == JSON_TRUE;
	return true;
}

static void
faults(void)
{
	static const struct
	{
		const char *text;
		bool fine;
	} cases[] = {{"{}", true},
				 {"null", true},
				 {"{\"a\":1,\"b\":[1,null,\"x\",true]}", true},
				 {"{\"a\":[]}", true},
				 {"[]", false},
				 {"7", false},
				 {"{\"a\":{}}", false},
				 {"{\"a\":[[]]}", false},
				 {"{\"a\":[{}]}", false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		JsonValue value;
		JsonFault fault;

		if (!json_check(cases[i].text, strlen(cases[i].text), 10, &value, &fault))
			abort();
		ok((filter_members_fault(value) == NULL) == cases[i].fine, "members", value);
	}
}

int
main(void)
{
	size_t len;
	char *text = read_vectors(&len);
	JsonValue vectors, none = {.kind = JSON_NONE};
	JsonFault fault;
	JsonWalk walk;
	Row row;

	if (!json_check(text, len, 20, &vectors, &fault))
		abort();
	for (walk = json_walk(get(vectors, "patterns")); next_row(&walk, &row);)
	{
		Slice pattern = text_of(row.left), name = text_of(row.right);

		ok(usher_glob_match(pattern.data, pattern.len, name.data, name.len) == row.expected,
		   "pattern", row.all);
		free_texts((Slice[]){pattern, name}, 2);
	}
	for (walk = json_walk(get(vectors, "filters")); next_row(&walk, &row);)
		ok(filter_members_fault(row.left) == NULL &&
			   wants(none, none, row.left, row.right) == row.expected,
		   "filter", row.all);
	for (walk = json_walk(get(vectors, "subscriptions")); next_row(&walk, &row);)
		ok(wants(get(row.left, "types"), get(row.left, "streams"), get(row.left, "filter"),
				 row.right) == row.expected,
		   "subscription", row.all);
	faults();
	free(text);
	printf("1..%d\n", tests);
	return failures > 0;
}
