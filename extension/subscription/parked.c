/*
 * extension/subscription/parked.c
 *	  Keys of which an event failed, and dead letters.
 *
 * A parked key's events are left out of what its partition delivers, and
 * delivered apart: first the one that failed, when its time has come; then,
 * once that is done, what has come since, until the key has caught up.  Few
 * keys fail, so this is ordinary SQL; it runs as the owner of the tables.
 */
#include "subscription/subscription.h"

#include "lib/backoff.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define DUE_MAX 100 /* tried in one poll */
#define KEY_MAX (USHER_NAME_MAX + 3)

typedef struct ParkedEntry
{
	struct
	{
		int32 partition;
		char key[KEY_MAX];
	} id;
	int64 position;
} ParkedEntry;

typedef struct AsOwner
{
	Oid user;
	int sec_context;
} AsOwner;

/* ---- SQL as the owner of the tables: policies and privileges of the caller do not matter ---- */

static void
as_owner_begin(AsOwner *saved)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(usher_catalog()->log));
	Oid owner;

	Ensure(HeapTupleIsValid(tuple), "the log is missing");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
}

/* After an error the transaction's abort restores the user. */
static void
as_owner_end(const AsOwner *saved)
{
	SPI_finish();
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

static void
run(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, nargs, types);
		Ensure(*plan != NULL, "a statement of the subscriptions cannot be prepared");
		SPI_keepplan(*plan);
	}
	if (SPI_execute_snapshot(*plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, false,
							 true, 0) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("a statement of the subscriptions failed")));
}

static Datum
column(int row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

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
named_key(char kind, const text *name)
{
	return psprintf("%c:%.*s", kind, (int) VARSIZE_ANY_EXHDR(name), VARDATA_ANY(name));
}

/* What an event is ordered by: its stream, or the key it was published with. */
char *
usher_parked_key(TupleTableSlot *slot)
{
	bool isnull;
	Datum value = slot_getattr(slot, LOG_STREAM, &isnull);

	if (!isnull)
		return named_key('s', DatumGetTextPP(value));
	value = slot_getattr(slot, LOG_KEY, &isnull);
	return isnull ? pstrdup("k:") : named_key('k', DatumGetTextPP(value));
}

static void
load_row(UsherParkedKeys *parked, int row)
{
	bool isnull, held;
	ParkedEntry *entry;
	struct
	{
		int32 partition;
		char key[KEY_MAX];
	} id;
	UsherParked *due = &parked->due[parked->n];
	TimestampTz next_at = DatumGetTimestampTz(column(row, 5, &isnull));
	bool leased;

	memset(&id, 0, sizeof(id));
	id.partition = DatumGetInt32(column(row, 1, &isnull));
	strlcpy(id.key, TextDatumGetCString(column(row, 2, &isnull)), sizeof(id.key));
	held = DatumGetBool(column(row, 6, &isnull));
	leased = DatumGetBool(column(row, 7, &isnull));
	entry = hash_search(parked->keys, &id, HASH_ENTER, NULL);
	entry->position = DatumGetInt64(column(row, 3, &isnull));
	parked->counts[id.partition]++;
	if (held || leased)
		return;
	if (next_at > GetCurrentTimestamp())
	{
		if (parked->next_at == 0 || next_at < parked->next_at)
			parked->next_at = next_at;
		return;
	}
	if (parked->n >= DUE_MAX)
		return;
	due->partition = id.partition;
	due->key = pstrdup(id.key);
	due->position = entry->position;
	due->attempts = DatumGetInt32(column(row, 4, &isnull));
	parked->n++;
}

/*
 * All parked keys of a subscription, by the time they are due.  A row whose
 * lease is not held by anybody any more was delivered to somebody who is gone:
 * it is due again.
 */
void
usher_parked_load(const UsherSubscription *subscription, UsherParkedKeys *parked)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(subscription->id)};
	HASHCTL ctl = {.keysize = sizeof(((ParkedEntry *) 0)->id), .entrysize = sizeof(ParkedEntry)};
	MemoryContext context = CurrentMemoryContext;
	AsOwner owner;

	memset(parked, 0, sizeof(*parked));
	if (none_parked())
		return;
	parked->due = palloc(DUE_MAX * sizeof(UsherParked));
	parked->counts = palloc0(subscription->partitions * sizeof(int));
	ctl.hcxt = context;
	parked->keys = hash_create("parked keys", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	as_owner_begin(&owner);
	run(&plan,
		"SELECT p.partition, p.key, p.position, p.attempts, p.next_at, p.held,"
		" coalesce(usher.lease_held(p.subscription_id, p.lease, p.partition), false)"
		" FROM usher.parked_keys p WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
		" ORDER BY p.next_at",
		1, types, values, NULL);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		load_row(parked, (int) i);
	as_owner_end(&owner);
}

/* Is this event to be left out? */
bool
usher_parked_has(const UsherParkedKeys *parked, int partition, const char *key, int64 position)
{
	ParkedEntry *entry;
	struct
	{
		int32 partition;
		char key[KEY_MAX];
	} id;

	memset(&id, 0, sizeof(id));
	id.partition = partition;
	strlcpy(id.key, key, sizeof(id.key));
	entry = hash_search(parked->keys, &id, HASH_FIND, NULL);
	return entry != NULL && position >= entry->position;
}

