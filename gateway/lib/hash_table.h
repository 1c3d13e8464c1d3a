/*
 * gateway/lib/hash_table.h
 *	  Entries found by their hash, in a table that grows with them.
 *
 * Pure C.  An entry is the caller's, begins with a Hashed and says its hash, which never changes while it is in the
 * table; what is equal besides the hash is the caller's to compare.  Where strangers choose what is hashed, the
 * hash is a keyed one (siphash.h).
 */
#ifndef USHERD_HASH_TABLE_H
#define USHERD_HASH_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct Hashed
{
	struct Hashed *next; /* of its bucket */
	uint64_t hash;
} Hashed;

/* Begin with {0}: memory is taken with the first entry. */
typedef struct HashTable
{
	Hashed **buckets;
	size_t size; /* a power of two, or 0 */
	size_t count;
} HashTable;

/* The entries of one hash, in any order. NULL: there is none, or no other. */
extern Hashed *hash_first(const HashTable *table, uint64_t hash);
extern Hashed *hash_next(const Hashed *entry);

extern void hash_add(HashTable *table, Hashed *entry);
extern void hash_remove(HashTable *table, Hashed *entry); /* it must be there */

/* Empties the table; end(), unless NULL, is called for each entry and may free it. */
extern void hash_free(HashTable *table, void (*end)(Hashed *entry));

#endif /* USHERD_HASH_TABLE_H */
