/*
 * extension/subscription/poll.c
 *	  Choose partitions, read the log once for all of them, deliver.
 *
 * The poller takes its share of the partitions, those that are furthest
 * behind first: all of them divided by the members that poll.  When there is
 * nothing in these it looks at the next ones, so that no member waits for one
 * that does not come back.  What it reads ends at one position for all;
 * partitions that are beyond it already are left to others.
 */
#include "subscription/subscription.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define SCAN_MAX        100000 /* events examined in one poll */
#define DRAIN_SCAN_MAX  100000 /* and for a key that catches up */
#define DRAIN_MAX       100 /* events of such a key */
#define LOCKED_RETRY_MS 20
#define SKIP_AT_LEAST   1000 /* an empty poll moves the cursors when it has examined so much */

typedef struct Pick
{
	int partition;
	int64 cursor;
	int64 upto; /* delivered up to here */
	bool blocked; /* too many parked keys: only these are delivered */
	bool used; /* something of it is delivered */
	UsherKinds kinds; /* of what is delivered */
} Pick;

typedef struct Picks
{
	UsherPoll *poll;
	const UsherSubscription *subscription;
	Pick *free; /* partitions that nobody had when we came, furthest behind first */
	int nfree;
	int passed; /* of them were looked at already */
	bool locked_out; /* from some by a transaction that has not ended */
	Pick *list; /* those that are locked now */
	int n;
	int *by_partition; /* index into list, -1: not ours */
	UsherParkedKeys parked;
	int64 stable;
	int64 end; /* the log has been read up to here */
	int scanned;
	bool stopped;
	MemoryContext scratch;
} Picks;

static int
compare_cursors(const void *a, const void *b)
{
	int64 x = ((const Pick *) a)->cursor, y = ((const Pick *) b)->cursor;

	return x < y ? -1 : x > y;
}

/* Every free partition with its cursor, the furthest behind first. */
static void
free_partitions(Picks *p)
{
	const UsherSubscription *s = p->subscription;
	int *partitions = palloc(s->partitions * sizeof(int));
	int64 *cursors = palloc(s->partitions * sizeof(int64));

	p->free = palloc0(s->partitions * sizeof(Pick));
	p->nfree = 0;
	for (int i = 0; i < s->partitions; i++)
		if (usher_lease_is_free(s, i))
			partitions[p->nfree++] = i;
	usher_subscription_cursors(s->id, p->nfree, partitions, cursors);
	for (int i = 0; i < p->nfree; i++)
	{
		p->free[i].partition = partitions[i];
		p->free[i].cursor = cursors[i];
	}
	qsort(p->free, p->nfree, sizeof(Pick), compare_cursors);
	pfree(partitions);
	pfree(cursors);
}

/* Lock our share of them, behind those that were passed, and look at the cursors again: now they stand still. */
static void
pick(Picks *p, int share)
{
	const UsherSubscription *s = p->subscription;
	int *partitions = palloc(s->partitions * sizeof(int));
	int64 *cursors = palloc(s->partitions * sizeof(int64));

	p->n = 0;
	while (p->passed < p->nfree && p->n < share)
	{
		int partition = p->free[p->passed++].partition;

		if (!usher_partition_lock(s->id, partition, false))
		{
			p->locked_out = true;
			continue;
		}
		if (usher_lease_is_free(s, partition))
			partitions[p->n++] = partition;
		else
			usher_partition_unlock(s->id, partition);
	}
	usher_subscription_cursors(s->id, p->n, partitions, cursors);
	for (int i = 0; i < s->partitions; i++)
		p->by_partition[i] = -1;
	for (int i = 0; i < p->n; i++)
	{
		p->list[i] = (Pick){.partition = partitions[i], .cursor = cursors[i], .upto = cursors[i]};
		p->by_partition[partitions[i]] = i;
	}
	pfree(partitions);
	pfree(cursors);
}

