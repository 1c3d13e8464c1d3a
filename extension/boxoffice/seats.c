/*
 * extension/boxoffice/seats.c
 *	  Numbered seats of an item: taken by name, or chosen and taken.
 *
 * The places of the item are taken already, so somebody's seats are free by
 * the count.  Seats are locked in the order of their labels, and one that
 * somebody else has locked counts as taken: nobody waits for a seat.
 */
#include "boxoffice/box.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Run a statement that returns one text[]; a copy in the caller's memory, NULL when it is null. */
static ArrayType *
seats_of(UsherBoxPlan *plan, const Datum *args)
{
	MemoryContext caller = CurrentMemoryContext;
	ArrayType *seats = NULL;
	UsherBoxRights rights;
	bool isnull;

	usher_box_enter(&rights);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (usher_box_run(plan, args, NULL, 1) == 1)
	{
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
		{
			MemoryContext old = MemoryContextSwitchTo(caller);

			seats = DatumGetArrayTypePCopy(value);
			MemoryContextSwitchTo(old);
		}
	}
	PopActiveSnapshot();
	SPI_finish();
	usher_box_leave(&rights);
	return seats;
}

/* The best seats; false: refused. */
static bool
choose(UsherBoxRequest *r, UsherBoxItem *item)
{
	static UsherBoxPlan plan = {.sql = "SELECT boxoffice.best_seats($1, $2, $3, $4, $5, $6)",
								.nargs = 6,
								.types = {INT4OID, INT8OID, INT4OID, BOOLOID, BOOLOID, UUIDOID}};
	Datum args[] = {Int32GetDatum(r->tenant_id),   Int64GetDatum(item->zone_id),
					Int32GetDatum(item->quantity), BoolGetDatum(item->accessible),
					BoolGetDatum(item->split),     UUIDPGetDatum(&r->booking_id)};
	ArrayType *seats = seats_of(&plan, args);
	bool busy = seats != NULL && ARR_NDIM(seats) == 0;

	if (seats != NULL && !busy)
	{
		item->seats = seats;
		return true;
	}
	usher_box_refuse(r, ERRCODE_USHER_SEAT_TAKEN,
					 psprintf("zone %lld has no %d %sseats%s", (long long) item->zone_id,
							  item->quantity, item->accessible ? "accessible " : "",
							  item->split ? "" : " beside each other"),
					 NULL,
					 busy ? "Some are held by transactions that are still open: try again."
						  : "Ask for fewer, name the seats, or let them be split.");
	r->refusal.retryable = busy;
	return false;
}

static char *
labels_of(ArrayType *seats)
{
	StringInfoData list;
	Datum *labels;
	int n;

	initStringInfo(&list);
	deconstruct_array(seats, TEXTOID, -1, false, TYPALIGN_INT, &labels, NULL, &n);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", TextDatumGetCString(labels[i]));
	appendStringInfoChar(&list, '.');
	return list.data;
}

/* False: the request is refused, with the seats concerned. */
bool
usher_seats_take(UsherBoxRequest *r, UsherBoxItem *item)
{
	static UsherBoxPlan plan = {.sql = "SELECT boxoffice.take_seats($1, $2, $3, $4)",
								.nargs = 4,
								.types = {INT4OID, INT8OID, TEXTARRAYOID, UUIDOID}};
	Datum args[] = {Int32GetDatum(r->tenant_id), Int64GetDatum(item->zone_id),
					PointerGetDatum(item->seats), UUIDPGetDatum(&r->booking_id)};
	ArrayType *taken;

	if (item->seats == NULL)
		return choose(r, item);
	taken = seats_of(&plan, args);
	if (taken == NULL)
		return true;
	usher_box_refuse(r, ERRCODE_USHER_SEAT_TAKEN,
					 psprintf("%d of the seats are taken, or do not exist",
							  ArrayGetNItems(ARR_NDIM(taken), ARR_DIMS(taken))),
					 labels_of(taken), "Choose others.");
	r->refusal.seats = taken;
	return false;
}

void
usher_seats_untake(const UsherBoxRequest *r, const UsherBoxItem *item)
{
	static UsherBoxPlan plan = {.sql = "SELECT boxoffice.untake_seats($1, $2, $3, $4)",
								.nargs = 4,
								.types = {INT4OID, INT8OID, TEXTARRAYOID, UUIDOID}};
	Datum args[] = {Int32GetDatum(r->tenant_id), Int64GetDatum(item->zone_id),
					PointerGetDatum(item->seats), UUIDPGetDatum(&r->booking_id)};

	(void) seats_of(&plan, args);
}
