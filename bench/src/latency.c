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
 * With `delivery` the waiter sits in CALL usher.wait_for_delivery(...) and then polls the subscription `bench`, and
 * acknowledges, which waits for the disk: the return of the CALL counts for the first event that the poll delivers, that
 * of the poll for the others. A commit that came while the member was polling or acknowledging woke nobody; so what
 * those took that found it waiting, one a CALL, is printed beside (waiting_p50, ...).
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
	int64_t since; /* it waited since then; 0: it did not wait */
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
note_return(Run *run, int64_t position, int64_t since, int64_t at)
{
	if (run->returns == run->returns_max)
		die("more wake-ups than expected");
	run->returned[run->returns++] = (Return){position, since, at};
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
		int64_t stable, since = now_ns();

		snprintf(after, sizeof(after), "%lld", (long long) position);
		result = PQexecPrepared(conn, "wait", 1, params, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		stable = atoll(PQgetvalue(result, 0, 0));
		PQclear(result);
		if (stable > position)
			note_return(run, stable, since, now_ns());
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
		int64_t since = now_ns();
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
			note_return(run, atoll(PQgetvalue(result, 0, 1)), since, woken);
			note_return(run, atoll(PQgetvalue(result, rows - 1, 1)), 0, now_ns());
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
			note_return(run, atoll(notify->extra), 0, now_ns());
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

/* Of sorted times. */
static double
ms(const int64_t *times, int n, double fraction)
{
	return n == 0 ? 0 : (double) times[(int) ((n - 1) * fraction)] / 1e6;
}

static void
print_times(Run *run)
{
	int64_t *acknowledged = calloc((size_t) run->commits, sizeof(int64_t));
	int64_t *sent = calloc((size_t) run->commits, sizeof(int64_t));
	int64_t *waiting = calloc((size_t) run->commits, sizeof(int64_t));
	int early = 0, found_waiting = 0;
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
		if (run->returned[r].since != 0 && run->returned[r].since < run->commit[i].sent)
			waiting[found_waiting++] = acknowledged[i];
	}
	qsort(acknowledged, (size_t) run->commits, sizeof(int64_t), compare);
	qsort(sent, (size_t) run->commits, sizeof(int64_t), compare);
	qsort(waiting, (size_t) found_waiting, sizeof(int64_t), compare);
	printf("p50=%.4f p99=%.4f max=%.4f early=%.4f sent_p50=%.4f sent_p99=%.4f wakeups=%d",
		   ms(acknowledged, run->commits, 0.5), ms(acknowledged, run->commits, 0.99),
		   ms(acknowledged, run->commits, 1), (double) early / run->commits,
		   ms(sent, run->commits, 0.5), ms(sent, run->commits, 0.99), run->returns);
	printf(" waiting=%d waiting_p50=%.4f waiting_p99=%.4f waiting_max=%.4f\n", found_waiting,
		   ms(waiting, found_waiting, 0.5), ms(waiting, found_waiting, 0.99),
		   ms(waiting, found_waiting, 1));
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
