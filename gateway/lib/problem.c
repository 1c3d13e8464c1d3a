/*
 * gateway/lib/problem.c
 *	  What a SQLSTATE means in HTTP: the one table of it.
 *
 * What the client did wrong is 4xx and shows the database's words, which are
 * written for users (extension/ and RAISE in validators and projections).
 * Messages of PostgreSQL itself name tables and constraints: they are shown
 * only where they are about a value that the client sent.  What may go well
 * when it is repeated is 503 with Retry-After, and nothing was written.
 */
#include <stddef.h>
#include <string.h>

#include "problem.h"

/* In order of code: pg_usher's, PostgreSQL's, everything else. */
const Problem problem_table[] = {
	{"US001", 412, "wrong-expected-version", "The stream is at another version", 0, true},
	{"US002", 409, "stream-deleted", "The stream was deleted", 0, true},
	{"US003", 404, "unknown-subscription", "There is no such subscription", 0, true},
	{"US004", 410, "position-gone", "Events behind this position were removed", 0, true},
	{"US005", 409, "event-id-conflict", "The event id belongs to another event", 0, true},
	{"US006", 400, "invalid-name", "A name is not valid", 0, true},
	{"US007", 400, "invalid-event-data", "An event's data or metadata is not valid", 0, true},
	{"US008", 413, "event-too-large", "An event is too large", 0, true},
	{"US009", 413, "too-many-events", "There are too many events in the request", 0, true},
	{"US010", 403, "unknown-tenant", "There is no such tenant", 0, false},
	{"US011", 403, "tenant-denied", "The tenant may not be used", 0, false},
	{"US012", 500, "internal", "Something went wrong inside", 0, false},
	{"US013", 500, "internal", "Something went wrong inside", 0, false},
	{"US014", 500, "internal", "Something went wrong inside", 0, false},
	{"US015", 500, "internal", "Something went wrong inside", 0, false},
	{"US016", 503, "log-not-ready", "The log has no room at the moment", 5, false},
	{"US017", 404, "unknown-projection", "There is no such projection", 0, true},
	{"US018", 400, "invalid-argument", "An argument is not valid", 0, true},
	{"US020", 500, "internal", "Something went wrong inside", 0, false},
	{"US021", 500, "internal", "Something went wrong inside", 0, false},
	{"US022", 404, "unknown-sink", "There is no such sink", 0, true},
	{"US023", 404, "unknown-route", "There is no such route of a sink", 0, true},
	{"US024", 409, "sink-blocked", "The sink has stopped", 0, false},
	{"US025", 422, "idempotency-conflict", "The idempotency key belongs to another request", 0,
	 true},
	{"US026", 409, "lease-lost", "The lease is over", 0, true},
	{"US027", 409, "request-in-progress", "A request with this idempotency key is under way", 1,
	 true},
	{"US030", 409, "sold-out", "There are not as many places left", 0, true},
	{"US031", 409, "user-limit", "A user cannot have so many places", 0, true},
	{"US032", 409, "sale-closed", "The event is not on sale", 0, true},
	{"US033", 409, "seat-taken", "Seats are taken", 0, true},
	{"US034", 404, "unknown-show", "There is no such show", 0, true},
	{"US035", 400, "quantity", "The quantity is not possible", 0, true},
	{"US036", 410, "booking-expired", "The reservation has expired", 0, true},
	{"US037", 409, "wrong-state", "Its state does not allow it", 0, true},
	{"US038", 404, "unknown-booking", "There is no such booking", 0, true},
	{"US039", 429, "hold-abuse", "Too many reservations were left to expire", 60, true},
	{"US040", 503, "out-of-resources", "The database is short of resources", 2, false},
	{"US041", 500, "internal", "Something went wrong inside", 0, false},
	{"US042", 404, "unknown-snapshot", "There is no such snapshot", 0, true},
	{"US043", 403, "not-admitted", "The reservation is not admitted", 0, true},
	/* connections */
	{"08", 503, "database-unavailable", "The database cannot be reached", 1, false},
	/* values: of more digits than a number may have, of no encoding, of no JSON */
	{"22", 400, "invalid-value", "A value is not valid", 0, true},
	/* constraints: of tables that a projection or validator writes */
	{"23", 409, "constraint-violated", "A rule of the database refuses it", 0, false},
	{"25006", 503, "read-only", "The database is a standby or read-only", 5, false},
	{"25P03", 503, "timeout", "It took too long and was ended", 1, false},
	{"28", 503, "database-unavailable", "The database cannot be reached", 5, false},
	{"3D", 503, "database-unavailable", "The database cannot be reached", 5, false},
	{"40001", 503, "transaction-conflict", "Others were in the way", 1, false},
	{"40002", 409, "constraint-violated", "A rule of the database refuses it", 0, false},
	{"40003", 503, "outcome-unknown", "Nobody knows whether it was done", 1, false},
	{"40P01", 503, "transaction-conflict", "Others were in the way", 1, false},
	{"40", 503, "transaction-conflict", "Others were in the way", 1, false},
	{"42501", 403, "forbidden", "It is not allowed", 0, false},
	{"44", 409, "constraint-violated", "A rule of the database refuses it", 0, false},
	{"53100", 503, "out-of-resources", "The database is short of resources", 30, false},
	{"53", 503, "out-of-resources", "The database is short of resources", 2, false},
	{"54", 413, "too-large", "It exceeds a limit of the database", 0, false},
	{"55P03", 503, "busy", "Somebody else holds what it needs", 1, false},
	{"55006", 503, "busy", "Somebody else holds what it needs", 1, false},
	{"57014", 503, "timeout", "It took too long and was ended", 1, false},
	{"57", 503, "database-unavailable", "The database cannot be reached", 1, false},
	/* RAISE EXCEPTION without a code: a validator or projection says no */
	{"P0001", 422, "refused", "A validator or projection refuses it", 0, true},
	{"", 500, "internal", "Something went wrong inside", 0, false},
};

const int problem_count = sizeof(problem_table) / sizeof(problem_table[0]);

/* The longest code that the SQLSTATE begins with. */
const Problem *
problem_of(const char *sqlstate)
{
	const Problem *best = &problem_table[problem_count - 1];

	for (int i = 0; i < problem_count; i++)
	{
		size_t len = strlen(problem_table[i].sqlstate);

		if (len > strlen(best->sqlstate) && strncmp(problem_table[i].sqlstate, sqlstate, len) == 0)
			best = &problem_table[i];
	}
	return best;
}
