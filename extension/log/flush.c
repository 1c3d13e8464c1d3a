/*
 * extension/log/flush.c
 *	  The commit: take positions, write the pending events, wake who waits.
 *
 * In the pre-commit callback, in this order: partitions that can be needed
 * exist and are locked; positions are durably reserved; only then positions
 * are taken (from here the stable position stands still, so nothing below may
 * wait for anybody); rows are written.  The commit and abort callbacks clear
 * the slot and wake; they allocate nothing and cannot fail.
 */
#include "log.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define CHUNK_EVENTS 1000 /* rows and bytes in one multi-insert, as COPY does */
#define CHUNK_BYTES  65535

static UsherDb *taken_from; /* set while positions are taken */
static int64 taken_first, taken_last;
static int64 session_first_position, session_last_position; /* of its last commit with events */
static UsherDb *poke_at_commit; /* whose worker to wake */

typedef struct Writer
{
	UsherCatalog *cat;
	int64 from, /* the open partition's bounds */
		to;
	Relation rel;
	ResultRelInfo *rri;
	EState *estate;
	Oid indexes[INDEX_COUNT]; /* of the partition */
	TupleTableSlot **slots, **by_stream;
	UsherStream **streams; /* of the slots; NULL: published */
	int nslots, /* made */
		n; /* filled */
	Size bytes;
	MemoryContext scratch; /* reset after each chunk */
} Writer;

int64
usher_session_last_position(void)
{
	return session_last_position;
}

int64
usher_session_first_position(void)
{
	return session_first_position;
}

/* The housekeeping worker looks at the removal requests once this transaction has committed. */
void
usher_poke_at_commit(void)
{
	poke_at_commit = usher_db();
}

static void
poke_housekeeping(UsherDb *db)
{
	pg_atomic_write_u32(&db->removals_requested, 1);
	usher_poke_proc(pg_atomic_read_u32(&db->worker_procno));
}

/* In the order of their entries in the stream index: tenant, name, position; what has no stream last. */
static int
compare_streams(const void *a, const void *b, void *arg)
{
	const Writer *w = arg;
	int x = *(const int *) a, y = *(const int *) b;
	const UsherStream *xs = w->streams[x], *ys = w->streams[y];
	int order = 0;

	if (xs != ys)
		order = xs == NULL ? 1 : ys == NULL ? -1 : usher_stream_compare(xs, ys);
	return order != 0 ? order : x - y;
}

static void
chunk_sort(Writer *w)
{
	int order[CHUNK_EVENTS];

	for (int i = 0; i < w->n; i++)
		order[i] = i;
	qsort_arg(order, w->n, sizeof(int), compare_streams, w);
	for (int i = 0; i < w->n; i++)
		w->by_stream[i] = w->slots[order[i]];
}

static void
chunk_write(Writer *w)
{
	if (w->n == 0)
		return;
	chunk_sort(w);
	usher_rows_insert(w->rri, w->estate, w->slots, w->n, NULL, w->indexes, w->by_stream);
	for (int i = 0; i < w->n; i++)
		ExecClearTuple(w->slots[i]);
	w->n = 0;
	w->bytes = 0;
	MemoryContextReset(w->scratch);
}

static void
partition_close(Writer *w)
{
	chunk_write(w);
	if (w->rel == NULL)
		return;
	ExecCloseIndices(w->rri);
	table_close(w->rel, NoLock);
	w->rel = NULL;
}

static void
partition_open(Writer *w, int64 position)
{
	int i = usher_partition_index(w->cat, position);

	partition_close(w);
	Ensure(i < w->cat->npartitions && w->cat->partitions[i].from <= position,
		   "no partition for a position");
	w->from = w->cat->partitions[i].from;
	w->to = w->cat->partitions[i].to;
	w->rel = usher_partition_open(&w->cat->partitions[i], NoLock);
	Ensure(w->rel != NULL, "a locked partition is gone");
	memcpy(w->indexes, w->cat->partitions[i].indexes, sizeof(w->indexes));
	if (OidIsValid(w->rel->rd_rel->reltoastrelid))
		LockRelationOid(w->rel->rd_rel->reltoastrelid, RowExclusiveLock);
	w->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(w->rri, w->rel, 0, NULL, 0);
	ExecOpenIndices(w->rri, false);
}

/*
 * Take n positions, with the partition where they will most likely fall open
 * already: what is left to do until the commit waits for nobody.
 */
static int64
take_positions(Writer *w, UsherDb *db, int n, TimestampTz *recorded_at)
{
	for (;;)
	{
		int64 next = usher_position_next(db);
		int64 upto = next + n + USHER_POSITION_SLACK;
		int64 first;

		usher_partitions_lock(db, next, upto);
		LockRelationOid(w->cat->segments, RowExclusiveLock);
		if (w->rel == NULL)
			partition_open(w, next);
		first = usher_positions_take(db, n, recorded_at);
		if (first + n - 1 <= upto)
			return first;
		/* others took so many meanwhile that ours lie beyond what is locked: leave them unused */
		usher_positions_release();
		usher_wake(db, NULL, 0); /* what lies behind them may have become stable by this */
	}
}

