/*
 * extension/log/stream.c
 *	  A stream's lock, its head version, its segments and limits.
 *
 * The lock is the row lock on the stream's insert-only row in
 * usher.stream_registry: exact, as many as there are, held to the end of the
 * (sub)transaction.  Who creates the row holds a short advisory lock on the
 * name's hash while it looks once more and inserts, so that two creators meet
 * without a unique violation; the second then waits for the first one's end.
 * Bulk appends create in runs of rows; while they hold the locks of a run they
 * wait for nothing but the next creator lock, in the order of names.
 *
 * The head version is the newest entry of the (tenant, stream, version) index,
 * read under the lock with SnapshotSelf: what is committed now, whatever the
 * transaction's isolation level.  What this transaction has locked is kept in
 * `locked`, in outbox memory, until its end or the savepoint's rollback.
 */
#include "log.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Columns of usher.stream_registry, stream_segments, stream_limits. */
enum
{
	REGISTRY_TENANT_ID = 1, REGISTRY_STREAM, REGISTRY_CATEGORY, REGISTRY_FIRST_POSITION, REGISTRY_CREATED_AT,
	REGISTRY_NATTS = REGISTRY_CREATED_AT
};
enum
{
	SEGMENT_TENANT_ID = 1, SEGMENT_STREAM, SEGMENT_FROM, SEGMENT_FIRST_VERSION,
	SEGMENT_NATTS = SEGMENT_FIRST_VERSION
};
enum
{
	LIMIT_TENANT_ID = 1, LIMIT_STREAM, LIMIT_HIDDEN_BEFORE, LIMIT_DELETED, LIMIT_REUSABLE,
	LIMIT_MAX_AGE, LIMIT_MAX_COUNT, LIMIT_TRUNCATE_BEFORE,
	LIMIT_NATTS = LIMIT_TRUNCATE_BEFORE
};

#define CREATOR_LOCK_CLASS 0x5553	/* 'US', beside the classes of advisory locks */
#define RUN_MAX 64				/* rows created together */

typedef struct LockedEntry
{
	UsherStreamKey key;
	UsherStream *stream;
	char		status;
} LockedEntry;

static inline uint32
key_hash(UsherStreamKey key)
{
	return hash_combine(hash_bytes((unsigned char *) VARDATA_ANY(key.name), VARSIZE_ANY_EXHDR(key.name)),
						murmurhash32(key.tenant_id));
}

static inline bool
key_equal(UsherStreamKey a, UsherStreamKey b)
{
	int			len = VARSIZE_ANY_EXHDR(a.name);

	return a.tenant_id == b.tenant_id && len == VARSIZE_ANY_EXHDR(b.name) &&
		memcmp(VARDATA_ANY(a.name), VARDATA_ANY(b.name), len) == 0;
}

#define SH_PREFIX locked
#define SH_ELEMENT_TYPE LockedEntry
#define SH_KEY_TYPE UsherStreamKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) key_hash(key)
#define SH_EQUAL(tb, a, b) key_equal(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static locked_hash *locked;		/* NULL: nothing locked */
static UsherStream **lock_order;
static int	nlocked,
			lock_order_size;

/* Relations and scan that a run of stream locks shares. */
typedef struct Locker
{
	UsherCatalog *cat;
	UsherDb    *db;
	int32		tenant_id;
	Relation	registry,
				pkey;
	SnapshotData dirty;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	CatalogIndexState indexes;	/* opened by the first creation */
} Locker;

static void
stream_keys(ScanKey keys, int32 tenant_id, const text *name)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
	keys[1].sk_collation = C_COLLATION_OID;
}

UsherStream *
usher_stream_locked(int32 tenant_id, const text *name)
{
	UsherStreamKey key = {tenant_id, (text *) name};
	LockedEntry *entry = locked ? locked_lookup(locked, key) : NULL;

	return entry ? entry->stream : NULL;
}

/* The category of `order-42` is `order`; a name without a dash is its own. */
text *
usher_stream_category(const text *stream)
{
	const char *s = VARDATA_ANY(stream);
	int			len = VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(s, '-', len);

	return cstring_to_text_with_len(s, dash ? dash - s : len);
}

