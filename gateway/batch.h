/*
 * gateway/batch.h
 *	  Coalescing: requests that arrive while a call is in flight travel together,
 *	  as one call of PostgreSQL and one commit.
 *
 * One engine for two kinds of requests: appends (appends.h) and reservations
 * (reservations.h).  A kind is a table of what it does differently: its
 * statement, how elements become its parameters, how one of the result's rows
 * is told to who waits for it, and how an end that no row tells.  All else is
 * here.  An element waits in a queue, its tenant's turn by turn, travels in a
 * batch, and ends once: behind the Sync's result, never from within
 * batch_add().  A call that raised an error wrote nothing: the element that the
 * error names travels alone from then on and the others once more; if it names
 * none, the batch is halved.  A call whose connection ended may have been
 * committed: what would be recognised as a repeat is sent once more, of the
 * rest nobody knows.  Batches leave from batch_flush(), which the loop calls at
 * the end of each round, and when a call has ended well, before its replies are
 * written.
 *
 * batch.c has the queues and what leaves when, batch_outcome.c what becomes of a
 * batch, batch_row.c what all rows of results have, batch_keys.c who holds which
 * idempotency key, batch_suspects.c who travels alone.
 */
#ifndef USHERD_BATCH_H
#define USHERD_BATCH_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "lib/text.h"
#include "lib/turns.h"

typedef enum BatchOutcome
{
	BATCH_DONE, /* committed; or a repeat of what was: replayed */
	BATCH_REFUSED, /* nothing was written: sqlstate, message ... */
	BATCH_UNKNOWN, /* the connection ended before the commit was confirmed */
	BATCH_UNAVAILABLE, /* nothing was written: too much to do, or no database */
	BATCH_BUSY, /* the idempotency key is in use elsewhere, for 5 seconds by now */
} BatchOutcome;

/* How an element ended: what all kinds have. */
typedef struct BatchResult
{
	BatchOutcome outcome;
	bool replayed;
	char sqlstate[6];
	const char *message, *detail, *hint; /* "" when there is none */
} BatchResult;

/* What a kind's request begins with.  It, and all that it points to, must live until its end. */
typedef struct Element
{
	Turn turn;

	/* of who adds it; all else is zero */
	const char *tenant;
	Slice user; /* absent: an anonymous one */
	Slice key; /* idempotency, of tenant and user; absent: none */

	/* of its kind's measure() */
	size_t bytes; /* in the parameters, about */
	int events; /* of these and of bytes a batch has so many */
	bool repeatable; /* a second sending would be recognised */

	/* the engine's */
	const struct BatchKind *kind;
	struct Channel *channel;
	struct Element *next; /* of those who come later, who wait for a key, or who have to leave */
	bool holds_key; /* from when it leaves the queue; others with the key wait with the holder */
	uint64_t key_hash;
	struct Element *key_chain, *waiting_first, *waiting_last;
	double try_at, deadline; /* of those who come later; deadline 0: the first try */
	BatchOutcome overdue; /* what is said when it has to leave */
	bool lost; /* sent, and the connection ended: nobody knows */
} Element;

#define BATCH_PARAMETERS 2

/* What travels, or will, as one call. */
typedef struct Batch
{
	struct Batch *next;
	const struct BatchKind *kind;
	struct Channel *channel;
	double since;
	bool alone; /* one element, apart from the others because it may raise an error */
	Text parameters[BATCH_PARAMETERS]; /* binary; an empty one is null */
	bool range_known;
	int64_t first, last; /* positions of what it wrote */
	int n;
	Element *elements[];
} Batch;

typedef struct BatchKind
{
	/* Rows begin as batch_read_row() wants them; an error of one element has "<name> element N" in its context. */
	DbStatement statement;
	int columns;
	DbLane lane;
	/*
	 * false: batches of everybody side by side, on whichever connection is free.  true: those of a tenant on one
	 * connection, a call behind the other, in the order in which they came.
	 */
	bool in_order;
	bool keys_apart; /* two elements with one key never travel at the same time */
	int elements_max; /* of a call */
	int mixed_max; /* of one with several tenants; 0: as many */

	/* Says what an element is; false: there is text in it that no database takes. */
	bool (*measure)(Element *element);
	/* By what it may be told again when it raised an error, or (locks) waited: the i-th, if there is one. */
	bool (*trait)(const Element *element, int i, bool *locks, Slice *name);
	/* The parameters, which are empty, of all elements. */
	void (*write)(Batch *batch);
	/* A row: the element's end.  false: it is none, and the element has not ended. */
	bool (*row)(const Batch *batch, Element *element, const PGresult *result, int row,
				const BatchResult *known);
	/* An end without one. */
	void (*end)(Element *element, const BatchResult *result);

	/* the engine's */
	struct Channel *channels;
	int nchannels;
	struct BatchKind *next;
} BatchKind;

/* false: the queue is full (or the tenant's part of it), or there is no database; the element has no end. */
extern bool batch_add(BatchKind *kind, Element *element);
extern void batch_flush(void);
extern bool batch_busy(void); /* something is queued or in flight */

/*
 * What all rows have, in this order: element, sqlstate, message, detail, hint, replayed.  false: it is none, or of an
 * element that there is not.
 */
#define BATCH_COLUMNS 6
extern bool
batch_read_row(const PGresult *result, int row, int n, int *element, BatchResult *known);
/* Its other values: absent for null; of no null and true. */
extern Slice batch_value(const PGresult *result, int row, int column);
extern bool batch_value_true(const PGresult *result, int row, int column);

#endif /* USHERD_BATCH_H */
