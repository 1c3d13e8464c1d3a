/*
 * gateway/handlers/read.c
 *	  Reading streams and categories.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../router.h"
#include "handlers.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000

typedef struct Read
{
	Request *request;
	int64_t from;
	int64_t max;
	bool backwards;
	char from_text[24], max_text[24];
} Read;

static const DbStatement read_stream = {
	.name = "read_stream",
	.sql = "SELECT stream, version, position, id, type, data, metadata, recorded_at"
		   " FROM usher.gateway_read_stream($1, $2, $3, $4, $5)",
	.nparams = 5,
};

static const DbStatement read_category = {
	.name = "read_category",
	.sql = "SELECT position, stream, version, id, type, data, metadata, recorded_at"
		   " FROM usher.gateway_read_category($1, $2, $3, $4)",
	.nparams = 4,
};

static void
stream_read(void *context, DbOutcome outcome, PGresult *result)
{
	Read *read = context;
	Text json = {0};

	if (!result_usable(read->request, outcome, result))
		return;
	events_page(&json, result, "version", read->backwards ? -1 : 1, (int) read->max,
				read->from < 0 ? 1 : read->from);
	reply_json(read->request, 200, &json);
	text_free(&json);
}

static void
category_read(void *context, DbOutcome outcome, PGresult *result)
{
	Read *read = context;
	Text json = {0};

	if (!result_usable(read->request, outcome, result))
		return;
	events_page(&json, result, "position", 0, (int) read->max, read->from);
	reply_json(read->request, 200, &json);
	text_free(&json);
}

static Read *
begin(Request *request, const char *from, int64_t fallback)
{
	Read *read = arena_zalloc(&request->arena, sizeof(Read));

	read->request = request;
	if (!request_query_int(request, from, 0, INT64_MAX, fallback, &read->from) ||
		!request_query_int(request, "max", 1, PAGE_MAX, PAGE_DEFAULT, &read->max))
		return NULL;
	snprintf(read->from_text, sizeof(read->from_text), "%" PRId64, read->from);
	snprintf(read->max_text, sizeof(read->max_text), "%" PRId64, read->max);
	return read;
}

void
handle_read_stream(Request *request)
{
	Slice direction = request_query(request, "direction");
	Read *read;
	DbCall call;

	if (direction.data && !slice_is(direction, "forward") && !slice_is(direction, "backward"))
	{
		reply_problem(request, 400, "invalid-parameter", NULL,
					  "direction is \"forward\" or \"backward\"");
		return;
	}
	read = begin(request, "from", -1);
	if (read == NULL)
		return;
	read->backwards = direction.data && slice_is(direction, "backward");
	call = (DbCall){
		.statement = &read_stream,
		.values = {request->identity->tenant,
				   arena_copy(&request->arena, request->arguments[0].data,
							  request->arguments[0].len),
				   read->from < 0 ? NULL : read->from_text, read->max_text,
				   read->backwards ? "t" : "f"},
		.tenant = request->identity->tenant,
		.done = stream_read,
		.context = read,
	};
	db_submit(LANE_READ, &call);
}

void
handle_read_category(Request *request)
{
	Read *read = begin(request, "after", 0);
	DbCall call;

	if (read == NULL)
		return;
	call = (DbCall){
		.statement = &read_category,
		.values = {request->identity->tenant,
				   arena_copy(&request->arena, request->arguments[0].data,
							  request->arguments[0].len),
				   read->from_text, read->max_text},
		.tenant = request->identity->tenant,
		.done = category_read,
		.context = read,
	};
	db_submit(LANE_READ, &call);
}
