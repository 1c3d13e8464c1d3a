/*
 * gateway/lib/siphash.h
 *	  SipHash-1-3: a keyed hash, so that strangers cannot choose what collides.
 *
 * Pure C.  J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF".
 */
#ifndef USHERD_SIPHASH_H
#define USHERD_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct SipKey
{
	uint64_t k0, k1;
} SipKey;

extern uint64_t siphash(SipKey key, const void *data, size_t len);

#endif /* USHERD_SIPHASH_H */
