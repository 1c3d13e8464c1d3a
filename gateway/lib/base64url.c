/*
 * gateway/lib/base64url.c
 *	  base64url without padding, strict in what it reads.
 */
#include "base64url.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#define OK 64 /* a bit that no value has */

/* The six bits that a character stands for, with OK; 0: it stands for none. */
static const unsigned char bits_of[256] = {
	['A'] = OK | 0,  ['B'] = OK | 1,  ['C'] = OK | 2,  ['D'] = OK | 3,  ['E'] = OK | 4,
	['F'] = OK | 5,  ['G'] = OK | 6,  ['H'] = OK | 7,  ['I'] = OK | 8,  ['J'] = OK | 9,
	['K'] = OK | 10, ['L'] = OK | 11, ['M'] = OK | 12, ['N'] = OK | 13, ['O'] = OK | 14,
	['P'] = OK | 15, ['Q'] = OK | 16, ['R'] = OK | 17, ['S'] = OK | 18, ['T'] = OK | 19,
	['U'] = OK | 20, ['V'] = OK | 21, ['W'] = OK | 22, ['X'] = OK | 23, ['Y'] = OK | 24,
	['Z'] = OK | 25, ['a'] = OK | 26, ['b'] = OK | 27, ['c'] = OK | 28, ['d'] = OK | 29,
	['e'] = OK | 30, ['f'] = OK | 31, ['g'] = OK | 32, ['h'] = OK | 33, ['i'] = OK | 34,
	['j'] = OK | 35, ['k'] = OK | 36, ['l'] = OK | 37, ['m'] = OK | 38, ['n'] = OK | 39,
	['o'] = OK | 40, ['p'] = OK | 41, ['q'] = OK | 42, ['r'] = OK | 43, ['s'] = OK | 44,
	['t'] = OK | 45, ['u'] = OK | 46, ['v'] = OK | 47, ['w'] = OK | 48, ['x'] = OK | 49,
	['y'] = OK | 50, ['z'] = OK | 51, ['0'] = OK | 52, ['1'] = OK | 53, ['2'] = OK | 54,
	['3'] = OK | 55, ['4'] = OK | 56, ['5'] = OK | 57, ['6'] = OK | 58, ['7'] = OK | 59,
	['8'] = OK | 60, ['9'] = OK | 61, ['-'] = OK | 62, ['_'] = OK | 63,
};

bool
base64url_decode(const char *in, size_t len, unsigned char *out, size_t *out_len)
{
	const unsigned char *at = (const unsigned char *) in;
	size_t rest = len % 4, n = 0;
	uint32_t held = 0, right = OK;

	if (rest == 1)
		return false;
	for (const unsigned char *end = at + (len - rest); at < end; at += 4)
	{
		uint32_t a = bits_of[at[0]], b = bits_of[at[1]], c = bits_of[at[2]], d = bits_of[at[3]];

		right &= a & b & c & d;
		held = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
		out[n++] = (unsigned char) (held >> 16);
		out[n++] = (unsigned char) (held >> 8);
		out[n++] = (unsigned char) held;
	}
	held = 0;
	for (size_t i = 0; i < rest; i++)
	{
		right &= bits_of[at[i]];
		held = held << 6 | (bits_of[at[i]] & 63);
	}
	/* two characters are a byte and four bits, three are two bytes and two bits: those behind are zero */
	if (rest == 2)
		out[n++] = (unsigned char) (held >> 4);
	else if (rest == 3)
	{
		out[n++] = (unsigned char) (held >> 10);
		out[n++] = (unsigned char) (held >> 2);
	}
	*out_len = n;
	return right == OK && (rest == 0 || (held & (rest == 2 ? 15 : 3)) == 0);
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
