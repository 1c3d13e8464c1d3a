/*
 * gateway/reserve_message.c
 *	  A group of reservations as the parameter of boxoffice.reserve_many, and its results.
 *
 * Both in PostgreSQL's binary format.  The order of fields is that of the types
 * boxoffice.reserve_request and boxoffice.reserve_item, and of reserve_sql.
 */
#include <string.h>

#include "lib/pgbinary.h"
#include "reserve_room.h"

#define REQUEST_FIELDS 7
#define ITEM_FIELDS    6
#define REQUEST_BYTES  256 /* of most */

#define TYPE_BOOL       16
#define TYPE_INTERVAL   1186
#define TYPE_JSONB      3802
#define TYPE_TEXT_ARRAY 1009

const char reserve_sql[] =
	"SELECT element, sqlstate, message, detail, retryable, remaining, seats, replayed, booking_id, code, booking"
	" FROM boxoffice.reserve_many($1, $2)";

enum
{
	COLUMN_ELEMENT,
	COLUMN_SQLSTATE,
	COLUMN_MESSAGE,
	COLUMN_DETAIL,
	COLUMN_RETRYABLE,
	COLUMN_REMAINING,
	COLUMN_SEATS,
	COLUMN_REPLAYED,
	COLUMN_BOOKING_ID,
	COLUMN_CODE,
	COLUMN_BOOKING,
	COLUMNS
};

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

static void
write_tokens(ReserveGroup *group)
{
	Text *text = &group->tokens;

	group->has_tokens = false;
	for (int i = 0; i < group->n; i++)
		group->has_tokens = group->has_tokens || group->elements[i]->token.data != NULL;
	text->len = 0;
	if (!group->has_tokens)
		return;
	binary_array(text, BINARY_TEXT, group->n);
	for (int i = 0; i < group->n; i++)
	{
		Slice token = group->elements[i]->token;
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

void
reserve_message_write(ReserveGroup *group)
{
	Text *text = &group->parameter;
	Oid item_type = db_type("boxoffice.reserve_item");
	Oid items_type = db_type("boxoffice.reserve_item[]");

	write_tokens(group);
	text->len = 0;
	text_reserve(text, (size_t) group->n * REQUEST_BYTES);
	binary_array(text, db_type("boxoffice.reserve_request"), group->n);
	for (int i = 0; i < group->n; i++)
	{
		const Reservation *r = group->elements[i];
		size_t begin = binary_begin(text), items;

		binary_record(text, REQUEST_FIELDS);
		binary_field(text, BINARY_TEXT, (Slice){r->tenant, strlen(r->tenant)});
		binary_field(text, BINARY_TEXT, r->user);
		binary_field_int64(text, false, r->show);
		items = binary_field_begin(text, items_type);
		binary_array(text, item_type, r->nitems);
		for (int k = 0; k < r->nitems; k++)
			write_item(text, &r->items[k]);
		binary_end(text, items);
		binary_field(text, BINARY_TEXT, r->key);
		write_ttl(text, r->ttl_seconds);
		write_metadata(text, r->metadata);
		binary_end(text, begin);
	}
}

/* ---- results ---- */

static Slice
column(const PGresult *result, int row, int number)
{
	if (PQgetisnull(result, row, number))
		return (Slice){NULL, 0};
	return (Slice){PQgetvalue(result, row, number), (size_t) PQgetlength(result, row, number)};
}

static bool
column_true(const PGresult *result, int row, int number)
{
	Slice value = column(result, row, number);

	return value.len == 1 && value.data[0] != 0;
}

/* libpq ends a value with a zero byte. */
static const char *
column_text(const PGresult *result, int row, int number)
{
	return PQgetisnull(result, row, number) ? "" : PQgetvalue(result, row, number);
}

bool
reserve_message_read(const PGresult *result, int row, int n, int *element, ReserveResult *outcome)
{
	Slice sqlstate, remaining;
	int32_t number;

	if (PQnfields(result) != COLUMNS ||
		!binary_read_int32(column(result, row, COLUMN_ELEMENT), &number) || number < 0 ||
		number >= n)
		return false;
	*element = number;
	*outcome = (ReserveResult){.remaining = -1, .position = -1, .message = "", .detail = ""};
	sqlstate = column(result, row, COLUMN_SQLSTATE);
	if (sqlstate.data == NULL)
	{
		outcome->outcome = RESERVE_DONE;
		outcome->replayed = column_true(result, row, COLUMN_REPLAYED);
		outcome->id = column(result, row, COLUMN_BOOKING_ID);
		outcome->code = column(result, row, COLUMN_CODE);
		outcome->booking = column(result, row, COLUMN_BOOKING);
		return outcome->id.len == 16 && outcome->booking.len >= 2 &&
			   outcome->booking.data[0] == '{';
	}
	if (sqlstate.len != 5)
		return false;
	outcome->outcome = RESERVE_REFUSED;
	memcpy(outcome->sqlstate, sqlstate.data, 5);
	outcome->message = column_text(result, row, COLUMN_MESSAGE);
	outcome->detail = column_text(result, row, COLUMN_DETAIL);
	outcome->retryable = column_true(result, row, COLUMN_RETRYABLE);
	outcome->seats = column(result, row, COLUMN_SEATS);
	remaining = column(result, row, COLUMN_REMAINING);
	return remaining.data == NULL || binary_read_int64(remaining, &outcome->remaining);
}
