/*
 * gateway/lib/token_cache.h
 *	  Identities by the SHA-256 of what proved them, in bounded memory.
 *
 * Pure C.  Only what was verified is put into it, so nobody without a credential
 * can push anything out.  And whoever has many cannot push out what others use:
 * an entry begins on trial, is kept once it was asked for again, and only what
 * is on trial makes room for new ones (a segmented LRU; at most four fifths are kept).
 */
#ifndef USHERD_TOKEN_CACHE_H
#define USHERD_TOKEN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "principal.h"
#include "sha256.h"

typedef struct TokenCache TokenCache;

/* At most so many entries, and so many bytes of identities. */
extern TokenCache *token_cache_make(int entries, size_t bytes);
extern void token_cache_free(TokenCache *cache);

/* The identity, not held for the caller; NULL: not there, or no longer (its time has come: *expired is true). */
extern Identity *token_cache_find(TokenCache *cache, const unsigned char digest[SHA256_BYTES],
								  double now, bool *expired);
/* The cache holds the identity from now on until `until`, too.  What was there under the digest goes. */
extern void token_cache_put(TokenCache *cache, const unsigned char digest[SHA256_BYTES],
							Identity *identity, double until);
extern void token_cache_remove(TokenCache *cache, const unsigned char digest[SHA256_BYTES]);
extern void token_cache_clear(TokenCache *cache);
/* Removes those that the test says yes to. */
extern void
token_cache_sweep(TokenCache *cache, bool (*test)(const Identity *, void *), void *context);

extern int token_cache_entries(const TokenCache *cache);
extern size_t token_cache_bytes(const TokenCache *cache); /* of the identities */

/*
 * Digests that were not known a moment ago: a fixed table, where a new one takes the place of whatever
 * stood there.  An attacker can make it forget, which costs a look-up, and nothing else.
 */
#define REFUSED_ENTRIES 1024

typedef struct RefusedTable
{
	struct
	{
		unsigned char digest[SHA256_BYTES];
		double until;
		const char *reason;
	} entries[REFUSED_ENTRIES];
} RefusedTable;

/* The reason is not copied. */
extern void refused_put(RefusedTable *table, const unsigned char digest[SHA256_BYTES], double until,
						const char *reason);
/* Why it was refused; NULL: it was not, lately. */
extern const char *
refused_why(const RefusedTable *table, const unsigned char digest[SHA256_BYTES], double now);

#endif /* USHERD_TOKEN_CACHE_H */
