/*
 * extension/relay/ring.h
 *	  The messages of a memory sink: a ring in dynamic shared memory.
 *
 * Bounded in messages and bytes; the oldest are dropped and counted.  It lives
 * until the server stops or the sink is dropped.  Relay workers write (the
 * first lane makes it), any backend reads, under the lock in the ring.
 */
#ifndef USHER_RELAY_RING_H
#define USHER_RELAY_RING_H

#include "usher.h"

#include "storage/dsm.h"
#include "storage/lwlock.h"

#define USHER_RING_MESSAGES 10000
#define USHER_RING_BYTES    (16 * 1024 * 1024)

typedef struct UsherRing
{
	LWLock lock;
	uint64 first,
		next; /* bytes ever written: the oldest message kept begins at first, the next one goes to next */
	int64 count; /* messages kept */
	int64 added, dropped; /* ever */
	char bytes[FLEXIBLE_ARRAY_MEMBER];
} UsherRing;

/* What stands in the ring before a message's texts, which follow each other: topic, key, headers, body. */
typedef struct UsherRingMessage
{
	uint32 size; /* of all of it */
	int32 topic_len, key_len, headers_len, body_len; /* key and body: -1: none */
	int64 number; /* counts messages of this ring, from 1 */
	int64 position;
	TimestampTz added_at;
} UsherRingMessage;

extern UsherRing *usher_ring_create(dsm_handle *handle);
extern UsherRing *usher_ring_attach(dsm_handle handle, dsm_segment **segment);

/* headers: a JSON object.  False: it does not fit at all. */
extern bool usher_ring_add(UsherRing *ring, UsherRingMessage *message, const char *topic,
						   const char *key, const char *headers, const char *body);

/* Copy the message that begins at *at into memory of the caller's, and move behind it; NULL: no more. */
extern UsherRingMessage *usher_ring_get(UsherRing *ring, uint64 *at);

#endif /* USHER_RELAY_RING_H */
