/*
 * extension/log/stream.c
 *	  A stream's lock, and its row in the registry.
 *
 * The lock is the row lock on the stream's insert-only row in
 * usher.stream_registry: exact, as many as there are, held to the end of the
 * (sub)transaction.  Who creates the row holds a short advisory lock on the
 * name's hash while it looks once more and inserts, so that two creators meet
 * without a unique violation; the second then waits for the first one's end.
 * Bulk appends create in runs of rows; while they hold the locks of a run they
 * wait for nothing but the next creator lock, in the order of names.  Who then
 * appends nothing to a stream that it created takes its row back.
 *
 * What this transaction has locked is kept in `locked`, in outbox memory, until
 * its end or the savepoint's rollback.
 */
#include "log.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define CREATOR_LOCK_CLASS 0x5553 /* 'US', beside the classes of advisory locks */
#define RUN_MAX            64 /* rows created together */

typedef struct LockedEntry
{
	UsherStreamKey key;
	UsherStream *stream;
	char status;
} LockedEntry;

static inline uint32
key_hash(UsherStreamKey key)
{
	return hash_combine(
		hash_bytes((unsigned char *) VARDATA_ANY(key.name), VARSIZE_ANY_EXHDR(key.name)),
		murmurhash32(key.tenant_id));
}

static inline bool
key_equal(UsherStreamKey a, UsherStreamKey b)
{
	int len = VARSIZE_ANY_EXHDR(a.name);

	return a.tenant_id == b.tenant_id && len == VARSIZE_ANY_EXHDR(b.name) &&
		   memcmp(VARDATA_ANY(a.name), VARDATA_ANY(b.name), len) == 0;
}

#define SH_PREFIX            locked
#define SH_ELEMENT_TYPE      LockedEntry
#define SH_KEY_TYPE          UsherStreamKey
#define SH_KEY               key
#define SH_HASH_KEY(tb, key) key_hash(key)
#define SH_EQUAL(tb, a, b)   key_equal(a, b)
#define SH_SCOPE             static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static locked_hash *locked; /* NULL: nothing locked */
static const text *locking; /* of usher_streams_lock: what it may be waiting for */
static UsherStream **lock_order;
static int nlocked, lock_order_size;

/* Relations and scan that a run of stream locks shares. */
typedef struct Locker
{
	UsherCatalog *cat;
	UsherDb *db;
	int32 tenant_id;
	Relation registry, pkey;
	SnapshotData dirty;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	CatalogIndexState indexes; /* opened by the first creation */
	TupleTableSlot *rows[RUN_MAX]; /* to be inserted; made when first needed */
	UsherStream **existing; /* locked, their heads not known yet; with room for all */
	int nexisting;
} Locker;

/* What a look into the registry has found. */
typedef struct Registered
{
	ItemPointerData tid;
	TransactionId creator; /* valid while another transaction is inserting it, or this one has */
	int64 first_position;
} Registered;

UsherStream *
usher_stream_locked(int32 tenant_id, const text *name)
{
	UsherStreamKey key = {tenant_id, (text *) name};
	LockedEntry *entry = locked ? locked_lookup(locked, key) : NULL;

	return entry ? entry->stream : NULL;
}

static void
registry_take(Locker *locker, Registered *found)
{
	bool isnull;

	found->tid = locker->slot->tts_tid;
	found->creator = locker->dirty.xmin;
	found->first_position = DatumGetInt64(
		slot_getattr(locker->slot, REGISTRY_FIRST_POSITION, &isnull));
}

/* Find a stream's row in the registry. */
static bool
registry_find(Locker *locker, const text *name, Registered *found)
{
	ScanKeyData keys[2];

	usher_stream_keys(keys, locker->tenant_id, name);
	InitDirtySnapshot(locker->dirty);
	index_rescan(locker->scan, keys, 2, NULL, 0);
	if (!index_getnext_slot(locker->scan, ForwardScanDirection, locker->slot))
		return false;
	registry_take(locker, found);
	ExecClearTuple(locker->slot);
	return true;
}

