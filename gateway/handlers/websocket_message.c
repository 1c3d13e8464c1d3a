/*
 * gateway/handlers/websocket_message.c
 *	  What a client says over WebSocket: auth, subscribe, unsubscribe, ping; topics are websocket_presence.c's.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../identity_wait.h"
#include "../signals.h"
#include "../usherd.h"
#include "websocket.h"

#define SUB_MAX 64 /* bytes of a subscription's name */

void
socket_error(Socket *socket, int64_t ref, int status, const char *kind, const char *detail)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"error\"");
	if (ref >= 0)
		text_printf(&text, ",\"ref\":%" PRId64, ref);
	text_printf(
		&text,
		",\"problem\":{\"type\":\"https://pg-usher.org/problems/%s\",\"status\":%d,\"detail\":",
		kind, status);
	text_json(&text, detail, strlen(detail));
	text_puts(&text, "}}");
	socket_send_text(socket, &text);
}

static void
welcome(Socket *socket)
{
	const Identity *who = socket->client.identity;
	Text text = {0};

	if (!socket->begun)
	{
		socket->begun = true;
		client_begin(&socket->client);
	}
	text_printf(&text,
				"{\"op\":\"welcome\",\"position\":%" PRId64 ",\"tenant\":", fanout_position());
	text_json(&text, who->tenant, strlen(who->tenant));
	text_puts(&text, ",\"user\":");
	text_json(&text, who->user, strlen(who->user));
	if (who->expires_at > 0)
		text_printf(&text, ",\"token_expires\":%" PRId64, who->expires_at);
	text_printf(&text, ",\"presence\":%s}", signals_offered() ? "true" : "false");
	socket_send_text(socket, &text);
}

static void
end_subscription(Socket *socket, Subscription *s, const char *reason)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"unsubscribed\"");
	socket_add_sub(&text, s);
	text_printf(&text, ",\"reason\":\"%s\"}", reason);
	subscription_end(s);
	socket_send_text(socket, &text);
}

/* A first token, or a newer one of the same user, which may allow less. */
bool
socket_admit(Socket *socket, Identity *identity)
{
	const char *reason = NULL;
	int code = live_admit(&socket->live, identity, &reason);

	if (code != 0)
	{
		identity_release(identity);
		socket_close(socket, code, reason);
		return false;
	}
	connection_belongs(socket->connection, identity->tenant);
	if (!live_connection_allowed(socket->connection))
	{
		socket_close(socket, 4429, "too many connections of this tenant");
		return false;
	}
	welcome(socket);
	for (Subscription *s = socket->client.subscriptions, *next; s; s = next)
	{
		next = s->next;
		if (!live_allowed(subscription_filter(s), identity))
			end_subscription(socket, s, "forbidden");
	}
	socket_check_joins(socket);
	return true;
}

static void
checked(Socket *socket, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	if (outcome == IDENTITY_OK)
	{
		(void) socket_admit(socket, identity);
		return;
	}
	if (outcome == IDENTITY_NONE)
		identity_release(identity);
	if (outcome == IDENTITY_UNAVAILABLE)
		socket_close(socket, 4503, "1000 ms");
	else if (outcome == IDENTITY_LIMITED)
		socket_close(socket, 4429, "too many wrong credentials came from this address");
	else
		socket_close(socket, 4401, reason ? reason : "the token is not valid");
}

static void
checked_later(void *context, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	Socket *socket = context;

	socket->checking = false;
	socket->reading = true; /* it stays, whatever it is told */
	if (socket->connection)
		checked(socket, outcome, identity, reason);
	else if (outcome == IDENTITY_OK || outcome == IDENTITY_NONE)
		identity_release(identity);
	socket->reading = false;
	if (socket->connection)
		connection_resume(socket->connection);
	else
		socket_free(socket);
}

static void
message_auth(Socket *socket, JsonValue token)
{
	IdentityOutcome outcome;
	Identity *identity = NULL;
	const char *reason = NULL;
	char *header;
	size_t len;

	if (socket->checking || token.kind != JSON_STRING)
	{
		socket_close(socket, 4400, "auth needs a token, one at a time");
		return;
	}
	header = malloc(token.text.len + 8);
	if (header == NULL)
		abort();
	memcpy(header, "Bearer ", 7);
	len = 7 + json_unescape(token, header + 7);
	socket->checking = true;
	outcome = identity_ask((Slice){header, len}, &socket->address, &identity, &reason,
						   checked_later, socket);
	free(header); /* no token outlives its check */
	if (outcome == IDENTITY_PENDING)
		return;
	socket->checking = false;
	checked(socket, outcome, identity, reason);
}

