/*
 * gateway/handlers/append.c
 *	  Appending over HTTP: to one stream, or to several at once.
 *
 * A body is checked here as JSON and taken apart; data and metadata go to
 * PostgreSQL byte for byte.  What an event may be is decided there, by
 * usher.append_requests; this file knows no rule of the log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../config.h"
#include "../lib/json_check.h"
#include "../router.h"
#include "append.h"
#include "handlers.h"
#include "once.h"

/*
 * The body
 */

bool
body_json(Request *request, JsonValue *value)
{
	JsonFault fault;

	if (json_check(request->body.data, request->body.len, config.json_depth_max, value, &fault))
		return true;
	reply_problem(request, 400, "malformed-json", NULL, "the body is not JSON: %s at byte %zu",
				  fault.message, fault.offset);
	return false;
}

bool
body_refused(Request *request, int index, const char *detail)
{
	Text members = {0};

	if (index >= 0)
	{
		text_printf(&members, ",\"errors\":[{\"index\":%d,\"detail\":", index);
		text_json(&members, detail, strlen(detail));
		text_puts(&members, "}]");
	}
	reply_problem(request, 422, "invalid-body", members.data, "%s", detail);
	text_free(&members);
	return false;
}

bool
body_string(Request *request, JsonValue value, Slice *text)
{
	char *out;

	if (value.kind == JSON_NONE || value.kind == JSON_NULL)
	{
		*text = (Slice){NULL, 0};
		return true;
	}
	if (value.kind != JSON_STRING)
		return false;
	out = arena_alloc(&request->arena, value.text.len + 1);
	*text = (Slice){out, json_unescape(value, out)};
	return true;
}

bool
body_uuid(Request *request, Slice text, Slice *id)
{
	unsigned char *out = arena_alloc(&request->arena, 16);
	int n = 0;

	if (text.len != 36)
		return false;
	for (size_t i = 0; i < 36; i++)
	{
		const char *digits = "0123456789abcdef0123456789ABCDEF";
		const char *digit;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (text.data[i] != '-')
				return false;
			continue;
		}
		digit = memchr(digits, text.data[i], 32);
		if (digit == NULL)
			return false;
		if (n % 2 == 0)
			out[n / 2] = (unsigned char) (((digit - digits) & 15) << 4);
		else
			out[n / 2] |= (unsigned char) ((digit - digits) & 15);
		n++;
	}
	*id = (Slice){(char *) out, 16};
	return true;
}

bool
body_objects(Request *request, JsonValue data, JsonValue metadata, int index, AppendEvent *event)
{
	if (data.kind > JSON_NULL && data.kind != JSON_OBJECT)
		return body_refused(request, index, "data must be an object");
	if (metadata.kind > JSON_NULL && metadata.kind != JSON_OBJECT)
		return body_refused(request, index, "metadata must be an object");
	if (data.kind == JSON_OBJECT)
		event->data = data.text;
	if (metadata.kind == JSON_OBJECT)
		event->metadata = metadata.text;
	return true;
}

/* One event of a body. stream: the one that its path or its group names. */
static bool
take_event(Request *request, JsonValue value, int index, Slice stream, AppendEvent *event)
{
	static const char *const names[] = {"type", "data", "metadata", "id"};
	JsonValue members[4], stranger;
	Slice id;
	char text[160];

	if (value.kind != JSON_OBJECT)
		return body_refused(request, index, "an event is an object");
	if (json_members(value, names, 4, members, &stranger) != JSON_MEMBERS_OK)
	{
		snprintf(text, sizeof(text),
				 "an event has type, data, metadata and id, each once; not %.*s",
				 (int) (stranger.text.len < 60 ? stranger.text.len : 60), stranger.text.data);
		return body_refused(request, index, text);
	}
	*event = (AppendEvent){.stream = stream};
	if (members[0].kind != JSON_STRING || !body_string(request, members[0], &event->type))
		return body_refused(request, index, "type must be a string");
	if (!body_objects(request, members[1], members[2], index, event))
		return false;
	if (!body_string(request, members[3], &id) ||
		(id.data && !body_uuid(request, id, &event->event_id)))
		return body_refused(request, index, "id must be a UUID");
	return true;
}

/*
 * The array of a body's events: of {"events": [...]}, of [...], or of one event alone.
 */
