/*
 * extension/log/log.h
 *	  The room of the event log: what its files offer each other and the
 *	  rooms above.
 *
 *	  catalog.c    names of our relations -> oids; the list of partitions
 *	  mark.c       durable cells (one number in one page)
 *	  position.c   counter, slots, stable position
 *	  partition.c  partitions ahead of need
 *	  stream.c     stream lock
 *	  stream_name.c  order and category of names
 *	  head.c       head version, segments, limits
 *	  outbox.c     this transaction's pending events
 *	  rows.c       many rows and their index entries
 *	  flush.c      pre-commit: take positions, write; commit: wake
 *	  lookup.c     an event by its id
 *	  dedupe.c     is a given event id a repeat
 *	  append.c     one event in: everything above in order
 *	  metadata.c   fill metadata from the session's settings
 *	  projection.c inline handlers
 *	  called.c     functions of users, called as who registered them
 *	  event.c      a row of the log -> usher.event
 *	  reader.c     scans by position, stream, category
 *	  wake.c       waiters
 */
#ifndef USHER_LOG_H
#define USHER_LOG_H

#include "usher.h"
#include "shmem.h"

#include "access/skey.h"
#include "access/sdir.h"
#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/* Columns of usher.log. */
enum
{
	LOG_POSITION = 1,
	LOG_RECORDED_AT,
	LOG_ID,
	LOG_TENANT_ID,
	LOG_SLOT,
	LOG_FLAGS,
	LOG_CATEGORY_HASH,
	LOG_VERSION,
	LOG_STREAM,
	LOG_CATEGORY,
	LOG_TYPE,
	LOG_TOPIC,
	LOG_KEY,
	LOG_DATA,
	LOG_METADATA,
	LOG_NATTS = LOG_METADATA
};

#define LOG_FLAG_TOMBSTONE  1
#define LOG_FLAG_REUSABLE   2
#define LOG_FLAG_ID_INDEXED 4 /* the id was given, or is not near recorded_at: see lookup.c */

/* What every row of the log begins with. */
typedef struct UsherLogFixed
{
	int64 position;
	TimestampTz recorded_at;
	pg_uuid_t id;
	int32 tenant_id;
	int32 slot;
	int32 flags;
	int32 category_hash;
} UsherLogFixed;

#define usher_flags_deleted(flags) \
	(((flags) & (LOG_FLAG_TOMBSTONE | LOG_FLAG_REUSABLE)) == LOG_FLAG_TOMBSTONE)
#define usher_flags_vacant(flags) (((flags) &LOG_FLAG_TOMBSTONE) != 0)

/* ---- catalog.c ---- */
typedef enum UsherIndex
{
	INDEX_POSITION,
	INDEX_STREAM,
	INDEX_CATEGORY,
	INDEX_ID,
	INDEX_COUNT
} UsherIndex;

typedef struct UsherPartition
{
	int64 from; /* first position, inclusive */
	int64 to; /* exclusive */
	Oid relid;
	Oid indexes[INDEX_COUNT]; /* filled by usher_partition_open */
} UsherPartition;

typedef struct UsherCatalog
{
	Oid log;
	Oid registry, registry_pkey;
	Oid segments, segments_pkey;
	Oid limits, limits_pkey;
	Oid tenants, tenants_slug;
	Oid tenant_grants;
	Oid projections;
	Oid removals;
	Oid snapshots;
	Oid position_mark, timeline_mark, stable_mark;
	Oid event_type;
	TupleDesc log_desc;
	TupleDesc event_desc;
	int npartitions; /* sorted by position */
	UsherPartition *partitions;
	uint64 generation; /* grows whenever anything above changed */
} UsherCatalog;

extern UsherCatalog *usher_catalog(void);
extern void usher_catalog_forget(void);
extern int usher_partition_index(const UsherCatalog *cat, int64 position);
extern int usher_partition_current(const UsherCatalog *cat);
extern Relation usher_partition_open(UsherPartition *partition, LOCKMODE lockmode);

