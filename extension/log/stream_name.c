/*
 * extension/log/stream_name.c
 *	  Names of streams: their order, and the category that they begin with.
 */
#include "log.h"

#include "common/hashfn.h"
#include "utils/builtins.h"

/* The category of `order-42` is `order`; a name without a dash is its own. */
text *
usher_stream_category(const text *stream)
{
	const char *s = VARDATA_ANY(stream);
	int len = VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(s, '-', len);

	return cstring_to_text_with_len(s, dash ? dash - s : len);
}

/* Pointers to two names; in the order of the indexes. */
int
usher_stream_names_compare(const void *a, const void *b)
{
	const text *x = *(const text *const *) a;
	const text *y = *(const text *const *) b;
	int xlen = VARSIZE_ANY_EXHDR(x), ylen = VARSIZE_ANY_EXHDR(y);
	int order = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(xlen, ylen));

	return order != 0 ? order : xlen - ylen;
}

int
usher_stream_compare(const UsherStream *a, const UsherStream *b)
{
	return a->tenant_id != b->tenant_id ? (a->tenant_id < b->tenant_id ? -1 : 1)
										: usher_stream_names_compare(&a->name, &b->name);
}

/* Short, so that the entries of a category's index are; its readers compare the category as well. */
int32
usher_category_hash(const text *category)
{
	return (int32) hash_bytes((const unsigned char *) VARDATA_ANY(category),
							  VARSIZE_ANY_EXHDR(category));
}
