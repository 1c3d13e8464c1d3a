/*
 * gateway/handlers/boxoffice.c
 *	  Reserving over HTTP.
 *
 * The body is taken apart here and travels with others' (reservations.h) to
 * boxoffice.reserve_many, which decides.  A reply has the database's JSON as it
 * came, with the booking's code in front.
 */
#include <stdio.h>
#include <string.h>

#include "../lib/json_check.h"
#include "../lib/pgbinary.h"
#include "../reservations.h"
#include "../router.h"
#include "boxoffice.h"
#include "handlers.h"

#define ITEMS_MAX       20
#define SEATS_MAX       1000
#define TTL_SECONDS_MAX 86400 /* boxoffice.max_hold is what counts */
#define HEADER_MAX      255
#define TOKEN_MAX       1024


/* ---- who may ---- */

bool
box_is(const Identity *identity, const char *role)
{
	for (int i = 0; i < identity->nroles; i++)
		if (strcmp(identity->roles[i], role) == 0)
			return true;
	return identity_allows(identity, "boxoffice", (Slice){role, strlen(role)});
}

bool
box_allowed(Request *request, const char *role)
{
	return box_is(request->identity, role) ||
		   request_allowed(request, "boxoffice", (Slice){role, strlen(role)});
}

bool
box_customer_allowed(Request *request)
{
	return box_is(request->identity, "box-office") || box_allowed(request, "customer");
}

bool
box_may_read(const Identity *identity)
{
	static const char *const roles[] = {"customer", "organiser", "box-office", "read"};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (box_is(identity, roles[i]))
			return true;
	return false;
}

bool
box_read_allowed(Request *request)
{
	return box_may_read(request->identity) || box_allowed(request, "read");
}

bool
box_sees_drafts(const Request *request)
{
	return box_is(request->identity, "organiser");
}

/* ---- the body ---- */

static bool
take_number(Request *request, const char *name, JsonValue value, bool required, int64_t max,
			int64_t *number)
{
	char text[80];

	if (value.kind <= JSON_NULL && !required)
		return true;
	if (value.kind == JSON_NUMBER && json_int(value, INT32_MIN, max, number))
		return true;
	snprintf(text, sizeof(text), "%s is a whole number%s", name,
			 required ? ", and must be there" : "");
	return body_refused(request, -1, text);
}

static bool
take_seats(Request *request, JsonValue value, ReserveItem *item)
{
	JsonWalk walk = json_walk(value);
	JsonValue label;
	int64_t count;
	Slice *seats;

	if (value.kind <= JSON_NULL)
		return true;
	count = value.kind == JSON_ARRAY ? json_count(value) : -1;
	if (count < 0 || count > SEATS_MAX)
		return body_refused(request, -1, "seats is a list of at most 1000 labels");
	item->seats = seats = arena_alloc(&request->arena, sizeof(Slice) * (size_t) (count + 1));
	while (json_next(&walk, NULL, &label))
		if (label.kind != JSON_STRING || !body_string(request, label, &seats[item->nseats++]))
			return body_refused(request, -1, "a seat's label is a string");
	return true;
}

static bool
take_option(Request *request, const char *name, JsonValue value, bool *option)
{
	char text[40];

	*option = value.kind == JSON_TRUE;
	if (value.kind <= JSON_NULL || value.kind == JSON_TRUE || value.kind == JSON_FALSE)
		return true;
	snprintf(text, sizeof(text), "%s is true or false", name);
	return body_refused(request, -1, text);
}

/* Members of an item, in this order, and of a body with one item first. */
#define ITEM_MEMBERS 6
#define ITEM_NAMES   "zone", "quantity", "price_type", "seats", "accessible", "split"
#define ITEM_TEXT    "zone, quantity, price_type, seats, accessible and split"

static bool
take_item(Request *request, const JsonValue *members, ReserveItem *item)
{
	return take_number(request, "zone", members[0], true, INT64_MAX, &item->zone) &&
		   take_number(request, "quantity", members[1], true, INT32_MAX, &item->quantity) &&
		   take_number(request, "price_type", members[2], false, INT64_MAX, &item->price_type) &&
		   take_seats(request, members[3], item) &&
		   take_option(request, "accessible", members[4], &item->accessible) &&
		   take_option(request, "split", members[5], &item->split);
}

