/*
 * gateway/handlers/publish.c
 *	  Publishing over HTTP: events to topics, as our JSON or as CloudEvents.
 *
 * What of a CloudEvent goes where is in docs/http-api.md.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "../config.h"
#include "../lib/cloudevent_in.h"
#include "../router.h"
#include "append.h"
#include "handlers.h"

/* All or none; who may not publish to one of the topics publishes nothing. */
static void
publish(Request *request, const AppendEvent *events, int count)
{
	for (int i = 0; i < count; i++)
		if (!request_allowed(request, "log:append", events[i].topic))
			return;
	append_submit(request, events, count, append_reply);
}

/*
 * {"topic", "key", "type", "data", "metadata", "id"}
 */

static bool
take_event(Request *request, JsonValue value, int index, AppendEvent *event)
{
	static const char *const names[] = {"topic", "key", "type", "data", "metadata", "id"};
	JsonValue members[6], stranger;
	Slice id;
	char text[160];

	if (value.kind != JSON_OBJECT)
		return body_refused(request, index, "an event is an object");
	if (json_members(value, names, 6, members, &stranger) != JSON_MEMBERS_OK)
	{
		snprintf(text, sizeof(text),
				 "an event has topic, key, type, data, metadata and id, each once; not %.*s",
				 (int) (stranger.text.len < 60 ? stranger.text.len : 60), stranger.text.data);
		return body_refused(request, index, text);
	}
	if (members[0].kind != JSON_STRING || !body_string(request, members[0], &event->topic))
		return body_refused(request, index, "topic must be a string");
	if (!body_string(request, members[1], &event->key))
		return body_refused(request, index, "key must be a string");
	if (event->key.data == NULL)
		event->key = event->topic; /* in order with all that have no key */
	if (members[2].kind != JSON_STRING || !body_string(request, members[2], &event->type))
		return body_refused(request, index, "type must be a string");
	if (!body_objects(request, members[3], members[4], index, event))
		return false;
	if (!body_string(request, members[5], &id) ||
		(id.data && !body_uuid(request, id, &event->event_id)))
		return body_refused(request, index, "id must be a UUID");
	return true;
}

/* Each element of an array, or the one object; false: it was replied. */
static bool
take_each(Request *request, JsonValue array, AppendEvent *events,
		  bool (*take)(Request *request, JsonValue value, int index, AppendEvent *event))
{
	JsonWalk walk = json_walk(array);
	JsonValue value;
	int i = 0;

	if (array.kind == JSON_OBJECT)
		return take(request, array, 0, events);
	while (json_next(&walk, NULL, &value))
	{
		if (!take(request, value, i, &events[i]))
			return false;
		i++;
	}
	return true;
}

/*
 * CloudEvents
 */

/* UUIDv5 in the namespace of URLs, of "source id": the pair is what CloudEvents calls unique. */
static Slice
derived_id(Request *request, const CloudEvent *event)
{
	static const unsigned char namespace_url[16] = {0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1,
													0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};
	unsigned char *id = arena_alloc(&request->arena, EVP_MAX_MD_SIZE);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();

	EVP_DigestInit_ex(digest, EVP_sha1(), NULL);
	EVP_DigestUpdate(digest, namespace_url, sizeof(namespace_url));
	EVP_DigestUpdate(digest, event->source.data, event->source.len);
	EVP_DigestUpdate(digest, " ", 1);
	EVP_DigestUpdate(digest, event->id.data, event->id.len);
	EVP_DigestFinal_ex(digest, id, NULL);
	EVP_MD_CTX_free(digest);
	id[6] = (unsigned char) ((id[6] & 0x0f) | 0x50);
	id[8] = (unsigned char) ((id[8] & 0x3f) | 0x80);
	return (Slice){(char *) id, 16};
}

static void
event_of(Request *request, const CloudEvent *from, AppendEvent *event)
{
	Slice topic = request_query(request, "topic");
	bool is_uuid = body_uuid(request, from->id, &event->event_id);

	if (!is_uuid)
		event->event_id = derived_id(request, from);
	event->topic = topic.data ? topic : from->type;
	event->key = from->partitionkey.data ? from->partitionkey
				 : from->subject.data    ? from->subject
										 : event->topic;
	event->type = from->type;
	event->data = cloudevent_data(from, &request->arena);
	event->metadata = cloudevent_metadata(from, !is_uuid, &request->arena);
}

static bool
take_structured(Request *request, JsonValue value, int index, AppendEvent *event)
{
	CloudEvent *from = arena_alloc(&request->arena, sizeof(CloudEvent));
	const char *wrong = cloudevent_from_json(value, &request->arena, from);

	if (wrong)
		return body_refused(request, index, wrong);
	event_of(request, from, event);
	return true;
}

static bool
take_binary(Request *request, AppendEvent *event)
{
	CloudEvent *from = arena_zalloc(&request->arena, sizeof(CloudEvent));
	bool versioned = false;
	const char *wrong = NULL;

	for (int i = 0; i < request->nheaders && wrong == NULL; i++)
	{
		Slice name = request->headers[i].name;

		if (name.len > 3 && memcmp(name.data, "ce-", 3) == 0)
			wrong = cloudevent_header(from, (Slice){name.data + 3, name.len - 3},
									  request->headers[i].value, &request->arena, &versioned);
	}
	if (wrong == NULL)
		wrong = versioned ? cloudevent_complete(from) : "the header ce-specversion is missing";
	if (wrong == NULL)
		wrong = cloudevent_body(from, request_header(request, "content-type"), request->body,
								config.json_depth_max, &request->arena);
	if (wrong)
		return body_refused(request, -1, wrong);
	event_of(request, from, event);
	return true;
}

static void
publish_batch(Request *request)
{
	JsonValue body;
	AppendEvent *events;
	int count;

	if (!body_json(request, &body))
		return;
	count = body.kind == JSON_ARRAY ? (int) json_count(body) : 0;
	if (count == 0 || count > config.events_per_request_max)
	{
		body_refused(request, -1,
					 count == 0 ? "a batch is an array of CloudEvents"
								: "too many events in one request");
		return;
	}
	events = arena_zalloc(&request->arena, sizeof(AppendEvent) * (size_t) count);
	if (take_each(request, body, events, take_structured))
		publish(request, events, count);
}

void
handle_publish(Request *request)
{
	Slice content_type = request_header(request, "content-type");
	bool structured = media_type_is(content_type, "application/cloudevents+json");
	AppendEvent *events;
	JsonValue body, array;
	int count;

	if (media_type_is(content_type, "application/cloudevents-batch+json"))
	{
		publish_batch(request);
		return;
	}
	if (!structured && request_header(request, "ce-specversion").data)
	{
		events = arena_zalloc(&request->arena, sizeof(AppendEvent));
		if (take_binary(request, events))
			publish(request, events, 1);
		return;
	}
	if (!structured && !media_type_is(content_type, "application/json"))
	{
		reply_problem(request, 415, "unsupported-media-type", NULL,
					  "the body is application/json or a CloudEvent");
		return;
	}
	if (!body_json(request, &body))
		return;
	if (structured)
	{
		events = arena_zalloc(&request->arena, sizeof(AppendEvent));
		if (take_structured(request, body, -1, events))
			publish(request, events, 1);
		return;
	}
	if (!body_events(request, body, &array, &count))
		return;
	events = arena_zalloc(&request->arena, sizeof(AppendEvent) * (size_t) count);
	if (take_each(request, array, events, take_event))
		publish(request, events, count);
}
