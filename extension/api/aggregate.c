/*
 * extension/api/aggregate.c
 *	  usher.aggregate: fold a stream with a reducer, with snapshots.
 *
 * A snapshot is the state after a committed version.  It is found by tenant,
 * stream and reducer, and used only when the reducer's body and the initial
 * state are what they were.  Streams with hidden events are folded without.
 */
#include "usher.h"

#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

enum
{
	SNAPSHOT_TENANT_ID = 1,
	SNAPSHOT_STREAM,
	SNAPSHOT_REDUCER,
	SNAPSHOT_DEFINITION,
	SNAPSHOT_VERSION,
	SNAPSHOT_STATE,
	SNAPSHOT_CREATED_AT,
	SNAPSHOT_NATTS = SNAPSHOT_CREATED_AT
};

#define SNAPSHOT_LOCK_CLASS 0x5556 /* beside the classes of advisory locks */

typedef struct Fold
{
	FmgrInfo reducer;
	int32 tenant_id;
	text *stream;
	text *reducer_name;
	text *definition;
	int64 version; /* of the last event folded */
	int64 folded; /* since the snapshot */
	bool pending; /* an uncommitted event is in it */
	Datum state;
	bool state_null;
	MemoryContext states[2]; /* of the current and the next state, in turn */
	MemoryContext scratch;
} Fold;

/* The reducer must be (jsonb, usher.event) -> jsonb, and the caller may call it. */
static void
check_reducer(Oid reducer)
{
	Oid *args;
	int nargs;
	Oid result = get_func_signature(reducer, &args, &nargs);

	if (nargs != 2 || args[0] != JSONBOID || args[1] != usher_catalog()->event_type ||
		result != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("reducer %s is not a function of (jsonb, usher.event) that returns jsonb",
						format_procedure(reducer))));
	if (!usher_may_execute(reducer, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(reducer));
}

/*
 * Hash of what the reducer does, of where it starts, and of who calls it: with
 * a search_path of their own another role could make it do something else.
 */
static text *
definition_of(Oid reducer, Datum initial, bool initial_null)
{
	static const AttrNumber bodies[] = {Anum_pg_proc_prosrc, Anum_pg_proc_probin,
										Anum_pg_proc_prosqlbody};
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(reducer));
	uint64 hash = GetUserId();

	Ensure(HeapTupleIsValid(tuple), "a function vanished");
	for (int i = 0; i < (int) lengthof(bodies); i++)
	{
		bool isnull;
		Datum value = SysCacheGetAttr(PROCOID, tuple, bodies[i], &isnull);
		text *body = isnull ? NULL : DatumGetTextPP(value);

		if (body)
			hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body),
									   hash);
	}
	ReleaseSysCache(tuple);
	if (!initial_null)
		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(DatumGetJsonbP(initial)),
								   VARSIZE_ANY_EXHDR(DatumGetJsonbP(initial)), hash ^ 1);
	return cstring_to_text(psprintf("%016llx", (unsigned long long) hash));
}

/* The stored snapshot's row; NULL when there is none. */
static HeapTuple
snapshot_find(const Fold *f, Relation rel, Snapshot snapshot)
{
	Oid index = get_relname_relid("snapshots_pkey", RelationGetNamespace(rel));
	ScanKeyData keys[3];

	usher_stream_keys(keys, f->tenant_id, f->stream);
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(f->reducer_name));
	keys[2].sk_collation = C_COLLATION_OID;
	return usher_row_find(rel, index, snapshot, keys, 3, ForwardScanDirection);
}

static void
snapshot_load(Fold *f, int64 until)
{
	Relation rel = table_open(usher_catalog()->snapshots, AccessShareLock);
	HeapTuple tuple = snapshot_find(f, rel, GetActiveSnapshot());
	TupleDesc desc = RelationGetDescr(rel);
	bool isnull;

	if (tuple)
	{
		int64 version = DatumGetInt64(heap_getattr(tuple, SNAPSHOT_VERSION, desc, &isnull));
		Datum definition = heap_getattr(tuple, SNAPSHOT_DEFINITION, desc, &isnull);
		Datum state = heap_getattr(tuple, SNAPSHOT_STATE, desc, &isnull);

		if (version <= until &&
			DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, definition,
												 PointerGetDatum(f->definition))))
		{
			f->version = version;
			f->state_null = isnull;
			if (!isnull)
				f->state = PointerGetDatum(PG_DETOAST_DATUM_COPY(state));
		}
	}
	table_close(rel, AccessShareLock);
}

