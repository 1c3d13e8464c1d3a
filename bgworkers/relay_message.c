/*
 * bgworkers/relay_message.c
 *	  An event -> a message: route, envelope, body.
 *
 * Every event of the log passes here, so nothing is looked up or copied twice:
 * texts that a message has in common with one before it in its batch are
 * shared, and the body is written where it stays.  What PostgreSQL allocates on
 * the way (compressed or large values, mostly) is the caller's to free.
 */
#include "relay.h"

#include "relay/jsonb_text.h"
#include "tenancy/tenant.h"

#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "lib/glob.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#define SHORT_SIZE \
	(VARATT_SHORT_MAX + VARHDRSZ) /* of a value with a short header, given a long one */
#define JSON_GUESS 1024 /* room that is enough for most small ones */

/* A copy with a long header. */
typedef union Unpacked
{
	char bytes[SHORT_SIZE];
	int64 align;
} Unpacked;

typedef struct Row
{
	int64 position;
	TimestampTz recorded_at;
	pg_uuid_t *id;
	int32 tenant_id, flags;
	int64 version; /* 0: published without a stream */
	const RelayTenant *tenant;
	text *stream, *category, *type, *topic, *key;
	Jsonb *data, *metadata;
	bool has_metadata; /* any field */
	Unpacked unpacked[2];
} Row;

/* ---- the event ---- */

static text *
text_column(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column - 1] ? NULL : DatumGetTextPP(slot->tts_values[column - 1]);
}

static Jsonb *
jsonb_column(TupleTableSlot *slot, int column, Unpacked *unpacked)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(slot->tts_values[column - 1]);
	size_t len;

	if (!VARATT_IS_SHORT(value) || VARATT_IS_EXTERNAL(value))
		return DatumGetJsonbP(PointerGetDatum(value));
	len = VARSIZE_SHORT(value) - VARHDRSZ_SHORT;
	SET_VARSIZE(unpacked->bytes, VARHDRSZ + len);
	memcpy(unpacked->bytes + VARHDRSZ, VARDATA_SHORT(value), len);
	return (Jsonb *) unpacked->bytes;
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
	row->data = jsonb_column(slot, LOG_DATA, &row->unpacked[0]);
	row->metadata = jsonb_column(slot, LOG_METADATA, &row->unpacked[1]);
	row->has_metadata = JB_ROOT_COUNT(row->metadata) > 0;
}

/* ---- texts in common ---- */

static RelayText
text_copy(RelayMemory *memory, const char *text, size_t len)
{
	return (RelayText){relay_text(memory, text, len), len};
}

/* The same text as last time is the same memory. */
static const RelayText *
text_shared(RelayBatch *batch, RelayText *last, const char *text, size_t len)
{
	if (last->text == NULL || last->len != len || memcmp(last->text, text, len) != 0)
		*last = text_copy(&batch->memory, text, len);
	return last;
}

/* CloudEvents wants a URI-reference: what the sink's config says, or /database/tenant. */
static RelayText
default_source(const Relay *relay, RelayMemory *memory, const text *slug)
{
	static char *database;
	char *path;
	RelayText source;

	if (relay->config->source)
		return (RelayText){relay->config->source, strlen(relay->config->source)};
	if (database == NULL)
		database = MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	path = psprintf("/%s/%s", database, slug ? text_to_cstring(slug) : "");
	source = text_copy(memory, path, strlen(path));
	pfree(path);
	return source;
}

static void
row_tenant(const Relay *relay, RelayBatch *batch, Row *row)
{
	RelayTenant *tenant = &batch->common.tenants[(uint32) row->tenant_id % RELAY_TENANTS];

	row->tenant = tenant;
	if (tenant->tenant_id == row->tenant_id)
		return;
	tenant->slug = usher_tenant_slug_of(row->tenant_id);
	tenant->name = (RelayText){NULL, 0};
	if (tenant->slug)
	{
		size_t len = VARSIZE_ANY_EXHDR(tenant->slug);
		char *copy = relay_alloc(&batch->memory, VARHDRSZ + len + 1);

		memcpy(copy + VARHDRSZ, VARDATA_ANY(tenant->slug), len);
		copy[VARHDRSZ + len] = '\0';
		SET_VARSIZE(copy, VARHDRSZ + len);
		tenant->slug = (text *) copy;
		tenant->name = (RelayText){copy + VARHDRSZ, len};
	}
	tenant->source = default_source(relay, &batch->memory, tenant->slug);
	tenant->tenant_id = row->tenant_id;
}

/* ---- attributes ---- */

