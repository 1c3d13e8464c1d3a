/*
 * gateway/handlers/websocket.c
 *	  GET /v1/ws: the log over WebSocket, subprotocol usher.v1 (docs/realtime.md).
 *
 * A socket may begin without a token and send it in its first frame, because
 * browsers cannot send headers here.  Its memory is freed when its connection
 * has ended, and neither a page of the log nor a check of its token is on its
 * way any more.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../lib/websocket.h"
#include "../live.h"
#include "../router.h"
#include "../usherd.h"
#include "handlers.h"

#define MESSAGE_MAX       65536
#define PING_SECONDS      25
#define PONG_SECONDS      10
#define AUTH_SECONDS      10
#define EXPIRING_SECONDS  60
#define POSITION_SECONDS  15
#define MESSAGES_BURST    200 /* that a client may send at once */
#define MESSAGES_A_SECOND 50

typedef struct Socket
{
	Client client; /* first: a Client is its Socket */
	LiveStream live;
	Connection *connection; /* NULL: it has ended */
	Websocket ws;
	double since, pinged, written; /* pinged: 0, no pong is missing */
	double last_ping;
	double budget; /* messages that it may send */
	double budget_at;
	bool authorised, begun; /* begun: client_begin() was called */
	bool told_expiring, checking, freed;
	bool reading; /* on_data() works with it */
	char *token; /* that is being checked: "Bearer …" */
	int64_t ref; /* of the auth that is being checked */
} Socket;

static Socket *
socket_of(LiveStream *live)
{
	return (Socket *) ((char *) live - offsetof(Socket, live));
}

/*
 * Frames out
 */

static void
send_frame(Socket *socket, WebsocketOpcode opcode, const char *data, size_t len)
{
	static Text out;
	char head[WEBSOCKET_HEAD_MAX];

	if (socket->connection == NULL)
		return;
	out.len = 0;
	text_add(&out, head, websocket_head(head, opcode, len));
	text_add(&out, data, len);
	socket->written = ev_now(usherd_loop);
	connection_write(socket->connection, out.data, out.len);
}

static void
send_text(Socket *socket, Text *text)
{
	send_frame(socket, WEBSOCKET_TEXT, text->data, text->len);
	text_free(text);
}

/* Behind this the socket may be gone. */
static void
close_socket(Socket *socket, int code, const char *reason)
{
	char payload[125];
	size_t len = strlen(reason);

	if (socket->connection == NULL)
		return;
	if (len > sizeof(payload) - 2)
		len = sizeof(payload) - 2;
	payload[0] = (char) (code >> 8);
	payload[1] = (char) code;
	memcpy(payload + 2, reason, len);
	send_frame(socket, WEBSOCKET_CLOSE, payload, len + 2);
	connection_end(socket->connection);
}

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
	send_text(socket, &text);
}

static void
add_sub(Text *text, const Subscription *s)
{
	text_puts(text, ",\"sub\":");
	text_json(text, s->id, strlen(s->id));
}

/*
 * The client's transport
 */

static bool
socket_choked(Client *client)
{
	Socket *socket = (Socket *) client;

	if (socket->connection == NULL)
		return true;
	if (!connection_choked(socket->connection))
		return false;
	connection_want_write(socket->connection);
	return true;
}

static void
socket_events(Client *client, Subscription *of, const Slice *events, int n, int64_t position)
{
	Text text = {0};
	size_t bytes = 128;

	for (int i = 0; i < n; i++)
		bytes += events[i].len + 1;
	text_reserve(&text, bytes);
	text_puts(&text, "{\"op\":\"events\"");
	if (of)
		add_sub(&text, of);
	text_printf(&text, ",\"position\":%" PRId64 ",\"events\":[", position);
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			text_char(&text, ',');
		text_add(&text, events[i].data, events[i].len);
	}
	text_puts(&text, "]}");
	send_text((Socket *) client, &text);
}

static void
socket_caught_up(Client *client, Subscription *of)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"caught_up\"");
	add_sub(&text, of);
	text_printf(&text, ",\"position\":%" PRId64 "}", of->position);
	send_text((Socket *) client, &text);
}

