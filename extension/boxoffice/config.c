/*
 * extension/boxoffice/config.c
 *	  What a reservation must know of zone, price, show and event.
 *
 * A session keeps what it has read until somebody's change of the
 * configuration has committed, which is counted in shared memory behind the
 * point where the change is visible: who is told of a committed change finds it
 * in every session.  A transaction that has changed something itself reads anew.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define KEPT_MAX 10000

/* Columns of boxoffice.zone_config. */
enum
{
	CONFIG_EVENT_ID = 1,
	CONFIG_PUBLISHED,
	CONFIG_SHOW_CANCELLED,
	CONFIG_NUMBERED,
	CONFIG_SALE_FROM,
	CONFIG_SALE_UNTIL,
	CONFIG_STARTS_AT,
	CONFIG_USER_LIMIT,
	CONFIG_ABUSE_LIMIT,
	CONFIG_CURRENCY,
	CONFIG_PRICE_TYPE_ID,
	CONFIG_UNIT_PRICE,
	CONFIG_TAX_BP,
	CONFIG_FEE_BP
};

static HTAB *kept;
static uint32 kept_generation;
static Oid kept_log; /* the incarnation of the extension that it is of */

uint32
usher_box_config_generation(void)
{
	return pg_atomic_read_u32(&usher_db()->box_generation);
}

static void
keep_none(void)
{
	HASHCTL ctl = {.keysize = sizeof(UsherZoneConfigKey), .entrysize = sizeof(UsherZoneConfig)};

	if (kept)
		hash_destroy(kept);
	kept = NULL;
	ctl.hcxt = TopMemoryContext;
	kept = hash_create("usher zones' configuration", 64, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* A column of the row that SPI has; `missing` when it is null. */
static Datum
column(int number, Datum missing)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? missing : value;
}

static void
read_row(UsherZoneConfig *config)
{
	config->event_id = DatumGetInt64(column(CONFIG_EVENT_ID, Int64GetDatum(0)));
	config->published = DatumGetBool(column(CONFIG_PUBLISHED, BoolGetDatum(false)));
	config->show_cancelled = DatumGetBool(column(CONFIG_SHOW_CANCELLED, BoolGetDatum(true)));
	config->numbered = DatumGetBool(column(CONFIG_NUMBERED, BoolGetDatum(false)));
	config->sale_from = DatumGetTimestampTz(
		column(CONFIG_SALE_FROM, TimestampTzGetDatum(DT_NOBEGIN)));
	config->sale_until = DatumGetTimestampTz(
		column(CONFIG_SALE_UNTIL, TimestampTzGetDatum(DT_NOEND)));
	config->starts_at = DatumGetTimestampTz(
		column(CONFIG_STARTS_AT, TimestampTzGetDatum(DT_NOEND)));
	config->user_limit = DatumGetInt32(column(CONFIG_USER_LIMIT, Int32GetDatum(0)));
	config->abuse_limit = DatumGetInt32(column(CONFIG_ABUSE_LIMIT, Int32GetDatum(0)));
	strlcpy(config->currency, TextDatumGetCString(column(CONFIG_CURRENCY, PointerGetDatum(NULL))),
			sizeof(config->currency));
	config->price_type_id = DatumGetInt64(column(CONFIG_PRICE_TYPE_ID, Int64GetDatum(0)));
	config->priced = config->price_type_id != 0;
	config->unit_price = DatumGetInt64(column(CONFIG_UNIT_PRICE, Int64GetDatum(0)));
	config->tax_bp = DatumGetInt32(column(CONFIG_TAX_BP, Int32GetDatum(0)));
	config->fee_bp = DatumGetInt32(column(CONFIG_FEE_BP, Int32GetDatum(0)));
}

static bool
read_config(const UsherZoneConfigKey *key, UsherZoneConfig *config)
{
	static UsherBoxPlan plan = {.sql = "SELECT * FROM boxoffice.zone_config($1, $2, $3, $4)",
								.nargs = 4,
								.types = {INT4OID, INT8OID, INT8OID, INT8OID}};
	Datum args[] = {Int32GetDatum(key->tenant_id), Int64GetDatum(key->show_id),
					Int64GetDatum(key->zone_id), Int64GetDatum(key->price_type_id)};
	UsherBoxRights rights;
	bool found;

	usher_box_enter(&rights);
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	found = usher_box_run(&plan, args, key->price_type_id == 0 ? "   n" : NULL, 1) == 1;
	if (found)
		read_row(config);
	PopActiveSnapshot();
	SPI_finish();
	usher_box_leave(&rights);
	config->key = *key;
	return found;
}

/* False: there is no such zone of that show. */
bool
usher_zone_config(const UsherZoneConfigKey *key, UsherZoneConfig *config)
{
	uint32 generation = usher_box_config_generation();
	UsherZoneConfig *entry;

	pg_read_barrier();
	if (kept == NULL || kept_generation != generation || kept_log != usher_catalog()->log ||
		hash_get_num_entries(kept) > KEPT_MAX)
	{
		keep_none();
		kept_log = usher_catalog()->log;
		kept_generation = generation;
	}
	entry = usher_box_config_changed_here() ? NULL : hash_search(kept, key, HASH_FIND, NULL);
	if (entry)
	{
		*config = *entry;
		return true;
	}
	if (!read_config(key, config))
		return false;
	if (!usher_box_config_changed_here())
		*(UsherZoneConfig *) hash_search(kept, key, HASH_ENTER, NULL) = *config;
	return true;
}
