/*
 * extension/subscription/parked.c
 *	  Keys of which an event failed: which they are, and what is delivered of
 *	  them.
 *
 * A row of usher.parked_keys says: from `position` on the events of this key
 * come apart from the others of its partition; `failed` is the one that
 * failed.  What lies before it was delivered under the lease under which it
 * failed, and is delivered again if that is never acknowledged.  Then the
 * failed event is tried alone, when its time has come.  Without a failed one
 * the key catches up: when everything up to the partition's cursor is
 * acknowledged, the row goes.
 *
 * lease, lease_upto: what of the key is out under a lease.  Only the holder of
 * a partition's lock writes about its keys, and keeps it to the end of the
 * transaction.  A row whose lease is lost needs no clearing: the partition
 * came free, and it is delivered again.
 */
#include "subscription/subscription.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define KEY_MAX       (2 * USHER_NAME_MAX + 4)
#define KEY_SEPARATOR "\037" /* no name has control characters */

typedef struct ParkedId
{
	int32 partition;
	char key[KEY_MAX];
} ParkedId;

typedef struct ParkedEntry
{
	ParkedId id;
	int64 position;
} ParkedEntry;

/* No row was ever parked, or vacuum has taken the last one away. */
static bool
none_parked(void)
{
	Relation rel = table_open(
		get_relname_relid("parked_keys", get_namespace_oid(USHER_SCHEMA, false)), AccessShareLock);
	bool empty = RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, AccessShareLock);
	return empty;
}

/* ---- which keys are parked ---- */

