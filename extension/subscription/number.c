/*
 * extension/subscription/number.c
 *	  The numbers of leases and of cursors: each is given once.
 *
 * A lease's number is its fencing token: had it been given before a crash, an
 * acknowledgement that was on its way would end a lease of somebody else.  So
 * a number is given only when a mark at or above it is durable; it is raised
 * ahead, as that of positions.  After a start counting goes on above the mark,
 * above what the tables of cursors have, and above the time in microseconds:
 * for a standby that had not received the last mark, and for what a dump
 * brings from elsewhere.
 */
#include "subscription/subscription.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define CHUNK \
	1000000 /* numbers that are reserved durably at a time: a second's, were they the time */

static int64
newest_cursor(const char *table)
{
	Relation rel = table_open(usher_subscription_relation(table), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int64 newest = 0;
	bool isnull;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		newest = Max(newest, DatumGetInt64(slot_getattr(slot, USHER_CURSOR_NUMBER, &isnull)));
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return newest;
}

static void
raise_to(pg_atomic_uint64 *counter, int64 value)
{
	uint64 now = pg_atomic_read_u64(counter);

	while (now < (uint64) value && !pg_atomic_compare_exchange_u64(counter, &now, (uint64) value))
		;
}

/* Once after a start of the server. */
static void
begin_above(const UsherDb *db)
{
	int64 newest = Max(usher_mark_read(usher_subscription_relation("lease_mark")),
					   (int64) GetCurrentTimestamp());

	for (int i = 0; i < 2; i++)
		newest = Max(newest, newest_cursor(usher_cursor_tables[i]));
	raise_to(&usher_shared->last_lease, newest);
}

/* Greater than all that were given in this database. */
int64
usher_lease_next(void)
{
	UsherDb *db = usher_db();
	int64 number;

	if (pg_atomic_read_u64(&db->lease_mark) == 0)
		begin_above(db);
	number = (int64) pg_atomic_add_fetch_u64(&usher_shared->last_lease, 1);
	if (number > (int64) pg_atomic_read_u64(&db->lease_mark))
	{
		usher_mark_write(usher_subscription_relation("lease_mark"), number + CHUNK, true);
		raise_to(&db->lease_mark, number + CHUNK);
	}
	return number;
}
