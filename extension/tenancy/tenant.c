/*
 * extension/tenancy/tenant.c
 *	  Which tenant the session works for, and whether it may.
 *
 * The owner of the log, superusers and members of usher_admin may name any
 * tenant.  Another role may name the tenants that were granted to it or to a
 * role it is a member of; without any grant the default tenant alone.  A role
 * with exactly one tenant is in it without setting anything, and nowhere else
 * whatever it sets.
 *
 * Results are cached per backend for the pair (role, setting); triggers on
 * usher.tenants and usher.tenant_grants and changes of role memberships
 * clear the caches of all backends.
 */
#include "tenancy/tenant.h"

#include "log/log.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

enum
{
	TENANT_ID = 1,
	TENANT_SLUG
};
enum
{
	GRANT_ROLE = 1,
	GRANT_TENANT_ID
};

typedef struct SlugEntry
{
	int32 tenant_id;
	text *slug;
} SlugEntry;

static MemoryContext cache_context;
static HTAB *slugs;
static bool cache_valid;
static bool callbacks_registered;

/* The last answer of usher_current_tenant_id. */
static Oid answer_role;
static char answer_slug[NAMEDATALEN];
static int32 answer;

static void
forget_answer(Datum arg, int cacheid, uint32 hashvalue)
{
	answer = 0;
}

static void
relation_changed(Datum arg, Oid relid)
{
	UsherCatalog *cat;

	if (!cache_valid && answer == 0)
		return;
	if (relid != InvalidOid)
	{
		cat = (UsherCatalog *) DatumGetPointer(arg);
		if (relid != cat->tenants && relid != cat->tenant_grants)
			return;
	}
	usher_tenant_cache_reset();
}

void
usher_tenant_cache_reset(void)
{
	cache_valid = false;
	answer = 0;
}

static void
cache_prepare(void)
{
	HASHCTL ctl = {.keysize = sizeof(int32), .entrysize = sizeof(SlugEntry)};

	if (cache_valid)
		return;
	if (!callbacks_registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, PointerGetDatum(usher_catalog()));
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_answer, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, forget_answer, (Datum) 0);
		callbacks_registered = true;
	}
	if (cache_context)
		MemoryContextDelete(cache_context);
	cache_context = AllocSetContextCreate(TopMemoryContext, "usher tenants", ALLOCSET_SMALL_SIZES);
	ctl.hcxt = cache_context;
	slugs = hash_create("usher tenants", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_valid = true;
}

text *
usher_tenant_slug_of(int32 tenant_id)
{
	SlugEntry *entry;
	bool found;
	text *slug = NULL;
	Relation rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;

	cache_prepare();
	entry = hash_search(slugs, &tenant_id, HASH_FIND, NULL);
	if (entry)
		return entry->slug;

	rel = table_open(usher_catalog()->tenants, AccessShareLock);
	ScanKeyInit(&key, TENANT_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(tenant_id));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, TENANT_SLUG, RelationGetDescr(rel), &isnull);

		cache_prepare(); /* opening the table may have invalidated the cache */
		slug = (text *) MemoryContextAlloc(cache_context, VARSIZE_ANY(DatumGetPointer(value)));
		memcpy(slug, DatumGetPointer(value), VARSIZE_ANY(DatumGetPointer(value)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (slug == NULL)
		return NULL;
	entry = hash_search(slugs, &tenant_id, HASH_ENTER, &found);
	entry->slug = slug;
	return slug;
}

int32
usher_tenant_named(const char *slug)
{
	int32 tenant_id = 0;
	Relation rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;

	if (strcmp(slug, USHER_DEFAULT_TENANT) == 0)
		return USHER_DEFAULT_TENANT_ID;
	rel = table_open(usher_catalog()->tenants, AccessShareLock);
	ScanKeyInit(&key, TENANT_SLUG, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(slug));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, usher_catalog()->tenants_slug, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		tenant_id = DatumGetInt32(heap_getattr(tuple, TENANT_ID, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return tenant_id;
}

bool
usher_is_admin(void)
{
	Oid role = GetUserId();
	Oid admin;
	Oid owner = InvalidOid;
	HeapTuple tuple;

	if (superuser_arg(role))
		return true;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(usher_catalog()->log));
	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	if (OidIsValid(owner) && has_privs_of_role(role, owner))
		return true;
	admin = get_role_oid("usher_admin", true);
	return OidIsValid(admin) && has_privs_of_role(role, admin);
}

/*
 * Whether the role may use the tenant.  *only becomes the tenant of a role
 * that has exactly one grant, else 0.
 */
static bool
tenant_granted(Oid role, int32 tenant_id, int32 *only)
{
	Relation rel = table_open(usher_catalog()->tenant_grants, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	bool granted = false;
	int ngrants = 0;

	*only = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Oid grantee = DatumGetObjectId(
			heap_getattr(tuple, GRANT_ROLE, RelationGetDescr(rel), &isnull));
		int32 grant = DatumGetInt32(
			heap_getattr(tuple, GRANT_TENANT_ID, RelationGetDescr(rel), &isnull));

		if (!has_privs_of_role(role, grantee))
			continue;
		if (isnull)
			granted = true;
		else if (grant == tenant_id)
			granted = true;
		ngrants += isnull ? 2 : (grant != *only);
		if (!isnull)
			*only = grant;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (ngrants != 1)
		*only = 0;
	return granted || (ngrants == 0 && tenant_id == USHER_DEFAULT_TENANT_ID);
}

static int32
resolve_tenant(Oid role)
{
	int32 tenant_id = usher_tenant_named(usher_tenant_slug);
	int32 only;

	if (tenant_id != 0 && usher_is_admin())
		return tenant_id;
	if (tenant_id == 0 && usher_is_admin())
		ereport(ERROR,
				(errcode(ERRCODE_USHER_UNKNOWN_TENANT),
				 errmsg("tenant \"%s\" does not exist", usher_tenant_slug),
				 errhint("Create it with usher.create_tenant, or set usher.tenant to another.")));
	/* Whether a tenant exists that a role may not use is none of its business. */
	if (tenant_granted(role, tenant_id, &only) && tenant_id != 0)
		return tenant_id;
	if (only != 0 && strcmp(usher_tenant_slug, USHER_DEFAULT_TENANT) == 0)
		return only;
	ereport(
		ERROR,
		(errcode(ERRCODE_USHER_TENANT_DENIED),
		 errmsg("role \"%s\" may not use tenant \"%s\"", GetUserNameFromId(role, false),
				usher_tenant_slug),
		 errhint(
			 "Set usher.tenant to a tenant of this role, or have it granted with usher.grant_tenant.")));
}

int32
usher_current_tenant_id(void)
{
	Oid role = GetUserId();

	if (likely(answer != 0 && answer_role == role && strcmp(answer_slug, usher_tenant_slug) == 0))
		return answer;
	cache_prepare();
	if (strlen(usher_tenant_slug) >= sizeof(answer_slug))
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_TENANT),
						errmsg("tenant \"%s\" does not exist", usher_tenant_slug)));
	answer = 0;
	answer_role = role;
	strlcpy(answer_slug, usher_tenant_slug, sizeof(answer_slug));
	answer = resolve_tenant(role);
	return answer;
}
