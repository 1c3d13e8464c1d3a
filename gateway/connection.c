/*
 * gateway/connection.c
 *	  Framing: from bytes to requests, and from replies to bytes.
 *
 * libwebsockets has the sockets in its raw role: it reads, writes, encrypts and
 * calls us; the framing of HTTP/1.1 is lib/http_head.c and lib/http_framing.c,
 * because the library's own parser takes more than two servers would read alike
 * (see ARCHITECTURE.md).  A Connection is the library's per-session data and
 * lives until LWS_CALLBACK_RAW_CLOSE.
 *
 *		HEAD ─► BODY ─► BUSY ─► HEAD …            one request at a time
 *		  └───────┴──────► LINGER ─► closed       the last reply is out; what comes in is dropped
 *		              BUSY ─► STREAM              a handler has taken the connection
 *
 * One thread, the loop's.  Nothing here waits.
 */
#include <ev.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "config.h"
#include "connection.h"
#include "lib/http_head.h"
#include "listener.h"
#include "router.h"
#include "usherd.h"

#define LINGER_BYTES       1048576 /* that come behind the last reply, before nobody listens any more */
#define STALL_SECONDS      120 /* a stream that cannot be written to for so long is over */
#define BODY_GRACE_SECONDS 5 /* before the smallest rate counts */
#define READ_AHEAD_MAX     65536 /* what a client may send behind a request that is in flight */

static struct
{
	Connection *first;
	int count, requests;
	bool draining;
} connections;

const size_t connection_size = sizeof(Connection);

static void connection_advance(Connection *c);

/*
 * Ends
 */

/* The library's own timers may sleep under a foreign loop; the end of its socket wakes it at once. */
void
connection_kill(Connection *c)
{
	c->killed = true; /* what lies in its socket is still read, and must not be carried out */
	connection_read(c, true);
	shutdown(lws_get_socket_fd(c->wsi), SHUT_RDWR);
}

void
connection_enter(Connection *c, ConnectionState state)
{
	c->state = state;
	c->since = ev_now(usherd_loop);
}

void
connection_read(Connection *c, bool on)
{
	if (c->paused == !on)
		return;
	c->paused = !on;
	lws_rx_flow_control(c->wsi, on ? 1 : 0);
}

void
connection_linger(Connection *c, double seconds)
{
	connection_enter(c, STATE_LINGER);
	c->patience = seconds;
	c->body_received = 0;
	text_free(&c->in);
	text_free(&c->body);
	connection_read(c, !c->full);
	lws_callback_on_writable(c->wsi);
}

/* The library has nothing left to write: say that we are done, and give the client time to read it. */
static int
linger_drained(Connection *c)
{
	if (c->drained)
		return 0;
	c->drained = true;
	c->since = ev_now(usherd_loop);
	c->patience = CONNECTION_LINGER_SECONDS;
	if (lws_is_ssl(c->wsi))
		return -1;
	shutdown(lws_get_socket_fd(c->wsi), SHUT_WR);
	return 0;
}

/*
 * Writing
 */

bool
connection_write_now(Connection *c, const char *data, size_t len)
{
	static Text padded; /* the library wants room in front of what it writes */

	if (c->rest && !connection_hand_over_rest(c))
		return false;
	padded.len = 0;
	text_reserve(&padded, LWS_PRE + len + 1);
	memcpy(padded.data + LWS_PRE, data, len);
	if (lws_write(c->wsi, (unsigned char *) padded.data + LWS_PRE, len, LWS_WRITE_RAW) < 0)
	{
		connection_kill(c);
		return false;
	}
	if (padded.size > 4 * 1024 * 1024)
		text_free(&padded);
	if (lws_partial_buffered(c->wsi))
		connection_wait_for_reader(c);
	return true;
}

void
connection_reply(Connection *c, const char *data, size_t len, bool close)
{
	bool ok = connection_write_now(c, data, len);

	c->request = NULL;
	connections.requests--;
	if (!ok)
		return;
	if (close || !c->keep_alive)
	{
		connection_linger(c, config.idle_timeout_seconds);
		return;
	}
	connection_enter(c, STATE_HEAD);
	connection_read(c, !c->full);
	if (!c->full && !c->advancing && c->in.len > 0)
		connection_advance(c);
}

