/*
 * extension/lib/json_scan.c
 *	  Find members in JSON that somebody else has written, without building a tree.
 */
#include "json_scan.h"

#include <string.h>

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* From behind a quote to the closing one; NULL: there is none. */
static const char *
string_end(const char *p, const char *end)
{
	for (; p < end; p++)
	{
		if (*p == '"')
			return p;
		if (*p == '\\' && p + 1 < end)
			p++;
	}
	return NULL;
}

/* From an opening bracket to behind its closing one; NULL: there is none. */
static const char *
brackets_end(const char *p, const char *end)
{
	size_t depth = 0;

	for (; p < end; p++)
	{
		if (*p == '"')
		{
			if ((p = string_end(p + 1, end)) == NULL)
				return NULL;
		}
		else if (*p == '{' || *p == '[')
			depth++;
		else if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
	}
	return NULL;
}

static const char *
word_end(const char *p, const char *end)
{
	while (p < end && strchr(" \t\r\n,:]}[{\"", *p) == NULL)
		p++;
	return p;
}

/* The value that begins at p; returns what is behind it, NULL: there is none. */
static const char *
value_scan(const char *p, const char *end, UsherJson *value)
{
	const char *stop;

	if (p >= end)
		return NULL;
	value->start = p;
	value->kind = *p;
	if (*p == '"')
	{
		value->start = p + 1;
		if ((stop = string_end(p + 1, end)) == NULL)
			return NULL;
		value->len = (size_t) (stop - value->start);
		return stop + 1;
	}
	if (*p == '{' || *p == '[')
		stop = brackets_end(p, end);
	else if (*p == '-' || (*p >= '0' && *p <= '9') || *p == 't' || *p == 'f' || *p == 'n')
		stop = word_end(p, end);
	else
		stop = NULL;
	if (stop == NULL)
		return NULL;
	if (*p == '-' || (*p >= '0' && *p <= '9'))
		value->kind = '0';
	value->len = (size_t) (stop - p);
	return stop;
}

bool
usher_json_member(const char *text, size_t len, const char *name, UsherJson *value)
{
	const char *end = text + len;
	const char *p = skip_space(text, end);
	size_t name_len = strlen(name);

	if (p >= end || *p != '{')
		return false;
	p = skip_space(p + 1, end);
	while (p < end && *p == '"')
	{
		UsherJson key;

		if ((p = value_scan(p, end, &key)) == NULL)
			return false;
		p = skip_space(p, end);
		if (p >= end || *p != ':')
			return false;
		if ((p = value_scan(skip_space(p + 1, end), end, value)) == NULL)
			return false;
		if (key.len == name_len && memcmp(key.start, name, name_len) == 0)
			return true;
		p = skip_space(p, end);
		if (p >= end || *p != ',')
			return false;
		p = skip_space(p + 1, end);
	}
	return false;
}

bool
usher_json_first(const UsherJson *array, UsherJson *value)
{
	const char *end = array->start + array->len;

	return array->kind == '[' && array->len > 0 &&
		   value_scan(skip_space(array->start + 1, end), end, value) != NULL;
}

typedef struct Output
{
	char *out;
	size_t size, len;
} Output;

static void
put(Output *o, unsigned c)
{
	if (o->len < o->size)
		o->out[o->len] = (char) c;
	o->len++;
}

static void
put_utf8(Output *o, unsigned c)
{
	if (c < 0x80)
		put(o, c);
	else if (c < 0x800)
	{
		put(o, 0xc0 | (c >> 6));
		put(o, 0x80 | (c & 0x3f));
	}
	else if (c < 0x10000)
	{
		put(o, 0xe0 | (c >> 12));
		put(o, 0x80 | ((c >> 6) & 0x3f));
		put(o, 0x80 | (c & 0x3f));
	}
	else
	{
		put(o, 0xf0 | (c >> 18));
		put(o, 0x80 | ((c >> 12) & 0x3f));
		put(o, 0x80 | ((c >> 6) & 0x3f));
		put(o, 0x80 | (c & 0x3f));
	}
}

/* Four hexadecimal digits at p, or 0xfffd: the replacement character. */
static unsigned
hex4(const char *p, const char *end)
{
	unsigned c = 0;

	if (end - p < 4)
		return 0xfffd;
	for (int i = 0; i < 4; i++)
	{
		if (p[i] >= '0' && p[i] <= '9')
			c = c * 16 + (unsigned) (p[i] - '0');
		else if (p[i] >= 'a' && p[i] <= 'f')
			c = c * 16 + (unsigned) (p[i] - 'a') + 10;
		else if (p[i] >= 'A' && p[i] <= 'F')
			c = c * 16 + (unsigned) (p[i] - 'A') + 10;
		else
			return 0xfffd;
	}
	return c;
}

/* p stands on the u of \uXXXX; returns the last byte that belongs to it. */
static const char *
put_escaped(Output *o, const char *p, const char *end)
{
	unsigned c = hex4(p + 1, end);
	const char *last = end - p > 4 ? p + 4 : end - 1;

	if (c >= 0xd800 && c < 0xdc00 && end - last > 6 && last[1] == '\\' && last[2] == 'u')
	{
		unsigned low = hex4(last + 3, end);

		if (low >= 0xdc00 && low < 0xe000)
		{
			put_utf8(o, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
			return last + 6;
		}
	}
	put_utf8(o, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return last;
}

size_t
usher_json_text(const UsherJson *value, char *out, size_t size)
{
	static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
	const char *end = value->start + value->len;
	Output o = {out, size, 0};

	for (const char *p = value->start; p < end; p++)
	{
		const char *name;

		if (value->kind != '"' || *p != '\\' || p + 1 == end)
			put(&o, (unsigned char) *p);
		else if (*++p == 'u')
			p = put_escaped(&o, p, end);
		else if (*p != '\0' && (name = strchr(names, *p)) != NULL)
			put(&o, (unsigned char) bytes[name - names]);
		else
			put(&o, (unsigned char) *p);
	}
	return o.len;
}

bool
usher_json_is(const UsherJson *value, const char *text, size_t len)
{
	char small[256];

	if (memchr(value->start, '\\', value->len) == NULL)
		return value->len == len && memcmp(value->start, text, len) == 0;
	return usher_json_text(value, small, sizeof(small)) == len && len <= sizeof(small) &&
		   memcmp(small, text, len) == 0;
}

bool
usher_json_int(const UsherJson *value, int64_t *number)
{
	const char *p = value->start, *end = p + value->len;
	bool negative = p < end && *p == '-';
	uint64_t n = 0;

	if ((value->kind != '0' && value->kind != '"') || (p += negative) == end || end - p > 18)
		return false;
	for (; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (uint64_t) (*p - '0');
	}
	*number = negative ? -(int64_t) n : (int64_t) n;
	return true;
}
