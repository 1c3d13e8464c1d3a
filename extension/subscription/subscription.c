/*
 * extension/subscription/subscription.c
 *	  A subscription's row, and which events it wants.
 */
#include "subscription/subscription.h"

#include "lib/glob.h"
#include "tenancy/tenant.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Columns of usher.subscriptions. */
enum
{
	SUBSCRIPTION_ID = 1,
	SUBSCRIPTION_TENANT_ID,
	SUBSCRIPTION_NAME,
	SUBSCRIPTION_PATTERN,
	SUBSCRIPTION_CATEGORY,
	SUBSCRIPTION_STREAM,
	SUBSCRIPTION_PARTITIONS,
	SUBSCRIPTION_MAX_ATTEMPTS,
	SUBSCRIPTION_LEASE_MS,
	SUBSCRIPTION_BACKOFF_MS,
	SUBSCRIPTION_BACKOFF_MAX_MS,
	SUBSCRIPTION_MAX_PARKED_KEYS,
	SUBSCRIPTION_HOLD_DEAD,
	SUBSCRIPTION_PAUSED,
	SUBSCRIPTION_NATTS
};

Oid
usher_subscription_relation(const char *name)
{
	Oid relid = get_relname_relid(name, get_namespace_oid(USHER_SCHEMA, false));

	Ensure(OidIsValid(relid), "a table of the subscriptions is missing");
	return relid;
}

static text *
text_copy(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetTextPCopy(value);
}

static UsherSubscription *
from_tuple(HeapTuple tuple, TupleDesc desc)
{
	UsherSubscription *s = palloc0(sizeof(UsherSubscription));
	Datum values[32];
	bool nulls[32];

	Ensure(desc->natts >= SUBSCRIPTION_NATTS && desc->natts <= (int) lengthof(values),
		   "usher.subscriptions has other columns than this library knows");
	heap_deform_tuple(tuple, desc, values, nulls);
	s->id = DatumGetInt32(values[SUBSCRIPTION_ID - 1]);
	s->tenant_id = DatumGetInt32(values[SUBSCRIPTION_TENANT_ID - 1]);
	s->name = TextDatumGetCString(values[SUBSCRIPTION_NAME - 1]);
	s->pattern = text_copy(values[SUBSCRIPTION_PATTERN - 1], false);
	s->category = text_copy(values[SUBSCRIPTION_CATEGORY - 1], nulls[SUBSCRIPTION_CATEGORY - 1]);
	s->stream = text_copy(values[SUBSCRIPTION_STREAM - 1], nulls[SUBSCRIPTION_STREAM - 1]);
	s->partitions = DatumGetInt32(values[SUBSCRIPTION_PARTITIONS - 1]);
	s->max_attempts = DatumGetInt32(values[SUBSCRIPTION_MAX_ATTEMPTS - 1]);
	s->lease_ms = DatumGetInt64(values[SUBSCRIPTION_LEASE_MS - 1]);
	s->backoff_ms = (double) DatumGetInt64(values[SUBSCRIPTION_BACKOFF_MS - 1]);
	s->backoff_max_ms = (double) DatumGetInt64(values[SUBSCRIPTION_BACKOFF_MAX_MS - 1]);
	s->max_parked_keys = DatumGetInt32(values[SUBSCRIPTION_MAX_PARKED_KEYS - 1]);
	s->hold_dead = DatumGetBool(values[SUBSCRIPTION_HOLD_DEAD - 1]);
	s->paused = DatumGetBool(values[SUBSCRIPTION_PAUSED - 1]);
	return s;
}

static UsherSubscription *
find(const char *index, ScanKey keys, int nkeys)
{
	Relation rel = table_open(usher_subscription_relation("subscriptions"), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, usher_subscription_relation(index), true, NULL,
										  nkeys, keys);
	HeapTuple tuple = systable_getnext(scan);
	UsherSubscription *s = HeapTupleIsValid(tuple) ? from_tuple(tuple, RelationGetDescr(rel))
												   : NULL;

	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return s;
}

/* Of the session's tenant; raises unknown_subscription. */
UsherSubscription *
usher_subscription_find(const text *name)
{
	ScanKeyData keys[2];
	UsherSubscription *s;

	ScanKeyInit(&keys[0], SUBSCRIPTION_TENANT_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(usher_current_tenant_id()));
	ScanKeyInit(&keys[1], SUBSCRIPTION_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(name));
	keys[1].sk_collation = C_COLLATION_OID;
	s = find("subscriptions_name_key", keys, 2);
	if (s == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_SUBSCRIPTION),
						errmsg("subscription \"%s\" does not exist", text_to_cstring(name)),
						errhint("Create it with usher.subscribe.")));
	return s;
}

/* Of whatever tenant; NULL: there is none. */
UsherSubscription *
usher_subscription_get(int32 id)
{
	ScanKeyData key;

	ScanKeyInit(&key, SUBSCRIPTION_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
	return find("subscriptions_pkey", &key, 1);
}

int
usher_partition_of(const UsherSubscription *subscription, int32 slot)
{
	return (int) ((int64) slot * subscription->partitions / USHER_SLOTS);
}

static bool
same(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static bool
glob(const text *pattern, const text *name)
{
	return usher_glob_match(VARDATA_ANY(pattern), VARSIZE_ANY_EXHDR(pattern), VARDATA_ANY(name),
							VARSIZE_ANY_EXHDR(name));
}

bool
usher_subscription_wants(const UsherSubscription *subscription, TupleTableSlot *slot)
{
	bool isnull;
	Datum value;

	if (!usher_event_wanted(slot, subscription->tenant_id, subscription->pattern))
		return false;
	if (subscription->category)
	{
		value = slot_getattr(slot, LOG_CATEGORY, &isnull);
		if (isnull || !same(subscription->category, DatumGetTextPP(value)))
			return false;
	}
	if (subscription->stream)
	{
		value = slot_getattr(slot, LOG_STREAM, &isnull);
		if (isnull || !glob(subscription->stream, DatumGetTextPP(value)))
			return false;
	}
	return true;
}

/* How an event is counted; allocates in the current memory context. */
int
usher_delivery_series(TupleTableSlot *slot)
{
	bool isnull;
	int32 tenant_id = DatumGetInt32(slot_getattr(slot, LOG_TENANT_ID, &isnull));
	text *type = DatumGetTextPP(slot_getattr(slot, LOG_TYPE, &isnull));

	return usher_series(tenant_id, DatumGetJsonbP(slot_getattr(slot, LOG_METADATA, &isnull)), type);
}
