/*
 * gateway/lib/buckets.h
 *	  Token buckets in one table of a fixed size.
 *
 * Pure C, integers only, time from the caller.  A bucket is the time at which it
 * will be full again ("theoretical arrival time"): one number says how many
 * tokens it has at any time, and a full bucket is the same as none.  So an entry
 * whose time has come is free, and no bucket that lacks a token is ever thrown
 * out: filling the table with strangers wins nobody a fresh bucket.
 */
#ifndef USHERD_BUCKETS_H
#define USHERD_BUCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A rate: a token each interval_ns, and room for burst tokens. */
typedef struct BucketRate
{
	int64_t interval_ns;
	int64_t burst;
} BucketRate;

/* 16 bytes; the eight of a set are two lines of the processor's cache. */
typedef struct Bucket
{
	uint64_t key; /* a keyed hash */
	int64_t full_at_ns;
} Bucket;

typedef struct Buckets
{
	Bucket *table;
	size_t sets; /* a power of two; of BUCKETS_WAYS each */
	Bucket *shared; /* for whom there is no room */
	int64_t crowded; /* how often a set had no room */
} Buckets;

#define BUCKETS_WAYS   8
#define BUCKETS_SHARED 4096

/* entries is rounded up to a power of two.  The memory is touched as it is used. */
extern void buckets_make(Buckets *buckets, size_t entries);
extern void buckets_free(Buckets *buckets);
extern size_t buckets_bytes(const Buckets *buckets);

/*
 * The bucket of the first key that has one, or can have one; when there is no room for any of them, one that is
 * shared by chance.  keys: from the narrowest (an address) to the widest (its network).
 */
extern Bucket *bucket_find(Buckets *buckets, const uint64_t *keys, int count, int64_t now_ns);

/* Tokens that it has. */
extern int64_t bucket_tokens(const Bucket *bucket, BucketRate rate, int64_t now_ns);
/* Only when it has one. */
extern void bucket_take(Bucket *bucket, BucketRate rate, int64_t now_ns);
extern int64_t
bucket_full_ns(const Bucket *bucket, BucketRate rate, int64_t now_ns); /* until it is full */
extern int64_t
bucket_wait_ns(const Bucket *bucket, BucketRate rate, int64_t now_ns); /* until it has a token */

#endif /* USHERD_BUCKETS_H */