static void
socket_gone(Client *client, Subscription *of, int64_t oldest)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"gone\"");
	add_sub(&text, of);
	text_printf(&text, ",\"oldest\":%" PRId64 "}", oldest);
	send_text((Socket *) client, &text);
	subscription_end(of);
}

static const Transport transport = {socket_choked, socket_events, socket_caught_up, socket_gone};

/*
 * The end of a socket
 */

static void
socket_free(Socket *socket)
{
	if (socket->checking || socket->reading || !socket->freed)
		return;
	websocket_end(&socket->ws);
	free(socket->token);
	free(socket);
}

static void
socket_freed(Client *client)
{
	Socket *socket = (Socket *) client;

	socket->freed = true;
	socket_free(socket);
}

static void
on_close(void *stream)
{
	Socket *socket = stream;

	socket->connection = NULL;
	live_end(&socket->live);
	if (socket->begun)
	{
		client_end(&socket->client);
		return;
	}
	if (socket->client.identity)
		identity_release(socket->client.identity);
	socket_freed(&socket->client);
}

/*
 * Messages in
 */

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
	socket->authorised = true;
	text_printf(&text,
				"{\"op\":\"welcome\",\"position\":%" PRId64 ",\"tenant\":", fanout_position());
	text_json(&text, who->tenant, strlen(who->tenant));
	if (who->expires_at > 0)
		text_printf(&text, ",\"token_expires\":%" PRId64, who->expires_at);
	text_puts(&text, "}");
	send_text(socket, &text);
}

/* A first token, or a newer one of the same user. */
static void
checked(Socket *socket, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	Identity *old = socket->client.identity;

	if (outcome != IDENTITY_OK)
	{
		if (outcome == IDENTITY_NONE)
			identity_release(identity);
		if (outcome == IDENTITY_UNAVAILABLE)
			close_socket(socket, 4503, "1000 ms");
		else
			close_socket(socket, 4401, reason ? reason : "the token is not valid");
		return;
	}
	if (socket->authorised &&
		(strcmp(old->tenant, identity->tenant) != 0 || strcmp(old->user, identity->user) != 0))
	{
		identity_release(identity);
		close_socket(socket, 4403, "the token is of somebody else");
		return;
	}
	if (old)
		identity_release(old);
	socket->client.identity = identity;
	socket->told_expiring = false;
	welcome(socket);
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
		close_socket(socket, 4400, "auth needs a token, one at a time");
		return;
	}
	free(socket->token);
	socket->token = malloc(token.text.len + 8);
	if (socket->token == NULL)
		abort();
	memcpy(socket->token, "Bearer ", 7);
	len = 7 + json_unescape(token, socket->token + 7);
	socket->checking = true;
	outcome = identity_of((Slice){socket->token, len}, &identity, &reason, checked_later, socket);
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
	add_sub(&text, s);
	text_printf(&text, ",\"position\":%" PRId64 "}", after < 0 ? socket->client.position : after);
	send_text(socket, &text);
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
	else if (!live_allowed(&filter, socket->client.identity))
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
	Text text = {0};

	if (s == NULL)
	{
		send_error(socket, ref, 404, "not-found", "there is no such subscription");
		return;
	}
	text_puts(&text, "{\"op\":\"unsubscribed\"");
	add_sub(&text, s);
	text_puts(&text, ",\"reason\":\"asked\"}");
	subscription_end(s);
	send_text(socket, &text);
}

static bool
within_budget(Socket *socket)
{
	double now = ev_now(usherd_loop);

	socket->budget += (now - socket->budget_at) * MESSAGES_A_SECOND;
	socket->budget_at = now;
	if (socket->budget > MESSAGES_BURST)
		socket->budget = MESSAGES_BURST;
	return --socket->budget >= 0;
}

