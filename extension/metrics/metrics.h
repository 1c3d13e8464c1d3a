/*
 * extension/metrics/metrics.h
 *	  Counters for monitoring, in shared memory: events by tenant, source and
 *	  type, and a few numbers of a database.
 *
 * Below the rooms that count.  A label set (series) has a fixed place once it
 * was seen; finding it may take a lock, so it is done where an event is formed
 * or read.  Counting is one atomic addition: it allocates nothing, waits for
 * nobody and cannot fail, so commit callbacks may.  All numbers begin at zero
 * when the server starts.
 */
#ifndef USHER_METRICS_H
#define USHER_METRICS_H

#include "usher.h"
#include "shmem.h"

#include "utils/jsonb.h"

/* What became of an event that was delivered. */
typedef enum UsherOutcome
{
	OUTCOME_COMPLETED,
	OUTCOME_RETRIED, /* failed, and will be tried again */
	OUTCOME_FAILED, /* for good: a dead letter */
	OUTCOME_COUNT
} UsherOutcome;

#define USHER_DURATION_BUCKETS 12 /* the last one has no bound */
extern const int64 usher_duration_bounds_us[USHER_DURATION_BUCKETS - 1];

/* A series as it is now. */
typedef struct UsherSeriesValues
{
	int32 tenant_id;
	char source[USHER_NAME_MAX + 1], type[USHER_NAME_MAX + 1];
	int64 published;
	int64 processed[OUTCOME_COUNT];
	int64 durations[USHER_DURATION_BUCKETS]; /* not cumulative */
	int64 duration_us; /* their sum */
} UsherSeriesValues;

extern Size usher_metrics_size(void);
extern void usher_metrics_init(void);

/* The series of an event; -1: there is no room for another one, not even for `other`. */
extern int usher_series(int32 tenant_id, Jsonb *metadata, const text *type);
/* Of what no series is left for, or of more kinds than somebody can remember. */
extern int usher_series_other(int32 tenant_id);

extern void usher_series_published(int series, int64 n);
/* n events; duration_us: of each of them, -1: unknown. */
extern void usher_series_processed(int series, UsherOutcome outcome, int64 n, int64 duration_us);

/* One event, with its names at hand.  May take a lock: not for commit callbacks. */
extern void usher_metrics_processed(int32 tenant_id, const text *source, const text *type,
									UsherOutcome outcome, int64 duration_us);

/* The i-th series of this database, false behind the last place; *used: it has something. */
extern bool usher_series_values(int i, UsherSeriesValues *values, bool *used);
extern int64 usher_series_uncounted(void);
extern TimestampTz usher_metrics_since(void);

static inline void
usher_count(UsherDb *db, UsherCounter counter, int64 n)
{
	pg_atomic_fetch_add_u64(&db->counters[counter], n);
}

#endif /* USHER_METRICS_H */
