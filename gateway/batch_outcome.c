/*
 * gateway/batch_outcome.c
 *	  What became of a batch: its elements end, or travel once more.
 */
#include <string.h>

#include "batch_room.h"
#include "journal.h"
#include "lib/pgbinary.h"

#define BUSY_RETRY_SECONDS 0.05 /* a key, or what somebody holds */

void
batch_take_range(void *context, PGresult *result)
{
	Batch *batch = context;

	batch->range_known = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
						 binary_read_int64(batch_value(result, 0, 0), &batch->first) &&
						 binary_read_int64(batch_value(result, 0, 1), &batch->last);
}

/* A row of the results: its element ends, or comes later.  false: it cannot be. */
static bool
take_row(Batch *batch, const PGresult *result, int row)
{
	BatchResult known;
	Element *element;
	int at;

	if (!batch_read_row(result, row, batch->n, &at, &known) ||
		(element = batch->elements[at]) == NULL)
		return false;
	if (strcmp(known.sqlstate, "US027") == 0)
		element_try_later(element, BUSY_RETRY_SECONDS, BATCH_BUSY);
	else
	{
		if (known.outcome == BATCH_DONE)
			suspect_fine(element);
		element_release(element);
		if (!batch->kind->row(batch, element, result, row, &known))
			return false;
	}
	batch->elements[at] = NULL;
	return true;
}

static void
take_results(Batch *batch, const PGresult *result)
{
	int n = PQntuples(result);
	int wrong = n > 0 && PQnfields(result) != batch->kind->columns;

	for (int i = 0; wrong == 0 && i < n; i++)
		wrong += !take_row(batch, result, i);
	for (int i = 0; i < batch->n; i++)
		if (batch->elements[i] != NULL)
		{
			wrong++;
			element_end_as(batch->elements[i], BATCH_UNKNOWN);
		}
	if (wrong > 0)
		journal(JOURNAL_ERROR, "results of %s do not fit its %d requests",
				batch->kind->statement.name, batch->n);
	batch_free(batch);
}

static void
take_loss(Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		Element *element = batch->elements[i];

		if (element->lost || !element->repeatable)
			element_end_as(element, BATCH_UNKNOWN);
		else
		{
			element->lost = true;
			element->deadline = 0;
			element_try_later(element, 0, BATCH_UNKNOWN);
		}
	}
	batch_free(batch);
}

/* The element that the error's context names, or -1. */
static int
culprit_of(const Batch *batch, const PGresult *error)
{
	const char *at = PQresultErrorField(error, PG_DIAG_CONTEXT);
	Text mark = {0};
	int64_t n = -1;

	text_printf(&mark, "%s element ", batch->kind->statement.name);
	at = at != NULL ? strstr(at, mark.data) : NULL;
	if (at != NULL)
		at += mark.len;
	text_free(&mark);
	if (at == NULL || !slice_int((Slice){at, strspn(at, "0123456789")}, 0, batch->n - 1, &n))
		return -1;
	return (int) n;
}

/* Nobody's fault, and over soon: serialization failures and deadlocks. */
static bool
is_passing(const char *sqlstate)
{
	return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0;
}

/* Not a request's fault: the server has no room, is read-only, or has internal trouble. */
static bool
is_servers(const char *sqlstate)
{
	return strncmp(sqlstate, "53", 2) == 0 || strncmp(sqlstate, "58", 2) == 0 ||
		   strcmp(sqlstate, "25006") == 0;
}

/* By the error; of one that was sent before nobody knows what became of it then. */
static void
refuse(Element *element, const PGresult *error)
{
	const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(error, PG_DIAG_MESSAGE_HINT);
	BatchResult result = {.outcome = BATCH_REFUSED,
						  .message = message ? message : "",
						  .detail = detail ? detail : "",
						  .hint = hint ? hint : ""};

	if (element->lost)
	{
		element_end_as(element, BATCH_UNKNOWN);
		return;
	}
	memcpy(result.sqlstate, PQresultErrorField(error, PG_DIAG_SQLSTATE), 5);
	element_release(element);
	element->kind->end(element, &result);
}

/* An error of one element, which is alone, or travels alone from now on. */
static void
take_fault(Element *element, bool alone, const PGresult *error)
{
	/* somebody holds what it wants beyond lock_timeout */
	bool locked = strcmp(PQresultErrorField(error, PG_DIAG_SQLSTATE), "55P03") == 0;

	if (locked)
		suspect_locked(element);
	else
		suspect_raised(element);
	if (!alone)
		element_alone(element);
	else if (locked)
		element_try_later(element, BUSY_RETRY_SECONDS, BATCH_UNAVAILABLE);
	else
		refuse(element, error);
}

/* Nothing of it was written. */
static void
take_refusal(Batch *batch, const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	int culprit = culprit_of(batch, error);

	if (is_passing(sqlstate))
		for (int i = 0; i < batch->n; i++)
			element_try_later(batch->elements[i], 0, BATCH_UNAVAILABLE);
	else if (culprit >= 0)
	{
		batch_again(batch, 0, batch->n, culprit);
		take_fault(batch->elements[culprit], batch->n == 1, error);
	}
	else if (is_servers(sqlstate))
	{
		journal(JOURNAL_ERROR, "%s fails: %s", batch->kind->statement.name,
				PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY));
		for (int i = 0; i < batch->n; i++)
			refuse(batch->elements[i], error);
	}
	else if (batch->n == 1)
		take_fault(batch->elements[0], true, error);
	else
	{
		batch_again(batch, 0, batch->n / 2, -1);
		batch_again(batch, batch->n / 2, batch->n, -1);
	}
	batch_free(batch);
}

void
batch_take_outcome(Batch *batch, DbOutcome outcome, const PGresult *result)
{
	switch (outcome)
	{
		case DB_DONE:
			take_results(batch, result);
			break;
		case DB_REFUSED:
			take_refusal(batch, result);
			break;
		case DB_LOST:
			take_loss(batch);
			break;
		case DB_UNSENT:
			batch_ready(batch, true);
			break;
	}
}
