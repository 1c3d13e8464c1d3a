/*
 * test/fuzz/json.h
 *	  A strict reader of JSON (RFC 8259) and UTF-8, to judge what our writers wrote.
 *
 * Written from the grammar and by decoding code points, so that it shares no
 * idea with the code that it judges.
 */
#ifndef USHER_TEST_JSON_H
#define USHER_TEST_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Json
{
	const char *at, *end;
	int depth;
} Json;

/* The code point at *s, which moves behind it; -1, one byte further, when there is none. */
static inline int32_t
json_code_point(const char **s, const char *end)
{
	static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
	unsigned char c = (unsigned char) *(*s)++;
	int more = c < 0x80 ? 0 : c < 0xc0 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf8 ? 3 : -1;
	int32_t point = more == 0 ? c : more < 0 ? -1 : c & (0x3f >> more);

	if (more < 0 || end - *s < more)
		return -1;
	for (int i = 0; i < more; i++)
	{
		if (((*s)[i] & 0xc0) != 0x80)
			return -1;
		point = point << 6 | ((*s)[i] & 0x3f);
	}
	if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return -1;
	*s += more;
	return point;
}

static inline bool
json_eat(Json *j, const char *token)
{
	size_t len = strlen(token);

	if ((size_t) (j->end - j->at) < len || memcmp(j->at, token, len) != 0)
		return false;
	j->at += len;
	return true;
}

static inline void
json_space(Json *j)
{
	while (j->at < j->end && strchr(" \t\r\n", *j->at) && *j->at)
		j->at++;
}

static inline int
json_hex4(Json *j)
{
	int value = 0;

	for (int i = 0; i < 4; i++, j->at++)
	{
		const char *digits = "0123456789abcdef0123456789ABCDEF";
		const char *found = j->at < j->end && *j->at ? strchr(digits, *j->at) : NULL;

		if (found == NULL)
			return -1;
		value = value * 16 + (int) (found - digits) % 16;
	}
	return value;
}

/*
 * A string; its contents go to out (as long as the JSON text is) when that is
 * not NULL.  Escapes beyond U+007F are refused: our writers make none.
 */
static inline bool
json_string(Json *j, char *out, size_t *len)
{
	size_t n = 0;

	if (!json_eat(j, "\""))
		return false;
	while (j->at < j->end && *j->at != '"')
	{
		const char *from = j->at;
		char c;

		if (*j->at != '\\')
		{
			int32_t point = json_code_point(&j->at, j->end);

			if (point < 0x20)
				return false;
			if (out)
				memcpy(out + n, from, (size_t) (j->at - from));
			n += (size_t) (j->at - from);
			continue;
		}
		if (++j->at == j->end)
			return false;
		c = *j->at++;
		if (c == 'u')
		{
			int point = json_hex4(j);

			if (point < 0 || point > 0x7f)
				return false;
			c = (char) point;
		}
		else
		{
			const char *escapes = "\"\"\\\\//b\bf\fn\nr\rt\t";
			size_t i = 0;

			while (escapes[i] != '\0' && escapes[i] != c)
				i += 2;
			if (escapes[i] == '\0')
				return false;
			c = escapes[i + 1];
		}
		if (out)
			out[n] = c;
		n++;
	}
	if (len)
		*len = n;
	return json_eat(j, "\"");
}

static inline bool
json_digits(Json *j)
{
	const char *from = j->at;

	while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
		j->at++;
	return j->at > from;
}

static inline bool
json_number(Json *j)
{
	json_eat(j, "-");
	if (!json_eat(j, "0") && !json_digits(j))
		return false;
	if (json_eat(j, ".") && !json_digits(j))
		return false;
	if (json_eat(j, "e") || json_eat(j, "E"))
	{
		if (!json_eat(j, "+"))
			json_eat(j, "-");
		return json_digits(j);
	}
	return true;
}

static inline bool json_value(Json *j);

static inline bool
json_list(Json *j, const char *close, bool named)
{
	json_space(j);
	if (json_eat(j, close))
		return true;
	do
	{
		json_space(j);
		if (named && !json_string(j, NULL, NULL))
			return false;
		json_space(j);
		if (named && !json_eat(j, ":"))
			return false;
		if (!json_value(j))
			return false;
	} while (json_eat(j, ","));
	return json_eat(j, close);
}

/* A value with the space around it. */
static inline bool
json_value(Json *j)
{
	bool good;

	json_space(j);
	if (j->at == j->end || j->depth > 500)
		return false;
	j->depth++;
	switch (*j->at)
	{
		case '{':
			j->at++;
			good = json_list(j, "}", true);
			break;
		case '[':
			j->at++;
			good = json_list(j, "]", false);
			break;
		case '"':
			good = json_string(j, NULL, NULL);
			break;
		case 't':
			good = json_eat(j, "true");
			break;
		case 'f':
			good = json_eat(j, "false");
			break;
		case 'n':
			good = json_eat(j, "null");
			break;
		default:
			good = json_number(j);
	}
	j->depth--;
	json_space(j);
	return good;
}

static inline bool
json_valid(const char *text, size_t len)
{
	Json j = {text, text + len, 0};

	return json_value(&j) && j.at == j.end;
}

/* The text without the space between its tokens; returns the length.  out may be text. */
static inline size_t
json_minify(const char *text, size_t len, char *out)
{
	size_t n = 0;
	bool inside = false;

	for (size_t i = 0; i < len; i++)
	{
		if (!inside && strchr(" \t\r\n", text[i]))
			continue;
		if (text[i] == '"')
			inside = !inside;
		out[n++] = text[i];
		if (inside && text[i] == '\\' && i + 1 < len)
			out[n++] = text[++i];
	}
	return n;
}

#endif /* USHER_TEST_JSON_H */
