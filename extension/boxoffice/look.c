/*
 * extension/boxoffice/look.c
 *	  What a user has already: places for the limit, bookings by a repeated key.
 *
 * The user is locked, and the snapshot is taken behind the locks of a whole
 * batch, at its first look: it shows every booking of these users, and our own of earlier
 * statements.  Rows of the call itself are not written yet; reserve.c counts them.
 *
 * The index has the event as well, so rows of a user's other events are not
 * read: they lie wherever an earlier sale has left them.
 */
#include "boxoffice/box.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "log/log.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#define ABUSE_WINDOW_US (30 * USECS_PER_MINUTE)

/* Columns of index bookings_user that are looked at. */
enum
{
	ENTRY_KEY = 3,
	ENTRY_EVENT_ID,
	ENTRY_NATTS = ENTRY_EVENT_ID
};

/* At the first look: most requests of a sale without limits need none. */
static void
open_tables(UsherBoxLook *look)
{
	const UsherBox *box = usher_box();

	if (look->rel)
		return;
	look->snapshot = RegisterSnapshot(GetLatestSnapshot());
	look->rel = table_open(box->bookings, RowExclusiveLock);
	Ensure(RelationGetNumberOfAttributes(look->rel) == BOOKING_NATTS,
		   "boxoffice.bookings has other columns than this library knows");
	look->by_user = index_open(box->by_user, AccessShareLock);
	Ensure(IndexRelationGetNumberOfAttributes(look->by_user) == ENTRY_NATTS,
		   "index bookings_user has other columns than this library knows");
	look->slot = table_slot_create(look->rel, NULL);
}

void
usher_look_end(UsherBoxLook *look)
{
	if (look->rel == NULL)
		return;
	if (look->all)
		index_endscan(look->all);
	if (look->one)
		index_endscan(look->one);
	ExecDropSingleTupleTableSlot(look->slot);
	index_close(look->by_user, AccessShareLock);
	table_close(look->rel, NoLock);
	UnregisterSnapshot(look->snapshot);
}

bool
usher_box_status_is(Datum status, const char *name)
{
	text *t = DatumGetTextPP(status);

	return VARSIZE_ANY_EXHDR(t) == strlen(name) &&
		   memcmp(VARDATA_ANY(t), name, VARSIZE_ANY_EXHDR(t)) == 0;
}

static bool
holds_places(Datum status)
{
	return usher_box_status_is(status, "reserved") ||
		   usher_box_status_is(status, "payment_pending") ||
		   usher_box_status_is(status, "confirmed");
}

/* Scan keys for (tenant, user, key); returns a scan that takes the first n, and shows its entries. */
static IndexScanDesc
begin_scan(UsherBoxLook *look, const UsherBoxRequest *r, int n)
{
	IndexScanDesc *scan = n == 2 ? &look->all : &look->one;
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(r->tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(r->user_id));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(r->key));
	keys[1].sk_collation = keys[2].sk_collation = C_COLLATION_OID;
	if (*scan == NULL)
	{
		*scan = usher_index_beginscan(look->rel, look->by_user, look->snapshot, n);
		(*scan)->xs_want_itup = true;
	}
	index_rescan(*scan, keys, n, NULL, 0);
	return *scan;
}

static void
count_booking(UsherUserHas *has, TupleTableSlot *slot, const UsherBoxRequest *r)
{
	bool isnull;
	Datum status = slot_getattr(slot, BOOKING_STATUS, &isnull);

	if (holds_places(status))
		has->places += DatumGetInt32(slot_getattr(slot, BOOKING_QUANTITY, &isnull));
	else if (usher_box_status_is(status, "expired") &&
			 DatumGetTimestampTz(slot_getattr(slot, BOOKING_UPDATED_AT, &isnull)) >
				 r->created_at - ABUSE_WINDOW_US)
		has->expired++;
}

static bool
entry_has_event(IndexScanDesc scan, int64 wanted)
{
	bool isnull;

	return DatumGetInt64(
			   index_getattr(scan->xs_itup, ENTRY_EVENT_ID, scan->xs_itupdesc, &isnull)) == wanted;
}

static bool
entry_has_key(IndexScanDesc scan, const text *wanted)
{
	bool isnull;
	Datum key = index_getattr(scan->xs_itup, ENTRY_KEY, scan->xs_itupdesc, &isnull);

	return wanted && !isnull &&
		   DatumGetBool(
			   DirectFunctionCall2Coll(texteq, C_COLLATION_OID, key, PointerGetDatum(wanted)));
}

/* Who is limited has few bookings: then one scan finds what counts, and the key. */
UsherUserHas
usher_look_user(UsherBoxLook *look, const UsherBoxRequest *r, bool limited)
{
	UsherUserHas has = {0};
	IndexScanDesc scan;
	bool isnull;

	open_tables(look);
	scan = begin_scan(look, r, limited ? 2 : 3);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool counts = limited && entry_has_event(scan, r->event_id);
		bool repeated = !has.repeated && entry_has_key(scan, r->key);

		if ((!counts && !repeated) || !index_fetch_heap(scan, look->slot))
			continue;
		if (counts)
			count_booking(&has, look->slot, r);
		if (!repeated)
			continue;
		has.repeated = true;
		has.booking_id = *DatumGetUUIDP(slot_getattr(look->slot, BOOKING_BOOKING_ID, &isnull));
		has.fingerprint = DatumGetInt64(slot_getattr(look->slot, BOOKING_FINGERPRINT, &isnull));
	}
	ExecClearTuple(look->slot);
	return has;
}
