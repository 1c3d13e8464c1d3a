/*
 * extension/subscription/cursor.c
 *	  Where the partitions of subscriptions are.
 *
 * A cursor moves by an insert, in the transaction of the acknowledgement: the
 * row with the greatest number counts, of two tables that are filled in turn.
 * The numbers are those of leases, which only rise.  One row has all partitions
 * that moved together; who looks for some reads backwards until he has them.
 */
#include "subscription/subscription.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define PARTITION_LOCK_CLASS 0x5557 /* beside the classes of advisory locks */

const char *const usher_cursor_tables[2] = {"subscription_cursors_a", "subscription_cursors_b"};
static const char *const indexes[2] = {"subscription_cursors_a_index",
									   "subscription_cursors_b_index"};

#define ROW_PARTITIONS_MAX 128 /* in a row, so that it is never too large for its page */

/* What is looked for, by partition. */
typedef struct Search
{
	int32 subscription_id;
	int wanted;
	int *by_partition; /* index into numbers and positions, -1: not wanted */
	int npartitions; /* of by_partition */
	int64 *numbers; /* -1: not found */
	int64 *positions;
	int rows; /* looked at */
} Search;

/* Remember what of a row is newer than what is known; *left: those of which there was nothing yet in this table. */
static void
take_row(Search *s, TupleTableSlot *slot, bool *found, int *left)
{
	bool isnull;
	int64 number = DatumGetInt64(slot_getattr(slot, USHER_CURSOR_NUMBER, &isnull));
	ArrayType *partitions = DatumGetArrayTypeP(
		slot_getattr(slot, USHER_CURSOR_PARTITIONS, &isnull));
	ArrayType *positions = DatumGetArrayTypeP(slot_getattr(slot, USHER_CURSOR_POSITIONS, &isnull));
	int n = ArrayGetNItems(ARR_NDIM(partitions), ARR_DIMS(partitions));

	Ensure(n == ArrayGetNItems(ARR_NDIM(positions), ARR_DIMS(positions)),
		   "a row of cursors has more partitions than positions, or fewer");
	for (int i = 0; i < n; i++)
	{
		int partition = ((int32 *) ARR_DATA_PTR(partitions))[i];
		int at = partition >= 0 && partition < s->npartitions ? s->by_partition[partition] : -1;

		if (at < 0)
			continue;
		*left -= !found[at];
		found[at] = true;
		if (number <= s->numbers[at])
			continue;
		s->numbers[at] = number;
		s->positions[at] = ((int64 *) ARR_DATA_PTR(positions))[i];
	}
}

/* Backwards, until there was something of each partition, or nothing can be newer than what is known. */
static void
search_table(Search *s, Relation rel, Snapshot snapshot, const char *index_name)
{
	Relation index = index_open(usher_subscription_relation(index_name), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, 2);
	bool *found = palloc0(s->wanted * sizeof(bool));
	int left = s->wanted;
	int64 oldest = PG_INT64_MAX;
	ScanKeyData keys[2];

	for (int i = 0; i < s->wanted; i++)
		oldest = Min(oldest, s->numbers[i]);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(s->subscription_id));
	ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(oldest));
	index_rescan(scan, keys, 2, NULL, 0);
	for (; left > 0 && index_getnext_slot(scan, BackwardScanDirection, slot); s->rows++)
		take_row(s, slot, found, &left);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	pfree(found);
}

/* The newest rows of both tables; they are locked, so that no rotation comes between the looks at them. */
static void
search(Search *s)
{
	int filled = pg_atomic_read_u32(&usher_db()->cursor_table) & 1;
	Relation rel[2];
	Snapshot snapshot;

	for (int i = 0; i < 2; i++)
		rel[i] = table_open(usher_subscription_relation(usher_cursor_tables[i]), AccessShareLock);
	/* after they were locked: a rotation that came before has committed */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < 2; i++)
		if (RelationGetNumberOfBlocks(rel[filled ^ i]) > 0)
			search_table(s, rel[filled ^ i], snapshot, indexes[filled ^ i]);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < 2; i++)
		table_close(rel[i], AccessShareLock);
}

/*
 * What is committed now, and what this transaction did.  Returns how many rows
 * were looked at: a partition that stood still is far behind the others.
 */
