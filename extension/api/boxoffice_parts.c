/*
 * extension/api/boxoffice_parts.c
 *	  Parts of the box office that its do_ functions, in SQL, call: nobody else
 *	  may.  The tenant is an argument: whose it is has been found out before.
 */
#include "usher.h"

#include "boxoffice/box.h"
#include "log/log.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "tcop/cmdtag.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/rel.h"

static void
check_inside(void)
{
	if (!usher_box_inside())
		ereport(ERROR, (errcode(ERRCODE_USHER_DIRECT_CHANGE),
						errmsg("this is a part of the box office's own functions")));
}

static int
pin_argument(FunctionCallInfo fcinfo)
{
	int pin;

	check_inside();
	pin = usher_zone_pin(PG_GETARG_INT32(0), PG_GETARG_INT64(1));
	if (pin < 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_SHOW),
						errmsg("there is no zone %lld", (long long) PG_GETARG_INT64(1))));
	return pin;
}

/* zone_pin(tenant, zone): before the first change of what the zone counts. */
PG_FUNCTION_INFO_V1(usher_boxoffice_zone_pin);
Datum
usher_boxoffice_zone_pin(PG_FUNCTION_ARGS)
{
	(void) pin_argument(fcinfo);
	PG_RETURN_VOID();
}

/* zone_take(tenant, zone, n): false when there are not as many. */
PG_FUNCTION_INFO_V1(usher_boxoffice_zone_take);
Datum
usher_boxoffice_zone_take(PG_FUNCTION_ARGS)
{
	UsherZoneRefusal refusal;

	PG_RETURN_BOOL(usher_zone_take(pin_argument(fcinfo), PG_GETARG_INT64(2), &refusal));
}

/* zone_untake(tenant, zone, n): of what this subtransaction has taken. */
PG_FUNCTION_INFO_V1(usher_boxoffice_zone_untake);
Datum
usher_boxoffice_zone_untake(PG_FUNCTION_ARGS)
{
	usher_zone_untake(pin_argument(fcinfo), PG_GETARG_INT64(2));
	PG_RETURN_VOID();
}

/* zone_give(tenant, zone, n): once this transaction has committed. */
PG_FUNCTION_INFO_V1(usher_boxoffice_zone_give);
Datum
usher_boxoffice_zone_give(PG_FUNCTION_ARGS)
{
	Ensure(PG_GETARG_INT64(2) >= 0, "a negative number of places is given back");
	usher_zone_give(pin_argument(fcinfo), PG_GETARG_INT64(2));
	PG_RETURN_VOID();
}

/* zone_peek(tenant, zone): free places by the slot; null when it is not loaded, or this is a standby. */
PG_FUNCTION_INFO_V1(usher_boxoffice_zone_peek);
Datum
usher_boxoffice_zone_peek(PG_FUNCTION_ARGS)
{
	int64 free, open;

	check_inside();
	if (RecoveryInProgress() ||
		!usher_zone_peek(PG_GETARG_INT32(0), PG_GETARG_INT64(1), &free, &open))
		PG_RETURN_NULL();
	PG_RETURN_INT64(free);
}

/*
 * zone_hold(tenant, zone, wait_ms): nobody pins the zone until zone_unhold.
 * Free places by the slot; null when it is not loaded, -1 when pins did not go.
 */
PG_FUNCTION_INFO_V1(usher_boxoffice_zone_hold);
Datum
usher_boxoffice_zone_hold(PG_FUNCTION_ARGS)
{
	int32 tenant_id = PG_GETARG_INT32(0);
	int64 zone_id = PG_GETARG_INT64(1);
	int64 free, open;

	check_inside();
	if (RecoveryInProgress() || !usher_zone_peek(tenant_id, zone_id, &free, &open))
		PG_RETURN_NULL();
	if (usher_zone_is_pinned(tenant_id, zone_id) ||
		!usher_zone_hold(tenant_id, zone_id, PG_GETARG_INT32(2)))
		PG_RETURN_INT64(-1);
	(void) usher_zone_peek(tenant_id, zone_id, &free, &open);
	PG_RETURN_INT64(free);
}

