/*
 * gateway/lib/scope.c
 *	  Scopes: an action, and a glob over what it may be done to.
 *
 * A scope's object is a glob as in extension/lib/glob.h.  The object that is
 * asked about may be a pattern too (a subscription to "order.*"), so the
 * question is whether the one covers the other.  For an object without
 * asterisks that is the same as whether the glob matches it.
 */
#include "scope.h"

#include <string.h>

#include "lib/glob.h"

static bool
is_everything(const char *glob, size_t len)
{
	return (len == 1 && glob[0] == '*') || (len == 2 && glob[0] == '*' && glob[1] == '*');
}

static bool
is_any_segments(const char *segment, size_t len)
{
	return len == 2 && segment[0] == '*' && segment[1] == '*';
}

typedef struct Segments
{
	const char *at, *end; /* at == NULL: none left */
	size_t len; /* of the first */
} Segments;

static Segments
segments(const char *at, const char *end)
{
	Segments s = {at, end, 0};

	if (at != NULL)
	{
		const char *dot = memchr(at, '.', (size_t) (end - at));

		s.len = (size_t) ((dot ? dot : end) - at);
	}
	return s;
}

static Segments
rest(Segments s)
{
	return segments(s.at + s.len < s.end ? s.at + s.len + 1 : NULL, s.end);
}

/*
 * One segment of the glob over one of the pattern.  An asterisk of the pattern stands for characters that
 * nobody knows, so only an asterisk of the glob takes it; for the matcher it is a character like any other.
 */
static bool
segment_covers(Segments glob, Segments pattern)
{
	if (is_any_segments(pattern.at, pattern.len))
		return false;
	return usher_glob_match(glob.at, glob.len, pattern.at, pattern.len);
}

bool
scope_covers(const char *glob, size_t glob_len, const char *pattern, size_t len)
{
	Segments g = segments(glob, glob + glob_len), p = segments(pattern, pattern + len);
	Segments after_any = {NULL, NULL, 0},
			 taken = {NULL, NULL, 0}; /* the newest `**`, and what it took */
	bool any = false;

	if (is_everything(glob, glob_len))
		return true;
	if (is_everything(pattern, len))
		return false;
	while (p.at != NULL)
	{
		if (g.at != NULL && is_any_segments(g.at, g.len))
		{
			any = true;
			after_any = g = rest(g);
			taken = p;
			if (g.at == NULL)
				return true;
			continue;
		}
		if (g.at != NULL && segment_covers(g, p))
		{
			g = rest(g);
			p = rest(p);
			continue;
		}
		if (!any)
			return false;
		taken = p = rest(taken);
		g = after_any;
	}
	while (g.at != NULL && is_any_segments(g.at, g.len))
		g = rest(g);
	return g.at == NULL;
}

/* The scope's text behind the action, or NULL if it is about another. */
static const char *
behind_action(const char *scope, const char *action)
{
	size_t len = strlen(action);

	if (strncmp(scope, action, len) != 0 || (scope[len] != '\0' && scope[len] != ':'))
		return NULL;
	return scope + len;
}

bool
scope_allows(const char *scope, const char *action, const char *object, size_t len)
{
	const char *behind;
	size_t glob_len;

	if (strcmp(scope, "*") == 0)
		return true;
	behind = behind_action(scope, action);
	if (behind == NULL)
		return false;
	if (*behind == '\0')
		return true;
	glob_len = strlen(++behind);
	if (glob_len == 0)
		return false;
	if (object == NULL)
		return is_everything(behind, glob_len);
	return scope_covers(behind, glob_len, object, len);
}

bool
scope_mentions(const char *scope, const char *action)
{
	const char *behind;

	if (strcmp(scope, "*") == 0)
		return true;
	behind = behind_action(scope, action);
	return behind != NULL && (*behind == '\0' || behind[1] != '\0');
}
