/*
 * bgworkers/pool.c
 *	  Starts the workers that run a database's handlers, and starts them again.
 *
 * Runs in the housekeeping worker.  There are workers only while there are
 * handlers that are not paused; they leave by themselves when there are none,
 * or more of them than usher.handler_workers.
 */
#include "handlers.h"

#include "started.h"

#include "executor/spi.h"
#include "miscadmin.h"

#define NO_SLOT_MS 5000

typedef struct Place
{
	UsherHandlerWorker *entry; /* NULL: not taken */
	UsherStarted worker;
} Place;

static Place pool[USHER_HANDLER_WORKERS_MAX];
static bool any_handlers, counted, told_no_slot;
static uint32 counted_generation;

/* Is there a handler that may run? */
static void
count_handlers(UsherDb *db)
{
	uint32 generation = pg_atomic_read_u32(&db->subscriptions_generation);

	usher_worker_begin("looking at the handlers");
	SPI_connect();
	if (SPI_execute(
			"SELECT FROM usher.handlers h JOIN usher.subscriptions s USING (subscription_id)"
			" WHERE NOT s.paused AND NOT h.restored LIMIT 1",
			true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("the handlers cannot be read")));
	any_handlers = SPI_processed > 0;
	SPI_finish();
	usher_worker_commit();
	if (generation != counted_generation)
		for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
			if (pool[i].worker.handle == NULL)
				pool[i].worker.not_before = 0; /* what failed may have been mended */
	counted_generation = generation;
	counted = true;
}

static void
start(Place *p)
{
	char name[BGW_MAXLEN];

	snprintf(name, sizeof(name), "pg_usher handlers %d", (int) (p - pool));
	if (usher_started_start(&p->worker, "usher_handlers_main", "pg_usher handlers", name,
							Int32GetDatum((int32) (p->entry - usher_shared->handlers))))
	{
		told_no_slot = false;
		return;
	}
	p->worker.not_before = TimestampTzPlusMilliseconds(p->worker.started_at, NO_SLOT_MS);
	if (!told_no_slot)
		ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						  errmsg("no worker slot is free for handlers"),
						  errhint("Raise max_worker_processes.")));
	told_no_slot = true;
}

/* Workers that an earlier housekeeping worker started. */
static void
adopt(void)
{
	int n = 0;

	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
		if (usher_shared->handlers[i].dboid == MyDatabaseId)
			pool[n++].entry = &usher_shared->handlers[i];
}

/* Returns the milliseconds until it is due; -1: it runs. */
static long
care_for(const UsherDb *db, Place *p)
{
	TimestampTz now = GetCurrentTimestamp(), due;

	if (p->worker.handle || (p->entry && pg_atomic_read_u32(&p->entry->procno) != USHER_NO_PROC))
		return -1;
	if (p->entry == NULL)
		p->entry = usher_handler_worker_take();
	if (p->entry == NULL)
		return NO_SLOT_MS; /* other databases have them all */
	due = Max(p->worker.not_before, db->worker_paused_until);
	if (due > now)
		return TimestampDifferenceMilliseconds(now, due) + 1;
	start(p);
	return p->worker.handle ? -1 : NO_SLOT_MS;
}

static void
let_go(Place *p)
{
	if (p->entry == NULL || pg_atomic_read_u32(&p->entry->procno) != USHER_NO_PROC)
		return;
	usher_handler_worker_free(p->entry);
	p->entry = NULL;
	p->worker.failures = 0;
	p->worker.not_before = 0;
}

long
usher_supervise_handlers(UsherDb *db)
{
	long next = -1;
	int workers;

	if (!counted)
		adopt();
	if (!counted || counted_generation != pg_atomic_read_u32(&db->subscriptions_generation))
		count_handlers(db);
	workers = any_handlers ? usher_handler_workers : 0;
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
	{
		Place *p = &pool[i];

		if (usher_started_ended(&p->worker))
			usher_started_back_off(&p->worker);
		if (i < workers)
		{
			long due = care_for(db, p);

			if (due >= 0)
				next = next < 0 ? due : Min(next, due);
		}
		else if (p->worker.handle == NULL)
			let_go(p);
	}
	return next;
}

void
usher_supervise_handlers_end(UsherDb *db)
{
	usher_terminate_all(usher_handler_workers_terminate, db->dboid);
	if (!counted)
		adopt();
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
		let_go(&pool[i]);
}
