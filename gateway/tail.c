/*
 * gateway/tail.c
 *	  The one reader of the log's end.
 *
 *		unknown ─ wait(-1) ─► at the end ─ wait(position) ─► behind it ─ heads(position) ─► at the end …
 *
 * One call at a time; between two of them PACE_SECONDS, or as long as the least
 * patient listener allows, so that a busy log is read in pages and not event by
 * event.  A call that fails is repeated;
 * the position stays, so nothing is left out.  Without listeners it stops, and
 * begins anew at the end.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "db.h"
#include "journal.h"
#include "tail.h"
#include "usherd.h"

#define PAGE_EVENTS       2000
#define PACE_SECONDS      0.001
#define PACE_SECONDS_MAX  1.0
#define RETRY_SECONDS_MIN 0.05
#define RETRY_SECONDS_MAX 1.0
#define WAIT_SECONDS_MAX  5.0
#define CHANGES           "{usher.revoked,event.**,show.**,zone.**}"
#define FAILING_SECONDS   1.0 /* that calls may fail, or be overdue, before it counts */

static struct
{
	TailListener *first;
	int64_t position; /* handed over up to here */
	bool known; /* else position says nothing */
	int64_t stable;
	bool busy; /* a call is in flight */
	double asked_at; /* when it was sent; of the loop's time */
	double failing_since; /* 0: the last call went well */
	ev_timer again;
	bool prepared; /* the timer */
	TailWish reading; /* what was asked for last */
	double retry_seconds;
	char position_text[24], timeout_text[32], signals_text[24];
	void (*on_signals)(int64_t last);
} tail;

static const DbStatement wait_statement = {
	.name = "tail_wait",
	.sql = "CALL usher.gateway_wait($1, $2, NULL, $3)",
	.nparams = 3,
};

static const DbStatement heads_statement = {
	.name = "tail_heads",
	.sql =
		"SELECT next, position, version, tenant, type, stream, topic, key FROM usher.gateway_heads($1, $2, $3)",
	.nparams = 3,
};

static const DbStatement content_statement = {
	.name = "tail_content",
	.sql =
		"SELECT next, position, version, tenant, type, stream, topic, key, id, data, metadata, recorded_at"
		" FROM usher.gateway_tail($1, $2)",
	.nparams = 2,
};

static void step(void);

/* The most that anybody wants. */
static TailWish
wanted(void)
{
	TailWish most = TAIL_POSITION;

	for (TailListener *l = tail.first; l; l = l->next)
		if (l->wants > most)
			most = l->wants;
	return most;
}

/* Before the next call. */
static double
pace_seconds(void)
{
	double least = PACE_SECONDS_MAX;

	for (TailListener *l = tail.first; l; l = l->next)
		if (l->patience_seconds < least)
			least = l->patience_seconds;
	return least > PACE_SECONDS ? least : PACE_SECONDS;
}

static void
timer_fired(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	step();
}

static void
step_after(double seconds)
{
	if (!tail.prepared)
	{
		ev_timer_init(&tail.again, timer_fired, 0, 0);
		tail.prepared = true;
	}
	ev_timer_stop(usherd_loop, &tail.again);
	ev_timer_set(&tail.again, seconds, 0);
	ev_timer_start(usherd_loop, &tail.again);
}

/* Not of what was asked for before it wanted so much. */
static bool
hears(const TailListener *l)
{
	return l->wants > TAIL_POSITION && l->wants <= tail.reading;
}

static void
moved(int64_t position, bool jumped)
{
	tail.position = position;
	tail.known = true;
	for (TailListener *l = tail.first, *next; l; l = next)
	{
		next = l->next;
		l->moved(l, position, jumped || !hears(l));
	}
}