static void
chunk_add(Writer *w, UsherPending *p, int64 position, TimestampTz recorded_at)
{
	MemoryContext old = MemoryContextSwitchTo(w->scratch);
	HeapTuple tuple = usher_outbox_take(p);
	UsherLogFixed *fixed = (UsherLogFixed *) ((char *) tuple->t_data + tuple->t_data->t_hoff);

	MemoryContextSwitchTo(old);
	fixed->position = position;
	fixed->recorded_at = recorded_at;
	if (!p->id_given && !usher_id_near(&p->id, recorded_at))
		fixed->flags |= LOG_FLAG_ID_INDEXED;
	if (w->n == w->nslots)
		w->slots[w->nslots++] = MakeSingleTupleTableSlot(w->cat->log_desc, &TTSOpsHeapTuple);
	w->streams[w->n] = p->stream;
	ExecStoreHeapTuple(tuple, w->slots[w->n++], true);
	w->bytes += tuple->t_len;
	if (w->n == CHUNK_EVENTS || w->bytes >= CHUNK_BYTES)
		chunk_write(w);
}

static void
write_events(Writer *w, int n, int64 first, TimestampTz recorded_at)
{
	int ntypes;
	UsherCommitted *types = usher_outbox_types(&ntypes);

	for (int i = 0; i < n; i++)
	{
		UsherPending *p = usher_outbox_get(i);
		int64 position = first + i;

		if (position < w->from || position >= w->to)
			partition_open(w, position);
		if (p->stream && p->stream->segment != w->from)
			usher_stream_segment_add(p->stream, w->from, p->version);
		if (types[p->committed_type].position == 0)
			types[p->committed_type].position = position;
		chunk_add(w, p, position, recorded_at);
	}
	partition_close(w);
}

static void
flush(void)
{
	int n = usher_outbox_count();
	Writer w = {0};
	MemoryContext old;
	TimestampTz recorded_at;
	UsherDb *db;
	int64 first;

	if (n == 0)
		return;
	usher_outbox_seal();
	old = MemoryContextSwitchTo(usher_outbox_context());
	db = usher_db();
	PushActiveSnapshot(GetTransactionSnapshot());
	w.cat = usher_catalog();
	w.estate = CreateExecutorState();
	w.scratch = AllocSetContextCreate(CurrentMemoryContext, "usher flush chunk",
									  ALLOCSET_DEFAULT_SIZES);
	w.slots = palloc_array(TupleTableSlot *, Min(n, CHUNK_EVENTS));
	w.by_stream = palloc_array(TupleTableSlot *, Min(n, CHUNK_EVENTS));
	w.streams = palloc_array(UsherStream *, Min(n, CHUNK_EVENTS));

	first = take_positions(&w, db, n, &recorded_at);
	taken_from = db;
	taken_first = first;
	taken_last = first + n - 1;
	write_events(&w, n, first, recorded_at);

	for (int i = 0; i < w.nslots; i++)
		ExecDropSingleTupleTableSlot(w.slots[i]);
	FreeExecutorState(w.estate);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
}

static void
finish(bool committed)
{
	if (taken_from != NULL)
	{
		int ntypes = 0;
		UsherCommitted *types = usher_outbox_types(&ntypes);

		usher_positions_release();
		usher_wake(taken_from, types, committed ? ntypes : 0);
		if (committed)
		{
			session_first_position = taken_first;
			session_last_position = taken_last;
			usher_outbox_published(taken_from);
		}
		taken_from = NULL;
	}
	if (poke_at_commit != NULL && committed)
		poke_housekeeping(poke_at_commit);
	poke_at_commit = NULL;
	usher_streams_reset();
	usher_outbox_reset();
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			flush();
			usher_outbox_close();
			break;
		case XACT_EVENT_COMMIT:
			finish(true);
			break;
		case XACT_EVENT_ABORT:
			finish(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (usher_outbox_count() > 0)
				ereport(ERROR, (errcode(ERRCODE_USHER_PREPARE_REFUSED),
								errmsg("cannot PREPARE a transaction that has appended events"),
								errhint("Positions are given at commit: COMMIT instead.")));
			usher_outbox_close();
			break;
		case XACT_EVENT_PREPARE:
			finish(false); /* stream locks without events */
			break;
		default:
			break;
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			usher_outbox_subcommit(mine, parent);
			usher_streams_subcommit(mine, parent);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			usher_outbox_subabort(mine);
			usher_streams_subabort(mine);
			break;
		default:
			break;
	}
}

void
usher_flush_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
