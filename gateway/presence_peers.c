/*
 * gateway/presence_peers.c
 *	  What gateways tell each other of who is here.
 *
 * On the topic usher.presence of the tenant:
 *
 *		{"g": gateway, "r": [{"t": topic, "j": [members], "l": [ids]}, …]}   came, or is there; has gone
 *		{"g": gateway, "ask": topic}                                        who is there?
 *
 * A letter has at most SIGNAL_DATA_MAX bytes, of as many topics as fit.
 */
#include <stdlib.h>
#include <string.h>

#include "presence_room.h"
#include "usherd.h"

#define SIGNAL_ROOM 200 /* bytes of a letter for what stands around the members, the topic apart */

static char gateway[17];

const char *
peers_start(void)
{
	usherd_random_hex(gateway, 16);
	return gateway;
}

/*
 * Telling them
 */

void
letter_send(Letter *letter)
{
	if (letter->rooms > 0)
	{
		text_puts(&letter->text, "]}");
		signals_send(letter->tenant, (Slice){PRESENCE_TOPIC, sizeof(PRESENCE_TOPIC) - 1},
					 (Slice){letter->text.data, letter->text.len}, "");
	}
	letter->rooms = 0;
	letter->text.len = 0;
}

void
letter_add(Letter *letter, const Room *room, const char *name, const char *const *items, int n)
{
	int i = 0;

	if (letter->rooms > 0 && strcmp(letter->tenant, room->tenant) != 0)
		letter_send(letter);
	letter->tenant = room->tenant;
	while (i < n)
	{
		bool first = true;

		if (letter->rooms > 0 &&
			letter->text.len + strlen(room->topic) * 6 + strlen(items[i]) + SIGNAL_ROOM >
				SIGNAL_DATA_MAX)
			letter_send(letter);
		if (letter->rooms++ == 0)
			text_printf(&letter->text, "{\"g\":\"%s\",\"r\":[", gateway);
		else
			text_char(&letter->text, ',');
		text_puts(&letter->text, "{\"t\":");
		text_json(&letter->text, room->topic, strlen(room->topic));
		text_printf(&letter->text, ",\"%s\":[", name);
		while (i < n && (first || letter->text.len + strlen(items[i]) + 16 < SIGNAL_DATA_MAX))
		{
			if (!first)
				text_char(&letter->text, ',');
			text_puts(&letter->text, items[i++]);
			first = false;
		}
		text_puts(&letter->text, "]}");
	}
}

void
peers_ask(const Room *room)
{
	Text text = {0};

	text_printf(&text, "{\"g\":\"%s\",\"ask\":", gateway);
	text_json(&text, room->topic, strlen(room->topic));
	text_char(&text, '}');
	signals_send(room->tenant, (Slice){PRESENCE_TOPIC, sizeof(PRESENCE_TOPIC) - 1},
				 (Slice){text.data, text.len}, "");
	text_free(&text);
}

void
letter_add_room(Letter *letter, const Room *room)
{
	const char **items = malloc(sizeof(char *) * (size_t) (room->nmembers + 1));
	int n = 0;

	if (items == NULL)
		abort();
	for (const Join *join = room->joins; join; join = join->room_next)
		if (join->json)
			items[n++] = join->json;
	letter_add(letter, room, "j", items, n);
	free(items);
}

/*
 * What they say
 */

/* The room of that topic, if somebody here is in it. */
static Room *
room_named(const char *tenant, JsonValue topic)
{
	char name[SIGNAL_TOPIC_MAX * 6 + 2];

	if (topic.kind != JSON_STRING || topic.text.len > sizeof(name))
		return NULL;
	return presence_room(tenant, (Slice){name, json_unescape(topic, name)});
}

static void
heard_room(const char *tenant, JsonValue value)
{
	static const char *const names[] = {"t", "j", "l"};
	JsonValue m[3], stranger, item;
	char id[PRESENCE_ID_SIZE * 2];
	JsonWalk walk;
	Room *room;

	if (value.kind != JSON_OBJECT || json_members(value, names, 3, m, &stranger) != JSON_MEMBERS_OK)
		return;
	room = room_named(tenant, m[0]);
	if (room == NULL)
		return;
	for (walk = json_walk(m[1]); json_next(&walk, NULL, &item);)
		presence_came(room, item);
	for (walk = json_walk(m[2]); json_next(&walk, NULL, &item);)
		if (item.kind == JSON_STRING && item.text.len < sizeof(id))
			presence_went(room, (Slice){id, json_unescape(item, id)});
}

void
peers_heard(const Signal *signal)
{
	static const char *const names[] = {"g", "r", "ask"};
	JsonValue body, m[3], stranger, item;
	JsonFault fault;
	JsonWalk walk;
	Room *room;

	if (!json_check(signal->data.data, signal->data.len, 32, &body, &fault) ||
		body.kind != JSON_OBJECT || json_members(body, names, 3, m, &stranger) != JSON_MEMBERS_OK ||
		json_string_is(m[0], gateway))
		return;
	for (walk = json_walk(m[1]); json_next(&walk, NULL, &item);)
		heard_room(signal->tenant, item);
	room = room_named(signal->tenant, m[2]);
	if (room)
	{
		Letter letter = {0};

		letter_add_room(&letter, room);
		letter_send(&letter);
		text_free(&letter.text);
	}
}
