/*
 * gateway/handlers/lists.c
 *	  Lists of subscriptions, sinks and dead letters; and replaying the last.
 *
 * The rows' first column is what to go on after, the second the item as JSON.
 * One row more than asked for tells whether there are others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../lib/json_check.h"
#include "../parked.h"
#include "../router.h"
#include "append.h"
#include "handlers.h"
#include "lists.h"
#include "once.h"

static const DbStatement subscriptions_statement = {
	.name = "subscriptions",
	.sql = "SELECT name, item FROM usher.gateway_subscriptions($1, $2, $3)",
	.nparams = 3,
};

static const DbStatement sinks_statement = {
	.name = "sinks",
	.sql = "SELECT name, item FROM usher.gateway_sinks($1, $2)",
	.nparams = 2,
};

static const DbStatement dead_letters_statement = {
	.name = "dead_letters",
	.sql = "SELECT id, item FROM usher.gateway_dead_letters($1, $2, $3, $4, $5)",
	.nparams = 5,
};

#define REPLAY "SELECT to_jsonb(usher.gateway_replay_dead_letters($1, $2, $3, $4, $5))"

static const DbStatement replay_statements[2] = {
	{.name = "replay_dead_letters", .sql = ONCE_PLAIN(REPLAY), .nparams = 5},
	{.name = "replay_dead_letters_once", .sql = ONCE_KEYED(REPLAY, "$6", "$7"), .nparams = 7},
};

static Slice
value_of(const PGresult *result, int row, int column)
{
	return (Slice){PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)};
}

static void
list_read(void *context, DbOutcome outcome, PGresult *result)
{
	List *list = context;
	Request *request = list->request;
	Text json = {0};
	Slice last = {NULL, 0};
	int rows, row, shown = 0;

	if (!result_usable(request, outcome, result))
		return;
	rows = PQntuples(result);
	text_puts(&json, "{\"items\":[");
	for (row = 0; row < rows && row < list->max; row++)
	{
		Slice name = value_of(result, row, 0), item = value_of(result, row, 1);

		if (row > 0 && (int64_t) (json.len + item.len) > config.reply_bytes_max)
			break;
		last = name;
		if (list->scope && !identity_allows(request->identity, list->scope, name))
			continue;
		if (shown++ > 0)
			text_char(&json, ',');
		text_add(&json, item.data, item.len);
	}
	text_puts(&json, "],\"next\":");
	if (last.data == NULL)
		text_puts(&json, "null");
	else if (list->numbered)
		text_add(&json, last.data, last.len);
	else
		text_json(&json, last.data, last.len);
	/* The database ends a page of dead letters at 1 MB: a page that is near it may have been cut. */
	text_printf(&json, ",\"has_more\":%s}",
				row < rows || (list->numbered && json.len > 512 * 1024) ? "true" : "false");
	reply_json(request, 200, &json);
	text_free(&json);
}

static void
go_list(Request *request)
{
	List *list = request->state;

	db_submit(LANE_SLOW, &list->call);
}

List *
list_begin(Request *request, const DbStatement *statement)
{
	List *list = arena_zalloc(&request->arena, sizeof(List));

	list->request = request;
	if (!request_query_int(request, "max", 1, PAGE_MAX, PAGE_DEFAULT, &list->max))
		return NULL;
	snprintf(list->max_text, sizeof(list->max_text), "%" PRId64, list->max + 1);
	list->call.statement = statement;
	list->call.tenant = request->identity->tenant;
	list->call.done = list_read;
	list->call.context = list;
	request->state = list;
	return list;
}

void
list_submit(List *list)
{
	parked_until_readable(list->request, go_list);
}

void
handle_subscriptions(Request *request)
{
	List *list;

	if (!identity_allows_some(request->identity, "subscriptions"))
	{
		request_allowed(request, "subscriptions", (Slice){NULL, 0});
		return;
	}
	list = list_begin(request, &subscriptions_statement);
	if (list == NULL)
		return;
	list->scope = "subscriptions";
	list->call.values[0] = request->identity->tenant;
	list->call.values[1] = parameter_text(request, request_query(request, "after"));
	list->call.values[2] = list->max_text;
	list_submit(list);
}

void
handle_sinks(Request *request)
{
	List *list;

	/* Anybody who makes keys for his tenant can give them any scope. */
	if (config.operator_tenant[0] == '\0' ||
		strcmp(request->identity->tenant, config.operator_tenant) != 0)
	{
		reply_problem(request, 403, "forbidden", NULL,
					  "the sinks belong to no tenant: those who operate the database may see them");
		return;
	}
	list = list_begin(request, &sinks_statement);
	if (list == NULL)
		return;
	list->call.values[0] = parameter_text(request, request_query(request, "after"));
	list->call.values[1] = list->max_text;
	list_submit(list);
}

void
handle_dead_letters(Request *request)
{
	List *list;
	int64_t after;

	if (!request_allowed(request, "dead-letters", (Slice){"read", 4}))
		return;
	list = list_begin(request, &dead_letters_statement);
	if (list == NULL || !request_query_int(request, "after", 0, INT64_MAX, 0, &after))
		return;
	snprintf(list->after_text, sizeof(list->after_text), "%" PRId64, after);
	list->numbered = true;
	list->call.values[0] = request->identity->tenant;
	list->call.values[1] = parameter_text(request, request_query(request, "subscription"));
	list->call.values[2] = parameter_text(request, request_query(request, "sink"));
	list->call.values[3] = list->after_text;
	list->call.values[4] = list->max_text;
	list_submit(list);
}

static void
replayed(void *context, DbOutcome outcome, PGresult *result)
{
	Request *request = context;
	Text json = {0};

	if (!result_usable(request, outcome, result))
		return;
	(void) once_tell(request, result);
	text_printf(&json, "{\"replay\":%s}", PQgetvalue(result, 0, 1));
	reply_json(request, 202, &json);
	text_free(&json);
}

/* {"subscription" or "sink": name, "filter": {...}} */
void
handle_replay(Request *request)
{
	static const char *const names[] = {"subscription", "sink", "filter"};
	JsonValue body, members[3], stranger;
	Slice subscription, sink;
	DbCall call;

	if (!request_allowed(request, "dead-letters", (Slice){"replay", 6}) ||
		!body_json(request, &body))
		return;
	if (body.kind != JSON_OBJECT ||
		json_members(body, names, 3, members, &stranger) != JSON_MEMBERS_OK ||
		!body_string(request, members[0], &subscription) ||
		!body_string(request, members[1], &sink) ||
		(subscription.data == NULL) == (sink.data == NULL) ||
		(members[2].kind > JSON_NULL && members[2].kind != JSON_OBJECT))
	{
		body_refused(request, -1,
					 "the body is {\"subscription\": name, \"filter\": {…}}, or \"sink\" instead");
		return;
	}
	call = (DbCall){
		.statement = &replay_statements[0],
		.values = {request->identity->tenant, request->identity->user,
				   parameter_text(request, subscription), parameter_text(request, sink),
				   members[2].kind == JSON_OBJECT ? parameter_text(request, members[2].text)
												  : "{}"},
		.tenant = request->identity->tenant,
		.done = replayed,
		.context = request,
	};
	once_submit(request, LANE_SLOW, replay_statements, &call);
}
