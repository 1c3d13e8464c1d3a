/*
 * gateway/lib/buckets.c
 *	  Token buckets in one table of a fixed size.
 *
 * Set-associative: a key has eight places, side by side in two cache lines.
 * An entry that is new takes the place of one whose bucket is full.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "buckets.h"

_Static_assert(sizeof(Bucket) == 16, "a set is two cache lines");

static void *
memory(size_t size)
{
	void *place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (place == MAP_FAILED)
		abort();
	/* Fewer misses when addresses are looked up; without it, it is only slower. */
	(void) madvise(place, size, MADV_HUGEPAGE);
	return place;
}

void
buckets_make(Buckets *buckets, size_t entries)
{
	size_t sets = 1;

	while (sets * BUCKETS_WAYS < entries)
		sets *= 2;
	memset(buckets, 0, sizeof(*buckets));
	buckets->sets = sets;
	buckets->table = memory(sets * BUCKETS_WAYS * sizeof(Bucket));
	buckets->shared = memory(BUCKETS_SHARED * sizeof(Bucket));
}

void
buckets_free(Buckets *buckets)
{
	if (buckets->table != NULL)
	{
		munmap(buckets->table, buckets->sets * BUCKETS_WAYS * sizeof(Bucket));
		munmap(buckets->shared, BUCKETS_SHARED * sizeof(Bucket));
	}
	memset(buckets, 0, sizeof(*buckets));
}

size_t
buckets_bytes(const Buckets *buckets)
{
	return (buckets->sets * BUCKETS_WAYS + BUCKETS_SHARED) * sizeof(Bucket);
}

/* The key's own entry, or one that is free; NULL: there is neither. */
static Bucket *
find_one(Buckets *buckets, uint64_t key, int64_t now_ns)
{
	Bucket *set = buckets->table + (key & (buckets->sets - 1)) * BUCKETS_WAYS;
	Bucket *free_one = NULL;

	for (int i = 0; i < BUCKETS_WAYS; i++)
	{
		if (set[i].key == key)
			return &set[i];
		if (free_one == NULL && set[i].full_at_ns <= now_ns)
			free_one = &set[i];
	}
	if (free_one == NULL)
		return NULL;
	free_one->key = key;
	free_one->full_at_ns = 0;
	return free_one;
}

Bucket *
bucket_find(Buckets *buckets, const uint64_t *keys, int count, int64_t now_ns)
{
	for (int i = 0; i < count; i++)
	{
		Bucket *bucket = find_one(buckets, keys[i], now_ns);

		if (bucket != NULL)
			return bucket;
		buckets->crowded++;
	}
	return &buckets->shared[keys[count - 1] % BUCKETS_SHARED];
}

/* Time until it is full, at most that of an empty one: so neither a new rate nor a clock that was set back harms. */
int64_t
bucket_full_ns(const Bucket *bucket, BucketRate rate, int64_t now_ns)
{
	int64_t missing = bucket->full_at_ns - now_ns, most = rate.burst * rate.interval_ns;

	if (missing <= 0)
		return 0;
	return missing < most ? missing : most;
}

int64_t
bucket_tokens(const Bucket *bucket, BucketRate rate, int64_t now_ns)
{
	return (rate.burst * rate.interval_ns - bucket_full_ns(bucket, rate, now_ns)) /
		   rate.interval_ns;
}

void
bucket_take(Bucket *bucket, BucketRate rate, int64_t now_ns)
{
	bucket->full_at_ns = now_ns + bucket_full_ns(bucket, rate, now_ns) + rate.interval_ns;
}

int64_t
bucket_wait_ns(const Bucket *bucket, BucketRate rate, int64_t now_ns)
{
	int64_t wait = bucket_full_ns(bucket, rate, now_ns) - (rate.burst - 1) * rate.interval_ns;

	return wait > 0 ? wait : 0;
}
