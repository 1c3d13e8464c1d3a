/*
 * bgworkers/pool.c
 *	  Starts the workers that run a database's handlers, and starts them again.
 *
 * Runs in the housekeeping worker.  There are workers only while there are
 * handlers that are not paused; they leave by themselves when there are none,
 * or more of them than usher.handler_workers.
 */
#include "handlers.h"

#include "lib/backoff.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define RESTART_MS     50
#define RESTART_MAX_MS 30000
#define STEADY_MS      10000 /* who ran so long has not failed */
#define NO_SLOT_MS     5000
#define END_WAIT_MS    3000

typedef struct Started
{
	UsherHandlerWorker *entry; /* NULL: not taken */
	BackgroundWorkerHandle *handle; /* NULL: not running */
	TimestampTz started_at, not_before;
	int failures; /* in a row */
} Started;

static Started pool[USHER_HANDLER_WORKERS_MAX];
static bool any_handlers, counted, told_no_slot;
static uint32 counted_generation;

/* Is there a handler that may run? */
static void
count_handlers(UsherDb *db)
{
	uint32 generation = pg_atomic_read_u32(&db->subscriptions_generation);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "looking at the handlers");
	SPI_connect();
	if (SPI_execute(
			"SELECT FROM usher.handlers h JOIN usher.subscriptions s USING (subscription_id)"
			" WHERE NOT s.paused AND NOT h.restored LIMIT 1",
			true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("the handlers cannot be read")));
	any_handlers = SPI_processed > 0;
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
	if (generation != counted_generation)
		for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
			if (pool[i].handle == NULL)
				pool[i].not_before = 0; /* what failed may have been mended */
	counted_generation = generation;
	counted = true;
}

static void
look_at_end(Started *s)
{
	TimestampTz now = GetCurrentTimestamp();
	pid_t pid;

	if (s->handle == NULL || GetBackgroundWorkerPid(s->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(s->handle);
	s->handle = NULL;
	s->failures = TimestampDifferenceExceeds(s->started_at, now, STEADY_MS) ? 0 : s->failures + 1;
	s->not_before = s->failures <= 1
						? now
						: TimestampTzPlusMilliseconds(
							  now, (int64) usher_backoff_ms(s->failures, RESTART_MS, RESTART_MAX_MS,
															pg_prng_double(&pg_global_prng_state)));
}

static void
start(Started *s)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = Int32GetDatum((int32) (s->entry - usher_shared->handlers)),
		.bgw_notify_pid = MyProcPid,
	};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	strlcpy(worker.bgw_library_name, "pg_usher_relay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "usher_handlers_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_usher handlers %d", (int) (s - pool));
	strlcpy(worker.bgw_type, "pg_usher handlers", BGW_MAXLEN);
	s->started_at = GetCurrentTimestamp();
	if (RegisterDynamicBackgroundWorker(&worker, &s->handle))
		told_no_slot = false;
	else
	{
		s->handle = NULL;
		s->not_before = TimestampTzPlusMilliseconds(s->started_at, NO_SLOT_MS);
		if (!told_no_slot)
			ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
							  errmsg("no worker slot is free for handlers"),
							  errhint("Raise max_worker_processes.")));
		told_no_slot = true;
	}
	MemoryContextSwitchTo(old);
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
care_for(Started *s)
{
	TimestampTz now = GetCurrentTimestamp();

	if (s->handle || (s->entry && pg_atomic_read_u32(&s->entry->procno) != USHER_NO_PROC))
		return -1;
	if (s->entry == NULL)
		s->entry = usher_handler_worker_take();
	if (s->entry == NULL)
		return NO_SLOT_MS; /* other databases have them all */
	if (s->not_before > now)
		return TimestampDifferenceMilliseconds(now, s->not_before) + 1;
	start(s);
	return s->handle ? -1 : NO_SLOT_MS;
}

static void
let_go(Started *s)
{
	if (s->entry == NULL || pg_atomic_read_u32(&s->entry->procno) != USHER_NO_PROC)
		return;
	usher_handler_worker_free(s->entry);
	s->entry = NULL;
	s->failures = 0;
	s->not_before = 0;
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
		Started *s = &pool[i];

		look_at_end(s);
		if (i < workers)
		{
			long due = care_for(s);

			if (due >= 0)
				next = next < 0 ? due : Min(next, due);
		}
		else if (s->handle == NULL)
			let_go(s);
	}
	return next;
}

void
usher_supervise_handlers_end(UsherDb *db)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_WAIT_MS);

	while (usher_handler_workers_terminate(db->dboid) > 0 && GetCurrentTimestamp() < deadline)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
		let_go(&pool[i]);
}
