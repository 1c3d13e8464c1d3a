/*
 * test/fuzz/json_check.c
 *	  Any bytes as a JSON body: accepted if and only if it is JSON, and walked without losing a byte.
 *
 * The judge is a reader of our own (json.h), written from the grammar; what we
 * refuse beyond it is tried for here by hand.  Of accepted bodies every value is
 * visited: it lies in its container, is JSON itself, and strings come back.
 */
#include "fuzz.h"
#include "json.h"
#include "json_check.h"

const char *const usher_fuzz_words[] = {"{",
										"}",
										"[",
										"]",
										",",
										":",
										"\"",
										"\\",
										"\\u",
										"\"a\"",
										"\"\"",
										"true",
										"false",
										"null",
										"0",
										"-1",
										"1.5",
										"1e5",
										"E+",
										"\\n",
										" ",
										"\t",
										"\n",
										"é",
										"😀",
										"\xed\xa0\x80",
										"\\ud83d\\ude00",
										"\\ud800",
										"\\u0000",
										"\\u0041",
										"12345678901234567890",
										"e10000",
										"e10001",
										NULL};

#define DEPTH 20

static void
visit(JsonValue value)
{
	JsonWalk walk = json_walk(value);
	const char *at = value.text.data, *end = at + value.text.len;
	JsonValue name, element, again;
	JsonFault fault;
	int64_t count = 0;

	must(json_check(value.text.data, value.text.len, DEPTH, &again, &fault));
	must(again.kind == value.kind && again.text.data == at && again.text.len == value.text.len);
	while (json_next(&walk, &name, &element))
	{
		must(++count <= (int64_t) value.text.len);
		if (value.kind == JSON_OBJECT)
		{
			must(name.kind == JSON_STRING && name.text.data > at && name.text.len >= 2);
			at = name.text.data + name.text.len;
			must(at < end);
		}
		else
			must(name.kind == JSON_NONE);
		must(element.kind != JSON_NONE && element.text.data > at - (value.kind != JSON_OBJECT));
		at = element.text.data + element.text.len;
		must(at < end);
		visit(element);
	}
	must(count == json_count(value));
	if (value.kind == JSON_STRING)
	{
		char *out = malloc(value.text.len);
		size_t len = json_unescape(value, out);

		must(len <= value.text.len - 2);
		for (const char *s = out; s < out + len;)
			must(json_code_point(&s, out + len) > 0);
		free(out);
	}
}

/* Does it have what the judge does not know (its \\u ends at U+007F), or what only we refuse? */
static bool
is_special(const char *text, size_t len)
{
	int digits = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '\\' && i + 1 < len && text[i + 1] == 'u')
			return true;
		digits = text[i] >= '0' && text[i] <= '9' ? digits + 1 : 0;
		if (digits > 4)
			return true;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + (size == 0));
	JsonValue value;
	JsonFault fault = {0, NULL};
	bool accepted;
	Json judge;

	if (size > 0)
		memcpy(copy, data, size);
	accepted = json_check(copy, size, DEPTH, &value, &fault);
	judge = (Json){copy, copy + size, 0};
	if (accepted)
		visit(value);
	else
		must(fault.message != NULL && fault.offset <= size && value.kind == JSON_NONE);
	/* Too deep for us is the only other reason. */
	if (!is_special(copy, size) && (accepted || strstr(fault.message, "within each other") == NULL))
		must(accepted == (json_value(&judge) && judge.at == judge.end));
	free(copy);
	return 0;
}
