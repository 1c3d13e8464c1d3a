/*
 * extension/log/dedupe.c
 *	  Is a given event id a repeat of one of the tenant's recent events.
 *
 * A transaction lock on the id's hash makes two appenders of one id meet: the
 * second waits for the first one's end and then finds its event.
 */
#include "log.h"

#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#define EVENT_ID_LOCK_CLASS 0x5554 /* beside the classes of advisory locks */

void
usher_event_id_lock(int32 tenant_id, const pg_uuid_t *id)
{
	uint64 hash = hash_bytes_extended(id->data, UUID_LEN, tenant_id);
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 EVENT_ID_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

static bool
same_text(TupleTableSlot *slot, AttrNumber column, const text *value)
{
	bool isnull;
	Datum stored = slot_getattr(slot, column, &isnull);

	if (isnull || value == NULL)
		return isnull && value == NULL;
	return DatumGetBool(
		DirectFunctionCall2Coll(texteq, C_COLLATION_OID, stored, PointerGetDatum(value)));
}

static Jsonb *
column_jsonb(TupleTableSlot *slot, AttrNumber column)
{
	bool isnull;

	return DatumGetJsonbP(slot_getattr(slot, column, &isnull));
}

static void
original_of(TupleTableSlot *slot, const UsherPending *pending, UsherOriginal *original)
{
	bool isnull;

	original->version = DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull));
	original->position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	original->ordinal = pending ? usher_outbox_ordinal(pending) : 0;
}

/*
 * Whether an event with a given id (locked here) has been appended before, in
 * this transaction or in the dedupe window.  The same id with anything else in
 * it is an error.
 */
bool
usher_event_find_original(const UsherEvent *event, const text *stream, UsherOriginal *original)
{
	UsherPending *pending = usher_outbox_find(event->tenant_id, &event->id);
	TupleTableSlot *slot;
	bool isnull;
	bool same;

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
	original_of(slot, pending, original);
	ExecDropSingleTupleTableSlot(slot);
	if (!same)
		ereport(
			ERROR,
			(errcode(ERRCODE_USHER_EVENT_ID_CONFLICT),
			 errmsg("event id %s belongs to another event",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&event->id)))),
			 errhint(
				 "A repeat must have the same stream (or topic and key), type, data and metadata.")));
	return true;
}

/* The same, of which only the original's version matters (0: published). */
bool
usher_event_is_repeat(const UsherEvent *event, const text *stream, int64 *version)
{
	UsherOriginal original;

	if (!usher_event_find_original(event, stream, &original))
		return false;
	*version = original.version;
	return true;
}
