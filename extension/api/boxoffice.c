/*
 * extension/api/boxoffice.c
 *	  Reserve: check the arguments, one room down, build the result.  And the
 *	  way from every other function of the box office to its do_ function.
 */
#include "usher.h"

#include "boxoffice/box.h"
#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#define TTL_US (10 * USECS_PER_MINUTE)

/* ---- results ---- */

/* Columns of type boxoffice.booking. */
enum
{
	RESULT_BOOKING_ID,
	RESULT_CODE,
	RESULT_STATUS,
	RESULT_EVENT_ID,
	RESULT_SHOW_ID,
	RESULT_USER_ID,
	RESULT_QUANTITY,
	RESULT_CURRENCY,
	RESULT_TOTAL,
	RESULT_TAX,
	RESULT_FEE,
	RESULT_REFUND_DUE,
	RESULT_ITEMS,
	RESULT_PAYMENT_REF,
	RESULT_PROVIDER_REF,
	RESULT_REASON,
	RESULT_CREATED_AT,
	RESULT_UPDATED_AT,
	RESULT_EXPIRES_AT,
	RESULT_NATTS
};

/* A booking as its rows have it, by a statement that returns one value. */
static Datum
booking_from_rows(UsherBoxPlan *plan, int32 tenant_id, const pg_uuid_t *id)
{
	Datum args[] = {Int32GetDatum(tenant_id), UUIDPGetDatum(id)};
	UsherBoxRights rights;
	bool isnull = true;
	Datum value = (Datum) 0;

	usher_box_enter(&rights);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (usher_box_run(plan, args, NULL, 1) == 1)
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	Ensure(!isnull, "a booking is gone");
	value = SPI_datumTransfer(value, false, -1);
	PopActiveSnapshot();
	SPI_finish();
	usher_box_leave(&rights);
	return value;
}

static Datum
new_booking(FunctionCallInfo fcinfo, const UsherBoxRequest *r)
{
	Datum values[RESULT_NATTS] = {0};
	bool nulls[RESULT_NATTS] = {0};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != RESULT_NATTS)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the function must return boxoffice.booking")));
	values[RESULT_BOOKING_ID] = UUIDPGetDatum(&r->booking_id);
	values[RESULT_CODE] = CStringGetTextDatum(r->code);
	values[RESULT_STATUS] = CStringGetTextDatum("reserved");
	values[RESULT_EVENT_ID] = Int64GetDatum(r->event_id);
	values[RESULT_SHOW_ID] = Int64GetDatum(r->show_id);
	values[RESULT_USER_ID] = PointerGetDatum(r->user_id);
	values[RESULT_QUANTITY] = Int32GetDatum(r->quantity);
	values[RESULT_CURRENCY] = CStringGetTextDatum(r->items[0].config.currency);
	values[RESULT_TOTAL] = Int64GetDatum(r->total);
	values[RESULT_TAX] = Int64GetDatum(r->tax);
	values[RESULT_FEE] = Int64GetDatum(r->fee);
	values[RESULT_REFUND_DUE] = Int64GetDatum(0);
	values[RESULT_ITEMS] = JsonbPGetDatum(usher_box_items_json(r));
	nulls[RESULT_PAYMENT_REF] = nulls[RESULT_PROVIDER_REF] = nulls[RESULT_REASON] = true;
	values[RESULT_CREATED_AT] = TimestampTzGetDatum(r->created_at);
	values[RESULT_UPDATED_AT] = TimestampTzGetDatum(r->created_at);
	values[RESULT_EXPIRES_AT] = TimestampTzGetDatum(r->expires_at);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Grant or refuse one request of the session's tenant. */
static Datum
reserve_one(FunctionCallInfo fcinfo, UsherBoxRequest *r)
{
	static UsherBoxPlan plan = {
		.sql = "SELECT boxoffice.booking_row($1, $2)", .nargs = 2, .types = {INT4OID, UUIDOID}};

	r->tenant_id = usher_current_tenant_id();
	usher_box_reserve(r, 1);
	if (r->refusal.sqlstate != 0)
		usher_box_raise(&r->refusal);
	if (r->replayed)
		return booking_from_rows(&plan, r->tenant_id, &r->booking_id);
	return new_booking(fcinfo, r);
}

