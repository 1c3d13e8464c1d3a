/*
 * extension/boxoffice/writer.c
 *	  Rows of one table in, as many at once as are worth it: some pages to the
 *	  heap, then all of them to one index after the other.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "executor/executor.h"
#include "utils/rel.h"

void
usher_box_writer_open(UsherBoxWriter *w, Oid relid, int natts)
{
	w->rel = table_open(relid, RowExclusiveLock);
	Ensure(RelationGetNumberOfAttributes(w->rel) == natts,
		   "a table of the box office has other columns than this library knows");
	w->indexes = CatalogOpenIndexes(w->rel);
	w->estate = CreateExecutorState();
	w->made = w->n = 0;
	w->updates = false;
}

/* Of the bookings' partial indexes: the executor would prepare their predicates anew for each call. */
static bool
predicate(Oid index, TupleTableSlot *slot, bool *holds)
{
	const UsherBox *box = usher_box();
	bool isnull;

	if (index == box->by_deadline)
	{
		Datum status = slot_getattr(slot, BOOKING_STATUS, &isnull);

		*holds = usher_box_status_is(status, "reserved") ||
				 usher_box_status_is(status, "payment_pending");
		return true;
	}
	if (index != box->by_refund)
		return false;
	*holds = DatumGetInt64(slot_getattr(slot, BOOKING_REFUND_DUE, &isnull)) > 0;
	return true;
}

static void
flush(UsherBoxWriter *w)
{
	if (w->n == 0)
		return;
	if (w->updates)
		usher_rows_index_updated(w->indexes, w->estate, w->slots, w->n, predicate);
	else
		usher_rows_insert(w->indexes, w->estate, w->slots, w->n, predicate, NULL, NULL);
	for (int i = 0; i < w->n; i++)
		ExecClearTuple(w->slots[i]);
	w->n = 0;
}

static void
add(UsherBoxWriter *w, HeapTuple tuple)
{
	if (w->n == w->made)
		w->slots[w->made++] = MakeSingleTupleTableSlot(RelationGetDescr(w->rel), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(tuple, w->slots[w->n++], true);
	if (w->n == USHER_BOX_WRITER_ROWS)
		flush(w);
}

void
usher_box_writer_insert(UsherBoxWriter *w, Datum *values, bool *nulls)
{
	add(w, heap_form_tuple(RelationGetDescr(w->rel), values, nulls));
}

/*
 * The row is locked by us, no later version of it exists, and its keys stay.
 * One writer inserts or updates, not both.
 */
void
usher_box_writer_update(UsherBoxWriter *w, ItemPointer old, HeapTuple tuple)
{
	w->updates = true;
	simple_heap_update(w->rel, old, tuple);
	if (HeapTupleIsHeapOnly(tuple))
		heap_freetuple(tuple); /* the entries of the old one lead to it */
	else
		add(w, tuple);
}

void
usher_box_writer_close(UsherBoxWriter *w)
{
	flush(w);
	for (int i = 0; i < w->made; i++)
		ExecDropSingleTupleTableSlot(w->slots[i]);
	CatalogCloseIndexes(w->indexes);
	FreeExecutorState(w->estate);
	table_close(w->rel, NoLock);
}
