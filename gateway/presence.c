/*
 * gateway/presence.c
 *	  Who is here, at all gateways of the database.
 *
 *		own clients ─► Room ─► changes, after a moment ─► own clients, and letters to the other gateways
 *		letters of the others ──┘                        (presence_peers.c)
 *
 * Who joins a topic that nobody here has joined asks, and the others answer at
 * once.  Changes gather for CHANGES_SECONDS, so that a crowd costs few frames.
 * A member of another gateway lives for SILENT_SECONDS behind its last naming.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/siphash.h"
#include "presence_room.h"
#include "usherd.h"

#define BUCKETS         4096 /* a power of two */
#define CHANGES_SECONDS 0.05
#define LIST_SECONDS    10
#define SILENT_SECONDS  30

static struct
{
	Room *buckets[BUCKETS];
	Room *dirty;
	SipKey key;
	ev_timer changes, second;
	unsigned tick, rooms;
	uint64_t ids;
	const char *gateway;
	bool (*deliver)(void *owner, const Text *frame);
	PresenceCounts counts;
} presence;

/*
 * Rooms
 */

static Room **
place_of(const char *tenant, Slice topic)
{
	static Text name;
	Room **at;

	name.len = 0;
	text_puts(&name, tenant);
	text_char(&name, '\n');
	text_add(&name, topic.data, topic.len);
	at = &presence.buckets[siphash(presence.key, name.data, name.len) & (BUCKETS - 1)];
	while (*at && !(slice_is(topic, (*at)->topic) && strcmp((*at)->tenant, tenant) == 0))
		at = &(*at)->next;
	return at;
}

static char *
copy(const char *data, size_t len)
{
	char *text = malloc(len + 1);

	if (text == NULL)
		abort();
	memcpy(text, data, len);
	text[len] = '\0';
	return text;
}

static Room *
room_make(Room **place, const char *tenant, Slice topic)
{
	Room *room = calloc(1, sizeof(Room));

	if (room == NULL)
		abort();
	room->tenant = copy(tenant, strlen(tenant));
	room->topic = copy(topic.data, topic.len);
	room->number = presence.rooms++;
	room->changes_end = &room->changes;
	room->members_end = &room->members;
	*place = room;
	presence.counts.topics++;
	return room;
}

static void
member_free(Room *room, Member **at)
{
	Member *member = *at;

	*at = member->next;
	if (room->members_end == &member->next)
		room->members_end = at;
	room->expected = NULL;
	room->nmembers--;
	presence.counts.members--;
	free(member->json);
	free(member);
}

/* Nobody here is in it any more, and what happened in it was told. */
static void
room_free(Room *room)
{
	Room **place = place_of(room->tenant, (Slice){room->topic, strlen(room->topic)});

	*place = room->next;
	while (room->members)
		member_free(room, &room->members);
	presence.counts.topics--;
	free(room->tenant);
	free(room->topic);
	free(room);
}

static void
deliver_all(Room *room, const Text *frame, bool lossy)
{
	for (Join *join = room->joins; join; join = join->room_next)
		if (!presence.deliver(join->owner, frame) && !lossy)
			join->stale = true;
}

/*
 * Changes
 */

static void
note(Room *room, bool joined, bool own, const char *text)
{
	Change *change = malloc(sizeof(Change));

	if (change == NULL)
		abort();
	*change = (Change){.joined = joined, .own = own, .text = copy(text, strlen(text))};
	*room->changes_end = change;
	room->changes_end = &change->next;
	if (!room->dirty)
	{
		room->dirty = true;
		room->dirty_next = presence.dirty;
		presence.dirty = room;
	}
	if (!ev_is_active(&presence.changes))
	{
		ev_timer_set(&presence.changes, CHANGES_SECONDS, 0);
		ev_timer_start(usherd_loop, &presence.changes);
	}
}

static void
add_changes(Text *frame, const Room *room, bool joined)
{
	bool first = true;

	text_printf(frame, ",\"%s\":[", joined ? "joined" : "left");
	for (const Change *change = room->changes; change; change = change->next)
		if (change->joined == joined)
		{
			if (!first)
				text_char(frame, ',');
			text_puts(frame, change->text);
			first = false;
		}
	text_char(frame, ']');
}

