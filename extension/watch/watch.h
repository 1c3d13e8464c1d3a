/*
 * extension/watch/watch.h
 *	  CRUD hooks: tables whose changes become events.
 *
 *	  definition.c what a watch is: its triggers and their arguments; who may have one
 *	  condition.c  the WHEN clause of its triggers: condition, key and columns
 *	  define.c     usher.watch, usher.unwatch: triggers made and dropped
 *	  value.c      a column's value -> JSON
 *	  shape.c      what a trigger must know of its table, kept a backend
 *	  metadata.c   who, where, in which transaction
 *	  capture.c    rows -> events
 *	  snapshot.c   rows that exist already
 */
#ifndef USHER_WATCH_H
#define USHER_WATCH_H

#include "usher.h"

#include "access/attnum.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

typedef enum UsherWatchEvent
{
	WATCH_CREATE,
	WATCH_UPDATE,
	WATCH_DELETE,
	WATCH_TRUNCATE,
	WATCH_SNAPSHOT,
	WATCH_READ,
	WATCH_EVENTS
} UsherWatchEvent;

#define WATCH_TRIGGERS         (WATCH_TRUNCATE + 1) /* kinds of events that have a trigger */
#define usher_watch_bit(event) (1 << (event))
#define WATCH_ROWS             (usher_watch_bit(WATCH_TRUNCATE) - 1) /* kinds that have a row */

/* ---- definition.c ---- */
extern const char *const usher_watch_event_names[WATCH_EVENTS];

/* What usher.watch is asked for. */
typedef struct UsherWatch
{
	int operations; /* usher_watch_bit of each */
	char **key;
	int nkey; /* 0: the primary key */
	char **columns;
	int ncolumns; /* -1: all */
	char *condition; /* NULL: none */
	bool snapshot;
} UsherWatch;

/* What the arguments of a trigger say; the columns' numbers are in its WHEN clause. */
typedef struct UsherWatchArguments
{
	int operations;
	int nkey;
	int ncolumns;
} UsherWatchArguments;

extern Oid usher_watch_function(void);
extern List *usher_watch_arguments_make(const UsherWatch *watch);
extern bool usher_watch_arguments_read(const Trigger *trigger, UsherWatchArguments *arguments);
extern UsherWatchEvent usher_watch_event_of(const Trigger *trigger);
extern List *usher_watch_triggers(Relation rel);
extern const Trigger *usher_watch_trigger_for(Relation rel, int events);
extern Oid usher_watch_root(Oid trigger);
extern void usher_watch_authorize(Oid root);
extern int usher_watch_primary_key(Relation rel, AttrNumber *attnums);

/* ---- condition.c ---- */
typedef struct UsherWatchWhen
{
	Node *expression; /* over OLD (1) and NEW (2); NULL: none */
	List *range_table;
} UsherWatchWhen;

extern void usher_watch_when_make(Relation rel, const UsherWatch *watch, UsherWatchEvent event,
								  UsherWatchWhen *when);
extern AttrNumber *usher_watch_when_columns(const Trigger *trigger, int n);

/* ---- define.c ---- */
extern void usher_watch_define(Oid relid, const UsherWatch *watch);
extern void usher_watch_drop(Oid relid);
extern void usher_watch_check_owner(Oid relid);

/* ---- value.c ---- */
typedef enum UsherConversion
{
	CONVERT_BOOL,
	CONVERT_INT2,
	CONVERT_INT4,
	CONVERT_INT8,
	CONVERT_FLOAT,
	CONVERT_NUMERIC,
	CONVERT_TEXT,
	CONVERT_TIME, /* date, timestamp, timestamptz */
	CONVERT_JSONB,
	CONVERT_JSON,
	CONVERT_OUTPUT, /* what the type's output function says */
	CONVERT_TO_JSONB /* arrays, composites, types with a cast to json */
} UsherConversion;

typedef struct UsherWatchColumn
{
	const char *name;
	int name_len;
	AttrNumber attnum;
	int16 len;
	bool byval;
	Oid type;
	Oid base_type; /* below domains */
	int32 typmod;
	UsherConversion conversion;
	FmgrInfo function; /* CONVERT_FLOAT, CONVERT_OUTPUT, CONVERT_TO_JSONB */
} UsherWatchColumn;

extern void usher_watch_column_init(UsherWatchColumn *column, Form_pg_attribute attribute,
									MemoryContext context);
extern void
usher_watch_value(UsherWatchColumn *column, Datum value, bool isnull, JsonbValue *result);
extern int usher_watch_settings_begin(void);
extern void usher_watch_settings_end(int nest_level);

/* ---- shape.c ---- */
typedef struct UsherWatchShape
{
	Oid trigger;
	Oid relid;
	Oid root; /* where the watch is: relid, or what relid is a partition of */
	bool valid;
	MemoryContext context;
	int operations;
	text *topic; /* schema.table */
	text *types[WATCH_EVENTS]; /* schema.table.create ... */
	int nshown;
	UsherWatchColumn *shown; /* in the order of a jsonb object's keys */
	int nkey;
	UsherWatchColumn *key; /* in the order of the key */
	int *key_order; /* the same in the order of a jsonb object's keys */
} UsherWatchShape;

extern UsherWatchShape *usher_watch_shape(const Trigger *trigger, Relation rel);

/* ---- metadata.c ---- */
extern int32 usher_watch_tenant(void);
extern Jsonb *usher_watch_metadata(void);

/* ---- capture.c ---- */
extern void usher_watch_fired(TriggerData *data);
extern void usher_watch_capture(UsherWatchShape *shape, UsherWatchEvent event, TupleTableSlot *old,
								TupleTableSlot *new);
extern pg_uuid_t
usher_watch_capture_read(UsherWatchShape *shape, const Datum *key, const bool *nulls);

/* ---- snapshot.c ---- */
/* Where a snapshot in batches goes on. */
typedef struct UsherWatchPlace
{
	Oid partition; /* InvalidOid: at the beginning */
	int64 row; /* block * 65536 + offset; -1: all done */
} UsherWatchPlace;

extern void usher_watch_snapshot_all(Relation rel);
extern int64 usher_watch_snapshot_batch(Oid relid, UsherWatchPlace *place, int batch);

#endif /* USHER_WATCH_H */
