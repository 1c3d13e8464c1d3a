/*
 * gateway/lib/cloudevent_in.h
 *	  CloudEvents 1.0 that clients send: from JSON or headers to an event of the log.
 *
 * Pure C; all memory is the arena's, or the text's that was given.
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
#ifndef USHERD_CLOUDEVENT_IN_H
#define USHERD_CLOUDEVENT_IN_H

#include "json_check.h"
#include "text.h"

#define CLOUDEVENT_EXTENSIONS_MAX 32

typedef struct CloudEventExtension
{
	Slice name;
	Slice json; /* a string, number or boolean, as JSON */
} CloudEventExtension;

typedef enum CloudEventData
{
	DATA_NONE,
	DATA_JSON, /* any JSON value */
	DATA_TEXT, /* UTF-8 */
	DATA_BASE64, /* the text of it, or of `binary` the bytes */
	DATA_BYTES,
} CloudEventData;

/* Absent attributes have data == NULL. */
typedef struct CloudEvent
{
	Slice id, source, type, subject, time, dataschema, datacontenttype;
	Slice correlationid, causationid, partitionkey, traceparent, tracestate;
	CloudEventExtension extensions[CLOUDEVENT_EXTENSIONS_MAX];
	int nextensions;
	CloudEventData data_kind;
	Slice data;
} CloudEvent;

/* These return NULL, or what is wrong with it, for people. */

/* Structured mode: one object that json_check() has accepted. */
extern const char *cloudevent_from_json(JsonValue object, Arena *arena, CloudEvent *event);

/*
 * Binary mode: one attribute for each header ce-NAME, names in lower case; then the body with its content type
 * (absent: none).
 */
extern const char *
cloudevent_header(CloudEvent *event, Slice name, Slice value, Arena *arena, bool *versioned);
extern const char *
cloudevent_body(CloudEvent *event, Slice content_type, Slice body, int depth_max, Arena *arena);

/* Are id, source and type there? */
extern const char *cloudevent_complete(const CloudEvent *event);

/*
 * The event's data as an object: an object as it is; another JSON value as {"value": …}, text as {"text": …},
 * bytes as {"base64": …}.  Absent when there is none.
 */
extern Slice cloudevent_data(const CloudEvent *event, Arena *arena);

/* Its metadata: source, subject, time, … ; cloudevent_id when keep_id; extensions that have no other place. */
extern Slice cloudevent_metadata(const CloudEvent *event, bool keep_id, Arena *arena);

/* application/json, with a suffix +json, or absent (which stands for JSON). */
extern bool media_type_is_json(Slice content_type);
/* The part before parameters is this (lower case) one. */
extern bool media_type_is(Slice content_type, const char *type);
/* Its charset is UTF-8, or there is none. */
extern bool media_type_is_utf8(Slice content_type);

#endif /* USHERD_CLOUDEVENT_IN_H */
