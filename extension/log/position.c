/*
 * extension/log/position.c
 *	  The counter of positions, the slots of committers, the stable position.
 *
 * A committer enters in its slot the first position that it is about to take,
 * moves the counter, writes, commits, and clears the slot once the commit is
 * visible (or aborted).  A reader takes the counter first and looks at the
 * slots after: a position that was given before it looked is either in a slot
 * or decided.  Everything below the smallest of what it saw is therefore
 * stable, and a snapshot taken after that shows all of it.
 *
 * The counter stays below a durable mark that is raised ahead in chunks (as
 * sequences do) and flushed before a position above it is given: after a
 * crash counting goes on above the mark, whatever the readers had passed.
 */
#include "log.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static UsherDb *my_db; /* last result of usher_db */

/* Of another incarnation of this database's log, or of a database that is gone. */
static bool
entry_is_stale(const UsherDb *db)
{
	if (db->dboid == MyDatabaseId)
		return get_rel_name(db->log_relid) == NULL;
	return !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(db->dboid));
}

/* Call with the lock held. */
static UsherDb *
db_find(Oid log)
{
	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == MyDatabaseId && usher_shared->dbs[i].log_relid == log)
			return &usher_shared->dbs[i];
	return NULL;
}

/* Call with the lock held.  Takes a free entry, or one that is stale. */
static UsherDb *
db_entry(Oid log)
{
	UsherDb *known = db_find(log);
	UsherDb *reusable = NULL;

	if (known)
		return known;
	for (int i = 0; i < usher_shared->ndbs; i++)
	{
		UsherDb *db = &usher_shared->dbs[i];

		if (reusable == NULL && (!OidIsValid(db->dboid) || entry_is_stale(db)))
			reusable = db;
	}
	if (reusable == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_TOO_MANY_DATABASES),
						errmsg("more than %d databases have an event log", usher_shared->ndbs),
						errhint("Raise usher.max_databases and restart the server.")));
	if (OidIsValid(reusable->dboid) && reusable->dboid != MyDatabaseId)
		usher_db_forget(reusable);
	reusable->loaded = false;
	pg_atomic_write_u64(&reusable->next, 0);
	pg_atomic_write_u64(&reusable->mark, 0);
	pg_atomic_write_u64(&reusable->wanted, 0);
	reusable->last_recorded_at = 0;
	pg_atomic_write_u64(&reusable->commit_lsn, 0);
	for (int i = 0; i < USHER_COUNTERS; i++)
		pg_atomic_write_u64(&reusable->counters[i], 0);
	reusable->worker_paused_until = 0;
	pg_atomic_write_u64(&reusable->box_deadline, PG_UINT64_MAX);
	pg_atomic_write_u64(&reusable->lease_mark, 0);
	pg_atomic_write_u32(&reusable->cursor_rows, 0);
	reusable->log_relid = log;
	reusable->dboid = MyDatabaseId;
	return reusable;
}

/*
 * What is read and written with `lock` held, opened before: who waited for a
 * relation with it would stop every database, and no deadlock check sees it.
 */
typedef struct Marks
{
	Relation position;
	Relation timeline;
	bool any; /* positions had been given before */
	TimestampTz newest; /* and the last event's time */
} Marks;

static void
marks_open(Marks *marks)
{
	UsherCatalog *cat = usher_catalog();
	Oid timeline = cat->timeline_mark;

	marks->position = relation_open(cat->position_mark, RowExclusiveLock);
	marks->timeline = relation_open(timeline, RowExclusiveLock);
	marks->any = usher_mark_get(marks->position) != 0;
	marks->newest = 0;
}

static void
marks_close(Marks *marks)
{
	relation_close(marks->timeline, RowExclusiveLock);
	relation_close(marks->position, RowExclusiveLock);
}

/* First use since the server started: go on above the mark, with a gap on a new timeline. */
static void
db_load(UsherDb *db, const Marks *marks)
{
	int64 mark = usher_mark_get(marks->position);
	int64 timeline = usher_mark_get(marks->timeline);
	int64 current = GetWALInsertionTimeLine();

	if (timeline != current)
	{
		/* The mark first: with the timeline alone durable a crash would lose the gap. */
		if (timeline != 0)
			usher_mark_set(marks->position, mark += usher_failover_gap, true);
		usher_mark_set(marks->timeline, current, true);
	}
	pg_atomic_write_u64(&db->mark, mark);
	pg_atomic_write_u64(&db->next, mark + 1);
	if (!marks->any)
		return; /* nothing given yet, or a dump is being restored: look again next time */
	db->last_recorded_at = marks->newest;
	pg_write_barrier();
	db->loaded = true;
}