bool
body_events(Request *request, JsonValue body, JsonValue *array, int *count)
{
	static const char *const names[] = {"events"};
	JsonValue stranger;

	if (body.kind == JSON_OBJECT &&
		json_members(body, names, 1, array, &stranger) == JSON_MEMBERS_OK)
		body = *array;
	*array = body;
	*count = body.kind == JSON_ARRAY ? (int) json_count(body) : 1;
	if (body.kind != JSON_ARRAY && body.kind != JSON_OBJECT)
		return body_refused(request, -1, "the body is an event, or {\"events\": [...]}");
	if (*count == 0)
		return body_refused(request, -1, "there are no events");
	if (*count > config.events_per_request_max)
		return body_refused(request, -1, "too many events in one request");
	return true;
}

static bool
take_events(Request *request, JsonValue array, Slice stream, int first, AppendEvent *events)
{
	JsonWalk walk = json_walk(array);
	JsonValue value;
	int i = 0;

	if (array.kind == JSON_OBJECT)
		return take_event(request, array, first, stream, events);
	while (json_next(&walk, NULL, &value))
	{
		if (!take_event(request, value, first + i, stream, &events[i]))
			return false;
		i++;
	}
	return true;
}

/*
 * What all writes have
 */

typedef struct Append
{
	Request *request;
	AppendRequest append;
	void (*done)(Request *request, const AppendRequest *append, const AppendResult *result);
} Append;

void
reply_not_done(Request *request, const BatchResult *result, const char *members,
			   const char *perhaps)
{
	switch (result->outcome)
	{
		case BATCH_DONE:
			break;
		case BATCH_REFUSED:
			reply_sqlstate(request, result->sqlstate, result->message, result->detail, members);
			break;
		case BATCH_UNKNOWN:
			reply_unavailable(request, "outcome-unknown", perhaps);
			break;
		case BATCH_UNAVAILABLE:
			reply_unavailable(request, "unavailable",
							  "the database cannot be reached, or has too much to do");
			break;
		case BATCH_BUSY:
			reply_problem(request, 409, "request-in-progress", NULL,
						  "another request with this Idempotency-Key has not ended");
			break;
	}
}

static void
reply_not_appended(Request *request, const AppendResult *result)
{
	const BatchResult *known = &result->known;
	Text members = {0};

	if (result->actual_version >= 0)
		text_printf(&members, ",\"actual_version\":%" PRId64, result->actual_version);
	if (result->event_index >= 0)
	{
		text_printf(&members,
					",\"errors\":[{\"index\":%d,\"code\":\"%s\",\"detail\":", result->event_index,
					known->sqlstate);
		text_json(&members, known->message, strlen(known->message));
		text_puts(&members, "}]");
	}
	reply_not_done(request, known, members.data,
				   "the connection to the database ended before the commit was confirmed; the "
				   "events may have been appended");
	text_free(&members);
}

static void
append_done(AppendRequest *append_request, const AppendResult *result)
{
	Append *append = append_request->context;

	if (result->known.outcome != BATCH_DONE)
	{
		reply_not_appended(append->request, result);
		return;
	}
	if (result->known.replayed)
		reply_header(append->request, "Idempotency-Replayed", "true");
	append->done(append->request, append_request, result);
}

void
append_submit(Request *request, const AppendEvent *events, int nevents,
			  void (*done)(Request *request, const AppendRequest *append,
						   const AppendResult *result))
{
	Append *append = arena_zalloc(&request->arena, sizeof(Append));
	AppendRequest *a = &append->append;
	const Identity *identity = request->identity;

	append->request = request;
	append->done = done;
	a->element.tenant = identity->tenant;
	if (identity->user[0] != '\0')
		a->element.user = (Slice){identity->user, strlen(identity->user)};
	a->actor_type = identity->actor_type;
	a->correlation_id = request_header(request, "correlation-id");
	a->causation_id = request_header(request, "causation-id");
	a->traceparent = (Slice){request->traceparent, strlen(request->traceparent)};
	a->events = events;
	a->nevents = nevents;
	a->done = append_done;
	a->context = append;
	if (once_key(request, &a->element.key, a->fingerprint) && !batch_add(&append_kind, &a->element))
		reply_unavailable(request, "overloaded", "too many appends are waiting");
}

bool
append_allowed(Request *request, Slice stream)
{
	return request_allowed(request, "log:append", category_of(stream));
}