/* ---- what is delivered of them, and what becomes of it ---- */

void
usher_parked_lease(const UsherSubscription *subscription, const UsherParked *parked, int64 lease,
				   int64 upto, bool done)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID, INT8OID, INT8OID, BOOLOID};
	Datum values[] = {
		Int32GetDatum(subscription->id),
		Int32GetDatum(parked->partition),
		CStringGetTextDatum(parked->key),
		Int64GetDatum(lease),
		Int64GetDatum(upto),
		BoolGetDatum(done),
	};
	AsOwner owner;

	as_owner_begin(&owner);
	run(&plan,
		"UPDATE usher.parked_keys p SET lease = $4, lease_upto = $5, lease_done = $6"
		" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
		" AND p.partition OPERATOR(pg_catalog.=) $2 AND p.key OPERATOR(pg_catalog.=) $3",
		lengthof(types), types, values, NULL);
	as_owner_end(&owner);
}

/* A dead letter that was tried again and is done leaves with its row; other keys go on behind what is done. */
static void
ack_rows(Datum *values)
{
	static SPIPlanPtr dead, done, rest;
	Oid types[] = {INT4OID, INT8OID, INT8OID};

	run(&dead,
		"DELETE FROM usher.dead_letters d USING usher.parked_keys p"
		" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1 AND p.lease OPERATOR(pg_catalog.=) $2"
		" AND p.lease_upto OPERATOR(pg_catalog.<=) $3"
		" AND d.subscription_id OPERATOR(pg_catalog.=) $1"
		" AND d.position OPERATOR(pg_catalog.=) p.position",
		3, types, values, NULL);
	run(&done,
		"DELETE FROM usher.parked_keys p"
		" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1 AND p.lease OPERATOR(pg_catalog.=) $2"
		" AND p.lease_upto OPERATOR(pg_catalog.<=) $3 AND p.lease_done",
		3, types, values, NULL);
	run(&rest,
		"UPDATE usher.parked_keys p SET position = p.lease_upto OPERATOR(pg_catalog.+) 1,"
		" attempts = 0, next_at = pg_catalog.now(), lease = NULL, error = NULL"
		" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1 AND p.lease OPERATOR(pg_catalog.=) $2"
		" AND p.lease_upto OPERATOR(pg_catalog.<=) $3",
		3, types, values, NULL);
}

/* What the lease has of parked keys, up to a position (PG_INT64_MAX: all of it). */
void
usher_parked_ack(const UsherSubscription *subscription, int64 lease, int64 upto)
{
	static SPIPlanPtr partly;
	Oid types[] = {INT4OID, INT8OID, INT8OID};
	Datum values[] = {Int32GetDatum(subscription->id), Int64GetDatum(lease), Int64GetDatum(upto)};
	AsOwner owner;

	if (none_parked())
		return;
	as_owner_begin(&owner);
	/* what comes behind `upto` in the partition would be delivered twice if the key were let go now */
	if (upto != PG_INT64_MAX)
		run(&partly,
			"UPDATE usher.parked_keys p SET lease_done = false"
			" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
			" AND p.lease OPERATOR(pg_catalog.=) $2 AND p.lease_upto OPERATOR(pg_catalog.<=) $3"
			" AND p.lease_done AND pg_catalog.left(p.key, 2) OPERATOR(pg_catalog.<>) 'd:'",
			3, types, values, NULL);
	ack_rows(values);
	as_owner_end(&owner);
}

static void
insert_dead_letter(const UsherSubscription *subscription, TupleTableSlot *slot, int attempts,
				   const char *error)
{
	static SPIPlanPtr plan;
	bool isnull;
	Datum topic = slot_getattr(slot, LOG_TOPIC, &isnull);
	char nulls[] = "       ";
	Oid types[] = {INT4OID, INT4OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID};
	Datum values[lengthof(types)] = {
		Int32GetDatum(subscription->tenant_id),
		Int32GetDatum(subscription->id),
		slot_getattr(slot, LOG_POSITION, &isnull),
		slot_getattr(slot, LOG_TYPE, &isnull),
		topic,
		CStringGetTextDatum(error),
		Int32GetDatum(attempts),
	};
	Datum stream;

	(void) slot_getattr(slot, LOG_TOPIC, &isnull);
	if (isnull)
	{
		stream = slot_getattr(slot, LOG_STREAM, &isnull);
		values[4] = stream;
		nulls[4] = isnull ? 'n' : ' ';
	}
	run(&plan,
		"INSERT INTO usher.dead_letters AS d (tenant_id, subscription_id, position, type, key,"
		" error_code, error, attempts) SELECT $1, $2, $3, $4, $5, 'failed', $6, $7"
		" ON CONFLICT (subscription_id, position) DO UPDATE SET error = EXCLUDED.error,"
		" attempts = d.attempts OPERATOR(pg_catalog.+) EXCLUDED.attempts,"
		" last_failure = EXCLUDED.last_failure, replay_id = NULL",
		lengthof(types), types, values, nulls);
}