/* false: it will be tried again. */
static bool
call_ended(DbOutcome outcome, const PGresult *result)
{
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	tail.busy = false;
	if (outcome == DB_DONE)
	{
		tail.retry_seconds = tail.failing_since = 0;
		return true;
	}
	if (tail.failing_since == 0)
		tail.failing_since = ev_now(usherd_loop);
	if (sqlstate && strcmp(sqlstate, "US004") == 0)
		tail.known = false; /* retention was faster: begin anew at the end */
	else if (sqlstate && tail.retry_seconds >= RETRY_SECONDS_MAX)
		journal(JOURNAL_WARNING, "the log cannot be followed: %s: %s", sqlstate,
				PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	tail.retry_seconds = tail.retry_seconds == 0 ? RETRY_SECONDS_MIN : tail.retry_seconds * 2;
	if (tail.retry_seconds > RETRY_SECONDS_MAX)
		tail.retry_seconds = RETRY_SECONDS_MAX;
	step_after(tail.retry_seconds * (0.5 + usherd_random() / 2));
	return false;
}

/* The number is given back with the next wait, which ends when it is another one then. */
static void
take_signals(const char *last)
{
	if (strcmp(last, tail.signals_text) == 0)
		return;
	snprintf(tail.signals_text, sizeof(tail.signals_text), "%s", last);
	if (tail.on_signals)
		tail.on_signals(strtoll(last, NULL, 10));
}

static void
waited(void *context, DbOutcome outcome, PGresult *result)
{
	int64_t stable;

	(void) context;
	if (!call_ended(outcome, result))
		return;
	stable = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	if (stable > tail.stable)
		tail.stable = stable;
	take_signals(PQgetvalue(result, 0, 1));
	if (!tail.known || (stable > tail.position && wanted() == TAIL_POSITION))
	{
		moved(stable, true);
		step_after(pace_seconds());
	}
	else
		step();
}

static const char *
column(const PGresult *result, int row, int number)
{
	return number >= PQnfields(result) || PQgetisnull(result, row, number)
			   ? ""
			   : PQgetvalue(result, row, number);
}

static void
heads_read(void *context, DbOutcome outcome, PGresult *result)
{
	static TailEvent events[PAGE_EVENTS];
	int rows, n = 0;
	int64_t next;

	(void) context;
	if (!call_ended(outcome, result))
		return;
	rows = PQntuples(result);
	next = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	for (int row = 0; row < rows && n < PAGE_EVENTS; row++)
	{
		if (PQgetisnull(result, row, 1) || PQgetisnull(result, row, 3))
			continue; /* the page is empty; or the tenant is no more */
		events[n++] = (TailEvent){
			.position = strtoll(PQgetvalue(result, row, 1), NULL, 10),
			.version = strtoll(column(result, row, 2), NULL, 10),
			.tenant = column(result, row, 3),
			.type = column(result, row, 4),
			.stream = column(result, row, 5),
			.topic = column(result, row, 6),
			.key = column(result, row, 7),
			.id = column(result, row, 8),
			.data = column(result, row, 9),
			.metadata = column(result, row, 10),
			.recorded_at = column(result, row, 11),
		};
	}
	for (TailListener *l = tail.first, *following; l; l = following)
	{
		following = l->next;
		if (hears(l) && n > 0)
			l->events(l, events, n);
	}
	if (next > tail.stable)
		tail.stable = next; /* before those who wait for it are told */
	moved(next, false);
	step_after(rows >= PAGE_EVENTS ? 0 : pace_seconds());
}

static void
submit(const DbStatement *statement, const char *second, const char *third,
	   void (*done)(void *context, DbOutcome outcome, PGresult *result))
{
	DbCall call = {
		.statement = statement,
		.values = {tail.position_text, second, third},
		.tenant = "",
		.done = done,
	};

	tail.busy = true;
	tail.asked_at = ev_now(usherd_loop);
	db_submit(LANE_LOG, &call);
}

static void
step(void)
{
	double seconds = config.slow_timeout_seconds / 2;

	if (tail.busy)
		return;
	if (tail.first == NULL)
	{
		tail.known = false; /* what comes now is read by nobody */
		return;
	}
	snprintf(tail.position_text, sizeof(tail.position_text), "%" PRId64,
			 tail.known ? tail.position : (int64_t) -1);
	tail.reading = wanted();
	if (tail.known && tail.stable > tail.position && tail.reading > TAIL_POSITION)
	{
		snprintf(tail.timeout_text, sizeof(tail.timeout_text), "%d", PAGE_EVENTS);
		submit(tail.reading == TAIL_CONTENT ? &content_statement : &heads_statement,
			   tail.timeout_text, tail.reading == TAIL_CHANGES ? CHANGES : NULL, heads_read);
		return;
	}
	if (seconds <= 0 || seconds > WAIT_SECONDS_MAX)
		seconds = WAIT_SECONDS_MAX;
	snprintf(tail.timeout_text, sizeof(tail.timeout_text), "%.3f s", tail.known ? seconds : 0.0);
	submit(&wait_statement, tail.timeout_text, tail.signals_text[0] ? tail.signals_text : NULL,
		   waited);
}

void
tail_listen(TailListener *listener)
{
	listener->next = tail.first;
	tail.first = listener;
	if (!tail.busy)
		step_after(0);
}

void
tail_leave(TailListener *listener)
{
	for (TailListener **at = &tail.first; *at; at = &(*at)->next)
		if (*at == listener)
		{
			*at = listener->next;
			return;
		}
}

void
tail_on_signals(void (*callback)(int64_t last))
{
	tail.on_signals = callback;
}

int64_t
tail_position(void)
{
	return tail.known ? tail.position : -1;
}

/* A call waits for WAIT_SECONDS_MAX at most. */
bool
tail_follows(void)
{
	double now = ev_now(usherd_loop);

	if (tail.failing_since > 0 && now - tail.failing_since > FAILING_SECONDS)
		return false;
	return !tail.busy ||
		   now - tail.asked_at < WAIT_SECONDS_MAX + config.queue_age_seconds + FAILING_SECONDS;
}

int64_t
tail_stable(void)
{
	return tail.stable;
}
