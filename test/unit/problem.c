/*
 * test/unit/problem.c
 *	  What SQLSTATEs mean in HTTP: the table agrees with itself, and codes are found by class.
 *
 * That it has each code of extension/errors.h is checked in test/integration/source_rules.sh.
 */
#include "problem.h"

#include <stdio.h>
#include <string.h>

static int tests;
static int failures;

static void
ok(bool passed, const char *what, const char *text)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s: %s\n", passed ? "" : "not ", tests, what, text);
}

static const struct
{
	const char *sqlstate;
	int status;
	const char *kind;
	bool shown;
} cases[] = {
	{"US001", 412, "wrong-expected-version", true},
	{"US999", 500, "internal", false},
	{"22P02", 400, "invalid-value", true},
	{"22003", 400, "invalid-value", true},
	{"23505", 409, "constraint-violated", false},
	{"40001", 503, "transaction-conflict", false},
	{"40P01", 503, "transaction-conflict", false},
	{"40003", 503, "outcome-unknown", false},
	{"42501", 403, "forbidden", false},
	{"42P01", 500, "internal", false},
	{"53300", 503, "out-of-resources", false},
	{"57014", 503, "timeout", false},
	{"57P01", 503, "database-unavailable", false},
	{"08006", 503, "database-unavailable", false},
	{"P0001", 422, "refused", true},
	{"P0002", 500, "internal", false},
	{"XX000", 500, "internal", false},
	{"XX001", 500, "internal", false},
	{"", 500, "internal", false},
	{"2", 500, "internal", false},
	{"22", 400, "invalid-value", true},
};

static void
check_table(void)
{
	for (int i = 0; i < problem_count; i++)
	{
		const Problem *p = &problem_table[i];
		const char *code = p->sqlstate[0] ? p->sqlstate : "all others";
		bool kind = p->kind[0] >= 'a' && p->kind[0] <= 'z';

		for (const char *c = p->kind; *c != '\0'; c++)
			kind = kind && ((*c >= 'a' && *c <= 'z') || *c == '-');
		ok(kind && p->title[0] >= 'A' && p->title[0] <= 'Z', "has a kind and a title", code);
		ok(p->status >= 400 && p->status < 600 && (p->status != 503 || p->retry_after_seconds > 0),
		   "has a status, and 503 says when to come again", code);
		ok(p->status < 500 || !p->shown, "shows nothing of the inside", code);
		ok(problem_of(p->sqlstate) == p, "is found", code);
		for (int j = 0; j < i; j++)
			if (strcmp(p->kind, problem_table[j].kind) == 0)
				ok(p->status == problem_table[j].status &&
					   strcmp(p->title, problem_table[j].title) == 0,
				   "kinds agree", p->kind);
	}
}

int
main(void)
{
	check_table();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const Problem *p = problem_of(cases[i].sqlstate);

		ok(p->status == cases[i].status && strcmp(p->kind, cases[i].kind) == 0 &&
			   p->shown == cases[i].shown,
		   "means", cases[i].sqlstate);
	}
	printf("1..%d\n", tests);
	return failures > 0;
}
