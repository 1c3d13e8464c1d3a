/*
 * extension/subscription/lease.h
 *	  What lease.c and lease_end.c share: the table of leases.
 */
#ifndef USHER_LEASE_H
#define USHER_LEASE_H

#include "subscription/subscription.h"

#include "utils/hsearch.h"

typedef struct LeaseKey
{
	Oid dboid;
	int32 subscription_id;
	int32 partition;
} LeaseKey;

typedef struct Lease
{
	LeaseKey key;
	int32 tenant_id;
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

/* ---- lease.c ---- */
extern HTAB *usher_lease_table; /* protected by lease_lock */

extern Lease *usher_lease_entry(int32 subscription_id, int partition);

/* ---- lease_end.c ---- */
extern void usher_lease_given_back_at_abort(const UsherSubscription *subscription, int64 lease);
extern bool usher_lease_ended_here(int64 lease);
extern int64 usher_lease_moved_here(int64 lease);
extern void usher_lease_replaced(const Lease *l, int64 by);
extern void usher_pollers_wake(int32 subscription_id);

#endif /* USHER_LEASE_H */
