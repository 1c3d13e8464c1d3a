/*
 * extension/subscription/poll.c
 *	  Choose partitions, read the log once for all of them, deliver.
 *
 * The poller takes its share of the partitions, those that are furthest
 * behind first: all of them divided by the members that poll.  What it reads
 * ends at one position for all; partitions that are beyond it already are
 * left to others.  When there is nothing in its share, it looks at the next.
 * Up to half of a poll is for parked keys that are due, so
 * that neither they nor the others starve.
 */
#include "subscription/pick.h"

#include "access/heaptoast.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define SCAN_MAX      100000 /* events examined in one poll */
#define ROWS_BACK_MAX 256 /* a cursor that is further back in its table is written anew */
#define SKIP_AT_LEAST 1000 /* an empty poll moves the cursors when it has examined so much */

static int
compare_cursors(const void *a, const void *b)
{
	int64 x = ((const UsherPick *) a)->cursor, y = ((const UsherPick *) b)->cursor;

	return x < y ? -1 : x > y;
}

/* Of two times, of which 0 is none. */
TimestampTz
usher_sooner(TimestampTz a, TimestampTz b)
{
	return a == 0 ? b : b == 0 ? a : Min(a, b);
}

/* Every free partition, the furthest behind first, unless we take them all. */
static int *
free_partitions(const UsherSubscription *s, int share, int *n, TimestampTz *expires)
{
	int *partitions = palloc(s->partitions * sizeof(int));
	int64 *cursors = palloc(s->partitions * sizeof(int64));
	UsherPick *list = palloc(s->partitions * sizeof(UsherPick));

	*n = usher_leases_free(s, 0, partitions, expires);
	if (*n <= share)
		return partitions;
	usher_subscription_cursors(s->id, *n, partitions, cursors);
	for (int i = 0; i < *n; i++)
		list[i] = (UsherPick){.partition = partitions[i], .cursor = cursors[i]};
	qsort(list, *n, sizeof(UsherPick), compare_cursors);
	for (int i = 0; i < *n; i++)
		partitions[i] = list[i].partition;
	pfree(cursors);
	pfree(list);
	return partitions;
}

void
usher_picks_index(UsherPicks *p)
{
	const UsherSubscription *s = p->subscription;

	p->by_partition = palloc(s->partitions * sizeof(int));
	p->cursors = palloc0(s->partitions * sizeof(int64));
	for (int i = 0; i < s->partitions; i++)
		p->by_partition[i] = -1;
	for (int i = 0; i < p->n; i++)
	{
		p->by_partition[p->list[i].partition] = i;
		p->cursors[p->list[i].partition] = p->list[i].cursor;
	}
}

/* Others need not wait for our commit, though we let go of the locks before: their cursors will have greater numbers. */
static void
move(const UsherSubscription *s, int n, const int *partitions, const int64 *positions)
{
	usher_unflushed_begin();
	usher_subscription_cursors_set(s, n, partitions, positions);
	usher_unflushed_end();
}

/* Lock a share of them, and look at their cursors again: now they stand still.  Returns how many were tried. */
static int
pick(UsherPicks *p, const int *free, int nfree, int share)
{
	const UsherSubscription *s = p->subscription;
	int *partitions = palloc(Min(share, nfree) * sizeof(int));
	int64 *cursors = palloc(Min(share, nfree) * sizeof(int64));
	int tried = 0, n = 0, looked;

	for (; tried < nfree && n < share; tried++)
	{
		if (!usher_partition_lock(s->id, free[tried], false))
			p->poll->busy = true;
		else if (usher_lease_is_free(s, free[tried]))
			partitions[n++] = free[tried];
		else
			usher_partition_unlock(s->id, free[tried]);
	}
	looked = usher_subscription_cursors(s->id, n, partitions, cursors);
	if (looked > ROWS_BACK_MAX)
		move(s, n, partitions, cursors);
	p->n = n;
	p->list = palloc(Max(n, 1) * sizeof(UsherPick));
	for (int i = 0; i < n; i++)
		p->list[i] = (UsherPick){
			.partition = partitions[i],
			.cursor = cursors[i],
			.upto = cursors[i],
		};
	usher_picks_index(p);
	usher_parked_load(s, n, partitions, p->cursors, &p->parked);
	usher_picks_limit(p);
	p->poll->next_at = usher_sooner(p->poll->next_at, p->parked.next_at);
	return tried;
}

