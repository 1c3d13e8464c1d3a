/*
 * extension/subscription/failure.c
 *	  An event fails: its key is parked until the next attempt, or it becomes a
 *	  dead letter and its key goes on behind it, or is held.
 *
 * The caller holds the partition's lock.  The row of the key stays under the
 * lease: what was delivered of the key before this event is done when the
 * lease is acknowledged, and comes again when it is not.
 */
#include "subscription/subscription.h"

#include "lib/backoff.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* The row of the event's key as it is; found: there is one. */
typedef struct Row
{
	bool found, ours; /* under this lease */
	char *key;
	int64 position, failed, upto;
	int64 version;
	int attempts;
	bool done;
} Row;

typedef struct Failure
{
	const UsherSubscription *subscription;
	int64 lease;
	const UsherLeased *leased;
	int64 position, version; /* of the event */
	const char *error;
	Row row;
} Failure;

/* That of a dead letter that is tried again under this lease comes first. */
static void
find_row(Failure *f, TupleTableSlot *slot)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID, TEXTOID, INT8OID};
	Row *row = &f->row;
	Datum values[] = {
		Int32GetDatum(f->subscription->id),
		Int32GetDatum(f->leased->partition),
		CStringGetTextDatum(row->key),
		CStringGetTextDatum(psprintf("d:%lld", (long long) f->position)),
		Int64GetDatum(f->lease),
	};
	MemoryContext context = CurrentMemoryContext, old;
	bool isnull;

	usher_owner_run(&plan,
					"SELECT p.key, p.position, coalesce(p.failed, 0), coalesce(p.lease_upto, 0),"
					" p.version, p.attempts, coalesce(p.lease_done, false),"
					" coalesce(p.lease OPERATOR(pg_catalog.=) $5, false)"
					" FROM usher.parked_keys p WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
					" AND p.partition OPERATOR(pg_catalog.=) $2"
					" AND (p.key OPERATOR(pg_catalog.=) $3"
					" OR p.key OPERATOR(pg_catalog.=) $4 AND p.lease OPERATOR(pg_catalog.=) $5)"
					" ORDER BY p.key LIMIT 1",
					lengthof(types), types, values, NULL);
	row->found = SPI_processed == 1;
	if (!row->found)
		return;
	old = MemoryContextSwitchTo(context);
	row->key = TextDatumGetCString(usher_owner_column(0, 1, &isnull));
	MemoryContextSwitchTo(old);
	row->position = DatumGetInt64(usher_owner_column(0, 2, &isnull));
	row->failed = DatumGetInt64(usher_owner_column(0, 3, &isnull));
	row->upto = DatumGetInt64(usher_owner_column(0, 4, &isnull));
	row->version = DatumGetInt64(usher_owner_column(0, 5, &isnull));
	row->attempts = DatumGetInt32(usher_owner_column(0, 6, &isnull));
	row->done = DatumGetBool(usher_owner_column(0, 7, &isnull));
	row->ours = DatumGetBool(usher_owner_column(0, 8, &isnull));
}

typedef enum Verdict
{
	NOT_DELIVERED, /* the lease has not delivered it */
	PARKED_ALREADY, /* it comes again anyway, behind one of its key that failed */
	FAILED
} Verdict;

static Verdict
judge(const Failure *f)
{
	const Row *row = &f->row;
	bool new = f->position > f->leased->from && f->position <= f->leased->upto;

	if (!row->found)
		return new ? FAILED : NOT_DELIVERED;
	if (f->position < row->position)
		return new ? FAILED : NOT_DELIVERED;
	if (row->ours && row->failed > row->upto && row->failed <= f->position)
		return PARKED_ALREADY; /* failed under this lease, and this one behind it */
	if (row->ours && f->position <= row->upto)
		return FAILED; /* it was tried again, or its key caught up */
	if (row->ours && row->done && new)
		return FAILED; /* it had caught up */
	return new ? PARKED_ALREADY : NOT_DELIVERED;
}