/* ---- arguments ---- */

static text *
name_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	text *name;

	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s is null", what)));
	name = PG_GETARG_TEXT_PP(n);
	usher_check_name(name, what);
	return name;
}

static int64
number_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("%s is null", what)));
	return PG_GETARG_INT64(n);
}

static int64
interval_us(Datum value, bool isnull)
{
	Interval *interval = DatumGetIntervalP(value);
	double us = isnull ? TTL_US
					   : interval->time + (interval->day + 30.0 * interval->month) * USECS_PER_DAY;

	return us < 0 || us > (double) PG_INT64_MAX / 4 ? -1 : (int64) us;
}

static void
key_argument(FunctionCallInfo fcinfo, int n, UsherBoxRequest *r)
{
	if (!PG_ARGISNULL(n))
		r->key = name_argument(fcinfo, n, "idempotency key");
}

/* reserve(show, zone, user_id, quantity, seats, idempotency_key, ttl, price_type) */
PG_FUNCTION_INFO_V1(usher_boxoffice_reserve);
Datum
usher_boxoffice_reserve(PG_FUNCTION_ARGS)
{
	UsherBoxItem item = {0};
	UsherBoxRequest r = {.nitems = 1, .items = &item};

	r.show_id = number_argument(fcinfo, 0, "show");
	item.zone_id = number_argument(fcinfo, 1, "zone");
	r.user_id = name_argument(fcinfo, 2, "user");
	item.quantity = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
	item.seats = PG_ARGISNULL(4) ? NULL : PG_GETARG_ARRAYTYPE_P(4);
	key_argument(fcinfo, 5, &r);
	r.ttl_us = interval_us(PG_GETARG_DATUM(6), PG_ARGISNULL(6));
	item.price_type_id = PG_ARGISNULL(7) ? 0 : PG_GETARG_INT64(7);
	return reserve_one(fcinfo, &r);
}

/* best_available(show, zone, user_id, quantity, accessible, split, idempotency_key, ttl, price_type) */
PG_FUNCTION_INFO_V1(usher_boxoffice_best_available);
Datum
usher_boxoffice_best_available(PG_FUNCTION_ARGS)
{
	UsherBoxItem item = {0};
	UsherBoxRequest r = {.nitems = 1, .items = &item};

	r.show_id = number_argument(fcinfo, 0, "show");
	item.zone_id = number_argument(fcinfo, 1, "zone");
	r.user_id = name_argument(fcinfo, 2, "user");
	item.quantity = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
	item.accessible = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	item.split = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	key_argument(fcinfo, 6, &r);
	r.ttl_us = interval_us(PG_GETARG_DATUM(7), PG_ARGISNULL(7));
	item.price_type_id = PG_ARGISNULL(8) ? 0 : PG_GETARG_INT64(8);
	return reserve_one(fcinfo, &r);
}

/* ---- items and requests ---- */

enum
{
	RESERVE_ITEM_ZONE,
	RESERVE_ITEM_PRICE_TYPE,
	RESERVE_ITEM_QUANTITY,
	RESERVE_ITEM_SEATS,
	RESERVE_ITEM_ACCESSIBLE,
	RESERVE_ITEM_SPLIT,
	RESERVE_ITEM_NATTS
};
enum
{
	REQUEST_TENANT,
	REQUEST_USER,
	REQUEST_SHOW,
	REQUEST_ITEMS,
	REQUEST_KEY,
	REQUEST_TTL,
	REQUEST_METADATA,
	REQUEST_NATTS
};

/* Elements of an array of a composite type of ours, taken apart one after the other. */
typedef struct Rows
{
	Datum *elements;
	bool *nulls;
	int n, natts;
	TupleDesc desc;
} Rows;

static Rows
rows_of(ArrayType *array, int natts)
{
	Rows rows = {.natts = natts};
	Oid type = ARR_ELEMTYPE(array);

	deconstruct_array(array, type, -1, false, TYPALIGN_DOUBLE, &rows.elements, &rows.nulls,
					  &rows.n);
	rows.desc = lookup_rowtype_tupdesc(type, -1);
	Ensure(rows.desc->natts == natts, "a type of the box office has other attributes");
	return rows;
}

