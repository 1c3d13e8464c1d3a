/*
 * bgworkers/supervisor.c
 *	  Starts the relay workers of one database, and starts them again.
 *
 * Runs in the housekeeping worker.  Each lane of a sink that is not paused,
 * and each replay that is not done, has an entry in shared memory and a
 * worker.  What the tables say is read when their generation has changed;
 * in between only the ends of workers are looked at.  A worker leaves by
 * itself when its sink is paused or dropped, when it is blocked, and when its
 * replay is done.
 */
#include "supervisor.h"

#include "started.h"
#include "worker_loop.h"

#include "log/log.h"
#include "relay/status.h"

#include "executor/spi.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define NO_SLOT_MS 5000

/* What is configured, and what we know of its worker. */
typedef struct Wanted
{
	int32 sink_id, lane;
	int64 replay_id;
	bool paused;
	char name[NAMEDATALEN];
	UsherRelay *entry; /* NULL: all are taken */
	UsherStarted worker;
} Wanted;

static Wanted *wanted;
static int nwanted;
static bool listed;
static uint32 listed_generation;

static Wanted *
find_wanted(Wanted *list, int n, int32 sink_id, int32 lane, int64 replay_id)
{
	for (int i = 0; i < n; i++)
		if (list[i].sink_id == sink_id && list[i].lane == lane && list[i].replay_id == replay_id)
			return &list[i];
	return NULL;
}

static int64
column(int row, int number)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	return value ? strtoll(value, NULL, 10) : 0;
}

/* The lanes and replays that the tables have, with what is known of them already. */
static void
list_wanted(UsherDb *db)
{
	uint32 generation = pg_atomic_read_u32(&db->sinks_generation);
	Wanted *fresh;
	int n;

	usher_worker_begin("looking at the sinks");
	SPI_connect();
	if (SPI_execute("SELECT s.sink_id, l.lane, 0, s.paused, s.name FROM usher.sinks s"
					" JOIN usher.sink_lanes l USING (sink_id)"
					" UNION ALL SELECT s.sink_id, 0, r.replay_id, s.paused, s.name"
					" FROM usher.sinks s JOIN usher.replays r USING (sink_id)"
					" WHERE r.state OPERATOR(pg_catalog.=) 'running' ORDER BY 1, 3, 2",
					true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("the sinks cannot be read")));
	n = (int) SPI_processed;
	fresh = MemoryContextAllocZero(TopMemoryContext, Max(n, 1) * sizeof(Wanted));
	for (int i = 0; i < n; i++)
	{
		int32 sink_id = (int32) column(i, 1), lane = (int32) column(i, 2);
		int64 replay_id = column(i, 3);
		Wanted *known = find_wanted(wanted, nwanted, sink_id, lane, replay_id);

		if (known)
			fresh[i] = *known;
		fresh[i].sink_id = sink_id;
		fresh[i].lane = lane;
		fresh[i].replay_id = replay_id;
		fresh[i].paused = strcmp(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 4),
								 "t") == 0;
		strlcpy(fresh[i].name, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 5),
				NAMEDATALEN);
		if (generation != listed_generation)
		{
			fresh[i].worker.not_before = 0; /* what failed may have been mended */
			fresh[i].worker.failures = 0;
		}
	}
	SPI_finish();
	usher_worker_commit();

	for (int i = 0; i < nwanted; i++)
		if (wanted[i].worker.handle &&
			!find_wanted(fresh, n, wanted[i].sink_id, wanted[i].lane, wanted[i].replay_id))
			pfree(wanted[i].worker.handle);
	if (wanted)
		pfree(wanted);
	wanted = fresh;
	nwanted = n;
	listed = true;
	listed_generation = generation;
}

/* Entries of lanes and replays that are no longer wanted, once their workers have left. */
static bool
free_unwanted(UsherDb *db)
{
	bool left = false;

	for (int i = 0; i < usher_shared->nrelays; i++)
	{
		UsherRelay *entry = &usher_shared->relays[i];

		if (entry->dboid != db->dboid)
			continue;
		if (entry->log_relid == db->log_relid &&
			find_wanted(wanted, nwanted, entry->sink_id, entry->lane, entry->replay_id))
			continue;
		if (pg_atomic_read_u32(&entry->procno) != USHER_NO_PROC)
		{
			left = true;
			continue;
		}
		usher_relay_free(entry);
	}
	return left;
}

