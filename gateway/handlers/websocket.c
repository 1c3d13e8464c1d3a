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
#include "../lib/websocket_deflate.h"
#include "../live.h"
#include "../router.h"
#include "../signals.h"
#include "../usherd.h"
#include "handlers.h"
#include "websocket.h"

#define MESSAGE_MAX      65536
#define PING_SECONDS     25
#define PONG_SECONDS     10
#define AUTH_SECONDS     10
#define POSITION_SECONDS 15
#define DEFLATE_BYTES    128 /* smaller messages are not compressed */

static Socket *
socket_of(LiveStream *live)
{
	return (Socket *) ((char *) live - offsetof(Socket, live));
}

/*
 * Frames out
 */

void
socket_send(Socket *socket, WebsocketOpcode opcode, const char *data, size_t len)
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

void
socket_send_text(Socket *socket, Text *text)
{
	socket_send(socket, WEBSOCKET_TEXT, text->data, text->len);
	text_free(text);
}

/* Behind this the socket may be gone. */
void
socket_close(Socket *socket, int code, const char *reason)
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
	socket_send(socket, WEBSOCKET_CLOSE, payload, len + 2);
	connection_end(socket->connection);
}

void
socket_add_sub(Text *text, const Subscription *s)
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

static Text
events_message(const Subscription *of, const Slice *events, int n, int64_t position)
{
	Text text = {0};
	size_t bytes = WEBSOCKET_HEAD_MAX + 512;

	for (int i = 0; i < n; i++)
		bytes += events[i].len + 1;
	text_reserve(&text, bytes);
	text.len = WEBSOCKET_HEAD_MAX; /* of which it takes the end */
	text_puts(&text, "{\"op\":\"events\"");
	if (of)
		socket_add_sub(&text, of);
	text_printf(&text, ",\"position\":%" PRId64 ",\"events\":[", position);
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			text_char(&text, ',');
		text_add(&text, events[i].data, events[i].len);
	}
	text_puts(&text, "]}");
	return text;
}

static Frame *
with_head(Text *text, WebsocketOpcode opcode)
{
	char head[WEBSOCKET_HEAD_MAX];
	size_t len = websocket_head(head, opcode, text->len - WEBSOCKET_HEAD_MAX);

	memcpy(text->data + WEBSOCKET_HEAD_MAX - len, head, len);
	return frame_of(text, WEBSOCKET_HEAD_MAX - len);
}

static Frame *
socket_frame(const Subscription *of, const Slice *events, int n, int64_t position)
{
	Text text = events_message(of, events, n, position);

	return with_head(&text, WEBSOCKET_TEXT);
}

/* Compressed once for all sockets of a class; none of them has a context of its own. */
static Frame *
socket_frame_deflated(const Subscription *of, const Slice *events, int n, int64_t position)
{
	Text text = events_message(of, events, n, position), small = {0};
	Slice message = {text.data + WEBSOCKET_HEAD_MAX, text.len - WEBSOCKET_HEAD_MAX};

	if (message.len < DEFLATE_BYTES || config.websocket_deflate_level == 0)
		return with_head(&text, WEBSOCKET_TEXT);
	text_reserve(&small, WEBSOCKET_HEAD_MAX);
	small.len = WEBSOCKET_HEAD_MAX;
	deflate_message(message, config.websocket_deflate_level, &small);
	text_free(&text);
	return with_head(&small, WEBSOCKET_TEXT | WEBSOCKET_COMPRESSED);
}

static void
socket_send_frame(Client *client, Frame *frame)
{
	Socket *socket = (Socket *) client;

	if (socket->connection == NULL)
		return;
	socket->written = ev_now(usherd_loop);
	connection_send(socket->connection, frame);
}

static void
socket_caught_up(Client *client, Subscription *of)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"caught_up\"");
	socket_add_sub(&text, of);
	text_printf(&text, ",\"position\":%" PRId64 "}", of->position);
	socket_send_text((Socket *) client, &text);
}

