/*
 * gateway/handlers/handlers.h
 *	  What the routes call, one file a subject.
 */
#ifndef USHERD_HANDLERS_H
#define USHERD_HANDLERS_H

#include "../db.h"
#include "../request.h"
#include "../tail.h"

/* append.c */
extern void handle_append(Request *request); /* POST /v1/streams/{stream}/events */
extern void handle_transaction(Request *request); /* POST /v1/transactions */

/* publish.c */
extern void handle_publish(Request *request); /* POST /v1/events */

/* read.c */
extern void handle_read_stream(Request *request);
extern void handle_read_category(Request *request);

/* log.c */
extern void handle_read_log(Request *request); /* GET /v1/log, also as a long poll */

/* subscription.c */
extern void handle_poll(Request *request);
extern void handle_ack(Request *request);
extern void handle_nack(Request *request);
extern void handle_extend(Request *request);

/* lists.c */
extern void handle_subscriptions(Request *request);
extern void handle_sinks(Request *request);
extern void handle_dead_letters(Request *request);
extern void handle_replay(Request *request); /* POST /v1/dead-letters/replay */

/* ticket.c */
extern void handle_ticket(Request *request); /* POST /v1/tickets */
/* boxoffice.c */
extern void handle_reserve(Request *request); /* POST /v1/boxoffice/bookings/reserve */

/* bookings.c */
extern void handle_bookings(Request *request);
extern void handle_pending(Request *request);
extern void handle_refunds(Request *request);
extern void handle_booking(Request *request);
extern void handle_change_booking(Request *request); /* what its customer may */
extern void handle_refund(Request *request);

/* organiser.c */
extern void handle_box_list(Request *request);
extern void handle_box_events(Request *request);
extern void handle_box_one(Request *request);
extern void handle_availability(Request *request);
extern void handle_seats(Request *request);
extern void handle_organise(Request *request); /* all that organisers write */

/* websocket.c, sse.c */
extern void handle_websocket(Request *request); /* GET /v1/ws */
extern void handle_sse(Request *request); /* GET /v1/sse */

/* meta.c */
extern void handle_health(Request *request);
extern void handle_whoami(Request *request);
extern void handle_openapi(Request *request);
extern void handle_docs(Request *request); /* the page, and the files that it names */
extern void handle_live_page(Request *request); /* GET /, and its files */

/* admin.c */
extern void handle_ready(Request *request);
extern void handle_metrics(Request *request);

/*
 * event.c: rows of usher's read functions as JSON: {"items":[…],"next":…,"has_more":…} of at most
 * config.reply_bytes_max.  Rows without a position are none.
 */
typedef struct EventsPage
{
	const char *column; /* next is this column of the last item, plus step */
	int step; /* 0 for positions, 1 or -1 for versions */
	int64_t next; /* given: when there is no item; the rows' column "next" knows better */
	bool more; /* from the rows' column "more", or because the reply was full */
	int items;
} EventsPage;
extern void events_page(Text *json, const PGresult *result, EventsPage *page);
extern void event_json(Text *json, const PGresult *result, int row);
extern void tail_event_json(Text *json, const TailEvent *event); /* the same, of the tail's */

/* A text as a parameter of a DbCall, and an array of texts. */
extern const char *parameter_text(Request *request, Slice text);
extern const char *parameter_array(Request *request, const Slice *texts, int n);

/* For done() of a DbCall: true, go on with the result; false, the request was answered. */
extern bool result_usable(Request *request, DbOutcome outcome, const PGresult *result);

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000

/* The category of a stream's name: what stands before its first "-", as usher.category(). */
extern Slice category_of(Slice stream);

#endif /* USHERD_HANDLERS_H */
