/*
 * extension/boxoffice/slot.c
 *	  Free places of a zone, in shared memory: one slot a zone that is in use.
 *
 * A slot counts capacity less the places that are held or sold: those of every
 * committed transaction, and those that open transactions have taken.  It is
 * loaded from the rows, and true as long as whoever changes the rows has it
 * pinned: a pinned slot is neither evicted nor loaded.  Its pins end behind the
 * point where a transaction has become visible or has aborted, so the snapshot
 * that a loader takes behind the last unpin shows all of them.
 *
 * box_lock protects the set of slots; a slot's mutex its numbers and its pins.
 * Who finds a slot that is being loaded or compared waits for zones->changed.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#define NONE          (-1)
#define HOLD_BREAK_MS 100

typedef struct Zones
{
	ConditionVariable
		changed; /* a load or a comparison is over, or pins have gone while one waits */
	pg_atomic_uint32 holders; /* who wait for pins to go */
	int n;
	int hand; /* of the clock that evicts */
	int unused; /* first of the list; NONE: all are in use */
	UsherZoneSlot slots[FLEXIBLE_ARRAY_MEMBER];
} Zones;

typedef struct Entry
{
	UsherZoneKey key;
	int slot;
} Entry;

static Zones *zones;
static HTAB *by_key;
static UsherZoneSlot *loading; /* by us */
static UsherZoneSlot *held; /* by us */

static Size
array_size(void)
{
	return add_size(offsetof(Zones, slots) + PG_CACHE_LINE_SIZE,
					mul_size(usher_zone_slots, sizeof(UsherZoneSlot)));
}

Size
usher_zones_size(void)
{
	return add_size(array_size(), hash_estimate_size(usher_zone_slots, sizeof(Entry)));
}

void
usher_zones_init(void)
{
	HASHCTL ctl = {.keysize = sizeof(UsherZoneKey), .entrysize = sizeof(Entry)};
	bool found;

	zones = ShmemInitStruct("pg_usher zones", array_size(), &found);
	by_key = ShmemInitHash("pg_usher zones by key", usher_zone_slots, usher_zone_slots, &ctl,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	if (found)
		return;
	memset(zones, 0, array_size());
	ConditionVariableInit(&zones->changed);
	pg_atomic_init_u32(&zones->holders, 0);
	zones->n = usher_zone_slots;
	zones->unused = NONE;
	for (int i = zones->n - 1; i >= 0; i--)
	{
		SpinLockInit(&zones->slots[i].mutex);
		zones->slots[i].next_unused = zones->unused;
		zones->unused = i;
	}
}

static UsherZoneKey
key_of(int32 tenant_id, int64 zone_id)
{
	UsherZoneKey key;

	memset(&key, 0, sizeof(key));
	key.dboid = MyDatabaseId;
	key.log_relid = usher_catalog()->log;
	key.tenant_id = tenant_id;
	key.zone_id = zone_id;
	return key;
}

/* Call with box_lock held. */
static UsherZoneSlot *
find(const UsherZoneKey *key)
{
	Entry *entry = hash_search(by_key, key, HASH_FIND, NULL);

	return entry ? &zones->slots[entry->slot] : NULL;
}

/* Call with box_lock held exclusively, for a slot that nobody has pinned. */
static void
forget(UsherZoneSlot *slot)
{
	(void) hash_search(by_key, &slot->key, HASH_REMOVE, NULL);
	slot->state = ZONE_UNUSED;
	slot->next_unused = zones->unused;
	zones->unused = (int) (slot - zones->slots);
}

/* Who has box_lock exclusively sees pins that only fall: a pin is taken with the lock shared. */
static bool
evictable(UsherZoneSlot *slot)
{
	bool evict;

	SpinLockAcquire(&slot->mutex);
	evict = slot->state == ZONE_READY && slot->pins == 0 && !slot->referenced;
	slot->referenced = false;
	SpinLockRelease(&slot->mutex);
	return evict;
}

/* Call with box_lock held exclusively.  NULL: all are pinned. */
static UsherZoneSlot *
unused_slot(void)
{
	UsherZoneSlot *slot;

	for (int steps = 0; zones->unused == NONE && steps < 2 * zones->n; steps++)
	{
		slot = &zones->slots[zones->hand];
		zones->hand = (zones->hand + 1) % zones->n;
		if (evictable(slot))
			forget(slot);
	}
	if (zones->unused == NONE)
		return NULL;
	slot = &zones->slots[zones->unused];
	zones->unused = slot->next_unused;
	return slot;
}

/* A slot for a zone that has none, to be loaded by us.  False: somebody else was faster. */
static bool
begin_load(const UsherZoneKey *key)
{
	UsherZoneSlot *slot = NULL;
	bool missing;

	LWLockAcquire(usher_shared->box_lock, LW_EXCLUSIVE);
	missing = find(key) == NULL;
	if (missing)
		slot = unused_slot();
	if (slot)
	{
		Entry *entry = hash_search(by_key, key, HASH_ENTER_NULL, NULL);

		Ensure(entry != NULL, "no entry for a zone's slot");
		entry->slot = (int) (slot - zones->slots);
		slot->key = *key;
		slot->state = ZONE_LOADING;
		slot->pins = 0;
		slot->free = slot->open = 0;
		slot->referenced = true;
		loading = slot;
	}
	LWLockRelease(usher_shared->box_lock);
	if (missing && slot == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_ZONE_SLOTS),
						errmsg("all %d slots of zones are in use by open transactions", zones->n),
						errhint("Raise boxoffice.zone_slots and restart the server, or let fewer "
								"zones be sold at a time.")));
	return slot != NULL;
}

