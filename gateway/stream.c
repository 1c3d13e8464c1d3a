/*
 * gateway/stream.c
 *	  Connections that a handler has taken over: server-sent events, WebSocket.
 *
 * From connection_take() on the bytes are the stream's, until it ends the
 * connection or its on_close() was called.
 */
#include <ev.h>
#include <libwebsockets.h>

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
	connection_request_ended();
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
	text_free(&in);
}

bool
connection_write(Connection *c, const char *data, size_t len)
{
	return c->state == STATE_STREAM && connection_write_now(c, data, len);
}

bool
connection_choked(Connection *c)
{
	if (!lws_send_pipe_choked(c->wsi))
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
