/*
 * extension/log/mark.c
 *	  Durable cells: one number in the page of a sequence.
 *
 * A sequence is what pg_dump, pg_upgrade and a standby carry without being
 * asked.  nextval and setval would need an xid and a privilege; a cell is
 * written by a generic WAL record, in any transaction or none, and read from
 * its page (on a standby: as replayed).  The page's own lock is the only one.
 */
#include "log.h"

#include "access/generic_xlog.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"

static Form_pg_sequence_data
cell_of(Page page)
{
	ItemId item = PageGetItemId(page, FirstOffsetNumber);
	HeapTupleHeader tuple = (HeapTupleHeader) PageGetItem(page, item);

	Ensure(ItemIdIsNormal(item), "a durable mark has no row");
	return (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
}

/* 0 when it was never written. */
int64
usher_mark_get(Relation rel)
{
	Buffer buffer = ReadBuffer(rel, 0);
	Form_pg_sequence_data cell;
	int64 value;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	cell = cell_of(BufferGetPage(buffer));
	value = cell->is_called ? cell->last_value : 0;
	UnlockReleaseBuffer(buffer);
	return value;
}

int64
usher_mark_read(Oid relid)
{
	Relation rel = relation_open(relid, AccessShareLock);
	int64 value = usher_mark_get(rel);

	relation_close(rel, AccessShareLock);
	return value;
}

/* A cell never goes back: a smaller value is ignored, so that late writers do no harm. */
void
usher_mark_set(Relation rel, int64 value, bool flush)
{
	Buffer buffer = ReadBuffer(rel, 0);
	GenericXLogState *state;
	Form_pg_sequence_data cell;
	XLogRecPtr lsn;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(rel);
	cell = cell_of(GenericXLogRegisterBuffer(state, buffer, 0));
	if (cell->is_called && cell->last_value >= value)
	{
		GenericXLogAbort(state);
		lsn = BufferGetLSNAtomic(buffer);
	}
	else
	{
		cell->last_value = value;
		cell->log_cnt = 0;
		cell->is_called = true;
		lsn = GenericXLogFinish(state);
	}
	UnlockReleaseBuffer(buffer);
	if (flush)
		XLogFlush(lsn);
}

void
usher_mark_write(Oid relid, int64 value, bool flush)
{
	Relation rel = relation_open(relid, RowExclusiveLock);

	usher_mark_set(rel, value, flush);
	relation_close(rel, RowExclusiveLock);
}
