/*
 * gateway/lib/json_walk.c
 *	  Walks over the elements and members of JSON that json_check() has accepted.
 *
 * Values are skipped by their quotes and brackets alone, which is right for
 * checked text and stays within the text for any other.
 */
#include <string.h>

#include "json_check.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
json_hex_quad(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int digit = hex_value(at[i]);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

JsonKind
json_kind_of(char c)
{
	switch (c)
	{
		case '{':
			return JSON_OBJECT;
		case '[':
			return JSON_ARRAY;
		case '"':
			return JSON_STRING;
		case 't':
			return JSON_TRUE;
		case 'f':
			return JSON_FALSE;
		case 'n':
			return JSON_NULL;
		default:
			return JSON_NUMBER;
	}
}

JsonWalk
json_walk(JsonValue container)
{
	JsonWalk walk = {NULL, NULL, container.kind == JSON_OBJECT};

	if ((container.kind == JSON_OBJECT || container.kind == JSON_ARRAY) && container.text.len >= 2)
	{
		walk.at = container.text.data + 1;
		walk.end = container.text.data + container.text.len - 1;
	}
	return walk;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Behind the string that begins at `at`. */
static const char *
string_end(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\' && at + 1 < end)
			at++;
	return at < end ? at + 1 : end;
}

/* Behind the value that begins at `at`. */
static const char *
value_end(const char *at, const char *end)
{
	size_t depth = 0;

	if (*at != '{' && *at != '[' && *at != '"')
	{
		while (at < end && *at != '\0' && *at != ',' && *at != ']' && *at != '}' && !is_space(*at))
			at++;
		return at;
	}
	do
	{
		if (*at == '"')
		{
			at = string_end(at, end);
			continue;
		}
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		at++;
	} while (depth > 0 && at < end);
	return at;
}

/* The next value, and what stands in front of the one after it. */
static bool
take(JsonWalk *walk, JsonValue *value)
{
	const char *start;

	while (walk->at < walk->end && (is_space(*walk->at) || *walk->at == ',' || *walk->at == ':'))
		walk->at++;
	start = walk->at;
	if (start >= walk->end)
		return false;
	walk->at = value_end(start, walk->end);
	*value = (JsonValue){json_kind_of(*start), {start, (size_t) (walk->at - start)}};
	return walk->at > start;
}

bool
json_next(JsonWalk *walk, JsonValue *name, JsonValue *value)
{
	JsonValue none = {JSON_NONE, {NULL, 0}};

	if (name != NULL)
		*name = none;
	*value = none;
	if (!walk->object)
		return take(walk, value);
	if (!take(walk, name != NULL ? name : &none))
		return false;
	return take(walk, value);
}

static bool
has_escapes(JsonValue string)
{
	return memchr(string.text.data, '\\', string.text.len) != NULL;
}

/* Which of the names it is; count: none of them. */
static int
member_of(JsonValue name, const char *const *names, int count)
{
	bool plain = !has_escapes(name);
	size_t len;
	int i = 0;

	if (name.kind != JSON_STRING || name.text.len < 2)
		return count;
	len = name.text.len - 2;
	for (; i < count; i++)
		if (plain ? strncmp(names[i], name.text.data + 1, len) == 0 && names[i][len] == '\0'
				  : json_string_is(name, names[i]))
			break;
	return i;
}

JsonMembers
json_members(JsonValue object, const char *const *names, int count, JsonValue *values,
			 JsonValue *stranger)
{
	JsonWalk walk = json_walk(object);
	JsonMembers result = JSON_MEMBERS_OK;
	JsonValue name, value;

	for (int i = 0; i < count; i++)
		values[i] = (JsonValue){JSON_NONE, {NULL, 0}};
	while (json_next(&walk, &name, &value))
	{
		int i = member_of(name, names, count);

		if (i < count && values[i].kind == JSON_NONE)
		{
			values[i] = value;
			continue;
		}
		/* A name that stands twice is worse: who else reads it may take the other one. */
		if (i < count || result == JSON_MEMBERS_OK)
			*stranger = name;
		if (i < count)
			return JSON_MEMBERS_TWICE;
		result = JSON_MEMBERS_UNKNOWN;
	}
	return result;
}

static size_t
put_utf8(char *out, int point)
{
	if (point < 0x80)
	{
		out[0] = (char) point;
		return 1;
	}
	if (point < 0x800)
	{
		out[0] = (char) (0xc0 | point >> 6);
		out[1] = (char) (0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000)
	{
		out[0] = (char) (0xe0 | point >> 12);
		out[1] = (char) (0x80 | (point >> 6 & 0x3f));
		out[2] = (char) (0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | point >> 18);
	out[1] = (char) (0x80 | (point >> 12 & 0x3f));
	out[2] = (char) (0x80 | (point >> 6 & 0x3f));
	out[3] = (char) (0x80 | (point & 0x3f));
	return 4;
}

/* The next character of a checked string, as UTF-8 in out; *at moves behind it. */
static size_t
next_character(const char **at, const char *end, char out[4])
{
	static const char escapes[] = "b\bf\fn\nr\rt\t";
	const char *known;
	int point, second;

	if (**at != '\\' || end - *at < 2)
	{
		out[0] = *(*at)++;
		return 1;
	}
	if ((*at)[1] != 'u' || (point = json_hex_quad(*at + 2, end)) < 0)
	{
		known = strchr(escapes, (*at)[1]);
		out[0] = known != NULL && (known - escapes) % 2 == 0 && *known ? known[1] : (*at)[1];
		*at += 2;
		return 1;
	}
	*at += 6;
	if (point >= 0xd800 && point < 0xdc00 && end - *at >= 6 &&
		(second = json_hex_quad(*at + 2, end)) >= 0)
	{
		point = 0x10000 + ((point - 0xd800) << 10) + ((second - 0xdc00) & 0x3ff);
		*at += 6;
	}
	return put_utf8(out, point);
}

size_t
json_unescape(JsonValue string, char *out)
{
	const char *at, *end;
	size_t len = 0;

	if (string.kind != JSON_STRING || string.text.len < 2)
		return 0;
	at = string.text.data + 1;
	end = string.text.data + string.text.len - 1;
	if (!has_escapes(string))
	{
		memcpy(out, at, (size_t) (end - at));
		return (size_t) (end - at);
	}
	while (at < end)
	{
		char character[4];
		size_t n = next_character(&at, end, character);

		memcpy(out + len, character, n);
		len += n;
	}
	return len;
}

bool
json_string_is(JsonValue string, const char *text)
{
	const char *at, *end;
	size_t len = strlen(text), done = 0;

	/* with its quotes, and escapes are longer than what they stand for */
	if (string.kind != JSON_STRING || string.text.len < len + 2)
		return false;
	at = string.text.data + 1;
	end = string.text.data + string.text.len - 1;
	if (memchr(at, '\\', (size_t) (end - at)) == NULL)
		return (size_t) (end - at) == len && memcmp(at, text, len) == 0;
	while (at < end)
	{
		char character[4];
		size_t n = next_character(&at, end, character);

		if (len - done < n || memcmp(text + done, character, n) != 0)
			return false;
		done += n;
	}
	return done == len;
}

/* Are two strings the same, whatever their escapes? */
static bool
same_strings(JsonValue a, JsonValue b)
{
	const char *at_a = a.text.data + 1, *end_a = a.text.data + a.text.len - 1;
	const char *at_b = b.text.data + 1, *end_b = b.text.data + b.text.len - 1;

	if (a.text.len == b.text.len && memcmp(a.text.data, b.text.data, a.text.len) == 0)
		return true;
	if (!has_escapes(a) && !has_escapes(b))
		return false;
	while (at_a < end_a && at_b < end_b)
	{
		char character_a[4], character_b[4];
		size_t n = next_character(&at_a, end_a, character_a);

		if (next_character(&at_b, end_b, character_b) != n ||
			memcmp(character_a, character_b, n) != 0)
			return false;
	}
	return at_a == end_a && at_b == end_b;
}

bool
json_distinct(JsonValue value)
{
	JsonValue names[JSON_DISTINCT_MAX], name, item;
	JsonWalk walk = json_walk(value);
	int n = 0;

	while (json_next(&walk, &name, &item))
	{
		if (value.kind == JSON_OBJECT)
		{
			if (n == JSON_DISTINCT_MAX)
				return false;
			for (int i = 0; i < n; i++)
				if (same_strings(names[i], name))
					return false;
			names[n++] = name;
		}
		if ((item.kind == JSON_OBJECT || item.kind == JSON_ARRAY) && !json_distinct(item))
			return false;
	}
	return true;
}

bool
json_int(JsonValue number, int64_t min, int64_t max, int64_t *result)
{
	const char *at = number.text.data, *end = at + number.text.len;
	bool negative;
	int64_t value = 0;

	if (number.kind != JSON_NUMBER)
		return false;
	negative = at < end && *at == '-';
	at += negative;
	if (at == end)
		return false;
	for (; at < end; at++)
	{
		if (*at < '0' || *at > '9' || __builtin_mul_overflow(value, 10, &value) ||
			(negative ? __builtin_sub_overflow(value, *at - '0', &value)
					  : __builtin_add_overflow(value, *at - '0', &value)))
			return false;
	}
	if (value < min || value > max)
		return false;
	*result = value;
	return true;
}

int64_t
json_count(JsonValue container)
{
	JsonWalk walk = json_walk(container);
	JsonValue value;
	int64_t count = 0;

	while (json_next(&walk, NULL, &value))
		count++;
	return count;
}
