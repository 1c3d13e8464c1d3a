/*
 * bgworkers/relay_read.c
 *	  The log -> batches of messages: route, envelope, memory.
 *
 * A batch is read in one short transaction.  Its messages lie in pieces of
 * its own memory context, so that a sink may point into them until they are
 * acknowledged; then all of it goes at once.
 */
#include "relay.h"

#include "tenancy/tenant.h"

#include "lib/glob.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#define CHUNK_SIZE       (64 * 1024)
#define BATCH_BYTES_MAX  (1024 * 1024) /* of messages; one that is larger is a batch of its own */
#define SCAN_MAX         50000 /* events examined for one batch */
#define DEAD_LETTERS_MAX 100 /* in one batch of a replay */
#define TOPIC_MAX        249 /* bytes, Kafka's limit */

typedef struct Reading
{
	Relay *relay;
	RelayBatch *batch;
	int64 examined; /* events */
	bool full;
	bool found; /* for a single event */
} Reading;

/* ---- memory of a batch ---- */

static void *
batch_alloc(RelayBatch *batch, size_t size)
{
	char *result;

	size = MAXALIGN(size);
	if (size > batch->chunk_left)
	{
		if (size > CHUNK_SIZE / 4)
			return MemoryContextAllocHuge(batch->context, size);
		batch->chunk = MemoryContextAlloc(batch->context, CHUNK_SIZE);
		batch->chunk_left = CHUNK_SIZE;
	}
	result = batch->chunk;
	batch->chunk += size;
	batch->chunk_left -= size;
	return result;
}

static char *
batch_text(RelayBatch *batch, const char *text, size_t len)
{
	char *copy = batch_alloc(batch, len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

static RelayBatch *
batch_create(int room)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "usher relay batch",
												  ALLOCSET_DEFAULT_SIZES);
	RelayBatch *batch = MemoryContextAllocZero(context, sizeof(RelayBatch));

	batch->context = context;
	batch->size = room;
	batch->b.messages = MemoryContextAlloc(context, room * sizeof(UsherMessage));
	return batch;
}

void
relay_batch_free(RelayBatch *batch)
{
	for (int i = 0; i < batch->b.count; i++)
	{
		free(batch->b.messages[i].error_code);
		free(batch->b.messages[i].error_text);
	}
	MemoryContextDelete(batch->context);
}

/* ---- envelope ---- */

typedef struct Row
{
	int64 position;
	TimestampTz recorded_at;
	pg_uuid_t *id;
	int32 tenant_id, slot, flags;
	int64 version; /* 0: published without a stream */
	text *tenant, *stream, *category, *type, *topic, *key;
	Jsonb *data, *metadata;
} Row;

static text *
text_column(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column - 1] ? NULL : DatumGetTextPP(slot->tts_values[column - 1]);
}

static void
row_get(TupleTableSlot *slot, Row *row)
{
	slot_getallattrs(slot);
	row->position = DatumGetInt64(slot->tts_values[LOG_POSITION - 1]);
	row->recorded_at = DatumGetTimestampTz(slot->tts_values[LOG_RECORDED_AT - 1]);
	row->id = DatumGetUUIDP(slot->tts_values[LOG_ID - 1]);
	row->tenant_id = DatumGetInt32(slot->tts_values[LOG_TENANT_ID - 1]);
	row->flags = DatumGetInt32(slot->tts_values[LOG_FLAGS - 1]);
	row->version = slot->tts_isnull[LOG_VERSION - 1]
					   ? 0
					   : DatumGetInt64(slot->tts_values[LOG_VERSION - 1]);
	row->stream = text_column(slot, LOG_STREAM);
	row->category = text_column(slot, LOG_CATEGORY);
	row->type = text_column(slot, LOG_TYPE);
	row->topic = text_column(slot, LOG_TOPIC);
	row->key = text_column(slot, LOG_KEY);
	row->tenant = usher_tenant_slug_of(row->tenant_id);
	row->data = DatumGetJsonbP(slot->tts_values[LOG_DATA - 1]);
	row->metadata = DatumGetJsonbP(slot->tts_values[LOG_METADATA - 1]);
}

typedef struct Attributes
{
	RelayBatch *batch;
	UsherAttribute *list;
	int n;
} Attributes;

static void
attribute_add(Attributes *a, const char *name, const char *value, size_t len, bool is_number)
{
	UsherAttribute *attribute = &a->list[a->n++];

	attribute->name = name;
	attribute->value = value;
	attribute->len = len;
	attribute->is_number = is_number;
}

/* A value that lives as long as the program. */
#define attribute_constant(a, name, value) attribute_add(a, name, value, sizeof(value) - 1, false)