/* ---- mark.c ---- */
extern int64 usher_mark_get(Relation rel);
extern int64 usher_mark_read(Oid relid);
extern void usher_mark_set(Relation rel, int64 value, bool flush);
extern void usher_mark_write(Oid relid, int64 value, bool flush);

/* ---- position.c ---- */
extern UsherDb *usher_db(void);
extern void usher_positions_reserve(UsherDb *db, int64 n);
extern int64 usher_positions_take(UsherDb *db, int64 n, TimestampTz *recorded_at);
extern void usher_positions_release(void);
extern int64 usher_position_next(UsherDb *db);
extern int64 usher_stable_position_of(UsherDb *db);
extern int64 usher_stable(XLogRecPtr *lsn);

/* ---- partition.c ---- */
#define USHER_POSITION_SLACK 1024 /* positions that others may take while we lock partitions */

extern bool usher_partition_make(UsherDb *db);
extern void usher_partitions_require(UsherDb *db, int64 upto);
extern void usher_partitions_lock(UsherDb *db, int64 from, int64 upto);
extern void usher_partitions_look_ahead(void);

/* ---- stream.c, head.c ---- */
/* Columns of usher.stream_registry. */
enum
{
	REGISTRY_TENANT_ID = 1,
	REGISTRY_STREAM,
	REGISTRY_CATEGORY,
	REGISTRY_FIRST_POSITION,
	REGISTRY_CREATED_AT,
	REGISTRY_NATTS = REGISTRY_CREATED_AT
};

typedef struct UsherStream
{
	int32 tenant_id;
	text *name;
	text *category;
	int32 category_hash;
	int64 head; /* newest version, pending ones included; 0: none */
	int head_flags; /* LOG_FLAG_* of the newest event */
	int64 segment; /* start of the newest partition known to the segments; -1: none */
	SubTransactionId subid; /* which (sub)transaction took the lock */
	bool created; /* by this transaction */
} UsherStream;

/* A stream to be locked with others. */
typedef struct UsherStreamWanted
{
	text *name;
	bool create; /* if it does not exist */
} UsherStreamWanted;

typedef struct UsherStreamKey
{
	int32 tenant_id;
	text *name;
} UsherStreamKey;

/* What stream reads hide; all zero when there is no row. */
typedef struct UsherStreamLimits
{
	int64 hidden_before; /* version of its newest tombstone; 0: none */
	int64 first_visible; /* versions below are hidden, max_count not yet included */
	int64 max_count; /* 0: unlimited */
	TimestampTz not_before; /* DT_NOBEGIN: unlimited */
	int head_flags; /* of the newest event, should retention have removed it */
} UsherStreamLimits;

extern void usher_stream_keys(ScanKey keys, int32 tenant_id, const text *name);
extern HeapTuple usher_row_find(Relation rel, Oid index_oid, Snapshot snapshot, ScanKey keys,
								int nkeys, ScanDirection direction);
extern void usher_streams_find_heads(UsherStream *const *streams, int n);
extern UsherStream *usher_stream_lock(int32 tenant_id, text *name, bool create);
extern void usher_streams_lock(int32 tenant_id, UsherStreamWanted *wanted, int n);
extern const text *usher_stream_locking(void);
extern void usher_streams_take_back(void);
extern void usher_streams_make(const UsherStreamKey *keys, UsherStream **streams, int n);
extern UsherStream *usher_stream_locked(int32 tenant_id, const text *name);
extern int64 usher_stream_head(int32 tenant_id, const text *name, int *flags);
extern void usher_stream_limits(int32 tenant_id, const text *name, UsherStreamLimits *limits);
extern int
usher_stream_segments(int32 tenant_id, const text *name, int64 **from, int64 **first_version);
extern text *usher_stream_category(const text *stream);
extern int32 usher_category_hash(const text *category);
extern int usher_stream_names_compare(const void *a, const void *b);
extern int usher_stream_compare(const UsherStream *a, const UsherStream *b);
extern void usher_stream_hide(UsherStream *stream, int64 tombstone, bool reusable);
extern void usher_stream_segment_add(UsherStream *stream, int64 from, int64 version);
extern void usher_streams_subcommit(SubTransactionId from, SubTransactionId to);
extern void usher_streams_subabort(SubTransactionId subid);
extern void usher_streams_reset(void);

