/*
 * extension/gateway/keys.c
 *	  Idempotency keys of the elements.
 *
 * They lie where those of usher.once do, each under a name made of the user
 * and the client's key, for a day.  A key is written with its outcome when its
 * element has written something, and not before: there are no claims without a
 * response.  Keys are locked in the order of their hashes, and who finds one
 * taken is told so at once: two gateways never wait for each other here.
 */
#include "gateway/gateway.h"

#include "metrics/metrics.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define KEPT_US USECS_PER_DAY

/* Users and keys may be as long as names: what is kept is their hash. */
void
usher_request_key(UsherRequest *request, const text *user, text *key)
{
	char *whole = psprintf("%d:%s%s", user ? (int) VARSIZE_ANY_EXHDR(user) : 0,
						   user ? text_to_cstring(user) : "", text_to_cstring(key));
	Datum hash = DirectFunctionCall1(sha256_bytea, CStringGetTextDatum(whole));
	char *hex = TextDatumGetCString(
		DirectFunctionCall2(binary_encode, hash, CStringGetTextDatum("hex")));

	request->key = usher_once_key(request->tenant_id, cstring_to_text(psprintf("gateway %s", hex)));
	request->has_key = true;
}

static int
compare_names(const text *a, const text *b)
{
	int alen = VARSIZE_ANY_EXHDR(a), blen = VARSIZE_ANY_EXHDR(b);
	int order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(alen, blen));

	return order != 0 ? order : alen - blen;
}

static int
compare_keys(const void *a, const void *b)
{
	const UsherRequest *x = *(UsherRequest *const *) a, *y = *(UsherRequest *const *) b;
	int names;

	if (x->key.hash != y->key.hash)
		return x->key.hash < y->key.hash ? -1 : 1;
	if (x->tenant_id != y->tenant_id)
		return x->tenant_id < y->tenant_id ? -1 : 1;
	names = compare_names(x->key.name, y->key.name);
	return names != 0 ? names : x->element - y->element; /* of equal keys the first one counts */
}

static bool
same_key(const UsherRequest *a, const UsherRequest *b)
{
	return a->tenant_id == b->tenant_id && compare_names(a->key.name, b->key.name) == 0;
}

static void
refuse_busy(UsherRequest *request, void *arg)
{
	usher_count(usher_db(), COUNT_ONCE_IN_PROGRESS, 1);
	ereport(ERROR, (errcode(ERRCODE_USHER_REQUEST_IN_PROGRESS),
					errmsg("a request with this idempotency key is being worked on"),
					errhint("Send it again in a moment.")));
}

static void
refuse_other_request(UsherRequest *request, void *arg)
{
	usher_count(usher_db(), COUNT_ONCE_CONFLICT, 1);
	ereport(ERROR, (errcode(ERRCODE_USHER_IDEMPOTENCY_CONFLICT),
					errmsg("the idempotency key belongs to another request"),
					errhint("Repeat a request exactly; give another request another key.")));
}

/* ---- what is kept: {"ids": [...], "versions": [...]} ---- */

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
}