/* Behind this the socket may be gone. */
static void
message(Socket *socket, Slice payload)
{
	JsonValue body, m[MEMBERS], stranger;
	JsonFault fault;
	int64_t ref = -1;
	char sub[64 * 6 + 2]; /* 64 bytes, all of them escaped */
	Slice name = {sub, 0};

	if (!json_check(payload.data, payload.len, 16, &body, &fault) || body.kind != JSON_OBJECT ||
		json_members(body, names, MEMBERS, m, &stranger) != JSON_MEMBERS_OK ||
		m[OP].kind != JSON_STRING ||
		(m[REF].kind != JSON_NONE && !json_int(m[REF], 0, INT64_MAX, &ref)))
	{
		close_socket(socket, 4400,
					 "a message is an object with op, and with the members that are documented");
		return;
	}
	if (m[SUB].kind == JSON_STRING && m[SUB].text.len <= sizeof(sub))
		name.len = json_unescape(m[SUB], sub);
	if (json_string_is(m[OP], "ping"))
		send_frame(socket, WEBSOCKET_TEXT, "{\"op\":\"pong\"}", 13);
	else if (json_string_is(m[OP], "auth"))
		message_auth(socket, m[TOKEN]);
	else if (!socket->authorised)
		close_socket(socket, 4401, "the first message is auth");
	else if (name.len == 0 || name.len > 64)
		send_error(socket, ref, 422, "invalid-body", "sub is a name of 1 to 64 bytes");
	else if (json_string_is(m[OP], "subscribe"))
		message_subscribe(socket, ref, name, m);
	else if (json_string_is(m[OP], "unsubscribe"))
		message_unsubscribe(socket, ref, name);
	else
		close_socket(socket, 4400, "op is none that is documented");
}

static void
control(Socket *socket, WebsocketOpcode opcode, Slice payload)
{
	uint16_t code;

	if (opcode == WEBSOCKET_PING)
		send_frame(socket, WEBSOCKET_PONG, payload.data, payload.len);
	else if (opcode == WEBSOCKET_PONG)
		socket->pinged = 0;
	else if (websocket_close_code(payload, &code) && code == 1005)
	{
		send_frame(socket, WEBSOCKET_CLOSE, "", 0);
		connection_end(socket->connection);
	}
	else
		close_socket(socket, code, "");
}

static void
on_data(void *stream, const char *data, size_t len)
{
	Socket *socket = stream;
	WebsocketResult result;
	WebsocketOpcode opcode;
	Slice payload;

	socket->reading = true;
	while (socket->connection &&
		   (result = websocket_next(&socket->ws, &data, &len, &opcode, &payload)) != WEBSOCKET_MORE)
	{
		if (result == WEBSOCKET_FAILED)
			close_socket(socket, socket->ws.close_code, "");
		else if (!within_budget(socket))
			close_socket(socket, 4429, "too many messages");
		else if (result == WEBSOCKET_CONTROL)
			control(socket, opcode, payload);
		else if (opcode == WEBSOCKET_BINARY)
			close_socket(socket, 1003, "messages are text");
		else
			message(socket, payload);
	}
	socket->reading = false;
	socket_free(socket);
}

static void
on_writable(void *stream)
{
	Socket *socket = stream;

	if (socket->begun)
		fanout_writable(&socket->client);
}

static const StreamOps stream_ops = {on_data, on_writable, on_close};

/*
 * Time
 */

static const Identity *
live_identity(LiveStream *live)
{
	return socket_of(live)->client.identity;
}

static void
live_stop(LiveStream *live, int code, const char *reason)
{
	close_socket(socket_of(live), code, reason);
}