/* A load of ours has failed, or the transaction is over: of no effect after a load that has not. */
void
usher_zone_load_failed(void)
{
	if (loading == NULL)
		return;
	LWLockAcquire(usher_shared->box_lock, LW_EXCLUSIVE);
	forget(loading);
	LWLockRelease(usher_shared->box_lock);
	loading = NULL;
	ConditionVariableBroadcast(&zones->changed);
}

/* Free places by the rows that are committed now.  False: there is no such zone. */
static bool
count_rows(const UsherZoneKey *key, int64 *free)
{
	static UsherBoxPlan plan = {
		.sql = "SELECT boxoffice.zone_free($1, $2)", .nargs = 2, .types = {INT4OID, INT8OID}};
	Datum args[] = {Int32GetDatum(key->tenant_id), Int64GetDatum(key->zone_id)};
	UsherBoxRights rights;
	bool isnull = true;

	usher_box_enter(&rights);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (usher_box_run(&plan, args, NULL, 1) == 1)
		*free = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	PopActiveSnapshot();
	SPI_finish();
	usher_box_leave(&rights);
	return !isnull;
}

static UsherZoneSlot *
load(const UsherZoneKey *key)
{
	UsherZoneSlot *slot = loading;
	int64 free = 0;

	if (!count_rows(key, &free))
	{
		usher_zone_load_failed();
		return NULL;
	}
	SpinLockAcquire(&slot->mutex);
	slot->free = free;
	slot->pins = 1;
	slot->state = ZONE_READY;
	SpinLockRelease(&slot->mutex);
	loading = NULL;
	ConditionVariableBroadcast(&zones->changed);
	return slot;
}

