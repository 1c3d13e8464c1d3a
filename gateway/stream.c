/*
 * gateway/stream.c
 *	  Connections that a handler has taken over: server-sent events, WebSocket.
 *
 * From connection_take() on the bytes are the stream's, until it ends the
 * connection or its on_close() was called.
 */
#include <errno.h>
#include <ev.h>
#include <libwebsockets.h>
#include <sys/socket.h>

#include "connection.h"
#include "listener.h"
#include "usherd.h"

void
connection_take(Connection *c, const StreamOps *ops, void *stream, const char *data, size_t len)
{
	connection_enter(c, STATE_STREAM);
	c->ops = ops;
	c->stream = stream;
	c->request = NULL;
	connection_request_ended(c);
	connection_read(c, true);
	connection_write_now(c, data, len);
}

void
connection_feed(Connection *c)
{
	Text in = c->in;

	c->in = (Text){0};
	if (c->state == STATE_STREAM && in.len > 0)
		c->ops->on_data(c->stream, in.data, in.len);
	if (in.size > 0)
		text_free(&in);
	connection_account(c);
}

void
connection_defer(Connection *c, const char *data, size_t len)
{
	text_add(&c->in, data, len);
	connection_account(c);
	connection_read(c, false);
}

void
connection_resume(Connection *c)
{
	connection_read(c, !c->full);
	connection_feed(c);
}

bool
connection_write(Connection *c, const char *data, size_t len)
{
	return c->state == STATE_STREAM && connection_write_now(c, data, len);
}

/*
 * Frames
 *
 * They go to the socket directly, because the library would copy what the socket does not take, for each
 * connection; we keep the frame, which is one for all. With TLS it is the library's business.
 */

/*
 * So one frame waits in memory and not one for each request that the client sends.  The library does not read
 * while it has something to write, either, but would be woken for what there is.
 */
void
connection_wait_for_reader(Connection *c)
{
	if (!c->full)
	{
		c->full = true;
		connection_read(c, false);
	}
	lws_callback_on_writable(c->wsi);
}

static void
keep_rest(Connection *c, Frame *frame, size_t at)
{
	if (c->rest == NULL)
		c->rest = frame_keep(frame);
	c->rest_at = at;
	c->choked = ev_now(usherd_loop);
	connection_wait_for_reader(c);
}

static void
drop_rest(Connection *c)
{
	Frame *rest = c->rest;

	c->rest = NULL;
	if (rest)
		frame_release(rest);
}

/* As much as the socket takes; true: all. */
static bool
write_frame(Connection *c, Frame *frame, size_t at)
{
	ssize_t written = send(lws_get_socket_fd(c->wsi), frame->data + at, frame->len - at,
						   MSG_NOSIGNAL | MSG_DONTWAIT);

	if (written < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
	{
		drop_rest(c);
		connection_kill(c);
		return false;
	}
	if (written > 0)
		at += (size_t) written;
	if (at < frame->len && c->rest == NULL && !frame_hold(frame, c->share))
	{
		connection_kill(c); /* it comes back, with its position, when there is room */
		return false;
	}
	if (at < frame->len)
	{
		if (c->rest == NULL || at > c->rest_at)
			keep_rest(c, frame, at);
		else
			lws_callback_on_writable(c->wsi);
		return false;
	}
	return true;
}

void
connection_send(Connection *c, Frame *frame)
{
	if (c->state != STATE_STREAM || c->killed)
		return;
	if (lws_is_ssl(c->wsi) || c->rest || lws_partial_buffered(c->wsi))
		connection_write_now(c, frame->data, frame->len);
	else
		write_frame(c, frame, 0);
}

bool
connection_write_rest(Connection *c)
{
	if (c->rest == NULL)
		return true;
	if (c->killed || !write_frame(c, c->rest, c->rest_at))
		return false;
	drop_rest(c);
	return true;
}

bool
connection_hand_over_rest(Connection *c)
{
	Frame *rest = c->rest;
	bool ok;

	c->rest = NULL;
	ok = connection_write_now(c, rest->data + c->rest_at, rest->len - c->rest_at);
	frame_release(rest);
	return ok;
}

/* Of a plain socket that took all it was given it is only known when it is given more. */
bool
connection_choked(Connection *c)
{
	if (c->rest)
		return true;
	if (lws_is_ssl(c->wsi) ? !lws_send_pipe_choked(c->wsi) : !lws_partial_buffered(c->wsi))
		c->choked = 0;
	else if (c->choked == 0)
		c->choked = ev_now(usherd_loop);
	return c->choked > 0;
}

void
connection_want_write(Connection *c)
{
	lws_callback_on_writable(c->wsi);
}

void
connection_hold(Connection *c, size_t bytes)
{
	c->stream_holds = bytes;
	connection_account(c);
}

bool
connection_has_room(const Connection *c, size_t bytes)
{
	if (budget_has_room(c->share, (int64_t) bytes))
		return true;
	budget_refused();
	return false;
}

void
connection_end(Connection *c)
{
	if (c->state == STATE_STREAM)
	{
		const StreamOps *ops = c->ops;
		void *stream = c->stream;

		connection_linger(c, CONNECTION_LINGER_SECONDS); /* what it misses it can resume behind */
		ops->on_close(stream);
	}
	else
		connection_kill(c);
}