static void
live_second(LiveStream *live, double now)
{
	Socket *socket = socket_of(live);
	const Identity *who = socket->client.identity;
	char text[96];

	if (!socket->authorised && now - socket->since > AUTH_SECONDS)
		close_socket(socket, 4401, "no token came");
	else if (socket->pinged > 0 && now - socket->pinged > PONG_SECONDS)
		close_socket(socket, 4408, "no pong came");
	else if (socket->authorised && who->expires_at > 0 && now > (double) who->expires_at)
		close_socket(socket, 4401, "the token has expired");
	else
	{
		if (socket->authorised && who->expires_at > 0 && !socket->told_expiring &&
			now > (double) who->expires_at - EXPIRING_SECONDS)
		{
			socket->told_expiring = true;
			snprintf(text, sizeof(text),
					 "{\"op\":\"token_expiring\",\"token_expires\":%" PRId64 "}", who->expires_at);
			send_frame(socket, WEBSOCKET_TEXT, text, strlen(text));
		}
		if (now - socket->last_ping > PING_SECONDS && !connection_choked(socket->connection))
		{
			socket->last_ping = socket->pinged = now;
			send_frame(socket, WEBSOCKET_PING, "", 0);
		}
		if (socket->client.nlive > 0 && now - socket->written > POSITION_SECONDS &&
			!connection_choked(socket->connection))
		{
			snprintf(text, sizeof(text), "{\"op\":\"position\",\"position\":%" PRId64 "}",
					 socket->client.position);
			send_frame(socket, WEBSOCKET_TEXT, text, strlen(text));
		}
	}
}

/*
 * The handshake (RFC 6455, 4.2)
 */

static bool
list_has(Slice list, const char *element)
{
	size_t len = strlen(element);
	const char *at = list.data, *end = list.data + list.len;

	while (at && at < end)
	{
		const char *comma = memchr(at, ',', (size_t) (end - at)), *stop = comma ? comma : end;

		while (at < stop && (*at == ' ' || *at == '\t'))
			at++;
		while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if ((size_t) (stop - at) == len && strncasecmp(at, element, len) == 0)
			return true;
		at = comma ? comma + 1 : end;
	}
	return false;
}

static void
begin(Request *request, const char *accept, bool subprotocol)
{
	Socket *socket = calloc(1, sizeof(Socket));
	Text head = {0};

	if (socket == NULL)
		abort();
	socket->connection = request->connection;
	socket->since = socket->last_ping = socket->written = socket->budget_at = ev_now(usherd_loop);
	socket->budget = MESSAGES_BURST;
	socket->client.transport = &transport;
	socket->client.freed = socket_freed;
	socket->client.identity = identity_keep(request->identity);
	socket->live = (LiveStream){.identity = live_identity, .second = live_second, .end = live_stop};
	websocket_begin(&socket->ws, MESSAGE_MAX);
	text_printf(&head,
				"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				"Sec-WebSocket-Accept: %s\r\n%sRequest-Id: %s\r\n\r\n",
				accept, subprotocol ? "Sec-WebSocket-Protocol: usher.v1\r\n" : "",
				request->request_id);
	live_begin(&socket->live);
	connection_take(request->connection, &stream_ops, socket, head.data, head.len);
	text_free(&head);
	if (!request->identity->anonymous && socket->connection)
		welcome(socket);
	request_taken(request, 101);
}

void
handle_websocket(Request *request)
{
	Slice offered = request_header(request, "sec-websocket-protocol");
	char accept[29];

	if (!list_has(request_header(request, "upgrade"), "websocket") ||
		!list_has(request_header(request, "connection"), "upgrade"))
	{
		reply_header(request, "Upgrade", "websocket");
		reply_problem(request, 426, "upgrade-required", NULL, "this resource speaks WebSocket");
	}
	else if (!slice_is(request_header(request, "sec-websocket-version"), "13"))
	{
		reply_header(request, "Sec-WebSocket-Version", "13");
		reply_problem(request, 426, "upgrade-required", NULL, "the version of WebSocket is 13");
	}
	else if (!websocket_accept(request_header(request, "sec-websocket-key"), accept))
		reply_problem(request, 400, "invalid-header", NULL,
					  "Sec-WebSocket-Key is 16 bytes in base64");
	else if (offered.data && !list_has(offered, "usher.v1"))
		reply_problem(request, 400, "invalid-header", NULL, "the subprotocol is usher.v1");
	else if (!live_origin_allowed(request))
		reply_problem(request, 403, "origin", NULL, "pages of this origin are not served");
	else if (!fanout_ready())
		reply_unavailable(request, "unavailable", "the end of the log is not known yet");
	else if (request->connection == NULL)
		reply(request, 200, NULL, "", 0);
	else
		begin(request, accept, offered.data != NULL);
}
