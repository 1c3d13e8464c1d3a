/*
 * gateway/handlers/bookings.c
 *	  A customer's bookings, and what becomes of them; all of them for the box office.
 */
#include <string.h>

#include "../router.h"
#include "boxoffice.h"
#include "handlers.h"
#include "lists.h"

static const DbStatement bookings_statement = {
	.name = "box_bookings",
	.sql = "SELECT id, item FROM usher.gateway_box_bookings($1, $2, $3, $4, $5, $6, $7)",
	.nparams = 7,
};

static const DbStatement booking_statement = {
	.name = "box_booking",
	.sql = "SELECT usher.gateway_box_booking($1, $2, $3)",
	.nparams = 3,
};

static const DbStatement change_statement = {
	.name = "box_change",
	.sql = "SELECT usher.gateway_box_change($1, $2, $3, $4, $5, $6)",
	.nparams = 6,
};

static const BoxMember confirm_members[] = {{"payment_ref", BOX_STRING, true, NULL}, {0}};
static const BoxMember begin_members[] = {{"provider_ref", BOX_STRING, true, NULL}, {0}};
static const BoxMember extend_members[] = {{"seconds", BOX_INT, true, NULL}, {0}};
static const BoxMember cancel_members[] = {
	{"reason", BOX_STRING, false, NULL}, {"items", BOX_INTS, false, NULL}, {0}};

/* Whose booking it must be; NULL: anybody's, for the box office. */
static const char *
owner(const Request *request)
{
	return box_is(request->identity, "box-office") ? NULL : request->identity->user;
}

/* ?user= of the box office: a user, or * for all; false: it was replied. */
static bool
wanted_user(Request *request, const char **user)
{
	Slice wanted = request_query(request, "user");

	*user = request->identity->user;
	if (wanted.data == NULL || slice_is(wanted, *user))
		return true;
	if (!box_allowed(request, "box-office"))
		return false;
	*user = slice_is(wanted, "*") ? NULL : parameter_text(request, wanted);
	return true;
}

/* A number of the query as a parameter; false: it was replied. */
static bool
query_number(Request *request, const char *name, const char **text)
{
	int64_t number;

	*text = NULL;
	if (request_query(request, name).data == NULL)
		return true;
	*text = parameter_text(request, request_query(request, name));
	return request_query_int(request, name, INT64_MIN, INT64_MAX, 0, &number);
}

static void
list_bookings(Request *request, const char *status)
{
	List *list;
	Slice after = request_query(request, "after"), id;
	const char *user, *event, *show;

	if (!box_customer_allowed(request) || !wanted_user(request, &user) ||
		!query_number(request, "event", &event) || !query_number(request, "show", &show))
		return;
	if (after.data != NULL && !body_uuid(request, after, &id))
	{
		reply_problem(request, 400, "invalid-parameter", NULL, "after is a booking's id");
		return;
	}
	list = list_begin(request, &bookings_statement);
	if (list == NULL)
		return;
	list->call.values[0] = request->identity->tenant;
	list->call.values[1] = user;
	list->call.values[2] = status;
	list->call.values[3] = parameter_text(request, after);
	list->call.values[4] = list->max_text;
	list->call.values[5] = event;
	list->call.values[6] = show;
	list_submit(list);
}

/* GET /v1/boxoffice/bookings */
void
handle_bookings(Request *request)
{
	list_bookings(request, parameter_text(request, request_query(request, "status")));
}

/* GET /v1/boxoffice/bookings/pending */
void
handle_pending(Request *request)
{
	list_bookings(request, "pending");
}

/* GET /v1/boxoffice/bookings/{booking} */
void
handle_booking(Request *request)
{
	BoxCall *call;
	const char *id;

	if (!box_customer_allowed(request) || (id = box_uuid_argument(request, 0)) == NULL)
		return;
	call = box_call(request, &booking_statement, 200);
	call->call.values[1] = owner(request);
	call->call.values[2] = id;
	box_read(call);
}

static void
change(Request *request, const char *action, const BoxMember *members)
{
	BoxCall *call;
	const char *id, *body;

	if (!box_customer_allowed(request) || (id = box_uuid_argument(request, 0)) == NULL ||
		(body = box_body(request, members)) == NULL)
		return;
	call = box_call(request, &change_statement, 200);
	call->call.values[1] = request->identity->user;
	call->call.values[2] = owner(request);
	call->call.values[3] = id;
	call->call.values[4] = action;
	call->call.values[5] = body;
	box_write(call);
}

/* POST /v1/boxoffice/bookings/{booking}/confirm ... */
void
handle_confirm(Request *request)
{
	change(request, "confirm", confirm_members);
}

void
handle_begin_payment(Request *request)
{
	change(request, "begin-payment", begin_members);
}

void
handle_extend_booking(Request *request)
{
	change(request, "extend", extend_members);
}

void
handle_cancel(Request *request)
{
	change(request, "cancel", cancel_members);
}
