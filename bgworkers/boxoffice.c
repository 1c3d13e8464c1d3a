/*
 * bgworkers/boxoffice.c
 *	  One per database that sells: reservations that are due expire, bookings
 *	  of cancelled shows are cancelled, both in batches; and who starts it.
 *
 * What is due stands in the rows.  The worker sleeps until the first deadline
 * that is known (UsherDb.box_deadline), which every commit with an earlier one
 * moves, and wakes it.  It forgets that deadline before it looks for the next
 * one in the rows: what its look did not see yet will be told.  It starts with
 * everything that is due, so a restart and a promotion catch up.
 */
#include "boxoffice.h"

#include "started.h"
#include "worker_loop.h"

#include "boxoffice/box.h"
#include "log/log.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/lsyscache.h"

#include <sys/resource.h>

#define BATCH        1000
#define LOCKED_MS    20 /* what is due is locked by others: look again */
#define NO_SLOT_MS   5000
#define EMPTY_MS     5000 /* the log is empty: perhaps a dump is being restored */
#define BAD_MS       1000 /* some cannot expire, or be cancelled: try them again */
#define PREEMPTED_MS 10 /* taken off the CPU more often: others want it */
#define SWEEP        50 /* batches, then those are tried again that others had locked */

PGDLLEXPORT void usher_boxoffice_main(Datum arg);

typedef struct BoxWorker
{
	UsherWorker worker;
	UsherDb *db;
	int alone; /* so many are to be tried one by one */
	int bad; /* the first due that cannot expire, left out */
	TimestampTz after; /* the last deadline of the batch before */
	int batches; /* since all that is due was looked through */
} BoxWorker;

static UsherDb *exit_db;

static void
worker_exit(int code, Datum arg)
{
	if (exit_db)
		pg_atomic_write_u32(&exit_db->box_procno, USHER_NO_PROC);
}

/* Run a statement of one value, inside, in a transaction of its own. */
static Datum
run(UsherBoxPlan *plan, const Datum *args, const char *activity, bool *isnull)
{
	UsherBoxRights rights;
	Datum value;

	usher_worker_begin(activity);
	usher_box_enter(&rights);
	SPI_connect();
	if (usher_box_run(plan, args, NULL, 1) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("\"%s\" failed", plan->sql)));
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	SPI_finish();
	usher_box_leave(&rights);
	usher_worker_commit();
	return value;
}

static bool
schema_exists(const UsherDb *db)
{
	bool exists;

	usher_worker_begin("looking for the box office");
	exists = OidIsValid(get_extension_oid("pg_usher", true)) && get_rel_name(db->log_relid) != NULL;
	usher_worker_commit();
	return exists;
}

/* Milliseconds until the first that is due; -1: nothing will be. */
static long
until_next(UsherDb *db)
{
	static UsherBoxPlan plan = {.sql = "SELECT boxoffice.next_due()"};
	TimestampTz next;
	bool isnull;

	pg_atomic_exchange_u64(&db->box_deadline, PG_UINT64_MAX); /* a barrier, too */
	next = DatumGetTimestampTz(run(&plan, NULL, "looking for the next deadline", &isnull));
	if (isnull)
		return -1;
	if (TIMESTAMP_IS_NOBEGIN(next) || next <= GetCurrentTimestamp())
		return LOCKED_MS;
	usher_box_deadline_known(db, next);
	/* an earlier one that was told meanwhile has set our latch */
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next) + 1;
}

static void
look_from_start(BoxWorker *w)
{
	TIMESTAMP_NOBEGIN(w->after);
	w->batches = 0;
}

