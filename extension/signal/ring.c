/*
 * extension/signal/ring.c
 *	  A ring of signals for each database, in shared memory.
 *
 * A record is a header, the topic, who sent it, and the data; a new one takes the place of
 * the oldest.  Each ring has a lock of its own: exclusive to write, shared to
 * copy; waiter_lock is taken behind it, never under it.  Numbers begin with the
 * server's start in microseconds, so they rise over restarts, too.  A standby
 * has no signals: its ring stays empty.
 */
#include "signal/signal.h"

#include "log/log.h"

#include "miscadmin.h"
#include "storage/shmem.h"

typedef struct Ring
{
	Oid dboid;
	Oid log_relid; /* which incarnation of the extension */
	int64 began; /* number before the first one of all */
	int64 first; /* number of the oldest that is there */
	pg_atomic_uint64 last; /* number of the newest */
	uint64 head, tail; /* bytes ever written, and ever dropped */
} Ring;

typedef struct Record
{
	uint32 len; /* with the padding */
	int32 tenant_id;
	TimestampTz sent_at;
	uint16 topic_len, sender_len;
	uint32 data_len;
} Record;

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

static void
copy_out(Ring *ring, uint64 from, char *to, Size len)
{
	Size at = from % ring_bytes(), front = Min(len, ring_bytes() - at);

	memcpy(to, bytes_of(ring) + at, front);
	memcpy(to + front, bytes_of(ring), len - front);
}

static void
copy_in(Ring *ring, const void *from, Size len)
{
	Size at = ring->head % ring_bytes(), front = Min(len, ring_bytes() - at);

	memcpy(bytes_of(ring) + at, from, front);
	memcpy(bytes_of(ring), (const char *) from + front, len - front);
	ring->head += len;
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
	ring->first = ring->began + 1;
	ring->head = ring->tail = 0;
	pg_atomic_write_u64(&ring->last, ring->began);
}

static void
drop_oldest(Ring *ring)
{
	Record oldest;

	copy_out(ring, ring->tail, (char *) &oldest, sizeof(Record));
	ring->tail += oldest.len;
	ring->first++;
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

int64
usher_signal_send(UsherDb *db, const UsherSignal *signal)
{
	static const char padding[MAXIMUM_ALIGNOF];
	Ring *ring = ring_of(db);
	Record record = {
		.tenant_id = signal->tenant_id,
		.sent_at = GetCurrentTimestamp(),
		.topic_len = signal->topic_len,
		.sender_len = signal->sender_len,
		.data_len = signal->data_len,
	};
	Size len = sizeof(Record) + record.topic_len + record.sender_len + record.data_len;
	int64 number;

	record.len = MAXALIGN(len);
	LWLockAcquire(lock_of(db), LW_EXCLUSIVE);
	if (!is_ours(ring, db))
		take_over(ring, db);
	while (ring->head - ring->tail + record.len > ring_bytes())
		drop_oldest(ring);
	copy_in(ring, &record, sizeof(Record));
	copy_in(ring, signal->topic, record.topic_len);
	copy_in(ring, signal->sender, record.sender_len);
	copy_in(ring, signal->data, record.data_len);
	copy_in(ring, padding, record.len - len);
	number = (int64) pg_atomic_read_u64(&ring->last) + 1;
	pg_atomic_write_u64(&ring->last, number);
	LWLockRelease(lock_of(db));
	wake(db, signal->tenant_id);
	return number;
}

/* The offset of the first one behind `after`; *number is its number. */
static uint64
find(Ring *ring, int64 after, int64 *number)
{
	uint64 at = ring->tail;

	for (*number = ring->first; *number <= after && at < ring->head; (*number)++)
	{
		Record record;

		copy_out(ring, at, (char *) &record, sizeof(Record));
		at += record.len;
	}
	return at;
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
		uint64 from;

		/* In front of the ring, or ahead of it: of another server. 0: of nothing yet. */
		if (after == 0)
			signals->lost = ring->first - 1 - ring->began;
		else if (after > 0 && (after < ring->began || after > last))
			signals->lost = -1;
		else if (after > 0)
			signals->lost = Max(ring->first - 1 - after, 0);
		from = find(ring, signals->lost < 0 ? -1 : after, &signals->number);
		signals->len = ring->head - from;
		signals->bytes = palloc(Max(signals->len, 1));
		copy_out(ring, from, signals->bytes, signals->len);
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
		.number = signals->number++,
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
		int64 last = (int64) pg_atomic_read_u64(&ring->last), number;
		uint64 at = find(ring, after > last ? -1 : after, &number);

		for (; at < ring->head && found == 0; number++)
		{
			Record record;

			copy_out(ring, at, (char *) &record, sizeof(Record));
			at += record.len;
			if (tenant_id == 0 || record.tenant_id == tenant_id)
				found = number;
		}
	}
	LWLockRelease(lock_of(db));
	return found;
}
