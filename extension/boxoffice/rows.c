/*
 * extension/boxoffice/rows.c
 *	  Write what was granted: bookings, their items, and an event each.
 *
 * Everything of a batch at once, table by table and index by index.  The
 * booking's stream has a name that nobody else can know, so it needs no lock.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define STREAM_PREFIX   "booking-"
#define STREAM_NAME_LEN (sizeof(STREAM_PREFIX) - 1 + USHER_UUID_LEN)

/* ---- rows ---- */

static void
write_bookings(UsherBoxRequest **granted, int n)
{
	UsherBoxWriter w;
	Datum status = CStringGetTextDatum("reserved");

	usher_box_writer_open(&w, usher_box()->bookings, BOOKING_NATTS);
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
		usher_box_writer_insert(&w, values, nulls);
	}
	usher_box_writer_close(&w);
}

static void
write_items(UsherBoxRequest **granted, int n)
{
	UsherBoxWriter w;

	usher_box_writer_open(&w, usher_box()->items, ITEM_NATTS);
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
			usher_box_writer_insert(&w, values, nulls);
		}
	usher_box_writer_close(&w);
}

/* ---- events ---- */

/* Without a terminating null. */
void
usher_box_uuid_text(const pg_uuid_t *id, char *at)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[id->data[i] >> 4];
		*at++ = digits[id->data[i] & 15];
	}
}

text *
usher_box_stream_name(const pg_uuid_t *id)
{
	text *name = palloc(VARHDRSZ + STREAM_NAME_LEN);

	SET_VARSIZE(name, VARHDRSZ + STREAM_NAME_LEN);
	memcpy(VARDATA(name), STREAM_PREFIX, sizeof(STREAM_PREFIX) - 1);
	usher_box_uuid_text(id, VARDATA(name) + sizeof(STREAM_PREFIX) - 1);
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
		keys[i].name = usher_box_stream_name(&granted[i]->booking_id);
	}
	usher_streams_make(keys, streams, n);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old;
		UsherEvent event = {.tenant_id = granted[i]->tenant_id,
							.stream = streams[i],
							.type = type,
							.metadata = granted[i]->metadata ? granted[i]->metadata : empty};

		old = MemoryContextSwitchTo(scratch);
		event.data = usher_box_booking_json(granted[i]);
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