UsherDb *
usher_db(void)
{
	UsherCatalog *cat = usher_catalog();
	Marks marks;
	bool primary;

	if (likely(my_db != NULL && my_db->log_relid == cat->log && my_db->dboid == MyDatabaseId &&
			   my_db->loaded))
		return my_db;

	LWLockAcquire(usher_shared->lock, LW_SHARED);
	my_db = db_find(cat->log);
	LWLockRelease(usher_shared->lock);
	if (my_db != NULL && my_db->loaded)
		return my_db;

	primary = !RecoveryInProgress();
	if (primary)
	{
		marks_open(&marks);
		if (marks.any)
			marks.newest = usher_newest_recorded_at();
	}
	LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
	my_db = db_entry(cat->log);
	if (!my_db->loaded && primary)
		db_load(my_db, &marks);
	LWLockRelease(usher_shared->lock);
	if (primary)
		marks_close(&marks);
	return my_db;
}

int64
usher_position_next(UsherDb *db)
{
	return (int64) pg_atomic_read_u64(&db->next);
}

/* Make `n` further positions durable, so that taking them will not have to wait for a flush. */
void
usher_positions_reserve(UsherDb *db, int64 n)
{
	int64 mark;
	Marks marks;

	if ((int64) (pg_atomic_read_u64(&db->next) + n - 1) <= (int64) pg_atomic_read_u64(&db->mark))
		return;
	marks_open(&marks);
	LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
	if (!db->loaded)
		db_load(db, &marks);
	mark = (int64) pg_atomic_read_u64(&db->next) + n - 1;
	if (mark > (int64) pg_atomic_read_u64(&db->mark))
	{
		mark += usher_position_chunk;
		usher_mark_set(marks.position, mark, true);
		pg_atomic_write_u64(&db->mark, mark);
		db->loaded = true;
	}
	LWLockRelease(usher_shared->lock);
	marks_close(&marks);
}

/*
 * Take n positions; returns the first, and the time that they were recorded.
 * From here to usher_positions_release() the stable position stands still.
 */
int64
usher_positions_take(UsherDb *db, int64 n, TimestampTz *recorded_at)
{
	UsherSlot *slot = usher_my_slot();

	Ensure(pg_atomic_read_u64(&slot->first) == 0, "positions taken twice");
	for (;;)
	{
		TimestampTz now;
		uint64 first;

		usher_positions_reserve(db, n);
		SpinLockAcquire(&db->mutex);
		first = pg_atomic_read_u64(&db->next);
		if (first + n - 1 > pg_atomic_read_u64(&db->mark))
		{
			SpinLockRelease(&db->mutex);
			continue; /* others were faster: reserve again */
		}
		slot->db = db;
		pg_atomic_write_u64(&slot->first, first);
		pg_write_barrier();
		pg_atomic_write_u64(&db->next, first + n);
		now = GetCurrentTimestamp();
		if (now < db->last_recorded_at)
			now = db->last_recorded_at;
		db->last_recorded_at = now;
		SpinLockRelease(&db->mutex);
		*recorded_at = now;
		return (int64) first;
	}
}

/*
 * The commit is visible, or the transaction aborted.  Cannot fail.  The end of
 * its commit record is noted before its positions can become stable.
 */
void
usher_positions_release(void)
{
	UsherSlot *slot = usher_my_slot();
	uint64 lsn = XactLastCommitEnd;
	uint64 known = pg_atomic_read_u64(&slot->db->commit_lsn);

	while (known < lsn && !pg_atomic_compare_exchange_u64(&slot->db->commit_lsn, &known, lsn))
		;
	pg_atomic_write_u64(&slot->first, 0);
	pg_memory_barrier();
}

int64
usher_stable_position_of(UsherDb *db)
{
	uint64 stable = pg_atomic_read_u64(&db->next);

	pg_memory_barrier();
	for (int i = 0; i < usher_shared->nslots; i++)
	{
		UsherSlot *slot = &usher_shared->slots[i];
		uint64 first = pg_atomic_read_u64(&slot->first);

		if (first != 0 && first < stable && slot->db == db)
			stable = first;
	}
	pg_read_barrier();
	return (int64) stable - 1;
}

/*
 * The stable position; take a snapshot after it.  With `lsn`, also a point in
 * the WAL behind every commit up to it: flush to there before anything of it
 * leaves the server.  What was committed before this server started is flushed.
 */
int64
usher_stable(XLogRecPtr *lsn)
{
	int64 stable;

	if (RecoveryInProgress())
	{
		if (lsn)
			*lsn = InvalidXLogRecPtr;
		return usher_mark_read(usher_catalog()->stable_mark);
	}
	stable = usher_stable_position_of(usher_db());
	if (lsn)
		*lsn = pg_atomic_read_u64(&usher_db()->commit_lsn);
	return stable;
}
