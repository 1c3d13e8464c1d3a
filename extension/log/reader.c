/*
 * extension/log/reader.c
 *	  Scans of the log by position, by category and by stream.
 *
 * Partitions are opened one by one and closed (unlocked) when their scan
 * ends: `visit` must copy what it keeps.  `visit` may run user code.
 */
#include "log.h"

#include "tenancy/tenant.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/spccache.h"

/* What a cursor follows: the whole log, or one category. */
typedef struct Cursor
{
	int32 tenant_id;
	const text *category; /* NULL: the whole log */
} Cursor;

static void check_not_removed(int64 after, int32 tenant_id, const text *category);

static void
text_key(ScanKey key, AttrNumber column, const text *value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(value));
	key->sk_collation = C_COLLATION_OID;
}

/* Scan a partition that is open and locked, and close it; false when `visit` asked to stop. */
static bool
scan_opened(Relation rel, Oid index_oid, Snapshot snapshot, ScanKey keys, int nkeys,
			ScanDirection direction, UsherVisit visit, void *arg)
{
	Relation index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, nkeys);
	bool more = true;

	index_rescan(scan, keys, nkeys, NULL, 0);
	while (more && index_getnext_slot(scan, direction, slot))
	{
		CHECK_FOR_INTERRUPTS();
		more = visit(slot, arg);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return more;
}

/* Scan one partition; false when `visit` asked to stop.  *dropped: it is gone. */
bool
usher_scan_partition(UsherPartition *partition, UsherIndex kind, Snapshot snapshot, ScanKey keys,
					 int nkeys, ScanDirection direction, UsherVisit visit, void *arg, bool *dropped)
{
	Relation rel = usher_partition_open(partition, AccessShareLock);

	*dropped = rel == NULL;
	return rel == NULL ||
		   scan_opened(rel, partition->indexes[kind], snapshot, keys, nkeys, direction, visit, arg);
}

/*
 * Visit the partitions that hold (after, upto] in order; `keys` have their
 * last two bound to these positions.
 *
 * The list of partitions may be older than their removal.  A locked one is
 * removed no more, so each is locked first; then, for a cursor, it is checked
 * that nothing between what has been visited and here was removed, and only
 * then the snapshot is taken: to an older one a partition that was rewritten
 * with its survivors would look empty.
 */
static void
scan_positions(const Cursor *cursor, UsherIndex kind, ScanKey keys, int nkeys, int64 after,
			   int64 upto, UsherVisit visit, void *arg)
{
	int64 at = after; /* everything up to here has been visited */
	bool more = true;

	while (more && at < upto)
	{
		UsherCatalog *cat = usher_catalog();
		int i = usher_partition_index(cat, at + 1);
		bool any = i < cat->npartitions && cat->partitions[i].from <= upto;
		Relation rel = NULL;
		int64 to = upto + 1;
		Oid index = InvalidOid;
		Snapshot snapshot;

		if (any)
		{
			rel = usher_partition_open(&cat->partitions[i], AccessShareLock);
			if (rel == NULL)
				continue; /* the list is made anew */
			to = cat->partitions[i].to;
			index = cat->partitions[i].indexes[kind];
		}
		if (cursor)
			check_not_removed(at, cursor->tenant_id, cursor->category);
		if (any)
		{
			snapshot = RegisterSnapshot(GetLatestSnapshot());
			more = scan_opened(rel, index, snapshot, keys, nkeys, ForwardScanDirection, visit, arg);
			UnregisterSnapshot(snapshot);
		}
		at = to - 1;
	}
}

static void
visit_positions(const Cursor *cursor, int64 after, int64 upto, UsherVisit visit, void *arg)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	scan_positions(cursor, INDEX_POSITION, keys, 2, after, upto, visit, arg);
}

/* For a cursor: raises position_gone when something behind `after` has been removed. */
void
usher_read_positions(int64 after, int64 upto, UsherVisit visit, void *arg)
{
	static const Cursor whole_log = {0, NULL};

	visit_positions(&whole_log, after, upto, visit, arg);
}

/* For a look at what is there. */
void
usher_look_positions(int64 after, int64 upto, UsherVisit visit, void *arg)
{
	visit_positions(NULL, after, upto, visit, arg);
}

/* ---- category ---- */