PG_FUNCTION_INFO_V1(usher_boxoffice_zone_unhold);
Datum
usher_boxoffice_zone_unhold(PG_FUNCTION_ARGS)
{
	check_inside();
	usher_zone_unhold();
	PG_RETURN_VOID();
}

/* event_share(tenant, event): before its state is looked at by who sells. */
PG_FUNCTION_INFO_V1(usher_boxoffice_event_share);
Datum
usher_boxoffice_event_share(PG_FUNCTION_ARGS)
{
	check_inside();
	usher_box_event_share(PG_GETARG_INT32(0), PG_GETARG_INT64(1));
	PG_RETURN_VOID();
}

/* event_quiet(tenant, event): whether nobody who may have seen an older state is at work. */
PG_FUNCTION_INFO_V1(usher_boxoffice_event_quiet);
Datum
usher_boxoffice_event_quiet(PG_FUNCTION_ARGS)
{
	check_inside();
	PG_RETURN_BOOL(usher_box_event_quiet(PG_GETARG_INT32(0), PG_GETARG_INT64(1)));
}

/* user_lock(tenant, user): until the transaction's end. */
PG_FUNCTION_INFO_V1(usher_boxoffice_user_lock);
Datum
usher_boxoffice_user_lock(PG_FUNCTION_ARGS)
{
	check_inside();
	usher_box_user_lock(usher_box_user_hash(PG_GETARG_INT32(0), PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

/* expires(at): a booking of this transaction expires then. */
PG_FUNCTION_INFO_V1(usher_boxoffice_expires);
Datum
usher_boxoffice_expires(PG_FUNCTION_ARGS)
{
	check_inside();
	usher_box_expires(PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_VOID();
}

/* emit(tenant, stream, type, data): an event in this commit. */
PG_FUNCTION_INFO_V1(usher_boxoffice_emit);
Datum
usher_boxoffice_emit(PG_FUNCTION_ARGS)
{
	text *name = PG_GETARG_TEXT_PP(1);
	UsherEvent event = {.tenant_id = PG_GETARG_INT32(0),
						.type = PG_GETARG_TEXT_PP(2),
						.data = PG_GETARG_JSONB_P(3),
						.metadata = usher_empty_object()};

	check_inside();
	usher_check_object(event.data, "event data");
	/* (Its stream may have been deleted by hand: what is sold goes on all the same.) */
	event.stream = usher_stream_lock(event.tenant_id, name, true);
	PG_RETURN_INT64(usher_append_event(&event));
}

/* end_bookings(tenants, ids, status, reason): those bookings, which are locked and hold places. */
PG_FUNCTION_INFO_V1(usher_boxoffice_end_bookings);
Datum
usher_boxoffice_end_bookings(PG_FUNCTION_ARGS)
{
	char *status = text_to_cstring(PG_GETARG_TEXT_PP(2));
	text *reason = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	UsherBoxEnded *ended;
	Datum *tenants, *ids;
	int n, nids;

	check_inside();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &tenants, NULL, &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, NULL,
					  &nids);
	Ensure(n == nids && n > 0, "not a tenant for each booking");
	ended = palloc0_array(UsherBoxEnded, n);
	for (int i = 0; i < n; i++)
	{
		ended[i].tenant_id = DatumGetInt32(tenants[i]);
		ended[i].id = *DatumGetUUIDP(ids[i]);
		ended[i].status = status;
	}
	usher_box_end(ended, n, reason);
	PG_RETURN_VOID();
}

/*
 * guard(): nobody but the functions changes the tables.  A dump may be loaded:
 * it copies rows, and only the owner may do that.
 */
PG_FUNCTION_INFO_V1(usher_boxoffice_guard);
Datum
usher_boxoffice_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool copied;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("boxoffice.guard is a trigger")));
	copied = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && ActivePortal != NULL &&
			 ActivePortal->commandTag == CMDTAG_COPY;
	if (!copied && !usher_box_inside())
		ereport(ERROR, (errcode(ERRCODE_USHER_DIRECT_CHANGE),
						errmsg("table \"%s\" is changed by functions of the box office only",
							   RelationGetRelationName(trigger->tg_relation)),
						errhint("What is sold is counted in memory as well.")));
	if (copied || trigger->tg_trigger->tgnargs > 0)
		usher_box_config_changes(copied);
	return PointerGetDatum(NULL);
}
