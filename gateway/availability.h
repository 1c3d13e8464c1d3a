/*
 * gateway/availability.h
 *	  Free places of shows, live: for subscriptions that name the type "show.<id>.availability".
 *
 * No event says how many places are free.  When the tail of the log brings an
 * event of a show that somebody follows, whichever gateway or session wrote it,
 * boxoffice.availability is asked, at most ten times a second for a show, and
 * who follows it is told if something has changed.  Nothing is kept for a client
 * that does not read: it is told the newest numbers when it does.
 */
#ifndef USHERD_AVAILABILITY_H
#define USHERD_AVAILABILITY_H

#include "fanout.h"

/* A subscription begins; what it follows is told soon. */
extern void availability_begin(Subscription *subscription, const EventFilter *filter);
extern void availability_end(Subscription *subscription);
/* Is it such a type, and may the identity see what is on sale? */
extern bool availability_allowed(const Identity *identity, Slice type);

typedef struct AvailabilityCounts
{
	int shows, followers;
	int64_t asked, told; /* told: frames that were sent */
} AvailabilityCounts;
extern AvailabilityCounts availability_counts(void);

#endif /* USHERD_AVAILABILITY_H */
