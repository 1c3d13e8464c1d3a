/*
 * extension/database.c
 *	  Our workers step out of the way of DROP DATABASE, DROP EXTENSION and their like.
 *
 * Commands that need a database without sessions (drop, rename, move, use as
 * template) first end its workers and keep the launcher from starting the
 * housekeeping worker, which starts the others, for a while.  When the command
 * fails, they come back by themselves.
 */
#include "database.h"

#include "boxoffice/box.h"
#include "handler/handler.h"
#include "relay/status.h"
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
/* DROP EXTENSION: they come back soon if it fails. */
#define PAUSE_SHORT_MS 3000

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

/* Tell the workers of a database to end; returns how many there are. */
static int
terminate_workers(Oid dboid)
{
	int running = 0;

	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == dboid &&
			usher_terminate_proc(pg_atomic_read_u32(&usher_shared->dbs[i].worker_procno)))
			running++;
	return running + usher_relays_terminate(dboid) + usher_handler_workers_terminate(dboid) +
		   usher_box_worker_terminate(dboid);
}

/* No worker of the database is started for a while. */
static void
pause_starts(Oid dboid, int ms)
{
	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == dboid)
			usher_shared->dbs[i].worker_paused_until = TimestampTzPlusMilliseconds(
				GetCurrentTimestamp(), ms);
	pg_memory_barrier(); /* see usher_workers_paused */
}

/*
 * A worker holds locks while it reads, and waits for others: with DROP
 * EXTENSION, which takes them all, that would be a deadlock.
 */
static bool
drops_log(Node *statement)
{
	DropStmt *drop = (DropStmt *) statement;
	ListCell *lc;

	if (!IsA(statement, DropStmt) || drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach(lc, drop->objects)
		if (strcmp(strVal(lfirst(lc)), "pg_usher") == 0)
			return usher_owns_database(MyDatabaseId, GetUserId());
	return false;
}

static void
pause_workers(Oid dboid, int ms)
{
	pause_starts(dboid, ms);
	usher_terminate_all(terminate_workers, dboid);
}

static void
pause_workers_of(const char *name)
{
	Oid dboid = get_database_oid(name, true);

	if (OidIsValid(dboid) && usher_owns_database(dboid, GetUserId()))
		pause_workers(dboid, PAUSE_MS);
}

static void
utility(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	const char *name = exclusive_database(pstmt->utilityStmt);

	if (name != NULL && usher_shared != NULL && IsTransactionState())
		pause_workers_of(name);
	else if (usher_shared != NULL && IsTransactionState() && drops_log(pstmt->utilityStmt))
		pause_workers(MyDatabaseId, PAUSE_SHORT_MS);
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
