/*
 * gateway/lib/uri.c
 *	  Parts of a request's target: percent-encoding, queries, plain names (RFC 3986).
 */
#include <stdint.h>
#include <string.h>

#include "uri.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

long
uri_decode(Slice text, bool plus, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		char c = text.data[i];

		if (c == '%')
		{
			int high = i + 2 < text.len ? hex_value(text.data[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_value(text.data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -1;
			c = (char) (high * 16 + low);
			i += 2;
		}
		else if (c == '+' && plus)
			c = ' ';
		out[n++] = c;
	}
	return slice_is_text((Slice){out, n}) ? (long) n : -1;
}

static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		   c == '.' || c == '_' || c == '~';
}

size_t
uri_encode(Slice text, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.data[i];

		if (is_unreserved((char) c))
		{
			out[n++] = (char) c;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 15];
	}
	return n;
}

bool
uri_query_next(Slice *rest, Slice *name, Slice *value)
{
	while (rest->len > 0)
	{
		const char *start = rest->data, *end = start + rest->len;
		const char *stop = memchr(start, '&', rest->len);
		const char *equals;

		if (stop == NULL)
			stop = end;
		*rest = stop < end ? (Slice){stop + 1, (size_t) (end - stop - 1)} : (Slice){end, 0};
		if (stop == start)
			continue;
		equals = memchr(start, '=', (size_t) (stop - start));
		*name = (Slice){start, (size_t) ((equals ? equals : stop) - start)};
		*value = equals ? (Slice){equals + 1, (size_t) (stop - equals - 1)} : (Slice){NULL, 0};
		return true;
	}
	return false;
}

bool
uri_path_next(Slice *rest, Slice *segment)
{
	const char *start, *end, *stop;

	if (rest->len == 0 || rest->data[0] != '/')
		return false;
	start = rest->data + 1;
	end = rest->data + rest->len;
	stop = memchr(start, '/', (size_t) (end - start));
	if (stop == NULL)
		stop = end;
	*segment = (Slice){start, (size_t) (stop - start)};
	*rest = (Slice){stop, (size_t) (end - stop)};
	return true;
}

bool
uri_name_is_plain(Slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!is_unreserved(name.data[i]) && name.data[i] != ':' && name.data[i] != '@')
			return false;
	if (name.len == 0 || (name.len == 1 && name.data[0] == '.'))
		return false;
	return !(name.len == 2 && name.data[0] == '.' && name.data[1] == '.');
}
