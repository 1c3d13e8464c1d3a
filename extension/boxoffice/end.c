/*
 * extension/boxoffice/end.c
 *	  Bookings that expire, or are cancelled with their show: many at once.
 *
 * Their rows are locked first.  Zones are pinned and told what comes free before the
 * first row is changed; seats next; then rows and events, each table and each
 * index once for all.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* What comes free of a zone. */
typedef struct Share
{
	int32 tenant_id;
	int64 zone_id;
	int64 n;
} Share;

typedef struct Shares
{
	Share *shares;
	int n, size;
} Shares;

static void
add_share(Shares *shares, int32 tenant_id, int64 zone_id, int64 n)
{
	Share *share;

	for (int i = shares->n - 1; i >= 0 && i >= shares->n - 8; i--)
		if (shares->shares[i].zone_id == zone_id && shares->shares[i].tenant_id == tenant_id)
		{
			shares->shares[i].n += n;
			return;
		}
	if (shares->n == shares->size)
	{
		shares->size *= 2;
		shares->shares = repalloc(shares->shares, shares->size * sizeof(Share));
	}
	share = &shares->shares[shares->n++];
	*share = (Share){.tenant_id = tenant_id, .zone_id = zone_id, .n = n};
}

static int
compare_shares(const void *a, const void *b)
{
	const Share *x = a, *y = b;

	if (x->tenant_id != y->tenant_id)
		return x->tenant_id < y->tenant_id ? -1 : 1;
	return x->zone_id < y->zone_id ? -1 : x->zone_id > y->zone_id;
}

static int
compare_ended(const void *a, const void *b)
{
	const UsherBoxEnded *x = a, *y = b;

	if (x->tenant_id != y->tenant_id)
		return x->tenant_id < y->tenant_id ? -1 : 1;
	return memcmp(&x->id, &y->id, UUID_LEN);
}

/* ---- what there is ---- */

static void
read_booking(UsherBoxEnded *b, TupleTableSlot *slot)
{
	bool isnull, confirmed;
	Datum status = slot_getattr(slot, BOOKING_STATUS, &isnull);

	confirmed = usher_box_status_is(status, "confirmed");
	Ensure(confirmed || usher_box_status_is(status, "reserved") ||
			   usher_box_status_is(status, "payment_pending"),
		   "a booking is ended that holds nothing");
	b->user_id = DatumGetTextPCopy(slot_getattr(slot, BOOKING_USER_ID, &isnull));
	b->quantity = DatumGetInt32(slot_getattr(slot, BOOKING_QUANTITY, &isnull));
	b->event_id = DatumGetInt64(slot_getattr(slot, BOOKING_EVENT_ID, &isnull));
	b->show_id = DatumGetInt64(slot_getattr(slot, BOOKING_SHOW_ID, &isnull));
	b->total = DatumGetInt64(slot_getattr(slot, BOOKING_TOTAL, &isnull));
	b->refund_due = DatumGetInt64(slot_getattr(slot, BOOKING_REFUND_DUE, &isnull)) +
					(confirmed ? b->total : 0);
	b->row = ExecCopySlotHeapTuple(slot);
}

static void
keys_of(ScanKey keys, const UsherBoxEnded *b)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(b->tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&b->id));
}

