/*
 * test/fuzz/http_head.c
 *	  Any bytes as the head of a request.
 *
 * What is accepted lies in the text, has no line end or control character in
 * it, and written out again it reads as the same; and it makes no difference
 * whether it comes at once or in two parts.
 */
#include "fuzz.h"
#include "../../gateway/lib/http_head.h"

const char *const usher_fuzz_words[] = {
	"GET / HTTP/1.1\r\n", "Host: a\r\n", "\r\n", "\r\n\r\n", "\n", "\r", ":", " ", "\t", "Content-Length: 5",
	"Transfer-Encoding: chunked\r\n", "POST", "/a?b", "HTTP/1.0", "HTTP/2.0", NULL};

static void
clean(Slice text, const char *data, size_t size)
{
	must(text.data >= data && text.data + text.len <= data + size);
	for (size_t i = 0; i < text.len; i++)
		must(text.data[i] != '\r' && text.data[i] != '\n' && text.data[i] != '\0');
}

static void
again(const HttpHead *head)
{
	static HttpHead second;
	Text text = {0};
	size_t used;

	text_add(&text, head->method.data, head->method.len);
	text_char(&text, ' ');
	text_add(&text, head->target.data, head->target.len);
	text_printf(&text, " HTTP/1.%d\r\n", head->minor_version);
	for (int i = 0; i < head->nfields; i++)
	{
		text_add(&text, head->fields[i].name.data, head->fields[i].name.len);
		text_char(&text, ':');
		text_add(&text, head->fields[i].value.data, head->fields[i].value.len);
		text_puts(&text, "\r\n");
	}
	text_puts(&text, "\r\n");
	must(http_head_parse(text.data, text.len, 0, &second, &used) == HTTP_HEAD_OK && used == text.len);
	must(second.nfields == head->nfields);
	for (int i = 0; i < head->nfields; i++)
		must(second.fields[i].value.len == head->fields[i].value.len &&
			 memcmp(second.fields[i].value.data, head->fields[i].value.data, head->fields[i].value.len) == 0);
	text_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static HttpHead head, slow;
	Input in = {data, data + size};
	size_t cut = input_number(&in, 64), len, used, first;
	char *text = input_bytes(&in, &len);
	HttpHeadResult result = http_head_parse(text, len, 0, &head, &used), late;

	if (cut < len)
	{
		late = http_head_parse(text, cut, 0, &slow, &first);
		if (late == HTTP_HEAD_MORE)
			late = http_head_parse(text, len, first, &slow, &first);
		must(late == result || late == HTTP_HEAD_OK || late == HTTP_HEAD_BAD || late == HTTP_HEAD_VERSION);
		if (late == HTTP_HEAD_MORE)
			must(result == HTTP_HEAD_MORE);
	}
	if (result == HTTP_HEAD_OK)
	{
		must(used <= len);
		clean(head.method, text, len);
		clean(head.target, text, len);
		for (int i = 0; i < head.nfields; i++)
		{
			clean(head.fields[i].name, text, len);
			clean(head.fields[i].value, text, len);
		}
		again(&head);
	}
	free(text);
	return 0;
}