static void
tell_state(UsherRelay *entry, UsherRelayState state)
{
	SpinLockAcquire(&entry->mutex);
	entry->status.state = state;
	SpinLockRelease(&entry->mutex);
}

static void
start(Wanted *w)
{
	char name[BGW_MAXLEN];

	if (w->replay_id != 0)
		snprintf(name, sizeof(name), "pg_usher replay " INT64_FORMAT " of %s", w->replay_id,
				 w->name);
	else
		snprintf(name, sizeof(name), "pg_usher relay %s/%d", w->name, w->lane);
	if (usher_started_start(&w->worker, "usher_relay_main", "pg_usher relay", name,
							Int32GetDatum((int32) (w->entry - usher_shared->relays))))
	{
		tell_state(w->entry, RELAY_STARTING);
		return;
	}
	w->worker.not_before = TimestampTzPlusMilliseconds(w->worker.started_at, NO_SLOT_MS);
	if (w->entry->status.state != RELAY_NO_SLOT)
		ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						  errmsg("no worker slot is free for sink \"%s\"", w->name),
						  errhint("Raise max_worker_processes.")));
	tell_state(w->entry, RELAY_NO_SLOT);
}

/* True: it has ended. */
static bool
look_at_end(Wanted *w)
{
	if (!usher_started_ended(&w->worker))
		return false;
	usher_started_back_off(&w->worker);
	return true;
}

static bool
blocked(const UsherDb *db, UsherRelay *entry)
{
	UsherRelayStatus status;

	usher_relay_status(entry, &status);
	return status.state == RELAY_BLOCKED &&
		   pg_atomic_read_u32(&entry->blocked_generation) ==
			   pg_atomic_read_u32(&((UsherDb *) db)->sinks_generation);
}

/* Returns the milliseconds until it is due; -1: it runs, or must not. */
static long
care_for(UsherDb *db, Wanted *w)
{
	TimestampTz now = GetCurrentTimestamp();

	if (w->entry && (w->entry->dboid != db->dboid || w->entry->log_relid != db->log_relid))
		w->entry = NULL; /* of a log that was dropped */
	if (w->entry == NULL)
		w->entry = usher_relay_entry(db->log_relid, w->sink_id, w->lane, w->replay_id, true);
	if (w->entry == NULL)
	{
		ereport(LOG, (errmsg("sink \"%s\" has to wait: all entries for relays are in use", w->name),
					  errhint("Raise usher.max_relays and restart the server.")));
		return NO_SLOT_MS;
	}
	if (w->worker.handle || pg_atomic_read_u32(&w->entry->procno) != USHER_NO_PROC)
		return -1;
	if (w->paused)
	{
		tell_state(w->entry, RELAY_PAUSED);
		return -1;
	}
	if (blocked(db, w->entry))
		return -1;
	if (w->worker.not_before > now)
		return TimestampDifferenceMilliseconds(now, w->worker.not_before) + 1;
	start(w);
	return w->worker.handle ? -1 : NO_SLOT_MS;
}

long
usher_supervise(UsherDb *db)
{
	long next = -1;

	for (int i = 0; i < nwanted; i++)
		if (look_at_end(&wanted[i]) && wanted[i].replay_id != 0)
			listed = false; /* it may be done */
	if (!listed || listed_generation != pg_atomic_read_u32(&db->sinks_generation))
		list_wanted(db);
	if (free_unwanted(db))
		next = 200;
	if (db->worker_paused_until > GetCurrentTimestamp())
		return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), db->worker_paused_until) + 1;
	for (int i = 0; i < nwanted; i++)
	{
		long due = care_for(db, &wanted[i]);

		if (due >= 0)
			next = next < 0 ? due : Min(next, due);
	}
	return next;
}

void
usher_supervise_end(UsherDb *db)
{
	nwanted = 0;
	usher_terminate_all(usher_relays_terminate, db->dboid);
	(void) free_unwanted(db);
}
