/*
 * gateway/lib/cloudevent_in.c
 *	  CloudEvents 1.0 that clients send.
 */
#include <string.h>
#include <strings.h>

#include "lib/cloudevents.h"

#include "cloudevent_in.h"
#include "uri.h"

/*
 * Media types
 */

static Slice
trimmed(Slice text)
{
	while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
		text.data++, text.len--;
	while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
		text.len--;
	return text;
}

/* Up to the first of `stop`; the rest begins behind it. */
static Slice
cut(Slice *rest, char stop)
{
	const char *at = rest->len ? memchr(rest->data, stop, rest->len) : NULL;
	size_t len = at ? (size_t) (at - rest->data) : rest->len;
	Slice part = {rest->data, len};

	rest->data += at ? len + 1 : len;
	rest->len -= at ? len + 1 : len;
	return trimmed(part);
}

bool
media_type_is(Slice content_type, const char *type)
{
	return content_type.data != NULL && slice_is_nocase(cut(&content_type, ';'), type);
}

bool
media_type_is_json(Slice content_type)
{
	Slice type;

	if (content_type.data == NULL)
		return true;
	type = cut(&content_type, ';');
	return slice_is_nocase(type, "application/json") || slice_is_nocase(type, "text/json") ||
		   (type.len > 5 && strncasecmp(type.data + type.len - 5, "+json", 5) == 0);
}

bool
media_type_is_utf8(Slice content_type)
{
	if (content_type.data == NULL)
		return true;
	cut(&content_type, ';');
	while (content_type.len > 0)
	{
		Slice value = cut(&content_type, ';');
		Slice name = cut(&value, '=');

		if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
			value = (Slice){value.data + 1, value.len - 2};
		if (slice_is_nocase(name, "charset") && !slice_is_nocase(value, "utf-8") &&
			!slice_is_nocase(value, "utf8"))
			return false;
	}
	return true;
}

/*
 * Attributes
 */

/* The attribute's place; NULL: it is an extension, or one that another log's event had (*ignored). */
static Slice *
place_of(CloudEvent *event, Slice name, bool *ignored)
{
	const struct
	{
		const char *name;
		Slice *place;
	} places[] = {
		{"id", &event->id},
		{"source", &event->source},
		{"type", &event->type},
		{"subject", &event->subject},
		{"time", &event->time},
		{"dataschema", &event->dataschema},
		{"datacontenttype", &event->datacontenttype},
		{"correlationid", &event->correlationid},
		{"causationid", &event->causationid},
		{"partitionkey", &event->partitionkey},
		{"traceparent", &event->traceparent},
		{"tracestate", &event->tracestate},
	};

	*ignored = slice_is(name, "position") || slice_is(name, "streamversion") ||
			   slice_is(name, "tenant") || slice_is(name, "specversion");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (slice_is(name, places[i].name))
			return places[i].place;
	return NULL;
}