static bool
take_items(Request *request, JsonValue array, Reservation *reservation)
{
	static const char *const names[ITEM_MEMBERS] = {ITEM_NAMES};
	JsonWalk walk = json_walk(array);
	JsonValue value, members[ITEM_MEMBERS], stranger;
	int64_t count = array.kind == JSON_ARRAY ? json_count(array) : 0;
	ReserveItem *items;

	if (count < 1 || count > ITEMS_MAX)
		return body_refused(request, -1, "items is a list of 1 to 20 objects");
	reservation->items = items = arena_zalloc(&request->arena,
											  sizeof(ReserveItem) * (size_t) count);
	while (json_next(&walk, NULL, &value))
	{
		if (value.kind != JSON_OBJECT ||
			json_members(value, names, ITEM_MEMBERS, members, &stranger) != JSON_MEMBERS_OK)
			return body_refused(request, -1, "an item has " ITEM_TEXT ", each once");
		if (!take_item(request, members, &items[reservation->nitems++]))
			return false;
	}
	return true;
}

/* Whom it is for: the one who asks, unless the box office asks for somebody. */
static bool
take_user(Request *request, JsonValue value, Reservation *reservation)
{
	const char *user = request->identity->user;

	reservation->element.user = (Slice){user, strlen(user)};
	if (value.kind <= JSON_NULL)
		return true;
	if (value.kind != JSON_STRING || !body_string(request, value, &reservation->element.user))
		return body_refused(request, -1, "on_behalf_of is a user's name");
	return box_allowed(request, "box-office");
}

static bool
take_body(Request *request, Reservation *reservation)
{
	enum
	{
		ITEMS = ITEM_MEMBERS,
		SHOW,
		TTL,
		ON_BEHALF_OF,
		MEMBERS
	};
	static const char *const names[MEMBERS] = {ITEM_NAMES, "items", "show", "ttl", "on_behalf_of"};
	JsonValue body, m[MEMBERS], stranger;
	ReserveItem *item;

	if (!body_json(request, &body))
		return false;
	if (body.kind != JSON_OBJECT ||
		json_members(body, names, MEMBERS, m, &stranger) != JSON_MEMBERS_OK)
		return body_refused(request, -1,
							"the body has show, " ITEM_TEXT ", or show and items; and ttl and "
							"on_behalf_of; each once");
	if (!take_number(request, "show", m[SHOW], true, INT64_MAX, &reservation->show) ||
		!take_number(request, "ttl", m[TTL], false, TTL_SECONDS_MAX, &reservation->ttl_seconds) ||
		!take_user(request, m[ON_BEHALF_OF], reservation))
		return false;
	if (m[TTL].kind == JSON_NUMBER && reservation->ttl_seconds < 1)
		return body_refused(request, -1, "ttl is at least a second");
	if (m[ITEMS].kind > JSON_NULL)
	{
		for (int i = 0; i < ITEM_MEMBERS; i++)
			if (m[i].kind > JSON_NULL)
				return body_refused(request, -1, ITEM_TEXT " stand in items");
		return take_items(request, m[ITEMS], reservation);
	}
	reservation->items = item = arena_zalloc(&request->arena, sizeof(ReserveItem));
	reservation->nitems = 1;
	return take_item(request, m, item);
}

/* ---- headers ---- */

static bool
take_key(Request *request, Reservation *reservation)
{
	reservation->element.key = request_header(request, "idempotency-key");
	if (reservation->element.key.data == NULL ||
		(reservation->element.key.len > 0 && reservation->element.key.len <= HEADER_MAX &&
		 slice_is_text(reservation->element.key)))
		return true;
	reply_problem(request, 400, "invalid-header", NULL,
				  "Idempotency-Key has 1 to 255 bytes of UTF-8");
	return false;
}

static bool
take_token(Request *request, Reservation *reservation)
{
	reservation->token = request_header(request, "admission-token");
	if (reservation->token.len <= TOKEN_MAX && slice_is_text(reservation->token))
		return true;
	reply_problem(request, 400, "invalid-header", NULL,
				  "Admission-Token has at most 1024 bytes of UTF-8");
	return false;
}

