/*
 * extension/watch/definition.c
 *	  What a watch is: triggers with three arguments; where they are; and whose
 *	  rights they have.
 *
 * There is no table of watches.  The triggers are the watch: they go with the
 * table when it is dropped, renamed, dumped, or given to another owner, and a
 * dump of the schema alone restores them.  Their arguments are the operations,
 * the number of columns that were named as the key (0: the primary key), and the
 * number of those that were named to be shown (all).  Which ones stands in the
 * WHEN clause, where PostgreSQL follows it when a column is renamed, dropped or
 * dumped.
 *
 * Anybody who owns a table and may execute the trigger function can make such a
 * trigger by hand, so nothing in it is believed: events are of the tenant of the
 * session that writes, and the owner of the table must be allowed to append.
 */
#include "watch/watch.h"

#include "log/log.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define ALL_COLUMNS "all"

const char *const usher_watch_event_names[WATCH_EVENTS] = {
	[WATCH_CREATE] = "create",     [WATCH_UPDATE] = "update",     [WATCH_DELETE] = "delete",
	[WATCH_TRUNCATE] = "truncate", [WATCH_SNAPSHOT] = "snapshot", [WATCH_READ] = "read",
};

/* One of our functions, none of which is overloaded; whoever asks need not have rights in our schema. */
static Oid
function_named(const char *name)
{
	Oid schema = get_namespace_oid(USHER_SCHEMA, false);
	CatCList *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	Oid oid = InvalidOid;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (form->pronamespace == schema)
			oid = form->oid;
	}
	ReleaseSysCacheList(list);
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s.%s does not exist", USHER_SCHEMA, name),
				 errhint("ALTER EXTENSION pg_usher UPDATE, if the library is newer than it.")));
	return oid;
}

/* The trigger function. */
Oid
usher_watch_function(void)
{
	return function_named("watch_event");
}

/* ---- arguments ---- */

List *
usher_watch_arguments_make(const UsherWatch *watch)
{
	StringInfoData operations;

	initStringInfo(&operations);
	for (int event = 0; event < WATCH_TRIGGERS; event++)
		if (watch->operations & usher_watch_bit(event))
			appendStringInfo(&operations, "%s%s", operations.len > 0 ? "," : "",
							 usher_watch_event_names[event]);
	return list_make3(
		makeString(operations.data), makeString(psprintf("%d", watch->nkey)),
		makeString(watch->ncolumns < 0 ? ALL_COLUMNS : psprintf("%d", watch->ncolumns)));
}

/* Bits of a list like "create,update"; 0 when there is something else in it. */
static int
operations_read(const char *s)
{
	int operations = 0;

	for (;;)
	{
		size_t len = strcspn(s, ",");
		int event = 0;

		while (event < WATCH_TRIGGERS && (strlen(usher_watch_event_names[event]) != len ||
										  strncmp(s, usher_watch_event_names[event], len) != 0))
			event++;
		if (event == WATCH_TRIGGERS)
			return 0;
		operations |= usher_watch_bit(event);
		if (s[len] == '\0')
			return operations;
		s += len + 1;
	}
}

/* A number from 0 to max; -1 for anything else. */
static int
number_read(const char *s, int max)
{
	char *end;
	long n = strtol(s, &end, 10);

	return end == s || *end != '\0' || n < 0 || n > max ? -1 : (int) n;
}

/* False: they are not as usher_watch_arguments_make makes them. */
bool
usher_watch_arguments_read(const Trigger *trigger, UsherWatchArguments *arguments)
{
	bool all;

	if (trigger->tgnargs != 3)
		return false;
	all = strcmp(trigger->tgargs[2], ALL_COLUMNS) == 0;
	arguments->operations = operations_read(trigger->tgargs[0]);
	arguments->nkey = number_read(trigger->tgargs[1], INDEX_MAX_KEYS);
	arguments->ncolumns = all ? -1 : number_read(trigger->tgargs[2], MaxAttrNumber);
	return arguments->operations != 0 && arguments->nkey >= 0 && (all || arguments->ncolumns >= 0);
}

/* ---- triggers ---- */

UsherWatchEvent
usher_watch_event_of(const Trigger *trigger)
{
	return TRIGGER_FOR_TRUNCATE(trigger->tgtype) ? WATCH_TRUNCATE
		   : TRIGGER_FOR_INSERT(trigger->tgtype) ? WATCH_CREATE
		   : TRIGGER_FOR_DELETE(trigger->tgtype) ? WATCH_DELETE
												 : WATCH_UPDATE;
}

/* Copies of the table's triggers that belong to a watch. */
List *
usher_watch_triggers(Relation rel)
{
	Oid function = usher_watch_function();
	TriggerDesc *all = CopyTriggerDesc(rel->trigdesc);
	List *triggers = NIL;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
		if (all->triggers[i].tgfoid == function)
			triggers = lappend(triggers, &all->triggers[i]);
	return triggers;
}

/* One for any of these kinds of events (usher_watch_bit of each), or NULL. */
const Trigger *
usher_watch_trigger_for(Relation rel, int events)
{
	ListCell *lc;

	foreach(lc, usher_watch_triggers(rel))
		if (events & usher_watch_bit(usher_watch_event_of(lfirst(lc))))
			return lfirst(lc);
	return NULL;
}

/* The table that the watch was set up for, of which the trigger may be on a partition. */
Oid
usher_watch_root(Oid trigger)
{
	Relation rel = table_open(TriggerRelationId, AccessShareLock);
	Oid root = InvalidOid;

	while (OidIsValid(trigger))
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(trigger));
		scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
		tuple = systable_getnext(scan);
		Ensure(HeapTupleIsValid(tuple), "a trigger of a watch does not exist");
		root = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
		trigger = ((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid;
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return root;
}

/* ---- rights ---- */

/* Events are appended with the rights of the table's owner: he must have them. */
void
usher_watch_authorize(Oid root)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(root));
	Oid owner;

	Ensure(HeapTupleIsValid(tuple), "a watched table does not exist");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (!usher_may_execute(function_named("publish"), owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\", the owner of table \"%s\", may not append events",
							   GetUserNameFromId(owner, false), get_rel_name(root)),
						errhint("Events of a watched table are appended with its owner's rights: "
								"GRANT usher_writer TO %s.",
								quote_identifier(GetUserNameFromId(owner, false)))));
}

/* ---- key ---- */

/* Columns of the primary key in its order; returns how many. */
int
usher_watch_primary_key(Relation rel, AttrNumber *attnums)
{
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;
	int n = 0;

	foreach(lc, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisprimary)
			while (n < index->indnkeyatts)
			{
				attnums[n] = index->indkey.values[n];
				n++;
			}
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return n;
}
