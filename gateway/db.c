/*
 * gateway/db.c
 *	  Lanes of connections to PostgreSQL: their queues, their connections' lives,
 *	  and the ends of calls.
 *
 * While no connection stands, one attempt at a time is made, so that a database
 * that comes back is not met by all at once; when it succeeds, the others follow
 * immediately.  A call's done() is called by the loop, in the round in which the
 * call ended, when the free connections have been given their next calls.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "db_room.h"
#include "journal.h"
#include "lib/backoff.h"

#define TICK_SECONDS          0.02
#define ANSWER_MARGIN_SECONDS 2.0
#define RETRY_MS_BASE         50.0
#define RETRY_MS_MAX          600.0
#define FAILURE_TOLD_SECONDS  10.0
#define READY_CALLBACKS_MAX   4
#define RESERVE_PIPELINE      2

typedef struct Lane
{
	Turns queue;
	DbConnection *connections;
	int nconnections;
	int pipeline; /* calls in flight on a connection */
} Lane;

const char *const db_lane_names[LANES] = {"write", "reserve", "read", "slow", "log"};
struct ev_loop *db_loop;

static Lane lanes[LANES];
static ev_timer tick;
static ev_timer ends; /* never started: its event is fed when calls have ended */
static Call *ended_first, *ended_last;
static bool ready;
static bool stopped;
static Oid types[DB_TYPES];
static void (*ready_callbacks[READY_CALLBACKS_MAX])(void);
static int nready_callbacks;
static void (*on_stands)(bool stands);
static char told_error[300]; /* the failure that the journal knows, and since when */
static double told_at;
static unsigned random_seed;

double
db_now(void)
{
	return ev_now(db_loop);
}

double
db_lane_timeout(DbLane lane)
{
	return lane == LANE_WRITE || lane == LANE_RESERVE ? config.write_timeout_seconds
		   : lane == LANE_READ                        ? config.read_timeout_seconds
													  : config.slow_timeout_seconds;
}

static bool
lane_stands(const Lane *lane)
{
	for (int i = 0; i < lane->nconnections; i++)
		if (lane->connections[i].state == DB_UP)
			return true;
	return false;
}

bool
db_stands(DbLane lane)
{
	return lane_stands(&lanes[lane]);
}

bool
db_ready(void)
{
	return ready;
}

int
db_retry_after_seconds(void)
{
	return ready ? 1 : 2;
}

static void
look_ready(void)
{
	bool now = true;

	for (int i = 0; i < LANES; i++)
		now = now && lane_stands(&lanes[i]);
	if (now == ready)
		return;
	ready = now;
	if (ready)
	{
		journal(JOURNAL_INFO, "the database is here");
		told_error[0] = '\0';
		for (int i = 0; i < nready_callbacks; i++)
			ready_callbacks[i]();
	}
}

void
db_on_ready(void (*callback)(void))
{
	if (nready_callbacks < READY_CALLBACKS_MAX)
		ready_callbacks[nready_callbacks++] = callback;
	else
		journal(JOURNAL_ERROR, "too many wait for the database");
}

void
db_on_stands(void (*callback)(bool stands))
{
	on_stands = callback;
}

/* It stands in the detail. */
int64_t
db_oldest_position(const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);

	if (sqlstate == NULL || detail == NULL || strcmp(sqlstate, "US004") != 0)
		return -1;
	detail += strcspn(detail, "0123456789");
	return *detail != '\0' ? strtoll(detail, NULL, 10) : -1;
}

Oid
db_type(const char *name)
{
	for (int i = 0; i < DB_TYPES; i++)
		if (strcmp(db_type_names[i], name) == 0)
			return types[i];
	return InvalidOid;
}

/* ---- the ends of calls ---- */

void
db_end_call(Call *call, DbOutcome outcome)
{
	call->outcome = outcome;
	call->next = NULL;
	if (ended_last != NULL)
		ended_last->next = call;
	else
		ended_first = call;
	ended_last = call;
	ev_feed_event(db_loop, &ends, EV_CUSTOM);
}

void
db_call_again(Call *call)
{
	PQclear(call->result);
	PQclear(call->then_result);
	call->result = call->then_result = NULL;
	call->outcome = DB_DONE;
	call->again = true;
	turns_put_back(&lanes[call->lane].queue, &call->turn, call->call.tenant);
}

static void
call_done(Call *call)
{
	const DbCall *wanted = &call->call;
	bool known = call->outcome == DB_DONE || call->outcome == DB_REFUSED;

	if (call->outcome == DB_DONE && wanted->then != NULL && wanted->then_done != NULL)
		wanted->then_done(wanted->context, call->then_result);
	wanted->done(wanted->context, call->outcome, known ? call->result : NULL);
	PQclear(call->result);
	PQclear(call->then_result);
	free(call);
}

