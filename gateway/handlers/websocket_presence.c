/*
 * gateway/handlers/websocket_presence.c
 *	  What a client says of topics over WebSocket: join, leave, signal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../signals.h"
#include "websocket.h"

#define NOT_OFFERED "this gateway has no signals now: its database is a standby, or away"

static Join *
join_of(const Socket *socket, Slice topic)
{
	for (Join *join = socket->joins; join; join = join->next)
	{
		Slice name = presence_topic(join);

		if (name.len == topic.len && memcmp(name.data, topic.data, name.len) == 0)
			return join;
	}
	return NULL;
}

static void
add_topic(Text *text, Slice topic)
{
	text_puts(text, ",\"topic\":");
	text_json(text, topic.data, topic.len);
}

static void
add_members(Text *text, const Join *join)
{
	text_puts(text, ",\"members\":");
	presence_members(join, text);
	text_char(text, '}');
}

static bool
topic_valid(Slice topic)
{
	if (topic.len == 0 || topic.len > SIGNAL_TOPIC_MAX ||
		(topic.len >= 6 && memcmp(topic.data, "usher.", 6) == 0))
		return false;
	for (size_t i = 0; i < topic.len; i++)
		if ((unsigned char) topic.data[i] < 0x20 || topic.data[i] == 0x7f)
			return false;
	return true;
}

static void
end_join(Socket *socket, Join *join, const char *reason)
{
	Join **at = &socket->joins;
	Text text = {0};

	while (*at != join)
		at = &(*at)->next;
	*at = join->next;
	socket->njoins--;
	text_puts(&text, "{\"op\":\"left\"");
	add_topic(&text, presence_topic(join));
	text_printf(&text, ",\"reason\":\"%s\"}", reason);
	presence_leave(join);
	socket_send_text(socket, &text);
}

static void
join(Socket *socket, int64_t ref, Slice topic, JsonValue state, bool listens)
{
	const Identity *who = socket->client.identity;
	Join *made = presence_join(socket, who->tenant, topic, who->user, state.text, listens);
	Text text = {0};

	if (made == NULL)
	{
		socket_error(socket, ref, 429, "too-many", "the topic is full");
		return;
	}
	made->next = socket->joins;
	socket->joins = made;
	socket->njoins++;
	text_puts(&text, "{\"op\":\"joined\"");
	if (ref >= 0)
		text_printf(&text, ",\"ref\":%" PRId64, ref);
	add_topic(&text, topic);
	if (!listens)
		text_printf(&text, ",\"id\":\"%s\"", made->id);
	add_members(&text, made);
	socket_send_text(socket, &text);
}

void
message_join(Socket *socket, int64_t ref, Slice topic, JsonValue state, JsonValue listen)
{
	const char *fault = NULL;

	if (!topic_valid(topic))
		fault =
			"a topic is 1 to 255 bytes, without control characters, and does not begin with \"usher.\"";
	else if (join_of(socket, topic))
		fault = "the topic was joined already";
	else if (socket->njoins >= PRESENCE_TOPICS_MAX)
		fault = "there are too many topics";
	else if (state.text.len > PRESENCE_STATE_MAX)
		fault = "state is too long";
	else if (listen.kind != JSON_NONE && listen.kind != JSON_FALSE && listen.kind != JSON_TRUE)
		fault = "listen is true or false";
	if (fault)
		socket_error(socket, ref, 422, "invalid-body", fault);
	else if (!identity_allows(socket->client.identity, "presence", topic))
		socket_error(socket, ref, 403, "forbidden",
					 "this needs the scope \"presence\" for the topic");
	else if (!signals_offered())
		socket_error(socket, ref, 503, "unavailable", NOT_OFFERED);
	else
		join(socket, ref, topic, state, listen.kind == JSON_TRUE);
}

void
message_leave(Socket *socket, int64_t ref, Slice topic)
{
	Join *found = join_of(socket, topic);

	if (found == NULL)
		socket_error(socket, ref, 404, "not-found", "the topic was not joined");
	else
		end_join(socket, found, "asked");
}

void
message_signal(Socket *socket, int64_t ref, Slice topic, JsonValue data)
{
	const Identity *who = socket->client.identity;

	if (!topic_valid(topic))
		socket_error(
			socket, ref, 422, "invalid-body",
			"a topic is 1 to 255 bytes, without control characters, and does not begin with \"usher.\"");
	else if (data.kind == JSON_NONE || data.text.len > SIGNAL_DATA_MAX)
		socket_error(socket, ref, 422, "invalid-body", "data is JSON of at most 8,000 bytes");
	else if (!identity_allows(who, "signal", topic))
		socket_error(socket, ref, 403, "forbidden",
					 "this needs the scope \"signal\" for the topic");
	else if (!signals_send(who->tenant, topic, data.text, who->user))
		socket_error(socket, ref, 503, "unavailable", NOT_OFFERED);
}

/* A newer token may allow less. */
void
socket_check_joins(Socket *socket)
{
	for (Join *join = socket->joins, *next; join; join = next)
	{
		next = join->next;
		if (!identity_allows(socket->client.identity, "presence", presence_topic(join)))
			end_join(socket, join, "forbidden");
	}
}

void
socket_end_joins(Socket *socket)
{
	while (socket->joins)
	{
		Join *join = socket->joins;

		socket->joins = join->next;
		presence_leave(join);
	}
}

/* To whom changes could not be told gets the whole list, now that it can be written to. */
void
socket_refresh_joins(Socket *socket)
{
	for (Join *join = socket->joins; join; join = join->next)
	{
		Text text = {0};

		if (!join->stale || connection_choked(socket->connection))
			continue;
		join->stale = false;
		text_puts(&text, "{\"op\":\"presence\"");
		add_topic(&text, presence_topic(join));
		add_members(&text, join);
		socket_send_text(socket, &text);
	}
}

bool
socket_deliver(void *owner, const Text *frame)
{
	Socket *socket = owner;

	if (socket->connection == NULL || connection_choked(socket->connection))
		return false;
	socket_send(socket, WEBSOCKET_TEXT, frame->data, frame->len);
	return true;
}
