/*
 * extension/lib/backoff.h
 *	  Exponential backoff with full jitter.
 */
#ifndef USHER_BACKOFF_H
#define USHER_BACKOFF_H

/*
 * Milliseconds to wait before try number `failures` + 1: random (0 <= random < 1)
 * times min(cap, base * 2^(failures-1)), at least 1.  ("Full jitter" in: M. Brooker,
 * Exponential Backoff And Jitter, AWS Architecture Blog, 2015.)
 */
extern double usher_backoff_ms(int failures, double base_ms, double cap_ms, double random);

#endif /* USHER_BACKOFF_H */
