/*
 * gateway/lib/event_filter.h
 *	  What a subscription of a client wants: patterns of types and streams, and values of members.
 *
 * Pure C.  clients/js/match.js says the same; test/vectors/match.json is tried with both.
 */
#ifndef USHERD_EVENT_FILTER_H
#define USHERD_EVENT_FILTER_H

#include <stdbool.h>

#include "json_check.h"
#include "text.h"

#define FILTER_PATTERNS_MAX 32
#define FILTER_MEMBERS_MAX  16
#define FILTER_VALUES_MAX   100

typedef struct EventFilter
{
	const Slice *types; /* any of them, of the type or of the topic; none: all */
	int ntypes;
	const Slice *streams; /* any of them; none: all, also events without a stream */
	int nstreams;
	JsonValue
		members; /* {"data.show": 7, "metadata.user_id": ["a", "b"]}: all of them; or JSON_NONE */
} EventFilter;

/* A copy in one piece of memory behind `room` bytes of the caller's; for free().  *copy points into it. */
extern void *filter_copy(const EventFilter *filter, size_t room, EventFilter *copy);

typedef struct FilterEvent
{
	Slice type, topic, stream; /* absent ones: len 0 */
	Slice json; /* the whole event, for members */
} FilterEvent;

/* Is it an object of scalars, or of arrays of scalars, and not too large?  NULL: it is; else what is wrong. */
extern const char *filter_members_fault(JsonValue members);

extern bool filter_wants(const EventFilter *filter, const FilterEvent *event);

#endif /* USHERD_EVENT_FILTER_H */
