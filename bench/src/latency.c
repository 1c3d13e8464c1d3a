/*
 * bench/src/latency.c
 *		The time from a commit acknowledged in one session to the wake-up of a waiter in another.
 *
 * usage: latency usher|delivery|notify DATABASE JSON RATE SECONDS
 *
 * A writer thread commits one event at a time, RATE times a second on a fixed schedule. A waiter thread with a
 * connection of its own sits in CALL usher.wait_for(...), or in LISTEN, and notes when it returns. Both read the same
 * monotonic clock. The writer asks for the position of its event after it has taken the time, so a commit is matched
 * with the first return that covers its position; notifications carry the number of the commit.
 *
 * With `delivery` the waiter sits in CALL usher.wait_for_delivery(...) and then polls the subscription `bench`: the
 * return of the CALL counts for the first event that the poll delivers, that of the poll for the others.
 *
 * The waiter may well return before the writer's acknowledgement has arrived: the commit wakes it before it answers
 * its own client. So two times are printed: from the acknowledgement (may be negative) and from sending the COMMIT.
 */
#include "bench.h"
#include <poll.h>
#include <pthread.h>

typedef struct Commit
{
	int64_t position;
	int64_t sent; /* COMMIT sent */
	int64_t acknowledged;
} Commit;

typedef struct Return
{
	int64_t position; /* everything up to here is covered */
	int64_t at;
} Return;

typedef struct Run
{
	int usher; /* not LISTEN */
	int delivery;
	const char *database;
	const char *data;
	int rate;
	int commits;
	Commit *commit;
	Return *returned;
	int returns;
	int returns_max;
	int64_t after; /* where the waiter begins */
} Run;

static int64_t
query_int(PGconn *conn, const char *query)
{
	PGresult *result = PQexec(conn, query);
	int64_t value;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(conn));
	value = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

static void
note_return(Run *run, int64_t position)
{
	if (run->returns == run->returns_max)
		die("more wake-ups than expected");
	run->returned[run->returns].at = now_ns();
	run->returned[run->returns++].position = position;
}

