/*
 * extension/log/head.c
 *	  A stream's head version, its segments and limits.
 *
 * The head version is the newest entry of the (tenant, stream, version) index.
 * Under the stream's lock it is read with SnapshotSelf: what is committed now,
 * whatever the transaction's isolation level.  Readers without the lock see
 * their active snapshot.
 */
#include "log.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* Columns of usher.stream_segments and usher.stream_limits. */
enum
{
	SEGMENT_TENANT_ID = 1,
	SEGMENT_STREAM,
	SEGMENT_FROM,
	SEGMENT_FIRST_VERSION,
	SEGMENT_NATTS = SEGMENT_FIRST_VERSION
};
enum
{
	LIMIT_TENANT_ID = 1,
	LIMIT_STREAM,
	LIMIT_HIDDEN_BEFORE,
	LIMIT_DELETED,
	LIMIT_REUSABLE,
	LIMIT_MAX_AGE,
	LIMIT_MAX_COUNT,
	LIMIT_TRUNCATE_BEFORE,
	LIMIT_NATTS = LIMIT_TRUNCATE_BEFORE
};

void
usher_stream_keys(ScanKey keys, int32 tenant_id, const text *name)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
	keys[1].sk_collation = C_COLLATION_OID;
}

/* Heads of streams in one partition. */
typedef struct HeadScan
{
	Relation rel, index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} HeadScan;

/* False: the partition was dropped.  Until it is closed the caller waits for nothing. */
static bool
head_scan_open(HeadScan *heads, UsherPartition *partition, Snapshot snapshot)
{
	heads->rel = usher_partition_open(partition, AccessShareLock);
	if (heads->rel == NULL)
		return false;
	heads->index = index_open(partition->indexes[INDEX_STREAM], AccessShareLock);
	heads->slot = table_slot_create(heads->rel, NULL);
	heads->scan = usher_index_beginscan(heads->rel, heads->index, snapshot, 2);
	return true;
}

/* Newest version of the stream; false when it has none there. */
static bool
head_scan_find(HeadScan *heads, int32 tenant_id, const text *name, int64 *head, int *flags)
{
	ScanKeyData keys[2];
	bool found, isnull;

	usher_stream_keys(keys, tenant_id, name);
	index_rescan(heads->scan, keys, 2, NULL, 0);
	found = index_getnext_slot(heads->scan, BackwardScanDirection, heads->slot);
	if (found)
	{
		*flags = DatumGetInt32(slot_getattr(heads->slot, LOG_FLAGS, &isnull));
		*head = DatumGetInt64(slot_getattr(heads->slot, LOG_VERSION, &isnull));
	}
	ExecClearTuple(heads->slot);
	return found;
}

static void
head_scan_close(HeadScan *heads)
{
	index_endscan(heads->scan);
	ExecDropSingleTupleTableSlot(heads->slot);
	index_close(heads->index, AccessShareLock);
	table_close(heads->rel, AccessShareLock);
}

/* Newest version of the stream in one partition; false when it has none there, or the partition was *dropped. */
static bool
head_in_partition(UsherCatalog *cat, int partition, int32 tenant_id, const text *name,
				  Snapshot snapshot, int64 *head, int *flags, bool *dropped)
{
	HeadScan heads;
	bool found;

	*dropped = !head_scan_open(&heads, &cat->partitions[partition], snapshot);
	if (*dropped)
		return false;
	found = head_scan_find(&heads, tenant_id, name, head, flags);
	head_scan_close(&heads);
	return found;
}

/*
 * A copy of the first row that an index leads to; NULL when there is none.
 * Where it lies is in t_self.
 */
HeapTuple
usher_row_find(Relation rel, Oid index_oid, Snapshot snapshot, ScanKey keys, int nkeys,
			   ScanDirection direction)
{
	Relation index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, nkeys);
	HeapTuple found = NULL;

	index_rescan(scan, keys, nkeys, NULL, 0);
	if (index_getnext_slot(scan, direction, slot))
	{
		found = ExecCopySlotHeapTuple(slot);
		found->t_self = slot->tts_tid;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return found;
}

/* A stream's row in one of the tables whose index begins with (tenant, stream). */
static HeapTuple
stream_row(Relation rel, Oid index, int32 tenant_id, const text *name, Snapshot snapshot,
		   ScanDirection direction)
{
	ScanKeyData keys[2];

	usher_stream_keys(keys, tenant_id, name);
	return usher_row_find(rel, index, snapshot, keys, 2, direction);
}