/* Newest version of the stream in one partition; false when it has none there. */
static bool
head_in_partition(UsherCatalog *cat, int partition, int32 tenant_id, const text *name, Snapshot snapshot,
				  int64 *head, int *flags)
{
	Relation	rel = usher_partition_open(&cat->partitions[partition], AccessShareLock);
	Relation	index;
	IndexScanDesc scan;
	ScanKeyData keys[2];
	TupleTableSlot *slot;
	bool		found;

	if (rel == NULL)
		return false;
	index = index_open(cat->partitions[partition].indexes[INDEX_STREAM], AccessShareLock);
	slot = table_slot_create(rel, NULL);
	stream_keys(keys, tenant_id, name);
	scan = usher_index_beginscan(rel, index, snapshot, 2);
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, BackwardScanDirection, slot);
	if (found)
	{
		bool		isnull;

		*flags = DatumGetInt32(slot_getattr(slot, LOG_FLAGS, &isnull));
		*head = DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

/* Newest segment row of the stream; false when it never left its first partition. */
static bool
newest_segment(UsherCatalog *cat, int32 tenant_id, const text *name, Snapshot snapshot,
			   int64 *from, int64 *first_version)
{
	Relation	rel = table_open(cat->segments, AccessShareLock);
	Relation	index = index_open(cat->segments_pkey, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, 2);
	ScanKeyData keys[2];
	bool		found,
				isnull;

	stream_keys(keys, tenant_id, name);
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, BackwardScanDirection, slot);
	if (found)
	{
		*from = DatumGetInt64(slot_getattr(slot, SEGMENT_FROM, &isnull));
		*first_version = DatumGetInt64(slot_getattr(slot, SEGMENT_FIRST_VERSION, &isnull));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Head version of a stream whose events begin in the partition at `first`.
 * The current partition is asked first: a busy stream has its head there.
 * *segment becomes the start of the partition where the head is, -1 when
 * retention has removed it.
 */
static int64
find_head(int32 tenant_id, const text *name, int64 first, Snapshot snapshot, int *flags, int64 *segment)
{
	UsherCatalog *cat = usher_catalog();
	int			current = cat->npartitions - 1;
	int64		head,
				from,
				next_version = 1;
	UsherStreamLimits limits;

	*flags = 0;
	if (!RecoveryInProgress())
		current = Min(usher_partition_index(cat, usher_position_next(usher_db())), current);
	if (current >= 0 && head_in_partition(cat, current, tenant_id, name, snapshot, &head, flags))
	{
		*segment = cat->partitions[current].from;
		return head;
	}
	cat = usher_catalog();
	if (newest_segment(cat, tenant_id, name, snapshot, &from, &next_version))
		first = from;
	current = usher_partition_index(cat, first);
	if (current < cat->npartitions && cat->partitions[current].from == first &&
		head_in_partition(cat, current, tenant_id, name, snapshot, &head, flags))
	{
		*segment = first;
		return head;
	}
	/*
	 * The partition is gone, perhaps while we waited for its lock: its removal
	 * noted the next version, but the snapshot may be older than that.
	 */
	if (!newest_segment(usher_catalog(), tenant_id, name, SnapshotSelf, &from, &next_version))
		next_version = 1;
	*segment = -1;
	usher_stream_limits(tenant_id, name, &limits);
	*flags = limits.hidden_before == next_version - 1 ? limits.head_flags : 0;
	return next_version - 1;
}

/* Find the registry row; *creator is set while another transaction is inserting it. */
static bool
registry_find(Locker *locker, const text *name, ItemPointer tid, TransactionId *creator, int64 *first_position)
{
	ScanKeyData keys[2];
	bool		isnull;

	stream_keys(keys, locker->tenant_id, name);
	InitDirtySnapshot(locker->dirty);
	index_rescan(locker->scan, keys, 2, NULL, 0);
	if (!index_getnext_slot(locker->scan, ForwardScanDirection, locker->slot))
		return false;
	*tid = locker->slot->tts_tid;
	*creator = locker->dirty.xmin;
	*first_position = DatumGetInt64(slot_getattr(locker->slot, REGISTRY_FIRST_POSITION, &isnull));
	ExecClearTuple(locker->slot);
	return true;
}

static void
registry_row(Locker *locker, const UsherStream *stream, TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, REGISTRY_NATTS * sizeof(bool));
	slot->tts_values[REGISTRY_TENANT_ID - 1] = Int32GetDatum(locker->tenant_id);
	slot->tts_values[REGISTRY_STREAM - 1] = PointerGetDatum(stream->name);
	slot->tts_values[REGISTRY_CATEGORY - 1] = PointerGetDatum(stream->category);
	slot->tts_values[REGISTRY_FIRST_POSITION - 1] = Int64GetDatum(stream->segment);
	slot->tts_values[REGISTRY_CREATED_AT - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	ExecStoreVirtualTuple(slot);
}

/* Start of the partition that takes the next position. */
static int64
current_partition(Locker *locker)
{
	int			current = usher_partition_index(locker->cat, usher_position_next(locker->db));

	return locker->cat->partitions[Min(current, locker->cat->npartitions - 1)].from;
}

static void
creator_lock_tag(LOCKTAG *tag, int32 tenant_id, const text *name)
{
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), tenant_id);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, CREATOR_LOCK_CLASS);
}

