/*
 * extension/boxoffice/look.c
 *	  What a user has already: places for the limit, bookings by a repeated key.
 *
 * The user is locked, and the snapshot is taken behind the locks of a whole
 * batch, at its first look: it shows every booking of these users, and our own of earlier
 * statements.  Rows of the call itself are not written yet; reserve.c counts them.
 */
#include "boxoffice/box.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "log/log.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define ABUSE_WINDOW_US (30 * USECS_PER_MINUTE)

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
	look->by_key = index_open(box->by_key, AccessShareLock);
	look->slot = table_slot_create(look->rel, NULL);
}

void
usher_look_end(UsherBoxLook *look)
{
	if (look->rel == NULL)
		return;
	ExecDropSingleTupleTableSlot(look->slot);
	index_close(look->by_key, AccessShareLock);
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

/* Both indexes begin with tenant and user. */
static void
user_keys(ScanKey keys, const UsherBoxRequest *r)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(r->tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(r->user_id));
	keys[1].sk_collation = C_COLLATION_OID;
}

UsherUserHas
usher_look_user(UsherBoxLook *look, const UsherBoxRequest *r)
{
	UsherUserHas has = {0};
	ScanKeyData keys[3];
	IndexScanDesc scan;
	bool isnull;

	open_tables(look);
	user_keys(keys, r);
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(r->event_id));
	scan = usher_index_beginscan(look->rel, look->by_user, look->snapshot, 3);
	index_rescan(scan, keys, 3, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, look->slot))
	{
		Datum status = slot_getattr(look->slot, BOOKING_STATUS, &isnull);

		if (usher_box_status_is(status, "reserved") ||
			usher_box_status_is(status, "payment_pending") ||
			usher_box_status_is(status, "confirmed"))
			has.places += DatumGetInt32(slot_getattr(look->slot, BOOKING_QUANTITY, &isnull));
		else if (usher_box_status_is(status, "expired") &&
				 DatumGetTimestampTz(slot_getattr(look->slot, BOOKING_UPDATED_AT, &isnull)) >
					 r->created_at - ABUSE_WINDOW_US)
			has.expired++;
	}
	index_endscan(scan);
	ExecClearTuple(look->slot);
	return has;
}

bool
usher_look_key(UsherBoxLook *look, const UsherBoxRequest *r, pg_uuid_t *id, int64 *fingerprint)
{
	ScanKeyData keys[3];
	IndexScanDesc scan;
	bool found, isnull;

	open_tables(look);
	user_keys(keys, r);
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(r->key));
	keys[2].sk_collation = C_COLLATION_OID;
	scan = usher_index_beginscan(look->rel, look->by_key, look->snapshot, 3);
	index_rescan(scan, keys, 3, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, look->slot);
	if (found)
	{
		*id = *DatumGetUUIDP(slot_getattr(look->slot, BOOKING_BOOKING_ID, &isnull));
		*fingerprint = DatumGetInt64(slot_getattr(look->slot, BOOKING_FINGERPRINT, &isnull));
	}
	index_endscan(scan);
	ExecClearTuple(look->slot);
	return found;
}
