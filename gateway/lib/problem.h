/*
 * gateway/lib/problem.h
 *	  What a SQLSTATE means in HTTP: the one table of it.
 *
 * Pure C.  Clients test a problem's type (its last part is the kind), never the
 * text.  docs/errors.md lists the kinds; a check compares this table with
 * extension/errors.h and with the documentation.
 */
#ifndef USHERD_PROBLEM_H
#define USHERD_PROBLEM_H

#include <stdbool.h>

typedef struct Problem
{
	const char *sqlstate; /* five characters, the first two or three, or "" for all others */
	int status;
	const char *kind; /* "wrong-expected-version" */
	const char *title; /* the same for each problem of the kind */
	int retry_after_seconds; /* 0: repeating it does not help */
	bool shown; /* may the client read PostgreSQL's message, detail and hint? */
} Problem;

/* Never NULL: whatever is not known is an internal error that shows nothing. */
extern const Problem *problem_of(const char *sqlstate);

extern const Problem problem_table[];
extern const int problem_count;

#endif /* USHERD_PROBLEM_H */
