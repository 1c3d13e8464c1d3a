/*
 * extension/lib/glob.h
 *	  Match an event type against a pattern.
 */
#ifndef USHER_GLOB_H
#define USHER_GLOB_H

#include <stdbool.h>
#include <stddef.h>

extern bool
usher_glob_match(const char *pattern, size_t pattern_len, const char *name, size_t name_len);

#endif /* USHER_GLOB_H */
