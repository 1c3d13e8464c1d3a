/*
 * extension/api/subscription.c
 *	  Functions of subscriptions: check the arguments, then extension/subscription.
 */
#include "usher.h"

#include "api/argument.h"
#include "handler/handler.h"
#include "log/log.h"
#include "subscription/subscription.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SELECT_WAIT_MAX_MS 5000
#define POLL_MAX           10000 /* events */
#define ERROR_TEXT_MAX     8192
#define POLL_MS_MAX        1000 /* then one that found nothing yet returns, to keep what it skipped */
#define KEPT_BYTES         (8 * 1024 * 1024) /* of freed memory, in a session that polls */
#define DELIVERY_NATTS     (3 + USHER_EVENT_NATTS)

static UsherSubscription *
subscription_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_NAME), errmsg("the subscription's name is null")));
	usher_check_name(PG_GETARG_TEXT_PP(0), "subscription name");
	return usher_subscription_find(PG_GETARG_TEXT_PP(0));
}

/* ---- poll ---- */

typedef struct Output
{
	ReturnSetInfo *result;
	MemoryContext scratch;
} Output;

static void
deliver(UsherPoll *poll, int64 lease, int partition, int attempt, TupleTableSlot *slot)
{
	Output *output = poll->arg;
	MemoryContext old = MemoryContextSwitchTo(output->scratch);
	Datum values[DELIVERY_NATTS] = {
		Int64GetDatum(lease),
		Int32GetDatum(partition),
		Int32GetDatum(attempt),
	};
	bool nulls[DELIVERY_NATTS] = {0};

	usher_event_values(slot, values + 3, nulls + 3);
	tuplestore_putvalues(output->result->setResult, output->result->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(output->scratch);
}

/* How long to sleep: until the deadline, or until a parked key is due. */
static long
time_left(TimestampTz deadline, TimestampTz next_at)
{
	TimestampTz until = next_at != 0 ? Min(deadline, next_at) : deadline;

	return Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
}

/* Again, with what the subscription is now. */
static int
poll_again(UsherPoll *poll, const text *name)
{
	AcceptInvalidationMessages();
	poll->subscription = usher_subscription_find(name);
	return usher_poll_once(poll);
}

static void
poll_and_wait(UsherPoll *poll, const text *name, TimestampTz deadline)
{
	const UsherSubscription *s = poll->subscription;
	UsherDb *db = usher_db();

	usher_follow_begin(db, s->tenant_id, s->pattern, s->id);
	PG_TRY();
	{
		for (;;)
		{
			if (poll_again(poll, name) > 0 || GetCurrentTimestamp() >= deadline)
				break;
			if (poll->more)
			{
				CHECK_FOR_INTERRUPTS();
				continue;
			}
			usher_follow_examined(db, poll->examined);
			usher_wait_sleep(time_left(deadline, poll->next_at));
		}
	}
	PG_FINALLY();
	{
		usher_follow_end();
	}
	PG_END_TRY();
}

/*
 * glibc gives the memory of a batch back to the kernel when the statement has
 * ended, and the next one faults it in again: a tenth of a poll's time.  It
 * keeps twice the largest piece that was mapped and freed.
 */
static void
keep_freed_memory(void)
{
	static bool done;
	void *volatile piece;

	if (done)
		return;
	done = true;
	piece = malloc(KEPT_BYTES / 2);
	free(piece);
}

static void
check_writable(const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandDuringRecovery(command);
}

/* (subscription, max, wait, member, ack) */
PG_FUNCTION_INFO_V1(usher_poll);
Datum
usher_poll(PG_FUNCTION_ARGS)
{
	Output output;
	UsherPoll poll = {.subscription = subscription_argument(fcinfo), .deliver = deliver};
	int64 wait_ms = Min(Max(ms_argument(fcinfo, 2, "wait"), 0), SELECT_WAIT_MAX_MS);
	TimestampTz start = GetCurrentTimestamp();

	check_writable("usher.poll()");
	keep_freed_memory();
	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > POLL_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("max must be between 1 and %d", POLL_MAX)));
	if (!PG_ARGISNULL(3))
		usher_check_name(PG_GETARG_TEXT_PP(3), "member");
	poll.max = PG_GETARG_INT32(1);
	poll.member = usher_member_id(PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3));
	poll.arg = &output;
	InitMaterializedSRF(fcinfo, 0);
	output.result = (ReturnSetInfo *) fcinfo->resultinfo;
	output.scratch = AllocSetContextCreate(CurrentMemoryContext, "usher delivery",
										   ALLOCSET_DEFAULT_SIZES);
	if (!PG_ARGISNULL(4))
		usher_subscription_ack(poll.subscription, PG_GETARG_INT64(4), PG_INT64_MAX);
	(void) usher_cursor_begin(PG_INT64_MAX, 0, NULL); /* a transaction that cannot loses nothing */
	usher_leases_give_up(poll.subscription, poll.member);
	while (usher_poll_once(&poll) == 0 && poll.more &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), POLL_MS_MAX))
		CHECK_FOR_INTERRUPTS();
	if (poll.delivered == 0 && wait_ms > 0)
		poll_and_wait(&poll, PG_GETARG_TEXT_PP(0), TimestampTzPlusMilliseconds(start, wait_ms));
	return (Datum) 0;
}

