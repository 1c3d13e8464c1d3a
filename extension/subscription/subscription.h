/*
 * extension/subscription/subscription.h
 *	  Consumer groups: cursors into the log, shared among pollers.
 *
 *	  subscription.c  its row
 *	  cursor.c        where its partitions are: insert-only tables
 *	  number.c        the numbers of leases and cursors
 *	  unflushed.c     acknowledgements that do not wait for the disk
 *	  member.c        who polls: shared memory
 *	  lease.c         who has which partition: shared memory
 *	  lease_end.c     what a transaction did to leases, at its end
 *	  owner.c         SQL as the owner of the tables
 *	  parked.c        keys that failed: which, and what is delivered of them
 *	  failure.c       an event fails: its key is parked, or it is a dead letter
 *	  poll.c          choose partitions, read the log, deliver
 *	  retry.c         what is delivered of parked keys
 *	  ready.c         would a poll deliver something?
 *	  ack.c           acknowledge, set aside
 *
 * An event belongs to the partition slot * partitions / 65536: all events of a
 * key to the same one.  A poll takes a lease on partitions and reads the log
 * once for all of them.
 *
 * Locking: the advisory lock on (subscription, partition) is held from an
 * acknowledgement to the end of its transaction, and by a poll while it reads
 * the cursor and takes the lease (to the end of its transaction where it wrote
 * about parked keys).  So no partition is given away between an acknowledgement
 * and its commit.  Numbers of cursors and leases are drawn under it.
 */
#ifndef USHER_SUBSCRIPTION_H
#define USHER_SUBSCRIPTION_H

#include "usher.h"
#include "shmem.h"

#include "log/log.h"
#include "metrics/metrics.h"
#include "nodes/pg_list.h"
#include "utils/tuplestore.h"

#define USHER_PARTITIONS_MAX 1024

typedef struct UsherSubscription
{
	int32 id;
	int32 tenant_id;
	char *name;
	text *pattern; /* of types */
	text *category; /* NULL: every */
	text *stream; /* glob, NULL: every */
	int partitions;
	int max_attempts;
	int64 lease_ms;
	double backoff_ms, backoff_max_ms;
	int max_parked_keys; /* in a partition */
	bool hold_dead;
	bool paused;
} UsherSubscription;

/* ---- subscription.c ---- */
extern Oid usher_subscription_relation(const char *name);
extern UsherSubscription *usher_subscription_find(const text *name);
extern UsherSubscription *usher_subscription_get(int32 id);
extern int usher_partition_of(const UsherSubscription *subscription, int32 slot);
extern bool usher_subscription_wants(const UsherSubscription *subscription, TupleTableSlot *slot);
extern int usher_delivery_series(TupleTableSlot *slot);

/* ---- cursor.c ---- */
#define USHER_CURSOR_ROWS 20000 /* in a table of cursors before it is emptied */

/* Columns of usher.subscription_cursors_*. */
enum
{
	USHER_CURSOR_SUBSCRIPTION_ID = 1,
	USHER_CURSOR_NUMBER,
	USHER_CURSOR_PARTITIONS,
	USHER_CURSOR_POSITIONS,
	USHER_CURSOR_NATTS = USHER_CURSOR_POSITIONS
};

extern const char *const usher_cursor_tables[2];

extern void usher_cursor_table_switch(UsherDb *db);
extern int
usher_subscription_cursors(int32 subscription_id, int n, const int *partitions, int64 *positions);
extern void usher_subscription_cursors_set(const UsherSubscription *subscription, int n,
										   const int *partitions, const int64 *positions);
extern bool usher_partition_lock(int32 subscription_id, int partition, bool wait);
extern bool usher_partition_is_locked(int32 subscription_id, int partition);
extern void usher_partition_unlock(int32 subscription_id, int partition);

/* ---- number.c ---- */
extern int64 usher_lease_next(void);

/* ---- unflushed.c ---- */
extern void usher_unflushed_init(void);
extern void usher_unflushed_begin(void);
extern void usher_unflushed_end(void);

/* ---- member.c ---- */
#define USHER_MEMBERS_MAX 64

extern Size usher_members_size(void);
extern void usher_members_init(void);
extern uint64 usher_member_id(const text *member);
extern bool usher_member_is_session(uint64 member);
extern int usher_member_seen(const UsherSubscription *subscription, uint64 member);
extern void usher_member_forget(uint64 member);

/* ---- lease.c ---- */
/* What was delivered of a partition under a lease, by series: counted when it is acknowledged. */
#define USHER_KINDS_MAX 8
typedef struct UsherKinds
{
	int n;
	struct
	{
		int series;
		int events;
	} list[USHER_KINDS_MAX];
} UsherKinds;

/* One partition that is leased, as its holder knows it. */
typedef struct UsherLeased
{
	int partition;
	int64 from, upto; /* delivered: (from, upto], acknowledged ones left out */
	UsherKinds kinds; /* when it is taken */
} UsherLeased;

extern Size usher_leases_size(void);
extern void usher_leases_init(void);
extern void usher_lease_callbacks(void);
extern void usher_lease_exit_register(void);
extern int usher_leases_free(const UsherSubscription *subscription, uint64 member, int *partitions,
							 TimestampTz *expires);
extern bool usher_lease_is_free(const UsherSubscription *subscription, int partition);
extern void usher_lease_take(const UsherSubscription *subscription, int64 lease, uint64 member,
							 int n, const UsherLeased *leased, bool parked);
