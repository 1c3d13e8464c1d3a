/*
 * bgworkers/worker_loop.h
 *	  THE loop of our background workers.
 */
#ifndef USHER_WORKER_LOOP_H
#define USHER_WORKER_LOOP_H

#include "usher.h"

/*
 * One round of work.  Called outside of any transaction, in a memory context
 * that is reset after it.  Returns the milliseconds until it wants to run
 * again without being woken; -1: only when woken.
 */
typedef long (*UsherRound)(void *state);

typedef struct UsherWorker
{
	UsherRound round;
	void *state;
	bool done; /* set by a round: leave the loop */
	pgsocket socket; /* wakes the worker when it is readable; PGINVALID_SOCKET: none */
	bool want_write; /* or writable */
	const char *wait_name; /* of its wait event, from PostgreSQL 17 on */
	uint32 wait_event;
	void (*stop)(void *state); /* on SIGTERM, before the loop is left; NULL: it dies at once */
} UsherWorker;

/* graceful: SIGTERM ends the loop between two rounds; else it interrupts like that of any backend. */
extern void usher_worker_signals(bool graceful);
/* Once it is connected to a database. */
extern void usher_worker_settings(void);
extern void usher_worker_loop(UsherWorker *worker);

/* A transaction with a snapshot; the activity is shown while it runs. */
extern void usher_worker_begin(const char *activity);
extern void usher_worker_commit(void);

#endif /* USHER_WORKER_LOOP_H */
