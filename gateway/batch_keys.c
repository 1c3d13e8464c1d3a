/*
 * gateway/batch_keys.c
 *	  Who holds which idempotency key of (tenant, user), and who waits for it.
 *
 * An element holds its key from when it leaves the queue until it ends.
 */
#include <string.h>

#include "batch_room.h"

#define KEY_BUCKETS 1024

static Element *holders[KEY_BUCKETS];

uint64_t
hash_bytes(uint64_t hash, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) data[i]) * 0x100000001b3u;
	return (hash ^ 0xff) * 0x100000001b3u;
}

uint64_t
key_hash_of(const AppendRequest *request)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_bytes(hash, request->tenant, strlen(request->tenant));
	hash = hash_bytes(hash, request->user_id, strlen(request->user_id));
	return hash_bytes(hash, request->idempotency_key.data, request->idempotency_key.len);
}

static bool
same_key(const AppendRequest *a, const AppendRequest *b)
{
	return a->idempotency_key.len == b->idempotency_key.len &&
		   memcmp(a->idempotency_key.data, b->idempotency_key.data, a->idempotency_key.len) == 0 &&
		   strcmp(a->tenant, b->tenant) == 0 && strcmp(a->user_id, b->user_id) == 0;
}

static void
hold(Element *element)
{
	Element **bucket = &holders[element->key_hash % KEY_BUCKETS];

	element->key_chain = *bucket;
	*bucket = element;
	element->holds_key = true;
}

bool
key_hold(Element *element)
{
	Element *holder = holders[element->key_hash % KEY_BUCKETS];

	if (element->request.idempotency_key.data == NULL || element->holds_key)
		return true;
	while (holder != NULL && (holder->key_hash != element->key_hash ||
							  !same_key(&holder->request, &element->request)))
		holder = holder->key_chain;
	if (holder == NULL)
	{
		hold(element);
		return true;
	}
	element->next = NULL;
	*(holder->waiting_last != NULL ? &holder->waiting_last->next
								   : &holder->waiting_first) = element;
	holder->waiting_last = element;
	return false;
}

Element *
key_release(Element *element)
{
	Element **at = &holders[element->key_hash % KEY_BUCKETS];
	Element *next = element->waiting_first;

	if (!element->holds_key)
		return NULL;
	while (*at != element)
		at = &(*at)->key_chain;
	*at = element->key_chain;
	element->holds_key = false;
	if (next == NULL)
		return NULL;
	next->waiting_first = next->next;
	next->waiting_last = next->next != NULL ? element->waiting_last : NULL;
	next->next = NULL;
	hold(next);
	return next;
}
