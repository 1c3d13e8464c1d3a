/*
 * bgworkers/handlers.c
 *	  A worker of a database's pool: it looks which handler has something to
 *	  do, and does some of it.
 *
 * A handler is a subscription that the pool polls, so that leases, order per
 * key, retries and dead letters are those of subscriptions.  Each worker
 * serves every handler: the log is read once to see whose turn it is, and the
 * partitions of a handler are shared among the workers that poll it.
 */
#include "handlers.h"

#include "lib/backoff.h"
#include "log/log.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include <sys/resource.h>

#define SCAN_EACH    100000 /* events in one look at the log */
#define RETRY_MS     100 /* after a failure outside of the function */
#define RETRY_MAX_MS 30000

PGDLLEXPORT void usher_handlers_main(Datum arg);

static HandlerPool *exit_pool;

/* ---- the list ---- */

static bool
is_exact(const Handler *h)
{
	return memchr(VARDATA_ANY(h->subscription->pattern), '*',
				  VARSIZE_ANY_EXHDR(h->subscription->pattern)) == NULL;
}

static int
compare_handlers(const void *a, const void *b)
{
	const Handler *x = a, *y = b;

	if (is_exact(x) != is_exact(y))
		return is_exact(x) ? -1 : 1;
	return x->subscription->id - y->subscription->id;
}

static void
load_handler(Handler *h, int row, MemoryContext context)
{
	TupleDesc desc = SPI_tuptable->tupdesc;
	HeapTuple tuple = SPI_tuptable->vals[row];
	MemoryContext old = MemoryContextSwitchTo(context);
	bool isnull;

	memset(h, 0, sizeof(*h));
	h->subscription = usher_subscription_get(DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull)));
	h->function_name = TextDatumGetCString(SPI_getbinval(tuple, desc, 2, &isnull));
	h->owner = DatumGetObjectId(SPI_getbinval(tuple, desc, 3, &isnull));
	h->timeout_ms = DatumGetInt32(SPI_getbinval(tuple, desc, 4, &isnull));
	h->ready = true;
	MemoryContextSwitchTo(old);
}

/* All handlers that are not paused; everyone may have something to do. */
static void
load(HandlerPool *pool)
{
	uint32 generation = pg_atomic_read_u32(&pool->db->subscriptions_generation);
	MemoryContext fresh = AllocSetContextCreate(TopMemoryContext, "usher handlers",
												ALLOCSET_SMALL_SIZES);
	Handler *list;
	int n = 0;

	usher_worker_begin("looking at the handlers");
	SPI_connect();
	if (SPI_execute("SELECT h.subscription_id, h.handler, h.owner::pg_catalog.oid, h.timeout_ms"
					" FROM usher.handlers h JOIN usher.subscriptions s USING (subscription_id)"
					" WHERE NOT s.paused AND NOT h.restored AND h.tenant_id = s.tenant_id",
					true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("the handlers cannot be read")));
	list = MemoryContextAllocZero(fresh, Max(SPI_processed, 1) * sizeof(Handler));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		load_handler(&list[n], (int) i, fresh);
		if (list[n].subscription != NULL)
			n++;
	}
	SPI_finish();
	usher_worker_commit();
	qsort(list, n, sizeof(Handler), compare_handlers);
	if (pool->context)
		MemoryContextDelete(pool->context);
	pool->context = fresh;
	pool->generation = generation;
	pool->list = list;
	pool->n = n;
	pool->next = 0;
	pool->scanned = -1;
}

/* ---- whose turn it is ---- */

static bool
all_ready(const HandlerPool *pool)
{
	for (int i = 0; i < pool->n; i++)
		if (!pool->list[i].ready)
			return false;
	return true;
}

typedef struct Look
{
	HandlerPool *pool;
	int left;
} Look;

static bool
look_visit(TupleTableSlot *slot, void *arg)
{
	Look *look = arg;
	HandlerPool *pool = look->pool;
	bool isnull;

	for (int i = 0; i < pool->n; i++)
		if (!pool->list[i].ready && usher_subscription_wants(pool->list[i].subscription, slot))
			pool->list[i].ready = true;
	pool->scanned = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	return --look->left > 0 && !all_ready(pool);
}

