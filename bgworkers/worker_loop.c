/*
 * bgworkers/worker_loop.c
 *	  THE loop of our background workers.
 *
 * Two memory contexts: what lives as long as the worker is TopMemoryContext's,
 * what a round allocates goes with the round.  An error is caught, its
 * transaction aborted, its report written to the log, and the next round
 * waits with exponential backoff and full jitter.
 */
#include "worker_loop.h"

#include "lib/backoff.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define BACKOFF_BASE_MS 100
#define BACKOFF_CAP_MS  30000

void
usher_worker_signals(bool graceful)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, graceful ? SignalHandlerForShutdownRequest : die);
	BackgroundWorkerUnblockSignals();
}

/*
 * What is set for the database, or by somebody's function that we called, must
 * not decide what our own statements mean: they run as the superuser.  A RESET
 * leads back to these.
 */
void
usher_worker_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"lock_timeout", "0"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* A round that survives its errors; returns how long to sleep. */
static long
guarded_round(UsherWorker *worker, MemoryContext context, int *failures)
{
	long sleep_ms = -1;

	PG_TRY();
	{
		sleep_ms = worker->round(worker->state);
		*failures = 0;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortOutOfAnyTransaction();
		LWLockReleaseAll();
		FlushErrorState();
		RESUME_INTERRUPTS();
		(*failures)++;
		sleep_ms = (long) usher_backoff_ms(*failures, BACKOFF_BASE_MS, BACKOFF_CAP_MS,
										   pg_prng_double(&pg_global_prng_state));
	}
	PG_END_TRY();
	return sleep_ms;
}

static void
sleep_until_woken(UsherWorker *worker, long sleep_ms)
{
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (sleep_ms >= 0)
		events |= WL_TIMEOUT;
	if (worker->socket != PGINVALID_SOCKET)
		events |= WL_SOCKET_READABLE | (worker->want_write ? WL_SOCKET_WRITEABLE : 0);
	(void) WaitLatchOrSocket(MyLatch, events, worker->socket, sleep_ms,
							 usher_wait_event(worker->wait_event, worker->wait_name));
	ResetLatch(MyLatch);
}

void
usher_worker_loop(UsherWorker *worker)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "usher worker round",
												  ALLOCSET_DEFAULT_SIZES);
	int failures = 0;

	while (!worker->done)
	{
		long sleep_ms;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextSwitchTo(context);
		sleep_ms = guarded_round(worker, context, &failures);
		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		if (worker->done || ShutdownRequestPending)
			break;
		if (sleep_ms != 0)
			sleep_until_woken(worker, sleep_ms);
	}
	if (ShutdownRequestPending && worker->stop)
		worker->stop(worker->state);
}

void
usher_worker_begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

void
usher_worker_commit(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
}
