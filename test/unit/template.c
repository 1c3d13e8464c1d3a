/*
 * test/unit/template.c
 *	  Templates: what is one and what is not, and what an event makes of them.
 */
#include "template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tests;
static int failures;

static void
ok(bool passed, const char *what, const char *text)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s: \"%s\"\n", passed ? "" : "not ", tests, what, text);
}

/* An event of stream order-42; a key or topic it has none. */
static bool
event_value(void *arg, const UsherTemplatePart *part, const char **value, size_t *len)
{
	static const struct
	{
		UsherPlace place;
		const char *path;
		const char *value;
	} values[] = {
		{PLACE_CATEGORY, NULL, "order"},       {PLACE_TENANT, NULL, "acme"},
		{PLACE_TYPE, NULL, "order.placed.v1"}, {PLACE_STREAM, NULL, "order-42"},
		{PLACE_TOPIC, NULL, "order"},          {PLACE_DATA, "region", "eu"},
		{PLACE_DATA, "customer.id", "c-7"},    {PLACE_DATA, "empty", ""},
		{PLACE_METADATA, "source", "shop"},    {PLACE_DATA, "brace", "{type}"},
	};
	int *calls = arg;

	(*calls)++;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (values[i].place == part->place &&
			(values[i].path == NULL || (strlen(values[i].path) == part->len &&
										memcmp(values[i].path, part->text, part->len) == 0)))
		{
			*value = values[i].value;
			*len = strlen(values[i].value);
			return true;
		}
	return false;
}

typedef struct Case
{
	const char *template;
	const char *expected; /* NULL: a place has no value */
} Case;

static const Case cases[] = {
	{"", ""},
	{"orders", "orders"},
	{"{category}", "order"},
	{"{category}s", "orders"},
	{"txova.{category}s.v1", "txova.orders.v1"},
	{"{tenant}.{stream}", "acme.order-42"},
	{"{type}", "order.placed.v1"},
	{"{type[0]}", "order"},
	{"{type[1]}", "placed"},
	{"{type[2]}", "v1"},
	{"{type[002]}", "v1"},
	{"{type[3]}", NULL},
	{"{type[255]}", NULL},
	{"{topic}", "order"},
	{"{key}", NULL},
	{"x{key}y", NULL},
	{"{data.region}", "eu"},
	{"{data.customer.id}", "c-7"},
	{"{data.customer}", NULL},
	{"{data.missing}", NULL},
	{"a{data.empty}b", "ab"},
	{"{data.empty}", ""},
	{"{metadata.source}", "shop"},
	{"{metadata.region}", NULL},
	/* values are not templates */
	{"{data.brace}", "{type}"},
	/* braces */
	{"{{", "{"},
	{"}}", "}"},
	{"{{}}", "{}"},
	{"{{{{", "{{"},
	{"a{{b}}c", "a{b}c"},
	{"{{category}}", "{category}"},
	{"{{{category}}}", "{order}"},
	{"}}{category}{{", "}order{"},
	{"a.b:c/d e", "a.b:c/d e"},
	{"заказ.{category}.é", "заказ.order.é"},
	{"{category}{category}{category}", "orderorderorder"},
	/* sixteen parts */
	{"{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.",
	 "order.order.order.order.order.order.order.order."},
};

static const struct
{
	const char *text;
	const char *error; /* a part of it */
} wrong[] = {
	{"{", "not closed"},
	{"a{", "not closed"},
	{"{category", "not closed"},
	{"{a{category}", "not closed"},
	{"{{{", "not closed"},
	{"}", "not opened"},
	{"{category}}", "not opened"},
	{"a}b", "not opened"},
	{"}}}", "not opened"},
	{"{}", "no place \"\""},
	{"{ category}", "no place \" category\""},
	{"{Category}", "no place \"Category\""},
	{"{categories}", "no place \"categories\""},
	{"{data}", "no place \"data\""},
	{"{metadata}", "no place \"metadata\""},
	{"{datax}", "no place \"datax\""},
	{"{data.}", "name is missing"},
	{"{data..a}", "name is missing"},
	{"{data.a.}", "name is missing"},
	{"{data.a..b}", "name is missing"},
	{"{metadata.}", "name is missing"},
	{"{type[]}", "number is missing"},
	{"{type[}", "number is missing"},
	{"{type[1}", "number is missing"},
	{"{type[1]x}", "number is missing"},
	{"{type[-1]}", "digits only"},
	{"{type[ 1]}", "digits only"},
	{"{type[x]}", "digits only"},
	{"{type[256]}", "so many segments"},
	{"{type[99999999999999999999]}", "so many segments"},
	{"{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}.{type[0]}..{key}",
	 "more than 16 parts"},
	{"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{", "more than 16 parts"},
	{"{a place that is much too long to be shown as a whole in a message of an error}",
	 "long to be show...\""},
	{"{ąąąąąąąąąąąąąąąąąąąąąąąąąąąąą}", "ąą...\""},
	{"{xąąąąąąąąąąąąąąąąąąąąąąąąąąąąą}", "ąą...\""},
};

/* On a copy of the exact size, so that a sanitizer sees a byte read too far. */
static bool
parse(const char *text, char **copy, UsherTemplate *template, char error[128])
{
	size_t len = strlen(text);

	*copy = malloc(len + (len == 0));
	memcpy(*copy, text, len);
	error[0] = '\0';
	return usher_template_parse(*copy, len, template, error, 128);
}

static void
test_case(const Case *c)
{
	UsherTemplate template;
	char error[128], *copy, *out;
	size_t size = c->expected ? strlen(c->expected) + 1 : 100;
	int calls = 0;
	long len;

	if (!parse(c->template, &copy, &template, error))
	{
		ok(false, error, c->template);
		free(copy);
		return;
	}
	out = malloc(size);
	len = usher_template_render(&template, event_value, &calls, out, size);
	if (c->expected == NULL)
		ok(len == USHER_TEMPLATE_MISSING, "has no value", c->template);
	else
	{
		ok(len == (long) strlen(c->expected) && strcmp(out, c->expected) == 0, "renders",
		   c->template);
		ok(usher_template_render(&template, event_value, &calls, out, size - 1) ==
			   USHER_TEMPLATE_TOO_LONG,
		   "does not fit into one byte less", c->template);
	}
	free(out);
	free(copy);
}

static void
test_wrong(const char *text, const char *expected)
{
	UsherTemplate template;
	char error[128], *copy;
	bool parsed = parse(text, &copy, &template, error);

	ok(!parsed && strstr(error, expected) != NULL && strlen(error) < 120, "is refused", text);
	if (!parsed && strstr(error, expected) == NULL)
		printf("# said: %s\n", error);
	free(copy);
}

static void
test_calls(void)
{
	UsherTemplate template;
	char error[128], out[100], *copy;
	int calls = 0;

	parse("a{type[1]}b{type}c", &copy, &template, error);
	usher_template_render(&template, event_value, &calls, out, sizeof(out));
	ok(calls == 2 && strcmp(out, "aplacedborder.placed.v1c") == 0, "asks for places only", out);
	free(copy);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		test_case(&cases[i]);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		test_wrong(wrong[i].text, wrong[i].error);
	test_calls();
	printf("1..%d\n", tests);
	return failures != 0;
}
