/*
 * extension/log/called.c
 *	  Functions of users: found by the name that was registered, and called as
 *	  the role that registered them.
 */
#include "log.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

/*
 * Takes nargs arguments: none, or one usher.event.  InvalidOid: there is no
 * such function (*exists false), or it takes others (true); the table with its
 * name may have been edited by hand, the function dropped or replaced.
 */
Oid
usher_called_function(const char *name, int nargs, bool *exists)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum oid;
	Oid *args;
	int taken;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(name);
	fcinfo->args[0].isnull = false;
	oid = to_regprocedure(fcinfo);
	*exists = !fcinfo->isnull;
	if (fcinfo->isnull)
		return InvalidOid;
	(void) get_func_signature(DatumGetObjectId(oid), &args, &taken);
	if (taken != nargs || (nargs == 1 && args[0] != usher_catalog()->event_type))
		return InvalidOid;
	return DatumGetObjectId(oid);
}

/*
 * What runs as another role must leave nothing behind that would run with our
 * rights later: no deferred trigger, no changed setting.  After an error the
 * transaction's abort does what usher_as_role_end does.
 */
void
usher_as_role_begin(UsherAsRole *saved, Oid role)
{
	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	if (role != saved->user)
		SetUserIdAndSecContext(role, saved->sec_context | SECURITY_LOCAL_USERID_CHANGE |
										 SECURITY_RESTRICTED_OPERATION);
	saved->nest_level = NewGUCNestLevel();
}

void
usher_as_role_end(const UsherAsRole *saved)
{
	AtEOXact_GUC(false, saved->nest_level);
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

/*
 * Call a function as a role; its result, also null, is of no interest.  The
 * search_path is that of no session, so that no appender can lead the function
 * astray.
 */
void
usher_call_as(Oid owner, FmgrInfo *function, int nargs, const Datum *args)
{
	UsherAsRole saved;
	LOCAL_FCINFO(fcinfo, 2);

	Ensure(nargs <= 2, "a hook with too many arguments");
	usher_as_role_begin(&saved, owner);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	InitFunctionCallInfoData(*fcinfo, function, nargs, InvalidOid, NULL, NULL);
	for (int i = 0; i < nargs; i++)
	{
		fcinfo->args[i].value = args[i];
		fcinfo->args[i].isnull = false;
	}
	(void) FunctionCallInvoke(fcinfo);
	usher_as_role_end(&saved);
}
