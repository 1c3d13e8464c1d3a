/*
 * extension/idempotency/once.h
 *	  Idempotency keys: what the files of this room offer each other and the
 *	  rooms above.
 *
 *	  keys.c    rows of usher.idempotency_keys: lock a key, find it, write it
 *	  claims.c  keys that this transaction has claimed; the end of a transaction
 *
 * A call works on an array of UsherOnce, one a key: it locks all of them, and
 * only then opens the tables (UsherKeys), so that what it finds there includes
 * everything that the holders of these locks before it have committed.
 */
#ifndef USHER_ONCE_H
#define USHER_ONCE_H

#include "usher.h"

#include "access/genam.h"
#include "executor/tuptable.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#define USHER_KEY_SLOTS       10 /* tables in the ring */
#define USHER_KEY_DAYS        8 /* of them can hold living keys */
#define USHER_KEY_TTL_MAX     (7 * USECS_PER_DAY)
#define USHER_FINGERPRINT_MAX 64 /* bytes: SHA-512 */

/* A key as a caller names it. */
typedef struct UsherOnceKey
{
	int32 tenant_id;
	text *name;
	uint64 hash; /* of both; see usher_once_key */
} UsherOnceKey;

/* A row. */
typedef struct UsherKeyRow
{
	UsherOnceKey key;
	bytea *fingerprint;
	TimestampTz created_at, expires_at;
	bool done;
	Jsonb *response; /* NULL: none */
} UsherKeyRow;

typedef enum UsherOnceState
{
	ONCE_FRESH, /* claimed for this transaction */
	ONCE_DONE, /* has a response */
	ONCE_CONFLICT, /* was claimed with another fingerprint */
	ONCE_IN_PROGRESS /* was claimed a moment ago, and has no response */
} UsherOnceState;

/* ---- keys.c ---- */
typedef struct UsherKeyTable
{
	bool looked; /* below is as we found it */
	Relation rel; /* NULL: empty */
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} UsherKeyTable;

typedef struct UsherKeys
{
	TimestampTz now;
	UsherKeyTable tables[USHER_KEY_SLOTS];
} UsherKeys;

extern UsherOnceKey usher_once_key(int32 tenant_id, text *name);
extern bool usher_key_lock(const UsherOnceKey *key, bool wait);
extern void usher_keys_open(UsherKeys *keys);
extern bool
usher_key_find(UsherKeys *keys, const UsherOnceKey *key, TimestampTz as_of, UsherKeyRow *row);
extern void usher_keys_close(UsherKeys *keys);
extern void usher_key_rows_insert(UsherKeyRow *const *rows, int n);

/* ---- claims.c ---- */
extern void usher_once_init(void);
extern UsherOnceState usher_once_claim(UsherKeys *keys, const UsherOnceKey *key, bytea *fingerprint,
									   int64 ttl_us, UsherKeyRow *found);
extern bool usher_once_is_claimed(const UsherOnceKey *key);
extern UsherKeyRow *usher_once_respond(UsherKeys *keys, const UsherOnceKey *key, Jsonb *response);

#endif /* USHER_ONCE_H */