/* The slot, pinned; NULL: there is none (*found false), or it is not ready. */
static UsherZoneSlot *
try_pin(const UsherZoneKey *key, bool *found)
{
	UsherZoneSlot *slot;
	bool pinned = false;

	LWLockAcquire(usher_shared->box_lock, LW_SHARED);
	slot = find(key);
	*found = slot != NULL;
	if (slot)
	{
		SpinLockAcquire(&slot->mutex);
		pinned = slot->state == ZONE_READY;
		if (pinned)
		{
			slot->pins++;
			slot->referenced = true;
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(usher_shared->box_lock);
	return pinned ? slot : NULL;
}

/* A comparison waits for others to unpin the slot, and has waited long enough. */
static void
break_hold(const UsherZoneKey *key)
{
	UsherZoneSlot *slot;

	LWLockAcquire(usher_shared->box_lock, LW_SHARED);
	slot = find(key);
	if (slot)
	{
		SpinLockAcquire(&slot->mutex);
		if (slot->state == ZONE_HELD && slot->pins > 0)
			slot->state = ZONE_READY;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(usher_shared->box_lock);
	ConditionVariableBroadcast(&zones->changed);
}

UsherZoneSlot *
usher_zone_acquire(int32 tenant_id, int64 zone_id)
{
	UsherZoneKey key = key_of(tenant_id, zone_id);
	bool found;
	UsherZoneSlot *slot = try_pin(&key, &found);

	if (likely(slot != NULL))
		return slot;
	while (slot == NULL)
	{
		if (!found && begin_load(&key))
			return load(&key);
		ConditionVariablePrepareToSleep(&zones->changed);
		while ((slot = try_pin(&key, &found)) == NULL && found)
			if (ConditionVariableTimedSleep(&zones->changed, HOLD_BREAK_MS, PG_WAIT_EXTENSION))
				break_hold(&key);
		ConditionVariableCancelSleep();
	}
	return slot;
}

/* From the end of a transaction: allocates nothing, and cannot fail. */
void
usher_zone_release(UsherZoneSlot *slot)
{
	bool last;

	SpinLockAcquire(&slot->mutex);
	last = --slot->pins == 0;
	SpinLockRelease(&slot->mutex);
	if (last && pg_atomic_read_u32(&zones->holders) > 0)
		ConditionVariableBroadcast(&zones->changed);
}

/* Rows came from elsewhere (a dump), or the database is gone: slots that nobody uses are counted anew. */
void
usher_zones_forget(Oid dboid)
{
	LWLockAcquire(usher_shared->box_lock, LW_EXCLUSIVE);
	for (int i = 0; i < zones->n; i++)
	{
		UsherZoneSlot *slot = &zones->slots[i];
		bool unpinned;

		SpinLockAcquire(&slot->mutex);
		unpinned = slot->state == ZONE_READY && slot->pins == 0;
		SpinLockRelease(&slot->mutex);
		if (unpinned && slot->key.dboid == dboid)
			forget(slot);
	}
	LWLockRelease(usher_shared->box_lock);
}

/* False: it is not loaded. */
bool
usher_zone_peek(int32 tenant_id, int64 zone_id, int64 *free, int64 *open)
{
	UsherZoneKey key = key_of(tenant_id, zone_id);
	UsherZoneSlot *slot;
	bool known = false;

	LWLockAcquire(usher_shared->box_lock, LW_SHARED);
	slot = find(&key);
	if (slot)
	{
		SpinLockAcquire(&slot->mutex);
		known = slot->state == ZONE_READY || slot->state == ZONE_HELD;
		*free = slot->free;
		*open = slot->open;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(usher_shared->box_lock);
	return known;
}

/* ---- comparing a slot with its rows ---- */

/* Set HELD a slot that is READY.  False: there is none, or it is not ready. */
static bool
begin_hold(const UsherZoneKey *key, bool *found)
{
	UsherZoneSlot *slot;
	bool begun = false;

	LWLockAcquire(usher_shared->box_lock, LW_SHARED);
	slot = find(key);
	*found = slot != NULL;
	if (slot)
	{
		SpinLockAcquire(&slot->mutex);
		begun = slot->state == ZONE_READY;
		if (begun)
		{
			slot->state = ZONE_HELD;
			slot->holder = usher_my_procno();
			held = slot;
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(usher_shared->box_lock);
	if (begun)
		pg_atomic_fetch_add_u32(&zones->holders, 1);
	return begun;
}

typedef enum Hold
{
	HOLD_WAITS,
	HOLD_STANDS, /* nobody has it pinned */
	HOLD_BROKEN /* by somebody who waited too long for it */
} Hold;

static Hold
look_at_hold(void)
{
	Hold hold = HOLD_BROKEN;

	SpinLockAcquire(&held->mutex);
	if (held->state == ZONE_HELD && held->holder == usher_my_procno())
		hold = held->pins == 0 ? HOLD_STANDS : HOLD_WAITS;
	SpinLockRelease(&held->mutex);
	return hold;
}

static bool
hold_once(const UsherZoneKey *key, TimestampTz deadline, bool *found)
{
	Hold hold = HOLD_WAITS;

	if (!begin_hold(key, found))
		return false;
	ConditionVariablePrepareToSleep(&zones->changed);
	while ((hold = look_at_hold()) == HOLD_WAITS && GetCurrentTimestamp() < deadline)
		(void) ConditionVariableTimedSleep(&zones->changed, HOLD_BREAK_MS, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	if (hold != HOLD_STANDS)
		usher_zone_unhold();
	return hold == HOLD_STANDS;
}

/*
 * Keep others from pinning the slot, and wait until nobody has: then its
 * number and its rows stand still, until usher_zone_unhold or the end of the
 * transaction.  Who pins may wait, by ways that no deadlock check sees, for
 * somebody who waits for us: after HOLD_BREAK_MS he breaks the hold, and we
 * try again, later and later.  False: it is not loaded, or pins did not go.
 */
bool
usher_zone_hold(int32 tenant_id, int64 zone_id, int wait_ms)
{
	UsherZoneKey key = key_of(tenant_id, zone_id);
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait_ms);
	long pause_ms = 5;
	bool found = true;

	Ensure(held == NULL, "two zones are held");
	while (!hold_once(&key, deadline, &found))
	{
		if (!found || GetCurrentTimestamp() >= deadline)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause_ms,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		pause_ms = Min(2 * pause_ms, HOLD_BREAK_MS);
	}
	return true;
}

void
usher_zone_unhold(void)
{
	if (held == NULL)
		return;
	SpinLockAcquire(&held->mutex);
	if (held->state == ZONE_HELD && held->holder == usher_my_procno())
		held->state = ZONE_READY;
	SpinLockRelease(&held->mutex);
	held = NULL;
	pg_atomic_fetch_sub_u32(&zones->holders, 1);
	ConditionVariableBroadcast(&zones->changed);
}
