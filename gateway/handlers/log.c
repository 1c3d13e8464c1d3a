/*
 * gateway/handlers/log.c
 *	  The tenant's log, from a position on; and waiting for more of it.
 *
 * A long poll watches first and reads then (parked.h), so that what is committed
 * between the two is not missed.  `next` is the last position examined: a filter
 * that rarely matches does not examine the same events again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../parked.h"
#include "../router.h"
#include "../usherd.h"
#include "handlers.h"

#define PATTERNS_MAX 100
#define NAME_MAX_LEN 255
#define SCAN_MAX     "100000"

typedef struct LogRead
{
	Request *request;
	int64_t after, max, wait;
	Slice patterns[PATTERNS_MAX];
	int npatterns;
	const char *patterns_text; /* NULL: all types */
	char after_text[24], max_text[24];
	bool watching;
	Waiter waiter;
} LogRead;

static const DbStatement read_log = {
	.name = "read_log",
	.sql =
		"SELECT next, more, position, stream, version, id, type, topic, key, data, metadata, recorded_at"
		" FROM usher.gateway_read_log($1, $2, $3, $4, " SCAN_MAX ")",
	.nparams = 4,
};

static void
log_read(void *context, DbOutcome outcome, PGresult *result)
{
	LogRead *read = context;
	Request *request = read->request;
	EventsPage page = {.column = "position", .next = read->after};
	Text json = {0};

	if (read->watching && (outcome != DB_DONE || request->connection == NULL))
	{
		parked_end(&read->waiter);
		read->watching = false;
	}
	if (!result_usable(request, outcome, result))
		return;
	events_page(&json, result, &page);
	if (read->watching && page.items == 0 && !page.more)
	{
		read->after = page.next;
		parked_sleep(&read->waiter, page.next);
	}
	else
	{
		if (read->watching)
			parked_end(&read->waiter);
		reply_json(request, 200, &json);
	}
	text_free(&json);
}

static void
read_again(LogRead *read)
{
	DbCall call = {
		.statement = &read_log,
		.values = {read->request->identity->tenant, read->after_text, read->max_text,
				   read->patterns_text},
		.tenant = read->request->identity->tenant,
		.done = log_read,
		.context = read,
	};

	snprintf(read->after_text, sizeof(read->after_text), "%" PRId64, read->after);
	db_submit(LANE_READ, &call);
}

/* When the time is over, what is there to say is known: nothing up to read->after. */
static void
woken(Waiter *waiter, WaiterWake why)
{
	LogRead *read = waiter->context;
	Text json = {0};

	if (why == WAKE_EVENT)
	{
		read_again(read);
		return;
	}
	parked_end(waiter);
	text_printf(&json, "{\"items\":[],\"next\":%" PRId64 ",\"has_more\":false}", read->after);
	reply_json(read->request, 200, &json);
	text_free(&json);
}

/* types=order.*,payment.**: patterns between commas, in as many parameters as one likes. */
static bool
take_patterns(LogRead *read)
{
	Request *request = read->request;

	for (int i = 0; i < request->nquery; i++)
	{
		const char *at = request->query[i].value.data, *end = at + request->query[i].value.len;

		if (!slice_is(request->query[i].name, "types"))
			continue;
		for (;;)
		{
			const char *comma = memchr(at, ',', (size_t) (end - at));
			Slice pattern = {at, (size_t) ((comma ? comma : end) - at)};

			if (pattern.len == 0 || pattern.len > NAME_MAX_LEN || read->npatterns == PATTERNS_MAX)
			{
				reply_problem(request, 400, "invalid-parameter", NULL,
							  "types has 1 to %d patterns of 1 to %d bytes", PATTERNS_MAX,
							  NAME_MAX_LEN);
				return false;
			}
			read->patterns[read->npatterns++] = pattern;
			if (comma == NULL)
				break;
			at = comma + 1;
		}
	}
	if (read->npatterns > 0)
		read->patterns_text = parameter_array(request, read->patterns, read->npatterns);
	return true;
}

/* Who may read the log may read all types; else each pattern must be among those that he may subscribe to. */
static bool
types_allowed(const LogRead *read)
{
	Request *request = read->request;

	if (identity_allows(request->identity, "log:read", (Slice){NULL, 0}))
		return true;
	for (int i = 0; i < read->npatterns; i++)
		if (!request_allowed(request, "subscribe", read->patterns[i]))
			return false;
	return read->npatterns > 0 || request_allowed(request, "log:read", (Slice){NULL, 0});
}

static void
go_read_log(Request *request)
{
	LogRead *read = request->state;

	request->state = NULL;
	if (read->wait > 0)
	{
		read->waiter = (Waiter){
			.request = request,
			.tenant = request->identity->tenant,
			.patterns = read->patterns,
			.npatterns = read->npatterns,
			.deadline = ev_now(usherd_loop) + (double) read->wait,
			.wake = woken,
			.context = read,
		};
		read->watching = parked_watch(&read->waiter);
		if (!read->watching)
			return;
	}
	read_again(read);
}

void
handle_read_log(Request *request)
{
	LogRead *read = arena_zalloc(&request->arena, sizeof(LogRead));

	read->request = request;
	if (!request_query_int(request, "after", 0, INT64_MAX, 0, &read->after) ||
		!request_query_int(request, "max", 1, PAGE_MAX, PAGE_DEFAULT, &read->max) ||
		!request_query_int(request, "wait", 0, (int64_t) config.wait_seconds_max, 0, &read->wait) ||
		!take_patterns(read) || !types_allowed(read))
		return;
	snprintf(read->max_text, sizeof(read->max_text), "%" PRId64, read->max);
	request->state = read;
	parked_until_readable(request, go_read_log);
}