static void
registry_row(Locker *locker, const UsherStream *stream, TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, REGISTRY_NATTS * sizeof(bool));
	slot->tts_values[REGISTRY_TENANT_ID - 1] = Int32GetDatum(stream->tenant_id);
	slot->tts_values[REGISTRY_STREAM - 1] = PointerGetDatum(stream->name);
	slot->tts_values[REGISTRY_CATEGORY - 1] = PointerGetDatum(stream->category);
	slot->tts_values[REGISTRY_FIRST_POSITION - 1] = Int64GetDatum(stream->segment);
	slot->tts_values[REGISTRY_CREATED_AT - 1] = TimestampTzGetDatum(
		GetCurrentTransactionStartTimestamp());
	ExecStoreVirtualTuple(slot);
}

static void
creator_lock_tag(LOCKTAG *tag, int32 tenant_id, const text *name)
{
	uint64 hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name),
									  tenant_id);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 CREATOR_LOCK_CLASS);
}

/* Streams that were missing, whose creator locks we hold and whose rows are to be inserted together. */
typedef struct Run
{
	UsherStream *streams[RUN_MAX];
	int n;
	uint64 seen; /* count of registrations before the first was looked for */
	bool bounded;
	text *bound; /* if bounded, no row lay between the last name and this one; NULL: the end */
	bool covered; /* the bound has answered for another name than it was looked for */
	bool scattered; /* it did not: the names are far apart, look for each alone */
	bool existing; /* the last name was there: so may be the next one */
} Run;

static void
run_add(Locker *locker, Run *run, UsherStream *stream)
{
	LOCKTAG tag;

	creator_lock_tag(&tag, locker->tenant_id, stream->name);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	run->streams[run->n++] = stream;
}

/* Insert the rows of at most RUN_MAX streams. */
static void
registry_insert(Locker *locker, UsherStream *const *streams, int n)
{
	int current;
	int64 segment;

	if (n == 0)
		return;
	current = usher_partition_current(locker->cat);
	Ensure(current >= 0, "the log has no partition");
	segment = locker->cat->partitions[current].from;
	for (int i = 0; i < n; i++)
	{
		streams[i]->segment = segment;
		streams[i]->created = true;
		if (locker->rows[i] == NULL)
			locker->rows[i] = MakeSingleTupleTableSlot(RelationGetDescr(locker->registry),
													   &TTSOpsHeapTuple);
		registry_row(locker, streams[i], locker->rows[i]);
	}
	if (locker->indexes == NULL)
		locker->indexes = CatalogOpenIndexes(locker->registry);
	usher_rows_insert(locker->indexes, NULL, locker->rows, n, NULL, NULL, NULL);
	pg_atomic_fetch_add_u64(&locker->db->registrations, n);
}

/*
 * Insert the rows of a run and let go of the creator locks.  Returns how many
 * are ours now, moved to the front; the others somebody else has inserted
 * meanwhile.  (Whoever did had the same lock, and counted before it let go.)
 */
static int
run_insert(Locker *locker, Run *run)
{
	bool changed = pg_atomic_read_u64(&locker->db->registrations) != run->seen;
	LOCKTAG tag;
	int ours = 0;

	for (int i = 0; i < run->n; i++)
	{
		UsherStream *stream = run->streams[i];
		Registered found;

		if (changed && registry_find(locker, stream->name, &found))
			continue;
		run->streams[i] = run->streams[ours];
		run->streams[ours++] = stream;
	}
	registry_insert(locker, run->streams, ours);
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
	TM_Result result;

	result = table_tuple_lock(locker->registry, tid, SnapshotSelf, locker->slot,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive, LockWaitBlock, 0,
							  &failure);
	ExecClearTuple(locker->slot);
	return result == TM_Ok;
}

static UsherStream *
lock_one(Locker *locker, const text *name, bool create, const Registered *known);

static void
remember_locked(UsherStream *stream)
{
	UsherStreamKey key = {stream->tenant_id, stream->name};
	LockedEntry *entry;
	bool found;

	if (locked == NULL)
	{
		lock_order = MemoryContextAlloc(usher_outbox_context(), 8 * sizeof(UsherStream *));
		lock_order_size = 8;
		locked = locked_create(usher_outbox_context(), 8, NULL);
	}
	if (nlocked == lock_order_size)
	{
		lock_order = repalloc(lock_order, lock_order_size * 2 * sizeof(UsherStream *));
		lock_order_size *= 2;
	}
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
	stream->category_hash = usher_category_hash(stream->category);
	stream->subid = GetCurrentSubTransactionId();
	MemoryContextSwitchTo(old);
	return stream;
}

