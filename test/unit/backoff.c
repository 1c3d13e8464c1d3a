/*
 * test/unit/backoff.c
 *	  Exponential backoff: doubling, cap, jitter, and no overflow.
 */
#include "backoff.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "tap.h"

static bool
near(double a, double b)
{
	return fabs(a - b) < 1e-6 * (1 + fabs(b));
}

static void
test_growth(void)
{
	bool doubles = true;
	bool never_shrinks = true;

	for (int failures_seen = 1; failures_seen < 10; failures_seen++)
		doubles &= near(usher_backoff_ms(failures_seen + 1, 100, 1e9, 0.5),
						2 * usher_backoff_ms(failures_seen, 100, 1e9, 0.5));
	ok(doubles, "each failure doubles the wait");
	for (int failures_seen = 0; failures_seen < 200; failures_seen++)
		never_shrinks &= usher_backoff_ms(failures_seen + 1, 100, 60000, 0.7) >=
						 usher_backoff_ms(failures_seen, 100, 60000, 0.7);
	ok(never_shrinks, "the wait never shrinks");
}

static void
test_bounds(void)
{
	bool bounded = true;

	for (int failures_seen = 0; failures_seen < 100; failures_seen++)
		for (double random = 0; random < 1; random += 0.01)
		{
			double ms = usher_backoff_ms(failures_seen, 250, 30000, random);

			bounded &= ms >= 1 && ms <= 30000;
		}
	ok(bounded, "the wait is between 1 ms and the cap");
}

int
main(void)
{
	ok(near(usher_backoff_ms(1, 100, 60000, 0.5), 50), "the first failure waits within the base");
	ok(near(usher_backoff_ms(0, 100, 60000, 0.5), 50), "no failure is as one");
	ok(near(usher_backoff_ms(-5, 100, 60000, 0.5), 50), "nor is a negative number");
	ok(near(usher_backoff_ms(3, 100, 60000, 0.25), 100), "jitter spreads over the whole interval");
	ok(near(usher_backoff_ms(50, 100, 60000, 0.5), 30000), "the cap is the end of the interval");
	ok(near(usher_backoff_ms(5, 1000, 100, 0.5), 50), "a base above the cap is capped");
	ok(near(usher_backoff_ms(4, 100, 60000, 0), 1), "no jitter waits at least 1 ms");
	ok(near(usher_backoff_ms(2147483647, 1e-3, 60000, 0.999), 60000 * 0.999),
	   "very many failures do not overflow");
	test_growth();
	test_bounds();
	return tap_end();
}