static void
unlock(Picks *p)
{
	for (int i = 0; i < p->n; i++)
		usher_partition_unlock(p->subscription->id, p->list[i].partition);
}

/* Which kind of event is delivered; beyond some kinds it is `other`. */
static void
remember_kind(Picks *p, UsherKinds *kinds, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(p->scratch);
	int series = usher_delivery_series(slot);
	int i = 0;

	MemoryContextSwitchTo(old);
	MemoryContextReset(p->scratch);
	while (i < kinds->n && kinds->list[i].series != series)
		i++;
	if (i >= USHER_KINDS_MAX - 1)
	{
		i = USHER_KINDS_MAX - 1;
		series = usher_series_other(p->subscription->tenant_id);
	}
	if (i >= kinds->n)
	{
		kinds->n = i + 1;
		kinds->list[i].events = 0;
	}
	kinds->list[i].series = series;
	kinds->list[i].events++;
}

static void
deliver(Picks *p, Pick *pick, int attempt, TupleTableSlot *slot)
{
	UsherPoll *poll = p->poll;

	if (poll->lease == 0)
		poll->lease = usher_lease_next();
	pick->used = true;
	poll->delivered++;
	if (!poll->counted)
		remember_kind(p, &pick->kinds, slot);
	poll->deliver(poll, poll->lease, pick->partition, attempt, slot);
}

/* The parked key of an event, in scratch memory. */
static bool
is_parked(Picks *p, int partition, TupleTableSlot *slot, int64 position)
{
	MemoryContext old;
	bool result;

	if (p->parked.keys == NULL)
		return false;
	old = MemoryContextSwitchTo(p->scratch);
	result = usher_parked_has(&p->parked, partition, usher_parked_key(slot), position);
	MemoryContextSwitchTo(old);
	MemoryContextReset(p->scratch);
	return result;
}

/* ---- what is new ---- */

static bool
new_visit(TupleTableSlot *slot, void *arg)
{
	Picks *p = arg;
	bool isnull;
	int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	int partition = usher_partition_of(p->subscription,
									   DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull)));
	int i = p->by_partition[partition];

	p->scanned++;
	p->end = position;
	if (i >= 0 && !p->list[i].blocked && position > p->list[i].cursor &&
		usher_subscription_wants(p->subscription, slot) && !is_parked(p, partition, slot, position))
		deliver(p, &p->list[i], 1, slot);
	p->stopped = p->poll->delivered >= p->poll->max || p->scanned >= SCAN_MAX;
	return !p->stopped;
}

static void
read_new(Picks *p)
{
	int64 from = PG_INT64_MAX;

	for (int i = 0; i < p->n; i++)
	{
		Pick *pick = &p->list[i];

		pick->blocked = p->parked.counts &&
						p->parked.counts[pick->partition] >= p->subscription->max_parked_keys;
		if (!pick->blocked)
			from = Min(from, pick->cursor);
	}
	p->end = from;
	if (from >= p->stable || p->poll->delivered >= p->poll->max)
		return;
	usher_read_positions(from, p->stable, new_visit, p);
	if (!p->stopped)
		p->end = p->stable;
	for (int i = 0; i < p->n; i++)
		if (!p->list[i].blocked)
			p->list[i].upto = Max(p->list[i].upto, p->end);
}

/* ---- what failed before ---- */

typedef struct Retry
{
	Picks *p;
	Pick *pick;
	const UsherParked *key;
	bool single; /* only the event at the key's position */
	int64 end;
	int scanned, delivered;
	bool stopped;
} Retry;

