/*
 * test/unit/glob.c
 *	  Patterns over dot-separated segments: a table of what matches, a second
 *	  implementation to compare with, and a bound on the time of evil patterns.
 */
#include "glob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int tests;
static int failures;

static void
ok(bool passed, const char *what, const char *pattern, const char *name)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s: \"%s\" and \"%s\"\n", passed ? "" : "not ", tests, what, pattern, name);
}

/* Copies of the exact size, so that a sanitizer sees a byte read too far. */
static bool
match(const char *pattern, const char *name)
{
	size_t plen = strlen(pattern);
	size_t nlen = strlen(name);
	char *p = malloc(plen + (plen == 0));
	char *n = malloc(nlen + (nlen == 0));
	bool result;

	memcpy(p, pattern, plen);
	memcpy(n, name, nlen);
	result = usher_glob_match(p, plen, n, nlen);
	free(p);
	free(n);
	return result;
}

typedef struct Case
{
	const char *pattern;
	const char *name;
	bool matches;
} Case;

static const Case cases[] = {
	/* exact */
	{"order.placed", "order.placed", true},
	{"order.placed", "order.paid", false},
	{"order.placed", "order.placed.late", false},
	{"order.placed", "order", false},
	{"order", "order.placed", false},
	{"order.placed", "Order.placed", false},
	/* a lone asterisk is everything */
	{"*", "order", true},
	{"*", "order.placed", true},
	{"*", "a.b.c.d", true},
	{"*", "", true},
	/* one segment */
	{"order.*", "order.placed", true},
	{"order.*", "order", false},
	{"order.*", "order.placed.late", false},
	{"order.*", "orders.placed", false},
	{"*.placed", "order.placed", true},
	{"*.placed", "a.order.placed", false},
	{"*.*", "order.placed", true},
	{"*.*", "order", false},
	{"a.*.c", "a.b.c", true},
	{"a.*.c", "a.c", false},
	{"a.*.c", "a.b.b.c", false},
	/* part of a segment */
	{"order.pl*", "order.placed", true},
	{"order.*ed", "order.placed", true},
	{"order.*ed", "order.placed.x", false},
	{"order.p*d", "order.placed", true},
	{"order.p*d", "order.p.d", false},
	{"ord*", "order", true},
	{"ord*", "order.placed", false},
	{"*er", "order", true},
	{"a*b*c", "aXXbYYc", true},
	{"a*b*c", "aXXcYYb", false},
	{"a*a", "a", false},
	{"a*a", "aa", true},
	{"*ab", "aab", true},
	{"*aab", "aaaab", true},
	/* any number of segments */
	{"**", "a", true},
	{"**", "a.b.c", true},
	{"**", "", true},
	{"order.**", "order.placed", true},
	{"order.**", "order.placed.late", true},
	{"order.**", "order", true},
	{"order.**", "orders", false},
	{"**.placed", "placed", true},
	{"**.placed", "a.b.placed", true},
	{"**.placed", "a.placed.b", false},
	{"a.**.z", "a.z", true},
	{"a.**.z", "a.b.c.z", true},
	{"a.**.z", "a.b.c", false},
	{"a.**.m.**.z", "a.m.z", true},
	{"a.**.m.**.z", "a.b.m.c.d.z", true},
	{"a.**.m.**.z", "a.b.c.z", false},
	{"**.**", "a", true},
	{"**.*", "a", true},
	{"**.*", "a.b", true},
	{"*.**", "a", true},
	{"**.a.b", "a.a.b", true},
	{"**.a.b", "a.b.a.b", true},
	{"**.a.b", "a.b.a", false},
	/* two asterisks beside other characters are two asterisks inside a segment */
	{"a**", "abc", true},
	{"a**", "a.b", false},
	{"order.**x", "order.ax", true},
	{"order.**x", "order.a.x", false},
	/* three asterisks are one segment */
	{"***", "a", true},
	{"***", "a.b", false},
	/* empty segments are segments */
	{"", "", true},
	{"", "a", false},
	{"a", "", false},
	{"a..b", "a..b", true},
	{"a.*.b", "a..b", true},
	{"a.", "a", false},
	{"a.*", "a.", true},
	{".", ".", true},
	{"*.", "a.", true},
	{"**.a", ".a", true},
	/* no other character is special */
	{"a?c", "abc", false},
	{"a?c", "a?c", true},
	{"[ab]", "a", false},
	{"a\\*", "a*", false},
	{"a.%", "a.b", false},
	{"é*", "été", true},
	{"é*", "éa", true},
};

