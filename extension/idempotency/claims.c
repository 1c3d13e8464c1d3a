/*
 * extension/idempotency/claims.c
 *	  Keys that this transaction has claimed, and what becomes of them at its end.
 *
 * A claim is kept in memory, with the key's lock: in the usual transaction
 * usher.once_done follows, and one row is written, with the response.  What
 * has none at the commit is written then, as begun.  A savepoint that rolls
 * back takes its claims and responses with it, as PostgreSQL does with its
 * locks and rows.  All memory is a child of TopTransactionContext.
 */
#include "idempotency/once.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

typedef struct Claim
{
	UsherKeyRow row; /* as it will be written without a response */
	SubTransactionId subid; /* which (sub)transaction has claimed it */
	bool done; /* its response has been written */
} Claim;

typedef struct ClaimEntry
{
	UsherOnceKey key;
	Claim *claim;
	char status;
} ClaimEntry;

static inline bool
key_equal(UsherOnceKey a, UsherOnceKey b)
{
	int len = VARSIZE_ANY_EXHDR(a.name);

	return a.hash == b.hash && a.tenant_id == b.tenant_id && len == VARSIZE_ANY_EXHDR(b.name) &&
		   memcmp(VARDATA_ANY(a.name), VARDATA_ANY(b.name), len) == 0;
}

#define SH_PREFIX            claimed
#define SH_ELEMENT_TYPE      ClaimEntry
#define SH_KEY_TYPE          UsherOnceKey
#define SH_KEY               key
#define SH_HASH_KEY(tb, key) ((uint32) (key).hash)
#define SH_EQUAL(tb, a, b)   key_equal(a, b)
#define SH_SCOPE             static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A response that was written, and by which (sub)transaction. */
typedef struct Response
{
	Claim *claim;
	SubTransactionId subid;
} Response;

static struct
{
	MemoryContext context; /* NULL: nothing claimed */
	claimed_hash *by_key;
	Claim **order; /* in the order of their calls */
	int n, size;
	Response *responses; /* likewise */
	int nresponses, responses_size;
	bool written; /* the commit has begun */
} claims;

static Claim *
claim_of(const UsherOnceKey *key)
{
	ClaimEntry *entry = claims.by_key ? claimed_lookup(claims.by_key, *key) : NULL;

	return entry ? entry->claim : NULL;
}

/* Whether usher_once_respond will find a claim of this transaction: then the key needs no lock. */
bool
usher_once_is_claimed(const UsherOnceKey *key)
{
	return claim_of(key) != NULL;
}

static void *
grown(void *array, int n, int *size, Size element)
{
	if (n < *size)
		return array;
	array = array ? repalloc_huge(array, 2 * *size * element)
				  : MemoryContextAlloc(claims.context, 8 * element);
	*size = Max(8, 2 * *size); /* not before: the allocation may fail in a savepoint */
	return array;
}

static void
claim_add(const UsherKeyRow *row)
{
	MemoryContext old;
	Claim *claim;
	bool found;

	if (claims.context == NULL)
	{
		claims.context = AllocSetContextCreate(TopTransactionContext, "usher claims",
											   ALLOCSET_SMALL_SIZES);
		claims.by_key = claimed_create(claims.context, 8, NULL);
	}
	claims.order = grown(claims.order, claims.n, &claims.size, sizeof(Claim *));
	old = MemoryContextSwitchTo(claims.context);
	claim = palloc0_object(Claim);
	claim->row = *row;
	claim->row.key.name = cstring_to_text_with_len(VARDATA_ANY(row->key.name),
												   VARSIZE_ANY_EXHDR(row->key.name));
	claim->row.fingerprint = (bytea *) cstring_to_text_with_len(
		VARDATA_ANY(row->fingerprint), VARSIZE_ANY_EXHDR(row->fingerprint));
	claim->row.done = false;
	claim->row.response = NULL;
	claim->subid = GetCurrentSubTransactionId();
	MemoryContextSwitchTo(old);
	claimed_insert(claims.by_key, claim->row.key, &found)->claim = claim;
	Ensure(!found, "an idempotency key was claimed twice");
	claims.order[claims.n++] = claim;
}