static char *
column_or_empty(TupleTableSlot *slot, int column)
{
	bool isnull;
	Datum value = slot_getattr(slot, column, &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(value);
}

/* What an event is ordered by: its stream, or the topic and the key it was published with. */
char *
usher_parked_key(TupleTableSlot *slot)
{
	if (!slot_attisnull(slot, LOG_STREAM))
		return psprintf("s:%s", column_or_empty(slot, LOG_STREAM));
	return psprintf("k:%s" KEY_SEPARATOR "%s", column_or_empty(slot, LOG_TOPIC),
					column_or_empty(slot, LOG_KEY));
}

/* A dead letter that is tried again, apart from its key? */
bool
usher_parked_is_single(const char *key)
{
	return strncmp(key, "d:", 2) == 0;
}

static void
id_fill(ParkedId *id, int partition, const char *key)
{
	memset(id, 0, sizeof(*id));
	id->partition = partition;
	strlcpy(id->key, key, sizeof(id->key));
}

/* Columns of the query below. */
enum
{
	PARKED_PARTITION = 1,
	PARKED_KEY,
	PARKED_POSITION,
	PARKED_FAILED,
	PARKED_VERSION,
	PARKED_ATTEMPTS,
	PARKED_NEXT_AT,
	PARKED_HELD
};

/* Up to where the key can be delivered now; position - 1: it has caught up; 0: not at all. */
static int64
through(const UsherParked *row, int64 cursor, bool due)
{
	if (usher_parked_is_single(row->key))
		return due ? row->position : 0;
	/* what precedes it in the partition is not acknowledged yet, and comes first */
	if (row->position > cursor + 1)
		return 0;
	if (row->failed == 0)
		return cursor;
	if (due)
		return row->failed;
	return row->failed > row->position ? row->failed - 1 : 0;
}

static void
load_row(UsherParkedKeys *parked, const int64 *cursors, int i)
{
	bool isnull, held;
	TimestampTz next_at;
	UsherParked row;
	ParkedEntry *entry;
	ParkedId id;

	row.partition = DatumGetInt32(usher_owner_column(i, PARKED_PARTITION, &isnull));
	row.key = TextDatumGetCString(usher_owner_column(i, PARKED_KEY, &isnull));
	row.position = DatumGetInt64(usher_owner_column(i, PARKED_POSITION, &isnull));
	row.failed = DatumGetInt64(usher_owner_column(i, PARKED_FAILED, &isnull));
	row.version = DatumGetInt64(usher_owner_column(i, PARKED_VERSION, &isnull));
	row.attempts = DatumGetInt32(usher_owner_column(i, PARKED_ATTEMPTS, &isnull));
	next_at = DatumGetTimestampTz(usher_owner_column(i, PARKED_NEXT_AT, &isnull));
	held = DatumGetBool(usher_owner_column(i, PARKED_HELD, &isnull));
	if (!usher_parked_is_single(row.key))
	{
		id_fill(&id, row.partition, row.key);
		entry = hash_search(parked->keys, &id, HASH_ENTER, NULL);
		entry->position = row.position;
		parked->counts[row.partition]++;
		parked->tops[row.partition] = Max(parked->tops[row.partition],
										  Max(row.position, row.failed));
	}
	if (!held && next_at > GetCurrentTimestamp() &&
		(parked->next_at == 0 || next_at < parked->next_at))
		parked->next_at = next_at;
	row.through = through(&row, cursors[row.partition], !held && next_at <= GetCurrentTimestamp());
	if (row.through != 0 && parked->n < USHER_PARKED_DUE_MAX)
		parked->due[parked->n++] = row;
}

/* The parked keys of n partitions whose locks we hold, by the time they are due.  cursors: by partition. */
void
usher_parked_load(const UsherSubscription *subscription, int n, const int *partitions,
				  const int64 *cursors, UsherParkedKeys *parked)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4ARRAYOID};
	Datum *elements = palloc(n * sizeof(Datum));
	Datum values[2] = {Int32GetDatum(subscription->id)};
	HASHCTL ctl = {.keysize = sizeof(ParkedId), .entrysize = sizeof(ParkedEntry)};
	MemoryContext context = CurrentMemoryContext;
	UsherOwner owner;

	memset(parked, 0, sizeof(*parked));
	if (none_parked())
		return;
	parked->due = palloc(USHER_PARKED_DUE_MAX * sizeof(UsherParked));
	parked->counts = palloc0(subscription->partitions * sizeof(int));
	parked->tops = palloc0(subscription->partitions * sizeof(int64));
	ctl.hcxt = context;
	parked->keys = hash_create("parked keys", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum(partitions[i]);
	values[1] = PointerGetDatum(
		construct_array(elements, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	usher_owner_begin(&owner);
	usher_owner_run(&plan,
					"SELECT p.partition, p.key, p.position, coalesce(p.failed, 0), p.version,"
					" p.attempts, p.next_at, p.held"
					" FROM usher.parked_keys p WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
					" AND p.partition OPERATOR(pg_catalog.=) ANY ($2) ORDER BY p.next_at",
					2, types, values, NULL);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		load_row(parked, cursors, (int) i);
	usher_owner_end(&owner);
}

/* Is this event to be left out? */
bool
usher_parked_has(const UsherParkedKeys *parked, int partition, const char *key, int64 position)
{
	ParkedEntry *entry;
	ParkedId id;

	id_fill(&id, partition, key);
	entry = hash_search(parked->keys, &id, HASH_FIND, NULL);
	return entry != NULL && position >= entry->position;
}

/* It has caught up: its new events come with the others. */
void
usher_parked_let_go(const UsherParkedKeys *parked, const UsherParked *key)
{
	ParkedId id;

	id_fill(&id, key->partition, key->key);
	(void) hash_search(parked->keys, &id, HASH_REMOVE, NULL);
}

/* ---- what is delivered of them, and acknowledged ---- */

/* version: of the last event that is delivered, 0: none; done: then nothing is left of the key up to the cursor. */
void
usher_parked_lease(const UsherSubscription *subscription, const UsherParked *parked, int64 lease,
				   int64 upto, int64 version, bool done)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID, INT8OID, INT8OID, INT8OID, BOOLOID};
	Datum values[] = {
		Int32GetDatum(subscription->id),
		Int32GetDatum(parked->partition),
		CStringGetTextDatum(parked->key),
		Int64GetDatum(lease),
		Int64GetDatum(upto),
		Int64GetDatum(version),
		BoolGetDatum(done),
	};
	UsherOwner owner;

	usher_owner_begin(&owner);
	usher_owner_run(&plan,
					"UPDATE usher.parked_keys p SET lease = $4, lease_upto = $5,"
					" lease_version = greatest(p.version, $6), lease_done = $7"
					" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
					" AND p.partition OPERATOR(pg_catalog.=) $2"
					" AND p.key OPERATOR(pg_catalog.=) $3",
					lengthof(types), types, values, NULL);
	usher_owner_end(&owner);
}