extern int usher_lease_partitions(const UsherSubscription *subscription, int64 lease,
								  UsherLeased *leased, bool *parked);
extern void usher_lease_has_parked(const UsherSubscription *subscription, int64 lease);
extern bool
usher_lease_of(const UsherSubscription *subscription, int partition, int64 *lease, int64 *upto);
extern bool usher_lease_extend(const UsherSubscription *subscription, int64 lease, int64 ms);
extern void usher_lease_end_at_commit(const UsherSubscription *subscription, int64 lease);
extern void
usher_lease_move_at_commit(const UsherSubscription *subscription, int64 lease, int64 upto);
extern void usher_lease_failed_at_commit(const UsherSubscription *subscription, int64 lease,
										 int partition, int series, UsherOutcome outcome);
extern void usher_pollers_wake_at_commit(const UsherSubscription *subscription);
extern void usher_leases_give_up(const UsherSubscription *subscription, uint64 member);
extern void usher_leases_revoke(int32 subscription_id);

/* ---- owner.c ---- */
typedef struct UsherOwner
{
	Oid user;
	int sec_context;
} UsherOwner;

struct _SPI_plan;
extern void usher_owner_begin(UsherOwner *saved);
extern void usher_owner_end(const UsherOwner *saved);
extern void usher_owner_run(struct _SPI_plan **plan, const char *sql, int nargs, Oid *types,
							Datum *values, const char *nulls);
extern Datum usher_owner_column(int row, int number, bool *isnull);

/* ---- parked.c ---- */
#define USHER_PARKED_DUE_MAX 100 /* keys that are looked at in one poll */

/* A key of which something can be delivered now. */
typedef struct UsherParked
{
	int partition;
	char *key;
	int64 position; /* first event that is not acknowledged */
	int64 through; /* to be delivered up to here; position - 1: nothing is left */
	int64 failed; /* the event that failed; 0: none, it catches up */
	int64 version; /* of an event of the stream at or before `position`; 0: not known */
	int attempts; /* failed ones of `failed` */
} UsherParked;

typedef struct UsherParkedKeys
{
	int n; /* that are due */
	UsherParked *due;
	TimestampTz next_at; /* of the first that is not due; 0: none */
	struct HTAB *keys; /* all of them in our partitions; NULL: none */
	int *counts; /* by partition */
	int64 *tops; /* by partition: nothing behind it is parked */
} UsherParkedKeys;

extern char *usher_parked_key(TupleTableSlot *slot);
extern bool usher_parked_is_single(const char *key);
extern void usher_parked_load(const UsherSubscription *subscription, int n, const int *partitions,
							  const int64 *cursors, UsherParkedKeys *parked);
extern bool
usher_parked_has(const UsherParkedKeys *parked, int partition, const char *key, int64 position);
extern void usher_parked_let_go(const UsherParkedKeys *parked, const UsherParked *key);
extern void usher_parked_lease(const UsherSubscription *subscription, const UsherParked *parked,
							   int64 lease, int64 upto, int64 version, bool done);
extern void usher_parked_ack(const UsherSubscription *subscription, int64 lease, int64 upto);

/* ---- failure.c ---- */
extern bool
usher_parked_fail(const UsherSubscription *subscription, int64 lease, const UsherLeased *leased,
				  TupleTableSlot *slot, const char *error, int64 retry_ms, bool *parked);

/* ---- poll.c ---- */
#define USHER_BUSY_RETRY_MS \
	20 /* nobody tells when a partition's lock goes that was not released with a lease */

typedef struct UsherPoll
{
	UsherSubscription *subscription;
	uint64 member;
	int max;
	int share; /* at most so many partitions; 0: all, divided by the members that poll */
	/*
	 * Called for each event, in the order of positions; poll->delivered counts
	 * it already.  The slot is valid during the call only.
	 */
	void (*deliver)(struct UsherPoll *poll, int64 lease, int partition, int attempt,
					TupleTableSlot *slot);
	void *arg;
	bool counted; /* the caller counts what is completed, with usher_series_processed */
	int64 lease; /* result; 0: nothing */
	int delivered; /* result */
	TimestampTz next_at; /* result: a parked key is due then, or a lease ends; 0: none */
	bool more; /* result: the log was not read to its end */
	bool busy; /* result: others are at work at partitions: next_at is soon */
	int64 examined; /* result: the stable position that was looked at */
} UsherPoll;

extern int usher_poll_once(UsherPoll *poll);

/* ---- ready.c ---- */
/* Zero at first. */
typedef struct UsherReady
{
	int64 *cursors; /* of the partitions, as they were seen last */
	int64 scanned; /* nothing is to be had up to here */
	int64 examined; /* result: for usher_follow_examined */
	TimestampTz next_at; /* result: a parked key is due then, or a lease ends; 0: none */
} UsherReady;

extern bool usher_poll_ready(const UsherSubscription *subscription, UsherReady *ready);

/* ---- ack.c ---- */
extern void
usher_lease_lost(const UsherSubscription *subscription, int64 lease) pg_attribute_noreturn();
extern void usher_subscription_ack(const UsherSubscription *subscription, int64 lease, int64 upto);
extern bool usher_subscription_nack(const UsherSubscription *subscription, int64 lease,
									int64 position, const char *error, int64 retry_ms);

#endif /* USHER_SUBSCRIPTION_H */
