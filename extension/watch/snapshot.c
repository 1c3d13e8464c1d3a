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
	int64 rows; /* events */
	int64 locked; /* rows of the batch that were looked at */
} Reading;

/*
 * The condition is the table's owner's: it is planned and evaluated as he,
 * whoever takes the snapshot, and leaves nothing behind.
 */
static void
reading_begin(Reading *reading, Relation rel)
{
	const Trigger *trigger = usher_watch_trigger_for(rel, usher_watch_bit(WATCH_CREATE));

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
	reading->rows = reading->locked = 0;
	if (trigger->tgqual)
	{
		MemoryContext old = MemoryContextSwitchTo(reading->estate->es_query_cxt);
		Node *when = stringToNode(trigger->tgqual);
		UsherAsRole owner;

		ChangeVarNodes(when, PRS2_NEW_VARNO, OUTER_VAR, 0);
		usher_as_role_begin(&owner, rel->rd_rel->relowner);
		reading->condition = ExecPrepareQual(make_ands_implicit((Expr *) when), reading->estate);
		usher_as_role_end(&owner);
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
	UsherAsRole owner;
	bool holds;

	ResetPerTupleExprContext(reading->estate);
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	econtext->ecxt_outertuple = reading->slot;
	usher_as_role_begin(&owner, reading->rel->rd_rel->relowner);
	holds = ExecQual(reading->condition, econtext);
	usher_as_role_end(&owner);
	if (holds)
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

/*
 * Lock the newest version of the row.  Who waits for a row while he has locked
 * others can be in a deadlock with a writer, so only the first one of a batch is
 * waited for.
 */
static TM_Result
lock_row(Reading *reading, Snapshot snapshot, bool is_first)
{
	ItemPointerData tid = reading->slot->tts_tid;
	TM_FailureData failure;

	return table_tuple_lock(reading->rel, &tid, snapshot, reading->slot, GetCurrentCommandId(true),
							LockTupleShare, is_first ? LockWaitBlock : LockWaitSkip,
							TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
}

/* Events of up to `batch` rows from `first` on; returns where to go on, or -1 at the end of the table. */
static int64
read_rows(Reading *reading, int64 first, int64 batch)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ItemPointerData from, to;
	TableScanDesc scan;
	int64 next = -1;

	ItemPointerSet(&from, first >> 16, Max(first & 0xffff, FirstOffsetNumber));
	ItemPointerSet(&to, MaxBlockNumber, MaxOffsetNumber);
	scan = table_beginscan_tidrange(reading->rel, snapshot, &from, &to);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, reading->slot))
	{
		int64 here = (int64) ItemPointerGetBlockNumber(&reading->slot->tts_tid) << 16 |
					 ItemPointerGetOffsetNumber(&reading->slot->tts_tid);
		TM_Result result = TM_WouldBlock;

		CHECK_FOR_INTERRUPTS();
		if (reading->locked < batch)
			result = lock_row(reading, snapshot, reading->locked == 0);
		if (result == TM_WouldBlock)
		{
			next = here;
			break;
		}
		reading->locked++;
		if (result == TM_Ok)
			capture(reading);
		else
			Ensure(result == TM_Deleted || result == TM_SelfModified, "a row cannot be locked");
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return next;
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

/* Events of up to `batch` rows from the place on, which moves behind them; returns how many. */
int64
usher_watch_snapshot_batch(Oid relid, UsherWatchPlace *place, int batch)
{
	Relation rel = table_open(relid, RowShareLock);
	int64 rows = 0, locked = 0, next = -1;
	ListCell *lc;

	foreach(lc, tables_from(rel, place))
	{
		Relation table = table_open(lfirst_oid(lc), NoLock);
		int64 first = lfirst_oid(lc) == place->partition ? place->row : 0;

		next = -1;
		if (RELKIND_HAS_STORAGE(table->rd_rel->relkind))
		{
			Reading reading;

			reading_begin(&reading, table);
			reading.locked = locked;
			next = read_rows(&reading, first, batch);
			locked = reading.locked;
			rows += reading.rows;
			reading_end(&reading);
		}
		place->partition = lfirst_oid(lc);
		table_close(table, NoLock);
		if (next >= 0)
			break;
	}
	place->row = next;
	table_close(rel, NoLock);
	return rows;
}