/* Create the streams of a run; those that exist by now are locked by another look. */
static void
run_finish(Locker *locker, Run *run)
{
	int ours;

	if (run->n == 0)
		return;
	ours = run_insert(locker, run);
	for (int i = 0; i < ours; i++)
		remember_locked(run->streams[i]);
	for (int i = ours; i < run->n; i++)
		(void) lock_one(locker, run->streams[i]->name, true, NULL);
	run->n = 0;
}

/*
 * Lock one stream; NULL when it does not exist and `create` is false.  `known`
 * is its row if somebody has just looked, else NULL: rows of the registry are
 * never deleted, and should its creator have aborted, the lock fails.
 */
static UsherStream *
lock_one(Locker *locker, const text *name, bool create, const Registered *known)
{
	UsherStream *stream = usher_stream_locked(locker->tenant_id, name);
	Registered found;

	if (stream)
		return stream;
	locking = name;
	for (;; known = NULL)
	{
		Run run = {.seen = pg_atomic_read_u64(&locker->db->registrations)};

		CHECK_FOR_INTERRUPTS();
		pg_read_barrier();
		if (known)
			found = *known;
		else if (!registry_find(locker, name, &found))
		{
			if (!create)
				return NULL;
			stream = new_stream(locker->tenant_id, name);
			run_add(locker, &run, stream);
			if (run_insert(locker, &run) == 1)
				break;
			continue;
		}
		if (TransactionIdIsValid(found.creator) &&
			!TransactionIdIsCurrentTransactionId(found.creator))
		{
			XactLockTableWait(found.creator, locker->registry, &found.tid, XLTW_Lock);
			continue;
		}
		if (!registry_lock(locker, &found.tid))
			continue;
		stream = new_stream(locker->tenant_id, name);
		stream->segment = found.first_position;
		locker->existing[locker->nexisting++] = stream;
		break;
	}
	remember_locked(stream);
	return stream;
}