static void
row_get(const Rows *rows, int i, Datum *values, bool *nulls)
{
	HeapTupleHeader header;
	HeapTupleData tuple = {0};

	if (rows->nulls[i])
	{
		memset(nulls, true, rows->natts * sizeof(bool));
		return;
	}
	header = DatumGetHeapTupleHeader(rows->elements[i]);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, rows->desc, values, nulls);
}

static void
read_items(UsherBoxRequest *r, ArrayType *array)
{
	Rows rows = rows_of(array, RESERVE_ITEM_NATTS);

	r->nitems = rows.n;
	r->items = palloc0_array(UsherBoxItem, Max(rows.n, 1));
	for (int i = 0; i < rows.n; i++)
	{
		Datum v[RESERVE_ITEM_NATTS];
		bool null[RESERVE_ITEM_NATTS];
		UsherBoxItem *item = &r->items[i];

		row_get(&rows, i, v, null);
		item->zone_id = null[RESERVE_ITEM_ZONE] ? 0 : DatumGetInt64(v[RESERVE_ITEM_ZONE]);
		item->price_type_id = null[RESERVE_ITEM_PRICE_TYPE]
								  ? 0
								  : DatumGetInt64(v[RESERVE_ITEM_PRICE_TYPE]);
		item->quantity = null[RESERVE_ITEM_QUANTITY] ? 0 : DatumGetInt32(v[RESERVE_ITEM_QUANTITY]);
		item->seats = null[RESERVE_ITEM_SEATS] ? NULL : DatumGetArrayTypeP(v[RESERVE_ITEM_SEATS]);
		item->accessible = !null[RESERVE_ITEM_ACCESSIBLE] &&
						   DatumGetBool(v[RESERVE_ITEM_ACCESSIBLE]);
		item->split = !null[RESERVE_ITEM_SPLIT] && DatumGetBool(v[RESERVE_ITEM_SPLIT]);
	}
	ReleaseTupleDesc(rows.desc);
}

/* reserve_items(show, user_id, items, idempotency_key, ttl) */
PG_FUNCTION_INFO_V1(usher_boxoffice_reserve_items);
Datum
usher_boxoffice_reserve_items(PG_FUNCTION_ARGS)
{
	UsherBoxRequest r = {0};

	r.show_id = number_argument(fcinfo, 0, "show");
	r.user_id = name_argument(fcinfo, 1, "user");
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the array of items is null")));
	read_items(&r, PG_GETARG_ARRAYTYPE_P(2));
	key_argument(fcinfo, 3, &r);
	r.ttl_us = interval_us(PG_GETARG_DATUM(4), PG_ARGISNULL(4));
	return reserve_one(fcinfo, &r);
}

/* ---- reserve_many ---- */

/* What the caller would be told by an error; here it is this request's outcome alone. */
static bool
check_text(UsherBoxRequest *r, Datum value, bool isnull, const char *what, text **result)
{
	text *t = isnull ? NULL : DatumGetTextPP(value);
	char *detail, *fault = usher_name_fault(t, what, &detail);

	if (fault)
		usher_box_refuse(r, ERRCODE_USHER_INVALID_NAME, fault, detail, NULL);
	else
		*result = t;
	return fault == NULL;
}

/* tokens[i] is what the client of requests[i] brings; without an array nobody has any. */
static void
read_tokens(UsherBoxRequest *requests, int n, ArrayType *tokens)
{
	Datum *elements;
	bool *nulls;
	int count = 0;

	if (tokens)
		deconstruct_array(tokens, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < n; i++)
	{
		requests[i].by_gateway = true;
		requests[i].token = i < count && !nulls[i] ? DatumGetTextPP(elements[i]) : NULL;
	}
}

/* The requests of a call are mostly of one tenant. */
static int32
tenant_of(text *slug, text **last, int32 *last_id)
{
	if (*last == NULL || VARSIZE_ANY_EXHDR(*last) != VARSIZE_ANY_EXHDR(slug) ||
		memcmp(VARDATA_ANY(*last), VARDATA_ANY(slug), VARSIZE_ANY_EXHDR(slug)) != 0)
	{
		*last_id = usher_tenant_named(text_to_cstring(slug));
		*last = slug;
	}
	return *last_id;
}