static bool
same_bytes(const bytea *a, const bytea *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * Claim a key that we have locked, if nobody has; else *found is how it stands.
 * A claim that was committed usher.once_timeout ago without a response is
 * taken over, and expires when it would have.
 */
UsherOnceState
usher_once_claim(UsherKeys *keys, const UsherOnceKey *key, bytea *fingerprint, int64 ttl_us,
				 UsherKeyRow *found)
{
	Claim *claim = claim_of(key);
	UsherKeyRow row = {.key = *key, .fingerprint = fingerprint, .created_at = keys->now};
	TimestampTz as_of = keys->now;

	if (claims.written)
		ereport(ERROR, (errcode(ERRCODE_USHER_APPEND_AFTER_FLUSH),
						errmsg("cannot claim an idempotency key while the transaction commits"),
						errhint("pg_usher must stand first in shared_preload_libraries.")));
	row.expires_at = keys->now + ttl_us;
	if (claim && !claim->done)
	{
		*found = claim->row;
		return same_bytes(fingerprint, found->fingerprint) ? ONCE_IN_PROGRESS : ONCE_CONFLICT;
	}
	if (claim) /* for its own transaction a key does not expire */
		as_of = Min(as_of, claim->row.expires_at - 1);
	if (usher_key_find(keys, key, as_of, found))
	{
		if (!same_bytes(fingerprint, found->fingerprint))
			return ONCE_CONFLICT;
		if (found->done)
			return ONCE_DONE;
		if (keys->now < found->created_at + usher_once_timeout_s * USECS_PER_SEC)
			return ONCE_IN_PROGRESS;
		row.created_at = Max(keys->now, found->created_at + 1);
		row.expires_at = found->expires_at;
	}
	claim_add(&row);
	return ONCE_FRESH;
}

static void
remember_response(Claim *claim)
{
	claims.responses = grown(claims.responses, claims.nresponses, &claims.responses_size,
							 sizeof(Response));
	claims.responses[claims.nresponses].claim = claim;
	claims.responses[claims.nresponses++].subid = GetCurrentSubTransactionId();
	claim->done = true;
}

static void
refuse_response(const UsherOnceKey *key)
{
	ereport(ERROR, (errcode(ERRCODE_USHER_IDEMPOTENCY_CONFLICT),
					errmsg("idempotency key \"%s\" has another response already",
						   text_to_cstring(key->name)),
					errhint("Somebody else took the request over after usher.once_timeout, or it "
							"was answered twice: give the client the response that usher.once "
							"returns.")));
}

static bool
same_response(const Jsonb *a, const Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(unconstify(JsonbContainer *, &a->root),
								  unconstify(JsonbContainer *, &b->root)) == 0;
}

/*
 * The row that keeps the response of a key, for usher_key_rows_insert; NULL:
 * the key has this response already.  The key is claimed or locked by us.
 */
UsherKeyRow *
usher_once_respond(UsherKeys *keys, const UsherOnceKey *key, Jsonb *response)
{
	Claim *claim = claim_of(key);
	UsherKeyRow *row = palloc_object(UsherKeyRow);

	if (claim && !claim->done)
	{
		*row = claim->row;
		remember_response(claim);
	}
	else if (!usher_key_find(keys, key, keys->now, row))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("idempotency key \"%s\" has not been claimed, or has expired",
							   text_to_cstring(key->name)),
						errhint("Call usher.once first.")));
	else if (row->done)
	{
		if (!same_response(row->response, response))
			refuse_response(key);
		pfree(row);
		return NULL;
	}
	else
		row->created_at = Max(keys->now, row->created_at + 1);
	row->done = true;
	row->response = response;
	return row;
}

/* ---- the end of a (sub)transaction ---- */

/* Claims without a response become rows: others are told that the request was begun. */
static void
claims_write(void)
{
	UsherKeyRow **rows;
	int n = 0;

	claims.written = true;
	if (claims.n == claims.nresponses)
		return;
	rows = MemoryContextAlloc(claims.context, claims.n * sizeof(UsherKeyRow *));
	for (int i = 0; i < claims.n; i++)
		if (!claims.order[i]->done)
			rows[n++] = &claims.order[i]->row;
	usher_key_rows_insert(rows, n);
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			claims_write();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			memset(&claims, 0, sizeof(claims));
			break;
		default:
			break;
	}
}

static void
subtransaction_committed(SubTransactionId mine, SubTransactionId parent)
{
	for (int i = claims.nresponses - 1; i >= 0 && claims.responses[i].subid == mine; i--)
		claims.responses[i].subid = parent;
	for (int i = claims.n - 1; i >= 0 && claims.order[i]->subid == mine; i--)
		claims.order[i]->subid = parent;
}

static void
subtransaction_aborted(SubTransactionId mine)
{
	while (claims.nresponses > 0 && claims.responses[claims.nresponses - 1].subid == mine)
		claims.responses[--claims.nresponses].claim->done = false;
	while (claims.n > 0 && claims.order[claims.n - 1]->subid == mine)
		claimed_delete(claims.by_key, claims.order[--claims.n]->row.key);
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			subtransaction_committed(mine, parent);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			subtransaction_aborted(mine);
			break;
		default:
			break;
	}
}

/* After usher_flush_init: registered later = called earlier, before positions are taken. */
void
usher_once_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