static void
socket_gone(Client *client, Subscription *of, int64_t oldest)
{
	Text text = {0};

	text_puts(&text, "{\"op\":\"gone\"");
	socket_add_sub(&text, of);
	text_printf(&text, ",\"oldest\":%" PRId64 "}", oldest);
	socket_send_text((Socket *) client, &text);
	subscription_end(of);
}

static Frame *
socket_signal(Slice topic, Slice data)
{
	Text text = {0};

	text_reserve(&text, WEBSOCKET_HEAD_MAX);
	text.len = WEBSOCKET_HEAD_MAX;
	text_puts(&text, "{\"op\":\"signal\",\"topic\":");
	text_json(&text, topic.data, topic.len);
	text_puts(&text, ",\"data\":");
	text_add(&text, data.data, data.len);
	text_char(&text, '}');
	return with_head(&text, WEBSOCKET_TEXT);
}

static const Transport transport = {socket_choked,    socket_frame, socket_send_frame,
									socket_caught_up, socket_gone,  socket_signal};

static const Transport deflated_transport = {socket_choked,     socket_frame_deflated,
											 socket_send_frame, socket_caught_up,
											 socket_gone,       socket_signal};

/*
 * The end of a socket
 */

void
socket_free(Socket *socket)
{
	if (socket->checking || socket->reading || socket->live.npending > 0 || !socket->freed)
		return;
	websocket_end(&socket->ws);
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
	socket_end_joins(socket);
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
 * Bytes in
 */

static void
control(Socket *socket, WebsocketOpcode opcode, Slice payload)
{
	uint16_t code;

	if (opcode == WEBSOCKET_PING)
		socket_send(socket, WEBSOCKET_PONG, payload.data, payload.len);
	else if (opcode == WEBSOCKET_PONG)
		socket->pinged = 0;
	else if (websocket_close_code(payload, &code) && code == 1005)
	{
		socket_send(socket, WEBSOCKET_CLOSE, "", 0);
		connection_end(socket->connection);
	}
	else
		socket_close(socket, code, "");
}

/* Each counts as a message: empty ones would cost its sender nothing. */
static bool
fragments_allowed(Socket *socket)
{
	bool allowed = true;

	for (; socket->ws.fragments > 0; socket->ws.fragments--)
		allowed = allowed && socket_within_budget(socket);
	return allowed;
}

/* The message that has not come to its end counts. */
static void
hold(Socket *socket)
{
	size_t bytes = socket->ws.message.size;
	bool more = bytes > socket->held;

	if (bytes == socket->held)
		return;
	socket->held = bytes;
	connection_hold(socket->connection, bytes);
	if (more && !connection_has_room(socket->connection, 0))
		socket_close(socket, 4503, "1000 ms");
}

static void
on_data(void *stream, const char *data, size_t len)
{
	Socket *socket = stream;
	WebsocketResult result;
	WebsocketOpcode opcode;
	Slice payload;

	socket->reading = true;
	while (socket->connection && !socket->checking &&
		   (result = websocket_next(&socket->ws, &data, &len, &opcode, &payload)) != WEBSOCKET_MORE)
	{
		if (result == WEBSOCKET_FAILED)
			socket_close(socket, socket->ws.close_code, "");
		else if (!socket_within_budget(socket) || !live_message_allowed(&socket->live))
			socket_close(socket, 4429, "too many messages");
		else if (result == WEBSOCKET_CONTROL)
			control(socket, opcode, payload);
		else if (opcode == WEBSOCKET_BINARY)
			socket_close(socket, 1003, "messages are text");
		else
			socket_message(socket, payload);
	}
	if (socket->connection && socket->checking && len > 0)
		connection_defer(socket->connection, data, len);
	if (socket->connection && !fragments_allowed(socket))
		socket_close(socket, 4429, "too many fragments");
	if (socket->connection)
		hold(socket);
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

static void
live_stop(LiveStream *live, int code, const char *reason)
{
	socket_close(socket_of(live), code, reason);
}

static void
live_expiring(LiveStream *live, int64_t expires_at)
{
	char text[96];

	snprintf(text, sizeof(text), "{\"op\":\"token_expiring\",\"token_expires\":%" PRId64 "}",
			 expires_at);
	socket_send(socket_of(live), WEBSOCKET_TEXT, text, strlen(text));
}

static void
live_second(LiveStream *live, double now)
{
	Socket *socket = socket_of(live);
	char text[96];

	if (socket->pinged > 0 && connection_choked(socket->connection))
		socket->pinged = now; /* it may not have read the ping yet */
	if (!socket->live.known && now - socket->since > AUTH_SECONDS)
		socket_close(socket, 4401, "no token came");
	else if (socket->pinged > 0 && now - socket->pinged > PONG_SECONDS)
		socket_close(socket, 4408, "no pong came");
	else
	{
		socket_refresh_joins(socket);
		if (now - socket->last_ping > PING_SECONDS && !connection_choked(socket->connection))
		{
			socket->last_ping = socket->pinged = now;
			socket_send(socket, WEBSOCKET_PING, "", 0);
		}
		if (socket->client.nlive > 0 && now - socket->written > POSITION_SECONDS &&
			!connection_choked(socket->connection))
		{
			snprintf(text, sizeof(text), "{\"op\":\"position\",\"position\":%" PRId64 "}",
					 client_position(&socket->client));
			socket_send(socket, WEBSOCKET_TEXT, text, strlen(text));
		}
	}
}

/*
 * The handshake (RFC 6455, 4.2)
 */

static void
begin(Request *request, const char *accept, bool subprotocol, bool deflate)
{
	Socket *socket = calloc(1, sizeof(Socket));
	Connection *connection = request->connection;
	Identity *identity;
	Text head = {0};
	bool known;

	if (socket == NULL)
		abort();
	socket->connection = connection;
	socket->since = socket->last_ping = socket->written = socket->budget_at = ev_now(usherd_loop);
	socket->budget = MESSAGES_BURST;
	socket->address = request->address;
	socket->client.transport = deflate ? &deflated_transport : &transport;
	socket->client.freed = socket_freed;
	socket->client.identity = identity_keep(request->identity);
	socket->live = (LiveStream){.second = live_second, .expiring = live_expiring, .end = live_stop};
	websocket_begin(&socket->ws, MESSAGE_MAX);
	socket->ws.deflate = deflate;
	text_printf(&head,
				"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				"Sec-WebSocket-Accept: %s\r\n%s%sRequest-Id: %s\r\n\r\n",
				accept, subprotocol ? "Sec-WebSocket-Protocol: usher.v1\r\n" : "",
				deflate ? "Sec-WebSocket-Extensions: " DEFLATE_RESPONSE "\r\n" : "",
				request->request_id);
	live_begin(&socket->live, &socket->client);
	connection_take(connection, &stream_ops, socket, head.data, head.len);
	text_free(&head);
	known = !request->identity->anonymous;
	identity = known ? identity_keep(request->identity) : NULL;
	request_taken(request, 101);
	if (!known || socket_admit(socket, identity))
		connection_feed(connection); /* behind this the socket may be gone */
}

void
handle_websocket(Request *request)
{
	Slice offered = request_header(request, "sec-websocket-protocol");
	char accept[29];

	if (!slice_list_has(request_header(request, "upgrade"), "websocket") ||
		!slice_list_has(request_header(request, "connection"), "upgrade"))
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
	else if (offered.data && !slice_list_has(offered, "usher.v1"))
		reply_problem(request, 400, "invalid-header", NULL, "the subprotocol is usher.v1");
	else if (!live_origin_allowed(request))
		reply_problem(request, 403, "origin", NULL, "pages of this origin are not served");
	else if (!fanout_ready() || !signals_heard()) /* its welcome tells of both */
		reply_unavailable(request, "unavailable", "the end of the log is not known yet");
	else if (request->connection == NULL)
		reply(request, 200, NULL, "", 0);
	else
		begin(request, accept, offered.data != NULL,
			  config.websocket_deflate_level > 0 &&
				  deflate_is_offered(request_header(request, "sec-websocket-extensions")));
}
