/*
 * extension/gateway/request.c
 *	  An element of the call -> UsherRequest, with every check that needs no
 *	  lock: names, JSON, sizes, the tenant.
 */
#include "gateway/gateway.h"

#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/typcache.h"

/* Attributes of usher.append_request and usher.request_event. */
enum
{
	REQUEST_TENANT,
	REQUEST_USER_ID,
	REQUEST_ACTOR_TYPE,
	REQUEST_KEY,
	REQUEST_FINGERPRINT,
	REQUEST_CORRELATION_ID,
	REQUEST_CAUSATION_ID,
	REQUEST_TRACEPARENT,
	REQUEST_EVENTS,
	REQUEST_NATTS
};
enum
{
	EVENT_STREAM,
	EVENT_TYPE,
	EVENT_DATA,
	EVENT_METADATA,
	EVENT_EXPECTED_VERSION,
	EVENT_ID,
	EVENT_TOPIC,
	EVENT_KEY,
	EVENT_NATTS
};

static void
refuse_argument(const char *message)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("%s", message)));
}

/* The attributes of a composite value; *desc is looked up by the first one. */
void
usher_request_tuple(Datum value, TupleDesc *desc, Datum *values, bool *nulls)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};

	if (*desc == NULL)
		*desc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
											HeapTupleHeaderGetTypMod(header));
	heap_deform_tuple(&tuple, *desc, values, nulls);
}

/* NULL when it is absent; an empty one is absent, too. */
static text *
optional_name(Datum value, bool isnull, const char *what)
{
	text *name = isnull ? NULL : DatumGetTextPP(value);

	if (name == NULL || VARSIZE_ANY_EXHDR(name) == 0)
		return NULL;
	usher_check_name(name, what);
	return name;
}

static char *
optional_string(Datum value, bool isnull, const char *what)
{
	text *name = optional_name(value, isnull, what);

	return name ? text_to_cstring(name) : "";
}

static text *
required_name(Datum value, bool isnull, const char *what)
{
	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s is null", what)));
	usher_check_name(DatumGetTextPP(value), what);
	return DatumGetTextPP(value);
}

/* A value that was made in a scratch context, copied to the caller's, which becomes the current one. */
Jsonb *
usher_request_kept(Jsonb *value, MemoryContext caller)
{
	Jsonb *copy;

	MemoryContextSwitchTo(caller);
	copy = palloc(VARSIZE(value));
	memcpy(copy, value, VARSIZE(value));
	return copy;
}

/* Parsing takes many times the memory of its result. */
static Jsonb *
object(UsherRequestParser *parser, Datum value, bool isnull, const char *what)
{
	MemoryContext caller;
	Jsonb *result;

	if (isnull)
		return usher_empty_object();
	MemoryContextReset(parser->scratch);
	caller = MemoryContextSwitchTo(parser->scratch);
	result = usher_jsonb_parse(TextDatumGetCString(value), what);
	usher_check_object(result, what);
	return usher_request_kept(result, caller);
}

/* Who acts is what the gateway says, never what a client wrote into its event. */
static Jsonb *
metadata_without_actor(Jsonb *given)
{
	if (getKeyJsonValueFromContainer(&given->root, "actor", strlen("actor"), NULL) == NULL)
		return given;
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(given), CStringGetTextDatum("actor")));
}

static void
event_target(UsherRequestEvent *e, const Datum *values, const bool *nulls)
{
	text *topic = optional_name(values[EVENT_TOPIC], nulls[EVENT_TOPIC], "topic");

	if (topic == NULL)
	{
		e->stream = required_name(values[EVENT_STREAM], nulls[EVENT_STREAM], "stream name");
		e->has_expected = !nulls[EVENT_EXPECTED_VERSION];
		e->expected = e->has_expected ? DatumGetInt64(values[EVENT_EXPECTED_VERSION]) : 0;
		if (optional_name(values[EVENT_KEY], nulls[EVENT_KEY], "key") != NULL)
			refuse_argument("the key of a stream's event is its stream");
		return;
	}
	if (!nulls[EVENT_STREAM])
		refuse_argument("an event has either a stream or a topic");
	if (!nulls[EVENT_EXPECTED_VERSION])
		refuse_argument("a published event has no expected version");
	e->event.topic = topic;
	e->event.key = required_name(values[EVENT_KEY], nulls[EVENT_KEY], "key");
}

