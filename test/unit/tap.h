/*
 * test/unit/tap.h
 *	  What a unit test says: a line for each check, and at its end how many there were.
 */
#ifndef USHER_TAP_H
#define USHER_TAP_H

#include <stdbool.h>
#include <stdio.h>

static int tests, failures;

static void
ok(bool passed, const char *what)
{
	tests++;
	failures += !passed;
	printf("%sok %d - %s\n", passed ? "" : "not ", tests, what);
}

/* The status of the program. */
static int
tap_end(void)
{
	printf("1..%d\n", tests);
	return failures > 0;
}

#endif /* USHER_TAP_H */