static void
read_bookings(UsherBoxEnded *ended, int n, Snapshot snapshot)
{
	Relation rel = table_open(usher_box()->bookings, RowExclusiveLock);
	Relation index = index_open(usher_box()->by_id, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, 2);
	ScanKeyData keys[2];

	for (int i = 0; i < n; i++)
	{
		if (ended[i].row)
			continue;
		keys_of(keys, &ended[i]);
		index_rescan(scan, keys, 2, NULL, 0);
		Ensure(index_getnext_slot(scan, ForwardScanDirection, slot),
			   "a booking that is locked is gone");
		read_booking(&ended[i], slot);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
}

static void
read_item(UsherBoxEnded *b, TupleTableSlot *slot, Shares *shares)
{
	bool isnull;

	if (DatumGetBool(slot_getattr(slot, ITEM_CANCELLED, &isnull)))
		return;
	add_share(shares, b->tenant_id, DatumGetInt64(slot_getattr(slot, ITEM_ZONE_ID, &isnull)),
			  DatumGetInt32(slot_getattr(slot, ITEM_QUANTITY, &isnull)));
	(void) slot_getattr(slot, ITEM_SEATS, &isnull);
	b->seats |= !isnull;
}

static void
read_items(UsherBoxEnded *ended, int n, Snapshot snapshot, Shares *shares)
{
	Relation rel = table_open(usher_box()->items, AccessShareLock);
	Relation index = index_open(usher_box()->items_by_booking, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, 2);
	ScanKeyData keys[2];

	Ensure(RelationGetNumberOfAttributes(rel) == ITEM_NATTS,
		   "boxoffice.booking_items has other columns than this library knows");
	for (int i = 0; i < n; i++)
	{
		keys_of(keys, &ended[i]);
		index_rescan(scan, keys, 2, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
			read_item(&ended[i], slot, shares);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
}

/* ---- what becomes of it ---- */

static void
give_places(Shares *shares)
{
	qsort(shares->shares, shares->n, sizeof(Share), compare_shares);
	for (int i = 0; i < shares->n; i++)
	{
		const Share *share = &shares->shares[i];
		int pin = usher_zone_pin(share->tenant_id, share->zone_id);

		Ensure(pin >= 0, "a booking is of a zone that does not exist");
		usher_zone_give(pin, share->n);
	}
}

static void
free_seats(const UsherBoxEnded *ended, int n)
{
	static UsherBoxPlan plan = {
		.sql = "SELECT boxoffice.free_seats($1, $2)", .nargs = 2, .types = {INT4OID, UUIDOID}};
	UsherBoxRights rights;
	bool any = false;

	for (int i = 0; i < n; i++)
		any |= ended[i].seats;
	if (!any)
		return;
	usher_box_enter(&rights);
	SPI_connect();
	for (int i = 0; i < n; i++)
	{
		Datum args[] = {Int32GetDatum(ended[i].tenant_id), UUIDPGetDatum(&ended[i].id)};

		if (ended[i].seats)
			(void) usher_box_run(&plan, args, NULL, 1);
	}
	SPI_finish();
	usher_box_leave(&rights);
}

static void
write_rows(const UsherBoxEnded *ended, int n, text *reason)
{
	TimestampTz now = GetCurrentTimestamp();
	UsherBoxWriter w;

	usher_box_writer_open(&w, usher_box()->bookings, BOOKING_NATTS);
	for (int i = 0; i < n; i++)
	{
		Datum values[BOOKING_NATTS] = {0};
		bool nulls[BOOKING_NATTS] = {0}, replaced[BOOKING_NATTS] = {0};
		const UsherBoxEnded *b = &ended[i];

		values[BOOKING_STATUS - 1] = CStringGetTextDatum(b->status);
		values[BOOKING_UPDATED_AT - 1] = TimestampTzGetDatum(now);
		values[BOOKING_REFUND_DUE - 1] = Int64GetDatum(b->refund_due);
		values[BOOKING_REASON - 1] = PointerGetDatum(reason);
		replaced[BOOKING_STATUS - 1] = replaced[BOOKING_UPDATED_AT - 1] = true;
		replaced[BOOKING_REFUND_DUE - 1] = true;
		replaced[BOOKING_REASON - 1] = reason != NULL;
		usher_box_writer_update(
			&w, &b->row->t_self,
			heap_modify_tuple(b->row, RelationGetDescr(w.rel), values, nulls, replaced));
	}
	usher_box_writer_close(&w);
}

/* Of one tenant. */
static void
write_events(const UsherBoxEnded *ended, int n, text *reason)
{
	UsherStreamWanted *wanted = palloc_array(UsherStreamWanted, n);
	text **names = palloc_array(text *, n);
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "usher ended booking",
												  ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < n; i++)
	{
		names[i] = usher_box_stream_name(&ended[i].id);
		wanted[i] = (UsherStreamWanted){.name = names[i], .create = true};
	}
	usher_streams_lock(ended[0].tenant_id, wanted, n);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		UsherEvent event = {.tenant_id = ended[i].tenant_id,
							.stream = usher_stream_locked(ended[i].tenant_id, names[i]),
							.type = cstring_to_text(psprintf("booking.%s", ended[i].status)),
							.data = usher_box_ended_json(&ended[i], reason),
							.metadata = usher_empty_object()};

		Ensure(event.stream != NULL, "the stream of a booking is not locked");
		(void) usher_append_event(&event);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
}

/*
 * Bookings that hold places, and whose rows we have locked, become expired or
 * cancelled.  Sorts `ended`, and fills in what it lacks.
 */
void
usher_box_end(UsherBoxEnded *ended, int n, text *reason)
{
	Shares shares = {.shares = palloc_array(Share, 16), .size = 16};
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int first = 0;

	qsort(ended, n, sizeof(UsherBoxEnded), compare_ended);
	read_bookings(ended, n, snapshot);
	read_items(ended, n, snapshot, &shares);
	UnregisterSnapshot(snapshot);
	give_places(&shares);
	free_seats(ended, n);
	write_rows(ended, n, reason);
	for (int i = 1; i <= n; i++)
		if (i == n || ended[i].tenant_id != ended[first].tenant_id)
		{
			write_events(ended + first, i - first, reason);
			first = i;
		}
	CommandCounterIncrement();
}

/* ---- what is due ---- */

static void
due_keys(ScanKey keys, TimestampTz after)
{
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(after));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(GetCurrentTimestamp()));
}

