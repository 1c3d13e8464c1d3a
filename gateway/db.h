/*
 * gateway/db.h
 *	  Calls to PostgreSQL on usherd's event loop: lanes of pipelined connections.
 *
 * Nothing here blocks.  A lane is a queue and a few connections; a call is one
 * prepared statement and its own Sync (so its own transaction), and ends in
 * exactly one call of done(), never from within db_submit().  The tenants of a
 * lane are served in turn, and none holds more than half of its queue while
 * others wait.
 */
#ifndef USHERD_DB_H
#define USHERD_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/text.h"

typedef enum DbLane
{
	LANE_WRITE, /* 2 connections: batches of appends, one at a time each */
	LANE_RESERVE, /* 2: batches of reservations, pipelined: one at work, and one behind it */
	LANE_READ, /* 4, pipelined */
	LANE_SLOW, /* 2, one call at a time: polls, dead letters, lists */
	LANE_LOG, /* 1, one call at a time: the reader of the log; what waits there may not take longer than slow calls */
	LANES
} DbLane;

typedef enum DbOutcome
{
	DB_DONE, /* the Sync's result is here: committed */
	DB_REFUSED, /* rolled back; the result has the SQLSTATE */
	DB_LOST, /* sent, and the connection ended before the Sync's result: nobody knows */
	DB_UNSENT, /* never sent: the queue is full, the call waited too long, or there is no database */
} DbOutcome;

/* One for each statement that there is, static.  It is prepared on a connection when it is first used there. */
typedef struct DbStatement
{
	const char *name;
	const char *sql;
	int nparams;
	bool binary_result;
} DbStatement;

#define DB_PARAMS_MAX 12

typedef struct DbCall
{
	const DbStatement *statement;
	const char *values[DB_PARAMS_MAX]; /* must live until done() */
	int lengths[DB_PARAMS_MAX]; /* for binary ones */
	int formats[DB_PARAMS_MAX]; /* 0 text, 1 binary */
	const char *tenant; /* whose turn it is; "" for the loop's own */
	/* The result is freed behind it; NULL when DB_LOST or DB_UNSENT. */
	void (*done)(void *context, DbOutcome outcome, PGresult *result);
	void *context;
	/*
	 * Behind it on the same connection, or NULL: a statement without parameters and with its own Sync.
	 * then_done() has its result (NULL: it was refused) and comes right before done(), when that is DB_DONE.
	 */
	const DbStatement *then;
	void (*then_done)(void *context, PGresult *result);
} DbCall;

struct ev_loop;

/* Begins to connect; the lanes' sizes and limits are from the configuration. */
extern void db_start(struct ev_loop *loop);
extern void db_submit(DbLane lane, const DbCall *call);
extern int db_connections(DbLane lane); /* that it has, when they stand */
/* For who chooses the connection: how many calls it takes now, -1 if it does not stand; one more leaves on it. */
extern int db_free_on(DbLane lane, int connection);
extern void db_submit_on(DbLane lane, int connection, const DbCall *call);
extern double db_now(void); /* the loop's time */

/*
 * Does every lane have a connection, to a database whose usher.gateway_protocol() is known?  A lane without any
 * refuses at once when it could not connect, and lets calls wait for their time while it has only just lost them.
 */
extern bool db_ready(void);
extern bool db_away(DbLane lane); /* does it refuse at once? */
extern int db_retry_after_seconds(void); /* for a reply 503 */

/* Is something queued or in flight that a request waits for?  The log's lane is the loop's own: it always waits for more. */
extern bool db_busy(void);
extern void db_stop(void); /* ends all connections; calls end as lost or unsent */

/*
 * Oids of composite types by name, looked up when the first connection stands; 0: not yet.
 * Known: usher.append_request, usher.request_event and their arrays; boxoffice.reserve_request, boxoffice.reserve_item
 * and its array.
 */
extern Oid db_type(const char *name);

/* Of US004 position_gone: the oldest position that is kept, as usher.oldest_position(); -1: it is another error. */
extern int64_t db_oldest_position(const PGresult *error);

/* Called when every lane has a connection again after one had none (to read what was missed). */
extern void db_on_ready(void (*callback)(void));
/* Called with true when the first connection stands, before any call leaves on it, and with false when none does any more. */
extern void db_on_stands(void (*callback)(bool stands));
extern bool db_stands(DbLane lane); /* has it a connection? */

#endif /* USHERD_DB_H */
