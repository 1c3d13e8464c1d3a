/*
 * extension/lib/breaker.c
 *	  Circuit breaker of a sink: closed, open, half-open.
 */
#include "breaker.h"
#include "backoff.h"

#include <limits.h>
#include <math.h>

void
usher_breaker_init(UsherBreaker *breaker, int threshold, double base_ms, double cap_ms)
{
	breaker->threshold = threshold < 1 ? 1 : threshold;
	breaker->base_ms = base_ms;
	breaker->cap_ms = cap_ms;
	breaker->state = BREAKER_CLOSED;
	breaker->failures = 0;
	breaker->retry_at = INT64_MIN;
}

bool
usher_breaker_allow(UsherBreaker *breaker, int64_t now)
{
	if (now < breaker->retry_at)
		return false;
	if (breaker->state != BREAKER_CLOSED)
	{
		breaker->state = BREAKER_HALF_OPEN;
		/* One try.  Should nobody ever tell how it ended, another one after the longest wait. */
		breaker->retry_at = now + (int64_t) ceil(fmax(breaker->cap_ms, 1));
	}
	return true;
}

void
usher_breaker_success(UsherBreaker *breaker)
{
	breaker->state = BREAKER_CLOSED;
	breaker->failures = 0;
	breaker->retry_at = INT64_MIN;
}

void
usher_breaker_failure(UsherBreaker *breaker, int64_t now, double random)
{
	if (breaker->failures < INT_MAX)
		breaker->failures++;
	breaker->retry_at = now + (int64_t) ceil(usher_backoff_ms(breaker->failures, breaker->base_ms,
															  breaker->cap_ms, random));
	if (breaker->state != BREAKER_CLOSED || breaker->failures >= breaker->threshold)
		breaker->state = BREAKER_OPEN;
}

const char *
usher_breaker_name(UsherBreakerState state)
{
	switch (state)
	{
		case BREAKER_CLOSED:
			return "closed";
		case BREAKER_OPEN:
			return "open";
		case BREAKER_HALF_OPEN:
			return "half-open";
	}
	return "unknown";
}
