/*
 * gateway/control.c
 *	  What the database tells usherd to do: revocations, and tenants' own rate limits.
 *
 * Revocations are events of the log.  While no connection to the database stands
 * nobody hears of them: when the first one does, all retained ones are read, and
 * until then nobody's credentials are taken (who comes waits, identity_wait.c).
 * Later ones are read when the tail of the log shows that there are some, and
 * while the tail cannot be followed, but calls can be answered, again and again.
 * Rate limits are read when the database comes, and every half minute.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "db.h"
#include "identity.h"
#include "identity_wait.h"
#include "journal.h"
#include "limit.h"
#include "tail.h"
#include "usherd.h"

#define LIMITS_SECONDS   30
#define RETRY_SECONDS    0.1
#define PATIENCE_SECONDS 0.05 /* of 0.1 that a revocation may take */

static struct
{
	int64_t after; /* revocations are read up to here */
	char after_text[24];
	bool reading; /* a call is in flight */
	bool ready;
	bool again; /* there are newer ones than that call sees */
	int epoch, asked; /* how often connections came or went; and when the call was sent */
	bool told; /* that they cannot be read */
	ev_timer retry, limits, unheard;
	TailListener tail;
} control;

static const DbStatement revocations_statement = {
	.name = "revocations",
	.sql =
		"SELECT position, tenant, kind, id, not_before_unix FROM usher.gateway_revocations($1) ORDER BY position",
	.nparams = 1,
};

static const DbStatement limits_statement = {
	.name = "rate_limits",
	.sql = "SELECT tenant, class, per_minute, burst FROM usher.gateway_rate_limits()",
};

static void read_revocations(void);

static void
set_ready(bool ready)
{
	control.ready = ready;
	identity_revocations_ready(ready);
	if (ready)
		identity_wait_ends();
}

bool
control_ready(void)
{
	return control.ready;
}

static void
revocations_read(void *context, DbOutcome outcome, PGresult *result)
{
	(void) context;
	control.reading = false;
	if (outcome != DB_DONE)
	{
		if (result && !control.told)
			journal(JOURNAL_WARNING, "the revocations could not be read: %s",
					PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
		control.told = control.told || result;
		ev_timer_again(usherd_loop, &control.retry);
		return;
	}
	control.told = false;
	for (int row = 0; row < PQntuples(result); row++)
	{
		identity_revoked(PQgetvalue(result, row, 1), PQgetvalue(result, row, 2),
						 PQgetvalue(result, row, 3), strtoll(PQgetvalue(result, row, 4), NULL, 10));
		control.after = strtoll(PQgetvalue(result, row, 0), NULL, 10);
	}
	if (control.again || control.asked != control.epoch)
		read_revocations();
	else
		set_ready(true);
}

static void
read_revocations(void)
{
	DbCall call = {
		.statement = &revocations_statement,
		.values = {control.after_text},
		.tenant = "",
		.done = revocations_read,
	};

	control.again = control.reading;
	if (control.reading)
		return;
	control.reading = true;
	control.asked = control.epoch;
	snprintf(control.after_text, sizeof(control.after_text), "%" PRId64, control.after);
	db_submit(LANE_READ, &call);
}

static bool
limit_listed(PGresult *result, const char *tenant, const char *class)
{
	for (int row = 0; row < PQntuples(result); row++)
		if (strcmp(PQgetvalue(result, row, 0), tenant) == 0 &&
			strcmp(PQgetvalue(result, row, 1), class) == 0)
			return true;
	return false;
}

/* The result stays, so that the next one tells which limits are no more. */
static void
limits_read(void *context, DbOutcome outcome, PGresult *result)
{
	static PGresult *last;

	(void) context;
	if (outcome != DB_DONE)
		return; /* what is known stays; the timer reads again */
	for (int row = 0; row < PQntuples(last); row++)
		if (!limit_listed(result, PQgetvalue(last, row, 0), PQgetvalue(last, row, 1)))
			limit_tenant(PQgetvalue(last, row, 0), PQgetvalue(last, row, 1), 0, 0);
	for (int row = 0; row < PQntuples(result); row++)
		limit_tenant(PQgetvalue(result, row, 0), PQgetvalue(result, row, 1),
					 atoi(PQgetvalue(result, row, 2)), atoi(PQgetvalue(result, row, 3)));
	PQclear(last);
	last = PQcopyResult(result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
}

static void
read_limits(void)
{
	DbCall call = {.statement = &limits_statement, .tenant = "", .done = limits_read};

	db_submit(LANE_READ, &call);
}

static void
retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) events;
	ev_timer_stop(loop, timer);
	read_revocations();
}

static void
half_minute(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	read_limits();
}

/* Whatever was revoked while none stood is not known. */
static void
database_stands(bool stands)
{
	control.epoch++;
	set_ready(false);
	if (stands)
		read_revocations();
}

static void
database_came(void)
{
	read_revocations();
	read_limits();
}

/* The tail is away, and would tell later: others may serve meanwhile. */
static void
look_unheard(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	if (control.ready && !control.reading && db_stands(LANE_READ) &&
		!(db_stands(LANE_LOG) && tail_follows()))
		read_revocations();
}

static void
tail_events(TailListener *listener, const TailEvent *events, int n)
{
	(void) listener;
	for (int i = 0; i < n; i++)
		if (strcmp(events[i].type, "usher.revoked") == 0)
		{
			read_revocations();
			return;
		}
}

/* Nothing is known of what lies between: read again. */
static void
tail_moved(TailListener *listener, int64_t position, bool jumped)
{
	(void) listener, (void) position;
	if (jumped)
		read_revocations();
}

void
control_start(void)
{
	control.after = 0;
	ev_timer_init(&control.retry, retry, 0, RETRY_SECONDS);
	ev_timer_init(&control.limits, half_minute, LIMITS_SECONDS, LIMITS_SECONDS);
	ev_timer_start(usherd_loop, &control.limits);
	control.tail = (TailListener){.events = tail_events,
								  .moved = tail_moved,
								  .wants = TAIL_CHANGES,
								  .patience_seconds = PATIENCE_SECONDS};
	tail_listen(&control.tail);
	ev_timer_init(&control.unheard, look_unheard, PATIENCE_SECONDS, PATIENCE_SECONDS);
	ev_timer_start(usherd_loop, &control.unheard);
	db_on_stands(database_stands);
	db_on_ready(database_came);
}
