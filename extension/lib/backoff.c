/*
 * extension/lib/backoff.c
 *	  Exponential backoff with full jitter.
 */
#include "backoff.h"

double
usher_backoff_ms(int failures, double base_ms, double cap_ms, double random)
{
	double ceiling = base_ms;

	for (int i = 1; i < failures && ceiling < cap_ms; i++)
		ceiling *= 2;
	if (ceiling > cap_ms)
		ceiling = cap_ms;
	ceiling *= random;
	return ceiling < 1 ? 1 : ceiling;
}
