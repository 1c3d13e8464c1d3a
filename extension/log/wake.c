/*
 * extension/log/wake.c
 *	  Wait for events; wake who waits, from the commit callback.
 *
 * A waiter enters its pattern in its slot and itself in the list, then looks
 * at the log; so either it sees an event or the committer sees the waiter.
 * A committer whose events match notes the first one's position in the
 * waiter's `hit`.  That position may not be stable yet: whoever releases
 * positions next finds the hit and sets the latch when it became stable.
 * Releasing and noting are ordered by full barriers on both sides, so of two
 * committers that end together at least one sees the other's half.
 */
#include "log.h"

#include "lib/glob.h"
#include "tenancy/tenant.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#define STANDBY_LOOK_MS 10 /* a standby has no committers to wake us */

static bool waiting;
static bool exit_registered;

static void
note_hit(UsherSlot *waiter, int64 position)
{
	uint64 hit = pg_atomic_read_u64(&waiter->hit);

	while ((hit == 0 || hit > (uint64) position) &&
		   !pg_atomic_compare_exchange_u64(&waiter->hit, &hit, position))
		;
}

static void
match_waiter(UsherSlot *waiter, const UsherCommitted *types, int ntypes)
{
	for (int i = 0; i < ntypes; i++)
	{
		const UsherCommitted *t = &types[i];

		if (t->position == 0)
			continue; /* a savepoint took all of them back */
		if (t->type == NULL || waiter->tenant_id == 0 ||
			(t->tenant_id == waiter->tenant_id &&
			 usher_glob_match(waiter->pattern, waiter->pattern_len, t->type, t->type_len)))
			note_hit(waiter, t->position);
	}
}

/*
 * After positions were released: note hits for the committed types, and set
 * the latches of those whose hit is stable.  Called from the commit and abort
 * callbacks: allocates nothing, raises nothing.
 */
void
usher_wake(UsherDb *db, const UsherCommitted *types, int ntypes)
{
	UsherShared *s = usher_shared;

	if (ntypes > 0 && XLogIsNeeded() && pg_atomic_read_u32(&db->worker_poked) == 0 &&
		pg_atomic_exchange_u32(&db->worker_poked, 1) == 0)
		usher_poke_proc(pg_atomic_read_u32(&db->worker_procno));

	if (pg_atomic_read_u32(&s->nwaiters) == 0)
		return;
	LWLockAcquire(s->waiter_lock, LW_SHARED);
	for (uint32 i = 0; ntypes > 0 && i < pg_atomic_read_u32(&s->nwaiters); i++)
		if (s->slots[s->waiters[i]].db == db)
			match_waiter(&s->slots[s->waiters[i]], types, ntypes);
	pg_memory_barrier();
	{
		int64 stable = usher_stable_position_of(db);

		for (uint32 i = 0; i < pg_atomic_read_u32(&s->nwaiters); i++)
		{
			UsherSlot *waiter = &s->slots[s->waiters[i]];
			uint64 hit = pg_atomic_read_u64(&waiter->hit);

			if (waiter->db == db && hit != 0 && hit <= (uint64) stable)
				usher_poke_proc(s->waiters[i]);
		}
	}
	LWLockRelease(s->waiter_lock);
}

static void
wait_end(void)
{
	UsherShared *s = usher_shared;
	int mine;
	uint32 n;

	if (!waiting)
		return;
	mine = usher_my_slot() - s->slots;
	LWLockAcquire(s->waiter_lock, LW_EXCLUSIVE);
	n = pg_atomic_read_u32(&s->nwaiters);
	for (uint32 i = 0; i < n; i++)
		if (s->waiters[i] == mine)
		{
			s->waiters[i] = s->waiters[n - 1];
			pg_atomic_write_u32(&s->nwaiters, n - 1);
			break;
		}
	waiting = false;
	s->slots[mine].subscription_id = 0;
	LWLockRelease(s->waiter_lock);
}

static void
wait_exit(int code, Datum arg)
{
	wait_end();
}

static void
wait_begin(UsherDb *db, int32 tenant_id, const text *pattern)
{
	UsherShared *s = usher_shared;
	UsherSlot *slot = usher_my_slot();

	Ensure(!waiting, "a backend waits twice");
	if (!exit_registered)
	{
		before_shmem_exit(wait_exit, (Datum) 0);
		exit_registered = true;
	}
	slot->db = db;
	slot->tenant_id = tenant_id;
	slot->pattern_len = VARSIZE_ANY_EXHDR(pattern);
	memcpy(slot->pattern, VARDATA_ANY(pattern), slot->pattern_len);
	slot->signals = false;
	pg_atomic_write_u64(&slot->hit, 0);
	LWLockAcquire(s->waiter_lock, LW_EXCLUSIVE);
	s->waiters[pg_atomic_read_u32(&s->nwaiters)] = slot - s->slots;
	pg_atomic_fetch_add_u32(&s->nwaiters, 1);
	waiting = true;
	LWLockRelease(s->waiter_lock);
}