/* failed 0: the key goes on behind the event. */
static void
park(const Failure *f, int attempts, bool held, bool dead, double wait_ms)
{
	static SPIPlanPtr plan;
	int64 behind = dead && !held ? f->position + 1 : f->position;
	bool prefix = f->row.found && f->row.position < f->position;
	Oid types[] = {INT4OID, INT4OID, TEXTOID, INT8OID,   INT8OID, INT4OID, BOOLOID,
				   TEXTOID, INT8OID, INT8OID, FLOAT8OID, INT4OID, INT8OID};
	char nulls[] = "             ";
	Datum values[] = {
		Int32GetDatum(f->subscription->id),
		Int32GetDatum(f->leased->partition),
		CStringGetTextDatum(f->row.key),
		Int64GetDatum(prefix ? f->row.position : behind),
		Int64GetDatum(f->position),
		Int32GetDatum(attempts),
		BoolGetDatum(held),
		CStringGetTextDatum(f->error),
		Int64GetDatum(f->lease),
		Int64GetDatum(behind - 1),
		Float8GetDatum(wait_ms / 1000),
		Int32GetDatum(f->subscription->tenant_id),
		Int64GetDatum(prefix ? f->row.version : f->version),
	};

	if (dead && !held)
		nulls[4] = nulls[7] = 'n';
	usher_owner_run(
		&plan,
		"INSERT INTO usher.parked_keys AS p (tenant_id, subscription_id, partition, key, position,"
		" failed, attempts, held, error, lease, lease_upto, lease_done, lease_version, version,"
		" next_at)"
		" SELECT $12, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false, $13, $13,"
		" pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => $11)"
		" ON CONFLICT (subscription_id, partition, key) DO UPDATE SET"
		" position = EXCLUDED.position, failed = EXCLUDED.failed, attempts = EXCLUDED.attempts,"
		" held = EXCLUDED.held, error = EXCLUDED.error, next_at = EXCLUDED.next_at,"
		" first_failure = CASE WHEN p.failed OPERATOR(pg_catalog.=) EXCLUDED.failed"
		"                 THEN p.first_failure ELSE EXCLUDED.first_failure END,"
		" lease = EXCLUDED.lease, lease_upto = EXCLUDED.lease_upto, lease_done = false,"
		" lease_version = EXCLUDED.lease_version, version = EXCLUDED.version",
		lengthof(types), types, values, nulls);
}

static void
unpark(const Failure *f)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT4OID, TEXTOID};
	Datum values[] = {Int32GetDatum(f->subscription->id), Int32GetDatum(f->leased->partition),
					  CStringGetTextDatum(f->row.key)};

	usher_owner_run(&plan,
					"DELETE FROM usher.parked_keys p"
					" WHERE p.subscription_id OPERATOR(pg_catalog.=) $1"
					" AND p.partition OPERATOR(pg_catalog.=) $2"
					" AND p.key OPERATOR(pg_catalog.=) $3",
					3, types, values, NULL);
}

static void
bury(const Failure *f, int attempts)
{
	static SPIPlanPtr plan;
	Oid types[] = {INT4OID, INT8OID, TEXTOID, INT4OID, INT4OID, TEXTOID};
	Datum values[] = {
		Int32GetDatum(f->subscription->id),  Int64GetDatum(f->position),
		CStringGetTextDatum(f->error),       Int32GetDatum(attempts),
		Int32GetDatum(f->leased->partition), CStringGetTextDatum(f->row.key),
	};

	usher_owner_run(&plan, "SELECT usher.bury($1, $2, $3, $4, $5, $6)", lengthof(types), types,
					values, NULL);
}

/* retry_ms -1: by the backoff. */
static UsherOutcome
fail(const Failure *f, int64 retry_ms)
{
	const UsherSubscription *s = f->subscription;
	bool tried = f->row.found && f->row.failed == f->position;
	int attempts = (tried ? f->row.attempts : 0) + 1;

	if (attempts < s->max_attempts)
	{
		if (retry_ms < 0)
			park(f, attempts, false, false,
				 usher_backoff_ms(attempts, s->backoff_ms, s->backoff_max_ms,
								  pg_prng_double(&pg_global_prng_state)));
		else
			park(f, attempts, false, false, (double) retry_ms);
		return OUTCOME_RETRIED;
	}
	bury(f, attempts);
	if (usher_parked_is_single(f->row.key))
		unpark(f);
	else
		park(f, s->hold_dead ? attempts : 0, s->hold_dead, true, 0);
	return OUTCOME_FAILED;
}

/*
 * The event in the slot failed.  False: this lease has not delivered it.
 * *parked: what it delivered of the event's key behind it comes again; not so
 * for a dead letter that was tried again, apart from its key.
 */
bool
usher_parked_fail(const UsherSubscription *subscription, int64 lease, const UsherLeased *leased,
				  TupleTableSlot *slot, const char *error, int64 retry_ms, bool *parked)
{
	bool isnull;
	Failure f = {subscription, lease, leased, .error = error};
	UsherOutcome outcome = OUTCOME_RETRIED;
	Verdict verdict;
	UsherOwner owner;

	f.position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	f.version = DatumGetInt64(slot_getattr(slot, LOG_VERSION, &isnull));
	if (isnull)
		f.version = 0;
	f.row.key = usher_parked_key(slot);
	usher_lease_has_parked(subscription, lease);
	usher_owner_begin(&owner);
	find_row(&f, slot);
	verdict = judge(&f);
	*parked = !usher_parked_is_single(f.row.key);
	if (verdict == FAILED)
		outcome = fail(&f, retry_ms);
	usher_owner_end(&owner);
	if (verdict == FAILED)
		usher_lease_failed_at_commit(subscription, lease, leased->partition,
									 usher_delivery_series(slot), outcome);
	return verdict != NOT_DELIVERED;
}
