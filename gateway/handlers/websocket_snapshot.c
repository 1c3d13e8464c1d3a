/*
 * gateway/handlers/websocket_snapshot.c
 *	  A subscription that begins with a snapshot: what a function of the database says, and the log behind it.
 *
 * The function is asked first; the subscription is made when it has answered,
 * behind the position of the same instant.
 */
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../db.h"
#include "../lib/problem.h"
#include "websocket.h"

typedef struct PendingSnapshot
{
	struct PendingSnapshot *next; /* the socket's */
	Socket *socket;
	int64_t ref;
	char sub[65];
	bool cancelled;
	LiveFilter filter;
	Identity *identity; /* for whom it is asked */
	const char *name, *arguments;
} PendingSnapshot;

static const DbStatement snapshot_statement = {
	.name = "snapshot",
	.sql = "SELECT position, data FROM usher.gateway_snapshot($1, $2, $3, $4)",
	.nparams = 4,
};

/* "name", or {"name": …, "arguments": {…}} */
static const char *
parse(JsonValue snapshot, JsonValue *name, JsonValue *arguments)
{
	static const char *const names[] = {"name", "arguments"};
	JsonValue m[2] = {{0}, {0}}, stranger;

	if (snapshot.kind == JSON_STRING)
		m[0] = snapshot;
	else if (snapshot.kind != JSON_OBJECT ||
			 json_members(snapshot, names, 2, m, &stranger) != JSON_MEMBERS_OK)
		return "snapshot is a name, or an object with name and arguments";
	if (m[0].kind != JSON_STRING || m[0].text.len < 3 || m[0].text.len > 255)
		return "the name of a snapshot is a string of 1 to 253 bytes";
	if (m[1].kind > JSON_NULL && m[1].kind != JSON_OBJECT)
		return "arguments of a snapshot are an object";
	*name = m[0];
	*arguments = m[1];
	return NULL;
}

const char *
snapshot_fault(JsonValue snapshot)
{
	JsonValue name, arguments;

	return parse(snapshot, &name, &arguments);
}

static void
unlink_pending(PendingSnapshot *pending)
{
	PendingSnapshot **at = &pending->socket->snapshots;

	while (*at != pending)
		at = &(*at)->next;
	*at = pending->next;
	pending->socket->live.npending--;
}

static void
refuse(const PendingSnapshot *pending, DbOutcome outcome, const PGresult *result)
{
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const Problem *problem = problem_of(sqlstate ? sqlstate : "XX000");

	if (outcome != DB_REFUSED)
		socket_error(pending->socket, pending->ref, 503, "unavailable",
					 "the database cannot be reached, or has too much to do");
	else
		socket_error(pending->socket, pending->ref, problem->status, problem->kind,
					 problem->shown && message ? message : problem->title);
}

static void
begin(PendingSnapshot *pending, const PGresult *result)
{
	Socket *socket = pending->socket;
	Slice data = {PQgetvalue(result, 0, 1), (size_t) PQgetlength(result, 0, 1)};

	if (PQgetisnull(result, 0, 1))
		data = (Slice){"null", 4};
	if (!live_allowed(&pending->filter.filter, socket->client.identity) ||
		!identity_allows(socket->client.identity, "snapshot",
						 (Slice){pending->name, strlen(pending->name)}))
		socket_error(socket, pending->ref, 403, "forbidden", "the newer token does not allow it");
	else if ((int64_t) data.len > config.reply_bytes_max)
		socket_error(socket, pending->ref, 413, "too-large", "the snapshot is too large");
	else
		socket_confirm(socket, pending->ref, (Slice){pending->sub, strlen(pending->sub)},
					   &pending->filter.filter, strtoll(PQgetvalue(result, 0, 0), NULL, 10), &data);
}

static void
answered(void *context, DbOutcome outcome, PGresult *result)
{
	PendingSnapshot *pending = context;
	Socket *socket = pending->socket;

	unlink_pending(pending);
	if (socket->connection && !pending->cancelled)
	{
		if (outcome == DB_DONE && PQntuples(result) == 1)
			begin(pending, result);
		else
			refuse(pending, outcome, result);
	}
	live_filter_free(&pending->filter);
	identity_release(pending->identity);
	free(pending);
	socket_free(socket);
}

static const char *
keep_text(Arena *arena, JsonValue string)
{
	char *out = arena_alloc(arena, string.text.len + 1);

	out[json_unescape(string, out)] = '\0';
	return out;
}

void
snapshot_subscribe(Socket *socket, int64_t ref, Slice sub, LiveFilter *filter, JsonValue snapshot)
{
	PendingSnapshot *pending = calloc(1, sizeof(PendingSnapshot));
	DbCall call = {.statement = &snapshot_statement, .done = answered, .context = pending};
	JsonValue name, arguments;

	if (pending == NULL)
		abort();
	(void) parse(snapshot, &name, &arguments);
	pending->filter = *filter;
	pending->filter.filter.types = pending->filter.types;
	pending->filter.filter.streams = pending->filter.streams;
	if (pending->filter.filter.members.kind == JSON_OBJECT)
		pending->filter.filter.members.text = arena_slice(&pending->filter.arena,
														  pending->filter.filter.members.text);
	pending->name = keep_text(&pending->filter.arena, name);
	pending->arguments = arguments.kind == JSON_OBJECT
							 ? arena_slice(&pending->filter.arena, arguments.text).data
							 : "{}";
	if (!identity_allows(socket->client.identity, "snapshot",
						 (Slice){pending->name, strlen(pending->name)}))
	{
		socket_error(socket, ref, 403, "forbidden", "this needs the scope \"snapshot\" for it");
		live_filter_free(&pending->filter);
		free(pending);
		return;
	}
	pending->socket = socket;
	pending->ref = ref;
	memcpy(pending->sub, sub.data, sub.len);
	pending->identity = identity_keep(socket->client.identity);
	pending->next = socket->snapshots;
	socket->snapshots = pending;
	socket->live.npending++;
	call.tenant = pending->identity->tenant;
	call.values[0] = pending->identity->tenant;
	call.values[1] = pending->identity->user;
	call.values[2] = pending->name;
	call.values[3] = pending->arguments;
	db_submit(LANE_SLOW, &call);
}

static PendingSnapshot *
find(const Socket *socket, Slice sub)
{
	for (PendingSnapshot *pending = socket->snapshots; pending; pending = pending->next)
		if (!pending->cancelled && slice_is(sub, pending->sub))
			return pending;
	return NULL;
}

bool
snapshot_pending(const Socket *socket, Slice sub)
{
	return find(socket, sub) != NULL;
}

void
snapshot_cancel(Socket *socket, Slice sub)
{
	Text text = {0};

	find(socket, sub)->cancelled = true;
	text_puts(&text, "{\"op\":\"unsubscribed\",\"sub\":");
	text_json(&text, sub.data, sub.len);
	text_puts(&text, ",\"reason\":\"asked\"}");
	socket_send_text(socket, &text);
}
