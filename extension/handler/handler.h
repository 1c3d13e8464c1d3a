/*
 * extension/handler/handler.h
 *	  Handlers: functions that background workers call for the events of a
 *	  subscription.
 *
 *	  pool.c  what backends and the workers of a database's pool share
 *
 * The workers themselves are in bgworkers/handler*.c.
 */
#ifndef USHER_HANDLER_H
#define USHER_HANDLER_H

#include "usher.h"
#include "shmem.h"

extern void usher_handlers_init(void);

/* This transaction changes handlers or subscriptions: once it has committed all who work on them look anew. */
extern void usher_subscriptions_changed_at_commit(UsherDb *db);

/* At once: allocates nothing, raises nothing. */
extern void usher_subscriptions_changed(UsherDb *db);

/* Take an entry for a worker of this database; NULL: all are taken. */
extern UsherHandlerWorker *usher_handler_worker_take(void);
extern void usher_handler_worker_free(UsherHandlerWorker *worker);

/* What the worker in this entry does: an event of a subscription, or nothing (0, 0). */
extern void
usher_handler_running(UsherHandlerWorker *worker, int32 subscription_id, int64 position);

/* A worker ended in the middle of this event's handler; it is told once. */
extern bool usher_handler_suspect(int32 subscription_id, int64 position);

/*
 * Of the idle workers one watches the log.  It becomes the watcher, or (false)
 * is noted as idle and will be poked to be it.
 */
extern bool usher_handler_watch(UsherDb *db, UsherHandlerWorker *worker);

/* It has something to do: another idle one watches from now on. */
extern void usher_handler_busy(UsherDb *db, UsherHandlerWorker *worker);

/* End all workers of a database: the signal only; returns how many there are. */
extern int usher_handler_workers_terminate(Oid dboid);

#endif /* USHER_HANDLER_H */
