/*
 * gateway/handlers/event.c
 *	  Events as JSON, and pages of them.
 *
 * The rows are in text format; data and metadata are JSON already.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "handlers.h"

Slice
category_of(Slice stream)
{
	const char *dash = stream.data ? memchr(stream.data, '-', stream.len) : NULL;

	return (Slice){stream.data, dash ? (size_t) (dash - stream.data) : stream.len};
}

typedef struct Column
{
	const char *name;
	bool quoted; /* a string of JSON; else it stands as it is */
} Column;

static const Column columns[] = {
	{"position", false}, {"stream", true},      {"version", false}, {"id", true},
	{"type", true},      {"topic", true},       {"key", true},      {"data", false},
	{"metadata", false}, {"recorded_at", true},
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

void
event_json(Text *json, const PGresult *result, int row)
{
	bool first = true;

	for (size_t i = 0; i < COLUMNS; i++)
	{
		int column = PQfnumber(result, columns[i].name);

		if (column < 0 || PQgetisnull(result, row, column))
			continue;
		text_char(json, first ? '{' : ',');
		first = false;
		text_char(json, '"');
		text_puts(json, columns[i].name);
		text_puts(json, "\":");
		if (columns[i].quoted)
			text_json(json, PQgetvalue(result, row, column),
					  (size_t) PQgetlength(result, row, column));
		else
			text_add(json, PQgetvalue(result, row, column),
					 (size_t) PQgetlength(result, row, column));
	}
	text_char(json, '}');
}

void
events_page(Text *json, const PGresult *result, const char *next_column, int step, int max,
			int64_t fallback_next)
{
	int rows = PQntuples(result), row;
	int column = PQfnumber(result, next_column);
	int64_t next = fallback_next;

	text_puts(json, "{\"items\":[");
	for (row = 0; row < rows; row++)
	{
		size_t before = json->len;

		if (row > 0)
			text_char(json, ',');
		event_json(json, result, row);
		if (row > 0 && (int64_t) json->len > config.reply_bytes_max)
		{
			json->len = before; /* too much: the next page begins here */
			break;
		}
		next = strtoll(PQgetvalue(result, row, column), NULL, 10) + step;
	}
	text_printf(json, "],\"next\":%" PRId64 ",\"has_more\":%s}", next,
				row < rows || rows == max ? "true" : "false");
}

bool
result_usable(Request *request, DbOutcome outcome, const PGresult *result)
{
	const char *sqlstate, *message, *detail;

	switch (outcome)
	{
		case DB_DONE:
			return true;
		case DB_REFUSED:
			sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
			detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
			reply_sqlstate(request, sqlstate ? sqlstate : "XX000", message ? message : "", detail,
						   NULL);
			return false;
		case DB_LOST:
		case DB_UNSENT:
			reply_unavailable(request, "unavailable",
							  "the database cannot be reached, or has too much to do");
			return false;
	}
	return false;
}
