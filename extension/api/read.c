/*
 * extension/api/read.c
 *	  Reading functions: check the arguments, then the scans of log/reader.c.
 */
#include "usher.h"

#include "api/argument.h"
#include "lib/glob.h"
#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

/* What a scan gives to its caller: into a tuplestore, or into an array. */
typedef struct Collector
{
	Tuplestorestate *store; /* NULL: collect into `events` */
	Datum *events;
	int nevents, events_size;
	int64 left; /* events still wanted */
	int64 scan_left; /* events that may still be examined */
	int64 examined; /* position of the last one examined */
	int32 tenant_id; /* 0: the scan has chosen the tenant */
	const text *pattern; /* NULL: every type */
	MemoryContext scratch;
	bool stopped;
} Collector;

static int64
max_argument(FunctionCallInfo fcinfo, int n)
{
	refuse_null(fcinfo, n, "max");
	if (PG_GETARG_INT32(n) < 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("max cannot be negative")));
	return PG_GETARG_INT32(n);
}

static void
collector_init(Collector *c, FunctionCallInfo fcinfo, int64 max)
{
	memset(c, 0, sizeof(*c));
	c->left = max;
	c->scan_left = PG_INT64_MAX;
	c->scratch = AllocSetContextCreate(CurrentMemoryContext, "usher read", ALLOCSET_DEFAULT_SIZES);
	if (fcinfo)
	{
		InitMaterializedSRF(fcinfo, 0);
		c->store = ((ReturnSetInfo *) fcinfo->resultinfo)->setResult;
	}
}

static void
collect(Collector *c, TupleTableSlot *slot)
{
	MemoryContext old;

	if (c->store)
	{
		old = MemoryContextSwitchTo(c->scratch);
		tuplestore_puttuple(c->store, usher_event_form(slot));
		MemoryContextSwitchTo(old);
		MemoryContextReset(c->scratch);
		return;
	}
	if (c->nevents == c->events_size)
	{
		c->events_size = Max(64, c->events_size * 2);
		c->events = c->events ? repalloc(c->events, c->events_size * sizeof(Datum))
							  : palloc(c->events_size * sizeof(Datum));
	}
	c->events[c->nevents++] = usher_event_datum(slot);
}

static bool
collect_visit(TupleTableSlot *slot, void *arg)
{
	Collector *c = arg;
	bool isnull;

	c->examined = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	c->scan_left--;
	if (usher_event_wanted(slot, c->tenant_id, c->pattern))
	{
		collect(c, slot);
		c->left--;
	}
	c->stopped = c->left <= 0 || c->scan_left <= 0;
	return !c->stopped;
}

PG_FUNCTION_INFO_V1(usher_read);
Datum
usher_read(PG_FUNCTION_ARGS)
{
	int64 after = bigint_argument(fcinfo, 0, "after");
	int64 max = max_argument(fcinfo, 1);
	text *pattern = name_argument(fcinfo, 2, "pattern");
	Collector c;
	int64 stable;

	collector_init(&c, fcinfo, max);
	c.tenant_id = usher_current_tenant_id();
	c.pattern = pattern;
	stable = usher_cursor_begin(after, 0, NULL);
	if (max > 0)
		usher_read_positions(after, stable, collect_visit, &c);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_read_page);
