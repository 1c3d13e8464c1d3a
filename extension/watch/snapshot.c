/*
 * extension/watch/snapshot.c
 *	  Rows that exist already, as events of type snapshot.
 *
 * At once: in the transaction of usher.watch, which keeps writers out, with a
 * snapshot that is taken after it has the lock, so that it shows every row that
 * was written without the triggers.
 *
 * In batches: each row is locked FOR SHARE, in its newest version, until the
 * transaction commits.  A change of the row that came before has committed, and
 * its event has a lower position; one that comes after waits, and its event gets
 * a higher one.  So whoever applies the events of a row in their order ends with
 * what is in the table.  A row that moves while the batches go on may come twice,
 * and is then the same; a row that is made meanwhile has its own events.
 */
#include "watch/watch.h"

#include "log/log.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteManip.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* One table without partitions, while its rows are read. */
typedef struct Reading
{
	Relation rel;
	UsherWatchShape *shape;
	EState *estate;
	ExprState *condition; /* NULL: none */
	TupleTableSlot *slot;
	int64 rows;
} Reading;

static void
reading_begin(Reading *reading, Relation rel)
{
	const Trigger *trigger = usher_watch_trigger_for(rel, WATCH_CREATE);

	if (trigger == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("table \"%s\" is not watched for \"create\"", RelationGetRelationName(rel)),
				 errhint("Call usher.watch first.")));
	reading->rel = rel;
	reading->shape = usher_watch_shape(trigger, rel);
	reading->estate = CreateExecutorState();
	reading->slot = table_slot_create(rel, &reading->estate->es_tupleTable);
	reading->condition = NULL;
	reading->rows = 0;
	if (trigger->tgqual)
	{
		MemoryContext old = MemoryContextSwitchTo(reading->estate->es_query_cxt);
		Node *when = stringToNode(trigger->tgqual);

		ChangeVarNodes(when, PRS2_NEW_VARNO, OUTER_VAR, 0);
		reading->condition = ExecPrepareQual(make_ands_implicit((Expr *) when), reading->estate);
		MemoryContextSwitchTo(old);
	}
}

static void
reading_end(Reading *reading)
{
	ExecResetTupleTable(reading->estate->es_tupleTable, false);
	FreeExecutorState(reading->estate);
}

/* The row in the slot -> an event, if the condition holds. */
static void
capture(Reading *reading)
{
	ExprContext *econtext = GetPerTupleExprContext(reading->estate);
	MemoryContext old;

	ResetPerTupleExprContext(reading->estate);
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	econtext->ecxt_outertuple = reading->slot;
	if (ExecQual(reading->condition, econtext))
	{
		usher_watch_capture(reading->shape, WATCH_SNAPSHOT, NULL, reading->slot);
		reading->rows++;
	}
	MemoryContextSwitchTo(old);
}

/* ---- at once ---- */

static void
read_table(Relation rel, Snapshot snapshot)
{
	Reading reading;
	TableScanDesc scan;

	reading_begin(&reading, rel);
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, reading.slot))
	{
		CHECK_FOR_INTERRUPTS();
		capture(&reading);
	}
	table_endscan(scan);
	reading_end(&reading);
}

/* Partitions in the order of their oids; a plain table alone, whatever inherits from it. */
static List *
tables_of(Relation rel, LOCKMODE mode)
{
	return rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE
			   ? find_all_inheritors(RelationGetRelid(rel), mode, NULL)
			   : list_make1_oid(RelationGetRelid(rel));
}

/* The table is locked, and its triggers are there. */
void
usher_watch_snapshot_all(Relation rel)
{
	List *tables = tables_of(rel, ShareRowExclusiveLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell *lc;

	foreach(lc, tables)
	{
		Relation table = table_open(lfirst_oid(lc), NoLock);

		if (RELKIND_HAS_STORAGE(table->rd_rel->relkind))
			read_table(table, snapshot);
		table_close(table, NoLock);
	}
	UnregisterSnapshot(snapshot);
}

/* ---- in batches ---- */

/* Lock the newest version of the row; false: it is gone. */
static bool
lock_row(Reading *reading, Snapshot snapshot)
{
	ItemPointerData tid = reading->slot->tts_tid;
	TM_FailureData failure;

	switch (table_tuple_lock(reading->rel, &tid, snapshot, reading->slot, GetCurrentCommandId(true),
							 LockTupleShare, LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							 &failure))
	{
		case TM_Ok:
			return true;
		case TM_Deleted:
		case TM_SelfModified:
			return false;
		default:
			Ensure(false, "a row could not be locked");
			return false;
	}
}

/* Rows of so many blocks, until there are enough events; returns the next block, or -1. */
static int64
read_blocks(Reading *reading, int64 block, int batch)
{
	int64 blocks = RelationGetNumberOfBlocks(reading->rel);

	while (block < blocks && reading->rows < batch)
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
		ItemPointerData first, last;
		TableScanDesc scan;

		ItemPointerSet(&first, block, FirstOffsetNumber);
		ItemPointerSet(&last, block, MaxOffsetNumber);
		scan = table_beginscan_tidrange(reading->rel, snapshot, &first, &last);
		while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, reading->slot))
		{
			CHECK_FOR_INTERRUPTS();
			if (lock_row(reading, snapshot))
				capture(reading);
		}
		table_endscan(scan);
		UnregisterSnapshot(snapshot);
		block++;
	}
	return block < blocks ? block : -1;
}

/* The tables from the place on; the place may be in one that is gone. */
static List *
tables_from(Relation rel, const UsherWatchPlace *place)
{
	List *tables = NIL;
	ListCell *lc;

	foreach(lc, tables_of(rel, RowShareLock))
		if (lfirst_oid(lc) >= place->partition)
			tables = lappend_oid(tables, lfirst_oid(lc));
	list_sort(tables, list_oid_cmp);
	return tables;
}

/*
 * Events for about `batch` rows from the place on, which moves behind them.
 * Returns how many.
 */
int64
usher_watch_snapshot_batch(Oid relid, UsherWatchPlace *place, int batch)
{
	Relation rel = table_open(relid, RowShareLock);
	int64 rows = 0;
	int64 block = place->block;
	ListCell *lc;

	foreach(lc, tables_from(rel, place))
	{
		Relation table = table_open(lfirst_oid(lc), NoLock);

		if (rows >= batch)
			block = 0;
		else if (RELKIND_HAS_STORAGE(table->rd_rel->relkind))
		{
			Reading reading;

			reading_begin(&reading, table);
			block = read_blocks(&reading, lfirst_oid(lc) == place->partition ? place->block : 0,
								batch - rows);
			rows += reading.rows;
			reading_end(&reading);
		}
		else
			block = -1;
		place->partition = lfirst_oid(lc);
		table_close(table, NoLock);
		if (block >= 0)
			break;
	}
	place->block = block;
	table_close(rel, NoLock);
	return rows;
}
