/*
 * extension/subscription/subscription.h
 *	  Consumer groups: cursors into the log, shared among pollers.
 *
 *	  subscription.c  its row
 *	  cursor.c        where its partitions are: insert-only tables
 *	  member.c        who polls: shared memory
 *	  lease.c         who has which partition: shared memory
 *	  parked.c        keys that failed, dead letters
 *	  poll.c          choose partitions, read the log, deliver
 *	  ack.c           acknowledge, set aside
 *
 * An event belongs to the partition slot * partitions / 65536: all events of a
 * key to the same one.  A poll takes a lease on partitions and reads the log
 * once for all of them.
 *
 * Locking: the advisory lock on (subscription, partition) is held from an
 * acknowledgement to the end of its transaction, and by a poll while it reads
 * the cursor and takes the lease.  So no partition is given away between an
 * acknowledgement and its commit.
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
extern UsherSubscription *usher_subscription_find(const text *name);
extern UsherSubscription *usher_subscription_get(int32 id);
extern int usher_partition_of(const UsherSubscription *subscription, int32 slot);
extern bool usher_subscription_wants(const UsherSubscription *subscription, TupleTableSlot *slot);
extern int usher_delivery_series(TupleTableSlot *slot);

/* ---- cursor.c ---- */
#define USHER_CURSOR_ROWS 20000 /* in a table of cursors before it is emptied */

extern int usher_cursor_table_switch(UsherDb *db);
extern void
usher_subscription_cursors(int32 subscription_id, int n, const int *partitions, int64 *positions);
extern void usher_subscription_cursors_set(const UsherSubscription *subscription, int n,
										   const int *partitions, const int64 *positions);
extern bool usher_partition_lock(int32 subscription_id, int partition, bool wait);
extern void usher_partition_unlock(int32 subscription_id, int partition);

/* ---- member.c ---- */
#define USHER_MEMBERS_MAX 64

extern Size usher_members_size(void);
extern void usher_members_init(void);
extern uint64 usher_member_id(const text *member);
extern bool usher_member_is_session(uint64 member);
extern int usher_member_seen(const UsherSubscription *subscription, uint64 member);
extern void usher_member_forget(uint64 member);

/* ---- lease.c ---- */

/* One partition that is leased, as its holder knows it. */
typedef struct UsherLeased
{
	int partition;
	int64 from, upto; /* delivered: (from, upto] */
} UsherLeased;

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

extern Size usher_leases_size(void);
extern void usher_leases_init(void);
extern void usher_lease_callbacks(void);
extern int64 usher_lease_next(void);
extern bool usher_lease_is_free(const UsherSubscription *subscription, int partition);
extern bool usher_lease_take(const UsherSubscription *subscription, int partition, int64 lease,
							 uint64 member, int64 from, int64 upto, const UsherKinds *kinds);
extern int
usher_lease_partitions(const UsherSubscription *subscription, int64 lease, UsherLeased *leased);
extern bool usher_lease_holds(const UsherSubscription *subscription, int64 lease, int partition);
extern bool
usher_lease_of(const UsherSubscription *subscription, int partition, int64 *lease, int64 *upto);
extern bool usher_lease_extend(const UsherSubscription *subscription, int64 lease, int64 ms);
extern void usher_lease_end_at_commit(const UsherSubscription *subscription, int64 lease);
extern void
usher_lease_move_at_commit(const UsherSubscription *subscription, int64 lease, int64 upto);
extern void usher_lease_failed_at_commit(const UsherSubscription *subscription, int64 lease,
										 int partition, int series, UsherOutcome outcome);
extern void usher_leases_revoke(int32 subscription_id);
extern void
usher_lease_lost(const UsherSubscription *subscription, int64 lease) pg_attribute_noreturn();

/* ---- parked.c ---- */
typedef struct UsherParked
{
	int partition;
	char *key;
	int64 position;
	int attempts;
	bool due;
} UsherParked;

typedef struct UsherParkedKeys
{
	int n; /* that are due */
	UsherParked *due;
	TimestampTz next_at; /* of the first that is not due; 0: none */
	struct HTAB *keys; /* all of them; NULL: none */
	int *counts; /* by partition */
} UsherParkedKeys;

extern char *usher_parked_key(TupleTableSlot *slot);
extern void usher_parked_load(const UsherSubscription *subscription, UsherParkedKeys *parked);
extern bool
usher_parked_has(const UsherParkedKeys *parked, int partition, const char *key, int64 position);
extern void usher_parked_lease(const UsherSubscription *subscription, const UsherParked *parked,
							   int64 lease, int64 upto, bool done);
extern void usher_parked_ack(const UsherSubscription *subscription, int64 lease, int64 upto);
extern bool usher_parked_fail(const UsherSubscription *subscription, int64 lease,
							  TupleTableSlot *slot, const char *error, int64 retry_ms);

/* ---- poll.c ---- */
typedef struct UsherPoll
{
	UsherSubscription *subscription;
	uint64 member;
	int max;
	int share; /* at most so many partitions; 0: all, divided by the members that poll */
	/* called for each event; the slot is valid during the call only */
	void (*deliver)(struct UsherPoll *poll, int64 lease, int partition, int attempt,
					TupleTableSlot *slot);
	void *arg;
	bool counted; /* the caller counts what is completed, with usher_series_processed */
	int64 lease; /* result; 0: nothing */
	int delivered; /* result */
	TimestampTz next_at; /* result: something may be had then (a parked key is due); 0: nothing */
	bool more; /* result: the log was not read to its end */
	int64 examined; /* result: the stable position that was looked at */
} UsherPoll;

extern int usher_poll_once(UsherPoll *poll);
extern bool
usher_poll_ready(UsherSubscription *subscription, int64 *examined, TimestampTz *next_at);

/* ---- ack.c ---- */
extern void usher_subscription_ack(const UsherSubscription *subscription, int64 lease, int64 upto);
extern bool usher_subscription_nack(const UsherSubscription *subscription, int64 lease,
									int64 position, const char *error, int64 retry_ms);

#endif /* USHER_SUBSCRIPTION_H */
