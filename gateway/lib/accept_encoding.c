/*
 * gateway/lib/accept_encoding.c
 *	  Does a client want its reply compressed? (RFC 9110, 12.5.3)
 *
 * gzip is wanted when its weight is not 0 and not below that of identity.
 */
#include <string.h>
#include <strings.h>

#include "accept_encoding.h"

static Slice
trimmed(const char *start, const char *end)
{
	while (start < end && (*start == ' ' || *start == '\t'))
		start++;
	while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (Slice){start, (size_t) (end - start)};
}

static bool
is(Slice text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

/* 0 to 1 with at most three digits, in thousandths; -1: it is none. */
static int
weight_of(Slice text)
{
	int weight = 0, place = 1000;

	if (text.len == 0 || text.len > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
		(text.len > 1 && text.data[1] != '.'))
		return -1;
	for (size_t i = 0; i < text.len; i++)
	{
		if (i == 1)
			continue;
		if (text.data[i] < '0' || text.data[i] > '9')
			return -1;
		weight += (text.data[i] - '0') * place;
		place /= 10;
	}
	return weight <= 1000 ? weight : -1;
}

/* "gzip;q=0.5": its name and weight; false: it cannot be read. */
static bool
read_element(Slice element, Slice *name, int *weight)
{
	const char *end = element.data + element.len;
	const char *semicolon = memchr(element.data, ';', element.len);
	Slice parameter;

	*name = trimmed(element.data, semicolon ? semicolon : end);
	*weight = 1000;
	if (semicolon == NULL)
		return name->len > 0;
	parameter = trimmed(semicolon + 1, end);
	if (parameter.len < 2 || (parameter.data[0] != 'q' && parameter.data[0] != 'Q') ||
		parameter.data[1] != '=')
		return false;
	*weight = weight_of((Slice){parameter.data + 2, parameter.len - 2});
	return *weight >= 0 && name->len > 0;
}

bool
accepts_gzip(Slice header)
{
	int gzip = -1, identity = -1, any = -1;
	const char *at = header.data, *end;

	if (at == NULL)
		return false;
	for (end = at + header.len; at <= end;)
	{
		const char *comma = at < end ? memchr(at, ',', (size_t) (end - at)) : NULL;
		const char *stop = comma ? comma : end;
		Slice element = trimmed(at, stop), name;
		int weight;

		at = stop + 1;
		if (element.len == 0)
			continue;
		if (!read_element(element, &name, &weight))
			return false;
		if (is(name, "gzip") || is(name, "x-gzip"))
			gzip = weight;
		else if (is(name, "identity"))
			identity = weight;
		else if (is(name, "*"))
			any = weight;
	}
	if (gzip < 0)
		gzip = any;
	return gzip > 0 && gzip >= identity;
}