static void
tell_changes(Letter *letter, const Room *room, bool joined)
{
	const char **items;
	int n = 0, room_for = 1;

	for (const Change *change = room->changes; change; change = change->next)
		room_for++;
	items = malloc(sizeof(char *) * (size_t) room_for);
	if (items == NULL)
		abort();
	for (const Change *change = room->changes; change; change = change->next)
		if (change->own && change->joined == joined)
			items[n++] = change->text;
	letter_add(letter, room, joined ? "j" : "l", items, n);
	free(items);
}

static void
flush_room(Letter *letter, Room *room)
{
	Text frame = {0};

	text_puts(&frame, "{\"op\":\"presence\",\"topic\":");
	text_json(&frame, room->topic, strlen(room->topic));
	add_changes(&frame, room, true);
	add_changes(&frame, room, false);
	text_char(&frame, '}');
	deliver_all(room, &frame, false);
	text_free(&frame);
	tell_changes(letter, room, true);
	tell_changes(letter, room, false);
	letter_send(letter); /* the tenant's name is the room's */
	while (room->changes)
	{
		Change *change = room->changes;

		room->changes = change->next;
		free(change->text);
		free(change);
	}
	room->changes_end = &room->changes;
	room->dirty = false;
	if (room->joins == NULL)
		room_free(room);
}

static void
flush(struct ev_loop *loop, ev_timer *timer, int events)
{
	Letter letter = {0};
	Room *dirty = presence.dirty;

	(void) loop, (void) timer, (void) events;
	presence.dirty = NULL;
	while (dirty)
	{
		Room *room = dirty;

		dirty = room->dirty_next;
		flush_room(&letter, room);
	}
	text_free(&letter.text);
}

/*
 * Our own clients
 */

static void
add_member(Text *json, const char *id, const char *user, Slice state)
{
	text_printf(json, "{\"id\":\"%s\",\"user\":", id);
	text_json(json, user, strlen(user));
	if (state.data)
	{
		text_puts(json, ",\"state\":");
		text_add(json, state.data, state.len);
	}
	text_char(json, '}');
}

Join *
presence_join(void *owner, const char *tenant, Slice topic, const char *user, Slice state,
			  bool listens)
{
	Room **place = place_of(tenant, topic), *room = *place;
	bool fresh = room == NULL || room->joins == NULL;
	Join *join;

	if (room && !listens && room->nmembers >= PRESENCE_MEMBERS_MAX)
		return NULL;
	if (room == NULL)
		room = room_make(place, tenant, topic);
	join = calloc(1, sizeof(Join));
	if (join == NULL)
		abort();
	join->owner = owner;
	join->room = room;
	snprintf(join->id, sizeof(join->id), "%s-%" PRIu64, presence.gateway, ++presence.ids);
	join->room_next = room->joins;
	if (join->room_next)
		join->room_next->room_previous = join;
	room->joins = join;
	if (!listens)
	{
		Text json = {0};

		add_member(&json, join->id, user, state);
		join->json = json.data;
		room->nmembers++;
		presence.counts.members++;
		note(room, true, true, join->json);
	}
	if (fresh)
		peers_ask(room);
	return join;
}

void
presence_leave(Join *join)
{
	Room *room = join->room;

	if (join->room_previous)
		join->room_previous->room_next = join->room_next;
	else
		room->joins = join->room_next;
	if (join->room_next)
		join->room_next->room_previous = join->room_previous;
	if (join->json)
	{
		char id[PRESENCE_ID_SIZE + 2];

		snprintf(id, sizeof(id), "\"%s\"", join->id);
		room->nmembers--;
		presence.counts.members--;
		note(room, false, true, id);
	}
	else if (room->joins == NULL && !room->dirty)
		room_free(room);
	free(join->json);
	free(join);
}

Slice
presence_topic(const Join *join)
{
	return (Slice){join->room->topic, strlen(join->room->topic)};
}

void
presence_members(const Join *join, Text *json)
{
	const char *comma = "";

	text_char(json, '[');
	for (const Join *other = join->room->joins; other; other = other->room_next)
		if (other->json)
		{
			text_puts(json, comma);
			text_puts(json, other->json);
			comma = ",";
		}
	for (const Member *member = join->room->members; member; member = member->next)
	{
		text_puts(json, comma);
		text_puts(json, member->json);
		comma = ",";
	}
	text_char(json, ']');
}

/*
 * Members of other gateways
 */

