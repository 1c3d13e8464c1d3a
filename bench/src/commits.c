/*
 * bench/src/commits.c
 *		Commits events at a fixed rate, and tells when.
 *
 * usage: commits DATABASE RATE SECONDS
 *
 * Each event is a transaction of its own, {"n": number, ...} of about 150 bytes in one of 10,000 streams. WRITERS
 * connections take turns on one schedule, so that one slow flush of the WAL does not delay all that follow. Prints lines
 * "number sent acknowledged": when the statement was sent and when its commit was acknowledged, in nanoseconds of
 * CLOCK_MONOTONIC.
 */
#include "bench.h"

#include <pthread.h>

#define WRITERS 4

typedef struct Run
{
	const char *database;
	int rate, count;
	int64_t start; /* of the schedule */
	int64_t *sent, *acknowledged; /* [number] */
	pthread_barrier_t connected;
} Run;

typedef struct Writer
{
	Run *run;
	int first; /* numbers first, first + WRITERS, ... are its own */
} Writer;

static void *
writer_main(void *arg)
{
	Writer *writer = arg;
	Run *run = writer->run;
	PGconn *conn = open_connection(run->database);

	prepare(conn, "append",
			"SELECT usher.append('stream-' || $1::integer % 10000, 'order.placed', $2::jsonb)");
	pthread_barrier_wait(&run->connected);
	pthread_barrier_wait(&run->connected);
	for (int i = writer->first; i < run->count; i += WRITERS)
	{
		int64_t due = run->start + (int64_t) i * 1000000000 / run->rate;
		struct timespec until = {due / 1000000000, due % 1000000000};
		char number[16], data[200];
		const char *params[2] = {number, data};

		snprintf(number, sizeof(number), "%d", i);
		snprintf(
			data, sizeof(data),
			"{\"n\": %d, \"sku\": \"A-1042-XL\", \"qty\": 3, \"price\": 1999, \"currency\": \"EUR\", "
			"\"customer\": \"customer-2044-170\", \"address\": \"Main Street 1048, Springfield\"}",
			i);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		run->sent[i] = now_ns();
		expect(conn, PQexecPrepared(conn, "append", 2, params, NULL, NULL, 0), PGRES_TUPLES_OK);
		run->acknowledged[i] = now_ns();
	}
	PQfinish(conn);
	return NULL;
}

int
main(int argc, char **argv)
{
	Run run = {0};
	pthread_t threads[WRITERS];
	Writer writers[WRITERS];

	if (argc != 4)
		die("usage: commits DATABASE RATE SECONDS");
	run.database = argv[1];
	run.rate = atoi(argv[2]);
	run.count = run.rate * atoi(argv[3]);
	run.sent = calloc((size_t) run.count, sizeof(int64_t));
	run.acknowledged = calloc((size_t) run.count, sizeof(int64_t));
	pthread_barrier_init(&run.connected, NULL, WRITERS + 1);
	for (int i = 0; i < WRITERS; i++)
	{
		writers[i] = (Writer){&run, i};
		if (pthread_create(&threads[i], NULL, writer_main, &writers[i]) != 0)
			die("no thread");
	}
	pthread_barrier_wait(&run.connected);
	run.start = now_ns() + 100000000;
	pthread_barrier_wait(&run.connected);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < run.count; i++)
		printf("%d %lld %lld\n", i, (long long) run.sent[i], (long long) run.acknowledged[i]);
	return 0;
}
