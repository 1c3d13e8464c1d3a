/*
 * extension/idempotency/keys.c
 *	  Rows of usher.idempotency_keys: lock a key, find it, write it.
 *
 * A row lies in the table of the day on which it expires.  The rows of a key
 * that are alive have one expiry, so they lie in one table, and the newest one
 * says how things stand.  Nothing is unique in the tables: the advisory lock
 * on the key's hash, held to the end of the transaction, lets one transaction
 * at a time look for a key and write it.  Rows are read with SnapshotSelf:
 * what is committed now, whatever the isolation level, and our own.
 */
#include "idempotency/once.h"

#include "log/log.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#define ONCE_LOCK_CLASS 0x5555 /* beside the classes of advisory locks */
#define RUN_MAX         64 /* rows inserted together */

/* Columns of usher.idempotency_keys. */
enum
{
	KEY_TENANT_ID = 1,
	KEY_SLOT,
	KEY_DONE,
	KEY_HASH,
	KEY_CREATED_AT,
	KEY_EXPIRES_AT,
	KEY_NAME,
	KEY_FINGERPRINT,
	KEY_RESPONSE,
	KEY_NATTS = KEY_RESPONSE
};

/* Oids of the ring's tables, as of a generation of the catalog. */
static struct
{
	uint64 generation;
	Oid tables[USHER_KEY_SLOTS];
	Oid indexes[USHER_KEY_SLOTS];
} ring;

static Oid
ring_relation(Oid nsp, const char *format, int slot)
{
	char *name = psprintf(format, slot);
	Oid relid = get_relname_relid(name, nsp);

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s.%s\" does not exist", USHER_SCHEMA, name),
						errhint("ALTER EXTENSION pg_usher UPDATE after an upgrade.")));
	pfree(name);
	return relid;
}

static void
ring_fill(void)
{
	uint64 generation = usher_catalog()->generation;
	Oid nsp;

	if (likely(ring.generation == generation))
		return;
	nsp = get_namespace_oid(USHER_SCHEMA, false);
	for (int slot = 0; slot < USHER_KEY_SLOTS; slot++)
	{
		ring.tables[slot] = ring_relation(nsp, "idempotency_keys_%d", slot);
		ring.indexes[slot] = ring_relation(nsp, "idempotency_keys_%d_key", slot);
	}
	ring.generation = generation;
}

static int64
day_of(TimestampTz time)
{
	return time / USECS_PER_DAY + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);
}

UsherOnceKey
usher_once_key(int32 tenant_id, text *name)
{
	UsherOnceKey key = {tenant_id, name};

	usher_check_name(name, "idempotency key");
	key.hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name),
								   tenant_id);
	return key;
}

/* Until the end of the (sub)transaction; false only without `wait`: somebody else has it. */
bool
usher_key_lock(const UsherOnceKey *key, bool wait)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key->hash >> 32), (uint32) key->hash,
						 ONCE_LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
usher_keys_open(UsherKeys *keys)
{
	memset(keys, 0, sizeof(*keys));
	keys->now = GetCurrentTimestamp();
	ring_fill();
}

static void
table_look(UsherKeyTable *table, int slot)
{
	table->looked = true;
	table->rel = table_open(ring.tables[slot], AccessShareLock);
	if (RelationGetNumberOfBlocks(table->rel) == 0)
	{
		table_close(table->rel, AccessShareLock);
		table->rel = NULL;
		return;
	}
	Ensure(RelationGetNumberOfAttributes(table->rel) == KEY_NATTS,
		   "a table of idempotency keys has other columns than this library knows");
	table->index = index_open(ring.indexes[slot], AccessShareLock);
	table->slot = table_slot_create(table->rel, NULL);
	table->scan = usher_index_beginscan(table->rel, table->index, SnapshotSelf, 2);
}

void
usher_keys_close(UsherKeys *keys)
{
	for (int slot = 0; slot < USHER_KEY_SLOTS; slot++)
	{
		UsherKeyTable *table = &keys->tables[slot];

		if (table->rel == NULL)
			continue;
		index_endscan(table->scan);
		ExecDropSingleTupleTableSlot(table->slot);
		index_close(table->index, AccessShareLock);
		table_close(table->rel, AccessShareLock);
	}
}

