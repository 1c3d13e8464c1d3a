/*
 * test/unit/token_cache.c
 *	  The cache of identities: bounded, expiring, and not to be emptied by one who has many tokens.
 *
 * unit sources: -lcrypto
 */
#include "token_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tap.h"

static void
digest_of(int i, unsigned char *digest)
{
	sha256(&i, sizeof(i), digest);
}

static Identity *
somebody(const char *tenant, const char *user)
{
	IdentityParts parts;

	memset(&parts, 0, sizeof(parts));
	parts.tenant = tenant;
	parts.user = user;
	return identity_make(&parts);
}

static void
put(TokenCache *cache, int i, double until)
{
	unsigned char digest[SHA256_BYTES];
	char user[20];
	Identity *identity;

	snprintf(user, sizeof(user), "u-%d", i);
	identity = somebody("t", user);
	digest_of(i, digest);
	token_cache_put(cache, digest, identity, until);
	identity_release(identity);
}

static bool
has(TokenCache *cache, int i, double now)
{
	unsigned char digest[SHA256_BYTES];
	char user[20];
	bool expired;
	Identity *identity;

	snprintf(user, sizeof(user), "u-%d", i);
	digest_of(i, digest);
	identity = token_cache_find(cache, digest, now, &expired);
	return identity != NULL && strcmp(identity->user, user) == 0;
}

static void
test_basics(void)
{
	TokenCache *cache = token_cache_make(10, 1 << 20);
	unsigned char digest[SHA256_BYTES];
	bool expired;

	ok(!has(cache, 1, 0), "nothing is in an empty cache");
	put(cache, 1, 100);
	ok(has(cache, 1, 99.9), "it is there until its time");
	digest_of(1, digest);
	ok(token_cache_find(cache, digest, 100, &expired) == NULL && expired,
	   "and is over exactly then");
	ok(token_cache_find(cache, digest, 1, &expired) == NULL && !expired &&
		   token_cache_entries(cache) == 0 && token_cache_bytes(cache) == 0,
	   "what is over is gone");
	put(cache, 1, 100);
	put(cache, 1, 200);
	ok(token_cache_entries(cache) == 1 && has(cache, 1, 150), "the newer of two of a digest");
	token_cache_remove(cache, digest);
	token_cache_remove(cache, digest);
	ok(!has(cache, 1, 0) && token_cache_entries(cache) == 0, "removed");
	put(cache, 1, 100), put(cache, 2, 100);
	token_cache_clear(cache);
	ok(token_cache_entries(cache) == 0 && token_cache_bytes(cache) == 0 && !has(cache, 2, 0),
	   "cleared");
	token_cache_free(cache);
}

/* An identity that the cache lets go of lives as long as somebody else holds it. */
static void
test_held(void)
{
	TokenCache *cache = token_cache_make(2, 1 << 20);
	unsigned char digest[SHA256_BYTES];
	Identity *identity = somebody("t", "held");
	bool expired;

	digest_of(0, digest);
	token_cache_put(cache, digest, identity, 100);
	identity_release(identity);
	identity = identity_keep(token_cache_find(cache, digest, 0, &expired));
	for (int i = 1; i < 10; i++)
		put(cache, i, 100);
	ok(token_cache_find(cache, digest, 0, &expired) == NULL || token_cache_entries(cache) == 2,
	   "a cache of two");
	token_cache_free(cache);
	ok(identity->references == 1 && strcmp(identity->user, "held") == 0, "it is still whole");
	identity_release(identity);
}

/* A client with 100,000 good tokens, each used once or often, beside 500 who come again and again. */
static void
flood(int times, const char *what)
{
	TokenCache *cache = token_cache_make(1000, 1 << 20);
	int kept = 0;
	bool bounded = true;

	for (int i = 0; i < 500; i++)
		put(cache, i, 1e9);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 500; i++)
			has(cache, i, 0);
	for (int i = 0; i < 100000; i++)
	{
		put(cache, 1000 + i, 1e9);
		for (int t = 1; t < times; t++)
			has(cache, 1000 + i, 0);
		has(cache, i % 500, 0);
		bounded = bounded && token_cache_entries(cache) <= 1000 &&
				  token_cache_bytes(cache) <= 1 << 20;
	}
	for (int i = 0; i < 500; i++)
		kept += has(cache, i, 0);
	ok(bounded, "100,000 tokens never hold more than their room");
	ok(kept == 500, what);
	token_cache_free(cache);
}

