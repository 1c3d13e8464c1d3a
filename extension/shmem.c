/*
 * extension/shmem.c
 *	  Reserve and initialise the shared memory.
 */
#include "shmem.h"

#include "boxoffice/box.h"
#include "metrics/metrics.h"
#include "signal/signal.h"
#include "subscription/subscription.h"

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#define TRANCHE     "pg_usher"
#define END_WAIT_MS 3000

UsherShared *usher_shared;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static Size
shared_size(void)
{
	Size size = MAXALIGN(sizeof(UsherShared));

	size = add_size(size, mul_size(usher_max_databases, MAXALIGN(sizeof(UsherDb))));
	size = add_size(size, mul_size(MaxBackends, MAXALIGN(sizeof(UsherSlot))));
	size = add_size(size, mul_size(MaxBackends, sizeof(int)));
	size = add_size(size, mul_size(usher_max_relays, MAXALIGN(sizeof(UsherRelay))));
	return add_size(size, 4 * PG_CACHE_LINE_SIZE);
}

static void
shmem_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestAddinShmemSpace(usher_members_size());
	RequestAddinShmemSpace(usher_leases_size());
	RequestAddinShmemSpace(usher_metrics_size());
	RequestAddinShmemSpace(usher_zones_size());
	RequestAddinShmemSpace(usher_signals_size());
	RequestNamedLWLockTranche(TRANCHE, 5);
	RequestNamedLWLockTranche(USHER_SIGNALS_TRANCHE, usher_max_databases);
}

static void
shmem_startup(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	usher_shared = ShmemInitStruct(TRANCHE, shared_size(), &found);
	if (!found)
	{
		UsherShared *s = usher_shared;
		LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);
		char *at = (char *) CACHELINEALIGN((char *) s + sizeof(*s));

		memset(s, 0, shared_size());
		s->lock = &locks[0].lock;
		s->waiter_lock = &locks[1].lock;
		s->lease_lock = &locks[2].lock;
		s->metrics_lock = &locks[3].lock;
		s->box_lock = &locks[4].lock;
		pg_atomic_init_u64(&s->last_lease, (uint64) GetCurrentTimestamp());
		s->ndbs = usher_max_databases;
		s->nslots = MaxBackends;
		pg_atomic_init_u32(&s->nwaiters, 0);
		pg_atomic_init_u32(&s->launcher_procno, USHER_NO_PROC);
		s->slots = (UsherSlot *) at;
		at = (char *) CACHELINEALIGN(at + s->nslots * sizeof(UsherSlot));
		s->dbs = (UsherDb *) at;
		at += s->ndbs * sizeof(UsherDb);
		s->waiters = (int *) MAXALIGN(at);
		at = (char *) CACHELINEALIGN((char *) (s->waiters + s->nslots));
		s->relays = (UsherRelay *) at;
		s->nrelays = usher_max_relays;
		for (int i = 0; i < s->nslots; i++)
		{
			pg_atomic_init_u64(&s->slots[i].first, 0);
			pg_atomic_init_u64(&s->slots[i].hit, 0);
		}
		for (int i = 0; i < s->ndbs; i++)
		{
			SpinLockInit(&s->dbs[i].mutex);
			pg_atomic_init_u64(&s->dbs[i].next, 0);
			pg_atomic_init_u64(&s->dbs[i].mark, 0);
			pg_atomic_init_u64(&s->dbs[i].wanted, 0);
			pg_atomic_init_u32(&s->dbs[i].worker_procno, USHER_NO_PROC);
			pg_atomic_init_u32(&s->dbs[i].worker_poked, 0);
			pg_atomic_init_u32(&s->dbs[i].removals_requested, 0);
			pg_atomic_init_u64(&s->dbs[i].registrations, 0);
			pg_atomic_init_u64(&s->dbs[i].commit_lsn, 0);
			pg_atomic_init_u32(&s->dbs[i].sinks_generation, 0);
			pg_atomic_init_u32(&s->dbs[i].cursor_table, 0);
			pg_atomic_init_u32(&s->dbs[i].cursor_rows, 0);
			for (int c = 0; c < USHER_COUNTERS; c++)
				pg_atomic_init_u64(&s->dbs[i].counters[c], 0);
			pg_atomic_init_u32(&s->dbs[i].subscriptions_generation, 0);
			pg_atomic_init_u32(&s->dbs[i].handler_watcher, 0);
			pg_atomic_init_u64(&s->dbs[i].idle_handlers, 0);
			pg_atomic_init_u32(&s->dbs[i].box_generation, 1);
			pg_atomic_init_u32(&s->dbs[i].box_procno, USHER_NO_PROC);
			pg_atomic_init_u64(&s->dbs[i].box_deadline, PG_UINT64_MAX);
			pg_atomic_init_u64(&s->dbs[i].lease_mark, 0);
			ConditionVariableInit(&s->dbs[i].partitions_cv);
		}
		for (int i = 0; i < s->nrelays; i++)
		{
			SpinLockInit(&s->relays[i].mutex);
			pg_atomic_init_u32(&s->relays[i].procno, USHER_NO_PROC);
			pg_atomic_init_u32(&s->relays[i].blocked_generation, 0);
			pg_atomic_init_u32(&s->relays[i].ring, 0);
		}
		for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
		{
			pg_atomic_init_u32(&s->handlers[i].procno, USHER_NO_PROC);
			pg_atomic_init_u32(&s->handlers[i].running_id, 0);
			pg_atomic_init_u64(&s->handlers[i].running_position, 0);
			pg_atomic_init_u32(&s->handlers[i].suspect_id, 0);
			pg_atomic_init_u64(&s->handlers[i].suspect_position, 0);
		}
	}
	usher_members_init();
	usher_leases_init();
	usher_metrics_init();
	usher_zones_init();
	usher_signals_init();
	LWLockRelease(AddinShmemInitLock);
}