/* Follow the log until everything that the writer will commit was seen. */
static void
wait_usher(Run *run, PGconn *conn)
{
	char after[32];
	const char *params[1] = {after};
	int64_t position = run->after;
	int idle = 0;

	prepare(conn, "wait", "CALL usher.wait_for($1::bigint, '2 s', '*', NULL)");
	while (idle < 1)
	{
		PGresult *result;
		int64_t stable;

		snprintf(after, sizeof(after), "%lld", (long long) position);
		result = PQexecPrepared(conn, "wait", 1, params, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		stable = atoll(PQgetvalue(result, 0, 0));
		PQclear(result);
		if (stable > position)
			note_return(run, stable);
		else
			idle++; /* two seconds without a commit: the writer is done */
		position = stable;
	}
}

/* The same as a member of a subscription. */
static void
wait_delivery(Run *run, PGconn *conn)
{
	char lease[32];
	const char *params[1] = {lease};
	int idle = 0;

	prepare(conn, "wait", "CALL usher.wait_for_delivery('bench', '2 s', NULL)");
	prepare(conn, "poll", "SELECT lease, position FROM usher.poll('bench', 100)");
	prepare(conn, "ack", "SELECT usher.ack('bench', $1::bigint)");
	while (idle < 1)
	{
		PGresult *result = PQexecPrepared(conn, "wait", 0, NULL, NULL, NULL, 0);
		int64_t woken = now_ns();
		int rows;

		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		idle += PQgetvalue(result, 0, 0)[0] != 't';
		PQclear(result);
		result = PQexecPrepared(conn, "poll", 0, NULL, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		rows = PQntuples(result);
		if (rows > 0)
		{
			snprintf(lease, sizeof(lease), "%s", PQgetvalue(result, 0, 0));
			note_return(run, atoll(PQgetvalue(result, 0, 1)));
			run->returned[run->returns - 1].at = woken;
			note_return(run, atoll(PQgetvalue(result, rows - 1, 1)));
			expect(conn, PQexecPrepared(conn, "ack", 1, params, NULL, NULL, 0), PGRES_TUPLES_OK);
			idle = 0;
		}
		PQclear(result);
	}
}

static void
wait_notify(Run *run, PGconn *conn)
{
	struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
	int seen = 0;

	while (seen < run->commits)
	{
		PGnotify *notify;

		if (poll(&socket, 1, 5000) <= 0)
			die("a notification is missing");
		if (!PQconsumeInput(conn))
			die("%s", PQerrorMessage(conn));
		while ((notify = PQnotifies(conn)) != NULL)
		{
			note_return(run, atoll(notify->extra));
			seen++;
			PQfreemem(notify);
		}
	}
}

static void *
waiter_main(void *arg)
{
	Run *run = arg;
	PGconn *conn = open_connection(run->database);

	if (run->delivery)
		wait_delivery(run, conn);
	else if (run->usher)
		wait_usher(run, conn);
	else
	{
		expect(conn, PQexec(conn, "LISTEN bench"), PGRES_COMMAND_OK);
		wait_notify(run, conn);
	}
	PQfinish(conn);
	return NULL;
}

static void
write_event(Run *run, PGconn *conn, int number)
{
	char text[32];
	const char *params[2] = {run->data, text};

	snprintf(text, sizeof(text), "%d", number);
	expect(conn, PQexec(conn, "BEGIN"), PGRES_COMMAND_OK);
	expect(conn, PQexecPrepared(conn, "append", 2, params, NULL, NULL, 0), PGRES_TUPLES_OK);
	if (!run->usher)
		expect(conn, PQexecPrepared(conn, "notify", 1, params + 1, NULL, NULL, 0), PGRES_TUPLES_OK);
	run->commit[number].sent = now_ns();
	expect(conn, PQexec(conn, "COMMIT"), PGRES_COMMAND_OK);
	run->commit[number].acknowledged = now_ns();
	run->commit[number].position = run->usher ? query_int(conn, "SELECT usher.last_position()")
											  : number;
}

static void
writer_main(Run *run)
{
	PGconn *conn = open_connection(run->database);
	int64_t start;

	if (run->usher)
		prepare(conn, "append",
				"SELECT usher.append('order-' || ($2::integer % 1000), 'order.placed', $1::jsonb)");
	else
	{
		prepare(
			conn, "append",
			"INSERT INTO plain (tenant_id, version, stream, category, type, data) VALUES "
			"(1, nextval('versions'), 'order-' || ($2::integer % 1000), 'order', 'order.placed', $1::jsonb) RETURNING version");
		prepare(conn, "notify", "SELECT pg_notify('bench', $1)");
	}
	start = now_ns() + 200000000; /* the waiter is there by then */
	for (int i = 0; i < run->commits; i++)
	{
		int64_t due = start + (int64_t) i * 1000000000 / run->rate;
		struct timespec until = {due / 1000000000, due % 1000000000};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		write_event(run, conn, i);
	}
	fprintf(stderr, "  %d commits, %.0f a second\n", run->commits,
			run->commits * 1e9 / (double) (now_ns() - start));
	PQfinish(conn);
}

static int
compare(const void *left, const void *right)
{
	int64_t a = *(const int64_t *) left;
	int64_t b = *(const int64_t *) right;

	return (a > b) - (a < b);
}

static void
print_times(Run *run)
{
	int64_t *acknowledged = calloc((size_t) run->commits, sizeof(int64_t));
	int64_t *sent = calloc((size_t) run->commits, sizeof(int64_t));
	int early = 0;
	int r = 0;

	for (int i = 0; i < run->commits; i++)
	{
		while (r < run->returns && run->returned[r].position < run->commit[i].position)
			r++;
		if (r == run->returns)
			die("commit %d was never seen by the waiter", i);
		acknowledged[i] = run->returned[r].at - run->commit[i].acknowledged;
		sent[i] = run->returned[r].at - run->commit[i].sent;
		early += acknowledged[i] < 0;
	}
	qsort(acknowledged, (size_t) run->commits, sizeof(int64_t), compare);
	qsort(sent, (size_t) run->commits, sizeof(int64_t), compare);
#define MS(times, fraction) ((double) (times)[(int) ((run->commits - 1) * (fraction))] / 1e6)
	printf("p50=%.4f p99=%.4f max=%.4f early=%.4f sent_p50=%.4f sent_p99=%.4f wakeups=%d\n",
		   MS(acknowledged, 0.5), MS(acknowledged, 0.99), MS(acknowledged, 1.0),
		   (double) early / run->commits, MS(sent, 0.5), MS(sent, 0.99), run->returns);
}

int
main(int argc, char **argv)
{
	Run run = {0};
	pthread_t waiter;

	if (argc != 6)
		die("usage: latency usher|delivery|notify DATABASE JSON RATE SECONDS");
	run.delivery = strcmp(argv[1], "delivery") == 0;
	run.usher = run.delivery || strcmp(argv[1], "usher") == 0;
	run.database = argv[2];
	run.data = argv[3];
	run.rate = atoi(argv[4]);
	run.commits = run.rate * atoi(argv[5]);
	run.commit = calloc((size_t) run.commits, sizeof(Commit));
	run.returns_max = 10 * run.commits;
	run.returned = calloc((size_t) run.returns_max, sizeof(Return));
	if (run.usher)
	{
		PGconn *conn = open_connection(run.database);

		run.after = query_int(conn, "SELECT usher.stable_position()");
		PQfinish(conn);
	}
	if (pthread_create(&waiter, NULL, waiter_main, &run) != 0)
		die("no thread");
	writer_main(&run);
	pthread_join(waiter, NULL);
	print_times(&run);
	return 0;
}
