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
 * given back when it aborts, what it acknowledged when it commits.
 */
#include "subscription/subscription.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define SUBSCRIPTIONS_MAX 256 /* with members, at a time */

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
	int64 from, upto;
	TimestampTz until; /* DT_NOEND: as long as the session */
} Lease;

typedef struct MembersKey
{
	Oid dboid;
	int32 subscription_id;
} MembersKey;

typedef struct Members
{
	MembersKey key;
	int n;
	struct
	{
		uint64 id;
		TimestampTz seen;
	} list[USHER_MEMBERS_MAX];
} Members;

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
		MOVED
	} kind;
	int64 upto; /* of a moved one */
} Change;

static HTAB *leases;
static HTAB *members;
static Change *changes;
static int nchanges, changes_size;
static bool exit_registered;

Size
usher_leases_size(void)
{
	return add_size(hash_estimate_size(usher_max_leases, sizeof(Lease)),
					hash_estimate_size(SUBSCRIPTIONS_MAX, sizeof(Members)));
}

void
usher_leases_init(void)
{
	HASHCTL lease = {.keysize = sizeof(LeaseKey), .entrysize = sizeof(Lease)};
	HASHCTL member = {.keysize = sizeof(MembersKey), .entrysize = sizeof(Members)};

	leases = ShmemInitHash("pg_usher leases", usher_max_leases, usher_max_leases, &lease,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	members = ShmemInitHash("pg_usher members", SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX, &member,
							HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

int64
usher_lease_next(void)
{
	return (int64) pg_atomic_add_fetch_u64(&usher_shared->last_lease, 1);
}

/* ---- members ---- */

/* NULL: this session. */
uint64
usher_member_id(const text *member)
{
	if (member == NULL)
		return UINT64CONST(1) << 63 | (uint64) usher_my_procno() << 32 | (uint32) MyProcPid;
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(member),
							   VARSIZE_ANY_EXHDR(member), 0) &
		   ~(UINT64CONST(1) << 63);
}

static bool
is_session(uint64 member)
{
	return member >> 63 != 0;
}

static void
members_forget(uint64 member)
{
	HASH_SEQ_STATUS scan;
	Members *m;

	hash_seq_init(&scan, members);
	while ((m = hash_seq_search(&scan)) != NULL)
		for (int i = 0; i < m->n; i++)
			if (m->list[i].id == member)
				m->list[i--] = m->list[--m->n];
}

/* Room for another subscription: one that nobody polls any more. */
static void
members_make_room(TimestampTz now)
{
	HASH_SEQ_STATUS scan;
	Members *m;

	if (hash_get_num_entries(members) < SUBSCRIPTIONS_MAX)
		return;
	hash_seq_init(&scan, members);
	while ((m = hash_seq_search(&scan)) != NULL)
	{
		bool alive = false;

		for (int i = 0; i < m->n; i++)
			alive |= !TimestampDifferenceExceeds(m->list[i].seen, now, 60000);
		if (!alive)
			hash_search(members, &m->key, HASH_REMOVE, NULL);
	}
}

/* Note that the member polls; returns how many have polled within the time of a lease. */
int
usher_member_seen(const UsherSubscription *subscription, uint64 member)
{
	MembersKey key = {MyDatabaseId, subscription->id};
	TimestampTz now = GetCurrentTimestamp();
	bool known = false, found;
	Members *m;
	int n;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	members_make_room(now);
	m = hash_search(members, &key, HASH_ENTER_NULL, &found);
	if (m == NULL)
	{
		LWLockRelease(usher_shared->lease_lock);
		return 1; /* too many subscriptions to share fairly */
	}
	if (!found)
		m->n = 0;
	for (int i = 0; i < m->n; i++)
	{
		if (m->list[i].id == member)
		{
			m->list[i].seen = now;
			known = true;
		}
		else if (TimestampDifferenceExceeds(m->list[i].seen, now, (int) subscription->lease_ms))
			m->list[i--] = m->list[--m->n];
	}
	if (!known && m->n < USHER_MEMBERS_MAX)
	{
		m->list[m->n].id = member;
		m->list[m->n++].seen = now;
	}
	n = m->n;
	LWLockRelease(usher_shared->lease_lock);
	return n;
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
	bool result;

	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	result = is_free(find_lease(subscription, partition));
	LWLockRelease(usher_shared->lease_lock);
	return result;
}

static void
wake_pollers(int32 subscription_id)
{
	UsherShared *s = usher_shared;

	if (pg_atomic_read_u32(&s->nwaiters) == 0)
		return;
	LWLockAcquire(s->waiter_lock, LW_SHARED);
	for (uint32 i = 0; i < pg_atomic_read_u32(&s->nwaiters); i++)
		if (s->slots[s->waiters[i]].subscription_id == subscription_id)
			usher_poke_proc(s->waiters[i]);
	LWLockRelease(s->waiter_lock);
}

static void
leases_exit(int code, Datum arg)
{
	HASH_SEQ_STATUS scan;
	Lease *l;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	members_forget(usher_member_id(NULL));
	hash_seq_init(&scan, leases);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (l->procno == (uint32) usher_my_procno() && is_session(l->member))
		{
			int32 subscription_id = l->key.subscription_id;

			hash_search(leases, &l->key, HASH_REMOVE, NULL);
			wake_pollers(subscription_id);
		}
	LWLockRelease(usher_shared->lease_lock);
}

static void
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
	changes[nchanges++].upto = upto;
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

/* False: somebody else has it.  The caller holds the partition's lock. */
bool
usher_lease_take(const UsherSubscription *subscription, int partition, int64 lease, uint64 member,
				 int64 from, int64 upto)
{
	LeaseKey key = {MyDatabaseId, subscription->id, partition};
	Lease *l;
	bool taken = false;

	if (!exit_registered)
	{
		before_shmem_exit(leases_exit, (Datum) 0);
		exit_registered = true;
	}
	if (nchanges == 0 || changes[nchanges - 1].lease != lease)
		note(subscription, lease, TAKEN, 0);
	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	l = find_lease(subscription, partition);
	if (is_free(l))
	{
		if (l == NULL && hash_get_num_entries(leases) >= usher_max_leases)
			remove_free();
		l = hash_search(leases, &key, HASH_ENTER_NULL, NULL);
		if (l != NULL)
		{
			l->lease = lease;
			l->procno = is_session(member) ? (uint32) usher_my_procno() : USHER_NO_PROC;
			l->member = member;
			l->from = from;
			l->upto = upto;
			l->until = is_session(member) ? DT_NOEND
										  : TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
																		subscription->lease_ms);
			taken = true;
		}
	}
	LWLockRelease(usher_shared->lease_lock);
	if (l == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("more than %d partitions are leased", usher_max_leases),
						errhint("Raise usher.max_leases and restart the server.")));
	return taken;
}

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

