/*
 * extension/shmem.h
 *	  Shared memory: one entry a database, one slot a backend.
 *
 * Locking: `UsherShared.lock` protects the set of databases and the loading
 * and raising of their counters; UsherDb.mutex protects the fields marked
 * (m) and is held for a few instructions only; `waiter_lock` protects the
 * list of waiters (shared to walk, exclusive to change); `lease_lock` the
 * leases of subscriptions, `metrics_lock` the table of series, `box_lock` the
 * slots of zones (shared to look one up, exclusive to change the set); each ring of
 * signal/ring.c has a lock of its own.  Everything else
 * is atomic.  Order: lock, then waiter_lock or metrics_lock; a mutex is always
 * the last.
 */
#ifndef USHER_SHMEM_H
#define USHER_SHMEM_H

#include "usher.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

/* What is counted of a database, besides the series of metrics/series.c; since the server's start. */
typedef enum UsherCounter
{
	COUNT_TRANSACTIONS, /* committed with events */
	COUNT_EVENTS, /* of them */
	COUNT_ONCE_FRESH, /* answers of usher.once */
	COUNT_ONCE_REPEATED,
	COUNT_ONCE_IN_PROGRESS,
	COUNT_ONCE_CONFLICT,
	USHER_COUNTERS
} UsherCounter;

typedef struct UsherDb
{
	Oid dboid; /* InvalidOid: free entry */
	Oid log_relid; /* which incarnation of the extension */
	slock_t mutex;
	bool loaded; /* the counter has been read from its durable mark */
	pg_atomic_uint64 next; /* (m to write) next position to give */
	pg_atomic_uint64 mark; /* last position that is durably reserved */
	TimestampTz last_recorded_at; /* (m) */
	pg_atomic_uint64 wanted; /* partitions must exist up to here */
	pg_atomic_uint32 worker_procno; /* housekeeping worker's, or USHER_NO_PROC */
	pg_atomic_uint32 worker_poked; /* its latch is set for the stable mark already */
	pg_atomic_uint32 removals_requested;
	pg_atomic_uint64 registrations; /* counts rows inserted into the stream registry */
	pg_atomic_uint64
		commit_lsn; /* end of the newest commit record of a transaction that appended */
	pg_atomic_uint32 sinks_generation; /* counts changes of the sinks' configuration */
	pg_atomic_uint32 cursor_table; /* which of the two tables of subscription cursors is filled */
	pg_atomic_uint32 cursor_rows; /* inserted into it */
	pg_atomic_uint32 subscriptions_generation; /* counts changes of subscriptions and handlers */
	pg_atomic_uint32 handler_watcher; /* number of its entry, from 1; 0: nobody watches the log */
	pg_atomic_uint64 idle_handlers; /* a bit for each entry whose worker sleeps */
	pg_atomic_uint32 box_generation; /* counts changes of the box office's configuration */
	pg_atomic_uint32 box_procno; /* worker that lets reservations expire, or USHER_NO_PROC */
	pg_atomic_uint64
		box_deadline; /* the first of them that is known to be due; PG_UINT64_MAX: none */
	pg_atomic_uint64 lease_mark; /* last number of a lease that is durably reserved; 0: not known */
	TimestampTz
		worker_paused_until; /* no worker before: the database is about to be dropped or copied */
	pg_atomic_uint64 counters[USHER_COUNTERS];
	ConditionVariable partitions_cv; /* broadcast when a partition was made */
} UsherDb;

#define USHER_NO_PROC PG_UINT32_MAX

/* A backend in the middle of its commit, and a backend that waits; a cache line each. */
typedef struct UsherSlot
{
	pg_atomic_uint64 first; /* first position it may be writing; 0: none */
	UsherDb *db;
	/* while waiting: */
	int32 tenant_id;
	int32 pattern_len;
	int32 subscription_id; /* whose freed partitions end the wait, too; 0: none */
	bool signals; /* the tenant's end it, too */
	pg_atomic_uint64 hit; /* position that ends the wait once it is stable; 0: none yet */
	char pattern[USHER_NAME_MAX + 1];
	char pad[PG_CACHE_LINE_SIZE];
} UsherSlot;

