/*
 * bench/src/consume.c
 *		Consumes a queue: takes a batch, acknowledges it, takes the next.
 *
 * usage: consume usher|pgmq|pgmq-each DATABASE NAME BATCH EVENTS
 *
 * `usher` polls the subscription NAME, each poll acknowledging the one before; `pgmq` reads and archives the queue
 * NAME, a batch by a call, as its documentation shows; `pgmq-each` archives each message by a call. Each call is a transaction of its own. Results come in the binary format, as
 * drivers ask for them that know the types; numbers go in as such. Ends when EVENTS events have come, or nothing
 * more comes.
 */
#include <endian.h>

#include "bench.h"

#define BATCH_MAX 10000

#define INT8_OID 20

/* A bigint[] as it is sent: dimensions, nulls, type, length, lower bound; then each with its length. */
typedef struct Ids
{
	struct
	{
		uint32_t dimensions, nulls, type, length, first;
	} head;
	struct __attribute__((packed))
	{
		uint32_t size;
		uint64_t id;
	} list[BATCH_MAX];
} Ids;

static PGresult *
query(PGconn *conn, const char *statement, int n, const char *const *params, const int *lengths)
{
	static const int binary[] = {1, 1, 1};
	PGresult *result = PQexecPrepared(conn, statement, n, params, lengths, binary, 1);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(conn));
	return result;
}

static uint64_t
bigint_at(const PGresult *result, int row, int column)
{
	uint64_t value;

	memcpy(&value, PQgetvalue(result, row, column), sizeof(value));
	return value; /* in the network's order, to be sent back */
}

/* Returns how many came; *lease is what to acknowledge with the next; 0: nothing. */
static int
poll_usher(PGconn *conn, const char *name, uint32_t batch, uint64_t *lease)
{
	const char *params[] = {name, (char *) &batch, *lease ? (char *) lease : NULL};
	const int lengths[] = {(int) strlen(name), sizeof(batch), sizeof(*lease)};
	PGresult *result = query(conn, "poll", 3, params, lengths);
	int rows = PQntuples(result);

	*lease = rows > 0 ? bigint_at(result, 0, 0) : 0;
	PQclear(result);
	return rows;
}

static int
read_and_archive(PGconn *conn, const char *name, uint32_t batch)
{
	static Ids ids;
	const char *params[] = {name, (char *) &batch};
	int lengths[] = {(int) strlen(name), sizeof(batch)};
	PGresult *result = query(conn, "read", 2, params, lengths);
	int rows = PQntuples(result);

	for (int i = 0; i < rows; i++)
	{
		ids.list[i].size = htobe32(sizeof(uint64_t));
		ids.list[i].id = bigint_at(result, i, 0);
	}
	PQclear(result);
	if (rows > 0)
	{
		ids.head.dimensions = ids.head.first = htobe32(1);
		ids.head.type = htobe32(INT8_OID);
		ids.head.length = htobe32((uint32_t) rows);
		params[1] = (char *) &ids;
		lengths[1] = (int) (sizeof(ids.head) + (size_t) rows * sizeof(ids.list[0]));
		PQclear(query(conn, "archive", 2, params, lengths));
	}
	return rows;
}

static int
read_and_archive_each(PGconn *conn, const char *name, uint32_t batch)
{
	const char *params[] = {name, (char *) &batch};
	int lengths[] = {(int) strlen(name), sizeof(batch)};
	PGresult *result = query(conn, "read", 2, params, lengths);
	int rows = PQntuples(result);

	for (int i = 0; i < rows; i++)
	{
		uint64_t id = bigint_at(result, i, 0);

		params[1] = (char *) &id;
		lengths[1] = sizeof(id);
		PQclear(query(conn, "archive-one", 2, params, lengths));
	}
	PQclear(result);
	return rows;
}

int
main(int argc, char **argv)
{
	PGconn *conn;
	uint64_t lease = 0;
	int64_t events = 0, wanted, start;
	int usher, each, batch, rows;

	if (argc != 6)
		die("usage: consume usher|pgmq|pgmq-each DATABASE NAME BATCH EVENTS");
	usher = strcmp(argv[1], "usher") == 0;
	each = strcmp(argv[1], "pgmq-each") == 0;
	wanted = atoll(argv[5]);
	batch = atoi(argv[4]);
	if (batch < 1 || batch > BATCH_MAX)
		die("a batch has 1 to %d events", BATCH_MAX);
	conn = open_connection(argv[2]);
	if (usher)
		prepare(
			conn, "poll",
			"SELECT lease, position, attempt, recorded_at, stream, type, data FROM usher.poll($1::text, $2::integer, '0', NULL, $3::bigint)");
	else
	{
		prepare(conn, "read", "SELECT * FROM pgmq.read($1::text, 60, $2::integer)");
		prepare(conn, "archive", "SELECT pgmq.archive($1::text, $2::bigint[])");
		prepare(conn, "archive-one", "SELECT pgmq.archive($1::text, $2::bigint)");
	}
	start = now_ns();
	do
	{
		rows = usher  ? poll_usher(conn, argv[3], htobe32((uint32_t) batch), &lease)
			   : each ? read_and_archive_each(conn, argv[3], htobe32((uint32_t) batch))
					  : read_and_archive(conn, argv[3], htobe32((uint32_t) batch));
		events += rows;
	} while (rows > 0 && events < wanted);
	printf("events=%lld seconds=%.6f\n", (long long) events, (double) (now_ns() - start) / 1e9);
	PQfinish(conn);
	return 0;
}
