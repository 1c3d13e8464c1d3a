/*
 * extension/lib/money.c
 *	  Amounts in minor units: shares in basis points, rounded once.
 */
#include "money.h"

#define BASIS 10000

bool
usher_money_share(int64_t amount, int32_t basis_points, int64_t *share)
{
	__int128 exact = (__int128) amount * basis_points;
	__int128 whole = exact / BASIS;
	__int128 rest = exact % BASIS;
	__int128 twice = 2 * (rest < 0 ? -rest : rest);

	if (twice > BASIS || (twice == BASIS && whole % 2 != 0))
		whole += exact < 0 ? -1 : 1;
	*share = (int64_t) whole;
	return whole == (__int128) *share;
}

bool
usher_money_times(int64_t a, int64_t b, int64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

bool
usher_money_plus(int64_t a, int64_t b, int64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}
