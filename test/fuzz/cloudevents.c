/*
 * test/fuzz/cloudevents.c
 *	  Any bytes as attributes: the event is JSON and holds what was put into it.
 *
 * It is read back with a reader of our own (json.h); values that are UTF-8
 * come back as they were, other bytes as U+FFFD.  The same for headers, which
 * must be printable ASCII, and for times.
 */
#include "cloudevents.h"
#include "fuzz.h"
#include "json.h"

#define ATTRIBUTES_MAX 8

const char *const usher_fuzz_words[] = {"\"",         "\\",
										"\n",         "\x01",
										"é",          "€",
										"😀",          "\xed\xa0\x80",
										"\xc0\xaf",   "\xf4\x90\x80\x80",
										"12345678",   "-2147483648",
										"2147483648", "0",
										"{}",         "[1]",
										"%",          " ",
										"id",         "\x02",
										"\x08",       "\x10",
										NULL};

/* What must come back for a value: all that is no UTF-8 replaced, byte by byte. */
static size_t
replaced(const char *value, size_t len, char *out)
{
	const char *at = value, *end = value + len;
	size_t n = 0;

	while (at < end)
	{
		const char *from = at;

		if (json_code_point(&at, end) < 0)
		{
			memcpy(out + n, "\xef\xbf\xbd", 3);
			n += 3;
			at = from + 1;
			continue;
		}
		memcpy(out + n, from, (size_t) (at - from));
		n += (size_t) (at - from);
	}
	return n;
}

static void
check_member(Json *j, const char *expected, size_t expected_len, bool may_be_bare)
{
	size_t room = (size_t) (j->end - j->at) + 1, len;
	char *out = malloc(room);
	char *wanted = malloc(3 * expected_len + 1);
	size_t wanted_len = replaced(expected, expected_len, wanted);
	const char *from = j->at;

	if (*j->at == '"')
		must(json_string(j, out, &len) && len == wanted_len && memcmp(out, wanted, len) == 0);
	else
		must(may_be_bare && json_number(j) && (size_t) (j->at - from) == expected_len &&
			 memcmp(from, expected, expected_len) == 0);
	free(out);
	free(wanted);
}

static void
check_event(const UsherAttribute *attributes, int n, const char *data, const char *text, size_t len)
{
	Json j = {text, text + len, 0};

	must(json_valid(text, len));
	must(json_eat(&j, "{"));
	for (int i = 0; i < n; i++)
	{
		must(i == 0 || json_eat(&j, ","));
		check_member(&j, attributes[i].name, strlen(attributes[i].name), false);
		must(json_eat(&j, ":"));
		check_member(&j, attributes[i].value, attributes[i].len, attributes[i].is_number);
	}
	if (data != NULL)
		must((n == 0 || json_eat(&j, ",")) && json_eat(&j, "\"data\":") && json_eat(&j, data));
	must(json_eat(&j, "}") && j.at == j.end);
}

static void
try_event(Input *in)
{
	static const char *const datas[] = {NULL, "null", "{}", "{\"a\": [1, \"}\"]}"};
	const char *data = datas[input_number(in, 4)];
	UsherAttribute attributes[ATTRIBUTES_MAX];
	int n = (int) input_number(in, ATTRIBUTES_MAX + 1);
	size_t data_len = data ? strlen(data) : 0, len, less;
	char *out;

	for (int i = 0; i < n; i++)
	{
		size_t name_len;
		char *name = input_bytes(in, &name_len);

		attributes[i].is_number = input_number(in, 2);
		attributes[i].value = input_bytes(in, &attributes[i].len);
		attributes[i].name = strndup(name, name_len);
		free(name);
	}
	len = usher_cloudevent_json(attributes, n, data, data_len, NULL, 0);
	out = malloc(len);
	must(usher_cloudevent_json(attributes, n, data, data_len, out, len) == len);
	check_event(attributes, n, data, out, len);
	free(out);
	less = len * input_number(in, 256) / 256;
	out = malloc(less + (less == 0));
	must(usher_cloudevent_json(attributes, n, data, data_len, out, less) == len);
	free(out);
	for (int i = 0; i < n; i++)
	{
		free((void *) attributes[i].name);
		free((void *) attributes[i].value);
	}
}

static int
hex_digit(char c)
{
	const char *digits = "0123456789ABCDEF";
	const char *found = c ? strchr(digits, c) : NULL;

	must(found != NULL);
	return (int) (found - digits);
}

static void
try_percent(Input *in)
{
	size_t value_len, at = 0;
	char *value = input_bytes(in, &value_len);
	size_t len = usher_cloudevent_percent(value, value_len, NULL, 0);
	char *out = malloc(len + (len == 0));

	must(usher_cloudevent_percent(value, value_len, out, len) == len);
	for (size_t i = 0; i < len; i++, at++)
	{
		char c = out[i];

		must(c > ' ' && c < 0x7f && c != '"' && at < value_len);
		if (c == '%')
		{
			must(i + 2 < len);
			c = (char) (hex_digit(out[i + 1]) * 16 + hex_digit(out[i + 2]));
			i += 2;
		}
		must(c == value[at]);
	}
	must(at == value_len);
	free(out);
	free(value);
}

/* Later times are later texts. */
static void
try_time(Input *in)
{
	char texts[2][USHER_TIME_LEN];
	int64_t times[2];

	for (int i = 0; i < 2; i++)
	{
		uint64_t us = 0;

		for (int byte = 0; byte < 8; byte++)
			us = us << 8 | input_number(in, 256);
		times[i] = (int64_t) us;
		usher_cloudevent_time(times[i], texts[i]);
		for (int c = 0; c < USHER_TIME_LEN; c++)
			must(strchr("0123456789-:.TZ", texts[i][c]) != NULL && texts[i][c] != '\0');
	}
	if (times[0] <= times[1])
		must(memcmp(texts[0], texts[1], USHER_TIME_LEN) <= 0);
	else
		must(memcmp(texts[0], texts[1], USHER_TIME_LEN) >= 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};

	switch (input_number(&in, 4))
	{
		case 0:
			try_percent(&in);
			break;
		case 1:
			try_time(&in);
			break;
		default:
			try_event(&in);
	}
	return 0;
}
