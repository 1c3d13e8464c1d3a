/*
 * extension/api/append.c
 *	  append, append_batch, append_many, publish, delete_stream: check the
 *	  arguments, then one room down.
 */
#include "usher.h"

#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

static void
null_argument(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("%s is null", what)));
}

static void
null_name(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s is null", what)));
}

static text *
name_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	text *name;

	if (PG_ARGISNULL(n))
		null_name(what);
	name = PG_GETARG_TEXT_PP(n);
	usher_check_name(name, what);
	return name;
}

static Jsonb *
data_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	Jsonb *value;

	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_EVENT_DATA), errmsg("%s is null", what),
						errhint("Leave the argument out for an empty object.")));
	value = PG_GETARG_JSONB_P(n);
	usher_check_object(value, what);
	return value;
}

static Jsonb *
metadata_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? usher_empty_object() : data_argument(fcinfo, n, "event metadata");
}

static void
id_argument(FunctionCallInfo fcinfo, int n, UsherEvent *event)
{
	if (PG_ARGISNULL(n))
		return;
	event->id = *PG_GETARG_UUID_P(n);
	event->flags |= LOG_FLAG_ID_INDEXED;
}

/* Lock the stream unless the expected version says that it must exist already and it does not. */
static UsherStream *
lock_expected(int32 tenant_id, text *name, bool has_expected, int64 expected)
{
	UsherStream *stream = usher_stream_lock(tenant_id, name, !has_expected || expected == 0);

	usher_check_expected(stream, name, has_expected, expected);
	return stream;
}

PG_FUNCTION_INFO_V1(usher_append);
Datum
usher_append(PG_FUNCTION_ARGS)
{
	UsherEvent event = {0};
	text *name = name_argument(fcinfo, 0, "stream name");
	int64 version;

	usher_append_check_state();
	event.type = usher_check_type(name_argument(fcinfo, 1, "event type"));
	event.data = data_argument(fcinfo, 2, "event data");
	event.metadata = metadata_argument(fcinfo, 4);
	id_argument(fcinfo, 5, &event);
	event.tenant_id = usher_current_tenant_id();
	if ((event.flags & LOG_FLAG_ID_INDEXED) && usher_event_is_repeat(&event, name, &version))
		PG_RETURN_INT64(version);
	event.stream = lock_expected(event.tenant_id, name, !PG_ARGISNULL(3),
								 PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3));
	PG_RETURN_INT64(usher_append_event(&event));
}

/* ---- append_batch ---- */

enum
{
	NEW_EVENT_TYPE = 1,
	NEW_EVENT_DATA,
	NEW_EVENT_METADATA,
	NEW_EVENT_ID,
	NEW_EVENT_NATTS = NEW_EVENT_ID
};

static UsherEvent
new_event_from(Datum element, int32 tenant_id)
{
	UsherEvent event = {.tenant_id = tenant_id};
	HeapTupleHeader header = DatumGetHeapTupleHeader(element);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	TupleDesc desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											HeapTupleHeaderGetTypMod(header));
	Datum values[NEW_EVENT_NATTS];
	bool nulls[NEW_EVENT_NATTS];

	Ensure(desc->natts == NEW_EVENT_NATTS, "type usher.new_event has other attributes");
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	if (nulls[NEW_EVENT_TYPE - 1])
		null_name("event type");
	event.type = usher_check_type(DatumGetTextPP(values[NEW_EVENT_TYPE - 1]));
	event.data = nulls[NEW_EVENT_DATA - 1] ? usher_empty_object()
										   : DatumGetJsonbP(values[NEW_EVENT_DATA - 1]);
	event.metadata = nulls[NEW_EVENT_METADATA - 1] ? usher_empty_object()
												   : DatumGetJsonbP(values[NEW_EVENT_METADATA - 1]);
	usher_check_object(event.data, "event data");
	usher_check_object(event.metadata, "event metadata");
	if (!nulls[NEW_EVENT_ID - 1])
	{
		event.id = *DatumGetUUIDP(values[NEW_EVENT_ID - 1]);
		event.flags |= LOG_FLAG_ID_INDEXED;
	}
	return event;
}

/* A batch is a repeat as a whole or not at all; counts the repeats among its given ids. */
static int
count_repeats(UsherEvent *events, int n, const text *stream, int64 *last_version)
{
	int repeats = 0;

	for (int i = 0; i < n; i++)
	{
		int64 version;

		if (!(events[i].flags & LOG_FLAG_ID_INDEXED) ||
			!usher_event_is_repeat(&events[i], stream, &version))
			continue;
		repeats++;
		*last_version = version;
	}
	return repeats;
}

static void
refuse_partial_repeat(int repeats, int n)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_EVENT_ID_CONFLICT),
					errmsg("%d of %d events of the batch have been appended before", repeats, n),
					errhint("A batch must be repeated as it was, or be new.")));
}

