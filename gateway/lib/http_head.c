/*
 * gateway/lib/http_head.c
 *	  The head of an HTTP/1.1 request, strictly.
 *
 * RFC 9112 (syntax, section 2-5), RFC 9110 (tokens, section 5.6.2).
 */
#include <string.h>

#include "http_head.h"

#define METHOD_LEN_MAX 32

/* What a character may stand in. */
enum
{
	TOKEN = 1,
	TARGET = 2,
	HOST = 4,
	VALUE = 8
};

static unsigned char classes[256]; /* made with the first head */

static bool
is_one_of(unsigned char c, const char *list)
{
	return c != 0 && strchr(list, c) != NULL;
}

static void
classes_make(void)
{
	for (int i = 255; i >= 0; i--)
	{
		unsigned char c = (unsigned char) i;
		bool visible = c > ' ' && c < 127;

		/* tchar of RFC 9110, 5.6.2 */
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			is_one_of(c, "!#$%&'*+-.^_`|~"))
			classes[i] |= TOKEN;
		/* everything visible but what RFC 3986 has no place for; bytes above 127 are not ASCII and not allowed */
		if (visible && !is_one_of(c, "\"<>\\^`{|}#"))
			classes[i] |= TARGET;
		if (visible && !is_one_of(c, "\"#/<>?@\\^`{|}"))
			classes[i] |= HOST;
		if ((c >= ' ' || c == '\t') && c != 127)
			classes[i] |= VALUE;
	}
}

static bool
is_all(Slice text, unsigned char class)
{
	for (size_t i = 0; i < text.len; i++)
		if ((classes[(unsigned char) text.data[i]] & class) == 0)
			return false;
	return true;
}

static bool
is_token(Slice text)
{
	return text.len > 0 && is_all(text, TOKEN);
}

static bool
is_target(Slice text)
{
	return text.len > 0 && is_all(text, TARGET) &&
		   (text.data[0] == '/' || (text.len == 1 && text.data[0] == '*'));
}

/* A name or an address, and a port (RFC 9110, 7.2); empty when the target has no authority. */
static bool
is_host(Slice text)
{
	return is_all(text, HOST);
}

/* A line ends in CR LF; neither stands alone.  false: it does. */
static bool
next_line(const char **at, const char *end, Slice *line)
{
	const char *lf = memchr(*at, '\n', (size_t) (end - *at));

	if (lf == NULL || lf == *at || lf[-1] != '\r')
		return false;
	*line = (Slice){*at, (size_t) (lf - 1 - *at)};
	*at = lf + 1;
	return memchr(line->data, '\r', line->len) == NULL;
}

static HttpHeadResult
parse_request_line(Slice line, HttpHead *head)
{
	const char *end = line.data + line.len;
	const char *space = memchr(line.data, ' ', line.len);
	const char *second;

	if (space == NULL)
		return HTTP_HEAD_BAD;
	head->method = (Slice){line.data, (size_t) (space - line.data)};
	second = memchr(space + 1, ' ', (size_t) (end - space - 1));
	if (second == NULL || head->method.len > METHOD_LEN_MAX || !is_token(head->method))
		return HTTP_HEAD_BAD;
	head->target = (Slice){space + 1, (size_t) (second - space - 1)};
	if (!is_target(head->target))
		return HTTP_HEAD_BAD;
	if (end - second != 9 || memcmp(second + 1, "HTTP/", 5) != 0 || second[7] != '.' ||
		second[6] < '0' || second[6] > '9' || second[8] < '0' || second[8] > '9')
		return HTTP_HEAD_BAD;
	if (second[6] != '1' || second[8] > '1')
		return HTTP_HEAD_VERSION;
	head->minor_version = second[8] - '0';
	return HTTP_HEAD_OK;
}

static bool
parse_field(Slice line, HttpField *field)
{
	const char *colon = memchr(line.data, ':', line.len);
	const char *value, *end = line.data + line.len;

	if (colon == NULL)
		return false;
	field->name = (Slice){line.data, (size_t) (colon - line.data)};
	if (!is_token(field->name))
		return false; /* a blank before the colon, or a folded line */
	value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	field->value = (Slice){value, (size_t) (end - value)};
	return is_all(field->value, VALUE);
}

/* Where the head ends, behind its empty line; NULL: it has not ended. */
static const char *
find_end(const char *text, size_t len, size_t start)
{
	const char *at = text + (start > 3 ? start - 3 : 0);

	while ((at = memchr(at, '\n', (size_t) (text + len - at))) != NULL)
	{
		/* An empty line: CR LF, or LF alone, which is refused when the lines are read. */
		if (at + 1 < text + len && at[1] == '\n')
			return at + 2;
		if (at + 2 < text + len && at[1] == '\r' && at[2] == '\n')
			return at + 3;
		at++;
	}
	return NULL;
}

HttpHeadResult
http_head_parse(const char *text, size_t len, size_t start, HttpHead *head, size_t *used)
{
	const char *at = text;
	const char *end;
	HttpHeadResult result;
	Slice line, host;
	bool twice;

	/* RFC 9112, 2.2: a server should ignore an empty line in front; more than a few are no accident. */
	for (int i = 0; i < 4 && len - (size_t) (at - text) >= 2 && at[0] == '\r' && at[1] == '\n'; i++)
		at += 2;
	if (classes['a'] == 0)
		classes_make();
	if ((size_t) (at - text) < len && at[0] != '\r' && !is_token((Slice){at, 1}))
		return HTTP_HEAD_BAD;
	end = find_end(at, len - (size_t) (at - text),
				   start > (size_t) (at - text) ? start - (size_t) (at - text) : 0);
	if (end == NULL)
	{
		*used = len;
		return HTTP_HEAD_MORE;
	}
	if (!next_line(&at, end, &line))
		return HTTP_HEAD_BAD;
	result = parse_request_line(line, head);
	if (result != HTTP_HEAD_OK)
		return result;
	head->nfields = 0;
	for (;;)
	{
		if (!next_line(&at, end, &line))
			return HTTP_HEAD_BAD;
		if (line.len == 0)
			break;
		if (head->nfields == HTTP_FIELDS_MAX)
			return HTTP_HEAD_FIELDS;
		if (!parse_field(line, &head->fields[head->nfields++]))
			return HTTP_HEAD_BAD;
	}
	*used = (size_t) (at - text);
	/* RFC 9112, 3.2: exactly one Host in HTTP/1.1. */
	host = http_head_field(head, "host", &twice);
	if ((host.data == NULL && head->minor_version > 0) || twice || !is_host(host))
		return HTTP_HEAD_BAD;
	return HTTP_HEAD_OK;
}

Slice
http_head_find(const HttpHead *head, const char *name, size_t len, bool *twice)
{
	Slice found = {NULL, 0};

	*twice = false;
	for (int i = 0; i < head->nfields; i++)
	{
		if (head->fields[i].name.len != len ||
			strncasecmp(head->fields[i].name.data, name, len) != 0)
			continue;
		if (found.data != NULL)
			*twice = true;
		else
			found = head->fields[i].value;
	}
	return found;
}

bool
http_head_list_has(const HttpHead *head, const char *name, const char *element)
{
	for (int i = 0; i < head->nfields; i++)
		if (slice_is_nocase(head->fields[i].name, name) &&
			slice_list_has(head->fields[i].value, element))
			return true;
	return false;
}
