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

	usher_lease_exit_register();
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
