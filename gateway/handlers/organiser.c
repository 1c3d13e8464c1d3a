/*
 * gateway/handlers/organiser.c
 *	  Events, shows, zones and categories: read by whoever may see what is on sale, written by organisers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../catalog.h"
#include "../router.h"
#include "boxoffice.h"
#include "handlers.h"
#include "lists.h"
#include "once.h"

static const DbStatement list_statement = {
	.name = "box_list",
	.sql = "SELECT id, item FROM usher.gateway_box_list($1, $2, $3, $4, $5, $6)",
	.nparams = 6,
};

static const DbStatement one_statement = {
	.name = "box_one",
	.sql = "SELECT usher.gateway_box_one($1, $2, $3, $4)",
	.nparams = 4,
};

static const DbStatement availability_statement = {
	.name = "box_availability",
	.sql = "SELECT usher.gateway_box_availability($1, $2, $3)",
	.nparams = 3,
};

static const DbStatement seats_statement = {
	.name = "box_seats",
	.sql = "SELECT id, item FROM usher.gateway_box_seats($1, $2, $3, $4, $5, $6, $7)",
	.nparams = 7,
};

#define ORGANISE "SELECT usher.gateway_box_organise($1, $2, $3, $4, $5)"

static const DbStatement organise_statements[2] = {
	{.name = "box_organise", .sql = ONCE_PLAIN(ORGANISE), .nparams = 5},
	{.name = "box_organise_once", .sql = ONCE_KEYED(ORGANISE, "$6", "$7"), .nparams = 7},
};

/* clang-format off */
static const BoxMember category_members[] = {
	{"slug", BOX_STRING, BOX_MUST, NULL},
	{"name", BOX_STRING, BOX_MUST, NULL},
	{0}};
static const BoxMember event_members[] = {
	{"title", BOX_STRING, BOX_MUST, NULL},
	{"currency", BOX_STRING, BOX_MUST, NULL},
	{"category", BOX_INT, BOX_MAY, NULL},
	{"description", BOX_STRING, BOX_MAY, NULL},
	{"venue", BOX_STRING, BOX_MAY, NULL},
	{"organiser", BOX_STRING, BOX_MAY, NULL},
	{"user_limit", BOX_INT, BOX_MAY, NULL},
	{"sale_from", BOX_STRING, BOX_MAY, NULL},
	{"sale_until", BOX_STRING, BOX_MAY, NULL},
	{"max_expired_holds", BOX_INT, BOX_MAY, NULL},
	{0}};
/* Changes are merge patches (RFC 7396): null is no value from now on, where there may be none. */
static const BoxMember event_changes[] = {
	{"title", BOX_STRING, BOX_VALUE, NULL},
	{"category", BOX_INT, BOX_MAY, NULL},
	{"description", BOX_STRING, BOX_MAY, NULL},
	{"venue", BOX_STRING, BOX_MAY, NULL},
	{"organiser", BOX_STRING, BOX_MAY, NULL},
	{"user_limit", BOX_INT, BOX_MAY, NULL},
	{"sale_from", BOX_STRING, BOX_MAY, NULL},
	{"sale_until", BOX_STRING, BOX_MAY, NULL},
	{"max_expired_holds", BOX_INT, BOX_MAY, NULL},
	{"status", BOX_STRING, BOX_VALUE, NULL},
	{0}};
static const BoxMember show_members[] = {
	{"time_zone", BOX_STRING, BOX_MUST, NULL},
	{"starts_local", BOX_STRING, BOX_MUST, NULL},
	{0}};
static const BoxMember show_changes[] = {
	{"starts_local", BOX_STRING, BOX_VALUE, NULL},
	{"time_zone", BOX_STRING, BOX_VALUE, NULL},
	{0}};
static const BoxMember price_members[] = {
	{"name", BOX_STRING, BOX_MUST, NULL},
	{"unit_price", BOX_INT, BOX_MUST, NULL},
	{"tax_bp", BOX_INT, BOX_MAY, NULL},
	{"fee_bp", BOX_INT, BOX_MAY, NULL},
	{"ordinal", BOX_INT, BOX_MAY, NULL},
	{0}};
