/*
 * gateway/lib/interest.c
 *	  A filter made ready for many events: its members are read once.
 */
#include <stdlib.h>
#include <string.h>

#include "interest_index.h"
#include "lib/glob.h"

/* The number's text has what ends it behind it in the filter, not in a copy of its own. */
static double
number_of(JsonValue value)
{
	char text[64];

	if (value.text.len >= sizeof(text))
	{
		char *copy = strndup(value.text.data, value.text.len);
		double number;

		if (copy == NULL)
			abort();
		number = strtod(copy, NULL);
		free(copy);
		return number;
	}
	memcpy(text, value.text.data, value.text.len);
	text[value.text.len] = '\0';
	return strtod(text, NULL);
}

WantedValue
interest_value(Arena *arena, JsonValue value)
{
	WantedValue wanted = {.kind = value.kind};

	if (value.kind == JSON_NUMBER)
		wanted.number = number_of(value);
	else if (value.kind == JSON_STRING && memchr(value.text.data, '\\', value.text.len) == NULL)
		wanted.text = (Slice){value.text.data + 1, value.text.len - 2};
	else if (value.kind == JSON_STRING)
	{
		char *text = arena_alloc(arena, value.text.len);

		wanted.text = (Slice){text, json_unescape(value, text)};
	}
	return wanted;
}

static WantedMember
wanted_member(Arena *arena, JsonValue path, JsonValue value)
{
	WantedMember member = {.nvalues = 1};
	char *text = arena_alloc(arena, path.text.len);
	JsonWalk walk;
	JsonValue element;

	member.path = (Slice){text, json_unescape(path, text)};
	if (value.kind == JSON_ARRAY)
		member.nvalues = (int) json_count(value);
	member.values = arena_zalloc(arena, sizeof(WantedValue) * (size_t) (member.nvalues + 1));
	if (value.kind != JSON_ARRAY)
	{
		member.values[0] = interest_value(arena, value);
		return member;
	}
	walk = json_walk(value);
	for (int i = 0; i < member.nvalues && json_next(&walk, NULL, &element); i++)
		member.values[i] = interest_value(arena, element);
	return member;
}

static const Slice *
copy_patterns(Arena *arena, const Slice *patterns, int n)
{
	Slice *copies = arena_alloc(arena, sizeof(Slice) * (size_t) (n + 1));

	for (int i = 0; i < n; i++)
		copies[i] = arena_slice(arena, patterns[i]);
	return copies;
}

void
interest_begin(Interest *interest, const EventFilter *filter)
{
	JsonWalk walk;
	JsonValue path, value;

	memset(interest, 0, sizeof(*interest));
	interest->filter = *filter;
	interest->filter.types = copy_patterns(&interest->arena, filter->types, filter->ntypes);
	interest->filter.streams = copy_patterns(&interest->arena, filter->streams, filter->nstreams);
	if (filter->members.kind == JSON_OBJECT)
		interest->filter.members.text = arena_slice(&interest->arena, filter->members.text);
	walk = json_walk(interest->filter.members);
	while (interest->nmembers < FILTER_MEMBERS_MAX && json_next(&walk, &path, &value))
		interest->members[interest->nmembers++] = wanted_member(&interest->arena, path, value);
}

void
interest_end(Interest *interest)
{
	arena_free(&interest->arena);
}

static bool
any_matches(const Slice *patterns, int n, Slice name)
{
	for (int i = 0; i < n; i++)
		if (usher_glob_match(patterns[i].data, patterns[i].len, name.data, name.len))
			return true;
	return false;
}

static bool
has_value(const WantedMember *member, JsonValue value)
{
	Arena arena = {0};
	WantedValue have = interest_value(&arena, value);
	bool found = false;

	for (int i = 0; i < member->nvalues && !found; i++)
	{
		const WantedValue *wanted = &member->values[i];

		found = wanted->kind == have.kind && have.kind != JSON_ARRAY && have.kind != JSON_OBJECT &&
				(have.kind != JSON_NUMBER || wanted->number == have.number) &&
				(have.kind != JSON_STRING ||
				 (wanted->text.len == have.text.len &&
				  memcmp(wanted->text.data, have.text.data, have.text.len) == 0));
	}
	arena_free(&arena);
	return found;
}

bool
interest_wants(const Interest *interest, const FilterEvent *event, EventDocument *document)
{
	const EventFilter *filter = &interest->filter;

	if (filter->ntypes > 0 && !any_matches(filter->types, filter->ntypes, event->type) &&
		!(event->topic.len > 0 && any_matches(filter->types, filter->ntypes, event->topic)))
		return false;
	if (filter->nstreams > 0 &&
		!(event->stream.len > 0 && any_matches(filter->streams, filter->nstreams, event->stream)))
		return false;
	for (int i = 0; i < interest->nmembers; i++)
		if (!has_value(&interest->members[i], document_at(document, interest->members[i].path)))
			return false;
	return true;
}