/* Sleep until the latch is set, the time is over, or the client has gone. */
void
usher_wait_sleep(long timeout_ms)
{
	WaitEvent event;

	InvalidateCatalogSnapshotConditionally(); /* a look-up's snapshot must not hold back vacuum */
	if (FeBeWaitSet == NULL || !WaitEventSetCanReportClosed())
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms,
						 PG_WAIT_EXTENSION);
	else
	{
		static uint32 wait_event;

		ModifyWaitEvent(FeBeWaitSet, USHER_CLIENT_SOCKET_POS, WL_SOCKET_CLOSED, NULL);
		if (WaitEventSetWait(FeBeWaitSet, timeout_ms, &event, 1,
							 usher_wait_event(wait_event, "UsherWait")) == 1)
		{
			if (event.events & WL_SOCKET_CLOSED)
			{
				ClientConnectionLost = true;
				InterruptPending = true;
			}
			if (event.events & WL_POSTMASTER_DEATH)
				proc_exit(1);
		}
	}
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

typedef struct Search
{
	int32 tenant_id;
	const text *pattern;
	bool found;
} Search;

static bool
search_visit(TupleTableSlot *slot, void *arg)
{
	Search *search = arg;

	search->found = usher_event_wanted(slot, search->tenant_id, search->pattern);
	return !search->found;
}

/*
 * A hit that the search did not confirm came from a transaction with too many
 * types to note.  Others behind it may not have been noted: look again when
 * the stable position moves, if anything is on its way.
 */
static void
hit_examined(UsherDb *db, int64 stable)
{
	UsherSlot *slot = usher_my_slot();
	uint64 hit = pg_atomic_read_u64(&slot->hit);

	if (hit == 0 || hit > (uint64) stable)
		return;
	if (!pg_atomic_compare_exchange_u64(&slot->hit, &hit, 0))
		return;
	pg_memory_barrier();
	if (usher_position_next(db) > stable + 1)
		note_hit(slot, stable + 1);
	/* who released positions between the two did not see a hit */
	pg_memory_barrier();
	if (usher_stable_position_of(db) > stable)
		SetLatch(MyLatch);
}

static int64
wait_loop(UsherDb *db, int64 after, TimestampTz deadline, Search *search)
{
	int64 examined = after;
	bool standby = RecoveryInProgress();

	for (;;)
	{
		int64 stable = usher_stable(NULL);
		long left;

		/* No statement begins here that would notice partitions made while we slept. */
		AcceptInvalidationMessages();
		if (stable > examined)
		{
			usher_read_positions(examined, stable, search_visit, search);
			if (search->found)
				return stable;
			examined = stable;
		}
		hit_examined(db, stable);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			return stable;
		usher_wait_sleep(standby ? Min(left, STANDBY_LOOK_MS) : left);
	}
}

/*
 * Wait until an event of the session's tenant that matches the pattern is
 * stable beyond `after`, or the time is over; returns the stable position.
 */
int64
usher_wait_for_event(int64 after, int64 timeout_ms, const text *pattern)
{
	UsherDb *db = usher_db();
	Search search = {usher_current_tenant_id(), pattern, false};
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	int64 result = 0;

	(void) usher_cursor_begin(after, 0, NULL);
	wait_begin(db, search.tenant_id, pattern);
	PG_TRY();
	{
		result = wait_loop(db, after, deadline, &search);
	}
	PG_FINALLY();
	{
		wait_end();
	}
	PG_END_TRY();
	return result;
}

/* ---- for who follows the log and does other things meanwhile ---- */

/*
 * From now on our latch is set when an event of the tenant (0: of any) whose
 * type matches the pattern (NULL: every) has become stable that we have not
 * examined, or a partition of the subscription (0: none) has come free.
 */
void
usher_follow_begin(UsherDb *db, int32 tenant_id, const text *pattern, int32 subscription_id)
{
	union
	{
		char bytes[VARHDRSZ + 1];
		int32 aligned;
	} everything;

	SET_VARSIZE(&everything, VARHDRSZ + 1);
	everything.bytes[VARHDRSZ] = '*';
	usher_my_slot()->subscription_id = subscription_id;
	wait_begin(db, tenant_id, pattern ? pattern : (const text *) &everything);
}

/* Our latch is set for signals of the tenant, too. Look at them behind it. */
void
usher_follow_signals(void)
{
	usher_my_slot()->signals = true;
	pg_memory_barrier();
}

/* Call after reading: everything up to `stable`, as it was taken before, has been examined. */
void
usher_follow_examined(UsherDb *db, int64 stable)
{
	hit_examined(db, stable);
}

void
usher_follow_end(void)
{
	wait_end();
}