/* For at most n streams that exist. */
static void
locker_open(Locker *locker, int32 tenant_id, int n)
{
	memset(locker, 0, sizeof(*locker));
	locker->existing = palloc_array(UsherStream *, n);
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
	usher_streams_find_heads(locker->existing, locker->nexisting);
	for (int i = 0; i < RUN_MAX && locker->rows[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(locker->rows[i]);
	if (locker->indexes)
		CatalogCloseIndexes(locker->indexes);
	index_endscan(locker->scan);
	ExecDropSingleTupleTableSlot(locker->slot);
	index_close(locker->pkey, NoLock);
	table_close(locker->registry, NoLock);
	pfree(locker->existing);
}

UsherStream *
usher_stream_lock(int32 tenant_id, text *name, bool create)
{
	UsherStream *stream = usher_stream_locked(tenant_id, name);
	Locker locker;

	if (stream)
		return stream;
	locker_open(&locker, tenant_id, 1);
	stream = lock_one(&locker, name, create, NULL);
	locker_close(&locker);
	return stream;
}

/*
 * Whether the stream is missing from the registry, for names that come in
 * their order.  One look shows the next row that exists: names before it are
 * missing too, unless they were inserted since, which run_insert notices by
 * the count.  False: *found is its row.
 */
static bool
run_missing(Locker *locker, Run *run, const text *name, Registered *found)
{
	ScanKeyData keys[2];
	bool isnull;

	if (run->n == 0)
	{
		run->seen = pg_atomic_read_u64(&locker->db->registrations);
		run->bounded = false;
		pg_read_barrier();
	}
	if (run->bounded && (run->bound == NULL || usher_stream_names_compare(&name, &run->bound) < 0))
	{
		run->covered = true;
		return true;
	}
	run->scattered |= run->bounded && !run->covered;
	if (run->scattered || run->existing)
	{
		run->existing = registry_find(locker, name, found);
		if (run->existing || run->scattered)
			return !run->existing;
	}
	usher_stream_keys(keys, locker->tenant_id, name);
	keys[1].sk_strategy = BTGreaterEqualStrategyNumber;
	fmgr_info(F_TEXT_GE, &keys[1].sk_func);
	InitDirtySnapshot(locker->dirty);
	index_rescan(locker->scan, keys, 2, NULL, 0);
	run->bounded = true;
	run->covered = false;
	run->bound = NULL;
	if (index_getnext_slot(locker->scan, ForwardScanDirection, locker->slot))
	{
		run->bound = DatumGetTextPCopy(slot_getattr(locker->slot, REGISTRY_STREAM, &isnull));
		registry_take(locker, found);
	}
	ExecClearTuple(locker->slot);
	run->existing = run->bound && usher_stream_names_compare(&name, &run->bound) == 0;
	return !run->existing;
}

/* By name; of equal names one that may be created comes first. */
static int
compare_wanted(const void *a, const void *b)
{
	const UsherStreamWanted *x = a, *y = b;
	int order = usher_stream_names_compare(&x->name, &y->name);

	return order != 0 ? order : (int) y->create - (int) x->create;
}

/*
 * Lock many streams in the order of their names, so that bulk appenders never
 * deadlock.  Sorts `wanted`.  One that does not exist and is not to be created
 * is left out.
 */
void
usher_streams_lock(int32 tenant_id, UsherStreamWanted *wanted, int n)
{
	Locker locker;
	Run run = {0};
	Registered found;
	bool any_locked = nlocked > 0;

	qsort(wanted, n, sizeof(UsherStreamWanted), compare_wanted);
	locker_open(&locker, tenant_id, n);
	for (int i = 0; i < n; i++)
	{
		const text *name = wanted[i].name;

		if ((i > 0 && usher_stream_names_compare(&wanted[i - 1].name, &name) == 0) ||
			(any_locked && usher_stream_locked(tenant_id, name) != NULL))
			continue;
		locking = name;
		if (!run_missing(&locker, &run, name, &found))
		{
			run_finish(&locker, &run);
			(void) lock_one(&locker, name, wanted[i].create, &found);
		}
		else if (wanted[i].create)
			run_add(&locker, &run, new_stream(tenant_id, name));
		if (run.n == RUN_MAX)
			run_finish(&locker, &run);
		CHECK_FOR_INTERRUPTS();
	}
	run_finish(&locker, &run);
	locker_close(&locker);
}

/* While usher_streams_lock() is at work, for the context of an error that ends its wait: the name of a stream. */
const text *
usher_stream_locking(void)
{
	return locking;
}

/*
 * Take back the rows of streams that this (sub)transaction has created and
 * appended nothing to.  Whoever waits for one will find it missing.
 */
void
usher_streams_take_back(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	int kept = 0;
	Locker locker;
	Registered found;

	for (int i = 0; i < nlocked; i++)
	{
		UsherStream *stream = lock_order[i];
		UsherStreamKey key = {stream->tenant_id, stream->name};

		if (!stream->created || stream->head > 0 || stream->subid != subid)
		{
			lock_order[kept++] = stream;
			continue;
		}
		if (kept == i)
			CommandCounterIncrement(); /* the first: our own rows can be deleted from now on */
		locker_open(&locker, stream->tenant_id, 0);
		if (registry_find(&locker, stream->name, &found))
			simple_heap_delete(locker.registry, &found.tid);
		locker_close(&locker);
		locked_delete(locked, key);
	}
	nlocked = kept;
}

/*
 * Streams whose names nobody else can know yet: made without a look and
 * without a lock.  Of different tenants, if need be.
 */
void
usher_streams_make(const UsherStreamKey *keys, UsherStream **streams, int n)
{
	Locker locker;

	locker_open(&locker, 0, 0);
	for (int i = 0; i < n; i++)
	{
		streams[i] = new_stream(keys[i].tenant_id, keys[i].name);
		remember_locked(streams[i]);
	}
	for (int i = 0; i < n; i += RUN_MAX)
		registry_insert(&locker, streams + i, Min(RUN_MAX, n - i));
	locker_close(&locker);
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