typedef struct CategoryVisit
{
	int32 tenant_id;
	const text *category;
	bool any_limits;
	UsherVisit visit;
	void *arg;
} CategoryVisit;

static bool
any_limits(void)
{
	Relation rel = table_open(usher_catalog()->limits, AccessShareLock);
	bool any = RelationGetNumberOfBlocks(rel) > 0;

	table_close(rel, AccessShareLock);
	return any;
}

/* First version of the stream that its reads show. */
static int64
first_visible_version(int32 tenant_id, const text *stream, UsherStreamLimits *limits)
{
	int flags;

	usher_stream_limits(tenant_id, stream, limits);
	if (limits->max_count > 0)
		limits->first_visible = Max(limits->first_visible,
									usher_stream_head(tenant_id, stream, &flags) -
										limits->max_count + 1);
	return limits->first_visible;
}

static bool
visit_unless_hidden(TupleTableSlot *slot, void *arg)
{
	CategoryVisit *c = arg;
	bool isnull;
	text *category = DatumGetTextPP(slot_getattr(slot, LOG_CATEGORY, &isnull));

	if (VARSIZE_ANY_EXHDR(category) != VARSIZE_ANY_EXHDR(c->category) ||
		memcmp(VARDATA_ANY(category), VARDATA_ANY(c->category), VARSIZE_ANY_EXHDR(category)) != 0)
		return true; /* another one with the same hash */
	if (c->any_limits)
	{
		UsherStreamLimits limits;
		text *stream = DatumGetTextPP(slot_getattr(slot, LOG_STREAM, &isnull));

		if (DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull)) <
				first_visible_version(c->tenant_id, stream, &limits) ||
			DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull)) < limits.not_before)
			return true;
	}
	return c->visit(slot, c->arg);
}

void
usher_read_category(int32 tenant_id, text *category, int64 after, int64 upto, UsherVisit visit,
					void *arg)
{
	CategoryVisit c = {tenant_id, category, any_limits(), visit, arg};
	Cursor cursor = {tenant_id, category};
	ScanKeyData keys[4];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(usher_category_hash(category)));
	ScanKeyInit(&keys[2], 3, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	scan_positions(&cursor, INDEX_CATEGORY, keys, 4, after, upto, visit_unless_hidden, &c);
}

/* ---- stream ---- */

#define AHEAD_MAX 32 /* rows whose pages are asked for together */

typedef struct StreamVisit
{
	int64 left; /* events still wanted */
	TimestampTz not_before;
	UsherVisit visit;
	void *arg;
} StreamVisit;

static bool
visit_stream_event(TupleTableSlot *slot, void *arg)
{
	StreamVisit *s = arg;
	bool isnull;

	if (!TIMESTAMP_IS_NOBEGIN(s->not_before) &&
		DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull)) != 0 &&
		DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull)) < s->not_before)
		return true;
	if (s->left <= 0)
		return false;
	s->left--;
	return s->visit(slot, s->arg) && s->left > 0;
}

/*
 * The next rows of a stream, at most `max`.  They lie far apart, as its events
 * came: their pages are asked for together, so that a stream that is not in
 * memory waits for the disk once and not for each event.
 */
static int
rows_ahead(IndexScanDesc scan, ScanDirection direction, ItemPointerData *tids, int64 max)
{
	Relation rel = scan->heapRelation;
	ItemPointer tid;
	int n = 0;

	while (n < max && (tid = index_getnext_tid(scan, direction)) != NULL)
		tids[n++] = *tid;
	if (n > 1 && get_tablespace_io_concurrency(rel->rd_rel->reltablespace) > 0)
		for (int i = 0; i < n; i++)
			if (i == 0 ||
				ItemPointerGetBlockNumber(&tids[i]) != ItemPointerGetBlockNumber(&tids[i - 1]))
				(void) PrefetchBuffer(rel, MAIN_FORKNUM, ItemPointerGetBlockNumber(&tids[i]));
	return n;
}