Datum
usher_read_page(PG_FUNCTION_ARGS)
{
	int64 after = bigint_argument(fcinfo, 0, "after");
	int64 max = max_argument(fcinfo, 1);
	text *pattern = name_argument(fcinfo, 2, "pattern");
	int64 stable;
	Collector c;
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {0};

	collector_init(&c, NULL, max);
	c.tenant_id = usher_current_tenant_id();
	c.pattern = pattern;
	refuse_null(fcinfo, 3, "scan_max");
	c.scan_left = PG_GETARG_INT32(3);
	if (c.scan_left < 1)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("scan_max must be at least 1")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function returning record called in context that cannot accept type record")));
	stable = usher_cursor_begin(after, 0, NULL);
	if (max > 0)
		usher_read_positions(after, stable, collect_visit, &c);
	else
		c.stopped = true;
	values[0] = Int64GetDatum(c.stopped ? Max(after, c.examined) : Max(after, stable));
	values[1] = PointerGetDatum(construct_array(c.events, c.nevents, usher_catalog()->event_type,
												-1, false, TYPALIGN_DOUBLE));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(usher_read_category_srf);
Datum
usher_read_category_srf(PG_FUNCTION_ARGS)
{
	text *category = name_argument(fcinfo, 0, "category");
	int64 after = bigint_argument(fcinfo, 1, "after");
	int64 max = max_argument(fcinfo, 2);
	int32 tenant_id = usher_current_tenant_id();
	Collector c;
	int64 stable;

	collector_init(&c, fcinfo, max);
	stable = usher_cursor_begin(after, tenant_id, category);
	if (max > 0)
		usher_read_category(tenant_id, category, after, stable, collect_visit, &c);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_read_stream_srf);
Datum
usher_read_stream_srf(PG_FUNCTION_ARGS)
{
	text *stream = name_argument(fcinfo, 0, "stream name");
	int64 from = bigint_argument(fcinfo, 1, "from_version");
	int64 max = max_argument(fcinfo, 2);
	bool backwards;
	int64 before = PG_ARGISNULL(4) ? PG_INT64_MAX : PG_GETARG_INT64(4);
	Collector c;

	refuse_null(fcinfo, 3, "backwards");
	backwards = PG_GETARG_BOOL(3);
	if (from < 0 || before < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("a version cannot be negative")));
	collector_init(&c, fcinfo, max);
	usher_read_stream(usher_current_tenant_id(), stream, from, before, max, backwards,
					  collect_visit, &c);
	return (Datum) 0;
}

/* Events of this transaction that have no position yet, for the view usher.events. */
PG_FUNCTION_INFO_V1(usher_pending_events);
Datum
usher_pending_events(PG_FUNCTION_ARGS)
{
	int n = usher_outbox_count();
	int32 tenant_id = usher_current_tenant_id();
	TupleTableSlot *slot;
	Collector c;

	collector_init(&c, fcinfo, PG_INT64_MAX);
	if (n == 0)
		return (Datum) 0;
	slot = usher_log_slot(&TTSOpsHeapTuple);
	for (int i = 0; i < n; i++)
	{
		UsherPending *p = usher_outbox_get(i);

		if (p->tenant_id != tenant_id)
			continue;
		ExecStoreHeapTuple(usher_outbox_tuple(p), slot, false);
		collect(&c, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return (Datum) 0;
}

/* ---- single events ---- */

typedef struct LastEvent
{
	const text *type; /* NULL: any */
	Datum event;
	bool found;
} LastEvent;

static bool
last_event_visit(TupleTableSlot *slot, void *arg)
{
	LastEvent *last = arg;
	bool isnull;
	text *type = DatumGetTextPP(slot_getattr(slot, LOG_TYPE, &isnull));

	if (last->type != NULL &&
		(VARSIZE_ANY_EXHDR(type) != VARSIZE_ANY_EXHDR(last->type) ||
		 memcmp(VARDATA_ANY(type), VARDATA_ANY(last->type), VARSIZE_ANY_EXHDR(type)) != 0))
		return true;
	last->event = usher_event_datum(slot);
	last->found = true;
	return false;
}

PG_FUNCTION_INFO_V1(usher_last_event);
Datum
usher_last_event(PG_FUNCTION_ARGS)
{
	text *stream = name_argument(fcinfo, 0, "stream name");
	LastEvent last = {PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1)};

	usher_read_stream(usher_current_tenant_id(), stream, 1, PG_INT64_MAX,
					  last.type ? PG_INT64_MAX : 1, true, last_event_visit, &last);
	if (!last.found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(last.event);
}

PG_FUNCTION_INFO_V1(usher_event_by_id);
Datum
usher_event_by_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);
	int32 tenant_id = usher_current_tenant_id();
	UsherPending *pending = NULL;
	TupleTableSlot *slot;

	for (int i = 0; i < usher_outbox_count() && pending == NULL; i++)
	{
		UsherPending *p = usher_outbox_get(i);

		if (p->tenant_id == tenant_id && memcmp(&p->id, id, UUID_LEN) == 0)
			pending = p;
	}
	if (pending)
	{
		slot = usher_log_slot(&TTSOpsHeapTuple);
		ExecStoreHeapTuple(usher_outbox_tuple(pending), slot, false);
	}
	else if (!usher_event_id_find(tenant_id, id, DT_NOBEGIN, &slot) &&
			 !usher_event_id_find_generated(tenant_id, id, &slot))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(usher_event_datum(slot));
}

