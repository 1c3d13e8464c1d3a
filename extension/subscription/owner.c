/*
 * extension/subscription/owner.c
 *	  SQL as the owner of the tables: policies and privileges of the caller do
 *	  not matter.  Few keys fail, so what is done for them is ordinary SQL.
 *
 * Every name in a statement is qualified: the caller's search_path holds.
 */
#include "subscription/subscription.h"

#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

void
usher_owner_begin(UsherOwner *saved)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(usher_catalog()->log));
	Oid owner;

	Ensure(HeapTupleIsValid(tuple), "the log is missing");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
}

/* After an error the transaction's abort restores the user. */
void
usher_owner_end(const UsherOwner *saved)
{
	SPI_finish();
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

/* With the latest snapshot; the plan is kept. */
void
usher_owner_run(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values,
				const char *nulls)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, nargs, types);
		Ensure(*plan != NULL, "a statement of the subscriptions cannot be prepared");
		SPI_keepplan(*plan);
	}
	if (SPI_execute_snapshot(*plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, false,
							 true, 0) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("a statement of the subscriptions failed")));
}

/* A column of a row of the result; by reference: as long as usher_owner_end. */
Datum
usher_owner_column(int row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}
