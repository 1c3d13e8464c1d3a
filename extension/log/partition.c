/*
 * extension/log/partition.c
 *	  Partitions ahead of need: who needs one asks, the worker makes it.
 *
 * `wanted` in shared memory is the highest position that somebody needs a
 * partition for; the worker keeps usher.partitions_ahead empty ones behind it.
 */
#include "log.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/rel.h"

#define MADE_WAIT_S 15

/* First position behind the last partition. */
static int64
partitions_end(UsherCatalog *cat, int64 next)
{
	return cat->npartitions > 0 ? cat->partitions[cat->npartitions - 1].to
								: (next - 1) / usher_partition_size * usher_partition_size + 1;
}

/* How far the partitions should reach for a position to have enough empty ones behind it. */
static int64
reach_for(int64 position)
{
	return position + (int64) usher_partitions_ahead * usher_partition_size;
}

/* Make the next partition if what is wanted has not enough empty ones behind it; false: it has. */
bool
usher_partition_make(UsherDb *db)
{
	static const char sql[] = "SELECT usher.make_partition($1, $2)";
	Oid types[2] = {INT8OID, INT8OID};
	Datum args[2];
	UsherCatalog *cat = usher_catalog();
	int64 next = usher_position_next(db);
	int64 end = partitions_end(cat, next);
	int64 wanted = (int64) pg_atomic_read_u64(&db->wanted);

	if (wanted == 0 || (cat->npartitions > 0 && end > reach_for(Max(wanted, next))))
		return false;
	args[0] = Int64GetDatum(end);
	args[1] = Int64GetDatum(end + usher_partition_size);
	SPI_connect();
	if (SPI_execute_with_args(sql, 2, types, args, NULL, false, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_USHER_PARTITION_MISSING),
						errmsg("could not make a partition of the log")));
	SPI_finish();
	return true;
}

static void
want(UsherDb *db, int64 upto)
{
	uint64 wanted = pg_atomic_read_u64(&db->wanted);

	while (wanted < (uint64) upto && !pg_atomic_compare_exchange_u64(&db->wanted, &wanted, upto))
		;
	usher_poke_proc(pg_atomic_read_u32(&usher_shared->launcher_procno));
	usher_poke_proc(pg_atomic_read_u32(&db->worker_procno));
}

/* The worker cannot see a log whose CREATE EXTENSION has not committed. */
static bool
log_is_ours_alone(UsherCatalog *cat)
{
	Relation log = table_open(cat->log, AccessShareLock);
	bool ours = log->rd_createSubid != InvalidSubTransactionId;

	table_close(log, AccessShareLock);
	return ours;
}

static bool
reaches(UsherCatalog *cat, int64 position)
{
	return cat->npartitions > 0 && cat->partitions[cat->npartitions - 1].to > position;
}

/* Wait until partitions exist up to and including `upto`. */
static void
wait_until_made(UsherDb *db, int64 upto)
{
	TimestampTz deadline = GetCurrentTimestamp() + MADE_WAIT_S * USECS_PER_SEC;

	ConditionVariablePrepareToSleep(&db->partitions_cv);
	for (;;)
	{
		want(db, upto);
		AcceptInvalidationMessages();
		if (reaches(usher_catalog(), upto))
			break;
		(void) ConditionVariableTimedSleep(&db->partitions_cv, 100, PG_WAIT_EXTENSION);
		if (GetCurrentTimestamp() > deadline)
		{
			ConditionVariableCancelSleep();
			ereport(
				ERROR,
				(errcode(ERRCODE_USHER_PARTITION_MISSING),
				 errmsg("the log has no partition for position %lld", (long long) upto),
				 errhint(
					 "The pg_usher worker of this database makes them: see the server log, and whether max_worker_processes is exhausted.")));
		}
	}
	ConditionVariableCancelSleep();
}

void
usher_partitions_require(UsherDb *db, int64 upto)
{
	UsherCatalog *cat = usher_catalog();

	if (!reaches(cat, upto))
	{
		if (log_is_ours_alone(cat))
		{
			pg_atomic_write_u64(&db->wanted, upto);
			while (!reaches(usher_catalog(), upto) && usher_partition_make(db))
				CommandCounterIncrement();
		}
		else
			wait_until_made(db, upto);
	}
	else if (!reaches(cat, reach_for(upto)) && pg_atomic_read_u64(&db->wanted) < (uint64) upto)
		want(db, upto);
}

/* Make sure of every partition that positions from `from` to `upto` can fall into, and lock it. */
void
usher_partitions_lock(UsherDb *db, int64 from, int64 upto)
{
	usher_partitions_require(db, upto);
	while (from <= upto)
	{
		UsherCatalog *cat = usher_catalog(); /* anew: taking a lock may have changed the list */
		int i = usher_partition_index(cat, from);

		if (i == cat->npartitions)
			break;
		from = cat->partitions[i].to;
		LockRelationOid(cat->partitions[i].relid, RowExclusiveLock);
	}
}

/*
 * At append: have what the flush will need.  Nothing is locked: the flush does
 * that before it takes positions, and a session that stays open for long must
 * not stand in the way of the removal of what is the oldest partition then.
 */
void
usher_partitions_look_ahead(void)
{
	UsherDb *db = usher_db();

	usher_partitions_require(db, usher_position_next(db) + USHER_POSITION_SLACK);
}