static void
attribute_text(Attributes *a, const char *name, const text *value)
{
	size_t len;

	if (value == NULL)
		return;
	len = VARSIZE_ANY_EXHDR(value);
	attribute_add(a, name, batch_text(a->batch, VARDATA_ANY(value), len), len, false);
}

static void
attribute_number(Attributes *a, const char *name, int64 value)
{
	char *text = batch_alloc(a->batch, MAXINT8LEN + 1);

	attribute_add(a, name, text, pg_lltoa(value, text), true);
}

static void
attribute_uuid(Attributes *a, const char *name, const pg_uuid_t *id)
{
	static const char hex[] = "0123456789abcdef";
	char *text = batch_alloc(a->batch, 37);
	char *p = text;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[id->data[i] >> 4];
		*p++ = hex[id->data[i] & 15];
	}
	*p = '\0';
	attribute_add(a, name, text, 36, false);
}

/* A string of the event's metadata; absent or of another kind: false. */
static bool
metadata_string(Jsonb *metadata, const char *field, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(&metadata->root, field, strlen(field), value) != NULL &&
		   value->type == jbvString;
}

static void
attribute_metadata(Attributes *a, const char *name, Jsonb *metadata, const char *field)
{
	JsonbValue value;

	if (JB_ROOT_COUNT(metadata) == 0 || !metadata_string(metadata, field, &value))
		return;
	attribute_add(a, name, batch_text(a->batch, value.val.string.val, value.val.string.len),
				  value.val.string.len, false);
}

/* CloudEvents wants a URI-reference: what the event says, what the sink's config says, or /database/tenant. */
static void
attribute_source(Attributes *a, const Relay *relay, const Row *row)
{
	static char *database;
	JsonbValue value;
	StringInfoData path;

	if (JB_ROOT_COUNT(row->metadata) > 0 && metadata_string(row->metadata, "source", &value))
	{
		attribute_metadata(a, "source", row->metadata, "source");
		return;
	}
	if (relay->config->source)
	{
		attribute_add(a, "source", relay->config->source, strlen(relay->config->source), false);
		return;
	}
	if (database == NULL)
		database = MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	initStringInfo(&path);
	appendStringInfo(&path, "/%s/", database);
	if (row->tenant)
		appendBinaryStringInfo(&path, VARDATA_ANY(row->tenant), VARSIZE_ANY_EXHDR(row->tenant));
	attribute_add(a, "source", batch_text(a->batch, path.data, path.len), path.len, false);
	pfree(path.data);
}

/* Microseconds between the Unix epoch and PostgreSQL's. */
#define EPOCH_US ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static void
attribute_time(Attributes *a, TimestampTz at)
{
	char *text = batch_alloc(a->batch, USHER_TIME_LEN + 1);

	usher_cloudevent_time(at + EPOCH_US, text);
	text[USHER_TIME_LEN] = '\0';
	attribute_add(a, "time", text, USHER_TIME_LEN, false);
}

static void
message_attributes(Attributes *a, const Relay *relay, const Row *row, const UsherMessage *m)
{
	attribute_constant(a, "specversion", "1.0");
	attribute_uuid(a, "id", row->id);
	attribute_source(a, relay, row);
	attribute_text(a, "type", row->type);
	attribute_text(a, "subject", row->stream);
	attribute_time(a, row->recorded_at);
	attribute_constant(a, "datacontenttype", "application/json");
	attribute_number(a, "position", row->position);
	if (row->version > 0)
		attribute_number(a, "streamversion", row->version);
	attribute_text(a, "tenant", row->tenant);
	attribute_metadata(a, "correlationid", row->metadata, "correlation_id");
	attribute_metadata(a, "causationid", row->metadata, "causation_id");
	if (m->key)
		attribute_add(a, "partitionkey", m->key, m->key_len, false);
	attribute_metadata(a, "traceparent", row->metadata, "traceparent");
	if (relay->config->with_metadata && JB_ROOT_COUNT(row->metadata) > 0)
	{
		StringInfo json = &((Relay *) relay)->json;

		resetStringInfo(json);
		(void) JsonbToCString(json, &row->metadata->root, VARSIZE(row->metadata));
		attribute_add(a, "metadata", batch_text(a->batch, json->data, json->len), json->len, false);
	}
	if (m->replay != 0)
		attribute_number(a, "replay", m->replay);
}

