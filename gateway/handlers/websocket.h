/*
 * gateway/handlers/websocket.h
 *	  A socket from within, for the files that keep it going.
 */
#ifndef USHERD_HANDLERS_WEBSOCKET_H
#define USHERD_HANDLERS_WEBSOCKET_H

#include "../lib/websocket.h"
#include "../live.h"

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

extern void socket_send(Socket *socket, WebsocketOpcode opcode, const char *data, size_t len);
extern void socket_send_text(Socket *socket, Text *text); /* and frees it */
extern void
socket_close(Socket *socket, int code, const char *reason); /* behind this it may be gone */
extern void socket_add_sub(Text *text, const Subscription *s); /* ,"sub":"…" */
extern void socket_free(Socket *socket); /* when nobody needs it any more */

/* websocket_message.c */
extern void socket_welcome(Socket *socket);
extern bool socket_within_budget(Socket *socket);
extern void socket_message(Socket *socket, Slice payload); /* behind this it may be gone */

#endif /* USHERD_HANDLERS_WEBSOCKET_H */
