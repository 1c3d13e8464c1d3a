/*
 * gateway/db_connection.c
 *	  One connection's pipeline: calls leave in order, their results come in order.
 *
 * A call is [PREPARE] EXECUTE SYNC, and for what follows it [PREPARE] EXECUTE
 * SYNC once more.  It has ended when its last Sync's result is there: rows alone
 * are no proof of a commit.  An error that ends the session, and any result that
 * cannot be, ends the connection; what was sent is then DB_LOST.  A connection
 * may be ended in the middle of db_connection_send() and of its io callback, but is
 * never freed.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db_room.h"
#include "journal.h"

static void
watch(DbConnection *connection, int events)
{
	if (connection->watched == events)
		return;
	if (connection->watched != 0)
		ev_io_stop(db_loop, &connection->io);
	connection->watched = events;
	if (events == 0)
		return;
	ev_io_set(&connection->io, PQsocket(connection->pg), events);
	ev_io_start(db_loop, &connection->io);
}

/* Without the trailing newline, on one line. */
static void
pg_error(const DbConnection *connection, char *text, size_t size)
{
	snprintf(text, size, "%s", PQerrorMessage(connection->pg));
	for (char *c = text; *c != '\0'; c++)
		if (*c == '\n')
			*c = c[1] == '\0' ? '\0' : ' ';
}

static void
end_by_libpq(DbConnection *connection)
{
	char text[300];

	pg_error(connection, text, sizeof(text));
	db_connection_end(connection, text);
}

void
db_connection_end(DbConnection *connection, const char *reason)
{
	Call *call = connection->first;

	if (connection->state != DB_UP)
		return;
	if (reason != NULL)
		journal(JOURNAL_WARNING, "connection %s/%d to the database ended: %s",
				db_lane_names[connection->lane], connection->number, reason);
	watch(connection, 0);
	PQfinish(connection->pg);
	connection->pg = NULL;
	connection->state = DB_DOWN;
	connection->first = connection->last = NULL;
	connection->inflight = 0;
	while (call != NULL)
	{
		Call *next = call->next;

		db_end_call(call, DB_LOST);
		call = next;
	}
	db_connection_ended(connection);
}

static int
prepared_find(const DbConnection *connection, const DbStatement *statement)
{
	for (int i = 0; i < connection->nprepared; i++)
		if (connection->prepared[i] == statement)
			return i;
	return -1;
}

static void
prepared_forget(DbConnection *connection, const DbStatement *statement)
{
	int i = prepared_find(connection, statement);

	if (i >= 0)
		connection->prepared[i] = connection->prepared[--connection->nprepared];
}

static bool
send_statement(DbConnection *connection, const DbStatement *statement, const DbCall *call)
{
	const char *const *values = call ? call->values : NULL;

	if (prepared_find(connection, statement) < 0)
	{
		if (connection->nprepared == DB_STATEMENTS_MAX ||
			!PQsendPrepare(connection->pg, statement->name, statement->sql, 0, NULL))
			return false;
		connection->prepared[connection->nprepared++] = statement;
	}
	return PQsendQueryPrepared(connection->pg, statement->name, call ? statement->nparams : 0,
							   values, call ? call->lengths : NULL, call ? call->formats : NULL,
							   statement->binary_result) &&
		   PQpipelineSync(connection->pg);
}

/* What libpq has not sent yet leaves when the socket takes it. */
static void
flush(DbConnection *connection)
{
	int rest = PQflush(connection->pg);

	if (rest < 0)
		end_by_libpq(connection);
	else
		watch(connection, rest > 0 ? EV_READ | EV_WRITE : EV_READ);
}

/* Belongs to the connection from here on, which may end at once. */
void
db_connection_send(DbConnection *connection, Call *call)
{
	const DbCall *wanted = &call->call;
	bool sent;

	call->next = NULL;
	call->syncs = wanted->then != NULL ? 2 : 1;
	call->preparing = prepared_find(connection, wanted->statement) < 0;
	if (connection->first == NULL)
	{
		connection->first = call;
		connection->progress = ev_now(db_loop);
	}
	else
		connection->last->next = call;
	connection->last = call;
	connection->inflight++;
	sent = send_statement(connection, wanted->statement, wanted);
	if (sent && wanted->then != NULL)
	{
		call->then_preparing = prepared_find(connection, wanted->then) < 0;
		sent = send_statement(connection, wanted->then, NULL);
	}
	if (sent)
		flush(connection);
	else
		end_by_libpq(connection);
}

/*
 * Does the error say that the session knows an extension or a server that is no longer so?  What a function of
 * ours or a user's raises has a context, or was raised by a statement that had been understood.
 */
static bool
session_is_old(const PGresult *result, const char *sqlstate, bool preparing)
{
	static const char *const states[] = {"0A000", "42704", "42804"};
	const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);

	if (strcmp(sqlstate, "25006") == 0)
		return true;
	/* the types of a parameter are told with the parameter as the context */
	if (context != NULL)
		return strcmp(sqlstate, "42804") == 0 && strstr(context, "append_requests") == NULL;
	if (!preparing && strcmp(sqlstate, "42883") == 0)
		return true;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(sqlstate, states[i]) == 0)
			return true;
	return false;
}