/* Failed attempts at this position by now, the row's key being found if it is tried apart. */
static int
attempts_before(const UsherSubscription *subscription, int64 lease, int partition, char **key,
				int64 position)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID, TEXTOID, INT8OID};
	Datum values[] = {
		Int32GetDatum(subscription->id),
		Int32GetDatum(partition),
		CStringGetTextDatum(*key),
		CStringGetTextDatum(psprintf("d:%lld", (long long) position)),
		Int64GetDatum(lease),
	};
	MemoryContext context = CurrentMemoryContext;
	bool isnull;
	int attempts = 0;

	run(&plan,
		"SELECT p.key, p.position, p.attempts FROM usher.parked_keys p"
		" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
		" AND p.partition OPERATOR(pg_catalog.=) $2"
		" AND (p.key OPERATOR(pg_catalog.=) $3"
		" OR p.key OPERATOR(pg_catalog.=) $4 AND p.lease OPERATOR(pg_catalog.=) $5)"
		" ORDER BY p.key LIMIT 1",
		lengthof(types), types, values, NULL);
	if (SPI_processed == 1)
	{
		MemoryContext old;

		if (DatumGetInt64(column(0, 2, &isnull)) == position)
			attempts = DatumGetInt32(column(0, 3, &isnull));
		old = MemoryContextSwitchTo(context);
		*key = TextDatumGetCString(column(0, 1, &isnull));
		MemoryContextSwitchTo(old);
	}
	return attempts;
}

static void
park(const UsherSubscription *subscription, int partition, const char *key, int64 position,
	 int attempts, bool held, const char *error, double wait_ms)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID,   INT8OID, INT4OID,
				   BOOLOID, TEXTOID, FLOAT8OID, INT4OID};
	Datum values[] = {
		Int32GetDatum(subscription->id),
		Int32GetDatum(partition),
		CStringGetTextDatum(key),
		Int64GetDatum(position),
		Int32GetDatum(attempts),
		BoolGetDatum(held),
		CStringGetTextDatum(error),
		Float8GetDatum(wait_ms / 1000),
		Int32GetDatum(subscription->tenant_id),
	};

	run(&plan,
		"INSERT INTO usher.parked_keys AS p (tenant_id, subscription_id, partition, key, position,"
		" attempts, held, error, next_at) SELECT $9, $1, $2, $3, $4, $5, $6, $7,"
		" pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => $8)"
		" ON CONFLICT (subscription_id, partition, key) DO UPDATE SET"
		" position = EXCLUDED.position, attempts = EXCLUDED.attempts, held = EXCLUDED.held,"
		" error = EXCLUDED.error, next_at = EXCLUDED.next_at, lease = NULL, lease_upto = NULL",
		lengthof(types), types, values, NULL);
}

static void
unpark(const UsherSubscription *subscription, int partition, const char *key)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID};
	Datum values[] = {Int32GetDatum(subscription->id), Int32GetDatum(partition),
					  CStringGetTextDatum(key)};

	run(&plan,
		"DELETE FROM usher.parked_keys p WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
		" AND p.partition OPERATOR(pg_catalog.=) $2 AND p.key OPERATOR(pg_catalog.=) $3",
		lengthof(types), types, values, NULL);
}

/*
 * The event in the slot failed: park its key until the next attempt
 * (retry_ms -1: by the backoff), or after the last one make it a dead letter;
 * then the key goes on behind it, or is held.  False: it was a dead letter that
 * was tried again, apart from its key, which is not parked.
 */
bool
usher_parked_fail(const UsherSubscription *subscription, int64 lease, TupleTableSlot *slot,
				  const char *error, int64 retry_ms)
{
	bool isnull;
	int64 position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	int partition = usher_partition_of(subscription,
									   DatumGetInt32(slot_getattr(slot, LOG_SLOT, &isnull)));
	char *key = usher_parked_key(slot);
	int attempts;
	bool single;
	AsOwner owner;

	as_owner_begin(&owner);
	attempts = attempts_before(subscription, lease, partition, &key, position) + 1;
	single = strncmp(key, "d:", 2) == 0;
	if (attempts < subscription->max_attempts)
		park(subscription, partition, key, position, attempts, false, error,
			 retry_ms >= 0 ? (double) retry_ms
						   : usher_backoff_ms(attempts, subscription->backoff_ms,
											  subscription->backoff_max_ms,
											  pg_prng_double(&pg_global_prng_state)));
	else
	{
		insert_dead_letter(subscription, slot, attempts, error);
		if (single)
			unpark(subscription, partition, key);
		else if (subscription->hold_dead)
			park(subscription, partition, key, position, attempts, true, error, 0);
		else
			park(subscription, partition, key, position + 1, 0, false, error, 0);
	}
	as_owner_end(&owner);
	usher_lease_failed_at_commit(subscription, lease, partition, usher_delivery_series(slot),
								 attempts < subscription->max_attempts ? OUTCOME_RETRIED
																	   : OUTCOME_FAILED);
	return !single;
}
