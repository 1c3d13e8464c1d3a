/*
 * gateway/ticket.h
 *	  Tickets: who asks, for clients that cannot send headers.
 *
 * A ticket is asked for with a token or key (handlers/ticket.c) and stands for
 * it in the query of one kind of request.  The database knows its SHA-256 and
 * whom it stands for, so any gateway of the database takes it, and of several
 * that are shown one ticket for WebSocket the database lets one have it.
 */
#ifndef USHERD_TICKET_H
#define USHERD_TICKET_H

#include "identity.h"

#define TICKET_WEBSOCKET "websocket" /* once, within 30 seconds */
#define TICKET_SSE       "sse" /* until its token ends */

#define TICKET_PREFIX "ust_"
#define TICKET_DIGITS 48 /* hexadecimal ones, random */
#define TICKET_BYTES  (sizeof(TICKET_PREFIX) - 1 + TICKET_DIGITS)

/* A new one, with a zero byte behind it. */
extern void ticket_make(char ticket[TICKET_BYTES + 1]);
/* As identity_of(): whom it stands for; IDENTITY_OK comes by done() only. */
extern IdentityOutcome ticket_identity(Slice ticket, const char *kind, const Address *address,
									   const char **reason, identity_done done, void *context);

#endif /* USHERD_TICKET_H */