static void
message_body(Relay *relay, RelayBatch *batch, const Row *row, UsherMessage *m)
{
	StringInfo json = &relay->json;
	char *body;

	resetStringInfo(json);
	(void) JsonbToCString(json, &row->data->root, VARSIZE(row->data));
	if (!relay->config->structured)
	{
		m->body = batch_text(batch, json->data, json->len);
		m->body_len = json->len;
		return;
	}
	m->body_len = usher_cloudevent_json(m->attributes, m->nattributes, json->data, json->len, NULL,
										0);
	body = batch_alloc(batch, m->body_len + 1);
	(void) usher_cloudevent_json(m->attributes, m->nattributes, json->data, json->len, body,
								 m->body_len);
	body[m->body_len] = '\0';
	m->body = body;
}

/* ---- routing ---- */

static bool
in_lane(const Relay *relay, const char *topic, int topic_len, const char *key, int key_len,
		int64 position)
{
	uint32 hash;

	if (relay->config->sink.lanes == 1)
		return true;
	if (relay->ops->lane_by_topic)
		hash = hash_bytes((const unsigned char *) topic, topic_len);
	else if (key_len >= 0)
		hash = hash_bytes((const unsigned char *) key, key_len);
	else
		hash = (uint32) position; /* without a key there is no order to keep */
	return hash % relay->config->sink.lanes == (uint32) relay->lane;
}

static int64
replay_number(const Relay *relay, int64 position)
{
	if (relay->replay_id != 0)
		return relay->replay_id;
	/* behind a backward seek; replays count upwards, seeks downwards */
	return position <= relay->config->repeat_upto ? -relay->config->sink.epoch : 0;
}

/* Make the message of one event, if it is for this lane. */
static void
message_add(Relay *relay, RelayBatch *batch, const Row *row)
{
	char topic[TOPIC_MAX + 1];
	char key[1024];
	int topic_len = 0, key_len = -1;
	const UsherRoute *route = NULL;
	UsherRouteEvent event = {
		.tenant_id = row->tenant_id,
		.tenant = row->tenant,
		.stream = row->stream,
		.category = row->category,
		.type = row->type,
		.topic = row->topic,
		.key = row->key,
		.data = row->data,
		.metadata = row->metadata,
	};
	UsherRouteResult result = usher_route_event(relay->config->routes, &event, topic, &topic_len,
												key, &key_len, &route);
	Attributes attributes = {.batch = batch};
	UsherMessage *m;

	if (result == ROUTE_NONE)
	{
		batch->unmatched++;
		return;
	}
	if (!in_lane(relay, topic, topic_len, key, key_len, row->position))
		return;

	m = &batch->b.messages[batch->b.count++];
	memset(m, 0, sizeof(*m));
	m->batch = &batch->b;
	m->position = row->position;
	m->replay = replay_number(relay, row->position);
	m->topic = batch_text(batch, topic, topic_len);
	m->topic_len = topic_len;
	if (key_len >= 0)
	{
		m->key = batch_text(batch, key, key_len);
		m->key_len = key_len;
	}
	m->partition = -1;
	attributes.list = batch_alloc(batch, RELAY_ATTRIBUTES * sizeof(UsherAttribute));
	message_attributes(&attributes, relay, row, m);
	m->attributes = attributes.list;
	m->nattributes = attributes.n;
	if (!(route && route->tombstones && (row->flags & LOG_FLAG_TOMBSTONE)))
		message_body(relay, batch, row, m);
	batch->b.pending++;
	batch->bytes += topic_len + m->key_len + m->body_len + 512;
	if (result == ROUTE_NO_TOPIC)
		usher_message_rejected(m, -1, "no_topic",
							   "the route's topic has no value for this event, or is too long");
}

static bool
wanted_by_replay(const Relay *relay, const Row *row)
{
	const char *pattern = relay->config->replay_pattern;

	return pattern == NULL || usher_glob_match(pattern, strlen(pattern), VARDATA_ANY(row->type),
											   VARSIZE_ANY_EXHDR(row->type));
}

static bool
read_visit(TupleTableSlot *slot, void *arg)
{
	Reading *reading = arg;
	RelayBatch *batch = reading->batch;
	Row row;

	row_get(slot, &row);
	if (wanted_by_replay(reading->relay, &row))
		message_add(reading->relay, batch, &row);
	batch->b.upto = row.position;
	reading->examined++;
	reading->found = true;
	reading->full = batch->b.count >= batch->size || batch->bytes >= BATCH_BYTES_MAX ||
					reading->examined >= SCAN_MAX;
	return !reading->full;
}

/* ---- batches ---- */

