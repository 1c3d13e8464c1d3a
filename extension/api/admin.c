/*
 * extension/api/admin.c
 *	  Functions behind the SQL of projections, retention and caches.
 */
#include "usher.h"

#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#define DECIDED_LOOK_MS 1

PG_FUNCTION_INFO_V1(usher_projection_barrier);
Datum
usher_projection_barrier(PG_FUNCTION_ARGS)
{
	usher_projection_barrier_for(PG_GETARG_INT32(0), PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(usher_projection_call);
Datum
usher_projection_call(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(usher_projection_replay(PG_GETARG_INT32(0), PG_GETARG_INT64(1),
											PG_GETARG_INT64(2), PG_GETARG_INT32(3)));
}

PG_FUNCTION_INFO_V1(usher_projection_reset);
Datum
usher_projection_reset(PG_FUNCTION_ARGS)
{
	usher_projection_run_reset(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

/* Positions that are in the middle of their commit are decided soon: look again every millisecond. */
PG_FUNCTION_INFO_V1(usher_committed_position);
Datum
usher_committed_position(PG_FUNCTION_ARGS)
{
	int64 given;

	if (RecoveryInProgress())
		PG_RETURN_INT64(usher_stable(NULL));
	given = usher_position_next(usher_db()) - 1;
	while (usher_stable(NULL) < given)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, DECIDED_LOOK_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_INT64(given);
}

/* The archive hook runs as the owner of the function, not as the worker. */
PG_FUNCTION_INFO_V1(usher_call_archive);
Datum
usher_call_archive(PG_FUNCTION_ARGS)
{
	Datum args[2];
	FmgrInfo archive;
	HeapTuple tuple;
	Oid owner;
	Oid *types;
	int ntypes;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("the archive function of the retention does not exist"),
				 errhint("Set another with usher.set_retention; until then nothing is removed.")));
	(void) get_func_signature(PG_GETARG_OID(0), &types, &ntypes);
	if (ntypes != 2 || types[0] != INT8OID || types[1] != INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("the archive function of the retention does not take (bigint, bigint)"),
				 errhint("Set another with usher.set_retention; until then nothing is removed.")));
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(PG_GETARG_OID(0)));
	Ensure(HeapTupleIsValid(tuple), "a function vanished");
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	fmgr_info(PG_GETARG_OID(0), &archive);
	args[0] = PG_GETARG_DATUM(1);
	args[1] = PG_GETARG_DATUM(2);
	usher_call_as(owner, &archive, 2, args);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(usher_partition_list);
Datum
usher_partition_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	UsherCatalog *cat = usher_catalog();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < cat->npartitions; i++)
	{
		Datum values[3] = {
			ObjectIdGetDatum(cat->partitions[i].relid),
			Int64GetDatum(cat->partitions[i].from),
			Int64GetDatum(cat->partitions[i].to),
		};
		bool nulls[3] = {0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_poke_housekeeping);
Datum
usher_poke_housekeeping(PG_FUNCTION_ARGS)
{
	usher_poke_at_commit();
	PG_RETURN_VOID();
}

/* Row changes do not invalidate caches by themselves. */
PG_FUNCTION_INFO_V1(usher_invalidate_caches);
Datum
usher_invalidate_caches(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("usher.invalidate_caches is a trigger function")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
