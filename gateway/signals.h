/*
 * gateway/signals.h
 *	  Signals of the database (usher.signal): sent together, read once for everybody here.
 *
 * Lossy by design.  What is sent leaves in one call for all that has gathered,
 * and comes back to every gateway of the database, to this one, too, in one
 * order.  A gateway of a standby offers none.
 */
#ifndef USHERD_SIGNALS_H
#define USHERD_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/text.h"

#define SIGNAL_DATA_MAX  8000 /* bytes, as USHER_SIGNAL_DATA_MAX of the extension */
#define SIGNAL_TOPIC_MAX 255

extern void signals_start(void);
extern bool signals_offered(void); /* the database is known, and no standby */
extern bool signals_heard(void); /* the database has been asked */

/* false: dropped, for there are too many, or none are offered.  data: JSON that was checked. */
extern bool signals_send(const char *tenant, Slice topic, Slice data, const char *sender);

/* Called for each that comes; its texts live as long as the call. */
typedef struct Signal
{
	const char *tenant, *topic, *sender; /* sender: a user, or "" */
	Slice data;
} Signal;
extern void signals_on_signal(void (*callback)(const Signal *signal));

typedef struct SignalCounts
{
	int64_t sent, dropped, received, lost;
} SignalCounts;
extern SignalCounts signals_counts(void);

#endif /* USHERD_SIGNALS_H */
