/*
 * gateway/listener.h
 *	  Sockets: accepted by us, read, written and encrypted by libwebsockets on the loop.
 *
 * A connection reads one request at a time; what a client sends ahead waits.
 */
#ifndef USHERD_LISTENER_H
#define USHERD_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "request.h"

struct ev_loop;
typedef struct Connection Connection;

/* Opens the sockets of the configuration; false: error says why. */
extern bool listener_start(struct ev_loop *loop, char *error, size_t size);
extern void listener_stop_accepting(void);
extern bool listener_reload_certificate(void);
extern int listener_connections(void);
extern int listener_requests(void); /* in flight */
extern void
listener_close_idle(void); /* all that wait for a next request; others end with their reply */
extern void listener_stop(void);

/*
 * The reply of the request in flight, head and body: written now, or by libwebsockets when the
 * socket takes it.  close: the connection ends behind it.  The next request is read when the caller returns to the loop.
 */
extern void connection_reply(Connection *connection, const char *data, size_t len, bool close);
extern bool connection_keeps_alive(const Connection *connection);
/* Its request may go on: the body is read, if there is one, and then router_handle() is called. */
extern void connection_admitted(Connection *connection);
/* The request waits for events: it is to end when its client ends his side.  Others get their reply first. */
extern void connection_watch(Connection *connection, bool on);

/*
 * For streams (server-sent events, WebSocket): the request's handler takes the connection over.  From then
 * on bytes go to on_data, and no request is read any more; the request stays until the stream ends it.
 */
typedef struct StreamOps
{
	void (*on_data)(void *stream, const char *data, size_t len);
	void (*on_writable)(void *stream); /* asked for by connection_want_write */
	void (*on_close)(void *stream); /* the connection has ended, whoever ended it; called once */
} StreamOps;
/* data: the head of the reply. */
extern void connection_take(Connection *connection, const StreamOps *ops, void *stream,
							const char *data, size_t len);
/* Hands over what came behind the request, when the stream is ready for it; it may end the stream. */
extern void connection_feed(Connection *connection);
/* What came is for later: nothing more is read until connection_resume(), which hands it over. */
extern void connection_defer(Connection *connection, const char *data, size_t len);
extern void connection_resume(Connection *connection);
extern bool
connection_write(Connection *connection, const char *data, size_t len); /* false: it is ending */
/*
 * The same of a frame that others write, too: what the socket does not take now is kept as a user of the frame.
 * Call it only when the connection is not choked; then at most one frame waits.
 */
extern void connection_send(Connection *connection, Frame *frame);
extern bool connection_choked(Connection *connection); /* would a write be queued? */
extern void connection_want_write(Connection *connection);
extern void connection_end(Connection *connection); /* behind what was written */

/* What it holds from now on is this tenant's; NULL: of nobody whom we know (budget.h). */
extern void connection_belongs(Connection *connection, const char *tenant);
/* The stream is one of its tenant's live connections; false: that has as many as it may. */
extern bool connection_lives(Connection *connection);
/* The stream holds so many bytes for it. */
extern void connection_hold(Connection *connection, size_t bytes);
extern bool connection_has_room(const Connection *connection, size_t bytes); /* for so many more */

#endif /* USHERD_LISTENER_H */
