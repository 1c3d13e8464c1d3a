/*
 * gateway/db_connect.c
 *	  Connects to PostgreSQL, each time in a thread of its own.
 *
 * Name resolution blocks, as do the password's hashing and reading files of
 * certificates; so all of it happens off the loop, until a session stands, its
 * usher.gateway_protocol() is known and the numbers of our types were read.  The
 * thread touches its attempt alone and gives it to the loop when it ends.  A
 * host that does not answer is left after connect_timeout (2 s unless the
 * connection string has another), and the next one is tried.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "db_room.h"

#define GATEWAY_PROTOCOL      "2" /* extension/api/gateway.c */
#define WRITE_LOCK_TIMEOUT_MS 250

const char *const db_type_names[DB_TYPES] = {
	"usher.append_request",     "usher.append_request[]",    "usher.request_event",
	"usher.request_event[]",    "boxoffice.reserve_request", "boxoffice.reserve_item",
	"boxoffice.reserve_item[]",
};

static const char session_query[] =
	"SELECT usher.gateway_protocol(),"
	" pg_catalog.to_regtype('usher.append_request')::pg_catalog.oid,"
	" pg_catalog.to_regtype('usher.append_request[]')::pg_catalog.oid,"
	" pg_catalog.to_regtype('usher.request_event')::pg_catalog.oid,"
	" pg_catalog.to_regtype('usher.request_event[]')::pg_catalog.oid,"
	" pg_catalog.to_regtype('boxoffice.reserve_request')::pg_catalog.oid,"
	" pg_catalog.to_regtype('boxoffice.reserve_item')::pg_catalog.oid,"
	" pg_catalog.to_regtype('boxoffice.reserve_item[]')::pg_catalog.oid";

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t thread_ended = PTHREAD_COND_INITIALIZER;
static DbAttempt *ended; /* under the mutex */
static int threads; /* under the mutex */
static bool stopped; /* under the mutex */
static struct ev_loop *wake_loop;
static ev_async wake;

static void
attempt_free(DbAttempt *attempt)
{
	free(attempt->database);
	free(attempt->options);
	free(attempt);
}

static void
attempt_failed(DbAttempt *attempt, const char *message)
{
	snprintf(attempt->error, sizeof(attempt->error), "%s", message);
	/* one line in the journal */
	for (char *c = attempt->error; *c != '\0'; c++)
		if (*c == '\n')
			*c = c[1] == '\0' ? '\0' : ' ';
}

static void
drop_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

static double
seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* As PQexec, but for so many seconds; NULL when they were over. */
static PGresult *
ask(PGconn *pg, const char *query, double seconds)
{
	double deadline = seconds_now() + seconds;
	PGresult *result;

	/* in blocking mode all is sent when this returns; the query is short */
	if (!PQsendQuery(pg, query))
		return NULL;
	while (PQisBusy(pg))
	{
		struct pollfd socket = {PQsocket(pg), POLLIN, 0};
		double left = deadline - seconds_now();

		if (left <= 0 || (poll(&socket, 1, (int) (left * 1000) + 1) < 0 && errno != EINTR) ||
			!PQconsumeInput(pg))
			return NULL;
	}
	result = PQgetResult(pg);
	while (!PQisBusy(pg))
	{
		PGresult *next = PQgetResult(pg);

		if (next == NULL)
			return result;
		PQclear(next);
	}
	PQclear(result);
	return NULL;
}

/* Does the database speak as we do?  false: the attempt has the error. */
static bool
read_session(DbAttempt *attempt, PGconn *pg)
{
	PGresult *result = ask(pg, session_query, attempt->answer_seconds);
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	char error[200];
	bool good = false;

	if (sqlstate != NULL && (strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "3F000") == 0))
		attempt_failed(attempt, "the database has no usher.gateway_protocol(): is the extension "
								"pg_usher there, and new enough?");
	else if (PQresultStatus(result) != PGRES_TUPLES_OK)
		attempt_failed(attempt,
					   result ? PQresultErrorMessage(result) : "the session does not answer");
	else if (strcmp(PQgetvalue(result, 0, 0), GATEWAY_PROTOCOL) != 0)
	{
		snprintf(error, sizeof(error),
				 "the database speaks gateway protocol %.20s, and this usherd " GATEWAY_PROTOCOL,
				 PQgetvalue(result, 0, 0));
		attempt_failed(attempt, error);
	}
	else
	{
		good = true;
		for (int i = 0; i < DB_TYPES; i++)
			attempt->types[i] = (Oid) strtoul(PQgetvalue(result, 0, i + 1), NULL, 10);
	}
	PQclear(result);
	return good;
}