bool
connection_keeps_alive(const Connection *c)
{
	return c->keep_alive && !connections.draining;
}

/*
 * From a head to a request
 */

/* The request in flight ends with a problem, and the connection with it: nobody knows where a next one begins. */
static void
refuse(Connection *c, int status, const char *kind, const char *detail)
{
	c->keep_alive = false;
	reply_problem(c->request, status, kind, NULL, "%s", detail);
}

static void
refuse_head(Connection *c, HttpHeadResult result)
{
	static const HttpHead nothing = {.nfields = 0};

	c->request = request_make(&nothing, &c->peer);
	c->request->connection = c;
	c->request->method_name = (Slice){"-", 1};
	c->request->target = (Slice){"-", 1};
	connections.requests++;
	connection_enter(c, STATE_BUSY);
	if (result == HTTP_HEAD_VERSION)
		refuse(c, 505, "http-version", "only the versions 1.0 and 1.1 of HTTP are spoken here");
	else if (result == HTTP_HEAD_FIELDS || result == HTTP_HEAD_MORE)
		refuse(c, 431, "headers-too-large", "the head of the request is too large");
	else
		refuse(c, 400, "malformed-request", "the head of the request is malformed");
}

/* Which of two would count is anybody's guess.  false: the request was refused. */
static bool
check_single(Connection *c, const HttpHead *head)
{
	static const char *const names[] = {"authorization",   "content-type",     "expected-version",
										"idempotency-key", "content-encoding", "expect",
										"usher-after",     "last-event-id"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		bool twice;

		http_head_field(head, names[i], &twice);
		if (!twice)
			continue;
		refuse(c, 400, "malformed-request", "a field that may stand once stands twice");
		return false;
	}
	return true;
}

/* How the body is framed; false: it was refused. */
static bool
begin_body(Connection *c, const HttpHead *head)
{
	bool twice_length, twice_encoding;
	Slice length = http_head_field(head, "content-length", &twice_length);
	Slice encoding = http_head_field(head, "transfer-encoding", &twice_encoding);
	Slice expect = request_header(c->request, "expect");
	FramingFault fault = framing_of(length, twice_length, encoding, twice_encoding,
									head->minor_version, config.body_bytes_max, &c->framing);

	if (fault != FRAMING_OK)
	{
		refuse(c, framing_status(fault),
			   fault == FRAMING_TOO_LARGE ? "body-too-large" : "malformed-framing",
			   framing_message(fault));
		return false;
	}
	if (expect.data != NULL && !slice_is_nocase(expect, "100-continue"))
	{
		refuse(c, 417, "expectation-failed",
			   "the only expectation that is met is \"100-continue\"");
		return false;
	}
	c->body_missing = c->framing.chunked ? 0 : c->framing.length;
	c->body_received = 0;
	chunked_begin(&c->chunks, config.body_bytes_max);
	connection_enter(c, STATE_BODY);
	return true;
}

