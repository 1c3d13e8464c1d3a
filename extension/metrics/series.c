/*
 * extension/metrics/series.c
 *	  The table of series, and what is counted in it.
 *
 * usher.metric_series places, taken and never given back while the database
 * is there.  The last eighth is for the series `other` of each tenant, which
 * stand for all label sets that found no place.  `hashes` is what is searched:
 * it is read and a place taken under the lock; names do not change once a
 * place is taken, numbers are atomic.  A backend remembers what it found, by
 * hash, and looks whether the place still has these names.
 */
#include "metrics/metrics.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"

#define REMEMBERED 256

typedef struct Names
{
	Oid dboid;
	int32 tenant_id;
	const char *source, *type;
	int source_len, type_len;
	uint64 hash; /* never 0 */
} Names;

typedef struct Series
{
	Oid dboid;
	int32 tenant_id;
	int source_len, type_len;
	char source[USHER_NAME_MAX], type[USHER_NAME_MAX];
	pg_atomic_uint64 published;
	pg_atomic_uint64 processed[OUTCOME_COUNT];
	pg_atomic_uint64 durations[USHER_DURATION_BUCKETS];
	pg_atomic_uint64 duration_us;
} Series;

typedef struct Metrics
{
	int size;
	int used; /* places below are taken or were */
	TimestampTz since;
	pg_atomic_uint64 uncounted;
	uint64 *hashes; /* 0: free */
	Series *series;
} Metrics;

const int64 usher_duration_bounds_us[USHER_DURATION_BUCKETS - 1] = {
	100, 500, 1000, 5000, 10000, 50000, 100000, 500000, 1000000, 5000000, 30000000,
};

static Metrics *metrics;

static struct
{
	uint64 hash;
	int series;
	bool other; /* it has no place of its own */
} remembered[REMEMBERED];

Size
usher_metrics_size(void)
{
	return add_size(CACHELINEALIGN(sizeof(Metrics)),
					mul_size(usher_metric_series, sizeof(uint64) + sizeof(Series)));
}

static void
series_reset(Series *s)
{
	pg_atomic_init_u64(&s->published, 0);
	pg_atomic_init_u64(&s->duration_us, 0);
	for (int i = 0; i < OUTCOME_COUNT; i++)
		pg_atomic_init_u64(&s->processed[i], 0);
	for (int i = 0; i < USHER_DURATION_BUCKETS; i++)
		pg_atomic_init_u64(&s->durations[i], 0);
}

void
usher_metrics_init(void)
{
	bool found;

	metrics = ShmemInitStruct("pg_usher metrics", usher_metrics_size(), &found);
	if (found)
		return;
	memset(metrics, 0, usher_metrics_size());
	metrics->size = usher_metric_series;
	metrics->since = GetCurrentTimestamp();
	pg_atomic_init_u64(&metrics->uncounted, 0);
	metrics->hashes = (uint64 *) ((char *) metrics + CACHELINEALIGN(sizeof(Metrics)));
	metrics->series = (Series *) (metrics->hashes + metrics->size);
}

/* ---- find, or take, a place ---- */

static bool
has_names(const Series *s, const Names *names)
{
	return s->dboid == names->dboid && s->tenant_id == names->tenant_id &&
		   s->source_len == names->source_len && s->type_len == names->type_len &&
		   memcmp(s->type, names->type, names->type_len) == 0 &&
		   memcmp(s->source, names->source, names->source_len) == 0;
}

/* Call with the lock held. */
static int
find(const Names *names)
{
	for (int i = 0; i < metrics->used; i++)
		if (metrics->hashes[i] == names->hash && has_names(&metrics->series[i], names))
			return i;
	return -1;
}

static bool
database_is_known(Oid dboid)
{
	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == dboid)
			return true;
	return false;
}

/* A place below `limit`: one that was never taken, else one of a database that is gone. */
static int
free_place(int limit)
{
	if (metrics->used < limit)
		return metrics->used++;
	for (int i = 0; i < limit; i++)
		if (!database_is_known(metrics->series[i].dboid))
			return i;
	return -1;
}

static int
take(const Names *names, int limit)
{
	int i;

	LWLockAcquire(usher_shared->lock, LW_SHARED);
	LWLockAcquire(usher_shared->metrics_lock, LW_EXCLUSIVE);
	i = find(names);
	if (i < 0)
	{
		i = free_place(limit);
		if (i >= 0)
		{
			Series *s = &metrics->series[i];

			s->dboid = names->dboid;
			s->tenant_id = names->tenant_id;
			s->source_len = names->source_len;
			s->type_len = names->type_len;
			memcpy(s->source, names->source, names->source_len);
			memcpy(s->type, names->type, names->type_len);
			series_reset(s);
			metrics->hashes[i] = names->hash;
		}
	}
	LWLockRelease(usher_shared->metrics_lock);
	LWLockRelease(usher_shared->lock);
	return i;
}

