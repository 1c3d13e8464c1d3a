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

static bool
has_escapes(JsonValue string)
{
	return memchr(string.text.data, '\\', string.text.len) != NULL;
}

WantedValue
interest_value(JsonValue value, Text *room)
{
	WantedValue wanted = {.kind = value.kind};

	if (value.kind == JSON_NUMBER)
		wanted.number = number_of(value);
	else if (value.kind == JSON_STRING && !has_escapes(value))
		wanted.text = (Slice){value.text.data + 1, value.text.len - 2};
	else if (value.kind == JSON_STRING)
	{
		text_reserve(room, value.text.len);
		wanted.text = (Slice){room->data + room->len, 0};
		wanted.text.len = json_unescape(value, room->data + room->len);
		room->len += wanted.text.len;
	}
	return wanted;
}

/* How many values all members have. */
static int64_t
values_of(JsonValue members)
{
	JsonWalk walk = json_walk(members);
	JsonValue path, value;
	int64_t n = 0;

	while (json_next(&walk, &path, &value))
		n += value.kind == JSON_ARRAY ? json_count(value) : 1;
	return n;
}

/* The values go to *at, and their texts into the room, which has space for all. */
static WantedMember
wanted_member(JsonValue path, JsonValue value, WantedValue **at, Text *room)
{
	WantedMember member = {.path = interest_value(path, room).text, .values = *at};
	JsonWalk walk = json_walk(value);
	JsonValue element;

	if (value.kind != JSON_ARRAY)
		*(*at)++ = interest_value(value, room);
	while (value.kind == JSON_ARRAY && json_next(&walk, NULL, &element))
		*(*at)++ = interest_value(element, room);
	member.nvalues = (int) (*at - member.values);
	return member;
}

/* Members, their values, and the texts of those that had escapes: one piece of memory. */
static void
read_members(Interest *interest)
{
	JsonValue members = interest->filter.members, path, value;
	JsonWalk walk = json_walk(members);
	size_t n = (size_t) json_count(members), values = (size_t) values_of(members);
	size_t fixed = n * sizeof(WantedMember) + values * sizeof(WantedValue);
	size_t texts = has_escapes(members) ? members.text.len : 0;
	WantedValue *at;
	Text room = {0};

	interest->members = malloc(fixed + texts + 1);
	if (interest->members == NULL)
		abort();
	at = (WantedValue *) (interest->members + n);
	room = (Text){(char *) interest->members + fixed, 0, texts + 1};
	while (json_next(&walk, &path, &value))
		interest->members[interest->nmembers++] = wanted_member(path, value, &at, &room);
}

void
interest_begin(Interest *interest, const EventFilter *filter)
{
	memset(interest, 0, sizeof(*interest));
	interest->copied = filter_copy(filter, 0, &interest->filter);
	if (interest->filter.members.kind == JSON_OBJECT)
		read_members(interest);
}

void
interest_end(Interest *interest)
{
	free(interest->copied);
	free(interest->members);
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
	static Text room;
	WantedValue have;
	bool found = false;

	room.len = 0;
	have = interest_value(value, &room);

	for (int i = 0; i < member->nvalues && !found; i++)
	{
		const WantedValue *wanted = &member->values[i];

		found = wanted->kind == have.kind && have.kind != JSON_ARRAY && have.kind != JSON_OBJECT &&
				(have.kind != JSON_NUMBER || wanted->number == have.number) &&
				(have.kind != JSON_STRING ||
				 (wanted->text.len == have.text.len &&
				  memcmp(wanted->text.data, have.text.data, have.text.len) == 0));
	}
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
