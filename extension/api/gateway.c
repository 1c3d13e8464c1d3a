/*
 * extension/api/gateway.c
 *	  append_requests, committed_range, gateway_protocol, revoke: what is written
 *	  for the HTTP gateway.
 */
#include "usher.h"

#include "gateway/gateway.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define REVOCATIONS  "usher.revocations" /* a stream in each tenant */
#define TYPE_REVOKED "usher.revoked"

#define PROTOCOL 2 /* grows when a gateway of before would go wrong */

/* Columns of usher.append_result. */
enum
{
	RESULT_ELEMENT,
	RESULT_SQLSTATE,
	RESULT_MESSAGE,
	RESULT_DETAIL,
	RESULT_HINT,
	RESULT_EVENT_INDEX,
	RESULT_ACTUAL_VERSION,
	RESULT_REPLAYED,
	RESULT_IDS,
	RESULT_VERSIONS,
	RESULT_POSITIONS,
	RESULT_ORDINALS,
	RESULT_NATTS
};

PG_FUNCTION_INFO_V1(usher_gateway_protocol);
Datum
usher_gateway_protocol(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(PROTOCOL);
}

static void
put_text(Datum *values, bool *nulls, int column, const char *value)
{
	nulls[column] = value == NULL;
	if (value != NULL)
		values[column] = CStringGetTextDatum(value);
}

static void
put_refusal(const UsherRequest *request, Datum *values, bool *nulls)
{
	const ErrorData *refusal = request->refusal;

	put_text(values, nulls, RESULT_SQLSTATE, unpack_sql_state(refusal->sqlerrcode));
	put_text(values, nulls, RESULT_MESSAGE, refusal->message);
	put_text(values, nulls, RESULT_DETAIL, refusal->detail);
	put_text(values, nulls, RESULT_HINT, refusal->hint);
	values[RESULT_EVENT_INDEX] = Int32GetDatum(request->event_index);
	nulls[RESULT_EVENT_INDEX] = request->event_index < 0;
	values[RESULT_ACTUAL_VERSION] = Int64GetDatum(request->actual_version);
	nulls[RESULT_ACTUAL_VERSION] = refusal->sqlerrcode != ERRCODE_USHER_WRONG_EXPECTED_VERSION;
}

static Datum
array_of(Datum *elements, int n, Oid type, int len, char align)
{
	return PointerGetDatum(construct_array(elements, n, type, len, len <= 8, align));
}

static void
put_events(const UsherRequest *request, Datum *values, bool *nulls)
{
	int n = request->nevents;
	Datum *ids = palloc_array(Datum, n), *versions = palloc_array(Datum, n);
	Datum *positions = palloc_array(Datum, n), *ordinals = palloc_array(Datum, n);
	bool old = false, new = false;

	for (int i = 0; i < n; i++)
	{
		const UsherRequestEvent *e = &request->events[i];

		ids[i] = UUIDPGetDatum(&e->event.id);
		versions[i] = Int64GetDatum(e->version);
		positions[i] = Int64GetDatum(e->position);
		ordinals[i] = Int32GetDatum(e->ordinal);
		new |= e->ordinal > 0;
		old |= e->ordinal == 0;
	}
	values[RESULT_IDS] = array_of(ids, n, UUIDOID, UUID_LEN, TYPALIGN_CHAR);
	values[RESULT_VERSIONS] = array_of(versions, n, INT8OID, sizeof(int64), TYPALIGN_DOUBLE);
	nulls[RESULT_IDS] = nulls[RESULT_VERSIONS] = false;
	nulls[RESULT_POSITIONS] = !old;
	if (old)
		values[RESULT_POSITIONS] = array_of(positions, n, INT8OID, sizeof(int64), TYPALIGN_DOUBLE);
	nulls[RESULT_ORDINALS] = !new;
	if (new)
		values[RESULT_ORDINALS] = array_of(ordinals, n, INT4OID, sizeof(int32), TYPALIGN_INT);
}