#define OF_THE_LEASE \
	" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1 AND p.lease OPERATOR(pg_catalog.=) $2"

/* What failed and is done now is a dead letter no more; of a replay it is counted. */
static void
ack_dead_letters(Datum *values, Oid *types)
{
	static SPIPlanPtr plan;

	usher_owner_run(
		&plan,
		"WITH gone AS (DELETE FROM usher.dead_letters d USING usher.parked_keys p" OF_THE_LEASE
		" AND p.failed OPERATOR(pg_catalog.<=) least(p.lease_upto, $3)"
		" AND d.subscription_id OPERATOR(pg_catalog.=) $1"
		" AND d.position OPERATOR(pg_catalog.=) p.failed RETURNING d.replay_id)"
		" SELECT usher.count_replayed(g.replay_id, pg_catalog.count(*)) FROM gone g"
		" WHERE g.replay_id IS NOT NULL GROUP BY g.replay_id",
		3, types, values, NULL);
}

static void
ack_rows(Datum *values, Oid *types)
{
	static SPIPlanPtr done, rest, part;

	usher_owner_run(&done,
					"DELETE FROM usher.parked_keys p" OF_THE_LEASE
					" AND p.lease_upto OPERATOR(pg_catalog.<=) $3 AND p.lease_done",
					3, types, values, NULL);
	usher_owner_run(
		&rest,
		"UPDATE usher.parked_keys p SET"
		" position = greatest(p.position, p.lease_upto OPERATOR(pg_catalog.+) 1),"
		" version = greatest(p.version, p.lease_version),"
		" failed = CASE WHEN p.failed OPERATOR(pg_catalog.>) p.lease_upto THEN p.failed END,"
		" attempts = CASE WHEN p.failed OPERATOR(pg_catalog.>) p.lease_upto THEN p.attempts ELSE 0 END,"
		" next_at = CASE WHEN p.failed OPERATOR(pg_catalog.>) p.lease_upto THEN p.next_at"
		"           ELSE pg_catalog.now() END,"
		" lease = NULL, lease_upto = NULL, lease_version = NULL, lease_done = NULL" OF_THE_LEASE
		" AND p.lease_upto OPERATOR(pg_catalog.<=) $3",
		3, types, values, NULL);
	if (DatumGetInt64(values[2]) == PG_INT64_MAX)
		return;
	usher_owner_run(
		&part,
		"UPDATE usher.parked_keys p SET position = $3 OPERATOR(pg_catalog.+) 1,"
		" failed = CASE WHEN p.failed OPERATOR(pg_catalog.>) $3 THEN p.failed END,"
		" attempts = CASE WHEN p.failed OPERATOR(pg_catalog.>) $3 THEN p.attempts ELSE 0 END" OF_THE_LEASE
		" AND p.position OPERATOR(pg_catalog.<=) $3 AND p.lease_upto OPERATOR(pg_catalog.>) $3",
		3, types, values, NULL);
}

/* What the lease has of parked keys, up to a position (PG_INT64_MAX: all of it). */
void
usher_parked_ack(const UsherSubscription *subscription, int64 lease, int64 upto)
{
	Oid types[] = {INT4OID, INT8OID, INT8OID};
	Datum values[] = {Int32GetDatum(subscription->id), Int64GetDatum(lease), Int64GetDatum(upto)};
	UsherOwner owner;

	usher_owner_begin(&owner);
	ack_dead_letters(values, types);
	ack_rows(values, types);
	usher_owner_end(&owner);
}
