/*
 * extension/api/gateway_read.c
 *	  What the HTTP gateway reads: of a tenant that it names, and the heads of
 *	  all tenants' events.
 *
 * Whoever may execute these functions may read every tenant: they are granted
 * to usher_gateway alone.  A page is bounded in events, in bytes, and in what
 * is examined for it; it is gathered in memory, since each row says how the
 * whole page ended.
 */
#include "usher.h"

#include "api/argument.h"
#include "lib/glob.h"
#include "log/log.h"
#include "signal/signal.h"
#include "tenancy/tenant.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define PAGE_BYTES   (1024 * 1024)
#define PAGE_MAX     10000
#define SCAN_MAX     100000
#define PATTERNS_MAX 100
#define HEAD_NATTS   9

typedef struct EventPage
{
	int32 tenant_id;
	text **patterns;
	int npatterns; /* 0: every type */
	HeapTuple *events;
	int n, size;
	int max;
	int64 bytes; /* of data and metadata */
	int64 scan_left; /* events that may still be examined */
	int64 examined; /* position of the last one */
	bool peek; /* look for one more event, to know whether there is one */
	bool full, more;
} EventPage;

static int
count_argument(FunctionCallInfo fcinfo, int n, const char *what, int most)
{
	refuse_null(fcinfo, n, what);
	if (PG_GETARG_INT32(n) < 1 || PG_GETARG_INT32(n) > most)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("%s must be between 1 and %d", what, most)));
	return PG_GETARG_INT32(n);
}

static int32
tenant_argument(FunctionCallInfo fcinfo, int n)
{
	char *slug = text_to_cstring(name_argument(fcinfo, n, "tenant"));
	int32 tenant_id = usher_tenant_named(slug);

	if (tenant_id == 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_TENANT),
						errmsg("tenant \"%s\" does not exist", slug)));
	return tenant_id;
}

/* NULL and an empty array stand for every type. */
static void
patterns_argument(FunctionCallInfo fcinfo, int n, EventPage *page)
{
	Datum *elements;
	bool *nulls;

	if (PG_ARGISNULL(n))
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls,
					  &page->npatterns);
	if (page->npatterns > PATTERNS_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("there are more than %d patterns", PATTERNS_MAX)));
	page->patterns = palloc_array(text *, Max(page->npatterns, 1));
	for (int i = 0; i < page->npatterns; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("a pattern is null")));
		page->patterns[i] = DatumGetTextPP(elements[i]);
		usher_check_name(page->patterns[i], "pattern");
	}
}

static bool
wanted(const EventPage *page, TupleTableSlot *slot)
{
	if (!usher_event_wanted(slot, page->tenant_id, NULL))
		return false;
	for (int i = 0; i < page->npatterns; i++)
		if (usher_event_wanted(slot, 0, page->patterns[i]))
			return true;
	return page->npatterns == 0;
}

static void
page_add(EventPage *page, HeapTuple event)
{
	if (page->n == page->size)
	{
		page->size = Max(64, page->size * 2);
		page->events = page->events ? repalloc_array(page->events, HeapTuple, page->size)
									: palloc_array(HeapTuple, page->size);
	}
	page->events[page->n++] = event;
}

static Size
json_size(TupleTableSlot *slot, AttrNumber column)
{
	bool isnull;
	Datum value = slot_getattr(slot, column, &isnull);

	return isnull ? 0 : toast_raw_datum_size(value);
}

static bool
page_visit(TupleTableSlot *slot, void *arg)
{
	EventPage *page = arg;
	bool isnull;

	if (page->full)
	{
		page->more = true;
		return false;
	}
	page->examined = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	page->scan_left--;
	if (wanted(page, slot))
	{
		page->bytes += json_size(slot, LOG_DATA) + json_size(slot, LOG_METADATA);
		page_add(page, usher_event_form(slot));
	}
	page->full = page->n >= page->max || page->bytes >= PAGE_BYTES || page->scan_left <= 0;
	return !page->full || page->peek;
}

#define PAGE_COLUMNS_MAX 2

