/*
 * gateway/connection.c
 *	  A connection: its states and its end, what is written to it, its time.
 *
 * libwebsockets has the sockets in its raw role: it reads, writes, encrypts and
 * calls us; what is read goes to intake.c, which knows HTTP/1.1.  A Connection is
 * the library's per-session data and lives until LWS_CALLBACK_RAW_CLOSE.
 *
 *		HEAD ─► CHECK ─► BODY ─► BUSY ─► HEAD …   one request at a time
 *		  │       └► SKIP ─► HEAD …               refused by its head: its body is read and dropped
 *		  └───────┴───────┴──────► LINGER ─► closed   the last reply is out; what comes in is dropped
 *		                      BUSY ─► STREAM      a handler has taken the connection
 *
 * One thread, the loop's.  Nothing here waits.
 */
#include <errno.h>
#include <ev.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "config.h"
#include "connection.h"
#include "listener.h"
#include "usherd.h"

#define LINGER_BYTES       1048576 /* that come behind the last reply, before nobody listens any more */
#define STALL_SECONDS      120 /* a stream that cannot be written to for so long is over */
#define BODY_GRACE_SECONDS 5 /* before the smallest rate counts */

static struct
{
	Connection *first;
	int count, requests;
	bool draining;
} connections;

const size_t connection_size = sizeof(Connection);

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
	connection_use(c, c->in.len);
	text_free(&c->body);
	c->stream_holds = 0;
	connection_account(c);
	connection_read(c, !c->full);
	lws_callback_on_writable(c->wsi);
}

/* An idle connection holds no memory. */
void
connection_use(Connection *c, size_t used)
{
	bool ours = c->in.size > 0;

	c->in.len -= used;
	if (c->in.len == 0 && ours)
		text_free(&c->in);
	else if (ours && used > 0)
		memmove(c->in.data, c->in.data + used, c->in.len);
	else if (!ours)
		c->in.data = c->in.len > 0 ? c->in.data + used : NULL;
}

/* What it holds, as far as it grows with what the client does (budget.h). */
void
connection_account(Connection *c)
{
	int64_t holds = (int64_t) (c->in.size + c->body.size + c->unsent + c->stream_holds);

	if (holds == c->holds)
		return;
	budget_change(c->share, holds - c->holds);
	c->holds = holds;
}

void
connection_belongs(Connection *c, const char *tenant)
{
	BudgetShare *share = budget_share(tenant);

	budget_change(c->share, -c->holds);
	budget_change(share, c->holds);
	if (c->lives)
	{
		budget_live(c->share, -1);
		budget_live(share, 1);
	}
	budget_release(c->share);
	c->share = share;
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

/* What a plain socket takes at once goes there without a copy; how much, or -1: it is broken. */
static ssize_t
write_plain(Connection *c, const char *data, size_t len)
{
	ssize_t written;

	if (lws_is_ssl(c->wsi) || lws_partial_buffered(c->wsi))
		return 0;
	written = send(lws_get_socket_fd(c->wsi), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (written >= 0)
		return written;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

bool
connection_write_now(Connection *c, const char *data, size_t len)
{
	static Text padded; /* the library wants room in front of what it writes */
	ssize_t written;

	if (c->rest && !connection_hand_over_rest(c))
		return false;
	written = write_plain(c, data, len);
	if (written == (ssize_t) len)
		return true;
	if (written < 0)
	{
		connection_kill(c);
		return false;
	}
	data += written;
	len -= (size_t) written;
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
	{
		c->unsent += len; /* or a part of it; until all is out */
		connection_account(c);
		connection_wait_for_reader(c);
	}
	return true;
}

void
connection_reply(Connection *c, const char *data, size_t len, bool close)
{
	bool ok = connection_write_now(c, data, len);

	c->request = NULL;
	c->watched = false;
	connection_request_ended(c);
	if (!ok)
		return;
	if (close || !c->keep_alive)
	{
		connection_linger(c, config.idle_timeout_seconds);
		return;
	}
	connection_enter(c, c->unread ? STATE_SKIP : STATE_HEAD);
	text_free(&c->body);
	connection_account(c);
	connection_read(c, !c->full);
	if (!c->full && !c->advancing && c->in.len > 0)
		connection_advance(c);
}

/* A client that was not told to go on may send its body or a next request: nobody knows which. */
bool
connection_keeps_alive(const Connection *c)
{
	return c->keep_alive && !connections.draining && !(c->unread && c->expects);
}

void
connection_watch(Connection *c, bool on)
{
	c->watched = on;
	if (!c->advancing)
		intake_pause(c);
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
		case STATE_SKIP:
			c->body_received += (int64_t) len;
			break;
		case STATE_CHECK:
		case STATE_BUSY:
			break;
	}
	if (c->in.size > 0)
		text_add(&c->in, data, len);
	else
		c->in = (Text){(char *) data, len, 0};
	connection_advance(c);
	if (c->in.size == 0 && c->in.len > 0)
	{
		Text kept = {0};

		text_add(&kept, c->in.data, c->in.len);
		c->in = kept;
		connection_account(c);
	}
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
	c->unsent = 0;
	connection_account(c);
	if (was_full)
		connection_read(c, true);
	if (c->state == STATE_LINGER)
		return linger_drained(c);
	if (c->state == STATE_STREAM && c->ops->on_writable)
		c->ops->on_writable(c->stream);
	else if (was_full)
	{
		if (c->state == STATE_HEAD)
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
	connection_use(c, c->in.len);
	text_free(&c->body);
	if (c->rest)
		frame_release(c->rest);
	c->unsent = c->stream_holds = 0;
	connection_account(c);
	if (request != NULL)
		connection_request_ended(c);
	if (c->lives)
		budget_live(c->share, -1);
	budget_release(c->share);
	c->share = NULL;
	if (c->state == STATE_STREAM)
		c->ops->on_close(c->stream);
	else if (request != NULL)
	{
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
		case STATE_SKIP:
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
		if (too_slow(c, now))
			intake_too_slow(c);
	}
}

void
connections_drain(void)
{
	connections.draining = true;
	for (Connection *c = connections.first; c; c = c->next)
	{
		if (c->state == STATE_SKIP || (c->state == STATE_HEAD && c->full))
			connection_linger(c, config.idle_timeout_seconds);
		else if (c->state == STATE_HEAD && c->in.len == 0)
			connection_kill(c);
		else
			c->keep_alive = false;
	}
}

bool
connection_draining(void)
{
	return connections.draining;
}

void
connection_request_begins(void)
{
	connections.requests++;
}

void
connection_request_ended(Connection *c)
{
	connections.requests--;
	if (c->requesting)
		budget_request(c->share, -1);
	c->requesting = false;
}

bool
connection_request_admitted(Connection *c)
{
	if (!budget_has_request(c->share, connections.requests))
		return false;
	budget_request(c->share, 1);
	c->requesting = true;
	return true;
}

bool
connection_lives(Connection *c)
{
	int left = config.connections_max - connections.count;

	if (c->lives)
		return true;
	if (!budget_has_live(c->share, left > 0 ? left : 0))
		return false;
	budget_live(c->share, 1);
	c->lives = true;
	return true;
}

bool
connection_requests_too_many(void)
{
	return connections.requests > config.requests_in_flight_max;
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