/* Newest segment row of the stream; false when it never left its first partition. */
static bool
newest_segment(UsherCatalog *cat, int32 tenant_id, const text *name, Snapshot snapshot, int64 *from,
			   int64 *first_version)
{
	Relation rel = table_open(cat->segments, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	HeapTuple row = stream_row(rel, cat->segments_pkey, tenant_id, name, snapshot,
							   BackwardScanDirection);
	bool isnull;

	if (row)
	{
		*from = DatumGetInt64(heap_getattr(row, SEGMENT_FROM, desc, &isnull));
		*first_version = DatumGetInt64(heap_getattr(row, SEGMENT_FIRST_VERSION, desc, &isnull));
		heap_freetuple(row);
	}
	table_close(rel, AccessShareLock);
	return row != NULL;
}

/* Head version of a stream that has no event in the current partition. */
static int64
find_older_head(int32 tenant_id, const text *name, int64 first, Snapshot snapshot, int *flags,
				int64 *segment)
{
	int64 head, from, next_version;
	UsherStreamLimits limits;

	for (;;)
	{
		UsherCatalog *cat = usher_catalog();
		bool dropped = false;
		int partition;

		next_version = 1;
		*segment = newest_segment(cat, tenant_id, name, snapshot, &from, &next_version) ? from
																						: first;
		partition = usher_partition_index(cat, *segment);
		if (partition < cat->npartitions && cat->partitions[partition].from == *segment &&
			head_in_partition(cat, partition, tenant_id, name, snapshot, &head, flags, &dropped))
			return head;

		/*
		 * The partition was removed, or rewritten with its survivors, which an
		 * older snapshot does not see: look at what is committed now.
		 */
		if (!dropped && snapshot == SnapshotSelf)
			break;
		snapshot = SnapshotSelf;
	}
	*segment = -1;
	usher_stream_limits(tenant_id, name, &limits);
	*flags = limits.hidden_before == next_version - 1 ? limits.head_flags : 0;
	return next_version - 1;
}

/*
 * Head version of a stream whose events begin in the partition at `first`.
 * The current partition is asked first: a busy stream has its head there.
 * *segment becomes the start of the partition where the head is, -1 when
 * retention has removed it.
 */
static int64
find_head(int32 tenant_id, const text *name, int64 first, Snapshot snapshot, int *flags,
		  int64 *segment)
{
	UsherCatalog *cat = usher_catalog();
	int current = usher_partition_current(cat);
	int64 head;
	bool dropped;

	*flags = 0;
	if (current >= 0 &&
		head_in_partition(cat, current, tenant_id, name, snapshot, &head, flags, &dropped))
	{
		*segment = cat->partitions[current].from;
		return head;
	}
	return find_older_head(tenant_id, name, first, snapshot, flags, segment);
}

/*
 * Heads of streams that we have locked; their `segment` says where their events
 * begin, and is then where the head is.  Waits for nothing.
 */
void
usher_streams_find_heads(UsherStream *const *streams, int n)
{
	UsherCatalog *cat = usher_catalog();
	int current = usher_partition_current(cat);
	int64 from = current >= 0 ? cat->partitions[current].from : -1;
	bool *found;
	HeadScan heads;

	if (n == 0)
		return;
	found = palloc0_array(bool, n);
	if (current >= 0 && head_scan_open(&heads, &cat->partitions[current], SnapshotSelf))
	{
		for (int i = 0; i < n; i++)
		{
			found[i] = head_scan_find(&heads, streams[i]->tenant_id, streams[i]->name,
									  &streams[i]->head, &streams[i]->head_flags);
			if (found[i])
				streams[i]->segment = from;
		}
		head_scan_close(&heads);
	}
	for (int i = 0; i < n; i++)
		if (!found[i])
			streams[i]->head = find_older_head(streams[i]->tenant_id, streams[i]->name,
											   streams[i]->segment, SnapshotSelf,
											   &streams[i]->head_flags, &streams[i]->segment);
	pfree(found);
}

/*
 * Head version for readers: pending events of this transaction included, else
 * as the active snapshot sees it; 0 when the stream does not exist.
 */
int64
usher_stream_head(int32 tenant_id, const text *name, int *flags)
{
	UsherStream *stream = usher_stream_locked(tenant_id, name);
	UsherCatalog *cat = usher_catalog();
	Relation registry;
	HeapTuple row;
	int64 first = -1, segment;
	bool isnull;

	*flags = stream ? stream->head_flags : 0;
	if (stream)
		return stream->head;
	registry = table_open(cat->registry, AccessShareLock);
	row = stream_row(registry, cat->registry_pkey, tenant_id, name, GetActiveSnapshot(),
					 ForwardScanDirection);
	if (row)
	{
		first = DatumGetInt64(
			heap_getattr(row, REGISTRY_FIRST_POSITION, RelationGetDescr(registry), &isnull));
		heap_freetuple(row);
	}
	table_close(registry, AccessShareLock);
	return first < 0 ? 0 : find_head(tenant_id, name, first, GetActiveSnapshot(), flags, &segment);
}

/*
 * Partitions that may hold events of the stream, oldest first: start of each,
 * and the first version that can be in it.  Returns how many (0: unknown stream).
 */
int
usher_stream_segments(int32 tenant_id, const text *name, int64 **from, int64 **first_version)
{
	UsherCatalog *cat = usher_catalog();
	Oid tables[2] = {cat->registry, cat->segments};
	Oid indexes[2] = {cat->registry_pkey, cat->segments_pkey};
	int n = 0, size = 8;

	*from = palloc_array(int64, size);
	*first_version = palloc_array(int64, size);
	for (int t = 0; t < 2; t++)
	{
		Relation rel = table_open(tables[t], AccessShareLock);
		Relation index = index_open(indexes[t], AccessShareLock);
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		IndexScanDesc scan = usher_index_beginscan(rel, index, GetActiveSnapshot(), 2);
		ScanKeyData keys[2];
		bool isnull;

		usher_stream_keys(keys, tenant_id, name);
		index_rescan(scan, keys, 2, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			AttrNumber column = t == 0 ? REGISTRY_FIRST_POSITION : SEGMENT_FROM;

			if (n == size)
			{
				size *= 2;
				*from = repalloc_array(*from, int64, size);
				*first_version = repalloc_array(*first_version, int64, size);
			}
			(*from)[n] = DatumGetInt64(slot_getattr(slot, column, &isnull));
			(*first_version)[n] = t == 0 ? 1
										 : DatumGetInt64(
											   slot_getattr(slot, SEGMENT_FIRST_VERSION, &isnull));
			n++;
		}
		index_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		index_close(index, AccessShareLock);
		table_close(rel, AccessShareLock);
		if (n == 0)
			break;
	}
	return n;
}

static int64
column_or_zero(HeapTuple row, AttrNumber column, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(row, column, desc, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

void
usher_stream_limits(int32 tenant_id, const text *name, UsherStreamLimits *limits)
{
	UsherCatalog *cat = usher_catalog();
	Relation rel = table_open(cat->limits, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	HeapTuple row = stream_row(rel, cat->limits_pkey, tenant_id, name,
							   ActiveSnapshotSet() ? GetActiveSnapshot() : SnapshotSelf,
							   ForwardScanDirection);

	memset(limits, 0, sizeof(*limits));
	TIMESTAMP_NOBEGIN(limits->not_before);
	if (row)
	{
		bool isnull;
		Datum max_age = heap_getattr(row, LIMIT_MAX_AGE, desc, &isnull);

		if (!isnull)
			limits->not_before = DatumGetTimestampTz(DirectFunctionCall2(
				timestamptz_mi_interval, TimestampTzGetDatum(GetCurrentTimestamp()), max_age));
		limits->max_count = column_or_zero(row, LIMIT_MAX_COUNT, desc);
		limits->hidden_before = column_or_zero(row, LIMIT_HIDDEN_BEFORE, desc);
		limits->first_visible = Max(limits->hidden_before,
									column_or_zero(row, LIMIT_TRUNCATE_BEFORE, desc));
		if (DatumGetBool(heap_getattr(row, LIMIT_DELETED, desc, &isnull)))
			limits->head_flags = LOG_FLAG_TOMBSTONE;
		if (DatumGetBool(heap_getattr(row, LIMIT_REUSABLE, desc, &isnull)))
			limits->head_flags |= LOG_FLAG_REUSABLE;
		heap_freetuple(row);
	}
	table_close(rel, AccessShareLock);
}

/* Note the tombstone of a stream that this transaction has locked. */
void
usher_stream_hide(UsherStream *stream, int64 tombstone, bool reusable)
{
	UsherCatalog *cat = usher_catalog();
	Relation rel = table_open(cat->limits, RowExclusiveLock);
	HeapTuple tuple = stream_row(rel, cat->limits_pkey, stream->tenant_id, stream->name,
								 SnapshotSelf, ForwardScanDirection);
	Datum values[LIMIT_NATTS] = {0};
	bool nulls[LIMIT_NATTS];
	bool replace[LIMIT_NATTS] = {0};

	memset(nulls, true, sizeof(nulls));
	values[LIMIT_TENANT_ID - 1] = Int32GetDatum(stream->tenant_id);
	values[LIMIT_STREAM - 1] = PointerGetDatum(stream->name);
	values[LIMIT_HIDDEN_BEFORE - 1] = Int64GetDatum(tombstone);
	values[LIMIT_DELETED - 1] = BoolGetDatum(true);
	values[LIMIT_REUSABLE - 1] = BoolGetDatum(reusable);
	for (int column = LIMIT_TENANT_ID; column <= LIMIT_REUSABLE; column++)
	{
		nulls[column - 1] = false;
		replace[column - 1] = column >= LIMIT_HIDDEN_BEFORE;
	}
	if (tuple == NULL)
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	else
		CatalogTupleUpdate(rel, &tuple->t_self,
						   heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* At flush: the stream's first event in the partition at `from`. */
void
usher_stream_segment_add(UsherStream *stream, int64 from, int64 version)
{
	Relation rel = table_open(usher_catalog()->segments, RowExclusiveLock);
	Datum values[SEGMENT_NATTS];
	bool nulls[SEGMENT_NATTS] = {0};
	HeapTuple tuple;

	values[SEGMENT_TENANT_ID - 1] = Int32GetDatum(stream->tenant_id);
	values[SEGMENT_STREAM - 1] = PointerGetDatum(stream->name);
	values[SEGMENT_FROM - 1] = Int64GetDatum(from);
	values[SEGMENT_FIRST_VERSION - 1] = Int64GetDatum(version);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	stream->segment = from;
}
