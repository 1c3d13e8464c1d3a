/*
 * gateway/connection.h
 *	  What the listener needs of connections; handlers use listener.h.
 */
#ifndef USHERD_CONNECTION_H
#define USHERD_CONNECTION_H

#include <libwebsockets.h>

#define CONNECTION_ADMIN_VHOST \
	"admin" /* its connections reach the routes of administration, and no others */

extern const size_t connection_size; /* of the library's data for each session */
extern int connection_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
							   void *in, size_t len);
extern void connections_sweep(double now); /* each second: ends what is too slow */
extern void connections_drain(void); /* ends who is idle; the others end with their reply */

#endif /* USHERD_CONNECTION_H */
