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
} UsherWorker;

extern void usher_worker_signals(void);
extern void usher_worker_loop(UsherWorker *worker);

#endif /* USHER_WORKER_LOOP_H */
