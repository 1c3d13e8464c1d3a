/*
 * gateway/lib/base64url.h
 *	  base64url without padding (RFC 7515, appendix C).
 *
 * Pure C.  Decoding is strict, so that a text has one meaning and bytes have
 * one text: nothing outside the alphabet, no padding, no length of 4n + 1, and
 * the bits behind the last byte must be zero.
 */
#ifndef USHERD_BASE64URL_H
#define USHERD_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

/* Room for either direction; base64url_encoded() is exact. */
static inline size_t
base64url_encoded(size_t len)
{
	return (len * 4 + 2) / 3;
}

/* out has room for len * 3 / 4 bytes.  false: it is not base64url. */
extern bool base64url_decode(const char *in, size_t len, unsigned char *out, size_t *out_len);

/* out has room for base64url_encoded(len) and a zero byte. */
extern void base64url_encode(const unsigned char *in, size_t len, char *out);

#endif /* USHERD_BASE64URL_H */
