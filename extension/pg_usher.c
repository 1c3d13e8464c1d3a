/*
 * extension/pg_usher.c
 *	  Start of the library in the postmaster.
 */
#include "usher.h"

#include "boxoffice/box.h"
#include "database.h"
#include "handler/handler.h"
#include "idempotency/once.h"
#include "log/log.h"
#include "relay/status.h"
#include "subscription/subscription.h"
#include "shmem.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/* The launcher starts after recovery, so that on a standby it waits for promotion. */
static void
register_launcher(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = 5,
	};

	strlcpy(worker.bgw_library_name, "pg_usher_relay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "usher_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pg_usher launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_usher launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
_PG_init(void)
{
	/* Settings, shared memory and the commit callback exist from the start or not at all. */
	if (!process_shared_preload_libraries_in_progress)
		return;
	usher_guc_init(); /* first: shared memory is sized by a setting */
	usher_shmem_init();
	usher_unflushed_init(); /* before all that can write in pre-commit: called behind it */
	usher_flush_init(); /* registered early = called late: after other extensions' pre-commit work */
	usher_once_init(); /* behind it: what is claimed and not answered is written before positions are taken */
	usher_relay_init();
	usher_lease_callbacks();
	usher_handlers_init();
	usher_box_init();
	usher_database_init();
	register_launcher();
}
