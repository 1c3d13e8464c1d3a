/*
 * gateway/lib/event_filter.c
 *	  Does a subscription want an event?
 */
#include <stdlib.h>
#include <string.h>

#include "event_filter.h"
#include "lib/glob.h"

#define NUMBER_MAX 128 /* bytes: it is read again for each event */

static bool
number_too_long(JsonValue value)
{
	return value.kind == JSON_NUMBER && value.text.len > NUMBER_MAX;
}

/* Does the name stand once more among what follows? Which of the two counts is anybody's guess. */
static bool
stands_behind(JsonWalk walk, JsonValue name)
{
	char text[260];
	JsonValue other, value;

	text[json_unescape(name, text)] = '\0';
	while (json_next(&walk, &other, &value))
		if (json_string_is(other, text))
			return true;
	return false;
}

const char *
filter_members_fault(JsonValue members)
{
	JsonWalk walk = json_walk(members), values;
	JsonValue name, value, element;

	if (members.kind == JSON_NONE || members.kind == JSON_NULL)
		return NULL;
	if (members.kind != JSON_OBJECT)
		return "a filter is an object";
	if (json_count(members) > FILTER_MEMBERS_MAX)
		return "a filter has too many members";
	while (json_next(&walk, &name, &value))
	{
		if (name.text.len > 257)
			return "a path in a filter is too long";
		if (stands_behind(walk, name))
			return "a filter names a path twice";
		if (number_too_long(value))
			return "a number in a filter is too long";
		if (value.kind == JSON_OBJECT)
			return "a filter compares with strings, numbers, true, false and null";
		if (value.kind != JSON_ARRAY)
			continue;
		if (json_count(value) > FILTER_VALUES_MAX)
			return "a filter has too many values";
		values = json_walk(value);
		while (json_next(&values, NULL, &element))
			if (element.kind == JSON_OBJECT || element.kind == JSON_ARRAY)
				return "a filter compares with strings, numbers, true, false and null";
			else if (number_too_long(element))
				return "a number in a filter is too long";
	}
	return NULL;
}

static const Slice *
copy_slices(const Slice *from, int n, Slice *to, char **text)
{
	for (int i = 0; i < n; i++)
	{
		memcpy(*text, from[i].data, from[i].len);
		to[i] = (Slice){*text, from[i].len};
		*text += from[i].len;
	}
	return to;
}

void *
filter_copy(const EventFilter *filter, size_t room, EventFilter *copy)
{
	size_t slices = (size_t) (filter->ntypes + filter->nstreams);
	size_t bytes = filter->members.text.len;
	Slice *to;
	char *memory, *text;

	room = (room + 15) / 16 * 16;
	for (int i = 0; i < filter->ntypes; i++)
		bytes += filter->types[i].len;
	for (int i = 0; i < filter->nstreams; i++)
		bytes += filter->streams[i].len;
	memory = calloc(1, room + slices * sizeof(Slice) + bytes);
	if (memory == NULL)
		abort();
	to = (Slice *) (memory + room);
	text = (char *) (to + slices);
	*copy = *filter;
	copy->types = copy_slices(filter->types, filter->ntypes, to, &text);
	copy->streams = copy_slices(filter->streams, filter->nstreams, to + filter->ntypes, &text);
	if (filter->members.text.len > 0)
		memcpy(text, filter->members.text.data, filter->members.text.len);
	copy->members.text.data = text;
	return memory;
}

/* The last member of that name counts, as in PostgreSQL and in JavaScript. */
static JsonValue
member(JsonValue object, const char *name)
{
	JsonWalk walk = json_walk(object);
	JsonValue key, value, found = {.kind = JSON_NONE};

	if (object.kind != JSON_OBJECT)
		return found;
	while (json_next(&walk, &key, &value))
		if (json_string_is(key, name))
			found = value;
	return found;
}

/* "data.show" */
static JsonValue
at_path(JsonValue event, JsonValue path)
{
	char text[260];
	char *part = text;
	size_t len;

	if (path.text.len >= sizeof(text))
		return (JsonValue){.kind = JSON_NONE};
	len = json_unescape(path, text);
	text[len] = '\0';
	while (part != NULL && event.kind != JSON_NONE)
	{
		char *dot = strchr(part, '.');

		if (dot)
			*dot = '\0';
		event = member(event, part);
		part = dot ? dot + 1 : NULL;
	}
	return event;
}

/* It stands in an array or an object, so what ends a number is behind it. */
static double
number(JsonValue value)
{
	return strtod(value.text.data, NULL);
}

static bool
same(JsonValue a, JsonValue b)
{
	char *left, *right;
	size_t left_len, right_len;
	bool equal;

	if (a.kind != b.kind)
		return false;
	if (a.text.len == b.text.len && memcmp(a.text.data, b.text.data, a.text.len) == 0)
		return a.kind != JSON_OBJECT && a.kind != JSON_ARRAY;
	if (a.kind == JSON_NUMBER)
		return number(a) == number(b);
	if (a.kind != JSON_STRING)
		return false;
	left = malloc(a.text.len + b.text.len);
	if (left == NULL)
		abort();
	right = left + a.text.len;
	left_len = json_unescape(a, left);
	right_len = json_unescape(b, right);
	equal = left_len == right_len && memcmp(left, right, left_len) == 0;
	free(left);
	return equal;
}

static bool
members_match(JsonValue members, JsonValue event)
{
	JsonWalk walk = json_walk(members);
	JsonValue path, wanted;

	while (json_next(&walk, &path, &wanted))
	{
		JsonValue value = at_path(event, path), element;
		JsonWalk values = json_walk(wanted);
		bool found = wanted.kind != JSON_ARRAY && same(value, wanted);

		while (wanted.kind == JSON_ARRAY && !found && json_next(&values, NULL, &element))
			found = same(value, element);
		if (!found)
			return false;
	}
	return true;
}

static bool
any_matches(const Slice *patterns, int n, Slice name)
{
	for (int i = 0; i < n; i++)
		if (usher_glob_match(patterns[i].data, patterns[i].len, name.data, name.len))
			return true;
	return false;
}

bool
filter_wants(const EventFilter *filter, const FilterEvent *event)
{
	if (filter->ntypes > 0 && !any_matches(filter->types, filter->ntypes, event->type) &&
		!(event->topic.len > 0 && any_matches(filter->types, filter->ntypes, event->topic)))
		return false;
	if (filter->nstreams > 0 &&
		!(event->stream.len > 0 && any_matches(filter->streams, filter->nstreams, event->stream)))
		return false;
	if (filter->members.kind != JSON_OBJECT)
		return true;
	return members_match(filter->members, (JsonValue){JSON_OBJECT, event->json});
}
