/*
 * test/fuzz/fuzz.h
 *	  What every fuzz target includes: its entry, and how it takes its input apart.
 */
#ifndef USHER_FUZZ_H
#define USHER_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called by libFuzzer, or by driver.c where there is none. */
extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Words of the language that the target reads, ended by NULL: driver.c makes inputs of them. */
extern const char *const usher_fuzz_words[];

/* Unlike assert() it is always there; the sanitizer prints the stack. */
#define must(condition)                                                              \
	do                                                                               \
	{                                                                                \
		if (!(condition))                                                            \
		{                                                                            \
			fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
			abort();                                                                 \
		}                                                                            \
	} while (0)

typedef struct Input
{
	const uint8_t *at, *end;
} Input;

/* A number below `limit`, 0 at the input's end. */
static inline unsigned
input_number(Input *in, unsigned limit)
{
	return in->at < in->end ? *in->at++ % limit : 0;
}

/* Up to 255 bytes, in memory of exactly their size; the caller frees them. */
static inline char *
input_bytes(Input *in, size_t *len)
{
	size_t wanted = in->at < in->end ? *in->at++ : 0;
	char *copy;

	*len = wanted < (size_t) (in->end - in->at) ? wanted : (size_t) (in->end - in->at);
	copy = malloc(*len + (*len == 0));
	if (*len > 0)
		memcpy(copy, in->at, *len);
	in->at += *len;
	return copy;
}

#endif /* USHER_FUZZ_H */
