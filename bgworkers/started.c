/*
 * bgworkers/started.c
 *	  A worker that another worker keeps running.
 */
#include "started.h"

#include "lib/backoff.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define RESTART_MS     50
#define RESTART_MAX_MS 30000

bool
usher_started_start(UsherStarted *s, const char *function, const char *type, const char *name,
					Datum arg)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = arg,
		.bgw_notify_pid = MyProcPid,
	};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	strlcpy(worker.bgw_library_name, "pg_usher_relay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	s->started_at = GetCurrentTimestamp();
	if (!RegisterDynamicBackgroundWorker(&worker, &s->handle))
		s->handle = NULL;
	MemoryContextSwitchTo(old);
	return s->handle != NULL;
}

bool
usher_started_ended(UsherStarted *s)
{
	pid_t pid;

	if (s->handle == NULL || GetBackgroundWorkerPid(s->handle, &pid) != BGWH_STOPPED)
		return false;
	pfree(s->handle);
	s->handle = NULL;
	return true;
}

void
usher_started_back_off(UsherStarted *s)
{
	TimestampTz now = GetCurrentTimestamp();

	s->failures = TimestampDifferenceExceeds(s->started_at, now, USHER_STEADY_MS) ? 0
																				  : s->failures + 1;
	s->not_before = s->failures <= 1
						? now
						: TimestampTzPlusMilliseconds(
							  now, (int64) usher_backoff_ms(s->failures, RESTART_MS, RESTART_MAX_MS,
															pg_prng_double(&pg_global_prng_state)));
}