static int
run_expire(int max, int skip, TimestampTz *after)
{
	UsherBoxRights rights;
	int expired;

	usher_worker_begin("letting reservations expire");
	usher_box_enter(&rights);
	/* a stream can be locked by whoever appends to it; others' bookings do not wait for him */
	(void) set_config_option("lock_timeout", "1s", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	expired = usher_box_expire(max, skip, after);
	usher_box_leave(&rights);
	usher_worker_commit();
	return expired;
}

/*
 * Let a batch expire.  When it fails, as many are tried one by one; those that
 * fail alone are left out until everything else is done.
 */
static int
expire(BoxWorker *w)
{
	int alone = w->alone, bad = w->bad, expired;
	TimestampTz after = w->after;

	w->alone = alone > 0 ? alone - 1 : BATCH; /* if it fails */
	w->bad = bad + (alone > 0);
	expired = run_expire(alone > 0 ? 1 : BATCH, bad, &after);
	w->alone = alone > 0 && expired > 0 ? alone - 1 : 0;
	w->bad = bad;
	if (bad == 0) /* else those left out are counted from where it is */
		w->after = after;
	if (++w->batches >= SWEEP && w->alone == 0 && bad == 0)
		look_from_start(w);
	return expired;
}

/*
 * Milliseconds to leave to others after a batch: three quarters of what it took, when
 * it was often taken off the CPU, because others wanted it; else none.
 */
static long
pause_after(const struct rusage *before, TimestampTz began)
{
	struct rusage now;
	long took = TimestampDifferenceMilliseconds(began, GetCurrentTimestamp());

	getrusage(RUSAGE_SELF, &now);
	return now.ru_nivcsw - before->ru_nivcsw > took / PREEMPTED_MS ? took * 3 / 4 : 0;
}

static long
box_round(void *state)
{
	static UsherBoxPlan settle = {
		.sql = "SELECT boxoffice.settle_cancelled($1)", .nargs = 1, .types = {INT4OID}};
	BoxWorker *w = state;
	Datum args[] = {Int32GetDatum(BATCH)};
	int32 settled;
	int expired;
	bool isnull, bad, one_by_one;
	TimestampTz began = GetCurrentTimestamp();
	struct rusage before;

	getrusage(RUSAGE_SELF, &before);
	if (!schema_exists(w->db))
	{
		w->worker.done = true;
		return -1;
	}
	one_by_one = w->alone > 0;
	expired = expire(w);
	settled = DatumGetInt32(run(&settle, args, "cancelling bookings of cancelled shows", &isnull));
	if (expired == (one_by_one ? 1 : BATCH) || settled > 0)
		return pause_after(&before, began);
	bad = w->bad > 0 || settled < 0;
	w->bad = 0;
	look_from_start(w);
	return bad ? BAD_MS : until_next(w->db);
}

/* The argument is the number of our database's entry. */
void
usher_boxoffice_main(Datum arg)
{
	UsherDb *db = &usher_shared->dbs[DatumGetInt32(arg)];
	BoxWorker w = {
		.worker = {.round = box_round, .socket = PGINVALID_SOCKET, .wait_name = "UsherBoxOffice"},
		.db = db};
	uint32 none = USHER_NO_PROC;

	usher_worker_signals(false);
	if (!OidIsValid(db->dboid))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(db->dboid, InvalidOid, 0);
	usher_worker_settings();
	if (!pg_atomic_compare_exchange_u32(&db->box_procno, &none, usher_my_procno()))
		proc_exit(0); /* another one is at it */
	exit_db = db;
	before_shmem_exit(worker_exit, (Datum) 0);
	if (usher_workers_paused()) /* behind the entry in box_procno: one of the two sees the other */
		proc_exit(0);
	w.worker.state = &w;
	look_from_start(&w);
	usher_worker_loop(&w.worker);
	proc_exit(0);
}

/* ---- in the housekeeping worker ---- */

static UsherStarted started;
static bool looked; /* into the rows, after our start, and none were on their way in */
static bool told_no_slot;

/* Whether the log has events.  Bookings without any are those of a dump, of which the rest is still to come. */
static bool
has_events(void)
{
	bool loaded;

	usher_worker_begin("looking for the log");
	loaded = usher_db()->loaded;
	usher_worker_commit();
	return loaded;
}

/* Will something be due?  Later, whoever makes a booking says so in shared memory. */
static bool
is_wanted(UsherDb *db)
{
	static UsherBoxPlan plan = {.sql = "SELECT boxoffice.next_due()"};
	bool isnull = true;

	if (!looked && has_events())
	{
		(void) run(&plan, NULL, "looking for reservations", &isnull);
		looked = true;
		if (!isnull)
			usher_box_deadline_known(db, GetCurrentTimestamp());
	}
	return pg_atomic_read_u64(&db->box_deadline) != PG_UINT64_MAX;
}

long
usher_supervise_boxoffice(UsherDb *db)
{
	TimestampTz now = GetCurrentTimestamp();

	if (usher_started_ended(&started))
	{
		usher_started_back_off(&started);
		looked = false; /* it may have ended with the deadline forgotten */
	}
	if (db->worker_paused_until > now)
		return TimestampDifferenceMilliseconds(now, db->worker_paused_until) + 1;
	if (started.handle || pg_atomic_read_u32(&db->box_procno) != USHER_NO_PROC)
		return -1;
	if (!is_wanted(db))
		return looked ? -1 : EMPTY_MS;
	if (started.not_before > now)
		return TimestampDifferenceMilliseconds(now, started.not_before) + 1;
	if (usher_started_start(&started, "usher_boxoffice_main", "pg_usher box office",
							"pg_usher box office", Int32GetDatum((int32) (db - usher_shared->dbs))))
	{
		told_no_slot = false;
		return -1;
	}
	if (!told_no_slot)
		ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						  errmsg("no worker slot is free for the box office"),
						  errhint("Raise max_worker_processes; reservations do not expire.")));
	told_no_slot = true;
	return NO_SLOT_MS;
}

void
usher_supervise_boxoffice_end(UsherDb *db)
{
	usher_terminate_all(usher_box_worker_terminate, db->dboid);
}
