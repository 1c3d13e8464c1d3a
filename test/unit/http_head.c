/*
 * test/unit/http_head.c
 *	  Heads of HTTP requests: a table of what is read, what must wait and what is refused; each also byte by byte.
 */
#include "http_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

typedef struct Case
{
	const char *what;
	const char *text;
	HttpHeadResult result;
} Case;

#define HOST "Host: a\r\n"

static const Case cases[] = {
	{"the smallest request", "GET / HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_OK},
	{"HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", HTTP_HEAD_OK},
	{"an empty line in front", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_OK},
	{"blanks around a value", "GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n", HTTP_HEAD_OK},
	{"an empty value", "GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n", HTTP_HEAD_OK},
	{"bytes above 127 in a value", "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa9\r\n\r\n", HTTP_HEAD_OK},
	{"the server as target", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_OK},
	{"nothing", "", HTTP_HEAD_MORE},
	{"half a line", "GET / HT", HTTP_HEAD_MORE},
	{"no end", "GET / HTTP/1.1\r\n" HOST, HTTP_HEAD_MORE},
	{"half an end", "GET / HTTP/1.1\r\n" HOST "\r", HTTP_HEAD_MORE},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD},
	{"two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HTTP_HEAD_BAD},
	{"a Host with an address and a port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", HTTP_HEAD_OK},
	{"a Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HTTP_HEAD_BAD},
	{"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_HEAD_BAD},
	{"a Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", HTTP_HEAD_BAD},
	{"a method that is too long", "GETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"lines that end in LF alone", "GET / HTTP/1.1\nHost: a\n\n", HTTP_HEAD_BAD},
	{"one line that does", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", HTTP_HEAD_BAD},
	{"CR alone in a value", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", HTTP_HEAD_BAD},
	{"a folded line", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", HTTP_HEAD_BAD},
	{"a blank before the colon", "GET / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\n", HTTP_HEAD_BAD},
	{"a blank before the first name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", HTTP_HEAD_BAD},
	{"an empty name", "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", HTTP_HEAD_BAD},
	{"no colon", "GET / HTTP/1.1\r\n" HOST "abc\r\n\r\n", HTTP_HEAD_BAD},
	{"a control character in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", HTTP_HEAD_BAD},
	{"DEL in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", HTTP_HEAD_BAD},
	{"two blanks in the request line", "GET  / HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"a tab in the request line", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"a blank in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"a fragment in the target", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"an absolute target", "GET http://a/ HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"bytes above 127 in the target", "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"no target", "GET HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"no version", "GET /\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"another protocol", "GET / HTTQ/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"lower case", "GET / http/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"HTTP/2 as text", "GET / HTTP/2.0\r\n" HOST "\r\n", HTTP_HEAD_VERSION},
	{"HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", HTTP_HEAD_VERSION},
	{"HTTP/1.11", "GET / HTTP/1.11\r\n" HOST "\r\n", HTTP_HEAD_BAD},
	{"TLS where none is", "\x16\x03\x01\x02", HTTP_HEAD_BAD},
	{"five empty lines", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_HEAD_BAD},
};

/* At its exact size, so that a sanitizer sees a byte read too far; at once, then as it would come byte by byte. */
static HttpHeadResult
parse(const char *text, size_t len, bool slowly, HttpHead *head, size_t *used)
{
	HttpHeadResult result = HTTP_HEAD_MORE;
	size_t start = 0;

	for (size_t have = slowly ? 0 : len; have <= len; have++)
	{
		char *copy = malloc(have ? have : 1);

		memcpy(copy, text, have);
		result = http_head_parse(copy, have, start, head, used);
		start = *used;
		free(copy);
		if (result != HTTP_HEAD_MORE)
			break;
	}
	return result;
}

static void
test_values(void)
{
	static const char text[] = "POST /a?b=%20 HTTP/1.1\r\nhost: h\r\nX-A: 1\r\nx-a:  2 \r\nConnection: a, Close ,b\r\n\r\nbody";
	static HttpHead head;
	size_t used;
	bool twice;
	Slice value;

	ok(http_head_parse(text, strlen(text), 0, &head, &used) == HTTP_HEAD_OK && used == strlen(text) - 4,
	   "the head ends before the body");
	ok(slice_is(head.method, "POST") && slice_is(head.target, "/a?b=%20") && head.minor_version == 1 &&
		   head.nfields == 4,
	   "method, target, version, fields");
	value = http_head_field(&head, "x-A", &twice);
	ok(slice_is(value, "1") && twice, "a field that stands twice: the first, and that");
	value = http_head_field(&head, "host", &twice);
	ok(slice_is(value, "h") && !twice, "a field that stands once");
	ok(http_head_field(&head, "hos", &twice).data == NULL, "a field that is not there");
	ok(http_head_list_has(&head, "connection", "close") && !http_head_list_has(&head, "connection", "clo"),
	   "elements of a list");
}

static void
test_many_fields(void)
{
	Text text = {0};
	static HttpHead head;
	size_t used;

	for (int n = HTTP_FIELDS_MAX; n <= HTTP_FIELDS_MAX + 1; n++)
	{
		text.len = 0;
		text_puts(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
		for (int i = 1; i < n; i++)
			text_printf(&text, "F%d: x\r\n", i);
		text_puts(&text, "\r\n");
		ok(http_head_parse(text.data, text.len, 0, &head, &used) ==
			   (n > HTTP_FIELDS_MAX ? HTTP_HEAD_FIELDS : HTTP_HEAD_OK),
		   "as many fields as there may be, and one more");
	}
	text_free(&text);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		static HttpHead head;
		size_t used;
		size_t len = strlen(cases[i].text);

		ok(parse(cases[i].text, len, false, &head, &used) == cases[i].result, cases[i].what);
		ok(parse(cases[i].text, len, true, &head, &used) == cases[i].result, cases[i].what);
	}
	test_values();
	test_many_fields();
	return tap_end();
}
