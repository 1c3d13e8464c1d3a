/*
 * gateway/reservations.c
 *	  Reservations as elements of batches: a batch as the parameters of boxoffice.reserve_many, and its results.
 *
 * Both in PostgreSQL's binary format.  The order of fields is that of the types
 * boxoffice.reserve_request and boxoffice.reserve_item, and of the statement.
 */
#include "reservations.h"

#include <string.h>

#include "lib/pgbinary.h"

#define REQUEST_FIELDS 7
#define ITEM_FIELDS    6

/* A length, the fields' heads and what is around them; see reserve_write(). */
#define REQUEST_BYTES (16 + REQUEST_FIELDS * 8 + 20 + 32)
#define ITEM_BYTES    (8 + ITEM_FIELDS * 8 + 20 + 20)

#define TYPE_BOOL       16
#define TYPE_INTERVAL   1186
#define TYPE_JSONB      3802
#define TYPE_TEXT_ARRAY 1009

/* false: no text. */
static bool
measure_text(Element *element, Slice text)
{
	element->bytes += text.len;
	return slice_is_text(text);
}

static bool
reserve_measure(Element *element)
{
	const Reservation *r = (const Reservation *) element;

	element->bytes = REQUEST_BYTES + (size_t) r->nitems * ITEM_BYTES;
	element->events = 1;
	element->repeatable = element->key.data != NULL;
	for (int i = 0; i < r->nitems; i++)
		for (int k = 0; k < r->items[i].nseats; k++)
		{
			element->bytes += sizeof(int32_t);
			if (!measure_text(element, r->items[i].seats[k]))
				return false;
		}
	return measure_text(element, (Slice){element->tenant, strlen(element->tenant)}) &&
		   measure_text(element, element->user) && measure_text(element, element->key) &&
		   measure_text(element, r->metadata) && measure_text(element, r->token);
}

/* A user is locked; and an error is rather of one than of all who want something of the show. */
static bool
reserve_trait(const Element *element, int i, bool *locks, Slice *name)
{
	*locks = i != 0;
	*name = element->user;
	return i < 2;
}

static void
write_seats(Text *text, const ReserveItem *item)
{
	size_t begin;

	if (item->seats == NULL)
	{
		binary_field(text, TYPE_TEXT_ARRAY, (Slice){NULL, 0});
		return;
	}
	begin = binary_field_begin(text, TYPE_TEXT_ARRAY);
	binary_array(text, BINARY_TEXT, item->nseats);
	for (int i = 0; i < item->nseats; i++)
	{
		size_t seat = binary_begin(text);

		text_add(text, item->seats[i].data, item->seats[i].len);
		binary_end(text, seat);
	}
	binary_end(text, begin);
}

static void
write_option(Text *text, bool wanted)
{
	binary_field(text, TYPE_BOOL, wanted ? (Slice){"\1", 1} : (Slice){NULL, 0});
}

static void
write_item(Text *text, const ReserveItem *item)
{
	size_t begin = binary_begin(text);

	binary_record(text, ITEM_FIELDS);
	binary_field_int64(text, false, item->zone);
	binary_field_int64(text, item->price_type == 0, item->price_type);
	binary_int32(text, BINARY_INT4);
	binary_int32(text, 4);
	binary_int32(text, (int32_t) item->quantity);
	write_seats(text, item);
	write_option(text, item->accessible);
	write_option(text, item->split);
	binary_end(text, begin);
}

static void
write_ttl(Text *text, int64_t seconds)
{
	size_t begin;

	if (seconds == 0)
	{
		binary_field(text, TYPE_INTERVAL, (Slice){NULL, 0});
		return;
	}
	begin = binary_field_begin(text, TYPE_INTERVAL);
	binary_int64(text, seconds * 1000000);
	binary_int32(text, 0); /* days */
	binary_int32(text, 0); /* months */
	binary_end(text, begin);
}

static void
write_metadata(Text *text, Slice metadata)
{
	size_t begin;

	if (metadata.data == NULL)
	{
		binary_field(text, TYPE_JSONB, metadata);
		return;
	}
	begin = binary_field_begin(text, TYPE_JSONB);
	text_char(text, 1); /* the format's version */
	text_add(text, metadata.data, metadata.len);
	binary_end(text, begin);
}

