/*
 * gateway/handlers/lists.h
 *	  Pages of items: rows whose first column is what to go on after, and whose second is the item as JSON.
 */
#ifndef USHERD_HANDLERS_LISTS_H
#define USHERD_HANDLERS_LISTS_H

#include "../db.h"
#include "../request.h"

typedef struct List
{
	Request *request;
	int64_t max;
	char max_text[24],
		after_text[24]; /* max_text: one more, which tells whether there are others */
	bool numbered; /* next is a number, else a name */
	const char *scope; /* each item is shown if this allows its name; NULL: all are */
	DbCall call;
} List;

/* From the query's max; NULL: it was replied. The caller fills in call.values, and calls list_submit(). */
extern List *list_begin(Request *request, const DbStatement *statement);
/* Once the log has come as far as Usher-After says. */
extern void list_submit(List *list);

#endif /* USHERD_HANDLERS_LISTS_H */