typedef struct Attributes
{
	RelayBatch *batch;
	int n;
	UsherAttribute list[RELAY_ATTRIBUTES];
} Attributes;

static inline void
attribute_add(Attributes *a, const char *name, const char *value, size_t len, bool is_number)
{
	a->list[a->n++] = (UsherAttribute){name, value, len, is_number};
}

/* A value that lives as long as the program. */
#define attribute_constant(a, name, value) attribute_add(a, name, value, sizeof(value) - 1, false)

static inline void
attribute_text(Attributes *a, const char *name, const RelayText *value)
{
	if (value->text)
		attribute_add(a, name, value->text, value->len, false);
}

static void
attribute_number(Attributes *a, const char *name, int64 value)
{
	char *text = relay_alloc(&a->batch->memory, MAXINT8LEN + 1);

	attribute_add(a, name, text, pg_lltoa(value, text), true);
}

static void
attribute_uuid(Attributes *a, const char *name, const pg_uuid_t *id)
{
	static const char hex[] = "0123456789abcdef";
	char *text = relay_alloc(&a->batch->memory, 37);
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

/* A string of the event's metadata; false: absent, or of another kind. */
static bool
attribute_metadata(Attributes *a, const char *name, const Row *row, const char *field)
{
	JsonbValue value;

	if (!row->has_metadata ||
		getKeyJsonValueFromContainer(&row->metadata->root, field, strlen(field), &value) == NULL ||
		value.type != jbvString)
		return false;
	attribute_add(a, name,
				  relay_text(&a->batch->memory, value.val.string.val, value.val.string.len),
				  value.val.string.len, false);
	return true;
}

/* The stream is mostly the key as well. */
static void
attribute_subject(Attributes *a, const text *stream, const UsherMessage *m)
{
	size_t len = VARSIZE_ANY_EXHDR(stream);
	const char *value = m->key;

	if (value == NULL || m->key_len != len || memcmp(value, VARDATA_ANY(stream), len) != 0)
		value = relay_text(&a->batch->memory, VARDATA_ANY(stream), len);
	attribute_add(a, "subject", value, len, false);
}

/* Microseconds between the Unix epoch and PostgreSQL's. */
#define EPOCH_US ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* Events of one transaction have one time. */
static const RelayText *
time_text(RelayBatch *batch, TimestampTz at)
{
	RelayCommon *common = &batch->common;
	char *text;

	if (common->time.text == NULL || common->recorded_at != at)
	{
		text = relay_alloc(&batch->memory, USHER_TIME_LEN + 1);
		usher_cloudevent_time(at + EPOCH_US, text);
		text[USHER_TIME_LEN] = '\0';
		common->time = (RelayText){text, USHER_TIME_LEN};
		common->recorded_at = at;
	}
	return &common->time;
}

#define DATA_NAME ",\"data\":"

/* JSON of a value; with attributes these are its envelope, opened at its end again for the data. */
static size_t
json_write(const UsherAttribute *attributes, int n, Jsonb *json, char *out, size_t size)
{
	const size_t data_name = strlen(DATA_NAME);
	size_t before, len;

	if (attributes == NULL)
		return usher_jsonb_text(json, out, size);
	before = usher_cloudevent_json(attributes, n, NULL, 0, out, size) - 1;
	if (before + data_name + 1 > size)
		return USHER_JSONB_NO_ROOM;
	memcpy(out + before, DATA_NAME, data_name);
	before += data_name;
	len = usher_jsonb_text(json, out + before, size - before - 1);
	if (len == USHER_JSONB_NO_ROOM)
		return len;
	out[before + len] = '}';
	return before + len + 1;
}

/* The same where it stays, with a zero byte behind it. */
static RelayText
json_text(RelayMemory *memory, const UsherAttribute *attributes, int n, Jsonb *json)
{
	size_t want = 2 * VARSIZE(json) + JSON_GUESS, len;
	char *text;

	for (;;)
	{
		relay_room(memory, want);
		len = json_write(attributes, n, json, memory->at, memory->left - 1);
		if (len != USHER_JSONB_NO_ROOM)
			break;
		want = Max(want, memory->left) * 2;
	}
	text = relay_alloc(memory, len + 1);
	text[len] = '\0';
	return (RelayText){text, len};
}

static void
message_attributes(const Relay *relay, RelayBatch *batch, const Row *row, UsherMessage *m)
{
	Attributes a;
	UsherAttribute *list;

	a.batch = batch;
	a.n = 0;
	attribute_constant(&a, "specversion", "1.0");
	attribute_uuid(&a, "id", row->id);
	if (!attribute_metadata(&a, "source", row, "source"))
		attribute_text(&a, "source", &row->tenant->source);
	attribute_text(&a, "type",
				   text_shared(batch, &batch->common.type, VARDATA_ANY(row->type),
							   VARSIZE_ANY_EXHDR(row->type)));
	if (row->stream)
		attribute_subject(&a, row->stream, m);
	attribute_text(&a, "time", time_text(batch, row->recorded_at));
	attribute_constant(&a, "datacontenttype", "application/json");
	attribute_number(&a, "position", row->position);
	if (row->version > 0)
		attribute_number(&a, "streamversion", row->version);
	attribute_text(&a, "tenant", &row->tenant->name);
	(void) attribute_metadata(&a, "correlationid", row, "correlation_id");
	(void) attribute_metadata(&a, "causationid", row, "causation_id");
	if (m->key)
		attribute_add(&a, "partitionkey", m->key, m->key_len, false);
	(void) attribute_metadata(&a, "traceparent", row, "traceparent");
	if (relay->config->with_metadata && row->has_metadata)
	{
		RelayText json = json_text(&batch->memory, NULL, 0, row->metadata);

		attribute_text(&a, "metadata", &json);
	}
	if (m->replay != 0)
		attribute_number(&a, "replay", m->replay);

	list = relay_alloc(&batch->memory, a.n * sizeof(UsherAttribute));
	memcpy(list, a.list, a.n * sizeof(UsherAttribute));
	m->attributes = list;
	m->nattributes = a.n;
}

/* ---- the message ---- */

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

static bool
wanted_by_replay(const Relay *relay, const Row *row)
{
	const char *pattern = relay->config->replay_pattern;

	return pattern == NULL || usher_glob_match(pattern, strlen(pattern), VARDATA_ANY(row->type),
											   VARSIZE_ANY_EXHDR(row->type));
}

static UsherRouteResult
row_route(const Relay *relay, const Row *row, char *topic, int *topic_len, char *key, int *key_len,
		  const UsherRoute **route)
{
	UsherRouteEvent event = {
		.tenant_id = row->tenant_id,
		.tenant = row->tenant->slug,
		.stream = row->stream,
		.category = row->category,
		.type = row->type,
		.topic = row->topic,
		.key = row->key,
		.data = row->data,
		.metadata = row->metadata,
	};

	return usher_route_event(relay->config->routes, &event, topic, topic_len, key, key_len, route);
}

static void
message_fill(const Relay *relay, RelayBatch *batch, const Row *row, const UsherRoute *route,
			 UsherMessage *m)
{
	message_attributes(relay, batch, row, m);
	if (!(route && route->tombstones && (row->flags & LOG_FLAG_TOMBSTONE)))
	{
		RelayText body = json_text(&batch->memory, relay->config->structured ? m->attributes : NULL,
								   m->nattributes, row->data);

		m->body = body.text;
		m->body_len = body.len;
	}
	batch->b.pending++;
	batch->bytes += m->topic_len + m->key_len + m->body_len + 512;
}

/* The message of an event, if it is wanted and of this lane; returns the event's position. */
int64
relay_message_add(Relay *relay, RelayBatch *batch, TupleTableSlot *slot)
{
	char topic[USHER_TOPIC_MAX + 1];
	char key[USHER_KEY_MAX + 1];
	int topic_len = 0, key_len = -1;
	const UsherRoute *route = NULL;
	const RelayText *shared;
	UsherRouteResult result;
	UsherMessage *m;
	Row row;

	row_get(slot, &row);
	if (!wanted_by_replay(relay, &row))
		return row.position;
	row_tenant(relay, batch, &row);
	result = row_route(relay, &row, topic, &topic_len, key, &key_len, &route);
	if (result == ROUTE_NONE)
	{
		batch->unmatched++;
		return row.position;
	}
	if (!in_lane(relay, topic, topic_len, key, key_len, row.position))
		return row.position;

	m = &batch->b.messages[batch->b.count++];
	memset(m, 0, sizeof(*m));
	m->batch = &batch->b;
	m->position = row.position;
	m->replay = replay_number(relay, row.position);
	m->partition = -1;
	shared = text_shared(batch, &batch->common.topic, topic, topic_len);
	m->topic = shared->text;
	m->topic_len = topic_len;
	if (key_len >= 0)
	{
		m->key = relay_text(&batch->memory, key, key_len);
		m->key_len = key_len;
	}
	message_fill(relay, batch, &row, route, m);
	if (result == ROUTE_NO_TOPIC)
		usher_message_rejected(m, -1, "no_topic",
							   "the route's topic has no value for this event, or is too long");
	return row.position;
}
