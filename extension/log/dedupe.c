/*
 * extension/log/dedupe.c
 *	  Look up a given event id among the tenant's recent events.
 *
 * A transaction lock on the id's hash makes two appenders of one id meet: the
 * second waits for the first one's end and then finds its event.
 */
#include "log.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define EVENT_ID_LOCK_CLASS 0x5554	/* beside the classes of advisory locks */

void
usher_event_id_lock(int32 tenant_id, const pg_uuid_t *id)
{
	uint64		hash = hash_bytes_extended(id->data, UUID_LEN, tenant_id);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, EVENT_ID_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Time of the first event in a partition; DT_NOEND when it is empty. */
static TimestampTz
first_recorded_at(Relation rel, Oid index_oid)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, SnapshotSelf, 0);
	TimestampTz first = DT_NOEND;
	bool		isnull;

	index_rescan(scan, NULL, 0, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
		first = DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull));
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return first;
}

static TupleTableSlot *
find_in_partition(Relation rel, Oid index_oid, int32 tenant_id, const pg_uuid_t *id)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = usher_index_beginscan(rel, index, SnapshotSelf, 2);
	ScanKeyData keys[2];
	TupleTableSlot *found = NULL;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	index_rescan(scan, keys, 2, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		found = usher_log_slot(&TTSOpsHeapTuple);
		ExecCopySlot(found, slot);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return found;
}

/*
 * The tenant's committed event with this id, recorded not before the given
 * time (as partitions go); newest partition first.
 */
bool
usher_event_id_find(int32 tenant_id, const pg_uuid_t *id, TimestampTz not_before, TupleTableSlot **slot)
{
	UsherCatalog *cat = usher_catalog();

	*slot = NULL;
	for (int i = cat->npartitions - 1; i >= 0 && *slot == NULL; i--)
	{
		Relation	rel;
		bool		old = false;

		/* partitions ahead of the counter are empty */
		if (!RecoveryInProgress() && cat->partitions[i].from > usher_position_next(usher_db()))
			continue;
		rel = usher_partition_open(&cat->partitions[i], AccessShareLock);
		if (rel == NULL)
			break;
		*slot = find_in_partition(rel, cat->partitions[i].indexes[INDEX_ID], tenant_id, id);
		if (*slot == NULL && !TIMESTAMP_IS_NOBEGIN(not_before))
			old = first_recorded_at(rel, cat->partitions[i].indexes[INDEX_POSITION]) < not_before;
		table_close(rel, AccessShareLock);
		if (old)
			break;
		cat = usher_catalog();
	}
	return *slot != NULL;
}

static bool
same_text(TupleTableSlot *slot, AttrNumber column, const text *value)
{
	bool		isnull;
	Datum		stored = slot_getattr(slot, column, &isnull);

	if (isnull || value == NULL)
		return isnull && value == NULL;
	return DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, stored, PointerGetDatum(value)));
}

static Jsonb *
column_jsonb(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;

	return DatumGetJsonbP(slot_getattr(slot, column, &isnull));
}

/*
 * Whether an event with a given id (locked here) has been appended before, in
 * this transaction or in the dedupe window.  True: *version is that of the
 * original (0: published).  The same id with anything else in it is an error.
 */
bool
usher_event_is_repeat(const UsherEvent *event, const text *stream, int64 *version)
{
	UsherPending *pending = usher_outbox_find(event->tenant_id, &event->id);
	TupleTableSlot *slot;
	bool		isnull;
	bool		same;

	if (pending)
	{
		slot = usher_log_slot(&TTSOpsHeapTuple);
		ExecStoreHeapTuple(usher_outbox_tuple(pending), slot, false);
	}
	else
	{
		TimestampTz not_before = GetCurrentTimestamp() - usher_dedupe_window_s * USECS_PER_SEC;

		usher_event_id_lock(event->tenant_id, &event->id);
		if (!usher_event_id_find(event->tenant_id, &event->id, not_before, &slot))
			return false;
		if (DatumGetTimestampTz(slot_getattr(slot, LOG_RECORDED_AT, &isnull)) < not_before)
		{
			ExecDropSingleTupleTableSlot(slot);
			return false;
		}
	}
	same = same_text(slot, LOG_STREAM, stream) && same_text(slot, LOG_TYPE, event->type) &&
		same_text(slot, LOG_TOPIC, event->topic) && same_text(slot, LOG_KEY, event->key) &&
		compareJsonbContainers(&event->data->root, &column_jsonb(slot, LOG_DATA)->root) == 0 &&
		usher_metadata_same(event->metadata, column_jsonb(slot, LOG_METADATA));
	*version = DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull));
	ExecDropSingleTupleTableSlot(slot);
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_EVENT_ID_CONFLICT),
				 errmsg("event id %s belongs to another event",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&event->id)))),
				 errhint("A repeat must have the same stream (or topic and key), type, data and metadata.")));
	return true;
}
