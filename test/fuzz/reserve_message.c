/*
 * test/fuzz/reserve_message.c
 *	  Any values as a row of the results of boxoffice.reserve_many.
 *
 * What is read is whole and lies in the row; what is none is refused.
 *
 * fuzz sources: gateway/reserve_message.c -lpq
 */
#include "fuzz.h"
#include "reserve_room.h"

#define COLUMNS  11
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	PGresult *row = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[COLUMNS + 2];
	int n = COLUMNS + (input_number(&in, 8) == 0 ? (int) input_number(&in, 3) - 1 : 0);
	ReserveResult outcome;
	int element = -1;

	memset(columns, 0, sizeof(columns));
	for (int i = 0; i < n; i++)
		columns[i] = (PGresAttDesc){.name = (char *) (uintptr_t) "c", .format = 1};
	PQsetResultAttrs(row, n, columns);
	for (int i = 0; i < n; i++)
		set_value(row, i, &in);
	if (reserve_message_read(row, 0, ELEMENTS, &element, &outcome))
	{
		must(n == COLUMNS && element >= 0 && element < ELEMENTS && outcome.position == -1);
		must(outcome.outcome == RESERVE_DONE || outcome.outcome == RESERVE_REFUSED);
		must(outcome.message != NULL && outcome.detail != NULL);
		must(within(row, 6, outcome.seats) && within(row, 9, outcome.code));
		if (outcome.outcome == RESERVE_DONE)
		{
			must(outcome.id.len == 16 && within(row, 8, outcome.id));
			must(outcome.booking.len >= 2 && outcome.booking.data[0] == '{');
			must(within(row, 10, outcome.booking));
		}
		else
			must(strlen(outcome.sqlstate) <= 5 && strlen(outcome.message) <= 255 * 3);
	}
	PQclear(row);
	return 0;
}