/* The events, each with what is said of the page in the first n columns. */
static void
page_put(FunctionCallInfo fcinfo, const EventPage *page, const Datum *first, int n)
{
	ReturnSetInfo *result;
	Datum values[PAGE_COLUMNS_MAX + USHER_EVENT_NATTS];
	bool nulls[PAGE_COLUMNS_MAX + USHER_EVENT_NATTS] = {false};

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	memcpy(values, first, n * sizeof(Datum));
	for (int i = 0; i < page->n; i++)
	{
		heap_deform_tuple(page->events[i], usher_catalog()->event_desc, values + n, nulls + n);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* A last row for a page without events, when its first n columns say how far it has come. */
static void
put_end(FunctionCallInfo fcinfo, const Datum *first, int n)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum *values = palloc0_array(Datum, result->setDesc->natts);
	bool *nulls = palloc_array(bool, result->setDesc->natts);

	memset(nulls, true, result->setDesc->natts);
	memcpy(values, first, n * sizeof(Datum));
	memset(nulls, false, n);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* (tenant, stream, from_version, max, backwards, before) */
PG_FUNCTION_INFO_V1(usher_gateway_read_stream);
Datum
usher_gateway_read_stream(PG_FUNCTION_ARGS)
{
	EventPage page = {.scan_left = PG_INT64_MAX, .peek = true};
	int32 tenant_id = tenant_argument(fcinfo, 0);
	text *stream = name_argument(fcinfo, 1, "stream name");
	int64 from = bigint_argument(fcinfo, 2, "from_version");
	int64 before = PG_ARGISNULL(5) ? PG_INT64_MAX : PG_GETARG_INT64(5);
	Datum more;

	page.max = count_argument(fcinfo, 3, "max", PAGE_MAX);
	refuse_null(fcinfo, 4, "backwards");
	if (from < 0 || before < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("a version cannot be negative")));
	usher_read_stream(tenant_id, stream, from, before, (int64) page.max + 1, PG_GETARG_BOOL(4),
					  page_visit, &page);
	more = BoolGetDatum(page.more);
	page_put(fcinfo, &page, &more, 1);
	return (Datum) 0;
}

/* (tenant, category, after, max) */
PG_FUNCTION_INFO_V1(usher_gateway_read_category);
Datum
usher_gateway_read_category(PG_FUNCTION_ARGS)
{
	EventPage page = {.scan_left = PG_INT64_MAX, .peek = true};
	int32 tenant_id = tenant_argument(fcinfo, 0);
	text *category = name_argument(fcinfo, 1, "category");
	int64 after = bigint_argument(fcinfo, 2, "after");
	Datum more;

	page.max = count_argument(fcinfo, 3, "max", PAGE_MAX);
	usher_read_category(tenant_id, category, after, usher_cursor_begin(after, tenant_id, category),
						page_visit, &page);
	more = BoolGetDatum(page.more);
	page_put(fcinfo, &page, &more, 1);
	return (Datum) 0;
}

/* (tenant, after, max, patterns, scan_max) */
PG_FUNCTION_INFO_V1(usher_gateway_read_log);
Datum
usher_gateway_read_log(PG_FUNCTION_ARGS)
{
	EventPage page = {.tenant_id = tenant_argument(fcinfo, 0)};
	int64 after = bigint_argument(fcinfo, 1, "after");
	int64 stable;
	Datum first[2]; /* next, more */

	page.max = count_argument(fcinfo, 2, "max", PAGE_MAX);
	patterns_argument(fcinfo, 3, &page);
	page.scan_left = count_argument(fcinfo, 4, "scan_max", SCAN_MAX);
	stable = usher_cursor_begin(after, 0, NULL);
	usher_read_positions(after, stable, page_visit, &page);
	first[0] = Int64GetDatum(page.full ? page.examined : Max(after, stable));
	first[1] = BoolGetDatum(page.full && page.examined < stable);
	page_put(fcinfo, &page, first, 2);
	if (page.n == 0)
		put_end(fcinfo, first, 2);
	return (Datum) 0;
}

/* ---- all tenants ---- */

typedef struct Heads
{
	HeapTuple *rows;
	TupleDesc desc;
	int n;
	EventPage page; /* what is wanted, and up to where it was looked for */
} Heads;

/* next, position, tenant, stream, version, id, type, topic, key, recorded_at */
static bool
head_visit(TupleTableSlot *slot, void *arg)
{
	static const AttrNumber columns[HEAD_NATTS] = {LOG_POSITION, LOG_TENANT_ID, LOG_STREAM,
												   LOG_VERSION,  LOG_ID,        LOG_TYPE,
												   LOG_TOPIC,    LOG_KEY,       LOG_RECORDED_AT};
	Heads *heads = arg;
	EventPage *page = &heads->page;
	Datum values[1 + HEAD_NATTS] = {0};
	bool nulls[1 + HEAD_NATTS] = {false};
	text *slug;

	page->examined = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &nulls[0]));
	page->full = --page->scan_left == 0;
	if (!wanted(page, slot))
		return !page->full;
	for (int i = 0; i < HEAD_NATTS; i++)
		values[1 + i] = slot_getattr(slot, columns[i], &nulls[1 + i]);
	slug = usher_tenant_slug_of(DatumGetInt32(values[2]));
	values[2] = PointerGetDatum(slug);
	nulls[2] = slug == NULL;
	if (nulls[8])
	{
		values[8] = values[3];
		nulls[8] = nulls[3];
	}
	heads->rows[heads->n++] = heap_form_tuple(heads->desc, values, nulls);
	page->full = page->full || heads->n == page->max;
	return !page->full;
}

