/*
 * extension/api/signal.c
 *	  signal, read_signals, wait_for_signal; and for the HTTP gateway
 *	  gateway_signal, gateway_signals.
 */
#include "usher.h"

#include "log/log.h"
#include "signal/signal.h"
#include "tenancy/tenant.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#define READ_MAX 10000
#define RESERVED "usher." /* topics of ours begin with it */

static void
refuse_standby(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("signals cannot be sent on a standby")));
}

static bool
is_reserved(const char *topic, int len)
{
	return len >= (int) strlen(RESERVED) && memcmp(topic, RESERVED, strlen(RESERVED)) == 0;
}

/* (topic, data) */
PG_FUNCTION_INFO_V1(usher_signal);
Datum
usher_signal(PG_FUNCTION_ARGS)
{
	int32 tenant_id = usher_current_tenant_id();
	text *topic;
	Jsonb *data;
	char *json;
	UsherSignal signal;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("topic is null")));
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("data is null")));
	refuse_standby();
	topic = PG_GETARG_TEXT_PP(0);
	usher_check_name(topic, "topic");
	if (is_reserved(VARDATA_ANY(topic), VARSIZE_ANY_EXHDR(topic)))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME),
						errmsg("topics that begin with \"usher.\" are reserved")));
	data = PG_GETARG_JSONB_P(1);
	json = JsonbToCString(NULL, &data->root, VARSIZE(data));
	if (strlen(json) > USHER_SIGNAL_DATA_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_EVENT_TOO_LARGE),
						errmsg("data of a signal is longer than %d bytes", USHER_SIGNAL_DATA_MAX),
						errhint("Append an event, and signal that it is there.")));
	signal = (UsherSignal){
		.tenant_id = tenant_id,
		.topic = VARDATA_ANY(topic),
		.topic_len = VARSIZE_ANY_EXHDR(topic),
		.sender = "",
		.data = json,
		.data_len = strlen(json),
	};
	PG_RETURN_INT64(usher_signal_send(usher_db(), &signal));
}

/*
 * (tenant, topic, data as text, sender): what the gateway has checked. What
 * cannot be sent is null, so that it costs the others of the same call nothing.
 */
PG_FUNCTION_INFO_V1(usher_gateway_signal);
Datum
usher_gateway_signal(PG_FUNCTION_ARGS)
{
	text *texts[3];
	UsherSignal signal;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i + 1))
			PG_RETURN_NULL();
		texts[i] = PG_GETARG_TEXT_PP(i + 1);
	}
	refuse_standby();
	signal = (UsherSignal){
		.tenant_id = usher_tenant_named(text_to_cstring(PG_GETARG_TEXT_PP(0))),
		.topic = VARDATA_ANY(texts[0]),
		.topic_len = VARSIZE_ANY_EXHDR(texts[0]),
		.data = VARDATA_ANY(texts[1]),
		.data_len = VARSIZE_ANY_EXHDR(texts[1]),
		.sender = VARDATA_ANY(texts[2]),
		.sender_len = VARSIZE_ANY_EXHDR(texts[2]),
	};
	if (signal.tenant_id == 0 || signal.topic_len == 0 || signal.topic_len > USHER_NAME_MAX ||
		signal.data_len > USHER_SIGNAL_DATA_MAX || signal.sender_len > USHER_NAME_MAX)
		PG_RETURN_NULL();
	PG_RETURN_INT64(usher_signal_send(usher_db(), &signal));
}

/* ---- reading ---- */

/* Of read_signals: next, lost, number, topic, data, sender, sent_at; gateway_signals has the tenant in front of the topic. */
#define READ_NATTS 7

typedef struct Reading
{
	ReturnSetInfo *result;
	int64 next, lost;
	int32 tenant_id; /* 0: every tenant */
	int max, n;
} Reading;

