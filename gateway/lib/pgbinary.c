/*
 * gateway/lib/pgbinary.c
 *	  Arrays and composite values in PostgreSQL's binary format.
 *
 * All numbers are big-endian.  An array: dimensions, whether there are nulls,
 * the items' type, for each dimension its size and lower bound, then the items;
 * an empty one has no dimension.  A composite: the number of fields, then for
 * each its type and value.  A value: its length (-1: null) and its bytes.
 */
#include "pgbinary.h"

#include <string.h>

static void
put32(char *at, uint32_t number)
{
	at[0] = (char) (number >> 24);
	at[1] = (char) (number >> 16);
	at[2] = (char) (number >> 8);
	at[3] = (char) number;
}

static uint32_t
get32(const unsigned char *at)
{
	return (uint32_t) at[0] << 24 | (uint32_t) at[1] << 16 | (uint32_t) at[2] << 8 | at[3];
}

void
binary_int32(Text *text, int32_t number)
{
	char bytes[4];

	put32(bytes, (uint32_t) number);
	text_add(text, bytes, sizeof(bytes));
}

void
binary_int64(Text *text, int64_t number)
{
	char bytes[8];

	put32(bytes, (uint32_t) ((uint64_t) number >> 32));
	put32(bytes + 4, (uint32_t) (uint64_t) number);
	text_add(text, bytes, sizeof(bytes));
}

size_t
binary_begin(Text *text)
{
	binary_int32(text, 0);
	return text->len;
}

void
binary_end(Text *text, size_t begin)
{
	put32(text->data + begin - 4, (uint32_t) (text->len - begin));
}

void
binary_array(Text *text, uint32_t item_type, int n)
{
	binary_int32(text, n > 0);
	binary_int32(text, 0); /* servers look for nulls themselves */
	binary_int32(text, (int32_t) item_type);
	if (n > 0)
	{
		binary_int32(text, n);
		binary_int32(text, 1);
	}
}

void
binary_record(Text *text, int n)
{
	binary_int32(text, n);
}

void
binary_null(Text *text)
{
	binary_int32(text, -1);
}

void
binary_field(Text *text, uint32_t type, Slice value)
{
	binary_int32(text, (int32_t) type);
	if (value.data == NULL)
	{
		binary_null(text);
		return;
	}
	binary_int32(text, (int32_t) value.len);
	text_add(text, value.data, value.len);
}

void
binary_field_int64(Text *text, bool null, int64_t number)
{
	binary_int32(text, BINARY_INT8);
	if (null)
	{
		binary_null(text);
		return;
	}
	binary_int32(text, 8);
	binary_int64(text, number);
}

size_t
binary_field_begin(Text *text, uint32_t type)
{
	binary_int32(text, (int32_t) type);
	return binary_begin(text);
}

/* false, and the items are bad: there are no four bytes. */
static bool
take32(BinaryItems *items, uint32_t *number)
{
	if (items->end - items->at < 4)
	{
		items->bad = true;
		return false;
	}
	*number = get32(items->at);
	items->at += 4;
	return true;
}

/* n items of at least so many bytes each cannot be more than there are. */
static bool
begin_items(BinaryItems *items, uint32_t n, size_t least)
{
	if (n > (size_t) (items->end - items->at) / least)
	{
		items->bad = true;
		return false;
	}
	items->n = items->left = (int) n;
	return true;
}

bool
binary_open_array(BinaryItems *items, Slice value)
{
	uint32_t dimensions, nulls, n = 0, bound;

	memset(items, 0, sizeof(*items));
	if (value.data == NULL)
	{
		items->bad = true;
		return false;
	}
	items->at = (const unsigned char *) value.data;
	items->end = items->at + value.len;
	if (!take32(items, &dimensions) || !take32(items, &nulls) || !take32(items, &items->type))
		return false;
	if (dimensions == 0)
		return true;
	if (dimensions > 1 || !take32(items, &n) || !take32(items, &bound))
	{
		items->bad = true;
		return false;
	}
	return begin_items(items, n, 4);
}

bool
binary_open_record(BinaryItems *items, Slice value)
{
	uint32_t n;

	memset(items, 0, sizeof(*items));
	items->record = true;
	if (value.data == NULL)
	{
		items->bad = true;
		return false;
	}
	items->at = (const unsigned char *) value.data;
	items->end = items->at + value.len;
	return take32(items, &n) && begin_items(items, n, 8);
}

bool
binary_next(BinaryItems *items, Slice *value)
{
	uint32_t len;

	if (items->bad || items->left == 0)
		return false;
	if (items->record && !take32(items, &items->type))
		return false;
	if (!take32(items, &len))
		return false;
	items->left--;
	if (len == UINT32_MAX)
	{
		*value = (Slice){NULL, 0};
		return true;
	}
	if (len > (size_t) (items->end - items->at))
	{
		items->bad = true;
		return false;
	}
	*value = (Slice){(const char *) items->at, len};
	items->at += len;
	return true;
}

bool
binary_done(const BinaryItems *items)
{
	return !items->bad && items->left == 0 && items->at == items->end;
}

bool
binary_read_int32(Slice value, int32_t *number)
{
	if (value.data == NULL || value.len != 4)
		return false;
	*number = (int32_t) get32((const unsigned char *) value.data);
	return true;
}

bool
binary_read_int64(Slice value, int64_t *number)
{
	const unsigned char *at = (const unsigned char *) value.data;

	if (value.data == NULL || value.len != 8)
		return false;
	*number = (int64_t) ((uint64_t) get32(at) << 32 | get32(at + 4));
	return true;
}
