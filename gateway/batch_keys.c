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
key_hash_of(const Element *element)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_bytes(hash, element->tenant, strlen(element->tenant));
	hash = hash_bytes(hash, element->user.data, element->user.len);
	return hash_bytes(hash, element->key.data, element->key.len);
}

static bool
same(Slice a, Slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool
same_key(const Element *a, const Element *b)
{
	return a->key_hash == b->key_hash && a->channel == b->channel && same(a->key, b->key) &&
		   strcmp(a->tenant, b->tenant) == 0 && same(a->user, b->user);
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

	if (element->key.data == NULL || element->holds_key)
		return true;
	while (holder != NULL && !same_key(holder, element))
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
