/*
 * extension/subscription/retry.c
 *	  What is delivered of parked keys: a failed event when its time has come,
 *	  and then what has come behind it, until the key has caught up with its
 *	  partition.
 *
 * A stream's events are read by its index, those of a key of published events
 * in the log, at most so many in a poll.
 */
#include "subscription/pick.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#define KEY_EVENTS_MAX 100 /* of a key in one poll */
#define SCAN_MAX       50000 /* examined for all keys that have no index */

typedef struct Retry
{
	UsherPicks *p;
	UsherPick *pick;
	const UsherParked *key;
	int64 end; /* everything of the key up to here is delivered */
	int64 version; /* of the last one */
	int delivered, max;
	bool stopped;
	int *scanned;
} Retry;

static bool
is_of_key(Retry *r, TupleTableSlot *slot)
{
	bool isnull, same;
	MemoryContext old;

	if (usher_parked_is_single(r->key->key) || r->scanned == NULL)
		return true;
	if (usher_partition_of(r->p->subscription, DatumGetInt32(slot_getattr(
												   slot, LOG_SLOT, &isnull))) != r->pick->partition)
		return false;
	old = MemoryContextSwitchTo(r->p->scratch);
	same = strcmp(usher_parked_key(slot), r->key->key) == 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->p->scratch);
	return same;
}

static bool
visit(TupleTableSlot *slot, void *arg)
{
	Retry *r = arg;
	bool isnull;
	int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));

	if (position < r->key->position)
		return true;
	if (position > r->key->through)
		return false;
	if (r->delivered >= r->max)
		r->stopped = true;
	else if (r->scanned && ++*r->scanned > SCAN_MAX)
		r->stopped = true;
	if (r->stopped)
		return false;
	r->end = position;
	if (is_of_key(r, slot) && usher_subscription_wants(r->p->subscription, slot))
	{
		r->version = DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull));
		if (isnull)
			r->version = 0;
		usher_picks_deliver(r->p, r->pick, position == r->key->failed ? r->key->attempts + 1 : 1,
							slot);
		r->delivered++;
	}
	return true;
}

static void
read_key(Retry *r)
{
	const UsherParked *key = r->key;
	int scanned_here = 0;

	if (key->through < key->position)
		return;
	if (usher_parked_is_single(key->key))
	{
		r->scanned = &scanned_here;
		usher_look_positions(key->position - 1, key->position, visit, r);
	}
	else if (key->key[0] == 's')
	{
		r->scanned = NULL;
		usher_look_stream(r->p->subscription->tenant_id, cstring_to_text(key->key + 2),
						  Max(key->version, 1), visit, r);
	}
	else
		usher_look_positions(key->position - 1, key->through, visit, r);
}

/* At most `max` events; what remains of a key, and other keys, another time. */
void
usher_retry(UsherPicks *p, int max)
{
	int scanned = 0;

	for (int i = 0; i < p->parked.n && p->nfound < max; i++)
	{
		const UsherParked *key = &p->parked.due[i];
		Retry r = {.p = p, .key = key, .scanned = &scanned};
		bool single = usher_parked_is_single(key->key), done;

		r.pick = &p->list[p->by_partition[key->partition]];
		r.max = Min(KEY_EVENTS_MAX, max - p->nfound);
		r.end = key->position - 1;
		read_key(&r);
		if (r.stopped && r.end < key->position)
			continue; /* not one event examined: another time */
		if (!r.stopped)
			r.end = key->through;
		done = single || (key->failed == 0 && !r.stopped);
		if (done && !single)
			usher_parked_let_go(&p->parked, key);
		/* one that turns out to have nothing left goes with the next acknowledgement */
		if (p->poll->lease == 0)
			p->poll->lease = usher_lease_next();
		r.pick->wrote = true;
		p->parked_used = true;
		usher_parked_lease(p->subscription, key, p->poll->lease, r.end, r.version, done);
	}
}
