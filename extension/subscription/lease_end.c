/*
 * extension/subscription/lease_end.c
 *	  What a transaction does to leases takes effect at its end: what it took
 *	  is given back when it aborts, what it acknowledged when it commits.
 *
 * Who waits for partitions is woken behind that, when the transaction's locks
 * are gone.  What is noted here is dropped with its savepoint.
 */
#include "subscription/lease.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* What happens to a lease when this transaction ends. */
typedef struct Change
{
	SubTransactionId subid;
	int32 subscription_id;
	int npartitions; /* that it may be of */
	int64 lease;
	enum
	{
		TAKEN,
		ENDED,
		MOVED,
		FAILED, /* an event of it */
		WAKE
	} kind;
	int64 upto; /* of a moved one */
	int partition, series; /* of a failed event */
	UsherOutcome outcome;
} Change;

static Change *changes;
static int nchanges, changes_size;
static int
	nwakes; /* the first of the changes, once these are done: whose pollers are to be woken */

/*
 * Of a lease that this transaction has acknowledged, a partition that it has
 * taken anew: counted at the commit, and what it was again when that is undone.
 */
typedef struct Replaced
{
	int64 by; /* the new lease; 0: it is back */
	Lease old;
} Replaced;

static Replaced *replaced;
static int nreplaced, replaced_size;

/* ---- what is noted ---- */

static Change *
note(const UsherSubscription *subscription, int64 lease, int kind, int64 upto)
{
	if (nchanges == changes_size)
	{
		changes_size = Max(16, changes_size * 2);
		changes = changes ? repalloc(changes, changes_size * sizeof(Change))
						  : MemoryContextAlloc(TopMemoryContext, changes_size * sizeof(Change));
	}
	changes[nchanges].subid = GetCurrentSubTransactionId();
	changes[nchanges].subscription_id = subscription->id;
	changes[nchanges].npartitions = subscription->partitions;
	changes[nchanges].lease = lease;
	changes[nchanges].kind = kind;
	changes[nchanges].upto = upto;
	return &changes[nchanges++];
}

void
usher_lease_given_back_at_abort(const UsherSubscription *subscription, int64 lease)
{
	(void) note(subscription, lease, TAKEN, 0);
}

void
usher_lease_end_at_commit(const UsherSubscription *subscription, int64 lease)
{
	(void) note(subscription, lease, ENDED, 0);
}

void
usher_lease_move_at_commit(const UsherSubscription *subscription, int64 lease, int64 upto)
{
	(void) note(subscription, lease, MOVED, upto);
}

/* For the counters alone. */
void
usher_lease_failed_at_commit(const UsherSubscription *subscription, int64 lease, int partition,
							 int series, UsherOutcome outcome)
{
	Change *change = note(subscription, lease, FAILED, 0);

	change->partition = partition;
	change->series = series;
	change->outcome = outcome;
}

/* A seek, or what was paused goes on: who waits looks again. */
void
usher_pollers_wake_at_commit(const UsherSubscription *subscription)
{
	(void) note(subscription, 0, WAKE, 0);
}

/* The entry is about to be taken for another lease. */
void
usher_lease_replaced(const Lease *l, int64 by)
{
	if (nreplaced == replaced_size)
	{
		replaced_size = Max(16, replaced_size * 2);
		replaced = replaced
					   ? repalloc(replaced, replaced_size * sizeof(Replaced))
					   : MemoryContextAlloc(TopMemoryContext, replaced_size * sizeof(Replaced));
	}
	replaced[nreplaced++] = (Replaced){by, *l};
}

/* Was it given back by this transaction, as far as it is concerned? */
bool
usher_lease_ended_here(int64 lease)
{
	for (int i = 0; i < nchanges; i++)
		if (changes[i].kind == ENDED && changes[i].lease == lease)
			return true;
	return false;
}

/* Up to where this transaction acknowledged a part of it. */
int64
usher_lease_moved_here(int64 lease)
{
	int64 upto = 0;

	for (int i = 0; i < nchanges; i++)
		if (changes[i].kind == MOVED && changes[i].lease == lease)
			upto = Max(upto, changes[i].upto);
	return upto;
}

/* ---- the end of a transaction ---- */

void
usher_pollers_wake(int32 subscription_id)
{
	UsherShared *s = usher_shared;

	if (pg_atomic_read_u32(&s->nwaiters) == 0)
		return;
	LWLockAcquire(s->waiter_lock, LW_SHARED);
	for (uint32 i = 0; i < pg_atomic_read_u32(&s->nwaiters); i++)
	{
		UsherSlot *waiter = &s->slots[s->waiters[i]];

		if (waiter->subscription_id == subscription_id && waiter->db->dboid == MyDatabaseId)
			usher_poke_proc(s->waiters[i]);
	}
	LWLockRelease(s->waiter_lock);
}

static Lease *
changed_lease(const Change *change, int partition)
{
	Lease *l = usher_lease_entry(change->subscription_id, partition);

	return l != NULL && l->lease == change->lease ? l : NULL;
}

/* What a lease delivered that is acknowledged, a part after the other. */
typedef struct Counting
{
	int64 events, each_us;
	bool summed; /* the second time: each event takes its share of the time */
} Counting;