/* An error of the call at hand; false: the connection was ended. */
static bool
take_error(DbConnection *connection, Call *call, PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	bool first = call->syncs == (call->call.then != NULL ? 2 : 1);
	bool *preparing = first ? &call->preparing : &call->then_preparing;

	/* without a SQLSTATE it is libpq's, about the connection */
	if (sqlstate == NULL || (severity != NULL && strcmp(severity, "ERROR") != 0))
	{
		char reason[300];

		snprintf(reason, sizeof(reason), "%s",
				 sqlstate ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
						  : PQresultErrorMessage(result));
		reason[strcspn(reason, "\n")] = '\0';
		PQclear(result);
		db_connection_end(connection, reason);
		return false;
	}
	if (session_is_old(result, sqlstate, *preparing))
		connection->retire = true;
	/* also when an earlier call's PREPARE has failed, or the session forgot it */
	if (*preparing || strcmp(sqlstate, "26000") == 0)
		prepared_forget(connection, first ? call->call.statement : call->call.then);
	*preparing = false;
	/* Behind the rows it is the commit's: they were never written. */
	if (first && call->outcome == DB_DONE)
	{
		PQclear(call->result);
		call->result = result;
		call->outcome = DB_REFUSED;
	}
	else
		PQclear(result);
	return true;
}

static void
take_rows(Call *call, PGresult *result)
{
	bool first = call->syncs == (call->call.then != NULL ? 2 : 1);
	bool *preparing = first ? &call->preparing : &call->then_preparing;
	PGresult **kept = first ? &call->result : &call->then_result;

	if (*preparing || *kept != NULL)
		PQclear(result);
	else
		*kept = result;
	*preparing = false;
}

static void
take_sync(DbConnection *connection, Call *call)
{
	if (--call->syncs > 0)
		return;
	connection->first = call->next;
	if (connection->first == NULL)
		connection->last = NULL;
	connection->inflight--;
	connection->progress = ev_now(db_loop);
	if (call->outcome == DB_REFUSED && !call->again &&
		strcmp(PQresultErrorField(call->result, PG_DIAG_SQLSTATE), "26000") == 0)
		db_call_again(call);
	else
		db_end_call(call, call->outcome);
}

/* One result of the first call in flight; false: the connection was ended. */
static bool
take_result(DbConnection *connection, PGresult *result)
{
	Call *call = connection->first;
	char reason[80];

	switch (PQresultStatus(result))
	{
		case PGRES_PIPELINE_SYNC:
			PQclear(result);
			take_sync(connection, call);
			return true;
		case PGRES_PIPELINE_ABORTED:
			PQclear(result);
			return true;
		case PGRES_FATAL_ERROR:
			return take_error(connection, call, result);
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
		case PGRES_EMPTY_QUERY:
			take_rows(call, result);
			return true;
		default:
			snprintf(reason, sizeof(reason), "a result of kind %s",
					 PQresStatus(PQresultStatus(result)));
			PQclear(result);
			db_connection_end(connection, reason);
			return false;
	}
}

/* All results that are here; false: the connection was ended. */
static bool
take_results(DbConnection *connection)
{
	int nothing = 0;

	while (connection->first != NULL && !PQisBusy(connection->pg))
	{
		PGresult *result = PQgetResult(connection->pg);

		if (result != NULL)
		{
			nothing = 0;
			if (!take_result(connection, result))
				return false;
		}
		else if (PQstatus(connection->pg) == CONNECTION_BAD)
		{
			end_by_libpq(connection);
			return false;
		}
		else if (++nothing > 2)
		{
			/* one stands between two results of a pipeline */
			db_connection_end(connection, "libpq and usherd disagree about what was sent");
			return false;
		}
	}
	return true;
}

/* Read all that is there, also what OpenSSL has read ahead. */
static bool
consume(DbConnection *connection)
{
	SSL *ssl = PQsslStruct(connection->pg, "OpenSSL");

	do
	{
		if (!PQconsumeInput(connection->pg))
			return false;
	} while (ssl != NULL && SSL_pending(ssl) > 0);
	return true;
}

static void
on_io(struct ev_loop *loop, ev_io *watcher, int revents)
{
	DbConnection *connection = watcher->data;
	bool open = true;

	(void) loop;
	if (revents & EV_READ)
	{
		/* what came before the end counts */
		bool consumed = consume(connection);

		open = take_results(connection);
		if (open && !consumed)
		{
			end_by_libpq(connection);
			open = false;
		}
	}
	if (open)
		flush(connection);
	if (open && connection->state == DB_UP && connection->retire && connection->first == NULL)
		db_connection_end(connection, "its session is out of date");
	db_lane_pump(connection->lane);
}

bool
db_connection_open(DbConnection *connection, PGconn *pg)
{
	if (PQsetnonblocking(pg, 1) != 0 || !PQenterPipelineMode(pg))
		return false;
	connection->pg = pg;
	connection->state = DB_UP;
	connection->retire = false;
	connection->nprepared = 0;
	connection->watched = 0;
	ev_init(&connection->io, on_io);
	connection->io.data = connection;
	watch(connection, EV_READ);
	return true;
}
