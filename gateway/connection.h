/*
 * gateway/connection.h
 *	  A connection from within, for the files that keep it going; handlers use listener.h.
 */
#ifndef USHERD_CONNECTION_H
#define USHERD_CONNECTION_H

#include <libwebsockets.h>

#include "budget.h"
#include "frame.h"
#include "lib/http_framing.h"
#include "limit.h"
#include "listener.h"

#define CONNECTION_LINGER_SECONDS 2 /* for the client to read the end of a reply that is out */
#define CONNECTION_ADMIN_VHOST \
	"admin" /* its connections reach the routes of administration, and no others */

typedef enum ConnectionState
{
	STATE_HEAD,
	STATE_CHECK,
	STATE_BODY,
	STATE_BUSY,
	STATE_SKIP,
	STATE_LINGER,
	STATE_STREAM,
} ConnectionState;

struct Connection
{
	struct lws *wsi;
	Connection *previous, *next;
	Address peer;
	bool counted; /* by limit_connect */
	bool admin;
	bool keep_alive; /* of the request in flight */
	bool killed; /* it is ending: nothing that comes counts any more */
	bool advancing;
	bool paused; /* the library does not read */
	bool full; /* the client does not read what was written: nothing is read from it until it has */
	bool drained; /* LINGER: the reply is out */
	bool unread; /* the body of the request in flight has not been read to its end */
	bool expects; /* and its sender waits for 100 Continue */
	bool watched; /* BUSY: the request waits for events, and ends when its client goes */
	double patience; /* LINGER: seconds until nobody waits any more */
	double choked; /* STREAM: since when it could not be written to; 0: it can be */
	ConnectionState state;
	double since; /* when the state began; of HEAD when its first byte came */
	Text in; /* read and not used; without a size it is the library's, until received() returns */
	size_t scanned; /* of an unfinished head */
	Text body;
	Framing framing; /* of the body that is being read */
	int64_t body_missing; /* by Content-Length */
	int64_t body_received;
	size_t unsent; /* bytes of replies that were not taken yet, at most */
	size_t stream_holds; /* STREAM: bytes of a message that has not come to its end */
	int64_t holds; /* as the budget knows it */
	bool requesting; /* its request in flight is counted as its tenant's */
	bool lives; /* it is counted as one of its tenant's live ones */
	BudgetShare *share; /* whose they are: of the tenant that was last known here */
	Chunked chunks;
	Request *request;
	const StreamOps *ops;
	void *stream;
	Frame *rest; /* STREAM: was begun, and the client has not read enough for its end */
	size_t rest_at;
};

extern void connection_enter(Connection *c, ConnectionState state);
extern void connection_use(Connection *c, size_t used); /* so many bytes of what was read */
extern void connection_kill(Connection *c); /* as soon as the loop comes to it */
/* Ends it behind what was written, which the client reads within so many seconds. */
extern void connection_linger(Connection *c, double seconds);
extern void connection_read(Connection *c, bool on);
extern bool
connection_write_now(Connection *c, const char *data, size_t len); /* false: it is ending */
/* Goes on with what was begun; true: nothing is left of it. */
extern bool connection_write_rest(Connection *c);
/* The library takes it over, because something else is to be written behind it; false: the connection is ending. */
extern bool connection_hand_over_rest(Connection *c);
/* The client does not read what was written: nothing is read from it until it has. */
extern void connection_wait_for_reader(Connection *c);
extern void connection_account(Connection *c); /* what it holds has changed */
extern bool connection_draining(void);
extern void connection_request_begins(void); /* one more in flight */
extern void connection_request_ended(Connection *c);
/* Counts it as its tenant's; false: that one has as many as it may. */
extern bool connection_request_admitted(Connection *c);
extern bool connection_requests_too_many(void);

/* intake.c */
extern void
connection_advance(Connection *c); /* does with what was read all that can be done now */
extern void intake_pause(Connection *c); /* reads behind the request in flight, or not */
extern void intake_too_slow(Connection *c);

extern const size_t connection_size; /* of the library's data for each session */
extern int connection_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
							   void *in, size_t len);
extern Address connection_peer(int fd); /* listener.c */
extern void listener_tls(SSL_CTX *tls);
extern void connections_sweep(double now); /* each second: ends what is too slow */
extern void connections_drain(void); /* ends who is idle; the others end with their reply */

#endif /* USHERD_CONNECTION_H */
