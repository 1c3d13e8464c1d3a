/*
 * extension/api/once.c
 *	  once, once_done and their forms for many keys: check the arguments, then
 *	  one room down.
 */
#include "usher.h"

#include "idempotency/once.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplestore.h"

static void
check_state(void)
{
	if (RecoveryInProgress() || XactReadOnly)
		ereport(
			ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot use an idempotency key in a read-only transaction"),
			 RecoveryInProgress() ? errhint("This server is a standby: go to the primary.") : 0));
	if (IsInParallelMode())
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE),
						errmsg("cannot use an idempotency key during a parallel operation")));
}

static text *
checked_name(Datum value, bool isnull)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_NAME), errmsg("the idempotency key is null")));
	return DatumGetTextPP(value);
}

static bytea *
checked_fingerprint(Datum value, bool isnull)
{
	bytea *fingerprint;

	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the fingerprint is null"),
						errhint("Give a hash of the request; an empty one tells no requests "
								"apart.")));
	fingerprint = DatumGetByteaPP(value);
	if (VARSIZE_ANY_EXHDR(fingerprint) > USHER_FINGERPRINT_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("the fingerprint is longer than %d bytes", USHER_FINGERPRINT_MAX),
						errhint("Give a hash of the request, not the request.")));
	return fingerprint;
}

static int64
ttl_argument(FunctionCallInfo fcinfo, int n)
{
	Interval *interval;
	double us;

	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("ttl is null")));
	interval = PG_GETARG_INTERVAL_P(n);
	us = interval->time + (interval->day + 30.0 * interval->month) * USECS_PER_DAY;
	if (us < 1 || us > (double) USHER_KEY_TTL_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("a ttl must be above 0 and at most 7 days")));
	return (int64) us;
}

static Jsonb *
checked_response(Jsonb *response)
{
	if (VARSIZE(response) > (Size) usher_max_event_size_kb * 1024)
		ereport(ERROR, (errcode(ERRCODE_USHER_EVENT_TOO_LARGE),
						errmsg("the response is larger than %d kB", usher_max_event_size_kb),
						errdetail("It has %u bytes.", (unsigned) VARSIZE(response)),
						errhint("Keep what makes the response again, or raise "
								"usher.max_event_size.")));
	return response;
}

static void
count_answer(UsherOnceState state)
{
	static const UsherCounter counters[] = {
		[ONCE_FRESH] = COUNT_ONCE_FRESH,
		[ONCE_DONE] = COUNT_ONCE_REPEATED,
		[ONCE_CONFLICT] = COUNT_ONCE_CONFLICT,
		[ONCE_IN_PROGRESS] = COUNT_ONCE_IN_PROGRESS,
	};

	usher_count(usher_db(), counters[state], 1);
}

static void
refuse_to_wait(text *key)
{
	count_answer(ONCE_IN_PROGRESS);
	ereport(ERROR, (errcode(ERRCODE_USHER_REQUEST_IN_PROGRESS),
					errmsg("a transaction that has idempotency key \"%s\" is still open",
						   text_to_cstring(key)),
					errhint("Ask again later, or wait for its end with wait => true.")));
}

static void
refuse(UsherOnceState state, text *key, const UsherKeyRow *found)
{
	char *name;

	if (state == ONCE_FRESH || state == ONCE_DONE)
		return;
	name = text_to_cstring(key);
	if (state == ONCE_CONFLICT)
		ereport(ERROR, (errcode(ERRCODE_USHER_IDEMPOTENCY_CONFLICT),
						errmsg("idempotency key \"%s\" belongs to another request", name),
						errhint("Repeat a request exactly; give another request another key.")));
	ereport(ERROR, (errcode(ERRCODE_USHER_REQUEST_IN_PROGRESS),
					errmsg("the request with idempotency key \"%s\" has no response yet", name),
					errdetail("It was begun at %s.", timestamptz_to_str(found->created_at)),
					errhint("Ask again later. usher.once_timeout after it was begun, the next one "
							"who asks takes it over.")));
}

PG_FUNCTION_INFO_V1(usher_once);
Datum
usher_once(PG_FUNCTION_ARGS)
{
	text *name = checked_name(PG_GETARG_DATUM(0), PG_ARGISNULL(0));
	bytea *fingerprint = checked_fingerprint(PG_GETARG_DATUM(1), PG_ARGISNULL(1));
	int64 ttl_us = ttl_argument(fcinfo, 2);
	bool wait = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	UsherOnceKey key;
	UsherKeys keys;
	UsherKeyRow found = {0};
	UsherOnceState state;
	TupleDesc desc;
	Datum values[2] = {0};
	bool nulls[2] = {0};

	check_state();
	key = usher_once_key(usher_current_tenant_id(), name);
	if (!usher_key_lock(&key, wait))
		refuse_to_wait(name);
	usher_keys_open(&keys);
	state = usher_once_claim(&keys, &key, fingerprint, ttl_us, &found);
	usher_keys_close(&keys);
	count_answer(state);
	refuse(state, name, &found);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("usher.once must return a row")));
	values[0] = BoolGetDatum(state == ONCE_FRESH);
	nulls[1] = state == ONCE_FRESH || found.response == NULL;
	if (!nulls[1])
		values[1] = JsonbPGetDatum(found.response);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(usher_once_done);
Datum
usher_once_done(PG_FUNCTION_ARGS)
{
	text *name = checked_name(PG_GETARG_DATUM(0), PG_ARGISNULL(0));
	Jsonb *response = PG_ARGISNULL(1) ? NULL : checked_response(PG_GETARG_JSONB_P(1));
	UsherOnceKey key;
	UsherKeys keys;
	UsherKeyRow *row;

	check_state();
	key = usher_once_key(usher_current_tenant_id(), name);
	if (!usher_once_is_claimed(&key))
		(void) usher_key_lock(&key, true);
	usher_keys_open(&keys);
	row = usher_once_respond(&keys, &key, response);
	usher_keys_close(&keys);
	if (row)
		usher_key_rows_insert(&row, 1);
	PG_RETURN_VOID();
}

