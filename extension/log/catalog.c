/*
 * extension/log/catalog.c
 *	  Names of our relations -> oids, and the list of the log's partitions.
 *
 * One backend-local copy, rebuilt when the relation cache says that the log or
 * one of its partitions changed.  Callers hold no pointer into it across
 * anything that runs user code or calls usher_catalog() again.  The tuple
 * descriptors live as long as the backend (a changed one is a new copy).
 *
 * The log itself is locked only while its partitions are listed: open
 * transactions then stand in nobody's way who attaches or detaches.
 */
#include "log.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

static UsherCatalog catalog;
static MemoryContext catalog_context;
static bool catalog_valid;
static bool callback_registered;

static void
relcache_changed(Datum arg, Oid relid)
{
	if (!catalog_valid)
		return;
	if (relid == InvalidOid || relid == catalog.log || relid == catalog.registry ||
		relid == catalog.segments)
	{
		catalog_valid = false;
		return;
	}
	for (int i = 0; i < catalog.npartitions; i++)
		if (catalog.partitions[i].relid == relid)
		{
			catalog_valid = false;
			return;
		}
}

void
usher_catalog_forget(void)
{
	catalog_valid = false;
}

static Oid
relation_named(Oid nsp, const char *name)
{
	Oid relid = get_relname_relid(name, nsp);

	if (!OidIsValid(relid))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation \"%s.%s\" does not exist", USHER_SCHEMA, name),
			 errhint(
				 "CREATE EXTENSION pg_usher in this database, or ALTER EXTENSION pg_usher UPDATE after an upgrade.")));
	return relid;
}

static Oid
type_named(Oid nsp, const char *name)
{
	Oid oid = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
							  ObjectIdGetDatum(nsp));

	Ensure(OidIsValid(oid), "a type of schema usher is missing");
	return oid;
}

static void
keep_desc(TupleDesc *kept, TupleDesc current)
{
	if (*kept == NULL || !equalTupleDescs(*kept, current))
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		*kept = CreateTupleDescCopy(current);
		MemoryContextSwitchTo(old);
	}
}

/* Range bounds come sorted; indexes[i] is the partition that ends at datums[i]. */
static void
list_partitions(Relation log)
{
	PartitionDesc desc = RelationGetPartitionDesc(log, true);
	PartitionBoundInfo bounds = desc->boundinfo;

	catalog.npartitions = 0;
	catalog.partitions = palloc0_array(UsherPartition, Max(desc->nparts, 1));
	if (desc->nparts == 0)
		return;
	for (int i = 1; i < bounds->ndatums; i++)
	{
		UsherPartition *p = &catalog.partitions[catalog.npartitions];

		if (bounds->indexes[i] < 0)
			continue;
		p->from = DatumGetInt64(bounds->datums[i - 1][0]);
		p->to = DatumGetInt64(bounds->datums[i][0]);
		p->relid = desc->oids[bounds->indexes[i]];
		catalog.npartitions++;
	}
}

static void
catalog_build(void)
{
	Oid nsp = get_namespace_oid(USHER_SCHEMA, true);
	MemoryContext old_context;
	TupleDesc event_desc;
	Relation log;

	if (!OidIsValid(nsp))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension pg_usher is not installed in this database"),
						errhint("CREATE EXTENSION pg_usher.")));
	catalog.log = relation_named(nsp, "log");
	catalog.registry = relation_named(nsp, "stream_registry");
	catalog.registry_pkey = relation_named(nsp, "stream_registry_pkey");
	catalog.segments = relation_named(nsp, "stream_segments");
	catalog.segments_pkey = relation_named(nsp, "stream_segments_pkey");
	catalog.limits = relation_named(nsp, "stream_limits");
	catalog.limits_pkey = relation_named(nsp, "stream_limits_pkey");
	catalog.tenants = relation_named(nsp, "tenants");
	catalog.tenants_slug = relation_named(nsp, "tenants_slug_key");
	catalog.tenant_grants = relation_named(nsp, "tenant_grants");
	catalog.projections = relation_named(nsp, "projections");
	catalog.removals = relation_named(nsp, "log_removals");
	catalog.snapshots = relation_named(nsp, "snapshots");
	catalog.position_mark = relation_named(nsp, "position_mark");
	catalog.timeline_mark = relation_named(nsp, "timeline_mark");
	catalog.stable_mark = relation_named(nsp, "stable_mark");
	catalog.event_type = type_named(nsp, "event");

	event_desc = lookup_rowtype_tupdesc(catalog.event_type, -1);
	keep_desc(&catalog.event_desc, event_desc);
	ReleaseTupleDesc(event_desc);

	catalog.npartitions = 0; /* invalidations look at the list while it is made */
	MemoryContextReset(catalog_context);
	old_context = MemoryContextSwitchTo(catalog_context);
	log = table_open(catalog.log, AccessShareLock);
	Ensure(RelationGetNumberOfAttributes(log) == LOG_NATTS,
		   "usher.log has other columns than this library knows");
	keep_desc(&catalog.log_desc, RelationGetDescr(log));
	list_partitions(log);
	table_close(log, AccessShareLock);
	MemoryContextSwitchTo(old_context);
	catalog.generation++;
}