static bool
retry_visit(TupleTableSlot *slot, void *arg)
{
	Retry *r = arg;
	bool isnull;
	bool same = r->single;

	r->end = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	r->scanned++;
	if (!same && usher_partition_of(r->p->subscription,
									DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull))) ==
					 r->pick->partition)
	{
		MemoryContext old = MemoryContextSwitchTo(r->p->scratch);

		same = strcmp(usher_parked_key(slot), r->key->key) == 0;
		MemoryContextSwitchTo(old);
		MemoryContextReset(r->p->scratch);
	}
	if (same && usher_subscription_wants(r->p->subscription, slot))
	{
		deliver(r->p, r->pick, r->key->attempts + 1, slot);
		r->delivered++;
	}
	r->stopped = r->p->poll->delivered >= r->p->poll->max || r->delivered >= DRAIN_MAX ||
				 r->scanned >= DRAIN_SCAN_MAX;
	return !r->stopped;
}

/* The events that failed, each alone; `single` false: keys that catch up with their partition. */
static void
retry(Picks *p, bool single)
{
	for (int i = 0; i < p->parked.n; i++)
	{
		const UsherParked *key = &p->parked.due[i];
		bool dead_letter = strncmp(key->key, "d:", 2) == 0;
		int pick = p->by_partition[key->partition];
		Retry r = {.p = p, .key = key};
		int64 upto;

		if (pick < 0 || p->poll->delivered >= p->poll->max ||
			(key->attempts > 0 || dead_letter) != single)
			continue;
		r.pick = &p->list[pick];
		r.single = single;
		upto = single ? key->position : r.pick->upto;
		if (upto >= key->position)
			usher_look_positions(key->position - 1, upto, retry_visit, &r);
		if (!r.stopped || single)
			r.end = upto;
		if (r.end >= key->position || !single)
		{
			/* one that turns out to have nothing left goes with the next acknowledgement */
			if (p->poll->lease == 0)
				p->poll->lease = usher_lease_next();
			r.pick->used = true;
			usher_parked_lease(p->subscription, key, p->poll->lease, Max(r.end, key->position - 1),
							   dead_letter || (!single && r.end == upto));
		}
	}
}

/* ---- the poll ---- */

static void
take_leases(Picks *p)
{
	for (int i = 0; i < p->n; i++)
	{
		Pick *pick = &p->list[i];

		if (pick->used || pick->upto > pick->cursor)
			(void) usher_lease_take(p->subscription, pick->partition, p->poll->lease,
									p->poll->member, pick->cursor, pick->upto, &pick->kinds);
	}
	unlock(p);
}

/* Nothing was found: do not read the same again next time. */
static void
skip(Picks *p)
{
	int *partitions = palloc(p->n * sizeof(int));
	int64 *positions = palloc(p->n * sizeof(int64));
	int n = 0;

	for (int i = 0; i < p->n; i++)
		if (p->list[i].upto - p->list[i].cursor >= SKIP_AT_LEAST)
		{
			partitions[n] = p->list[i].partition;
			positions[n++] = p->list[i].upto;
		}
	if (n > 0)
		usher_subscription_cursors_set(p->subscription, n, partitions, positions);
	else
		unlock(p); /* else they are locked until the cursors are committed */
}

/* Keys that catch up and have nothing left are let go without anybody's acknowledgement. */
static bool
only_caught_up(const Picks *p)
{
	return p->poll->lease != 0 && p->poll->delivered == 0;
}

/* Try the next share; false: no partition is left to try. */
static bool
poll_share(Picks *p, int share)
{
	UsherPoll *poll = p->poll;

	pick(p, share);
	if (p->n == 0)
		return false;
	usher_parked_load(poll->subscription, &p->parked);
	retry(p, true);
	read_new(p);
	retry(p, false);
	poll->next_at = p->parked.next_at;
	poll->more |= p->end < p->stable;
	if (only_caught_up(p))
		usher_parked_ack(poll->subscription, poll->lease, PG_INT64_MAX);
	if (poll->delivered > 0)
		take_leases(p);
	else
	{
		poll->lease = 0;
		skip(p);
	}
	return true;
}