static const BoxMember price_changes[] = {
	{"name", BOX_STRING, BOX_VALUE, NULL},
	{"unit_price", BOX_INT, BOX_VALUE, NULL},
	{"tax_bp", BOX_INT, BOX_VALUE, NULL},
	{"fee_bp", BOX_INT, BOX_VALUE, NULL},
	{"ordinal", BOX_INT, BOX_VALUE, NULL},
	{"active", BOX_BOOL, BOX_VALUE, NULL},
	{0}};
static const BoxMember row_members[] = {
	{"row", BOX_STRING, BOX_MUST, NULL},
	{"rank", BOX_INT, BOX_MUST, NULL},
	{"first", BOX_INT, BOX_MUST, NULL},
	{"last", BOX_INT, BOX_MUST, NULL},
	{"accessible", BOX_INTS, BOX_MAY, NULL},
	{0}};
static const BoxMember zone_members[] = {
	{"name", BOX_STRING, BOX_MUST, NULL},
	{"capacity", BOX_INT, BOX_MAY, NULL},
	{"numbered", BOX_BOOL, BOX_MAY, NULL},
	{"prices", BOX_OBJECTS, BOX_MAY, price_members},
	{"rows", BOX_OBJECTS, BOX_MAY, row_members},
	{0}};
static const BoxMember zone_changes[] = {
	{"name", BOX_STRING, BOX_VALUE, NULL},
	{"capacity", BOX_INT, BOX_VALUE, NULL},
	{0}};

static const BoxWork organiser_works[] = {
	{"createCategory", "create category", category_members, NULL, NULL},
	{"createEvent", "create event", event_members, "/v1/boxoffice/events/", "event"},
	{"updateEvent", "update event", event_changes, NULL, NULL},
	{"patchEvent", "update event", event_changes, NULL, NULL},
	{"cancelEvent", "cancel event", NULL, NULL, NULL},
	{"createShow", "create show", show_members, "/v1/boxoffice/shows/", "show"},
	{"moveShow", "update show", show_changes, NULL, NULL},
	{"patchShow", "update show", show_changes, NULL, NULL},
	{"cancelShow", "cancel show", NULL, NULL, NULL},
	{"createZone", "create zone", zone_members, "/v1/boxoffice/zones/", "zone"},
	{"setCapacity", "update zone", zone_changes, NULL, NULL},
	{"patchZone", "update zone", zone_changes, NULL, NULL},
	{"createPrice", "create price", price_members, NULL, NULL},
	{"patchPrice", "update price", price_changes, NULL, NULL},
	{"withdrawPrice", "withdraw price", NULL, NULL, NULL},
	{"createRow", "create row", row_members, NULL, NULL},
	{0}};

/* For reading: work is the kind of thing, id what the path names. */
static const BoxWork reader_works[] = {
	{.operation = "listCategories", .work = "categories"},
	{.operation = "listShows", .work = "shows", .id = "event"},
	{.operation = "listZones", .work = "zones", .id = "show"},
	{.operation = "readEvent", .work = "event"},
	{.operation = "readShow", .work = "show"},
	{.operation = "readZone", .work = "zone"},
	{0}};
/* clang-format on */

/* ---- reading ---- */

/* filter: a JSON object. */
static void
list(Request *request, const char *what, const char *filter)
{
	char variant = box_sees_drafts(request) ? 'd' : 'p';
	List *page = list_begin(request, &list_statement);
	int64_t after;

	if (page == NULL || (strcmp(what, "categories") != 0 && catalog_known(request, variant)) ||
		!request_query_int(request, "after", 0, INT64_MAX, 0, &after))
		return;
	snprintf(page->after_text, sizeof(page->after_text), "%" PRId64, after);
	page->numbered = true;
	page->call.values[0] = request->identity->tenant;
	page->call.values[1] = what;
	page->call.values[2] = box_sees_drafts(request) ? "t" : "f";
	page->call.values[3] = filter;
	page->call.values[4] = page->after_text;
	page->call.values[5] = page->max_text;
	list_submit(page);
}

/* GET /v1/boxoffice/categories, events/{event}/shows, shows/{show}/zones */
void
handle_box_list(Request *request)
{
	const BoxWork *work = box_work(request, reader_works);
	const char *id;

	if (!box_read_allowed(request))
		return;
	if (work->id == NULL)
		list(request, work->work, "{}");
	else if ((id = box_number_argument(request, 0, "unknown-show")) != NULL)
		list(request, work->work, arena_printf(&request->arena, "{\"%s\":%s}", work->id, id));
}