/*
 * What has come since the last look.  A handler that is ready finds its events
 * itself.  False: there is more to look at.
 */
static bool
look_at_log(HandlerPool *pool)
{
	Look look = {pool, SCAN_EACH};
	int64 stable = usher_stable_position_of(pool->db);

	if (pool->scanned >= 0 && stable > pool->scanned && !all_ready(pool))
	{
		usher_worker_begin("looking for events");
		usher_look_positions(pool->scanned, stable, look_visit, &look);
		usher_worker_commit();
		if (look.left <= 0 && !all_ready(pool))
			return false;
	}
	if (pool->scanned < 0 || all_ready(pool) || stable > pool->scanned)
		pool->scanned = stable;
	if (pool->following)
		usher_follow_examined(pool->db, stable);
	return true;
}

static bool
is_due(const Handler *h, TimestampTz now)
{
	return h->not_before <= now && (h->ready || (h->next_at != 0 && h->next_at <= now));
}

/* In turn, but when all had been idle, those with exact patterns first. */
static Handler *
next_handler(HandlerPool *pool)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < pool->n; i++)
	{
		int at = (pool->next + i) % pool->n;

		if (!is_due(&pool->list[at], now))
			continue;
		pool->next = (at + 1) % pool->n;
		return &pool->list[at];
	}
	pool->next = 0;
	return NULL;
}

/* How long until a handler is due by its time; -1: none is. */
static long
until_due(const HandlerPool *pool)
{
	TimestampTz now = GetCurrentTimestamp(), first = 0;

	for (int i = 0; i < pool->n; i++)
	{
		const Handler *h = &pool->list[i];
		TimestampTz at = h->ready ? h->not_before : h->next_at;

		if (at != 0 && h->not_before > at)
			at = h->not_before;
		if (at != 0 && (first == 0 || at < first))
			first = at;
	}
	return first == 0 ? -1 : Max(1, TimestampDifferenceMilliseconds(now, first));
}

/*
 * What a handler allocates beyond the limit fails with an error in it alone,
 * instead of calling the kernel's killer on the whole server.  Shared memory
 * does not count.  Not every system can do it.
 */
static void
limit_memory(void)
{
	static int limited_kb = -1;
	struct rlimit limit;

	if (usher_handler_memory_kb == limited_kb || getrlimit(RLIMIT_DATA, &limit) != 0)
		return;
	limited_kb = usher_handler_memory_kb;
	limit.rlim_cur = usher_handler_memory_kb == 0 ? limit.rlim_max
												  : (rlim_t) usher_handler_memory_kb * 1024;
	if (setrlimit(RLIMIT_DATA, &limit) != 0)
		ereport(LOG, (errmsg("the memory of handlers cannot be limited: %m")));
}

/* ---- the loop ---- */

/* Something about the handler itself is wrong, a dropped function say: the others go on. */
static void
note_failure(Handler *h, MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	h->failures++;
	h->not_before = GetCurrentTimestamp() +
					(TimestampTz) (1000 * usher_backoff_ms(h->failures, RETRY_MS, RETRY_MAX_MS,
														   pg_prng_double(&pg_global_prng_state)));
	/* a lease that was lost to a seek is no failure, and is looked at again soon */
	if (error->sqlerrcode != ERRCODE_USHER_LEASE_LOST)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("handler \"%s\" has to wait: %s", h->subscription->name, error->message),
				 error->hint ? errhint("%s", error->hint) : 0));
	FreeErrorData(error);
}

static void
run(HandlerPool *pool, Handler *h)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		(void) handler_batch_run(pool, h);
		h->failures = 0;
		h->not_before = 0;
	}
	PG_CATCH();
	{
		usher_handler_running(pool->entry, 0, 0);
		note_failure(h, context);
		handler_leave_nothing_behind();
	}
	PG_END_TRY();
}

