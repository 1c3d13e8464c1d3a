/*
 * extension/subscription/ack.c
 *	  Acknowledge what a lease delivered, set a failed event aside.
 *
 * The partitions' locks are taken first and kept to the end of the
 * transaction; then it is looked whether the lease is still held.  So nobody
 * can be given these partitions before this transaction has committed or
 * aborted, and an acknowledgement under a lost lease is an error.
 */
#include "subscription/subscription.h"

#include "utils/builtins.h"

void
usher_lease_lost(const UsherSubscription *subscription, int64 lease)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_USHER_LEASE_LOST),
		 errmsg("lease %lld of subscription \"%s\" is not held any more", (long long) lease,
				subscription->name),
		 errhint("Its time was over, or it was acknowledged; poll again. What was done with its "
				 "events must be rolled back.")));
}

/* The partitions of the lease, locked; raises lease_lost. */
static int
lock_partitions(const UsherSubscription *subscription, int64 lease, UsherLeased *leased,
				bool *parked)
{
	int n = usher_lease_partitions(subscription, lease, leased, parked);

	for (int i = 0; i < n; i++)
		(void) usher_partition_lock(subscription->id, leased[i].partition, true);
	n = usher_lease_partitions(subscription, lease, leased, parked);
	if (n == 0)
		usher_lease_lost(subscription, lease);
	return n;
}

/* upto PG_INT64_MAX: everything, and the lease ends. */
void
usher_subscription_ack(const UsherSubscription *subscription, int64 lease, int64 upto)
{
	UsherLeased *leased = palloc(subscription->partitions * sizeof(UsherLeased));
	bool parked;
	int n = lock_partitions(subscription, lease, leased, &parked);
	int *partitions = palloc(n * sizeof(int));
	int64 *positions = palloc(n * sizeof(int64));
	int moved = 0;

	for (int i = 0; i < n; i++)
	{
		int64 position = Min(upto, leased[i].upto);

		if (position <= leased[i].from)
			continue;
		partitions[moved] = leased[i].partition;
		positions[moved++] = position;
	}
	if (moved > 0)
	{
		usher_unflushed_begin();
		usher_subscription_cursors_set(subscription, moved, partitions, positions);
		usher_unflushed_end();
	}
	if (parked)
		usher_parked_ack(subscription, lease, upto);
	if (upto == PG_INT64_MAX)
		usher_lease_end_at_commit(subscription, lease);
	else
		usher_lease_move_at_commit(subscription, lease, upto);
	pfree(leased);
	pfree(partitions);
	pfree(positions);
}

typedef struct Wanted
{
	const UsherSubscription *subscription;
	int64 lease;
	const UsherLeased *leased;
	int n;
	const char *error;
	int64 retry_ms;
	bool found;
	bool parked; /* its key is */
} Wanted;

static bool
fail_visit(TupleTableSlot *slot, void *arg)
{
	Wanted *w = arg;
	bool isnull;
	int partition = usher_partition_of(w->subscription,
									   DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull)));

	if (!usher_subscription_wants(w->subscription, slot))
		return false;
	for (int i = 0; i < w->n; i++)
		if (w->leased[i].partition == partition)
			w->found = usher_parked_fail(w->subscription, w->lease, &w->leased[i], slot, w->error,
										 w->retry_ms, &w->parked);
	return false;
}

/*
 * retry_ms -1: by the subscription's backoff.  True: what this lease delivered
 * of the event's key behind it will be delivered again, and must be left out.
 */
bool
usher_subscription_nack(const UsherSubscription *subscription, int64 lease, int64 position,
						const char *error, int64 retry_ms)
{
	UsherLeased *leased = palloc(subscription->partitions * sizeof(UsherLeased));
	Wanted wanted = {subscription, lease, leased, .error = error, .retry_ms = retry_ms};
	bool parked;

	wanted.n = lock_partitions(subscription, lease, leased, &parked);
	usher_look_positions(position - 1, position, fail_visit, &wanted);
	if (!wanted.found)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("the event at position %lld was not delivered under lease %lld",
							   (long long) position, (long long) lease)));
	pfree(leased);
	return wanted.parked;
}
