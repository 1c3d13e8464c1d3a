/*
 * gateway/lib/base64url.c
 *	  base64url without padding, strict in what it reads.
 */
#include "base64url.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The six bits that a character stands for, or -1. */
static int
bits_of(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

bool
base64url_decode(const char *in, size_t len, unsigned char *out, size_t *out_len)
{
	uint32_t held = 0;
	int nbits = 0;
	size_t n = 0;

	if (len % 4 == 1)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		int bits = bits_of((unsigned char) in[i]);

		if (bits < 0)
			return false;
		held = held << 6 | (uint32_t) bits;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			out[n++] = (unsigned char) (held >> nbits);
			held &= (1U << nbits) - 1;
		}
	}
	*out_len = n;
	return held == 0;
}

void
base64url_encode(const unsigned char *in, size_t len, char *out)
{
	uint32_t held = 0;
	int nbits = 0;
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
	{
		held = held << 8 | in[i];
		nbits += 8;
		while (nbits >= 6)
		{
			nbits -= 6;
			out[n++] = alphabet[held >> nbits & 63];
		}
		held &= (1U << nbits) - 1;
	}
	if (nbits > 0)
		out[n++] = alphabet[held << (6 - nbits) & 63];
	out[n] = '\0';
}
