/*
 * extension/lib/breaker.h
 *	  Circuit breaker of a sink: closed, open, half-open (M. Nygard, Release It!, 2007).
 *
 * Closed: everything may pass.  `threshold` failures in a row open it.  Open:
 * nothing passes until `retry_at`.  Then half-open: one try passes; its success
 * closes the breaker, its failure opens it again, for longer.  Should nothing be
 * heard of it, another one passes after `cap_ms`.
 * Times are milliseconds of any clock that does not run backwards.
 */
#ifndef USHER_BREAKER_H
#define USHER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum UsherBreakerState
{
	BREAKER_CLOSED,
	BREAKER_OPEN,
	BREAKER_HALF_OPEN
} UsherBreakerState;

typedef struct UsherBreaker
{
	int threshold; /* failures in a row that open it, at least 1 */
	double base_ms, cap_ms; /* backoff between tries, see backoff.h */
	UsherBreakerState state;
	int failures; /* in a row */
	int64_t retry_at; /* after a failure: no try before, in any state */
} UsherBreaker;

extern void usher_breaker_init(UsherBreaker *breaker, int threshold, double base_ms, double cap_ms);

/* May a try begin?  Makes an open breaker half-open when its time has come. */
extern bool usher_breaker_allow(UsherBreaker *breaker, int64_t now);

extern void usher_breaker_success(UsherBreaker *breaker);

/* `random` in [0, 1) is the jitter. */
extern void usher_breaker_failure(UsherBreaker *breaker, int64_t now, double random);

extern const char *usher_breaker_name(UsherBreakerState state); /* "closed", "open", "half-open" */

#endif /* USHER_BREAKER_H */
