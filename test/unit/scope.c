/*
 * test/unit/scope.c
 *	  Scopes: what they allow, that a pattern is covered only if all that it matches is, and the header's form.
 *
 * unit sources: -lcrypto
 */
#include "authorization.h"
#include "glob.h"
#include "scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static const struct
{
	const char *scope, *action, *object; /* object NULL: on everything */
	bool allowed;
} cases[] = {
	{"log:read", "log:read", NULL, true},
	{"log:read", "log:read", "order", true},
	{"log:read", "log:append", NULL, false},
	{"log:readers", "log:read", NULL, false},
	{"log", "log:read", NULL, false},
	{"log:append:order", "log:append", "order", true},
	{"log:append:order", "log:append", "orders", false},
	{"log:append:order", "log:append", "orde", false},
	{"log:append:order", "log:append", "", false},
	{"log:append:order", "log:append", NULL, false},
	{"log:append:order", "log:appen", "d:order", false},
	{"log:append:*", "log:append", "order", true},
	{"log:append:*", "log:append", NULL, true},
	{"log:append:**", "log:append", NULL, true},
	{"log:append:", "log:append", "", false},
	{"log:append:", "log:append", NULL, false},
	{"log:append:ord*", "log:append", "order", true},
	{"log:append:ord*", "log:append", "ord.er", false},
	{"log:append:a:b", "log:append", "a:b", true},
	{"log:append:Order", "log:append", "order", false},
	{"*", "admin", NULL, true},
	{"*", "log:append", "order", true},
	{"**", "admin", NULL, false},
	{"admin:*", "log:read", NULL, false},
	{"", "log:read", NULL, false},
	{"subscribe:order.**", "subscribe", "order.placed", true},
	{"subscribe:order.**", "subscribe", "order", true},
	{"subscribe:order.*", "subscribe", "order.placed.late", false},
	/* patterns: the scope covers all that they can match, or not */
	{"subscribe:order.**", "subscribe", "order.*", true},
	{"subscribe:order.**", "subscribe", "order.**", true},
	{"subscribe:order.*", "subscribe", "order.*", true},
	{"subscribe:order.*", "subscribe", "order.**", false},
	{"subscribe:order.*", "subscribe", "order.pl*", true},
	{"subscribe:order.pl*", "subscribe", "order.*", false},
	{"subscribe:order.pl*", "subscribe", "order.pla*", true},
	{"subscribe:order.*", "subscribe", "*", false},
	{"subscribe:order.*", "subscribe", "**", false},
	{"subscribe:order.*", "subscribe", "*.*", false},
	{"subscribe:*", "subscribe", "*", true},
	{"subscribe:*", "subscribe", "**.late", true},
	{"subscribe:*.*", "subscribe", "order.*", true},
	{"subscribe:*.*", "subscribe", "**", false},
	{"subscribe:**.late", "subscribe", "order.**.late", true},
	{"subscribe:**.late", "subscribe", "order.**", false},
	{"subscribe:order.placed", "subscribe", "order.*", false},
};

static void
test_cases(void)
{
	char what[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *object = cases[i].object;
		size_t len = object ? strlen(object) : 0;
		char *copy = object ? malloc(len + (len == 0)) : NULL;

		if (len > 0)
			memcpy(copy, object, len);
		snprintf(what, sizeof(what), "\"%s\" %s %s of %s", cases[i].scope,
				 cases[i].allowed ? "allows" : "does not allow", cases[i].action,
				 object ? object : "everything");
		ok(scope_allows(cases[i].scope, cases[i].action, copy, len) == cases[i].allowed, what);
		free(copy);
	}
	ok(scope_mentions("log:append:order", "log:append") && scope_mentions("*", "x") &&
		   scope_mentions("log:append", "log:append") &&
		   !scope_mentions("log:append:", "log:append") &&
		   !scope_mentions("log:appendix", "log:append"),
	   "what a scope mentions");
}

static void
random_glob(unsigned *seed, bool stars, char *out)
{
	static const char *const parts[] = {"a", "b", "ab", ".", ".", "*", "**", "a*"};
	int n = 1 + (int) ((unsigned) rand_r(seed) % 6);

	out[0] = '\0';
	while (n-- > 0)
		strcat(out, parts[(unsigned) rand_r(seed) % (stars ? 8 : 5)]);
}

