/*
 * gateway/handlers/bookings.c
 *	  A customer's bookings, and what becomes of them; all of them for the box office.
 */
#include <string.h>

#include "../router.h"
#include "boxoffice.h"
#include "handlers.h"
#include "lists.h"
#include "once.h"

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

#define CHANGE "SELECT usher.gateway_box_change($1, $2, $3, $4, $5, $6)"

static const DbStatement change_statements[2] = {
	{.name = "box_change", .sql = ONCE_PLAIN(CHANGE), .nparams = 6},
	{.name = "box_change_once", .sql = ONCE_KEYED(CHANGE, "$7", "$8"), .nparams = 8},
};

static const BoxMember confirm_members[] = {{"payment_ref", BOX_STRING, BOX_MUST, NULL}, {0}};
static const BoxMember begin_members[] = {{"provider_ref", BOX_STRING, BOX_MUST, NULL}, {0}};
static const BoxMember extend_members[] = {{"seconds", BOX_INT, BOX_MUST, NULL}, {0}};
static const BoxMember cancel_members[] = {
	{"reason", BOX_STRING, BOX_MAY, NULL}, {"items", BOX_INTS, BOX_MAY, NULL}, {0}};
static const BoxMember refunded_members[] = {{"succeeded", BOX_BOOL, BOX_MUST, NULL}, {0}};
static const BoxMember no_members[] = {{0}};

/* By its owner, or the box office. */
static const BoxWork customer_works[] = {
	{.operation = "confirmBooking", .work = "confirm", .members = confirm_members},
	{.operation = "beginPayment", .work = "begin-payment", .members = begin_members},
	{.operation = "extendBooking", .work = "extend", .members = extend_members},
	{.operation = "cancelBooking", .work = "cancel", .members = cancel_members},
	{0}};

/* By the box office alone. */
static const BoxWork office_works[] = {
	{.operation = "beginRefund", .work = "begin-refund", .members = no_members},
	{.operation = "finishRefund", .work = "finish-refund", .members = refunded_members},
	{0}};

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

/* everybody: whoever's they are, for who may see them. */
static void
list_bookings(Request *request, const char *status, bool everybody)
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
	list->call.values[1] = everybody ? NULL : user;
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
	list_bookings(request, parameter_text(request, request_query(request, "status")), false);
}

/* GET /v1/boxoffice/bookings/pending */
void
handle_pending(Request *request)
{
	list_bookings(request, "pending", false);
}

/* GET /v1/boxoffice/bookings/refunds: of everybody */
void
handle_refunds(Request *request)
{
	if (box_allowed(request, "box-office"))
		list_bookings(request, "refund-due", request_query(request, "user").data == NULL);
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
change(Request *request, const BoxWork *work)
{
	BoxCall *call;
	const char *id = box_uuid_argument(request, 0);
	const char *body = id ? box_body(request, work->members) : NULL;

	if (body == NULL)
		return;
	call = box_call(request, NULL, 200);
	call->call.values[1] = request->identity->user;
	call->call.values[2] = owner(request);
	call->call.values[3] = id;
	call->call.values[4] = work->work;
	call->call.values[5] = body;
	box_write(call, change_statements);
}

/* POST /v1/boxoffice/bookings/{booking}/confirm, begin-payment, extend, cancel */
void
handle_change_booking(Request *request)
{
	if (box_customer_allowed(request))
		change(request, box_work(request, customer_works));
}

/* POST /v1/boxoffice/bookings/{booking}/begin-refund, finish-refund */
void
handle_refund(Request *request)
{
	if (box_allowed(request, "box-office"))
		change(request, box_work(request, office_works));
}
