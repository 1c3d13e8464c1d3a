/*
 * bench/src/bench.h
 *		What the benchmark programs share: connecting, checking results, the clock, random numbers.
 *
 * The connection comes from libpq's environment variables (PGHOST, PGPORT, PGUSER) and a database name. Every
 * failure ends the program with a message: a benchmark that has met an error has no figure to give.
 */
#ifndef BENCH_H
#define BENCH_H

#include <libpq-fe.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static inline int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

/* xorshift: quick, and good enough to choose streams */
static inline uint64_t
random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline PGconn *
open_connection(const char *database)
{
	const char *keywords[] = {"dbname", NULL};
	const char *values[] = {database, NULL};
	PGconn *conn = PQconnectdbParams(keywords, values, 0);

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	return conn;
}

/* Clear a result that must be of the given status. */
static inline void
expect(PGconn *conn, PGresult *result, ExecStatusType status)
{
	if (PQresultStatus(result) != status)
		die("%s: %s", PQresStatus(PQresultStatus(result)), PQerrorMessage(conn));
	PQclear(result);
}

static inline void
prepare(PGconn *conn, const char *name, const char *query)
{
	expect(conn, PQprepare(conn, name, query, 0, NULL), PGRES_COMMAND_OK);
}

#endif /* BENCH_H */
