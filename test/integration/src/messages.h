/*
 * test/integration/src/messages.h
 *	  Messages for sinks, the same ones each time: a function of their position.
 *
 * For sink_drive.c and for the native producers that benchmarks hold beside a
 * sink: equal keys, headers and bodies.
 */
#ifndef MESSAGES_H
#define MESSAGES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cloudevents.h"
#include "sinks/sink.h"

typedef struct Messages
{
	const char *topic;
	int topics; /* 1: topic, more: topic-0, topic-1, ... by key */
	int keys;
	size_t size; /* of a body, at least */
	bool odd_keys; /* Cyrillic, Chinese, emoji, the empty key */
	bool structured;
	int64_t replay;
	const char *tenant; /* NULL: no such attribute */
} Messages;

#define MESSAGE_ATTRIBUTES 12

/* Memory of a batch's messages, freed together. */
typedef struct Arena
{
	char *memory;
	size_t used, size;
} Arena;

static inline char *
arena_take(Arena *arena, size_t size)
{
	char *taken = arena->memory + arena->used;

	if (arena->used + size > arena->size)
	{
		fprintf(stderr, "messages.h: an arena is too small\n");
		exit(2);
	}
	arena->used += (size + 7) & ~(size_t) 7;
	return taken;
}

static inline size_t
message_room(const Messages *all)
{
	return sizeof(UsherAttribute) * MESSAGE_ATTRIBUTES + (all->structured ? 3 : 1) * all->size +
		   1600;
}

static inline int
message_key_number(const Messages *all, int64_t position)
{
	return (int) (((uint64_t) position * 2654435761u >> 7) % (uint64_t) all->keys);
}

/* Writes the key into out, at least 64 bytes; returns its length. */
static inline size_t
message_key(const Messages *all, int number, char *out)
{
	static const char *const odd[] = {"stream-%d", "ключ-%d", "鍵值%d", "🎫%d", "ñandú %d"};

	if (!all->odd_keys)
		return (size_t) sprintf(out, "stream-%d", number);
	if (number == 0)
		return (size_t) sprintf(out, "%s", "");
	return (size_t) sprintf(out, odd[number % 5], number);
}

static inline void
message_attribute(UsherMessage *m, Arena *arena, const char *name, const char *value, bool number)
{
	UsherAttribute *attribute = (UsherAttribute *) &m->attributes[m->nattributes++];
	size_t len = strlen(value);
	char *copy = arena_take(arena, len + 1);

	memcpy(copy, value, len + 1);
	attribute->name = name;
	attribute->value = copy;
	attribute->len = len;
	attribute->is_number = number;
}

static inline void
message_body(const Messages *all, UsherMessage *m, Arena *arena)
{
	char *body = arena_take(arena, all->size + 200);
	size_t len = (size_t) sprintf(body, "{\"n\": %lld, \"key\": \"%.64s\", \"pad\": \"",
								  (long long) m->position, m->key);

	for (; len + 2 < all->size; len++)
		body[len] = (char) ('a' + len % 26);
	len += (size_t) sprintf(body + len, "\"}");
	if (all->structured)
	{
		size_t room = len + 1100;
		char *whole = arena_take(arena, room);

		len = usher_cloudevent_json(m->attributes, m->nattributes, body, len, whole, room);
		body = whole;
	}
	m->body = body;
	m->body_len = len;
}

/* The message of a position. */
static inline void
message_make(const Messages *all, UsherMessage *m, int64_t position, Arena *arena)
{
	int number = message_key_number(all, position);
	char text[128];
	char *key = arena_take(arena, 64);

	memset(m, 0, sizeof(*m));
	m->position = position;
	m->replay = all->replay;
	m->partition = -1;
	m->key_len = message_key(all, number, key);
	m->key = key;
	if (all->topics > 1)
		sprintf(text, "%.100s-%d", all->topic, number % all->topics);
	else
		sprintf(text, "%.100s", all->topic);
	m->topic_len = strlen(text);
	m->topic = memcpy(arena_take(arena, m->topic_len + 1), text, m->topic_len + 1);

	m->attributes = (UsherAttribute *) arena_take(arena,
												  sizeof(UsherAttribute) * MESSAGE_ATTRIBUTES);
	message_attribute(m, arena, "specversion", "1.0", false);
	sprintf(text, "01912d3e-%04llx-7000-8000-%012llx", (unsigned long long) position & 0xffff,
			(unsigned long long) position);
	message_attribute(m, arena, "id", text, false);
	message_attribute(m, arena, "source", "/shop/default", false);
	message_attribute(m, arena, "type", "order.placed", false);
	message_attribute(m, arena, "subject", m->key_len > 0 ? key : "empty", false);
	usher_cloudevent_time(INT64_C(1767225600000000) + position * 1000, text);
	text[USHER_TIME_LEN] = '\0';
	message_attribute(m, arena, "time", text, false);
	message_attribute(m, arena, "datacontenttype", "application/json", false);
	sprintf(text, "%lld", (long long) position);
	message_attribute(m, arena, "position", text, true);
	sprintf(text, "%lld", (long long) (position / all->keys + 1));
	message_attribute(m, arena, "streamversion", text, true);
	if (all->tenant)
		message_attribute(m, arena, "tenant", all->tenant, false);
	message_attribute(m, arena, "partitionkey", key, false);
	if (m->replay != 0)
	{
		sprintf(text, "%lld", (long long) m->replay);
		message_attribute(m, arena, "replay", text, true);
	}
	message_body(all, m, arena);
}

#endif /* MESSAGES_H */