typedef enum UsherRelayState
{
	RELAY_STARTING, /* no worker has taken it yet, or one connects */
	RELAY_RUNNING,
	RELAY_WAITING, /* the peer is away: until the next try */
	RELAY_PAUSED,
	RELAY_BLOCKED, /* a human has to look at it */
	RELAY_NO_SLOT /* max_worker_processes are in use */
} UsherRelayState;

#define USHER_RELAY_ERROR_MAX 512

/* What a relay worker tells about itself.  It alone writes; the mutex lets others copy it whole. */
typedef struct UsherRelayStatus
{
	UsherRelayState state;
	int breaker; /* UsherBreakerState */
	int32 in_flight; /* messages handed over and not acknowledged */
	int64 position; /* everything up to here is acknowledged */
	int64 delivered, duplicates, retried, dead, unmatched; /* since the server's start */
	double rate; /* acknowledged messages a second, at rated_at */
	TimestampTz rated_at;
	TimestampTz next_try_at; /* while waiting */
	TimestampTz error_at; /* 0: never an error */
	char error[USHER_RELAY_ERROR_MAX];
} UsherRelayStatus;

/* One lane of a sink, or a replay; assigned by the database's housekeeping worker. */
typedef struct UsherRelay
{
	Oid dboid; /* InvalidOid: free entry; changed under UsherShared.lock */
	Oid log_relid; /* which incarnation of the extension */
	int32 sink_id;
	int32 lane;
	int64 replay_id; /* 0: the live flow */
	pg_atomic_uint32 procno; /* its worker's, or USHER_NO_PROC */
	pg_atomic_uint32 blocked_generation; /* it stopped under this configuration */
	pg_atomic_uint32 ring; /* dsm_handle of a memory sink's messages; 0: none */
	slock_t mutex;
	UsherRelayStatus status;
} UsherRelay;

#define USHER_HANDLER_WORKERS_MAX 64 /* in the cluster: bits of UsherDb.idle_handlers */

/* A worker of a database's pool; assigned by its housekeeping worker. */
typedef struct UsherHandlerWorker
{
	Oid dboid; /* InvalidOid: free entry; changed under UsherShared.lock */
	pg_atomic_uint32 procno; /* its worker's, or USHER_NO_PROC */
	pg_atomic_uint32 running_id; /* the subscription whose handler it runs; 0: none */
	pg_atomic_uint64 running_position; /* for this event */
	TimestampTz running_since;
	pg_atomic_uint32 suspect_id; /* its predecessor ended in this handler; 0: it did not */
	pg_atomic_uint64 suspect_position;
} UsherHandlerWorker;

typedef struct UsherShared
{
	LWLock *lock;
	LWLock *waiter_lock;
	LWLock *lease_lock; /* of the tables in subscription/lease.c */
	LWLock *metrics_lock; /* of the table in metrics/series.c */
	LWLock *box_lock; /* of the zones in boxoffice/slot.c */
	pg_atomic_uint64 last_lease; /* only rises: see subscription/number.c */
	int ndbs;
	int nslots;
	pg_atomic_uint32 launcher_procno;
	pg_atomic_uint32 nwaiters;
	int *waiters; /* slot numbers, dense */
	UsherDb *dbs;
	UsherSlot *slots;
	int nrelays;
	UsherRelay *relays;
	UsherHandlerWorker handlers[USHER_HANDLER_WORKERS_MAX];
} UsherShared;

extern UsherShared *usher_shared; /* NULL when the library was not preloaded */

extern void usher_shmem_init(void);
extern UsherSlot *usher_my_slot(void);

extern void usher_relay_forget(UsherRelay *relay);
extern void usher_db_forget(UsherDb *db);

/* Set the latch of the process with this number, if there is one. */
extern void usher_poke_proc(uint32 procno);

/* SIGTERM to it; false: there is nobody. */
extern bool usher_terminate_proc(uint32 procno);

/* Are this database's workers to stay away for a while? */
extern bool usher_workers_paused(void);

/* Call terminate, which tells how many still run, until none does or some seconds are over. */
extern void usher_terminate_all(int (*terminate)(Oid dboid), Oid dboid);

/* Wake the database's housekeeping worker. */
extern void usher_wake_housekeeping(UsherDb *db);

#endif /* USHER_SHMEM_H */
