/*
 * extension/watch/define.c
 *	  usher.watch and usher.unwatch: check what is asked for, make and drop the
 *	  triggers.
 *
 * Locks: SHARE ROW EXCLUSIVE on the table and its partitions, so that nobody
 * writes to them until the watch has committed, and whoever writes then sees its
 * triggers; ACCESS EXCLUSIVE when triggers are dropped.  Triggers of one kind
 * fire in the order of their names, and the events of a row must follow its
 * changes: ours begin with `00`, so that a trigger that changes the row again
 * comes later.
 */
#include "watch/watch.h"

#include "log/log.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* ---- what is refused ---- */

/* The caller must own the table; asked before it is locked, and after. */
void
usher_watch_check_owner(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table %u does not exist", relid)));
	form = (Form_pg_class) GETSTRUCT(tuple);
	if (!has_privs_of_role(GetUserId(), form->relowner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, NameStr(form->relname));
	ReleaseSysCache(tuple);
}

static void
refuse(Relation rel, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
					errmsg("cannot watch \"%s\"", RelationGetRelationName(rel)),
					errdetail("%s", detail), hint ? errhint("%s", hint) : 0));
}

/* An index, a type, a view cannot be opened as a table: look first. */
static void
check_kind(Relation rel)
{
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			return;
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
			refuse(rel, "It is a view.", "Watch the tables that it shows.");
			return;
		case RELKIND_FOREIGN_TABLE:
			refuse(rel, "It is a foreign table.",
				   "What others change on its server would not be seen: watch the table there.");
			return;
		default:
			refuse(rel, "It is not a table.", NULL);
	}
}

static void
check_relation(Relation rel)
{
	const char *schema = get_namespace_name(RelationGetNamespace(rel));

	check_kind(rel);
	if (IsSystemRelation(rel) || strcmp(schema, "information_schema") == 0)
		refuse(rel, "It is a system table.", NULL);
	if (strcmp(schema, USHER_SCHEMA) == 0)
		refuse(rel, "It belongs to pg_usher itself.", NULL);
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		refuse(rel, "It is a temporary table.", NULL);
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(NOTICE, (errmsg("table \"%s\" is unlogged: after a crash it is empty, and no event "
								"says so",
								RelationGetRelationName(rel))));
	if (rel->rd_rel->relkind == RELKIND_RELATION && has_subclass(RelationGetRelid(rel)))
		ereport(NOTICE,
				(errmsg("rows of the tables that inherit from \"%s\" are not watched with it",
						RelationGetRelationName(rel)),
				 errhint("Watch each of these tables by its own name.")));
}

/* The columns exist, are no system columns, and none comes twice. */
static void
check_columns(Relation rel, char **names, int n, const char *what)
{
	for (int i = 0; i < n; i++)
	{
		AttrNumber attnum = get_attnum(RelationGetRelid(rel), names[i]);

		if (attnum <= 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("%s \"%s\" is not a column of table \"%s\"", what, names[i],
								   RelationGetRelationName(rel))));
		if (usher_attribute_is_virtual(TupleDescAttr(RelationGetDescr(rel), attnum - 1)))
			ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
							errmsg("%s \"%s\" is a virtual generated column", what, names[i]),
							errdetail("It has no value that a trigger could see.")));
		for (int j = 0; j < i; j++)
			if (strcmp(names[i], names[j]) == 0)
				ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
								errmsg("%s \"%s\" is named twice", what, names[i])));
	}
}

static void
check_watch(Relation rel, const UsherWatch *watch)
{
	AttrNumber primary[INDEX_MAX_KEYS];
	char *type = psprintf("%s.%s.%s", get_namespace_name(RelationGetNamespace(rel)),
						  RelationGetRelationName(rel), usher_watch_event_names[WATCH_TRUNCATE]);

	usher_check_name(cstring_to_text(type), "name of the table");
	if (watch->nkey > INDEX_MAX_KEYS)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("a key cannot have more than %d columns", INDEX_MAX_KEYS)));
	check_columns(rel, watch->key, watch->nkey, "key");
	check_columns(rel, watch->columns, Max(watch->ncolumns, 0), "column");
	if (watch->nkey == 0 && usher_watch_primary_key(rel, primary) == 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("table \"%s\" has no primary key", RelationGetRelationName(rel)),
						errhint("Say by which columns its events are to be ordered: "
								"usher.watch(..., key => '{...}').")));
	if (watch->snapshot && !(watch->operations & usher_watch_bit(WATCH_CREATE)))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("a snapshot needs the operation \"create\"")));
	usher_watch_authorize(RelationGetRelid(rel));
}

/* ---- triggers ---- */

static bool
has_own_triggers(Relation rel)
{
	ListCell *lc;

	foreach(lc, usher_watch_triggers(rel))
		if (!((const Trigger *) lfirst(lc))->tgisclone)
			return true;
	return false;
}

/* A change gives one event: either the partition is watched, or what it is a partition of. */
static void
check_partitions(Relation rel)
{
	ListCell *lc;

	foreach(lc, usher_watch_triggers(rel))
		if (((const Trigger *) lfirst(lc))->tgisclone)
			refuse(rel, "It is a partition of a table that is watched.", NULL);
	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return;
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), ShareRowExclusiveLock, NULL))
	{
		Relation partition = table_open(lfirst_oid(lc), NoLock);

		if (lfirst_oid(lc) != RelationGetRelid(rel) && has_own_triggers(partition))
			refuse(rel,
				   psprintf("Its partition \"%s\" is watched by itself.",
							RelationGetRelationName(partition)),
				   "Call usher.unwatch for the partition.");
		table_close(partition, NoLock);
	}
}

