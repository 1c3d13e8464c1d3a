/*
 * gateway/lib/siphash.c
 *	  SipHash with one round a word and three at the end.
 */
#include <string.h>

#include "siphash.h"

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void
mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = ROTATE(v[1], 13) ^ v[0];
	v[0] = ROTATE(v[0], 32);
	v[2] += v[3];
	v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTATE(v[1], 17) ^ v[2];
	v[2] = ROTATE(v[2], 32);
}

uint64_t
siphash(SipKey key, const void *data, size_t len)
{
	const unsigned char *at = data;
	uint64_t v[4] = {key.k0 ^ 0x736f6d6570736575ULL, key.k1 ^ 0x646f72616e646f6dULL,
					 key.k0 ^ 0x6c7967656e657261ULL, key.k1 ^ 0x7465646279746573ULL};
	uint64_t word, last = (uint64_t) len << 56;
	size_t left = len;

	for (; left >= 8; left -= 8, at += 8)
	{
		/* Little-endian machines only: nothing of it leaves the process. */
		memcpy(&word, at, 8);
		v[3] ^= word;
		mix(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t) at[i] << (8 * i);
	v[3] ^= last;
	mix(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
