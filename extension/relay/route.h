/*
 * extension/relay/route.h
 *	  Which events a sink gets, and under which topic and key.
 *
 * Loaded once for a configuration, then asked for every event: by the relay
 * workers, and by usher.explain_route in a backend.  Asking allocates nothing
 * that it does not free.
 */
#ifndef USHER_RELAY_ROUTE_H
#define USHER_RELAY_ROUTE_H

#include "usher.h"

#include "lib/template.h"

#include "utils/jsonb.h"

#define USHER_TOPIC_MAX 249 /* bytes, Kafka's limit */
#define USHER_KEY_MAX   1023 /* bytes of a rendered key */

/* What data or metadata must contain: scalars by their names, inner objects, arrays as a whole. */
typedef struct UsherFilter UsherFilter;

typedef struct UsherRoute
{
	int64 route_id;
	int32 priority;
	char *pattern;
	int pattern_len;
	bool exact; /* without any asterisk */
	bool everything; /* "*" or "**" */
	bool tombstones; /* the end of a stream is a message without a body */
	UsherTemplate topic, key; /* a key without parts: messages without keys */
	/* parts of the filter, each NULL when it is absent */
	text *type, *stream;
	UsherFilter *data, *metadata;
} UsherRoute;

/* All routes of one sink, in the order of their precedence. */
typedef struct UsherRoutes
{
	int count;
	UsherRoute *routes;
	MemoryContext scratch;
} UsherRoutes;

typedef struct UsherRouteEvent
{
	int32 tenant_id;
	const text *tenant, *stream, *category, *type, *topic, *key; /* NULL: none */
	Jsonb *data, *metadata;
} UsherRouteEvent;

typedef enum UsherRouteResult
{
	ROUTE_NONE, /* the sink does not get this event */
	ROUTE_OK,
	ROUTE_NO_TOPIC /* a place of the topic has no value, or it is empty or too long */
} UsherRouteResult;

/* Runs in a transaction; everything lives in `context`. */
extern UsherRoutes *usher_routes_load(int32 sink_id, MemoryContext context);

/*
 * The first route that matches: topic[USHER_TOPIC_MAX + 1], zero-terminated, and
 * key[USHER_KEY_MAX + 1]; *key_len is -1 without a key.  *route is NULL for the
 * default: {topic} and {key}.  With ROUTE_NO_TOPIC the topic is empty.
 */
extern UsherRouteResult
usher_route_event(const UsherRoutes *routes, const UsherRouteEvent *event, char *topic,
				  int *topic_len, char *key, int *key_len, const UsherRoute **route);

/* Raise US018 unless a route may have this topic, key and filter (NULL: none). */
extern void usher_route_check(const text *topic, const text *key, Jsonb *filter);

#endif /* USHER_RELAY_ROUTE_H */
