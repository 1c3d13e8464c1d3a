/*
 * bgworkers/launcher.c
 *	  One per cluster: starts the housekeeping worker of each database that has
 *	  a log, and starts it again when it ended.
 *
 * At its own start it cannot know which databases have the extension: it
 * starts a worker in each, and those that find none leave at once.  Later a
 * database becomes known by its entry in shared memory, which the first use
 * of its log makes; who needs a worker and finds none pokes the launcher.
 */
#include "started.h"
#include "worker_loop.h"

#include "shmem.h"

#include <math.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define PROBES_AT_ONCE 4
#define NO_SLOT_MS     10000
#define RESTART_MS     50 /* doubled with each failure in a row, without the first */
#define RESTART_MAX_MS 60000

PG_MODULE_MAGIC;

PGDLLEXPORT void usher_launcher_main(Datum arg);

typedef struct Started
{
	Oid dboid;
	UsherStarted worker;
} Started;

typedef struct Launcher
{
	UsherWorker worker;
	Started *started;
	int n, size;
	Oid *probes; /* databases still to be looked into */
	int nprobes;
	bool listed;
} Launcher;

static void
launcher_exit(int code, Datum arg)
{
	pg_atomic_write_u32(&usher_shared->launcher_procno, USHER_NO_PROC);
}

static void
list_databases(Launcher *l)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	int size = 16;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	l->probes = MemoryContextAlloc(TopMemoryContext, size * sizeof(Oid));
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);

		if (!db->datallowconn)
			continue;
		if (l->nprobes == size)
			l->probes = repalloc(l->probes, (size *= 2) * sizeof(Oid));
		l->probes[l->nprobes++] = db->oid;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	l->listed = true;
}

static Started *
started_entry(Launcher *l, Oid dboid)
{
	for (int i = 0; i < l->n; i++)
		if (l->started[i].dboid == dboid)
			return &l->started[i];
	if (l->n == l->size)
	{
		l->size = Max(16, l->size * 2);
		l->started = l->started ? repalloc(l->started, l->size * sizeof(Started))
								: MemoryContextAlloc(TopMemoryContext, l->size * sizeof(Started));
	}
	memset(&l->started[l->n], 0, sizeof(Started));
	l->started[l->n].dboid = dboid;
	return &l->started[l->n++];
}

static void
start(Started *s)
{
	char name[BGW_MAXLEN];

	snprintf(name, sizeof(name), "pg_usher housekeeping of database %u", s->dboid);
	if (usher_started_start(&s->worker, "usher_housekeeping_main", "pg_usher housekeeping", name,
							ObjectIdGetDatum(s->dboid)))
		return;
	s->worker.not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_SLOT_MS);
	ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					  errmsg("no worker slot is free for the log of database %u", s->dboid),
					  errhint("Raise max_worker_processes.")));
}

/* It has a log, and its workers may run. */
static bool
should_run(Oid dboid)
{
	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == dboid)
			return usher_shared->dbs[i].worker_paused_until <= GetCurrentTimestamp();
	return false;
}

/* A worker that found no log, or was told to go, has not failed; others start again later and later. */
static void
ended(Started *s)
{
	TimestampTz now = GetCurrentTimestamp();
	UsherStarted *w = &s->worker;

	if (!should_run(s->dboid) || TimestampDifferenceExceeds(w->started_at, now, USHER_STEADY_MS))
		w->failures = 0;
	else
		w->failures++;
	w->not_before = now;
	if (w->failures > 1)
		w->not_before = TimestampTzPlusMilliseconds(
			now, (int64) Min(RESTART_MS * pow(2, w->failures - 2), RESTART_MAX_MS));
}

/* Forget workers that ended; returns how many run. */
static int
reap(Launcher *l)
{
	int running = 0;

	for (int i = 0; i < l->n; i++)
	{
		Started *s = &l->started[i];

		if (usher_started_ended(&s->worker))
			ended(s);
		else if (s->worker.handle)
			running++;
	}
	return running;
}

/* A database that was dropped leaves its entry behind: give it back. */
static bool
still_exists(UsherDb *db)
{
	Oid dboid = db->dboid;
	bool exists;

	StartTransactionCommand();
	exists = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(dboid));
	CommitTransactionCommand();
	if (!exists)
	{
		LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
		if (db->dboid == dboid)
			usher_db_forget(db);
		LWLockRelease(usher_shared->lock);
	}
	return exists;
}

/* Start what is wanted; returns the milliseconds until something postponed is due, -1: nothing. */
static long
start_known(Launcher *l)
{
	long next = -1;

	for (int i = 0; i < usher_shared->ndbs; i++)
	{
		UsherDb *db = &usher_shared->dbs[i];
		TimestampTz now = GetCurrentTimestamp(), due;
		Started *s;

		if (!OidIsValid(db->dboid) || pg_atomic_read_u32(&db->worker_procno) != USHER_NO_PROC)
			continue;
		s = started_entry(l, db->dboid);
		if (s->worker.handle != NULL)
			continue;
		due = Max(s->worker.not_before, db->worker_paused_until);
		if (due > now)
		{
			long left = TimestampDifferenceMilliseconds(now, due) + 1;

			next = next < 0 ? left : Min(next, left);
			continue;
		}
		if (still_exists(db))
			start(s);
	}
	return next;
}

static long
launcher_round(void *state)
{
	Launcher *l = state;
	int running;

	if (!l->listed)
		list_databases(l);
	running = reap(l);
	while (l->nprobes > 0 && running < PROBES_AT_ONCE)
	{
		Started *s = started_entry(l, l->probes[--l->nprobes]);

		if (s->worker.handle == NULL)
		{
			start(s);
			running++;
		}
	}
	return start_known(l);
}

/* Its own round wakes it often only while it probes: a worker's end sets the latch. */
void
usher_launcher_main(Datum arg)
{
	Launcher launcher = {.worker = {.round = launcher_round,
									.socket = PGINVALID_SOCKET,
									.wait_name = "UsherLauncher"}};

	usher_worker_signals(false);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_exit, (Datum) 0);
	pg_atomic_write_u32(&usher_shared->launcher_procno, usher_my_procno());
	launcher.worker.state = &launcher;
	usher_worker_loop(&launcher.worker);
}