/* Scan a partition that is open and locked for the stream, and close it; false when `visit` asked to stop. */
static bool
scan_stream(Relation rel, Oid index_oid, Snapshot snapshot, ScanKey keys, int nkeys,
			ScanDirection direction, StreamVisit *s)
{
	Relation index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, snapshot, nkeys);
	ItemPointerData tids[AHEAD_MAX];
	bool more = true;
	int n, wanted;

	index_rescan(scan, keys, nkeys, NULL, 0);
	do
	{
		wanted = Min(AHEAD_MAX, s->left);
		n = rows_ahead(scan, direction, tids, wanted);
		for (int i = 0; i < n && more; i++)
		{
			CHECK_FOR_INTERRUPTS();
			scan->xs_heaptid = tids[i];
			if (index_fetch_heap(scan, slot))
				more = visit_stream_event(slot, s);
			scan->kill_prior_tuple = false; /* the index is ahead of this row */
		}
	} while (more && n == wanted);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return more;
}

/* Pending events of this transaction; they come behind all committed ones. */
static bool
visit_pending(int32 tenant_id, const text *stream, int64 from, int64 before, bool backwards,
			  StreamVisit *s)
{
	UsherStream *locked = usher_stream_locked(tenant_id, stream);
	int n = usher_outbox_count();
	TupleTableSlot *slot;
	bool more = true;

	if (locked == NULL)
		return true;
	slot = usher_log_slot(&TTSOpsHeapTuple);
	for (int i = 0; i < n && more; i++)
	{
		UsherPending *p = usher_outbox_get(backwards ? n - 1 - i : i);

		if (p->stream != locked || p->version < from || p->version >= before)
			continue;
		ExecStoreHeapTuple(usher_outbox_tuple(p), slot, false);
		more = visit_stream_event(slot, s);
	}
	ExecDropSingleTupleTableSlot(slot);
	return more;
}

/*
 * The statement's snapshot, or for a partition that is complete the latest:
 * to an older one, rewritten with its survivors it would look empty.  Called
 * when it is locked.
 */
static Snapshot
stream_snapshot(int64 partition_to, int64 stable)
{
	if (!IsolationUsesXactSnapshot() && partition_to <= stable)
		return GetLatestSnapshot();
	return GetActiveSnapshot();
}

static bool
visit_committed(int32 tenant_id, text *stream, int64 from, int64 before, bool backwards,
				StreamVisit *s)
{
	int64 *starts, *first_versions;
	int n = usher_stream_segments(tenant_id, stream, &starts, &first_versions);
	int64 stable = n > 0 ? usher_stable(NULL) : 0;
	ScanKeyData keys[4];
	bool more = true;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	text_key(&keys[1], 2, stream);
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	ScanKeyInit(&keys[3], 3, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(before));
	for (int k = 0; k < n && more;)
	{
		int segment = backwards ? n - 1 - k : k;
		UsherCatalog *cat = usher_catalog();
		int i = usher_partition_index(cat, starts[segment]);
		UsherPartition *partition = i < cat->npartitions ? &cat->partitions[i] : NULL;
		Relation rel;
		Snapshot snapshot;

		/* nothing of it here: it ends before `from`, begins at `before`, or was removed by retention */
		if ((segment + 1 < n && first_versions[segment + 1] <= from) ||
			first_versions[segment] >= before || partition == NULL ||
			partition->from != starts[segment])
		{
			k++;
			continue;
		}
		rel = usher_partition_open(partition, AccessShareLock);
		if (rel == NULL)
			continue; /* removed or rewritten just now: the list is made anew */
		snapshot = RegisterSnapshot(stream_snapshot(partition->to, stable));
		more = scan_stream(rel, partition->indexes[INDEX_STREAM], snapshot, keys, 4,
						   backwards ? BackwardScanDirection : ForwardScanDirection, s);
		UnregisterSnapshot(snapshot);
		k++;
	}
	return more;
}

/* Versions in [from, before), at most `max`, hidden ones left out; pending ones of this transaction included. */
void
usher_read_stream(int32 tenant_id, text *stream, int64 from, int64 before, int64 max,
				  bool backwards, UsherVisit visit, void *arg)
{
	UsherStreamLimits limits;
	StreamVisit s = {max, 0, visit, arg};

	if (max <= 0)
		return;
	from = Max(from, first_visible_version(tenant_id, stream, &limits));
	s.not_before = limits.not_before;
	if (backwards)
	{
		if (visit_pending(tenant_id, stream, from, before, true, &s))
			(void) visit_committed(tenant_id, stream, from, before, true, &s);
	}
	else if (visit_committed(tenant_id, stream, from, before, false, &s))
		(void) visit_pending(tenant_id, stream, from, before, false, &s);
}

