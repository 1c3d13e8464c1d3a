/*
 * extension/api/argument.h
 *	  Arguments of SQL functions, checked as all of them check theirs.
 */
#ifndef USHER_ARGUMENT_H
#define USHER_ARGUMENT_H

#include "usher.h"

#include "log/log.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static inline void
refuse_null(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("%s is null", what)));
}

static inline int64
bigint_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	refuse_null(fcinfo, n, what);
	return PG_GETARG_INT64(n);
}

static inline text *
name_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s is null", what)));
	usher_check_name(PG_GETARG_TEXT_PP(n), what);
	return PG_GETARG_TEXT_PP(n);
}

/* An interval in milliseconds, a month as 30 days; at most 24 days.  -1 for null. */
static inline int64
ms_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	Interval *interval;
	double ms;

	if (PG_ARGISNULL(n))
		return -1;
	interval = PG_GETARG_INTERVAL_P(n);
	ms = interval->time / 1000.0 +
		 (interval->day + interval->month * (double) DAYS_PER_MONTH) * SECS_PER_DAY * 1000.0;
	if (ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("%s cannot be negative", what)));
	return (int64) Min(ms, INT_MAX);
}

static inline int64
timeout_argument(FunctionCallInfo fcinfo, int n)
{
	refuse_null(fcinfo, n, "timeout");
	return ms_argument(fcinfo, n, "timeout");
}

#endif /* USHER_ARGUMENT_H */
