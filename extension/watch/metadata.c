/*
 * extension/watch/metadata.c
 *	  Whose change it was: the tenant, and what every event of a transaction has
 *	  in its metadata.
 *
 * Both are of the session, as SET ROLE left it, and not of a function with its
 * owner's rights, or of a foreign key's trigger, that made the change.
 */
#include "watch/watch.h"

#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* The tenant of the session; an error when its role may not use it. */
int32
usher_watch_tenant(void)
{
	Oid user, session = GetOuterUserId();
	int sec_context;
	int32 tenant_id;

	GetUserIdAndSecContext(&user, &sec_context);
	if (likely(user == session))
		return usher_current_tenant_id();
	SetUserIdAndSecContext(session, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	tenant_id = usher_current_tenant_id();
	SetUserIdAndSecContext(user, sec_context);
	return tenant_id;
}

static void
push_pair(JsonbParseState **state, const char *key, const char *string)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
	if (string == NULL)
		return;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* As %c of log_line_prefix shows it. */
static const char *
session_id(void)
{
	static char id[40];

	if (id[0] == '\0')
		snprintf(id, sizeof(id), "%lx.%x", (unsigned long) MyStartTime, (unsigned) MyProcPid);
	return id;
}

static const char *
instance_id(void)
{
	static char id[24];

	if (cluster_name[0] != '\0')
		return cluster_name;
	if (id[0] == '\0')
		snprintf(id, sizeof(id), UINT64_FORMAT, GetSystemIdentifier());
	return id;
}

static Jsonb *
metadata_make(bool with_actor, Oid role)
{
	JsonbParseState *state = NULL;
	char transaction[24];

	snprintf(transaction, sizeof(transaction), UINT64_FORMAT,
			 U64FromFullTransactionId(GetTopFullTransactionId()));
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (with_actor)
	{
		push_pair(&state, "actor", NULL);
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_pair(&state, "id", GetUserNameFromId(role, false));
		push_pair(&state, "type", "role");
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	push_pair(&state, "instance_id", instance_id());
	push_pair(&state, "session_id", session_id());
	push_pair(&state, "transaction_id", transaction);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * Session, instance and transaction; the role of the session (as SET ROLE left
 * it, whatever function is running) is the actor, unless usher.actor says who.
 * The same for every row of the transaction.
 */
Jsonb *
usher_watch_metadata(void)
{
	static LocalTransactionId made_for;
	static Oid made_role;
	static bool made_with_actor;
	static Jsonb *made;
	bool with_actor = usher_actor == NULL || usher_actor[0] == '\0';
	Oid role = GetOuterUserId();
	MemoryContext old;

	if (made != NULL && made_for == usher_my_lxid() && made_role == role &&
		made_with_actor == with_actor)
		return made;
	made = NULL;
	old = MemoryContextSwitchTo(TopTransactionContext);
	made = metadata_make(with_actor, role);
	MemoryContextSwitchTo(old);
	made_for = usher_my_lxid();
	made_role = role;
	made_with_actor = with_actor;
	return made;
}
