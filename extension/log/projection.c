/*
 * extension/log/projection.c
 *	  Inline projections: handlers that run inside the append call.
 *
 * The appender holds a shared lock on each projection that it feeds until
 * its end; usher.rebuild takes it exclusively for its last batch, and waits
 * for its holders after it has switched the inline calls off.  A handler runs
 * as the role that registered it.
 */
#include "log.h"

#include "lib/glob.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

enum
{
	PROJECTION_ID = 1,
	PROJECTION_TENANT_ID,
	PROJECTION_NAME,
	PROJECTION_PATTERN,
	PROJECTION_HANDLER,
	PROJECTION_RESET,
	PROJECTION_OWNER,
	PROJECTION_STATE
};

typedef struct Projection
{
	int32 id;
	int32 tenant_id;
	char *name;
	char *pattern;
	char *handler_name;
	char *reset_name; /* NULL: none */
	Oid owner;
	bool live;
	FmgrInfo handler; /* fn_oid InvalidOid: not looked up yet */
} Projection;

static Projection *projections;
static int nprojections;
static bool valid;
static uint64 changes; /* invalidations so far */
static MemoryContext context;
static bool callback_registered;

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == usher_catalog_projections())
	{
		valid = false;
		changes++;
	}
}

/* A handler may have been dropped, or dropped and created again. */
static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	valid = false;
	changes++;
}

static void
load_one(Projection *p, HeapTuple tuple, TupleDesc desc)
{
	bool isnull;
	Datum reset;

	memset(p, 0, sizeof(*p));
	p->id = DatumGetInt32(heap_getattr(tuple, PROJECTION_ID, desc, &isnull));
	p->tenant_id = DatumGetInt32(heap_getattr(tuple, PROJECTION_TENANT_ID, desc, &isnull));
	p->name = TextDatumGetCString(heap_getattr(tuple, PROJECTION_NAME, desc, &isnull));
	p->pattern = TextDatumGetCString(heap_getattr(tuple, PROJECTION_PATTERN, desc, &isnull));
	p->handler_name = TextDatumGetCString(heap_getattr(tuple, PROJECTION_HANDLER, desc, &isnull));
	reset = heap_getattr(tuple, PROJECTION_RESET, desc, &isnull);
	p->reset_name = isnull ? NULL : TextDatumGetCString(reset);
	p->owner = DatumGetObjectId(heap_getattr(tuple, PROJECTION_OWNER, desc, &isnull));
	p->live = strcmp(TextDatumGetCString(heap_getattr(tuple, PROJECTION_STATE, desc, &isnull)),
					 "live") == 0;
}

/* Exact patterns before those with wildcards, else in the order of their registration. */
static int
compare_projections(const void *a, const void *b)
{
	const Projection *x = a, *y = b;
	bool x_wild = strchr(x->pattern, '*') != NULL, y_wild = strchr(y->pattern, '*') != NULL;

	return x_wild != y_wild ? (x_wild ? 1 : -1) : x->id - y->id;
}

static void
load(void)
{
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;
	MemoryContext old, fresh;
	Projection *list;
	uint64 seen;
	int n = 0, size = 8;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
		callback_registered = true;
	}
	fresh = AllocSetContextCreate(TopMemoryContext, "usher projections", ALLOCSET_SMALL_SIZES);
	seen = changes; /* when another comes while we read, it is loaded again */
	rel = table_open(usher_catalog()->projections, AccessShareLock);
	old = MemoryContextSwitchTo(fresh);
	list = palloc_array(Projection, size);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (n == size)
			list = repalloc_array(list, Projection, size *= 2);
		load_one(&list[n++], tuple, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	qsort(list, n, sizeof(Projection), compare_projections);
	MemoryContextSwitchTo(old);
	if (context)
		MemoryContextDelete(context);
	context = fresh;
	projections = list;
	nprojections = n;
	valid = seen == changes;
}

static Oid
function_named(Projection *p, const char *name, int nargs)
{
	bool exists;
	Oid oid = usher_called_function(name, nargs, &exists);

	if (!exists)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_UNKNOWN_PROJECTION),
				 errmsg("function %s of projection \"%s\" does not exist", name, p->name),
				 errhint("Create it again, or remove the projection with usher.unproject.")));
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("function %s of projection \"%s\" has other arguments", name, p->name),
				 errhint("Register the projection again with usher.project.")));
	return oid;
}

static void
find_handler(Projection *p)
{
	fmgr_info_cxt(function_named(p, p->handler_name, 1), &p->handler, context);
}

static void
handler_context(void *name)
{
	errcontext("inline projection \"%s\", called with search_path = pg_catalog, pg_temp",
			   (char *) name);
}

