/*
 * extension/api/wait.c
 *	  usher.wait and usher.wait_for.
 */
#include "usher.h"

#include "api/argument.h"
#include "log/log.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define SELECT_WAIT_MAX_MS 5000 /* a SELECT holds its snapshot while it waits */

static text *
pattern_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return cstring_to_text("*");
	usher_check_name(PG_GETARG_TEXT_PP(n), "pattern");
	return PG_GETARG_TEXT_PP(n);
}

PG_FUNCTION_INFO_V1(usher_wait);
Datum
usher_wait(PG_FUNCTION_ARGS)
{
	int64 after = bigint_argument(fcinfo, 0, "after");
	int64 timeout_ms = Min(timeout_argument(fcinfo, 1), SELECT_WAIT_MAX_MS);

	PG_RETURN_INT64(usher_wait_for_event(after, timeout_ms, pattern_argument(fcinfo, 2)));
}

/*
 * CALL usher.wait_for: commits first, so that no snapshot is held during the
 * wait; as any procedure that commits it cannot run inside a transaction.
 */
PG_FUNCTION_INFO_V1(usher_wait_for);
Datum
usher_wait_for(PG_FUNCTION_ARGS)
{
	int64 after = bigint_argument(fcinfo, 0, "after");
	int64 timeout_ms = timeout_argument(fcinfo, 1);
	text *pattern = pattern_argument(fcinfo, 2);
	TupleDesc desc;
	Datum value;
	bool isnull = false;

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("usher.wait_for cannot run inside a transaction block"),
				 errhint("Inside one, wait with SELECT usher.wait(...), at most 5 seconds.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("usher.wait_for must be called with CALL")));
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	value = Int64GetDatum(usher_wait_for_event(after, timeout_ms, pattern));
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull)));
}