/* A partition with too many parked keys delivers only those, and what one of them may have left behind. */
void
usher_picks_limit(UsherPicks *p)
{
	for (int i = 0; i < p->n; i++)
	{
		int partition = p->list[i].partition;

		p->list[i].limit = PG_INT64_MAX;
		if (p->parked.counts && p->parked.counts[partition] >= p->subscription->max_parked_keys)
			p->list[i].limit = p->parked.tops[partition];
	}
}

/* Which kind of event is delivered; beyond some kinds it is `other`. */
static void
remember_kind(UsherPicks *p, UsherKinds *kinds, TupleTableSlot *slot)
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
hand_over(UsherPicks *p, int partition, int attempt, TupleTableSlot *slot)
{
	UsherPoll *poll = p->poll;

	if (poll->lease == 0)
		poll->lease = usher_lease_next();
	poll->delivered++;
	if (!poll->counted)
		remember_kind(p, &p->list[p->by_partition[partition]].kinds, slot);
	poll->deliver(poll, poll->lease, partition, attempt, slot);
}

void
usher_picks_deliver(UsherPicks *p, UsherPick *pick, int attempt, TupleTableSlot *slot)
{
	bool isnull;
	UsherFound *found;

	pick->used = true;
	p->nfound++;
	if (p->found == NULL)
	{
		hand_over(p, pick->partition, attempt, slot);
		return;
	}
	found = &p->found[p->nfound - 1];
	found->position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	found->partition = pick->partition;
	found->attempt = attempt;
	found->tuple = ExecCopySlotHeapTuple(slot);
	if (HeapTupleHasExternal(found->tuple))
		found->tuple = toast_flatten_tuple(found->tuple, slot->tts_tupleDescriptor);
}

static int
compare_found(const void *a, const void *b)
{
	int64 x = ((const UsherFound *) a)->position, y = ((const UsherFound *) b)->position;

	return x < y ? -1 : x > y;
}

/* In the order of positions, so that "acknowledged up to here" means what came before. */
static void
hand_over_found(UsherPicks *p)
{
	TupleTableSlot *slot;

	if (p->found == NULL || p->nfound == 0)
		return;
	qsort(p->found, p->nfound, sizeof(UsherFound), compare_found);
	slot = usher_log_slot(&TTSOpsHeapTuple);
	for (int i = 0; i < p->nfound; i++)
	{
		ExecStoreHeapTuple(p->found[i].tuple, slot, false);
		hand_over(p, p->found[i].partition, p->found[i].attempt, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
}

bool
usher_picks_parked(UsherPicks *p, int partition, TupleTableSlot *slot, int64 position)
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
	UsherPicks *p = arg;
	bool isnull;
	int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	int partition = usher_partition_of(p->subscription,
									   DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull)));
	int i = p->by_partition[partition];

	p->scanned++;
	p->end = position;
	if (i >= 0 && position > p->list[i].cursor && position <= p->list[i].limit &&
		usher_subscription_wants(p->subscription, slot) &&
		!usher_picks_parked(p, partition, slot, position))
		usher_picks_deliver(p, &p->list[i], 1, slot);
	p->stopped = p->nfound >= p->poll->max || p->scanned >= SCAN_MAX;
	return !p->stopped;
}