void
presence_came(Room *room, JsonValue value)
{
	static const char *const names[] = {"id", "user", "state"};
	JsonValue m[3], stranger;
	Member *member = room->expected ? room->expected : room->members;
	char id[PRESENCE_ID_SIZE];

	if (value.kind != JSON_OBJECT ||
		json_members(value, names, 3, m, &stranger) != JSON_MEMBERS_OK ||
		m[0].kind != JSON_STRING || m[0].text.len >= sizeof(id) || m[1].kind != JSON_STRING)
		return;
	id[json_unescape(m[0], id)] = '\0';
	if (id[strspn(id, "0123456789abcdef-")] != '\0')
		return;
	if (member && strcmp(member->id, id) != 0)
		for (member = room->members; member && strcmp(member->id, id) != 0;)
			member = member->next;
	if (member == NULL)
	{
		if (room->nmembers >= PRESENCE_MEMBERS_MAX)
			return;
		member = calloc(1, sizeof(Member));
		if (member == NULL)
			abort();
		memcpy(member->id, id, sizeof(id));
		member->json = copy(value.text.data, value.text.len);
		*room->members_end = member;
		room->members_end = &member->next;
		room->nmembers++;
		presence.counts.members++;
		note(room, true, false, member->json);
	}
	member->heard = ev_now(usherd_loop);
	room->expected = member->next;
}

/* *at goes; so who is at *at now is the next one. */
static void
member_gone(Room *room, Member **at)
{
	char id[PRESENCE_ID_SIZE + 2];

	snprintf(id, sizeof(id), "\"%s\"", (*at)->id);
	note(room, false, false, id);
	member_free(room, at);
}

void
presence_went(Room *room, Slice id)
{
	for (Member **at = &room->members; *at; at = &(*at)->next)
		if (slice_is(id, (*at)->id))
		{
			member_gone(room, at);
			return;
		}
}

Room *
presence_room(const char *tenant, Slice topic)
{
	Room *room = *place_of(tenant, topic);

	return room && room->joins ? room : NULL;
}

static void
heard(const Signal *signal)
{
	Slice topic = {signal->topic, strlen(signal->topic)};
	Text frame = {0};
	Room *room;

	if (slice_is(topic, PRESENCE_TOPIC))
	{
		peers_heard(signal);
		return;
	}
	room = presence_room(signal->tenant, topic);
	if (room == NULL)
		return;
	text_puts(&frame, "{\"op\":\"signal\",\"topic\":");
	text_json(&frame, topic.data, topic.len);
	if (signal->sender[0])
	{
		text_puts(&frame, ",\"from\":");
		text_json(&frame, signal->sender, strlen(signal->sender));
	}
	text_puts(&frame, ",\"data\":");
	text_add(&frame, signal->data.data, signal->data.len);
	text_char(&frame, '}');
	deliver_all(room, &frame, true);
	text_free(&frame);
}

/*
 * Time
 */

static void
drop_silent(Room *room, double now)
{
	for (Member **at = &room->members; *at;)
	{
		if (now - (*at)->heard < SILENT_SECONDS)
			at = &(*at)->next;
		else
			member_gone(room, at);
	}
}

/* Each second a tenth of the rooms is told to the others, whole. */
static void
second(struct ev_loop *loop, ev_timer *timer, int events)
{
	double now = ev_now(loop);
	Letter letter = {0};

	(void) timer, (void) events;
	presence.tick = (presence.tick + 1) % LIST_SECONDS;
	if (presence.counts.topics == 0)
		return;
	for (int i = 0; i < BUCKETS; i++)
		for (Room *room = presence.buckets[i]; room; room = room->next)
		{
			drop_silent(room, now);
			if (room->number % LIST_SECONDS == presence.tick)
				letter_add_room(&letter, room);
		}
	letter_send(&letter);
	text_free(&letter.text);
}

void
presence_start(bool (*deliver)(void *owner, const Text *frame))
{
	char hex[33];

	presence.gateway = peers_start();
	usherd_random_hex(hex, 32);
	memcpy(&presence.key, hex, sizeof(presence.key));
	presence.deliver = deliver;
	signals_on_signal(heard);
	ev_init(&presence.changes, flush);
	ev_timer_init(&presence.second, second, 1, 1);
	ev_timer_start(usherd_loop, &presence.second);
}

PresenceCounts
presence_counts(void)
{
	return presence.counts;
}
