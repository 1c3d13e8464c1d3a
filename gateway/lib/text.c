/*
 * gateway/lib/text.c
 *	  Memory that lives as long as a request, and text that grows in it.
 *
 * An arena is a list of blocks; what is large gets a block of its own, so that
 * the room left in the newest one stays in use.
 */
#include "text.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 4000
#define TEXT_BYTES_MIN    64

struct ArenaBlock
{
	ArenaBlock *next;
	alignas(max_align_t) char data[];
};

static _Noreturn void
out_of_memory(void)
{
	fputs("usherd: out of memory\n", stderr);
	abort();
}

/* How many bytes it makes, without the zero byte. */
static size_t __attribute__((format(printf, 1, 0)))
formatted_length(const char *format, va_list args)
{
	char nothing[1];
	int len = vsnprintf(nothing, sizeof(nothing), format, args);

	if (len < 0)
		out_of_memory();
	return (size_t) len;
}

static ArenaBlock *
block_new(size_t size)
{
	ArenaBlock *block;

	if (size > SIZE_MAX - sizeof(ArenaBlock) || (block = malloc(sizeof(ArenaBlock) + size)) == NULL)
		out_of_memory();
	return block;
}

void
arena_begin(Arena *arena, void *memory, size_t size)
{
	*arena = (Arena){NULL, memory, (char *) memory + size};
}

void *
arena_alloc(Arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	size_t rounded = size <= SIZE_MAX - align ? (size + align - 1) / align * align : SIZE_MAX;
	ArenaBlock *block;

	if (arena->at != NULL && rounded <= (size_t) (arena->end - arena->at))
	{
		arena->at += rounded;
		return arena->at - rounded;
	}
	block = block_new(rounded > ARENA_BLOCK_BYTES / 4 ? rounded : ARENA_BLOCK_BYTES);
	block->next = arena->blocks;
	arena->blocks = block;
	if (rounded <= ARENA_BLOCK_BYTES / 4)
	{
		arena->at = block->data + rounded;
		arena->end = block->data + ARENA_BLOCK_BYTES;
	}
	return block->data;
}

void *
arena_zalloc(Arena *arena, size_t size)
{
	return memset(arena_alloc(arena, size), 0, size);
}

