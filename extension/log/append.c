/*
 * extension/log/append.c
 *	  One event into the transaction: checks, then the rooms below in order.
 */
#include "log.h"

#include "metrics/metrics.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

static LocalTransactionId looked_ahead; /* transaction that has made sure of its partitions */

/*
 * What every append begins with: the transaction may write, and the
 * partitions that its commit will need exist or have been asked for.
 */
void
usher_append_check_state(void)
{
	if (RecoveryInProgress() || XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot append events in a read-only transaction"),
				 RecoveryInProgress() ? errhint("This server is a standby: append on the primary.")
									  : 0));
	if (IsInParallelMode())
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE),
						errmsg("cannot append events during a parallel operation")));
	if (looked_ahead == usher_my_lxid())
		return;
	usher_partitions_look_ahead();
	looked_ahead = usher_my_lxid();
}

/* Names of streams, types, topics, keys, patterns: 1 to 255 bytes without control characters. */
char *
usher_name_fault(const text *name, const char *what, char **detail)
{
	const unsigned char *s;
	int len;

	*detail = NULL;
	if (name == NULL)
		return psprintf("%s is null", what);
	s = (const unsigned char *) VARDATA_ANY(name);
	len = VARSIZE_ANY_EXHDR(name);
	if (len == 0)
		return psprintf("%s is empty", what);
	if (len > USHER_NAME_MAX)
	{
		*detail = psprintf("It has %d bytes.", len);
		return psprintf("%s is longer than %d bytes", what, USHER_NAME_MAX);
	}
	for (int i = 0; i < len; i++)
		if (s[i] < 0x20 || s[i] == 0x7f)
		{
			*detail = psprintf("Byte 0x%02x at offset %d.", s[i], i);
			return psprintf("%s contains a control character", what);
		}
	return NULL;
}

void
usher_check_name(const text *name, const char *what)
{
	char *detail, *fault = usher_name_fault(name, what, &detail);

	if (fault)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME), errmsg("%s", fault),
						detail ? errdetail("%s", detail) : 0));
}

/* Types that begin with `usher.` are ours. */
text *
usher_check_type(text *type)
{
	usher_check_name(type, "event type");
	if (VARSIZE_ANY_EXHDR(type) >= 6 && memcmp(VARDATA_ANY(type), "usher.", 6) == 0)
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_NAME),
						errmsg("event types that begin with \"usher.\" are reserved")));
	return type;
}

/* Data and metadata: an object, not larger than the setting. */
void
usher_check_object(Jsonb *value, const char *what)
{
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_EVENT_DATA),
						errmsg("%s is not a JSON object", what)));
	if (VARSIZE(value) > (Size) usher_max_event_size_kb * 1024)
		ereport(
			ERROR,
			(errcode(ERRCODE_USHER_EVENT_TOO_LARGE),
			 errmsg("%s is larger than %d kB", what, usher_max_event_size_kb),
			 errdetail("It has %u bytes.", (unsigned) VARSIZE(value)),
			 errhint(
				 "Keep large content elsewhere and its address in the event, or raise usher.max_event_size.")));
}

/* Parse JSON that a caller or a setting gave as text; `what` says in the message which. */
Jsonb *
usher_jsonb_parse(const char *json, const char *what)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum value = (Datum) 0;

	PG_TRY();
	{
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_USHER_INVALID_EVENT_DATA), errmsg("%s is not valid JSON", what),
				 errdetail("%s", error->detail ? error->detail : error->message)));
	}
	PG_END_TRY();
	return DatumGetJsonbP(value);
}

/* `stream` is NULL when it does not exist. */
void
usher_check_expected(const UsherStream *stream, const text *name, bool has_expected, int64 expected)
{
	int64 actual = stream ? stream->head : 0;
	bool exists = actual > 0 && !usher_flags_vacant(stream->head_flags);

	if (stream && usher_flags_deleted(stream->head_flags))
		ereport(ERROR, (errcode(ERRCODE_USHER_STREAM_DELETED),
						errmsg("stream \"%s\" has been deleted", text_to_cstring(name))));
	if (!has_expected || (expected == 0 && !exists) || (expected == -1 && exists) ||
		(expected > 0 && expected == actual))
		return;
	if (expected < -1)
		ereport(
			ERROR,
			(errcode(ERRCODE_USHER_INVALID_ARGUMENT),
			 errmsg("an expected version cannot be %lld", (long long) expected),
			 errhint("NULL: any; 0: the stream must not exist; -1: it must exist; n: exactly n.")));
	ereport(ERROR, (errcode(ERRCODE_USHER_WRONG_EXPECTED_VERSION),
					errmsg("wrong expected version of stream \"%s\"", text_to_cstring(name)),
					errdetail("Expected version: %lld, actual version: %lld.", (long long) expected,
							  (long long) actual),
					errhint("Read the stream again and retry.")));
}

/*
 * UUIDv7 (RFC 9562, 5.7): milliseconds, a 12-bit fraction of the millisecond
 * (method 3 of 6.2), 62 random bits.  Random bytes are drawn in blocks.
 */
void
usher_uuid7(pg_uuid_t *id)
{
	static uint8 random[1024];
	static int random_left = 0;
	uint64 us = (uint64) (GetCurrentTimestamp() +
						  (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	uint64 ms = us / 1000;
	uint32 fraction = (uint32) (us % 1000) * 4096 / 1000;

	if (random_left < 8)
	{
		if (!pg_strong_random(random, sizeof(random)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bytes")));
		random_left = sizeof(random);
	}
	random_left -= 8;
	memcpy(id->data + 8, random + random_left, 8);
	for (int i = 0; i < 6; i++)
		id->data[i] = (uint8) (ms >> (8 * (5 - i)));
	id->data[6] = 0x70 | (fraction >> 8);
	id->data[7] = (uint8) fraction;
	id->data[8] = 0x80 | (id->data[8] & 0x3f);
}

/* Checks are done and the stream is locked: complete the event, add it, run the projections. */
int64
usher_append_event(UsherEvent *event)
{
	UsherPending *pending;
	int64 version;

	event->metadata = usher_metadata_fill(event->metadata);
	usher_check_object(event->metadata, "event metadata");
	if (!(event->flags & LOG_FLAG_ID_INDEXED))
		usher_uuid7(&event->id);
	event->series = usher_series(event->tenant_id, event->metadata, event->type);
	pending = usher_outbox_add(event);
	version = pending->version;
	usher_project_event(pending, event->type);
	return version;
}