/* ---- outbox.c ---- */
/* A kind of event in this transaction, and where its first one went: what waiters are matched with. */
typedef struct UsherCommitted
{
	int32 tenant_id; /* 0: any */
	int32 type_len;
	const char *type; /* NULL: any */
	int64 position; /* set at flush */
} UsherCommitted;

#define USHER_COMMITTED_MAX 32

typedef struct UsherPending
{
	UsherStream *stream; /* NULL: published without a stream */
	HeapTuple tuple; /* NULL: spilled */
	int file; /* where it was spilled to */
	off_t offset;
	uint32 len;
	int32 tenant_id;
	pg_uuid_t id;
	bool id_given;
	int committed_type; /* index for usher_outbox_types */
	int series; /* that counts it */
	int flags_before; /* the stream's head_flags before, for rollback */
	int64 version;
} UsherPending;

typedef struct UsherEvent
{
	int32 tenant_id;
	UsherStream *stream;
	text *type;
	text *topic;
	text *key;
	Jsonb *data;
	Jsonb *metadata;
	pg_uuid_t id;
	int32 flags;
	int series; /* see metrics/metrics.h */
} UsherEvent;

extern int usher_outbox_count(void);
extern UsherPending *usher_outbox_get(int i);
extern int usher_outbox_ordinal(const UsherPending *p);
extern HeapTuple usher_outbox_tuple(UsherPending *p);
extern HeapTuple usher_outbox_take(UsherPending *p);
extern UsherPending *usher_outbox_find(int32 tenant_id, const pg_uuid_t *id);
extern UsherPending *usher_outbox_add(const UsherEvent *event);
extern void usher_outbox_subcommit(SubTransactionId from, SubTransactionId to);
extern void usher_outbox_subabort(SubTransactionId subid);
extern void usher_outbox_reset(void);
extern void usher_outbox_seal(void);
extern void usher_outbox_close(void);
extern MemoryContext usher_outbox_context(void);
extern UsherCommitted *usher_outbox_types(int *n);
extern void usher_outbox_published(UsherDb *db);

/* ---- rows.c ---- */
/* False: it is another index than those that the function knows. */
typedef bool (*UsherPredicate)(Oid index, TupleTableSlot *slot, bool *holds);

extern void usher_rows_index_updated(struct ResultRelInfo *rri, struct EState *estate,
									 TupleTableSlot **slots, int n, UsherPredicate known);
extern void
usher_rows_insert(ResultRelInfo *rri, EState *estate, TupleTableSlot **slots, int n,
				  UsherPredicate known, const Oid *log_indexes, TupleTableSlot **by_stream);

/* ---- flush.c ---- */
extern void usher_flush_init(void);
extern int64 usher_session_last_position(void);
extern int64 usher_session_first_position(void);
extern void usher_poke_at_commit(void);

/* ---- lookup.c ---- */
extern bool usher_id_near(const pg_uuid_t *id, TimestampTz recorded_at);
extern bool usher_event_id_find(int32 tenant_id, const pg_uuid_t *id, TimestampTz not_before,
								TupleTableSlot **slot);
extern bool
usher_event_id_find_generated(int32 tenant_id, const pg_uuid_t *id, TupleTableSlot **slot);

/* ---- dedupe.c ---- */
extern void usher_event_id_lock(int32 tenant_id, const pg_uuid_t *id);
typedef struct UsherOriginal
{
	int64 version; /* 0: published */
	int64 position; /* 0: of this transaction, and given at its commit */
	int ordinal; /* of this transaction's events, from 1; 0: committed before */
} UsherOriginal;

extern bool
usher_event_find_original(const UsherEvent *event, const text *stream, UsherOriginal *original);
extern bool usher_event_is_repeat(const UsherEvent *event, const text *stream, int64 *version);

