/*
 * bench/src/consume.c
 *		Consumes a queue: takes a batch with all its columns, acknowledges it, takes the next.
 *
 * usage: consume usher|pgmq DATABASE NAME BATCH EVENTS
 *
 * `usher` polls the subscription NAME, each poll acknowledging the one before; `pgmq` reads and archives the queue
 * NAME, as its documentation shows. Each call is a transaction of its own. Ends when EVENTS events have come, or
 * nothing more comes.
 */
#include "bench.h"

static PGresult *
query(PGconn *conn, const char *statement, int n, const char *const *params)
{
	PGresult *result = PQexecPrepared(conn, statement, n, params, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(conn));
	return result;
}

/* Returns how many came; *lease is what to acknowledge with the next. */
static int
poll_usher(PGconn *conn, const char *name, const char *batch, char *lease)
{
	const char *params[] = {name, batch, lease[0] ? lease : NULL};
	PGresult *result = query(conn, "poll", 3, params);
	int rows = PQntuples(result);

	lease[0] = '\0';
	if (rows > 0)
		snprintf(lease, 32, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return rows;
}

static int
read_and_archive(PGconn *conn, const char *name, const char *batch, char *ids, size_t size)
{
	const char *params[] = {name, batch};
	PGresult *result = query(conn, "read", 2, params);
	int rows = PQntuples(result);
	size_t used = 0;

	for (int i = 0; i < rows; i++)
	{
		used += (size_t) snprintf(ids + used, size - used, "%c%s", i ? ',' : '{',
								  PQgetvalue(result, i, 0));
		if (used + 32 > size)
			die("the batch is too large");
	}
	PQclear(result);
	if (rows > 0)
	{
		snprintf(ids + used, size - used, "}");
		params[1] = ids;
		PQclear(query(conn, "archive", 2, params));
	}
	return rows;
}

int
main(int argc, char **argv)
{
	PGconn *conn;
	char lease[32] = "";
	static char ids[1 << 20];
	int64_t events = 0, wanted, start;
	int usher, rows;

	if (argc != 6)
		die("usage: consume usher|pgmq DATABASE NAME BATCH EVENTS");
	usher = strcmp(argv[1], "usher") == 0;
	wanted = atoll(argv[5]);
	conn = open_connection(argv[2]);
	if (usher)
		prepare(conn, "poll",
				"SELECT * FROM usher.poll($1::text, $2::integer, '0', NULL, $3::bigint)");
	else
	{
		prepare(conn, "read", "SELECT * FROM pgmq.read($1::text, 60, $2::integer)");
		prepare(conn, "archive", "SELECT pgmq.archive($1::text, $2::bigint[])");
	}
	start = now_ns();
	do
	{
		rows = usher ? poll_usher(conn, argv[3], argv[4], lease)
					 : read_and_archive(conn, argv[3], argv[4], ids, sizeof(ids));
		events += rows;
	} while (rows > 0 && events < wanted);
	printf("events=%lld seconds=%.6f\n", (long long) events, (double) (now_ns() - start) / 1e9);
	PQfinish(conn);
	return 0;
}