/* Streams that were missing, whose creator locks we hold and whose rows are to be inserted together. */
typedef struct Run
{
	UsherStream *streams[RUN_MAX];
	int			n;
	uint64		seen;			/* count of registrations before the first was looked for */
} Run;

static void
run_add(Locker *locker, Run *run, UsherStream *stream)
{
	LOCKTAG		tag;

	creator_lock_tag(&tag, locker->tenant_id, stream->name);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	run->streams[run->n++] = stream;
}

/*
 * Insert the rows of a run and let go of the creator locks.  Returns how many
 * are ours now, moved to the front; the others somebody else has inserted
 * meanwhile.  (Whoever did had the same lock, and counted before it let go.)
 */
static int
run_insert(Locker *locker, Run *run)
{
	TupleTableSlot *slots[RUN_MAX];
	bool		changed = pg_atomic_read_u64(&locker->db->registrations) != run->seen;
	int64		partition = current_partition(locker);
	LOCKTAG		tag;
	int			ours = 0;

	for (int i = 0; i < run->n; i++)
	{
		UsherStream *stream = run->streams[i];
		ItemPointerData tid;
		TransactionId creator;
		int64		first;

		if (changed && registry_find(locker, stream->name, &tid, &creator, &first))
			continue;
		stream->segment = partition;
		slots[ours] = MakeSingleTupleTableSlot(RelationGetDescr(locker->registry), &TTSOpsHeapTuple);
		registry_row(locker, stream, slots[ours]);
		run->streams[i] = run->streams[ours];
		run->streams[ours++] = stream;
	}
	if (ours > 0)
	{
		if (locker->indexes == NULL)
			locker->indexes = CatalogOpenIndexes(locker->registry);
		CatalogTuplesMultiInsertWithInfo(locker->registry, slots, ours, locker->indexes);
		pg_atomic_fetch_add_u64(&locker->db->registrations, ours);
	}
	for (int i = 0; i < ours; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	for (int i = 0; i < run->n; i++)
	{
		creator_lock_tag(&tag, locker->tenant_id, run->streams[i]->name);
		(void) LockRelease(&tag, ExclusiveLock, false);
	}
	return ours;
}

/* Take the row lock; waits for another appender's end.  False: the row is gone, look again. */
static bool
registry_lock(Locker *locker, ItemPointer tid)
{
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(locker->registry, tid, SnapshotSelf, locker->slot, GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive, LockWaitBlock, 0, &failure);
	ExecClearTuple(locker->slot);
	return result == TM_Ok;
}

static UsherStream *lock_one(Locker *locker, const text *name, bool create);

static void
remember_locked(UsherStream *stream)
{
	UsherStreamKey key = {stream->tenant_id, stream->name};
	LockedEntry *entry;
	bool		found;

	if (locked == NULL)
	{
		locked = locked_create(usher_outbox_context(), 8, NULL);
		lock_order_size = 8;
		lock_order = MemoryContextAlloc(usher_outbox_context(), lock_order_size * sizeof(UsherStream *));
	}
	if (nlocked == lock_order_size)
		lock_order = repalloc(lock_order, (lock_order_size *= 2) * sizeof(UsherStream *));
	entry = locked_insert(locked, key, &found);
	Ensure(!found, "stream locked twice");
	entry->stream = stream;
	lock_order[nlocked++] = stream;
}

static UsherStream *
new_stream(int32 tenant_id, const text *name)
{
	MemoryContext old = MemoryContextSwitchTo(usher_outbox_context());
	UsherStream *stream = palloc0_object(UsherStream);

	stream->tenant_id = tenant_id;
	stream->name = cstring_to_text_with_len(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	stream->category = usher_stream_category(name);
	stream->subid = GetCurrentSubTransactionId();
	MemoryContextSwitchTo(old);
	return stream;
}

/* Create the streams of a run; those that exist by now are locked by another look. */
static void
run_finish(Locker *locker, Run *run)
{
	int			ours;

	if (run->n == 0)
		return;
	ours = run_insert(locker, run);
	for (int i = 0; i < ours; i++)
		remember_locked(run->streams[i]);
	for (int i = ours; i < run->n; i++)
		(void) lock_one(locker, run->streams[i]->name, true);
	run->n = 0;
}

/* Lock one stream; NULL when it does not exist and `create` is false. */
static UsherStream *
lock_one(Locker *locker, const text *name, bool create)
{
	UsherStream *stream = usher_stream_locked(locker->tenant_id, name);
	ItemPointerData tid;
	TransactionId creator;
	int64		first;

	if (stream)
		return stream;
	for (;;)
	{
		Run			run = {.seen = pg_atomic_read_u64(&locker->db->registrations)};

		CHECK_FOR_INTERRUPTS();
		pg_read_barrier();
		if (!registry_find(locker, name, &tid, &creator, &first))
		{
			if (!create)
				return NULL;
			stream = new_stream(locker->tenant_id, name);
			run_add(locker, &run, stream);
			if (run_insert(locker, &run) == 1)
				break;
			continue;
		}
		if (TransactionIdIsValid(creator) && !TransactionIdIsCurrentTransactionId(creator))
		{
			XactLockTableWait(creator, locker->registry, &tid, XLTW_Lock);
			continue;
		}
		if (!registry_lock(locker, &tid))
			continue;
		stream = new_stream(locker->tenant_id, name);
		stream->head = find_head(locker->tenant_id, name, first, SnapshotSelf, &stream->head_flags,
								 &stream->segment);
		locker->cat = usher_catalog();
		break;
	}
	remember_locked(stream);
	return stream;
}

static void
locker_open(Locker *locker, int32 tenant_id)
{
	memset(locker, 0, sizeof(*locker));
	locker->cat = usher_catalog();
	locker->db = usher_db();
	locker->tenant_id = tenant_id;
	locker->registry = table_open(locker->cat->registry, RowExclusiveLock);
	locker->pkey = index_open(locker->cat->registry_pkey, RowExclusiveLock);
	locker->slot = table_slot_create(locker->registry, NULL);
	InitDirtySnapshot(locker->dirty);
	locker->scan = usher_index_beginscan(locker->registry, locker->pkey, &locker->dirty, 2);
}

static void
locker_close(Locker *locker)
{
	if (locker->indexes)
		CatalogCloseIndexes(locker->indexes);
	index_endscan(locker->scan);
	ExecDropSingleTupleTableSlot(locker->slot);
	index_close(locker->pkey, NoLock);
	table_close(locker->registry, NoLock);
}

UsherStream *
usher_stream_lock(int32 tenant_id, text *name, bool create)
{
	UsherStream *stream = usher_stream_locked(tenant_id, name);
	Locker		locker;

	if (stream)
		return stream;
	locker_open(&locker, tenant_id);
	stream = lock_one(&locker, name, create);
	locker_close(&locker);
	return stream;
}

static int
compare_names(const void *a, const void *b)
{
	const text *x = *(const text *const *) a;
	const text *y = *(const text *const *) b;
	int			xlen = VARSIZE_ANY_EXHDR(x),
				ylen = VARSIZE_ANY_EXHDR(y);
	int			order = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(xlen, ylen));

	return order != 0 ? order : xlen - ylen;
}

/* Lock many streams in the order of their names, so that bulk appenders never deadlock. Sorts `names`. */
void
usher_streams_lock(int32 tenant_id, text **names, int n)
{
	Locker		locker;
	Run			run = {0};

	qsort(names, n, sizeof(text *), compare_names);
	locker_open(&locker, tenant_id);
	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid;
		TransactionId creator;
		int64		first;

		if ((i > 0 && compare_names(&names[i - 1], &names[i]) == 0) ||
			usher_stream_locked(tenant_id, names[i]) != NULL)
			continue;
		if (run.n == 0)
			run.seen = pg_atomic_read_u64(&locker.db->registrations);
		pg_read_barrier();
		if (!registry_find(&locker, names[i], &tid, &creator, &first))
			run_add(&locker, &run, new_stream(tenant_id, names[i]));
		else
		{
			run_finish(&locker, &run);
			(void) lock_one(&locker, names[i], true);
		}
		if (run.n == RUN_MAX)
			run_finish(&locker, &run);
		CHECK_FOR_INTERRUPTS();
	}
	run_finish(&locker, &run);
	locker_close(&locker);
}

