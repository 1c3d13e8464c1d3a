/*
 * test/unit/buckets.c
 *	  Token buckets beside a model that counts tokens, and a table that is full.
 */
#include "buckets.h"
#include "siphash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define SECOND 1000000000LL

/* The values of the reference implementation for the key 00 01 .. 0f (siphash13, from its authors' repository). */
static void
check_siphash(void)
{
	SipKey key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
	unsigned char data[64];
	uint64_t seen[64];
	bool differ = true;

	for (int i = 0; i < 64; i++)
		data[i] = (unsigned char) i;
	ok(siphash(key, data, 0) == 0xabac0158050fc4dcULL, "SipHash-1-3 of nothing");
	ok(siphash(key, data, 1) == 0xc9f49bf37d57ca93ULL, "SipHash-1-3 of one byte");
	for (size_t len = 0; len < 64; len++)
	{
		seen[len] = siphash(key, data, len);
		for (size_t other = 0; other < len; other++)
			differ = differ && seen[other] != seen[len];
	}
	ok(differ, "64 lengths have 64 hashes");
	key.k0 ^= 1;
	ok(siphash(key, data, 8) != seen[8], "the key matters");
}

/* A model that thinks in tokens: one each interval, counted when they are whole. */
static void
check_model(void)
{
	static const BucketRate rates[] = {
		{12 * SECOND, 3}, {SECOND, 1}, {600000000, 20}, {1000, 1000000}, {60 * SECOND, 1}};
	Buckets buckets;
	unsigned seed = 7;

	buckets_make(&buckets, 64);
	for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++)
	{
		BucketRate rate = rates[r];
		uint64_t key = 1000 + r;
		int64_t now = 5 * SECOND, missing_until = 0; /* the model: when the bucket will be full */
		int64_t wrong = 0;

		for (int i = 0; i < 20000; i++)
		{
			Bucket *bucket;
			int64_t lacking, tokens;

			now += rand_r(&seed) % 3 == 0 ? rand_r(&seed) % (3 * rate.interval_ns) : 0;
			bucket = bucket_find(&buckets, &key, 1, now);
			lacking = missing_until > now ? missing_until - now : 0;
			tokens = rate.burst - (lacking + rate.interval_ns - 1) / rate.interval_ns;
			if (bucket_tokens(bucket, rate, now) != tokens || tokens < 0 || tokens > rate.burst ||
				bucket_full_ns(bucket, rate, now) != lacking ||
				(bucket_wait_ns(bucket, rate, now) == 0) != (tokens > 0))
				wrong++;
			if (tokens == 0 &&
				bucket_tokens(bucket, rate, now + bucket_wait_ns(bucket, rate, now)) != 1)
				wrong++;
			if (tokens > 0)
			{
				bucket_take(bucket, rate, now);
				missing_until = (missing_until > now ? missing_until : now) + rate.interval_ns;
			}
		}
		ok(wrong == 0, "a bucket has what the model has");
	}
	buckets_free(&buckets);
}

static void
check_clock(void)
{
	BucketRate rate = {SECOND, 5}, faster = {SECOND / 10, 5};
	uint64_t key = 42;
	Buckets buckets;
	Bucket *bucket;

	buckets_make(&buckets, 64);
	bucket = bucket_find(&buckets, &key, 1, 1000 * SECOND);
	for (int i = 0; i < 5; i++)
		bucket_take(bucket, rate, 1000 * SECOND);
	ok(bucket_tokens(bucket, rate, 1000 * SECOND) == 0, "five tokens are taken");
	ok(bucket_wait_ns(bucket, rate, 10 * SECOND) <= SECOND,
	   "a clock that was set back costs no more than an empty bucket");
	ok(bucket_full_ns(bucket, faster, 1000 * SECOND) <= SECOND / 2,
	   "a bucket of a slower rate is at most empty at a faster one");
	ok(bucket_tokens(bucket, rate, 2000 * SECOND) == 5, "a clock that was set forward fills it");
	buckets_free(&buckets);
}

/* Strangers fill the table; who lacks tokens stays so, and new ones share. */
static void
check_crowd(void)
{
	BucketRate rate = {60 * SECOND, 3};
	SipKey secret = {1, 2};
	int64_t now = SECOND, found = 0, fresh = 0;
	uint64_t known = 77, wide = 88;
	Buckets buckets;
	Bucket *bucket, *one, *other;

	buckets_make(&buckets, 1000);
	ok(buckets_bytes(&buckets) == (1024 + BUCKETS_SHARED) * 16,
	   "1,000 entries are 1,024 of 16 bytes");
	bucket = bucket_find(&buckets, &known, 1, now);
	for (int i = 0; i < 3; i++)
		bucket_take(bucket, rate, now);
	for (uint64_t i = 0; i < 100000; i++)
	{
		uint64_t keys[2] = {siphash(secret, &i, sizeof(i)), wide};

		bucket = bucket_find(&buckets, keys, 2, now);
		if (bucket_tokens(bucket, rate, now) == rate.burst)
			fresh++;
		if (bucket_tokens(bucket, rate, now) > 0)
			bucket_take(bucket, rate, now);
	}
	bucket = bucket_find(&buckets, &known, 1, now);
	ok(bucket_tokens(bucket, rate, now) == 0, "who has no tokens gets none by strangers' coming");
	ok(fresh <= 1024 + BUCKETS_SHARED && fresh >= 1000,
	   "100,000 strangers get a bucket for each place");
	ok(buckets.crowded > 90000, "the others found no room, and that is counted");
	one = bucket_find(&buckets, (uint64_t[]){siphash(secret, "a", 1), wide}, 2, now);
	other = bucket_find(&buckets, (uint64_t[]){siphash(secret, "b", 1), wide}, 2, now);
	ok(one == other && bucket_tokens(one, rate, now) == 0,
	   "strangers of one network share a bucket");
	now += 181 * SECOND;
	for (uint64_t i = 0; i < 1000; i++)
	{
		uint64_t keys[2] = {siphash(secret, &i, sizeof(i)), wide};

		if (bucket_tokens(bucket_find(&buckets, keys, 2, now), rate, now) == rate.burst)
			found++;
	}
	ok(found == 1000, "when the crowd has gone, everybody has a full bucket");
	buckets_free(&buckets);
}

int
main(void)
{
	check_siphash();
	check_model();
	check_clock();
	check_crowd();
	return tap_end();
}