static void
count_kinds(Counting *counting, const UsherKinds *kinds, TimestampTz taken_at)
{
	for (int i = 0; i < kinds->n; i++)
		if (!counting->summed)
		{
			counting->events += kinds->list[i].events;
			counting->each_us = GetCurrentTimestamp() - taken_at;
		}
		else if (kinds->list[i].events > 0)
			usher_series_processed(kinds->list[i].series, OUTCOME_COMPLETED, kinds->list[i].events,
								   Max(counting->each_us, 0) / Max(counting->events, 1));
}

/* What the lease delivered and did not fail is done.  With the lock held. */
static void
count_completed(const Change *change)
{
	Counting counting = {0};

	for (int pass = 0; pass < 2; pass++, counting.summed = true)
	{
		for (int p = 0; p < change->npartitions; p++)
		{
			const Lease *l = changed_lease(change, p);

			if (l != NULL)
				count_kinds(&counting, &l->kinds, l->taken_at);
		}
		for (int i = 0; i < nreplaced; i++)
			if (replaced[i].by != 0 && replaced[i].old.lease == change->lease)
				count_kinds(&counting, &replaced[i].old.kinds, replaced[i].old.taken_at);
	}
}

/* One of this kind less. */
static void
take_kind(UsherKinds *kinds, int series)
{
	for (int i = 0; i < kinds->n; i++)
		if (kinds->list[i].events > 0 &&
			(kinds->list[i].series == series || i == USHER_KINDS_MAX - 1))
		{
			kinds->list[i].events--;
			return;
		}
}

/* One of the events that the lease delivered failed. */
static void
count_failed(const Change *change)
{
	Lease *l = changed_lease(change, change->partition);

	usher_series_processed(change->series, change->outcome, 1, -1);
	if (l != NULL)
		take_kind(&l->kinds, change->series);
	for (int i = 0; l == NULL && i < nreplaced; i++)
		if (replaced[i].by != 0 && replaced[i].old.key.partition == change->partition &&
			replaced[i].old.lease == change->lease)
			take_kind(&replaced[i].old.kinds, change->series);
}

/* The lease that the partition was taken from is in its place again. */
static bool
put_back(Lease *l)
{
	for (int i = nreplaced - 1; i >= 0; i--)
		if (replaced[i].by == l->lease && replaced[i].old.key.partition == l->key.partition)
		{
			*l = replaced[i].old;
			replaced[i].by = 0;
			return true;
		}
	return false;
}

/* Returns whether partitions came free, or back. */
static bool
apply(const Change *change)
{
	bool any = false;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	if (change->kind == FAILED)
		count_failed(change);
	if (change->kind == ENDED)
		count_completed(change);
	for (int p = 0; p < change->npartitions && change->kind != FAILED; p++)
	{
		Lease *l = changed_lease(change, p);

		if (l == NULL)
			continue;
		if (change->kind == MOVED)
		{
			l->from = Max(l->from, change->upto);
			continue;
		}
		if (change->kind != TAKEN || !put_back(l))
			hash_search(usher_lease_table, &l->key, HASH_REMOVE, NULL);
		any = true;
	}
	LWLockRelease(usher_shared->lease_lock);
	return any;
}

/* What was done to leases is undone from the last to the first: one may have replaced another. */
static void
settle(Change *change, bool committed)
{
	if (change->kind != WAKE && committed == (change->kind != TAKEN) && apply(change))
		change->kind = WAKE;
}

/* Allocates and raises nothing.  The transaction's locks are still held: nobody is woken yet. */
static void
xact_callback(XactEvent event, void *arg)
{
	bool committed = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;

	if (nchanges == 0 || !(committed || event == XACT_EVENT_ABORT))
		return;
	if (committed)
		for (int i = 0; i < nchanges; i++)
			settle(&changes[i], true);
	else
		for (int i = nchanges - 1; i >= 0; i--)
			settle(&changes[i], false);
	nwakes = 0;
	for (int i = 0; i < nchanges; i++)
		if (changes[i].kind == WAKE &&
			(nwakes == 0 || changes[nwakes - 1].subscription_id != changes[i].subscription_id))
			changes[nwakes++] = changes[i];
	nchanges = nreplaced = 0;
}

static void
release_callback(ResourceReleasePhase phase, bool committed, bool top_level, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !top_level)
		return;
	for (int i = 0; i < nwakes; i++)
		usher_pollers_wake(changes[i].subscription_id);
	nwakes = 0;
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int kept = 0;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = nchanges - 1; i >= 0 && event == SUBXACT_EVENT_ABORT_SUB; i--)
		if (changes[i].subid == mine)
			settle(&changes[i], false);
	for (int i = 0; i < nchanges; i++)
	{
		Change *c = &changes[i];

		if (c->subid == mine && event == SUBXACT_EVENT_ABORT_SUB && c->kind != WAKE)
			continue;
		if (c->subid == mine)
			c->subid = parent;
		changes[kept++] = *c;
	}
	nchanges = kept;
}

void
usher_lease_callbacks(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	RegisterResourceReleaseCallback(release_callback, NULL);
}
