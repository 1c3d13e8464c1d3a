/*
 * extension/signal/ring.c
 *	  The newest signals of each database, in shared memory.
 *
 * Records stand one behind the other, in the order of their numbers: a header, the topic, who sent it,
 * and the data.  When there is no room for a new one, old ones go and the rest moves together.  First
 * those that nobody can wait for any more, then of each tenant its oldest, as far as it has more
 * than its share: a flood of one tenant takes no other's.  An eighth is made free at a time, so
 * a signal costs no more than a few moves of its own bytes.
 *
 * Each database has a lock of its own: exclusive to write, shared to copy; waiter_lock is taken
 * behind it, never under it.  Numbers begin with the server's start in microseconds, so they rise over
 * restarts, too.  A standby has no signals.
 */
#include "signal/signal.h"

#include "log/log.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#define STALE_MS 60000 /* who has not read for so long is lost already */

typedef struct Ring
{
	Oid dboid;
	Oid log_relid; /* which incarnation of the extension */
	int64 began; /* number before the first one of all */
	pg_atomic_uint64 last; /* number of the newest */
	Size used; /* bytes of records */
} Ring;

typedef struct Record
{
	uint32 len; /* with the padding */
	int32 tenant_id;
	int64 number;
	TimestampTz sent_at;
	uint16 topic_len, sender_len;
	uint32 data_len;
} Record;

/* What a tenant has in it, while room is made. */
typedef struct Share
{
	int32 tenant_id; /* the key */
	Size bytes, excess; /* how many of them go */
} Share;

static struct
{
	LWLockPadded *locks;
	char *bytes;
} rings;

static Size
ring_bytes(void)
{
	return (Size) usher_signal_buffer_kb * 1024;
}

static Size
ring_size(void)
{
	return MAXALIGN(sizeof(Ring)) + ring_bytes();
}

Size
usher_signals_size(void)
{
	return mul_size(usher_max_databases, ring_size());
}

static Ring *
ring_of(const UsherDb *db)
{
	return (Ring *) (rings.bytes + (db - usher_shared->dbs) * ring_size());
}

static LWLock *
lock_of(const UsherDb *db)
{
	return &rings.locks[db - usher_shared->dbs].lock;
}

static char *
bytes_of(Ring *ring)
{
	return (char *) ring + MAXALIGN(sizeof(Ring));
}

/* Only the heads are touched: what nobody uses costs no memory. */
void
usher_signals_init(void)
{
	bool found;

	rings.bytes = ShmemInitStruct(USHER_SIGNALS_TRANCHE, usher_signals_size(), &found);
	rings.locks = GetNamedLWLockTranche(USHER_SIGNALS_TRANCHE);
	if (found)
		return;
	for (int i = 0; i < usher_max_databases; i++)
	{
		Ring *ring = (Ring *) (rings.bytes + i * ring_size());

		memset(ring, 0, sizeof(Ring));
		pg_atomic_init_u64(&ring->last, 0);
	}
}

static Record *
record_at(Ring *ring, Size at)
{
	return (Record *) (bytes_of(ring) + at);
}

/* The entry may have belonged to a database that is no more. */
static bool
is_ours(const Ring *ring, const UsherDb *db)
{
	return ring->dboid == db->dboid && ring->log_relid == db->log_relid;
}

static void
take_over(Ring *ring, const UsherDb *db)
{
	int64 now = (int64) GetCurrentTimestamp();

	ring->dboid = db->dboid;
	ring->log_relid = db->log_relid;
	ring->began = Max(now, (int64) pg_atomic_read_u64(&ring->last));
	ring->used = 0;
	pg_atomic_write_u64(&ring->last, ring->began);
}

/*
 * Room for a new one
 */

static int
by_bytes(const void *a, const void *b)
{
	Size left = (*(Share *const *) a)->bytes, right = (*(Share *const *) b)->bytes;

	return left < right ? -1 : left > right;
}