/* Whatever the pattern matches, the glob must match, too, if it covers the pattern. */
static void
test_covers(void)
{
	unsigned seed = 7;
	int covered = 0, wrong = 0, plain = 0;

	for (int i = 0; i < 60000; i++)
	{
		char glob[40], pattern[40], name[40];
		bool covers;

		random_glob(&seed, true, glob);
		random_glob(&seed, true, pattern);
		covers = scope_covers(glob, strlen(glob), pattern, strlen(pattern));
		covered += covers;
		for (int n = 0; n < 10; n++)
		{
			random_glob(&seed, false, name);
			if (covers && usher_glob_match(pattern, strlen(pattern), name, strlen(name)) &&
				!usher_glob_match(glob, strlen(glob), name, strlen(name)))
				wrong++;
		}
		plain += scope_covers(glob, strlen(glob), name, strlen(name)) !=
				 usher_glob_match(glob, strlen(glob), name, strlen(name));
	}
	ok(covered > 1000 && wrong == 0, "60,000 random pairs: nothing is covered that is not matched");
	ok(plain == 0, "a name without asterisks is covered exactly if it is matched");
}

static void
header_is(const char *value, AuthorizationKind wanted, const char *credential)
{
	size_t len = strlen(value);
	char *copy = malloc(len + (len == 0)), what[200];
	Slice found = {NULL, 0};
	const char *reason = NULL;
	AuthorizationKind kind;

	memcpy(copy, value, len);
	kind = authorization_parse((Slice){copy, len}, &found, &reason);
	snprintf(what, sizeof(what), "Authorization: %.150s", value);
	ok(kind == wanted && (kind == AUTHORIZATION_BAD) == (reason != NULL) &&
		   (credential == NULL ||
			(found.len == strlen(credential) && memcmp(found.data, credential, found.len) == 0)),
	   what);
	free(copy);
}

#define A_KEY "usk_0123456789abcdefghijklmnop"

static void
test_authorization(void)
{
	Slice none = {NULL, 0};
	const char *reason = NULL;

	ok(authorization_parse(none, &none, &reason) == AUTHORIZATION_NONE, "no header");
	header_is("Bearer a.b.c", AUTHORIZATION_TOKEN, "a.b.c");
	header_is("bearer  a.b.c  ", AUTHORIZATION_TOKEN, "a.b.c");
	header_is("BEARER x", AUTHORIZATION_TOKEN, "x");
	header_is("Bearer " A_KEY, AUTHORIZATION_KEY, A_KEY);
	header_is("ApiKey " A_KEY, AUTHORIZATION_KEY, A_KEY);
	header_is("apikey " A_KEY, AUTHORIZATION_KEY, A_KEY);
	header_is("ApiKey a.b.c", AUTHORIZATION_BAD, NULL);
	header_is("ApiKey usk_short", AUTHORIZATION_BAD, NULL);
	header_is("Bearer usk_short", AUTHORIZATION_BAD, NULL);
	header_is("Bearer", AUTHORIZATION_BAD, NULL);
	header_is("Bearer ", AUTHORIZATION_BAD, NULL);
	header_is("Bearer    ", AUTHORIZATION_BAD, NULL);
	header_is("", AUTHORIZATION_BAD, NULL);
	header_is("Bearer a b", AUTHORIZATION_BAD, NULL);
	header_is("Bearer a,b", AUTHORIZATION_BAD, NULL);
	header_is("Bearer a\tb", AUTHORIZATION_BAD, NULL);
	header_is("Bearer\ta", AUTHORIZATION_BAD, NULL);
	header_is("Bearer \"a\"", AUTHORIZATION_BAD, NULL);
	header_is("Bearer \xc3\xa9", AUTHORIZATION_BAD, NULL);
	header_is("Bearera.b.c", AUTHORIZATION_BAD, NULL);
	header_is("Basic dTpw", AUTHORIZATION_BAD, NULL);
	header_is("a.b.c", AUTHORIZATION_BAD, NULL);
}

int
main(void)
{
	test_cases();
	test_covers();
	test_authorization();
	return tap_end();
}
