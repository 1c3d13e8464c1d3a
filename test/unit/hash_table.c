/*
 * test/unit/hash_table.c
 *	  Entries found by their hash: beside a plain array, by chance, with hashes that are equal and that fall together.
 */
#include "hash_table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tap.h"

#define MANY  3000
#define STEPS 40000

typedef struct Entry
{
	Hashed hashed;
	int seen;
	bool there;
} Entry;

static Entry entries[MANY];
static int ended;

/* The same on every machine. */
static uint64_t
chance(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Does the table have exactly the entries of this hash that it should have, each once? */
static bool
agrees(const HashTable *table, uint64_t hash)
{
	static int serial;
	int found = 0, expected = 0;

	serial++;
	for (Hashed *at = hash_first(table, hash); at != NULL; at = hash_next(at))
	{
		Entry *entry = (Entry *) at;

		if (entry->hashed.hash != hash || !entry->there || entry->seen == serial)
			return false;
		entry->seen = serial;
		found++;
	}
	for (int i = 0; i < MANY; i++)
		expected += entries[i].there && entries[i].hashed.hash == hash;
	return found == expected;
}

static void
end_entry(Hashed *hashed)
{
	Entry *entry = (Entry *) hashed;

	ended += entry->there;
	entry->there = false;
}

/* hashes: of how many; shift: only bits above it differ, so that all fall into few buckets. */
static void
steps_by_chance(uint64_t hashes, int shift, const char *what)
{
	HashTable table = {0};
	size_t count = 0, most = 0;
	bool fine = true;

	for (int i = 0; i < MANY; i++)
		entries[i].hashed.hash = chance() % hashes << shift;
	for (int step = 0; step < STEPS && fine; step++)
	{
		Entry *entry = &entries[chance() % MANY];

		if (step > STEPS / 2 && !entry->there)
			continue; /* in the end they only go */
		if (entry->there)
		{
			hash_remove(&table, &entry->hashed);
			count--;
		}
		else
		{
			hash_add(&table, &entry->hashed);
			count++;
		}
		entry->there = !entry->there;
		most = count > most ? count : most;
		fine = table.count == count && (step % 50 != 0 || agrees(&table, entry->hashed.hash));
	}
	ok(fine, what);
	ok(table.size >= most && (table.size & (table.size - 1)) == 0 && table.size < 2 * most + 32,
	   "as many buckets as the most entries, and at most twice as many");
	ended = 0;
	hash_free(&table, end_entry);
	ok(ended == (int) count && table.count == 0 && table.size == 0 &&
		   hash_first(&table, entries[0].hashed.hash) == NULL,
	   "all end with the table");
}

int
main(void)
{
	HashTable table = {0};
	Entry one = {.hashed.hash = 7};

	ok(hash_first(&table, 7) == NULL, "an empty table has nothing");
	hash_add(&table, &one.hashed);
	ok(hash_first(&table, 7) == &one.hashed && hash_next(&one.hashed) == NULL &&
		   hash_first(&table, 7 + 16) == NULL,
	   "one entry is found by its hash, and by no other of its bucket");
	hash_free(&table, NULL);
	ok(table.buckets == NULL, "it can be emptied without being told of the entries");
	steps_by_chance(UINT64_MAX, 0, "all hashes differ");
	steps_by_chance(40, 0, "many have the same hash");
	steps_by_chance(1 << 20, 40, "hashes differ where the table does not look");
	return tap_end();
}