/* The same relation, written as its definition. */
static bool
segment_reference(const char *p, const char *pe, const char *n, const char *ne)
{
	if (p == pe)
		return n == ne;
	if (*p == '*')
		return segment_reference(p + 1, pe, n, ne) ||
			   (n < ne && segment_reference(p, pe, n + 1, ne));
	return n < ne && *p == *n && segment_reference(p + 1, pe, n + 1, ne);
}

static const char *
segment_end(const char *s)
{
	return s + strcspn(s, ".");
}

/* NULL stands for "no segment left". */
static bool
segments_reference(const char *p, const char *n)
{
	const char *pe, *ne;

	if (p == NULL)
		return n == NULL;
	pe = segment_end(p);
	if (pe - p == 2 && p[0] == '*' && p[1] == '*')
	{
		if (segments_reference(*pe ? pe + 1 : NULL, n))
			return true;
		if (n == NULL)
			return false;
		ne = segment_end(n);
		return segments_reference(p, *ne ? ne + 1 : NULL);
	}
	if (n == NULL)
		return false;
	ne = segment_end(n);
	return segment_reference(p, pe, n, ne) &&
		   segments_reference(*pe ? pe + 1 : NULL, *ne ? ne + 1 : NULL);
}

static bool
reference(const char *pattern, const char *name)
{
	return strcmp(pattern, "*") == 0 || segments_reference(pattern, name);
}

static void
random_text(char *s, const char *alphabet, unsigned *seed)
{
	int len = rand_r(seed) % 9;

	for (int i = 0; i < len; i++)
		s[i] = alphabet[rand_r(seed) % strlen(alphabet)];
	s[len] = '\0';
}

static void
test_against_reference(void)
{
	unsigned seed = 42;
	int matched = 0;
	char pattern[16], name[16];

	for (int i = 0; i < 300000; i++)
	{
		bool expected;

		random_text(pattern, "ab.***", &seed);
		random_text(name, "ab.", &seed);
		expected = reference(pattern, name);
		matched += expected;
		if (match(pattern, name) != expected)
		{
			ok(false, expected ? "should match" : "should not match", pattern, name);
			return;
		}
	}
	ok(matched > 10000, "300,000 random pairs agree with the definition", "ab.*", "ab.");
}

/* Backtracking over every asterisk would take longer than the universe is old. */
static void
test_evil(const char *segment, const char *filler)
{
	char pattern[4096] = "";
	char name[8192] = "";
	clock_t begin = clock();
	bool matched;

	for (int i = 0; i < 100; i++)
		strcat(pattern, segment);
	strcat(pattern, "b");
	for (int i = 0; i < 2000; i++)
		strcat(name, filler);
	matched = usher_glob_match(pattern, strlen(pattern), name, strlen(name));
	ok(!matched && (double) (clock() - begin) / CLOCKS_PER_SEC < 1.0, "an evil pattern ends soon",
	   segment, filler);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(match(cases[i].pattern, cases[i].name) == cases[i].matches,
		   cases[i].matches ? "matches" : "does not match", cases[i].pattern, cases[i].name);
	test_against_reference();
	test_evil("*a", "a");
	test_evil("**.a.", "a.");
	test_evil("*a*.", "a.");
	printf("1..%d\n", tests);
	return failures != 0;
}
