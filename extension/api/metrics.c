/*
 * extension/api/metrics.c
 *	  What is counted in shared memory, as rows: for usher.metrics and
 *	  usher.event_stats.
 */
#include "usher.h"

#include "log/log.h"
#include "metrics/metrics.h"
#include "tenancy/tenant.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

static Datum
durations_array(const UsherSeriesValues *s)
{
	Datum buckets[USHER_DURATION_BUCKETS];

	for (int b = 0; b < USHER_DURATION_BUCKETS; b++)
		buckets[b] = Int64GetDatum(s->durations[b]);
	return PointerGetDatum(construct_array(buckets, USHER_DURATION_BUCKETS, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* tenant_id 0: of all */
static Datum
list_series(FunctionCallInfo fcinfo, int32 tenant_id)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	UsherSeriesValues s;
	bool used;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; usher_series_values(i, &s, &used); i++)
	{
		if (used && (tenant_id == 0 || s.tenant_id == tenant_id))
		{
			Datum values[] = {
				CStringGetTextDatum(s.source),
				CStringGetTextDatum(s.type),
				Int64GetDatum(s.published),
				Int64GetDatum(s.processed[OUTCOME_COMPLETED]),
				Int64GetDatum(s.processed[OUTCOME_RETRIED]),
				Int64GetDatum(s.processed[OUTCOME_FAILED]),
				durations_array(&s),
				Float8GetDatum((double) s.duration_us / USECS_PER_SEC),
			};
			bool nulls[lengthof(values)] = {0};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_series_list);
Datum
usher_series_list(PG_FUNCTION_ARGS)
{
	return list_series(fcinfo, 0);
}

PG_FUNCTION_INFO_V1(usher_own_series);
Datum
usher_own_series(PG_FUNCTION_ARGS)
{
	return list_series(fcinfo, usher_current_tenant_id());
}

PG_FUNCTION_INFO_V1(usher_metrics_since_fn);
Datum
usher_metrics_since_fn(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(usher_metrics_since());
}

static void
put(FunctionCallInfo fcinfo, const char *name, double value)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[] = {CStringGetTextDatum(name), Float8GetDatum(value)};
	bool nulls[lengthof(values)] = {0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static int
waiters(const UsherDb *db)
{
	int n = 0;

	LWLockAcquire(usher_shared->waiter_lock, LW_SHARED);
	for (uint32 i = 0; i < pg_atomic_read_u32(&usher_shared->nwaiters); i++)
		n += usher_shared->slots[usher_shared->waiters[i]].db == db;
	LWLockRelease(usher_shared->waiter_lock);
	return n;
}

PG_FUNCTION_INFO_V1(usher_count_list);
Datum
usher_count_list(PG_FUNCTION_ARGS)
{
	static const char *const names[USHER_COUNTERS] = {
		[COUNT_TRANSACTIONS] = "transactions",
		[COUNT_EVENTS] = "events",
		[COUNT_ONCE_FRESH] = "once_fresh",
		[COUNT_ONCE_REPEATED] = "once_repeated",
		[COUNT_ONCE_IN_PROGRESS] = "once_in_progress",
		[COUNT_ONCE_CONFLICT] = "once_conflict",
	};
	UsherDb *db = usher_db();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < USHER_COUNTERS; i++)
		put(fcinfo, names[i], (double) pg_atomic_read_u64(&db->counters[i]));
	put(fcinfo, "waiters", waiters(db));
	put(fcinfo, "housekeeping", pg_atomic_read_u32(&db->worker_procno) != USHER_NO_PROC);
	put(fcinfo, "uncounted", (double) usher_series_uncounted());
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_duration_bounds);
Datum
usher_duration_bounds(PG_FUNCTION_ARGS)
{
	Datum bounds[USHER_DURATION_BUCKETS - 1];

	for (int b = 0; b < USHER_DURATION_BUCKETS - 1; b++)
		bounds[b] = Float8GetDatum((double) usher_duration_bounds_us[b] / USECS_PER_SEC);
	PG_RETURN_ARRAYTYPE_P(construct_array(bounds, USHER_DURATION_BUCKETS - 1, FLOAT8OID,
										  sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