/* The client waits with its body until it is told to go on; it was, unless the body is here already. */
static void
tell_continue(Connection *c)
{
	Slice expect = request_header(c->request, "expect");

	if (expect.data != NULL && c->in.len == 0 && (c->framing.chunked || c->body_missing > 0))
		connection_write_now(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

static void
consume(Connection *c, size_t used)
{
	c->in.len -= used;
	c->scanned = 0;
	if (c->in.len == 0)
		text_free(&c->in); /* an idle connection holds no memory */
	else if (used > 0)
		memmove(c->in.data, c->in.data + used, c->in.len);
}

/* false: more bytes are needed, or the connection ends. */
static bool
advance_head(Connection *c)
{
	HttpHead head;
	size_t used = 0;
	HttpHeadResult result = http_head_parse(c->in.data, c->in.len, c->scanned, &head, &used);

	if (result == HTTP_HEAD_MORE && used <= (size_t) config.header_bytes_max)
	{
		c->scanned = used;
		return false;
	}
	if (result == HTTP_HEAD_OK && used > (size_t) config.header_bytes_max)
		result = HTTP_HEAD_FIELDS;
	if (result != HTTP_HEAD_OK)
	{
		refuse_head(c, result);
		return false;
	}
	c->request = request_make(&head, &c->peer);
	c->request->connection = c;
	connections.requests++;
	c->keep_alive = !connections.draining &&
					(head.minor_version > 0
						 ? !http_head_list_has(&head, "connection", "close")
						 : http_head_list_has(&head, "connection", "keep-alive"));
	if (!check_single(c, &head) || !begin_body(c, &head))
		return false;
	/* Behind this the head's slices point nowhere: the request has copies. */
	consume(c, used);
	tell_continue(c);
	return true;
}

static void
dispatch(Connection *c)
{
	Request *request = c->request;

	if (c->body.len > 0)
	{
		request->body = (Slice){arena_copy(&request->arena, c->body.data, c->body.len),
								c->body.len};
		text_free(&c->body);
	}
	else
		request->body = (Slice){"", 0};
	connection_enter(c, STATE_BUSY);
	if (connections.requests > config.requests_in_flight_max)
		reply_unavailable(request, "too-many-requests-in-flight",
						  "the server has as many requests as it takes");
	else
		router_dispatch(request, c->admin);
}

/* false: more bytes are needed, or the body was refused. */
static bool
read_chunks(Connection *c)
{
	const char *at = c->in.data ? c->in.data : "";
	size_t left = c->in.len;
	ChunkedResult result;
	Slice payload;

	while ((result = chunked_next(&c->chunks, &at, &left, &payload)) == CHUNKED_DATA)
		text_add(&c->body, payload.data, payload.len);
	consume(c, c->in.len - left);
	if (result == CHUNKED_INVALID)
		refuse(c, 400, "malformed-framing", "the chunked body is malformed");
	else if (result == CHUNKED_TOO_LARGE)
		refuse(c, 413, "body-too-large", "the body is larger than this server takes");
	return result == CHUNKED_DONE;
}

static bool
read_length(Connection *c)
{
	size_t take = (int64_t) c->in.len < c->body_missing ? c->in.len : (size_t) c->body_missing;

	if (take > 0)
	{
		text_add(&c->body, c->in.data, take);
		consume(c, take);
		c->body_missing -= (int64_t) take;
	}
	return c->body_missing == 0;
}

static bool
advance_body(Connection *c)
{
	if (!(c->framing.chunked ? read_chunks(c) : read_length(c)))
		return false;
	dispatch(c);
	return true;
}

/* Does with what was read all that can be done now. */
static void
connection_advance(Connection *c)
{
	bool more = true;

	c->advancing = true;
	while (more)
	{
		if (c->state == STATE_HEAD)
			more = !c->full && c->in.len > 0 && advance_head(c);
		else if (c->state == STATE_BODY)
			more = advance_body(c);
		else
			more = false;
	}
	c->advancing = false;
	if (c->state == STATE_BUSY && c->in.len > READ_AHEAD_MAX)
		connection_read(c, false);
}

static void
received(Connection *c, const char *data, size_t len)
{
	if (c->killed)
		return;
	switch (c->state)
	{
		case STATE_LINGER:
			c->body_received += (int64_t) len;
			if (c->body_received > LINGER_BYTES)
				connection_kill(c);
			return;
		case STATE_STREAM:
			c->ops->on_data(c->stream, data, len);
			return;
		case STATE_HEAD:
			if (c->in.len == 0)
				c->since = ev_now(usherd_loop);
			break;
		case STATE_BODY:
			c->body_received += (int64_t) len;
			break;
		case STATE_BUSY:
			break;
	}
	text_add(&c->in, data, len);
	connection_advance(c);
}

/* All that was written is out. */
static int
writable(Connection *c)
{
	bool was_full = c->full;

	if (!connection_write_rest(c))
		return 0;
	c->full = false;
	c->choked = 0;
	if (was_full)
		connection_read(c, true);
	if (c->state == STATE_LINGER)
		return linger_drained(c);
	if (c->state == STATE_STREAM && c->ops->on_writable)
		c->ops->on_writable(c->stream);
	else if (c->state == STATE_HEAD && was_full)
	{
		c->since = ev_now(usherd_loop);
		connection_advance(c);
	}
	return 0;
}

/*
 * The library's callback
 */

static int
adopted(Connection *c, struct lws *wsi)
{
	c->wsi = wsi;
	c->peer = connection_peer(lws_get_socket_fd(wsi));
	c->admin = strcmp(lws_get_vhost_name(lws_get_vhost(wsi)), CONNECTION_ADMIN_VHOST) == 0;
	c->next = connections.first;
	if (c->next)
		c->next->previous = c;
	connections.first = c;
	connections.count++;
	connection_enter(c, STATE_HEAD);
	if (c->admin)
		return 0;
	if (connections.count > config.connections_max || !limit_address_allowed(&c->peer))
		return -1;
	c->counted = limit_connect(&c->peer);
	return c->counted ? 0 : -1;
}

static void
closed(Connection *c)
{
	Request *request = c->request;

	if (c->previous)
		c->previous->next = c->next;
	else if (connections.first == c)
		connections.first = c->next;
	else
		return; /* never adopted */
	if (c->next)
		c->next->previous = c->previous;
	connections.count--;
	if (c->counted)
		limit_disconnect(&c->peer);
	text_free(&c->in);
	text_free(&c->body);
	if (c->rest)
		frame_release(c->rest);
	if (c->state == STATE_STREAM)
		c->ops->on_close(c->stream);
	else if (request != NULL)
	{
		connections.requests--;
		request->connection = NULL;
		if (c->state == STATE_BODY)
			request_free(request);
		else if (request->on_gone)
			request->on_gone(request);
	}
}

int
connection_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
					size_t len)
{
	Connection *c = user;

	switch (reason)
	{
		case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
			listener_tls(user);
			return 0;
		case LWS_CALLBACK_RAW_ADOPT:
			return adopted(c, wsi);
		case LWS_CALLBACK_RAW_RX:
			received(c, in, len);
			return 0;
		case LWS_CALLBACK_RAW_WRITEABLE:
			return writable(c);
		case LWS_CALLBACK_RAW_CLOSE:
			if (c != NULL)
				closed(c);
			return 0;
		default:
			return 0;
	}
}

/*
 * Time
 */

static bool
too_slow(const Connection *c, double now)
{
	double age = now - c->since;

	switch (c->state)
	{
		case STATE_HEAD:
			return age > (c->in.len > 0 && !c->full ? config.header_timeout_seconds
													: config.idle_timeout_seconds);
		case STATE_BODY:
			return age > config.body_timeout_seconds ||
				   (age > BODY_GRACE_SECONDS &&
					(double) c->body_received < age * config.body_rate_min);
		case STATE_LINGER:
			return age > c->patience;
		case STATE_STREAM:
			return c->choked > 0 && now - c->choked > STALL_SECONDS;
		default:
			return false;
	}
}

/* One walk over all connections is cheaper than a timer for each. */
void
connections_sweep(double now)
{
	for (Connection *c = connections.first, *next; c; c = next)
	{
		next = c->next;
		if (!too_slow(c, now))
			continue;
		if (c->state == STATE_BODY)
			refuse(c, 408, "too-slow", "the body came too slowly");
		else
			connection_kill(c);
	}
}

void
connections_drain(void)
{
	connections.draining = true;
	for (Connection *c = connections.first; c; c = c->next)
	{
		if (c->state == STATE_HEAD && c->full)
			connection_linger(c, config.idle_timeout_seconds);
		else if (c->state == STATE_HEAD && c->in.len == 0)
			connection_kill(c);
		else
			c->keep_alive = false;
	}
}

void
connection_request_ended(void)
{
	connections.requests--;
}

int
listener_connections(void)
{
	return connections.count;
}

int
listener_requests(void)
{
	return connections.requests;
}