UsherCatalog *
usher_catalog(void)
{
	if (likely(catalog_valid))
		return &catalog;
	if (usher_shared == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_USHER_NOT_PRELOADED),
			 errmsg("pg_usher must be loaded through shared_preload_libraries"),
			 errhint("Put pg_usher first in shared_preload_libraries and restart the server.")));
	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relcache_changed, (Datum) 0);
		catalog_context = AllocSetContextCreate(TopMemoryContext, "usher catalog",
												ALLOCSET_SMALL_SIZES);
		callback_registered = true;
	}
	/* An invalidation that arrives while we build makes us build again. */
	do
	{
		catalog_valid = true;
		PG_TRY();
		{
			catalog_build();
		}
		PG_CATCH();
		{
			catalog_valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	} while (!catalog_valid);
	return &catalog;
}

/* The partition that holds `position`, or the first one behind it; npartitions when there is none. */
int
usher_partition_index(const UsherCatalog *cat, int64 position)
{
	int low = 0, high = cat->npartitions;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (cat->partitions[middle].to <= position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Number of the partition that takes the next event, as far as there is one; -1: none.
 * The list of partitions may be another one behind this call.
 */
int
usher_partition_current(const UsherCatalog *cat)
{
	int64 next;
	int index;

	if (RecoveryInProgress())
		return cat->npartitions - 1;
	next = usher_position_next(usher_db());
	index = usher_partition_index(cat, next);
	return Min(index, cat->npartitions - 1);
}

static UsherIndex
index_kind(HeapTuple tuple)
{
	static const struct
	{
		bool partial;
		int nkeys;
		AttrNumber keys[3];
	} kinds[INDEX_COUNT] = {
		[INDEX_POSITION] = {false, 1, {LOG_POSITION}},
		[INDEX_STREAM] = {true, 3, {LOG_TENANT_ID, LOG_STREAM, LOG_VERSION}},
		[INDEX_CATEGORY] = {true, 3, {LOG_TENANT_ID, LOG_CATEGORY_HASH, LOG_POSITION}},
		[INDEX_ID] = {true, 2, {LOG_TENANT_ID, LOG_ID}},
	};
	Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);
	bool partial = !heap_attisnull(tuple, Anum_pg_index_indpred, NULL);

	for (int kind = 0; kind < INDEX_COUNT; kind++)
		if (index->indnkeyatts == kinds[kind].nkeys && index->indisvalid &&
			partial == kinds[kind].partial &&
			memcmp(index->indkey.values, kinds[kind].keys,
				   kinds[kind].nkeys * sizeof(AttrNumber)) == 0)
			return kind;
	return INDEX_COUNT;
}

static void
find_indexes(UsherPartition *partition, Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;

	foreach(lc, indexes)
	{
		Oid oid = lfirst_oid(lc);
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(oid));
		UsherIndex kind;

		if (!HeapTupleIsValid(tuple))
			continue;
		kind = index_kind(tuple);
		if (kind != INDEX_COUNT)
			partition->indexes[kind] = oid;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	for (int kind = 0; kind < INDEX_COUNT; kind++)
		if (!OidIsValid(partition->indexes[kind]))
			ereport(ERROR, (errcode(ERRCODE_USHER_CORRUPTED),
							errmsg("partition \"%s\" of the log lacks an index",
								   RelationGetRelationName(rel)),
							errhint("Its indexes must be those of usher.log.")));
}

/*
 * Open a partition; NULL when it has been dropped since the list was made.
 * `partition` points into the catalog's list: the indexes are kept there.
 */
Relation
usher_partition_open(UsherPartition *partition, LOCKMODE lockmode)
{
	Relation rel = try_table_open(partition->relid, lockmode);

	if (rel == NULL)
	{
		usher_catalog_forget();
		return NULL;
	}
	if (unlikely(!OidIsValid(partition->indexes[INDEX_POSITION])))
	{
		Ensure(RelationGetNumberOfAttributes(rel) == LOG_NATTS,
			   "a partition has other columns than the log");
		find_indexes(partition, rel);
	}
	return rel;
}

/* For invalidation callbacks, which may not look anything up: the last known oid. */
Oid
usher_catalog_projections(void)
{
	return catalog.projections;
}
