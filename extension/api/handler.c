/*
 * extension/api/handler.c
 *	  Functions behind the SQL of handlers: changed configuration, what the
 *	  workers do.
 */
#include "usher.h"

#include "handler/handler.h"
#include "log/log.h"
#include "subscription/subscription.h"
#include "tenancy/tenant.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(usher_subscriptions_changed_trigger);
Datum
usher_subscriptions_changed_trigger(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("usher.subscriptions_changed is a trigger function")));
	usher_subscriptions_changed_at_commit(usher_db());
	return PointerGetDatum(NULL);
}

/* Does a worker run something for the session's tenant? */
static bool
runs_for_us(uint32 subscription_id)
{
	UsherSubscription *s = subscription_id != 0 ? usher_subscription_get((int32) subscription_id)
												: NULL;

	return s != NULL && s->tenant_id == usher_current_tenant_id();
}

/* pid, subscription_id, position, running since; what other tenants have run is not shown */
PG_FUNCTION_INFO_V1(usher_handler_workers_list);
Datum
usher_handler_workers_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < USHER_HANDLER_WORKERS_MAX; i++)
	{
		UsherHandlerWorker *w = &usher_shared->handlers[i];
		uint32 procno = pg_atomic_read_u32(&w->procno);
		uint32 running = pg_atomic_read_u32(&w->running_id);
		Datum values[4];
		bool nulls[4] = {0};

		if (w->dboid != MyDatabaseId || procno == USHER_NO_PROC)
			continue;
		values[0] = Int32GetDatum(ProcGlobal->allProcs[procno].pid);
		values[1] = Int32GetDatum((int32) running);
		values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&w->running_position));
		values[3] = TimestampTzGetDatum(w->running_since);
		nulls[1] = nulls[2] = nulls[3] = !runs_for_us(running);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
