/*
 * extension/subscription/cursor.c
 *	  Where the partitions of subscriptions are.
 *
 * A cursor moves by an insert, in the transaction of the acknowledgement: the
 * row with the greatest number counts, of two tables that are filled in turn.
 * The numbers are those of leases, which only rise.
 */
#include "subscription/subscription.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define PARTITION_LOCK_CLASS 0x5557 /* beside the classes of advisory locks */

const char *const usher_cursor_tables[2] = {"subscription_cursors_a", "subscription_cursors_b"};
static const char *const indexes[2] = {"subscription_cursors_a_index",
									   "subscription_cursors_b_index"};

/* Both tables, open and locked, so that no rotation comes between the looks at them. */
typedef struct Cursors
{
	Relation rel[2], index[2]; /* index NULL: the table is empty */
	TupleTableSlot *slot[2];
	IndexScanDesc scan[2];
	Snapshot snapshot;
} Cursors;

static void
cursors_open(Cursors *c)
{
	for (int i = 0; i < 2; i++)
		c->rel[i] = table_open(usher_subscription_relation(usher_cursor_tables[i]),
							   AccessShareLock);
	/* after they were locked: a rotation that came before has committed */
	c->snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < 2; i++)
	{
		c->index[i] = NULL;
		if (RelationGetNumberOfBlocks(c->rel[i]) == 0)
			continue;
		c->index[i] = index_open(usher_subscription_relation(indexes[i]), AccessShareLock);
		c->slot[i] = table_slot_create(c->rel[i], NULL);
		c->scan[i] = usher_index_beginscan(c->rel[i], c->index[i], c->snapshot, 2);
	}
}

static void
cursors_close(Cursors *c)
{
	for (int i = 0; i < 2; i++)
	{
		if (c->index[i])
		{
			index_endscan(c->scan[i]);
			ExecDropSingleTupleTableSlot(c->slot[i]);
			index_close(c->index[i], AccessShareLock);
		}
		table_close(c->rel[i], AccessShareLock);
	}
	UnregisterSnapshot(c->snapshot);
}

/* The newest row of the two tables; false: there is none. */
static bool
cursors_find(Cursors *c, int32 subscription_id, int partition, int64 *position)
{
	int64 number = -1;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(subscription_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(partition));
	for (int i = 0; i < 2; i++)
	{
		bool isnull;
		int64 found;

		if (c->index[i] == NULL)
			continue;
		index_rescan(c->scan[i], keys, 2, NULL, 0);
		if (!index_getnext_slot(c->scan[i], BackwardScanDirection, c->slot[i]))
			continue;
		found = DatumGetInt64(slot_getattr(c->slot[i], USHER_CURSOR_NUMBER, &isnull));
		if (found > number)
		{
			number = found;
			*position = DatumGetInt64(slot_getattr(c->slot[i], USHER_CURSOR_POSITION, &isnull));
		}
		ExecClearTuple(c->slot[i]);
	}
	return number >= 0;
}

/* What is committed now, and what this transaction did. */
void
usher_subscription_cursors(int32 subscription_id, int n, const int *partitions, int64 *positions)
{
	Cursors c;

	cursors_open(&c);
	for (int i = 0; i < n; i++)
		if (!cursors_find(&c, subscription_id, partitions[i], &positions[i]))
			ereport(ERROR, (errcode(ERRCODE_USHER_CORRUPTED),
							errmsg("partition %d of a subscription has no cursor", partitions[i]),
							errhint("Set it with usher.seek_subscription.")));
	cursors_close(&c);
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
	int64 number;
	uint32 rows;

	number = usher_lease_next();
	for (int i = 0; i < n; i++)
	{
		Datum values[USHER_CURSOR_NATTS] = {
			Int32GetDatum(subscription->id),
			Int32GetDatum(partitions[i]),
			Int64GetDatum(number),
			Int64GetDatum(positions[i]),
		};
		bool nulls[USHER_CURSOR_NATTS] = {0};
		HeapTuple tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

		CatalogTupleInsertWithInfo(rel, tuple, state);
		heap_freetuple(tuple);
	}
	CatalogCloseIndexes(state);
	table_close(
		rel,
		NoLock); /* to the end of the transaction: or else it is emptied before our rows show */
	CommandCounterIncrement();
	rows = pg_atomic_add_fetch_u32(&db->cursor_rows, n);
	if (rows >= USHER_CURSOR_ROWS && rows - n < USHER_CURSOR_ROWS)
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

void
usher_partition_unlock(int32 subscription_id, int partition)
{
	LOCKTAG tag;

	partition_tag(&tag, subscription_id, partition);
	LockRelease(&tag, ExclusiveLock, false);
}