PG_FUNCTION_INFO_V1(usher_stream_version);
Datum
usher_stream_version(PG_FUNCTION_ARGS)
{
	int flags;

	PG_RETURN_INT64(usher_stream_head(usher_current_tenant_id(),
									  name_argument(fcinfo, 0, "stream name"), &flags));
}

/* What belongs to another tenant is for administrators. */
static bool
tenant_visible(int32 tenant_id)
{
	return usher_is_admin() || tenant_id == usher_current_tenant_id();
}

/* For the view usher.streams, which shows every tenant's rows to those who may see them. */
PG_FUNCTION_INFO_V1(usher_stream_head_of);
Datum
usher_stream_head_of(PG_FUNCTION_ARGS)
{
	int flags;

	if (!tenant_visible(PG_GETARG_INT32(0)))
		PG_RETURN_NULL();
	PG_RETURN_INT64(usher_stream_head(PG_GETARG_INT32(0), PG_GETARG_TEXT_PP(1), &flags));
}

/* ---- positions ---- */

PG_FUNCTION_INFO_V1(usher_stable_position);
Datum
usher_stable_position(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(usher_stable(NULL));
}

PG_FUNCTION_INFO_V1(usher_last_position);
Datum
usher_last_position(PG_FUNCTION_ARGS)
{
	int64 last = usher_session_last_position();

	if (last == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(last);
}

PG_FUNCTION_INFO_V1(usher_oldest_position_fn);
Datum
usher_oldest_position_fn(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_INT64(usher_oldest_position(0, NULL));
	PG_RETURN_INT64(usher_oldest_position(usher_current_tenant_id(), PG_GETARG_TEXT_PP(0)));
}

/* For usher.check(): counter, mark, slots in use. */
PG_FUNCTION_INFO_V1(usher_counter);
Datum
usher_counter(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {0};
	UsherDb *db = usher_db();
	int used = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function returning record called in context that cannot accept type record")));
	for (int i = 0; i < usher_shared->nslots; i++)
		used += usher_shared->slots[i].db == db &&
				pg_atomic_read_u64(&usher_shared->slots[i].first) != 0;
	values[0] = Int64GetDatum(usher_position_next(db));
	values[1] = Int64GetDatum(usher_mark_read(usher_catalog()->position_mark));
	values[2] = Int32GetDatum(used);
	nulls[0] = RecoveryInProgress();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- small things ---- */

PG_FUNCTION_INFO_V1(usher_matches);
Datum
usher_matches(PG_FUNCTION_ARGS)
{
	text *pattern = name_argument(fcinfo, 0, "pattern");
	text *type = name_argument(fcinfo, 1,
							   "event type"); /* both short: nothing interrupts the match */

	PG_RETURN_BOOL(usher_glob_match(VARDATA_ANY(pattern), VARSIZE_ANY_EXHDR(pattern),
									VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)));
}

PG_FUNCTION_INFO_V1(usher_category);
Datum
usher_category(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(usher_stream_category(PG_GETARG_TEXT_PP(0)));
}

PG_FUNCTION_INFO_V1(usher_category_hash_fn);
Datum
usher_category_hash_fn(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(usher_category_hash(PG_GETARG_TEXT_PP(0)));
}

PG_FUNCTION_INFO_V1(usher_current_tenant);
Datum
usher_current_tenant(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(usher_current_tenant_id());
}

PG_FUNCTION_INFO_V1(usher_tenant_name);
Datum
usher_tenant_name(PG_FUNCTION_ARGS)
{
	text *slug = tenant_visible(PG_GETARG_INT32(0)) ? usher_tenant_slug_of(PG_GETARG_INT32(0))
													: NULL;

	if (slug == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(slug);
}
