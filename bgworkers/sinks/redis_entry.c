/*
 * bgworkers/sinks/redis_entry.c
 *	  Entries and marks, as they lie in Redis.
 *
 * An entry's id is <position>-0; that of a replay <top>-<n>, with a field
 * replay.  In binary mode its fields are the attributes and data, in structured
 * mode there is one field event.
 *
 * The mark says up to which position the transactions of a lane were executed.
 * It is a field <sink>/<lane> of the hash usher:relay:<log>, written in these
 * transactions, or for a replay a key of its own that expires:
 *	  <epoch> <lanes> <executed in this epoch> <executed ever>
 */
#include "sinks/redis.h"

#include "lib/json_scan.h"

#include <inttypes.h>
#include <stdio.h>

static bool
is_text(const redisReply *reply, const char *text)
{
	return reply->type == REDIS_REPLY_STRING && reply->len == strlen(text) &&
		   memcmp(reply->str, text, reply->len) == 0;
}

bool
redis_id_parse(const redisReply *reply, RedisId *id)
{
	return reply->type == REDIS_REPLY_STRING &&
		   sscanf(reply->str, "%" SCNu64 "-%" SCNu64, &id->ms, &id->seq) == 2;
}

/* [id, [name, value, ...]] */
bool
redis_entry_parse(const redisReply *reply, RedisEntry *entry)
{
	const redisReply *fields;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
		!redis_id_parse(reply->element[0], &entry->id))
		return false;
	fields = reply->element[1];
	if (fields->type != REDIS_REPLY_ARRAY || fields->elements % 2 != 0)
		return false;
	for (size_t i = 0; i < fields->elements; i++)
		if (fields->element[i]->type != REDIS_REPLY_STRING)
			return false;
	entry->fields = fields;
	return true;
}

/* XINFO STREAM: name, value, name, value, ... */
bool
redis_info_parse(const redisReply *reply, RedisStreamInfo *info)
{
	bool has_last = false;

	*info = (RedisStreamInfo){.added = -1};
	if (reply->type != REDIS_REPLY_ARRAY)
		return false;
	for (size_t i = 0; i + 1 < reply->elements; i += 2)
	{
		const redisReply *name = reply->element[i], *value = reply->element[i + 1];

		if (is_text(name, "last-generated-id"))
			has_last = redis_id_parse(value, &info->last);
		else if (is_text(name, "length"))
			info->length = value->integer;
		else if (is_text(name, "entries-added"))
			info->added = value->integer;
		else if (is_text(name, "first-entry") && value->type == REDIS_REPLY_ARRAY)
			(void) redis_entry_parse(value, &info->first_entry);
		else if (is_text(name, "last-entry") && value->type == REDIS_REPLY_ARRAY)
			(void) redis_entry_parse(value, &info->last_entry);
	}
	return has_last;
}

static const redisReply *
field(const RedisEntry *entry, const char *name)
{
	for (size_t i = 0; entry->fields && i < entry->fields->elements; i += 2)
		if (is_text(entry->fields->element[i], name))
			return entry->fields->element[i + 1];
	return NULL;
}

long
redis_entry_attribute(const RedisEntry *entry, const char *name, char *out, size_t size)
{
	const redisReply *plain = field(entry, name), *event = field(entry, "event");
	UsherJson value;

	if (plain)
	{
		memcpy(out, plain->str, plain->len < size ? plain->len : size);
		return (long) plain->len;
	}
	if (event == NULL || !usher_json_member(event->str, event->len, name, &value))
		return -1;
	return (long) usher_json_text(&value, out, size);
}

static bool
attribute_int(const RedisEntry *entry, const char *name, int64_t *number)
{
	char text[20];
	long len = redis_entry_attribute(entry, name, text, sizeof(text));
	UsherJson value = {text, len > 0 && len < (long) sizeof(text) ? (size_t) len : 0, '0'};

	return usher_json_int(&value, number);
}

/* False: it is not an entry of ours. */
bool
redis_entry_position(const RedisEntry *entry, int64_t *position, bool *replay)
{
	int64_t number;

	*replay = attribute_int(entry, "replay", &number);
	return attribute_int(entry, "position", position) &&
		   (*replay || (entry->id.ms == (uint64_t) *position && entry->id.seq == 0));
}

/* The same event: its id is unique in the world. */
bool
redis_entry_is(const RedisEntry *entry, const UsherMessage *message)
{
	char id[256];
	long len = redis_entry_attribute(entry, "id", id, sizeof(id));

	for (int i = 0; i < message->nattributes; i++)
	{
		const UsherAttribute *a = &message->attributes[i];

		if (strcmp(a->name, "id") == 0)
			return len == (long) a->len && a->len <= sizeof(id) &&
				   memcmp(id, a->value, a->len) == 0;
	}
	return false;
}

void
redis_mark_names(RedisSink *s, const UsherSinkContext *context)
{
	if (context->replay != 0)
		snprintf(s->mark_key, sizeof(s->mark_key), "usher:relay:%s:replay/%d/%" PRId64,
				 context->log_id, context->sink_id, context->replay);
	else
		snprintf(s->mark_key, sizeof(s->mark_key), "usher:relay:%s", context->log_id);
	snprintf(s->mark_field, sizeof(s->mark_field), "%d/%d", context->sink_id, context->lane);
}

static void
mark_take(RedisSink *s, const redisReply *value, bool of_our_lane)
{
	const UsherSinkContext *c = s->base.context;
	int64_t epoch, executed, ever;
	int lanes;

	if (value->type != REDIS_REPLY_STRING ||
		sscanf(value->str, "%" SCNd64 " %d %" SCNd64 " %" SCNd64, &epoch, &lanes, &executed,
			   &ever) != 4)
		return;
	if (of_our_lane && lanes == c->lanes && epoch == c->epoch)
		s->mark.executed = executed;
	/* a stream may have been another lane's when there were more or fewer of them */
	if ((of_our_lane || lanes != c->lanes) && ever > s->mark.ever)
		s->mark.ever = ever;
}

/* All fields of the hash, or a replay's key. */
void
redis_mark_parse(RedisSink *s, const redisReply *reply)
{
	size_t sink_len = strcspn(s->mark_field, "/") + 1;

	s->mark = (RedisMark){-1, -1};
	if (reply->type == REDIS_REPLY_STRING)
		mark_take(s, reply, true);
	if (reply->type != REDIS_REPLY_ARRAY)
		return;
	for (size_t i = 0; i + 1 < reply->elements; i += 2)
	{
		const redisReply *name = reply->element[i];

		if (name->type == REDIS_REPLY_STRING && strncmp(name->str, s->mark_field, sink_len) == 0)
			mark_take(s, reply->element[i + 1], is_text(name, s->mark_field));
	}
}

void
redis_mark_text(const RedisSink *s, int64_t executed, char *out, size_t size)
{
	const UsherSinkContext *c = s->base.context;

	snprintf(out, size, "%" PRId64 " %d %" PRId64 " %" PRId64, c->epoch, c->lanes, executed,
			 executed > s->mark.ever ? executed : s->mark.ever);
}
