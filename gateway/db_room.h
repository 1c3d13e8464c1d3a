/*
 * gateway/db_room.h
 *	  What the files of the way to PostgreSQL share: lanes, connections, calls.
 *
 * db.c has the lanes and their queues, db_connection.c one connection's pipeline,
 * db_connect.c the threads that connect.
 */
#ifndef USHERD_DB_ROOM_H
#define USHERD_DB_ROOM_H

#include <ev.h>

#include "db.h"
#include "lib/turns.h"

#define DB_STATEMENTS_MAX 64
#define DB_TYPES          7

/* A call that was submitted; freed behind its done(). */
typedef struct Call
{
	Turn turn;
	struct Call *next; /* in flight on its connection, or ended */
	DbCall call;
	DbLane lane;
	DbOutcome outcome;
	PGresult *result, *then_result;
	bool again; /* its statement was not prepared the first time, so it did nothing */
	int syncs; /* whose results are still to come */
	bool preparing, then_preparing; /* the next result is that of a PREPARE */
} Call;

typedef enum DbState
{
	DB_DOWN, /* until retry_at */
	DB_CONNECTING, /* in a thread */
	DB_UP,
} DbState;

typedef struct DbConnection
{
	DbLane lane;
	int number; /* in its lane */
	DbState state;
	PGconn *pg; /* while DB_UP */
	ev_io io;
	int watched; /* events of io */
	Call *first, *last; /* in flight, in the order of their Syncs */
	int inflight;
	double progress; /* when the last call ended, or the first left */
	const DbStatement *prepared[DB_STATEMENTS_MAX];
	int nprepared;
	bool retire; /* what its session knows is out of date: end it when it is idle */
	double retry_at;
	int failures; /* to connect, in a row */
} DbConnection;

/* What a thread needs, and what it brings back. */
typedef struct DbAttempt
{
	struct DbAttempt *next;
	DbConnection *connection;
	char *database;
	char application_name[32];
	char *options;
	double answer_seconds; /* for the questions behind the login */
	PGconn *pg; /* NULL: it failed */
	char error[300];
	Oid types[DB_TYPES];
} DbAttempt;

/* db.c */
extern struct ev_loop *db_loop;
extern const char *const db_lane_names[LANES];
extern double db_lane_timeout(DbLane lane); /* statement_timeout, in seconds */
extern void db_end_call(Call *call, DbOutcome outcome); /* its done() comes later in this round */
extern void db_call_again(Call *call); /* from the front of its tenant's queue */
extern void db_lane_pump(DbLane lane); /* the queue's calls leave, as far as connections are free */
extern void db_connection_ended(DbConnection *connection); /* it can be connected again */
extern void db_attempt_ended(DbAttempt *attempt);

/* db_connection.c */
extern bool db_connection_open(DbConnection *connection, PGconn *pg);
extern void db_connection_send(DbConnection *connection, Call *call);
/* reason: for the journal; NULL: nobody needs to know */
extern void db_connection_end(DbConnection *connection, const char *reason);

/* db_connect.c */
extern const char *const db_type_names[DB_TYPES];
extern void connect_start(struct ev_loop *loop);
extern bool connect_begin(DbConnection *connection); /* db_attempt_ended() follows, on the loop */
extern void connect_stop(void);

#endif /* USHERD_DB_ROOM_H */
