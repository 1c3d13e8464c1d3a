/*
 * extension/subscription/member.c
 *	  Who polls a subscription: in shared memory, so that the partitions are
 *	  shared evenly.
 *
 * A member is a session, or has a name.  It counts as long as it polled within
 * the time of a lease; a session until it ends at the longest.  lease_lock
 * protects the table.
 */
#include "subscription/subscription.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#define SUBSCRIPTIONS_MAX 256 /* with members, at a time */

typedef struct MembersKey
{
	Oid dboid;
	int32 subscription_id;
} MembersKey;

typedef struct Members
{
	MembersKey key;
	int32 tenant_id;
	int n;
	struct
	{
		uint64 id;
		TimestampTz seen;
	} list[USHER_MEMBERS_MAX];
} Members;

static HTAB *members;

Size
usher_members_size(void)
{
	return hash_estimate_size(SUBSCRIPTIONS_MAX, sizeof(Members));
}

void
usher_members_init(void)
{
	HASHCTL member = {.keysize = sizeof(MembersKey), .entrysize = sizeof(Members)};

	members = ShmemInitHash("pg_usher members", SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX, &member,
							HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

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

bool
usher_member_is_session(uint64 member)
{
	return member >> 63 != 0;
}

/* Call with the lock held. */
void
usher_member_forget(uint64 member)
{
	HASH_SEQ_STATUS scan;
	Members *m;

	hash_seq_init(&scan, members);
	while ((m = hash_seq_search(&scan)) != NULL)
		for (int i = 0; i < m->n; i++)
			if (m->list[i].id == member)
				m->list[i--] = m->list[--m->n];
}

/* When somebody polled it last. */
static TimestampTz
last_seen(const Members *m)
{
	TimestampTz last = 0;

	for (int i = 0; i < m->n; i++)
		last = Max(last, m->list[i].seen);
	return last;
}

static bool
same_tenant(const Members *a, const Members *b)
{
	return a->key.dboid == b->key.dboid && a->tenant_id == b->tenant_id;
}

/* The tenant with the most entries has to give one to us, who have fewer: the one that was polled least recently. */
static void
members_take_from_most(Members **all, int n, const Members *mine)
{
	Members *victim = NULL;
	int most = 1, ours = 0;

	for (int i = 0; i < n; i++)
		ours += same_tenant(all[i], mine);
	for (int i = 0; i < n; i++)
	{
		int theirs = 0;

		for (int j = 0; j < n; j++)
			theirs += same_tenant(all[i], all[j]);
		if (theirs <= ours + 1 || theirs < most)
			continue;
		if (theirs > most || victim == NULL || last_seen(all[i]) < last_seen(victim))
			victim = all[i];
		most = theirs;
	}
	if (victim != NULL)
		hash_search(members, &victim->key, HASH_REMOVE, NULL);
}

/* Room for another subscription: one that nobody polls any more, or one of who has the most. */
static void
members_make_room(const Members *mine, TimestampTz now)
{
	Members *all[SUBSCRIPTIONS_MAX], *m;
	HASH_SEQ_STATUS scan;
	int n = 0;

	hash_seq_init(&scan, members);
	while ((m = hash_seq_search(&scan)) != NULL)
		if (TimestampDifferenceExceeds(last_seen(m), now, 60000))
			hash_search(members, &m->key, HASH_REMOVE, NULL);
		else
			all[n++] = m;
	if (n == SUBSCRIPTIONS_MAX)
		members_take_from_most(all, n, mine);
}

/* Note that the member polls; returns how many have polled within the time of a lease. */
int
usher_member_seen(const UsherSubscription *subscription, uint64 member)
{
	Members mine = {.key = {MyDatabaseId, subscription->id}, .tenant_id = subscription->tenant_id};
	TimestampTz now = GetCurrentTimestamp();
	bool known = false, found;
	Members *m;
	int n;

	usher_lease_exit_register();
	LWLockAcquire(usher_shared->lease_lock, LW_EXCLUSIVE);
	m = hash_search(members, &mine.key, HASH_FIND, &found);
	if (m == NULL && hash_get_num_entries(members) >= SUBSCRIPTIONS_MAX)
		members_make_room(&mine, now);
	if (m == NULL && hash_get_num_entries(members) < SUBSCRIPTIONS_MAX)
		m = hash_search(members, &mine.key, HASH_ENTER_NULL, NULL);
	if (m == NULL)
	{
		LWLockRelease(usher_shared->lease_lock);
		return 1; /* too many subscriptions to share fairly */
	}
	if (!found)
	{
		m->tenant_id = mine.tenant_id;
		m->n = 0;
	}
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
