/*
 * extension/subscription/pick.h
 *	  The partitions that a poll looks at, and what it finds in them.
 */
#ifndef USHER_PICK_H
#define USHER_PICK_H

#include "subscription/subscription.h"

#include "access/htup.h"

typedef struct UsherPick
{
	int partition;
	int64 cursor;
	int64 limit; /* too many keys are parked: nothing new is delivered behind this */
	int64 upto; /* delivered up to here */
	bool used; /* something of it is delivered */
	UsherKinds kinds; /* of what is delivered */
	bool wrote; /* about parked keys: its lock is kept */
} UsherPick;

/* Delivered only when all are found: parked keys bring events that lie before others. */
typedef struct UsherFound
{
	int64 position;
	int partition, attempt;
	HeapTuple tuple;
} UsherFound;

typedef struct UsherPicks
{
	UsherPoll *poll; /* NULL: only looks */
	const UsherSubscription *subscription;
	UsherPick *list;
	int n;
	int *by_partition; /* index into list, -1: not ours */
	int64 *cursors; /* by partition, as far as they are ours */
	UsherParkedKeys parked;
	int64 stable;
	int64 end; /* the log has been read up to here */
	int scanned;
	bool stopped, parked_used;
	int nfound;
	UsherFound *found; /* NULL: each is delivered at once */
	MemoryContext scratch; /* as long as one event */
} UsherPicks;

/* ---- poll.c ---- */
extern TimestampTz usher_sooner(TimestampTz a, TimestampTz b);
extern void usher_picks_index(UsherPicks *picks);
extern void usher_picks_limit(UsherPicks *picks);
extern bool
usher_picks_parked(UsherPicks *picks, int partition, TupleTableSlot *slot, int64 position);
extern void
usher_picks_deliver(UsherPicks *picks, UsherPick *pick, int attempt, TupleTableSlot *slot);

/* ---- retry.c ---- */
extern void usher_retry(UsherPicks *picks, int max);

#endif /* USHER_PICK_H */
