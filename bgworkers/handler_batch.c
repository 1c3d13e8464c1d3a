/*
 * bgworkers/handler_batch.c
 *	  Some events of a handler, in one transaction.
 *
 * Each event runs in a subtransaction of its own; one that fails is set aside
 * as usher.nack would, and the acknowledgement of all commits with what the
 * others wrote.  When the transaction itself cannot commit, of a deferred
 * constraint say, its events are run again one by one, and the one that
 * cannot is set aside.
 *
 * From the first event to the end of the commit we are the handler's owner,
 * and cannot become anybody else; what a session could keep is thrown away
 * behind each transaction, so that handlers of different owners never meet.
 */
#include "handlers.h"

#include "log/log.h"
#include "tenancy/tenant.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/uuid.h"

#define BATCH_MS        1000 /* no other event begins behind that */
#define CANCEL_EVERY_MS 1000 /* a handler that catches the cancellation gets another */
#define CANCELS_MAX     10 /* and then the worker ends */
#define LOST_MAX        3 /* leases in a row that a seek may take away; then it was the handler itself */

typedef struct Delivered
{
	int64 position;
	Datum event;
	char *id, *actor, *correlation_id;
	char *key; /* what it is ordered by */
	bool left_out; /* an earlier one of its key failed: it comes again */
	bool done;
	int series; /* that counts it */
	int64 took_us;
} Delivered;

typedef struct Batch
{
	HandlerPool *pool;
	Handler *handler;
	UsherPoll poll;
	MemoryContext context; /* as long as the batch */
	MemoryContext scratch; /* as long as an event */
	Delivered items[HANDLER_BATCH];
	FmgrInfo function;
} Batch;

/* ---- the time limit ---- */

static TimeoutId timeout_id;
static volatile sig_atomic_t cancels;

/* In a signal handler. */
static void
on_timeout(void)
{
	if (++cancels > CANCELS_MAX)
		ProcDiePending = true;
	else
		QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

static void
arm(int64 ms)
{
	cancels = 0;
	enable_timeout_every(timeout_id, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms),
						 CANCEL_EVERY_MS);
}

static void
disarm(void)
{
	disable_timeout(timeout_id, false);
	if (cancels > 0)
		QueryCancelPending = false; /* it came too late */
}

void
handler_batch_init(void)
{
	timeout_id = RegisterTimeout(USER_TIMEOUT, on_timeout);
}

/* ---- what an event's handler finds around it ---- */

static char *
metadata_text(Jsonb *metadata, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&metadata->root, key, strlen(key), NULL);

	if (value == NULL)
		return NULL;
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvBinary)
		return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	return NULL;
}

/* Called by the poll. */
static void
deliver(UsherPoll *poll, int64 lease, int partition, int attempt, TupleTableSlot *slot)
{
	Batch *b = poll->arg;
	MemoryContext old = MemoryContextSwitchTo(b->context);
	Delivered *item = &b->items[poll->delivered - 1];
	bool isnull;
	Jsonb *metadata = DatumGetJsonbP(slot_getattr(slot, LOG_METADATA, &isnull));

	item->series = usher_delivery_series(slot);
	item->position = DatumGetInt64(slot_getattr(slot, LOG_POSITION, &isnull));
	item->event = usher_event_datum(slot);
	item->key = usher_parked_key(slot);
	item->id = DatumGetCString(DirectFunctionCall1(uuid_out, slot_getattr(slot, LOG_ID, &isnull)));
	item->actor = metadata_text(metadata, "actor");
	item->correlation_id = metadata_text(metadata, "correlation_id");
	MemoryContextSwitchTo(old);
}

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* To the end of the transaction for deferred triggers; else to that of the call. */
static void
set_place(const Batch *b)
{
	set("search_path", "pg_catalog, pg_temp");
	set("usher.tenant", text_to_cstring(usher_tenant_slug_of(b->handler->subscription->tenant_id)));
}

/* What it appends is caused by the event, and done for who did the event. */
static void
set_surroundings(const Batch *b, const Delivered *item)
{
	set_place(b);
	set("usher.actor", item->actor ? item->actor : "");
	set("usher.causation_id", item->id);
	set("usher.correlation_id", item->correlation_id ? item->correlation_id : item->id);
}

