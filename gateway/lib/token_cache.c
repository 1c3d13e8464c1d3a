/*
 * gateway/lib/token_cache.c
 *	  A hash table whose entries are threaded on two lists: on trial, and kept.
 *
 * Entries are numbers into one array that is made once; number 0 is no entry,
 * 1 and 2 are the lists' heads.
 */
#include "token_cache.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum
{
	NONE,
	TRIAL, /* heads of the lists: newest is next, oldest is previous */
	KEPT,
	FIRST
};

typedef struct Entry
{
	unsigned char digest[SHA256_BYTES];
	Identity *identity;
	double until;
	uint32_t next, previous; /* in its list */
	uint32_t chain; /* in its bucket, or in the list of free ones */
	uint32_t list;
} Entry;

struct TokenCache
{
	Entry *entries;
	uint32_t *buckets;
	uint32_t mask;
	uint32_t free;
	uint32_t max, used, kept;
	size_t bytes, bytes_max;
};

static void *
zeroed(size_t n, size_t size)
{
	void *memory = calloc(n, size);

	if (memory == NULL)
		abort();
	return memory;
}

static void
list_remove(TokenCache *c, uint32_t i)
{
	Entry *e = &c->entries[i];

	c->entries[e->previous].next = e->next;
	c->entries[e->next].previous = e->previous;
	if (e->list == KEPT)
		c->kept--;
}

static void
list_add(TokenCache *c, uint32_t head, uint32_t i)
{
	Entry *e = &c->entries[i], *h = &c->entries[head];

	e->list = head;
	e->previous = head;
	e->next = h->next;
	c->entries[h->next].previous = i;
	h->next = i;
	if (head == KEPT)
		c->kept++;
}

TokenCache *
token_cache_make(int entries, size_t bytes)
{
	TokenCache *c = zeroed(1, sizeof(TokenCache));
	uint32_t size = 1;

	c->max = entries < 1 ? 1 : (uint32_t) entries;
	c->bytes_max = bytes;
	while (size < c->max)
		size *= 2;
	c->mask = size - 1;
	c->buckets = zeroed(size, sizeof(uint32_t));
	c->entries = zeroed((size_t) c->max + FIRST, sizeof(Entry));
	for (uint32_t head = TRIAL; head <= KEPT; head++)
		c->entries[head].next = c->entries[head].previous = head;
	for (uint32_t i = c->max + FIRST - 1; i >= FIRST; i--)
	{
		c->entries[i].chain = c->free;
		c->free = i;
	}
	return c;
}

/* SHA-256 is as good as random, so its first bytes are the hash. */
static uint32_t *
bucket(const TokenCache *c, const unsigned char *digest)
{
	uint32_t hash;

	memcpy(&hash, digest, sizeof(hash));
	return &c->buckets[hash & c->mask];
}

static uint32_t
find(const TokenCache *c, const unsigned char *digest)
{
	uint32_t i = *bucket(c, digest);

	while (i != NONE && CRYPTO_memcmp(c->entries[i].digest, digest, SHA256_BYTES) != 0)
		i = c->entries[i].chain;
	return i;
}

static void
drop(TokenCache *c, uint32_t i)
{
	Entry *e = &c->entries[i];
	uint32_t *link = bucket(c, e->digest);

	while (*link != i)
		link = &c->entries[*link].chain;
	*link = e->chain;
	list_remove(c, i);
	c->bytes -= e->identity->bytes;
	c->used--;
	identity_release(e->identity);
	memset(e, 0, sizeof(*e));
	e->chain = c->free;
	c->free = i;
}

/* It was asked for again: it is kept, and the oldest of the kept are on trial again when they are too many. */
static void
touch(TokenCache *c, uint32_t i)
{
	list_remove(c, i);
	list_add(c, KEPT, i);
	if (c->kept > c->max - c->max / 5 && c->kept > 1)
	{
		uint32_t oldest = c->entries[KEPT].previous;

		list_remove(c, oldest);
		list_add(c, TRIAL, oldest);
	}
}

Identity *
token_cache_find(TokenCache *c, const unsigned char digest[SHA256_BYTES], double now, bool *expired)
{
	uint32_t i = find(c, digest);

	*expired = false;
	if (i == NONE)
		return NULL;
	if (now >= c->entries[i].until)
	{
		*expired = true;
		drop(c, i);
		return NULL;
	}
	if (c->entries[KEPT].next != i)
		touch(c, i);
	return c->entries[i].identity;
}

static void
make_room(TokenCache *c, size_t bytes)
{
	while (c->used > 0 && (c->free == NONE || c->bytes + bytes > c->bytes_max))
	{
		uint32_t oldest = c->entries[TRIAL].previous;

		drop(c, oldest != TRIAL ? oldest : c->entries[KEPT].previous);
	}
}

void
token_cache_put(TokenCache *c, const unsigned char digest[SHA256_BYTES], Identity *identity,
				double until)
{
	uint32_t i = find(c, digest), *head = bucket(c, digest);
	Entry *e;

	if (i != NONE)
		drop(c, i);
	if (identity->bytes > c->bytes_max)
		return;
	make_room(c, identity->bytes);
	i = c->free;
	e = &c->entries[i];
	c->free = e->chain;
	memcpy(e->digest, digest, SHA256_BYTES);
	e->identity = identity_keep(identity);
	e->until = until;
	e->chain = *head;
	*head = i;
	list_add(c, TRIAL, i);
	c->used++;
	c->bytes += identity->bytes;
}

void
token_cache_remove(TokenCache *c, const unsigned char digest[SHA256_BYTES])
{
	uint32_t i = find(c, digest);

	if (i != NONE)
		drop(c, i);
}

void
token_cache_sweep(TokenCache *c, bool (*test)(const Identity *, void *), void *context)
{
	for (uint32_t i = FIRST; i < c->max + FIRST; i++)
		if (c->entries[i].identity != NULL && test(c->entries[i].identity, context))
			drop(c, i);
}

static bool
always(const Identity *identity, void *context)
{
	(void) identity;
	(void) context;
	return true;
}

void
token_cache_clear(TokenCache *c)
{
	token_cache_sweep(c, always, NULL);
}

void
token_cache_free(TokenCache *c)
{
	if (c == NULL)
		return;
	token_cache_clear(c);
	free(c->entries);
	free(c->buckets);
	free(c);
}

int
token_cache_entries(const TokenCache *c)
{
	return (int) c->used;
}

size_t
token_cache_bytes(const TokenCache *c)
{
	return c->bytes;
}

static size_t
refused_place(const unsigned char *digest)
{
	uint32_t hash;

	memcpy(&hash, digest, sizeof(hash));
	return hash % REFUSED_ENTRIES;
}

void
refused_put(RefusedTable *table, const unsigned char digest[SHA256_BYTES], double until,
			const char *reason)
{
	size_t place = refused_place(digest);

	memcpy(table->entries[place].digest, digest, SHA256_BYTES);
	table->entries[place].until = until;
	table->entries[place].reason = reason;
}

const char *
refused_why(const RefusedTable *table, const unsigned char digest[SHA256_BYTES], double now)
{
	size_t place = refused_place(digest);

	return now < table->entries[place].until &&
				   CRYPTO_memcmp(table->entries[place].digest, digest, SHA256_BYTES) == 0
			   ? table->entries[place].reason
			   : NULL;
}
