/*
 * extension/tenancy/tenant.h
 *	  Which tenant the session works for, and whether it may.
 */
#ifndef USHER_TENANT_H
#define USHER_TENANT_H

#include "usher.h"

/* Id of the session's tenant; an error when it is unknown or not granted to the current role. */
extern int32 usher_current_tenant_id(void);

/* Id of a tenant, whoever may use it; 0 when there is none. */
extern int32 usher_tenant_named(const char *slug);

/* Slug of a tenant, in memory that lives until the tenants change; NULL when there is none. */
extern text *usher_tenant_slug_of(int32 tenant_id);

/* Whether the current role may act for every tenant (owner of the log, superuser, usher_admin). */
extern bool usher_is_admin(void);

extern void usher_tenant_cache_reset(void);

#endif /* USHER_TENANT_H */
