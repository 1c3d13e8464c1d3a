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
#include "subscription/lease.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

HTAB *usher_lease_table;
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

	usher_lease_table = ShmemInitHash("pg_usher leases", usher_max_leases, usher_max_leases, &lease,
									  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	usher_members_init();
}

/* ---- leases ---- */

Lease *
usher_lease_entry(int32 subscription_id, int partition)
{
	LeaseKey key = {MyDatabaseId, subscription_id, partition};

	return hash_search(usher_lease_table, &key, HASH_FIND, NULL);
}

static bool
is_free(const Lease *l)
{
	return l == NULL || l->lease == 0 || usher_lease_ended_here(l->lease) ||
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
		const Lease *l = usher_lease_entry(subscription->id, p);

		if (is_free(l) || (member != 0 && l->member == member))
			partitions[n++] = p;
		else if (!TIMESTAMP_IS_NOEND(l->until) && (*expires == 0 || l->until < *expires))
			*expires = l->until;
	}
	LWLockRelease(usher_shared->lease_lock);
	return n;
}

static void
leases_exit(int code, Datum arg)
{
	HASH_SEQ_STATUS scan;
	Lease *l;

	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	usher_member_forget(usher_member_id(NULL));
	hash_seq_init(&scan, usher_lease_table);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (l->procno == (uint32) usher_my_procno() && usher_member_is_session(l->member))
		{
			int32 subscription_id = l->key.subscription_id;

			hash_search(usher_lease_table, &l->key, HASH_REMOVE, NULL);
			usher_pollers_wake(subscription_id);
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

/* Entries whose time is over make room for others.  Call with the lock held. */
static void
remove_expired(void)
{
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS scan;
	Lease *l;

	hash_seq_init(&scan, usher_lease_table);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (!TIMESTAMP_IS_NOEND(l->until) && l->until < now)
			hash_search(usher_lease_table, &l->key, HASH_REMOVE, NULL);
}

static int
compare_tenants(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a, y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* How many leases a tenant has, and how many tenants there are, itself included.  Call with the lock held. */
static int
leases_of_tenant(const UsherSubscription *subscription, int *tenants)
{
	uint64 me = (uint64) MyDatabaseId << 32 | (uint32) subscription->tenant_id;
	uint64 *list = palloc((hash_get_num_entries(usher_lease_table) + 1) * sizeof(uint64));
	int n = 0, mine = 0;
	HASH_SEQ_STATUS scan;
	Lease *l;

	hash_seq_init(&scan, usher_lease_table);
	while ((l = hash_seq_search(&scan)) != NULL)
	{
		list[n] = (uint64) l->key.dboid << 32 | (uint32) l->tenant_id;
		mine += list[n++] == me;
	}
	list[n++] = me;
	qsort(list, n, sizeof(uint64), compare_tenants);
	*tenants = 1;
	for (int i = 1; i < n; i++)
		*tenants += list[i] != list[i - 1];
	pfree(list);
	return mine;
}

/*
 * So that no tenant starves the others, the last eighth of the table is for
 * those who have less than an equal part of it.  Call with the lock held.
 */
static void
check_share(const UsherSubscription *subscription, int n)
{
	int limit = usher_max_leases - usher_max_leases / 8, mine, tenants;

	if (hash_get_num_entries(usher_lease_table) + n <= limit)
		return;
	remove_expired();
	if (hash_get_num_entries(usher_lease_table) + n <= limit)
		return;
	mine = leases_of_tenant(subscription, &tenants);
	if (mine + n > usher_max_leases / (tenants + 1))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many partitions are leased: %d, %d of them by this tenant",
							   (int) hash_get_num_entries(usher_lease_table), mine),
						errdetail("The rest of usher.max_leases (%d) is for other tenants.",
								  usher_max_leases),
						errhint("Acknowledge what was delivered, or raise usher.max_leases and "
								"restart the server.")));
}

static void
take(const UsherSubscription *subscription, const UsherLeased *leased, const Lease *template)
{
	LeaseKey key = {MyDatabaseId, subscription->id, leased->partition};
	Lease *l = usher_lease_entry(subscription->id, leased->partition);

	Ensure(is_free(l), "a partition is leased twice");
	if (l != NULL && usher_lease_ended_here(l->lease))
		usher_lease_replaced(l, template->lease);
	l = hash_search(usher_lease_table, &key, HASH_ENTER_NULL, NULL);
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
		.tenant_id = subscription->tenant_id,
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
	usher_lease_given_back_at_abort(subscription,
									lease); /* first: an error gives back what was taken */
	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	check_share(subscription, n);
	for (int i = 0; i < n; i++)
		take(subscription, &leased[i], &template);
	LWLockRelease(usher_shared->lease_lock);
}

/* The partitions of a lease that is held, all of them; 0: it is lost. */
int
usher_lease_partitions(const UsherSubscription *subscription, int64 lease, UsherLeased *leased,
					   bool *parked)
{
	int64 moved = usher_lease_moved_here(lease);
	int n = 0, taken = 0;

	*parked = false;
	LWLockAcquire(usher_shared->lease_lock, LW_SHARED);
	for (int p = 0; p < subscription->partitions; p++)
	{
		Lease *l = usher_lease_entry(subscription->id, p);

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
		Lease *l = usher_lease_entry(subscription->id, p);

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
	l = usher_lease_entry(subscription->id, partition);
	held = !is_free(l) && l->tenant_id == subscription->tenant_id;
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
		Lease *l = usher_lease_entry(subscription->id, p);

		if (l == NULL || l->lease != lease || is_free(l))
			continue;
		held = true;
		if (!TIMESTAMP_IS_NOEND(l->until))
			l->until = until;
	}
	LWLockRelease(usher_shared->lease_lock);
	return held;
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
		Lease *l = usher_lease_entry(subscription->id, p);

		if (l == NULL || l->member != member || usher_lease_ended_here(l->lease))
			continue;
		hash_search(usher_lease_table, &l->key, HASH_REMOVE, NULL);
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
	hash_seq_init(&scan, usher_lease_table);
	while ((l = hash_seq_search(&scan)) != NULL)
		if (l->key.dboid == MyDatabaseId && l->key.subscription_id == subscription_id)
			hash_search(usher_lease_table, &l->key, HASH_REMOVE, NULL);
	LWLockRelease(usher_shared->lease_lock);
}