/*
 * Whoever frees partitions wakes us from his commit callback, a moment before
 * his locks go: nobody wakes us for that, so we look again.
 */
static void
come_again(UsherPoll *poll)
{
	TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOCKED_RETRY_MS);

	if (poll->next_at == 0 || soon < poll->next_at)
		poll->next_at = soon;
}

/* Returns how many events were delivered, under poll->lease. */
int
usher_poll_once(UsherPoll *poll)
{
	UsherSubscription *s = poll->subscription;
	Picks p = {.poll = poll, .subscription = s};
	MemoryContext context, old;
	int members, share;

	poll->lease = 0;
	poll->delivered = 0;
	poll->next_at = 0;
	poll->more = false;
	p.stable = usher_cursor_begin(PG_INT64_MAX, 0, NULL);
	poll->examined = p.stable;
	if (s->paused || poll->max <= 0)
		return 0;
	members = usher_member_seen(s, poll->member);
	share = poll->share > 0 ? poll->share : (s->partitions + members - 1) / members;
	context = AllocSetContextCreate(CurrentMemoryContext, "usher poll", ALLOCSET_SMALL_SIZES);
	p.scratch = AllocSetContextCreate(context, "usher poll", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	free_partitions(&p);
	p.list = palloc(s->partitions * sizeof(Pick));
	p.by_partition = palloc(s->partitions * sizeof(int));
	while (poll->delivered == 0 && poll_share(&p, share))
		p.stopped = false;
	if (poll->delivered == 0 && p.locked_out)
		come_again(poll);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return poll->delivered;
}

/* ---- is there anything to be had? ---- */

typedef struct Ready
{
	const UsherSubscription *subscription;
	Picks *p; /* its free partitions */
	int64 held; /* first event of a partition that somebody has; 0: none */
	bool ready;
} Ready;

static bool
ready_visit(TupleTableSlot *slot, void *arg)
{
	Ready *r = arg;
	bool isnull;
	int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	int partition = usher_partition_of(r->subscription,
									   DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull)));
	int i = r->p->by_partition[partition];

	if (!usher_subscription_wants(r->subscription, slot) ||
		is_parked(r->p, partition, slot, position))
		return true;
	if (i < 0)
	{
		if (r->held == 0)
			r->held = position;
		return true;
	}
	r->ready = position > r->p->free[i].cursor;
	return !r->ready;
}

/*
 * Would a poll deliver something?  *examined: nothing is to be had up to here,
 * as a caller that asks again gives it back.
 */
bool
usher_poll_ready(UsherSubscription *subscription, int64 *examined, TimestampTz *next_at)
{
	Picks p = {.subscription = subscription};
	Ready r = {.subscription = subscription, .p = &p};
	int64 from = PG_INT64_MAX;

	*next_at = 0;
	p.stable = usher_cursor_begin(PG_INT64_MAX, 0, NULL);
	if (subscription->paused)
		return false;
	free_partitions(&p);
	p.by_partition = palloc(subscription->partitions * sizeof(int));
	for (int i = 0; i < subscription->partitions; i++)
		p.by_partition[i] = -1;
	for (int i = 0; i < p.nfree; i++)
	{
		p.by_partition[p.free[i].partition] = i;
		from = Min(from, p.free[i].cursor);
	}
	p.scratch = AllocSetContextCreate(CurrentMemoryContext, "usher poll", ALLOCSET_SMALL_SIZES);
	usher_parked_load(subscription, &p.parked);
	*next_at = p.parked.next_at;
	for (int i = 0; i < p.parked.n; i++)
		if (p.by_partition[p.parked.due[i].partition] >= 0)
			return true;
	from = Max(from, *examined);
	if (p.nfree > 0 && from < p.stable)
		usher_read_positions(from, p.stable, ready_visit, &r);
	if (p.nfree > 0 && !r.ready)
		*examined = r.held != 0 ? r.held - 1 : p.stable;
	return r.ready;
}