/* Keep the state; who finds another session at it leaves it to that one. */
static void
snapshot_save(const Fold *f)
{
	uint64 hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(f->stream),
									  VARSIZE_ANY_EXHDR(f->stream), f->tenant_id);
	LOCKTAG tag;
	Relation rel;
	HeapTuple old, tuple;
	Datum values[SNAPSHOT_NATTS];
	bool nulls[SNAPSHOT_NATTS] = {0};
	bool isnull;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 SNAPSHOT_LOCK_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	rel = table_open(usher_catalog()->snapshots, RowExclusiveLock);
	values[SNAPSHOT_TENANT_ID - 1] = Int32GetDatum(f->tenant_id);
	values[SNAPSHOT_STREAM - 1] = PointerGetDatum(f->stream);
	values[SNAPSHOT_REDUCER - 1] = PointerGetDatum(f->reducer_name);
	values[SNAPSHOT_DEFINITION - 1] = PointerGetDatum(f->definition);
	values[SNAPSHOT_VERSION - 1] = Int64GetDatum(f->version);
	values[SNAPSHOT_STATE - 1] = f->state;
	nulls[SNAPSHOT_STATE - 1] = f->state_null;
	values[SNAPSHOT_CREATED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	old = snapshot_find(f, rel, SnapshotSelf);
	if (old == NULL)
		CatalogTupleInsert(rel, tuple);
	else if (DatumGetInt64(heap_getattr(old, SNAPSHOT_VERSION, RelationGetDescr(rel), &isnull)) <
				 f->version ||
			 !DatumGetBool(DirectFunctionCall2Coll(
				 texteq, C_COLLATION_OID,
				 heap_getattr(old, SNAPSHOT_DEFINITION, RelationGetDescr(rel), &isnull),
				 PointerGetDatum(f->definition))))
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement(); /* the same statement may come to this row again */
}

static bool
fold_visit(TupleTableSlot *slot, void *arg)
{
	Fold *f = arg;
	MemoryContext old = MemoryContextSwitchTo(f->scratch);
	LOCAL_FCINFO(fcinfo, 2);
	Datum result;
	bool isnull;

	f->version = DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull));
	f->pending |= DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull)) == 0;
	f->folded++;
	InitFunctionCallInfoData(*fcinfo, &f->reducer, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = f->state;
	fcinfo->args[0].isnull = f->state_null;
	fcinfo->args[1].value = usher_event_datum(slot);
	fcinfo->args[1].isnull = false;
	if (!(f->reducer.fn_strict && f->state_null))
	{
		MemoryContext next = f->states[f->folded % 2];

		result = FunctionCallInvoke(fcinfo);
		f->state_null = fcinfo->isnull;
		MemoryContextSwitchTo(next);
		if (!f->state_null)
			f->state = PointerGetDatum(PG_DETOAST_DATUM_COPY(result));
		MemoryContextReset(f->states[(f->folded + 1) % 2]);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(f->scratch);
	return true;
}

PG_FUNCTION_INFO_V1(usher_aggregate);
Datum
usher_aggregate(PG_FUNCTION_ARGS)
{
	Fold f = {0};
	int64 until = PG_ARGISNULL(3) ? PG_INT64_MAX - 1 : Min(PG_GETARG_INT64(3), PG_INT64_MAX - 1);
	UsherStreamLimits limits;
	bool use_snapshots;
	Oid reducer;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(PG_ARGISNULL(0) ? ERRCODE_USHER_INVALID_NAME
												: ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("%s is null", PG_ARGISNULL(0) ? "stream name" : "reducer")));
	if (until < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("a version cannot be negative")));
	f.stream = PG_GETARG_TEXT_PP(0);
	usher_check_name(f.stream, "stream name");
	reducer = PG_GETARG_OID(1);
	check_reducer(reducer);
	fmgr_info(reducer, &f.reducer);
	f.tenant_id = usher_current_tenant_id();
	f.state_null = PG_ARGISNULL(2);
	f.state = f.state_null ? (Datum) 0 : PG_GETARG_DATUM(2);
	f.reducer_name = cstring_to_text(format_procedure_qualified(reducer));
	f.definition = definition_of(reducer, f.state, f.state_null);
	for (int i = 0; i < 2; i++)
		f.states[i] = AllocSetContextCreate(CurrentMemoryContext, "usher fold state",
											ALLOCSET_DEFAULT_SIZES);
	f.scratch = AllocSetContextCreate(CurrentMemoryContext, "usher fold", ALLOCSET_DEFAULT_SIZES);

	usher_stream_limits(f.tenant_id, f.stream, &limits);
	use_snapshots = usher_snapshot_every > 0 && limits.first_visible <= 1 &&
					limits.max_count == 0 && TIMESTAMP_IS_NOBEGIN(limits.not_before);
	if (use_snapshots)
		snapshot_load(&f, until);
	usher_read_stream(f.tenant_id, f.stream, f.version + 1, until + 1, PG_INT64_MAX, false,
					  fold_visit, &f);
	if (use_snapshots && f.folded >= usher_snapshot_every && !f.pending && !XactReadOnly &&
		!RecoveryInProgress() && !IsInParallelMode())
		snapshot_save(&f);
	if (f.state_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(f.state);
}