static bool
digits(const char *text, int n)
{
	for (int i = 0; i < n; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return true;
}

/* RFC 3339: 2026-01-31T12:34:56[.123]Z or +01:00 */
static bool
is_time(Slice text)
{
	const char *p = text.data;
	size_t at = 19;

	if (text.len < 20 || text.len > 40 || !digits(p, 4) || p[4] != '-' || !digits(p + 5, 2) ||
		p[7] != '-' || !digits(p + 8, 2) || (p[10] != 'T' && p[10] != 't') || !digits(p + 11, 2) ||
		p[13] != ':' || !digits(p + 14, 2) || p[16] != ':' || !digits(p + 17, 2))
		return false;
	if (p[at] == '.')
	{
		if (!digits(p + ++at, 1))
			return false;
		while (at < text.len && digits(p + at, 1))
			at++;
	}
	if (at + 1 == text.len)
		return p[at] == 'Z' || p[at] == 'z';
	return at + 6 == text.len && (p[at] == '+' || p[at] == '-') && digits(p + at + 1, 2) &&
		   p[at + 3] == ':' && digits(p + at + 4, 2);
}

static const char *
add_extension(CloudEvent *event, Slice name, Slice json)
{
	if (event->nextensions == CLOUDEVENT_EXTENSIONS_MAX)
		return "a CloudEvent has at most 32 extension attributes here";
	event->extensions[event->nextensions++] = (CloudEventExtension){name, json};
	return NULL;
}

static bool
name_ok(Slice name, Arena *arena)
{
	return name.len > 0 && name.len <= 20 && memchr(name.data, 0, name.len) == NULL &&
		   usher_cloudevent_name_ok(arena_copy(arena, name.data, name.len));
}

const char *
cloudevent_complete(const CloudEvent *event)
{
	if (event->id.len == 0 || event->source.len == 0 || event->type.len == 0)
		return "a CloudEvent has id, source and type, and none is empty";
	if (event->time.data && !is_time(event->time))
		return "time is not as in RFC 3339";
	if ((event->subject.data && event->subject.len == 0) ||
		(event->partitionkey.data && event->partitionkey.len == 0))
		return "subject and partitionkey are not empty";
	return NULL;
}

/*
 * Structured mode
 */

static Slice
string_of(JsonValue value, Arena *arena)
{
	char *out = arena_alloc(arena, value.text.len + 1);

	return (Slice){out, json_unescape(value, out)};
}

static const char *
take_member(CloudEvent *event, JsonValue key, JsonValue value, Arena *arena)
{
	Slice name = string_of(key, arena), *place;
	bool ignored;

	if (slice_is(name, "data") || slice_is(name, "data_base64"))
	{
		if (event->data_kind != DATA_NONE)
			return "a CloudEvent has data or data_base64, and once";
		if (name.len == 4)
		{
			event->data_kind = DATA_JSON;
			event->data = value.text;
			return NULL;
		}
		if (value.kind != JSON_STRING)
			return "data_base64 is a string";
		event->data_kind = DATA_BASE64;
		event->data = string_of(value, arena);
		return NULL;
	}
	if (!name_ok(name, arena))
		return "the name of an attribute is 1 to 20 of a-z and 0-9";
	if (value.kind == JSON_NULL)
		return NULL;
	if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY)
		return "an attribute is a string, a number or a boolean";
	place = place_of(event, name, &ignored);
	if (slice_is(name, "specversion") && !json_string_is(value, "1.0"))
		return "specversion is not 1.0";
	if (ignored)
		return NULL;
	if (place == NULL)
		return add_extension(event, name, value.text);
	if (value.kind != JSON_STRING)
		return "id, source, type and the other attributes that are known are strings";
	if (place->data != NULL)
		return "an attribute stands twice";
	*place = string_of(value, arena);
	return NULL;
}

static bool
is_base64(Slice text)
{
	size_t padding = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		char c = text.data[i];

		if (c == '=' && i + 2 >= text.len)
			padding++;
		else if (padding > 0 || !((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
								  (c >= '0' && c <= '9') || c == '+' || c == '/'))
			return false;
	}
	return text.len % 4 == 0;
}

const char *
cloudevent_from_json(JsonValue object, Arena *arena, CloudEvent *event)
{
	JsonWalk walk = json_walk(object);
	JsonValue name, value;
	bool versioned = false;
	const char *wrong;

	*event = (CloudEvent){.data_kind = DATA_NONE};
	if (object.kind != JSON_OBJECT)
		return "a CloudEvent is an object";
	while (json_next(&walk, &name, &value))
	{
		wrong = take_member(event, name, value, arena);
		if (wrong)
			return wrong;
		if (json_string_is(name, "specversion"))
			versioned = true;
	}
	if (!versioned)
		return "specversion is missing";
	if (event->data_kind == DATA_BASE64 && !is_base64(event->data))
		return "data_base64 is not base64";
	return cloudevent_complete(event);
}

/*
 * Binary mode
 */

/* Section 3.1.3.2: quotes and their escapes first, then percent-encoding, once.  false: it is malformed. */
static bool
header_value(Slice value, Arena *arena, Slice *out)
{
	char *plain = arena_alloc(arena, value.len + 1), *decoded = arena_alloc(arena, value.len + 1);
	size_t n = 0;
	long len;

	if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
	{
		for (size_t i = 1; i + 1 < value.len; i++)
		{
			if (value.data[i] == '\\' && i + 2 < value.len)
				i++;
			plain[n++] = value.data[i];
		}
		value = (Slice){plain, n};
	}
	len = uri_decode(value, false, decoded);
	*out = (Slice){decoded, len < 0 ? 0 : (size_t) len};
	return len >= 0;
}

const char *
cloudevent_header(CloudEvent *event, Slice name, Slice value, Arena *arena, bool *versioned)
{
	Slice text, *place;
	Text json = {0};
	bool ignored;
	const char *wrong;

	if (!name_ok(name, arena))
		return "the name of an attribute is 1 to 20 of a-z and 0-9";
	if (!header_value(value, arena, &text))
		return "a header ce-… is not percent-encoded UTF-8";
	if (slice_is(name, "specversion"))
	{
		*versioned = true;
		return slice_is(text, "1.0") ? NULL : "specversion is not 1.0";
	}
	if (slice_is(name, "datacontenttype"))
		return "in binary mode datacontenttype is the header Content-Type";
	place = place_of(event, name, &ignored);
	if (ignored)
		return NULL;
	if (place != NULL)
	{
		if (place->data != NULL)
			return "an attribute stands twice";
		*place = text;
		return NULL;
	}
	text_json(&json, text.data, text.len);
	wrong = add_extension(event, name, arena_slice(arena, (Slice){json.data, json.len}));
	text_free(&json);
	return wrong;
}

