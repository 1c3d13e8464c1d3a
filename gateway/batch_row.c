/*
 * gateway/batch_row.c
 *	  Rows of a batch's results: what all kinds have, and how to get at the rest.
 */
#include <string.h>

#include "batch.h"
#include "lib/pgbinary.h"

enum
{
	COLUMN_ELEMENT,
	COLUMN_SQLSTATE,
	COLUMN_MESSAGE,
	COLUMN_DETAIL,
	COLUMN_HINT,
	COLUMN_REPLAYED,
};

Slice
batch_value(const PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return (Slice){NULL, 0};
	return (Slice){PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)};
}

bool
batch_value_true(const PGresult *result, int row, int column)
{
	Slice value = batch_value(result, row, column);

	return value.len == 1 && value.data[0] != 0;
}

bool
batch_read_row(const PGresult *result, int row, int n, int *element, BatchResult *known)
{
	Slice sqlstate = batch_value(result, row, COLUMN_SQLSTATE);
	int32_t number;

	if (!binary_read_int32(batch_value(result, row, COLUMN_ELEMENT), &number) || number < 0 ||
		number >= n || (sqlstate.data != NULL && sqlstate.len != 5))
		return false;
	*element = number;
	/* libpq ends a value with a zero byte, and a null is an empty one */
	*known = (BatchResult){.outcome = sqlstate.data != NULL ? BATCH_REFUSED : BATCH_DONE,
						   .replayed = batch_value_true(result, row, COLUMN_REPLAYED),
						   .message = PQgetvalue(result, row, COLUMN_MESSAGE),
						   .detail = PQgetvalue(result, row, COLUMN_DETAIL),
						   .hint = PQgetvalue(result, row, COLUMN_HINT)};
	if (sqlstate.data != NULL)
		memcpy(known->sqlstate, sqlstate.data, 5);
	return true;
}
