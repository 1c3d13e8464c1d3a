/*
 * gateway/routes_boxoffice.h
 *	  The box office's part of the table of routes; routes.c alone includes it, in the middle of the table.
 */

/* clang-format off */
#define BOX_ID "{\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807}"
#define BOX_BOOLEAN "{\"type\":\"boolean\"}"
#define BOX_TEXT "{\"type\":\"string\"}"
#define BOX_UUID "{\"type\":\"string\",\"format\":\"uuid\"}"
#define BOX_REFUSED {409, PROBLEM, "Problem", \
		"What is there does not allow it: sold-out, seat-taken, user-limit, sale-closed, wrong-state, constraint-violated."}
#define BOX_EXPIRED {410, PROBLEM, "Problem", "The reservation has expired (booking-expired)."}
#define BOX_REASON {"reason", "query", BOX_TEXT, "Why; it stands in the event.", false}
#define BOX_AFTER {"after", "query", POSITION, "The id behind which to begin: the next of the page before.", false}
#define BOX_RATED(METHOD, PATH, OPERATION, SUMMARY) \
	.method = METHOD, .path = "/v1/boxoffice/" PATH, .operation = OPERATION, .summary = SUMMARY, .tag = "box office", \
	.scope = "boxoffice", .by_object = true, .by_role = true
#define BOX_ROUTE(METHOD, PATH, OPERATION, SUMMARY) BOX_RATED(METHOD, PATH, OPERATION, SUMMARY), .rate_class = "general"
#define BOX_BODY(SCHEMA) .body = SCHEMA, .body_types = JSON
#define BOX_PATCH(SCHEMA) .body = SCHEMA, .body_types = JSON " application/merge-patch+json"
#define BOX_READ USHER_AFTER, IF_NONE_MATCH
#define BOX_PAGE BOX_AFTER, MAX, BOX_READ
#define BOX_BOOKINGS {"event", "query", BOX_ID, "Only those of this event.", false}, \
		{"show", "query", BOX_ID, "Only those of this show.", false}, \
		{"after", "query", BOX_UUID, "The booking behind which to begin: the next of the page before.", false}, \
		MAX, BOX_READ
#define BOX_WHOSE {"user", "query", NAME, "Whose; * for all. Of others it needs the role box-office.", false}
#define BOX_WRITE(METHOD, PATH, OPERATION, SUMMARY, BODY, ID, STATUS, REPLY) \
	{BOX_ROUTE(METHOD, PATH, OPERATION, SUMMARY), BODY, .parameters = {BOX_PATH(ID), IDEMPOTENCY_KEY}, \
	 .replies = {{STATUS, JSON, REPLY, "As it is now."}, BOX_REFUSED}, .handle = handle_organise}
#define BOX_STEP(PATH, OPERATION, SUMMARY, SCHEMA, HANDLE) \
	{BOX_ROUTE(METHOD_POST, "bookings/{booking}/" PATH, OPERATION, SUMMARY), BOX_BODY(SCHEMA), \
	 .parameters = {BOOKING, IDEMPOTENCY_KEY}, \
	 .replies = {{200, JSON, "Booking", "The booking as it is now."}, BOX_REFUSED, BOX_EXPIRED}, .handle = HANDLE}
#define BOOKING {"booking", "path", BOX_UUID, "The booking's id.", true}
#define BOX_PATH(NAME) {NAME, "path", BOX_ID, "Its id.", true}
{
	BOX_RATED(METHOD_POST, "bookings/reserve", "reserve",
		"Hold places of a show for a while, all or none"),
	.rate_class = "reserve",
	BOX_BODY("ReserveBody"),
	.parameters = {{"Idempotency-Key", "header", "{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}",
			"Repeats of the request with the same key have its booking; kept as long as the booking, for the tenant and user.", false},
		{"Admission-Token", "header", "{\"type\":\"string\",\"maxLength\":1024}",
			"What a waiting room or a challenge gave the client.", false},
		CORRELATION_ID,
		CAUSATION_ID},
	.replies = {{201, JSON, "NewBooking", "The places are held, and the commit is on disk."},
		{404, PROBLEM, "Problem", "There is no such show, zone or price."},
		BOX_REFUSED},
	.handle = handle_reserve,
},
{
	BOX_ROUTE(METHOD_GET, "bookings", "listBookings",
		"Bookings of the one who asks, oldest first"),
	.parameters = {{"status", "query", BOX_TEXT, "Only those in this state; pending: reserved or payment_pending.", false},
		BOX_WHOSE,
		BOX_BOOKINGS},
	.replies = {{200, JSON, "BookingPage", "By age."}},
	.handle = handle_bookings,
},
{
	BOX_ROUTE(METHOD_GET, "bookings/pending", "listPendingBookings",
		"Bookings of the one who asks that wait to be paid"),
	.parameters = {BOX_WHOSE,
		BOX_BOOKINGS},
	.replies = {{200, JSON, "BookingPage", "By age."}},
	.handle = handle_pending,
},
{
	BOX_ROUTE(METHOD_GET, "bookings/refunds", "listRefunds",
		"Bookings whose customers have money to get back, for the box office"),
	.parameters = {{"user", "query", NAME, "Only those of this user.", false},
		BOX_BOOKINGS},
	.replies = {{200, JSON, "BookingPage", "By age; refund_due is the amount. Those that are confirmed have lost items."}},
	.handle = handle_refunds,
},
{
	BOX_ROUTE(METHOD_GET, "bookings/{booking}", "readBooking",
		"One booking"),
	.parameters = {BOOKING,
		BOX_READ},
	.replies = {{200, JSON, "Booking", "The booking."}},
	.handle = handle_booking,
},
BOX_STEP("begin-payment", "beginPayment", "A payment begins: the places are held for boxoffice.payment_timeout from now, once",
	"BeginPaymentBody", handle_change_booking),
