/*
 * gateway/handlers/boxoffice.h
 *	  What the handlers of the box office share.
 *
 *	  boxoffice.c       reserving
 *	  boxoffice_body.c  bodies, and calls whose result is the reply
 *	  bookings.c        bookings of a customer
 *	  organiser.c       events, shows, zones, prices, seats, categories
 */
#ifndef USHERD_HANDLERS_BOXOFFICE_H
#define USHERD_HANDLERS_BOXOFFICE_H

#include "../db.h"
#include "../request.h"
#include "append.h"

/* ---- boxoffice.c ---- */

/*
 * "customer", "organiser", "box-office", "read": a role of the one who asks, or what a scope allows, as in
 * "boxoffice:customer".
 */
extern bool box_is(const Identity *identity, const char *role);
/* false: 401 or 403 was replied. */
extern bool box_allowed(Request *request, const char *role);
/* A customer, or the box office. */
extern bool box_customer_allowed(Request *request);
/* Whoever may see what is on sale. */
extern bool box_may_read(const Identity *identity);
extern bool box_read_allowed(Request *request);
/* May he see what is not published yet? */
extern bool box_sees_drafts(const Request *request);

/* ---- boxoffice_body.c ---- */

#define BOX_MEMBERS_MAX 16

/* What an object has; a list of them ends with one without a name. */
typedef struct BoxMember
{
	const char *name;
	enum
	{
		BOX_STRING,
		BOX_INT,
		BOX_BOOL,
		BOX_INTS, /* a list of whole numbers */
		BOX_OBJECTS, /* a list of objects */
	} kind;
	enum
	{
		BOX_MAY, /* be absent, or null */
		BOX_VALUE, /* be absent, and not null */
		BOX_MUST, /* be there */
	} need;
	const struct BoxMember *of; /* of those objects */
} BoxMember;

/* What an operation of the table of routes does: a line of its handlers' tables. */
typedef struct BoxWork
{
	const char *operation; /* of the route */
	const char *work; /* what the database calls it */
	const BoxMember *members; /* of its body; NULL: it has none */
	const char *location; /* of what it makes, in front of the id; or NULL */
	const char *id; /* the id's member in the reply */
} BoxWork;

/* The request's line; the last one has no operation. */
extern const BoxWork *box_work(const Request *request, const BoxWork *works);

/* The body, checked, as a parameter of a statement; NULL: it was replied. */
extern const char *box_body(Request *request, const BoxMember *members);

/* The path's argument as a parameter: a number, or a UUID; NULL: 404 was replied. */
extern const char *box_number_argument(Request *request, int n, const char *kind);
extern const char *box_uuid_argument(Request *request, int n);

/* A statement whose one value is the reply's body. */
typedef struct BoxCall
{
	Request *request;
	int status;
	const char *location; /* of what was made: the path in front of the id ... */
	const char *id; /* ... which is this member of the reply; or NULL */
	DbCall call;
	bool writes; /* the result is a row (fresh, body) */
	int64_t position; /* of what it wrote; -1: nothing */
} BoxCall;

extern BoxCall *box_call(Request *request, const DbStatement *statement, int status);
extern void box_read(BoxCall *call); /* once the log has come as far as Usher-After says */
/* The plain statement, and the one with an Idempotency-Key (once.h): $1 is the tenant, $2 the user. */
extern void box_write(BoxCall *call, const DbStatement statements[2]);

#endif /* USHERD_HANDLERS_BOXOFFICE_H */
