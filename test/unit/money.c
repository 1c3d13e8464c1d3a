/*
 * test/unit/money.c
 *	  Amounts: half to even, both signs, and nothing that overflows in silence.
 */
#include "money.h"

#include <stdio.h>

#include "tap.h"

static bool
share_is(int64_t amount, int32_t bp, int64_t expected)
{
	int64_t share = -1;

	return usher_money_share(amount, bp, &share) && share == expected;
}

int
main(void)
{
	int64_t n;

	ok(share_is(10000, 1900, 1900) && share_is(0, 1900, 0) && share_is(2550, 0, 0), "exact shares");
	ok(share_is(5100, 250, 128), "127.5 goes to 128");
	ok(share_is(4900, 250, 122), "122.5 goes to 122");
	ok(share_is(1, 5000, 0) && share_is(3, 5000, 2), "0.5 goes to 0, 1.5 to 2");
	ok(share_is(1, 4999, 0) && share_is(1, 5001, 1), "what is not a half goes to the nearer");
	ok(share_is(-1, 5000, 0) && share_is(-3, 5000, -2) && share_is(-1, 5001, -1),
	   "negative amounts mirror positive ones");
	ok(share_is(INT64_MAX, 10000, INT64_MAX), "the whole of the largest amount");
	ok(!usher_money_share(INT64_MAX, 10001, &n), "more than that does not fit");
	ok(usher_money_times(1000000000000, 1000, &n) && n == 1000000000000000, "the largest item");
	ok(!usher_money_times(INT64_MAX, 2, &n), "a product that does not fit");
	ok(usher_money_plus(INT64_MAX - 1, 1, &n) && n == INT64_MAX, "the largest sum");
	ok(!usher_money_plus(INT64_MAX, 1, &n), "a sum that does not fit");
	return tap_end();
}
