/*
 * extension/relay/filter.h
 *	  What the data or metadata of an event must contain.
 */
#ifndef USHER_RELAY_FILTER_H
#define USHER_RELAY_FILTER_H

#include "relay/route.h"

/* In the current memory context; points into the container, which must live as long. */
extern UsherFilter *usher_filter_compile(JsonbContainer *object);

/* scratch: reset after use. */
extern bool
usher_filter_match(const UsherFilter *filter, JsonbContainer *value, MemoryContext scratch);

#endif /* USHER_RELAY_FILTER_H */
