/*
 * extension/subscription/lease.c
 *	  Who has which partition of a subscription: in shared memory.
 *
 * A lease is a number that only rises, and the fencing token of all its
 * partitions.  With a session's own lease the partitions come free when the
 * session ends; a named member's when its time is over.  A restart of the
 * server ends all leases.
 *
 * What a transaction does to leases takes effect at its end: what it took is
 * given back when it aborts, what it acknowledged when it commits.  Who waits
 * for partitions is woken behind that, when the transaction's locks are gone.
 *
 * lease_lock is held for short looks; waiter_lock may be taken under it.
 */
#include "subscription/subscription.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

typedef struct LeaseKey
{
	Oid dboid;
	int32 subscription_id;
	int32 partition;
} LeaseKey;

typedef struct Lease
{
	LeaseKey key;
	uint32 procno; /* of the session that holds it; USHER_NO_PROC: a named member does */
	int64 lease; /* 0: given back */
	uint64 member;
	int partitions; /* that were taken under this lease; fewer are left: it is lost */
	bool parked; /* something of parked keys may be under it */
	int64 from, upto;
	TimestampTz until; /* DT_NOEND: as long as the session */
	TimestampTz taken_at;
	UsherKinds kinds; /* delivered, and neither acknowledged nor failed */
} Lease;

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

static HTAB *leases;
static Change *changes;
static int nchanges, changes_size;
static int
	nwakes; /* the first of the changes, once these are done: whose pollers are to be woken */
static bool exit_registered;

Size
usher_leases_size(void)
{
	return add_size(hash_estimate_size(usher_max_leases, sizeof(Lease)), usher_members_size());
}

void
usher_leases_init(void)
{
	HASHCTL lease = {.keysize = sizeof(LeaseKey), .entrysize = sizeof(Lease)};

	leases = ShmemInitHash("pg_usher leases", usher_max_leases, usher_max_leases, &lease,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	usher_members_init();
}

int64
usher_lease_next(void)
{
	return (int64) pg_atomic_add_fetch_u64(&usher_shared->last_lease, 1);
}

/* From now on they are greater than this: a clock may have been put back, a dump come from elsewhere. */
void
usher_lease_next_above(int64 number)
{
	uint64 last = pg_atomic_read_u64(&usher_shared->last_lease);

	while (last < (uint64) number &&
		   !pg_atomic_compare_exchange_u64(&usher_shared->last_lease, &last, (uint64) number))
		;
}

/* ---- leases ---- */

static Lease *
find_lease(const UsherSubscription *subscription, int partition)
{
	LeaseKey key = {MyDatabaseId, subscription->id, partition};

	return hash_search(leases, &key, HASH_FIND, NULL);
}

/* Was it given back by this transaction, as far as it is concerned? */
static bool
ended_here(int64 lease)
{
	for (int i = 0; i < nchanges; i++)
		if (changes[i].kind == ENDED && changes[i].lease == lease)
			return true;
	return false;
}

static bool
is_free(const Lease *l)
{
	return l == NULL || l->lease == 0 || ended_here(l->lease) ||
		   (!TIMESTAMP_IS_NOEND(l->until) && l->until < GetCurrentTimestamp());
}

bool
usher_lease_is_free(const UsherSubscription *subscription, int partition)
{
	int64 lease, upto;

	return !usher_lease_of(subscription, partition, &lease, &upto);
}

/*
 * The free partitions, and those of the member (0: of nobody), who would give
 * them up; *expires: when the first of the others may come free by itself, 0: none.
 */
int
usher_leases_free(const UsherSubscription *subscription, uint64 member, int *partitions,
				  TimestampTz *expires)
{
	int n = 0;

	*expires = 0;
	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	for (int p = 0; p < subscription->partitions; p++)
	{
		const Lease *l = find_lease(subscription, p);

		if (is_free(l) || (member != 0 && l->member == member))
			partitions[n++] = p;
		else if (!TIMESTAMP_IS_NOEND(l->until) && (*expires == 0 || l->until < *expires))
			*expires = l->until;
	}
	LWLockRelease(usher_shared->lease_lock);
	return n;
}

static void
wake_pollers(int32 subscription_id)
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

static void
leases_exit(int code, Datum arg)
{
	HASH_SEQ_STATUS scan;
	Lease *l;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	usher_member_forget(usher_member_id(NULL));
	hash_seq_init(&scan, leases);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (l->procno == (uint32) usher_my_procno() && usher_member_is_session(l->member))
		{
			int32 subscription_id = l->key.subscription_id;

			hash_search(leases, &l->key, HASH_REMOVE, NULL);
			wake_pollers(subscription_id);
		}
	LWLockRelease(usher_shared->lease_lock);
}

/* Behind the abort of an open transaction: whoever is woken finds its locks gone. */
void
usher_lease_exit_register(void)
{
	if (!exit_registered)
		on_shmem_exit(leases_exit, (Datum) 0);
	exit_registered = true;
}

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

/* Entries whose time is over make room for others.  Call with the lock held. */
static void
remove_free(void)
{
	HASH_SEQ_STATUS scan;
	Lease *l;

	hash_seq_init(&scan, leases);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (is_free(l))
			hash_search(leases, &l->key, HASH_REMOVE, NULL);
}

static void
take(const UsherSubscription *subscription, const UsherLeased *leased, const Lease *template)
{
	LeaseKey key = {MyDatabaseId, subscription->id, leased->partition};
	Lease *l = find_lease(subscription, leased->partition);

	Ensure(is_free(l), "a partition is leased twice");
	if (l == NULL && hash_get_num_entries(leases) >= usher_max_leases)
		remove_free();
	l = hash_search(leases, &key, HASH_ENTER_NULL, NULL);
	if (l == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("more than %d partitions are leased", usher_max_leases),
						errhint("Raise usher.max_leases and restart the server.")));
	*l = *template;
	l->key = key;
	l->from = leased->from;
	l->upto = leased->upto;
	l->kinds = leased->kinds;
}