/* Of all, if there is one. */
static void
write_tokens(const Batch *batch, Text *text)
{
	bool any = false;

	for (int i = 0; i < batch->n; i++)
		any = any || ((const Reservation *) batch->elements[i])->token.data != NULL;
	if (!any)
		return;
	binary_array(text, BINARY_TEXT, batch->n);
	for (int i = 0; i < batch->n; i++)
	{
		Slice token = ((const Reservation *) batch->elements[i])->token;
		size_t begin;

		if (token.data == NULL)
		{
			binary_null(text);
			continue;
		}
		begin = binary_begin(text);
		text_add(text, token.data, token.len);
		binary_end(text, begin);
	}
}

static void
reserve_write(Batch *batch)
{
	Text *text = &batch->parameters[0];
	Oid item_type = db_type("boxoffice.reserve_item");
	Oid items_type = db_type("boxoffice.reserve_item[]");

	write_tokens(batch, &batch->parameters[1]);
	binary_array(text, db_type("boxoffice.reserve_request"), batch->n);
	for (int i = 0; i < batch->n; i++)
	{
		const Element *element = batch->elements[i];
		const Reservation *r = (const Reservation *) element;
		size_t begin = binary_begin(text), items;

		binary_record(text, REQUEST_FIELDS);
		binary_field(text, BINARY_TEXT, (Slice){element->tenant, strlen(element->tenant)});
		binary_field(text, BINARY_TEXT, element->user);
		binary_field_int64(text, false, r->show);
		items = binary_field_begin(text, items_type);
		binary_array(text, item_type, r->nitems);
		for (int k = 0; k < r->nitems; k++)
			write_item(text, &r->items[k]);
		binary_end(text, items);
		binary_field(text, BINARY_TEXT, element->key);
		write_ttl(text, r->ttl_seconds);
		write_metadata(text, r->metadata);
		binary_end(text, begin);
	}
}

/* ---- results ---- */

enum
{
	COLUMN_RETRYABLE = BATCH_COLUMNS,
	COLUMN_REMAINING,
	COLUMN_SEATS,
	COLUMN_BOOKING_ID,
	COLUMN_CODE,
	COLUMN_BOOKING,
	COLUMNS
};

static bool
reserve_row(const Batch *batch, Element *element, const PGresult *result, int row,
			const BatchResult *known)
{
	Reservation *reservation = (Reservation *) element;
	Slice remaining = batch_value(result, row, COLUMN_REMAINING);
	ReserveResult reserved = {
		.known = *known, .position = batch->range_known ? batch->last : -1, .remaining = -1};

	if (known->outcome == BATCH_DONE)
	{
		reserved.id = batch_value(result, row, COLUMN_BOOKING_ID);
		reserved.code = batch_value(result, row, COLUMN_CODE);
		reserved.booking = batch_value(result, row, COLUMN_BOOKING);
		if (reserved.id.len != 16 || reserved.booking.len < 2 || reserved.booking.data[0] != '{')
			return false;
	}
	else
	{
		reserved.retryable = batch_value_true(result, row, COLUMN_RETRYABLE);
		reserved.seats = batch_value(result, row, COLUMN_SEATS);
		if (remaining.data != NULL && !binary_read_int64(remaining, &reserved.remaining))
			return false;
	}
	reservation->done(reservation, &reserved);
	return true;
}

static void
reserve_end(Element *element, const BatchResult *result)
{
	Reservation *reservation = (Reservation *) element;
	ReserveResult reserved = {.known = *result, .position = -1, .remaining = -1};

	reservation->done(reservation, &reserved);
}

BatchKind reserve_kind = {
	.statement = {"reserve_many",
				  "SELECT element, sqlstate, message, detail, hint, replayed, retryable,"
				  " remaining, seats, booking_id, code, booking"
				  " FROM boxoffice.reserve_many($1, $2)",
				  2, true},
	.columns = COLUMNS,
	.lane = LANE_RESERVE,
	.in_order = true,
	.elements_max = 500, /* what boxoffice.reserve_many takes */
	.measure = reserve_measure,
	.trait = reserve_trait,
	.write = reserve_write,
	.row = reserve_row,
	.end = reserve_end,
};