/* ---- many ---- */

/* One of many, with its place in the call. */
typedef struct KeyItem
{
	UsherOnceKey key;
	int i;
} KeyItem;

static int
compare_names(const text *a, const text *b)
{
	int alen = VARSIZE_ANY_EXHDR(a), blen = VARSIZE_ANY_EXHDR(b);
	int order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(alen, blen));

	return order != 0 ? order : alen - blen;
}

static int
compare_items(const void *a, const void *b)
{
	const KeyItem *x = a, *y = b;
	int names;

	if (x->key.hash != y->key.hash)
		return x->key.hash < y->key.hash ? -1 : 1;
	names = compare_names(x->key.name, y->key.name);
	return names != 0 ? names : x->i - y->i; /* of equal keys the first is the one that counts */
}

/* The keys of the call, sorted: locked and looked up in one order by everybody. */
static KeyItem *
items_argument(FunctionCallInfo fcinfo, int *n)
{
	int32 tenant_id = usher_current_tenant_id();
	Datum *values;
	bool *nulls;
	KeyItem *items;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the array of keys is null")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  n);
	items = palloc_array(KeyItem, Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		items[i].key = usher_once_key(tenant_id, checked_name(values[i], nulls[i]));
		items[i].i = i;
	}
	qsort(items, *n, sizeof(KeyItem), compare_items);
	return items;
}

static void
array_argument(FunctionCallInfo fcinfo, int arg, Oid type, int expected, const char *what,
			   Datum **values, bool **nulls)
{
	int n;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("the array of %s is null", what)));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), type, -1, false, TYPALIGN_INT, values, nulls, &n);
	if (n != expected)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("there are %d keys and %d %s", expected, n, what)));
}

typedef struct Answer
{
	const char *state;
	Jsonb *response;
} Answer;

static void
put_answers(FunctionCallInfo fcinfo, const Answer *answers, int n)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Datum values[3] = {Int32GetDatum(i + 1), CStringGetTextDatum(answers[i].state),
						   JsonbPGetDatum(answers[i].response)};
		bool nulls[3] = {false, false, answers[i].response == NULL};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(usher_once_many);
Datum
usher_once_many(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {
		[ONCE_FRESH] = "fresh",
		[ONCE_DONE] = "done",
		[ONCE_CONFLICT] = "conflict",
		[ONCE_IN_PROGRESS] = "in_progress",
	};
	int64 ttl_us = ttl_argument(fcinfo, 2);
	bool wait = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	KeyItem *items;
	Datum *fingerprints;
	bool *nulls, *locked;
	int n;
	UsherKeys keys;
	Answer *answers;

	check_state();
	items = items_argument(fcinfo, &n);
	array_argument(fcinfo, 1, BYTEAOID, n, "fingerprints", &fingerprints, &nulls);
	for (int i = 0; i < n; i++)
		(void) checked_fingerprint(fingerprints[i], nulls[i]);
	answers = palloc0_array(Answer, Max(n, 1));
	locked = palloc_array(bool, Max(n, 1));
	for (int i = 0; i < n; i++)
		locked[i] = usher_key_lock(&items[i].key, wait);
	usher_keys_open(&keys);
	for (int i = 0; i < n; i++)
	{
		Answer *answer = &answers[items[i].i];
		bytea *fingerprint = DatumGetByteaPP(fingerprints[items[i].i]);
		UsherKeyRow found = {0};
		UsherOnceState state = ONCE_IN_PROGRESS;

		if (locked[i])
			state = usher_once_claim(&keys, &items[i].key, fingerprint, ttl_us, &found);
		count_answer(state);
		answer->state = names[state];
		answer->response = state == ONCE_DONE ? found.response : NULL;
	}
	usher_keys_close(&keys);
	put_answers(fcinfo, answers, n);
	return (Datum) 0;
}

static void
check_distinct(const KeyItem *items, int n)
{
	for (int i = 1; i < n; i++)
		if (compare_names(items[i].key.name, items[i - 1].key.name) == 0)
			ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
							errmsg("idempotency key \"%s\" stands twice in one call",
								   text_to_cstring(items[i].key.name))));
}

PG_FUNCTION_INFO_V1(usher_once_done_many);
Datum
usher_once_done_many(PG_FUNCTION_ARGS)
{
	KeyItem *items;
	Datum *responses;
	bool *nulls;
	int n, nrows = 0;
	UsherKeys keys;
	UsherKeyRow **rows;

	check_state();
	items = items_argument(fcinfo, &n);
	array_argument(fcinfo, 1, TEXTOID, n, "responses", &responses, &nulls);
	check_distinct(items, n);
	for (int i = 0; i < n; i++)
		if (!usher_once_is_claimed(&items[i].key))
			(void) usher_key_lock(&items[i].key, true);
	rows = palloc_array(UsherKeyRow *, Max(n, 1));
	usher_keys_open(&keys);
	for (int i = 0; i < n; i++)
	{
		int at = items[i].i;
		Jsonb *response = NULL;

		if (!nulls[at])
			response = checked_response(DatumGetJsonbP(DirectFunctionCall1(
				jsonb_in, CStringGetDatum(TextDatumGetCString(responses[at])))));
		rows[nrows] = usher_once_respond(&keys, &items[i].key, response);
		if (rows[nrows] != NULL)
			nrows++;
	}
	usher_keys_close(&keys);
	if (nrows > 0)
		usher_key_rows_insert(rows, nrows);
	PG_RETURN_VOID();
}