/* What stands before dbname the connection string may override, what stands behind it not. */
static PGconn *
connect_as_told(const DbAttempt *attempt)
{
	const char *const keywords[] = {"connect_timeout",
									"keepalives",
									"keepalives_idle",
									"keepalives_interval",
									"keepalives_count",
									"tcp_user_timeout",
									"dbname",
									"application_name",
									"client_encoding",
									"options",
									NULL};
	const char *const values[] = {"2",
								  "1",
								  "10",
								  "5",
								  "3",
								  "20000",
								  attempt->database,
								  attempt->application_name,
								  "UTF8",
								  attempt->options,
								  NULL};

	return PQconnectdbParams(keywords, values, 1);
}

static void *
attempt_run(void *arg)
{
	DbAttempt *attempt = arg;
	PGconn *pg = connect_as_told(attempt);

	if (pg != NULL)
		PQsetNoticeReceiver(pg, drop_notice, NULL);
	if (PQstatus(pg) != CONNECTION_OK)
		attempt_failed(attempt, pg ? PQerrorMessage(pg) : "out of memory");
	else if (read_session(attempt, pg))
	{
		attempt->pg = pg;
		pg = NULL;
	}
	PQfinish(pg);
	pthread_mutex_lock(&mutex);
	threads--;
	if (stopped)
	{
		PQfinish(attempt->pg);
		attempt_free(attempt);
	}
	else
	{
		attempt->next = ended;
		ended = attempt;
		ev_async_send(wake_loop, &wake);
	}
	pthread_cond_signal(&thread_ended);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void
on_wake(struct ev_loop *loop, ev_async *watcher, int revents)
{
	DbAttempt *attempt;

	(void) loop;
	(void) watcher;
	(void) revents;
	pthread_mutex_lock(&mutex);
	attempt = ended;
	ended = NULL;
	pthread_mutex_unlock(&mutex);
	while (attempt != NULL)
	{
		DbAttempt *next = attempt->next;

		db_attempt_ended(attempt);
		attempt_free(attempt);
		attempt = next;
	}
}

/* Ours behind the user's, so that ours hold. */
static char *
session_options(DbLane lane)
{
	PQconninfoOption *given = PQconninfoParse(config.database, NULL);
	const char *theirs = getenv("PGOPTIONS");
	Text options = {0};

	for (PQconninfoOption *option = given; option != NULL && option->keyword != NULL; option++)
		if (strcmp(option->keyword, "options") == 0 && option->val != NULL)
			theirs = option->val;
	if (theirs != NULL)
		text_printf(&options, "%s ", theirs);
	text_printf(&options,
				"-c plan_cache_mode=force_generic_plan -c jit=off -c statement_timeout=%d"
				" -c default_transaction_isolation=read\\ committed"
				" -c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0",
				(int) (db_lane_timeout(lane) * 1000));
	/* one stream that somebody holds may not keep a whole batch waiting */
	if (lane == LANE_WRITE || lane == LANE_RESERVE)
		text_printf(&options, " -c lock_timeout=%d", WRITE_LOCK_TIMEOUT_MS);
	PQconninfoFree(given);
	return options.data;
}

bool
connect_begin(DbConnection *connection)
{
	DbAttempt *attempt = calloc(1, sizeof(*attempt));
	sigset_t all, before;
	pthread_attr_t detached;
	pthread_t thread;
	int status;

	if (attempt == NULL)
		return false;
	attempt->connection = connection;
	attempt->database = strdup(config.database);
	attempt->options = session_options(connection->lane);
	attempt->answer_seconds = db_lane_timeout(connection->lane);
	snprintf(attempt->application_name, sizeof(attempt->application_name), "usherd/%s",
			 db_lane_names[connection->lane]);
	/* signals are the loop's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&mutex);
	threads++;
	pthread_mutex_unlock(&mutex);
	status = pthread_create(&thread, &detached, attempt_run, attempt);
	pthread_attr_destroy(&detached);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (status == 0)
		return true;
	pthread_mutex_lock(&mutex);
	threads--;
	pthread_mutex_unlock(&mutex);
	attempt_free(attempt);
	return false;
}

void
connect_start(struct ev_loop *loop)
{
	wake_loop = loop;
	stopped = false;
	ev_async_init(&wake, on_wake);
	ev_async_start(loop, &wake);
}

/* Threads that talk to a database that does not answer are left alone after a second. */
void
connect_stop(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec++;
	pthread_mutex_lock(&mutex);
	stopped = true;
	while (ended != NULL)
	{
		DbAttempt *next = ended->next;

		PQfinish(ended->pg);
		attempt_free(ended);
		ended = next;
	}
	while (threads > 0 && pthread_cond_timedwait(&thread_ended, &mutex, &deadline) == 0)
		;
	pthread_mutex_unlock(&mutex);
	ev_async_stop(wake_loop, &wake);
}
