/*
 * gateway/handlers/subscription.c
 *	  Working on a subscription over HTTP: poll, ack, nack, extend.
 *
 * A lease is of a member that has a name, and ends by its time; no connection to
 * the database is held between the calls.  A poll that finds nothing may wait:
 * it asks once what the subscription is about, and looks again when such an event
 * comes and when somebody here gives a lease back.  Other gateways' leases, and keys
 * whose time of retry comes, say nothing to us (a notification of each ack would cost
 * a lock of the whole database at its commit): each second one of those who wait
 * looks for all of the subscription, and who finds something wakes the next one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../parked.h"
#include "../router.h"
#include "../tail.h"
#include "../usherd.h"
#include "append.h"
#include "handlers.h"
#include "once.h"

#define RECHECK_SECONDS 1.0

typedef struct Poll
{
	Request *request;
	const char *name;
	int64_t max, wait, ack;
	bool acks;
	const char *member;
	char max_text[24], ack_text[24];
	double deadline;
	bool watching;
	int64_t seen; /* the log's reader stood here when the poll began */
	Slice pattern;
	Waiter waiter;
} Poll;

#define DELIVERY                                                                               \
	"SELECT lease, attempt, partition, position, stream, version, id, type, topic, key, data," \
	" metadata, recorded_at FROM "

/* The key of a poll is for what it acknowledges: a repeat acknowledges nothing, and polls. */
static const DbStatement poll_statements[2] = {
	{.name = "poll", .sql = DELIVERY "usher.gateway_poll($1, $2, $3, $4, $5, $6)", .nparams = 6},
	{.name = "poll_once",
	 .sql = DELIVERY
	 "(SELECT c.fresh, CASE WHEN c.fresh THEN usher.gateway_keep($1, $2, $7, 'null') END"
	 " FROM usher.gateway_claim($1, $2, $7, $8) c OFFSET 0) k"
	 " CROSS JOIN LATERAL usher.gateway_poll($1, $2, $3, $4, $5, CASE WHEN k.fresh THEN $6::bigint END)",
	 .nparams = 8},
};

static const DbStatement pattern_statement = {
	.name = "subscription_pattern",
	.sql = "SELECT usher.gateway_subscription_pattern($1, $2)",
	.nparams = 2,
};

#define ACK    "SELECT 'null'::jsonb FROM usher.gateway_ack($1, $2, $3, $4, $5)"
#define NACK   "SELECT 'null'::jsonb FROM usher.gateway_nack($1, $2, $3, $4, $5, $6, $7)"
#define EXTEND "SELECT 'null'::jsonb FROM usher.gateway_extend($1, $2, $3, $4, $5)"

static const DbStatement ack_statements[2] = {
	{.name = "ack", .sql = ONCE_PLAIN(ACK), .nparams = 5},
	{.name = "ack_once", .sql = ONCE_KEYED(ACK, "$6", "$7"), .nparams = 7},
};

static const DbStatement nack_statements[2] = {
	{.name = "nack", .sql = ONCE_PLAIN(NACK), .nparams = 7},
	{.name = "nack_once", .sql = ONCE_KEYED(NACK, "$8", "$9"), .nparams = 9},
};

static const DbStatement extend_statements[2] = {
	{.name = "extend", .sql = ONCE_PLAIN(EXTEND), .nparams = 5},
	{.name = "extend_once", .sql = ONCE_KEYED(EXTEND, "$6", "$7"), .nparams = 7},
};

/* The object of the body with these members, all known; false: it was replied. */
static bool
take_members(Request *request, const char *const *names, int count, JsonValue *members)
{
	JsonValue body, stranger;
	char text[160];

	if (!body_json(request, &body))
		return false;
	if (body.kind != JSON_OBJECT)
		return body_refused(request, -1, "the body is an object");
	switch (json_members(body, names, count, members, &stranger))
	{
		case JSON_MEMBERS_OK:
			return true;
		case JSON_MEMBERS_UNKNOWN:
		case JSON_MEMBERS_TWICE:
			break;
	}
	snprintf(text, sizeof(text), "a member of the body is not known, or stands twice: %.*s",
			 (int) (stranger.text.len < 60 ? stranger.text.len : 60), stranger.text.data);
	return body_refused(request, -1, text);
}

static bool
take_int(Request *request, const char *name, JsonValue value, bool required, int64_t min,
		 int64_t max, int64_t *number)
{
	char text[120];

	if (value.kind <= JSON_NULL && !required)
		return true;
	if (value.kind == JSON_NUMBER && json_int(value, min, max, number))
		return true;
	snprintf(text, sizeof(text), "%s is a number from %" PRId64 " to %" PRId64, name, min, max);
	return body_refused(request, -1, text);
}