static void
call_handler(Projection *p, Datum event)
{
	FmgrInfo handler;

	ErrorContextCallback context_of = {error_context_stack, handler_context, pstrdup(p->name)};

	if (!OidIsValid(p->handler.fn_oid))
		find_handler(p);
	error_context_stack = &context_of;
	handler = p->handler; /* the cache may be rebuilt while it runs */
	handler.fn_mcxt = CurrentMemoryContext; /* and what the call keeps must go with it */
	usher_call_as(p->owner, &handler, 1, &event);
	error_context_stack = context_of.previous;
}

static Projection *
find_projection(int32 id)
{
	for (int i = 0; i < nprojections; i++)
		if (projections[i].id == id)
			return &projections[i];
	return NULL;
}

/* Ids of the tenant's projections for this type, in the order in which they run. */
static List *
matching(int32 tenant_id, const text *type)
{
	List *ids = NIL;

	for (int i = 0; i < nprojections; i++)
		if (projections[i].tenant_id == tenant_id &&
			usher_glob_match(projections[i].pattern, strlen(projections[i].pattern),
							 VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)))
			ids = lappend_int(ids, projections[i].id);
	return ids;
}

void
usher_project_event(const UsherPending *pending, const text *type)
{
	List *ids;
	ListCell *lc;
	Datum event;
	TupleTableSlot *slot;

	if (!valid)
		load();
	if (nprojections == 0)
		return;
	ids = matching(pending->tenant_id, type);
	if (ids == NIL)
		return;
	check_stack_depth();
	slot = usher_log_slot(&TTSOpsHeapTuple);
	ExecStoreHeapTuple(usher_outbox_tuple((UsherPending *) pending), slot, false);
	event = usher_event_datum(slot);
	ExecDropSingleTupleTableSlot(slot);
	foreach(lc, ids)
	{
		Projection *p;

		/* The lock lets a change of its state through to us. */
		LockDatabaseObject(usher_catalog()->projections, lfirst_int(lc), 0, RowExclusiveLock);
		if (!valid)
			load();
		p = find_projection(lfirst_int(lc));
		if (p != NULL && p->live)
			call_handler(p, event);
	}
	list_free(ids);
}

/* ---- for usher.rebuild ---- */

static Projection *
known_projection(int32 id)
{
	Projection *p;

	AcceptInvalidationMessages();
	if (!valid)
		load();
	p = find_projection(id);
	if (p == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_PROJECTION),
						errmsg("projection %d does not exist", id)));
	return p;
}

/*
 * Wait for the transactions that ran the projection inline; exclusive: and let
 * no new one begin until ours ends.
 */
void
usher_projection_barrier_for(int32 id, bool exclusive)
{
	LOCKTAG tag;

	if (exclusive)
	{
		LockDatabaseObject(usher_catalog()->projections, id, 0, ExclusiveLock);
		return;
	}
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, usher_catalog()->projections, id, 0);
	WaitForLockers(tag, ExclusiveLock, false);
}

typedef struct Replay
{
	int32 id;
	int32 tenant_id;
	const text *pattern;
	int64 left;
	int64 examined;
	MemoryContext scratch;
} Replay;

static bool
replay_visit(TupleTableSlot *slot, void *arg)
{
	Replay *r = arg;
	MemoryContext old;
	bool isnull;
	Projection *p;

	r->examined = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	if (!usher_event_wanted(slot, r->tenant_id, r->pattern))
		return true;
	p = known_projection(r->id);
	old = MemoryContextSwitchTo(r->scratch);
	call_handler(p, usher_event_datum(slot));
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->scratch);
	return --r->left > 0;
}

/* Run the handler over at most `max` matching events in (after, upto]; returns how far it has read. */
int64
usher_projection_replay(int32 id, int64 after, int64 upto, int64 max)
{
	Projection *p = known_projection(id);
	Replay r = {id, p->tenant_id, cstring_to_text(p->pattern), max, after};

	r.scratch = AllocSetContextCreate(CurrentMemoryContext, "usher replay", ALLOCSET_DEFAULT_SIZES);
	usher_read_positions(after, upto, replay_visit, &r);
	MemoryContextDelete(r.scratch);
	return r.left > 0 ? upto : r.examined;
}

void
usher_projection_run_reset(int32 id)
{
	Projection *p = known_projection(id);
	FmgrInfo reset;

	if (p->reset_name == NULL)
		return;
	fmgr_info(function_named(p, p->reset_name, 0), &reset);
	usher_call_as(p->owner, &reset, 0, NULL);
}
