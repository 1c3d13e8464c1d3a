/*
 * extension/relay/jsonb_text.h
 *	  The text of a jsonb value, into memory of the caller.
 */
#ifndef USHER_RELAY_JSONB_TEXT_H
#define USHER_RELAY_JSONB_TEXT_H

#include "usher.h"

#include "utils/jsonb.h"

#define USHER_JSONB_NO_ROOM ((size_t) -1)

/*
 * Write what PostgreSQL's own cast to text gives, byte for byte, into out[size],
 * without a zero byte.  Returns its length, or USHER_JSONB_NO_ROOM: ask again
 * with more.  Allocates nothing that it does not free.
 */
extern size_t usher_jsonb_text(Jsonb *json, char *out, size_t size);

#endif /* USHER_RELAY_JSONB_TEXT_H */