/* For a look at what the log has of a stream from a version on, whatever its limits hide. */
void
usher_look_stream(int32 tenant_id, text *stream, int64 from_version, UsherVisit visit, void *arg)
{
	StreamVisit s = {PG_INT64_MAX, DT_NOBEGIN, visit, arg};

	PushActiveSnapshot(GetLatestSnapshot());
	(void) visit_committed(tenant_id, stream, from_version, PG_INT64_MAX, false, &s);
	PopActiveSnapshot();
}

/* ---- where a cursor may start ---- */

enum
{
	REMOVAL_FROM = 1,
	REMOVAL_TO,
	REMOVAL_KEPT
};

static bool
kept_category(Datum kept, int32 tenant_id, const text *category)
{
	Datum *elements;
	int n;
	char *wanted = psprintf("%d:%s", tenant_id, text_to_cstring(category));

	deconstruct_array(DatumGetArrayTypeP(kept), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &n);
	for (int i = 0; i < n; i++)
		if (strcmp(TextDatumGetCString(elements[i]), wanted) == 0)
			return true;
	return false;
}

/*
 * Oldest position from which on nothing has been removed: of the whole log, or
 * of one category (which may outlive the log's retention).
 */
int64
usher_oldest_position(int32 tenant_id, const text *category)
{
	UsherCatalog *cat;
	int64 oldest;
	Relation rel;
	Snapshot snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;

	/* A removal that has committed must be in the list, in the middle of a transaction too. */
	AcceptInvalidationMessages();
	cat = usher_catalog();
	oldest = cat->npartitions > 0 ? cat->partitions[0].from : 1;
	rel = table_open(cat->removals, AccessShareLock);
	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return oldest;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		int64 to = DatumGetInt64(slot_getattr(slot, REMOVAL_TO, &isnull));
		Datum kept = slot_getattr(slot, REMOVAL_KEPT, &isnull);

		if (category == NULL || !kept_category(kept, tenant_id, category))
			oldest = Max(oldest, to + 1);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return oldest;
}

static void
check_not_removed(int64 after, int32 tenant_id, const text *category)
{
	int64 oldest = usher_oldest_position(tenant_id, category);

	if (after < oldest - 1)
		ereport(ERROR, (errcode(ERRCODE_USHER_POSITION_GONE),
						errmsg("events after position %lld have been removed", (long long) after),
						errdetail("The oldest position is %lld.", (long long) oldest),
						errhint("Start again with after => %lld, and expect a gap.",
								(long long) oldest - 1)));
}

/*
 * What every cursor function does first: refuse transaction snapshots (they
 * are older than the stable position) and cursors behind what was kept.
 * Returns the stable position; take the snapshot after this.
 */
int64
usher_cursor_begin(int64 after, int32 tenant_id, const text *category)
{
	if (IsolationUsesXactSnapshot())
		ereport(
			ERROR,
			(errcode(ERRCODE_USHER_ISOLATION_LEVEL),
			 errmsg("the log cannot be followed in a %s transaction",
					XactIsoLevel == XACT_SERIALIZABLE ? "SERIALIZABLE" : "REPEATABLE READ"),
			 errhint("Its snapshot may be older than the stable position; use READ COMMITTED.")));
	if (after < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("a position cannot be negative")));
	check_not_removed(after, tenant_id, category);
	return usher_stable(NULL);
}

static bool
take_recorded_at(TupleTableSlot *slot, void *arg)
{
	bool isnull;

	*(TimestampTz *) arg = DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull));
	return false;
}

/* recorded_at of the newest event; 0 when the log is empty. */
TimestampTz
usher_newest_recorded_at(void)
{
	UsherCatalog *cat = usher_catalog();
	TimestampTz newest = 0;

	for (int i = cat->npartitions - 1; i >= 0 && newest == 0; i--)
	{
		bool dropped;

		(void) usher_scan_partition(&cat->partitions[i], INDEX_POSITION, SnapshotSelf, NULL, 0,
									BackwardScanDirection, take_recorded_at, &newest, &dropped);
		cat = usher_catalog();
		i = Min(i, cat->npartitions);
	}
	return newest;
}