const char *
cloudevent_body(CloudEvent *event, Slice content_type, Slice body, int depth_max, Arena *arena)
{
	JsonValue value;
	JsonFault fault;

	(void) arena;
	if (body.len == 0)
		return NULL;
	event->data = body;
	event->datacontenttype = content_type;
	if (media_type_is_json(content_type))
	{
		if (!media_type_is_utf8(content_type) ||
			!json_check(body.data, body.len, depth_max, &value, &fault))
			return "the body is not JSON";
		event->data_kind = DATA_JSON;
		event->data = value.text;
	}
	else if (content_type.len >= 5 && strncasecmp(content_type.data, "text/", 5) == 0 &&
			 media_type_is_utf8(content_type) && slice_is_text(body))
		event->data_kind = DATA_TEXT;
	else
		event->data_kind = DATA_BYTES;
	return NULL;
}

/*
 * What the log keeps
 */

static void
add_base64(Text *json, Slice bytes)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	text_char(json, '"');
	for (size_t i = 0; i < bytes.len; i += 3)
	{
		uint32_t n = 0;
		size_t have = bytes.len - i < 3 ? bytes.len - i : 3;

		for (size_t k = 0; k < 3; k++)
			n = n << 8 | (k < have ? (unsigned char) bytes.data[i + k] : 0u);
		for (size_t k = 0; k < 4; k++)
			text_char(json, k <= have ? alphabet[n >> (18 - 6 * k) & 63] : '=');
	}
	text_char(json, '"');
}

static Slice
finish(Text *json, Arena *arena)
{
	Slice slice = arena_slice(arena, (Slice){json->data, json->len});

	text_free(json);
	return slice;
}

Slice
cloudevent_data(const CloudEvent *event, Arena *arena)
{
	Text json = {0};

	switch (event->data_kind)
	{
		case DATA_NONE:
			return (Slice){NULL, 0};
		case DATA_JSON:
			if (event->data.data[0] == '{')
				return event->data;
			text_puts(&json, "{\"value\":");
			text_add(&json, event->data.data, event->data.len);
			break;
		case DATA_TEXT:
			text_puts(&json, "{\"text\":");
			text_json(&json, event->data.data, event->data.len);
			break;
		case DATA_BASE64:
			text_puts(&json, "{\"base64\":");
			text_json(&json, event->data.data, event->data.len);
			break;
		case DATA_BYTES:
			text_puts(&json, "{\"base64\":");
			add_base64(&json, event->data);
			break;
	}
	text_char(&json, '}');
	return finish(&json, arena);
}

static void
add_member(Text *json, const char *name, Slice value)
{
	if (value.data == NULL)
		return;
	text_puts(json, json->len > 1 ? ",\"" : "\"");
	text_puts(json, name);
	text_puts(json, "\":");
	text_json(json, value.data, value.len);
}

Slice
cloudevent_metadata(const CloudEvent *event, bool keep_id, Arena *arena)
{
	Text json = {0};
	bool plain = event->datacontenttype.data == NULL ||
				 media_type_is(event->datacontenttype, "application/json");

	text_char(&json, '{');
	add_member(&json, "source", event->source);
	add_member(&json, "subject", event->subject);
	add_member(&json, "time", event->time);
	add_member(&json, "dataschema", event->dataschema);
	add_member(&json, "datacontenttype", plain ? (Slice){NULL, 0} : event->datacontenttype);
	add_member(&json, "correlation_id", event->correlationid);
	add_member(&json, "causation_id", event->causationid);
	add_member(&json, "traceparent", event->traceparent);
	add_member(&json, "tracestate", event->tracestate);
	add_member(&json, "cloudevent_id", keep_id ? event->id : (Slice){NULL, 0});
	for (int i = 0; i < event->nextensions; i++)
	{
		if (i == 0)
			text_puts(&json, json.len > 1 ? ",\"extensions\":{" : "\"extensions\":{");
		else
			text_char(&json, ',');
		text_json(&json, event->extensions[i].name.data, event->extensions[i].name.len);
		text_char(&json, ':');
		text_add(&json, event->extensions[i].json.data, event->extensions[i].json.len);
	}
	text_puts(&json, event->nextensions ? "}}" : "}");
	return finish(&json, arena);
}
