/*
 * gateway/lib/pgbinary.h
 *	  Arrays and composite values in PostgreSQL's binary format.
 *
 * Pure C.  Writers add to a text; what goes in between binary_begin() and
 * binary_end() has its length in front.  Readers point into what they are given,
 * and are safe on any bytes.
 */
#ifndef USHERD_PGBINARY_H
#define USHERD_PGBINARY_H

#include "text.h"

/* Types that never change their number. */
#define BINARY_BYTEA 17
#define BINARY_INT8  20
#define BINARY_INT4  23
#define BINARY_TEXT  25
#define BINARY_UUID  2950

extern void binary_int32(Text *text, int32_t number);
extern void binary_int64(Text *text, int64_t number);

/* A value: its length, filled in by binary_end(), and what is written in between. */
extern size_t binary_begin(Text *text);
extern void binary_end(Text *text, size_t begin);

/* The head of a value that is an array of n items: each follows as a value, or as binary_null(). */
extern void binary_array(Text *text, uint32_t item_type, int n);
/* The head of a value that is a composite of n fields: each follows as binary_field*(). */
extern void binary_record(Text *text, int n);
extern void binary_null(Text *text);
/* A field; absent: null. */
extern void binary_field(Text *text, uint32_t type, Slice value);
extern void binary_field_int64(Text *text, bool null, int64_t number);
/* A field whose value is written behind it, ended by binary_end(). */
extern size_t binary_field_begin(Text *text, uint32_t type);

/* The items of an array, or the fields of a composite. */
typedef struct BinaryItems
{
	const unsigned char *at, *end;
	int n; /* how many there are */
	int left; /* not read yet */
	uint32_t type; /* of an array's items, or of the field just read */
	bool record;
	bool bad; /* what was read so far cannot be such a value */
} BinaryItems;

/* Arrays have one dimension, or no items.  false: it is none. */
extern bool binary_open_array(BinaryItems *items, Slice value);
extern bool binary_open_record(BinaryItems *items, Slice value);
/* The next one; absent: null.  false: there is none, or the bytes are bad. */
extern bool binary_next(BinaryItems *items, Slice *value);
/* All was read, and nothing is left over. */
extern bool binary_done(const BinaryItems *items);

/* false: it is none. */
extern bool binary_read_int32(Slice value, int32_t *number);
extern bool binary_read_int64(Slice value, int64_t *number);

#endif /* USHERD_PGBINARY_H */
