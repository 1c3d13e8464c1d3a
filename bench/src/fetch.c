/*
 * bench/src/fetch.c
 *		Reads the log in pages with usher.read in one session.
 *
 * usage: fetch count|fetch|plain DATABASE PAGE AFTER EVENTS
 *
 * `count` lets the server count the rows of each page; `fetch` brings all columns of every row to the client, as
 * text, row by row; `plain` does so with the pages of the plain table, in the order of its key. Begins after position AFTER and stops when EVENTS events were read; where the log ends before, it
 * begins again from its start, so that a small log can be read as often as a large one is long.
 */
#include "bench.h"

typedef struct Page
{
	int64_t events;
	char last[32]; /* position of the last event, as text */
} Page;

static void
read_count(PGconn *conn, const char *const *params, Page *page)
{
	PGresult *result = PQexecPrepared(conn, "count", 2, params, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(conn));
	page->events = atoll(PQgetvalue(result, 0, 0));
	snprintf(page->last, sizeof(page->last), "%s", PQgetvalue(result, 0, 1));
	PQclear(result);
}

static void
read_fetch(PGconn *conn, const char *statement, const char *const *params, Page *page)
{
	PGresult *result;

	page->events = 0;
	if (!PQsendQueryPrepared(conn, statement, 2, params, NULL, NULL, 0) ||
		!PQsetSingleRowMode(conn))
		die("%s", PQerrorMessage(conn));
	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
		{
			page->events++;
			snprintf(page->last, sizeof(page->last), "%s", PQgetvalue(result, 0, 0));
		}
		else if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		PQclear(result);
	}
}

int
main(int argc, char **argv)
{
	PGconn *conn;
	Page page = {0, ""};
	const char *params[2];
	int64_t wanted;
	int64_t events = 0;
	int64_t start;
	if (argc != 6)
		die("usage: fetch count|fetch|plain DATABASE PAGE AFTER EVENTS");
	conn = open_connection(argv[2]);
	wanted = atoll(argv[5]);
	if (strcmp(argv[1], "plain") == 0)
		prepare(
			conn, "plain",
			"SELECT * FROM plain WHERE position > $1::bigint ORDER BY position LIMIT $2::bigint");
	else
	{
		prepare(conn, "count",
				"SELECT count(*), max(position) FROM usher.read($1::bigint, $2::integer)");
		prepare(conn, "fetch", "SELECT * FROM usher.read($1::bigint, $2::integer)");
	}
	snprintf(page.last, sizeof(page.last), "%s", argv[4]);

	start = now_ns();
	while (events < wanted)
	{
		char after[32];

		memcpy(after, page.last, sizeof(after));
		params[0] = after;
		params[1] = argv[3];
		if (strcmp(argv[1], "count") == 0)
			read_count(conn, params, &page);
		else
			read_fetch(conn, argv[1], params, &page);
		if (page.events == 0 && strcmp(after, "0") == 0)
			die("the log is empty");
		if (page.events == 0)
			strcpy(page.last, "0");
		events += page.events;
	}
	printf("events=%lld seconds=%.6f\n", (long long) events, (double) (now_ns() - start) / 1e9);
	PQfinish(conn);
	return 0;
}