static void
put(Reading *reading, const UsherSignal *signal)
{
	Datum values[READ_NATTS + 1] = {Int64GetDatum(reading->next), Int64GetDatum(reading->lost)};
	bool nulls[READ_NATTS + 1];
	int column = 2;

	memset(nulls, true, sizeof(nulls));
	nulls[0] = false;
	nulls[1] = reading->lost < 0;
	if (signal != NULL)
	{
		memset(nulls + 2, false, sizeof(nulls) - 2 * sizeof(bool));
		values[column++] = Int64GetDatum(signal->number);
		if (reading->tenant_id == 0)
		{
			text *slug = usher_tenant_slug_of(signal->tenant_id);

			nulls[column] = slug == NULL;
			values[column++] = PointerGetDatum(slug);
		}
		values[column++] = PointerGetDatum(
			cstring_to_text_with_len(signal->topic, signal->topic_len));
		values[column++] = PointerGetDatum(
			cstring_to_text_with_len(signal->data, signal->data_len));
		nulls[column] = signal->sender_len == 0;
		values[column++] = PointerGetDatum(
			cstring_to_text_with_len(signal->sender, signal->sender_len));
		values[column++] = TimestampTzGetDatum(signal->sent_at);
	}
	tuplestore_putvalues(reading->result->setResult, reading->result->setDesc, values, nulls);
}

static bool
is_wanted(const Reading *reading, const UsherSignal *signal)
{
	return reading->tenant_id == 0 || (signal->tenant_id == reading->tenant_id &&
									   !is_reserved(signal->topic, signal->topic_len));
}

/* Two looks: each row says how the whole page ended. */
static void
read_signals(FunctionCallInfo fcinfo, int32 tenant_id)
{
	Reading reading = {.tenant_id = tenant_id};
	UsherSignals signals;
	UsherSignal signal;

	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > READ_MAX)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
						errmsg("max must be between 1 and %d", READ_MAX)));
	if (!PG_ARGISNULL(0) && PG_GETARG_INT64(0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("after cannot be negative")));
	reading.max = PG_GETARG_INT32(1);
	InitMaterializedSRF(fcinfo, 0);
	reading.result = (ReturnSetInfo *) fcinfo->resultinfo;
	usher_signals_copy(usher_db(), PG_ARGISNULL(0) ? -1 : PG_GETARG_INT64(0), &signals);
	reading.next = signals.next;
	reading.lost = signals.lost;
	for (UsherSignals look = signals; usher_signals_next(&look, &signal);)
		if (is_wanted(&reading, &signal) && ++reading.n == reading.max)
		{
			reading.next = signal.number;
			break;
		}
	if (reading.n == 0)
		put(&reading, NULL);
	while (usher_signals_next(&signals, &signal) && signal.number <= reading.next)
		if (is_wanted(&reading, &signal))
			put(&reading, &signal);
}

PG_FUNCTION_INFO_V1(usher_read_signals);
Datum
usher_read_signals(PG_FUNCTION_ARGS)
{
	read_signals(fcinfo, usher_current_tenant_id());
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(usher_gateway_signals);
Datum
usher_gateway_signals(PG_FUNCTION_ARGS)
{
	read_signals(fcinfo, 0);
	return (Datum) 0;
}

/* ---- waiting ---- */

static int64
wait_for(int64 after, int32 tenant_id, TimestampTz deadline)
{
	UsherDb *db = usher_db();
	int64 found = 0;

	usher_follow_begin(db, tenant_id, NULL, 0);
	PG_TRY();
	{
		usher_follow_signals();
		for (;;)
		{
			long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

			AcceptInvalidationMessages();
			found = usher_signals_found(db, tenant_id, after);
			if (found > 0 || left <= 0)
				break;
			usher_follow_examined(db, usher_stable(NULL));
			usher_wait_sleep(left);
		}
	}
	PG_FINALLY();
	{
		usher_follow_end();
	}
	PG_END_TRY();
	return found;
}

/* CALL usher.wait_for_signal(after, timeout, INOUT found): commits first, so that no snapshot is held. */
PG_FUNCTION_INFO_V1(usher_wait_for_signal);
Datum
usher_wait_for_signal(PG_FUNCTION_ARGS)
{
	int32 tenant_id = usher_current_tenant_id();
	TupleDesc desc;
	Interval *timeout;
	double ms;
	int64 found;
	Datum value;
	bool isnull;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("after or timeout is null")));
	timeout = PG_GETARG_INTERVAL_P(1);
	ms = timeout->time / 1000.0 + (timeout->day + 30.0 * timeout->month) * 86400000.0;
	if (ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_ARGUMENT), errmsg("timeout cannot be negative")));
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("usher.wait_for_signal cannot run inside a transaction block")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("usher.wait_for_signal must be called with CALL")));
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	found = wait_for(PG_GETARG_INT64(0), tenant_id,
					 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 (int64) Min(ms, (double) (INT_MAX / 2))));
	SPI_finish();
	value = Int64GetDatum(found);
	isnull = found == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull)));
}
