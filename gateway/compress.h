/*
 * gateway/compress.h
 *	  Replies as gzip.
 */
#ifndef USHERD_COMPRESS_H
#define USHERD_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/text.h"

/* false: it did not become smaller.  What *out has is replaced; it belongs to compress.c until the next call. */
extern bool compress_gzip(const char *data, size_t len, Slice *out);

#endif /* USHERD_COMPRESS_H */