/*
 * Poll
 */

static void polled(void *context, DbOutcome outcome, PGresult *result);

static void
poll_again(Poll *poll)
{
	const Identity *who = poll->request->identity;
	DbCall call = {
		.statement = &poll_statements[0],
		.values = {who->tenant, who->user, poll->name, poll->max_text, poll->member,
				   poll->acks ? poll->ack_text : NULL},
		.tenant = who->tenant,
		.done = polled,
		.context = poll,
	};

	poll->seen = tail_position();
	if (!poll->acks)
	{
		db_submit(LANE_SLOW, &call);
		return;
	}
	poll->acks = false; /* once */
	once_submit(poll->request, LANE_SLOW, poll_statements, &call);
}

static void
reply_deliveries(Poll *poll, const PGresult *result)
{
	Text json = {0};
	int rows = result ? PQntuples(result) : 0;

	text_puts(&json, "{\"lease\":");
	text_puts(&json, rows > 0 ? PQgetvalue(result, 0, 0) : "null");
	text_puts(&json, ",\"items\":[");
	for (int row = 0; row < rows; row++)
	{
		text_printf(&json, "%s{\"attempt\":%s,\"partition\":%s,\"event\":", row ? "," : "",
					PQgetvalue(result, row, 1), PQgetvalue(result, row, 2));
		event_json(&json, result, row);
		text_char(&json, '}');
	}
	text_puts(&json, "]}");
	reply_json(poll->request, 200, &json);
	text_free(&json);
}

static void
woken(Waiter *waiter, WaiterWake why)
{
	Poll *poll = waiter->context;

	if (why == WAKE_EVENT)
		poll_again(poll);
	else
	{
		parked_end(waiter);
		reply_deliveries(poll, NULL);
	}
}

static void
pattern_known(void *context, DbOutcome outcome, PGresult *result)
{
	Poll *poll = context;
	Request *request = poll->request;

	if (!result_usable(request, outcome, result))
		return;
	poll->pattern = arena_slice(
		&request->arena, (Slice){PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0)});
	poll->waiter = (Waiter){
		.request = request,
		.tenant = request->identity->tenant,
		.patterns = &poll->pattern,
		.npatterns = 1,
		.topic = poll->name,
		.recheck_seconds = RECHECK_SECONDS,
		.deadline = poll->deadline,
		.wake = woken,
		.context = poll,
	};
	poll->watching = parked_watch(&poll->waiter);
	if (poll->watching)
		poll_again(poll);
}

static void
learn_pattern(Poll *poll)
{
	DbCall call = {
		.statement = &pattern_statement,
		.values = {poll->request->identity->tenant, poll->name},
		.tenant = poll->request->identity->tenant,
		.done = pattern_known,
		.context = poll,
	};

	db_submit(LANE_READ, &call);
}

static void
polled(void *context, DbOutcome outcome, PGresult *result)
{
	Poll *poll = context;
	bool nothing = outcome == DB_DONE && PQntuples(result) == 0 &&
				   poll->request->connection != NULL && poll->wait > 0;

	if (nothing && poll->watching)
	{
		/* What the reader hands over behind this position is news to the poll that found nothing. */
		parked_sleep(&poll->waiter, poll->seen);
		return;
	}
	if (nothing)
	{
		learn_pattern(poll);
		return;
	}
	if (poll->watching)
		parked_end(&poll->waiter);
	if (!result_usable(poll->request, outcome, result))
		return;
	if (PQntuples(result) > 0)
		parked_poke_one(poll->request->identity->tenant, poll->name);
	reply_deliveries(poll, result);
}

static void
go_poll(Request *request)
{
	poll_again(request->state);
}

