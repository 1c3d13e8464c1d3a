/*
 * bgworkers/handlers.h
 *	  The pool of workers that run a database's handlers.
 *
 *	  pool.c           starts the workers (in the housekeeping worker)
 *	  handlers.c       a worker: which handler has something to do
 *	  handler_batch.c  some events of a handler, in one transaction
 */
#ifndef USHER_HANDLERS_H
#define USHER_HANDLERS_H

#include "worker_loop.h"

#include "handler/handler.h"
#include "subscription/subscription.h"

#include "fmgr.h"

#define HANDLER_BATCH 50 /* events in a transaction */

typedef struct Handler
{
	UsherSubscription *subscription;
	char *function_name;
	Oid owner;
	int64 timeout_ms;
	bool ready; /* it may have something to do */
	TimestampTz next_at; /* and then a parked key is due; 0: none */
	TimestampTz not_before; /* nothing can be done with it until then */
	int failures; /* outside of its function, in a row */
	int singly; /* so many events go one by one: a transaction with several of them failed */
	int64 refused; /* this event's transaction cannot commit; 0: none */
	char refusal[1024]; /* why */
} Handler;

typedef struct HandlerPool
{
	UsherWorker worker;
	UsherDb *db;
	UsherHandlerWorker *entry;
	MemoryContext context; /* of the list */
	uint32 generation; /* of the list */
	Handler *list; /* exact patterns first */
	int n;
	int next; /* where to go on looking */
	int64 scanned; /* the log has been looked at up to here; -1: not yet */
	bool following; /* we are the one whom appenders wake */
} HandlerPool;

/* ---- handler_batch.c ---- */
extern void handler_batch_init(void);

/* Returns how many events were delivered. */
extern int handler_batch_run(HandlerPool *pool, Handler *handler);
extern void handler_leave_nothing_behind(void); /* behind each batch, also a failed one */

/* ---- pool.c ---- */
/* As usher_supervise. */
extern long usher_supervise_handlers(UsherDb *db);
extern void usher_supervise_handlers_end(UsherDb *db);

#endif /* USHER_HANDLERS_H */