static void
make_trigger(Relation rel, const UsherWatch *watch, UsherWatchEvent event)
{
	static const int16 events[WATCH_TRIGGERS] = {
		[WATCH_CREATE] = TRIGGER_TYPE_INSERT,
		[WATCH_UPDATE] = TRIGGER_TYPE_UPDATE,
		[WATCH_DELETE] = TRIGGER_TYPE_DELETE,
		[WATCH_TRUNCATE] = TRIGGER_TYPE_TRUNCATE,
	};
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	UsherWatchWhen when = {0};
	ObjectAddress address;

	stmt->trigname = psprintf("00_usher_watch_%s", usher_watch_event_names[event]);
	stmt->args = usher_watch_arguments_make(watch);
	stmt->row = event != WATCH_TRUNCATE;
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = events[event];
	if (stmt->row)
		usher_watch_when_make(rel, watch, event, &when);
	address = CreateTrigger(stmt, NULL, RelationGetRelid(rel), InvalidOid, InvalidOid, InvalidOid,
							usher_watch_function(), InvalidOid, when.expression, false, false);
	if (when.expression)
		recordDependencyOnExpr(&address, when.expression, when.range_table, DEPENDENCY_NORMAL);
	CommandCounterIncrement();
}

/* The triggers that it needs, as usher_watch_bit of each. */
static int
triggers_needed(const UsherWatch *watch)
{
	int needed = watch->operations;

	/* A change of the key is a deletion and a creation. */
	if (needed & (usher_watch_bit(WATCH_CREATE) | usher_watch_bit(WATCH_DELETE)))
		needed |= usher_watch_bit(WATCH_UPDATE);
	/* Who follows deletions would keep what a TRUNCATE has taken away. */
	if (needed & usher_watch_bit(WATCH_DELETE))
		needed |= usher_watch_bit(WATCH_TRUNCATE);
	return needed;
}

static bool
has_arguments(const Trigger *trigger, List *arguments)
{
	if (trigger->tgnargs != list_length(arguments))
		return false;
	for (int i = 0; i < trigger->tgnargs; i++)
		if (strcmp(trigger->tgargs[i], strVal(list_nth(arguments, i))) != 0)
			return false;
	return true;
}

static bool
is_as_wanted(Relation rel, const UsherWatch *watch, List *triggers)
{
	List *arguments = usher_watch_arguments_make(watch);
	int needed = triggers_needed(watch);
	ListCell *lc;

	foreach(lc, triggers)
	{
		const Trigger *trigger = lfirst(lc);
		UsherWatchEvent event = usher_watch_event_of(trigger);
		UsherWatchWhen when = {0};

		if (event != WATCH_TRUNCATE)
			usher_watch_when_make(rel, watch, event, &when);
		if (!(needed & usher_watch_bit(event)) || !has_arguments(trigger, arguments) ||
			trigger->tgenabled == TRIGGER_DISABLED ||
			!equal(when.expression, trigger->tgqual ? stringToNode(trigger->tgqual) : NULL))
			return false;
		needed &= ~usher_watch_bit(event);
	}
	return needed == 0;
}

static void
drop_triggers(List *triggers)
{
	ObjectAddresses *addresses = new_object_addresses();
	ListCell *lc;

	foreach(lc, triggers)
	{
		ObjectAddress address;

		ObjectAddressSet(address, TriggerRelationId, ((const Trigger *) lfirst(lc))->tgoid);
		add_exact_object_address(&address, addresses);
	}
	performMultipleDeletions(addresses, DROP_RESTRICT, 0);
	free_object_addresses(addresses);
	CommandCounterIncrement();
}

/* Lock the table as strongly as its triggers will need, so that no lock is raised later. */
static Relation
open_table(Oid relid)
{
	LOCKMODE mode = ShareRowExclusiveLock;
	Relation rel;

	usher_watch_check_owner(relid);
	rel = relation_open(relid, AccessShareLock);
	if (has_own_triggers(rel))
		mode = AccessExclusiveLock;
	relation_close(rel, AccessShareLock);
	rel = relation_open(relid, mode);
	usher_watch_check_owner(relid);
	return rel;
}

void
usher_watch_define(Oid relid, const UsherWatch *watch)
{
	Relation rel = open_table(relid);
	int needed = triggers_needed(watch);
	List *triggers;

	check_relation(rel);
	check_watch(rel, watch);
	CheckTableNotInUse(rel, "usher.watch");
	check_partitions(rel);
	triggers = usher_watch_triggers(rel);
	if (!is_as_wanted(rel, watch, triggers))
	{
		if (triggers != NIL)
			drop_triggers(triggers);
		for (int event = 0; event < WATCH_TRIGGERS; event++)
			if (needed & usher_watch_bit(event))
				make_trigger(rel, watch, event);
	}
	if (watch->snapshot)
		usher_watch_snapshot_all(rel);
	relation_close(rel, NoLock);
}

void
usher_watch_drop(Oid relid)
{
	Relation rel = open_table(relid);
	List *triggers = usher_watch_triggers(rel);

	if (triggers == NIL)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("table \"%s\" is not watched", RelationGetRelationName(rel)),
						errhint("SELECT * FROM usher.watches lists the tables that are.")));
	if (!has_own_triggers(rel))
		refuse(rel, "It is a partition of a table that is watched.",
			   "Call usher.unwatch for that.");
	CheckTableNotInUse(rel, "usher.unwatch");
	relation_close(rel, NoLock);
	drop_triggers(triggers);
}