/* Lock the row that the scan has found, unless somebody else has it. */
static bool
take_due(Relation rel, Snapshot snapshot, TupleTableSlot *slot, UsherBoxEnded *due)
{
	ItemPointerData tid = slot->tts_tid;
	TM_FailureData failure;
	bool isnull;

	if (table_tuple_lock(rel, &tid, snapshot, slot, GetCurrentCommandId(false),
						 LockTupleNoKeyExclusive, LockWaitSkip, 0, &failure) != TM_Ok)
		return false;
	due->tenant_id = DatumGetInt32(slot_getattr(slot, BOOKING_TENANT_ID, &isnull));
	due->id = *DatumGetUUIDP(slot_getattr(slot, BOOKING_BOOKING_ID, &isnull));
	due->status = "expired";
	read_booking(due, slot);
	return true;
}

/*
 * Up to max bookings of all tenants that are due expire, the first due first;
 * those that somebody has locked are left to him, and so are the first `skip`.
 * The look begins at the deadline *after, and moves it to the last one that it
 * met: the next look need not pass the index entries of those that have
 * expired, which stay as long as somebody's snapshot may want them.  Returns
 * how many.
 */
int
usher_box_expire(int max, int skip, TimestampTz *after)
{
	UsherBoxEnded *due = palloc0_array(UsherBoxEnded, max);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Relation rel = table_open(usher_box()->bookings, RowExclusiveLock);
	Relation index = index_open(usher_box()->by_deadline, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, 2);
	ScanKeyData keys[2];
	bool isnull;
	int n = 0;

	due_keys(keys, *after);
	index_rescan(scan, keys, 2, NULL, 0);
	while (n < max && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		TimestampTz deadline = DatumGetTimestampTz(slot_getattr(slot, BOOKING_EXPIRES_AT, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (skip > 0)
			skip--;
		else if (take_due(rel, snapshot, slot, &due[n]))
		{
			*after = deadline;
			n++;
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	UnregisterSnapshot(snapshot);
	if (n > 0)
		usher_box_end(due, n, NULL);
	return n;
}