BOX_STEP("confirm", "confirmBooking", "It is paid",
	"ConfirmBody", handle_change_booking),
BOX_STEP("extend", "extendBooking", "Hold the places for longer",
	"ExtendBookingBody", handle_change_booking),
BOX_STEP("cancel", "cancelBooking", "Give the places back, or some items of them",
	"CancelBody", handle_change_booking),
BOX_STEP("begin-refund", "beginRefund", "Money that is due is on its way back; also once more, after it has failed",
	"EmptyBody", handle_refund),
BOX_STEP("finish-refund", "finishRefund", "The money has arrived, or has not",
	"FinishRefundBody", handle_refund),
{
	BOX_ROUTE(METHOD_GET, "categories", "listCategories",
		"Categories of events"),
	.parameters = {BOX_PAGE},
	.replies = {{200, JSON, "CategoryPage", "By id."}},
	.handle = handle_box_list,
},
{
	BOX_ROUTE(METHOD_POST, "categories", "createCategory",
		"Make a category"),
	BOX_BODY("CategoryBody"),
	.parameters = {IDEMPOTENCY_KEY},
	.replies = {{201, JSON, "Category", "It is made."},
		BOX_REFUSED},
	.handle = handle_organise,
},
{
	BOX_ROUTE(METHOD_GET, "events", "listEvents",
		"Events, those not published for organisers alone"),
	.parameters = {{"status", "query", BOX_TEXT, "Only those in this state.", false},
		{"category", "query", BOX_ID, "Only those of this category.", false},
		{"organiser", "query", BOX_TEXT, "Only those of this organiser.", false},
		{"venue", "query", BOX_TEXT, "Only those at this venue.", false},
		{"title", "query", BOX_TEXT, "Only those with this in their title, whatever its case.", false},
		BOX_PAGE},
	.replies = {{200, JSON, "EventOfBoxPage", "By id."}},
	.handle = handle_box_events,
},
{
	BOX_ROUTE(METHOD_POST, "events", "createEvent",
		"Make an event, a draft"),
	BOX_BODY("EventBody"),
	.parameters = {IDEMPOTENCY_KEY},
	.replies = {{201, JSON, "EventOfBox", "It is made."},
		BOX_REFUSED},
	.handle = handle_organise,
},
{
	BOX_ROUTE(METHOD_GET, "events/{event}", "readEvent",
		"One event"),
	.parameters = {BOX_PATH("event"),
		BOX_READ},
	.replies = {{200, JSON, "EventOfBox", "The event."}},
	.handle = handle_box_one,
},
BOX_WRITE(METHOD_PUT, "events/{event}", "updateEvent", "Change an event: what is given, null takes a limit away; its status publishes, ends or cancels it",
	BOX_PATCH("EventChanges"), "event", 200, "EventOfBox"),
