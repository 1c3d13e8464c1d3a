/*
 * test/unit/breaker.c
 *	  Circuit breaker: its states, the waits between tries, and random histories.
 */
#include "breaker.h"
#include "backoff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static void
test_closed(void)
{
	UsherBreaker b;

	usher_breaker_init(&b, 3, 100, 10000);
	ok(b.state == BREAKER_CLOSED && b.failures == 0, "begins closed");
	ok(usher_breaker_allow(&b, INT64_MIN) && usher_breaker_allow(&b, 0),
	   "closed, it lets everything pass, at any time");
	usher_breaker_failure(&b, 1000, 0.5);
	ok(b.state == BREAKER_CLOSED && b.failures == 1,
	   "a failure below the threshold leaves it closed");
	ok(!usher_breaker_allow(&b, 1049) && usher_breaker_allow(&b, 1050),
	   "but the next try waits for the backoff");
	ok(b.state == BREAKER_CLOSED, "which does not change the state");
	usher_breaker_success(&b);
	ok(b.failures == 0 && usher_breaker_allow(&b, 1000), "a success forgets failure and wait");
	usher_breaker_failure(&b, 2000, 0);
	usher_breaker_failure(&b, 2001, 0);
	usher_breaker_success(&b);
	usher_breaker_failure(&b, 2002, 0);
	usher_breaker_failure(&b, 2003, 0);
	ok(b.state == BREAKER_CLOSED, "only failures in a row count");
	usher_breaker_failure(&b, 2004, 0);
	ok(b.state == BREAKER_OPEN, "the third in a row opens it");
}

static void
test_open(void)
{
	UsherBreaker b;
	int64_t first_wait;

	usher_breaker_init(&b, 2, 100, 10000);
	usher_breaker_failure(&b, 0, 0.5);
	usher_breaker_failure(&b, 1000, 0.5);
	ok(b.state == BREAKER_OPEN && b.retry_at == 1100,
	   "open until the backoff of two failures is over");
	ok(!usher_breaker_allow(&b, 1000) && !usher_breaker_allow(&b, 1099) && b.state == BREAKER_OPEN,
	   "open, it lets nothing pass");
	first_wait = b.retry_at - 1000;
	ok(usher_breaker_allow(&b, 1100) && b.state == BREAKER_HALF_OPEN,
	   "then one try passes: half-open");
	ok(!usher_breaker_allow(&b, 1100) && !usher_breaker_allow(&b, 5000),
	   "and no second one beside it");
	usher_breaker_failure(&b, 1200, 0.5);
	ok(b.state == BREAKER_OPEN && b.retry_at - 1200 == 2 * first_wait,
	   "its failure opens it for twice as long");
	ok(usher_breaker_allow(&b, b.retry_at) && b.state == BREAKER_HALF_OPEN, "half-open again");
	usher_breaker_success(&b);
	ok(b.state == BREAKER_CLOSED && b.failures == 0 && usher_breaker_allow(&b, 0),
	   "a success closes it");
	usher_breaker_failure(&b, 9000, 0.5);
	ok(b.state == BREAKER_CLOSED && b.retry_at == 9050, "and counting begins anew");
}

static void
test_lost_try(void)
{
	UsherBreaker b;

	usher_breaker_init(&b, 1, 100, 3000);
	usher_breaker_failure(&b, 0, 0.5);
	ok(b.state == BREAKER_OPEN, "a threshold of one opens at the first failure");
	ok(usher_breaker_allow(&b, 100), "a try begins, and is never heard of again");
	ok(!usher_breaker_allow(&b, 3099) && usher_breaker_allow(&b, 3100),
	   "after the cap another one may begin");
	usher_breaker_failure(&b, 3200, 0.5);
	usher_breaker_failure(&b, 3300, 0.5);
	ok(b.state == BREAKER_OPEN && b.failures == 3 && !usher_breaker_allow(&b, 3400),
	   "a late failure of an open one prolongs the wait");
}

static void
test_bounds(void)
{
	UsherBreaker b;

	usher_breaker_init(&b, 0, 100, 3000);
	usher_breaker_failure(&b, 0, 0.5);
	ok(b.state == BREAKER_OPEN, "a threshold below one is one");
	b.failures = 2147483647;
	usher_breaker_failure(&b, 0, 0.999999);
	ok(b.failures == 2147483647 && b.retry_at == 3000, "very many failures do not overflow");
	usher_breaker_init(&b, 1, 0, 0);
	usher_breaker_failure(&b, 77, 0);
	ok(b.retry_at == 78, "without backoff it waits 1 ms");
	ok(strcmp(usher_breaker_name(BREAKER_CLOSED), "closed") == 0 &&
		   strcmp(usher_breaker_name(BREAKER_OPEN), "open") == 0 &&
		   strcmp(usher_breaker_name(BREAKER_HALF_OPEN), "half-open") == 0,
	   "states have names");
}

/*
 * Random histories: whatever happens, a try never begins before retry_at, an
 * open breaker's wait is within the backoff of its failures, and peers that
 * answer are always reached again.
 */
static void
test_histories(void)
{
	unsigned seed = 7;
	bool obeyed = true, recovers = true;

	for (int run = 0; run < 2000; run++)
	{
		UsherBreaker b;
		int64_t now = rand_r(&seed);
		int threshold = 1 + rand_r(&seed) % 5;
		int row = 0;

		usher_breaker_init(&b, threshold, 50, 2000);
		for (int step = 0; step < 100; step++)
		{
			int64_t retry_at = b.retry_at;
			bool allowed;

			now += rand_r(&seed) % 500;
			allowed = usher_breaker_allow(&b, now);
			obeyed &= allowed == (now >= retry_at);
			if (allowed && rand_r(&seed) % 3 == 0)
			{
				usher_breaker_success(&b);
				row = 0;
			}
			else if (allowed)
			{
				double random = (rand_r(&seed) % 1000) / 1000.0;

				usher_breaker_failure(&b, now, random);
				row++;
				obeyed &= b.retry_at - now ==
						  (int64_t) ceil(usher_backoff_ms(row, 50, 2000, random));
			}
			obeyed &= b.failures == row && (b.state == BREAKER_OPEN) == (row >= threshold);
		}
		for (int64_t until = now + 2001; now <= until && b.state != BREAKER_CLOSED; now++)
			if (usher_breaker_allow(&b, now))
				usher_breaker_success(&b);
		recovers &= b.state == BREAKER_CLOSED;
	}
	ok(obeyed, "2,000 random histories obey the rules");
	ok(recovers, "and each recovers within the cap once the peer answers");
}

int
main(void)
{
	test_closed();
	test_open();
	test_lost_try();
	test_bounds();
	test_histories();
	return tap_end();
}
