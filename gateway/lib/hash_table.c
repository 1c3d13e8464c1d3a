/*
 * gateway/lib/hash_table.c
 *	  Entries found by their hash: buckets of chains, never more buckets than twice the most entries there were.
 */
#include "hash_table.h"

#include <stdlib.h>

#define SIZE_MIN 16

static Hashed **
bucket_of(const HashTable *table, uint64_t hash)
{
	return &table->buckets[hash & (table->size - 1)];
}

static void
put(HashTable *table, Hashed *entry)
{
	Hashed **at = bucket_of(table, entry->hash);

	entry->next = *at;
	*at = entry;
}

static void
grow(HashTable *table)
{
	HashTable old = *table;

	table->size = old.size > 0 ? old.size * 2 : SIZE_MIN;
	table->buckets = calloc(table->size, sizeof(Hashed *));
	if (table->buckets == NULL)
		abort();
	for (size_t i = 0; i < old.size; i++)
		for (Hashed *entry = old.buckets[i], *next; entry != NULL; entry = next)
		{
			next = entry->next;
			put(table, entry);
		}
	free(old.buckets);
}

static Hashed *
with_hash(Hashed *entry, uint64_t hash)
{
	while (entry != NULL && entry->hash != hash)
		entry = entry->next;
	return entry;
}

Hashed *
hash_first(const HashTable *table, uint64_t hash)
{
	return table->size > 0 ? with_hash(*bucket_of(table, hash), hash) : NULL;
}

Hashed *
hash_next(const Hashed *entry)
{
	return with_hash(entry->next, entry->hash);
}

void
hash_add(HashTable *table, Hashed *entry)
{
	if (++table->count > table->size)
		grow(table);
	put(table, entry);
}

void
hash_remove(HashTable *table, Hashed *entry)
{
	Hashed **at = bucket_of(table, entry->hash);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	table->count--;
}

void
hash_free(HashTable *table, void (*end)(Hashed *entry))
{
	for (size_t i = 0; end != NULL && i < table->size; i++)
		for (Hashed *entry = table->buckets[i], *next; entry != NULL; entry = next)
		{
			next = entry->next;
			end(entry);
		}
	free(table->buckets);
	*table = (HashTable){0};
}