/*
 * Nothing of a handler may be met by another, or by us: as DISCARD ALL would.
 * Settings come first; a deferred trigger may have changed one for the session.
 */
void
handler_leave_nothing_behind(void)
{
	ResetAllOptions();
	StartTransactionCommand();
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	CommitTransactionCommand();
}

/* ---- one event ---- */

/* Its tenant may have been taken from the owner since it was registered.  As the owner. */
static void
check_tenant(const Batch *b)
{
	const UsherSubscription *s = b->handler->subscription;

	if (usher_current_tenant_id() != s->tenant_id)
		ereport(ERROR, (errcode(ERRCODE_USHER_TENANT_DENIED),
						errmsg("role \"%s\" may not use the tenant of handler \"%s\"",
							   GetUserNameFromId(b->handler->owner, false), s->name)));
}

/* It may have been dropped, replaced, or forbidden to its owner since it was registered. */
static void
find_function(Batch *b)
{
	Handler *h = b->handler;
	bool exists;
	Oid oid = usher_called_function(h->function_name, 1, &exists);

	if (!exists)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s does not exist", h->function_name),
						errhint("Create it again, or remove the handler with usher.unhandle.")));
	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("function %s has other arguments", h->function_name),
						errhint("Register the handler again with usher.handle.")));
	if (!DatumGetBool(DirectFunctionCall3(has_function_privilege_id_id, ObjectIdGetDatum(h->owner),
										  ObjectIdGetDatum(oid), CStringGetTextDatum("EXECUTE"))))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for function %s", h->function_name)));
	fmgr_info_cxt(oid, &b->function, b->context);
}