int
usher_subscription_cursors(int32 subscription_id, int n, const int *partitions, int64 *positions)
{
	Search s = {.subscription_id = subscription_id, .wanted = n, .positions = positions};
	MemoryContext look, old;

	if (n == 0)
		return 0;
	look = AllocSetContextCreate(CurrentMemoryContext, "usher cursors", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(look);
	for (int i = 0; i < n; i++)
		s.npartitions = Max(s.npartitions, partitions[i] + 1);
	s.by_partition = palloc(s.npartitions * sizeof(int));
	s.numbers = palloc(n * sizeof(int64));
	for (int i = 0; i < s.npartitions; i++)
		s.by_partition[i] = -1;
	for (int i = 0; i < n; i++)
	{
		s.by_partition[partitions[i]] = i;
		s.numbers[i] = -1;
	}
	search(&s);
	for (int i = 0; i < n; i++)
		if (s.numbers[i] < 0)
			ereport(ERROR, (errcode(ERRCODE_USHER_CORRUPTED),
							errmsg("partition %d of a subscription has no cursor", partitions[i]),
							errhint("Set it with usher.seek_subscription.")));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(look);
	return s.rows;
}

static void
insert_row(Relation rel, CatalogIndexState state, int32 subscription_id, int64 number, int n,
		   const int *partitions, const int64 *positions)
{
	Datum elements[2][ROW_PARTITIONS_MAX];
	Datum values[USHER_CURSOR_NATTS];
	bool nulls[USHER_CURSOR_NATTS] = {0};
	HeapTuple tuple;

	for (int i = 0; i < n; i++)
	{
		elements[0][i] = Int32GetDatum(partitions[i]);
		elements[1][i] = Int64GetDatum(positions[i]);
	}
	values[USHER_CURSOR_SUBSCRIPTION_ID - 1] = Int32GetDatum(subscription_id);
	values[USHER_CURSOR_NUMBER - 1] = Int64GetDatum(number);
	values[USHER_CURSOR_PARTITIONS - 1] = PointerGetDatum(
		construct_array(elements[0], n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	values[USHER_CURSOR_POSITIONS - 1] = PointerGetDatum(
		construct_array(elements[1], n, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE));
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsertWithInfo(rel, tuple, state);
	heap_freetuple(tuple);
}

/* Insert; the caller holds the partitions' locks. */
void
usher_subscription_cursors_set(const UsherSubscription *subscription, int n, const int *partitions,
							   const int64 *positions)
{
	UsherDb *db = usher_db();
	int table = pg_atomic_read_u32(&db->cursor_table) & 1;
	Relation rel = table_open(usher_subscription_relation(usher_cursor_tables[table]),
							  RowExclusiveLock);
	CatalogIndexState state = CatalogOpenIndexes(rel);
	int64 number = usher_lease_next();
	uint32 rows;

	for (int i = 0; i < n; i += ROW_PARTITIONS_MAX)
		insert_row(rel, state, subscription->id, number, Min(n - i, ROW_PARTITIONS_MAX),
				   partitions + i, positions + i);
	CatalogCloseIndexes(state);
	table_close(
		rel,
		NoLock); /* to the end of the transaction: or else it is emptied before our rows show */
	CommandCounterIncrement();
	rows = pg_atomic_add_fetch_u32(&db->cursor_rows, 1);
	if (rows == USHER_CURSOR_ROWS)
		usher_poke_proc(pg_atomic_read_u32(&db->worker_procno));
}

/* From now on the other table is filled. */
void
usher_cursor_table_switch(UsherDb *db)
{
	pg_atomic_write_u32(&db->cursor_table, (pg_atomic_read_u32(&db->cursor_table) & 1) ^ 1);
	pg_atomic_write_u32(&db->cursor_rows, 0);
}

static void
partition_tag(LOCKTAG *tag, int32 subscription_id, int partition)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) subscription_id, (uint32) partition,
						 PARTITION_LOCK_CLASS);
}

/* To the end of the transaction, or until it is unlocked. */
bool
usher_partition_lock(int32 subscription_id, int partition, bool wait)
{
	LOCKTAG tag;

	partition_tag(&tag, subscription_id, partition);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* Has somebody else locked it, perhaps a transaction that is prepared?  Takes nothing, so nobody is disturbed. */
bool
usher_partition_is_locked(int32 subscription_id, int partition)
{
	LOCKTAG tag;
	int n;

	partition_tag(&tag, subscription_id, partition);
	pfree(GetLockConflicts(&tag, ExclusiveLock, &n));
	return n > 0;
}

void
usher_partition_unlock(int32 subscription_id, int partition)
{
	LOCKTAG tag;

	partition_tag(&tag, subscription_id, partition);
	LockRelease(&tag, ExclusiveLock, false);
}