static void
on_ends(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	(void) loop;
	(void) watcher;
	(void) revents;
	while (ended_first != NULL)
	{
		Call *call = ended_first;

		ended_first = call->next;
		if (ended_first == NULL)
			ended_last = NULL;
		call_done(call);
	}
}

/* ---- queues ---- */

static DbConnection *
lane_free_connection(const Lane *lane)
{
	DbConnection *best = NULL;

	for (int i = 0; i < lane->nconnections; i++)
	{
		DbConnection *connection = &lane->connections[i];

		if (connection->state == DB_UP && !connection->retire &&
			connection->inflight < lane->pipeline &&
			(best == NULL || connection->inflight < best->inflight))
			best = connection;
	}
	return best;
}

int
db_connections(DbLane lane)
{
	return lanes[lane].nconnections;
}

void
db_lane_pump(DbLane lane)
{
	DbConnection *connection;

	while (lanes[lane].queue.count > 0 && (connection = lane_free_connection(&lanes[lane])) != NULL)
		db_connection_send(connection, (Call *) turns_take(&lanes[lane].queue));
}

/* Nothing stands, and not for a moment only. */
bool
db_away(DbLane which)
{
	const Lane *lane = &lanes[which];
	bool failed = stopped;

	for (int i = 0; i < lane->nconnections; i++)
	{
		if (lane->connections[i].state == DB_UP)
			return false;
		failed = failed || lane->connections[i].failures > 0;
	}
	return failed || lanes[LANE_WRITE].connections[0].failures > 0;
}

static Call *
call_new(DbLane lane, const DbCall *wanted)
{
	Call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		abort();
	call->call = *wanted;
	call->lane = lane;
	call->outcome = DB_DONE;
	return call;
}

void
db_submit(DbLane lane, const DbCall *wanted)
{
	Lane *l = &lanes[lane];
	Call *call = call_new(lane, wanted);
	Turn *evicted = NULL;

	l->queue.max = (size_t) config.queue_max; /* a reload changes it */
	if (db_away(lane) || !turns_add(&l->queue, &call->turn, wanted->tenant, db_now(), &evicted))
	{
		db_end_call(call, DB_UNSENT);
		return;
	}
	if (evicted != NULL)
		db_end_call((Call *) evicted, DB_UNSENT);
	db_lane_pump(lane);
}

int
db_free_on(DbLane lane, int number)
{
	const DbConnection *connection = &lanes[lane].connections[number];

	if (connection->state != DB_UP || connection->retire)
		return -1;
	return connection->inflight < lanes[lane].pipeline ? lanes[lane].pipeline - connection->inflight
													   : 0;
}

void
db_submit_on(DbLane lane, int number, const DbCall *wanted)
{
	Call *call = call_new(lane, wanted);

	if (db_free_on(lane, number) > 0)
		db_connection_send(&lanes[lane].connections[number], call);
	else
		db_end_call(call, DB_UNSENT);
}

bool
db_busy(void)
{
	if (ended_first != NULL)
		return true;
	for (int i = 0; i < LANES; i++)
	{
		if (i == LANE_LOG)
			continue;
		if (lanes[i].queue.count > 0)
			return true;
		for (int j = 0; j < lanes[i].nconnections; j++)
			if (lanes[i].connections[j].inflight > 0)
				return true;
	}
	return false;
}

/* ---- connections' lives ---- */

static double
retry_seconds(int failures)
{
	double random = (double) rand_r(&random_seed) / ((double) RAND_MAX + 1);

	return usher_backoff_ms(failures, RETRY_MS_BASE, RETRY_MS_MAX, random) / 1000;
}

static bool
anything_stands(void)
{
	for (int i = 0; i < LANES; i++)
		if (lane_stands(&lanes[i]))
			return true;
	return false;
}

static void
connect_one(DbConnection *connection)
{
	if (connect_begin(connection))
		connection->state = DB_CONNECTING;
	else
		connection->retry_at = db_now() + 1;
}

/* The connections whose time has come; the first alone while nothing stands. */
static void
connect_due(void)
{
	DbConnection *first = &lanes[LANE_WRITE].connections[0];

	if (!anything_stands())
	{
		if (first->state == DB_DOWN && first->retry_at <= db_now())
			connect_one(first);
		return;
	}
	for (int i = 0; i < LANES; i++)
		for (int j = 0; j < lanes[i].nconnections; j++)
		{
			DbConnection *connection = &lanes[i].connections[j];

			if (connection->state == DB_DOWN && connection->retry_at <= db_now())
				connect_one(connection);
		}
}

