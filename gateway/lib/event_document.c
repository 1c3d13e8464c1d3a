/*
 * gateway/lib/event_document.c
 *	  One event's JSON, for many questions.
 */
#include <stdlib.h>
#include <string.h>

#include "event_document.h"

static uint32_t
add_member(EventDocument *document, Slice name, JsonValue value)
{
	if (document->n == document->size)
	{
		document->size = document->size ? document->size * 2 : 64;
		document->members = realloc(document->members,
									sizeof(DocumentMember) * (size_t) document->size);
		if (document->members == NULL)
			abort();
	}
	document->members[document->n] = (DocumentMember){.name = name, .value = value};
	return document->n++;
}

void
document_begin(EventDocument *document, Slice json)
{
	document->n = 0;
	arena_free(&document->names);
	add_member(document, (Slice){"", 0}, (JsonValue){JSON_OBJECT, json});
}

static Slice
name_of(EventDocument *document, JsonValue string)
{
	char *name;

	if (string.kind != JSON_STRING || string.text.len < 2)
		return (Slice){"", 0};
	if (memchr(string.text.data, '\\', string.text.len) == NULL)
		return (Slice){string.text.data + 1, string.text.len - 2};
	name = arena_alloc(&document->names, string.text.len);
	return (Slice){name, json_unescape(string, name)};
}

static void
walk_members(EventDocument *document, uint32_t of)
{
	JsonWalk walk = json_walk(document->members[of].value);
	uint32_t first = document->n;
	JsonValue name, value;

	while (json_next(&walk, &name, &value))
		if (name.kind == JSON_STRING)
			add_member(document, name_of(document, name), value);
	document->members[of].first = first;
	document->members[of].count = document->n - first;
	document->members[of].walked = true;
}

JsonValue
document_at(EventDocument *document, Slice path)
{
	uint32_t at = 0;

	while (path.data != NULL)
	{
		const char *dot = memchr(path.data, '.', path.len);
		size_t len = dot ? (size_t) (dot - path.data) : path.len;
		uint32_t i;

		if (document->members[at].value.kind != JSON_OBJECT)
			return (JsonValue){.kind = JSON_NONE};
		if (!document->members[at].walked)
			walk_members(document, at);
		for (i = document->members[at].count; i > 0; i--)
		{
			Slice name = document->members[document->members[at].first + i - 1].name;

			if (name.len == len && memcmp(name.data, path.data, len) == 0)
				break;
		}
		if (i == 0)
			return (JsonValue){.kind = JSON_NONE};
		at = document->members[at].first + i - 1;
		path = dot ? (Slice){dot + 1, path.len - len - 1} : (Slice){NULL, 0};
	}
	return document->members[at].value;
}

void
document_free(EventDocument *document)
{
	free(document->members);
	arena_free(&document->names);
	*document = (EventDocument){0};
}