static bool
wait_ready(const text *name, TimestampTz deadline)
{
	UsherSubscription *s = usher_subscription_find(name);
	UsherDb *db = usher_db();
	UsherReady ready = {.cursors = palloc0(s->partitions * sizeof(int64))};
	int32 id = s->id;
	volatile bool result = false;
	MemoryContext look = AllocSetContextCreate(CurrentMemoryContext, "usher look",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(look);

	usher_follow_begin(db, s->tenant_id, s->pattern, s->id);
	PG_TRY();
	{
		for (;;)
		{
			MemoryContextReset(look);
			AcceptInvalidationMessages();
			s = usher_subscription_find(name);
			if (s->id != id)
				break; /* dropped and made again: another one */
			result = usher_poll_ready(s, &ready);
			if (result || GetCurrentTimestamp() >= deadline)
				break;
			usher_follow_examined(db, ready.examined);
			usher_wait_sleep(time_left(deadline, ready.next_at));
		}
	}
	PG_FINALLY();
	{
		usher_follow_end();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(look);
	return result;
}

/* CALL usher.wait_for_delivery(subscription, timeout, INOUT ready): commits first, holds no snapshot. */
PG_FUNCTION_INFO_V1(usher_wait_for_delivery);
Datum
usher_wait_for_delivery(PG_FUNCTION_ARGS)
{
	int64 timeout_ms = timeout_argument(fcinfo, 1);
	text *name;
	TupleDesc desc;
	Datum value;
	bool isnull = false;

	(void) subscription_argument(fcinfo);
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("usher.wait_for_delivery cannot run inside a transaction block"),
						errhint("Inside one, use usher.poll with its wait, at most 5 seconds.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("usher.wait_for_delivery must be called with CALL")));
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	name = PG_GETARG_TEXT_P_COPY(0);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	value = BoolGetDatum(
		wait_ready(name, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms)));
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull)));
}

/* ---- ack, nack, extend ---- */

PG_FUNCTION_INFO_V1(usher_ack);
Datum
usher_ack(PG_FUNCTION_ARGS)
{
	UsherSubscription *s = subscription_argument(fcinfo);
	int64 lease = bigint_argument(fcinfo, 1, "lease");

	check_writable("usher.ack()");
	usher_subscription_ack(s, lease, PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT64(2));
	PG_RETURN_VOID();
}

/* (subscription, lease, position, error, retry_after) */
PG_FUNCTION_INFO_V1(usher_nack);
Datum
usher_nack(PG_FUNCTION_ARGS)
{
	UsherSubscription *s = subscription_argument(fcinfo);
	int64 lease = bigint_argument(fcinfo, 1, "lease");
	int64 position = bigint_argument(fcinfo, 2, "position");
	text *error = PG_ARGISNULL(3) ? cstring_to_text("") : PG_GETARG_TEXT_PP(3);
	int len = Min(VARSIZE_ANY_EXHDR(error), ERROR_TEXT_MAX);

	check_writable("usher.nack()");
	if (position < 1)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("a position cannot be less than 1")));
	len = pg_mbcliplen(VARDATA_ANY(error), VARSIZE_ANY_EXHDR(error), len);
	usher_subscription_nack(s, lease, position, pnstrdup(VARDATA_ANY(error), len),
							ms_argument(fcinfo, 4, "retry_after"));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(usher_extend);
Datum
usher_extend(PG_FUNCTION_ARGS)
{
	UsherSubscription *s = subscription_argument(fcinfo);
	int64 lease = bigint_argument(fcinfo, 1, "lease");
	int64 ms = ms_argument(fcinfo, 2, "interval");

	if (!usher_lease_extend(s, lease, ms < 0 ? s->lease_ms : ms))
		usher_lease_lost(s, lease);
	PG_RETURN_VOID();
}

/* ---- administration ---- */

/* (name, what) */
PG_FUNCTION_INFO_V1(usher_check_name_sql);
Datum
usher_check_name_sql(PG_FUNCTION_ARGS)
{
	char *what = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s is null", what)));
	usher_check_name(PG_GETARG_TEXT_PP(0), what);
	PG_RETURN_VOID();
}

/* Of the session's tenant, by its number. */
static UsherSubscription *
own_subscription(FunctionCallInfo fcinfo)
{
	UsherSubscription *s = usher_subscription_get(PG_GETARG_INT32(0));

	if (s == NULL || s->tenant_id != usher_current_tenant_id())
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_SUBSCRIPTION),
						errmsg("subscription %d does not exist", PG_GETARG_INT32(0))));
	return s;
}

