/*
 * bgworkers/sinks/buffer.h
 *	  Bytes on their way: a growing buffer that is filled at its end and emptied at its beginning.
 */
#ifndef USHER_BUFFER_H
#define USHER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_KEPT (4 * 1024 * 1024) /* an empty buffer that is larger is given back */

typedef struct UsherBuffer
{
	char *data;
	size_t begin, end, size; /* data[begin .. end) is what is in it */
} UsherBuffer;

static inline size_t
buffer_len(const UsherBuffer *b)
{
	return b->end - b->begin;
}

/* Room for n more bytes at data + end; false: no memory. */
static inline bool
buffer_reserve(UsherBuffer *b, size_t n)
{
	size_t size = b->size ? b->size : 4096;
	char *data;

	if (b->size - b->end >= n)
		return true;
	if (b->begin > 0)
	{
		memmove(b->data, b->data + b->begin, buffer_len(b));
		b->end -= b->begin;
		b->begin = 0;
		if (b->size - b->end >= n)
			return true;
	}
	while (size - b->end < n)
		size *= 2;
	data = realloc(b->data, size);
	if (data == NULL)
		return false;
	b->data = data;
	b->size = size;
	return true;
}

static inline bool
buffer_add(UsherBuffer *b, const char *bytes, size_t n)
{
	if (!buffer_reserve(b, n))
		return false;
	memcpy(b->data + b->end, bytes, n);
	b->end += n;
	return true;
}

static inline void
buffer_free(UsherBuffer *b)
{
	free(b->data);
	*b = (UsherBuffer){0};
}

static inline void
buffer_consume(UsherBuffer *b, size_t n)
{
	b->begin += n;
	if (b->begin < b->end)
		return;
	b->begin = b->end = 0;
	if (b->size > BUFFER_KEPT)
		buffer_free(b);
}

static inline void
buffer_swap(UsherBuffer *a, UsherBuffer *b)
{
	UsherBuffer old = *a;

	*a = *b;
	*b = old;
}

#endif /* USHER_BUFFER_H */
