/*
 * bgworkers/housekeeping.c
 *	  One per database with a log: partitions ahead of need, positions
 *	  reserved ahead, the stable position recorded for standbys, removal of old
 *	  partitions and of expired idempotency keys, relay workers, workers for
 *	  handlers, tables of cursors.
 *
 * It sleeps until it is poked: by an appender that came near the last
 * partition, by a commit when a standby could want to know, by a request for
 * removal.  An idle database costs nothing.
 */
#include "boxoffice.h"
#include "handlers.h"
#include "supervisor.h"
#include "worker_loop.h"

#include "lib/backoff.h"
#include "log/log.h"
#include "subscription/subscription.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/ipc.h"
#include "utils/lsyscache.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#define REMOVAL_RETRY_MS     250
#define REMOVAL_RETRY_MS_MAX 30000
#define ROTATION_RETRY_MS    500
#define ROTATION_MS_MIN \
	10000 /* between two: time for a dump to get from its snapshot to its locks */
#define KEYS_MARGIN_US USECS_PER_HOUR /* see usher.drop_expired_keys */
#define KEYS_RETRY_US  (10 * USECS_PER_SEC)

PGDLLEXPORT void usher_housekeeping_main(Datum arg);

typedef struct Housekeeping
{
	UsherWorker worker;
	UsherDb *db;
	TimestampTz marked_at; /* last record of the stable position */
	bool removals_left; /* asked for and not done */
	int removal_failures;
	TimestampTz removals_due; /* not before */
	TimestampTz rotation_due; /* of the tables of cursors: not before */
	TimestampTz keys_due; /* next look at the expired idempotency keys */
} Housekeeping;

static UsherDb *exit_db;

static void
housekeeping_exit(int code, Datum arg)
{
	if (exit_db)
		pg_atomic_write_u32(&exit_db->worker_procno, USHER_NO_PROC);
}

/* Whether our log is (still) the one of this database. */
static bool
log_exists(UsherDb *db)
{
	return OidIsValid(get_extension_oid("pg_usher", true)) &&
		   (db == NULL || get_rel_name(db->log_relid) != NULL);
}

/* The log of this entry was dropped: end whoever works for it, and give the entry back. */
static void
leave_log(UsherDb *db, Oid log)
{
	usher_supervise_end(db);
	usher_supervise_handlers_end(db);
	usher_supervise_boxoffice_end(db);
	/* unless a new log has taken the entry over in the meantime */
	LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
	if (db->dboid == MyDatabaseId && db->log_relid == log)
		db->dboid = InvalidOid;
	LWLockRelease(usher_shared->lock);
}

/* DROP EXTENSION has ended our predecessor, who would have done it. */
static void
leave_dropped_logs(void)
{
	for (int i = 0; i < usher_shared->ndbs; i++)
	{
		UsherDb *db = &usher_shared->dbs[i];
		Oid log = db->log_relid;

		if (db->dboid == MyDatabaseId && get_rel_name(log) == NULL)
			leave_log(db, log);
	}
}

/* Make partitions until `usher.partitions_ahead` empty ones lie behind what is wanted. */
static void
make_partitions(UsherDb *db)
{
	bool made = true;

	while (made && pg_atomic_read_u64(&db->wanted) != 0)
	{
		usher_worker_begin("making a partition of the log");
		made = usher_partition_make(db);
		usher_worker_commit();
		if (made)
			ConditionVariableBroadcast(&db->partitions_cv);
	}
}

static void
reserve_ahead(UsherDb *db)
{
	if ((int64) pg_atomic_read_u64(&db->mark) - usher_position_next(db) >=
			usher_position_chunk / 2 ||
		pg_atomic_read_u64(&db->wanted) == 0)
		return;
	usher_worker_begin("reserving positions");
	usher_positions_reserve(db, usher_position_chunk);
	usher_worker_commit();
}

static bool
standby_connected(void)
{
	for (int i = 0; i < max_wal_senders; i++)
		if (WalSndCtl->walsnds[i].pid != 0)
			return true;
	return false;
}

/* Returns the milliseconds until the next record may be written; -1: nothing to record. */
static long
record_stable(Housekeeping *h)
{
	TimestampTz due = TimestampTzPlusMilliseconds(h->marked_at, usher_stable_mark_interval_ms);
	TimestampTz now = GetCurrentTimestamp();

	if (pg_atomic_read_u32(&h->db->worker_poked) == 0)
		return -1;
	if (now < due)
		return TimestampDifferenceMilliseconds(now, due) + 1;
	/* cleared before the position is taken: who commits later pokes again */
	pg_atomic_exchange_u32(&h->db->worker_poked, 0);
	usher_worker_begin("recording the stable position");
	usher_mark_write(usher_catalog()->stable_mark, usher_stable(NULL), standby_connected());
	usher_worker_commit();
	h->marked_at = now;
	return -1;
}

/* Returns the milliseconds until the next try; -1: nothing is left to remove. */
static long
remove_partitions(UsherDb *db)
{
	bool isnull;
	int state;

	usher_worker_begin("removing old partitions of the log");
	SPI_connect();
	if (SPI_execute("SELECT usher.carry_out_removals()", false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("usher.carry_out_removals() failed")));
	state = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	usher_worker_commit();
	return state == 0 ? -1 : state == 1 ? 0 : REMOVAL_RETRY_MS;
}

/*
 * An error, of the archive hook say, comes out of here: the request stays, and
 * waits longer each time, whoever pokes us meanwhile.
 */