PG_FUNCTION_INFO_V1(usher_append_batch);
Datum
usher_append_batch(PG_FUNCTION_ARGS)
{
	text *name = name_argument(fcinfo, 0, "stream name");
	int32 tenant_id;
	Datum *elements;
	bool *nulls;
	int n, repeats;
	int64 version = 0;
	UsherEvent *events;
	UsherStream *stream;
	Oid type;

	if (PG_ARGISNULL(1))
		null_argument("array of events");
	type = ARR_ELEMTYPE(PG_GETARG_ARRAYTYPE_P(1));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), type, -1, false, TYPALIGN_DOUBLE, &elements, &nulls,
					  &n);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the batch has no events")));
	usher_append_check_state();
	tenant_id = usher_current_tenant_id();
	events = palloc_array(UsherEvent, n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			null_argument("event");
		events[i] = new_event_from(elements[i], tenant_id);
	}
	repeats = count_repeats(events, n, name, &version);
	if (repeats == n)
		PG_RETURN_INT64(version);
	if (repeats > 0)
		refuse_partial_repeat(repeats, n);
	stream = lock_expected(tenant_id, name, !PG_ARGISNULL(2),
						   PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2));
	for (int i = 0; i < n; i++)
	{
		events[i].stream = stream;
		if ((events[i].flags & LOG_FLAG_ID_INDEXED) && usher_outbox_find(tenant_id, &events[i].id))
			refuse_partial_repeat(1, n);
		version = usher_append_event(&events[i]);
	}
	PG_RETURN_INT64(version);
}

/* ---- append_many ---- */

typedef struct TextArray
{
	Datum *values;
	bool *nulls;
	int n;
} TextArray;

static TextArray
text_array(FunctionCallInfo fcinfo, int n, const char *what)
{
	TextArray a;

	if (PG_ARGISNULL(n))
		null_argument(what);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT, &a.values,
					  &a.nulls, &a.n);
	return a;
}

static void
check_length(int n, int expected, const char *what)
{
	if (n != expected)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("there are %d streams and %d %s", expected, n, what)));
}

static text *
element_name(const TextArray *a, int i, const char *what)
{
	text *name;

	if (a->nulls[i])
		null_name(what);
	name = DatumGetTextPP(a->values[i]);
	usher_check_name(name, what);
	return name;
}

static Jsonb *
element_json(const TextArray *a, int i, const char *what)
{
	Jsonb *value;

	if (a->nulls[i])
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_EVENT_DATA), errmsg("%s %d is null", what, i + 1)));
	value = usher_jsonb_parse(TextDatumGetCString(a->values[i]), what);
	usher_check_object(value, what);
	return value;
}

typedef struct Many
{
	TextArray streams, types, data, metadata;
	bool has_metadata;
	Datum *ids;
	bool *id_nulls; /* NULL: no ids given */
	int32 tenant_id;
	int at; /* the element in work, for error messages */
} Many;

static void
many_context(void *arg)
{
	errcontext("element %d of the arrays", ((const Many *) arg)->at + 1);
}

static UsherEvent
many_event(const Many *m, int i)
{
	UsherEvent event = {.tenant_id = m->tenant_id};

	event.type = usher_check_type(element_name(&m->types, i, "event type"));
	event.data = element_json(&m->data, i, "event data");
	event.metadata = m->has_metadata && !m->metadata.nulls[i]
						 ? element_json(&m->metadata, i, "event metadata")
						 : usher_empty_object();
	if (m->id_nulls && !m->id_nulls[i])
	{
		event.id = *DatumGetUUIDP(m->ids[i]);
		event.flags |= LOG_FLAG_ID_INDEXED;
	}
	return event;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(DatumGetUUIDP(*(const Datum *) a), DatumGetUUIDP(*(const Datum *) b), UUID_LEN);
}

/* Lock the given ids in their order, so that bulk appenders do not deadlock on them. */
static void
lock_ids(const Many *m, int n)
{
	Datum *sorted = palloc_array(Datum, n);
	int count = 0;

	for (int i = 0; i < n; i++)
		if (!m->id_nulls[i])
			sorted[count++] = m->ids[i];
	qsort(sorted, count, sizeof(Datum), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || compare_ids(&sorted[i - 1], &sorted[i]) != 0)
			usher_event_id_lock(m->tenant_id, DatumGetUUIDP(sorted[i]));
	pfree(sorted);
}

static int
many_repeats(Many *m, int n, MemoryContext scratch)
{
	int repeats = 0;
	ErrorContextCallback context = {error_context_stack, many_context, m};

	if (m->id_nulls == NULL)
		return 0;
	lock_ids(m, n);
	error_context_stack = &context;
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		UsherEvent event;
		int64 version;

		m->at = i;
		event = many_event(m, i);
		if ((event.flags & LOG_FLAG_ID_INDEXED) &&
			usher_event_is_repeat(&event, element_name(&m->streams, i, "stream name"), &version))
			repeats++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	error_context_stack = context.previous;
	return repeats;
}