void
append_reply(Request *request, const AppendRequest *append, const AppendResult *result)
{
	Text json = {0};
	char position[24];
	int64_t last = 0;

	text_puts(&json, "{\"events\":[");
	for (int i = 0; i < append->nevents; i++)
	{
		const AppendedEvent *event = &result->events[i];
		const AppendEvent *given = &append->events[i];
		const unsigned char *b = event->id;

		text_printf(
			&json,
			"%s{\"id\":\"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\",",
			i ? "," : "", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
			b[12], b[13], b[14], b[15]);
		text_puts(&json, given->stream.data ? "\"stream\":" : "\"topic\":");
		text_json(&json, given->stream.data ? given->stream.data : given->topic.data,
				  given->stream.data ? given->stream.len : given->topic.len);
		if (given->stream.data)
			text_printf(&json, ",\"version\":%" PRId64, event->version);
		text_printf(&json, ",\"position\":%" PRId64 "}", event->position);
		if (event->position > last)
			last = event->position;
	}
	text_printf(&json, "],\"position\":%" PRId64 "}", last);
	snprintf(position, sizeof(position), "%" PRId64, last);
	reply_header(request, "Usher-Position", position);
	reply_json(request, 201, &json);
	text_free(&json);
}

/* "5", "0" (no such stream yet), "-1" (the stream exists); or absent. */
static bool
expected_version(Request *request, AppendEvent *event)
{
	Slice header = request_header(request, "expected-version");

	if (header.data == NULL)
		return true;
	event->has_expected_version = true;
	if (slice_int(header, -1, INT64_MAX, &event->expected_version))
		return true;
	reply_problem(request, 400, "invalid-header", NULL, "Expected-Version is a version, 0 or -1");
	return false;
}

/*
 * Handlers
 */

void
handle_append(Request *request)
{
	Slice stream = request->arguments[0];
	JsonValue body, array;
	AppendEvent *events;
	int count;

	if (!append_allowed(request, stream) || !body_json(request, &body) ||
		!body_events(request, body, &array, &count))
		return;
	events = arena_zalloc(&request->arena, sizeof(AppendEvent) * (size_t) count);
	if (!take_events(request, array, stream, 0, events) || !expected_version(request, &events[0]))
		return;
	append_submit(request, events, count, append_reply);
}

/* {"streams": [{"stream", "expected_version", "events": [...]}, ...]}: the groups, one after the other. */
static bool
take_group(Request *request, JsonValue group, int first, AppendEvent *events, int room, int *taken)
{
	static const char *const names[] = {"stream", "expected_version", "events"};
	JsonValue members[3], stranger;
	Slice stream;

	if (group.kind != JSON_OBJECT ||
		json_members(group, names, 3, members, &stranger) != JSON_MEMBERS_OK)
		return body_refused(
			request, -1, "each of the streams is {\"stream\", \"expected_version\", \"events\"}");
	if (members[0].kind != JSON_STRING || !body_string(request, members[0], &stream))
		return body_refused(request, -1, "stream must be a string");
	if (members[2].kind != JSON_ARRAY || (*taken = (int) json_count(members[2])) == 0)
		return body_refused(request, -1, "each of the streams has an array of events");
	if (*taken > room)
		return body_refused(request, -1, "too many events in one request");
	if (!append_allowed(request, stream) ||
		!take_events(request, members[2], stream, first, events))
		return false;
	if (members[1].kind == JSON_NONE || members[1].kind == JSON_NULL)
		return true;
	events[0].has_expected_version = true;
	if (!json_int(members[1], -1, INT64_MAX, &events[0].expected_version))
		return body_refused(request, first, "expected_version is a version, 0 or -1");
	return true;
}

void
handle_transaction(Request *request)
{
	static const char *const names[] = {"streams"};
	JsonValue body, streams, stranger, group;
	AppendEvent *events;
	JsonWalk walk;
	int count = 0;

	if (!body_json(request, &body))
		return;
	if (body.kind != JSON_OBJECT ||
		json_members(body, names, 1, &streams, &stranger) != JSON_MEMBERS_OK ||
		streams.kind != JSON_ARRAY || json_count(streams) == 0)
	{
		body_refused(request, -1, "the body is {\"streams\": [...]}");
		return;
	}
	events = arena_zalloc(&request->arena,
						  sizeof(AppendEvent) * (size_t) config.events_per_request_max);
	walk = json_walk(streams);
	while (json_next(&walk, NULL, &group))
	{
		int taken = 0;

		if (!take_group(request, group, count, events + count,
						config.events_per_request_max - count, &taken))
			return;
		count += taken;
	}
	append_submit(request, events, count, append_reply);
}