static void
put_results(FunctionCallInfo fcinfo, const UsherRequest *requests, int n)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "usher append results",
												  ALLOCSET_DEFAULT_SIZES);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		Datum values[RESULT_NATTS] = {0};
		bool nulls[RESULT_NATTS];

		memset(nulls, true, sizeof(nulls));
		values[RESULT_ELEMENT] = Int32GetDatum(requests[i].element);
		values[RESULT_REPLAYED] = BoolGetDatum(requests[i].replayed);
		nulls[RESULT_ELEMENT] = nulls[RESULT_REPLAYED] = false;
		if (requests[i].refusal)
			put_refusal(&requests[i], values, nulls);
		else
			put_events(&requests[i], values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
}

typedef struct Element
{
	UsherRequestParser *parser;
	Datum value;
	bool isnull;
} Element;

static void
parse(UsherRequest *request, void *arg)
{
	Element *element = arg;

	if (element->isnull)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("a request is null")));
	usher_request_parse(element->parser, request, element->value);
}

PG_FUNCTION_INFO_V1(usher_append_requests);
Datum
usher_append_requests(PG_FUNCTION_ARGS)
{
	UsherRequestParser parser = {0};
	ArrayType *array;
	Datum *elements;
	bool *nulls;
	int n;
	UsherRequest *requests;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the array of requests is null")));
	array = PG_GETARG_ARRAYTYPE_P(0);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, &nulls,
					  &n);
	usher_append_check_state();
	parser.scratch = AllocSetContextCreate(CurrentMemoryContext, "usher JSON",
										   ALLOCSET_DEFAULT_SIZES);
	requests = palloc0_array(UsherRequest, Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Element element = {&parser, elements[i], nulls[i]};

		requests[i].element = i;
		requests[i].event_index = requests[i].actual_version = -1;
		(void) usher_request_try(&requests[i], parse, &element);
	}
	MemoryContextDelete(parser.scratch);
	usher_requests_append(requests, n);
	put_results(fcinfo, requests, n);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_committed_range);
Datum
usher_committed_range(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[2] = {Int64GetDatum(usher_session_first_position()),
					   Int64GetDatum(usher_session_last_position())};
	bool nulls[2];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("usher.committed_range must return a row")));
	nulls[0] = nulls[1] = usher_session_last_position() == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- revocations ---- */

static text *
revoked_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s is null", what)));
	usher_check_name(PG_GETARG_TEXT_PP(n), what);
	return PG_GETARG_TEXT_PP(n);
}

static void
check_kind(const char *kind, const char *id, const char *tenant)
{
	if (strcmp(kind, "session") == 0 || strcmp(kind, "user") == 0 || strcmp(kind, "key") == 0)
		return;
	if (strcmp(kind, "tenant") != 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("what is revoked is a session, a user, a key or a tenant")));
	if (strcmp(id, tenant) != 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("the session works for tenant \"%s\"", tenant),
						errhint("Set usher.tenant to the tenant that is to be revoked.")));
}

static Jsonb *
revocation(const char *kind, const char *id, TimestampTz not_before)
{
	StringInfoData json;
	char time[MAXDATELEN + 1];

	JsonEncodeDateTime(time, TimestampTzGetDatum(not_before), TIMESTAMPTZOID, NULL);
	initStringInfo(&json);
	appendStringInfo(&json, "{\"kind\": \"%s\", \"id\": ", kind);
	escape_json(&json, id);
	appendStringInfo(&json, ", \"not_before\": \"%s\"}", time);
	return usher_jsonb_parse(json.data, "revocation");
}

/* (kind, id, not_before) */
PG_FUNCTION_INFO_V1(usher_revoke);
Datum
usher_revoke(PG_FUNCTION_ARGS)
{
	char *kind = text_to_cstring(revoked_argument(fcinfo, 0, "kind"));
	char *id = text_to_cstring(revoked_argument(fcinfo, 1, "id"));
	UsherEvent event = {0};

	usher_append_check_state();
	if (PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("not_before must be a point in time")));
	event.tenant_id = usher_current_tenant_id();
	check_kind(kind, id, text_to_cstring(usher_tenant_slug_of(event.tenant_id)));
	event.type = cstring_to_text(TYPE_REVOKED);
	event.data = revocation(kind, id, PG_GETARG_TIMESTAMPTZ(2));
	event.metadata = usher_empty_object();
	event.stream = usher_stream_lock(event.tenant_id, cstring_to_text(REVOCATIONS), true);
	usher_check_expected(event.stream, event.stream->name, false, 0);
	PG_RETURN_INT64(usher_append_event(&event));
}