/* The parsed JSON of one event lives in a context that is reset after it; its tuple goes to the outbox. */
static void
many_append(Many *m, int n, MemoryContext scratch)
{
	ErrorContextCallback context = {error_context_stack, many_context, m};

	error_context_stack = &context;
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		text *name = DatumGetTextPP(m->streams.values[i]);
		UsherEvent event;

		m->at = i;
		event = many_event(m, i);
		event.stream = usher_stream_locked(m->tenant_id, name);
		Ensure(event.stream != NULL, "a stream of the batch is not locked");
		usher_check_expected(event.stream, name, false, 0);
		if ((event.flags & LOG_FLAG_ID_INDEXED) && usher_outbox_find(m->tenant_id, &event.id))
			refuse_partial_repeat(1, n);
		(void) usher_append_event(&event);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	error_context_stack = context.previous;
}

PG_FUNCTION_INFO_V1(usher_append_many);
Datum
usher_append_many(PG_FUNCTION_ARGS)
{
	Many m = {0};
	MemoryContext scratch;
	UsherStreamWanted *wanted;
	int n, repeats;

	m.streams = text_array(fcinfo, 0, "array of streams");
	m.types = text_array(fcinfo, 1, "array of types");
	m.data = text_array(fcinfo, 2, "array of data");
	n = m.streams.n;
	check_length(m.types.n, n, "types");
	check_length(m.data.n, n, "data");
	m.has_metadata = !PG_ARGISNULL(3);
	if (m.has_metadata)
	{
		m.metadata = text_array(fcinfo, 3, "array of metadata");
		check_length(m.metadata.n, n, "metadata");
	}
	if (!PG_ARGISNULL(4))
	{
		int nids;

		deconstruct_array(PG_GETARG_ARRAYTYPE_P(4), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &m.ids,
						  &m.id_nulls, &nids);
		check_length(nids, n, "event ids");
	}
	usher_append_check_state();
	m.tenant_id = usher_current_tenant_id();
	wanted = palloc_array(UsherStreamWanted, Max(n, 1));
	for (int i = 0; i < n; i++)
		wanted[i] = (UsherStreamWanted){element_name(&m.streams, i, "stream name"), true};
	scratch = AllocSetContextCreate(CurrentMemoryContext, "usher append_many",
									ALLOCSET_DEFAULT_SIZES);
	repeats = many_repeats(&m, n, scratch);
	if (repeats == 0)
	{
		usher_streams_lock(m.tenant_id, wanted, n);
		many_append(&m, n, scratch);
	}
	else if (repeats < n)
		refuse_partial_repeat(repeats, n);
	MemoryContextDelete(scratch);
	PG_RETURN_INT64(repeats == 0 ? n : 0);
}

PG_FUNCTION_INFO_V1(usher_publish);
Datum
usher_publish(PG_FUNCTION_ARGS)
{
	UsherEvent event = {0};
	int64 version;
	pg_uuid_t *id = palloc_object(pg_uuid_t);

	usher_append_check_state();
	event.topic = name_argument(fcinfo, 0, "topic");
	event.key = name_argument(fcinfo, 1, "key");
	event.type = usher_check_type(name_argument(fcinfo, 2, "event type"));
	event.data = data_argument(fcinfo, 3, "event data");
	event.metadata = metadata_argument(fcinfo, 4);
	id_argument(fcinfo, 5, &event);
	event.tenant_id = usher_current_tenant_id();
	if (!(event.flags & LOG_FLAG_ID_INDEXED) || !usher_event_is_repeat(&event, NULL, &version))
		(void) usher_append_event(&event);
	*id = event.id;
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(usher_delete_stream);
Datum
usher_delete_stream(PG_FUNCTION_ARGS)
{
	UsherEvent event = {0};
	text *name = name_argument(fcinfo, 0, "stream name");
	int64 expected = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT64(1);
	bool reusable = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	int64 version;

	usher_append_check_state();
	event.tenant_id = usher_current_tenant_id();
	event.stream = usher_stream_lock(event.tenant_id, name, false);
	usher_check_expected(event.stream, name, true, expected);
	if (event.stream == NULL || usher_flags_vacant(event.stream->head_flags))
		usher_check_expected(event.stream, name, true, -1);
	event.type = cstring_to_text(USHER_TYPE_DELETED);
	event.data = DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in, CStringGetDatum(reusable ? "{\"reusable\": true}" : "{\"reusable\": false}")));
	event.metadata = usher_empty_object();
	event.flags = LOG_FLAG_TOMBSTONE | (reusable ? LOG_FLAG_REUSABLE : 0);
	version = usher_append_event(&event);
	usher_stream_hide(event.stream, version, reusable);
	PG_RETURN_INT64(version);
}
