/*
 * extension/log/lookup.c
 *	  An event by its id.
 *
 * Ids that a client gave are in a partial index.  Ids that we generated are
 * not: a UUIDv7 tells when it was made, and the log is ordered by time, so the
 * event is found by a binary search for that time and a short scan.  An event
 * whose transaction committed more than ID_NEAR_US after that is in the index
 * as well.
 */
#include "log.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define ID_NEAR_US 1000000

/* When a UUIDv7 of usher_uuid7() was made, at most a microsecond early. */
static TimestampTz
made_at(const pg_uuid_t *id)
{
	uint64 ms = 0;
	uint64 fraction = (uint64) (id->data[6] & 0x0f) << 8 | id->data[7];

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id->data[i];
	return (TimestampTz) (ms * 1000 + fraction * 1000 / 4096) -
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* Whether the time in a generated id leads to an event that was recorded then. */
bool
usher_id_near(const pg_uuid_t *id, TimestampTz recorded_at)
{
	TimestampTz made = made_at(id);

	return made <= recorded_at && recorded_at - made <= ID_NEAR_US;
}

/* Time of the first event in a partition; DT_NOEND when it is empty. */
static TimestampTz
first_recorded_at(Relation rel, Oid index_oid)
{
	Relation index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, SnapshotSelf, 0);
	TimestampTz first = DT_NOEND;
	bool isnull;

	index_rescan(scan, NULL, 0, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
		first = DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull));
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return first;
}

/* The newest event with this id: outside of the dedupe window an id may have been given again. */
static TupleTableSlot *
find_in_partition(Relation rel, Oid index_oid, int32 tenant_id, const pg_uuid_t *id)
{
	Relation index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, SnapshotSelf, 2);
	ScanKeyData keys[2];
	TupleTableSlot *found = NULL;
	int64 newest = 0;
	bool isnull;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	index_rescan(scan, keys, 2, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));

		if (position < newest)
			continue;
		newest = position;
		if (found == NULL)
			found = usher_log_slot(&TTSOpsHeapTuple);
		ExecCopySlot(found, slot);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return found;
}

/*
 * The tenant's committed event with this id, recorded not before the given
 * time (as partitions go); newest partition first.
 */
bool
usher_event_id_find(int32 tenant_id, const pg_uuid_t *id, TimestampTz not_before,
					TupleTableSlot **slot)
{
	int64 behind = PG_INT64_MAX; /* partitions from here on have been looked into */

	*slot = NULL;
	if (!RecoveryInProgress())
		behind = usher_position_next(usher_db()) +
				 1; /* partitions ahead of the counter are empty */
	while (*slot == NULL)
	{
		UsherCatalog *cat = usher_catalog();
		int i = usher_partition_index(cat, behind - 1);
		Relation rel;
		bool old = false;

		if (i == cat->npartitions || cat->partitions[i].from >= behind)
			i--;
		if (i < 0)
			break;
		rel = usher_partition_open(&cat->partitions[i], AccessShareLock);
		if (rel == NULL)
			continue; /* removed or rewritten: the list is made anew */
		behind = cat->partitions[i].from;
		*slot = find_in_partition(rel, cat->partitions[i].indexes[INDEX_ID], tenant_id, id);
		if (*slot == NULL && !TIMESTAMP_IS_NOBEGIN(not_before))
			old = first_recorded_at(rel, cat->partitions[i].indexes[INDEX_POSITION]) < not_before;
		table_close(rel, AccessShareLock);
		if (old)
			break;
	}
	return *slot != NULL;
}

/* ---- by time ---- */

typedef struct Probe
{
	bool found;
	int64 position;
	TimestampTz recorded_at;
} Probe;

static bool
probe_visit(TupleTableSlot *slot, void *arg)
{
	Probe *probe = arg;
	bool isnull;

	probe->found = true;
	probe->position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	probe->recorded_at = DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull));
	return false;
}

/* The first event in the partition that starts at or behind `position`. */
static Probe
probe_at(int64 partition_from, int64 position)
{
	UsherCatalog *cat = usher_catalog();
	int i = usher_partition_index(cat, partition_from);
	Probe probe = {0};
	ScanKeyData key;
	bool dropped;

	ScanKeyInit(&key, 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(position));
	if (i < cat->npartitions)
		(void) usher_scan_partition(&cat->partitions[i], INDEX_POSITION, SnapshotSelf, &key, 1,
									ForwardScanDirection, probe_visit, &probe, &dropped);
	return probe;
}

/* Everything before the position returned was recorded before `time`. */
static int64
first_position_at(TimestampTz time)
{
	UsherCatalog *cat = usher_catalog();
	int i = cat->npartitions - 1;
	int64 from, low, high;

	for (; i > 0; i--)
	{
		Probe first = probe_at(cat->partitions[i].from, 0);

		cat = usher_catalog();
		i = Min(i, cat->npartitions - 1);
		if (first.found && first.recorded_at < time)
			break;
	}
	if (i < 0)
		return 1;
	from = low = cat->partitions[i].from;
	high = cat->partitions[i].to;
	while (low < high)
	{
		int64 middle = low + (high - low) / 2;
		Probe probe = probe_at(from, middle);

		if (probe.found && probe.recorded_at < time)
			low = probe.position + 1;
		else
			high = middle;
	}
	return low;
}

typedef struct Search
{
	int32 tenant_id;
	const pg_uuid_t *id;
	TimestampTz until;
	TupleTableSlot *found;
} Search;

static bool
search_visit(TupleTableSlot *slot, void *arg)
{
	Search *search = arg;
	bool isnull;

	if (DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull)) > search->until)
		return false;
	if (DatumGetInt32(slot_getattr(slot, LOG_TENANT_ID, &isnull)) != search->tenant_id ||
		memcmp(DatumGetUUIDP(slot_getattr(slot, LOG_ID, &isnull)), search->id, UUID_LEN) != 0)
		return true;
	search->found = usher_log_slot(&TTSOpsHeapTuple);
	ExecCopySlot(search->found, slot);
	return false;
}

/* The tenant's committed event with an id that we generated. */
bool
usher_event_id_find_generated(int32 tenant_id, const pg_uuid_t *id, TupleTableSlot **slot)
{
	TimestampTz made = made_at(id);
	Search search = {tenant_id, id, made + ID_NEAR_US, NULL};

	if ((id->data[6] & 0xf0) != 0x70)
		return false;
	usher_look_positions(first_position_at(made) - 1, PG_INT64_MAX - 1, search_visit, &search);
	*slot = search.found;
	return search.found != NULL;
}
