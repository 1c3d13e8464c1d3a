/*
 * gateway/handlers/websocket_message.c
 *	  What a client says over WebSocket: auth, subscribe, unsubscribe, ping.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../usherd.h"
#include "websocket.h"

static void
send_error(Socket *socket, int64_t ref, int status, const char *kind, const char *detail)
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

void
socket_welcome(Socket *socket)
{
	const Identity *who = socket->client.identity;
	Text text = {0};

	if (!socket->begun)
	{
		socket->begun = true;
		client_begin(&socket->client);
	}
	socket->authorised = true;
	text_printf(&text,
				"{\"op\":\"welcome\",\"position\":%" PRId64 ",\"tenant\":", fanout_position());
	text_json(&text, who->tenant, strlen(who->tenant));
	text_puts(&text, ",\"user\":");
	text_json(&text, who->user, strlen(who->user));
	if (who->expires_at > 0)
		text_printf(&text, ",\"token_expires\":%" PRId64, who->expires_at);
	text_puts(&text, "}");
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
static void
checked(Socket *socket, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	Identity *old = socket->client.identity;

	if (outcome != IDENTITY_OK)
	{
		if (outcome == IDENTITY_NONE)
			identity_release(identity);
		if (outcome == IDENTITY_UNAVAILABLE)
			socket_close(socket, 4503, "1000 ms");
		else
			socket_close(socket, 4401, reason ? reason : "the token is not valid");
		return;
	}
	if (socket->authorised &&
		(strcmp(old->tenant, identity->tenant) != 0 || strcmp(old->user, identity->user) != 0))
	{
		identity_release(identity);
		socket_close(socket, 4403, "the token is of somebody else");
		return;
	}
	if (old)
		identity_release(old);
	socket->client.identity = identity;
	socket->told_expiring = false;
	socket_welcome(socket);
	for (Subscription *s = socket->client.subscriptions, *next; s; s = next)
	{
		next = s->next;
		if (!live_allowed(subscription_filter(s), identity))
			end_subscription(socket, s, "forbidden");
	}
}

static void
checked_later(void *context, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	Socket *socket = context;

	socket->checking = false;
	if (socket->connection)
	{
		checked(socket, outcome, identity, reason);
		return;
	}
	if (outcome == IDENTITY_OK || outcome == IDENTITY_NONE)
		identity_release(identity);
	socket_free(socket);
}

static void
message_auth(Socket *socket, JsonValue token)
{
	IdentityOutcome outcome;
	Identity *identity = NULL;
	const char *reason = NULL;
	size_t len;

	if (socket->checking || token.kind != JSON_STRING)
	{
		socket_close(socket, 4400, "auth needs a token, one at a time");
		return;
	}
	free(socket->token);
	socket->token = malloc(token.text.len + 8);
	if (socket->token == NULL)
		abort();
	memcpy(socket->token, "Bearer ", 7);
	len = 7 + json_unescape(token, socket->token + 7);
	socket->checking = true;
	outcome = identity_of((Slice){socket->token, len}, NULL, &identity, &reason, checked_later,
						  socket);
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

static void
confirm(Socket *socket, int64_t ref, Subscription *s, int64_t after)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"subscribed\"");
	if (ref >= 0)
		text_printf(&text, ",\"ref\":%" PRId64, ref);
	socket_add_sub(&text, s);
	text_printf(&text, ",\"position\":%" PRId64 ",\"live\":%s}",
				after < 0 ? client_position(&socket->client) : after,
				subscription_is_past(s, after) ? "false" : "true");
	socket_send_text(socket, &text);
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
	MEMBERS
};
static const char *const names[MEMBERS] = {"op",      "ref",   "sub",    "types",
										   "streams", "after", "filter", "token"};

static void
message_subscribe(Socket *socket, int64_t ref, Slice sub, const JsonValue *m)
{
	LiveFilter filter = {0};
	int64_t after = -1;
	const char *fault = NULL;

	if (subscription_find(&socket->client, sub))
		fault = "there is a subscription of this name";
	else if (socket->client.nsubscriptions >= LIVE_SUBSCRIPTIONS_MAX)
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
	if (fault)
		send_error(socket, ref, 422, "invalid-body", fault);
	else if (!live_allowed(&filter.filter, socket->client.identity))
		send_error(socket, ref, 403, "forbidden",
				   "this needs the scope \"subscribe\" for the patterns");
	else
	{
		if (m[FILTER].kind == JSON_OBJECT)
			filter.filter.members = m[FILTER];
		confirm(socket, ref, subscription_make(&socket->client, sub, &filter.filter), after);
	}
	live_filter_free(&filter);
}

static void
message_unsubscribe(Socket *socket, int64_t ref, Slice sub)
{
	Subscription *s = subscription_find(&socket->client, sub);

	if (s == NULL)
		send_error(socket, ref, 404, "not-found", "there is no such subscription");
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

/* Behind this the socket may be gone. */
void
socket_message(Socket *socket, Slice payload)
{
	JsonValue body, m[MEMBERS], stranger;
	JsonFault fault;
	int64_t ref = -1;
	char sub[64 * 6 + 2]; /* 64 bytes, all of them escaped */
	Slice name = {sub, 0};
	bool subscribe;

	if (!json_check(payload.data, payload.len, 16, &body, &fault) || body.kind != JSON_OBJECT ||
		json_members(body, names, MEMBERS, m, &stranger) != JSON_MEMBERS_OK ||
		m[OP].kind != JSON_STRING ||
		(m[REF].kind != JSON_NONE && !json_int(m[REF], 0, INT64_MAX, &ref)))
	{
		socket_close(socket, 4400,
					 "a message is an object with op, and with the members that are documented");
		return;
	}
	subscribe = json_string_is(m[OP], "subscribe");
	if (m[SUB].kind == JSON_STRING && m[SUB].text.len <= sizeof(sub))
		name.len = json_unescape(m[SUB], sub);
	if (json_string_is(m[OP], "ping"))
		socket_send(socket, WEBSOCKET_TEXT, "{\"op\":\"pong\"}", 13);
	else if (json_string_is(m[OP], "auth"))
		message_auth(socket, m[TOKEN]);
	else if (!socket->authorised)
		socket_close(socket, 4401, "the first message is auth");
	else if (!subscribe && !json_string_is(m[OP], "unsubscribe"))
		socket_close(socket, 4400, "op is none that is documented");
	else if (name.len == 0 || name.len > 64)
		send_error(socket, ref, 422, "invalid-body", "sub is a name of 1 to 64 bytes");
	else if (subscribe)
		message_subscribe(socket, ref, name, m);
	else
		message_unsubscribe(socket, ref, name);
}