BOX_WRITE(METHOD_PATCH, "events/{event}", "patchEvent", "Change an event: what is given, null takes a limit away; its status publishes, ends or cancels it",
	BOX_PATCH("EventChanges"), "event", 200, "EventOfBox"),
{
	BOX_ROUTE(METHOD_DELETE, "events/{event}", "cancelEvent",
		"Cancel an event: nothing of it is sold any more, its bookings are cancelled in batches"),
	.parameters = {BOX_PATH("event"),
		BOX_REASON,
		IDEMPOTENCY_KEY},
	.replies = {{200, JSON, "EventOfBox", "As it is now."},
		BOX_REFUSED},
	.handle = handle_organise,
},
{
	BOX_ROUTE(METHOD_GET, "events/{event}/shows", "listShows",
		"Shows of an event"),
	.parameters = {BOX_PATH("event"),
		BOX_PAGE},
	.replies = {{200, JSON, "ShowPage", "By id."}},
	.handle = handle_box_list,
},
BOX_WRITE(METHOD_POST, "events/{event}/shows", "createShow", "Make a show of an event",
	BOX_BODY("ShowBody"), "event", 201, "Show"),
{
	BOX_ROUTE(METHOD_GET, "shows/{show}", "readShow",
		"One show"),
	.parameters = {BOX_PATH("show"),
		BOX_READ},
	.replies = {{200, JSON, "Show", "The show."}},
	.handle = handle_box_one,
},
BOX_WRITE(METHOD_PUT, "shows/{show}", "moveShow", "Move a show to another time or time zone",
	BOX_PATCH("ShowChanges"), "show", 200, "Show"),
BOX_WRITE(METHOD_PATCH, "shows/{show}", "patchShow", "Move a show to another time or time zone",
	BOX_PATCH("ShowChanges"), "show", 200, "Show"),
{
	BOX_ROUTE(METHOD_DELETE, "shows/{show}", "cancelShow",
		"Cancel a show"),
	.parameters = {BOX_PATH("show"),
		BOX_REASON,
		IDEMPOTENCY_KEY},
	.replies = {{200, JSON, "Show", "As it is now."},
		BOX_REFUSED},
	.handle = handle_organise,
},
{
	BOX_ROUTE(METHOD_GET, "shows/{show}/availability", "readAvailability",
		"How many places of each zone are free"),
	.parameters = {BOX_PATH("show"),
		BOX_READ},
	.replies = {{200, JSON, "Availability", "Now."}},
	.handle = handle_availability,
},
{
	BOX_ROUTE(METHOD_GET, "shows/{show}/zones", "listZones",
		"Zones of a show, with their prices"),
	.parameters = {BOX_PATH("show"),
		BOX_PAGE},
	.replies = {{200, JSON, "ZonePage", "By id."}},
	.handle = handle_box_list,
},
BOX_WRITE(METHOD_POST, "shows/{show}/zones", "createZone", "Make a zone of a show, with prices and rows of seats",
	BOX_BODY("ZoneBody"), "show", 201, "Zone"),
{
	BOX_ROUTE(METHOD_GET, "zones/{zone}", "readZone",
		"One zone, with its prices"),
	.parameters = {BOX_PATH("zone"),
		BOX_READ},
	.replies = {{200, JSON, "Zone", "The zone."}},
	.handle = handle_box_one,
},
BOX_WRITE(METHOD_PUT, "zones/{zone}", "setCapacity", "Change a zone's name, or its capacity, also while it is sold",
	BOX_PATCH("ZoneChanges"), "zone", 200, "Zone"),
BOX_WRITE(METHOD_PATCH, "zones/{zone}", "patchZone", "Change a zone's name, or its capacity, also while it is sold",
	BOX_PATCH("ZoneChanges"), "zone", 200, "Zone"),
BOX_WRITE(METHOD_POST, "zones/{zone}/prices", "createPrice", "Make a price of a zone",
	BOX_BODY("PriceBody"), "zone", 201, "Zone"),
BOX_WRITE(METHOD_PATCH, "prices/{price}", "patchPrice", "Change a price; bookings keep what they were made with",
	BOX_PATCH("PriceChanges"), "price", 200, "Zone"),
{
	BOX_ROUTE(METHOD_DELETE, "prices/{price}", "withdrawPrice",
		"Sell nothing at this price any more"),
	.parameters = {BOX_PATH("price"), IDEMPOTENCY_KEY},
	.replies = {{200, JSON, "Zone", "The zone with its prices."},
		BOX_REFUSED},
	.handle = handle_organise,
},
{
	BOX_ROUTE(METHOD_GET, "zones/{zone}/seats", "listSeats",
		"Numbered seats of a zone, and which of them are free"),
	.parameters = {BOX_PATH("zone"),
		{"free", "query", BOX_BOOLEAN, "Only those that are free, or that are not.", false},
		{"accessible", "query", BOX_BOOLEAN, "Only those that are accessible, or that are not.", false},
		{"after", "query", BOX_TEXT, "The seat behind which to begin: the next of the page before.", false},
		MAX,
		BOX_READ},
	.replies = {{200, JSON, "SeatPage", "By label."}},
	.handle = handle_seats,
},
BOX_WRITE(METHOD_POST, "zones/{zone}/rows", "createRow", "Add a row of seats to a numbered zone",
	BOX_BODY("RowBody"), "zone", 201, "Zone"),
/* clang-format on */