/* ---- append.c ---- */
extern void usher_append_check_state(void);
/* What is wrong with a name, in words, and more of it or NULL; NULL: nothing is. */
extern char *usher_name_fault(const text *name, const char *what, char **detail);
extern void usher_check_name(const text *name, const char *what);
extern text *usher_check_type(text *type);
extern void usher_check_object(Jsonb *value, const char *what);
extern Jsonb *usher_jsonb_parse(const char *json, const char *what);
extern void usher_check_expected(const UsherStream *stream, const text *name, bool has_expected,
								 int64 expected);
extern int64 usher_append_event(UsherEvent *event);
extern void usher_uuid7(pg_uuid_t *id);

/* ---- metadata.c ---- */
extern Jsonb *usher_metadata_fill(Jsonb *given);
extern bool usher_metadata_same(Jsonb *given, Jsonb *stored);
extern Jsonb *usher_empty_object(void);

/* ---- projection.c ---- */
extern void usher_project_event(const UsherPending *pending, const text *type);
extern int64 usher_projection_replay(int32 id, int64 after, int64 upto, int64 max);
extern void usher_projection_barrier_for(int32 id, bool exclusive);
extern void usher_projection_run_reset(int32 id);
extern Oid usher_catalog_projections(void);

/* ---- called.c ---- */
typedef struct UsherAsRole
{
	Oid user;
	int sec_context, nest_level;
} UsherAsRole;

extern Oid usher_called_function(const char *name, int nargs, bool *exists);
extern void usher_as_role_begin(UsherAsRole *saved, Oid role);
extern void usher_as_role_end(const UsherAsRole *saved);
extern void usher_call_as(Oid owner, FmgrInfo *function, int nargs, const Datum *args);

/* ---- event.c ---- */
extern bool usher_event_wanted(TupleTableSlot *log_slot, int32 tenant_id, const text *pattern);
extern HeapTuple usher_event_form(TupleTableSlot *log_slot);
#define USHER_EVENT_NATTS 12
extern void usher_event_values(TupleTableSlot *log_slot, Datum *values, bool *nulls);
extern Datum usher_event_datum(TupleTableSlot *log_slot);
extern TupleTableSlot *usher_log_slot(const struct TupleTableSlotOps *ops);

/* ---- reader.c ---- */
typedef bool (*UsherVisit)(TupleTableSlot *slot, void *arg); /* false: stop */

extern bool usher_scan_partition(UsherPartition *partition, UsherIndex kind, Snapshot snapshot,
								 ScanKey keys, int nkeys, ScanDirection direction, UsherVisit visit,
								 void *arg, bool *dropped);
extern void usher_read_positions(int64 after, int64 upto, UsherVisit visit, void *arg);
extern void usher_look_positions(int64 after, int64 upto, UsherVisit visit, void *arg);
extern void usher_read_category(int32 tenant_id, text *category, int64 after, int64 upto,
								UsherVisit visit, void *arg);
extern void usher_read_stream(int32 tenant_id, text *stream, int64 from, int64 before, int64 max,
							  bool backwards, UsherVisit visit, void *arg);
extern void
usher_look_stream(int32 tenant_id, text *stream, int64 from_version, UsherVisit visit, void *arg);
extern int64 usher_oldest_position(int32 tenant_id, const text *category);
extern int64 usher_cursor_begin(int64 after, int32 tenant_id, const text *category);
extern TimestampTz usher_newest_recorded_at(void);

/* ---- wake.c ---- */

extern void usher_wake(UsherDb *db, const UsherCommitted *types, int ntypes);
extern void usher_wait_sleep(long timeout_ms);
extern void
usher_follow_begin(UsherDb *db, int32 tenant_id, const text *pattern, int32 subscription_id);
extern void usher_follow_signals(void);
extern void usher_follow_examined(UsherDb *db, int64 stable);
extern void usher_follow_end(void);
extern int64 usher_wait_for_event(int64 after, int64 timeout_ms, const text *pattern);

#endif /* USHER_LOG_H */
