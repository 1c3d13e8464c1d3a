/*
 * extension/compat.h
 *	  Every difference between PostgreSQL 15, 16, 17 and 18 that we meet.
 *
 * No other file tests PG_VERSION_NUM.
 */
#ifndef USHER_COMPAT_H
#define USHER_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "executor/executor.h"
#include "storage/proc.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "pg_usher supports PostgreSQL 15 to 18"
#endif

/* A backend's index in shared arrays: 0 .. MaxBackends-1 for every backend that runs transactions. */
#if PG_VERSION_NUM >= 170000
#define usher_my_procno() ((int) MyProcNumber)
#else
#define usher_my_procno() (MyProc->pgprocno)
#endif

#if PG_VERSION_NUM >= 160000
#define usher_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false)
#else
#define usher_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#endif

#if PG_VERSION_NUM >= 180000
#define usher_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define usher_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* Named wait events came with 17; before, everything of an extension is "Extension". */
#if PG_VERSION_NUM >= 170000
#define usher_wait_event(cell, name) ((cell) == 0 ? ((cell) = WaitEventExtensionNew(name)) : (cell))
#else
#define usher_wait_event(cell, name) ((void) (cell), PG_WAIT_EXTENSION)
#endif

#if PG_VERSION_NUM >= 160000
#define usher_buffile_read_exact(file, ptr, size) BufFileReadExact(file, ptr, size)
#else
#define usher_buffile_read_exact(file, ptr, size)                                              \
	do                                                                                         \
	{                                                                                          \
		if (BufFileRead(file, ptr, size) != (size))                                            \
			ereport(ERROR,                                                                     \
					(errcode_for_file_access(), errmsg("could not read the spilled events"))); \
	} while (0)
#endif

/*
 * From libpq/libpq.h, which needs the GSSAPI headers where the server was built
 * with them: the set with the client's socket (first) and our latch.
 */
extern PGDLLIMPORT struct WaitEventSet *FeBeWaitSet;
#define USHER_CLIENT_SOCKET_POS 0

#if PG_VERSION_NUM >= 170000
#define usher_my_lxid() (MyProc->vxid.lxid)
#else
#define usher_my_lxid() (MyProc->lxid)
#endif

#if PG_VERSION_NUM >= 160000
#define usher_owns_database(db, role) object_ownercheck(DatabaseRelationId, db, role)
#else
#define usher_owns_database(db, role) pg_database_ownercheck(db, role)
#endif

#if PG_VERSION_NUM >= 160000
#define usher_may_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define usher_may_execute(function, role) \
	(pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* Virtual generated columns came with 18: their value is not in the tuple. */
#if PG_VERSION_NUM >= 180000
#define usher_attribute_is_virtual(attribute) \
	((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define usher_attribute_is_virtual(attribute) ((void) (attribute), false)
#endif

#endif /* USHER_COMPAT_H */