/* Patterns of a message; NULL, or what is wrong. */
static const char *
take_patterns(Socket *socket, LiveFilter *filter, bool stream, JsonValue list)
{
	JsonWalk walk = json_walk(list);
	JsonValue value;

	if (list.kind == JSON_NONE || list.kind == JSON_NULL)
		return NULL;
	if (list.kind != JSON_ARRAY)
		return "types and streams are arrays of patterns";
	while (json_next(&walk, NULL, &value))
	{
		char text[512];
		const char *fault;

		if (value.kind != JSON_STRING || value.text.len > sizeof(text))
			return "a pattern is a string of 1 to 255 bytes";
		fault = live_add_pattern(filter, stream, (Slice){text, json_unescape(value, text)},
								 socket->client.identity);
		if (fault)
			return fault;
	}
	return NULL;
}

void
socket_confirm(Socket *socket, int64_t ref, Slice sub, const EventFilter *filter, int64_t after,
			   const Slice *snapshot)
{
	Subscription *s = subscription_make(&socket->client, sub, filter);
	int64_t position = after < 0 ? client_position(&socket->client) : after;
	Text text = {0};

	text_puts(&text, "{\"op\":\"subscribed\"");
	if (ref >= 0)
		text_printf(&text, ",\"ref\":%" PRId64, ref);
	socket_add_sub(&text, s);
	text_printf(&text, ",\"position\":%" PRId64 ",\"live\":%s}", position,
				subscription_is_past(s, after) ? "false" : "true");
	socket_send_text(socket, &text);
	if (snapshot)
	{
		text = (Text){0};
		text_puts(&text, "{\"op\":\"snapshot\"");
		socket_add_sub(&text, s);
		text_printf(&text, ",\"position\":%" PRId64 ",\"data\":", position);
		text_add(&text, snapshot->data, snapshot->len);
		text_char(&text, '}');
		socket_send_text(socket, &text);
	}
	subscription_start(s, after);
}

enum
{
	OP,
	REF,
	SUB,
	TYPES,
	STREAMS,
	AFTER,
	FILTER,
	TOKEN,
	TOPIC,
	STATE,
	DATA,
	LISTEN,
	SNAPSHOT,
	MEMBERS
};
static const char *const names[MEMBERS] = {
	"op",    "ref",   "sub",   "types", "streams", "after",    "filter",
	"token", "topic", "state", "data",  "listen",  "snapshot",
};

static void
message_subscribe(Socket *socket, int64_t ref, Slice sub, const JsonValue *m)
{
	LiveFilter filter = {0};
	int64_t after = -1;
	const char *fault = NULL;

	if (subscription_find(&socket->client, sub) || snapshot_pending(socket, sub))
		fault = "there is a subscription of this name";
	else if (socket->client.nsubscriptions + socket->live.npending >= LIVE_SUBSCRIPTIONS_MAX)
		fault = "there are too many subscriptions";
	else if (m[AFTER].kind != JSON_NONE && m[AFTER].kind != JSON_NULL &&
			 !json_int(m[AFTER], 0, INT64_MAX, &after))
		fault = "after is a position";
	if (!fault)
		fault = take_patterns(socket, &filter, false, m[TYPES]);
	if (!fault)
		fault = take_patterns(socket, &filter, true, m[STREAMS]);
	if (!fault)
		fault = filter_members_fault(m[FILTER]);
	if (!fault && m[SNAPSHOT].kind > JSON_NULL)
		fault = after >= 0 ? "after and snapshot exclude each other" : snapshot_fault(m[SNAPSHOT]);
	if (fault)
		socket_error(socket, ref, 422, "invalid-body", fault);
	else if (!live_subscription_allowed(&socket->live))
		socket_error(socket, ref, 429, "too-many", "the user has too many subscriptions");
	else if (!connection_has_room(socket->connection, want_bytes(&filter.filter)))
		socket_error(socket, ref, 503, "overloaded",
					 "the server holds as much for clients as it takes");
	else if (!live_allowed(&filter.filter, socket->client.identity))
		socket_error(socket, ref, 403, "forbidden",
					 "this needs the scope \"subscribe\" for the patterns");
	else
	{
		if (m[FILTER].kind == JSON_OBJECT)
			filter.filter.members = m[FILTER];
		if (m[SNAPSHOT].kind > JSON_NULL)
		{
			snapshot_subscribe(socket, ref, sub, &filter, m[SNAPSHOT]);
			return; /* the filter is its */
		}
		socket_confirm(socket, ref, sub, &filter.filter, after, NULL);
	}
	live_filter_free(&filter);
}

