/*
 * gateway/lib/settings.c
 *	  The syntax of usherd.conf: lines, numbers, sizes, times.
 *
 * Numbers are read without strtod(), which depends on the locale.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "settings.h"

static Slice
trimmed(const char *start, const char *end)
{
	while (start < end && (*start == ' ' || *start == '\t'))
		start++;
	while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	return (Slice){start, (size_t) (end - start)};
}

static bool
is_name(Slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!((text.data[i] >= 'a' && text.data[i] <= 'z') || text.data[i] == '_' ||
			  (i > 0 && text.data[i] >= '0' && text.data[i] <= '9')))
			return false;
	return text.len > 0;
}

SettingsLine
settings_line(Slice line, Slice *name, Slice *value, const char **fault)
{
	const char *equals, *end;

	*name = *value = (Slice){NULL, 0};
	if (line.len == 0)
		return SETTINGS_LINE_EMPTY;
	end = line.data + line.len;
	line = trimmed(line.data, end);
	if (line.len == 0 || line.data[0] == '#')
		return SETTINGS_LINE_EMPTY;
	for (size_t i = 0; i < line.len; i++)
		if ((unsigned char) line.data[i] < ' ' && line.data[i] != '\t')
		{
			*fault = "a control character";
			return SETTINGS_LINE_WRONG;
		}
	equals = memchr(line.data, '=', line.len);
	if (equals == NULL)
	{
		*fault = "neither \"name = value\" nor a comment";
		return SETTINGS_LINE_WRONG;
	}
	*name = trimmed(line.data, equals);
	*value = trimmed(equals + 1, end);
	if (!is_name(*name))
	{
		*fault = "what stands before \"=\" is no name (a-z, 0-9, _)";
		return SETTINGS_LINE_WRONG;
	}
	return SETTINGS_LINE_SET;
}

bool
settings_integer(Slice text, int64_t *number)
{
	bool negative = text.len > 0 && text.data[0] == '-';
	int64_t value = 0;

	if (text.len == (size_t) negative)
		return false;
	for (size_t i = negative; i < text.len; i++)
		if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, text.data[i] - '0', &value))
			return false;
	*number = negative ? -value : value;
	return true;
}

/* What stands behind the number, without blanks in front. */
static Slice
unit_of(Slice text, size_t number_len)
{
	return trimmed(text.data + number_len, text.data + text.len);
}

static bool
is(Slice text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

bool
settings_bytes(Slice text, int64_t *bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB"};
	size_t digits = 0;
	int64_t number, factor = 1;
	Slice unit;

	while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
		digits++;
	if (!settings_integer((Slice){text.data, digits}, &number))
		return false;
	unit = unit_of(text, digits);
	if (unit.len > 0)
	{
		size_t i = 0;

		while (i < 4 && !is(unit, units[i]))
			i++;
		if (i == 4)
			return false;
		factor = (int64_t) 1 << 10 * i;
	}
	if (__builtin_mul_overflow(number, factor, &number))
		return false;
	*bytes = number;
	return true;
}

bool
settings_seconds(Slice text, double *seconds)
{
	static const struct
	{
		const char *name;
		double seconds;
	} units[] = {{"ms", 0.001}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
	double number = 0, place = 1;
	size_t at = 0, digits = 0;
	Slice unit;

	for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++, digits++)
		number = number * 10 + (text.data[at] - '0');
	if (at < text.len && text.data[at] == '.')
		for (at++; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++, digits++)
		{
			place *= 10;
			number = number * 10 + (text.data[at] - '0');
		}
	if (digits == 0 || digits > 18)
		return false;
	number /= place;
	unit = unit_of(text, at);
	for (size_t i = 0; unit.len > 0; i++)
	{
		if (i == sizeof(units) / sizeof(units[0]))
			return false;
		if (is(unit, units[i].name))
		{
			number = i == 0 ? number / 1000 : number * units[i].seconds;
			break;
		}
	}
	*seconds = number;
	return true;
}

void
settings_format_bytes(int64_t bytes, char *out)
{
	static const char *const units[] = {"", "kB", "MB", "GB"};
	int i = 0;

	for (; i < 3 && bytes != 0 && bytes % 1024 == 0; i++)
		bytes /= 1024;
	snprintf(out, SETTINGS_NUMBER_SIZE, "%" PRId64 "%s", bytes, units[i]);
}

void
settings_format_seconds(double seconds, char *out)
{
	if (seconds >= 1 && seconds == floor(seconds))
		snprintf(out, SETTINGS_NUMBER_SIZE, "%.0fs", seconds);
	else if (seconds == 0)
		snprintf(out, SETTINGS_NUMBER_SIZE, "0");
	else if (seconds * 1000 == floor(seconds * 1000) && seconds < 1)
		snprintf(out, SETTINGS_NUMBER_SIZE, "%.0fms", seconds * 1000);
	else
		snprintf(out, SETTINGS_NUMBER_SIZE, "%.15g", seconds);
}
