/*
 * extension/boxoffice/rows.c
 *	  Write what was granted: bookings, their items, and an event each.
 *
 * Everything of a batch at once, table by table and index by index.  The
 * booking's stream has a name that nobody else can know, so it needs no lock.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#define STREAM_PREFIX   "booking-"
#define STREAM_NAME_LEN (sizeof(STREAM_PREFIX) - 1 + 36)

/* ---- JSON ---- */

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue v = {.type = jbvString};

	v.val.string.val = (char *) key;
	v.val.string.len = (int) strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *s, int len)
{
	JsonbValue v = {.type = jbvString};

	v.val.string.val = (char *) s;
	v.val.string.len = len;
	(void) pushJsonbValue(state, token, &v);
}

static void
add_string(JsonbParseState **state, const char *key, const char *s)
{
	push_key(state, key);
	push_string(state, WJB_VALUE, s, (int) strlen(s));
}

static void
add_integer(JsonbParseState **state, const char *key, int64 n)
{
	JsonbValue v = {.type = jbvNumeric};

	push_key(state, key);
	v.val.numeric = int64_to_numeric(n);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static void
add_time(JsonbParseState **state, const char *key, TimestampTz at)
{
	char buffer[MAXDATELEN + 1];
	int utc = 0;

	push_key(state, key);
	(void) JsonEncodeDateTime(buffer, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
	push_string(state, WJB_VALUE, buffer, (int) strlen(buffer));
}

static void
add_seats(JsonbParseState **state, ArrayType *seats)
{
	Datum *labels;
	int n;

	deconstruct_array(seats, TEXTOID, -1, false, TYPALIGN_INT, &labels, NULL, &n);
	push_key(state, "seats");
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		text *label = DatumGetTextPP(labels[i]);

		push_string(state, WJB_ELEM, VARDATA_ANY(label), VARSIZE_ANY_EXHDR(label));
	}
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* (Keys in the order in which jsonb keeps them, shorter ones first: then they need no sorting.) */
static JsonbValue *
push_items(JsonbParseState **state, const UsherBoxRequest *r)
{
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < r->nitems; i++)
	{
		const UsherBoxItem *item = &r->items[i];

		(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		add_integer(state, "fee", item->fee);
		add_integer(state, "tax", item->tax);
		add_integer(state, "item", i + 1);
		add_integer(state, "zone", item->zone_id);
		if (item->seats)
			add_seats(state, item->seats);
		add_integer(state, "quantity", item->quantity);
		add_integer(state, "price_type", item->config.price_type_id);
		add_integer(state, "unit_price", item->config.unit_price);
		(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	return pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

Jsonb *
usher_box_items_json(const UsherBoxRequest *r)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_items(&state, r));
}

/* Data of the event; the booking's code is for the customer alone, and not in it. */
static Jsonb *
booking_json(const UsherBoxRequest *r)
{
	JsonbParseState *state = NULL;
	char *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&r->booking_id)));

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_integer(&state, "fee", r->fee);
	add_integer(&state, "tax", r->tax);
	add_integer(&state, "show", r->show_id);
	push_key(&state, "user");
	push_string(&state, WJB_VALUE, VARDATA_ANY(r->user_id), VARSIZE_ANY_EXHDR(r->user_id));
	add_integer(&state, "event", r->event_id);
	push_key(&state, "items");
	(void) push_items(&state, r);
	add_integer(&state, "total", r->total);
	add_string(&state, "status", "reserved");
	add_string(&state, "booking", id);
	add_string(&state, "currency", r->items[0].config.currency);
	add_integer(&state, "quantity", r->quantity);
	add_time(&state, "created_at", r->created_at);
	add_time(&state, "expires_at", r->expires_at);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---- rows ---- */

typedef struct Writer
{
	Relation rel;
	CatalogIndexState indexes;
	EState *estate;
	TupleTableSlot **slots;
	int n;
} Writer;

static void
writer_open(Writer *w, Oid relid, int natts, int max)
{
	w->rel = table_open(relid, RowExclusiveLock);
	Ensure(RelationGetNumberOfAttributes(w->rel) == natts,
		   "a table of the box office has other columns than this library knows");
	w->indexes = CatalogOpenIndexes(w->rel);
	w->estate = CreateExecutorState();
	w->slots = palloc_array(TupleTableSlot *, max);
	w->n = 0;
}

static void
writer_add(Writer *w, Datum *values, bool *nulls)
{
	w->slots[w->n] = MakeSingleTupleTableSlot(RelationGetDescr(w->rel), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(heap_form_tuple(RelationGetDescr(w->rel), values, nulls), w->slots[w->n],
					   true);
	w->n++;
}

static void
writer_close(Writer *w)
{
	usher_rows_insert(w->indexes, w->estate, w->slots, w->n, NULL, NULL);
	for (int i = 0; i < w->n; i++)
		ExecDropSingleTupleTableSlot(w->slots[i]);
	CatalogCloseIndexes(w->indexes);
	FreeExecutorState(w->estate);
	table_close(w->rel, NoLock);
}

static void
write_bookings(UsherBoxRequest **granted, int n)
{
	Writer w;
	Datum status = CStringGetTextDatum("reserved");

	writer_open(&w, usher_box()->bookings, BOOKING_NATTS, n);
	for (int i = 0; i < n; i++)
	{
		const UsherBoxRequest *r = granted[i];
		Datum values[BOOKING_NATTS] = {0};
		bool nulls[BOOKING_NATTS] = {0};

		values[BOOKING_TENANT_ID - 1] = Int32GetDatum(r->tenant_id);
		values[BOOKING_QUANTITY - 1] = Int32GetDatum(r->quantity);
		values[BOOKING_BOOKING_ID - 1] = UUIDPGetDatum(&r->booking_id);
		values[BOOKING_EVENT_ID - 1] = Int64GetDatum(r->event_id);
		values[BOOKING_SHOW_ID - 1] = Int64GetDatum(r->show_id);
		values[BOOKING_TOTAL - 1] = Int64GetDatum(r->total);
		values[BOOKING_TAX - 1] = Int64GetDatum(r->tax);
		values[BOOKING_FEE - 1] = Int64GetDatum(r->fee);
		values[BOOKING_REFUND_DUE - 1] = Int64GetDatum(0);
		values[BOOKING_FINGERPRINT - 1] = Int64GetDatum(r->fingerprint);
		values[BOOKING_CREATED_AT - 1] = TimestampTzGetDatum(r->created_at);
		values[BOOKING_UPDATED_AT - 1] = TimestampTzGetDatum(r->created_at);
		values[BOOKING_EXPIRES_AT - 1] = TimestampTzGetDatum(r->expires_at);
		values[BOOKING_STATUS - 1] = status;
		values[BOOKING_CURRENCY - 1] = CStringGetTextDatum(r->items[0].config.currency);
		values[BOOKING_CODE - 1] = CStringGetTextDatum(r->code);
		values[BOOKING_USER_ID - 1] = PointerGetDatum(r->user_id);
		values[BOOKING_KEY - 1] = PointerGetDatum(r->key);
		nulls[BOOKING_KEY - 1] = r->key == NULL;
		nulls[BOOKING_PAYMENT_REF - 1] = true;
		nulls[BOOKING_PROVIDER_REF - 1] = true;
		nulls[BOOKING_REASON - 1] = true;
		writer_add(&w, values, nulls);
	}
	writer_close(&w);
}

static void
write_items(UsherBoxRequest **granted, int n)
{
	Writer w;
	int total = 0;

	for (int i = 0; i < n; i++)
		total += granted[i]->nitems;
	writer_open(&w, usher_box()->items, ITEM_NATTS, total);
	for (int i = 0; i < n; i++)
		for (int k = 0; k < granted[i]->nitems; k++)
		{
			const UsherBoxItem *item = &granted[i]->items[k];
			Datum values[ITEM_NATTS] = {0};
			bool nulls[ITEM_NATTS] = {0};

			values[ITEM_TENANT_ID - 1] = Int32GetDatum(granted[i]->tenant_id);
			values[ITEM_QUANTITY - 1] = Int32GetDatum(item->quantity);
			values[ITEM_ITEM - 1] = Int32GetDatum(k + 1);
			values[ITEM_BOOKING_ID - 1] = UUIDPGetDatum(&granted[i]->booking_id);
			values[ITEM_ZONE_ID - 1] = Int64GetDatum(item->zone_id);
			values[ITEM_PRICE_TYPE_ID - 1] = Int64GetDatum(item->config.price_type_id);
			values[ITEM_UNIT_PRICE - 1] = Int64GetDatum(item->config.unit_price);
			values[ITEM_TAX - 1] = Int64GetDatum(item->tax);
			values[ITEM_FEE - 1] = Int64GetDatum(item->fee);
			values[ITEM_CANCELLED - 1] = BoolGetDatum(false);
			values[ITEM_SEATS - 1] = PointerGetDatum(item->seats);
			nulls[ITEM_SEATS - 1] = item->seats == NULL;
			writer_add(&w, values, nulls);
		}
	writer_close(&w);
}

/* ---- events ---- */

static text *
stream_name(const pg_uuid_t *id)
{
	static const char digits[] = "0123456789abcdef";
	text *name = palloc(VARHDRSZ + STREAM_NAME_LEN);
	char *at = VARDATA(name);

	SET_VARSIZE(name, VARHDRSZ + STREAM_NAME_LEN);
	memcpy(at, STREAM_PREFIX, sizeof(STREAM_PREFIX) - 1);
	at += sizeof(STREAM_PREFIX) - 1;
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[id->data[i] >> 4];
		*at++ = digits[id->data[i] & 15];
	}
	return name;
}

static void
write_events(UsherBoxRequest **granted, int n)
{
	UsherStreamKey *keys = palloc_array(UsherStreamKey, n);
	UsherStream **streams = palloc_array(UsherStream *, n);
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "usher booking event",
												  ALLOCSET_DEFAULT_SIZES);
	text *type = cstring_to_text("booking.reserved");
	Jsonb *empty = usher_empty_object();

	for (int i = 0; i < n; i++)
	{
		keys[i].tenant_id = granted[i]->tenant_id;
		keys[i].name = stream_name(&granted[i]->booking_id);
	}
	usher_streams_make(keys, streams, n);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old;
		UsherEvent event = {.tenant_id = granted[i]->tenant_id,
							.stream = streams[i],
							.type = type,
							.metadata = granted[i]->metadata ? granted[i]->metadata : empty};

		event.data = granted[i]->json = booking_json(granted[i]);
		old = MemoryContextSwitchTo(scratch);
		(void) usher_append_event(&event);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
}

void
usher_box_write(UsherBoxRequest **granted, int n)
{
	if (n == 0)
		return;
	write_bookings(granted, n);
	write_items(granted, n);
	write_events(granted, n);
	CommandCounterIncrement(); /* the next look in this transaction sees them */
}
