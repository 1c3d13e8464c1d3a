/*
 * test/unit/reservations.c
 *	  A group of reservations as a parameter of PostgreSQL, and rows of results: what is in them, and what is none.
 *
 * unit sources: gateway/reservations.c gateway/batch_row.c -lpq
 */
#include "lib/pgbinary.h"
#include "reservations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define COLUMNS      12
#define ELEMENTS_MAX 500

Oid
db_type(const char *name)
{
	return strstr(name, "[]") ? 90003 : strstr(name, "item") ? 90002 : 90001;
}

static Slice
of(const char *text)
{
	return (Slice){text, strlen(text)};
}

/* ---- what is sent ---- */

static bool
next_is(BinaryItems *fields, uint32_t type, Slice wanted)
{
	Slice value;

	return binary_next(fields, &value) && fields->type == type &&
		   (value.data == NULL) == (wanted.data == NULL) && value.len == wanted.len &&
		   (wanted.len == 0 || memcmp(value.data, wanted.data, wanted.len) == 0);
}

static bool
next_number(BinaryItems *fields, int64_t wanted)
{
	Slice value;
	int64_t number = 0;
	int32_t small = 0;

	if (!binary_next(fields, &value))
		return false;
	if (fields->type == BINARY_INT4)
		return binary_read_int32(value, &small) && small == wanted;
	return fields->type == BINARY_INT8 && binary_read_int64(value, &number) && number == wanted;
}

/* BOOLOID */
static bool
next_option(BinaryItems *fields, bool wanted)
{
	return next_is(fields, 16, wanted ? (Slice){"\1", 1} : (Slice){NULL, 0});
}

static const char *fault; /* of the group, the first */

static void
holds(bool passed, const char *what)
{
	if (!passed && fault == NULL)
		fault = what;
}

static void
test_item(Slice value, const ReserveItem *item)
{
	BinaryItems fields, seats;
	Slice array;

	holds(binary_open_record(&fields, value) && fields.n == 6 && next_number(&fields, item->zone),
		  "an item's zone");
	holds(item->price_type == 0 ? next_is(&fields, BINARY_INT8, (Slice){NULL, 0})
								: next_number(&fields, item->price_type),
		  "its price, null when none was named");
	holds(next_number(&fields, item->quantity), "its quantity");
	holds(binary_next(&fields, &array) && (array.data == NULL) == (item->seats == NULL),
		  "its seats, null when none were named");
	holds(next_option(&fields, item->accessible) && next_option(&fields, item->split) &&
			  binary_done(&fields),
		  "what is wanted of seats that are not named");
	if (item->seats == NULL)
		return;
	holds(binary_open_array(&seats, array) && seats.n == item->nseats && seats.type == BINARY_TEXT,
		  "an array of them");
	for (int i = 0; i < item->nseats; i++)
		holds(next_is(&seats, BINARY_TEXT, item->seats[i]), "a seat's label");
	holds(binary_done(&seats), "and no more");
}

static void
test_request(Slice value, const Reservation *r)
{
	BinaryItems fields, items;
	Slice array, item, ttl, metadata;
	int64_t microseconds = 0;

	holds(binary_open_record(&fields, value) && fields.n == 7 &&
			  next_is(&fields, BINARY_TEXT, of(r->element.tenant)) &&
			  next_is(&fields, BINARY_TEXT, r->element.user) && next_number(&fields, r->show),
		  "tenant, user, show");
	holds(binary_next(&fields, &array) && fields.type == 90003 &&
			  binary_open_array(&items, array) && items.type == 90002 && items.n == r->nitems,
		  "items");
	for (int i = 0; i < r->nitems && binary_next(&items, &item); i++)
		test_item(item, &r->items[i]);
	holds(binary_done(&items) && next_is(&fields, BINARY_TEXT, r->element.key), "the key");
	holds(binary_next(&fields, &ttl) && (r->ttl_seconds == 0 ? ttl.data == NULL : ttl.len == 16),
		  "the ttl, null for the usual one");
	if (ttl.data != NULL)
		holds(binary_read_int64((Slice){ttl.data, 8}, &microseconds) &&
				  microseconds == r->ttl_seconds * 1000000,
			  "in microseconds");
	holds(binary_next(&fields, &metadata) &&
			  (metadata.data == NULL) == (r->metadata.data == NULL) &&
			  (metadata.data == NULL ||
			   (metadata.data[0] == 1 && metadata.len == r->metadata.len + 1)) &&
			  binary_done(&fields),
		  "metadata");
}

