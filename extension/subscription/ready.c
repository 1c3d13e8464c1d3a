/*
 * extension/subscription/ready.c
 *	  Would a poll deliver something?  For who waits: looks, locks nothing,
 *	  writes nothing.
 *
 * A partition whose lock somebody else has, an acknowledgement that is prepared
 * or whose lease is over, is not to be had yet; nobody tells when it is.
 */
#include "subscription/pick.h"

#include "utils/memutils.h"

#define BUSY_PAUSE 20 /* times what a look took */

typedef struct Look
{
	UsherPicks *p;
	int64 later; /* first event that may be had another time; 0: none */
	bool ready;
	enum
	{
		NOT_ASKED,
		UNLOCKED,
		LOCKED
	} * locks; /* by partition */
	bool busy; /* one is locked where there would be something */
} Look;

static bool
is_unlocked(Look *look, int partition)
{
	if (look->locks[partition] == NOT_ASKED)
		look->locks[partition] = usher_partition_is_locked(look->p->subscription->id, partition)
									 ? LOCKED
									 : UNLOCKED;
	look->busy |= look->locks[partition] == LOCKED;
	return look->locks[partition] == UNLOCKED;
}

static bool
visit(TupleTableSlot *slot, void *arg)
{
	Look *look = arg;
	UsherPicks *p = look->p;
	bool isnull;
	int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	int partition = usher_partition_of(p->subscription,
									   DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull)));
	int i = p->by_partition[partition];

	if (i >= 0 && position <= p->list[i].cursor)
		return true;
	if (!usher_subscription_wants(p->subscription, slot))
		return true;
	look->ready = i >= 0 && position <= p->list[i].limit &&
				  !usher_picks_parked(p, partition, slot, position) && is_unlocked(look, partition);
	if (!look->ready && look->later == 0)
		look->later = position;
	return !look->ready;
}

/* The free partitions and their cursors as they are now become the list.  (A seek makes all free.) */
static void
look_at_partitions(UsherPicks *p, UsherReady *ready)
{
	int n = p->subscription->partitions;
	int *free = palloc(n * sizeof(int));
	int64 *cursors = palloc(n * sizeof(int64));

	p->n = usher_leases_free(p->subscription, usher_member_id(NULL), free, &ready->next_at);
	usher_subscription_cursors(p->subscription->id, p->n, free, cursors);
	p->list = palloc0(n * sizeof(UsherPick));
	for (int i = 0; i < p->n; i++)
	{
		if (cursors[i] < ready->cursors[free[i]])
			ready->scanned = 0; /* somebody has sought backwards */
		ready->cursors[free[i]] = cursors[i];
		p->list[i] = (UsherPick){.partition = free[i], .cursor = cursors[i]};
	}
	usher_picks_index(p);
	usher_parked_load(p->subscription, p->n, free, p->cursors, &p->parked);
	usher_picks_limit(p);
}

/* A key that has caught up is in nobody's way. */
static bool
any_due(Look *look)
{
	UsherPicks *p = look->p;
	bool any = false;

	for (int i = 0; i < p->parked.n; i++)
	{
		const UsherParked *key = &p->parked.due[i];

		if (key->through >= key->position)
			any = any || is_unlocked(look, key->partition);
		else
			usher_parked_let_go(&p->parked, key);
	}
	return any;
}

/* Are there events that a poll would deliver? */
static bool
any_new(Look *look, UsherReady *ready)
{
	UsherPicks *p = look->p;
	int64 from = PG_INT64_MAX;

	for (int i = 0; i < p->n; i++)
		from = Min(from, p->list[i].cursor);
	from = Max(from, ready->scanned);
	if (p->n == 0 || from >= p->stable)
		return false;
	p->scratch = AllocSetContextCreate(CurrentMemoryContext, "usher poll", ALLOCSET_SMALL_SIZES);
	usher_read_positions(from, p->stable, visit, look);
	MemoryContextDelete(p->scratch);
	if (!look->ready)
		ready->scanned = look->later != 0 ? look->later - 1 : p->stable;
	return look->ready;
}

/* When to look at locked partitions again: rarely, when the look took long. */
static TimestampTz
busy_until(TimestampTz began)
{
	TimestampTz now = GetCurrentTimestamp();

	return now + Max(USHER_BUSY_RETRY_MS * INT64CONST(1000), BUSY_PAUSE * (now - began));
}

bool
usher_poll_ready(const UsherSubscription *subscription, UsherReady *ready)
{
	UsherPicks p = {.subscription = subscription};
	Look look = {.p = &p};
	TimestampTz began = GetCurrentTimestamp();

	if (ready->cursors == NULL)
		ready->cursors = palloc0(subscription->partitions * sizeof(int64));
	ready->next_at = 0;
	p.stable = usher_cursor_begin(PG_INT64_MAX, 0, NULL);
	ready->examined = p.stable;
	if (subscription->paused)
		return false;
	look.locks = palloc0(subscription->partitions * sizeof(*look.locks));
	look_at_partitions(&p, ready);
	if (any_due(&look) || any_new(&look, ready))
		return true;
	ready->next_at = usher_sooner(ready->next_at, p.parked.next_at);
	if (look.busy)
		ready->next_at = usher_sooner(ready->next_at, busy_until(began));
	return false;
}