/*
 * Head version for readers: pending events of this transaction included, else
 * as the active snapshot sees it; 0 when the stream does not exist.
 */
int64
usher_stream_head(int32 tenant_id, const text *name, int *flags)
{
	UsherStream *stream = usher_stream_locked(tenant_id, name);
	UsherCatalog *cat = usher_catalog();
	Relation	registry,
				pkey;
	IndexScanDesc scan;
	ScanKeyData keys[2];
	TupleTableSlot *slot;
	int64		first = -1,
				segment;
	bool		isnull;

	*flags = stream ? stream->head_flags : 0;
	if (stream)
		return stream->head;
	registry = table_open(cat->registry, AccessShareLock);
	pkey = index_open(cat->registry_pkey, AccessShareLock);
	slot = table_slot_create(registry, NULL);
	scan = usher_index_beginscan(registry, pkey, GetActiveSnapshot(), 2);
	stream_keys(keys, tenant_id, name);
	index_rescan(scan, keys, 2, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
		first = DatumGetInt64(slot_getattr(slot, REGISTRY_FIRST_POSITION, &isnull));
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(pkey, AccessShareLock);
	table_close(registry, AccessShareLock);
	return first < 0 ? 0 : find_head(tenant_id, name, first, GetActiveSnapshot(), flags, &segment);
}

/*
 * Partitions that may hold events of the stream, oldest first: start of each,
 * and the first version that can be in it.  Returns how many (0: unknown stream).
 */
int
usher_stream_segments(int32 tenant_id, const text *name, int64 **from, int64 **first_version)
{
	UsherCatalog *cat = usher_catalog();
	Oid			tables[2] = {cat->registry, cat->segments};
	Oid			indexes[2] = {cat->registry_pkey, cat->segments_pkey};
	int			n = 0,
				size = 8;

	*from = palloc_array(int64, size);
	*first_version = palloc_array(int64, size);
	for (int t = 0; t < 2; t++)
	{
		Relation	rel = table_open(tables[t], AccessShareLock);
		Relation	index = index_open(indexes[t], AccessShareLock);
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		IndexScanDesc scan = usher_index_beginscan(rel, index, GetActiveSnapshot(), 2);
		ScanKeyData keys[2];
		bool		isnull;

		stream_keys(keys, tenant_id, name);
		index_rescan(scan, keys, 2, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			AttrNumber	column = t == 0 ? REGISTRY_FIRST_POSITION : SEGMENT_FROM;

			if (n == size)
			{
				size *= 2;
				*from = repalloc_array(*from, int64, size);
				*first_version = repalloc_array(*first_version, int64, size);
			}
			(*from)[n] = DatumGetInt64(slot_getattr(slot, column, &isnull));
			(*first_version)[n] = t == 0 ? 1 : DatumGetInt64(slot_getattr(slot, SEGMENT_FIRST_VERSION, &isnull));
			n++;
		}
		index_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		index_close(index, AccessShareLock);
		table_close(rel, AccessShareLock);
		if (n == 0)
			break;
	}
	return n;
}

static int64
column_or_zero(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

void
usher_stream_limits(int32 tenant_id, const text *name, UsherStreamLimits *limits)
{
	UsherCatalog *cat = usher_catalog();
	Relation	rel = table_open(cat->limits, AccessShareLock);
	Relation	index = index_open(cat->limits_pkey, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, ActiveSnapshotSet() ? GetActiveSnapshot() : SnapshotSelf, 2);
	ScanKeyData keys[2];

	memset(limits, 0, sizeof(*limits));
	TIMESTAMP_NOBEGIN(limits->not_before);
	stream_keys(keys, tenant_id, name);
	index_rescan(scan, keys, 2, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		max_age = slot_getattr(slot, LIMIT_MAX_AGE, &isnull);

		if (!isnull)
			limits->not_before = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
																		 TimestampTzGetDatum(GetCurrentTimestamp()),
																		 max_age));
		limits->max_count = column_or_zero(slot, LIMIT_MAX_COUNT);
		limits->hidden_before = column_or_zero(slot, LIMIT_HIDDEN_BEFORE);
		limits->first_visible = Max(limits->hidden_before, column_or_zero(slot, LIMIT_TRUNCATE_BEFORE));
		if (DatumGetBool(slot_getattr(slot, LIMIT_DELETED, &isnull)))
			limits->head_flags = LOG_FLAG_TOMBSTONE;
		if (DatumGetBool(slot_getattr(slot, LIMIT_REUSABLE, &isnull)))
			limits->head_flags |= LOG_FLAG_REUSABLE;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/* Note the tombstone of a stream that this transaction has locked. */
void
usher_stream_hide(UsherStream *stream, int64 tombstone, bool reusable)
{
	UsherCatalog *cat = usher_catalog();
	Relation	rel = table_open(cat->limits, RowExclusiveLock);
	Relation	index = index_open(cat->limits_pkey, RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, SnapshotSelf, 2);
	ScanKeyData keys[2];
	Datum		values[LIMIT_NATTS] = {0};
	bool		nulls[LIMIT_NATTS];
	bool		replace[LIMIT_NATTS] = {0};
	HeapTuple	tuple = NULL;

	stream_keys(keys, stream->tenant_id, stream->name);
	index_rescan(scan, keys, 2, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		tuple = ExecCopySlotHeapTuple(slot);
		tuple->t_self = slot->tts_tid;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);

	memset(nulls, true, sizeof(nulls));
	values[LIMIT_TENANT_ID - 1] = Int32GetDatum(stream->tenant_id);
	values[LIMIT_STREAM - 1] = PointerGetDatum(stream->name);
	values[LIMIT_HIDDEN_BEFORE - 1] = Int64GetDatum(tombstone);
	values[LIMIT_DELETED - 1] = BoolGetDatum(true);
	values[LIMIT_REUSABLE - 1] = BoolGetDatum(reusable);
	for (int column = LIMIT_TENANT_ID; column <= LIMIT_REUSABLE; column++)
	{
		nulls[column - 1] = false;
		replace[column - 1] = column >= LIMIT_HIDDEN_BEFORE;
	}
	if (tuple == NULL)
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	else
		CatalogTupleUpdate(rel, &tuple->t_self,
						   heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* At flush: the stream's first event in the partition at `from`. */
void
usher_stream_segment_add(UsherStream *stream, int64 from, int64 version)
{
	Relation	rel = table_open(usher_catalog()->segments, RowExclusiveLock);
	Datum		values[SEGMENT_NATTS];
	bool		nulls[SEGMENT_NATTS] = {0};
	HeapTuple	tuple;

	values[SEGMENT_TENANT_ID - 1] = Int32GetDatum(stream->tenant_id);
	values[SEGMENT_STREAM - 1] = PointerGetDatum(stream->name);
	values[SEGMENT_FROM - 1] = Int64GetDatum(from);
	values[SEGMENT_FIRST_VERSION - 1] = Int64GetDatum(version);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	stream->segment = from;
}

/* A released savepoint hands its locks to its parent. */
void
usher_streams_subcommit(SubTransactionId from, SubTransactionId to)
{
	for (int i = nlocked - 1; i >= 0 && lock_order[i]->subid == from; i--)
		lock_order[i]->subid = to;
}

/* A rolled back savepoint has lost its locks. */
void
usher_streams_subabort(SubTransactionId subid)
{
	while (nlocked > 0 && lock_order[nlocked - 1]->subid == subid)
	{
		UsherStream *stream = lock_order[--nlocked];
		UsherStreamKey key = {stream->tenant_id, stream->name};

		locked_delete(locked, key);
	}
}

/* The outbox's memory, where all of this lives, is about to be reset. */
void
usher_streams_reset(void)
{
	locked = NULL;
	lock_order = NULL;
	nlocked = lock_order_size = 0;
}
