/*
 * gateway/handlers/read.c
 *	  Reading streams and categories.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../parked.h"
#include "../router.h"
#include "handlers.h"

typedef struct Read
{
	Request *request;
	int64_t max;
	EventsPage page;
	char from_text[24], before_text[24], max_text[24];
} Read;

static const DbStatement read_stream = {
	.name = "read_stream",
	.sql = "SELECT more, stream, version, position, id, type, data, metadata, recorded_at"
		   " FROM usher.gateway_read_stream($1, $2, $3, $4, $5, $6)",
	.nparams = 6,
};

static const DbStatement read_category = {
	.name = "read_category",
	.sql = "SELECT more, position, stream, version, id, type, data, metadata, recorded_at"
		   " FROM usher.gateway_read_category($1, $2, $3, $4)",
	.nparams = 4,
};

static void
events_read(void *context, DbOutcome outcome, PGresult *result)
{
	Read *read = context;
	Text json = {0};

	if (!result_usable(read->request, outcome, result))
		return;
	events_page(&json, result, &read->page);
	reply_json(read->request, 200, &json);
	text_free(&json);
}

static void
submit(Read *read, DbCall *call)
{
	call->tenant = read->request->identity->tenant;
	call->done = events_read;
	call->context = read;
	db_submit(LANE_READ, call);
}

/* NULL: a parameter was refused. */
static Read *
begin(Request *request)
{
	Read *read = arena_zalloc(&request->arena, sizeof(Read));

	read->request = request;
	if (!request_query_int(request, "max", 1, PAGE_MAX, PAGE_DEFAULT, &read->max))
		return NULL;
	snprintf(read->max_text, sizeof(read->max_text), "%" PRId64, read->max);
	return read;
}

/* from: of a backward reader the version that it begins with, going down. */
static void
go_read_stream(Request *request)
{
	Slice direction = request_query(request, "direction");
	bool backwards = direction.data && slice_is(direction, "backward");
	int64_t from;
	Read *read;
	DbCall call;

	if (direction.data && !backwards && !slice_is(direction, "forward"))
	{
		reply_problem(request, 400, "invalid-parameter", NULL,
					  "direction is \"forward\" or \"backward\"");
		return;
	}
	read = begin(request);
	if (read == NULL ||
		!request_query_int(request, "from", 0, INT64_MAX - 1, backwards ? INT64_MAX - 1 : 1, &from))
		return;
	snprintf(read->from_text, sizeof(read->from_text), "%" PRId64, backwards ? 0 : from);
	snprintf(read->before_text, sizeof(read->before_text), "%" PRId64, from + 1);
	read->page = (EventsPage){
		.column = "version", .step = backwards ? -1 : 1, .next = backwards ? 0 : from};
	call = (DbCall){
		.statement = &read_stream,
		.values = {request->identity->tenant, parameter_text(request, request->arguments[0]),
				   read->from_text, read->max_text, backwards ? "t" : "f",
				   backwards ? read->before_text : NULL},
	};
	submit(read, &call);
}

void
handle_read_stream(Request *request)
{
	if (request_allowed(request, "log:read", category_of(request->arguments[0])))
		parked_until_readable(request, go_read_stream);
}

static void
go_read_category(Request *request)
{
	Read *read = begin(request);
	int64_t after;
	DbCall call;

	if (read == NULL || !request_query_int(request, "after", 0, INT64_MAX, 0, &after))
		return;
	snprintf(read->from_text, sizeof(read->from_text), "%" PRId64, after);
	read->page = (EventsPage){.column = "position", .next = after};
	call = (DbCall){
		.statement = &read_category,
		.values = {request->identity->tenant, parameter_text(request, request->arguments[0]),
				   read->from_text, read->max_text},
	};
	submit(read, &call);
}

void
handle_read_category(Request *request)
{
	if (request_allowed(request, "log:read", request->arguments[0]))
		parked_until_readable(request, go_read_category);
}
