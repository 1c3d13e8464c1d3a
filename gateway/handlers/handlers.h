/*
 * gateway/handlers/handlers.h
 *	  What the routes call, one file a subject.
 */
#ifndef USHERD_HANDLERS_H
#define USHERD_HANDLERS_H

#include "../db.h"
#include "../request.h"

/* append.c */
extern void handle_append(Request *request); /* POST /v1/streams/{stream}/events */
extern void handle_transaction(Request *request); /* POST /v1/transactions */

/* read.c */
extern void handle_read_stream(Request *request);
extern void handle_read_category(Request *request);

/* meta.c */
extern void handle_health(Request *request);
extern void handle_whoami(Request *request);

/*
 * event.c: rows of usher's read functions as JSON.  Adds {"items":[…],"next":…,"has_more":…} of at most
 * config.reply_bytes_max; next is the column `next_column` of the last row that fits, plus step (0 for positions,
 * 1 or -1 for versions), or fallback_next when there is none.
 */
extern void events_page(Text *json, const PGresult *result, const char *next_column, int step,
						int max, int64_t fallback_next);
extern void event_json(Text *json, const PGresult *result, int row);

/* For done() of a DbCall: true, go on with the result; false, the request was answered. */
extern bool result_usable(Request *request, DbOutcome outcome, const PGresult *result);

/* The category of a stream's name: what stands before its first "-", as usher.category(). */
extern Slice category_of(Slice stream);

#endif /* USHERD_HANDLERS_H */
