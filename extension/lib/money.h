/*
 * extension/lib/money.h
 *	  Amounts in minor units: shares in basis points, rounded once.
 */
#ifndef USHER_MONEY_H
#define USHER_MONEY_H

#include <stdbool.h>
#include <stdint.h>

/* amount * basis_points / 10000, halves to the even neighbour; false: it does not fit. */
extern bool usher_money_share(int64_t amount, int32_t basis_points, int64_t *share);

/* a * b and a + b; false: it does not fit. */
extern bool usher_money_times(int64_t a, int64_t b, int64_t *product);
extern bool usher_money_plus(int64_t a, int64_t b, int64_t *sum);

#endif /* USHER_MONEY_H */