static void
test_group(int n, bool tokens)
{
	static const Slice seats[] = {{"A1", 2}, {"", 0}, {"\xc3\xa9", 2}};
	static const ReserveItem items[] = {
		{.zone = INT64_MAX, .quantity = 1, .accessible = true},
		{.zone = 2, .quantity = 2, .split = true},
		{.zone = -5, .price_type = 7, .quantity = 3, .seats = seats, .nseats = 3},
		{.zone = 1, .quantity = INT32_MAX, .seats = seats, .nseats = 0},
	};
	Batch *batch = calloc(1, sizeof(Batch) + (size_t) n * sizeof(Element *));
	Text *parameters = batch->parameters;
	size_t bytes = 0;
	BinaryItems requests, list;
	Slice value;
	char what[200];

	fault = NULL;
	batch->n = n;
	for (int i = 0; i < n; i++)
	{
		Reservation *r = calloc(1, sizeof(Reservation));

		*r = (Reservation){.element.tenant = "t", .element.user = of("u"), .show = i - 1};
		batch->elements[i] = &r->element;
		r->items = items;
		r->nitems = 1 + i % 4;
		r->element.key = i % 2 ? of("key") : (Slice){NULL, 0};
		r->ttl_seconds = i % 2 ? 0 : 86400;
		r->metadata = i % 3 ? of("{}") : (Slice){NULL, 0};
		r->token = tokens && i % 2 == 0 ? of("token") : (Slice){NULL, 0};
		holds(reserve_kind.measure(&r->element), "it is text");
		holds(r->element.repeatable == (i % 2 != 0), "with a key it can be told again");
		bytes += r->element.bytes;
	}
	reserve_kind.write(batch);
	holds(binary_open_array(&requests, (Slice){parameters[0].data, parameters[0].len}) &&
			  requests.n == n && requests.type == 90001,
		  "an array of requests");
	for (int i = 0; i < n && binary_next(&requests, &value); i++)
		test_request(value, (Reservation *) batch->elements[i]);
	holds(binary_done(&requests), "and nothing behind it");
	holds(parameters[0].len + parameters[1].len <= bytes + 20 + (size_t) n * 4,
		  "no more bytes than were measured");
	holds((parameters[1].len > 0) == tokens, "tokens are sent when there is one");
	if (tokens)
	{
		holds(binary_open_array(&list, (Slice){parameters[1].data, parameters[1].len}) &&
				  list.n == n,
			  "a token for each");
		for (int i = 0; i < n; i++)
			holds(next_is(&list, BINARY_TEXT, ((Reservation *) batch->elements[i])->token),
				  "its token, or null");
	}
	snprintf(what, sizeof(what), "%d requests%s are sent as they are%s%s", n,
			 tokens ? " with tokens" : "", fault ? ": " : "", fault ? fault : "");
	ok(fault == NULL, what);
	for (int i = 0; i < n; i++)
		free(batch->elements[i]);
	text_free(&parameters[0]);
	text_free(&parameters[1]);
	free(batch);
}

/* ---- what comes ---- */

/* Of column 11. */
static Slice
booking_value(void)
{
	return of("{\"status\": \"reserved\"}");
}

static PGresult *
made(const Slice *values, int columns)
{
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc descriptions[COLUMNS + 1];

	memset(descriptions, 0, sizeof(descriptions));
	for (int i = 0; i < columns; i++)
		descriptions[i] = (PGresAttDesc){.name = (char *) (uintptr_t) "c", .format = 1};
	PQsetResultAttrs(result, columns, descriptions);
	for (int i = 0; i < columns; i++)
		PQsetvalue(result, 0, i, (char *) (uintptr_t) values[i].data,
				   values[i].data ? (int) values[i].len : -1);
	return result;
}

static ReserveResult *told;

static void
on_done(Reservation *reservation, const ReserveResult *result)
{
	(void) reservation;
	*told = *result;
}