static void
add_member(Text *json, const char *name, Slice value)
{
	if (value.data == NULL)
		return;
	text_printf(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
	text_json(json, value.data, value.len);
}

/* Of the event: what the request says of itself, and who asked for somebody else. Mostly nothing. */
static void
take_metadata(Request *request, Reservation *reservation)
{
	Slice correlation = request_header(request, "correlation-id");
	Slice causation = request_header(request, "causation-id");
	Slice trace = request_header(request, "traceparent");
	const char *user = request->identity->user;
	bool other = !slice_is(reservation->element.user, user);
	Text json = {0};

	if (!other && correlation.data == NULL && causation.data == NULL && trace.data == NULL)
		return;
	text_char(&json, '{');
	add_member(&json, "correlation_id", correlation);
	add_member(&json, "causation_id", causation);
	if (trace.data != NULL)
		add_member(&json, "traceparent",
				   (Slice){request->traceparent, strlen(request->traceparent)});
	if (other)
	{
		text_puts(&json, json.len > 1 ? ",\"actor\":{\"id\":" : "\"actor\":{\"id\":");
		text_json(&json, user, strlen(user));
		text_puts(&json, ",\"type\":");
		text_json(&json, request->identity->actor_type, strlen(request->identity->actor_type));
		text_char(&json, '}');
	}
	text_char(&json, '}');
	reservation->metadata = arena_slice(&request->arena, (Slice){json.data, json.len});
	text_free(&json);
}

/* ---- the reply ---- */

static void
add_uuid(Text *text, const char *id)
{
	static const char digits[] = "0123456789abcdef";
	char out[36], *at = out;

	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[(unsigned char) id[i] >> 4];
		*at++ = digits[id[i] & 15];
	}
	text_add(text, out, sizeof(out));
}

static void
reply_booking(Request *request, const ReserveResult *result)
{
	static Text json;
	Text *headers = &request->reply_headers;

	text_puts(headers, "Location: /v1/boxoffice/bookings/");
	add_uuid(headers, result->id.data);
	text_puts(headers, "\r\n");
	if (result->known.replayed)
		reply_header(request, "Idempotency-Replayed", "true");
	else if (result->position >= 0)
	{
		text_puts(headers, "Usher-Position: ");
		text_int(headers, result->position);
		text_puts(headers, "\r\n");
	}
	json.len = 0;
	text_puts(&json, "{\"code\": ");
	text_json(&json, result->code.data, result->code.len);
	text_puts(&json, ", ");
	text_add(&json, result->booking.data + 1, result->booking.len - 1);
	reply_json(request, 201, &json);
}

static void
add_seats(Text *members, Slice array)
{
	BinaryItems items;
	Slice seat;
	const char *between = "";

	if (!binary_open_array(&items, array))
		return;
	text_puts(members, ",\"seats\":[");
	while (binary_next(&items, &seat))
	{
		text_puts(members, between);
		text_json(members, seat.data ? seat.data : "", seat.len);
		between = ",";
	}
	text_char(members, ']');
}

static void
reply_not_reserved(Request *request, const ReserveResult *result)
{
	const char *sqlstate = result->known.sqlstate;
	static Text members;

	members.len = 0;
	text_puts(&members, "");
	if (result->remaining >= 0)
	{
		text_puts(&members, ",\"remaining\":");
		text_int(&members, result->remaining);
	}
	if (strcmp(sqlstate, "US030") == 0 || strcmp(sqlstate, "US033") == 0)
		text_puts(&members, result->retryable ? ",\"retryable\":true" : ",\"retryable\":false");
	if (result->seats.data != NULL)
		add_seats(&members, result->seats);
	reply_not_done(request, &result->known, members.data,
				   "the connection to the database ended before the commit was confirmed; the "
				   "places may be held");
}

static void
reserved(Reservation *reservation, const ReserveResult *result)
{
	if (result->known.outcome == BATCH_DONE)
		reply_booking(reservation->context, result);
	else
		reply_not_reserved(reservation->context, result);
}

/* POST /v1/boxoffice/bookings/reserve */
void
handle_reserve(Request *request)
{
	Reservation *reservation = arena_zalloc(&request->arena, sizeof(Reservation));

	if (!box_customer_allowed(request) || !take_key(request, reservation) ||
		!take_token(request, reservation) || !take_body(request, reservation))
		return;
	take_metadata(request, reservation);
	reservation->element.tenant = request->identity->tenant;
	reservation->done = reserved;
	reservation->context = request;
	if (!batch_add(&reserve_kind, &reservation->element))
		reply_unavailable(request, "overloaded", "too many reservations are waiting");
}