/* How many workers of this database come before us in the array. */
static int
ordinal(const HandlerPool *pool)
{
	int n = 0;

	for (UsherHandlerWorker *w = usher_shared->handlers; w < pool->entry; w++)
		if (w->dboid == MyDatabaseId)
			n++;
	return n;
}

static bool
log_exists(const HandlerPool *pool)
{
	bool exists;

	usher_worker_begin("looking for the log");
	exists = OidIsValid(get_extension_oid("pg_usher", true));
	usher_worker_commit();
	return exists;
}

static void
stop_watching(HandlerPool *pool)
{
	if (pool->following)
		usher_follow_end();
	pool->following = false;
	usher_handler_busy(pool->db, pool->entry);
}

/* True: from now on we are woken, so the log has to be looked at once more. */
static bool
start_watching(HandlerPool *pool)
{
	if (pool->following || !usher_handler_watch(pool->db, pool->entry))
		return false;
	(void) pgstat_report_stat(true);
	usher_follow_begin(pool->db, 0, NULL, 0);
	pool->following = true;
	return true;
}

static long
handlers_round(void *state)
{
	HandlerPool *pool = state;
	Handler *h;
	bool looked;

	if (pool->list == NULL ||
		pool->generation != pg_atomic_read_u32(&pool->db->subscriptions_generation))
	{
		if (!log_exists(pool))
		{
			pool->worker.done = true;
			return -1;
		}
		load(pool);
	}
	if (pool->n == 0 || ordinal(pool) >= usher_handler_workers)
	{
		pool->worker.done = true;
		return -1;
	}
	limit_memory();
	looked = look_at_log(pool);
	h = next_handler(pool);
	if (h != NULL)
	{
		stop_watching(pool);
		run(pool, h);
		return 0;
	}
	if (!looked || start_watching(pool))
		return 0;
	return until_due(pool);
}

static void
handlers_exit(int code, Datum arg)
{
	UsherHandlerWorker *entry = exit_pool->entry;

	stop_watching(exit_pool);
	if (pg_atomic_read_u32(&entry->running_id) != 0)
	{
		pg_atomic_write_u64(&entry->suspect_position, pg_atomic_read_u64(&entry->running_position));
		pg_atomic_write_u32(&entry->suspect_id, pg_atomic_read_u32(&entry->running_id));
		pg_atomic_write_u32(&entry->running_id, 0);
	}
	pg_atomic_write_u32(&entry->procno, USHER_NO_PROC);
	usher_subscriptions_changed(
		exit_pool->db); /* what we had leased is for the others to look at */
}

/* The argument is the number of our entry; the housekeeping worker has taken it for us. */
void
usher_handlers_main(Datum arg)
{
	UsherHandlerWorker *entry = &usher_shared->handlers[DatumGetInt32(arg)];
	uint32 none = USHER_NO_PROC;
	static HandlerPool pool;

	usher_worker_signals(false);
	if (!OidIsValid(entry->dboid))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(entry->dboid, InvalidOid, 0);
	usher_worker_settings();
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_OVERRIDE);
	if (!pg_atomic_compare_exchange_u32(&entry->procno, &none, usher_my_procno()))
		proc_exit(0); /* another one is at it */
	pool.entry = entry;
	if (!usher_workers_paused())
	{
		usher_worker_begin("looking for the log");
		if (OidIsValid(get_extension_oid("pg_usher", true)))
			pool.db = usher_db();
		usher_worker_commit();
	}
	if (pool.db == NULL)
	{
		pg_atomic_write_u32(&entry->procno, USHER_NO_PROC);
		proc_exit(0);
	}
	exit_pool = &pool;
	before_shmem_exit(handlers_exit, (Datum) 0);
	handler_batch_init();
	pool.worker = (UsherWorker){
		.round = handlers_round,
		.state = &pool,
		.socket = PGINVALID_SOCKET,
		.wait_name = "UsherHandler",
	};
	usher_worker_loop(&pool.worker);
	proc_exit(0);
}