/* The caller holds the partitions' locks and has seen that they are free. */
void
usher_lease_take(const UsherSubscription *subscription, int64 lease, uint64 member, int n,
				 const UsherLeased *leased, bool parked)
{
	Lease template = {
		.procno = usher_member_is_session(member) ? (uint32) usher_my_procno() : USHER_NO_PROC,
		.lease = lease,
		.member = member,
		.partitions = n,
		.parked = parked,
		.taken_at = GetCurrentTimestamp(),
		.until = usher_member_is_session(member)
					 ? DT_NOEND
					 : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), subscription->lease_ms),
	};

	usher_lease_exit_register();
	(void) note(subscription, lease, TAKEN, 0); /* first: an error gives back what was taken */
	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
		take(subscription, &leased[i], &template);
	LWLockRelease(usher_shared->lease_lock);
}

/* Up to where this transaction acknowledged a part of it. */
static int64
moved_here(int64 lease)
{
	int64 upto = 0;

	for (int i = 0; i < nchanges; i++)
		if (changes[i].kind == MOVED && changes[i].lease == lease)
			upto = Max(upto, changes[i].upto);
	return upto;
}

/* The partitions of a lease that is held, all of them; 0: it is lost. */
int
usher_lease_partitions(const UsherSubscription *subscription, int64 lease, UsherLeased *leased,
					   bool *parked)
{
	int64 moved = moved_here(lease);
	int n = 0, taken = 0;

	*parked = false;
	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = find_lease(subscription, p);

		if (l != NULL && l->lease == lease && !is_free(l))
		{
			taken = l->partitions;
			*parked |= l->parked;
			leased[n].partition = p;
			leased[n].from = Max(l->from, moved);
			leased[n].kinds.n = 0;
			leased[n++].upto = l->upto;
		}
	}
	LWLockRelease(usher_shared->lease_lock);
	return n == taken ? n : 0;
}

/* Its acknowledgement must look at the parked keys.  At once, whatever becomes of the transaction. */
void
usher_lease_has_parked(const UsherSubscription *subscription, int64 lease)
{
	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = find_lease(subscription, p);

		if (l != NULL && l->lease == lease)
			l->parked = true;
	}
	LWLockRelease(usher_shared->lease_lock);
}

/* What is out of a partition; false: nothing. */
bool
usher_lease_of(const UsherSubscription *subscription, int partition, int64 *lease, int64 *upto)
{
	Lease *l;
	bool held;

	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	l = find_lease(subscription, partition);
	held = !is_free(l);
	*lease = held ? l->lease : 0;
	*upto = held ? l->upto : 0;
	LWLockRelease(usher_shared->lease_lock);
	return held;
}