static void
read_request(UsherBoxRequest *r, const Datum *v, const bool *null, text **last, int32 *last_id)
{
	text *slug = NULL;

	r->refusal.left = -1;
	r->user_id = cstring_to_text("");
	if (!check_text(r, v[REQUEST_TENANT], null[REQUEST_TENANT], "tenant", &slug) ||
		!check_text(r, v[REQUEST_USER], null[REQUEST_USER], "user", &r->user_id))
		return;
	r->tenant = slug;
	r->tenant_id = tenant_of(slug, last, last_id);
	if (r->tenant_id == 0)
	{
		usher_box_refuse(r, ERRCODE_USHER_UNKNOWN_TENANT,
						 psprintf("tenant \"%s\" does not exist", text_to_cstring(slug)), NULL,
						 NULL);
		return;
	}
	r->show_id = null[REQUEST_SHOW] ? 0 : DatumGetInt64(v[REQUEST_SHOW]);
	if (!null[REQUEST_ITEMS])
		read_items(r, DatumGetArrayTypeP(v[REQUEST_ITEMS]));
	if (!null[REQUEST_KEY] && !check_text(r, v[REQUEST_KEY], false, "idempotency key", &r->key))
		return;
	r->ttl_us = interval_us(v[REQUEST_TTL], null[REQUEST_TTL]);
	if (!null[REQUEST_METADATA])
	{
		r->metadata = DatumGetJsonbP(v[REQUEST_METADATA]);
		usher_check_object(r->metadata, "event metadata");
	}
}

static UsherBoxRequest *
read_requests(ArrayType *array, int *n)
{
	Rows rows = rows_of(array, REQUEST_NATTS);
	UsherBoxRequest *requests = palloc0_array(UsherBoxRequest, Max(rows.n, 1));
	text *last = NULL;
	int32 last_id = 0;

	if (rows.n > USHER_BOX_REQUESTS_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("more than %d requests in one call", USHER_BOX_REQUESTS_MAX)));
	for (int i = 0; i < rows.n; i++)
	{
		Datum v[REQUEST_NATTS] = {0};
		bool null[REQUEST_NATTS];

		row_get(&rows, i, v, null);
		read_request(&requests[i], v, null, &last, &last_id);
	}
	ReleaseTupleDesc(rows.desc);
	*n = rows.n;
	return requests;
}

enum
{
	OUTCOME_ELEMENT,
	OUTCOME_SQLSTATE,
	OUTCOME_MESSAGE,
	OUTCOME_DETAIL,
	OUTCOME_HINT,
	OUTCOME_RETRYABLE,
	OUTCOME_REMAINING,
	OUTCOME_SEATS,
	OUTCOME_REPLAYED,
	OUTCOME_BOOKING_ID,
	OUTCOME_CODE,
	OUTCOME_BOOKING,
	OUTCOME_NATTS
};

static Datum
text_or_null(const char *s, bool *isnull)
{
	*isnull = s == NULL;
	return s ? CStringGetTextDatum(s) : (Datum) 0;
}

static void
put_outcome(ReturnSetInfo *result, int element, const UsherBoxRequest *r)
{
	static UsherBoxPlan json = {.sql = "SELECT boxoffice.booking_json($1, $2)::json",
								.nargs = 2,
								.types = {INT4OID, UUIDOID}};
	static UsherBoxPlan code = {.sql = "SELECT b.code FROM boxoffice.bookings b"
									   " WHERE b.tenant_id = $1 AND b.booking_id = $2",
								.nargs = 2,
								.types = {INT4OID, UUIDOID}};
	const UsherBoxRefusal *f = &r->refusal;
	bool granted = f->sqlstate == 0;
	Datum v[OUTCOME_NATTS] = {0};
	bool null[OUTCOME_NATTS] = {0};

	v[OUTCOME_ELEMENT] = Int32GetDatum(element);
	v[OUTCOME_SQLSTATE] = text_or_null(granted ? NULL : unpack_sql_state(f->sqlstate),
									   &null[OUTCOME_SQLSTATE]);
	v[OUTCOME_MESSAGE] = text_or_null(f->message, &null[OUTCOME_MESSAGE]);
	v[OUTCOME_DETAIL] = text_or_null(f->detail, &null[OUTCOME_DETAIL]);
	v[OUTCOME_HINT] = text_or_null(f->hint, &null[OUTCOME_HINT]);
	v[OUTCOME_RETRYABLE] = BoolGetDatum(f->retryable);
	v[OUTCOME_REMAINING] = Int64GetDatum(f->left);
	null[OUTCOME_REMAINING] = granted || f->left < 0;
	v[OUTCOME_SEATS] = PointerGetDatum(f->seats);
	null[OUTCOME_SEATS] = f->seats == NULL;
	v[OUTCOME_REPLAYED] = BoolGetDatum(r->replayed);
	null[OUTCOME_BOOKING_ID] = null[OUTCOME_CODE] = null[OUTCOME_BOOKING] = !granted;
	if (granted)
	{
		v[OUTCOME_BOOKING_ID] = UUIDPGetDatum(&r->booking_id);
		v[OUTCOME_CODE] = r->replayed ? booking_from_rows(&code, r->tenant_id, &r->booking_id)
									  : CStringGetTextDatum(r->code);
		v[OUTCOME_BOOKING] = r->replayed ? booking_from_rows(&json, r->tenant_id, &r->booking_id)
										 : PointerGetDatum(usher_box_booking_text(r));
	}
	tuplestore_putvalues(result->setResult, result->setDesc, v, null);
}

