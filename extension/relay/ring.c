/*
 * extension/relay/ring.c
 *	  The messages of a memory sink: a ring in dynamic shared memory.
 */
#include "relay/ring.h"

#include "shmem.h"

#include "utils/memutils.h"

/* Pinned: it outlives the worker that makes it. */
UsherRing *
usher_ring_create(dsm_handle *handle)
{
	dsm_segment *segment = dsm_create(offsetof(UsherRing, bytes) + USHER_RING_BYTES, 0);
	UsherRing *ring = dsm_segment_address(segment);

	memset(ring, 0, sizeof(*ring));
	LWLockInitialize(&ring->lock, usher_shared->lock->tranche);
	dsm_pin_segment(segment);
	dsm_pin_mapping(segment);
	*handle = dsm_segment_handle(segment);
	return ring;
}

/* *segment: to be detached by the caller; NULL when this process has it mapped already. */
UsherRing *
usher_ring_attach(dsm_handle handle, dsm_segment **segment)
{
	dsm_segment *known = dsm_find_mapping(handle);

	*segment = known ? NULL : dsm_attach(handle);
	if (known == NULL && *segment == NULL)
		return NULL;
	return dsm_segment_address(known ? known : *segment);
}

static void
ring_write(UsherRing *ring, uint64 at, const void *from, size_t len)
{
	size_t offset = at % USHER_RING_BYTES;
	size_t first = Min(len, USHER_RING_BYTES - offset);

	memcpy(ring->bytes + offset, from, first);
	memcpy(ring->bytes, (const char *) from + first, len - first);
}

static void
ring_read(const UsherRing *ring, uint64 at, void *to, size_t len)
{
	size_t offset = at % USHER_RING_BYTES;
	size_t first = Min(len, USHER_RING_BYTES - offset);

	memcpy(to, ring->bytes + offset, first);
	memcpy((char *) to + first, ring->bytes, len - first);
}

static void
drop_oldest(UsherRing *ring)
{
	uint32 size;

	ring_read(ring, ring->first, &size, sizeof(size));
	ring->first += size;
	ring->count--;
	ring->dropped++;
}

bool
usher_ring_add(UsherRing *ring, UsherRingMessage *message, const char *topic, const char *key,
			   const char *headers, const char *body)
{
	uint64 at;
	size_t size = sizeof(*message) + message->topic_len + Max(message->key_len, 0) +
				  message->headers_len + Max(message->body_len, 0);

	if (size > USHER_RING_BYTES)
		return false;
	message->size = (uint32) size;
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	while (ring->count > 0 && (ring->count >= USHER_RING_MESSAGES ||
							   ring->next + size - ring->first > USHER_RING_BYTES))
		drop_oldest(ring);
	message->number = ++ring->added;
	at = ring->next;
	ring_write(ring, at, message, sizeof(*message));
	at += sizeof(*message);
	ring_write(ring, at, topic, message->topic_len);
	at += message->topic_len;
	if (message->key_len > 0)
		ring_write(ring, at, key, message->key_len);
	at += Max(message->key_len, 0);
	ring_write(ring, at, headers, message->headers_len);
	at += message->headers_len;
	if (message->body_len > 0)
		ring_write(ring, at, body, message->body_len);
	ring->next += size;
	ring->count++;
	LWLockRelease(&ring->lock);
	return true;
}

/* Call with the lock held, *at beginning with ring->first. */
UsherRingMessage *
usher_ring_get(UsherRing *ring, uint64 *at)
{
	uint32 size;
	UsherRingMessage *message;

	if (*at >= ring->next)
		return NULL;
	ring_read(ring, *at, &size, sizeof(size));
	message = palloc(size);
	ring_read(ring, *at, message, size);
	*at += size;
	return message;
}
