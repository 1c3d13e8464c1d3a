/*
 * test/fuzz/template.c
 *	  Any text as a template, any values in its places.
 *
 * A template that parses must render, in exactly the room that it needs and in
 * no less; without values it must be its text with the doubled braces made
 * single; its parts must lie in the text.
 */
#include "fuzz.h"
#include "json.h"
#include "template.h"

const char *const usher_fuzz_words[] = {
	"{",          "}", "{{",  "}}",     "{category}", "{tenant}",  "{type}",     "{type[",
	"0",          "1", "255", "]}",     "{stream}",   "{topic}",   "{key}",      "{data.",
	"{metadata.", "a", ".",   "orders", "é",          "{type[0]}", "{data.a.b}", NULL};

typedef struct Values
{
	char *values[4];
	size_t lens[4];
	unsigned calls;
	bool all; /* no place goes without a value */
} Values;

static bool
value_of(void *arg, const UsherTemplatePart *part, const char **value, size_t *len)
{
	Values *v = arg;
	unsigned which = v->calls++ % 4;

	must(part->place != PLACE_LITERAL && part->place != PLACE_TYPE_SEGMENT);
	if (part->place == PLACE_DATA || part->place == PLACE_METADATA)
		must(part->len > 0 && part->text[0] != '.' && part->text[part->len - 1] != '.' &&
			 memchr(part->text, '}', part->len) == NULL);
	*value = v->values[which];
	*len = v->lens[which];
	return v->all || which != 3;
}

/* Text without places is known without the code that is tried here. */
static bool
expected_literal(const char *text, size_t len, char *out, size_t *out_len)
{
	*out_len = 0;
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '{' || text[i] == '}')
		{
			if (i + 1 == len || text[i + 1] != text[i])
				return false;
			i++;
		}
		out[(*out_len)++] = text[i];
	}
	return true;
}

static void
try_literal(const UsherTemplate *t, const char *text, size_t len, char *error)
{
	char *expected = malloc(len + 1), *out = malloc(len + 1);
	size_t expected_len;
	Values none = {.calls = 0};

	if (expected_literal(text, len, expected, &expected_len))
	{
		if (error != NULL)
			must(strstr(error, "more than") != NULL);
		else
			must(usher_template_render(t, value_of, &none, out, len + 1) == (long) expected_len &&
				 memcmp(out, expected, expected_len) == 0 && none.calls == 0);
	}
	free(expected);
	free(out);
}

static void
try_render(const UsherTemplate *t, Values *values)
{
	static char room[USHER_TEMPLATE_PARTS * 256 + 1];
	long len = usher_template_render(t, value_of, values, room, sizeof(room));
	char *out;

	if (len < 0)
	{
		must(len == USHER_TEMPLATE_MISSING);
		return;
	}
	must(room[len] == '\0');
	out = malloc((size_t) len + 1);
	values->calls = 0;
	must(usher_template_render(t, value_of, values, out, (size_t) len + 1) == len &&
		 memcmp(out, room, (size_t) len + 1) == 0);
	values->calls = 0;
	must(usher_template_render(t, value_of, values, out, (size_t) len) == USHER_TEMPLATE_TOO_LONG);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	UsherTemplate t;
	Values values = {.calls = 0};
	char error[128];
	size_t len;
	char *text = input_bytes(&in, &len);
	bool parsed = usher_template_parse(text, len, &t, error, sizeof(error));

	try_literal(&t, text, len, parsed ? NULL : error);
	if (!parsed)
		must(strlen(error) > 0 && strlen(error) < sizeof(error) - 1);
	else
	{
		must(t.nparts >= 0 && t.nparts <= USHER_TEMPLATE_PARTS);
		for (int i = 0; i < t.nparts; i++)
			must(t.parts[i].text == NULL ||
				 (t.parts[i].text >= text && t.parts[i].text + t.parts[i].len <= text + len));
		values.all = input_number(&in, 2);
		for (int i = 0; i < 4; i++)
			values.values[i] = input_bytes(&in, &values.lens[i]);
		try_render(&t, &values);
		for (int i = 0; i < 4; i++)
			free(values.values[i]);
	}
	free(text);
	return 0;
}
