/*
 * extension/api/jsonb_text.c
 *	  usher_jsonb_text() as a function of SQL, for its test alone: no object of
 *	  the extension refers to it.
 */
#include "usher.h"

#include "relay/jsonb_text.h"

#include "fmgr.h"

#define SLACK 32 /* bytes behind the room that is given, which must stay as they are */

/* Into room of this size; NULL when it does not fit. */
static text *
text_in_room(Jsonb *json, size_t size)
{
	text *result = palloc(VARHDRSZ + size + SLACK);
	size_t len;

	memset(VARDATA(result), '#', size + SLACK);
	len = usher_jsonb_text(json, VARDATA(result), size);
	for (int i = 0; i < SLACK; i++)
		Ensure(VARDATA(result)[size + i] == '#', "text was written behind its room");
	if (len == USHER_JSONB_NO_ROOM)
		return NULL;
	Ensure(len <= size, "text is longer than its room");
	SET_VARSIZE(result, VARHDRSZ + len);
	return result;
}

/* Room is given in many sizes: what is too small is refused, what is not gives the same. */
PG_FUNCTION_INFO_V1(usher_jsonb_text_check);
Datum
usher_jsonb_text_check(PG_FUNCTION_ARGS)
{
	Jsonb *json = PG_GETARG_JSONB_P(0);
	size_t size = 256, len;
	text *result, *again;

	while ((result = text_in_room(json, size)) == NULL)
		size *= 2;
	len = VARSIZE(result) - VARHDRSZ;
	for (size_t less = 1; less <= len; less += 1 + less / 2)
		Ensure(text_in_room(json, len - less) == NULL, "text fits into too little room");
	for (size_t more = 0; more < 300; more += 1 + more / 4)
	{
		again = text_in_room(json, len + more);
		Ensure(again && VARSIZE(again) == VARSIZE(result) &&
				   memcmp(again, result, VARSIZE(result)) == 0,
			   "text depends on its room");
		pfree(again);
	}
	PG_RETURN_TEXT_P(result);
}
