/*
 * gateway/handlers/websocket.h
 *	  A socket from within, for the files that keep it going.
 */
#ifndef USHERD_HANDLERS_WEBSOCKET_H
#define USHERD_HANDLERS_WEBSOCKET_H

#include "../lib/json_check.h"
#include "../lib/websocket.h"
#include "../live.h"
#include "../presence.h"

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
	size_t held; /* bytes of a message that has not come to its end */
	bool begun; /* client_begin() was called */
	bool checking, freed;
	bool reading; /* on_data() works with it */
	Address address; /* where it comes from, which its wrong tokens count for */
	struct PendingSnapshot *snapshots; /* of subscriptions that are to begin behind them */
	Join *joins; /* topics whose members it hears of */
	int njoins;
} Socket;

extern void socket_send(Socket *socket, WebsocketOpcode opcode, const char *data, size_t len);
extern void socket_send_text(Socket *socket, Text *text); /* and frees it */
extern void
socket_close(Socket *socket, int code, const char *reason); /* behind this it may be gone */
extern void socket_add_sub(Text *text, const Subscription *s); /* ,"sub":"…" */
extern void socket_free(Socket *socket); /* when nobody needs it any more */

/* websocket_message.c */
extern void
socket_error(Socket *socket, int64_t ref, int status, const char *kind, const char *detail);
extern bool
socket_admit(Socket *socket, Identity *identity); /* takes it over; false: the socket may be gone */
extern bool socket_within_budget(Socket *socket);
extern void socket_message(Socket *socket, Slice payload); /* behind this it may be gone */

extern void socket_confirm(Socket *socket, int64_t ref, Slice sub, const EventFilter *filter,
						   int64_t after, const Slice *snapshot);

/* websocket_snapshot.c */
extern const char *snapshot_fault(JsonValue snapshot); /* NULL, or what is wrong with it */
/* Begins a subscription behind a snapshot; the filter is taken over, with what it is made of. */
extern void
snapshot_subscribe(Socket *socket, int64_t ref, Slice sub, LiveFilter *filter, JsonValue snapshot);
extern bool snapshot_pending(const Socket *socket, Slice sub);
extern void snapshot_cancel(Socket *socket, Slice sub);

/* websocket_presence.c */
extern void
message_join(Socket *socket, int64_t ref, Slice topic, JsonValue state, JsonValue listen);
extern void message_leave(Socket *socket, int64_t ref, Slice topic);
extern void message_signal(Socket *socket, int64_t ref, Slice topic, JsonValue data);
extern void socket_check_joins(Socket *socket); /* behind a newer token */
extern void socket_refresh_joins(Socket *socket); /* each second */
extern void socket_end_joins(Socket *socket); /* with the socket */
extern bool socket_deliver(void *owner, const Text *frame); /* for presence.h */

#endif /* USHERD_HANDLERS_WEBSOCKET_H */