static void
message_unsubscribe(Socket *socket, int64_t ref, Slice sub)
{
	Subscription *s = subscription_find(&socket->client, sub);

	if (s == NULL && snapshot_pending(socket, sub))
		snapshot_cancel(socket, sub);
	else if (s == NULL)
		socket_error(socket, ref, 404, "not-found", "there is no such subscription");
	else
		end_subscription(socket, s, "asked");
}

bool
socket_within_budget(Socket *socket)
{
	double now = ev_now(usherd_loop);

	socket->budget += (now - socket->budget_at) * MESSAGES_A_SECOND;
	socket->budget_at = now;
	if (socket->budget > MESSAGES_BURST)
		socket->budget = MESSAGES_BURST;
	return --socket->budget >= 0;
}

/* Of a member, without its escapes; out has room for longest * 6 + 2 bytes. Too long, or no string: empty. */
static Slice
name_of(JsonValue value, char *out, size_t longest)
{
	Slice name = {out, 0};

	if (value.kind == JSON_STRING && value.text.len <= longest * 6 + 2)
		name.len = json_unescape(value, out);
	if (name.len > longest)
		name.len = 0;
	return name;
}

/* Of who has shown a token: subscriptions and topics. */
static void
message_of_known(Socket *socket, int64_t ref, const JsonValue *m)
{
	char sub_text[SUB_MAX * 6 + 2], topic_text[SIGNAL_TOPIC_MAX * 6 + 2];
	Slice sub = name_of(m[SUB], sub_text, SUB_MAX);
	Slice topic = name_of(m[TOPIC], topic_text, SIGNAL_TOPIC_MAX);
	bool subscribe = json_string_is(m[OP], "subscribe");

	if (json_string_is(m[OP], "join"))
		message_join(socket, ref, topic, m[STATE], m[LISTEN]);
	else if (json_string_is(m[OP], "leave"))
		message_leave(socket, ref, topic);
	else if (json_string_is(m[OP], "signal"))
		message_signal(socket, ref, topic, m[DATA]);
	else if (!subscribe && !json_string_is(m[OP], "unsubscribe"))
		socket_close(socket, 4400, "op is none that is documented");
	else if (sub.len == 0)
		socket_error(socket, ref, 422, "invalid-body", "sub is a name of 1 to 64 bytes");
	else if (subscribe)
		message_subscribe(socket, ref, sub, m);
	else
		message_unsubscribe(socket, ref, sub);
}

/* Behind this the socket may be gone. */
void
socket_message(Socket *socket, Slice payload)
{
	JsonValue body, m[MEMBERS], stranger;
	JsonFault fault;
	int64_t ref = -1;

	if (!json_check(payload.data, payload.len, 16, &body, &fault) || body.kind != JSON_OBJECT ||
		json_members(body, names, MEMBERS, m, &stranger) != JSON_MEMBERS_OK ||
		m[OP].kind != JSON_STRING ||
		(m[REF].kind != JSON_NONE && !json_int(m[REF], 0, INT64_MAX, &ref)))
		socket_close(socket, 4400,
					 "a message is an object with op, and with the members that are documented");
	else if (json_string_is(m[OP], "ping"))
		socket_send(socket, WEBSOCKET_TEXT, "{\"op\":\"pong\"}", 13);
	else if (json_string_is(m[OP], "auth"))
		message_auth(socket, m[TOKEN]);
	else if (!socket->live.known)
		socket_close(socket, 4401, "the first message is auth");
	else
		message_of_known(socket, ref, m);
}
