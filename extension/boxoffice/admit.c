/*
 * extension/boxoffice/admit.c
 *	  The operator's say before places are taken: the function that
 *	  usher.before_reserve names.
 *
 * It is asked for what comes through the gateway, once all but the places is
 * fine, with the rights of the gateway, in the transaction of the whole batch:
 * users of the batch are locked, and an error of it is the whole batch's.
 */
#include "boxoffice/box.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#define ARGUMENTS 4 /* tenant, user, show, token */

static Oid
function_of(const char *name)
{
	static const Oid types[ARGUMENTS] = {TEXTOID, TEXTOID, INT8OID, TEXTOID};
	Oid oid = LookupFuncName(stringToQualifiedNameList(name), ARGUMENTS, types, false);

	if (get_func_rettype(oid) != TEXTOID || get_func_retset(oid))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("function %s of usher.before_reserve does not return text", name)));
	if (pg_proc_aclcheck(oid, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for function %s of usher.before_reserve", name),
						errhint("Grant EXECUTE on it to usher_gateway.")));
	return oid;
}

bool
usher_box_admitted(UsherBoxRequest *r)
{
	LOCAL_FCINFO(call, ARGUMENTS);
	FmgrInfo function;
	Datum why;

	if (!r->by_gateway || usher_before_reserve[0] == '\0')
		return true;
	fmgr_info(function_of(usher_before_reserve), &function);
	InitFunctionCallInfoData(*call, &function, ARGUMENTS, DEFAULT_COLLATION_OID, NULL, NULL);
	call->args[0].value = PointerGetDatum(r->tenant);
	call->args[1].value = PointerGetDatum(r->user_id);
	call->args[2].value = Int64GetDatum(r->show_id);
	call->args[3].value = PointerGetDatum(r->token);
	for (int i = 0; i < ARGUMENTS; i++)
		call->args[i].isnull = i == 3 && r->token == NULL;
	if (function.fn_strict && r->token == NULL)
	{
		usher_box_refuse(r, ERRCODE_USHER_NOT_ADMITTED, "a token is needed", NULL, NULL);
		return false;
	}
	why = FunctionCallInvoke(call);
	if (call->isnull)
		return true;
	usher_box_refuse(r, ERRCODE_USHER_NOT_ADMITTED, text_to_cstring(DatumGetTextPP(why)), NULL,
					 NULL);
	return false;
}