/* The partitions of a lease that is still held; 0: it is lost. */
int
usher_lease_partitions(const UsherSubscription *subscription, int64 lease, UsherLeased *leased)
{
	int n = 0;

	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = find_lease(subscription, p);

		if (l != NULL && l->lease == lease && !is_free(l))
		{
			leased[n].partition = p;
			leased[n].from = l->from;
			leased[n++].upto = l->upto;
		}
	}
	LWLockRelease(usher_shared->lease_lock);
	return n;
}

bool
usher_lease_holds(const UsherSubscription *subscription, int64 lease, int partition)
{
	Lease *l;
	bool result;

	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	l = find_lease(subscription, partition);
	result = l != NULL && l->lease == lease && !is_free(l);
	LWLockRelease(usher_shared->lease_lock);
	return result;
}

/* What is out of a partition, false: nothing. */
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

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = find_lease(subscription, p);

		if (l == NULL || l->lease != lease || is_free(l))
			continue;
		held = true;
		if (!TIMESTAMP_IS_NOEND(l->until))
			l->until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	}
	LWLockRelease(usher_shared->lease_lock);
	return held;
}

void
usher_lease_end_at_commit(const UsherSubscription *subscription, int64 lease)
{
	note(subscription, lease, ENDED, 0);
}

void
usher_lease_move_at_commit(const UsherSubscription *subscription, int64 lease, int64 upto)
{
	note(subscription, lease, MOVED, upto);
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

static void
apply(const Change *change, bool end)
{
	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	for (int p = 0; p < change->npartitions; p++)
	{
		LeaseKey key = {MyDatabaseId, change->subscription_id, p};
		Lease *l = hash_search(leases, &key, HASH_FIND, NULL);

		if (l == NULL || l->lease != change->lease)
			continue;
		if (end)
			hash_search(leases, &key, HASH_REMOVE, NULL);
		else if (l->from < change->upto)
			l->from = change->upto;
	}
	LWLockRelease(usher_shared->lease_lock);
	if (end)
		wake_pollers(change->subscription_id);
}

/* Allocates nothing and raises nothing. */
static void
xact_callback(XactEvent event, void *arg)
{
	bool committed = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;

	if (nchanges == 0 || !(committed || event == XACT_EVENT_ABORT))
		return;
	for (int i = 0; i < nchanges; i++)
		if (committed ? changes[i].kind != TAKEN : changes[i].kind == TAKEN)
			apply(&changes[i], changes[i].kind != MOVED);
	nchanges = 0;
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
			if (c->kind == TAKEN)
				apply(c, true);
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
}
