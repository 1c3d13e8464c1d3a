/*
 * gateway/handlers/event.c
 *	  Events as JSON, and pages of them.
 *
 * The rows are in text format; data and metadata are JSON already.
 */
#include <inttypes.h>
#include <stdio.h>
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

static void
add_member(Text *json, const char *name, const char *value, bool quoted)
{
	if (value[0] == '\0')
		return;
	text_printf(json, ",\"%s\":", name);
	if (quoted)
		text_json(json, value, strlen(value));
	else
		text_puts(json, value);
}

void
tail_event_json(Text *json, const TailEvent *event)
{
	text_printf(json, "{\"position\":%" PRId64, event->position);
	add_member(json, "stream", event->stream, true);
	if (event->version > 0)
		text_printf(json, ",\"version\":%" PRId64, event->version);
	add_member(json, "id", event->id, true);
	add_member(json, "type", event->type, true);
	add_member(json, "topic", event->topic, true);
	add_member(json, "key", event->key, true);
	add_member(json, "data", event->data, false);
	add_member(json, "metadata", event->metadata, false);
	add_member(json, "recorded_at", event->recorded_at, true);
	text_char(json, '}');
}

static bool
is_true(const PGresult *result, int row, const char *name)
{
	int column = PQfnumber(result, name);

	return column >= 0 && PQgetvalue(result, row, column)[0] == 't';
}

void
events_page(Text *json, const PGresult *result, EventsPage *page)
{
	int rows = PQntuples(result), row;
	int step_column = PQfnumber(result, page->column);
	int next_column = PQfnumber(result, "next");
	int position_column = PQfnumber(result, "position");

	text_puts(json, "{\"items\":[");
	page->items = 0;
	page->more = rows > 0 && is_true(result, 0, "more");
	for (row = 0; row < rows && !PQgetisnull(result, row, position_column); row++)
	{
		size_t before = json->len;

		if (row > 0)
			text_char(json, ',');
		event_json(json, result, row);
		if (row > 0 && (int64_t) json->len > config.reply_bytes_max)
		{
			json->len = before; /* too much: the next page begins here */
			page->more = true;
			break;
		}
		page->items++;
		page->next = strtoll(PQgetvalue(result, row, step_column), NULL, 10) + page->step;
	}
	if (next_column >= 0 && rows > 0 && row == page->items &&
		(row == rows || PQgetisnull(result, row, position_column)))
		page->next = strtoll(PQgetvalue(result, 0, next_column), NULL, 10);
	text_printf(json, "],\"next\":%" PRId64 ",\"has_more\":%s}", page->next,
				page->more ? "true" : "false");
}

const char *
parameter_text(Request *request, Slice text)
{
	return text.data ? arena_copy(&request->arena, text.data, text.len) : NULL;
}

const char *
parameter_array(Request *request, const Slice *texts, int n)
{
	size_t size = 3;
	char *out, *at;

	for (int i = 0; i < n; i++)
		size += 2 * texts[i].len + 3;
	out = at = arena_alloc(&request->arena, size);
	*at++ = '{';
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			*at++ = ',';
		*at++ = '"';
		for (size_t k = 0; k < texts[i].len; k++)
		{
			if (texts[i].data[k] == '"' || texts[i].data[k] == '\\')
				*at++ = '\\';
			*at++ = texts[i].data[k];
		}
		*at++ = '"';
	}
	*at++ = '}';
	*at = '\0';
	return out;
}

bool
result_usable(Request *request, DbOutcome outcome, const PGresult *result)
{
	const char *sqlstate, *message, *detail;
	int64_t oldest;
	char members[64];

	switch (outcome)
	{
		case DB_DONE:
			return true;
		case DB_REFUSED:
			sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
			detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
			oldest = db_oldest_position(result);
			snprintf(members, sizeof(members), ",\"oldest_position\":%" PRId64, oldest);
			reply_sqlstate(request, sqlstate ? sqlstate : "XX000", message ? message : "", detail,
						   oldest >= 0 ? members : NULL);
			return false;
		case DB_LOST:
			if (request->method == METHOD_POST)
			{
				reply_unavailable(request, "outcome-unknown",
								  "the connection to the database ended before the commit was "
								  "confirmed; it may have been done");
				return false;
			}
			/* fall through */
		case DB_UNSENT:
			reply_unavailable(request, "unavailable",
							  "the database cannot be reached, or has too much to do");
			return false;
	}
	return false;
}
