/*
 * gateway/fanout_ring.h
 *	  The newest events of the log, as JSON, for whoever is not far behind.
 *
 * Bounded in events and in bytes; the oldest go first.  Events have numbers
 * that count on; a pointer to one is good until the next ring_push().
 */
#ifndef USHERD_FANOUT_RING_H
#define USHERD_FANOUT_RING_H

#include <stdint.h>

#include "lib/event_filter.h"
#include "tail.h"

typedef struct RingEvent
{
	int64_t position;
	char *text; /* all of it: one piece of memory */
	const char *tenant;
	FilterEvent event;
} RingEvent;

extern void ring_push(const TailEvent *event);
extern void ring_clear(int64_t position); /* nothing is known of what lies in front of position */
extern int64_t ring_floor(void); /* everything behind this position is there */
extern uint64_t
ring_find(int64_t position); /* the number of the first event behind it; ring_end(): none */
extern uint64_t ring_end(void);
extern const RingEvent *ring_event(uint64_t number);
extern int64_t ring_bytes(void);

#endif /* USHERD_FANOUT_RING_H */