static Jsonb *
outcome_of(const UsherRequest *request)
{
	JsonbParseState *state = NULL;
	JsonbValue value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "ids");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < request->nevents; i++)
	{
		value.type = jbvString;
		value.val.string.val = DatumGetCString(
			DirectFunctionCall1(uuid_out, UUIDPGetDatum(&request->events[i].event.id)));
		value.val.string.len = strlen(value.val.string.val);
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_key(&state, "versions");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < request->nevents; i++)
	{
		value.type = jbvNumeric;
		value.val.numeric = int64_to_numeric(request->events[i].version);
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static JsonbContainer *
kept_array(const UsherKeyRow *row, const char *name, int *n)
{
	JsonbValue *value = row->response == NULL || !JB_ROOT_IS_OBJECT(row->response)
							? NULL
							: getKeyJsonValueFromContainer(&row->response->root, name, strlen(name),
														   NULL);

	Ensure(value != NULL && value->type == jbvBinary &&
			   JsonContainerIsArray(value->val.binary.data),
		   "the outcome of a request was not kept as one");
	*n = JsonContainerSize(value->val.binary.data);
	return value->val.binary.data;
}

/* Positions are given at the commit, so they are not kept; 0 when retention has removed the event. */
static int64
position_of(int32 tenant_id, const pg_uuid_t *id, TimestampTz appended_at)
{
	TupleTableSlot *slot;
	bool isnull;
	int64 position;

	if (!usher_event_id_find(tenant_id, id, appended_at - USECS_PER_HOUR, &slot) &&
		!usher_event_id_find_generated(tenant_id, id, &slot))
		return 0;
	position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	ExecDropSingleTupleTableSlot(slot);
	return position;
}

static void
replay(UsherRequest *request, const UsherKeyRow *row)
{
	int n, nversions;
	JsonbContainer *ids = kept_array(row, "ids", &n);
	JsonbContainer *versions = kept_array(row, "versions", &nversions);

	Ensure(n == nversions, "the outcome of a request has ids without versions");
	request->replayed = true;
	request->nevents = n;
	request->events = palloc0_array(UsherRequestEvent, Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		UsherRequestEvent *e = &request->events[i];
		JsonbValue *id = getIthJsonbValueFromContainer(ids, i);
		JsonbValue *version = getIthJsonbValueFromContainer(versions, i);
		char *text = pnstrdup(id->val.string.val, id->val.string.len);

		e->event.id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
		e->version = DatumGetInt64(
			DirectFunctionCall1(numeric_int8, NumericGetDatum(version->val.numeric)));
		e->position = position_of(request->tenant_id, &e->event.id, row->created_at);
	}
	usher_count(usher_db(), COUNT_ONCE_REPEATED, 1);
}

/* ---- the elements of a call ---- */

static void
look_up(UsherRequest *request, UsherKeys *keys)
{
	UsherKeyRow row;

	if (!usher_key_find(keys, &request->key, keys->now, &row))
	{
		usher_count(usher_db(), COUNT_ONCE_FRESH, 1);
		return;
	}
	if (VARSIZE_ANY_EXHDR(row.fingerprint) != VARSIZE_ANY_EXHDR(request->fingerprint) ||
		memcmp(VARDATA_ANY(row.fingerprint), VARDATA_ANY(request->fingerprint),
			   VARSIZE_ANY_EXHDR(row.fingerprint)) != 0)
		(void) usher_request_try(request, refuse_other_request, NULL);
	else if (!row.done)
		(void) usher_request_try(request, refuse_busy, NULL);
	else
		replay(request, &row);
}

/* Lock the keys of all elements; who has been answered before is now replayed, or refused. */
void
usher_request_keys_lock(UsherRequest *requests, int n)
{
	UsherRequest **sorted = palloc_array(UsherRequest *, Max(n, 1));
	UsherKeys keys;
	int count = 0;

	for (int i = 0; i < n; i++)
		if (requests[i].has_key && requests[i].refusal == NULL)
			sorted[count++] = &requests[i];
	if (count == 0)
		return;
	qsort(sorted, count, sizeof(UsherRequest *), compare_keys);
	for (int i = 0; i < count; i++)
		if ((i > 0 && same_key(sorted[i - 1], sorted[i])) ||
			!usher_key_lock(&sorted[i]->key, false))
			(void) usher_request_try(sorted[i], refuse_busy, NULL);
	usher_keys_open(&keys);
	for (int i = 0; i < count; i++)
		if (sorted[i]->refusal == NULL)
			look_up(sorted[i], &keys);
	usher_keys_close(&keys);
	pfree(sorted);
}

/* Keep the outcomes of those who wrote something, in this transaction. */
void
usher_request_keys_write(UsherRequest *requests, int n)
{
	UsherKeyRow **rows = palloc_array(UsherKeyRow *, Max(n, 1));
	TimestampTz now = GetCurrentTimestamp();
	int count = 0;

	for (int i = 0; i < n; i++)
	{
		UsherRequest *request = &requests[i];
		UsherKeyRow *row;

		if (!request->has_key || request->refusal != NULL || request->replayed)
			continue;
		row = palloc0_object(UsherKeyRow);
		row->key = request->key;
		row->fingerprint = request->fingerprint;
		row->created_at = now;
		row->expires_at = now + KEPT_US;
		row->done = true;
		row->response = outcome_of(request);
		rows[count++] = row;
	}
	if (count > 0)
		usher_key_rows_insert(rows, count);
	pfree(rows);
}
