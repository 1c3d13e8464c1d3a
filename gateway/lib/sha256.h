/*
 * gateway/lib/sha256.h
 *	  SHA-256 of a text, by libcrypto.
 *
 * The digest's context is made once and used again, so it is for one thread:
 * the loop's.
 */
#ifndef USHERD_SHA256_H
#define USHERD_SHA256_H

#include <stddef.h>

#define SHA256_BYTES 32

extern void sha256(const void *data, size_t len, unsigned char digest[SHA256_BYTES]);

#endif /* USHERD_SHA256_H */