static bool
read_row(const Slice *values, int columns, int n, int *element, ReserveResult *outcome)
{
	static PGresult *last; /* the outcome points into it */
	static const Batch batch = {.last = 7};
	Reservation reservation = {.done = on_done};
	BatchResult known;

	PQclear(last);
	last = made(values, columns);
	told = outcome;
	return PQnfields(last) == reserve_kind.columns && batch_read_row(last, 0, n, element, &known) &&
		   reserve_kind.row(&batch, &reservation.element, last, 0, &known);
}

static void
test_granted(void)
{
	Slice row[COLUMNS + 1] = {{"\0\0\0\2", 4}};
	ReserveResult outcome;
	int element = -1;

	row[5] = (Slice){"\0", 1};
	row[9] = (Slice){"0123456789abcdef", 16};
	row[10] = of("7Q2M8ZK4T1XC");
	row[11] = booking_value();
	ok(read_row(row, COLUMNS, 3, &element, &outcome) && element == 2 &&
		   outcome.known.outcome == BATCH_DONE && !outcome.known.replayed && outcome.position == -1,
	   "a booking");
	ok(outcome.id.len == 16 && slice_is(outcome.code, "7Q2M8ZK4T1XC") &&
		   slice_is(outcome.booking, "{\"status\": \"reserved\"}"),
	   "its id, code, and itself");
	row[5] = (Slice){"\1", 1};
	ok(read_row(row, COLUMNS, 3, &element, &outcome) && outcome.known.replayed, "a repeat");
	ok(!read_row(row, COLUMNS, 2, &element, &outcome), "an element behind the last");
	ok(!read_row(row, COLUMNS - 1, 3, &element, &outcome), "a column is missing");
	ok(!read_row(row, COLUMNS + 1, 3, &element, &outcome), "a column more");
	row[0] = (Slice){"\xff\xff\xff\xff", 4};
	ok(!read_row(row, COLUMNS, 3, &element, &outcome), "an element in front of the first");
	row[0] = (Slice){"\0\0\2", 3};
	ok(!read_row(row, COLUMNS, 3, &element, &outcome), "an element that is no number");
	row[0] = (Slice){NULL, 0};
	ok(!read_row(row, COLUMNS, 3, &element, &outcome), "no element");
	row[0] = (Slice){"\0\0\0\2", 4};
	for (int column = 9; column <= 11; column += 2)
	{
		Slice kept = row[column];

		row[column] = (Slice){NULL, 0};
		ok(!read_row(row, COLUMNS, 3, &element, &outcome), "a booking without id, or none");
		row[column] = (Slice){"x", 1};
		ok(!read_row(row, COLUMNS, 3, &element, &outcome), "what is no id, or no booking");
		row[column] = kept;
	}
}

static void
test_refused(void)
{
	Slice row[COLUMNS + 1] = {{"\0\0\0\0", 4}, {"US030", 5}, {"sold out", 8}};
	ReserveResult outcome;
	int element = -1;

	ok(read_row(row, COLUMNS, 1, &element, &outcome) && element == 0 &&
		   outcome.known.outcome == BATCH_REFUSED && strcmp(outcome.known.sqlstate, "US030") == 0 &&
		   strcmp(outcome.known.message, "sold out") == 0 &&
		   strcmp(outcome.known.detail, "") == 0 && outcome.remaining == -1 && !outcome.retryable &&
		   outcome.seats.data == NULL,
	   "a refusal that says little");
	row[3] = of("3 are left.");
	row[6] = (Slice){"\1", 1};
	row[7] = (Slice){"\0\0\0\0\0\0\0\3", 8};
	row[8] = of("seats");
	ok(read_row(row, COLUMNS, 1, &element, &outcome) && outcome.retryable &&
		   outcome.remaining == 3 && strcmp(outcome.known.detail, "3 are left.") == 0 &&
		   slice_is(outcome.seats, "seats"),
	   "one that says all");
	row[7] = (Slice){"\0\0\0\3", 4};
	ok(!read_row(row, COLUMNS, 1, &element, &outcome), "what is left is no number");
	row[7] = (Slice){NULL, 0};
	row[1] = of("US03");
	ok(!read_row(row, COLUMNS, 1, &element, &outcome), "an SQLSTATE that is too short");
	row[1] = of("US0300");
	ok(!read_row(row, COLUMNS, 1, &element, &outcome), "an SQLSTATE that is too long");
}

int
main(void)
{
	test_group(1, false);
	test_group(6, true);
	test_group(ELEMENTS_MAX, false);
	test_granted();
	test_refused();
	return tap_end();
}