static void
event_parse(UsherRequestParser *parser, int32 tenant_id, UsherRequestEvent *e, Datum value)
{
	Datum values[EVENT_NATTS];
	bool nulls[EVENT_NATTS];

	usher_request_tuple(value, &parser->event_desc, values, nulls);
	e->event.tenant_id = tenant_id;
	event_target(e, values, nulls);
	e->event.type = usher_check_type(
		required_name(values[EVENT_TYPE], nulls[EVENT_TYPE], "event type"));
	e->event.data = object(parser, values[EVENT_DATA], nulls[EVENT_DATA], "event data");
	e->event.metadata = metadata_without_actor(
		object(parser, values[EVENT_METADATA], nulls[EVENT_METADATA], "event metadata"));
	if (!nulls[EVENT_ID])
	{
		e->event.id = *DatumGetUUIDP(values[EVENT_ID]);
		e->event.flags |= LOG_FLAG_ID_INDEXED;
	}
}

static void
parse_events(UsherRequestParser *parser, UsherRequest *request, Datum value, bool isnull)
{
	ArrayType *array;
	Datum *elements;
	bool *nulls;

	if (isnull)
		refuse_argument("the array of events is null");
	array = DatumGetArrayTypeP(value);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, &nulls,
					  &request->nevents);
	if (request->nevents == 0)
		refuse_argument("there are no events");
	if (request->nevents > usher_max_transaction_events)
		ereport(ERROR, (errcode(ERRCODE_USHER_TOO_MANY_EVENTS),
						errmsg("more than %d events in one request", usher_max_transaction_events),
						errhint("Send them in smaller parts.")));
	request->events = palloc0_array(UsherRequestEvent, request->nevents);
	for (int i = 0; i < request->nevents; i++)
	{
		request->event_index = i;
		if (nulls[i])
			refuse_argument("an event is null");
		event_parse(parser, request->tenant_id, &request->events[i], elements[i]);
	}
	request->event_index = -1;
}

/* Elements of one tenant often come together. */
static void
parse_tenant(UsherRequestParser *parser, UsherRequest *request, text *tenant)
{
	int len = VARSIZE_ANY_EXHDR(tenant);

	request->tenant = text_to_cstring(tenant);
	if (parser->tenant == NULL || VARSIZE_ANY_EXHDR(parser->tenant) != len ||
		memcmp(VARDATA_ANY(parser->tenant), VARDATA_ANY(tenant), len) != 0)
	{
		parser->tenant = NULL;
		parser->tenant_id = usher_tenant_named(request->tenant);
		if (parser->tenant_id == 0)
			ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_TENANT),
							errmsg("tenant \"%s\" does not exist", request->tenant)));
		parser->tenant = tenant;
	}
	request->tenant_id = parser->tenant_id;
}

static char *
actor_json(const text *user, const char *type)
{
	StringInfoData json;

	if (user == NULL)
		return "";
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"id\": ");
	escape_json(&json, text_to_cstring(user));
	if (type[0] != '\0')
	{
		appendStringInfoString(&json, ", \"type\": ");
		escape_json(&json, type);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

void
usher_request_parse(UsherRequestParser *parser, UsherRequest *request, Datum element)
{
	Datum values[REQUEST_NATTS];
	bool nulls[REQUEST_NATTS];
	text *user, *key;

	usher_request_tuple(element, &parser->request_desc, values, nulls);
	parse_tenant(parser, request,
				 required_name(values[REQUEST_TENANT], nulls[REQUEST_TENANT], "tenant"));
	user = optional_name(values[REQUEST_USER_ID], nulls[REQUEST_USER_ID], "user id");
	request->actor = actor_json(
		user, optional_string(values[REQUEST_ACTOR_TYPE], nulls[REQUEST_ACTOR_TYPE], "actor type"));
	request->correlation_id = optional_string(values[REQUEST_CORRELATION_ID],
											  nulls[REQUEST_CORRELATION_ID], "correlation id");
	request->causation_id = optional_string(values[REQUEST_CAUSATION_ID],
											nulls[REQUEST_CAUSATION_ID], "causation id");
	request->traceparent = optional_string(values[REQUEST_TRACEPARENT], nulls[REQUEST_TRACEPARENT],
										   "traceparent");
	parse_events(parser, request, values[REQUEST_EVENTS], nulls[REQUEST_EVENTS]);
	if (nulls[REQUEST_KEY])
		return;
	key = required_name(values[REQUEST_KEY], false, "idempotency key");
	if (nulls[REQUEST_FINGERPRINT])
		refuse_argument("an idempotency key needs a fingerprint");
	request->fingerprint = DatumGetByteaPP(values[REQUEST_FINGERPRINT]);
	if (VARSIZE_ANY_EXHDR(request->fingerprint) > USHER_FINGERPRINT_MAX)
		refuse_argument("a fingerprint is longer than 64 bytes");
	usher_request_key(request, user, key);
}