void
handle_poll(Request *request)
{
	static const char *const names[] = {"member", "max", "wait", "ack"};
	Poll *poll = arena_zalloc(&request->arena, sizeof(Poll));
	JsonValue members[4];
	Slice member;

	poll->request = request;
	poll->max = PAGE_DEFAULT;
	if (!request_allowed(request, "subscriptions", request->arguments[0]) ||
		!take_members(request, names, 4, members))
		return;
	if (members[0].kind != JSON_STRING || !body_string(request, members[0], &member))
	{
		body_refused(request, -1, "member is a string, the name of who works on the events");
		return;
	}
	if (!take_int(request, "max", members[1], false, 1, PAGE_MAX, &poll->max) ||
		!take_int(request, "wait", members[2], false, 0, (int64_t) config.wait_seconds_max,
				  &poll->wait) ||
		!take_int(request, "ack", members[3], false, 0, INT64_MAX, &poll->ack))
		return;
	poll->acks = members[3].kind == JSON_NUMBER;
	poll->name = parameter_text(request, request->arguments[0]);
	poll->member = parameter_text(request, member);
	poll->deadline = ev_now(usherd_loop) + (double) poll->wait;
	snprintf(poll->max_text, sizeof(poll->max_text), "%" PRId64, poll->max);
	snprintf(poll->ack_text, sizeof(poll->ack_text), "%" PRId64, poll->ack);
	request->state = poll;
	parked_until_readable(request, go_poll);
}

/*
 * Ack, nack, extend
 */

typedef struct LeaseCall
{
	Request *request;
	const char *name;
	char lease[24], number[24];
	char seconds[40];
} LeaseCall;

static void
lease_done(void *context, DbOutcome outcome, PGresult *result)
{
	LeaseCall *call = context;
	Request *request = call->request;

	if (!result_usable(request, outcome, result))
		return;
	parked_poke(request->identity->tenant, call->name);
	(void) once_tell(request, result);
	reply(request, 204, NULL, "", 0);
}

/* The lease and a second number: up_to, position, or seconds.  NULL: it was replied. */
static LeaseCall *
begin_lease_call(Request *request, const char *const *names, int count, JsonValue *members,
				 bool number_required)
{
	LeaseCall *call = arena_zalloc(&request->arena, sizeof(LeaseCall));
	int64_t lease = 0, number = -1;

	call->request = request;
	if (!request_allowed(request, "subscriptions", request->arguments[0]) ||
		!take_members(request, names, count, members) ||
		!take_int(request, names[0], members[0], true, 0, INT64_MAX, &lease) ||
		!take_int(request, names[1], members[1], number_required, 0, INT64_MAX, &number))
		return NULL;
	call->name = parameter_text(request, request->arguments[0]);
	snprintf(call->lease, sizeof(call->lease), "%" PRId64, lease);
	if (number >= 0)
		snprintf(call->number, sizeof(call->number), "%" PRId64, number);
	return call;
}

static void
submit_lease_call(LeaseCall *lease, const DbStatement statements[2], const char *fifth,
				  const char *sixth, const char *seventh)
{
	const Identity *who = lease->request->identity;
	DbCall call = {
		.statement = &statements[0],
		.values = {who->tenant, who->user, lease->name, lease->lease, fifth, sixth, seventh},
		.tenant = who->tenant,
		.done = lease_done,
		.context = lease,
	};

	once_submit(lease->request, LANE_SLOW, statements, &call);
}

void
handle_ack(Request *request)
{
	static const char *const names[] = {"lease", "up_to"};
	JsonValue members[2];
	LeaseCall *call = begin_lease_call(request, names, 2, members, false);

	if (call)
		submit_lease_call(call, ack_statements, call->number[0] ? call->number : NULL, NULL, NULL);
}

void
handle_nack(Request *request)
{
	static const char *const names[] = {"lease", "position", "error", "retry_after"};
	JsonValue members[4];
	LeaseCall *call = begin_lease_call(request, names, 4, members, true);
	int64_t seconds = -1;
	Slice error;

	if (call == NULL ||
		!take_int(request, "retry_after", members[3], false, 0, 30 * 86400, &seconds))
		return;
	if (!body_string(request, members[2], &error))
	{
		body_refused(request, -1, "error is a string");
		return;
	}
	if (seconds >= 0)
		snprintf(call->seconds, sizeof(call->seconds), "%" PRId64 " seconds", seconds);
	submit_lease_call(call, nack_statements, call->number, parameter_text(request, error),
					  call->seconds[0] ? call->seconds : NULL);
}

void
handle_extend(Request *request)
{
	static const char *const names[] = {"lease", "seconds"};
	JsonValue members[2];
	int64_t seconds = -1;
	LeaseCall *call = begin_lease_call(request, names, 2, members, false);

	if (call == NULL || !take_int(request, "seconds", members[1], false, 1, 86400, &seconds))
		return;
	if (seconds >= 0)
		snprintf(call->seconds, sizeof(call->seconds), "%" PRId64 " seconds", seconds);
	submit_lease_call(call, extend_statements, call->seconds[0] ? call->seconds : NULL, NULL, NULL);
}
