/*
 * gateway/catalog.h
 *	  ETags of what is on sale, by position: the last change of a tenant's events, shows, zones and prices (categories have no events).
 *
 * Who has the newest is told so (304) without a question to the database.  A
 * change is known here as soon as the tail of the log has brought its event,
 * whichever gateway or session made it.
 */
#ifndef USHERD_CATALOG_H
#define USHERD_CATALOG_H

#include "request.h"

extern void catalog_start(void);
/*
 * Gives the reply of a read its ETag; variant: what else it depends on.  true: the client has it, and 304 was
 * replied.  A read that asks for a position (Usher-After) is never answered so.
 */
extern bool catalog_known(Request *request, char variant);

#endif /* USHERD_CATALOG_H */
