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

static const DbStatement create_statement = {
	.name = "box_create",
	.sql = "SELECT usher.gateway_box_create($1, $2, $3, $4, $5)",
	.nparams = 5,
};

static const DbStatement update_statement = {
	.name = "box_update",
	.sql = "SELECT usher.gateway_box_update($1, $2, $3, $4, $5)",
	.nparams = 5,
};

static const DbStatement cancel_statement = {
	.name = "box_cancel",
	.sql = "SELECT usher.gateway_box_cancel($1, $2, $3, $4, $5)",
	.nparams = 5,
};

static const BoxMember category_members[] = {
	{"slug", BOX_STRING, true, NULL}, {"name", BOX_STRING, true, NULL}, {0}};
static const BoxMember event_members[] = {{"title", BOX_STRING, true, NULL},
										  {"currency", BOX_STRING, true, NULL},
										  {"category", BOX_INT, false, NULL},
										  {"description", BOX_STRING, false, NULL},
										  {"venue", BOX_STRING, false, NULL},
										  {"organiser", BOX_STRING, false, NULL},
										  {"user_limit", BOX_INT, false, NULL},
										  {"sale_from", BOX_STRING, false, NULL},
										  {"sale_until", BOX_STRING, false, NULL},
										  {"max_expired_holds", BOX_INT, false, NULL},
										  {0}};
static const BoxMember event_changes[] = {
	{"title", BOX_STRING, false, NULL},       {"category", BOX_INT, false, NULL},
	{"description", BOX_STRING, false, NULL}, {"venue", BOX_STRING, false, NULL},
	{"organiser", BOX_STRING, false, NULL},   {"user_limit", BOX_INT, false, NULL},
	{"sale_from", BOX_STRING, false, NULL},   {"sale_until", BOX_STRING, false, NULL},
	{"status", BOX_STRING, false, NULL},      {0}};
static const BoxMember show_members[] = {
	{"time_zone", BOX_STRING, true, NULL}, {"starts_local", BOX_STRING, true, NULL}, {0}};
static const BoxMember show_changes[] = {
	{"starts_local", BOX_STRING, true, NULL}, {"time_zone", BOX_STRING, false, NULL}, {0}};
static const BoxMember price_members[] = {
	{"name", BOX_STRING, true, NULL},  {"unit_price", BOX_INT, true, NULL},
	{"tax_bp", BOX_INT, false, NULL},  {"fee_bp", BOX_INT, false, NULL},
	{"ordinal", BOX_INT, false, NULL}, {0}};
static const BoxMember row_members[] = {
	{"row", BOX_STRING, true, NULL},       {"rank", BOX_INT, true, NULL},
	{"first", BOX_INT, true, NULL},        {"last", BOX_INT, true, NULL},
	{"accessible", BOX_INTS, false, NULL}, {0}};
static const BoxMember zone_members[] = {
	{"name", BOX_STRING, true, NULL},          {"capacity", BOX_INT, false, NULL},
	{"numbered", BOX_BOOL, false, NULL},       {"prices", BOX_OBJECTS, false, price_members},
	{"rows", BOX_OBJECTS, false, row_members}, {0}};
static const BoxMember zone_changes[] = {{"capacity", BOX_INT, true, NULL}, {0}};

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

/* Of one parent, which the path names. */
static void
list_of(Request *request, const char *what, const char *parent)
{
	const char *id;

	if (!box_read_allowed(request) ||
		(id = box_number_argument(request, 0, "unknown-show")) == NULL)
		return;
	list(request, what, arena_printf(&request->arena, "{\"%s\":%s}", parent, id));
}

static void
one(Request *request, const char *what)
{
	BoxCall *call;
	const char *id;

	if (!box_read_allowed(request) ||
		(id = box_number_argument(request, 0, "unknown-show")) == NULL ||
		catalog_known(request, box_sees_drafts(request) ? 'd' : 'p'))
		return;
	call = box_call(request, &one_statement, 200);
	call->call.values[1] = what;
	call->call.values[2] = box_sees_drafts(request) ? "t" : "f";
	call->call.values[3] = id;
	box_read(call);
}

void
handle_categories(Request *request)
{
	if (box_read_allowed(request))
		list(request, "categories", "{}");
}

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

void
handle_box_event(Request *request)
{
	one(request, "event");
}

void
handle_shows(Request *request)
{
	list_of(request, "shows", "event");
}

void
handle_show(Request *request)
{
	one(request, "show");
}

void
handle_zones(Request *request)
{
	list_of(request, "zones", "show");
}

void
handle_zone(Request *request)
{
	one(request, "zone");
}

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

/* ---- writing ---- */

/* members NULL: without a body. */
static void
write_one(Request *request, const DbStatement *statement, const char *what, int status,
		  const BoxMember *members, const char *location)
{
	const char *id = NULL, *body = NULL;
	BoxCall *call;

	if (!box_allowed(request, "organiser") ||
		(request->arguments[0].data != NULL &&
		 (id = box_number_argument(request, 0, "unknown-show")) == NULL) ||
		(members != NULL && (body = box_body(request, members)) == NULL))
		return;
	call = box_call(request, statement, status);
	call->location = location;
	call->id = what;
	call->call.values[1] = request->identity->user;
	call->call.values[2] = what;
	call->call.values[3] = id;
	call->call.values[4] = members != NULL
							   ? body
							   : parameter_text(request, request_query(request, "reason"));
	box_write(call);
}

void
handle_create_category(Request *request)
{
	write_one(request, &create_statement, "category", 201, category_members, NULL);
}

void
handle_create_event(Request *request)
{
	write_one(request, &create_statement, "event", 201, event_members, "/v1/boxoffice/events/");
}

void
handle_create_show(Request *request)
{
	write_one(request, &create_statement, "show", 201, show_members, "/v1/boxoffice/shows/");
}

void
handle_create_zone(Request *request)
{
	write_one(request, &create_statement, "zone", 201, zone_members, "/v1/boxoffice/zones/");
}

void
handle_create_price(Request *request)
{
	write_one(request, &create_statement, "price", 201, price_members, NULL);
}

void
handle_create_row(Request *request)
{
	write_one(request, &create_statement, "row", 201, row_members, NULL);
}

void
handle_update_event(Request *request)
{
	write_one(request, &update_statement, "event", 200, event_changes, NULL);
}

void
handle_update_show(Request *request)
{
	write_one(request, &update_statement, "show", 200, show_changes, NULL);
}

void
handle_update_zone(Request *request)
{
	write_one(request, &update_statement, "zone", 200, zone_changes, NULL);
}

void
handle_cancel_event(Request *request)
{
	write_one(request, &cancel_statement, "event", 200, NULL, NULL);
}

void
handle_cancel_show(Request *request)
{
	write_one(request, &cancel_statement, "show", 200, NULL, NULL);
}
