/*
 * gateway/handlers/boxoffice_body.c
 *	  Bodies of the box office, checked by a list of their members, and calls whose result is the reply.
 *
 * A body that has the right form goes to PostgreSQL as it is; what its values
 * may be is decided there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../lib/json_check.h"
#include "../lib/pgbinary.h"
#include "../parked.h"
#include "../router.h"
#include "boxoffice.h"
#include "handlers.h"
#include "once.h"

static const DbStatement range_statement = {
	.name = "box_range",
	.sql = "SELECT last FROM usher.committed_range()",
};

/* ---- bodies ---- */

static bool is_object(JsonValue value, const BoxMember *members, char *why, size_t size);

static bool
is_int(JsonValue value)
{
	int64_t number;

	return value.kind == JSON_NUMBER && json_int(value, INT64_MIN, INT64_MAX, &number);
}

static bool
is_kind(JsonValue value, const BoxMember *member, char *why, size_t size)
{
	JsonWalk walk = json_walk(value);
	JsonValue item;

	switch (member->kind)
	{
		case BOX_STRING:
			return value.kind == JSON_STRING;
		case BOX_INT:
			return is_int(value);
		case BOX_BOOL:
			return value.kind == JSON_TRUE || value.kind == JSON_FALSE;
		case BOX_INTS:
			while (value.kind == JSON_ARRAY && json_next(&walk, NULL, &item))
				if (!is_int(item))
					return false;
			return value.kind == JSON_ARRAY;
		case BOX_OBJECTS:
			while (value.kind == JSON_ARRAY && json_next(&walk, NULL, &item))
				if (!is_object(item, member->of, why, size))
					return false;
			return value.kind == JSON_ARRAY;
	}
	return false;
}

/* false: why says what is wrong. */
static bool
is_object(JsonValue value, const BoxMember *members, char *why, size_t size)
{
	static const char *const kinds[] = {"a string", "a whole number", "true or false",
										"a list of whole numbers", "a list of objects"};
	const char *names[BOX_MEMBERS_MAX];
	JsonValue values[BOX_MEMBERS_MAX], stranger = {0};
	int n = 0;

	for (; members[n].name != NULL; n++)
		names[n] = members[n].name;
	if (value.kind != JSON_OBJECT)
	{
		snprintf(why, size, "it is not an object");
		return false;
	}
	if (json_members(value, names, n, values, &stranger) != JSON_MEMBERS_OK)
	{
		snprintf(why, size, "a member is not known, or stands twice: %.*s",
				 (int) (stranger.text.len < 60 ? stranger.text.len : 60), stranger.text.data);
		return false;
	}
	for (int i = 0; i < n; i++)
	{
		why[0] = '\0';
		if ((values[i].kind == JSON_NONE && members[i].need != BOX_MUST) ||
			(values[i].kind == JSON_NULL && members[i].need == BOX_MAY) ||
			(values[i].kind > JSON_NULL && is_kind(values[i], &members[i], why, size)))
			continue;
		if (why[0] == '\0')
			snprintf(why, size, "%s is %s%s", names[i], kinds[members[i].kind],
					 members[i].need == BOX_MUST ? ", and must be there" : "");
		return false;
	}
	return true;
}

const char *
box_body(Request *request, const BoxMember *members)
{
	JsonValue body;
	char why[160];

	if (!body_json(request, &body))
		return NULL;
	if (is_object(body, members, why, sizeof(why)))
		return arena_copy(&request->arena, body.text.data, body.text.len);
	(void) body_refused(request, -1, why);
	return NULL;
}

/* ---- arguments ---- */

const char *
box_number_argument(Request *request, int n, const char *kind)
{
	int64_t number;

	if (slice_int(request->arguments[n], INT64_MIN, INT64_MAX, &number))
		return parameter_text(request, request->arguments[n]);
	reply_problem(request, 404, kind, NULL, "the path has no number where there should be one");
	return NULL;
}

const char *
box_uuid_argument(Request *request, int n)
{
	Slice id;

	if (body_uuid(request, request->arguments[n], &id))
		return parameter_text(request, request->arguments[n]);
	reply_problem(request, 404, "unknown-booking", NULL, "there is no such booking");
	return NULL;
}

/* ---- calls ---- */

const BoxWork *
box_work(const Request *request, const BoxWork *works)
{
	while (works->operation != NULL && strcmp(works->operation, request->route->operation) != 0)
		works++;
	return works;
}

static void
take_range(void *context, PGresult *result)
{
	BoxCall *call = context;
	Slice last;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		return;
	last = (Slice){PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0)};
	if (!slice_int(last, 0, INT64_MAX, &call->position))
		call->position = -1;
}

/* The address of what was made: its id is a number in the reply. */
static void
add_location(const BoxCall *call, const char *body, size_t len)
{
	const char *const names[] = {call->id};
	JsonValue object, id, stranger;
	JsonFault fault;
	Text location = {0};

	if (call->location == NULL || !json_check(body, len, 16, &object, &fault))
		return;
	(void) json_members(object, names, 1, &id, &stranger);
	if (id.kind != JSON_NUMBER)
		return;
	text_puts(&location, call->location);
	text_add(&location, id.text.data, id.text.len);
	reply_header(call->request, "Location", location.data);
	text_free(&location);
}

static void
done(void *context, DbOutcome outcome, PGresult *result)
{
	BoxCall *call = context;
	Request *request = call->request;
	char position[24];
	const char *body;
	int column = call->writes ? 1 : 0;
	size_t len;

	if (outcome == DB_LOST && call->writes)
	{
		reply_unavailable(request, "outcome-unknown",
						  "the connection to the database ended before the commit was confirmed");
		return;
	}
	if (!result_usable(request, outcome, result))
		return;
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, column))
	{
		reply_sqlstate(request, "XX000", "a statement of the box office has no result", NULL, NULL);
		return;
	}
	body = PQgetvalue(result, 0, column);
	len = (size_t) PQgetlength(result, 0, column);
	if (call->writes && once_tell(request, result))
		call->position = -1; /* what the connection has committed last is something else */
	if (call->position >= 0)
	{
		snprintf(position, sizeof(position), "%" PRId64, call->position);
		reply_header(request, "Usher-Position", position);
	}
	add_location(call, body, len);
	reply(request, call->status, "application/json", body, len);
}

BoxCall *
box_call(Request *request, const DbStatement *statement, int status)
{
	BoxCall *call = arena_zalloc(&request->arena, sizeof(BoxCall));

	call->request = request;
	call->status = status;
	call->position = -1;
	call->call.statement = statement;
	call->call.tenant = request->identity->tenant;
	call->call.values[0] = request->identity->tenant;
	call->call.done = done;
	call->call.context = call;
	request->state = call;
	return call;
}

static void
go_read(Request *request)
{
	BoxCall *call = request->state;

	db_submit(LANE_READ, &call->call);
}

void
box_read(BoxCall *call)
{
	parked_until_readable(call->request, go_read);
}

void
box_write(BoxCall *call, const DbStatement statements[2])
{
	call->writes = true;
	call->call.then = &range_statement;
	call->call.then_done = take_range;
	once_submit(call->request, LANE_SLOW, statements, &call->call);
}
