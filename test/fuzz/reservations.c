/*
 * test/fuzz/reservations.c
 *	  Any values as a row of the results of boxoffice.reserve_many.
 *
 * What is read is whole and lies in the row; what is none is refused.
 *
 * fuzz sources: gateway/reservations.c gateway/batch_row.c -lpq
 */
#include "fuzz.h"
#include "reservations.h"

#define COLUMNS  12
#define ELEMENTS 3

const char *const usher_fuzz_words[] = {"\x01\x80",
										"\x05"
										"US030",
										"\x04\x80\x01",
										"\x04\x80\x02",
										"\x10"
										"0123456789abcdef",
										"\x08\x80\x80\x80\x03",
										"\x02{}",
										"\xff",
										NULL};

Oid
db_type(const char *name)
{
	return name[0] ? 90001 : 0;
}

static bool
within(const PGresult *row, int column, Slice value)
{
	const char *at = PQgetvalue(row, 0, column);

	return value.data == NULL ||
		   (value.data >= at && value.data + value.len <= at + PQgetlength(row, 0, column));
}

/* A value is its length and its bytes, where 0x80 stands for three zeros; 0xff is a null. */
static void
set_value(PGresult *row, int column, Input *in)
{
	char bytes[255 * 3];
	size_t len, n = 0;
	char *raw;

	if (in->at == in->end || *in->at == 0xff)
	{
		PQsetvalue(row, 0, column, NULL, -1);
		in->at += in->at < in->end;
		return;
	}
	raw = input_bytes(in, &len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) raw[i] == 0x80)
		{
			memset(bytes + n, 0, 3);
			n += 3;
		}
		else
			bytes[n++] = raw[i];
	PQsetvalue(row, 0, column, bytes, (int) n);
	free(raw);
}

static ReserveResult outcome;

static void
on_done(Reservation *reservation, const ReserveResult *result)
{
	(void) reservation;
	outcome = *result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	PGresult *row = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[COLUMNS + 2];
	int n = COLUMNS + (input_number(&in, 8) == 0 ? (int) input_number(&in, 3) - 1 : 0);
	static const Batch batch = {.range_known = false};
	Reservation reservation = {.done = on_done};
	BatchResult known;
	int element = -1;

	memset(columns, 0, sizeof(columns));
	for (int i = 0; i < n; i++)
		columns[i] = (PGresAttDesc){.name = (char *) (uintptr_t) "c", .format = 1};
	PQsetResultAttrs(row, n, columns);
	for (int i = 0; i < n; i++)
		set_value(row, i, &in);
	if (n == reserve_kind.columns && batch_read_row(row, 0, ELEMENTS, &element, &known) &&
		reserve_kind.row(&batch, &reservation.element, row, 0, &known))
	{
		must(n == COLUMNS && element >= 0 && element < ELEMENTS && outcome.position == -1);
		must(outcome.known.outcome == BATCH_DONE || outcome.known.outcome == BATCH_REFUSED);
		must(outcome.known.message != NULL && outcome.known.detail != NULL);
		must(within(row, 8, outcome.seats) && within(row, 10, outcome.code));
		if (outcome.known.outcome == BATCH_DONE)
		{
			must(outcome.id.len == 16 && within(row, 9, outcome.id));
			must(outcome.booking.len >= 2 && outcome.booking.data[0] == '{');
			must(within(row, 11, outcome.booking));
		}
		else
			must(strlen(outcome.known.sqlstate) <= 5 && strlen(outcome.known.message) <= 255 * 3);
	}
	PQclear(row);
	return 0;
}
