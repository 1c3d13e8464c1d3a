/*
 * gateway/lib/json_check.c
 *	  JSON bodies: one strict pass (RFC 8259).
 *
 * The check keeps one bit for each open array or object.  The walks are in
 * json_walk.c.
 */
#include <string.h>

#include "json_check.h"

typedef struct Reader
{
	const char *start, *at, *end;
	const char *message; /* NULL: no fault so far */
} Reader;

static bool
fault(Reader *r, const char *message)
{
	r->message = message;
	return false;
}

static void
skip_space(Reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

static bool
is_digit(const Reader *r)
{
	return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

/* Behind the backslash. */
static bool
read_escape(Reader *r)
{
	int point;

	if (r->at == r->end)
		return fault(r, "a string does not end");
	if (*r->at != 'u')
	{
		if (*r->at == '\0' || strchr("\"\\/bfnrt", *r->at) == NULL)
			return fault(r, "no escape of JSON");
		r->at++;
		return true;
	}
	point = json_hex_quad(r->at + 1, r->end);
	if (point < 0)
		return fault(r, "\\u without four hexadecimal digits");
	if (point == 0)
		return fault(r, "U+0000 cannot be kept");
	if (point >= 0xdc00 && point < 0xe000)
		return fault(r, "the second half of a surrogate pair without the first");
	r->at += 5;
	if (point < 0xd800 || point >= 0xe000)
		return true;
	if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
		return fault(r, "the first half of a surrogate pair without the second");
	point = json_hex_quad(r->at + 2, r->end);
	if (point < 0xdc00 || point >= 0xe000)
		return fault(r, "the first half of a surrogate pair without the second");
	r->at += 6;
	return true;
}

/* At the opening quote. */
static bool
read_string(Reader *r)
{
	r->at++;
	for (;;)
	{
		unsigned char c;
		int len;

		r->at += text_plain(r->at, (size_t) (r->end - r->at));
		if (r->at == r->end)
			return fault(r, "a string does not end");
		c = (unsigned char) *r->at;
		if (c == '"')
		{
			r->at++;
			return true;
		}
		if (c == '\\')
		{
			r->at++;
			if (!read_escape(r))
				return false;
		}
		else if (c < 0x20)
			return fault(r, "a control character in a string");
		else if (c < 0x80)
			r->at++;
		else
		{
			len = utf8_length((const unsigned char *) r->at, (size_t) (r->end - r->at));
			if (len == 0)
				return fault(r, "not UTF-8");
			r->at += len;
		}
	}
}

static bool
read_number(Reader *r)
{
	const char *start;
	int64_t digits = 0;

	if (*r->at == '-')
		r->at++;
	if (!is_digit(r))
		return fault(r, "no value of JSON");
	start = r->at;
	while (is_digit(r))
		r->at++;
	digits = r->at - start;
	if (*start == '0' && digits > 1)
	{
		r->at = start;
		return fault(r, "a number with a zero in front");
	}
	if (r->at < r->end && *r->at == '.')
	{
		r->at++;
		if (!is_digit(r))
			return fault(r, "a number without digits behind its point");
		while (is_digit(r))
			r->at++;
		digits = r->at - start - 1;
	}
	if (digits > JSON_NUMBER_DIGITS_MAX)
		return fault(r, "a number with too many digits");
	if (r->at < r->end && (*r->at == 'e' || *r->at == 'E'))
	{
		int64_t exponent = 0;

		r->at++;
		if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
			r->at++;
		if (!is_digit(r))
			return fault(r, "a number without digits in its exponent");
		for (; is_digit(r); r->at++)
			if (exponent <= JSON_EXPONENT_MAX)
				exponent = exponent * 10 + (*r->at - '0');
		if (exponent > JSON_EXPONENT_MAX)
			return fault(r, "a number with too large an exponent");
	}
	return true;
}

static bool
read_word(Reader *r, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return fault(r, "no value of JSON");
	r->at += len;
	return true;
}

static bool
read_scalar(Reader *r)
{
	switch (*r->at)
	{
		case '"':
			return read_string(r);
		case 't':
			return read_word(r, "true");
		case 'f':
			return read_word(r, "false");
		case 'n':
			return read_word(r, "null");
		default:
			return read_number(r);
	}
}

/* At a member of an object: its name and the colon. */
static bool
read_name(Reader *r)
{
	if (r->at == r->end || *r->at != '"')
		return fault(r, "a member without a name in quotes");
	if (!read_string(r))
		return false;
	skip_space(r);
	if (r->at == r->end || *r->at != ':')
		return fault(r, "a name without a colon");
	r->at++;
	skip_space(r);
	return true;
}

/* One value with everything in it. */
static bool
read_value(Reader *r, int depth_max)
{
	unsigned char objects[JSON_DEPTH_LIMIT / 8 + 1];
	int depth = 0;

	for (;;)
	{
		bool object;

		/* A value begins here. */
		if (r->at == r->end)
			return fault(r, "a value is missing");
		if (*r->at == '{' || *r->at == '[')
		{
			object = *r->at == '{';
			if (depth == depth_max)
				return fault(r, "too many arrays and objects within each other");
			if (object)
				objects[depth / 8] |= (unsigned char) (1u << depth % 8);
			else
				objects[depth / 8] &= (unsigned char) ~(1u << depth % 8);
			depth++;
			r->at++;
			skip_space(r);
			if (r->at < r->end && *r->at == (object ? '}' : ']'))
			{
				r->at++;
				depth--;
			}
			else if (object && !read_name(r))
				return false;
			else
				continue;
		}
		else if (!read_scalar(r))
			return false;

		/* It has ended; close what ends with it. */
		for (;;)
		{
			if (depth == 0)
				return true;
			object = (objects[(depth - 1) / 8] >> (depth - 1) % 8) & 1;
			skip_space(r);
			if (r->at == r->end)
				return fault(r, object ? "an object does not end" : "an array does not end");
			if (*r->at == ',')
				break;
			if (*r->at != (object ? '}' : ']'))
				return fault(r, "neither a comma nor the end");
			r->at++;
			depth--;
		}
		r->at++;
		skip_space(r);
		if (object && !read_name(r))
			return false;
	}
}

bool
json_check(const char *text, size_t len, int depth_max, JsonValue *value, JsonFault *fault_at)
{
	static const char nothing[1] = "";
	Reader r = {.start = text ? text : nothing};
	const char *start;

	*value = (JsonValue){JSON_NONE, {NULL, 0}};
	r.at = r.start;
	r.end = r.start + (text ? len : 0);
	if (depth_max > JSON_DEPTH_LIMIT)
		depth_max = JSON_DEPTH_LIMIT;
	skip_space(&r);
	start = r.at;
	if (r.at == r.end)
		fault(&r, "there is no value");
	else if (read_value(&r, depth_max))
	{
		*value = (JsonValue){json_kind_of(*start), {start, (size_t) (r.at - start)}};
		skip_space(&r);
		if (r.at < r.end)
			fault(&r, "something stands behind the value");
	}
	if (r.message == NULL)
		return true;
	*value = (JsonValue){JSON_NONE, {NULL, 0}};
	fault_at->offset = (size_t) (r.at - r.start);
	fault_at->message = r.message;
	return false;
}