static void
read_new(UsherPicks *p)
{
	int64 from = PG_INT64_MAX, to = 0;

	for (int i = 0; i < p->n; i++)
	{
		UsherPick *pick = &p->list[i];
		int64 limit = Min(pick->limit, p->stable);

		if (pick->cursor >= limit)
			continue;
		from = Min(from, pick->cursor);
		to = Max(to, limit);
	}
	p->end = from;
	if (from >= to || p->nfound >= p->poll->max)
		return;
	usher_unflushed_begin(); /* hints in pages that are read can be written to the WAL, too */
	usher_read_positions(from, to, new_visit, p);
	usher_unflushed_end();
	if (!p->stopped)
		p->end = to;
	for (int i = 0; i < p->n; i++)
		p->list[i].upto = Max(p->list[i].upto, Min(p->end, p->list[i].limit));
	p->poll->more |= p->end < to;
}

/* ---- the poll ---- */

/* A transaction that wrote about a partition's parked keys keeps its lock. */
static void
unlock(UsherPicks *p)
{
	for (int i = 0; i < p->n; i++)
		if (!p->list[i].wrote)
			usher_partition_unlock(p->subscription->id, p->list[i].partition);
}

static void
take_lease(UsherPicks *p)
{
	UsherLeased *leased = palloc(p->n * sizeof(UsherLeased));
	int n = 0;

	for (int i = 0; i < p->n; i++)
	{
		UsherPick *pick = &p->list[i];

		if (pick->used || pick->wrote || pick->upto > pick->cursor)
			leased[n++] = (UsherLeased){pick->partition, pick->cursor, pick->upto, pick->kinds};
	}
	usher_lease_take(p->subscription, p->poll->lease, p->poll->member, n, leased, p->parked_used);
	pfree(leased);
}

/* Nothing was found: do not read the same again next time. */
static void
skip(UsherPicks *p)
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
		move(p->subscription, n, partitions, positions);
	pfree(partitions);
	pfree(positions);
}

static void
look(UsherPicks *p)
{
	UsherPoll *poll = p->poll;

	if (p->parked.n > 0)
	{
		p->found = MemoryContextAllocHuge(CurrentMemoryContext, poll->max * sizeof(UsherFound));
		usher_retry(p, (poll->max + 1) / 2);
	}
	read_new(p);
	hand_over_found(p);
	if (poll->delivered > 0)
		take_lease(p);
	else
	{
		if (p->parked_used)
			usher_parked_ack(poll->subscription, poll->lease, PG_INT64_MAX);
		poll->more |= p->parked_used;
		poll->lease = 0;
		skip(p);
	}
}

/* Returns how many events were delivered, under poll->lease. */
int
usher_poll_once(UsherPoll *poll)
{
	const UsherSubscription *s = poll->subscription;
	MemoryContext context, scratch, old;
	int *free, nfree, share;
	int64 stable;

	poll->lease = 0;
	poll->delivered = 0;
	poll->next_at = 0;
	poll->more = poll->busy = false;
	stable = usher_cursor_begin(PG_INT64_MAX, 0, NULL);
	poll->examined = stable;
	if (s->paused || poll->max <= 0)
		return 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "usher poll", ALLOCSET_SMALL_SIZES);
	scratch = AllocSetContextCreate(context, "usher poll's event", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	share = usher_member_seen(s, poll->member);
	share = poll->share > 0 ? poll->share : (s->partitions + share - 1) / share;
	free = free_partitions(s, share, &nfree, &poll->next_at);
	while (nfree > 0 && poll->delivered == 0)
	{
		UsherPicks p = {.poll = poll, .subscription = s, .stable = stable, .scratch = scratch};
		int tried = pick(&p, free, nfree, share);

		free += tried;
		nfree -= tried;
		if (p.n > 0)
			look(&p);
		unlock(&p);
	}
	if (poll->busy)
		poll->next_at = usher_sooner(
			poll->next_at, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), USHER_BUSY_RETRY_MS));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return poll->delivered;
}