static void
call(Batch *b, const Delivered *item)
{
	int nest_level = NewGUCNestLevel();
	FmgrInfo function = b->function;
	LOCAL_FCINFO(fcinfo, 1);

	function.fn_mcxt = b->scratch; /* what the call keeps goes with it */
	set_surroundings(b, item);
	PushActiveSnapshot(GetTransactionSnapshot());
	InitFunctionCallInfoData(*fcinfo, &function, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = item->event;
	fcinfo->args[0].isnull = false;
	arm(b->handler->timeout_ms);
	(void) FunctionCallInvoke(fcinfo);
	disarm();
	PopActiveSnapshot();
	AtEOXact_GUC(false, nest_level);
}

static void
set_aside(Batch *b, const Delivered *item, const char *error)
{
	const Delivered *end = b->items + b->poll.delivered;

	ereport(LOG, (errmsg("handler \"%s\" failed at position %lld: %s",
						 b->handler->subscription->name, (long long) item->position, error)));
	if (usher_subscription_nack(b->handler->subscription, b->poll.lease, item->position, error, -1))
		for (Delivered *later = b->items + (item - b->items) + 1; later < end; later++)
			later->left_out |= strcmp(later->key, item->key) == 0;
}

static char *
describe(Batch *b, const ErrorData *error)
{
	if (cancels > 0 && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		return psprintf("the handler did not end within %lld ms",
						(long long) b->handler->timeout_ms);
	return psprintf("%s (SQLSTATE %s)%s%s", error->message, unpack_sql_state(error->sqlerrcode),
					error->context ? "\n" : "", error->context ? error->context : "");
}

/* NULL: it is done; else what went wrong. */
static char *
try_event(Batch *b, const Delivered *item)
{
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile failure = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(b->scratch);
	PG_TRY();
	{
		call(b, item);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		disarm();
		MemoryContextSwitchTo(b->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(b->context);
		failure = describe(b, error);
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(b->context);
	MemoryContextReset(b->scratch);
	return failure;
}

static void
run_event(Batch *b, Delivered *item)
{
	Handler *h = b->handler;
	TimestampTz began = GetCurrentTimestamp();
	char *failure;

	if (item->left_out)
		return;
	if (item->position == h->refused)
		failure = pstrdup(h->refusal);
	else if (usher_handler_suspect(h->subscription->id, item->position))
		failure = pstrdup("the worker ended while the handler ran");
	else
	{
		usher_handler_running(b->pool->entry, h->subscription->id, item->position);
		failure = try_event(b, item);
		usher_handler_running(b->pool->entry, 0, 0);
	}
	item->took_us = Max(GetCurrentTimestamp() - began, 0);
	item->done = failure == NULL;
	if (failure)
		set_aside(b, item, failure);
}

/* The transaction has committed; what failed was counted with it. */
static void
count_events(const Batch *b)
{
	for (int i = 0; i < b->poll.delivered; i++)
		if (b->items[i].done)
			usher_series_processed(b->items[i].series, OUTCOME_COMPLETED, 1, b->items[i].took_us);
}

/* ---- the batch ---- */

/* Is what was delivered new, and so in the order of positions? */
static bool
in_order(const Batch *b)
{
	for (int i = 1; i < b->poll.delivered; i++)
		if (b->items[i].position <= b->items[i - 1].position)
			return false;
	return true;
}

/*
 * Run the events and acknowledge them; after a long time only those that were
 * run, so that the rest, and the locks that we hold, do not wait for slow ones.
 */
static void
run_events(Batch *b)
{
	const UsherSubscription *s = b->handler->subscription;
	TimestampTz began = GetCurrentTimestamp();
	bool may_stop = in_order(b);

	for (int i = 0; i < b->poll.delivered; i++)
	{
		run_event(b, &b->items[i]);
		if (may_stop && i + 1 < b->poll.delivered &&
			TimestampDifferenceExceeds(began, GetCurrentTimestamp(), BATCH_MS))
		{
			usher_subscription_ack(s, b->poll.lease, b->items[i].position);
			usher_lease_end_at_commit(s, b->poll.lease);
			return;
		}
	}
	usher_subscription_ack(s, b->poll.lease, PG_INT64_MAX);
}

static void
run(Batch *b)
{
	Handler *h = b->handler;
	Oid user;
	int sec_context;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, h->subscription->name);
	GetUserIdAndSecContext(&user, &sec_context);
	if (usher_poll_once(&b->poll) > 0)
	{
		SetUserIdAndSecContext(h->owner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
		set_place(b);
		check_tenant(b);
		find_function(b);
		run_events(b);
	}
	PopActiveSnapshot();
	arm(h->timeout_ms); /* deferred triggers are the handler's, too */
	CommitTransactionCommand();
	disarm();
	count_events(b);
	SetUserIdAndSecContext(user, sec_context);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(false);
}

/* After an error outside of the events' subtransactions; true: it is dealt with. */
static bool
find_culprit(Batch *b)
{
	Handler *h = b->handler;
	ErrorData *error;

	disarm();
	usher_handler_running(b->pool->entry, 0, 0);
	MemoryContextSwitchTo(b->context);
	error = CopyErrorData();
	if (b->poll.delivered == 0 || !OidIsValid(b->function.fn_oid) ||
		(error->sqlerrcode == ERRCODE_USHER_LEASE_LOST && h->failures < LOST_MAX))
		return false;
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(b->context);
	if (b->poll.delivered > 1)
		h->singly = b->poll.delivered;
	else if (h->refused == b->items[0].position)
		return false; /* it was not even run */
	else
	{
		h->refused = b->items[0].position;
		strlcpy(h->refusal, describe(b, error), sizeof(h->refusal));
	}
	return true;
}

int
handler_batch_run(HandlerPool *pool, Handler *h)
{
	Batch b = {
		.pool = pool,
		.handler = h,
		.poll = {.subscription = h->subscription,
				 .member = usher_member_id(NULL),
				 .max = h->singly > 0 ? 1 : HANDLER_BATCH,
				 .share = (h->subscription->partitions + usher_handler_workers - 1) /
						  Max(usher_handler_workers, 1),
				 .deliver = deliver,
				 .counted = true},
		.context = CurrentMemoryContext,
	};

	b.poll.arg = &b;
	b.scratch = AllocSetContextCreate(b.context, "usher handler", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		run(&b);
		h->ready = b.poll.delivered > 0 || b.poll.more;
		h->next_at = b.poll.next_at;
		h->singly = Max(h->singly - 1, 0);
		h->refused = 0;
	}
	PG_CATCH();
	{
		if (!find_culprit(&b))
			PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(b.context);
	handler_leave_nothing_behind();
	MemoryContextSwitchTo(b.context);
	return b.poll.delivered;
}
