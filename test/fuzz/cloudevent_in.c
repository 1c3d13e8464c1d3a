/*
 * test/fuzz/cloudevent_in.c
 *	  Any bytes as a CloudEvent: structured, or as header and body.  What is taken becomes JSON objects.
 */
#include "fuzz.h"

#include "cloudevent_in.h"

const char *const usher_fuzz_words[] = {
	"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"",
	",\"data\":",
	",\"data_base64\":\"AA==\"",
	",\"subject\":\"",
	",\"time\":\"2026-01-31T12:34:56.5+01:00\"",
	",\"partitionkey\":\"k\"",
	",\"x\":",
	"}",
	"\"",
	"%41",
	"%e2%82%ac",
	"\\\"",
	"application/json",
	"text/plain",
	"; charset=",
	"+json",
	"null",
	"5",
	NULL};

static void
judge(const CloudEvent *event, Arena *arena)
{
	Slice data = cloudevent_data(event, arena), metadata;
	JsonValue value;
	JsonFault fault;

	if (data.data)
		must(json_check(data.data, data.len, 100, &value, &fault) && value.kind == JSON_OBJECT);
	for (int keep = 0; keep < 2; keep++)
	{
		metadata = cloudevent_metadata(event, keep, arena);
		must(json_check(metadata.data, metadata.len, 100, &value, &fault) &&
			 value.kind == JSON_OBJECT);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	size_t len, name_len, type_len;
	char *name = input_bytes(&in, &name_len), *type = input_bytes(&in, &type_len);
	char *text = input_bytes(&in, &len);
	Arena arena = {0};
	CloudEvent event;
	JsonValue value;
	JsonFault fault;
	bool versioned = false;

	if (json_check(text, len, 50, &value, &fault) &&
		cloudevent_from_json(value, &arena, &event) == NULL)
	{
		must(event.id.len > 0 && event.source.len > 0 && event.type.len > 0);
		judge(&event, &arena);
	}
	event = (CloudEvent){.data_kind = DATA_NONE};
	if (cloudevent_header(&event, (Slice){name, name_len}, (Slice){type, type_len}, &arena,
						  &versioned) == NULL &&
		cloudevent_body(&event, (Slice){type, type_len}, (Slice){text, len}, 50, &arena) == NULL)
		judge(&event, &arena);
	arena_free(&arena);
	free(name);
	free(type);
	free(text);
	return 0;
}
