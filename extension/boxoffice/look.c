/*
 * extension/boxoffice/look.c
 *	  What a user has already: places for the limit, bookings by a repeated key.
 *
 * The user is locked, and the snapshot is taken behind the locks of a whole
 * batch: it shows every booking of these users, and our own of earlier
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

void
usher_look_begin(UsherBoxLook *look)
{
	const UsherBox *box = usher_box();

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
	ExecDropSingleTupleTableSlot(look->slot);
	index_close(look->by_key, AccessShareLock);
	index_close(look->by_user, AccessShareLock);
	table_close(look->rel, NoLock);
	UnregisterSnapshot(look->snapshot);
}

static bool
is_one_of(Datum status, const char *const *names, int n)
{
	text *t = DatumGetTextPP(status);

	for (int i = 0; i < n; i++)
		if (VARSIZE_ANY_EXHDR(t) == strlen(names[i]) &&
			memcmp(VARDATA_ANY(t), names[i], VARSIZE_ANY_EXHDR(t)) == 0)
			return true;
	return false;
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
	static const char *const holding[] = {"reserved", "payment_pending", "confirmed"};
	static const char *const expired[] = {"expired"};
	UsherUserHas has = {0};
	ScanKeyData keys[3];
	IndexScanDesc scan;
	bool isnull;

	user_keys(keys, r);
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(r->event_id));
	scan = usher_index_beginscan(look->rel, look->by_user, look->snapshot, 3);
	index_rescan(scan, keys, 3, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, look->slot))
	{
		Datum status = slot_getattr(look->slot, BOOKING_STATUS, &isnull);

		if (is_one_of(status, holding, lengthof(holding)))
			has.places += DatumGetInt32(slot_getattr(look->slot, BOOKING_QUANTITY, &isnull));
		else if (is_one_of(status, expired, 1) &&
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