/* Shares by tenant, in the current memory context: of all records that are not stale. */
static HTAB *
collect_shares(Ring *ring, TimestampTz stale)
{
	HASHCTL ctl = {
		.keysize = sizeof(int32), .entrysize = sizeof(Share), .hcxt = CurrentMemoryContext};
	HTAB *shares = hash_create("signals of tenants", 64, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Share *share = NULL;

	for (Size at = 0; at < ring->used; at += record_at(ring, at)->len)
	{
		const Record *record = record_at(ring, at);
		bool found = true;

		if (record->sent_at <= stale)
			continue;
		if (share == NULL || share->tenant_id != record->tenant_id)
			share = hash_search(shares, &record->tenant_id, HASH_ENTER, &found);
		if (!found)
			share->bytes = 0;
		share->bytes += record->len;
	}
	return shares;
}

/* What is above the level that lets them have `room` together; who is below it keeps all. */
static void
level_shares(HTAB *shares, Size room)
{
	long n = hash_get_num_entries(shares);
	Share **list = palloc(sizeof(Share *) * Max(n, 1)), *share;
	HASH_SEQ_STATUS walk;
	long i = 0;

	hash_seq_init(&walk, shares);
	while ((share = hash_seq_search(&walk)) != NULL)
		list[i++] = share;
	qsort(list, n, sizeof(Share *), by_bytes);
	for (i = 0; i < n; i++)
	{
		Size level = room / (n - i);

		list[i]->excess = list[i]->bytes > level ? list[i]->bytes - level : 0;
		room -= list[i]->bytes - list[i]->excess;
	}
	pfree(list);
}

/* Does it go? Of each tenant the oldest do, until they are as much as it has too much. */
static bool
goes(const Record *record, TimestampTz stale, HTAB *shares)
{
	Share *share;

	if (record->sent_at <= stale)
		return true;
	share = hash_search(shares, &record->tenant_id, HASH_FIND, NULL);
	if (share == NULL || share->excess == 0)
		return false;
	share->excess -= Min(share->excess, record->len);
	return true;
}

static void
make_room(Ring *ring, Size len)
{
	TimestampTz stale = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -STALE_MS);
	HTAB *shares = collect_shares(ring, stale);
	Size to = 0, record_len;

	level_shares(shares, ring_bytes() - Max(len, ring_bytes() / 8));
	for (Size at = 0; at < ring->used; at += record_len)
	{
		record_len = record_at(ring, at)->len;
		if (goes(record_at(ring, at), stale, shares))
			continue;
		memmove(bytes_of(ring) + to, bytes_of(ring) + at, record_len);
		to += record_len;
	}
	ring->used = to;
	hash_destroy(shares);
}

static void
wake(UsherDb *db, int32 tenant_id)
{
	UsherShared *s = usher_shared;

	pg_memory_barrier();
	if (pg_atomic_read_u32(&s->nwaiters) == 0)
		return;
	LWLockAcquire(s->waiter_lock, LW_SHARED);
	for (uint32 i = 0; i < pg_atomic_read_u32(&s->nwaiters); i++)
	{
		const UsherSlot *waiter = &s->slots[s->waiters[i]];

		if (waiter->db == db && waiter->signals &&
			(waiter->tenant_id == 0 || waiter->tenant_id == tenant_id))
			usher_poke_proc(s->waiters[i]);
	}
	LWLockRelease(s->waiter_lock);
}

static void
add(Ring *ring, const void *data, Size len)
{
	memcpy(bytes_of(ring) + ring->used, data, len);
	ring->used += len;
}