static int
find_or_take(const Names *names, int limit)
{
	int i;

	LWLockAcquire(usher_shared->metrics_lock, LW_SHARED);
	i = find(names);
	LWLockRelease(usher_shared->metrics_lock);
	return i >= 0 ? i : take(names, limit);
}

static uint64
hash_names(const Names *names)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) names->type, names->type_len,
									  names->tenant_id);

	if (names->source_len > 0)
		hash = hash_bytes_extended((const unsigned char *) names->source, names->source_len, hash);
	return hash | 1;
}

int
usher_series_other(int32 tenant_id)
{
	Names names = {MyDatabaseId, tenant_id, "other", "other", 5, 5, 0};

	names.hash = hash_names(&names);
	return find_or_take(&names, metrics->size);
}

static int
series_of(int32 tenant_id, const char *source, int source_len, const char *type, int type_len)
{
	Names names = {MyDatabaseId, tenant_id, source, type, source_len, type_len, 0};
	int slot, i;

	if (source_len > USHER_NAME_MAX)
		return usher_series_other(tenant_id);
	names.hash = hash_names(&names);
	slot = (int) ((names.hash >> 1) % REMEMBERED);
	if (likely(remembered[slot].hash == names.hash))
	{
		i = remembered[slot].series;
		if (i < 0 || remembered[slot].other || metrics->hashes[i] == names.hash)
			return i;
	}
	i = find_or_take(&names, metrics->size - metrics->size / 8);
	remembered[slot].other = i < 0;
	if (i < 0)
		i = usher_series_other(tenant_id);
	remembered[slot].hash = names.hash;
	remembered[slot].series = i;
	return i;
}

int
usher_series(int32 tenant_id, Jsonb *metadata, const text *type)
{
	JsonbValue buffer;
	JsonbValue *source = NULL;

	if (JsonContainerSize(&metadata->root) > 0)
		source = getKeyJsonValueFromContainer(&metadata->root, "source", 6, &buffer);
	if (source != NULL && source->type != jbvString)
		source = NULL;
	return series_of(tenant_id, source ? source->val.string.val : "",
					 source ? source->val.string.len : 0, VARDATA_ANY(type),
					 VARSIZE_ANY_EXHDR(type));
}

/* ---- count ---- */

void
usher_series_published(int series, int64 n)
{
	if (unlikely(series < 0))
		pg_atomic_fetch_add_u64(&metrics->uncounted, n);
	else
		pg_atomic_fetch_add_u64(&metrics->series[series].published, n);
}

void
usher_series_processed(int series, UsherOutcome outcome, int64 n, int64 duration_us)
{
	Series *s;
	int bucket = 0;

	if (unlikely(series < 0))
	{
		pg_atomic_fetch_add_u64(&metrics->uncounted, n);
		return;
	}
	s = &metrics->series[series];
	pg_atomic_fetch_add_u64(&s->processed[outcome], n);
	if (duration_us < 0)
		return;
	while (bucket < USHER_DURATION_BUCKETS - 1 && duration_us > usher_duration_bounds_us[bucket])
		bucket++;
	pg_atomic_fetch_add_u64(&s->durations[bucket], n);
	pg_atomic_fetch_add_u64(&s->duration_us, duration_us * n);
}

void
usher_metrics_processed(int32 tenant_id, const text *source, const text *type, UsherOutcome outcome,
						int64 duration_us)
{
	int series = series_of(tenant_id, source ? VARDATA_ANY(source) : "",
						   source ? VARSIZE_ANY_EXHDR(source) : 0, VARDATA_ANY(type),
						   VARSIZE_ANY_EXHDR(type));

	usher_series_processed(series, outcome, 1, duration_us);
}

/* ---- look ---- */

bool
usher_series_values(int i, UsherSeriesValues *values, bool *used)
{
	Series *s = &metrics->series[i];

	LWLockAcquire(usher_shared->metrics_lock, LW_SHARED);
	if (i >= metrics->used)
	{
		LWLockRelease(usher_shared->metrics_lock);
		return false;
	}
	*used = s->dboid == MyDatabaseId;
	if (*used)
	{
		values->tenant_id = s->tenant_id;
		memcpy(values->source, s->source, s->source_len);
		values->source[s->source_len] = '\0';
		memcpy(values->type, s->type, s->type_len);
		values->type[s->type_len] = '\0';
		values->published = pg_atomic_read_u64(&s->published);
		values->duration_us = pg_atomic_read_u64(&s->duration_us);
		for (int o = 0; o < OUTCOME_COUNT; o++)
			values->processed[o] = pg_atomic_read_u64(&s->processed[o]);
		for (int b = 0; b < USHER_DURATION_BUCKETS; b++)
			values->durations[b] = pg_atomic_read_u64(&s->durations[b]);
	}
	LWLockRelease(usher_shared->metrics_lock);
	return true;
}

int64
usher_series_uncounted(void)
{
	return pg_atomic_read_u64(&metrics->uncounted);
}

TimestampTz
usher_metrics_since(void)
{
	return metrics->since;
}