static bool
same_name(TupleTableSlot *slot, const text *name)
{
	bool isnull;
	text *stored = DatumGetTextPP(slot_getattr(slot, KEY_NAME, &isnull));

	return VARSIZE_ANY_EXHDR(stored) == VARSIZE_ANY_EXHDR(name) &&
		   memcmp(VARDATA_ANY(stored), VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0;
}

static void
read_row(TupleTableSlot *slot, const UsherOnceKey *key, UsherKeyRow *row)
{
	bool isnull;
	Datum value;

	row->key = *key;
	row->created_at = DatumGetTimestampTz(slot_getattr(slot, KEY_CREATED_AT, &isnull));
	row->expires_at = DatumGetTimestampTz(slot_getattr(slot, KEY_EXPIRES_AT, &isnull));
	row->done = DatumGetBool(slot_getattr(slot, KEY_DONE, &isnull));
	row->fingerprint = DatumGetByteaPCopy(slot_getattr(slot, KEY_FINGERPRINT, &isnull));
	value = slot_getattr(slot, KEY_RESPONSE, &isnull);
	row->response = isnull ? NULL : DatumGetJsonbPCopy(value);
}

/* The newest row of the key in one table, if it is alive; copied into the current memory context. */
static bool
find_in_table(UsherKeyTable *table, TimestampTz as_of, const UsherOnceKey *key, UsherKeyRow *row)
{
	ScanKeyData scan_keys[2];
	bool isnull, alive = false;

	ScanKeyInit(&scan_keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(key->tenant_id));
	ScanKeyInit(&scan_keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key->hash));
	index_rescan(table->scan, scan_keys, 2, NULL, 0);
	while (index_getnext_slot(table->scan, BackwardScanDirection, table->slot))
	{
		if (!same_name(table->slot, key->name))
			continue;
		alive = DatumGetTimestampTz(slot_getattr(table->slot, KEY_EXPIRES_AT, &isnull)) > as_of;
		if (alive)
			read_row(table->slot, key, row);
		break;
	}
	ExecClearTuple(table->slot);
	return alive;
}

/* The newest row of a key (locked by us) that is alive at a time; tomorrow's table first: a ttl of a day is usual. */
bool
usher_key_find(UsherKeys *keys, const UsherOnceKey *key, TimestampTz as_of, UsherKeyRow *row)
{
	static const int order[USHER_KEY_DAYS] = {1, 0, 2, 3, 4, 5, 6, 7};
	int64 today = day_of(as_of);

	for (int i = 0; i < USHER_KEY_DAYS; i++)
	{
		int slot = (int) ((today + order[i]) % USHER_KEY_SLOTS);
		UsherKeyTable *table = &keys->tables[slot];

		if (!table->looked)
			table_look(table, slot);
		if (table->rel != NULL && find_in_table(table, as_of, key, row))
			return true;
	}
	return false;
}

/* ---- writing ---- */

static HeapTuple
form_row(TupleDesc desc, const UsherKeyRow *row, int slot)
{
	Datum values[KEY_NATTS];
	bool nulls[KEY_NATTS] = {0};

	values[KEY_TENANT_ID - 1] = Int32GetDatum(row->key.tenant_id);
	values[KEY_SLOT - 1] = Int16GetDatum(slot);
	values[KEY_DONE - 1] = BoolGetDatum(row->done);
	values[KEY_HASH - 1] = Int64GetDatum(row->key.hash);
	values[KEY_CREATED_AT - 1] = TimestampTzGetDatum(row->created_at);
	values[KEY_EXPIRES_AT - 1] = TimestampTzGetDatum(row->expires_at);
	values[KEY_NAME - 1] = PointerGetDatum(row->key.name);
	values[KEY_FINGERPRINT - 1] = PointerGetDatum(row->fingerprint);
	values[KEY_RESPONSE - 1] = PointerGetDatum(row->response);
	nulls[KEY_RESPONSE - 1] = row->response == NULL;
	return heap_form_tuple(desc, values, nulls);
}

static void
insert_run(Relation rel, CatalogIndexState indexes, HeapTuple *tuples, TupleTableSlot **slots,
		   int n)
{
	if (n == 1)
		CatalogTupleInsertWithInfo(rel, tuples[0], indexes);
	else if (n > 1)
	{
		for (int i = 0; i < n; i++)
		{
			if (slots[i] == NULL)
				slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
			ExecStoreHeapTuple(tuples[i], slots[i], false);
		}
		CatalogTuplesMultiInsertWithInfo(rel, slots, n, indexes);
	}
	for (int i = 0; i < n; i++)
		heap_freetuple(tuples[i]);
}

static void
insert_into(int slot, UsherKeyRow *const *rows, int n)
{
	Relation rel = table_open(ring.tables[slot], RowExclusiveLock);
	CatalogIndexState indexes = CatalogOpenIndexes(rel);
	HeapTuple tuples[RUN_MAX];
	TupleTableSlot *slots[RUN_MAX] = {0};
	int filled = 0;

	for (int i = 0; i < n; i++)
	{
		if (day_of(rows[i]->expires_at) % USHER_KEY_SLOTS != slot)
			continue;
		tuples[filled++] = form_row(RelationGetDescr(rel), rows[i], slot);
		if (filled == RUN_MAX)
		{
			insert_run(rel, indexes, tuples, slots, filled);
			filled = 0;
		}
	}
	insert_run(rel, indexes, tuples, slots, filled);
	for (int i = 0; i < RUN_MAX && slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	CatalogCloseIndexes(indexes);
	table_close(rel, NoLock);
}

void
usher_key_rows_insert(UsherKeyRow *const *rows, int n)
{
	uint32 slots = 0;

	ring_fill();
	for (int i = 0; i < n; i++)
		slots |= 1U << (day_of(rows[i]->expires_at) % USHER_KEY_SLOTS);
	for (int slot = 0; slot < USHER_KEY_SLOTS; slot++)
		if (slots & (1U << slot))
			insert_into(slot, rows, n);
}