int64
usher_signal_send(UsherDb *db, const UsherSignal *signal)
{
	static const char padding[MAXIMUM_ALIGNOF];
	Ring *ring = ring_of(db);
	Record record = {
		.tenant_id = signal->tenant_id,
		.topic_len = signal->topic_len,
		.sender_len = signal->sender_len,
		.data_len = signal->data_len,
	};
	Size len = sizeof(Record) + record.topic_len + record.sender_len + record.data_len;

	record.len = MAXALIGN(len);
	LWLockAcquire(lock_of(db), LW_EXCLUSIVE);
	if (!is_ours(ring, db))
		take_over(ring, db);
	if (ring->used + record.len > ring_bytes())
		make_room(ring, record.len);
	record.number = (int64) pg_atomic_read_u64(&ring->last) + 1;
	record.sent_at = GetCurrentTimestamp();
	add(ring, &record, sizeof(Record));
	add(ring, signal->topic, record.topic_len);
	add(ring, signal->sender, record.sender_len);
	add(ring, signal->data, record.data_len);
	add(ring, padding, record.len - len);
	pg_atomic_write_u64(&ring->last, record.number);
	LWLockRelease(lock_of(db));
	wake(db, signal->tenant_id);
	return record.number;
}

/* The offset of the first one behind `after`. */
static Size
find(Ring *ring, int64 after)
{
	Size at = 0;

	while (at < ring->used && record_at(ring, at)->number <= after)
		at += record_at(ring, at)->len;
	return at;
}

/* How many are not there of those behind `after`. */
static int64
lost_behind(Ring *ring, Size from, int64 after)
{
	int64 lost = (int64) pg_atomic_read_u64(&ring->last) - after;

	for (Size at = from; at < ring->used; at += record_at(ring, at)->len)
		lost--;
	return lost;
}

void
usher_signals_copy(UsherDb *db, int64 after, UsherSignals *signals)
{
	Ring *ring = ring_of(db);

	memset(signals, 0, sizeof(*signals));
	LWLockAcquire(lock_of(db), LW_SHARED);
	if (is_ours(ring, db))
	{
		int64 last = (int64) pg_atomic_read_u64(&ring->last);
		Size from;

		/* In front of what there was, or ahead of it: of another server. 0: of nothing yet. */
		if (after > 0 && (after < ring->began || after > last))
			signals->lost = -1;
		from = find(ring, signals->lost < 0 ? -1 : after);
		if (after >= 0 && signals->lost == 0)
			signals->lost = lost_behind(ring, from, after > 0 ? after : ring->began);
		signals->len = ring->used - from;
		signals->bytes = palloc(Max(signals->len, 1));
		memcpy(signals->bytes, bytes_of(ring) + from, signals->len);
		signals->next = last;
	}
	else
	{
		signals->lost = after > 0 ? -1 : 0;
		signals->next = 0;
	}
	LWLockRelease(lock_of(db));
}

bool
usher_signals_next(UsherSignals *signals, UsherSignal *signal)
{
	const Record *record = (const Record *) (signals->bytes + signals->at);

	if (signals->at >= signals->len)
		return false;
	*signal = (UsherSignal){
		.number = record->number,
		.tenant_id = record->tenant_id,
		.sent_at = record->sent_at,
		.topic = (const char *) (record + 1),
		.topic_len = record->topic_len,
		.sender = (const char *) (record + 1) + record->topic_len,
		.sender_len = record->sender_len,
		.data = (const char *) (record + 1) + record->topic_len + record->sender_len,
		.data_len = record->data_len,
	};
	signals->at += record->len;
	return true;
}

int64
usher_signals_last(UsherDb *db)
{
	Ring *ring = ring_of(db);
	int64 last;

	LWLockAcquire(lock_of(db), LW_SHARED);
	last = is_ours(ring, db) ? (int64) pg_atomic_read_u64(&ring->last) : 0;
	LWLockRelease(lock_of(db));
	return last;
}

int64
usher_signals_found(UsherDb *db, int32 tenant_id, int64 after)
{
	Ring *ring = ring_of(db);
	int64 found = 0;

	LWLockAcquire(lock_of(db), LW_SHARED);
	if (is_ours(ring, db))
	{
		int64 last = (int64) pg_atomic_read_u64(&ring->last);

		for (Size at = find(ring, after > last ? -1 : after); at < ring->used && found == 0;
			 at += record_at(ring, at)->len)
			if (tenant_id == 0 || record_at(ring, at)->tenant_id == tenant_id)
				found = record_at(ring, at)->number;
	}
	LWLockRelease(lock_of(db));
	return found;
}