/* GET /v1/boxoffice/events/{event}, shows/{show}, zones/{zone} */
void
handle_box_one(Request *request)
{
	BoxCall *call;
	const char *id;

	if (!box_read_allowed(request) ||
		(id = box_number_argument(request, 0, "unknown-show")) == NULL ||
		catalog_known(request, box_sees_drafts(request) ? 'd' : 'p'))
		return;
	call = box_call(request, &one_statement, 200);
	call->call.values[1] = box_work(request, reader_works)->work;
	call->call.values[2] = box_sees_drafts(request) ? "t" : "f";
	call->call.values[3] = id;
	box_read(call);
}

/* GET /v1/boxoffice/events */
void
handle_box_events(Request *request)
{
	static const char *const names[] = {"status", "organiser", "venue", "title", "category"};
	Text filter = {0};
	int64_t category;
	const char *text;

	if (!box_read_allowed(request) ||
		!request_query_int(request, "category", INT64_MIN, INT64_MAX, 0, &category))
		return;
	text_char(&filter, '{');
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		Slice value = request_query(request, names[i]);

		if (value.data == NULL)
			continue;
		text_printf(&filter, "%s\"%s\":", filter.len > 1 ? "," : "", names[i]);
		text_json(&filter, value.data, value.len);
	}
	text_char(&filter, '}');
	text = arena_copy(&request->arena, filter.data, filter.len);
	text_free(&filter);
	list(request, "events", text);
}

/* GET /v1/boxoffice/shows/{show}/availability */
void
handle_availability(Request *request)
{
	BoxCall *call;
	const char *id;

	if (!box_read_allowed(request) ||
		(id = box_number_argument(request, 0, "unknown-show")) == NULL)
		return;
	call = box_call(request, &availability_statement, 200);
	call->call.values[1] = id;
	call->call.values[2] = box_sees_drafts(request) ? "t" : "f";
	box_read(call);
}

/* ?free=true as a parameter: 't', 'f', or NULL when it is not there; false: it was replied. */
static bool
query_bool(Request *request, const char *name, const char **text)
{
	Slice value = request_query(request, name);

	*text = value.data == NULL ? NULL : slice_is(value, "true") ? "t" : "f";
	if (value.data == NULL || slice_is(value, "true") || slice_is(value, "false"))
		return true;
	reply_problem(request, 400, "invalid-parameter", NULL, "%s is true or false", name);
	return false;
}

/* GET /v1/boxoffice/zones/{zone}/seats */
void
handle_seats(Request *request)
{
	List *page;
	const char *id, *open, *accessible;

	if (!box_read_allowed(request) ||
		(id = box_number_argument(request, 0, "unknown-show")) == NULL ||
		!query_bool(request, "free", &open) || !query_bool(request, "accessible", &accessible) ||
		(page = list_begin(request, &seats_statement)) == NULL)
		return;
	page->call.values[0] = request->identity->tenant;
	page->call.values[1] = box_sees_drafts(request) ? "t" : "f";
	page->call.values[2] = id;
	page->call.values[3] = open;
	page->call.values[4] = accessible;
	page->call.values[5] = parameter_text(request, request_query(request, "after"));
	page->call.values[6] = page->max_text;
	list_submit(page);
}

/* ---- writing ---- */

/* Without a body there may be a reason in the query. */
static const char *
reason(Request *request)
{
	Slice why = request_query(request, "reason");
	Text json = {0};
	const char *body;

	if (why.data == NULL)
		return "{}";
	text_puts(&json, "{\"reason\":");
	text_json(&json, why.data, why.len);
	text_char(&json, '}');
	body = arena_copy(&request->arena, json.data, json.len);
	text_free(&json);
	return body;
}

void
handle_organise(Request *request)
{
	const BoxWork *work = box_work(request, organiser_works);
	const char *id = NULL, *body;
	BoxCall *call;

	if (!box_allowed(request, "organiser") ||
		(request->arguments[0].data != NULL &&
		 (id = box_number_argument(request, 0, "unknown-show")) == NULL))
		return;
	body = work->members ? box_body(request, work->members) : reason(request);
	if (body == NULL)
		return;
	call = box_call(request, NULL, request->method == METHOD_POST ? 201 : 200);
	call->location = work->location;
	call->id = work->id;
	call->call.values[1] = request->identity->user;
	call->call.values[2] = work->work;
	call->call.values[3] = id;
	call->call.values[4] = body;
	box_write(call, organise_statements);
}