/* All of its partitions, to the end of the transaction; somebody may have dropped it while we waited. */
static UsherSubscription *
own_subscription_locked(FunctionCallInfo fcinfo)
{
	UsherSubscription *s = own_subscription(fcinfo);

	for (int i = 0; i < s->partitions; i++)
		(void) usher_partition_lock(s->id, i, true);
	if (usher_subscription_get(s->id) == NULL)
		ereport(ERROR, (errcode(ERRCODE_USHER_UNKNOWN_SUBSCRIPTION),
						errmsg("subscription \"%s\" does not exist", s->name),
						errdetail("It was dropped a moment ago.")));
	return s;
}

/* (subscription_id, position): every partition goes on behind it; leases that are out are lost. */
PG_FUNCTION_INFO_V1(usher_subscription_start);
Datum
usher_subscription_start(PG_FUNCTION_ARGS)
{
	UsherSubscription *s = own_subscription_locked(fcinfo);
	int *partitions = palloc(s->partitions * sizeof(int));
	int64 *positions = palloc(s->partitions * sizeof(int64));

	for (int i = 0; i < s->partitions; i++)
	{
		partitions[i] = i;
		positions[i] = PG_GETARG_INT64(1);
	}
	usher_subscription_cursors_set(s, s->partitions, partitions, positions);
	usher_leases_revoke(s->id);
	usher_subscriptions_changed_at_commit(usher_db());
	usher_pollers_wake_at_commit(s);
	PG_RETURN_VOID();
}

/* (subscription_id): whoever waits looks again when this transaction has committed. */
PG_FUNCTION_INFO_V1(usher_wake_subscription);
Datum
usher_wake_subscription(PG_FUNCTION_ARGS)
{
	usher_pollers_wake_at_commit(own_subscription(fcinfo));
	PG_RETURN_VOID();
}

/* (subscription_id, lease, partition): of another tenant's subscription it is not. */
PG_FUNCTION_INFO_V1(usher_lease_held);
Datum
usher_lease_held(PG_FUNCTION_ARGS)
{
	UsherSubscription s = {.id = PG_GETARG_INT32(0), .tenant_id = usher_current_tenant_id()};
	int64 lease, upto;

	PG_RETURN_BOOL(usher_lease_of(&s, PG_GETARG_INT32(2), &lease, &upto) &&
				   lease == PG_GETARG_INT64(1));
}

/* (subscription_id, filter): returns the number of the replay. */
PG_FUNCTION_INFO_V1(usher_replay_of_subscription);
Datum
usher_replay_of_subscription(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan;
	/* what is parked for a partition is the matter of who holds its lock */
	UsherSubscription *s = own_subscription_locked(fcinfo);
	Oid types[] = {INT4OID, JSONBOID};
	Datum values[] = {Int32GetDatum(s->id), PG_GETARG_DATUM(1)};
	UsherOwner owner;
	bool isnull;
	int64 replay;

	usher_owner_begin(&owner);
	usher_owner_run(&plan, "SELECT usher.park_dead_letters($1, $2)", 2, types, values, NULL);
	replay = DatumGetInt64(usher_owner_column(0, 1, &isnull));
	usher_owner_end(&owner);
	usher_pollers_wake_at_commit(s);
	PG_RETURN_INT64(replay);
}

static Datum
list_partitions(FunctionCallInfo fcinfo, const UsherSubscription *s)
{
	ReturnSetInfo *result;
	int *partitions = palloc(s->partitions * sizeof(int));
	int64 *positions = palloc(s->partitions * sizeof(int64));

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	for (int i = 0; i < s->partitions; i++)
		partitions[i] = i;
	usher_subscription_cursors(s->id, s->partitions, partitions, positions);
	for (int i = 0; i < s->partitions; i++)
	{
		int64 lease, upto;
		Datum values[4];
		bool nulls[4] = {0};

		nulls[2] = nulls[3] = !usher_lease_of(s, i, &lease, &upto);
		values[0] = Int32GetDatum(i);
		values[1] = Int64GetDatum(positions[i]);
		values[2] = Int64GetDatum(lease);
		values[3] = Int64GetDatum(upto);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* (subscription_id): partition, position, lease, delivered up to */
PG_FUNCTION_INFO_V1(usher_subscription_partitions);
Datum
usher_subscription_partitions(PG_FUNCTION_ARGS)
{
	return list_partitions(fcinfo, own_subscription(fcinfo));
}

/* The same of any tenant's; for usher.metrics. */
PG_FUNCTION_INFO_V1(usher_any_subscription_partitions);
Datum
usher_any_subscription_partitions(PG_FUNCTION_ARGS)
{
	UsherSubscription *s = usher_subscription_get(PG_GETARG_INT32(0));

	if (s != NULL)
		return list_partitions(fcinfo, s);
	InitMaterializedSRF(fcinfo, 0);
	return (Datum) 0;
}