/* At once, whatever the transaction's end; of no effect on a session's own lease.  False: it is lost. */
bool
usher_lease_extend(const UsherSubscription *subscription, int64 lease, int64 ms)
{
	bool held = false;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = find_lease(subscription, p);

		if (l == NULL || l->lease != lease || is_free(l))
			continue;
		held = true;
		if (!TIMESTAMP_IS_NOEND(l->until))
			l->until = until;
	}
	LWLockRelease(usher_shared->lease_lock);
	return held;
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

/*
 * The member asks for more: what it has and did not acknowledge, it has given
 * up (it rolled back, or was started again), and is to be delivered again.
 */
void
usher_leases_give_up(const UsherSubscription *subscription, uint64 member)
{
	bool any = false;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = find_lease(subscription, p);

		if (l == NULL || l->member != member || ended_here(l->lease))
			continue;
		hash_search(leases, &l->key, HASH_REMOVE, NULL);
		any = true;
	}
	LWLockRelease(usher_shared->lease_lock);
	if (any)
		usher_pollers_wake_at_commit(subscription);
}

/* A seek: whoever holds one finds it lost. */
void
usher_leases_revoke(int32 subscription_id)
{
	HASH_SEQ_STATUS scan;
	Lease *l;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	hash_seq_init(&scan, leases);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (l->key.dboid == MyDatabaseId && l->key.subscription_id == subscription_id)
			hash_search(leases, &l->key, HASH_REMOVE, NULL);
	LWLockRelease(usher_shared->lease_lock);
}

/* ---- the end of a transaction ---- */

static Lease *
changed_lease(const Change *change, int partition)
{
	UsherSubscription subscription = {.id = change->subscription_id};
	Lease *l = find_lease(&subscription, partition);

	return l != NULL && l->lease == change->lease ? l : NULL;
}

/* What the lease delivered and did not fail is done; each event has taken its share of the time.  With the lock held. */
static void
count_completed(const Change *change)
{
	int64 events = 0, each_us = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int p = 0; p < change->npartitions; p++)
		{
			Lease *l = changed_lease(change, p);

			for (int i = 0; l != NULL && i < l->kinds.n; i++)
				if (pass == 0)
				{
					events += l->kinds.list[i].events;
					each_us = GetCurrentTimestamp() - l->taken_at;
				}
				else if (l->kinds.list[i].events > 0)
					usher_series_processed(l->kinds.list[i].series, OUTCOME_COMPLETED,
										   l->kinds.list[i].events,
										   Max(each_us, 0) / Max(events, 1));
		}
}

/* One of the events that the lease delivered failed. */
static void
count_failed(const Change *change)
{
	Lease *l = changed_lease(change, change->partition);

	usher_series_processed(change->series, change->outcome, 1, -1);
	for (int i = 0; l != NULL && i < l->kinds.n; i++)
		if (l->kinds.list[i].events > 0 &&
			(l->kinds.list[i].series == change->series || i == USHER_KINDS_MAX - 1))
		{
			l->kinds.list[i].events--;
			break;
		}
}

/* Returns whether partitions came free. */
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
			l->from = Max(l->from, change->upto);
		else
		{
			hash_search(leases, &l->key, HASH_REMOVE, NULL);
			any = true;
		}
	}
	LWLockRelease(usher_shared->lease_lock);
	return any;
}

/* Allocates and raises nothing.  The transaction's locks are still held: nobody is woken yet. */
static void
xact_callback(XactEvent event, void *arg)
{
	bool committed = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;

	if (nchanges == 0 || !(committed || event == XACT_EVENT_ABORT))
		return;
	nwakes = 0;
	for (int i = 0; i < nchanges; i++)
	{
		Change change = changes[i];
		bool wake = change.kind == WAKE;

		if (!wake && committed == (change.kind != TAKEN))
			wake = apply(&change);
		if (wake && (nwakes == 0 || changes[nwakes - 1].subscription_id != change.subscription_id))
			changes[nwakes++] = change;
	}
	nchanges = 0;
}

static void
release_callback(ResourceReleasePhase phase, bool committed, bool top_level, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !top_level)
		return;
	for (int i = 0; i < nwakes; i++)
		wake_pollers(changes[i].subscription_id);
	nwakes = 0;
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int kept = 0;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = 0; i < nchanges; i++)
	{
		Change *c = &changes[i];

		if (c->subid == mine && event == SUBXACT_EVENT_ABORT_SUB)
		{
			if (c->kind == TAKEN && apply(c))
				c->kind = WAKE;
			if (c->kind != WAKE)
				continue;
		}
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
