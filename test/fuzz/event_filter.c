/*
 * test/fuzz/event_filter.c
 *	  Any patterns and members over any event: read within their bounds, the same of a copy and of an index,
 *	  and each part of a filter only takes away.
 */
#include "fuzz.h"
#include "event_filter.h"
#include "interest_index.h"

const char *const usher_fuzz_words[] = {"{\"type\":\"a.b\",\"data\":{\"n\":1}}",
										"{\"data.n\":1}",
										"{\"data.n\":[1,2]}",
										"{\"data\":\"\\u00e9\"}",
										"{\"a.b.c\":null}",
										"{\"a\":{\"b\":{\"c\":null}}}",
										"{\"n\":1e1}",
										"a.b",
										"**",
										"*",
										".",
										"a*",
										"**.c",
										NULL};

static void
found_one(void *context, Interest *interest)
{
	(void) interest;
	++*(int *) context;
}

/* What an index of it says. */
static bool
index_wants(const EventFilter *filter, const FilterEvent *event)
{
	InterestIndex *index = index_make((SipKey){1, 2});
	Interest interest;
	int found = 0;

	interest_begin(&interest, filter);
	index_add(index, &interest);
	index_match(index, event, found_one, &found);
	index_remove(index, &interest);
	interest_end(&interest);
	index_free(index);
	must(found <= 1);
	return found == 1;
}

/* One that was checked; memory of exactly its size, for free(). */
static char *
take_json(Input *in, JsonValue *value)
{
	size_t len;
	char *text = input_bytes(in, &len);
	JsonFault fault;

	if (!json_check(text, len, 16, value, &fault))
		*value = (JsonValue){.kind = JSON_NONE};
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	JsonValue members, json;
	char *members_text = take_json(&in, &members), *json_text = take_json(&in, &json);
	Slice texts[3], patterns[4];
	EventFilter filter = {.types = patterns, .streams = patterns + 2}, copy, wider;
	FilterEvent event;
	void *memory;
	bool wanted;

	for (int i = 0; i < 4; i++)
		patterns[i].data = input_bytes(&in, &patterns[i].len);
	for (int i = 0; i < 3; i++)
		texts[i].data = input_bytes(&in, &texts[i].len);
	filter.ntypes = (int) input_number(&in, 3);
	filter.nstreams = (int) input_number(&in, 3);
	if (filter_members_fault(members) == NULL)
		filter.members = members;
	if (json.kind == JSON_OBJECT)
	{
		event = (FilterEvent){texts[0], texts[1], texts[2], json.text};
		wanted = filter_wants(&filter, &event);
		memory = filter_copy(&filter, 7, &copy);
		must(filter_wants(&copy, &event) == wanted);
		must(index_wants(&filter, &event) == wanted);
		wider = copy;
		wider.members.kind = JSON_NONE;
		must(!wanted || filter_wants(&wider, &event));
		wider = copy;
		wider.ntypes = 0;
		must(!wanted || filter_wants(&wider, &event));
		wider.nstreams = 0;
		must(!wanted || filter_wants(&wider, &event));
		wider.members.kind = JSON_NONE;
		must(filter_wants(&wider, &event));
		free(memory);
	}
	for (int i = 0; i < 4; i++)
		free((char *) patterns[i].data);
	for (int i = 0; i < 3; i++)
		free((char *) texts[i].data);
	free(members_text);
	free(json_text);
	return 0;
}
