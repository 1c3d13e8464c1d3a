/*
 * extension/handler/pool.c
 *	  What backends and the workers of a database's pool share.
 *
 * Entries are taken and freed under UsherShared.lock by the database's
 * housekeeping worker; the rest of an entry is written by its worker.
 *
 * Idle workers: one is the watcher, whom appenders wake; the others sleep
 * until they are poked.  A watcher that finds work hands the watch on first,
 * so an appender never wakes a crowd, and a long handler never leaves the log
 * unwatched while somebody is idle.
 */
#include "handler/handler.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/proc.h"

#include <signal.h>

static UsherDb *changed; /* whose subscriptions this transaction changes */

/* ---- changes ---- */

void
usher_subscriptions_changed(UsherDb *db)
{
	UsherShared *s = usher_shared;

	pg_atomic_fetch_add_u32(&db->subscriptions_generation, 1);
	usher_wake_housekeeping(db);
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
		if (s->handlers[i].dboid == db->dboid)
			usher_poke_proc(pg_atomic_read_u32(&s->handlers[i].procno));
	if (pg_atomic_read_u32(&s->nwaiters) == 0)
		return;
	LWLockAcquire(s->waiter_lock, LW_SHARED);
	for (uint32 i = 0; i < pg_atomic_read_u32(&s->nwaiters); i++)
		if (s->slots[s->waiters[i]].db == db && s->slots[s->waiters[i]].subscription_id != 0)
			usher_poke_proc(s->waiters[i]);
	LWLockRelease(s->waiter_lock);
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (changed == NULL)
		return;
	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR, (errcode(ERRCODE_USHER_PREPARE_REFUSED),
						errmsg("cannot PREPARE a transaction that has changed subscriptions"),
						errhint("Nobody would be told of its commit: COMMIT instead.")));
	if (event == XACT_EVENT_COMMIT)
		usher_subscriptions_changed(changed);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		changed = NULL;
}

void
usher_handlers_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
}

void
usher_subscriptions_changed_at_commit(UsherDb *db)
{
	changed = db;
}

/* ---- entries ---- */

UsherHandlerWorker *
usher_handler_worker_take(void)
{
	UsherHandlerWorker *free = NULL;

	LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX && free == NULL; i++)
		if (!OidIsValid(usher_shared->handlers[i].dboid))
			free = &usher_shared->handlers[i];
	if (free)
	{
		pg_atomic_write_u32(&free->procno, USHER_NO_PROC);
		pg_atomic_write_u32(&free->running_id, 0);
		pg_atomic_write_u32(&free->suspect_id, 0);
		free->dboid = MyDatabaseId;
	}
	LWLockRelease(usher_shared->lock);
	return free;
}

/* Only without a worker. */
void
usher_handler_worker_free(UsherHandlerWorker *worker)
{
	LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
	worker->dboid = InvalidOid;
	LWLockRelease(usher_shared->lock);
}

void
usher_handler_running(UsherHandlerWorker *worker, int32 subscription_id, int64 position)
{
	pg_atomic_write_u64(&worker->running_position, (uint64) position);
	worker->running_since = GetCurrentTimestamp();
	pg_write_barrier();
	pg_atomic_write_u32(&worker->running_id, (uint32) subscription_id);
}

bool
usher_handler_suspect(int32 subscription_id, int64 position)
{
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
	{
		UsherHandlerWorker *w = &usher_shared->handlers[i];
		uint32 id = (uint32) subscription_id;

		if (w->dboid == MyDatabaseId && pg_atomic_read_u32(&w->suspect_id) == id &&
			pg_atomic_read_u64(&w->suspect_position) == (uint64) position &&
			pg_atomic_compare_exchange_u32(&w->suspect_id, &id, 0))
			return true;
	}
	return false;
}

int
usher_handler_workers_terminate(Oid dboid)
{
	int running = 0;

	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
	{
		UsherHandlerWorker *w = &usher_shared->handlers[i];

		if (w->dboid == dboid && usher_terminate_proc(pg_atomic_read_u32(&w->procno)))
			running++;
	}
	return running;
}

/* ---- who watches the log ---- */

static uint64
bit_of(const UsherHandlerWorker *worker)
{
	return UINT64CONST(1) << (worker - usher_shared->handlers);
}

static bool
become_watcher(UsherDb *db, UsherHandlerWorker *worker)
{
	uint32 none = 0, me = (uint32) (worker - usher_shared->handlers) + 1;

	return pg_atomic_compare_exchange_u32(&db->handler_watcher, &none, me) || none == me;
}

bool
usher_handler_watch(UsherDb *db, UsherHandlerWorker *worker)
{
	if (become_watcher(db, worker))
		return true;
	(void) pg_atomic_fetch_or_u64(&db->idle_handlers, bit_of(worker));
	/* The watcher may have handed on before it could see us. */
	if (!become_watcher(db, worker))
		return false;
	(void) pg_atomic_fetch_and_u64(&db->idle_handlers, ~bit_of(worker));
	return true;
}

void
usher_handler_busy(UsherDb *db, UsherHandlerWorker *worker)
{
	uint32 me = (uint32) (worker - usher_shared->handlers) + 1;
	uint64 idle;

	(void) pg_atomic_fetch_and_u64(&db->idle_handlers, ~bit_of(worker));
	(void) pg_atomic_compare_exchange_u32(&db->handler_watcher, &me, 0);
	idle = pg_atomic_read_u64(&db->idle_handlers);
	if (idle != 0 && pg_atomic_read_u32(&db->handler_watcher) == 0)
		usher_poke_proc(
			pg_atomic_read_u32(&usher_shared->handlers[pg_rightmost_one_pos64(idle)].procno));
}