static long
look_at_removals(Housekeeping *h)
{
	TimestampTz now = GetCurrentTimestamp();
	long again;

	if (pg_atomic_exchange_u32(&h->db->removals_requested, 0) != 0)
		h->removals_left = true;
	if (!h->removals_left)
		return -1;
	if (now < h->removals_due)
		return TimestampDifferenceMilliseconds(now, h->removals_due) + 1;
	h->removal_failures++;
	h->removals_due = now + (TimestampTz) (1000 *
										   usher_backoff_ms(h->removal_failures, REMOVAL_RETRY_MS,
															REMOVAL_RETRY_MS_MAX,
															pg_prng_double(&pg_global_prng_state)));
	again = remove_partitions(h->db);
	h->removal_failures = 0;
	h->removals_due = again > 0 ? TimestampTzPlusMilliseconds(now, again) : 0;
	h->removals_left = again >= 0;
	return again;
}

/* A function of the cursors' tables; what it returned. */
static bool
call_rotation(const char *sql, int table)
{
	bool isnull, result;
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(table)};

	usher_worker_begin("emptying a table of subscription cursors");
	SPI_connect();
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("%s failed", sql)));
	result = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	usher_worker_commit();
	return result;
}

/*
 * When a table of subscription cursors is full, the other one, whose newest
 * rows were carried over when it was, is emptied and filled from now on; then
 * the newest rows of the full one are carried over.  So rows are there twice
 * for a while before they go: a dump that took its snapshot and has not locked
 * the tables yet misses nothing.  Returns the milliseconds until the next try;
 * -1: done.
 */
static long
rotate_cursors(Housekeeping *h)
{
	int full = pg_atomic_read_u32(&h->db->cursor_table) & 1;
	TimestampTz now = GetCurrentTimestamp();

	if (pg_atomic_read_u32(&h->db->cursor_rows) < USHER_CURSOR_ROWS)
		return -1;
	if (now < h->rotation_due)
		return TimestampDifferenceMilliseconds(now, h->rotation_due) + 1;
	h->rotation_due = TimestampTzPlusMilliseconds(now, ROTATION_RETRY_MS);
	if (!call_rotation("SELECT usher.rotate_cursors($1)", full ^ 1))
		return ROTATION_RETRY_MS;
	usher_cursor_table_switch(h->db);
	(void) call_rotation("SELECT usher.carry_cursors($1)", full);
	h->rotation_due = TimestampTzPlusMilliseconds(now, ROTATION_MS_MIN);
	return -1;
}

/* Idempotency keys are dropped by the day: once after each midnight (UTC). */
static long
drop_expired_keys(Housekeeping *h)
{
	TimestampTz now = GetCurrentTimestamp();
	bool isnull;

	if (now >= h->keys_due)
	{
		h->keys_due = now + KEYS_RETRY_US; /* should it fail */
		usher_worker_begin("dropping expired idempotency keys");
		SPI_connect();
		if (SPI_execute("SELECT usher.drop_expired_keys()", false, 0) != SPI_OK_SELECT ||
			SPI_processed != 1)
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("usher.drop_expired_keys() failed")));
		if (DatumGetInt32(
				SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) == 0)
			h->keys_due = (now / USECS_PER_DAY + 1) * USECS_PER_DAY + KEYS_MARGIN_US +
						  USECS_PER_SEC;
		SPI_finish();
		usher_worker_commit();
	}
	return TimestampDifferenceMilliseconds(now, h->keys_due) + 1;
}

static long
sooner(long a, long b)
{
	return a < 0 ? b : b < 0 ? a : Min(a, b);
}

static long
housekeeping_round(void *state)
{
	Housekeeping *h = state;
	long sleep_ms;
	Oid log;
	bool exists;

	usher_worker_begin("looking at the log");
	log = h->db->log_relid;
	exists = log_exists(h->db);
	usher_worker_commit();
	if (!exists)
	{
		leave_log(h->db, log);
		h->worker.done = true;
		return -1;
	}
	make_partitions(h->db);
	reserve_ahead(h->db);
	sleep_ms = record_stable(h);
	sleep_ms = sooner(sleep_ms, usher_supervise(h->db));
	sleep_ms = sooner(sleep_ms, usher_supervise_handlers(h->db));
	sleep_ms = sooner(sleep_ms, usher_supervise_boxoffice(h->db));
	sleep_ms = sooner(sleep_ms, rotate_cursors(h));
	sleep_ms = sooner(sleep_ms, look_at_removals(h));
	sleep_ms = sooner(sleep_ms, drop_expired_keys(h));
	return sleep_ms;
}

void
usher_housekeeping_main(Datum arg)
{
	Housekeeping h = {.worker = {.round = housekeeping_round,
								 .socket = PGINVALID_SOCKET,
								 .wait_name = "UsherHousekeeping"}};
	uint32 none = USHER_NO_PROC;

	usher_worker_signals(false);
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	usher_worker_settings();
	if (usher_workers_paused())
		proc_exit(0);
	usher_worker_begin("looking for a log");
	if (!log_exists(NULL))
	{
		leave_dropped_logs();
		usher_worker_commit();
		proc_exit(0);
	}
	h.db = usher_db();
	usher_worker_commit();
	before_shmem_exit(housekeeping_exit, (Datum) 0);
	if (!pg_atomic_compare_exchange_u32(&h.db->worker_procno, &none, usher_my_procno()))
		proc_exit(0); /* another one is at it */
	exit_db = h.db;
	pg_atomic_write_u32(&h.db->removals_requested, 1); /* what an earlier one left */
	pg_atomic_write_u32(&h.db->worker_poked, 1);
	h.worker.state = &h;
	usher_worker_loop(&h.worker);
	proc_exit(0);
}