PG_FUNCTION_INFO_V1(usher_boxoffice_reserve_many);
Datum
usher_boxoffice_reserve_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	UsherBoxRequest *requests;
	MemoryContext scratch;
	int n;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the array of requests is null")));
	InitMaterializedSRF(fcinfo, 0);
	requests = read_requests(PG_GETARG_ARRAYTYPE_P(0), &n);
	read_tokens(requests, n, PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1));
	usher_box_reserve(requests, n);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "usher reserve_many",
									ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);

		put_outcome(result, i, &requests[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	return (Datum) 0;
}

/* ---- everything else ---- */

/* The do_ function behind a function: the same name and arguments, with the tenant in front. */
static FmgrInfo *
target_of(FunctionCallInfo fcinfo)
{
	FmgrInfo *target = fcinfo->flinfo->fn_extra;
	Oid types[FUNC_MAX_ARGS];
	Oid *own;
	int nargs;
	char *name;

	if (target)
		return target;
	(void) get_func_signature(fcinfo->flinfo->fn_oid, &own, &nargs);
	Ensure(nargs + 1 < FUNC_MAX_ARGS && nargs == PG_NARGS(), "a function has other arguments");
	types[0] = INT4OID;
	memcpy(types + 1, own, nargs * sizeof(Oid));
	name = psprintf("do_%s", get_func_name(fcinfo->flinfo->fn_oid));
	target = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(FmgrInfo));
	fmgr_info_cxt(LookupFuncName(list_make2(makeString(USHER_BOX_SCHEMA), makeString(name)),
								 nargs + 1, types, false),
				  target, fcinfo->flinfo->fn_mcxt);
	fcinfo->flinfo->fn_extra = target;
	return target;
}

/* Whose tenant it is, is found out with the rights of the caller; the work is done with the owner's. */
static Datum
call(FunctionCallInfo fcinfo)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	int32 tenant_id = usher_current_tenant_id();
	UsherBoxRights rights;
	Datum value;

	usher_box_enter(&rights);
	InitFunctionCallInfoData(*inner, target_of(fcinfo), PG_NARGS() + 1, fcinfo->fncollation,
							 fcinfo->context, fcinfo->resultinfo);
	inner->args[0].value = Int32GetDatum(tenant_id);
	inner->args[0].isnull = false;
	for (int i = 0; i < PG_NARGS(); i++)
		inner->args[i + 1] = fcinfo->args[i];
	value = FunctionCallInvoke(inner);
	fcinfo->isnull = inner->isnull;
	usher_box_leave(&rights);
	return value;
}

PG_FUNCTION_INFO_V1(usher_boxoffice_call);
Datum
usher_boxoffice_call(PG_FUNCTION_ARGS)
{
	usher_box_check_state();
	return call(fcinfo);
}

/* For what only reads: also on a standby, and at every isolation level. */
PG_FUNCTION_INFO_V1(usher_boxoffice_read);
Datum
usher_boxoffice_read(PG_FUNCTION_ARGS)
{
	return call(fcinfo);
}