void
db_connection_ended(DbConnection *connection)
{
	connection->failures = 0;
	connection->retry_at = db_now() + retry_seconds(1);
	if (on_stands != NULL && !stopped && !anything_stands())
		on_stands(false);
	look_ready();
}

/* The same failure is told again only after a while. */
static void
tell_failure(const DbConnection *connection, const char *error)
{
	if (strcmp(error, told_error) == 0 && db_now() - told_at < FAILURE_TOLD_SECONDS)
		return;
	memcpy(told_error, error, sizeof(told_error));
	told_at = db_now();
	journal(JOURNAL_WARNING, "cannot connect %s/%d to the database: %s",
			db_lane_names[connection->lane], connection->number, error);
}

void
db_attempt_ended(DbAttempt *attempt)
{
	DbConnection *connection = attempt->connection;
	bool alone = !anything_stands();

	connection->state = DB_DOWN;
	if (attempt->pg != NULL && db_connection_open(connection, attempt->pg))
	{
		connection->failures = 0;
		memcpy(types, attempt->types, sizeof(types));
		if (alone)
			for (int i = 0; i < LANES; i++)
				for (int j = 0; j < lanes[i].nconnections; j++)
					lanes[i].connections[j].retry_at = 0;
		if (alone && on_stands != NULL)
			on_stands(true);
		connect_due();
		look_ready();
		db_lane_pump(connection->lane);
		return;
	}
	PQfinish(attempt->pg);
	connection->failures++;
	connection->retry_at = db_now() + retry_seconds(connection->failures);
	tell_failure(connection, attempt->error);
}

static void
on_tick(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	double now = ev_now(loop);

	(void) watcher;
	(void) revents;
	for (int i = 0; i < LANES; i++)
	{
		Lane *lane = &lanes[i];
		Turn *oldest;

		while ((oldest = lane->queue.oldest) != NULL &&
			   now - oldest->since > config.queue_age_seconds)
		{
			turns_remove(&lane->queue, oldest);
			db_end_call((Call *) oldest, DB_UNSENT);
		}
		for (int j = 0; j < lane->nconnections; j++)
		{
			DbConnection *connection = &lane->connections[j];

			if (connection->state == DB_UP && connection->inflight > 0 &&
				now - connection->progress > db_lane_timeout((DbLane) i) + ANSWER_MARGIN_SECONDS)
				db_connection_end(connection, "it does not answer");
		}
	}
	connect_due();
}

static void
lane_start(DbLane lane, int nconnections, int pipeline)
{
	Lane *l = &lanes[lane];

	*l = (Lane){.queue.max = (size_t) config.queue_max,
				.nconnections = nconnections,
				.pipeline = pipeline,
				.connections = calloc((size_t) nconnections, sizeof(DbConnection))};
	if (l->connections == NULL)
		abort();
	for (int i = 0; i < nconnections; i++)
	{
		l->connections[i].lane = lane;
		l->connections[i].number = i;
	}
}

void
db_start(struct ev_loop *loop)
{
	db_loop = loop;
	stopped = false;
	random_seed = (unsigned) time(NULL) ^ (unsigned) getpid() << 16;
	lane_start(LANE_WRITE, config.write_connections, 1);
	lane_start(LANE_RESERVE, config.reserve_connections, RESERVE_PIPELINE);
	lane_start(LANE_READ, config.read_connections, config.read_pipeline);
	lane_start(LANE_SLOW, config.slow_connections, 1);
	lane_start(LANE_LOG, 1, 1);
	ev_init(&ends, on_ends);
	ev_timer_init(&tick, on_tick, TICK_SECONDS, TICK_SECONDS);
	ev_timer_start(loop, &tick);
	connect_start(loop);
	connect_due();
}

void
db_stop(void)
{
	stopped = true;
	ev_timer_stop(db_loop, &tick);
	connect_stop();
	for (int i = 0; i < LANES; i++)
	{
		Lane *lane = &lanes[i];

		while (lane->queue.oldest != NULL)
		{
			Turn *oldest = lane->queue.oldest;

			turns_remove(&lane->queue, oldest);
			db_end_call((Call *) oldest, DB_UNSENT);
		}
		for (int j = 0; j < lane->nconnections; j++)
			db_connection_end(&lane->connections[j], NULL);
	}
	on_ends(db_loop, &ends, 0);
	for (int i = 0; i < LANES; i++)
	{
		turns_free(&lanes[i].queue);
		free(lanes[i].connections);
		lanes[i] = (Lane){0};
	}
	ev_clear_pending(db_loop, &ends);
	ready = false;
}
