/*
 * test/integration/src/commit_fault.c
 *	  Commits that wait, or fail, when a test wants it.
 *
 * To be preloaded before pg_usher, so that it is asked after the events have been written. Of usherd's sessions only, and of
 * transactions that have written something: while there is a file "commit_hold" in the data directory the commit waits, and
 * when there is one "commit_fault" it fails with the SQLSTATE that stands in it.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

#define HOLD  "commit_hold"
#define FAULT "commit_fault"

extern PGDLLEXPORT void _PG_init(void);

static void
fail(void)
{
	char state[6] = "";
	FILE *file = AllocateFile(FAULT, "r");

	if (file == NULL)
		return;
	if (fread(state, 1, 5, file) != 5)
		elog(PANIC, "\"%s\" has no SQLSTATE", FAULT);
	FreeFile(file);
	ereport(ERROR, (errcode(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])),
					errmsg("a commit that fails")));
}

static void
at_commit(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT || strncmp(application_name, "usherd", 6) != 0 ||
		!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	while (access(HOLD, F_OK) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
	fail();
}

void
_PG_init(void)
{
	RegisterXactCallback(at_commit, NULL);
}