static void
test_scan(void)
{
	TokenCache *cache = token_cache_make(1000, 1 << 20);
	int kept = 0;

	for (int i = 0; i < 700; i++)
	{
		put(cache, i, 1e9);
		has(cache, i, 0);
		has(cache, i, 0);
	}
	for (int i = 0; i < 100000; i++)
		put(cache, 1000 + i, 1e9);
	for (int i = 0; i < 700; i++)
		kept += has(cache, i, 0);
	ok(kept == 700, "100,000 tokens used once push out nobody who came twice");
	token_cache_free(cache);
}

static void
test_bytes(void)
{
	TokenCache *cache = token_cache_make(1000, 20000);
	char big[5000];
	unsigned char digest[SHA256_BYTES];
	Identity *identity;
	bool expired;

	for (int i = 0; i < 1000; i++)
		put(cache, i, 1e9);
	ok(token_cache_bytes(cache) <= 20000 && token_cache_entries(cache) > 50, "bounded in bytes");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	identity = somebody("t", big);
	digest_of(5000, digest);
	token_cache_put(cache, digest, identity, 1e9);
	ok(token_cache_bytes(cache) <= 20000 &&
		   token_cache_find(cache, digest, 0, &expired) == identity,
	   "a big one takes the place of several");
	identity_release(identity);
	token_cache_free(cache);
	cache = token_cache_make(10, 1000);
	put(cache, 1, 1e9);
	identity = somebody("t", big);
	token_cache_put(cache, digest, identity, 1e9);
	ok(token_cache_find(cache, digest, 0, &expired) == NULL && has(cache, 1, 0),
	   "one that is larger than the cache is not kept, and moves nobody");
	identity_release(identity);
	token_cache_free(cache);
}

static bool
is_of_a(const Identity *identity, void *context)
{
	return strcmp(identity->tenant, context) == 0;
}

static void
test_sweep(void)
{
	TokenCache *cache = token_cache_make(100, 1 << 20);

	for (int i = 0; i < 100; i++)
	{
		Identity *identity = somebody(i % 3 == 0 ? "a" : "b", "u");
		unsigned char digest[SHA256_BYTES];

		digest_of(i, digest);
		token_cache_put(cache, digest, identity, 1e9);
		identity_release(identity);
	}
	token_cache_sweep(cache, is_of_a, "a");
	ok(token_cache_entries(cache) == 66, "a sweep takes what it is asked to");
	token_cache_free(cache);
}

/* Against a plain list of what must be there, with few entries and many digests. */
static void
test_random(void)
{
	TokenCache *cache = token_cache_make(7, 1 << 20);
	unsigned seed = 1;
	bool good = true;
	bool ever[40] = {false};

	for (int i = 0; i < 200000; i++)
	{
		int which = (int) ((unsigned) rand_r(&seed) % 40);
		unsigned char digest[SHA256_BYTES];

		digest_of(which, digest);
		switch ((unsigned) rand_r(&seed) % 4)
		{
			case 0:
				put(cache, which, 1e9);
				ever[which] = true;
				good = good && has(cache, which, 0);
				break;
			case 1:
				token_cache_remove(cache, digest);
				ever[which] = false;
				good = good && !has(cache, which, 0);
				break;
			default:
				good = good && (ever[which] || !has(cache, which, 0));
		}
		good = good && token_cache_entries(cache) <= 7;
	}
	ok(good, "200,000 random steps with seven entries");
	token_cache_free(cache);
}

static void
test_refused(void)
{
	static RefusedTable table;
	unsigned char digest[SHA256_BYTES], other[SHA256_BYTES];

	digest_of(1, digest);
	ok(!refused_why(&table, digest, 0), "nothing was refused");
	refused_put(&table, digest, 5, "wrong");
	digest_of(2, other);
	ok(refused_why(&table, digest, 4.9) && strcmp(refused_why(&table, digest, 4.9), "wrong") == 0 &&
		   !refused_why(&table, digest, 5),
	   "refused, for a moment");
	ok(!refused_why(&table, other, 0), "but no other");
	memset(other, 0, sizeof(other));
	ok(!refused_why(&table, other, 0), "the digest of zeros is none that was refused");
	for (int i = 0; i < 100000; i++)
	{
		digest_of(i, other);
		refused_put(&table, other, 5, "wrong");
	}
	ok(refused_why(&table, other, 1), "100,000 refusals leave the newest");
}

int
main(void)
{
	test_basics();
	test_held();
	flood(1, "100,000 tokens used once push out none of 500 in use");
	flood(2, "100,000 tokens used twice push out none of 500 in use");
	flood(5, "100,000 tokens used five times push out none of 500 in use");
	test_scan();
	test_bytes();
	test_sweep();
	test_random();
	test_refused();
	return tap_end();
}
