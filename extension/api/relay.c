/*
 * extension/api/relay.c
 *	  Functions behind the SQL of sinks: changed configuration, status, the
 *	  messages of memory sinks.
 */
#include "usher.h"

#include "lib/breaker.h"
#include "log/log.h"
#include "relay/ring.h"
#include "relay/status.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* In a restore without a primary's log there may be nobody to tell. */
PG_FUNCTION_INFO_V1(usher_sinks_changed);
Datum
usher_sinks_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("usher.sinks_changed is a trigger function")));
	usher_sinks_changed_at_commit(usher_db());
	return PointerGetDatum(NULL);
}

enum
{
	RELAY_SINK_ID,
	RELAY_LANE,
	RELAY_REPLAY_ID,
	RELAY_PID,
	RELAY_STATE,
	RELAY_BREAKER,
	RELAY_POSITION,
	RELAY_IN_FLIGHT,
	RELAY_RATE,
	RELAY_DELIVERED,
	RELAY_DUPLICATES,
	RELAY_RETRIED,
	RELAY_DEAD,
	RELAY_UNMATCHED,
	RELAY_NEXT_TRY_AT,
	RELAY_LAST_ERROR_AT,
	RELAY_LAST_ERROR,
	RELAY_NATTS
};

#define RATE_FADES_S 5 /* a worker that has nothing to do does not measure */

static double
rate_now(const UsherRelayStatus *s)
{
	double age = (double) (GetCurrentTimestamp() - s->rated_at) / USECS_PER_SEC;

	return s->rated_at == 0 || age > RATE_FADES_S ? 0 : s->rate;
}

static int
pid_of(UsherRelay *relay)
{
	uint32 procno = pg_atomic_read_u32(&relay->procno);

	return procno == USHER_NO_PROC ? 0 : ProcGlobal->allProcs[procno].pid;
}

static void
put_relay(ReturnSetInfo *result, UsherRelay *relay)
{
	UsherRelayStatus s;
	Datum values[RELAY_NATTS];
	bool nulls[RELAY_NATTS] = {0};
	int pid = pid_of(relay);

	usher_relay_status(relay, &s);
	values[RELAY_SINK_ID] = Int32GetDatum(relay->sink_id);
	values[RELAY_LANE] = Int32GetDatum(relay->lane);
	values[RELAY_REPLAY_ID] = Int64GetDatum(relay->replay_id);
	nulls[RELAY_REPLAY_ID] = relay->replay_id == 0;
	values[RELAY_PID] = Int32GetDatum(pid);
	nulls[RELAY_PID] = pid == 0;
	values[RELAY_STATE] = CStringGetTextDatum(usher_relay_state_name(s.state));
	values[RELAY_BREAKER] = CStringGetTextDatum(usher_breaker_name(s.breaker));
	values[RELAY_POSITION] = Int64GetDatum(s.position);
	nulls[RELAY_POSITION] = s.position == 0;
	values[RELAY_IN_FLIGHT] = Int32GetDatum(s.in_flight);
	values[RELAY_RATE] = Float8GetDatum(rate_now(&s));
	values[RELAY_DELIVERED] = Int64GetDatum(s.delivered);
	values[RELAY_DUPLICATES] = Int64GetDatum(s.duplicates);
	values[RELAY_RETRIED] = Int64GetDatum(s.retried);
	values[RELAY_DEAD] = Int64GetDatum(s.dead);
	values[RELAY_UNMATCHED] = Int64GetDatum(s.unmatched);
	values[RELAY_NEXT_TRY_AT] = TimestampTzGetDatum(s.next_try_at);
	nulls[RELAY_NEXT_TRY_AT] = s.next_try_at == 0;
	values[RELAY_LAST_ERROR_AT] = TimestampTzGetDatum(s.error_at);
	values[RELAY_LAST_ERROR] = CStringGetTextDatum(s.error);
	nulls[RELAY_LAST_ERROR_AT] = nulls[RELAY_LAST_ERROR] = s.error_at == 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(usher_relay_list);
Datum
usher_relay_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid log = usher_db()->log_relid;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < usher_shared->nrelays; i++)
		if (usher_shared->relays[i].dboid == MyDatabaseId &&
			usher_shared->relays[i].log_relid == log)
			put_relay(result, &usher_shared->relays[i]);
	return (Datum) 0;
}

/* ---- memory sinks ---- */

enum
{
	MESSAGE_NUMBER,
	MESSAGE_POSITION,
	MESSAGE_TOPIC,
	MESSAGE_KEY,
	MESSAGE_HEADERS,
	MESSAGE_BODY,
	MESSAGE_ADDED_AT,
	MESSAGE_NATTS
};

static Datum
piece(const char **at, int32 len, bool *isnull)
{
	text *value;

	*isnull = len < 0;
	if (len < 0)
		return (Datum) 0;
	value = cstring_to_text_with_len(*at, len);
	*at += len;
	return PointerGetDatum(value);
}

static bool
put_message(ReturnSetInfo *result, const UsherRingMessage *message, const text *topic)
{
	const char *at = (const char *) (message + 1);
	Datum values[MESSAGE_NATTS];
	bool nulls[MESSAGE_NATTS] = {0};

	if (topic && (VARSIZE_ANY_EXHDR(topic) != message->topic_len ||
				  memcmp(VARDATA_ANY(topic), at, message->topic_len) != 0))
		return false;
	values[MESSAGE_NUMBER] = Int64GetDatum(message->number);
	values[MESSAGE_POSITION] = Int64GetDatum(message->position);
	values[MESSAGE_TOPIC] = piece(&at, message->topic_len, &nulls[MESSAGE_TOPIC]);
	values[MESSAGE_KEY] = piece(&at, message->key_len, &nulls[MESSAGE_KEY]);
	values[MESSAGE_HEADERS] = piece(&at, message->headers_len, &nulls[MESSAGE_HEADERS]);
	values[MESSAGE_BODY] = piece(&at, message->body_len, &nulls[MESSAGE_BODY]);
	values[MESSAGE_ADDED_AT] = TimestampTzGetDatum(message->added_at);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return true;
}

/* (sink_id, topic or null, after, max): messages with number > after. */
PG_FUNCTION_INFO_V1(usher_ring_messages);
Datum
usher_ring_messages(PG_FUNCTION_ARGS)
{
	UsherRelay *relay = usher_relay_entry(usher_db()->log_relid, PG_GETARG_INT32(0), 0, 0, false);
	const text *topic = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	int64 after = PG_GETARG_INT64(2);
	int32 left = PG_GETARG_INT32(3);
	dsm_handle handle = relay ? pg_atomic_read_u32(&relay->ring) : 0;
	dsm_segment *segment;
	UsherRingMessage *message;
	UsherRing *ring;
	uint64 at;

	InitMaterializedSRF(fcinfo, 0);
	if (handle == 0 || (ring = usher_ring_attach(handle, &segment)) == NULL)
		return (Datum) 0; /* nothing has been relayed since the server started */
	LWLockAcquire(&ring->lock, LW_SHARED);
	at = ring->first;
	while (left > 0 && (message = usher_ring_get(ring, &at)) != NULL)
	{
		if (message->number > after &&
			put_message((ReturnSetInfo *) fcinfo->resultinfo, message, topic))
			left--;
		pfree(message);
	}
	LWLockRelease(&ring->lock);
	if (segment)
		dsm_detach(segment);
	return (Datum) 0;
}
