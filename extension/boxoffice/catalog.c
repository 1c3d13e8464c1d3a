/*
 * extension/boxoffice/catalog.c
 *	  Relations of schema boxoffice -> oids; working with their owner's rights.
 *
 * Nobody but the functions of the box office writes its tables.  They find out
 * whose tenant it is with the caller's rights, and then work as the tables'
 * owner, with a search_path of their own, and name the tenant in every
 * statement: row-level security does not hold for an owner.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static UsherBox box;
static uint64 box_generation; /* of the catalog; 0: not looked up */

static Oid
relation_named(Oid nsp, const char *name)
{
	Oid relid = get_relname_relid(name, nsp);

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s.%s\" does not exist", USHER_BOX_SCHEMA, name),
						errhint("ALTER EXTENSION pg_usher UPDATE after an upgrade.")));
	return relid;
}

static Oid
owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	Ensure(HeapTupleIsValid(tuple), "a table of the box office is gone");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

const UsherBox *
usher_box(void)
{
	uint64 generation = usher_catalog()->generation;
	Oid nsp;

	if (likely(box_generation == generation))
		return &box;
	nsp = get_namespace_oid(USHER_BOX_SCHEMA, false);
	box.bookings = relation_named(nsp, "bookings");
	box.items = relation_named(nsp, "booking_items");
	box.seats = relation_named(nsp, "seats");
	box.by_id = relation_named(nsp, "bookings_pkey");
	box.items_by_booking = relation_named(nsp, "booking_items_pkey");
	box.by_user = relation_named(nsp, "bookings_user");
	box.by_deadline = relation_named(nsp, "bookings_expiry");
	box.by_refund = relation_named(nsp, "bookings_refunds");
	box.owner = owner_of(box.bookings);
	box_generation = generation;
	return &box;
}

/* Not a restricted operation: cursors and temporary files of our own statements must work. */
void
usher_box_enter(UsherBoxRights *rights)
{
	Oid owner = usher_box()->owner;

	GetUserIdAndSecContext(&rights->user, &rights->context);
	SetUserIdAndSecContext(owner, rights->context | SECURITY_LOCAL_USERID_CHANGE);
	rights->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
usher_box_leave(const UsherBoxRights *rights)
{
	AtEOXact_GUC(false, rights->guc_level);
	SetUserIdAndSecContext(rights->user, rights->context);
}

/* Whether a function of ours is at work: an error, and the end of a transaction, reset this by themselves. */
bool
usher_box_inside(void)
{
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	return (context & SECURITY_LOCAL_USERID_CHANGE) != 0 && user == usher_box()->owner;
}

/* Returns the number of rows, which are in SPI_tuptable. */
uint64
usher_box_run(UsherBoxPlan *plan, const Datum *args, const char *nulls, long max)
{
	int result;

	if (plan->plan == NULL)
	{
		SPIPlanPtr made = SPI_prepare(plan->sql, plan->nargs, plan->types);

		if (made == NULL || SPI_keepplan(made) != 0)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("a statement of the box office could not be prepared")));
		plan->plan = made;
	}
	result = SPI_execute_snapshot(plan->plan, (Datum *) args, nulls,
								  ActiveSnapshotSet() ? GetActiveSnapshot() : InvalidSnapshot,
								  InvalidSnapshot, false, true, max);
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("a statement of the box office failed"),
				 errdetail("%s", SPI_result_code_string(result))));
	return SPI_processed;
}

void
usher_box_check_state(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("this server is a standby: it says what is free, and sells nothing"),
						errhint("Ask the primary.")));
	usher_append_check_state();
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_USHER_ISOLATION_LEVEL),
						errmsg("the box office works in READ COMMITTED only"),
						errhint("What is free changes with every commit; a transaction that looks "
								"at an older state cannot sell it.")));
}
