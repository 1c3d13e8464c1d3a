/*
 * extension/database.c
 *	  Our workers step out of the way of DROP DATABASE and its like.
 *
 * Commands that need a database without sessions (drop, rename, move, use as
 * template) first end its housekeeping worker and keep the launcher from
 * starting it again for a while.  When the command fails, the worker comes
 * back by itself.
 */
#include "database.h"

#include "shmem.h"

#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define PAUSE_MS    10000
#define END_WAIT_MS 3000

static ProcessUtility_hook_type previous_hook;

static const char *
option_string(List *options, const char *name)
{
	ListCell *lc;

	foreach(lc, options)
	{
		DefElem *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* Name of the database that the command needs for itself; NULL: none. */
static const char *
exclusive_database(Node *statement)
{
	const char *name;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, statement)->dbname;
		case T_CreatedbStmt:
			name = option_string(castNode(CreatedbStmt, statement)->options, "template");
			return name ? name : "template1";
		case T_RenameStmt:
			return castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE
					   ? castNode(RenameStmt, statement)->subname
					   : NULL;
		case T_AlterDatabaseStmt:
			return option_string(castNode(AlterDatabaseStmt, statement)->options, "tablespace")
					   ? castNode(AlterDatabaseStmt, statement)->dbname
					   : NULL;
		default:
			return NULL;
	}
}

static void
end_worker(UsherDb *db)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_WAIT_MS);
	uint32 procno;

	db->worker_paused_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PAUSE_MS);
	while ((procno = pg_atomic_read_u32(&db->worker_procno)) != USHER_NO_PROC &&
		   GetCurrentTimestamp() < deadline)
	{
		int pid = ProcGlobal->allProcs[procno].pid;

		if (pid != 0)
			kill(pid, SIGTERM);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
pause_workers(const char *name)
{
	Oid dboid = get_database_oid(name, true);

	if (!OidIsValid(dboid) || !usher_owns_database(dboid, GetUserId()))
		return;
	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == dboid)
			end_worker(&usher_shared->dbs[i]);
}

static void
utility(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	const char *name = exclusive_database(pstmt->utilityStmt);

	if (name != NULL && usher_shared != NULL && IsTransactionState())
		pause_workers(name);
	if (previous_hook)
		previous_hook(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, environment, dest,
								completion);
}

void
usher_database_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