void
usher_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

UsherSlot *
usher_my_slot(void)
{
	int procno = usher_my_procno();

	Ensure(usher_shared != NULL && procno >= 0 && procno < usher_shared->nslots,
		   "backend without a slot");
	return &usher_shared->slots[procno];
}

void
usher_poke_proc(uint32 procno)
{
	if (procno != USHER_NO_PROC)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

void
usher_wake_housekeeping(UsherDb *db)
{
	uint32 procno = pg_atomic_read_u32(&db->worker_procno);

	/* without one, the launcher starts it */
	usher_poke_proc(procno != USHER_NO_PROC ? procno
											: pg_atomic_read_u32(&usher_shared->launcher_procno));
}

/* Free an entry, with the ring of a memory sink.  Call with the lock held. */
void
usher_relay_forget(UsherRelay *relay)
{
	dsm_handle ring = pg_atomic_exchange_u32(&relay->ring, 0);

	if (ring != 0)
		dsm_unpin_segment(ring);
	relay->dboid = InvalidOid;
}

/* A database does not exist any more.  Call with the lock held. */
void
usher_db_forget(UsherDb *db)
{
	for (int i = 0; i < usher_shared->nrelays; i++)
		if (usher_shared->relays[i].dboid == db->dboid)
			usher_relay_forget(&usher_shared->relays[i]);
	db->dboid = InvalidOid;
}

bool
usher_terminate_proc(uint32 procno)
{
	int pid;

	if (procno == USHER_NO_PROC)
		return false;
	pid = ProcGlobal->allProcs[procno].pid;
	if (pid != 0)
		kill(pid, SIGTERM);
	return true;
}

/* A worker asks once its number is known: who pauses it finds the number, or it sees the pause. */
bool
usher_workers_paused(void)
{
	pg_memory_barrier();
	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == MyDatabaseId &&
			usher_shared->dbs[i].worker_paused_until > GetCurrentTimestamp())
			return true;
	return false;
}

void
usher_terminate_all(int (*terminate)(Oid dboid), Oid dboid)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_WAIT_MS);

	while (terminate(dboid) > 0 && GetCurrentTimestamp() < deadline)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