/* (after, max, patterns) */
PG_FUNCTION_INFO_V1(usher_gateway_heads);
Datum
usher_gateway_heads(PG_FUNCTION_ARGS)
{
	Heads heads = {.page.scan_left = SCAN_MAX};
	int64 after = bigint_argument(fcinfo, 0, "after");
	int64 stable;
	ReturnSetInfo *result;
	Datum values[1 + HEAD_NATTS];
	bool nulls[1 + HEAD_NATTS];
	Datum next;

	heads.page.max = count_argument(fcinfo, 1, "max", PAGE_MAX);
	patterns_argument(fcinfo, 2, &heads.page);
	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	heads.desc = result->setDesc;
	heads.rows = palloc_array(HeapTuple, heads.page.max);
	stable = usher_cursor_begin(after, 0, NULL);
	usher_read_positions(after, stable, head_visit, &heads);
	next = Int64GetDatum(heads.page.full ? heads.page.examined : Max(after, stable));
	for (int i = 0; i < heads.n; i++)
	{
		heap_deform_tuple(heads.rows[i], heads.desc, values, nulls);
		values[0] = next;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	if (heads.n == 0)
		put_end(fcinfo, &next, 1);
	return (Datum) 0;
}

/* ---- waiting ---- */

/*
 * Until the stable position is beyond `position`, whoever's event it is, or a signal is beyond *signals
 * (negative: of no interest), or the time is over.  *signals is the last one's number then.
 */
static int64
wait_beyond(int64 position, int64 *signals, TimestampTz deadline)
{
	UsherDb *db = usher_db();
	int64 stable = 0, known = *signals;

	usher_follow_begin(db, 0, NULL, 0);
	PG_TRY();
	{
		if (known >= 0)
			usher_follow_signals();
		for (;;)
		{
			long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

			AcceptInvalidationMessages();
			stable = usher_stable(NULL);
			*signals = usher_signals_last(db);
			if (stable > position || (known >= 0 && *signals != known) || left <= 0)
				break;
			usher_follow_examined(db, stable);
			usher_wait_sleep(RecoveryInProgress() ? Min(left, 10) : left);
		}
	}
	PG_FINALLY();
	{
		usher_follow_end();
	}
	PG_END_TRY();
	return stable;
}

/* CALL usher.gateway_wait(position, timeout, INOUT stable, INOUT signals): commits first, so that no snapshot is held. */
PG_FUNCTION_INFO_V1(usher_gateway_wait);
Datum
usher_gateway_wait(PG_FUNCTION_ARGS)
{
	int64 position = bigint_argument(fcinfo, 0, "position");
	int64 timeout_ms = timeout_argument(fcinfo, 1);
	int64 signals = PG_ARGISNULL(3) ? -1 : PG_GETARG_INT64(3);
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false, false};

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("usher.gateway_wait cannot run inside a transaction block")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("usher.gateway_wait must be called with CALL")));
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	values[0] = Int64GetDatum(wait_beyond(
		position, &signals, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms)));
	values[1] = Int64GetDatum(signals);
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* (after, max) */
PG_FUNCTION_INFO_V1(usher_gateway_tail);
Datum
usher_gateway_tail(PG_FUNCTION_ARGS)
{
	EventPage page = {.scan_left = PG_INT64_MAX};
	int64 after = bigint_argument(fcinfo, 0, "after");
	int64 stable;
	Datum next;

	page.max = count_argument(fcinfo, 1, "max", PAGE_MAX);
	stable = usher_cursor_begin(after, 0, NULL);
	usher_read_positions(after, stable, page_visit, &page);
	next = Int64GetDatum(page.full ? page.examined : Max(after, stable));
	page_put(fcinfo, &page, &next, 1);
	if (page.n == 0)
		put_end(fcinfo, &next, 1);
	return (Datum) 0;
}
