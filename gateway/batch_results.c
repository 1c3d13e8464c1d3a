/*
 * gateway/batch_results.c
 *	  What became of a group: its elements end, or travel once more.
 */
#include <stdlib.h>
#include <string.h>

#include "batch_room.h"
#include "journal.h"

#define BUSY_RETRY_SECONDS 0.05 /* a key or a stream that somebody holds */

void
group_take_range(void *context, PGresult *result)
{
	Group *group = context;
	Slice first, last;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return;
	first = (Slice){PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0)};
	last = (Slice){PQgetvalue(result, 0, 1), (size_t) PQgetlength(result, 0, 1)};
	group->range_known = binary_read_int64(first, &group->first) &&
						 binary_read_int64(last, &group->last);
}

/* A row of the results: its element ends, or comes later.  false: it cannot be. */
static bool
take_row(Group *group, const PGresult *result, int at)
{
	static AppendedEvent *events;
	static int events_room;
	MessageRow row;
	Element *element;

	if (!message_read(result, at, &row) || row.element < 0 || row.element >= group->n ||
		(element = group->elements[row.element]) == NULL)
		return false;
	if (row.refused && strcmp(row.result.sqlstate, "US027") == 0)
	{
		group->elements[row.element] = NULL;
		element_try_later(element, BUSY_RETRY_SECONDS, APPEND_BUSY);
		return true;
	}
	if (!row.refused)
	{
		if (events_room < element->request.nevents)
		{
			events_room = element->request.nevents;
			events = realloc(events, (size_t) events_room * sizeof(*events));
			if (events == NULL)
				abort();
		}
		if (!message_read_events(&row, group, element->request.nevents, events))
			return false;
		suspect_fine(&element->request);
	}
	row.result.outcome = row.refused ? APPEND_REFUSED : APPEND_DONE;
	row.result.events = events;
	group->elements[row.element] = NULL;
	element_end(element, &row.result);
	return true;
}

static void
take_results(Group *group, const PGresult *result)
{
	int wrong = 0;

	if (PQntuples(result) > 0 && PQnfields(result) != 12)
		wrong++;
	for (int i = 0; wrong == 0 && i < PQntuples(result); i++)
		wrong += !take_row(group, result, i);
	for (int i = 0; i < group->n; i++)
		if (group->elements[i] != NULL)
		{
			wrong++;
			element_end_as(group->elements[i], APPEND_UNKNOWN);
		}
	if (wrong > 0)
		journal(JOURNAL_ERROR, "results of append_requests do not fit its %d requests", group->n);
	group_free(group);
}

/* Would a second sending be recognised? */
static bool
is_repeatable(const AppendRequest *request)
{
	if (request->idempotency_key.data != NULL)
		return true;
	for (int i = 0; i < request->nevents; i++)
		if (request->events[i].event_id.data == NULL)
			return false;
	return true;
}

static void
take_loss(Group *group)
{
	for (int i = 0; i < group->n; i++)
	{
		Element *element = group->elements[i];

		if (element->lost || !is_repeatable(&element->request))
			element_end_as(element, APPEND_UNKNOWN);
		else
		{
			element->lost = true;
			element->deadline = 0;
			element_try_later(element, 0, APPEND_UNKNOWN);
		}
	}
	group_free(group);
}

/* The element that the error's context names, or -1. */
static int
culprit_of(const Group *group, const PGresult *result)
{
	static const char mark[] = "append_requests element ";
	const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
	const char *at = context ? strstr(context, mark) : NULL;
	int64_t n;

	if (at == NULL || group->n == 1)
		return -1;
	at += sizeof(mark) - 1;
	if (!slice_int((Slice){at, strspn(at, "0123456789")}, 0, group->n - 1, &n))
		return -1;
	return (int) n;
}

/* Nobody's fault, and over soon: serialization failures and deadlocks. */
static bool
is_passing(const char *sqlstate)
{
	return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0;
}

/* Not this request's fault: the server has no room, is read-only, or has internal trouble. */
static bool
is_servers(const char *sqlstate)
{
	return strncmp(sqlstate, "53", 2) == 0 || strncmp(sqlstate, "58", 2) == 0 ||
		   strcmp(sqlstate, "25006") == 0;
}

static void
element_refuse(Element *element, const PGresult *error)
{
	const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(error, PG_DIAG_MESSAGE_HINT);
	AppendResult result = {.outcome = APPEND_REFUSED,
						   .message = message ? message : "",
						   .detail = detail ? detail : "",
						   .hint = hint ? hint : "",
						   .event_index = -1,
						   .actual_version = -1};

	memcpy(result.sqlstate, PQresultErrorField(error, PG_DIAG_SQLSTATE), 5);
	element_end(element, &result);
}

/* Into groups of their own: [from, to) of the group, without one of them. */
static void
send_again(const Group *group, int from, int to, int without)
{
	Group *again = group_new(to - from);

	for (int i = from; i < to; i++)
		if (i != without)
			again->elements[again->n++] = group->elements[i];
	group_ready(again, false);
}

/* Nothing of it was written. */
static void
take_refusal(Group *group, const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	int culprit = culprit_of(group, error);

	if (is_passing(sqlstate))
		for (int i = 0; i < group->n; i++)
			element_try_later(group->elements[i], 0, APPEND_UNAVAILABLE);
	else if (group->n == 1 && strcmp(sqlstate, "55P03") == 0)
	{
		/* somebody holds a stream of it beyond lock_timeout */
		suspect_locked(&group->elements[0]->request);
		element_try_later(group->elements[0], BUSY_RETRY_SECONDS, APPEND_UNAVAILABLE);
	}
	else if (group->n == 1 && !(is_servers(sqlstate) && group->elements[0]->lost))
	{
		suspect_raised(&group->elements[0]->request);
		element_refuse(group->elements[0], error);
	}
	else if (culprit >= 0)
	{
		send_again(group, 0, group->n, culprit);
		if (strcmp(sqlstate, "55P03") == 0)
			suspect_locked(&group->elements[culprit]->request);
		else
			suspect_raised(&group->elements[culprit]->request);
		group_ready_alone(group->elements[culprit]);
	}
	else if (is_servers(sqlstate))
	{
		journal(JOURNAL_ERROR, "appends fail: %s",
				PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY));
		for (int i = 0; i < group->n; i++)
			if (group->elements[i]->lost)
				element_end_as(group->elements[i], APPEND_UNKNOWN);
			else
				element_refuse(group->elements[i], error);
	}
	else
	{
		send_again(group, 0, group->n / 2, -1);
		send_again(group, group->n / 2, group->n, -1);
	}
	group_free(group);
}

void
group_take_outcome(Group *group, DbOutcome outcome, const PGresult *result)
{
	switch (outcome)
	{
		case DB_DONE:
			take_results(group, result);
			break;
		case DB_REFUSED:
			take_refusal(group, result);
			break;
		case DB_LOST:
			take_loss(group);
			break;
		case DB_UNSENT:
			group_ready(group, true);
			break;
	}
}
