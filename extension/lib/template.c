/*
 * extension/lib/template.c
 *	  Topic and key templates of routes: text with {places} that an event fills.
 *
 * Parsing makes a list of parts that point into the text; rendering copies
 * them, one after the other.  Neither allocates.
 */
#include "template.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_MAX 255 /* a type has 255 bytes, so never more segments */

static const struct
{
	const char *name;
	UsherPlace place;
} places[] = {
	{"category", PLACE_CATEGORY}, {"tenant", PLACE_TENANT}, {"type", PLACE_TYPE},
	{"stream", PLACE_STREAM},     {"topic", PLACE_TOPIC},   {"key", PLACE_KEY},
};

typedef struct Parser
{
	const char *at, *end;
	UsherTemplate *result;
	char *error;
	size_t error_size;
} Parser;

/* What is wrong, with the part of the text that it is about, cut to a readable length between characters. */
static bool
wrong(Parser *p, const char *what, const char *text, size_t len)
{
	bool cut = len > 40;

	if (cut)
		for (len = 40; len > 0 && ((unsigned char) text[len] & 0xc0) == 0x80;)
			len--;
	snprintf(p->error, p->error_size, "%s \"%.*s%s\"", what, (int) len, text, cut ? "..." : "");
	return false;
}

static bool
add_part(Parser *p, UsherPlace place, int segment, const char *text, size_t len)
{
	UsherTemplatePart *part;

	if (p->result->nparts == USHER_TEMPLATE_PARTS)
	{
		snprintf(p->error, p->error_size, "it has more than %d parts", USHER_TEMPLATE_PARTS);
		return false;
	}
	part = &p->result->parts[p->result->nparts++];
	*part = (UsherTemplatePart){place, segment, text, len};
	return true;
}

static bool
begins_with(const char *text, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

/* type[n], n in decimal. */
static bool
parse_segment(Parser *p, const char *name, size_t len)
{
	int segment = 0;
	const char *digit = name + strlen("type[");
	const char *end = name + len - 1; /* the bracket */

	if (*end != ']' || digit >= end)
		return wrong(p, "the segment's number is missing in", name, len);
	for (; digit < end; digit++)
	{
		if (*digit < '0' || *digit > '9')
			return wrong(p, "a segment's number has digits only, not as in", name, len);
		segment = segment * 10 + (*digit - '0');
		if (segment > SEGMENT_MAX)
			return wrong(p, "no type has so many segments as", name, len);
	}
	return add_part(p, PLACE_TYPE_SEGMENT, segment, NULL, 0);
}

/* A path below data or metadata: names between dots, none of them empty. */
static bool
parse_path(Parser *p, UsherPlace place, const char *name, size_t len, size_t prefix)
{
	const char *path = name + prefix;
	size_t path_len = len - prefix;

	if (path_len == 0 || path[0] == '.' || path[path_len - 1] == '.')
		return wrong(p, "a field's name is missing in", name, len);
	for (size_t i = 1; i < path_len; i++)
		if (path[i] == '.' && path[i - 1] == '.')
			return wrong(p, "a field's name is missing in", name, len);
	return add_part(p, place, 0, path, path_len);
}

/* What stands between the braces. */
static bool
parse_place(Parser *p, const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strlen(places[i].name) == len && memcmp(name, places[i].name, len) == 0)
			return add_part(p, places[i].place, 0, NULL, 0);
	if (begins_with(name, len, "type["))
		return parse_segment(p, name, len);
	if (begins_with(name, len, "data."))
		return parse_path(p, PLACE_DATA, name, len, strlen("data."));
	if (begins_with(name, len, "metadata."))
		return parse_path(p, PLACE_METADATA, name, len, strlen("metadata."));
	return wrong(p, "there is no place", name, len);
}

/* From an opening brace that stands alone to its end. */
static bool
parse_braces(Parser *p)
{
	const char *name = p->at + 1;
	const char *close = memchr(name, '}', (size_t) (p->end - name));
	const char *inner = memchr(name, '{', (size_t) (p->end - name));

	if (close == NULL || (inner != NULL && inner < close))
		return wrong(p, "a brace is not closed at", p->at, (size_t) (p->end - p->at));
	p->at = close + 1;
	return parse_place(p, name, (size_t) (close - name));
}

bool
usher_template_parse(const char *text, size_t len, UsherTemplate *result, char *error,
					 size_t error_size)
{
	Parser p = {text, text + len, result, error, error_size};
	const char *literal = text;

	result->nparts = 0;
	while (p.at < p.end)
	{
		char c = *p.at;
		bool doubled = p.at + 1 < p.end && p.at[1] == c;

		if (c != '{' && c != '}')
		{
			p.at++;
			continue;
		}
		if (c == '}' && !doubled)
			return wrong(&p, "a brace is closed that was not opened, at", p.at,
						 (size_t) (p.end - p.at));
		/* The first of two braces is the literal's last character, the second is left out. */
		if (doubled)
			p.at++;
		if (p.at > literal && !add_part(&p, PLACE_LITERAL, 0, literal, (size_t) (p.at - literal)))
			return false;
		if (doubled)
			p.at++;
		else if (!parse_braces(&p))
			return false;
		literal = p.at;
	}
	return p.at == literal || add_part(&p, PLACE_LITERAL, 0, literal, (size_t) (p.at - literal));
}

/* The n-th segment between dots, from 0; false when there are not so many. */
static bool
type_segment(const char **value, size_t *len, int n)
{
	const char *end = *value + *len;
	const char *at = *value;
	const char *dot;

	while ((dot = memchr(at, '.', (size_t) (end - at))) != NULL && n > 0)
	{
		at = dot + 1;
		n--;
	}
	if (n > 0)
		return false;
	*value = at;
	*len = (size_t) ((dot ? dot : end) - at);
	return true;
}

static bool
part_value(const UsherTemplatePart *part, UsherPlaceValue value, void *arg, const char **text,
		   size_t *len)
{
	static const UsherTemplatePart whole_type = {PLACE_TYPE, 0, NULL, 0};

	if (part->place != PLACE_TYPE_SEGMENT)
		return value(arg, part, text, len);
	return value(arg, &whole_type, text, len) && type_segment(text, len, part->segment);
}

long
usher_template_render(const UsherTemplate *template, UsherPlaceValue value, void *arg, char *out,
					  size_t size)
{
	size_t used = 0;

	for (int i = 0; i < template->nparts; i++)
	{
		const UsherTemplatePart *part = &template->parts[i];
		const char *text = part->text;
		size_t len = part->len;

		if (part->place != PLACE_LITERAL && !part_value(part, value, arg, &text, &len))
			return USHER_TEMPLATE_MISSING;
		if (len >= size - used) /* room for the zero byte, too; no size has room for nothing */
			return USHER_TEMPLATE_TOO_LONG;
		memcpy(out + used, text, len);
		used += len;
	}
	if (size == 0)
		return USHER_TEMPLATE_TOO_LONG;
	out[used] = '\0';
	return (long) used;
}
