/*
 * extension/lib/glob.c
 *	  Globs over dot-separated segments.
 *
 * `*` stands for any characters inside one segment (alone between dots: the
 * whole segment), `**` as a segment for any number of segments (also none),
 * and a pattern that is only `*` for everything.  There is no escape: names
 * with a literal asterisk are matched by the wildcard.
 *
 * Both loops backtrack to the newest wildcard only, so a match takes at most
 * (pattern segments x name length) steps whatever the pattern.
 */
#include "glob.h"

#include <string.h>

static size_t
segment_len(const char *s, const char *end)
{
	const char *dot = memchr(s, '.', (size_t) (end - s));

	return (size_t) ((dot ? dot : end) - s);
}

/* One segment of the pattern against one of the name; `*` is any run of characters. */
static bool
segment_match(const char *p, size_t plen, const char *n, size_t nlen)
{
	size_t pi = 0, ni = 0;
	size_t star = plen, /* the newest asterisk; plen: none yet */
		star_name = 0;

	while (ni < nlen)
	{
		if (pi < plen && p[pi] == '*')
		{
			star = pi++;
			star_name = ni;
		}
		else if (pi < plen && p[pi] == n[ni])
		{
			pi++;
			ni++;
		}
		else if (star < plen)
		{
			pi = star + 1;
			ni = ++star_name;
		}
		else
			return false;
	}
	while (pi < plen && p[pi] == '*')
		pi++;
	return pi == plen;
}

/* A cursor over segments: NULL `at` means that all segments are consumed. */
static const char *
next_segment(const char *at, size_t len, const char *end)
{
	return at + len < end ? at + len + 1 : NULL;
}

bool
usher_glob_match(const char *pattern, size_t pattern_len, const char *name, size_t name_len)
{
	const char *pend = pattern + pattern_len;
	const char *nend = name + name_len;
	const char *p = pattern;
	const char *n = name;
	const char *after_star = NULL; /* pattern behind the newest `**` */
	const char *star_name = NULL; /* name segment where that `**` ends */
	bool have_star = false;

	if (pattern_len == 1 && pattern[0] == '*')
		return true;
	while (n != NULL)
	{
		size_t nlen = segment_len(n, nend);

		if (p != NULL)
		{
			size_t plen = segment_len(p, pend);

			if (plen == 2 && p[0] == '*' && p[1] == '*')
			{
				have_star = true;
				after_star = p = next_segment(p, plen, pend);
				star_name = n;
				if (p == NULL)
					return true;
				continue;
			}
			if (segment_match(p, plen, n, nlen))
			{
				p = next_segment(p, plen, pend);
				n = next_segment(n, nlen, nend);
				continue;
			}
		}
		if (!have_star)
			return false;
		star_name = next_segment(star_name, segment_len(star_name, nend), nend);
		n = star_name;
		p = after_star;
	}
	while (p != NULL && segment_len(p, pend) == 2 && p[0] == '*' && p[1] == '*')
		p = next_segment(p, 2, pend);
	return p == NULL;
}