/* What was removed by retention is skipped by a replay; for a live cursor it is an error. */
static void
read_range(Relay *relay, RelayBatch *batch)
{
	Reading reading = {.relay = relay, .batch = batch};
	int64 upto = usher_stable(&batch->lsn);

	relay->stable = upto;
	if (relay->replay_id != 0)
		upto = Min(upto, relay->config->replay_to);
	batch->b.upto = relay->read_position;
	if (upto > relay->read_position)
	{
		if (relay->replay_id != 0)
			usher_look_positions(relay->read_position, upto, read_visit, &reading);
		else
			usher_read_positions(relay->read_position, upto, read_visit, &reading);
	}
	if (!reading.full)
	{
		batch->complete = true;
		batch->b.upto = Max(upto, relay->read_position);
		if (relay->replay_id == 0)
			usher_follow_examined(relay->db, relay->stable);
	}
}

/* The events of the next dead letters of a replay, looked up in the log one by one. */
static void
read_dead_letters(Relay *relay, RelayBatch *batch)
{
	static SPIPlanPtr plan;
	Oid types[3] = {INT8OID, INT8OID, INT4OID};
	Datum values[3] = {
		Int64GetDatum(relay->replay_id),
		Int64GetDatum(relay->read_position),
		Int32GetDatum(Min(batch->size, DEAD_LETTERS_MAX)),
	};
	int64 positions[DEAD_LETTERS_MAX];
	int n;

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT d.position FROM usher.dead_letters d"
						   " WHERE d.replay_id OPERATOR(pg_catalog.=) $1"
						   " AND d.position OPERATOR(pg_catalog.>) $2"
						   " ORDER BY d.position LIMIT $3",
						   3, types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, values, NULL, true, 0);
	n = (int) SPI_processed;
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		positions[i] = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	relay->stable = usher_stable(&batch->lsn);
	batch->b.upto = relay->read_position;
	for (int i = 0; i < n; i++)
	{
		Reading reading = {.relay = relay, .batch = batch};

		usher_look_positions(positions[i] - 1, positions[i], read_visit, &reading);
		if (!reading.found)
			batch->unmatched++;
		batch->b.upto = positions[i];
	}
	batch->complete = n == 0;
}

/*
 * The next batch.  Never NULL; one without messages has moved over events that
 * are not ours.  Called outside of a transaction.
 */
RelayBatch *
relay_read(Relay *relay)
{
	RelayBatch *batch = batch_create(relay->config->batch_events);

	PG_TRY();
	{
		relay_begin("reading the log");
		AcceptInvalidationMessages();
		if (relay->config->replay_of_dead_letters)
			read_dead_letters(relay, batch);
		else
			read_range(relay, batch);
		relay_commit();
	}
	PG_CATCH();
	{
		relay_batch_free(batch);
		PG_RE_THROW();
	}
	PG_END_TRY();
	relay->read_position = batch->b.upto;
	return batch;
}

/* Copies of the rejected messages for <topic>.dlq, with the cause as attributes. */
RelayBatch *
relay_dead_letter_batch(Relay *relay, RelayBatch *batch)
{
	RelayBatch *copies = batch_create(batch->b.rejected);

	copies->dead_letter_topics = true;
	copies->b.upto = batch->b.upto;
	for (int i = 0; i < batch->b.count; i++)
	{
		const UsherMessage *from = &batch->b.messages[i];
		UsherMessage *m;
		UsherAttribute *list;

		if (from->state != MESSAGE_REJECTED || from->topic_len == 0 ||
			from->topic_len + 4 > TOPIC_MAX)
			continue;
		m = &copies->b.messages[copies->b.count++];
		*m = *from;
		m->state = MESSAGE_PENDING;
		m->batch = &copies->b;
		m->error_code = m->error_text = NULL;
		m->replay = from->replay != 0 ? from->replay : relay->config->sink.epoch;
		m->topic = batch_text(copies, psprintf("%s.dlq", from->topic), from->topic_len + 4);
		m->topic_len = from->topic_len + 4;
		if (from->key)
			m->key = batch_text(copies, from->key, from->key_len);
		if (from->body)
			m->body = batch_text(copies, from->body, from->body_len);
		list = batch_alloc(copies, (from->nattributes + 2) * sizeof(UsherAttribute));
		for (int k = 0; k < from->nattributes; k++)
		{
			list[k] = from->attributes[k];
			list[k].value = batch_text(copies, list[k].value, list[k].len);
		}
		list[from->nattributes] = (UsherAttribute){
			"errorcode", batch_text(copies, from->error_code, strlen(from->error_code)),
			strlen(from->error_code), false};
		list[from->nattributes + 1] = (UsherAttribute){
			"errormessage", batch_text(copies, from->error_text, strlen(from->error_text)),
			strlen(from->error_text), false};
		m->attributes = list;
		m->nattributes = from->nattributes + 2;
		copies->b.pending++;
	}
	return copies;
}
