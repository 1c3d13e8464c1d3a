/*
 * gateway/lib/settings.h
 *	  The syntax of usherd.conf: lines, numbers, sizes, times.
 *
 * Pure C.  A line is empty, a comment (its first character is "#"), or
 * "name = value": the value goes to the end of the line without the blanks
 * around it, so it needs no quotes and may have any character in it.
 */
#ifndef USHERD_SETTINGS_H
#define USHERD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

typedef enum SettingsLine
{
	SETTINGS_LINE_EMPTY,
	SETTINGS_LINE_SET,
	SETTINGS_LINE_WRONG, /* *fault says why */
} SettingsLine;

/* line: without its end. */
extern SettingsLine settings_line(Slice line, Slice *name, Slice *value, const char **fault);

/* Digits, maybe a minus in front. */
extern bool settings_integer(Slice text, int64_t *number);
/* A number of bytes, or with a unit: B, kB, MB, GB (of 1024). */
extern bool settings_bytes(Slice text, int64_t *bytes);
/* Seconds, maybe with a fraction, or with a unit: ms, s, min, h, d. */
extern bool settings_seconds(Slice text, double *seconds);

/* The other way round, as short as is exact; out has at least SETTINGS_NUMBER_SIZE bytes. */
#define SETTINGS_NUMBER_SIZE 40
extern void settings_format_bytes(int64_t bytes, char *out);
extern void settings_format_seconds(double seconds, char *out);

#endif /* USHERD_SETTINGS_H */
