/*
 * extension/watch/shape.c
 *	  What a trigger must know of its table, found out once a backend: names,
 *	  tenant, columns and how to convert them.
 *
 * One shape a trigger; a partition has triggers of its own.  It is made anew
 * when the table, what its owner may do, or a type or cast have changed.
 * A shape in use may be replaced by a nested statement: the old one's memory
 * then goes with the transaction.
 */
#include "watch/watch.h"

#include "log/log.h"

#include "catalog/pg_index.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef struct ShapeEntry
{
	Oid trigger;
	UsherWatchShape *shape;
} ShapeEntry;

static HTAB *shapes;
static uint64 changes; /* invalidations so far */

static void
all_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	ShapeEntry *entry;

	changes++;
	hash_seq_init(&status, shapes);
	while ((entry = hash_seq_search(&status)) != NULL)
		entry->shape->valid = false;
}

static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	ShapeEntry *entry;

	if (relid == InvalidOid)
	{
		all_changed((Datum) 0, 0, 0);
		return;
	}
	changes++;
	hash_seq_init(&status, shapes);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->shape->relid == relid || entry->shape->root == relid)
			entry->shape->valid = false;
}

static void
prepare(void)
{
	static const int caches[] = {AUTHMEMROLEMEM, AUTHOID, CASTSOURCETARGET, NAMESPACEOID, PROCOID};
	HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(ShapeEntry)};

	if (shapes != NULL)
		return;
	shapes = hash_create("usher watches", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	for (int i = 0; i < (int) lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], all_changed, (Datum) 0);
}

/* Forget what is not valid any more; somebody up the stack may be using it. */
static void
sweep(void)
{
	HASH_SEQ_STATUS status;
	ShapeEntry *entry;

	hash_seq_init(&status, shapes);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->shape->valid)
			continue;
		MemoryContextSetParent(entry->shape->context, TopTransactionContext);
		(void) hash_search(shapes, &entry->trigger, HASH_REMOVE, NULL);
	}
}

/* The order in which a jsonb object stores its keys. */
static int
compare_columns(const UsherWatchColumn *a, const UsherWatchColumn *b)
{
	return a->name_len != b->name_len ? a->name_len - b->name_len
									  : memcmp(a->name, b->name, a->name_len);
}

static int
compare_shown(const void *a, const void *b)
{
	return compare_columns(a, b);
}

static void
load_shown(UsherWatchShape *shape, TupleDesc desc, const AttrNumber *named, int n)
{
	shape->shown = palloc0_array(UsherWatchColumn, Max(desc->natts, 1));
	for (int i = 0; i < Max(desc->natts, n); i++)
	{
		int attnum = n < 0 ? i + 1 : i < n ? named[i] : InvalidAttrNumber;
		Form_pg_attribute attribute;

		if (attnum <= 0 || attnum > desc->natts)
			continue;
		attribute = TupleDescAttr(desc, attnum - 1);
		if (!attribute->attisdropped && !usher_attribute_is_virtual(attribute))
			usher_watch_column_init(&shape->shown[shape->nshown++], attribute, shape->context);
	}
	qsort(shape->shown, shape->nshown, sizeof(UsherWatchColumn), compare_shown);
}

static void
load_key(UsherWatchShape *shape, Relation rel, const AttrNumber *named, int n)
{
	AttrNumber primary[INDEX_MAX_KEYS];

	shape->nkey = n > 0 ? n : usher_watch_primary_key(rel, primary);
	if (shape->nkey == 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("table \"%s\" is watched and has no primary key any more",
						text_to_cstring(shape->topic)),
				 errhint("Call usher.watch again and say by which columns its events are to be "
						 "ordered, or usher.unwatch.")));
	shape->key = palloc0_array(UsherWatchColumn, shape->nkey);
	shape->key_order = palloc_array(int, shape->nkey);
	for (int i = 0; i < shape->nkey; i++)
	{
		int attnum = n > 0 ? named[i] : primary[i];
		int at = i;

		Ensure(attnum > 0 && attnum <= RelationGetDescr(rel)->natts, "a key's column is missing");
		usher_watch_column_init(&shape->key[i], TupleDescAttr(RelationGetDescr(rel), attnum - 1),
								shape->context);
		for (; at > 0 && compare_columns(&shape->key[shape->key_order[at - 1]], &shape->key[i]) > 0;
			 at--)
			shape->key_order[at] = shape->key_order[at - 1];
		shape->key_order[at] = i;
	}
}

static void
load_names(UsherWatchShape *shape)
{
	char *table = get_rel_name(shape->root);
	char *schema = table ? get_namespace_name(get_rel_namespace(shape->root)) : NULL;

	Ensure(schema != NULL, "a watched table does not exist");
	shape->topic = cstring_to_text(psprintf("%s.%s", schema, table));
	for (int i = 0; i < WATCH_EVENTS; i++)
	{
		shape->types[i] = cstring_to_text(
			psprintf("%s.%s.%s", schema, table, usher_watch_event_names[i]));
		usher_check_name(shape->types[i], "name of the table");
	}
}

/* Everything in the shape's own memory. */
static void
load(UsherWatchShape *shape, const Trigger *trigger, Relation rel)
{
	UsherWatchArguments arguments;
	AttrNumber *named;

	if (!usher_watch_arguments_read(trigger, &arguments))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
				 errmsg("trigger \"%s\" on table \"%s\" does not belong to a watch",
						trigger->tgname, RelationGetRelationName(rel)),
				 errhint("usher.watch_event is for the triggers that usher.watch creates.")));
	shape->trigger = trigger->tgoid;
	shape->relid = RelationGetRelid(rel);
	shape->root = usher_watch_root(trigger->tgoid);
	shape->operations = arguments.operations;
	load_names(shape);
	usher_watch_authorize(shape->root);
	if (usher_watch_event_of(trigger) == WATCH_TRUNCATE)
		return; /* an event of all rows */
	named = usher_watch_when_columns(trigger, arguments.nkey + Max(arguments.ncolumns, 0));
	load_key(shape, rel, named, arguments.nkey);
	load_shown(shape, RelationGetDescr(rel), named + arguments.nkey, arguments.ncolumns);
}

UsherWatchShape *
usher_watch_shape(const Trigger *trigger, Relation rel)
{
	ShapeEntry *entry;
	UsherWatchShape *shape;
	MemoryContext context, old;
	uint64 seen;
	bool found;

	prepare();
	entry = hash_search(shapes, &trigger->tgoid, HASH_FIND, NULL);
	if (likely(entry != NULL && entry->shape->valid))
		return entry->shape;

	context = AllocSetContextCreate(CurrentMemoryContext, "usher watch", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	shape = palloc0_object(UsherWatchShape);
	shape->context = context;
	seen = changes;
	load(shape, trigger, rel);
	shape->valid = seen == changes; /* else this call uses it, and the next one makes it anew */
	MemoryContextSwitchTo(old);

	sweep();
	MemoryContextSetParent(context, TopMemoryContext);
	entry = hash_search(shapes, &shape->trigger, HASH_ENTER, &found);
	Ensure(!found, "a trigger has two shapes");
	entry->shape = shape;
	return shape;
}
