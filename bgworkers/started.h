/*
 * bgworkers/started.h
 *	  A worker that another worker keeps running.
 */
#ifndef USHER_STARTED_H
#define USHER_STARTED_H

#include "usher.h"

#include "postmaster/bgworker.h"

typedef struct UsherStarted
{
	BackgroundWorkerHandle *handle; /* NULL: not running, or not started by us */
	TimestampTz started_at;
	TimestampTz not_before; /* next start */
	int failures; /* in a row */
} UsherStarted;

#define USHER_STEADY_MS 10000 /* who ran so long has not failed */

/*
 * Start a worker of pg_usher_relay.so; our latch is set when it starts and when it
 * ends.  False: no worker slot is free.
 */
extern bool usher_started_start(UsherStarted *s, const char *function, const char *type,
								const char *name, Datum arg);

/* True, once: it has ended. */
extern bool usher_started_ended(UsherStarted *s);

/* It has ended: who ended soon has failed, and is started again later and later. */
extern void usher_started_back_off(UsherStarted *s);

#endif /* USHER_STARTED_H */