char *
arena_copy(Arena *arena, const char *data, size_t len)
{
	char *copy;

	if (len == SIZE_MAX)
		out_of_memory();
	copy = arena_alloc(arena, len + 1);
	if (len > 0)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

Slice
arena_slice(Arena *arena, Slice slice)
{
	if (slice.data == NULL)
		return slice;
	return (Slice){arena_copy(arena, slice.data, slice.len), slice.len};
}

char *
arena_printf(Arena *arena, const char *format, ...)
{
	va_list args;
	char *result;
	size_t len;

	va_start(args, format);
	len = formatted_length(format, args);
	va_end(args);
	result = arena_alloc(arena, len + 1);
	va_start(args, format);
	vsnprintf(result, len + 1, format, args);
	va_end(args);
	return result;
}

void
arena_free(Arena *arena)
{
	while (arena->blocks != NULL)
	{
		ArenaBlock *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
	*arena = (Arena){0};
}

void
text_reserve(Text *text, size_t more)
{
	size_t size = text->size > 0 ? text->size : TEXT_BYTES_MIN;

	/* one byte for the zero at the end */
	if (more < text->size - text->len)
		return;
	if (more >= SIZE_MAX / 4 || text->len >= SIZE_MAX / 4)
		out_of_memory();
	while (size <= text->len + more)
		size *= 2;
	text->data = realloc(text->data, size);
	if (text->data == NULL)
		out_of_memory();
	text->size = size;
}

void
text_int(Text *text, int64_t number)
{
	char digits[24];
	size_t at = sizeof(digits);
	uint64_t rest = number < 0 ? 0 - (uint64_t) number : (uint64_t) number;

	do
		digits[--at] = (char) ('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (number < 0)
		digits[--at] = '-';
	text_add(text, digits + at, sizeof(digits) - at);
}

void
text_printf(Text *text, const char *format, ...)
{
	va_list args;
	size_t len;

	va_start(args, format);
	len = formatted_length(format, args);
	va_end(args);
	text_reserve(text, len);
	va_start(args, format);
	vsnprintf(text->data + text->len, len + 1, format, args);
	va_end(args);
	text->len += len;
}

size_t
utf8_length(const unsigned char *s, size_t len)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	/* overlong forms, surrogates, beyond U+10FFFF */
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (len < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

static void
json_escape(Text *text, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
	size_t len = 2;

	switch (c)
	{
		case '"':
		case '\\':
			escape[1] = (char) c;
			break;
		case '\b':
			escape[1] = 'b';
			break;
		case '\f':
			escape[1] = 'f';
			break;
		case '\n':
			escape[1] = 'n';
			break;
		case '\r':
			escape[1] = 'r';
			break;
		case '\t':
			escape[1] = 't';
			break;
		default:
			len = 6;
	}
	text_add(text, escape, len);
}

#define EACH_BYTE(b) (0x0101010101010101ULL * (b))

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

size_t
text_plain(const char *data, size_t len)
{
	size_t i = 0;

	while (len - i >= 8)
	{
		uint64_t word, quote, escape, control;

		memcpy(&word, data + i, 8);
		quote = word ^ EACH_BYTE('"');
		escape = word ^ EACH_BYTE('\\');
		/* The high bit of each byte that is 0x80 or more, below a blank, a quote or a backslash. */
		control = (word - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (escape - EACH_BYTE(1));
		if (((control | word) & EACH_BYTE(0x80)) != 0)
			break;
		i += 8;
	}
	while (i < len && is_plain((unsigned char) data[i]))
		i++;
	return i;
}

void
text_json(Text *text, const char *data, size_t len)
{
	const unsigned char *s = (const unsigned char *) data;
	size_t from = 0, i = 0;

	text_reserve(text, len + 2);
	text_char(text, '"');
	while (i < len)
	{
		size_t n;

		i += text_plain(data + i, len - i);
		if (i == len)
			break;
		n = utf8_length(s + i, len - i);
		if (n > 0 && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
		{
			i += n;
			continue;
		}
		if (i > from)
			text_add(text, data + from, i - from);
		if (n > 0)
			json_escape(text, s[i]);
		else
			text_add(text, "\xef\xbf\xbd", 3);
		from = ++i;
	}
	if (i > from)
		text_add(text, data + from, i - from);
	text_char(text, '"');
}

void
text_free(Text *text)
{
	free(text->data);
	*text = (Text){0};
}

bool
slice_is_text(Slice slice)
{
	const unsigned char *s = (const unsigned char *) slice.data;
	size_t i = 0;

	while (i < slice.len)
	{
		uint64_t eight;
		size_t n;

		/* mostly ASCII: eight bytes at once, none with its high bit, none zero */
		if (slice.len - i >= sizeof(eight))
		{
			memcpy(&eight, s + i, sizeof(eight));
			if (((eight | (eight - 0x0101010101010101u)) & 0x8080808080808080u) == 0)
			{
				i += sizeof(eight);
				continue;
			}
		}
		n = s[i] == '\0' ? 0 : utf8_length(s + i, slice.len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

bool
slice_int(Slice slice, int64_t min, int64_t max, int64_t *number)
{
	bool negative = slice.len > 0 && slice.data[0] == '-' && min < 0;
	/* negative all the way: that half has the one number more */
	int64_t value = 0;

	if (slice.data == NULL || slice.len == (size_t) negative)
		return false;
	for (size_t i = negative; i < slice.len; i++)
	{
		int digit = slice.data[i] - '0';

		if (digit < 0 || digit > 9 || value < (INT64_MIN + digit) / 10)
			return false;
		value = value * 10 - digit;
	}
	if (!negative && value == INT64_MIN)
		return false;
	value = negative ? value : -value;
	if (value < min || value > max)
		return false;
	*number = value;
	return true;
}

bool
slice_list_has(Slice list, const char *element)
{
	size_t len = strlen(element);
	const char *at = list.data, *end = list.data + list.len;

	while (at && at < end)
	{
		const char *comma = memchr(at, ',', (size_t) (end - at)), *stop = comma ? comma : end;

		while (at < stop && (*at == ' ' || *at == '\t'))
			at++;
		while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if ((size_t) (stop - at) == len && strncasecmp(at, element, len) == 0)
			return true;
		at = comma ? comma + 1 : end;
	}
	return false;
}
